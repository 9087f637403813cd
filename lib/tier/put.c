/* Changing entries: firn_put and firn_delete. */
#include <string.h>

#include "tier/cache.h"

/* Where a new value goes. */
enum destination { TO_RESIDENTS, TO_QUEUE, TO_COLD_TIER, TO_NOWHERE };

static enum destination destination_of(const firn_cache *cache, size_t key_size,
                                       size_t value_size) {
    uint64_t charge = firn_object_charge_for(key_size, value_size);
    bool has_cold = cache->cold != NULL;
    if (has_cold && value_size > firn_cold_value_max(cache->cold, key_size)) {
        if (cache->options.write_mode == FIRN_WRITE_THROUGH) {
            return TO_NOWHERE; /* to keep it in memory alone would break the promise */
        }
        has_cold = false;
    }
    if (charge <= cache->resident_max) {
        return TO_RESIDENTS;
    }
    if (!has_cold) {
        return TO_NOWHERE;
    }
    return charge <= cache->held_max - cache->resident_max ? TO_QUEUE : TO_COLD_TIER;
}

static int refuse(firn_cache *cache, size_t value_size) {
    uint64_t cold_max = cache->cold != NULL ? cache->options.cold_bytes : 0;
    return firn_detail_set(&cache->detail, FIRN_ETOOLARGE,
                           "a value of %zu bytes fits into neither tier (hot_bytes %llu, "
                           "cold_bytes %llu): raise a budget or put it in parts",
                           value_size, (unsigned long long)cache->options.hot_bytes,
                           (unsigned long long)cold_max);
}

static bool writes_at_put(const firn_cache *cache) {
    return cache->cold != NULL && cache->options.write_mode != FIRN_WRITE_ON_EVICTION;
}

/* Indexes the object in place of what is there. *ticket: of the queue, if it went there. */
static int publish(firn_cache *cache, firn_object *object, bool resident, uint64_t *ticket) {
    size_t key_size;
    const void *key = firn_object_key(object, &key_size);
    int result;
    do {
        firn_hot_shard *shard = firn_hot_lock(cache->hot, object->hash);
        firn_object *old = firn_hot_find_locked(shard, object->hash, key, key_size);
        result = old == NULL ? firn_hot_reserve_locked(shard) : FIRN_OK;
        if (result == FIRN_OK) {
            uint64_t version = atomic_fetch_add_explicit(&cache->version, 1, memory_order_relaxed);
            result = firn_void_below_locked(cache, old, object->hash, version);
            if (result == FIRN_OK) {
                object->version = version;
                firn_hot_insert_locked(shard, object, old, resident ? FIRN_RESIDENT : 0);
                if (!resident || writes_at_put(cache)) {
                    *ticket = firn_enqueue_locked(cache, shard, object);
                }
            }
        }
        firn_hot_unlock(shard);
        if (result == FIRN_OK) {
            firn_object_unref(old);
        } else if (result == FIRN_EBUSY) {
            int relieved = firn_relieve_journal(cache);
            result = relieved == FIRN_OK ? FIRN_EBUSY : relieved;
        }
    } while (result == FIRN_EBUSY);
    return result;
}

static int put_in_memory(firn_cache *cache, uint64_t hash, const void *key, size_t key_size,
                         const void *value, size_t value_size, uint64_t expires_ms, bool resident) {
    int result = firn_make_room(cache, firn_object_charge_for(key_size, value_size));
    if (result != FIRN_OK) {
        return result;
    }
    firn_object *object = firn_object_new(cache->heap, hash, key, key_size, value_size);
    if (object == NULL) {
        return firn_detail_set(&cache->detail, FIRN_ENOMEM, "no memory for an object of %zu bytes",
                               value_size);
    }
    object->expires_ms = expires_ms;
    if (value_size > 0) {
        memcpy(firn_object_value(object), value, value_size);
    }
    uint64_t ticket = 0;
    result = publish(cache, object, resident, &ticket);
    firn_object_unref(object);
    if (result == FIRN_OK && cache->options.write_mode == FIRN_WRITE_THROUGH && ticket > 0) {
        result = firn_write_until(cache, ticket);
    }
    return result;
}

static int put_below(firn_cache *cache, uint64_t hash, const void *key, size_t key_size,
                     const void *value, size_t value_size, uint64_t expires_ms) {
    firn_object *placeholder = firn_object_new(cache->heap, hash, key, key_size, 0);
    if (placeholder == NULL) {
        return FIRN_ENOMEM;
    }
    int result = firn_write_direct(cache, placeholder, value, value_size, expires_ms);
    firn_object_unref(placeholder);
    return result;
}

static int check_writable(firn_cache *cache) {
    if (!cache->options.read_only) {
        return FIRN_OK;
    }
    return firn_detail_set(&cache->detail, FIRN_EREADONLY,
                           "%s was opened read-only: entries cannot be changed",
                           firn_cold_path(cache->cold));
}

static int sync_if_asked(firn_cache *cache) {
    if (cache->cold == NULL || cache->options.durability != FIRN_DURABILITY_COMMIT) {
        return FIRN_OK;
    }
    return firn_cold_sync_journal(cache->cold);
}

int firn_put(firn_cache *cache, const void *key, size_t key_size, const void *value,
             size_t value_size, const firn_put_options *options) {
    if (cache == NULL || (value == NULL && value_size > 0)) {
        return FIRN_EINVAL;
    }
    uint64_t expires_ms = 0;
    int result = firn_check_key(cache, key, key_size);
    if (result == FIRN_OK) {
        result = check_writable(cache);
    }
    if (result == FIRN_OK) {
        result = firn_put_options_read(cache, options, &expires_ms);
    }
    if (result != FIRN_OK) {
        return result;
    }
    uint64_t hash = firn_hash64(cache->seed, key, key_size);
    enum destination to = destination_of(cache, key_size, value_size);
    if (to == TO_NOWHERE) {
        return refuse(cache, value_size);
    }
    result = to == TO_COLD_TIER
                 ? put_below(cache, hash, key, key_size, value, value_size, expires_ms)
                 : put_in_memory(cache, hash, key, key_size, value, value_size, expires_ms,
                                 to == TO_RESIDENTS);
    if (result == FIRN_OK) {
        firn_count(cache->counters, hash, FIRN_EVENT_PUT, 1);
        result = sync_if_asked(cache);
    }
    return result;
}

/* One try to delete. *below: what the cold tier said of the key, FIRN_AGAIN when it was not asked
 * yet, which makes the result FIRN_AGAIN if it has to be. */
static int delete_once(firn_cache *cache, firn_object *tombstone, int below, firn_object **gone) {
    uint64_t hash = tombstone->hash;
    size_t key_size;
    const void *key = firn_object_key(tombstone, &key_size);
    firn_hot_shard *shard = firn_hot_lock(cache->hot, hash);
    firn_object *old = firn_hot_find_locked(shard, hash, key, key_size);
    int result = FIRN_OK;
    if (old == NULL) {
        result = cache->cold == NULL ? FIRN_NOT_FOUND : below;
    } else if ((old->state & FIRN_TOMBSTONE) != 0) {
        result = FIRN_NOT_FOUND;
    } else if (old->expires_ms != 0 && firn_object_expired(old, firn_now_ms(cache))) {
        *gone = firn_expire_locked(cache, shard, old);
        result = FIRN_NOT_FOUND;
    } else if (cache->cold == NULL) {
        firn_hot_remove_locked(shard, old);
        *gone = old;
        firn_hot_unlock(shard);
        return FIRN_OK;
    }
    if (result == FIRN_OK && old == NULL) {
        result = firn_hot_reserve_locked(shard);
    }
    if (result == FIRN_OK) {
        uint64_t version = atomic_fetch_add_explicit(&cache->version, 1, memory_order_relaxed);
        result = firn_void_below_locked(cache, old, hash, version);
        if (result == FIRN_OK) {
            tombstone->version = version;
            firn_hot_insert_locked(shard, tombstone, old, FIRN_TOMBSTONE);
            firn_enqueue_locked(cache, shard, tombstone);
            *gone = old;
        }
    }
    firn_hot_unlock(shard);
    return result;
}

static int delete_with(firn_cache *cache, firn_object *tombstone) {
    int below = FIRN_AGAIN;
    for (;;) {
        firn_object *gone = NULL;
        int result = delete_once(cache, tombstone, below, &gone);
        firn_object_unref(gone);
        if (result == FIRN_AGAIN) {
            size_t key_size;
            const void *key = firn_object_key(tombstone, &key_size);
            below = firn_cold_read(cache->cold, tombstone->hash, key, key_size, NULL, NULL, NULL);
            if (below == FIRN_ECORRUPT) {
                below = FIRN_OK; /* whatever it was, it is to go */
            }
        } else if (result == FIRN_EBUSY) {
            result = firn_relieve_journal(cache);
            if (result != FIRN_OK) {
                return result;
            }
        } else {
            return result;
        }
    }
}

int firn_delete(firn_cache *cache, const void *key, size_t key_size) {
    if (cache == NULL) {
        return FIRN_EINVAL;
    }
    int result = firn_check_key(cache, key, key_size);
    if (result == FIRN_OK) {
        result = check_writable(cache);
    }
    if (result == FIRN_OK && cache->cold != NULL) {
        result = firn_make_room(cache, firn_object_charge_for(key_size, 0));
    }
    if (result != FIRN_OK) {
        return result;
    }
    uint64_t hash = firn_hash64(cache->seed, key, key_size);
    firn_object *tombstone = firn_object_new(cache->heap, hash, key, key_size, 0);
    if (tombstone == NULL) {
        return firn_detail_set(&cache->detail, FIRN_ENOMEM, "no memory to delete an entry");
    }
    result = delete_with(cache, tombstone);
    firn_object_unref(tombstone);
    if (result == FIRN_OK) {
        firn_count(cache->counters, hash, FIRN_EVENT_DELETE, 1);
        result = sync_if_asked(cache);
    }
    return result;
}
