/* Recording what a cache is asked: begins and ends it, and notes accesses that are to be in the
 * file. How notes wait and are written is observe/recorder.c's. */
#include "base/sized.h"
#include "tier/cache.h"

enum {
    FILE_BYTES_MIN = 64 << 10,
    WRITE_EVERY_MS = 1000, /* what is noted is in the file after that */
};

#define RATE_DEFAULT       0.01
#define FILE_BYTES_DEFAULT (UINT64_C(1) << 30)

void firn_record_access(firn_cache *cache, firn_access *access) {
    firn_sampling *self = &cache->sampling;
    if (access->key_hash >= atomic_load_explicit(&self->record_below, memory_order_relaxed)) {
        return;
    }
    firn_recorder *recorder = atomic_load_explicit(&self->recorder, memory_order_acquire);
    if (recorder == NULL) {
        return; /* the threshold was seen before the recorder */
    }
    access->time_ms = firn_now_ms(cache);
    /* What the caller told of an end becomes a lifetime. */
    access->ttl_ms = firn_span(access->time_ms, access->ttl_ms);
    if (firn_recorder_note(recorder, access)) {
        firn_worker_wake(cache);
    }
}

static void set_threshold(firn_cache *cache, uint64_t below) {
    pthread_mutex_lock(&cache->sampling.lock);
    firn_sampling_publish_locked(cache, &cache->sampling.record_below, below);
    pthread_mutex_unlock(&cache->sampling.lock);
}

static int check_options(firn_cache *cache, const firn_record_options *given,
                         firn_record_options *full) {
    *full = (firn_record_options)FIRN_RECORD_OPTIONS_INIT;
    int result = FIRN_OK;
    if (given != NULL) {
        result = firn_read_sized(full, sizeof *full, given, "firn_record_options", &cache->detail);
    }
    if (full->sampling_rate == 0) {
        full->sampling_rate = RATE_DEFAULT;
    }
    if (full->file_bytes_max == 0) {
        full->file_bytes_max = FILE_BYTES_DEFAULT;
    }
    if (result == FIRN_OK && (!(full->sampling_rate > 0) || full->sampling_rate > 1 ||
                              full->file_bytes_max < FILE_BYTES_MIN)) {
        return firn_detail_set(&cache->detail, FIRN_EINVAL,
                               "firn_record_options: sampling_rate is above 0 and up to 1, and "
                               "file_bytes_max at least %d",
                               FILE_BYTES_MIN);
    }
    if (result == FIRN_OK && cache->options.read_only) {
        return firn_detail_set(&cache->detail, FIRN_EREADONLY, "a read-only cache is not recorded");
    }
    return result;
}

static int start_locked(firn_cache *cache, const char *path, const firn_record_options *options) {
    firn_sampling *self = &cache->sampling;
    if (self->recording) {
        return firn_detail_set(&cache->detail, FIRN_EINVAL,
                               "it is being recorded: call firn_record_stop first");
    }
    firn_recorder *recorder = atomic_load_explicit(&self->recorder, memory_order_relaxed);
    if (recorder == NULL) {
        recorder = firn_recorder_new(cache->heap);
        if (recorder == NULL) {
            return firn_detail_set(&cache->detail, FIRN_ENOMEM, "no memory for a recording");
        }
        atomic_store_explicit(&self->recorder, recorder, memory_order_release);
    }
    const firn_recorder_config config = {
        .below = firn_shards_threshold(options->sampling_rate),
        .started_ms = firn_now_ms(cache),
        .hot_bytes = atomic_load_explicit(&cache->hot_bytes, memory_order_relaxed),
        .cold_bytes = cache->cold != NULL ? cache->options.cold_bytes : 0,
        .file_bytes_max = options->file_bytes_max,
    };
    int result = firn_recorder_begin(recorder, path, &config, &cache->detail);
    if (result == FIRN_OK) {
        self->recording = true;
        self->drained_ns = firn_monotonic_ns();
        set_threshold(cache, config.below);
    }
    return result;
}

int firn_record_start(firn_cache *cache, const char *path, const firn_record_options *options) {
    if (cache == NULL || path == NULL) {
        return FIRN_EINVAL;
    }
    firn_record_options full;
    int result = check_options(cache, options, &full);
    if (result != FIRN_OK) {
        return result;
    }
    pthread_mutex_lock(&cache->sampling.record_lock);
    result = start_locked(cache, path, &full);
    pthread_mutex_unlock(&cache->sampling.record_lock);
    if (result == FIRN_OK) {
        result = firn_worker_need(cache);
        if (result != FIRN_OK) {
            (void)firn_record_stop(cache);
        }
    }
    return result;
}

int firn_record_stop(firn_cache *cache) {
    if (cache == NULL) {
        return FIRN_EINVAL;
    }
    firn_sampling *self = &cache->sampling;
    int result = FIRN_NOT_FOUND;
    pthread_mutex_lock(&self->record_lock);
    if (self->recording) {
        self->recording = false;
        set_threshold(cache, 0);
        result = firn_recorder_end(atomic_load_explicit(&self->recorder, memory_order_relaxed),
                                   &cache->detail);
    }
    pthread_mutex_unlock(&self->record_lock);
    return result;
}

int firn_record_get_stats(firn_cache *cache, firn_record_stats *stats) {
    if (cache == NULL || firn_is_unsized(stats)) {
        return FIRN_EINVAL;
    }
    firn_sampling *self = &cache->sampling;
    firn_record_stats full = FIRN_RECORD_STATS_INIT;
    firn_recorder *recorder = atomic_load_explicit(&self->recorder, memory_order_acquire);
    if (recorder != NULL) {
        firn_recorder_get_stats(recorder, &full);
        full.recording =
            atomic_load_explicit(&self->record_below, memory_order_relaxed) != 0 ? 1 : 0;
    }
    firn_give_sized(stats, &full, sizeof full);
    return FIRN_OK;
}

static void drain_locked(firn_cache *cache, uint64_t now_ns) {
    firn_sampling *self = &cache->sampling;
    bool all = now_ns - self->drained_ns >= firn_ns_of_ms(WRITE_EVERY_MS);
    self->drained_ns = all ? now_ns : self->drained_ns;
    if (!firn_recorder_drain(atomic_load_explicit(&self->recorder, memory_order_relaxed), all)) {
        set_threshold(cache, 0);
    }
}

void firn_recording_step(firn_cache *cache, uint64_t now_ns, uint64_t *wait_ns) {
    firn_sampling *self = &cache->sampling;
    if (atomic_load_explicit(&self->record_below, memory_order_relaxed) == 0) {
        return;
    }
    /* Whoever holds it begins or ends a recording, and the ring is theirs then. */
    if (pthread_mutex_trylock(&self->record_lock) == 0) {
        if (self->recording) {
            drain_locked(cache, now_ns);
        }
        pthread_mutex_unlock(&self->record_lock);
    }
    firn_wait_at_most(wait_ns, firn_ns_of_ms(WRITE_EVERY_MS));
}

void firn_recording_fini(firn_cache *cache) {
    (void)firn_record_stop(cache);
    firn_recorder_free(atomic_load_explicit(&cache->sampling.recorder, memory_order_relaxed));
}
