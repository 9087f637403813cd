/* Closing a cache: what is only in memory goes down, what was hot is recorded, all is released. */
#include "object/domain.h"
#include "tier/cache.h"

void firn_cache_abandon(firn_cache *cache) {
    firn_worker_stop(cache);
    firn_warm_end(cache);
    if (cache->cold != NULL) {
        firn_cold_close(cache->cold, false);
    }
    firn_heap *heap = cache->heap;
    if (cache->pool != NULL && firn_pool_companion(cache->pool) != NULL) {
        firn_domain *domain = firn_pool_companion(cache->pool);
        atomic_store_explicit(&domain->closed, true, memory_order_release);
    }
    firn_page_fini(cache);
    firn_deciding_fini(cache);
    firn_collector_fini(&cache->collector);
    firn_queue_fini(&cache->queue);
    firn_moving_fini(cache);
    firn_hot_free(cache->hot);
    if (cache->tracker != NULL) {
        firn_track_report(cache->tracker, cache->options.leak_report, cache->options.leak_context);
    }
    firn_pool_close(cache->pool);
    firn_encoder_clear(&cache->encoder, 0);
    firn_types_fini(&cache->types);
    firn_linking_fini(cache);
    firn_sampling_fini(cache);
    firn_flights_fini(&cache->flights);
    firn_refresher_fini(&cache->refresher);
    firn_heap_free_lines(heap, cache->counters, sizeof *cache->counters);
    firn_histograms_free(cache->histograms, heap);
    firn_heap_free(heap, cache->removals, FIRN_REMOVAL_COUNTERS * sizeof *cache->removals);
    firn_heap_free(heap, cache->batch_items, cache->batch_items_max * sizeof *cache->batch_items);
    firn_heap_free(heap, cache->batch_objects,
                   cache->batch_items_max * sizeof *cache->batch_objects);
    firn_clears_fini(&cache->clears);
    firn_groups_fini(&cache->groups, heap);
    pthread_mutex_destroy(&cache->write_lock);
    pthread_mutex_destroy(&cache->cursors_lock);
    pthread_mutex_destroy(&cache->worker_lock);
    pthread_mutex_destroy(&cache->moving.lock);
    pthread_mutex_destroy(&cache->thread_lock);
    pthread_mutex_destroy(&cache->wake_lock);
    pthread_mutex_destroy(&cache->sampling.lock);
    pthread_mutex_destroy(&cache->sampling.record_lock);
    pthread_cond_destroy(&cache->wake);
    firn_detail_fini(&cache->detail);
    firn_heap_free_lines(heap, cache, sizeof *cache);
    firn_heap_unref(heap);
}

/* Some of what a shard indexes. */
typedef struct taken {
    unsigned count;
    bool more; /* there was no place for all */
    firn_object *objects[FIRN_VICTIMS_AT_ONCE];
} taken;

static void take(void *context, firn_object *object) {
    taken *self = context;
    if (self->count < FIRN_VICTIMS_AT_ONCE) {
        self->objects[self->count++] = object;
    } else {
        self->more = true;
    }
}

static void release_shard(firn_cache *cache, unsigned number) {
    size_t position = 0;
    uint64_t layout = 0;
    for (bool done = false; !done;) {
        taken some = {.count = 0};
        firn_hot_shard *shard = firn_hot_lock_number(cache->hot, number);
        if (firn_hot_layout_locked(shard) != layout) {
            layout = firn_hot_layout_locked(shard);
            position = 0;
        }
        size_t here = position;
        done = firn_hot_sweep_locked(shard, &position, take, &some);
        for (unsigned i = 0; i < some.count; i++) {
            firn_hot_remove_locked(shard, firn_object_hash(some.objects[i]), some.objects[i],
                                   false);
        }
        done = done && !some.more && firn_hot_layout_locked(shard) == layout;
        position = some.more ? here : position;
        firn_hot_unlock(shard);
        for (unsigned i = 0; i < some.count; i++) {
            firn_object_unref(some.objects[i]);
        }
    }
}

/* Values of types are dropped while the cache can still be called, for what drops them may do so.
 * What could not be written goes with the rest, and so do circles, which nobody could collect
 * later. */
static void release_objects(firn_cache *cache) {
    if (atomic_load_explicit(&cache->types.count, memory_order_relaxed) == 0) {
        return;
    }
    firn_tell(cache); /* what a notice is about would be taken for held by the program */
    for (unsigned i = 0; i < firn_hot_shard_count(cache->hot); i++) {
        release_shard(cache, i);
    }
    firn_queue_clear(&cache->queue);
    if (firn_types_visit(&cache->types)) {
        firn_collector_finish(&cache->collector);
    }
}

static int close_store(firn_cache *cache) {
    uint64_t ticket;
    int queued = firn_enqueue_dirty(cache, &ticket);
    int result = firn_write_until(cache, ticket);
    result = result == FIRN_OK ? queued : result;
    if (result == FIRN_OK && firn_graph_has_doomed(cache->linking.graph)) {
        /* What was lost on the way down had links. */
        firn_links_settle(cache);
        result = firn_write_until(cache, firn_queue_look(&cache->queue).pushed);
    }
    if (result == FIRN_OK) {
        /* An error here makes the next start colder, and loses nothing. */
        (void)firn_warm_save(cache);
    }
    firn_warm_end(cache);
    firn_sampling_save(cache);
    release_objects(cache);
    if (result == FIRN_OK && firn_graph_in_use(cache->linking.graph)) {
        /* What the journal still has to say, and what that reclaims, comes first; and the file must
         * not be newer than the store. */
        uint64_t version = atomic_load_explicit(&cache->version, memory_order_relaxed);
        result = firn_cold_write(cache->cold, NULL, 0, version);
        result = result == FIRN_OK ? firn_cold_sync(cache->cold, true) : result;
    }
    if (result == FIRN_OK) {
        firn_links_save(cache);
    }
    firn_page_end(cache);
    int closed = firn_cold_close(cache->cold, result == FIRN_OK);
    cache->cold = NULL;
    return result != FIRN_OK ? result : closed;
}

int firn_close(firn_cache *cache) {
    if (cache == NULL) {
        return FIRN_OK;
    }
    firn_refresh_stop(cache);
    firn_worker_stop(cache);
    if (!cache->options.read_only) {
        firn_links_settle(cache);
    }
    /* Relaxed: this thread is the only one that is left. */
    atomic_store_explicit(&cache->closing, true, memory_order_relaxed);
    int result = FIRN_OK;
    if (cache->cold != NULL && !cache->options.read_only) {
        result = close_store(cache);
    } else {
        release_objects(cache);
    }
    firn_tell(cache);
    firn_cache_abandon(cache);
    return result;
}
