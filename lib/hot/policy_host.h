/* What stands behind an eviction policy: a shard of the hot tier, or a simulation of one.
 *
 * Built-in policies include this for the short ways; knows neither shards nor simulations. */
#ifndef FIRN_HOT_POLICY_HOST_H
#define FIRN_HOT_POLICY_HOST_H

#include <stdatomic.h>
#include <stdint.h>

#include <firn/policy.h>

#include "base/heap.h"
#include "object/entry.h"

struct firn_policy_host {
    uint64_t (*hash)(const firn_policy_host *host, const firn_entry *entry);
    uint64_t (*charge)(const firn_policy_host *host, const firn_entry *entry);
    uint64_t (*cost)(const firn_policy_host *host, const firn_entry *entry); /* 0: unknown */
    firn_heap *heap;
    _Atomic uint64_t *overhead; /* bytes given by firn_policy_alloc: a gauge, relaxed */
};

/* NULL: no such policy. name NULL: the default. */
const firn_policy *firn_policy_by_name(const char *name);

#endif
