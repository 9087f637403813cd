/* What the tests of watching share: small caches without a thread, and entries for them. */
#ifndef FIRN_TESTS_WATCHING_H
#define FIRN_TESTS_WATCHING_H

#include <check.h>
#include <stdio.h>
#include <string.h>

#include <firn/firn.h>

#include "unit/point.h"

static firn_options by_hand(void) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.threads = 0;
    options.hot_bytes = 256 << 10;
    return options;
}

static void put(firn_cache *cache, const char *key, size_t value_size) {
    static char value[20000];
    ck_assert_int_eq(firn_put(cache, key, strlen(key), value, value_size, NULL), FIRN_OK);
}

/* More than memory holds. */
static void flood(firn_cache *cache) {
    for (unsigned i = 0; i < 40; i++) {
        char key[16];
        snprintf(key, sizeof key, "large %u", i);
        put(cache, key, 10000);
    }
}

#endif
