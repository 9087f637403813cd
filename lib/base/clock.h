/* Time: the wall clock that entries expire by, which the user can replace, and a monotonic clock
 * for budgets and intervals, which nobody can set back. */
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

#endif
