/* The policies of what moves between the tiers that there are. To add one, write a file with its
 * firn_tier_policy, name it here, and add a line to table.c.
 *
 * They know what firn/tiering.h tells them, and neither the cache nor each other. */
#ifndef FIRN_TIER_POLICY_POLICIES_H
#define FIRN_TIER_POLICY_POLICIES_H

#include <firn/tiering.h>

#include "base/recent.h"
#include "base/running_mean.h"

extern const firn_tier_policy firn_always_policy;
extern const firn_tier_policy firn_admit_frequent_policy;
extern const firn_tier_policy firn_admit_small_policy;
extern const firn_tier_policy firn_demote_second_policy;
extern const firn_tier_policy firn_demote_frequent_policy;
extern const firn_tier_policy firn_demote_small_policy;
extern const firn_tier_policy firn_demote_budget_policy;
extern const firn_tier_policy firn_promote_kth_policy;
extern const firn_tier_policy firn_promote_gain_policy;

/* NULL: there is none of that name. name NULL: the default. */
const firn_tier_policy *firn_tier_policy_by_name(unsigned question, const char *name);

/* ghosts.c: the state of a policy that has ghosts and nothing else, and its init and fini: as many
 * as a 64th of hot_bytes holds, from 64 to a million. */
typedef struct firn_ghost_state {
    const firn_tier_host *host;
    firn_recent ghosts;
} firn_ghost_state;
int firn_ghost_state_init(void *state, const firn_tier_host *host);
void firn_ghost_state_fini(void *state);

/* How much an entry is worth to a policy: how often it is wanted, times what it costs to make. An
 * entry whose cost is unknown costs what others do. costs: of the known ones; is updated. */
static inline double firn_candidate_worth(const firn_candidate *candidate,
                                          firn_running_mean *costs) {
    if (candidate->cost_us > 0) {
        firn_running_mean_add(costs, (double)candidate->cost_us);
        return candidate->frequency * (double)candidate->cost_us;
    }
    return candidate->frequency * (costs->count > 0 ? costs->mean : 1);
}

#endif
