/* Promotion "gain": an entry comes up if what it brings there, for the memory it takes, is not much
 * less than what has to go for it brought: how often it is wanted, times its cost, over its charge,
 * against the same of all together that was evicted lately. The sketch of frequencies remembers
 * what was refused, as ghosts do: each hit below counts. */
#include "tier/policy/policies.h"

/* What is wanted now is wanted again sooner than what was wanted as often, but long ago. */
#define NOT_MUCH_LESS 0.5

typedef struct state {
    firn_running_mean worths; /* of what was evicted */
    firn_running_mean charges;
    firn_running_mean costs;
} state;

static void evicted(void *memory, const firn_candidate *candidate) {
    state *self = memory;
    firn_running_mean_add(&self->worths, firn_candidate_worth(candidate, &self->costs));
    firn_running_mean_add(&self->charges, (double)candidate->charge);
}

static int admits(void *memory, const firn_candidate *candidate) {
    state *self = memory;
    double worth = firn_candidate_worth(candidate, &self->costs);
    return worth * self->charges.mean >=
           NOT_MUCH_LESS * self->worths.mean * (double)candidate->charge;
}

const firn_tier_policy firn_promote_gain_policy = {
    .size = sizeof(firn_tier_policy),
    .name = "gain",
    .state_size = sizeof(state),
    .wants = FIRN_WANTS_FREQUENCY,
    .admits = admits,
    .evicted = evicted,
};
