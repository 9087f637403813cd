/* Admission "frequency": a new entry gets a place in memory if it was seen at least as often lately
 * as what is evicted was, on the average, after Einziger, Friedman and Manes ("TinyLFU", ACM TOS
 * 2017), who compare with the very victim. While nothing had to go, all have a place. */
#include "tier/policy/policies.h"

typedef struct state {
    firn_running_mean frequencies; /* of what was evicted */
} state;

static void evicted(void *memory, const firn_candidate *candidate) {
    state *self = memory;
    firn_running_mean_add(&self->frequencies, candidate->frequency);
}

static int admits(void *memory, const firn_candidate *candidate) {
    const state *self = memory;
    return candidate->frequency >= self->frequencies.mean;
}

const firn_tier_policy firn_admit_frequent_policy = {
    .size = sizeof(firn_tier_policy),
    .name = "frequency",
    .state_size = sizeof(state),
    .wants = FIRN_WANTS_FREQUENCY,
    .admits = admits,
    .evicted = evicted,
};
