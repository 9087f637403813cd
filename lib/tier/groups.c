/* Groups: what a program says of keys with a prefix, and what is counted of them. Which object is
 * of which group is the object layer's (base/prefixes.h); its part of the memory is the hot tier's.
 */
#include "tier/groups.h"

#include <firn/group.h>

#include "base/sized.h"
#include "hot/policy_host.h"
#include "tier/cache.h"

int firn_groups_init(firn_groups *groups) {
    return pthread_mutex_init(&groups->lock, NULL);
}

void firn_groups_fini(firn_groups *groups, firn_heap *heap) {
    for (unsigned i = 0; i < FIRN_GROUPS_MAX; i++) {
        firn_heap_free_lines(heap, groups->of[i].counters, sizeof *groups->of[i].counters);
    }
    pthread_mutex_destroy(&groups->lock);
}

firn_prefixes *firn_groups_prefixes(const firn_cache *cache) {
    return &((firn_domain *)firn_pool_companion(cache->pool))->groups;
}

unsigned firn_group_of_key(const firn_cache *cache, const void *key, size_t key_size) {
    return firn_prefixes_group(firn_groups_prefixes(cache), key, key_size);
}

static int check_prefix(firn_cache *cache, const void *prefix, size_t prefix_size) {
    if (prefix != NULL && prefix_size > 0 && prefix_size <= FIRN_PREFIX_SIZE_MAX) {
        return FIRN_OK;
    }
    return firn_detail_set(&cache->detail, FIRN_EINVAL,
                           "the prefix of a group has 1 to %zu bytes; this one has %zu",
                           FIRN_PREFIX_SIZE_MAX, prefix_size);
}

/* The options with all defaults filled in. */
static int read_options(firn_cache *cache, const firn_group_options *given,
                        firn_group_options *full, const firn_policy **policy) {
    *full = (firn_group_options)FIRN_GROUP_OPTIONS_INIT;
    int result = given != NULL ? firn_read_sized(full, sizeof *full, given, "firn_group_options",
                                                 &cache->detail)
                               : FIRN_OK;
    if (result != FIRN_OK) {
        return result;
    }
    *policy = full->hot_policy_ops;
    if (*policy == NULL && full->hot_policy == NULL) {
        *policy = cache->options.hot_policy_ops;
    }
    if (*policy == NULL) {
        const char *name = full->hot_policy != NULL ? full->hot_policy : cache->options.hot_policy;
        *policy = firn_policy_by_name(name);
        if (*policy == NULL) {
            return firn_detail_set(&cache->detail, FIRN_EINVAL,
                                   "firn_group_options.hot_policy: there is no policy named "
                                   "'%.64s' (see firn_policy_name)",
                                   name);
        }
    }
    return FIRN_OK;
}

/* The lock is held. */
static int check_share(firn_cache *cache, firn_group_options *options) {
    uint64_t whole = firn_resident_max(cache);
    uint64_t given = 0;
    for (unsigned i = 1; i < FIRN_GROUPS_MAX; i++) {
        given += cache->groups.of[i].share;
    }
    if (options->hot_bytes == 0) {
        options->hot_bytes = whole / 64;
    }
    if (options->hot_bytes <= whole - whole / 64 &&
        given <= whole - whole / 64 - options->hot_bytes) {
        return FIRN_OK;
    }
    return firn_detail_set(&cache->detail, FIRN_EINVAL,
                           "firn_group_options.hot_bytes is %llu, and other groups have %llu; of "
                           "%llu bytes for residents all groups may have 63 of 64 parts",
                           (unsigned long long)options->hot_bytes, (unsigned long long)given,
                           (unsigned long long)whole);
}

/* The lock is held. */
static int define(firn_cache *cache, const void *prefix, size_t prefix_size,
                  firn_group_options *options, const firn_policy *policy) {
    firn_prefixes *prefixes = firn_groups_prefixes(cache);
    unsigned group = atomic_load_explicit(&prefixes->count, memory_order_relaxed) + 1;
    if (firn_prefixes_find(prefixes, prefix, prefix_size) != 0) {
        return FIRN_EXISTS;
    }
    if (group >= FIRN_GROUPS_MAX) {
        return firn_detail_set(&cache->detail, FIRN_ENOSPC, "there are %d groups already",
                               FIRN_GROUP_COUNT_MAX);
    }
    int result = check_share(cache, options);
    if (result != FIRN_OK) {
        return result;
    }
    firn_group *made = &cache->groups.of[group];
    if (made->counters == NULL) {
        made->counters = firn_heap_alloc_lines(cache->heap, sizeof *made->counters);
    }
    if (made->counters == NULL ||
        firn_hot_add_part(cache->hot, policy, options->hot_bytes) != FIRN_OK) {
        return firn_detail_set(&cache->detail, FIRN_ENOMEM, "no memory for a group");
    }
    made->share = options->hot_bytes;
    made->default_ttl_ms = options->default_ttl_ms;
    made->default_idle_ms = options->default_idle_ms;
    /* Last: from now on there may be objects of it. */
    firn_prefixes_add(prefixes, prefix, prefix_size);
    return FIRN_OK;
}

int firn_group_define(firn_cache *cache, const void *prefix, size_t prefix_size,
                      const firn_group_options *options) {
    if (cache == NULL) {
        return FIRN_EINVAL;
    }
    firn_group_options full;
    const firn_policy *policy = NULL;
    int result = check_prefix(cache, prefix, prefix_size);
    if (result == FIRN_OK) {
        result = read_options(cache, options, &full, &policy);
    }
    if (result != FIRN_OK) {
        return result;
    }
    pthread_mutex_lock(&cache->groups.lock);
    result = define(cache, prefix, prefix_size, &full, policy);
    pthread_mutex_unlock(&cache->groups.lock);
    return result;
}

int firn_group_get_stats(firn_cache *cache, const void *prefix, size_t prefix_size,
                         firn_group_stats *stats) {
    if (cache == NULL || firn_is_unsized(stats)) {
        return FIRN_EINVAL;
    }
    int result = check_prefix(cache, prefix, prefix_size);
    if (result != FIRN_OK) {
        return result;
    }
    unsigned group = firn_prefixes_find(firn_groups_prefixes(cache), prefix, prefix_size);
    if (group == 0) {
        return FIRN_NOT_FOUND;
    }
    const firn_counters *counters = cache->groups.of[group].counters;
    firn_hot_part_totals totals = firn_hot_part_total(cache->hot, group);
    firn_group_stats full = {
        .hot_share = cache->groups.of[group].share,
        .hot_bytes = totals.bytes,
        .hot_entries = totals.entries,
        .hot_hits = firn_counted(counters, FIRN_EVENT_HOT_HIT),
        .cold_hits = firn_counted(counters, FIRN_EVENT_COLD_HIT),
        .misses = firn_counted(counters, FIRN_EVENT_MISS),
        .puts = firn_counted(counters, FIRN_EVENT_PUT),
        .deletes = firn_counted(counters, FIRN_EVENT_DELETE),
        .evictions = firn_counted(counters, FIRN_EVENT_EVICTION),
        .demotions = firn_counted(counters, FIRN_EVENT_DEMOTION),
        .promotions = firn_counted(counters, FIRN_EVENT_PROMOTION),
    };
    firn_give_sized(stats, &full, sizeof full);
    return FIRN_OK;
}

const void *firn_group_prefix(firn_cache *cache, unsigned index, size_t *prefix_size) {
    if (cache == NULL) {
        return NULL;
    }
    const firn_prefixes *prefixes = firn_groups_prefixes(cache);
    if (index >= atomic_load_explicit(&prefixes->count, memory_order_acquire)) {
        return NULL;
    }
    if (prefix_size != NULL) {
        *prefix_size = prefixes->prefixes[index].size;
    }
    return prefixes->prefixes[index].bytes;
}
