/* When circles are collected: by firn_collect, and in the background. There are two kinds, of
 * values that hold each other in memory, and of owned entries whose links keep each other. How
 * either is found is told in object/collect.c and object/graph.h. */
#include "base/sized.h"
#include "tier/cache.h"

#define NS_PER_S  UINT64_C(1000000000)
#define NS_PER_US UINT64_C(1000)

enum {
    LINK_STEPS = 512, /* nodes and links, of a step: some hundred microseconds at the most */
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

/* A step through the links, and the end of what it found. True: the round is done. */
static bool links_step(firn_cache *cache) {
    uint64_t began_ns = firn_monotonic_ns();
    bool done = firn_graph_collect(cache->linking.graph, LINK_STEPS);
    uint64_t took_ns = firn_monotonic_ns() - began_ns;
    _Atomic uint64_t *longest_ns = &cache->collecting.longest_links_ns;
    if (took_ns > atomic_load_explicit(longest_ns, memory_order_relaxed)) {
        /* Two threads may step on each other's figure, which is no more than that. */
        atomic_store_explicit(longest_ns, took_ns, memory_order_relaxed);
    }
    firn_links_settle(cache);
    return done;
}

static bool links_waited(const firn_cache *cache, uint64_t now_ns) {
    uint64_t began_ns = atomic_load_explicit(&cache->collecting.links_ns, memory_order_relaxed);
    return now_ns - began_ns >= PAUSE_S * NS_PER_S;
}

static int links_in_background(firn_cache *cache, uint64_t *wait_ns) {
    firn_graph *graph = cache->linking.graph;
    *wait_ns = UINT64_MAX;
    if (cache->options.read_only || !firn_graph_in_use(graph)) {
        return FIRN_OK;
    }
    if (!firn_graph_collect_busy(graph)) {
        uint64_t now_ns = firn_monotonic_ns();
        if (!firn_graph_collect_due(graph) || !links_waited(cache, now_ns)) {
            *wait_ns = PAUSE_S * NS_PER_S;
            return FIRN_OK;
        }
        atomic_store_explicit(&cache->collecting.links_ns, now_ns, memory_order_relaxed);
    }
    links_step(cache);
    return FIRN_AGAIN;
}

static int values_in_background(firn_cache *cache, uint64_t *wait_ns) {
    *wait_ns = UINT64_MAX;
    if (!firn_types_visit(&cache->types)) {
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

int firn_collect_in_background(firn_cache *cache, uint64_t *wait_ns) {
    uint64_t values_ns;
    uint64_t links_ns;
    if (firn_drops_within()) {
        *wait_ns = UINT64_MAX;
        return FIRN_OK;
    }
    int values = values_in_background(cache, &values_ns);
    int links = links_in_background(cache, &links_ns);
    *wait_ns = values_ns < links_ns ? values_ns : links_ns;
    return values == FIRN_OK ? links : values;
}

static void read_stats(const firn_collector *collector, firn_collect_stats *stats) {
    stats->rounds = atomic_load_explicit(&collector->rounds, memory_order_relaxed);
    stats->candidates = atomic_load_explicit(&collector->candidates, memory_order_relaxed);
    stats->objects = atomic_load_explicit(&collector->objects, memory_order_relaxed);
    stats->bytes = atomic_load_explicit(&collector->bytes, memory_order_relaxed);
    stats->longest_step_us =
        atomic_load_explicit(&collector->longest_ns, memory_order_relaxed) / NS_PER_US;
}

/* The second half of a round: after the values, so that a drop may have let go of entries. */
static int collect_links(firn_cache *cache, uint64_t began_ns, uint64_t budget_ns) {
    bool whole = budget_ns == UINT64_MAX;
    /* One that is under way may have passed some by. */
    unsigned rounds = whole && firn_graph_collect_busy(cache->linking.graph) ? 2 : 1;
    if (cache->options.read_only || !firn_graph_in_use(cache->linking.graph)) {
        rounds = 0;
    }
    while (rounds > 0) {
        rounds -= links_step(cache);
        if (rounds > 0 && !whole && firn_monotonic_ns() - began_ns >= budget_ns) {
            break;
        }
    }
    atomic_store_explicit(&cache->collecting.at_links, rounds > 0, memory_order_relaxed);
    return rounds > 0 ? FIRN_AGAIN : FIRN_OK;
}

int firn_collect(firn_cache *cache, uint64_t budget_us, firn_collect_stats *stats) {
    if (cache == NULL || (stats != NULL && firn_is_unsized(stats))) {
        return FIRN_EINVAL;
    }
    if (firn_drops_within()) {
        return firn_detail_set(&cache->detail, FIRN_EBUSY,
                               "firn_collect was called by a function that drops a value");
    }
    uint64_t budget_ns = budget_us < UINT64_MAX / NS_PER_US ? budget_us * NS_PER_US : UINT64_MAX;
    uint64_t began_ns = firn_monotonic_ns();
    int result = FIRN_OK;
    if (budget_ns == UINT64_MAX ||
        !atomic_load_explicit(&cache->collecting.at_links, memory_order_relaxed)) {
        result = firn_collector_run(&cache->collector, budget_ns);
    }
    if (result == FIRN_OK) {
        result = collect_links(cache, began_ns, budget_ns);
    }
    if (stats != NULL) {
        firn_collect_stats full = {0};
        read_stats(&cache->collector, &full);
        firn_graph_stats graph;
        firn_graph_get_stats(cache->linking.graph, &graph);
        full.link_rounds = graph.rounds;
        full.longest_link_step_us =
            atomic_load_explicit(&cache->collecting.longest_links_ns, memory_order_relaxed) /
            NS_PER_US;
        firn_give_sized(stats, &full, sizeof full);
    }
    return result;
}
