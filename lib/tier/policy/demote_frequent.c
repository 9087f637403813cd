/* Demotion "frequency": an entry is written below if it was seen at least twice lately, in memory
 * or before it came there. Unlike "reject-first" it hears of hits: what was used again while it was
 * in memory is written at its first eviction. */
#include "tier/policy/policies.h"

enum { LEAST = 2 };

static int admits(void *memory, const firn_candidate *candidate) {
    (void)memory;
    return candidate->frequency >= LEAST;
}

const firn_tier_policy firn_demote_frequent_policy = {
    .size = sizeof(firn_tier_policy),
    .name = "frequency",
    .wants = FIRN_WANTS_FREQUENCY,
    .admits = admits,
};
