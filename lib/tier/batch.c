/* Writing to the cold tier: batches from the queue, single large values, and the invalidation
 * journal's relief. Knows what a finished write means for the state of an object. */
#include <string.h>

#include "tier/cache.h"

int firn_void_below_locked(firn_cache *cache, const firn_object *old, uint64_t hash,
                           uint64_t version) {
    if (cache->cold == NULL) {
        return FIRN_OK;
    }
    /* An old object that the cold tier does not have, and that is not on its way there, got its
     * own line in the journal when it came, which voids all that is below. */
    if (old != NULL && (old->state & (FIRN_STORED | FIRN_QUEUED)) == 0) {
        return FIRN_OK;
    }
    int result = firn_cold_invalidate(cache->cold, hash, version);
    if (firn_cold_journal_room(cache->cold) == firn_cold_journal_capacity(cache->cold) / 2) {
        firn_worker_wake(cache);
    }
    return result;
}

int firn_relieve_journal(firn_cache *cache) {
    pthread_mutex_lock(&cache->write_lock);
    int result = FIRN_OK;
    if (firn_cold_journal_room(cache->cold) == 0) {
        uint64_t version = atomic_load_explicit(&cache->version, memory_order_relaxed);
        result = firn_cold_write(cache->cold, NULL, 0, version);
    }
    pthread_mutex_unlock(&cache->write_lock);
    return result;
}

/* What the writer makes of an object at the moment it takes it. False: it was overwritten or
 * deleted meanwhile, so that nothing is left to write. */
static bool item_of(firn_cache *cache, firn_object *object, uint64_t now_ms, firn_cold_item *item) {
    firn_hot_shard *shard = firn_hot_lock(cache->hot, object->hash);
    uint32_t state = object->state;
    firn_hot_unlock(shard);
    if ((state & FIRN_INDEXED) == 0) {
        return false;
    }
    size_t key_size;
    const void *key = firn_object_key(object, &key_size);
    *item = (firn_cold_item){
        .hash = object->hash,
        .version = object->version,
        .expires_ms = object->expires_ms,
        .key = key,
        .key_size = key_size,
        .value = firn_object_data(object),
        .value_size = firn_object_size(object),
        .remove = (state & FIRN_TOMBSTONE) != 0 || firn_object_expired(object, now_ms),
    };
    return true;
}

/* The commit is done: what it means for one object. Returns one whose index reference the caller
 * drops. */
static firn_object *settle_locked(firn_cache *cache, firn_hot_shard *shard, firn_object *object,
                                  const firn_cold_item *item) {
    bool resident = (object->state & FIRN_RESIDENT) != 0;
    bool indexed = (object->state & FIRN_INDEXED) != 0;
    firn_removals_bump(cache, object->hash);
    firn_hot_change_locked(shard, object, FIRN_QUEUED, 0);
    if (item->remove) {
        if ((object->state & FIRN_TOMBSTONE) == 0) {
            firn_count(cache->counters, object->hash, FIRN_EVENT_EXPIRED, 1);
        }
        resident = false;
    } else if (item->result == FIRN_OK) {
        firn_count(cache->counters, object->hash, FIRN_EVENT_WRITE, 1);
        if (indexed) {
            firn_hot_change_locked(shard, object, 0, FIRN_STORED);
        }
        if (indexed && !resident && (object->state & FIRN_TOMBSTONE) == 0) {
            firn_count(cache->counters, object->hash, FIRN_EVENT_DEMOTION, 1);
        }
    } else if (!resident) {
        firn_count(cache->counters, object->hash, FIRN_EVENT_DROPPED_TOO_LARGE, 1);
    }
    if (!indexed || resident) {
        return NULL;
    }
    firn_hot_remove_locked(shard, object);
    return object;
}

static void settle(firn_cache *cache, firn_object *object, const firn_cold_item *item) {
    firn_hot_shard *shard = firn_hot_lock(cache->hot, object->hash);
    firn_object *gone = settle_locked(cache, shard, object, item);
    firn_hot_unlock(shard);
    firn_object_unref(gone);
}

/* An object of the batch that had no item: it only leaves the queue. */
static void release(firn_cache *cache, firn_object *object) {
    firn_hot_shard *shard = firn_hot_lock(cache->hot, object->hash);
    firn_hot_change_locked(shard, object, FIRN_QUEUED, 0);
    firn_hot_unlock(shard);
}

/* write_lock is held. */
static int write_batch(firn_cache *cache) {
    size_t count;
    firn_object *batch =
        firn_queue_take(&cache->queue, cache->batch_items_max, cache->batch_bytes_max, &count);
    uint64_t now_ms = firn_now_ms(cache);
    firn_cold_item *items = cache->batch_items;
    size_t used = 0;
    for (firn_object *object = batch; object != NULL; object = object->queue_next) {
        used += item_of(cache, object, now_ms, &items[used]);
    }
    uint64_t version = atomic_load_explicit(&cache->version, memory_order_relaxed);
    int result = firn_cold_write(cache->cold, items, used, version);
    if (result != FIRN_OK) {
        if (batch != NULL) {
            firn_queue_return(&cache->queue, batch);
        }
        return result;
    }
    uint64_t bytes = 0;
    size_t settled = 0;
    while (batch != NULL) {
        firn_object *object = batch;
        batch = object->queue_next;
        /* Items were made in the order of the batch, and lend the object's key. */
        if (settled < used && items[settled].key == firn_object_key(object, NULL)) {
            settle(cache, object, &items[settled++]);
        } else {
            release(cache, object);
        }
        bytes += firn_object_charge(object);
        firn_object_unref(object);
    }
    firn_queue_complete(&cache->queue, count, bytes);
    return FIRN_OK;
}

int firn_write_batch(firn_cache *cache) {
    pthread_mutex_lock(&cache->write_lock);
    int result = write_batch(cache);
    pthread_mutex_unlock(&cache->write_lock);
    return result;
}

int firn_write_until(firn_cache *cache, uint64_t ticket) {
    int result = FIRN_OK;
    pthread_mutex_lock(&cache->write_lock);
    while (result == FIRN_OK && firn_queue_look(&cache->queue).completed < ticket) {
        result = write_batch(cache);
    }
    pthread_mutex_unlock(&cache->write_lock);
    return result;
}

/* Puts the placeholder in the table: from then on the entry is neither the old nor the new one. */
static int place_locked(firn_cache *cache, firn_hot_shard *shard, firn_object *placeholder,
                        firn_object **old) {
    size_t key_size;
    const void *key = firn_object_key(placeholder, &key_size);
    *old = firn_hot_find_locked(shard, placeholder->hash, key, key_size);
    int result = *old == NULL ? firn_hot_reserve_locked(shard) : FIRN_OK;
    if (result != FIRN_OK) {
        return result;
    }
    uint64_t version = atomic_fetch_add_explicit(&cache->version, 1, memory_order_relaxed);
    result = firn_void_below_locked(cache, *old, placeholder->hash, version);
    if (result != FIRN_OK) {
        return result;
    }
    placeholder->version = version;
    firn_hot_insert_locked(shard, placeholder, *old, FIRN_TOMBSTONE | FIRN_QUEUED);
    return FIRN_OK;
}

int firn_write_direct(firn_cache *cache, firn_object *placeholder, const void *value,
                      size_t value_size, uint64_t expires_ms) {
    uint64_t hash = placeholder->hash;
    firn_object *old = NULL;
    pthread_mutex_lock(&cache->write_lock);
    int result;
    do {
        firn_hot_shard *shard = firn_hot_lock(cache->hot, hash);
        result = place_locked(cache, shard, placeholder, &old);
        firn_hot_unlock(shard);
        if (result == FIRN_EBUSY) {
            uint64_t version = atomic_load_explicit(&cache->version, memory_order_relaxed);
            int relieved = firn_cold_write(cache->cold, NULL, 0, version);
            result = relieved == FIRN_OK ? FIRN_EBUSY : relieved;
        }
    } while (result == FIRN_EBUSY);
    if (result != FIRN_OK) {
        pthread_mutex_unlock(&cache->write_lock);
        return result;
    }
    firn_object_unref(old);
    size_t key_size;
    const void *key = firn_object_key(placeholder, &key_size);
    firn_cold_item item = {
        .hash = hash,
        .version = placeholder->version,
        .expires_ms = expires_ms,
        .key = key,
        .key_size = key_size,
        .value = value,
        .value_size = value_size,
    };
    uint64_t version = atomic_load_explicit(&cache->version, memory_order_relaxed);
    result = firn_cold_write(cache->cold, &item, 1, version);
    if (result == FIRN_OK) {
        result = item.result;
        item.remove = item.result != FIRN_OK; /* the placeholder goes either way */
        if (item.result != FIRN_OK) {
            firn_count(cache->counters, hash, FIRN_EVENT_DROPPED_TOO_LARGE, 1);
        }
        firn_hot_shard *shard = firn_hot_lock(cache->hot, hash);
        firn_object *gone = settle_locked(cache, shard, placeholder, &item);
        firn_hot_unlock(shard);
        firn_object_unref(gone);
    } else {
        /* The old record still has to go: the placeholder becomes an ordinary tombstone. */
        firn_hot_shard *shard = firn_hot_lock(cache->hot, hash);
        firn_hot_change_locked(shard, placeholder, FIRN_QUEUED, 0);
        if ((placeholder->state & FIRN_INDEXED) != 0) {
            firn_enqueue_locked(cache, shard, placeholder);
        }
        firn_hot_unlock(shard);
    }
    pthread_mutex_unlock(&cache->write_lock);
    return result;
}

uint64_t firn_enqueue_dirty(firn_cache *cache) {
    for (unsigned i = 0; i < firn_hot_shard_count(cache->hot); i++) {
        firn_hot_shard *shard = firn_hot_lock_number(cache->hot, i);
        firn_object *object = NULL;
        while ((object = firn_hot_walk_locked(shard, object, FIRN_COLDEST_FIRST)) != NULL) {
            if ((object->state & (FIRN_STORED | FIRN_QUEUED)) == 0) {
                firn_enqueue_locked(cache, shard, object);
            }
        }
        firn_hot_unlock(shard);
    }
    return firn_queue_look(&cache->queue).pushed;
}

int firn_flush(firn_cache *cache) {
    if (cache == NULL) {
        return FIRN_EINVAL;
    }
    if (cache->cold == NULL) {
        return FIRN_OK;
    }
    if (cache->options.read_only) {
        return firn_detail_set(&cache->detail, FIRN_EREADONLY,
                               "%s was opened read-only: there is nothing to flush",
                               firn_cold_path(cache->cold));
    }
    int result = firn_write_until(cache, firn_enqueue_dirty(cache));
    return result == FIRN_OK ? firn_cold_sync(cache->cold) : result;
}
