/* The part of the index that is not on disk yet: places of key hashes, in memory.
 *
 * A table of fixed size for one writer, and readers without a lock. It is never freed while there
 * are readers, only emptied and used again: a reader that is late finds an entry of then or of now,
 * or nothing, and what it makes of that is its caller's to get right (see backend_log.c). Knows
 * hashes and numbers, nothing of what they mean. */
#ifndef FIRN_COLD_DELTA_H
#define FIRN_COLD_DELTA_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/heap.h"

typedef struct firn_delta_slot {
    /* 0: free. Stored with release after the place, so that who sees the hash sees a place. */
    _Atomic uint64_t hash;
    _Atomic uint64_t place; /* release and acquire: what it points to was written before */
} firn_delta_slot;

typedef struct firn_delta {
    firn_delta_slot *slots; /* immutable */
    size_t mask;            /* immutable */
    size_t max;             /* immutable; entries it takes */
    size_t count;           /* the writer's */
} firn_delta;

typedef struct firn_delta_entry {
    uint64_t hash;
    uint64_t place;
} firn_delta_entry;

/* max: entries, a power of two. FIRN_OK or FIRN_ENOMEM. */
int firn_delta_init(firn_delta *delta, firn_heap *heap, size_t max);
void firn_delta_fini(firn_delta *delta, firn_heap *heap);

/* [writer] hash is not 0. The table must have room for one more. */
void firn_delta_set(firn_delta *delta, uint64_t hash, uint64_t place);
/* [writer] */
void firn_delta_clear(firn_delta *delta);
/* [writer] All entries by hash, ascending, into `entries`, which holds `count` of them. */
void firn_delta_sorted(const firn_delta *delta, firn_delta_entry *entries);

static inline void firn_delta_prefetch(const firn_delta *delta, uint64_t hash) {
    __builtin_prefetch(&delta->slots[(size_t)(hash >> 20) & delta->mask]);
}

/* Safe from any thread. */
static inline bool firn_delta_find(const firn_delta *delta, uint64_t hash, uint64_t *place) {
    size_t i = (size_t)(hash >> 20) & delta->mask;
    for (;;) {
        const firn_delta_slot *slot = &delta->slots[i];
        uint64_t found = atomic_load_explicit(&slot->hash, memory_order_acquire);
        if (found == 0) {
            return false;
        }
        if (found != hash) {
            i = (i + 1) & delta->mask;
            continue;
        }
        *place = atomic_load_explicit(&slot->place, memory_order_acquire);
        /* The same hash still: else the slot was emptied and used again between the two looks, and
         * the place may be another's. */
        if (atomic_load_explicit(&slot->hash, memory_order_relaxed) == hash) {
            return true;
        }
        i = (size_t)(hash >> 20) & delta->mask;
    }
}

#endif
