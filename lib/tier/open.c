/* Opening a cache: from options to two tiers, in the order in which parts need each other. */
#include <string.h>
#include <time.h>

#include "hot/policy_host.h"
#include "object/domain.h"
#include "tier/cache.h"

enum {
    QUEUE_SHARE_MAX = 64 << 20,
    DISK_CACHE_QUEUE = 1 << 20,
};

/* Told by the cold tier, after the commit: an entry is no longer below. The shard is locked. */
static void lift(firn_cache *cache, firn_hot_shard *shard, firn_object *object, uint64_t hash) {
    firn_hot_change_locked(shard, object, FIRN_STORED, 0);
    firn_cursors_note_lifted(cache, hash);
    firn_count(cache->counters, FIRN_EVENT_RECLAIMED_HOT, 1);
}

/* It is not known what was lost: all is written again. Until it is, what may still be below counts
 * as being on its way there, so that a change voids it.
 *
 * The counters first: what is promoted by a read that began before is seen by the walk or refused.
 */
static void write_all_again(firn_cache *cache) {
    for (unsigned i = 0; i < FIRN_REMOVAL_COUNTERS; i++) {
        firn_removals_bump(cache, i);
    }
    for (unsigned i = 0; i < firn_hot_shard_count(cache->hot); i++) {
        firn_hot_shard *shard = firn_hot_lock_number(cache->hot, i);
        firn_object *object = NULL;
        while ((object = firn_hot_walk_locked(shard, object, FIRN_COLDEST_FIRST)) != NULL) {
            unsigned state = firn_object_state(object) & (FIRN_STORED | FIRN_QUEUED);
            if (state == FIRN_STORED && firn_queue_reserve(&cache->queue) == FIRN_OK) {
                firn_enqueue_locked(cache, shard, object);
                firn_cursors_note_lifted(cache, firn_object_hash(object));
                firn_count(cache->counters, FIRN_EVENT_RECLAIMED_HOT, 1);
            }
        }
        firn_hot_unlock(shard);
    }
}

static void on_reclaimed(void *context, uint64_t hash, uint64_t version) {
    firn_cache *cache = context;
    if (cache->hot == NULL) {
        return; /* still opening: nothing is in memory */
    }
    if (version == 0) {
        firn_decide(cache, 0, 0, FIRN_DECISION_DAMAGE, FIRN_REASON_CHECKSUM, 0);
        write_all_again(cache);
        return;
    }
    /* Not if it was an older record of an entry that is there. */
    bool lost = firn_graph_in_use(cache->linking.graph) &&
                firn_cold_locate(cache->cold, hash) == FIRN_NOT_FOUND;
    firn_hot_shard *shard = firn_hot_lock(cache->hot, hash);
    firn_removals_bump(cache, hash);
    firn_decide(cache, hash, version, FIRN_DECISION_RECLAIM, FIRN_REASON_OLD, 0);
    firn_object *object = firn_hot_find_hash_locked(shard, hash, version);
    if (object != NULL && (firn_object_state(object) & FIRN_STORED) != 0) {
        lift(cache, shard, object, hash);
    } else if (lost && firn_hot_find_hash_locked(shard, hash, 0) == NULL) {
        firn_links_lose_locked(cache, hash, version);
    }
    firn_hot_unlock(shard);
}

/* Asked by the cold tier before it gives a record up. */
static bool is_kept(void *context, uint64_t hash) {
    firn_cache *cache = context;
    return cache->hot != NULL && firn_links_keep(cache, hash);
}

static int open_cold(firn_cache *cache, const char *path, const struct firn_backend_ops *backend) {
    firn_cold_config config = {
        .path = path,
        .heap = cache->heap,
        .detail = &cache->detail,
        .clock = cache->options.clock,
        .budget_bytes = cache->options.cold_bytes,
        .durability = cache->options.durability,
        .compression_level = cache->options.compression_level,
        .compression_min_bytes = cache->options.compression_min_bytes,
        .filter_bytes_max =
            cache->options.filter_bytes == FIRN_FILTER_OFF ? 0 : cache->options.filter_bytes,
        .compression_threads = cache->options.compression_threads,
        .read_only = cache->options.read_only != 0,
        .set_aside_damaged = cache->options.set_aside_damaged != 0,
        .backend = backend,
        .clears = &cache->clears,
        .reclaimed = on_reclaimed,
        .kept = is_kept,
        .reclaimed_context = cache,
        .histograms = cache->histograms,
    };
    int result = firn_cold_open(&cache->cold, &config);
    if (result != FIRN_OK) {
        return result;
    }
    firn_cold_batch_limits(cache->cold, &cache->batch_items_max, &cache->batch_bytes_max);
    cache->batch_items =
        firn_heap_alloc(cache->heap, cache->batch_items_max * sizeof *cache->batch_items);
    cache->batch_objects =
        firn_heap_alloc(cache->heap, cache->batch_items_max * sizeof *cache->batch_objects);
    return cache->batch_items != NULL && cache->batch_objects != NULL ? FIRN_OK : FIRN_ENOMEM;
}

/* The share of what waits to be written is cut from the memory budget, so that the whole stays
 * within it when the disk is slow. */
void firn_set_budgets(firn_cache *cache, uint64_t hot_bytes, bool has_cold) {
    if (cache->options.read_only) {
        hot_bytes = 0;
    }
    uint64_t queue = 0;
    if (has_cold) {
        queue = hot_bytes / 8 < QUEUE_SHARE_MAX ? hot_bytes / 8 : QUEUE_SHARE_MAX;
    }
    /* Shards tell of their bytes in grains, which together come to that much. */
    uint64_t untold = cache->options.shards > 1 ? hot_bytes / 256 : 0;
    uint64_t held_max = hot_bytes > 0 ? hot_bytes - untold : DISK_CACHE_QUEUE;
    uint64_t resident_max = hot_bytes - queue - untold;
    atomic_store_explicit(&cache->hot_bytes, hot_bytes, memory_order_relaxed);
    atomic_store_explicit(&cache->held_max, held_max, memory_order_relaxed);
    atomic_store_explicit(&cache->resident_max, resident_max, memory_order_relaxed);
}

static int make_tables(firn_cache *cache, const firn_policy *policy) {
    cache->pool = firn_pool_new(cache->heap, cache->options.hot_bytes, cache->seed);
    if (cache->pool == NULL || firn_domain_new(cache->heap, cache->pool) != FIRN_OK) {
        return FIRN_ENOMEM;
    }
    if (cache->options.leak_report != NULL) {
        cache->tracker = firn_tracker_new(cache->heap, cache->options.track_handles != 0);
        ((firn_domain *)firn_pool_companion(cache->pool))->tracker = cache->tracker;
        if (cache->tracker == NULL) {
            return FIRN_ENOMEM;
        }
        atomic_init(&cache->timing.gets.attend, FIRN_ATTEND_HANDLES);
    }
    if (firn_collector_init(&cache->collector, firn_pool_companion(cache->pool)) != FIRN_OK) {
        return FIRN_ENOMEM;
    }
    cache->hot = firn_hot_new(cache->heap, cache->pool, policy, cache->options.shards,
                              firn_resident_max(cache));
    cache->counters = firn_heap_alloc_lines(cache->heap, sizeof *cache->counters);
    cache->removals =
        firn_heap_zalloc(cache->heap, FIRN_REMOVAL_COUNTERS * sizeof *cache->removals);
    bool made = cache->hot != NULL && cache->counters != NULL && cache->removals != NULL;
    return made ? FIRN_OK : FIRN_ENOMEM;
}

static int make_locks(firn_cache *cache) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    int failed = firn_queue_init(&cache->queue, cache->heap);
    failed |= firn_clears_init(&cache->clears, cache->heap);
    failed |= firn_groups_init(&cache->groups);
    failed |= pthread_mutex_init(&cache->write_lock, NULL);
    failed |= pthread_mutex_init(&cache->cursors_lock, NULL);
    failed |= pthread_mutex_init(&cache->worker_lock, NULL);
    failed |= pthread_mutex_init(&cache->moving.lock, NULL);
    failed |= pthread_mutex_init(&cache->thread_lock, NULL);
    failed |= pthread_mutex_init(&cache->wake_lock, NULL);
    failed |= pthread_mutex_init(&cache->sampling.lock, NULL);
    failed |= pthread_mutex_init(&cache->sampling.record_lock, NULL);
    failed |= pthread_cond_init(&cache->wake, &monotonic);
    failed |= firn_flights_init(&cache->flights, cache->heap, firn_random64());
    failed |= firn_refresher_init(&cache->refresher);
    pthread_condattr_destroy(&monotonic);
    return failed == 0 ? FIRN_OK : FIRN_ENOMEM;
}

static int open_parts(firn_cache *cache, const char *path, const struct firn_backend_ops *backend) {
    const firn_policy *policy = cache->options.hot_policy_ops;
    if (policy == NULL) {
        policy = firn_policy_by_name(cache->options.hot_policy);
    }
    cache->options.hot_policy = policy->name; /* the user's string need not live on */
    if (cache->options.read_only || cache->options.hot_bytes == 0) {
        cache->options.shards = 1;
    }
    firn_set_budgets(cache, cache->options.hot_bytes, path != NULL);
    cache->seed = firn_random64();
    cache->histograms = firn_histograms_new(cache->heap);
    if (cache->histograms == NULL) {
        return FIRN_ENOMEM;
    }
    uint64_t version = 1;
    int result = FIRN_OK;
    if (path != NULL) {
        result = open_cold(cache, path, backend);
        if (result != FIRN_OK) {
            return result;
        }
        cache->seed = firn_cold_seed(cache->cold);
        version = firn_cold_version_next(cache->cold);
    }
    if (firn_deciding_init(cache) != FIRN_OK) {
        return FIRN_ENOMEM;
    }
    firn_encoder_init(&cache->encoder, cache->heap);
    if (firn_linking_init(cache) != FIRN_OK) {
        return FIRN_ENOMEM;
    }
    result = firn_types_init(&cache->types, cache->heap,
                             path != NULL ? firn_cold_path(cache->cold) : NULL);
    if (result == FIRN_OK) {
        result = make_tables(cache, policy);
    }
    if (result == FIRN_OK) {
        result = firn_moving_init(cache);
    }
    result = result == FIRN_OK ? firn_sampling_init(cache) : result;
    if (result != FIRN_OK && result != FIRN_ENOMEM) {
        return result; /* it was told */
    }
    if (result != FIRN_OK) {
        return firn_detail_set(&cache->detail, result, "no memory for the tables of the cache");
    }
    if (path != NULL) {
        uint64_t share = (firn_held_max(cache) - firn_resident_max(cache)) / 4;
        cache->batch_ready_bytes = share < cache->batch_bytes_max ? share : cache->batch_bytes_max;
    }
    atomic_init(&cache->version, version);
    cache->synced_ns = firn_monotonic_ns();
    result = firn_links_load(cache);
    if (result != FIRN_OK) {
        return result;
    }
    firn_page_begin(cache);
    firn_warm_begin(cache);
    bool needs_thread = cache->cold != NULL && !cache->options.read_only;
    return needs_thread ? firn_worker_need(cache) : FIRN_OK;
}

/* The detail's words go to the caller, who gets no handle to ask. */
static void report(firn_detail *detail, int result, const char *path, const firn_options *given) {
    char *buffer = NULL;
    size_t size = 0;
    if (given != NULL && given->size >= sizeof(firn_options)) {
        buffer = given->error_buffer;
        size = given->error_buffer_size;
    }
    if (buffer == NULL || size == 0) {
        return;
    }
    if (firn_detail_get(detail, buffer, size) == 0) {
        firn_detail_set(detail, result, "%s: %s", path != NULL ? path : "firn_open",
                        firn_strerror(result));
        firn_detail_get(detail, buffer, size);
    }
}

int firn_open_with(firn_cache **out, const char *path, const firn_options *given,
                   const struct firn_backend_ops *backend) {
    if (out == NULL) {
        return FIRN_EINVAL;
    }
    *out = NULL;
    firn_detail detail;
    firn_options options;
    if (firn_detail_init(&detail) != 0) {
        return FIRN_ENOMEM;
    }
    int result = firn_options_read(&options, given, path, &detail);
    if (result == FIRN_OK && path != NULL && path[0] == '\0') {
        result = firn_detail_set(&detail, FIRN_EINVAL,
                                 "the path is empty: give a directory, or NULL for memory only");
    }
    firn_heap *heap = NULL;
    firn_cache *cache = NULL;
    if (result == FIRN_OK) {
        heap = firn_heap_new(&options.allocator);
        cache = heap != NULL ? firn_heap_alloc_lines(heap, sizeof *cache) : NULL;
        result = cache != NULL ? FIRN_OK : FIRN_ENOMEM;
    }
    if (result != FIRN_OK) {
        report(&detail, result, path, given);
        firn_heap_unref(heap);
        firn_detail_fini(&detail);
        return result;
    }
    firn_detail_fini(&detail);
    cache->heap = heap;
    cache->options = options;
    cache->options.error_buffer = NULL;
    result = firn_detail_init(&cache->detail) == 0 ? make_locks(cache) : FIRN_ENOMEM;
    if (result == FIRN_OK) {
        result = open_parts(cache, path, backend);
    }
    if (result != FIRN_OK) {
        report(&cache->detail, result, path, given);
        firn_cache_abandon(cache);
        return result;
    }
    *out = cache;
    return FIRN_OK;
}

int firn_open(firn_cache **cache, const char *path, const firn_options *options) {
    return firn_open_with(cache, path, options, NULL);
}
