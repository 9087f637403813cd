/* Demotion "reject-first": an entry is written below at its second eviction.
 *
 * Most of what is evicted is never wanted again; what comes a second time may well come a third.
 * The first eviction leaves a ghost. Costs a 64th of hot_bytes. */
#include "tier/policy/policies.h"

static int admits(void *memory, const firn_candidate *candidate) {
    firn_ghost_state *self = memory;
    return firn_recent_meet(&self->ghosts, candidate->hash) > 1;
}

const firn_tier_policy firn_demote_second_policy = {
    .size = sizeof(firn_tier_policy),
    .name = "reject-first",
    .state_size = sizeof(firn_ghost_state),
    .init = firn_ghost_state_init,
    .fini = firn_ghost_state_fini,
    .admits = admits,
};
