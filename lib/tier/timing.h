/* What is timed, and when: see firn/metrics.h.
 *
 * What is too quick to be timed each time is sampled: the counter of such operations, which is
 * bumped anyway, says every so often that the next one of the cache is to be timed, if the last was
 * not just now. A word says so, which those operations look at. To find it set costs them a
 * call; to set it costs the other processors a cache line, some thousand times a second at the
 * most. */
#ifndef FIRN_TIER_TIMING_H
#define FIRN_TIER_TIMING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <firn/metrics.h>

#include "observe/counters.h"

struct firn_cache;

/* Bits of the word. It is written by load and store, so that a change may get lost: then a sample
 * is missed, or one more taken. */
enum {
    FIRN_ATTEND_SAMPLE = 1,  /* the next is to be timed */
    FIRN_ATTEND_HANDLES = 2, /* of gets: handles are noted. Set by the open, and for ever */
};

typedef struct firn_sampler {
    _Atomic unsigned attend;  /* relaxed, as the next */
    _Atomic uint64_t last_ns; /* when a sample was asked for last */
} firn_sampler;

typedef struct firn_timing {
    firn_sampler gets;
    firn_sampler puts;
    firn_sampler deletes;
} firn_timing;

/* It took from began_ns to now. */
void firn_time(struct firn_cache *cache, unsigned kind, uint64_t began_ns);
/* The same, until ended_ns. */
void firn_time_span(struct firn_cache *cache, unsigned kind, uint64_t began_ns, uint64_t ended_ns);

/* So many operations were counted that the next one may have to be timed. */
void firn_sample_soon(firn_sampler *sampler);

/* True: the next was to be timed, and is this one. */
static inline bool firn_sample_taken(firn_sampler *sampler) {
    unsigned bits = atomic_load_explicit(&sampler->attend, memory_order_relaxed);
    if (__builtin_expect((bits & FIRN_ATTEND_SAMPLE) == 0, 1)) {
        return false;
    }
    atomic_store_explicit(&sampler->attend, bits & ~(unsigned)FIRN_ATTEND_SAMPLE,
                          memory_order_relaxed);
    return true;
}

/* Counts an operation; one of `every`, a power of two, has another one timed. */
static inline void firn_count_sampled(firn_counters *counters, enum firn_event event,
                                      firn_sampler *sampler, unsigned every) {
    if (__builtin_expect(firn_count(counters, event, 1) % every == 0, 0)) {
        firn_sample_soon(sampler);
    }
}

#endif
