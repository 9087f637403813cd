/* Promotion "kth-hit": an entry comes up at the k-th hit below that is remembered, k being
 * options.promotion_hits. What is hit below leaves a ghost. Costs a 64th of hot_bytes. */
#include "tier/policy/policies.h"

typedef struct state {
    const firn_tier_host *host;
    firn_recent ghosts;
} state;

static int init(void *memory, const firn_tier_host *host) {
    state *self = memory;
    self->host = host;
    if (host->promotion_hits == 0 || host->promotion_hits > FIRN_RECENT_COUNT_MAX) {
        return FIRN_EINVAL;
    }
    return firn_ghosts_begin(&self->ghosts, host);
}

static void fini(void *memory) {
    state *self = memory;
    firn_ghosts_end(&self->ghosts, self->host);
}

static int admits(void *memory, const firn_candidate *candidate) {
    state *self = memory;
    if (firn_recent_meet(&self->ghosts, candidate->hash) < self->host->promotion_hits) {
        return 0;
    }
    firn_recent_forget(&self->ghosts, candidate->hash);
    return 1;
}

const firn_tier_policy firn_promote_kth_policy = {
    .size = sizeof(firn_tier_policy),
    .name = "kth-hit",
    .state_size = sizeof(state),
    .init = init,
    .fini = fini,
    .admits = admits,
};
