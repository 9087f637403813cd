/* See measure.h. */
#include "measure.h"

#include <stdio.h>
#include <time.h>

double ns_per_tick;
uint64_t ticks_overhead;

uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

void calibrate(void) {
    uint64_t began_ns = now_ns();
    uint64_t began = ticks();
    ticks_overhead = UINT64_MAX;
    while (now_ns() - began_ns < 20000000) {
        uint64_t first = ticks();
        uint64_t spent = ticks() - first;
        ticks_overhead = spent < ticks_overhead ? spent : ticks_overhead;
    }
    ns_per_tick = (double)(now_ns() - began_ns) / (double)(ticks() - began);
}

void histogram_join(histogram *self, const histogram *other) {
    for (unsigned i = 0; i < HISTOGRAM_SIZE; i++) {
        self->counts[i] += other->counts[i];
    }
    self->total += other->total;
}

/* The middle of what is counted at the index. */
static double value_at(unsigned index) {
    if (index < HISTOGRAM_STEPS) {
        return index;
    }
    unsigned shift = index / HISTOGRAM_STEPS - 1;
    return (double)((index % HISTOGRAM_STEPS + HISTOGRAM_STEPS) * (UINT64_C(1) << shift)) +
           (double)(UINT64_C(1) << shift) / 2;
}

double histogram_quantile(const histogram *self, double quantile) {
    uint64_t rank = (uint64_t)(quantile * (double)self->total);
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_SIZE; i++) {
        seen += self->counts[i];
        if (seen > rank) {
            return value_at(i) * ns_per_tick;
        }
    }
    return 0;
}

void tell_latencies(const histogram *latencies) {
    printf(", \"p50_ns\": %.4g, \"p90_ns\": %.4g, \"p99_ns\": %.4g, \"p999_ns\": %.4g",
           histogram_quantile(latencies, 0.5), histogram_quantile(latencies, 0.9),
           histogram_quantile(latencies, 0.99), histogram_quantile(latencies, 0.999));
}
