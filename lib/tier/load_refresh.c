/* Loads that nobody waits for: a queue of flights, and a thread of its own that is started for the
 * first of them, for a load may take seconds, which the work of the tiers cannot wait for. */
#include <string.h>

#include "tier/cache.h"

typedef struct firn_refresh {
    struct firn_refresh *next;
    firn_loader loader;
    firn_flight *flight;
    uint64_t version; /* of the entry that is to be loaded anew */
    size_t key_size;
    unsigned char key[];
} firn_refresh;

int firn_refresher_init(firn_refresher *refresher) {
    int failed = pthread_mutex_init(&refresher->lock, NULL);
    return failed | pthread_cond_init(&refresher->wake, NULL);
}

void firn_refresher_fini(firn_refresher *refresher) {
    pthread_mutex_destroy(&refresher->lock);
    pthread_cond_destroy(&refresher->wake);
}

static void free_refresh(firn_cache *cache, firn_refresh *refresh) {
    firn_heap_free(cache->heap, refresh, sizeof *refresh + refresh->key_size);
}

static firn_refresh *take_locked(firn_refresher *refresher) {
    firn_refresh *refresh = refresher->first;
    if (refresh != NULL) {
        refresher->first = refresh->next;
        refresher->count--;
    }
    return refresh;
}

/* load: else the flight ends without one. */
static void settle(firn_cache *cache, firn_refresh *refresh, bool load) {
    if (!firn_flights_start(&cache->flights, refresh->flight, firn_load_version(cache))) {
        firn_flights_leave(&cache->flights, refresh->flight); /* somebody took it over */
    } else if (load) {
        firn_load_for(cache, &refresh->loader, refresh->flight, refresh->version);
    } else {
        firn_flights_end(&cache->flights, refresh->flight, FIRN_EUSER, NULL);
    }
    free_refresh(cache, refresh);
}

static void *refresh_all(void *context) {
    firn_cache *cache = context;
    firn_refresher *refresher = &cache->refresher;
    pthread_mutex_lock(&refresher->lock);
    while (!refresher->stop) {
        firn_refresh *refresh = take_locked(refresher);
        if (refresh == NULL) {
            pthread_cond_wait(&refresher->wake, &refresher->lock);
            continue;
        }
        pthread_mutex_unlock(&refresher->lock);
        settle(cache, refresh, true);
        pthread_mutex_lock(&refresher->lock);
    }
    pthread_mutex_unlock(&refresher->lock);
    return NULL;
}

/* There is somebody who will do it: a thread, or whoever calls firn_run. */
static bool has_hands_locked(firn_cache *cache) {
    firn_refresher *refresher = &cache->refresher;
    if (!refresher->thread_runs && cache->options.threads > 0) {
        refresher->thread_runs = pthread_create(&refresher->thread, NULL, refresh_all, cache) == 0;
        return refresher->thread_runs;
    }
    return true;
}

/* The queue's lock is held, so that nobody starts it before it is in the queue. */
static bool push_locked(firn_cache *cache, firn_refresh *refresh) {
    firn_refresher *refresher = &cache->refresher;
    if (refresher->stop || refresher->count >= FIRN_REFRESHES_MAX || !has_hands_locked(cache) ||
        !firn_flights_queue(&cache->flights, refresh->flight, refresh->key)) {
        return false;
    }
    if (refresher->first == NULL) {
        refresher->first = refresh;
    } else {
        refresher->last->next = refresh;
    }
    refresher->last = refresh;
    refresher->count++;
    pthread_cond_signal(&refresher->wake);
    return true;
}

bool firn_refresh_later(firn_cache *cache, const firn_loader *loader, firn_flight *flight,
                        uint64_t version) {
    firn_refresh *refresh = firn_heap_alloc(cache->heap, sizeof *refresh + flight->key_size);
    if (refresh == NULL) {
        return false;
    }
    refresh->next = NULL;
    refresh->loader = *loader;
    refresh->flight = flight;
    refresh->version = version;
    refresh->key_size = flight->key_size;
    memcpy(refresh->key, flight->key, flight->key_size);
    pthread_mutex_lock(&cache->refresher.lock);
    bool pushed = push_locked(cache, refresh);
    pthread_mutex_unlock(&cache->refresher.lock);
    if (!pushed) {
        free_refresh(cache, refresh);
    }
    return pushed;
}

bool firn_refresh_step(firn_cache *cache) {
    pthread_mutex_lock(&cache->refresher.lock);
    firn_refresh *refresh = take_locked(&cache->refresher);
    pthread_mutex_unlock(&cache->refresher.lock);
    if (refresh != NULL) {
        settle(cache, refresh, true);
    }
    return refresh != NULL;
}

void firn_refresh_stop(firn_cache *cache) {
    firn_refresher *refresher = &cache->refresher;
    pthread_mutex_lock(&refresher->lock);
    refresher->stop = true;
    pthread_cond_signal(&refresher->wake);
    pthread_mutex_unlock(&refresher->lock);
    if (refresher->thread_runs) {
        pthread_join(refresher->thread, NULL);
        refresher->thread_runs = false;
    }
    firn_refresh *refresh;
    while ((refresh = take_locked(refresher)) != NULL) {
        settle(cache, refresh, false);
    }
}
