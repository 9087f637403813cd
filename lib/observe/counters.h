/* Event counters that many threads may bump at once.
 *
 * Each event has a counter in each of several stripes, a cache line apart; a thread always uses the
 * same one, so that two threads seldom meet on a line. Knows what can be counted, not what it means
 * for the cache. */
#ifndef FIRN_OBSERVE_COUNTERS_H
#define FIRN_OBSERVE_COUNTERS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

enum firn_event {
    FIRN_EVENT_HOT_HIT,
    FIRN_EVENT_COLD_HIT,
    FIRN_EVENT_MISS,
    FIRN_EVENT_PUT,
    FIRN_EVENT_DELETE,
    FIRN_EVENT_EVICTION,
    FIRN_EVENT_DEMOTION,
    FIRN_EVENT_CLEAN_DEMOTION,
    FIRN_EVENT_WRITE,
    FIRN_EVENT_PROMOTION,
    FIRN_EVENT_PROMOTION_DECLINED,
    FIRN_EVENT_WARMED,
    FIRN_EVENT_DROPPED_MEMORY_ONLY,
    FIRN_EVENT_DROPPED_BACKPRESSURE,
    FIRN_EVENT_DROPPED_TOO_LARGE,
    FIRN_EVENT_RECLAIMED_HOT,
    FIRN_EVENT_EXPIRED,
    FIRN_EVENT_BACKPRESSURE_WAIT,
    FIRN_EVENT_BACKPRESSURE_NS,
    FIRN_EVENT_COUNT
};

enum { FIRN_COUNTER_STRIPES = 64 }; /* 2^6: see firn_count */

typedef struct firn_counters {
    /* Relaxed: each is a number by itself. */
    struct {
        _Alignas(64) _Atomic uint64_t events[FIRN_EVENT_COUNT];
    } stripes[FIRN_COUNTER_STRIPES];
} firn_counters;

static inline void firn_count(firn_counters *counters, enum firn_event event, uint64_t amount) {
    /* The address of a thread's own memory, spread: the cheapest way to tell threads apart. */
    uint64_t stripe =
        ((uint64_t)(uintptr_t)pthread_self() >> 6) * UINT64_C(0x9e3779b97f4a7c15) >> 58;
    atomic_fetch_add_explicit(&counters->stripes[stripe].events[event], amount,
                              memory_order_relaxed);
}

static inline uint64_t firn_counted(const firn_counters *counters, enum firn_event event) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < FIRN_COUNTER_STRIPES; i++) {
        sum += atomic_load_explicit(&counters->stripes[i].events[event], memory_order_relaxed);
    }
    return sum;
}

#endif
