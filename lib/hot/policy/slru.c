/* Segmented LRU with four segments: entries come in at the lowest that has room, so that none stays
 * unused, and at the lowest of all once they are full; a hit takes an entry up by one, and what a
 * segment cannot hold any more falls back to the head of the one below. (Karedla, Love,
 * Wherry, "Caching strategies to improve disk system performance", 1994, with two segments; with
 * four it is the variant that simulators know.) What is seen once leaves without disturbing what
 * was seen often. */
#include "hot/policy/entry_list.h"
#include "hot/policy/policies.h"

enum { SEGMENTS = 4 };

typedef struct slru {
    const firn_policy_host *host;
    uint64_t segment_capacity;
    firn_entry_list segments[SEGMENTS]; /* an entry's bits are the number of its segment */
} slru;

static void slru_resize(void *state, uint64_t capacity) {
    ((slru *)state)->segment_capacity = capacity / SEGMENTS;
}

static int slru_init(void *state, const firn_policy_host *host, uint64_t capacity) {
    ((slru *)state)->host = host;
    slru_resize(state, capacity);
    return FIRN_OK;
}

static void slru_fini(void *state) {
    (void)state;
}

static void slru_insert(void *state, firn_entry *entry) {
    slru *self = state;
    uint64_t charge = firn_host_charge(self->host, entry);
    unsigned number = 0;
    while (number < SEGMENTS && self->segments[number].bytes + charge > self->segment_capacity) {
        number++;
    }
    number %= SEGMENTS; /* with no room in any, the lowest, where room was made */
    firn_entry_set_bits(entry, number);
    firn_entry_list_push_head(&self->segments[number], entry, charge);
}

static void slru_restore(void *state, firn_entry *entry) {
    slru *self = state;
    firn_entry_set_bits(entry, 0);
    firn_entry_list_push_tail(&self->segments[0], entry, firn_host_charge(self->host, entry));
}

/* What is too much falls by one segment, and perhaps makes more fall there. The lowest may hold
 * whatever is left: room is made there by evictions. */
static void settle(slru *self, unsigned number) {
    for (; number > 0; number--) {
        firn_entry_list *list = &self->segments[number];
        while (list->bytes > self->segment_capacity && list->count > 1) {
            firn_entry *entry = list->tail;
            uint64_t charge = firn_host_charge(self->host, entry);
            firn_entry_list_remove(list, entry, charge);
            firn_entry_set_bits(entry, number - 1);
            firn_entry_list_push_head(&self->segments[number - 1], entry, charge);
        }
    }
}

static void slru_hit(void *state, firn_entry *entry) {
    slru *self = state;
    unsigned number = firn_entry_bits(entry);
    if (number == SEGMENTS - 1) {
        firn_entry_list_move_to_head(&self->segments[number], entry);
        return;
    }
    uint64_t charge = firn_host_charge(self->host, entry);
    firn_entry_list_remove(&self->segments[number], entry, charge);
    firn_entry_set_bits(entry, number + 1);
    firn_entry_list_push_head(&self->segments[number + 1], entry, charge);
    settle(self, number + 1);
}

static void slru_replace(void *state, firn_entry *old, firn_entry *entry) {
    slru *self = state;
    firn_entry_list_replace(&self->segments[firn_entry_bits(old)], old,
                            firn_host_charge(self->host, old), entry,
                            firn_host_charge(self->host, entry));
}

static void slru_remove(void *state, firn_entry *entry, int evicted) {
    (void)evicted;
    slru *self = state;
    firn_entry_list_remove(&self->segments[firn_entry_bits(entry)], entry,
                           firn_host_charge(self->host, entry));
}

static firn_entry *slru_victim(void *state) {
    slru *self = state;
    for (unsigned i = 0; i < SEGMENTS; i++) {
        if (self->segments[i].tail != NULL) {
            return self->segments[i].tail;
        }
    }
    return NULL;
}

static firn_entry *slru_walk(void *state, const firn_entry *entry, unsigned order) {
    slru *self = state;
    firn_entry_list *lists[SEGMENTS];
    for (unsigned i = 0; i < SEGMENTS; i++) {
        lists[i] = &self->segments[SEGMENTS - 1 - i];
    }
    unsigned in = entry != NULL ? SEGMENTS - 1 - firn_entry_bits(entry) : 0;
    return firn_entry_lists_walk(lists, SEGMENTS, in, entry, order);
}

const firn_policy firn_slru_policy = {
    .size = sizeof(firn_policy),
    .name = "slru",
    .state_size = sizeof(slru),
    .hits = FIRN_HITS_RECENT,
    .init = slru_init,
    .fini = slru_fini,
    .resize = slru_resize,
    .insert = slru_insert,
    .restore = slru_restore,
    .hit = slru_hit,
    .replace = slru_replace,
    .remove = slru_remove,
    .victim = slru_victim,
    .walk = slru_walk,
};
