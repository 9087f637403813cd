/* Clocks and latencies of the benchmarks beside peers. Knows nothing of what is measured. */
#ifndef PEERS_MEASURE_H
#define PEERS_MEASURE_H

#include <stdint.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

uint64_t now_ns(void);

/* Ticks of the finest clock. The fence keeps what is timed from leaking out. */
static inline uint64_t ticks(void) {
#if defined(__x86_64__)
    _mm_lfence();
    uint64_t result = __rdtsc();
    _mm_lfence();
    return result;
#else
    return now_ns();
#endif
}

/* Set by calibrate, which must come before anything is timed, and only read after. */
extern double ns_per_tick;
extern uint64_t ticks_overhead; /* of two calls of ticks */

void calibrate(void);

/* Latencies: 32 steps to each power of two, so within 3%. */
enum {
    HISTOGRAM_STEP_BITS = 5,
    HISTOGRAM_STEPS = 1 << HISTOGRAM_STEP_BITS,
    HISTOGRAM_SIZE = HISTOGRAM_STEPS * 60
};

typedef struct histogram {
    uint64_t counts[HISTOGRAM_SIZE];
    uint64_t total;
} histogram;

/* Adds a span in ticks. */
static inline void histogram_add(histogram *self, uint64_t value) {
    unsigned index = (unsigned)value;
    if (value >= HISTOGRAM_STEPS) {
        unsigned shift = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_STEP_BITS;
        index = (shift + 1) * HISTOGRAM_STEPS + (unsigned)(value >> shift) - HISTOGRAM_STEPS;
    }
    self->counts[index]++;
    self->total++;
}

void histogram_join(histogram *self, const histogram *other);

/* In nanoseconds; 0 if nothing was added. */
double histogram_quantile(const histogram *self, double quantile);

/* Prints the quantiles as fields of a line of JSON, each after a comma. */
void tell_latencies(const histogram *latencies);

#endif
