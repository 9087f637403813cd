/* Statistics and the last message, gathered from where they are kept. */
#include <string.h>

#include "object/domain.h"
#include "tier/cache.h"

#define FIELD(name)                                                                                \
    { #name, offsetof(firn_stats, name) }

static const struct {
    const char *name;
    size_t offset;
} fields[] = {
    FIELD(gets),
    FIELD(hot_hits),
    FIELD(cold_hits),
    FIELD(misses),
    FIELD(puts),
    FIELD(deletes),
    FIELD(hot_bytes_max),
    FIELD(hot_bytes),
    FIELD(hot_entries),
    FIELD(queued_entries),
    FIELD(queued_bytes),
    FIELD(detached_bytes),
    FIELD(evictions),
    FIELD(demotions),
    FIELD(clean_demotions),
    FIELD(writes),
    FIELD(promotions),
    FIELD(promotions_declined),
    FIELD(warmed),
    FIELD(warming),
    FIELD(dropped_memory_only),
    FIELD(dropped_backpressure),
    FIELD(dropped_too_large),
    FIELD(reclaimed),
    FIELD(reclaimed_hot),
    FIELD(expired),
    FIELD(collisions),
    FIELD(damaged),
    FIELD(backpressure_waits),
    FIELD(backpressure_ns),
    FIELD(cold_bytes_max),
    FIELD(cold_entries),
    FIELD(cold_live_bytes),
    FIELD(cold_file_bytes),
    FIELD(cold_commits),
    FIELD(cold_value_bytes),
    FIELD(cold_stored_bytes),
    FIELD(write_errors),
    FIELD(read_errors),
    FIELD(syncs),
    FIELD(journal_entries),
    FIELD(cold_filter_bytes),
    FIELD(dropped_unencoded),
    FIELD(decode_failures),
    FIELD(pinned_entries),
    FIELD(pinned_bytes),
    FIELD(links),
    FIELD(link_bytes),
    FIELD(invalidated),
    FIELD(unkept),
    FIELD(interned),
    FIELD(interned_saved),
    FIELD(circles),
    FIELD(collections),
    FIELD(collected_objects),
    FIELD(collected_bytes),
    FIELD(notices_lost),
    FIELD(cleared),
};

enum { FIELD_COUNT = sizeof fields / sizeof fields[0] };

_Static_assert(sizeof(firn_stats) == sizeof(size_t) + FIELD_COUNT * sizeof(uint64_t),
               "every field of firn_stats is in the list");

const char *firn_stats_field(const firn_stats *stats, unsigned index, uint64_t *value) {
    if (index >= FIELD_COUNT) {
        return NULL;
    }
    if (stats != NULL && value != NULL) {
        memcpy(value, (const char *)stats + fields[index].offset, sizeof *value);
    }
    return fields[index].name;
}

static void read_cold(firn_cache *cache, firn_stats *stats) {
    firn_cold_stats cold;
    firn_cold_get_stats(cache->cold, &cold);
    stats->reclaimed = cold.reclaimed;
    stats->expired += cold.expired;
    stats->cleared += cold.cleared;
    stats->collisions = cold.collisions;
    stats->damaged = cold.damaged;
    stats->cold_bytes_max = cold.budget_bytes;
    stats->cold_entries = cold.entries;
    stats->cold_live_bytes = cold.live_bytes;
    stats->cold_file_bytes = cold.file_bytes;
    stats->cold_commits = cold.commits;
    stats->cold_value_bytes = cold.value_bytes;
    stats->cold_stored_bytes = cold.stored_bytes;
    stats->write_errors = cold.write_errors;
    stats->read_errors = cold.read_errors;
    stats->syncs = cold.syncs;
    stats->journal_entries = cold.journal_entries;
    stats->cold_filter_bytes = cold.filter_bytes;
}

int firn_get_stats(firn_cache *cache, firn_stats *stats) {
    if (cache == NULL || stats == NULL || stats->size < sizeof stats->size) {
        return FIRN_EINVAL;
    }
    const firn_counters *counters = cache->counters;
    uint64_t hot_bytes_max = atomic_load_explicit(&cache->hot_bytes, memory_order_relaxed);
    if (hot_bytes_max == 0) {
        hot_bytes_max = firn_held_max(cache);
    }
    firn_queue_state queue = firn_queue_look(&cache->queue);
    firn_hot_totals hot = firn_hot_total(cache->hot);
    firn_graph_stats graph;
    firn_graph_get_stats(cache->linking.graph, &graph);
    firn_pool_stats pool;
    firn_pool_get_stats(cache->pool, &pool);
    const firn_domain *domain = firn_pool_companion(cache->pool);
    uint64_t objects =
        pool.charge_bytes + atomic_load_explicit(&domain->live_charge, memory_order_relaxed);
    uint64_t held_objects = hot.held_bytes - hot.overhead_bytes;
    firn_stats full = {
        .size = stats->size,
        .hot_hits = firn_counted(counters, FIRN_EVENT_HOT_HIT),
        .cold_hits = firn_counted(counters, FIRN_EVENT_COLD_HIT),
        .misses = firn_counted(counters, FIRN_EVENT_MISS),
        .puts = firn_counted(counters, FIRN_EVENT_PUT),
        .deletes = firn_counted(counters, FIRN_EVENT_DELETE),
        .hot_bytes_max = hot_bytes_max,
        .hot_bytes = hot.held_bytes,
        .hot_entries = hot.resident_entries,
        .queued_entries = queue.entries,
        .queued_bytes = queue.bytes,
        .detached_bytes = objects > held_objects ? objects - held_objects : 0,
        .evictions = firn_counted(counters, FIRN_EVENT_EVICTION),
        .demotions = firn_counted(counters, FIRN_EVENT_DEMOTION),
        .clean_demotions = firn_counted(counters, FIRN_EVENT_CLEAN_DEMOTION),
        .writes = firn_counted(counters, FIRN_EVENT_WRITE),
        .promotions = firn_counted(counters, FIRN_EVENT_PROMOTION),
        .promotions_declined = firn_counted(counters, FIRN_EVENT_PROMOTION_DECLINED),
        .warmed = firn_counted(counters, FIRN_EVENT_WARMED),
        .warming = atomic_load_explicit(&cache->warm.left, memory_order_relaxed),
        .dropped_memory_only = firn_counted(counters, FIRN_EVENT_DROPPED_MEMORY_ONLY),
        .dropped_backpressure = firn_counted(counters, FIRN_EVENT_DROPPED_BACKPRESSURE),
        .dropped_too_large = firn_counted(counters, FIRN_EVENT_DROPPED_TOO_LARGE),
        .dropped_unencoded = firn_counted(counters, FIRN_EVENT_DROPPED_UNENCODED),
        .decode_failures = firn_counted(counters, FIRN_EVENT_DECODE_FAILURE),
        .reclaimed_hot = firn_counted(counters, FIRN_EVENT_RECLAIMED_HOT),
        .expired = firn_counted(counters, FIRN_EVENT_EXPIRED),
        .cleared = firn_counted(counters, FIRN_EVENT_CLEARED),
        .backpressure_waits = firn_counted(counters, FIRN_EVENT_BACKPRESSURE_WAIT),
        .backpressure_ns = firn_counted(counters, FIRN_EVENT_BACKPRESSURE_NS),
        .pinned_entries = hot.pinned_entries,
        .pinned_bytes = hot.pinned_bytes,
        .links = graph.links,
        .link_bytes = graph.bytes,
        .invalidated = firn_counted(counters, FIRN_EVENT_INVALIDATED),
        .unkept = firn_counted(counters, FIRN_EVENT_UNKEPT),
        .interned = atomic_load_explicit(&domain->interned, memory_order_relaxed),
        .interned_saved = atomic_load_explicit(&domain->interned_saved, memory_order_relaxed),
        .circles = firn_counted(counters, FIRN_EVENT_COLLECTED),
        .collections = atomic_load_explicit(&cache->collector.rounds, memory_order_relaxed),
        .collected_objects = atomic_load_explicit(&cache->collector.objects, memory_order_relaxed),
        .collected_bytes = atomic_load_explicit(&cache->collector.bytes, memory_order_relaxed),
        .notices_lost = atomic_load_explicit(&cache->deciding.lost, memory_order_relaxed),
    };
    full.gets = full.hot_hits + full.cold_hits + full.misses;
    if (cache->cold != NULL) {
        read_cold(cache, &full);
    }
    memcpy(stats, &full, full.size < sizeof full ? full.size : sizeof full);
    return FIRN_OK;
}

size_t firn_last_message(firn_cache *cache, char *buffer, size_t capacity) {
    if (cache == NULL || (buffer == NULL && capacity > 0)) {
        return 0;
    }
    return firn_detail_get(&cache->detail, buffer, capacity);
}
