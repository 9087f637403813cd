/* The exact hit ratio of a cache that evicts what was used least recently, at every size at once
 * (Mattson, Gecsei, Slutz, Traiger 1970): what the estimate of firn/curve.h is measured against.
 * For each access, the charges of what was used since are added up by a tree over all accesses.
 * Memory grows with the number of accesses. */
#ifndef FIRN_TESTS_STACK_DISTANCE_H
#define FIRN_TESTS_STACK_DISTANCE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

typedef struct distances {
    uint64_t *tree;    /* charges by the time of the last use */
    uint32_t *last;    /* of each key: time of its last use, from 1; 0: none yet */
    uint32_t *charges; /* of each key */
    uint64_t *sizes;   /* at which accesses hit, sorted in the end */
    uint64_t accesses;
    uint64_t accesses_max;
    uint64_t reused;
    uint64_t charge; /* of all keys */
} distances;

static void distances_fini(distances *self) {
    free(self->tree);
    free(self->last);
    free(self->charges);
    free(self->sizes);
}

/* False: no memory. */
static bool distances_init(distances *self, uint32_t keys, uint64_t accesses_max) {
    *self = (distances){.accesses_max = accesses_max};
    self->tree = calloc(accesses_max + 1, sizeof *self->tree);
    self->last = calloc(keys, sizeof *self->last);
    self->charges = calloc(keys, sizeof *self->charges);
    self->sizes = malloc((accesses_max + 1) * sizeof *self->sizes);
    if (self->tree != NULL && self->last != NULL && self->charges != NULL && self->sizes != NULL) {
        return true;
    }
    distances_fini(self);
    return false;
}

static void distances_change(distances *self, uint64_t time, uint64_t amount) {
    for (; time <= self->accesses_max; time += time & -time) {
        self->tree[time] += amount;
    }
}

static void distances_add(distances *self, uint32_t key, uint32_t charge) {
    uint64_t now = ++self->accesses;
    uint64_t last = self->last[key];
    if (last != 0) {
        uint64_t before = 0;
        for (uint64_t time = last; time > 0; time -= time & -time) {
            before += self->tree[time];
        }
        self->sizes[self->reused++] = self->charge - before + self->charges[key];
        distances_change(self, last, 0 - (uint64_t)self->charges[key]);
        self->charge -= self->charges[key];
    }
    self->last[key] = (uint32_t)now;
    self->charges[key] = charge;
    self->charge += charge;
    distances_change(self, now, charge);
}

static int distances_compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* After the last access. */
static void distances_finish(distances *self) {
    qsort(self->sizes, self->reused, sizeof *self->sizes, distances_compare);
}

static uint64_t distances_footprint(const distances *self) {
    return self->charge;
}

static double distances_hit_ratio(const distances *self, uint64_t size) {
    uint64_t low = 0;
    uint64_t high = self->reused;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (self->sizes[middle] <= size) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return self->accesses > 0 ? (double)low / (double)self->accesses : 0;
}

#endif
