/* See ghost.h. */
#include "hot/policy/ghost.h"

#include <string.h>

enum { CAPACITY_MIN = 64, CAPACITY_MAX = 1 << 28 };

static size_t ghost_bytes(uint32_t capacity) {
    return capacity * sizeof(firn_ghost);
}

static size_t bucket_bytes(uint32_t capacity) {
    return capacity * sizeof(uint32_t);
}

void firn_ghosts_fini(firn_ghosts *ghosts) {
    firn_policy_free(ghosts->host, ghosts->slots, ghost_bytes(ghosts->capacity));
    firn_policy_free(ghosts->host, ghosts->buckets, bucket_bytes(ghosts->capacity));
}

static uint32_t tag_of(uint64_t hash) {
    return (uint32_t)(hash ^ hash >> 32);
}

static uint32_t *bucket_of(const firn_ghosts *ghosts, uint32_t tag) {
    return &ghosts->buckets[tag * UINT32_C(0x9e3779b1) & (ghosts->capacity - 1)];
}

static void link_bucket(firn_ghosts *ghosts, uint32_t number) {
    firn_ghost *ghost = &ghosts->slots[number - 1];
    uint32_t *bucket = bucket_of(ghosts, ghost->tag);
    ghost->next_in_bucket = *bucket;
    *bucket = number;
}

/* Doubles. False: no memory, or large enough. */
static bool grow(firn_ghosts *ghosts) {
    uint32_t capacity = ghosts->capacity == 0 ? CAPACITY_MIN : ghosts->capacity * 2;
    if (capacity > CAPACITY_MAX) {
        return false;
    }
    firn_ghost *slots = firn_policy_alloc(ghosts->host, ghost_bytes(capacity));
    uint32_t *buckets = firn_policy_alloc(ghosts->host, bucket_bytes(capacity));
    if (slots == NULL || buckets == NULL) {
        firn_policy_free(ghosts->host, slots, ghost_bytes(capacity));
        firn_policy_free(ghosts->host, buckets, bucket_bytes(capacity));
        return false;
    }
    if (ghosts->used > 0) {
        memcpy(slots, ghosts->slots, ghost_bytes(ghosts->used));
    }
    firn_ghosts_fini(ghosts);
    ghosts->slots = slots;
    ghosts->buckets = buckets;
    ghosts->capacity = capacity;
    for (uint32_t number = ghosts->oldest; number != 0; number = slots[number - 1].newer) {
        link_bucket(ghosts, number);
    }
    return true;
}

/* Takes a ghost out of the order and its bucket. */
static void unlink_ghost(firn_ghosts *ghosts, uint32_t number) {
    firn_ghost *ghost = &ghosts->slots[number - 1];
    uint32_t *at = bucket_of(ghosts, ghost->tag);
    while (*at != number) {
        at = &ghosts->slots[*at - 1].next_in_bucket;
    }
    *at = ghost->next_in_bucket;
    *(ghost->older != 0 ? &ghosts->slots[ghost->older - 1].newer : &ghosts->oldest) = ghost->newer;
    *(ghost->newer != 0 ? &ghosts->slots[ghost->newer - 1].older : &ghosts->newest) = ghost->older;
    ghosts->count--;
    ghosts->bytes -= ghost->charge;
    ghost->older = ghosts->free;
    ghosts->free = number;
}

void firn_ghosts_drop(firn_ghosts *ghosts) {
    if (ghosts->oldest != 0) {
        unlink_ghost(ghosts, ghosts->oldest);
    }
}

void firn_ghosts_trim(firn_ghosts *ghosts, uint64_t bytes) {
    while (ghosts->bytes > bytes) {
        firn_ghosts_drop(ghosts);
    }
}

void firn_ghosts_add(firn_ghosts *ghosts, uint64_t hash, uint64_t charge) {
    if (ghosts->free == 0 && ghosts->used == ghosts->capacity && !grow(ghosts)) {
        firn_ghosts_drop(ghosts);
        if (ghosts->free == 0) {
            return;
        }
    }
    uint32_t number = ghosts->free;
    if (number != 0) {
        ghosts->free = ghosts->slots[number - 1].older;
    } else {
        number = ++ghosts->used;
    }
    firn_ghost *ghost = &ghosts->slots[number - 1];
    *ghost = (firn_ghost){
        .tag = tag_of(hash),
        .older = ghosts->newest,
        .charge = charge < UINT32_MAX ? (uint32_t)charge : UINT32_MAX,
    };
    *(ghosts->newest != 0 ? &ghosts->slots[ghosts->newest - 1].newer : &ghosts->oldest) = number;
    ghosts->newest = number;
    link_bucket(ghosts, number);
    ghosts->count++;
    ghosts->bytes += ghost->charge;
}

bool firn_ghosts_take(firn_ghosts *ghosts, uint64_t hash) {
    if (ghosts->count == 0) {
        return false;
    }
    uint32_t tag = tag_of(hash);
    uint32_t number = *bucket_of(ghosts, tag);
    while (number != 0 && ghosts->slots[number - 1].tag != tag) {
        number = ghosts->slots[number - 1].next_in_bucket;
    }
    if (number != 0) {
        unlink_ghost(ghosts, number);
    }
    return number != 0;
}
