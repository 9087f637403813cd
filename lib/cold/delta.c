/* See delta.h. */
#include "cold/delta.h"

#include <stdlib.h>

#include <firn/error.h>

static size_t slots_of(size_t max) {
    return max * 2; /* half of them stay free, so that a search ends soon */
}

int firn_delta_init(firn_delta *delta, firn_heap *heap, size_t max) {
    *delta = (firn_delta){.mask = slots_of(max) - 1, .max = max};
    delta->slots = firn_heap_zalloc(heap, slots_of(max) * sizeof *delta->slots);
    return delta->slots != NULL ? FIRN_OK : FIRN_ENOMEM;
}

void firn_delta_fini(firn_delta *delta, firn_heap *heap) {
    firn_heap_free(heap, delta->slots, slots_of(delta->max) * sizeof *delta->slots);
    delta->slots = NULL;
}

void firn_delta_set(firn_delta *delta, uint64_t hash, uint64_t place) {
    size_t i = (size_t)(hash >> 20) & delta->mask;
    uint64_t found;
    while ((found = atomic_load_explicit(&delta->slots[i].hash, memory_order_relaxed)) != 0 &&
           found != hash) {
        i = (i + 1) & delta->mask;
    }
    atomic_store_explicit(&delta->slots[i].place, place, memory_order_release);
    if (found == 0) {
        atomic_store_explicit(&delta->slots[i].hash, hash, memory_order_release);
        delta->count++;
    }
}

void firn_delta_clear(firn_delta *delta) {
    for (size_t i = 0; i <= delta->mask; i++) {
        /* Release: who misses an entry here sees what made it needless. */
        atomic_store_explicit(&delta->slots[i].hash, 0, memory_order_release);
    }
    delta->count = 0;
}

static int compare(const void *a, const void *b) {
    const firn_delta_entry *left = a;
    const firn_delta_entry *right = b;
    return left->hash < right->hash ? -1 : left->hash > right->hash;
}

void firn_delta_sorted(const firn_delta *delta, firn_delta_entry *entries) {
    size_t count = 0;
    for (size_t i = 0; i <= delta->mask; i++) {
        uint64_t hash = atomic_load_explicit(&delta->slots[i].hash, memory_order_relaxed);
        if (hash != 0) {
            entries[count++] = (firn_delta_entry){
                hash, atomic_load_explicit(&delta->slots[i].place, memory_order_relaxed)};
        }
    }
    qsort(entries, count, sizeof *entries, compare);
}
