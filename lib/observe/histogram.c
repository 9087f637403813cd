/* See histogram.h. */
#include "observe/histogram.h"

#include <string.h>

#include "observe/counters.h"

_Static_assert(FIRN_LATENCY_BUCKETS ==
                   (FIRN_LATENCY_TOP_BITS - FIRN_LATENCY_SUB_BITS + 1) * FIRN_LATENCY_SUBS,
               "buckets up to the top");

unsigned firn_histogram_bucket(uint64_t ns) {
    if (ns < FIRN_LATENCY_SUBS) {
        return (unsigned)ns;
    }
    if (ns >> FIRN_LATENCY_TOP_BITS != 0) {
        return FIRN_LATENCY_BUCKETS - 1;
    }
    unsigned bits = 63 - (unsigned)__builtin_clzll(ns); /* at least FIRN_LATENCY_SUB_BITS */
    unsigned shift = bits - FIRN_LATENCY_SUB_BITS;
    return (shift + 1) * FIRN_LATENCY_SUBS + (unsigned)(ns >> shift) - FIRN_LATENCY_SUBS;
}

firn_histograms *firn_histograms_new(firn_heap *heap) {
    return firn_heap_alloc_sparse(heap, sizeof(firn_histograms));
}

void firn_histograms_free(firn_histograms *self, firn_heap *heap) {
    firn_heap_free_sparse(heap, self, sizeof *self);
}

void firn_histograms_add(firn_histograms *self, unsigned kind, uint64_t ns) {
    unsigned stripe = (unsigned)((firn_thread_name() >> 6) * UINT64_C(0x9e3779b97f4a7c15) >> 62);
    firn_histogram *own = &self->of[kind][stripe];
    atomic_fetch_add_explicit(&own->counts[firn_histogram_bucket(ns)], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&own->sum_ns, ns, memory_order_relaxed);
    uint64_t max = atomic_load_explicit(&own->max_ns, memory_order_relaxed);
    while (ns > max && !atomic_compare_exchange_weak_explicit(
                           &own->max_ns, &max, ns, memory_order_relaxed, memory_order_relaxed)) {
    }
}

void firn_histograms_sum(const firn_histograms *self, unsigned kind, firn_latency *latency) {
    memset(latency, 0, sizeof *latency);
    for (unsigned i = 0; i < FIRN_LATENCY_STRIPES; i++) {
        const firn_histogram *one = &self->of[kind][i];
        uint64_t max = atomic_load_explicit(&one->max_ns, memory_order_relaxed);
        uint64_t sum = atomic_load_explicit(&one->sum_ns, memory_order_relaxed);
        latency->sum_ns += sum;
        latency->max_ns = max > latency->max_ns ? max : latency->max_ns;
        for (unsigned j = 0; j < FIRN_LATENCY_BUCKETS && sum > 0; j++) {
            latency->counts[j] += atomic_load_explicit(&one->counts[j], memory_order_relaxed);
        }
    }
}
