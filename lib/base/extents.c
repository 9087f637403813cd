/* See extents.h. */
#include "base/extents.h"

#include <sys/mman.h>
#include <unistd.h>

static size_t words(const firn_extents *extents) {
    return (extents->granules + 63) / 64;
}

static size_t extent_size(const firn_extents *extents) {
    return sizeof(firn_extent) + 2 * words(extents) * sizeof(uint64_t);
}

int firn_extents_init(firn_extents *extents, firn_heap *heap, void *owner, size_t extent_bytes,
                      size_t granule_bytes, uint64_t reserve_bytes, bool headed, bool huge) {
    *extents = (firn_extents){
        .heap = heap,
        .owner = owner,
        .extent_bytes = extent_bytes,
        .granule_bytes = granule_bytes,
        .granules = extent_bytes / granule_bytes,
        .reserve_bytes = reserve_bytes,
        .headed = headed,
        .huge = huge,
    };
    return pthread_mutex_init(&extents->lock, NULL);
}

static void change(_Atomic uint64_t *gauge, int64_t bytes) {
    uint64_t before = atomic_load_explicit(gauge, memory_order_relaxed);
    atomic_store_explicit(gauge, before + (uint64_t)bytes, memory_order_relaxed);
}

static uint64_t *gone_bits(const firn_extents *extents, firn_extent *extent) {
    return extent->bits + words(extents);
}

static bool is_set(const uint64_t *bits, size_t granule) {
    return (bits[granule / 64] >> granule % 64 & 1) != 0;
}

static void set(uint64_t *bits, size_t granule, bool value) {
    uint64_t bit = UINT64_C(1) << granule % 64;
    bits[granule / 64] = value ? bits[granule / 64] | bit : bits[granule / 64] & ~bit;
}

static void free_extent(firn_extents *extents, firn_extent *extent) {
    if (extents->cursor == extent) {
        extents->cursor = NULL;
    }
    if (extent->prev != NULL) {
        extent->prev->next = extent->next;
    } else {
        extents->extents = extent->next;
    }
    if (extent->next != NULL) {
        extent->next->prev = extent->prev;
    }
    for (size_t i = 0; i < extents->granules; i++) {
        if (is_set(gone_bits(extents, extent), i)) {
            change(&extents->gone_bytes, -(int64_t)extents->granule_bytes);
        }
    }
    firn_heap_free_aligned(extents->heap, extent->base, extents->extent_bytes);
    firn_heap_free(extents->heap, extent, extent_size(extents));
    change(&extents->mapped_bytes, -(int64_t)extents->extent_bytes);
}

void firn_extents_fini(firn_extents *extents) {
    while (extents->extents != NULL) {
        free_extent(extents, extents->extents);
    }
    pthread_mutex_destroy(&extents->lock);
}

static void set_taken(firn_extents *extents, firn_extent *extent, size_t first, size_t count,
                      bool taken) {
    for (size_t i = first; i < first + count; i++) {
        set(extent->bits, i, taken);
        if (taken && is_set(gone_bits(extents, extent), i)) {
            set(gone_bits(extents, extent), i, false); /* its pages come back when touched */
            change(&extents->gone_bytes, -(int64_t)extents->granule_bytes);
        }
    }
    int64_t bytes = (int64_t)(count * extents->granule_bytes);
    extents->used_bytes += (uint64_t)(taken ? bytes : -bytes);
}

/* Gives the pages that lie within a free run back to the system, if more is free than is to be
 * kept. A large page that loses a part must not be made whole again behind our back. */
static void give_pages(firn_extents *extents, firn_extent *extent, size_t first, size_t count) {
    uint64_t here = atomic_load_explicit(&extents->mapped_bytes, memory_order_relaxed) -
                    atomic_load_explicit(&extents->gone_bytes, memory_order_relaxed);
    if (here - extents->used_bytes <= extents->reserve_bytes || firn_heap_is_users(extents->heap)) {
        return;
    }
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t begin = (first * extents->granule_bytes + page - 1) / page * page;
    size_t end = (first + count) * extents->granule_bytes / page * page;
    if (begin >= end) {
        return;
    }
    if (extents->huge && !extent->split) {
        (void)madvise(extent->base, extents->extent_bytes, MADV_NOHUGEPAGE);
        extent->split = true;
    }
    if (madvise(extent->base + begin, end - begin, MADV_DONTNEED) != 0) {
        return;
    }
    for (size_t i = (begin + extents->granule_bytes - 1) / extents->granule_bytes;
         i < end / extents->granule_bytes; i++) {
        set(gone_bits(extents, extent), i, true);
        change(&extents->gone_bytes, (int64_t)extents->granule_bytes);
    }
}

static firn_extent *add_extent(firn_extents *extents) {
    firn_extent *extent = firn_heap_zalloc(extents->heap, extent_size(extents));
    if (extent == NULL) {
        return NULL;
    }
    extent->base = firn_heap_alloc_aligned(extents->heap, extents->extent_bytes, extents->huge);
    if (extent->base == NULL) {
        firn_heap_free(extents->heap, extent, extent_size(extents));
        return NULL;
    }
    extent->owner = extents->owner;
    extent->next = extents->extents;
    if (extent->next != NULL) {
        extent->next->prev = extent;
    }
    extents->extents = extent;
    change(&extents->mapped_bytes, (int64_t)extents->extent_bytes);
    if (extents->headed) {
        *(firn_extent **)(void *)extent->base = extent;
        set_taken(extents, extent, 0, 1, true);
        extent->used = extent->lowest_free = 1;
    }
    extent->largest_free = extents->granules - extent->used;
    extents->idle++;
    return extent;
}

/* The first granule of a free run in the extent; granules of the extent: there is none. */
static size_t find_run(const firn_extents *extents, firn_extent *extent, size_t count) {
    size_t free = 0;
    size_t at = extent->lowest_free;
    bool first = true;
    while (at < extents->granules) {
        if (extent->bits[at / 64] == UINT64_MAX) {
            free = 0;
            at = (at / 64 + 1) * 64;
            continue;
        }
        if (is_set(extent->bits, at)) {
            free = 0;
        } else {
            if (first) {
                extent->lowest_free = at;
                first = false;
            }
            if (++free == count) {
                return at + 1 - count;
            }
        }
        at++;
    }
    if (first) {
        extent->lowest_free = extents->granules;
    }
    return extents->granules;
}

static bool is_idle(const firn_extents *extents, const firn_extent *extent) {
    return extent->used == (extents->headed ? 1u : 0u);
}

static bool may_fit(const firn_extents *extents, const firn_extent *extent, size_t granules) {
    return extents->granules - extent->used >= granules && extent->largest_free >= granules &&
           !atomic_load_explicit(&extent->draining, memory_order_relaxed);
}

/* A place for a run in that extent; what was learnt of it is kept. */
static bool fits(const firn_extents *extents, firn_extent *extent, size_t granules, size_t *at) {
    if (!may_fit(extents, extent, granules)) {
        return false;
    }
    *at = find_run(extents, extent, granules);
    if (*at == extents->granules) {
        extent->largest_free = granules - 1;
    }
    return *at < extents->granules;
}

/* Single granules come from the fullest extent, so that sparse ones come to be all free; for longer
 * runs there is no time to look at all, and the search goes on where the last one ended. */
static firn_extent *find_extent(firn_extents *extents, size_t granules, size_t *at) {
    if (!extents->headed) {
        firn_extent *best = NULL;
        for (firn_extent *extent = extents->extents; extent != NULL; extent = extent->next) {
            if ((best == NULL || extent->used > best->used) &&
                fits(extents, extent, granules, at)) {
                best = extent;
            }
        }
        return best != NULL && fits(extents, best, granules, at) ? best : NULL;
    }
    firn_extent *begin = extents->cursor != NULL ? extents->cursor : extents->extents;
    firn_extent *extent = begin;
    while (extent != NULL && !fits(extents, extent, granules, at)) {
        extent = extent->next != NULL ? extent->next : extents->extents;
        extent = extent == begin ? NULL : extent;
    }
    extents->cursor = extent;
    return extent;
}

void *firn_extents_take(firn_extents *extents, size_t granules, firn_extent **found) {
    void *run = NULL;
    pthread_mutex_lock(&extents->lock);
    size_t at = 0;
    firn_extent *extent = find_extent(extents, granules, &at);
    if (extent == NULL) {
        extent = add_extent(extents);
        at = extent != NULL ? extent->lowest_free : 0;
    }
    if (extent != NULL) {
        extents->idle -= is_idle(extents, extent);
        set_taken(extents, extent, at, granules, true);
        extent->used += granules;
        run = extent->base + at * extents->granule_bytes;
        *found = extent;
    }
    pthread_mutex_unlock(&extents->lock);
    return run;
}

void firn_extents_give(firn_extents *extents, firn_extent *extent, void *run, size_t granules) {
    pthread_mutex_lock(&extents->lock);
    size_t at = (size_t)((unsigned char *)run - extent->base) / extents->granule_bytes;
    set_taken(extents, extent, at, granules, false);
    extent->used -= granules;
    extent->largest_free = extents->granules - extent->used; /* at most: who looks will know */
    extent->lowest_free = at < extent->lowest_free ? at : extent->lowest_free;
    if (is_idle(extents, extent)) {
        /* One is kept, so that a run taken and given in turns costs no call of the system. */
        if (extents->idle > 0) {
            free_extent(extents, extent);
        } else {
            extents->idle++;
            atomic_store_explicit(&extent->draining, false, memory_order_relaxed);
        }
    } else {
        give_pages(extents, extent, at, granules);
    }
    pthread_mutex_unlock(&extents->lock);
}

bool firn_extents_plan_drain(firn_extents *extents, int64_t *goal) {
    bool any = false;
    pthread_mutex_lock(&extents->lock);
    size_t full = extents->granules / 8 * 7; /* as full as they can be expected to get */
    size_t room = 0; /* of extents that stay: there is no telling whether each run will fit */
    for (firn_extent *extent = extents->extents; extent != NULL; extent = extent->next) {
        room += extent->used < full ? full - extent->used : 0;
    }
    for (size_t sparse = extents->granules / 4; sparse <= full; sparse += extents->granules / 8) {
        for (firn_extent *extent = extents->extents; extent != NULL && *goal > 0;
             extent = extent->next) {
            /* What it holds goes into the room of the others, of which it is none any more. */
            if (extent->used < sparse && !is_idle(extents, extent) && room >= full &&
                !atomic_load_explicit(&extent->draining, memory_order_relaxed)) {
                atomic_store_explicit(&extent->draining, true, memory_order_relaxed);
                room -= full;
                *goal -= (int64_t)((extents->granules - extent->used) * extents->granule_bytes);
                any = true;
            }
        }
    }
    pthread_mutex_unlock(&extents->lock);
    return any;
}

void firn_extents_end_drain(firn_extents *extents) {
    pthread_mutex_lock(&extents->lock);
    for (firn_extent *extent = extents->extents; extent != NULL; extent = extent->next) {
        atomic_store_explicit(&extent->draining, false, memory_order_relaxed);
    }
    pthread_mutex_unlock(&extents->lock);
}
