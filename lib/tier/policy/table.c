/* The lists of policies of what moves between the tiers: one line each, the default first. */
#include <stdbool.h>
#include <string.h>

#include "tier/policy/policies.h"

enum { QUESTIONS = 3, MOST = 8 };

const firn_tier_policy firn_always_policy = {
    .size = sizeof(firn_tier_policy),
    .name = "always",
};

/* Ended by NULL. */
static const firn_tier_policy *const policies[QUESTIONS][MOST] = {
    [FIRN_ADMISSION] =
        {
            &firn_always_policy,
            &firn_admit_frequent_policy,
            &firn_admit_small_policy,
        },
    [FIRN_DEMOTION] =
        {
            &firn_always_policy,
            &firn_demote_second_policy,
            &firn_demote_frequent_policy,
            &firn_demote_small_policy,
            &firn_demote_budget_policy,
        },
    [FIRN_PROMOTION] =
        {
            &firn_always_policy,
            &firn_promote_kth_policy,
            &firn_promote_gain_policy,
        },
};

const firn_tier_policy *firn_tier_policy_by_name(unsigned question, const char *name) {
    const firn_tier_policy *const *list = policies[question];
    for (unsigned i = 0; list[i] != NULL; i++) {
        if (name == NULL || strcmp(list[i]->name, name) == 0) {
            return list[i];
        }
    }
    return NULL;
}

const char *firn_tier_policy_name(unsigned question, unsigned index) {
    bool there = question < QUESTIONS && index < MOST && policies[question][index] != NULL;
    return there ? policies[question][index]->name : NULL;
}
