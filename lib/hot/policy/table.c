/* The list of eviction policies: one line each, the default first. */
#include <string.h>

#include <firn/options.h>

#include "hot/policy/policies.h"
#include "hot/policy_host.h"

static const firn_policy *const policies[] = {
    &firn_lru_policy,     &firn_slru_policy,   &firn_clock_policy,
    &firn_sieve_policy,   &firn_s3fifo_policy, &firn_arc_policy,
    &firn_tinylfu_policy, &firn_gdsf_policy,   &firn_auto_policy,
};

enum { POLICY_COUNT = sizeof policies / sizeof policies[0] };

const firn_policy *firn_policy_by_name(const char *name) {
    if (name == NULL) {
        return policies[0];
    }
    for (size_t i = 0; i < POLICY_COUNT; i++) {
        if (strcmp(policies[i]->name, name) == 0) {
            return policies[i];
        }
    }
    return NULL;
}

const char *firn_policy_name(unsigned index) {
    return index < POLICY_COUNT ? policies[index]->name : NULL;
}
