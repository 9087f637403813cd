/* What a cache knows of its groups; see groups.c. */
#ifndef FIRN_TIER_GROUPS_H
#define FIRN_TIER_GROUPS_H

#include <pthread.h>
#include <stdint.h>

#include "base/heap.h"
#include "base/prefixes.h"
#include "observe/counters.h"

/* Written before there is an object of it, immutable then. */
typedef struct firn_group {
    firn_counters *counters; /* of what happens to its entries; NULL: there is no such group */
    uint64_t share;          /* of the hot tier, bytes */
    uint64_t default_ttl_ms; /* 0: the cache's */
    uint64_t default_idle_ms;
} firn_group;

typedef struct firn_groups {
    pthread_mutex_t lock;           /* over a definition, and over a change of the budget */
    firn_group of[FIRN_GROUPS_MAX]; /* by number; that of 0 stays empty */
} firn_groups;

struct firn_cache;

/* 0 or an errno. */
int firn_groups_init(firn_groups *groups);
void firn_groups_fini(firn_groups *groups, firn_heap *heap);
firn_prefixes *firn_groups_prefixes(const struct firn_cache *cache);
/* 0: none. */
unsigned firn_group_of_key(const struct firn_cache *cache, const void *key, size_t key_size);

#endif
