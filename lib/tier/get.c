/* Looking entries up in both tiers, and bringing them up: firn_get and its kin. */
#include <string.h>

#include "tier/cache.h"

uint64_t firn_now_ms(const firn_cache *cache) {
    return firn_clock_now_ms(&cache->options.clock);
}

int firn_check_key(firn_cache *cache, const void *key, size_t key_size) {
    if (key == NULL || key_size == 0) {
        return firn_detail_set(&cache->detail, FIRN_EINVAL, "a key must have at least one byte");
    }
    if (key_size > FIRN_KEY_SIZE_MAX) {
        return firn_detail_set(&cache->detail, FIRN_ETOOLARGE,
                               "a key of %zu bytes is above FIRN_KEY_SIZE_MAX, %zu bytes; put a "
                               "hash of it in its place",
                               key_size, FIRN_KEY_SIZE_MAX);
    }
    return FIRN_OK;
}

static _Atomic uint32_t *removal_counter(firn_cache *cache, uint64_t hash) {
    return &cache->removals[(hash >> 8) % FIRN_REMOVAL_COUNTERS];
}

uint32_t firn_removals_look(firn_cache *cache, uint64_t hash) {
    return atomic_load_explicit(removal_counter(cache, hash), memory_order_relaxed);
}

void firn_removals_bump(firn_cache *cache, uint64_t hash) {
    /* Relaxed, though keys of other shards share the counter: for the keys of one shard its lock
     * orders the bump against the look, and more is not asked. */
    atomic_fetch_add_explicit(removal_counter(cache, hash), 1, memory_order_relaxed);
}

typedef struct below {
    firn_heap *heap;
    firn_object *object;
} below;

static void *place_below(void *context, const firn_cold_meta *meta) {
    below *self = context;
    self->object =
        firn_object_new(self->heap, meta->hash, meta->key, meta->key_size, meta->value_size);
    if (self->object == NULL) {
        return NULL;
    }
    self->object->version = meta->version;
    self->object->expires_ms = meta->expires_ms;
    return firn_object_value(self->object);
}

int firn_read_below(firn_cache *cache, uint64_t hash, const void *key, size_t key_size,
                    firn_object **object) {
    below self = {cache->heap, NULL};
    int result = firn_cold_read(cache->cold, hash, key, key_size, place_below, &self, NULL);
    if (result != FIRN_OK) {
        firn_object_unref(self.object);
        self.object = NULL;
    }
    *object = self.object;
    return result;
}

/* True at the second hit that is remembered, or at the first if the option says so. */
static bool wants_promotion(firn_cache *cache, uint64_t hash) {
    if (cache->second_hits == NULL) {
        return true;
    }
    _Atomic uint16_t *tag = &cache->second_hits[hash % FIRN_SECOND_HIT_TAGS];
    uint16_t mine = (uint16_t)((hash >> 48) | 1);
    if (atomic_load_explicit(tag, memory_order_relaxed) == mine) {
        atomic_store_explicit(tag, 0, memory_order_relaxed);
        return true;
    }
    atomic_store_explicit(tag, mine, memory_order_relaxed);
    return false;
}

/* An object was read below: makes it resident if policy, room and the state of things allow. If the
 * entry was put meanwhile, the object in the table takes the place of *object. */
static void promote(firn_cache *cache, firn_object **object, uint32_t removals) {
    firn_object *found = *object;
    uint64_t charge = firn_object_charge(found);
    bool admitted = !cache->options.read_only && charge <= cache->resident_max &&
                    wants_promotion(cache, found->hash);
    if (admitted) {
        firn_make_resident_room(cache, charge);
        admitted = firn_has_room(cache, charge);
    }
    if (admitted) {
        size_t key_size;
        const void *key = firn_object_key(found, &key_size);
        firn_hot_shard *shard = firn_hot_lock(cache->hot, found->hash);
        firn_object *indexed = firn_hot_find_locked(shard, found->hash, key, key_size);
        admitted = indexed == NULL && removals == firn_removals_look(cache, found->hash) &&
                   firn_hot_reserve_locked(shard) == FIRN_OK;
        if (admitted) {
            firn_hot_insert_locked(shard, found, NULL, FIRN_RESIDENT | FIRN_STORED);
        } else if (indexed != NULL && indexed->version == found->version &&
                   (indexed->state & FIRN_TOMBSTONE) == 0) {
            /* Another reader was faster: one object for both. */
            *object = firn_object_ref(indexed);
            firn_hot_hit_locked(shard, indexed);
        }
        firn_hot_unlock(shard);
    }
    firn_count(cache->counters, found->hash,
               admitted ? FIRN_EVENT_PROMOTION : FIRN_EVENT_PROMOTION_DECLINED, 1);
    if (*object != found) {
        firn_object_unref(found);
    }
}

/* A record that is damaged is a miss: the cold tier counted it. */
static int miss_if_damaged(int result) {
    return result == FIRN_ECORRUPT ? FIRN_NOT_FOUND : result;
}

static int get_below(firn_cache *cache, uint64_t hash, const void *key, size_t key_size,
                     uint32_t removals, firn_object **object) {
    int result = cache->cold == NULL
                     ? FIRN_NOT_FOUND
                     : miss_if_damaged(firn_read_below(cache, hash, key, key_size, object));
    if (result == FIRN_OK) {
        firn_count(cache->counters, hash, FIRN_EVENT_COLD_HIT, 1);
        promote(cache, object, removals);
    } else {
        firn_count(cache->counters, hash, FIRN_EVENT_MISS, 1);
    }
    return result;
}

int firn_get(firn_cache *cache, const void *key, size_t key_size, firn_object **object) {
    if (object == NULL) {
        return FIRN_EINVAL;
    }
    *object = NULL;
    if (cache == NULL) {
        return FIRN_EINVAL;
    }
    int result = firn_check_key(cache, key, key_size);
    if (result != FIRN_OK) {
        return result;
    }
    uint64_t hash = firn_hash64(cache->seed, key, key_size);
    firn_object *gone = NULL;
    bool readmitted = false;
    firn_hot_shard *shard = firn_hot_lock(cache->hot, hash);
    firn_object *indexed = firn_hot_find_locked(shard, hash, key, key_size);
    bool shadowed = indexed != NULL;
    if (indexed != NULL && (indexed->state & FIRN_TOMBSTONE) == 0) {
        if (indexed->expires_ms != 0 && firn_object_expired(indexed, firn_now_ms(cache))) {
            gone = firn_expire_locked(cache, shard, indexed);
        } else {
            *object = firn_object_ref(indexed);
            readmitted = (indexed->state & FIRN_RESIDENT) == 0;
            if (!readmitted || firn_object_charge(indexed) <= cache->resident_max) {
                firn_hot_hit_locked(shard, indexed);
            }
        }
    }
    uint32_t removals = shadowed ? 0 : firn_removals_look(cache, hash);
    firn_hot_unlock(shard);
    firn_object_unref(gone);
    if (*object != NULL) {
        firn_count(cache->counters, hash, FIRN_EVENT_HOT_HIT, 1);
        if (readmitted) {
            firn_make_resident_room(cache, 0);
        }
        return FIRN_OK;
    }
    if (shadowed) {
        firn_count(cache->counters, hash, FIRN_EVENT_MISS, 1);
        return FIRN_NOT_FOUND;
    }
    return get_below(cache, hash, key, key_size, removals, object);
}

int firn_get_copy(firn_cache *cache, const void *key, size_t key_size, void *buffer,
                  size_t capacity, size_t *value_size) {
    if (value_size != NULL) {
        *value_size = 0;
    }
    if (buffer == NULL && capacity > 0) {
        return FIRN_EINVAL;
    }
    firn_object *object;
    int result = firn_get(cache, key, key_size, &object);
    if (result != FIRN_OK) {
        return result;
    }
    size_t size = firn_object_size(object);
    if (value_size != NULL) {
        *value_size = size;
    }
    if (size > capacity) {
        result = FIRN_EBUFFER;
    } else if (size > 0) {
        memcpy(buffer, firn_object_data(object), size);
    }
    firn_object_unref(object);
    return result;
}

int firn_contains(firn_cache *cache, const void *key, size_t key_size) {
    if (cache == NULL) {
        return FIRN_EINVAL;
    }
    int result = firn_check_key(cache, key, key_size);
    if (result != FIRN_OK) {
        return result;
    }
    uint64_t hash = firn_hash64(cache->seed, key, key_size);
    firn_hot_shard *shard = firn_hot_lock(cache->hot, hash);
    const firn_object *indexed = firn_hot_find_locked(shard, hash, key, key_size);
    bool shadowed = indexed != NULL;
    bool there = shadowed && (indexed->state & FIRN_TOMBSTONE) == 0 &&
                 (indexed->expires_ms == 0 || !firn_object_expired(indexed, firn_now_ms(cache)));
    firn_hot_unlock(shard);
    if (shadowed || cache->cold == NULL) {
        return there ? FIRN_OK : FIRN_NOT_FOUND;
    }
    return miss_if_damaged(firn_cold_read(cache->cold, hash, key, key_size, NULL, NULL, NULL));
}
