/* Time: the wall clock that entries expire by, which the user can replace, and a monotonic clock
 * for budgets and intervals, which nobody can set back; and the sums that are done with spans of
 * time. */
#ifndef FIRN_BASE_CLOCK_H
#define FIRN_BASE_CLOCK_H

#include <stdint.h>

#include <firn/options.h>

/* Milliseconds since 1970 by the user's clock, or the system's if clock or its function is NULL. */
uint64_t firn_clock_now_ms(const firn_clock *clock);

/* The same, but the system's only to some milliseconds, for a few nanoseconds. */
uint64_t firn_clock_coarse_ms(const firn_clock *clock);

/* Nanoseconds since some fixed point. */
uint64_t firn_monotonic_ns(void);

/* The same to some milliseconds, for a few nanoseconds. */
uint64_t firn_coarse_ns(void);

#define FIRN_NS_PER_MS UINT64_C(1000000)

/* What would be too much is for ever. */
static inline uint64_t firn_ns_of_ms(uint64_t ms) {
    return ms < UINT64_MAX / FIRN_NS_PER_MS ? ms * FIRN_NS_PER_MS : UINT64_MAX;
}

/* A time that much later, of any clock; what is beyond all time is its end. */
static inline uint64_t firn_later(uint64_t time, uint64_t by) {
    return by < UINT64_MAX - time ? time + by : UINT64_MAX;
}

/* From one time to another, of any one clock; 0: that one was before. */
static inline uint64_t firn_span(uint64_t from, uint64_t to) {
    return to > from ? to - from : 0;
}

/* Whoever waits is to wait no longer than that. */
static inline void firn_wait_at_most(uint64_t *wait_ns, uint64_t ns) {
    *wait_ns = ns < *wait_ns ? ns : *wait_ns;
}

#endif
