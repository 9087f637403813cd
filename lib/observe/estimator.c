/* The estimate as an object of the program's own, and reading a line: the parts of firn/curve.h
 * that need no cache. */
#include <firn/curve.h>

#include "observe/shards.h"

struct firn_estimator {
    firn_heap *heap; /* one reference */
    firn_shards *shards;
    uint64_t gets;
};

int firn_estimator_open(firn_estimator **estimator, uint64_t bytes, double sampling_rate) {
    if (estimator == NULL) {
        return FIRN_EINVAL;
    }
    *estimator = NULL;
    if (bytes < FIRN_CURVE_BYTES_MIN || bytes > SIZE_MAX / 2 || !(sampling_rate > 0) ||
        sampling_rate > 1) {
        return FIRN_EINVAL;
    }
    firn_heap *heap = firn_heap_new(NULL);
    firn_estimator *self = heap != NULL ? firn_heap_zalloc(heap, sizeof *self) : NULL;
    if (self != NULL) {
        self->heap = heap;
        self->shards = firn_shards_new(heap, (size_t)bytes - sizeof *self,
                                       firn_shards_threshold(sampling_rate), NULL);
    }
    if (self == NULL || self->shards == NULL) {
        firn_heap_free(heap, self, sizeof *self);
        firn_heap_unref(heap);
        return FIRN_ENOMEM;
    }
    *estimator = self;
    return FIRN_OK;
}

void firn_estimator_access(firn_estimator *estimator, uint64_t key_hash, uint64_t charge) {
    firn_shards_count(estimator->shards, 1, 0);
    firn_shards_get(estimator->shards, key_hash, charge != 0 ? charge : 1, 0);
}

void firn_estimator_remove(firn_estimator *estimator, uint64_t key_hash) {
    firn_shards_forget(estimator->shards, key_hash);
}

int firn_estimator_get_curve(const firn_estimator *estimator, firn_curve *curve) {
    if (estimator == NULL || curve == NULL || curve->size != sizeof *curve) {
        return FIRN_EINVAL;
    }
    firn_shards_curve(estimator->shards, curve);
    curve->total = (firn_curve_line){.count = 0};
    return FIRN_OK;
}

void firn_estimator_close(firn_estimator *estimator) {
    if (estimator != NULL) {
        firn_heap *heap = estimator->heap;
        firn_shards_free(estimator->shards);
        firn_heap_free(heap, estimator, sizeof *estimator);
        firn_heap_unref(heap);
    }
}

double firn_curve_at(const firn_curve_line *line, uint64_t bytes) {
    firn_curve_point before = {0, 0};
    for (size_t i = 0; i < line->count; i++) {
        firn_curve_point at = line->points[i];
        if (bytes <= at.bytes) {
            if (at.bytes == before.bytes) {
                return at.hit_ratio;
            }
            double part = (double)(bytes - before.bytes) / (double)(at.bytes - before.bytes);
            return before.hit_ratio + part * (at.hit_ratio - before.hit_ratio);
        }
        before = at;
    }
    return before.hit_ratio;
}
