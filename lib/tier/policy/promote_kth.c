/* Promotion "kth-hit": an entry comes up at the k-th hit below that is remembered, k being
 * options.promotion_hits. What is hit below leaves a ghost. Costs a 64th of hot_bytes. */
#include <stdbool.h>

#include "tier/policy/policies.h"

static int init(void *state, const firn_tier_host *host) {
    bool makes_sense = host->promotion_hits > 0 && host->promotion_hits <= FIRN_RECENT_COUNT_MAX;
    return makes_sense ? firn_ghost_state_init(state, host) : FIRN_EINVAL;
}

static int admits(void *memory, const firn_candidate *candidate) {
    firn_ghost_state *self = memory;
    if (firn_recent_meet(&self->ghosts, candidate->hash) < self->host->promotion_hits) {
        return 0;
    }
    firn_recent_forget(&self->ghosts, candidate->hash);
    return 1;
}

const firn_tier_policy firn_promote_kth_policy = {
    .size = sizeof(firn_tier_policy),
    .name = "kth-hit",
    .state_size = sizeof(firn_ghost_state),
    .init = init,
    .fini = firn_ghost_state_fini,
    .admits = admits,
};
