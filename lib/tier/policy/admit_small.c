/* Admission "size": a new entry gets a place in memory if it takes no more of it than it is wanted
 * for: one that was seen once may be as large as what is evicted is on the average, one that was
 * seen three times three times as large. While nothing had to go, all have a place. */
#include "tier/policy/policies.h"

typedef struct state {
    firn_running_mean charges; /* of what was evicted */
} state;

static void evicted(void *memory, const firn_candidate *candidate) {
    state *self = memory;
    firn_running_mean_add(&self->charges, (double)candidate->charge);
}

static int admits(void *memory, const firn_candidate *candidate) {
    const state *self = memory;
    return self->charges.count == 0 ||
           (double)candidate->charge <= candidate->frequency * self->charges.mean;
}

const firn_tier_policy firn_admit_small_policy = {
    .size = sizeof(firn_tier_policy),
    .name = "size",
    .state_size = sizeof(state),
    .wants = FIRN_WANTS_FREQUENCY,
    .admits = admits,
    .evicted = evicted,
};
