/* Statistics and the last message, gathered from where they are kept. */
#include <string.h>

#include <firn/metrics.h>

#include "base/sized.h"
#include "object/domain.h"
#include "tier/cache.h"

#define COUNTER(name, help)                                                                        \
    { #name, help, offsetof(firn_stats, name), true }
#define GAUGE(name, help)                                                                          \
    { #name, help, offsetof(firn_stats, name), false }

static const struct {
    const char *name;
    const char *help;
    size_t offset;
    bool counts; /* it only grows; else it is a state of now */
} fields[] = {
    COUNTER(gets, "Gets: the sum of hot hits, cold hits and misses."),
    COUNTER(hot_hits, "Gets answered by the hot tier."),
    COUNTER(cold_hits, "Gets answered by the cold tier."),
    COUNTER(misses, "Gets answered by neither tier."),
    COUNTER(puts, "Successful puts."),
    COUNTER(deletes, "Deletes that found an entry."),
    GAUGE(hot_bytes_max, "The memory budget, bytes."),
    GAUGE(hot_bytes, "Memory held, with all overhead and the write queue, bytes."),
    GAUGE(hot_entries, "Entries resident in memory."),
    GAUGE(queued_entries, "Entries that wait for their batch."),
    GAUGE(queued_bytes, "Bytes of the entries that wait for their batch."),
    GAUGE(detached_bytes, "Bytes of objects that only the program still holds."),
    COUNTER(evictions, "Entries that left the hot tier to make room."),
    COUNTER(demotions, "Entries written below because they left the hot tier."),
    COUNTER(clean_demotions, "Entries that left the hot tier and were below already."),
    COUNTER(writes, "Entries written below for any reason."),
    COUNTER(promotions, "Entries that came up on a cold hit."),
    COUNTER(promotions_declined, "Cold hits that were served without coming up."),
    COUNTER(warmed, "Entries that came up after a restart."),
    GAUGE(warming, "Entries of the warm list that are still to come."),
    COUNTER(dropped_memory_only, "Entries lost: evicted without a cold tier."),
    COUNTER(dropped_backpressure, "Entries lost: evicted while the disk was behind."),
    COUNTER(dropped_too_large, "Entries lost: too large for the cold tier."),
    COUNTER(reclaimed, "Records that gave way to younger ones in the cold tier."),
    COUNTER(reclaimed_hot, "Of those, entries that were still in the hot tier."),
    COUNTER(expired, "Entries found expired."),
    COUNTER(collisions, "Entries lost to another key of the same hash."),
    COUNTER(damaged, "Records whose checksum or form was wrong."),
    COUNTER(backpressure_waits, "Puts that had to write batches themselves."),
    COUNTER(backpressure_ns, "Time that puts spent on writing batches themselves."),
    GAUGE(cold_bytes_max, "The disk budget, bytes."),
    GAUGE(cold_entries, "Valid records in the cold tier."),
    GAUGE(cold_live_bytes, "Bytes of the cold tier in use."),
    GAUGE(cold_file_bytes, "Bytes of the files of the cold tier."),
    COUNTER(cold_commits, "Batches committed to the cold tier."),
    COUNTER(cold_value_bytes, "Bytes of values written below, before compression."),
    COUNTER(cold_stored_bytes, "Bytes of values written below, after compression."),
    COUNTER(write_errors, "Batches that could not be written; they are tried again."),
    COUNTER(read_errors, "Reads below that failed for another reason than damage."),
    COUNTER(syncs, "Times the store was pushed to the device."),
    GAUGE(journal_entries, "Invalidations that wait in the journal."),
    GAUGE(cold_filter_bytes, "Memory of the filter of what the cold tier holds, bytes."),
    COUNTER(dropped_unencoded, "Entries lost: their type has no bytes for them."),
    COUNTER(decode_failures, "Values that their type refused to decode."),
    GAUGE(pinned_entries, "Pinned entries."),
    GAUGE(pinned_bytes, "Bytes of pinned entries."),
    GAUGE(links, "Links between entries."),
    GAUGE(link_bytes, "Memory of links, bytes."),
    COUNTER(invalidated, "Entries deleted because what they depend on changed."),
    COUNTER(unkept, "Entries deleted because nothing keeps them any more."),
    GAUGE(interned, "Entries in memory whose value is shared."),
    GAUGE(interned_saved, "Bytes that are in memory once less for sharing."),
    COUNTER(circles, "Entries deleted because only their like kept them."),
    COUNTER(collections, "Rounds of the collector of circles."),
    COUNTER(collected_objects, "Objects whose values the collector dropped."),
    COUNTER(collected_bytes, "Bytes of objects whose values the collector dropped."),
    COUNTER(notices_lost, "Decisions that the listener was not told of."),
    COUNTER(cleared, "Entries that were found cleared and removed."),
    COUNTER(loads, "Values that loaders were asked for."),
    COUNTER(load_failures, "Loads that ended with an error."),
    COUNTER(loads_joined, "Gets that waited for the load of another."),
    COUNTER(load_ns, "Time that loaders took."),
    COUNTER(refreshes, "Loads of entries that were there, fresh or stale."),
    COUNTER(stale_served, "Gets that were given a stale value."),
    COUNTER(negative_hits, "Gets that learnt without a load that there is no value."),
    COUNTER(page_errors, "Times that the page for watchers could not be made or written."),
    COUNTER(admissions_refused, "New entries that the admission policy kept out of memory."),
    COUNTER(demotions_refused, "Entries lost: evicted, and refused by the demotion policy."),
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

int firn_stats_is_counter(unsigned index) {
    return index < FIELD_COUNT && fields[index].counts;
}

const char *firn_stats_help(unsigned index) {
    return index < FIELD_COUNT ? fields[index].help : NULL;
}

/* A field of a struct that may be shorter than ours. */
static uint64_t field_of(const firn_stats *stats, unsigned index) {
    uint64_t value = 0;
    if (fields[index].offset + sizeof value <= stats->size) {
        memcpy(&value, (const char *)stats + fields[index].offset, sizeof value);
    }
    return value;
}

void firn_stats_delta(const firn_stats *before, const firn_stats *after, firn_stats *difference) {
    for (unsigned i = 0; i < FIELD_COUNT; i++) {
        uint64_t value = field_of(after, i);
        uint64_t earlier = fields[i].counts ? field_of(before, i) : 0;
        value = value > earlier ? value - earlier : 0;
        if (fields[i].offset + sizeof value <= difference->size) {
            memcpy((char *)difference + fields[i].offset, &value, sizeof value);
        }
    }
}

int firn_get_latencies(firn_cache *cache, firn_latencies *latencies) {
    if (cache == NULL || firn_is_unsized(latencies)) {
        return FIRN_EINVAL;
    }
    for (unsigned i = 0; i < FIRN_LATENCY_COUNT; i++) {
        size_t end = offsetof(firn_latencies, of) + (i + 1) * sizeof latencies->of[i];
        if (end <= latencies->size) {
            firn_histograms_sum(cache->histograms, i, &latencies->of[i]);
        }
    }
    return FIRN_OK;
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
    if (cache == NULL || firn_is_unsized(stats)) {
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
        .page_errors = atomic_load_explicit(&cache->paging.errors, memory_order_relaxed),
        .admissions_refused = firn_counted(counters, FIRN_EVENT_ADMISSION_REFUSED),
        .demotions_refused = firn_counted(counters, FIRN_EVENT_DEMOTION_REFUSED),
        .notices_lost = atomic_load_explicit(&cache->deciding.lost, memory_order_relaxed),
        .loads = firn_counted(counters, FIRN_EVENT_LOAD),
        .load_failures = firn_counted(counters, FIRN_EVENT_LOAD_FAILURE),
        .loads_joined = firn_counted(counters, FIRN_EVENT_LOAD_JOINED),
        .load_ns = firn_counted(counters, FIRN_EVENT_LOAD_NS),
        .refreshes = firn_counted(counters, FIRN_EVENT_REFRESH),
        .stale_served = firn_counted(counters, FIRN_EVENT_STALE_SERVED),
        .negative_hits = firn_counted(counters, FIRN_EVENT_NEGATIVE_HIT),
    };
    full.gets = full.hot_hits + full.cold_hits + full.misses;
    if (cache->cold != NULL) {
        read_cold(cache, &full);
    }
    firn_give_sized(stats, &full, sizeof full);
    return FIRN_OK;
}

size_t firn_last_message(firn_cache *cache, char *buffer, size_t capacity) {
    if (cache == NULL || (buffer == NULL && capacity > 0)) {
        return 0;
    }
    return firn_detail_get(&cache->detail, buffer, capacity);
}
