/* See clock.h. */
#include "base/clock.h"

#include <stddef.h>
#include <time.h>

uint64_t firn_clock_now_ms(const firn_clock *clock) {
    if (clock != NULL && clock->now_ms != NULL) {
        return clock->now_ms(clock->context);
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t firn_clock_coarse_ms(const firn_clock *clock) {
    if (clock != NULL && clock->now_ms != NULL) {
        return clock->now_ms(clock->context);
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t firn_monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t firn_coarse_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
