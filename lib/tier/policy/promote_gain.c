/* Promotion "gain": an entry comes up if what it brings there is at least what has to go for it
 * brought: how often it is wanted, times its cost, over the memory it takes, against the same of
 * what was evicted lately. The sketch of frequencies remembers what was refused: each hit below
 * counts. */
#include "tier/policy/policies.h"

typedef struct state {
    firn_running_mean gains; /* of what was evicted */
    firn_running_mean costs;
} state;

static double gain_of(state *self, const firn_candidate *candidate) {
    return firn_candidate_worth(candidate, &self->costs) / (double)candidate->charge;
}

static void evicted(void *memory, const firn_candidate *candidate) {
    state *self = memory;
    firn_running_mean_add(&self->gains, gain_of(self, candidate));
}

static int admits(void *memory, const firn_candidate *candidate) {
    state *self = memory;
    return gain_of(self, candidate) >= self->gains.mean;
}

const firn_tier_policy firn_promote_gain_policy = {
    .size = sizeof(firn_tier_policy),
    .name = "gain",
    .state_size = sizeof(state),
    .wants = FIRN_WANTS_FREQUENCY,
    .admits = admits,
    .evicted = evicted,
};
