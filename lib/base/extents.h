/* Where a pool's memory comes from: extents of one power of two of bytes, aligned to their size, in
 * which runs of granules are taken and given back, lowest first. An extent that is all free goes
 * back to the heap, and of others the pages that are free are given back to the system, but for a
 * reserve.
 *
 * There are two users, each with an instance of its own: slabs, whose granule is a slab, so that
 * each run is one granule; and blocks of medium size, whose granule is small. Knows nothing of what
 * runs are for. */
#ifndef FIRN_BASE_EXTENTS_H
#define FIRN_BASE_EXTENTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/heap.h"

typedef struct firn_extent {
    struct firn_extent *next; /* of the list of all; the extents' lock, like the rest but these: */
    struct firn_extent *prev;
    unsigned char *base;  /* immutable */
    void *owner;          /* immutable; whom the extents were made for */
    size_t used;          /* granules */
    size_t lowest_free;   /* no granule below it is free */
    size_t largest_free;  /* no run of free granules is longer */
    atomic_bool draining; /* nothing new is taken here. Relaxed: see firn_pool_should_move */
    bool split;           /* pages went back to the system, and large ones are not asked for now */
    uint64_t bits[]; /* a bit a granule that is taken, then a bit a granule whose pages are gone */
} firn_extent;

typedef struct firn_extents {
    firn_heap *heap; /* lent; immutable, like the next seven */
    void *owner;
    size_t extent_bytes; /* a power of two, like the granule's */
    size_t granule_bytes;
    size_t granules;        /* of an extent */
    uint64_t reserve_bytes; /* free bytes that are kept before pages go back */
    bool huge;              /* in large pages, if the system has them */
    bool headed;            /* the first granule of an extent holds a pointer to its firn_extent */
    pthread_mutex_t lock;
    firn_extent *extents; /* the lock guards it, and the next two */
    firn_extent *cursor;  /* where the last search ended; NULL: nowhere */
    size_t idle;          /* extents that are all free */
    uint64_t used_bytes;
    _Atomic uint64_t
        mapped_bytes; /* written under the lock, read by anybody, relaxed; like the next */
    _Atomic uint64_t gone_bytes; /* of those, in pages that were given back */
} firn_extents;

/* 0 or an errno. */
int firn_extents_init(firn_extents *extents, firn_heap *heap, void *owner, size_t extent_bytes,
                      size_t granule_bytes, uint64_t reserve_bytes, bool headed, bool huge);
/* Everything goes back, runs that are still taken too. */
void firn_extents_fini(firn_extents *extents);

/* A run of that many granules, and the extent it is in. NULL: no memory. */
void *firn_extents_take(firn_extents *extents, size_t granules, firn_extent **extent);
void firn_extents_give(firn_extents *extents, firn_extent *extent, void *run, size_t granules);

/* Marks the sparsest extents for draining, as long as what they hold is likely to fit into the
 * others, and takes the bytes that will free from *goal until it is reached. True: there are such.
 */
bool firn_extents_plan_drain(firn_extents *extents, int64_t *goal);
void firn_extents_end_drain(firn_extents *extents);

/* Of headed extents: the extent that a run lies in. */
static inline firn_extent *firn_extent_of(const void *run, size_t extent_bytes) {
    uintptr_t base = (uintptr_t)run & ~(uintptr_t)(extent_bytes - 1);
    return *(firn_extent **)base;
}

#endif
