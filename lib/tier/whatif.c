/* Follows a sample of the accesses. They go to the recording, if there is one (recording.c), and to
 * what-if, which this file is about: it gives the estimate of the hit-ratio curve
 * (observe/shards.h) a sample of the accesses, puts what it says in terms of budgets, and keeps it
 * in the store.
 *
 * What an access costs that is not sampled is one comparison of its hash with cache->sampled_below.
 * One that is takes a lock, if it is free; a put or delete that finds it taken is left out, and a
 * get is counted. */
#include "cold/cold.h"
#include "observe/curve_file.h"
#include "tier/cache.h"

enum {
    BYTES_SHARE = 128, /* of the hot tier, for the estimate */
    BYTES_MOST = 512 << 10,
    SAMPLING = 64, /* one key in so many at the most, if the option does not say */
    COUNT_EVERY = 1 << 16,
    SAVE_EVERY_MS = 60000,
    ENTRIES_MIN = 64, /* that tell of how dense the cold tier is */
};

/* Bytes beyond charges that a hot tier may be thought to take: when it is nearly empty, its tables
 * say nothing of how it will be. */
#define OVERHEAD_MAX 1.5

static uint64_t within(uint64_t value, uint64_t least, uint64_t most) {
    return value < least ? least : value > most ? most : value;
}

static uint64_t bytes_of(const firn_options *options) {
    if (options->curve_bytes != 0) {
        return options->curve_bytes;
    }
    uint64_t bytes = options->hot_bytes != 0 ? options->hot_bytes : options->cold_bytes / 16;
    return within(bytes / BYTES_SHARE, FIRN_CURVE_BYTES_MIN, BYTES_MOST);
}

int firn_sampling_init(firn_cache *cache) {
    firn_sampling *self = &cache->sampling;
    const firn_options *options = &cache->options;
    if (options->curve_bytes == FIRN_CURVE_OFF || options->read_only) {
        return FIRN_OK;
    }
    unsigned one_in = options->curve_sampling != 0 ? options->curve_sampling : SAMPLING;
    self->shards = firn_shards_new(cache->heap, bytes_of(options),
                                   firn_shards_threshold(1.0 / one_in), &options->clock);
    if (self->shards == NULL) {
        return FIRN_ENOMEM;
    }
    self->saved_ns = firn_monotonic_ns();
    if (cache->cold != NULL) {
        /* Without it the estimate begins anew. */
        (void)firn_curve_file_read(firn_cold_path(cache->cold), firn_cold_store_id(cache->cold),
                                   NULL, self->shards, cache->heap);
    }
    firn_sampling_publish_locked(cache, &self->curve_below, firn_shards_below(self->shards));
    return FIRN_OK;
}

void firn_sampling_fini(firn_cache *cache) {
    firn_recording_fini(cache);
    firn_shards_free(cache->sampling.shards);
}

/* Tells the estimate of all gets since the last time. */
static void count_locked(firn_cache *cache) {
    firn_sampling *self = &cache->sampling;
    uint64_t gets = firn_counted(cache->counters, FIRN_EVENT_HOT_HIT) +
                    firn_counted(cache->counters, FIRN_EVENT_COLD_HIT) +
                    firn_counted(cache->counters, FIRN_EVENT_MISS);
    uint64_t lost = atomic_load_explicit(&self->lost, memory_order_relaxed);
    /* What two threads count is not read at one moment. */
    uint64_t new_gets = gets > self->counted_gets ? gets - self->counted_gets : 0;
    firn_shards_count(self->shards, new_gets, lost - self->counted_lost);
    self->counted_gets += new_gets;
    self->counted_lost = lost;
    self->pending = 0;
}

void firn_sampling_publish_locked(firn_cache *cache, _Atomic uint64_t *which, uint64_t below) {
    firn_sampling *self = &cache->sampling;
    if (atomic_load_explicit(which, memory_order_relaxed) == below) {
        return; /* as nearly always: nothing is written that all gets read */
    }
    atomic_store_explicit(which, below, memory_order_relaxed);
    uint64_t curve = atomic_load_explicit(&self->curve_below, memory_order_relaxed);
    uint64_t record = atomic_load_explicit(&self->record_below, memory_order_relaxed);
    atomic_store_explicit(&cache->sampled_below, curve > record ? curve : record,
                          memory_order_relaxed);
}

/* After each call that may let the threshold fall. */
static void publish_locked(firn_cache *cache) {
    firn_sampling *self = &cache->sampling;
    firn_sampling_publish_locked(cache, &self->curve_below, firn_shards_below(self->shards));
}

static bool is_followed(const firn_cache *cache, uint64_t hash) {
    return hash < atomic_load_explicit(&cache->sampling.curve_below, memory_order_relaxed);
}

static void follow_get(firn_cache *cache, uint64_t hash, const firn_object *object) {
    firn_sampling *self = &cache->sampling;
    if (pthread_mutex_trylock(&self->lock) != 0) {
        atomic_fetch_add_explicit(&self->lost, 1, memory_order_relaxed);
        return;
    }
    firn_shards_get(self->shards, hash, object != NULL ? firn_object_charge(object) : 0,
                    object != NULL ? firn_object_expires_ms(object) : 0);
    self->changed = true;
    if (++self->pending >= COUNT_EVERY) {
        count_locked(cache);
    }
    publish_locked(cache);
    pthread_mutex_unlock(&self->lock);
}

void firn_sample_get(firn_cache *cache, uint64_t hash, unsigned hit, const firn_object *object) {
    firn_access access = {.what = object != NULL ? hit : FIRN_ACCESS_MISS, .key_hash = hash};
    if (object != NULL) {
        access.value_size = firn_object_size(object);
        access.charge = firn_object_charge(object);
    }
    firn_record_access(cache, &access);
    if (is_followed(cache, hash)) {
        follow_get(cache, hash, object);
    }
}

void firn_sample_put(firn_cache *cache, uint64_t hash, size_t key_size, size_t value_size,
                     const firn_traits *traits) {
    firn_sampling *self = &cache->sampling;
    firn_access access = {
        .what = FIRN_ACCESS_PUT,
        .key_hash = hash,
        .value_size = value_size,
        .charge = firn_object_charge_for(cache->pool, key_size, value_size, traits),
        .ttl_ms = traits->expires_ms, /* becomes one */
        .cost_us = traits->cost_us,
    };
    firn_record_access(cache, &access);
    if (is_followed(cache, hash) && pthread_mutex_trylock(&self->lock) == 0) {
        firn_shards_put(self->shards, hash, access.charge, traits->expires_ms);
        publish_locked(cache);
        pthread_mutex_unlock(&self->lock);
    }
}

void firn_sample_delete(firn_cache *cache, uint64_t hash) {
    firn_sampling *self = &cache->sampling;
    firn_access access = {.what = FIRN_ACCESS_DELETE, .key_hash = hash};
    firn_record_access(cache, &access);
    if (is_followed(cache, hash) && pthread_mutex_trylock(&self->lock) == 0) {
        firn_shards_forget(self->shards, hash);
        pthread_mutex_unlock(&self->lock);
    }
}

/* ---- from charges to budgets ---- */

/* What a budget comes to, in charges, and back. */
typedef struct scales {
    double hot;       /* bytes of hot_bytes for each byte of charge */
    double hot_max;   /* charges that the hot tier has room for */
    double cold;      /* bytes on disk for each byte of charge */
    bool both_places; /* what is hot is on disk too */
} scales;

static scales scales_of(const firn_cache *cache, double mean_charge) {
    scales found = {.hot = 1, .cold = 1};
    double hot_bytes = (double)atomic_load_explicit(&cache->hot_bytes, memory_order_relaxed);
    firn_hot_totals hot = firn_hot_total(cache->hot);
    double objects = (double)(hot.held_bytes - hot.overhead_bytes);
    if (objects > 0 && hot_bytes > 0) {
        double overhead = (double)hot.held_bytes / objects;
        found.hot = overhead < OVERHEAD_MAX ? overhead : OVERHEAD_MAX;
        found.hot *= hot_bytes / (double)firn_resident_max(cache);
    }
    found.hot_max = hot_bytes / found.hot;
    if (cache->cold != NULL) {
        firn_cold_stats cold;
        firn_cold_get_stats(cache->cold, &cold);
        if (cold.entries >= ENTRIES_MIN && mean_charge > 0) {
            found.cold = (double)cold.file_bytes / (double)cold.entries / mean_charge;
        }
        found.both_places = cache->options.write_mode != FIRN_WRITE_ON_EVICTION;
    }
    return found;
}

/* The bytes of both tiers that hold so many bytes of charges. */
static double total_bytes(const scales *by, double charges, double hot_bytes) {
    if (charges <= by->hot_max) {
        return charges * by->hot;
    }
    double below = by->both_places ? charges : charges - by->hot_max;
    return hot_bytes + below * by->cold;
}

/* The line, over charges, becomes one over budgets. */
static void place(firn_cache *cache, firn_curve *curve, double mean_charge) {
    scales by = scales_of(cache, mean_charge);
    uint64_t hot_bytes = atomic_load_explicit(&cache->hot_bytes, memory_order_relaxed);
    uint64_t hot_hits = firn_counted(cache->counters, FIRN_EVENT_HOT_HIT);
    uint64_t hits = hot_hits + firn_counted(cache->counters, FIRN_EVENT_COLD_HIT);
    uint64_t gets = hits + firn_counted(cache->counters, FIRN_EVENT_MISS);
    curve->total = (firn_curve_line){.count = 0};
    if (cache->cold != NULL) {
        curve->total = curve->hot;
        curve->total.bytes = hot_bytes + cache->options.cold_bytes;
        curve->total.measured_hit_ratio = gets > 0 ? (double)hits / (double)gets : 0;
    }
    if (hot_bytes == 0) {
        curve->hot.count = 0;
    }
    curve->hot.bytes = hot_bytes;
    curve->hot.measured_hit_ratio = gets > 0 ? (double)hot_hits / (double)gets : 0;
    for (size_t i = 0; i < curve->hot.count; i++) {
        curve->hot.points[i].bytes = (uint64_t)((double)curve->hot.points[i].bytes * by.hot);
    }
    for (size_t i = 0; i < curve->total.count; i++) {
        curve->total.points[i].bytes =
            (uint64_t)total_bytes(&by, (double)curve->total.points[i].bytes, (double)hot_bytes);
    }
}

int firn_get_curve(firn_cache *cache, firn_curve *curve) {
    if (cache == NULL || curve == NULL || curve->size != sizeof *curve) {
        return FIRN_EINVAL;
    }
    firn_sampling *self = &cache->sampling;
    if (self->shards == NULL) {
        return FIRN_NOT_FOUND;
    }
    pthread_mutex_lock(&self->lock);
    count_locked(cache);
    firn_shards_curve(self->shards, curve);
    double mean_charge = firn_shards_mean_charge(self->shards);
    pthread_mutex_unlock(&self->lock);
    place(cache, curve, mean_charge);
    return FIRN_OK;
}

/* ---- in the store ---- */

void firn_sampling_save(firn_cache *cache) {
    firn_sampling *self = &cache->sampling;
    if (self->shards == NULL || cache->cold == NULL) {
        return;
    }
    firn_curve curve = FIRN_CURVE_INIT;
    unsigned char *bytes = NULL;
    size_t size = 0;
    size_t room = 0;
    pthread_mutex_lock(&self->lock);
    if (self->changed) {
        count_locked(cache);
        firn_shards_curve(self->shards, &curve);
        place(cache, &curve, firn_shards_mean_charge(self->shards));
        bytes = firn_curve_file_make(firn_cold_store_id(cache->cold), &curve, self->shards,
                                     cache->heap, &size, &room);
        self->changed = false;
    }
    pthread_mutex_unlock(&self->lock);
    if (bytes != NULL) {
        /* An error costs what was learnt since the last time, if there is a next one. */
        (void)firn_curve_file_write(firn_cold_path(cache->cold), bytes, size, cache->heap);
        firn_heap_free(cache->heap, bytes, room);
    }
}

void firn_sampling_step(firn_cache *cache, uint64_t now_ns, uint64_t *wait_ns) {
    firn_sampling *self = &cache->sampling;
    firn_recording_step(cache, now_ns, wait_ns);
    if (now_ns - self->saved_ns >= firn_ns_of_ms(SAVE_EVERY_MS)) {
        self->saved_ns = now_ns;
        firn_sampling_save(cache);
    }
}
