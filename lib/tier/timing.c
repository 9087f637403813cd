/* See timing.h. */
#include "tier/timing.h"

#include "observe/histogram.h"
#include "observe/probes.h"
#include "tier/cache.h"

enum { SAMPLES_APART_NS = 100000 };

void firn_time_span(firn_cache *cache, unsigned kind, uint64_t began_ns, uint64_t ended_ns) {
    uint64_t ns = ended_ns > began_ns ? ended_ns - began_ns : 0;
    FIRN_PROBE2(timed, kind, ns);
    firn_histograms_add(cache->histograms, kind, ns);
}

void firn_time(firn_cache *cache, unsigned kind, uint64_t began_ns) {
    firn_time_span(cache, kind, began_ns, firn_monotonic_ns());
}

__attribute__((noinline, cold)) void firn_sample_soon(firn_sampler *sampler) {
    uint64_t now_ns = firn_monotonic_ns();
    if (now_ns - atomic_load_explicit(&sampler->last_ns, memory_order_relaxed) >=
        SAMPLES_APART_NS) {
        atomic_store_explicit(&sampler->last_ns, now_ns, memory_order_relaxed);
        unsigned bits = atomic_load_explicit(&sampler->attend, memory_order_relaxed);
        atomic_store_explicit(&sampler->attend, bits | FIRN_ATTEND_SAMPLE, memory_order_relaxed);
    }
}
