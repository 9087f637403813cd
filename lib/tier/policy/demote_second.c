/* Demotion "reject-first": an entry is written below at its second eviction.
 *
 * Most of what is evicted is never wanted again; what comes a second time may well come a third.
 * The first eviction leaves a ghost. Costs a 64th of hot_bytes. */
#include "tier/policy/policies.h"

typedef struct state {
    const firn_tier_host *host;
    firn_recent ghosts;
} state;

static int init(void *memory, const firn_tier_host *host) {
    state *self = memory;
    self->host = host;
    return firn_ghosts_begin(&self->ghosts, host);
}

static void fini(void *memory) {
    state *self = memory;
    firn_ghosts_end(&self->ghosts, self->host);
}

static int admits(void *memory, const firn_candidate *candidate) {
    state *self = memory;
    return firn_recent_meet(&self->ghosts, candidate->hash) > 1;
}

const firn_tier_policy firn_demote_second_policy = {
    .size = sizeof(firn_tier_policy),
    .name = "reject-first",
    .state_size = sizeof(state),
    .init = init,
    .fini = fini,
    .admits = admits,
};
