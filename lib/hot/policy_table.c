/* The list of eviction policies: one line each, the default first. */
#include <string.h>

#include <firn/options.h>

#include "hot/policy.h"

static const firn_policy_ops *const policies[] = {
    &firn_policy_lru,
    &firn_policy_sieve,
};

enum { POLICY_COUNT = sizeof policies / sizeof policies[0] };

const firn_policy_ops *firn_policy_find(const char *name) {
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
