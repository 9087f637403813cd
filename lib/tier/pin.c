/* Pins: entries that stay in the hot tier. See firn/cache.h. */
#include "tier/cache.h"

enum {
    /* Of what residents may take, for pins. */
    SHARE_NUM = 3,
    SHARE_DEN = 4,
    ATTEMPTS = 100, /* at an entry that others change meanwhile */
};

static bool fits(const firn_cache *cache, uint64_t charge) {
    uint64_t most = firn_resident_max(cache) / SHARE_DEN * SHARE_NUM;
    uint64_t pinned = firn_hot_total(cache->hot).pinned_bytes;
    return charge <= most && pinned <= most - charge;
}

/* The entry was got, by whoever looked at the counter of removals before. FIRN_OK; FIRN_AGAIN: it
 * was changed meanwhile; FIRN_NOT_FOUND, FIRN_ETOOLARGE, FIRN_ENOMEM. */
static int pin_locked(firn_cache *cache, firn_hot_shard *shard, uint64_t hash, firn_object *object,
                      uint32_t removals) {
    size_t key_size;
    const void *key = firn_object_key(object, &key_size);
    firn_object *indexed = firn_hot_find_locked(shard, hash, key, key_size);
    if (indexed == NULL) {
        /* It was read below, and the promotion was declined. */
        if (cache->cold == NULL || removals != firn_removals_look(cache, hash) ||
            (firn_object_state(object) & FIRN_QUEUED) != 0) {
            return FIRN_AGAIN;
        }
        if (firn_hot_reserve_locked(shard, hash) != FIRN_OK) {
            return FIRN_ENOMEM;
        }
        firn_hot_insert_locked(shard, hash, object, NULL, FIRN_RESIDENT | FIRN_STORED);
    } else if (indexed != object) {
        return FIRN_AGAIN;
    } else if ((firn_object_state(object) & FIRN_RESIDENT) == 0) {
        firn_hot_hit_locked(shard, object); /* on its way out: admitted again */
    }
    if (!firn_hot_pin_locked(shard, object)) {
        return FIRN_ETOOLARGE;
    }
    if (firn_object_is_owned(object)) {
        firn_graph_pin(cache->linking.graph, hash, true);
    }
    return FIRN_OK;
}

static int pin_once(firn_cache *cache, uint64_t hash, const void *key, size_t key_size,
                    firn_object **object) {
    uint32_t removals = firn_removals_look(cache, hash);
    int result = firn_get_any(cache, key, key_size, object);
    if (result != FIRN_OK) {
        return result;
    }
    uint64_t charge = firn_object_charge(*object);
    /* One that is pinned is in the sum already. */
    if ((firn_object_state(*object) & FIRN_PINNED) == 0 && !fits(cache, charge)) {
        result = firn_detail_set(&cache->detail, FIRN_ENOSPC,
                                 "pinned entries may take three quarters of hot_bytes; this one "
                                 "has %llu bytes",
                                 (unsigned long long)charge);
    } else {
        firn_hot_shard *shard = firn_hot_lock(cache->hot, hash);
        result = pin_locked(cache, shard, hash, *object, removals);
        firn_hot_unlock(shard);
        firn_make_resident_room(cache, 0);
    }
    if (result != FIRN_OK) {
        firn_object_unref(*object);
        *object = NULL;
    }
    return result;
}

int firn_pin(firn_cache *cache, const void *key, size_t key_size, firn_object **object) {
    if (object != NULL) {
        *object = NULL;
    }
    if (cache == NULL) {
        return FIRN_EINVAL;
    }
    int result = firn_check_key(cache, key, key_size);
    if (result == FIRN_OK && cache->options.read_only) {
        result = firn_detail_set(&cache->detail, FIRN_EREADONLY,
                                 "%s was opened read-only: it keeps nothing in memory",
                                 firn_cold_path(cache->cold));
    }
    if (result != FIRN_OK) {
        return result;
    }
    uint64_t hash = firn_hash64(cache->seed, key, key_size);
    firn_object *pinned = NULL;
    result = FIRN_AGAIN;
    for (unsigned i = 0; i < ATTEMPTS && result == FIRN_AGAIN; i++) {
        result = pin_once(cache, hash, key, key_size, &pinned);
    }
    if (result == FIRN_OK && object != NULL) {
        firn_note_handle(cache, pinned, __builtin_return_address(0));
        *object = pinned;
    } else {
        firn_object_unref(pinned);
    }
    return result == FIRN_AGAIN ? FIRN_NOT_FOUND : result; /* it goes as fast as we look */
}

int firn_unpin(firn_cache *cache, const void *key, size_t key_size) {
    if (cache == NULL) {
        return FIRN_EINVAL;
    }
    int result = firn_check_key(cache, key, key_size);
    if (result != FIRN_OK) {
        return result;
    }
    uint64_t hash = firn_hash64(cache->seed, key, key_size);
    firn_hot_shard *shard = firn_hot_lock(cache->hot, hash);
    firn_object *indexed = firn_hot_find_locked(shard, hash, key, key_size);
    bool unpinned = indexed != NULL && firn_hot_unpin_locked(shard, indexed);
    if (unpinned && (firn_object_state(indexed) & FIRN_PINNED) == 0 &&
        firn_object_is_owned(indexed)) {
        firn_graph_pin(cache->linking.graph, hash, false);
    }
    firn_hot_unlock(shard);
    (void)firn_links_settle(cache); /* what fails is tried again */
    return unpinned ? FIRN_OK : FIRN_NOT_FOUND;
}
