/* Background work: by a thread of our own, or by the program through firn_run. Decides what is due
 * and when to look again; how a batch is written or an entry warmed is done elsewhere. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "tier/cache.h"

enum {
    LINGER_MS = 20, /* a demoted entry waits this long for others to share its commit */
    RETRY_MS = 200, /* after a failed batch */
    IDLE_MS = 60000,
};

static bool journal_is_half_full(const firn_cache *cache) {
    return firn_cold_journal_room(cache->cold) <= firn_cold_journal_capacity(cache->cold) / 2;
}

/* How long the queue's oldest may still wait, in nanoseconds; 0: a batch is due; UINT64_MAX: the
 * queue is empty. worker_lock is held. */
static uint64_t queue_waits(firn_cache *cache, bool eager, uint64_t now_ns) {
    firn_queue_state state = firn_queue_look(&cache->queue);
    if (state.entries == 0) {
        return UINT64_MAX;
    }
    bool behind = cache->options.write_mode == FIRN_WRITE_BEHIND;
    uint64_t linger_ms = behind ? cache->options.write_behind_ms : eager ? 0 : LINGER_MS;
    uint64_t linger_ns = firn_ns_of_ms(linger_ms);
    uint64_t waited_ns = firn_span(state.first_ns, now_ns);
    if (waited_ns >= linger_ns || state.bytes >= cache->batch_ready_bytes) {
        cache->drain_to = state.pushed;
    }
    return state.completed < cache->drain_to ? 0 : linger_ns - waited_ns;
}

/* The same for the next sync. */
static uint64_t sync_waits(const firn_cache *cache, uint64_t now_ns) {
    if (cache->options.durability != FIRN_DURABILITY_PERIODIC) {
        return UINT64_MAX;
    }
    firn_cold_stats stats;
    firn_cold_get_stats(cache->cold, &stats);
    if (stats.commits == cache->synced_commits) {
        return UINT64_MAX;
    }
    uint64_t interval_ns = firn_ns_of_ms(cache->options.sync_interval_ms);
    uint64_t since_ns = now_ns - cache->synced_ns;
    return since_ns >= interval_ns ? 0 : interval_ns - since_ns;
}

static int sync_now(firn_cache *cache) {
    firn_cold_stats stats;
    firn_cold_get_stats(cache->cold, &stats);
    int result = firn_sync_cold(cache);
    cache->synced_ns = firn_monotonic_ns();
    if (result == FIRN_OK) {
        cache->synced_commits = stats.commits;
    }
    return result;
}

/* A piece of the cold tier's own work. */
static int tidy(firn_cache *cache) {
    firn_lock(&cache->write_lock);
    int result = firn_cold_tidy(cache->cold);
    firn_unlock(&cache->write_lock);
    return result;
}

/* Does one piece of what is due. FIRN_AGAIN: there may be more. FIRN_OK: nothing for the next
 * *wait_ns. worker_lock is held. */
static int step(firn_cache *cache, bool eager, uint64_t *wait_ns) {
    uint64_t now_ns = firn_monotonic_ns();
    *wait_ns = firn_ns_of_ms(IDLE_MS);
    firn_links_settle(cache);
    bool more = firn_expire_step(cache, wait_ns);
    firn_sampling_step(cache, now_ns, wait_ns);
    more = firn_clear_step(cache) || more;
    if (cache->cold == NULL || cache->options.read_only) {
        return more ? FIRN_AGAIN : FIRN_OK;
    }
    firn_page_step(cache, now_ns, wait_ns);
    /* Seldom due, and then first: under a steady load there is always a batch to write, and a
     * dictionary is what makes that cheaper. */
    if (firn_cold_maintain(cache->cold)) {
        return FIRN_AGAIN;
    }
    uint64_t queue_ns = queue_waits(cache, eager, now_ns);
    if (queue_ns == 0 || journal_is_half_full(cache) || firn_cold_has_old_lines(cache->cold)) {
        int result = firn_write_batch(cache);
        return result == FIRN_OK ? FIRN_AGAIN : result;
    }
    uint64_t sync_ns = sync_waits(cache, now_ns);
    if (sync_ns == 0) {
        int result = sync_now(cache);
        return result == FIRN_OK ? FIRN_AGAIN : result;
    }
    if (firn_warm_step(cache)) {
        return FIRN_AGAIN;
    }
    more = firn_warm_save_step(cache, now_ns, wait_ns) || more;
    int tidied = tidy(cache);
    if (tidied != FIRN_OK) {
        return tidied;
    }
    firn_wait_at_most(wait_ns, queue_ns);
    firn_wait_at_most(wait_ns, sync_ns);
    return more ? FIRN_AGAIN : FIRN_OK;
}

static int locked_step(firn_cache *cache, bool eager, uint64_t *wait_ns) {
    firn_lock(&cache->worker_lock);
    int result = step(cache, eager, wait_ns);
    firn_unlock(&cache->worker_lock);
    return result;
}

int firn_run(firn_cache *cache, uint64_t budget_ms) {
    if (cache == NULL) {
        return FIRN_EINVAL;
    }
    uint64_t began_ns = firn_monotonic_ns();
    int result;
    uint64_t wait_ns;
    do {
        result = locked_step(cache, true, &wait_ns);
        if (result == FIRN_OK) {
            result = firn_collect_in_background(cache, &wait_ns);
        }
        if (firn_refresh_step(cache) && result == FIRN_OK) {
            result = FIRN_AGAIN;
        }
        firn_tell(cache);
    } while (result == FIRN_AGAIN && (firn_monotonic_ns() - began_ns) / FIRN_NS_PER_MS < budget_ms);
    return result;
}

/* Sleeps until the time is over, the thread is to stop or, unless deaf, somebody wakes it. */
static void sleep_for(firn_cache *cache, uint64_t wait_ns, bool deaf) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + wait_ns;
    until.tv_sec += (time_t)(ns / 1000000000u);
    until.tv_nsec = (long)(ns % 1000000000u);
    pthread_mutex_lock(&cache->wake_lock);
    while (!cache->stop && (deaf || !cache->awake) &&
           pthread_cond_timedwait(&cache->wake, &cache->wake_lock, &until) != ETIMEDOUT) {
    }
    cache->awake = false;
    pthread_mutex_unlock(&cache->wake_lock);
}

static bool stopped(firn_cache *cache) {
    pthread_mutex_lock(&cache->wake_lock);
    bool stop = cache->stop;
    pthread_mutex_unlock(&cache->wake_lock);
    return stop;
}

static void *worker(void *context) {
    firn_cache *cache = context;
    while (!stopped(cache)) {
        uint64_t wait_ns;
        int result = locked_step(cache, false, &wait_ns);
        uint64_t collect_ns;
        if (result == FIRN_OK) {
            result = firn_collect_in_background(cache, &collect_ns);
        }
        firn_tell(cache);
        if (result == FIRN_OK) {
            sleep_for(cache, wait_ns < collect_ns ? wait_ns : collect_ns, false);
        } else if (result != FIRN_AGAIN) {
            /* The cause does not go because more work comes. */
            sleep_for(cache, firn_ns_of_ms(RETRY_MS), true);
        }
    }
    return NULL;
}

void firn_worker_wake(firn_cache *cache) {
    pthread_mutex_lock(&cache->wake_lock);
    cache->awake = true;
    pthread_cond_signal(&cache->wake);
    pthread_mutex_unlock(&cache->wake_lock);
}

/* The lock of the thread is held. FIRN_OK or FIRN_EIO. */
static int start_locked(firn_cache *cache) {
    int error = pthread_create(&cache->thread, NULL, worker, cache);
    if (error != 0) {
        return firn_detail_set(&cache->detail, FIRN_EIO,
                               "cannot start the background thread: %s (open with threads = 0 "
                               "and call firn_run)",
                               strerror(error));
    }
    cache->thread_runs = true;
    return FIRN_OK;
}

int firn_worker_need(firn_cache *cache) {
    int result = FIRN_OK;
    pthread_mutex_lock(&cache->thread_lock);
    if (cache->thread_runs) {
        firn_worker_wake(cache);
    } else if (cache->options.threads > 0 && !cache->options.read_only &&
               !atomic_load_explicit(&cache->closing, memory_order_relaxed)) {
        result = start_locked(cache);
    }
    pthread_mutex_unlock(&cache->thread_lock);
    return result;
}

void firn_worker_stop(firn_cache *cache) {
    if (!cache->thread_runs) {
        return;
    }
    pthread_mutex_lock(&cache->wake_lock);
    cache->stop = true;
    pthread_cond_signal(&cache->wake);
    pthread_mutex_unlock(&cache->wake_lock);
    pthread_join(cache->thread, NULL);
    cache->thread_runs = false;
}
