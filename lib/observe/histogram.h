/* How long things take: histograms that many threads add to, in log-linear buckets (as those of
 * HdrHistogram): sixteen for each power of two nanoseconds.
 *
 * Each is there a few times over; a thread uses the same one always, so that those that time
 * everything seldom meet on a line. Knows nanoseconds, not what took them. */
#ifndef FIRN_OBSERVE_HISTOGRAM_H
#define FIRN_OBSERVE_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

#include <firn/metrics.h>

#include "base/heap.h"

enum {
    FIRN_LATENCY_STRIPES = 4, /* 2^2: see histogram.c */
    FIRN_LATENCY_SUB_BITS = 4,
    FIRN_LATENCY_SUBS = 1 << FIRN_LATENCY_SUB_BITS, /* buckets of a power of two */
    FIRN_LATENCY_TOP_BITS = 40, /* times below 2^40 have a bucket of their own size */
};

/* Relaxed: each is a number by itself. */
typedef struct firn_histogram {
    _Alignas(64) _Atomic uint64_t sum_ns;
    _Atomic uint64_t max_ns;
    _Atomic uint64_t counts[FIRN_LATENCY_BUCKETS];
} firn_histogram;

typedef struct firn_histograms {
    firn_histogram of[FIRN_LATENCY_COUNT][FIRN_LATENCY_STRIPES];
} firn_histograms;

/* NULL: no memory. */
firn_histograms *firn_histograms_new(firn_heap *heap);
/* self: may be NULL. */
void firn_histograms_free(firn_histograms *self, firn_heap *heap);

/* Safe from any thread. */
void firn_histograms_add(firn_histograms *self, unsigned kind, uint64_t ns);

/* Sums one up, for whoever looks. */
void firn_histograms_sum(const firn_histograms *self, unsigned kind, firn_latency *latency);

/* The bucket of a time; the opposite is firn_latency_bucket_ns. */
unsigned firn_histogram_bucket(uint64_t ns);

#endif
