/* When circles of values are collected: by firn_collect, and in the background. How it is done is
 * told in object/collect.c. */
#include <string.h>

#include "tier/cache.h"

#define NS_PER_S  UINT64_C(1000000000)
#define NS_PER_US UINT64_C(1000)

enum {
    /* A round is due when the values that no key leads to are more by this share, and this number,
     * than those that the last one left; and when there are any at all, after a while. */
    GROWTH_SHARE = 4,
    GROWTH_MIN = 16,
    PAUSE_S = 5,
    LONG_PAUSE_S = 60,
};

/* How long until a round is due, in nanoseconds; 0: it is. */
static uint64_t round_waits(const firn_cache *cache, uint64_t now_ns) {
    uint64_t holders = firn_domain_holders(cache->collector.domain);
    uint64_t left = atomic_load_explicit(&cache->collecting.left, memory_order_relaxed);
    uint64_t since_ns =
        now_ns - atomic_load_explicit(&cache->collecting.began_ns, memory_order_relaxed);
    bool grown = holders >= left + left / GROWTH_SHARE + GROWTH_MIN;
    uint64_t pause_ns = (grown ? PAUSE_S : LONG_PAUSE_S) * NS_PER_S;
    if (holders > 0 && since_ns >= pause_ns) {
        return 0;
    }
    uint64_t wait_ns = holders > 0 ? pause_ns - since_ns : PAUSE_S * NS_PER_S;
    return wait_ns < PAUSE_S * NS_PER_S ? wait_ns : PAUSE_S * NS_PER_S;
}

int firn_collect_in_background(firn_cache *cache, uint64_t *wait_ns) {
    *wait_ns = UINT64_MAX;
    if (!firn_types_visit(&cache->types) || firn_drops_within()) {
        return FIRN_OK;
    }
    uint64_t now_ns = firn_monotonic_ns();
    if (!firn_collector_busy(&cache->collector)) {
        *wait_ns = round_waits(cache, now_ns);
        if (*wait_ns > 0) {
            return FIRN_OK;
        }
        atomic_store_explicit(&cache->collecting.began_ns, now_ns, memory_order_relaxed);
    }
    int result = firn_collector_step(&cache->collector);
    if (result == FIRN_AGAIN) {
        return FIRN_AGAIN;
    }
    /* No memory for it, say: it is tried again. */
    atomic_store_explicit(&cache->collecting.left, firn_domain_holders(cache->collector.domain),
                          memory_order_relaxed);
    *wait_ns = PAUSE_S * NS_PER_S;
    return FIRN_OK;
}

static void read_stats(const firn_collector *collector, firn_collect_stats *stats) {
    stats->rounds = atomic_load_explicit(&collector->rounds, memory_order_relaxed);
    stats->candidates = atomic_load_explicit(&collector->candidates, memory_order_relaxed);
    stats->objects = atomic_load_explicit(&collector->objects, memory_order_relaxed);
    stats->bytes = atomic_load_explicit(&collector->bytes, memory_order_relaxed);
    stats->longest_step_us =
        atomic_load_explicit(&collector->longest_ns, memory_order_relaxed) / NS_PER_US;
}

int firn_collect(firn_cache *cache, uint64_t budget_us, firn_collect_stats *stats) {
    if (cache == NULL || (stats != NULL && stats->size < sizeof stats->size)) {
        return FIRN_EINVAL;
    }
    if (firn_drops_within()) {
        return firn_detail_set(&cache->detail, FIRN_EBUSY,
                               "firn_collect was called by a function that drops a value");
    }
    uint64_t budget_ns = budget_us < UINT64_MAX / NS_PER_US ? budget_us * NS_PER_US : UINT64_MAX;
    int result = firn_collector_run(&cache->collector, budget_ns);
    if (stats != NULL) {
        firn_collect_stats full = {.size = stats->size};
        read_stats(&cache->collector, &full);
        memcpy(stats, &full, full.size < sizeof full ? full.size : sizeof full);
    }
    return result;
}
