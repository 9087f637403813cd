/* What suites of the cache share: a clock that stands still, entries that are put and looked for,
 * and the counters. Not in support.h, for not every suite means the same by these words. */
#ifndef FIRN_TESTS_ENTRIES_H
#define FIRN_TESTS_ENTRIES_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <firn/firn.h>

#include "unit/point.h"

/* What fake_clock says. Tests move it while threads read it. */
__attribute__((unused)) static _Atomic uint64_t fake_now_ms;

__attribute__((unused)) static uint64_t fake_clock(void *context) {
    (void)context;
    return fake_now_ms;
}

/* Options of a cache without a thread, by a clock that stands still until it is moved. */
__attribute__((unused)) static firn_options clocked(void) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.clock.now_ms = fake_clock;
    options.threads = 0;
    fake_now_ms = 1000000;
    return options;
}

__attribute__((unused)) static firn_stats stats_of(firn_cache *cache) {
    firn_stats stats = FIRN_STATS_INIT;
    ck_assert_int_eq(firn_get_stats(cache, &stats), FIRN_OK);
    return stats;
}

__attribute__((unused)) static void put_text(firn_cache *cache, const char *key,
                                             const char *value) {
    ck_assert_int_eq(firn_put(cache, key, strlen(key), value, strlen(value), NULL), FIRN_OK);
}

/* By a get, which is a hit and brings the entry up. */
__attribute__((unused)) static bool finds(firn_cache *cache, const char *key) {
    firn_object *object;
    int result = firn_get(cache, key, strlen(key), &object);
    ck_assert(result == FIRN_OK || result == FIRN_NOT_FOUND);
    firn_object_unref(object);
    return result == FIRN_OK;
}

/* Puts so many entries of a kilobyte each, the same each time, which push others out of memory. */
__attribute__((unused)) static void push_out(firn_cache *cache, int count) {
    char filler[1000] = {0};
    for (int i = 0; i < count; i++) {
        ck_assert_int_eq(firn_put(cache, &i, sizeof i, filler, sizeof filler, NULL), FIRN_OK);
    }
}

#endif
