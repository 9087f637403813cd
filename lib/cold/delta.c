/* See delta.h. */
#include "cold/delta.h"

#include <stdlib.h>

#include <firn/error.h>

static size_t slots_of(size_t max) {
    return max * 2; /* half of them stay free, so that a search ends soon */
}

static size_t chunk_slots(const firn_delta *delta, unsigned chunk) {
    return chunk == 0 ? delta->base : delta->base << (chunk - 1);
}

int firn_delta_init(firn_delta *delta, firn_heap *heap, size_t max) {
    *delta = (firn_delta){.base = slots_of(max), .max = max};
    atomic_init(&delta->mask, slots_of(max) - 1);
    delta->chunks[0] = firn_heap_alloc_table(heap, slots_of(max) * sizeof(firn_delta_slot));
    return delta->chunks[0] != NULL ? FIRN_OK : FIRN_ENOMEM;
}

void firn_delta_fini(firn_delta *delta, firn_heap *heap) {
    for (unsigned i = 0; i < FIRN_DELTA_CHUNKS; i++) {
        if (delta->chunks[i] != NULL) {
            firn_heap_free_table(heap, delta->chunks[i],
                                 chunk_slots(delta, i) * sizeof(firn_delta_slot));
            delta->chunks[i] = NULL;
        }
    }
}

int firn_delta_resize(firn_delta *delta, firn_heap *heap, size_t max) {
    size_t slots = slots_of(max);
    size_t there = delta->base;
    for (unsigned i = 1; there < slots; i++) {
        if (i == FIRN_DELTA_CHUNKS) {
            return FIRN_ENOMEM;
        }
        if (delta->chunks[i] == NULL) {
            delta->chunks[i] =
                firn_heap_alloc_table(heap, chunk_slots(delta, i) * sizeof(firn_delta_slot));
        }
        if (delta->chunks[i] == NULL) {
            return FIRN_ENOMEM;
        }
        there *= 2;
    }
    delta->max = max;
    /* Release: who sees it sees the chunks. */
    atomic_store_explicit(&delta->mask, slots - 1, memory_order_release);
    return FIRN_OK;
}

/* All entries in any order. */
static void collect(const firn_delta *delta, firn_delta_entry *entries) {
    size_t mask = atomic_load_explicit(&delta->mask, memory_order_relaxed);
    size_t count = 0;
    for (size_t i = 0; i <= mask; i++) {
        const firn_delta_slot *slot = firn_delta_at(delta, i);
        uint64_t hash = atomic_load_explicit(&slot->hash, memory_order_relaxed);
        if (hash != 0) {
            entries[count++] =
                (firn_delta_entry){hash, atomic_load_explicit(&slot->place, memory_order_relaxed)};
        }
    }
}

int firn_delta_enlarge(firn_delta *delta, firn_heap *heap) {
    size_t count = delta->count;
    size_t size = (count + 1) * sizeof(firn_delta_entry);
    firn_delta_entry *entries = firn_heap_alloc(heap, size);
    if (entries == NULL) {
        return FIRN_ENOMEM;
    }
    collect(delta, entries);
    firn_delta_clear(delta);
    int result = firn_delta_resize(delta, heap, delta->max * 2);
    for (size_t i = 0; i < count; i++) {
        firn_delta_set(delta, entries[i].hash, entries[i].place);
    }
    firn_heap_free(heap, entries, size);
    return result;
}

void firn_delta_set(firn_delta *delta, uint64_t hash, uint64_t place) {
    size_t mask = atomic_load_explicit(&delta->mask, memory_order_relaxed);
    firn_delta_slot *slot;
    uint64_t found;
    for (size_t i = (size_t)(hash >> 20);; i++) {
        slot = firn_delta_at(delta, i & mask);
        found = atomic_load_explicit(&slot->hash, memory_order_relaxed);
        if (found == 0 || found == hash) {
            break;
        }
    }
    atomic_store_explicit(&slot->place, place, memory_order_release);
    if (found == 0) {
        atomic_store_explicit(&slot->hash, hash, memory_order_release);
        delta->count++;
    }
}

void firn_delta_clear(firn_delta *delta) {
    size_t mask = atomic_load_explicit(&delta->mask, memory_order_relaxed);
    for (size_t i = 0; i <= mask; i++) {
        /* Release: who misses an entry here sees what made it needless. */
        atomic_store_explicit(&firn_delta_at(delta, i)->hash, 0, memory_order_release);
    }
    uint64_t lives = atomic_load_explicit(&delta->lives, memory_order_relaxed);
    atomic_store_explicit(&delta->lives, lives + 1, memory_order_release);
    delta->count = 0;
}

static int compare(const void *a, const void *b) {
    const firn_delta_entry *left = a;
    const firn_delta_entry *right = b;
    return left->hash < right->hash ? -1 : left->hash > right->hash;
}

void firn_delta_sorted(const firn_delta *delta, firn_delta_entry *entries) {
    collect(delta, entries);
    qsort(entries, delta->count, sizeof *entries, compare);
}
