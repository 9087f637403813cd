/* The limit: an open-addressing table of slots of 16 bytes, without eviction and without locks.
 * Several threads may read it, one may write. */
#include <stdio.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "peer.h"

typedef struct node {
    uint64_t key;
    size_t size;
    unsigned char value[];
} node;

typedef struct slot {
    uint64_t hash;
    node *node; /* NULL: free */
} slot;

typedef struct bare {
    slot *slots;
    uint64_t mask;
    uint64_t entries;
} bare;

static const char *bare_version(void) {
    return XXH_VERSION_NUMBER >= 800 ? "XXH3" : "?";
}

static void *bare_open(const peer_config *config) {
    uint64_t count = 16;
    while (count < config->expected_entries * 2) {
        count *= 2;
    }
    bare *self = malloc(sizeof *self);
    slot *slots = calloc(count, sizeof *slots);
    if (self == NULL || slots == NULL) {
        abort();
    }
    *self = (bare){slots, count - 1, 0};
    return self;
}

static void bare_close(void *context) {
    bare *self = context;
    for (uint64_t i = 0; i <= self->mask; i++) {
        free(self->slots[i].node);
    }
    free(self->slots);
    free(self);
}

static inline slot *find(bare *self, uint64_t key, uint64_t hash) {
    slot *at = &self->slots[hash & self->mask];
    while (at->node != NULL && (at->hash != hash || at->node->key != key)) {
        at = at == &self->slots[self->mask] ? self->slots : at + 1;
    }
    return at;
}

static bool bare_get(void *context, uint64_t key, uint64_t *sum) {
    slot *at = find(context, key, XXH3_64bits(&key, sizeof key));
    if (at->node == NULL) {
        return false;
    }
    *sum += touch(at->node->value, at->node->size);
    return true;
}

static void bare_put(void *context, uint64_t key, const void *value, size_t size, put_hint hint) {
    (void)hint;
    bare *self = context;
    uint64_t hash = XXH3_64bits(&key, sizeof key);
    node *node = malloc(sizeof *node + size);
    if (node == NULL) {
        abort();
    }
    node->key = key;
    node->size = size;
    memcpy(node->value, value, size);
    slot *at = find(self, key, hash);
    self->entries += at->node == NULL;
    free(at->node);
    *at = (slot){hash, node};
}

static uint64_t bare_entries(void *context) {
    return ((bare *)context)->entries;
}

const peer this_peer = {
    .can = PEER_SHARED_READS,
    .slow = 1,
    .version = bare_version,
    .open = bare_open,
    .close = bare_close,
    .get = bare_get,
    .put = bare_put,
    .entries = bare_entries,
};
