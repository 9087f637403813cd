/* See voids.h. */
#include "cold/voids.h"

typedef struct row {
    uint64_t hash;
    uint64_t version; /* 0: free */
} row;

struct firn_voids {
    firn_heap *heap;
    row *rows;
    size_t mask;
};

firn_voids *firn_voids_new(firn_heap *heap, size_t most) {
    size_t size = 16;
    while (size / 4 * 3 < most) { /* a quarter stays free, so that a search ends soon */
        size *= 2;
    }
    firn_voids *voids = firn_heap_alloc(heap, sizeof *voids);
    row *rows = firn_heap_alloc_table(heap, size * sizeof *rows);
    if (voids == NULL || rows == NULL) {
        firn_heap_free(heap, voids, sizeof *voids);
        firn_heap_free_table(heap, rows, size * sizeof *rows);
        return NULL;
    }
    *voids = (firn_voids){heap, rows, size - 1};
    return voids;
}

void firn_voids_free(firn_voids *voids) {
    if (voids != NULL) {
        firn_heap *heap = voids->heap;
        firn_heap_free_table(heap, voids->rows, (voids->mask + 1) * sizeof *voids->rows);
        firn_heap_free(heap, voids, sizeof *voids);
    }
}

/* The hash's row, or the free one where it would stand. */
static row *find(const firn_voids *voids, uint64_t hash) {
    size_t i = (size_t)(hash >> 20) & voids->mask;
    while (voids->rows[i].version != 0 && voids->rows[i].hash != hash) {
        i = (i + 1) & voids->mask;
    }
    return &voids->rows[i];
}

void firn_voids_add(firn_voids *voids, uint64_t hash, uint64_t version) {
    row *at = find(voids, hash);
    at->hash = hash;
    at->version = version > at->version ? version : at->version;
}

uint64_t firn_voids_below(const firn_voids *voids, uint64_t hash) {
    return find(voids, hash)->version;
}
