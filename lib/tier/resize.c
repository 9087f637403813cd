/* Changing the memory budget of a cache in use. */
#include "tier/cache.h"

int firn_set_hot_bytes(firn_cache *cache, uint64_t hot_bytes) {
    if (cache == NULL) {
        return FIRN_EINVAL;
    }
    if (cache->options.read_only) {
        return firn_detail_set(&cache->detail, FIRN_EREADONLY,
                               "%s was opened read-only: it keeps nothing in memory",
                               firn_cold_path(cache->cold));
    }
    if (cache->options.hot_bytes == 0) {
        return firn_detail_set(&cache->detail, FIRN_EINVAL,
                               "the cache was opened with hot_bytes 0: a disk cache has no hot "
                               "tier to resize");
    }
    int result = firn_check_hot_bytes(hot_bytes, &cache->detail);
    if (result == FIRN_OK) {
        /* A definition of a group divides the capacity, and another call may set it. */
        pthread_mutex_lock(&cache->groups.lock);
        firn_set_budgets(cache, hot_bytes, cache->cold != NULL);
        firn_hot_set_capacity(cache->hot, firn_resident_max(cache));
        pthread_mutex_unlock(&cache->groups.lock);
        firn_make_resident_room(cache, 0);
        firn_hot_tidy(cache->hot);
    }
    return result;
}
