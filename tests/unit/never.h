/* A policy of moves that wants nothing, for tests of what becomes of that. */
#ifndef FIRN_TESTS_NEVER_H
#define FIRN_TESTS_NEVER_H

#include <firn/firn.h>

static int refuse_all(void *state, const firn_candidate *candidate) {
    (void)state;
    (void)candidate;
    return 0;
}

static const firn_tier_policy never = {
    .size = sizeof(firn_tier_policy), .name = "never", .admits = refuse_all};

#endif
