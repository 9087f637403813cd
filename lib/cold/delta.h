/* The part of the index that is not on disk yet: places of key hashes, in memory.
 *
 * A table for one writer, and readers without a lock. It is never freed while there are readers,
 * only emptied, given another size while it is empty, and used again: a reader that is late finds
 * an entry of then or of now, or nothing, and what it makes of that is its caller's to get right
 * (see backend_log.h). Its memory comes in chunks, of which each doubles it and none goes before
 * the end. Knows hashes and numbers, nothing of what they mean. */
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

enum { FIRN_DELTA_CHUNKS = 40 };

typedef struct firn_delta {
    /* The first has `base` slots, each other one as many as all before it. Each is set once, before
     * a mask that needs it. */
    firn_delta_slot *chunks[FIRN_DELTA_CHUNKS];
    size_t base;         /* immutable */
    _Atomic size_t mask; /* slots in use, less 1. Release and acquire: see chunks */
    /* How often it was emptied. Release, after the last slot is free and before one is used again;
     * acquire: see firn_delta_find. */
    _Atomic uint64_t lives;
    size_t max;   /* the writer's; entries it takes */
    size_t count; /* the writer's */
} firn_delta;

typedef struct firn_delta_entry {
    uint64_t hash;
    uint64_t place;
} firn_delta_entry;

/* max: entries, a power of two. FIRN_OK or FIRN_ENOMEM. */
int firn_delta_init(firn_delta *delta, firn_heap *heap, size_t max);
void firn_delta_fini(firn_delta *delta, firn_heap *heap);
/* [writer] It is empty, and takes `max` entries from here on, a power of two and not below the
 * first one. FIRN_OK; FIRN_ENOMEM: nothing changed. */
int firn_delta_resize(firn_delta *delta, firn_heap *heap, size_t max);
/* [writer] It takes twice as many entries, those in it included. There are no readers meanwhile.
 * FIRN_OK; FIRN_ENOMEM: nothing changed. */
int firn_delta_enlarge(firn_delta *delta, firn_heap *heap);

/* [writer] hash is not 0. The table must have room for one more. */
void firn_delta_set(firn_delta *delta, uint64_t hash, uint64_t place);
/* [writer] */
void firn_delta_clear(firn_delta *delta);
/* [writer] All entries by hash, ascending, into `entries`, which holds `count` of them. */
void firn_delta_sorted(const firn_delta *delta, firn_delta_entry *entries);

/* The slot of a number up to the mask. */
static inline firn_delta_slot *firn_delta_at(const firn_delta *delta, size_t i) {
    if (i < delta->base) {
        return &delta->chunks[0][i];
    }
    /* Both are powers of two, or i begins with one. */
    unsigned chunk = (unsigned)(__builtin_clzll(delta->base) - __builtin_clzll(i)) + 1;
    return &delta->chunks[chunk][i - (delta->base << (chunk - 1))];
}

static inline void firn_delta_prefetch(const firn_delta *delta, uint64_t hash) {
    size_t mask = atomic_load_explicit(&delta->mask, memory_order_acquire);
    __builtin_prefetch(firn_delta_at(delta, (size_t)(hash >> 20) & mask));
}

/* Safe from any thread.
 *
 * A slot may be emptied and used again, for another hash or, in a third life, for the same one,
 * between the looks at its hash and at its place, so that the place is another's. But whoever sees
 * a place sees all that was stored before it: how often the table had been emptied by then. If that
 * is what it was before the look at the hash, both are of one life: of no earlier one, since who
 * sees the count sees the slots that were free before it was raised. */
static inline bool firn_delta_find(const firn_delta *delta, uint64_t hash, uint64_t *place) {
    uint64_t life = atomic_load_explicit(&delta->lives, memory_order_acquire);
    size_t i = (size_t)(hash >> 20);
    for (;;) {
        /* Each time: the table may have become another one, in which a search by the old size need
         * not end. */
        size_t mask = atomic_load_explicit(&delta->mask, memory_order_acquire);
        const firn_delta_slot *slot = firn_delta_at(delta, i & mask);
        uint64_t found = atomic_load_explicit(&slot->hash, memory_order_acquire);
        if (found == 0) {
            return false;
        }
        if (found != hash) {
            i++;
            continue;
        }
        *place = atomic_load_explicit(&slot->place, memory_order_acquire);
        uint64_t now = atomic_load_explicit(&delta->lives, memory_order_acquire);
        if (now == life) {
            return true;
        }
        life = now;
        i = (size_t)(hash >> 20);
    }
}

#endif
