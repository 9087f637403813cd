/* The warm restart: brings back what was hot when the store was last closed, most valuable first,
 * in small steps, and records it again at the next close; and now and then before, for a process
 * that is not to live to close it. What requests bring up themselves ranks above all that comes
 * back here.
 */
#include "tier/cache.h"

enum {
    STEP_ENTRIES = 128,
    HOTTEST = 16384, /* of a shard, that are recorded while the cache is used: a hold of its lock */
    CHANGED_SHARE = 16, /* what is recorded is worth anew when that part of the residents changed */
    WRITTEN_BYTES = 64 << 20 /* of what is hot, at a time */
};

static void count_left(firn_cache *cache) {
    uint64_t left = 0;
    if (cache->warm.list != NULL) {
        left = firn_warm_list_count(cache->warm.list) - cache->warm.position;
    }
    atomic_store_explicit(&cache->warm.left, left, memory_order_relaxed);
}

void firn_warm_begin(firn_cache *cache) {
    if (cache->cold == NULL || cache->options.read_only || firn_resident_max(cache) == 0) {
        return;
    }
    cache->warm.writing = firn_hot_shard_count(cache->hot);
    /* No list, or a bad one, makes for a cold start and no more. */
    if (firn_warm_list_open(&cache->warm.list, firn_cold_path(cache->cold),
                            firn_cold_store_id(cache->cold), cache->heap) != FIRN_OK) {
        cache->warm.list = NULL;
    }
    count_left(cache);
}

void firn_warm_end(firn_cache *cache) {
    firn_warm_list_close(cache->warm.list);
    cache->warm.list = NULL;
    count_left(cache);
}

static bool fits(const firn_cache *cache, uint64_t charge) {
    uint64_t resident = firn_hot_resident_bytes(cache->hot);
    uint64_t resident_max = firn_resident_max(cache);
    return charge <= resident_max && resident <= resident_max - charge &&
           firn_has_room(cache, charge);
}

/* False: the hot tier is full, so that the rest may sleep on. */
static bool restore(firn_cache *cache, uint64_t hash) {
    firn_hot_shard *shard = firn_hot_lock(cache->hot, hash);
    bool there = firn_hot_find_hash_locked(shard, hash, 0) != NULL;
    uint32_t removals = firn_removals_look(cache, hash);
    firn_hot_unlock(shard);
    firn_object *object;
    if (there || firn_read_below(cache, hash, NULL, 0, &object) != FIRN_OK) {
        return true;
    }
    if (!fits(cache, firn_object_charge(object))) {
        firn_object_unref(object);
        return false;
    }
    shard = firn_hot_lock(cache->hot, hash);
    if (firn_hot_find_hash_locked(shard, hash, 0) == NULL &&
        removals == firn_removals_look(cache, hash) &&
        firn_hot_reserve_locked(shard, hash) == FIRN_OK) {
        firn_hot_restore_locked(shard, hash, object, FIRN_STORED);
        firn_count(cache->counters, FIRN_EVENT_WARMED, 1);
        firn_decide_of(cache, hash, object, FIRN_DECISION_PROMOTE, FIRN_REASON_WARM,
                       firn_object_charge(object));
    }
    firn_hot_unlock(shard);
    firn_expiry_note(cache, firn_object_expires_ms(object));
    firn_object_unref(object);
    return true;
}

bool firn_warm_step(firn_cache *cache) {
    firn_warm_list *list = cache->warm.list;
    if (list == NULL) {
        return false;
    }
    if (!cache->warm.checked && firn_warm_list_check(list) != FIRN_OK) {
        firn_warm_end(cache);
        return false;
    }
    cache->warm.checked = true;
    uint64_t count = firn_warm_list_count(list);
    bool room = true;
    for (unsigned i = 0; i < STEP_ENTRIES && room && cache->warm.position < count; i++) {
        room = restore(cache, firn_warm_list_at(list, cache->warm.position++));
    }
    count_left(cache);
    if (!room || cache->warm.position == count) {
        firn_warm_end(cache);
        return false;
    }
    return true;
}

static firn_object *next_resident(firn_cache *cache, unsigned number, const firn_object *object) {
    firn_hot_shard *shard = firn_hot_lock_number(cache->hot, number);
    firn_object *next = firn_hot_walk_locked(shard, object, FIRN_HOTTEST_FIRST);
    firn_hot_unlock(shard);
    return next;
}

/* Writes the residents in order of value, a shard's best beside the other shards' best, then what
 * had not come back yet. Only firn_close calls it, when no other thread is left. */
static void save_residents(firn_cache *cache, firn_warm_writer *writer, firn_object **cursors) {
    unsigned shards = firn_hot_shard_count(cache->hot);
    for (bool more = true; more;) {
        more = false;
        for (unsigned i = 0; i < shards; i++) {
            if (cursors[i] != NULL) {
                firn_warm_writer_add(writer, firn_object_hash(cursors[i]));
                cursors[i] = next_resident(cache, i, cursors[i]);
                more = true;
            }
        }
    }
}

static int open_writer(firn_cache *cache, firn_warm_writer **writer) {
    return firn_warm_writer_open(writer, firn_cold_path(cache->cold),
                                 firn_cold_store_id(cache->cold), cache->heap, &cache->detail);
}

int firn_warm_save(firn_cache *cache) {
    unsigned shards = firn_hot_shard_count(cache->hot);
    firn_object **cursors = firn_heap_zalloc(cache->heap, shards * sizeof *cursors);
    if (cursors == NULL) {
        return FIRN_ENOMEM;
    }
    firn_warm_writer *writer;
    int result = open_writer(cache, &writer);
    if (result == FIRN_OK) {
        for (unsigned i = 0; i < shards; i++) {
            cursors[i] = next_resident(cache, i, NULL);
        }
        save_residents(cache, writer, cursors);
        uint64_t left = atomic_load_explicit(&cache->warm.left, memory_order_relaxed);
        if (left > 0 &&
            (cache->warm.checked || firn_warm_list_check(cache->warm.list) == FIRN_OK)) {
            for (uint64_t i = 0; i < left; i++) {
                firn_warm_writer_add(writer,
                                     firn_warm_list_at(cache->warm.list, cache->warm.position + i));
            }
        }
        result = firn_warm_writer_finish(writer);
    }
    firn_heap_free(cache->heap, cursors, shards * sizeof *cursors);
    return result;
}

/* The hashes of a shard's hottest; returns how many. */
static size_t list_hottest(firn_cache *cache, unsigned number, uint64_t *hashes) {
    size_t count = 0;
    const firn_object *object = NULL;
    firn_hot_shard *shard = firn_hot_lock_number(cache->hot, number);
    while (count < HOTTEST &&
           (object = firn_hot_walk_locked(shard, object, FIRN_HOTTEST_FIRST)) != NULL) {
        hashes[count++] = firn_object_hash(object);
    }
    firn_hot_unlock(shard);
    return count;
}

/* What of it is not below by the time of a crash is passed over then. */
static int save_hottest(firn_cache *cache) {
    unsigned shards = firn_hot_shard_count(cache->hot);
    size_t size = (size_t)shards * HOTTEST * sizeof(uint64_t);
    size_t counts_size = shards * sizeof(size_t);
    uint64_t *hashes = firn_heap_alloc(cache->heap, size);
    size_t *counts = firn_heap_alloc(cache->heap, counts_size);
    firn_warm_writer *writer;
    int result = hashes != NULL && counts != NULL ? open_writer(cache, &writer) : FIRN_ENOMEM;
    if (result == FIRN_OK) {
        size_t most = 0;
        for (unsigned i = 0; i < shards; i++) {
            counts[i] = list_hottest(cache, i, &hashes[(size_t)i * HOTTEST]);
            most = counts[i] > most ? counts[i] : most;
        }
        for (size_t rank = 0; rank < most; rank++) {
            for (unsigned i = 0; i < shards; i++) {
                if (rank < counts[i]) {
                    firn_warm_writer_add(writer, hashes[(size_t)i * HOTTEST + rank]);
                }
            }
        }
        result = firn_warm_writer_finish(writer);
    }
    firn_heap_free(cache->heap, hashes, size);
    firn_heap_free(cache->heap, counts, counts_size);
    return result;
}

/* ---- writing what is hot ---- */

/* A process that is killed must not lose what was hottest only because it never left memory. What a
 * demotion policy is asked about is its to decide, when it leaves. */
static bool writes_hottest(const firn_cache *cache) {
    return cache->options.write_mode == FIRN_WRITE_ON_EVICTION &&
           !firn_asks(&cache->moving, FIRN_DEMOTION);
}

/* Whether the cold tier lacks it, and would take it. What was put since the last time may soon be
 * overwritten again, and waits for the next. */
static bool is_due_locked(firn_cache *cache, const firn_object *object) {
    const unsigned settled = FIRN_STORED | FIRN_QUEUED | FIRN_TOMBSTONE;
    if ((firn_object_state(object) & settled) != 0 ||
        firn_object_version(object) >= cache->warm.written_version) {
        return false;
    }
    size_t key_size;
    firn_object_key(object, &key_size);
    const firn_type *type = firn_object_type(object);
    return (type == NULL || type->encode != NULL) && !firn_is_expired(cache, object) &&
           firn_object_value_size(object) <= firn_cold_value_max(cache->cold, key_size);
}

/* Queues what is due of the hottest of the shard whose turn it is, until the queue has got `most`
 * bytes more. Returns how many it got; with fewer than `most`, the shard is done with. */
static uint64_t queue_hottest(firn_cache *cache, uint64_t most) {
    uint64_t bytes = 0;
    firn_object *object = NULL;
    firn_hot_shard *shard = firn_hot_lock_number(cache->hot, cache->warm.writing);
    for (unsigned i = 0; i < HOTTEST && bytes < most; i++) {
        object = firn_hot_walk_locked(shard, object, FIRN_HOTTEST_FIRST);
        if (object == NULL) {
            break;
        }
        if (is_due_locked(cache, object)) {
            if (firn_queue_reserve(&cache->queue) != FIRN_OK) {
                break;
            }
            firn_enqueue_locked(cache, shard, object);
            bytes += firn_object_charge(object);
        }
    }
    firn_hot_unlock(shard);
    return bytes;
}

static void begin_shard(firn_cache *cache, unsigned number) {
    cache->warm.writing = number;
    cache->warm.writing_bytes = WRITTEN_BYTES / firn_hot_shard_count(cache->hot);
}

/* A batch of what is due, behind all that waits to be written. True: there was some. */
static bool write_some(firn_cache *cache) {
    uint64_t left = cache->batch_ready_bytes;
    while (left > 0 && cache->warm.writing < firn_hot_shard_count(cache->hot)) {
        uint64_t most = left < cache->warm.writing_bytes ? left : cache->warm.writing_bytes;
        uint64_t bytes = queue_hottest(cache, most);
        left -= bytes < left ? bytes : left;
        bool spent = bytes >= cache->warm.writing_bytes;
        cache->warm.unwritten = cache->warm.unwritten || spent;
        cache->warm.writing_bytes -= spent ? 0 : bytes;
        if (spent || bytes < most) {
            begin_shard(cache, cache->warm.writing + 1);
        }
    }
    return left < cache->batch_ready_bytes;
}

static void begin_writing(firn_cache *cache, uint64_t version) {
    cache->warm.written_version = cache->warm.seen_version;
    cache->warm.seen_version = version;
    cache->warm.unwritten = false;
    begin_shard(cache, 0);
}

bool firn_warm_save_step(firn_cache *cache, uint64_t now_ns, uint64_t *wait_ns) {
    uint64_t interval_ms = cache->options.warm_save_ms;
    if (interval_ms == FIRN_WARM_SAVE_OFF || cache->warm.list != NULL ||
        firn_resident_max(cache) == 0) {
        return false;
    }
    if (write_some(cache)) {
        return true;
    }
    uint64_t arrived = firn_counted(cache->counters, FIRN_EVENT_PUT) +
                       firn_counted(cache->counters, FIRN_EVENT_PROMOTION);
    uint64_t version = atomic_load_explicit(&cache->version, memory_order_relaxed);
    bool changed = arrived - cache->warm.saved_arrived >
                   firn_hot_total(cache->hot).resident_entries / CHANGED_SHARE;
    bool unwritten =
        writes_hottest(cache) && (cache->warm.unwritten || cache->warm.written_version < version);
    if (!changed && !unwritten) {
        return false;
    }
    uint64_t interval_ns = firn_ns_of_ms(interval_ms);
    uint64_t since_ns = now_ns - cache->warm.saved_ns;
    if (since_ns < interval_ns) {
        firn_wait_at_most(wait_ns, interval_ns - since_ns);
        return false;
    }
    cache->warm.saved_ns = now_ns;
    if (changed) {
        /* An error makes a start after a crash colder, and loses nothing. */
        (void)save_hottest(cache);
        cache->warm.saved_arrived = arrived;
    }
    if (unwritten) {
        begin_writing(cache, version);
    }
    return write_some(cache);
}
