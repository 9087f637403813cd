/* Closing a cache: what is only in memory goes down, what was hot is recorded, all is released. */
#include "tier/cache.h"

void firn_cache_abandon(firn_cache *cache) {
    firn_worker_stop(cache);
    firn_warm_end(cache);
    if (cache->cold != NULL) {
        firn_cold_close(cache->cold, false);
    }
    firn_heap *heap = cache->heap;
    firn_queue_fini(&cache->queue);
    firn_hot_free(cache->hot);
    firn_pool_close(cache->pool);
    firn_heap_free_lines(heap, cache->counters, sizeof *cache->counters);
    firn_heap_free(heap, cache->removals, FIRN_REMOVAL_COUNTERS * sizeof *cache->removals);
    firn_heap_free(heap, cache->second_hits, FIRN_SECOND_HIT_TAGS * sizeof *cache->second_hits);
    firn_heap_free(heap, cache->batch_items, cache->batch_items_max * sizeof *cache->batch_items);
    firn_heap_free(heap, cache->batch_objects,
                   cache->batch_items_max * sizeof *cache->batch_objects);
    pthread_mutex_destroy(&cache->write_lock);
    pthread_mutex_destroy(&cache->cursors_lock);
    pthread_mutex_destroy(&cache->worker_lock);
    pthread_mutex_destroy(&cache->wake_lock);
    pthread_cond_destroy(&cache->wake);
    firn_detail_fini(&cache->detail);
    firn_heap_free(heap, cache, sizeof *cache);
    firn_heap_unref(heap);
}

static int close_store(firn_cache *cache) {
    uint64_t ticket;
    int queued = firn_enqueue_dirty(cache, &ticket);
    int result = firn_write_until(cache, ticket);
    result = result == FIRN_OK ? queued : result;
    if (result == FIRN_OK) {
        /* An error here makes the next start colder, and loses nothing. */
        (void)firn_warm_save(cache);
    }
    firn_warm_end(cache);
    int closed = firn_cold_close(cache->cold, result == FIRN_OK);
    cache->cold = NULL;
    return result != FIRN_OK ? result : closed;
}

int firn_close(firn_cache *cache) {
    if (cache == NULL) {
        return FIRN_OK;
    }
    firn_worker_stop(cache);
    int result = FIRN_OK;
    if (cache->cold != NULL && !cache->options.read_only) {
        result = close_store(cache);
    }
    firn_cache_abandon(cache);
    return result;
}
