/* Event counters that many threads may bump at once.
 *
 * Each event has counters in each of several stripes, cache lines apart; a thread always uses the
 * same stripe, so that two threads seldom meet on a line. The first thread to come to a stripe owns
 * it for good and counts without an atomic addition; others that the spread brings to the same one
 * count beside it, with one. Knows what can be counted, not what it means for the cache. */
#ifndef FIRN_OBSERVE_COUNTERS_H
#define FIRN_OBSERVE_COUNTERS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
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
    FIRN_EVENT_ADMISSION_REFUSED,
    FIRN_EVENT_DEMOTION_REFUSED,
    FIRN_EVENT_DROPPED_MEMORY_ONLY,
    FIRN_EVENT_DROPPED_BACKPRESSURE,
    FIRN_EVENT_DROPPED_TOO_LARGE,
    FIRN_EVENT_DROPPED_UNENCODED,
    FIRN_EVENT_DECODE_FAILURE,
    FIRN_EVENT_INVALIDATED,
    FIRN_EVENT_UNKEPT,
    FIRN_EVENT_COLLECTED,
    FIRN_EVENT_RECLAIMED_HOT,
    FIRN_EVENT_EXPIRED,
    FIRN_EVENT_CLEARED,
    FIRN_EVENT_BACKPRESSURE_WAIT,
    FIRN_EVENT_BACKPRESSURE_NS,
    FIRN_EVENT_LOAD,
    FIRN_EVENT_LOAD_FAILURE,
    FIRN_EVENT_LOAD_JOINED,
    FIRN_EVENT_LOAD_NS,
    FIRN_EVENT_REFRESH,
    FIRN_EVENT_STALE_SERVED,
    FIRN_EVENT_NEGATIVE_HIT,
    FIRN_EVENT_COUNT
};

enum { FIRN_COUNTER_STRIPES = 64 }; /* 2^6: see firn_count */

typedef struct firn_counters {
    /* Relaxed: each is a number by itself. */
    struct firn_counter_stripe {
        _Alignas(64) _Atomic uint64_t owner;       /* a thread's name, see below; 0: nobody yet */
        _Atomic uint64_t owners[FIRN_EVENT_COUNT]; /* written by the owner alone */
        _Atomic uint64_t others[FIRN_EVENT_COUNT]; /* added to by the other threads */
    } stripes[FIRN_COUNTER_STRIPES];
} firn_counters;

/* The address of a thread's own memory: the cheapest way to tell threads apart. A thread that ended
 * may have left its name to a later one, which then goes on with its counters: the memory could not
 * have become the new thread's before all that the old one wrote was written. */
static inline uint64_t firn_thread_name(void) {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 11
    return (uint64_t)(uintptr_t)__builtin_thread_pointer(); /* the same, and no call */
#else
    return (uint64_t)(uintptr_t)pthread_self();
#endif
}

/* True: the stripe is the thread's own from now on. */
static inline bool firn_count_claim(struct firn_counter_stripe *stripe, uint64_t name) {
    uint64_t nobody = 0;
    return atomic_load_explicit(&stripe->owner, memory_order_relaxed) == 0 &&
           atomic_compare_exchange_strong_explicit(&stripe->owner, &nobody, name,
                                                   memory_order_relaxed, memory_order_relaxed);
}

/* The number of the thread's stripe. */
static inline unsigned firn_count_stripe(uint64_t name) {
    return (unsigned)((name >> 6) * UINT64_C(0x9e3779b97f4a7c15) >> 58);
}

/* Returns what the thread, or those that share with it, counted of the event by now. */
static inline uint64_t firn_count(firn_counters *counters, enum firn_event event, uint64_t amount) {
    uint64_t name = firn_thread_name();
    struct firn_counter_stripe *stripe = &counters->stripes[firn_count_stripe(name)];
    if (__builtin_expect(atomic_load_explicit(&stripe->owner, memory_order_relaxed) == name, 1) ||
        firn_count_claim(stripe, name)) {
        uint64_t count = atomic_load_explicit(&stripe->owners[event], memory_order_relaxed);
        atomic_store_explicit(&stripe->owners[event], count + amount, memory_order_relaxed);
        return count + amount;
    }
    return atomic_fetch_add_explicit(&stripe->others[event], amount, memory_order_relaxed) + amount;
}

static inline uint64_t firn_counted_in(const struct firn_counter_stripe *stripe,
                                       enum firn_event event) {
    return atomic_load_explicit(&stripe->owners[event], memory_order_relaxed) +
           atomic_load_explicit(&stripe->others[event], memory_order_relaxed);
}

/* What the calling thread counted, and those that share its stripe. */
static inline uint64_t firn_counted_here(const firn_counters *counters, enum firn_event event) {
    return firn_counted_in(&counters->stripes[firn_count_stripe(firn_thread_name())], event);
}

static inline uint64_t firn_counted(const firn_counters *counters, enum firn_event event) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < FIRN_COUNTER_STRIPES; i++) {
        sum += firn_counted_in(&counters->stripes[i], event);
    }
    return sum;
}

#endif
