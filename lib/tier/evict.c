/* Making room: which objects leave the hot tier, and what becomes of them. Knows the budgets and
 * the queue; the writing itself is batch.c's. */
#include "tier/cache.h"

uint64_t firn_enqueue_locked(firn_cache *cache, firn_hot_shard *shard, firn_object *object) {
    firn_hot_change_locked(shard, object, 0, FIRN_QUEUED);
    uint64_t before;
    uint64_t ticket = firn_queue_push(&cache->queue, object, &before);
    uint64_t after = before + firn_object_charge(object);
    if (before == 0 || (before < cache->batch_ready_bytes && after >= cache->batch_ready_bytes)) {
        firn_worker_wake(cache);
    }
    return ticket;
}

firn_object *firn_expire_locked(firn_cache *cache, firn_hot_shard *shard, firn_object *object) {
    if (cache->cold != NULL && (object->state & FIRN_STORED) == 0) {
        /* An older version may still lie below, so this one has to shadow it until the writer
         * has seen to that; the writer counts it. */
        firn_hot_retire_locked(shard, object);
        if ((object->state & FIRN_QUEUED) == 0) {
            firn_enqueue_locked(cache, shard, object);
        }
        return NULL;
    }
    firn_hot_remove_locked(shard, object);
    if (cache->cold == NULL) {
        /* With a cold tier the record is still to expire there, and is counted then. */
        firn_count(cache->counters, object->hash, FIRN_EVENT_EXPIRED, 1);
    }
    return object;
}

/* In the place of an entry that is dropped: what lies below is older and must not show. */
static bool drop_locked(firn_cache *cache, firn_hot_shard *shard, firn_object *victim) {
    size_t key_size;
    const void *key = firn_object_key(victim, &key_size);
    firn_object *tombstone = firn_object_new(cache->heap, victim->hash, key, key_size, 0);
    if (tombstone == NULL) {
        return false;
    }
    tombstone->version = victim->version;
    firn_hot_insert_locked(shard, tombstone, victim, FIRN_TOMBSTONE);
    firn_enqueue_locked(cache, shard, tombstone);
    firn_object_unref(tombstone);
    firn_count(cache->counters, victim->hash, FIRN_EVENT_DROPPED_BACKPRESSURE, 1);
    return true;
}

static bool queue_is_full(const firn_cache *cache) {
    uint64_t held = firn_hot_held_bytes(cache->hot);
    uint64_t resident = firn_hot_resident_bytes(cache->hot);
    uint64_t share = cache->held_max - cache->resident_max;
    return held > resident && held - resident > share / 4 * 3;
}

/* Returns an object whose index reference the caller drops after the unlock, or NULL. */
static firn_object *evict_locked(firn_cache *cache, firn_hot_shard *shard, firn_object *victim) {
    firn_count(cache->counters, victim->hash, FIRN_EVENT_EVICTION, 1);
    if (cache->cold == NULL) {
        bool expired = victim->expires_ms != 0 && firn_object_expired(victim, firn_now_ms(cache));
        firn_count(cache->counters, victim->hash,
                   expired ? FIRN_EVENT_EXPIRED : FIRN_EVENT_DROPPED_MEMORY_ONLY, 1);
        firn_hot_remove_locked(shard, victim);
        return victim;
    }
    if ((victim->state & FIRN_STORED) != 0) {
        firn_count(cache->counters, victim->hash, FIRN_EVENT_CLEAN_DEMOTION, 1);
        firn_hot_remove_locked(shard, victim);
        return victim;
    }
    bool drops = cache->options.backpressure == FIRN_BACKPRESSURE_DROP && queue_is_full(cache);
    if (drops && (victim->state & FIRN_QUEUED) == 0 && drop_locked(cache, shard, victim)) {
        return victim;
    }
    firn_hot_retire_locked(shard, victim);
    if ((victim->state & FIRN_QUEUED) == 0) {
        firn_enqueue_locked(cache, shard, victim);
    }
    return NULL;
}

static bool over(uint64_t used, uint64_t charge, uint64_t limit) {
    return charge > limit || used > limit - charge;
}

void firn_make_resident_room(firn_cache *cache, uint64_t charge) {
    /* A full round without a victim: nothing is left to evict. */
    unsigned fruitless = 0;
    unsigned shards = firn_hot_shard_count(cache->hot);
    while (over(firn_hot_resident_bytes(cache->hot), charge, cache->resident_max) &&
           fruitless < shards) {
        firn_hot_shard *shard = firn_hot_lock_next(cache->hot);
        firn_object *victim = firn_hot_victim_locked(shard);
        firn_object *gone = NULL;
        if (victim != NULL) {
            gone = evict_locked(cache, shard, victim);
            fruitless = 0;
        } else {
            fruitless++;
        }
        firn_hot_unlock(shard);
        firn_object_unref(gone);
    }
}

bool firn_has_room(const firn_cache *cache, uint64_t charge) {
    return !over(firn_hot_held_bytes(cache->hot), charge, cache->held_max);
}

int firn_make_room(firn_cache *cache, uint64_t charge) {
    firn_make_resident_room(cache, charge <= cache->resident_max ? charge : 0);
    if (cache->cold == NULL || firn_has_room(cache, charge)) {
        return FIRN_OK;
    }
    uint64_t began_ns = firn_monotonic_ns();
    int result = FIRN_OK;
    while (result == FIRN_OK && !firn_has_room(cache, charge) &&
           firn_queue_look(&cache->queue).entries > 0) {
        result = firn_write_batch(cache);
    }
    firn_count(cache->counters, 0, FIRN_EVENT_BACKPRESSURE_WAIT, 1);
    firn_count(cache->counters, 0, FIRN_EVENT_BACKPRESSURE_NS, firn_monotonic_ns() - began_ns);
    return result;
}
