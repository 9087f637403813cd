/* Making room: which objects leave the hot tier, and what becomes of them. Knows the budgets and
 * the queue; the writing itself is batch.c's. */
#include "tier/cache.h"

enum {
    SPARED_MAX = 64, /* victims that links keep, of one call */
    SLIDE_SHARE = 8, /* of the idle time: a shorter way of the expiry is not written down */
};

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

firn_object *firn_expire_locked(firn_cache *cache, firn_hot_shard *shard, uint64_t hash,
                                firn_object *object) {
    unsigned state = firn_object_state(object);
    if (cache->cold != NULL && (state & FIRN_STORED) == 0) {
        /* An older version may still lie below, so this one has to shadow it until the writer
         * has seen to that; the writer counts it. */
        bool queued = (state & FIRN_QUEUED) != 0;
        if (queued || firn_queue_reserve(&cache->queue) == FIRN_OK) {
            firn_hot_retire_locked(shard, object, false);
            firn_links_remove_locked(cache, hash);
            if (!queued) {
                firn_enqueue_locked(cache, shard, object);
            }
        }
        return NULL;
    }
    firn_hot_remove_locked(shard, hash, object, false);
    firn_links_remove_locked(cache, hash);
    bool cleared = firn_is_cleared(cache, object);
    firn_decide_of(cache, hash, object, cleared ? FIRN_DECISION_INVALIDATE : FIRN_DECISION_EXPIRE,
                   cleared ? FIRN_REASON_CLEARED : FIRN_REASON_TTL,
                   cleared ? 0 : firn_object_expires_ms(object));
    if (cache->cold == NULL) {
        /* With a cold tier the record is still to be found there, and is counted then. */
        firn_count(cache->counters, cleared ? FIRN_EVENT_CLEARED : FIRN_EVENT_EXPIRED, 1);
    }
    return object;
}

/* In the place of an entry that is dropped: what lies below is older and must not show. A place in
 * the queue is reserved. */
static bool drop_locked(firn_cache *cache, firn_hot_shard *shard, uint64_t hash,
                        firn_object *victim) {
    size_t key_size;
    const void *key = firn_object_key(victim, &key_size);
    firn_object *tombstone = firn_object_make(cache->pool, key, key_size, 0, NULL);
    if (tombstone == NULL) {
        return false;
    }
    firn_object_set_version(tombstone, firn_object_version(victim));
    firn_hot_insert_locked(shard, hash, tombstone, victim, FIRN_TOMBSTONE);
    firn_enqueue_locked(cache, shard, tombstone);
    firn_links_lose_locked(cache, hash, firn_object_version(victim));
    firn_object_unref(tombstone);
    firn_count(cache->counters, FIRN_EVENT_DROPPED_BACKPRESSURE, 1);
    firn_decide_of(cache, hash, victim, FIRN_DECISION_DROP, FIRN_REASON_BACKPRESSURE,
                   firn_object_value_size(victim));
    return true;
}

static bool queue_is_full(const firn_cache *cache) {
    uint64_t held = firn_hot_held_bytes(cache->hot);
    uint64_t resident = firn_hot_resident_bytes(cache->hot);
    uint64_t share = firn_held_max(cache) - firn_resident_max(cache);
    return held > resident && held - resident > share / 4 * 3;
}

bool firn_is_dirty_locked(firn_hot_shard *shard, firn_object *object) {
    if ((firn_object_state(object) & FIRN_STORED) == 0) {
        return true;
    }
    if (!firn_object_slides(object)) {
        return false;
    }
    const firn_object_traits *traits = firn_object_traits_of(object);
    if (firn_object_expires_ms(object) - traits->known_ms <= traits->idle_ms / SLIDE_SHARE) {
        return false;
    }
    /* What the cold tier holds would expire long before it should. */
    firn_hot_change_locked(shard, object, FIRN_STORED, 0);
    return true;
}

/* The victim goes, for one of the reasons that have to do with room. */
static void tell_evicted(firn_cache *cache, uint64_t hash, firn_object *victim, unsigned reason) {
    firn_decide_of(cache, hash, victim, FIRN_DECISION_EVICT, reason, firn_object_charge(victim));
}

/* The victim leaves the hot tier, though perhaps not the table yet. *gone: an object whose index
 * reference the caller drops after the unlock, or NULL. False: there is no memory to queue it. */
static bool evict_locked(firn_cache *cache, firn_hot_shard *shard, firn_object *victim,
                         firn_object **gone) {
    unsigned state = firn_object_state(victim);
    unsigned group = firn_object_group(victim);
    *gone = NULL;
    if (cache->cold == NULL || !firn_is_dirty_locked(shard, victim)) {
        enum firn_event cause = FIRN_EVENT_CLEAN_DEMOTION;
        if (cache->cold == NULL) {
            cause = firn_is_expired(cache, victim) ? FIRN_EVENT_EXPIRED
                                                   : FIRN_EVENT_DROPPED_MEMORY_ONLY;
        }
        firn_count(cache->counters, cause, 1);
        uint64_t hash = firn_object_hash(victim);
        firn_decisions_prefetch(cache->deciding.last, hash);
        firn_hot_remove_locked(shard, hash, victim, true);
        if (cause == FIRN_EVENT_EXPIRED) {
            firn_links_remove_locked(cache, hash);
            firn_decide_of(cache, hash, victim, FIRN_DECISION_EXPIRE, FIRN_REASON_TTL,
                           firn_object_expires_ms(victim));
        } else {
            tell_evicted(cache, hash, victim,
                         cache->cold == NULL ? FIRN_REASON_ROOM_LOST : FIRN_REASON_ROOM_STORED);
        }
        if (cause == FIRN_EVENT_DROPPED_MEMORY_ONLY) {
            firn_links_lose_locked(cache, hash, firn_object_version(victim));
        }
        *gone = victim;
    } else if ((state & FIRN_QUEUED) != 0) {
        firn_hot_retire_locked(shard, victim, true);
        tell_evicted(cache, firn_object_hash(victim), victim, FIRN_REASON_ROOM_QUEUED);
    } else if (firn_queue_reserve(&cache->queue) != FIRN_OK) {
        return false;
    } else {
        bool drops = cache->options.backpressure == FIRN_BACKPRESSURE_DROP && queue_is_full(cache);
        if (drops && drop_locked(cache, shard, firn_object_hash(victim), victim)) {
            *gone = victim;
        } else {
            firn_hot_retire_locked(shard, victim, true);
            firn_enqueue_locked(cache, shard, victim);
            tell_evicted(cache, firn_object_hash(victim), victim, FIRN_REASON_ROOM_QUEUED);
        }
    }
    firn_count_of(cache, group, FIRN_EVENT_EVICTION);
    return true;
}

static bool over(uint64_t bytes, uint64_t more, uint64_t limit) {
    return bytes > limit || more > limit - bytes;
}

static bool resident_over(const firn_cache *cache, uint64_t charge) {
    uint64_t bytes = firn_hot_resident_bytes(cache->hot) + firn_hot_surplus(cache->hot);
    return over(bytes, charge, firn_resident_max(cache));
}

void firn_victims_release(firn_victims *victims) {
    for (unsigned i = 0; i < victims->count; i++) {
        firn_object_unref(victims->objects[i]);
    }
    victims->count = 0;
}

/* Without a cold tier it would be lost, and what keeps it with it. And the memory of what is the
 * value of others would not come free. */
static bool is_spared(firn_cache *cache, const firn_object *victim) {
    return firn_object_is_used_body(victim) ||
           (cache->cold == NULL && firn_links_keep(cache, firn_object_hash(victim)));
}

bool firn_evict_locked(firn_cache *cache, firn_hot_shard *shard, uint64_t charge,
                       firn_victims *victims) {
    unsigned evicted = 0;
    unsigned spared = 0;
    if (firn_hot_expires_locked(shard) && resident_over(cache, charge)) {
        uint64_t now_ms = firn_now_ms(cache);
        while (evicted < FIRN_VICTIMS_AT_ONCE && resident_over(cache, charge) &&
               firn_expire_due_locked(cache, shard, now_ms, victims)) {
            evicted++;
        }
    }
    while (evicted < FIRN_VICTIMS_AT_ONCE && resident_over(cache, charge)) {
        firn_object *gone;
        firn_object *victim = firn_hot_victim_locked(shard);
        if (victim != NULL && spared < SPARED_MAX && is_spared(cache, victim)) {
            firn_hot_hit_locked(shard, victim);
            spared++;
            continue;
        }
        if (victim == NULL || !evict_locked(cache, shard, victim, &gone)) {
            break;
        }
        if (gone != NULL) {
            firn_victims_add(victims, gone);
        }
        evicted++;
    }
    return evicted > 0;
}

void firn_make_resident_room(firn_cache *cache, uint64_t charge) {
    /* A full round without a victim: nothing is left to evict. */
    unsigned fruitless = 0;
    unsigned shards = firn_hot_shard_count(cache->hot);
    while (fruitless < shards && resident_over(cache, charge)) {
        firn_victims victims;
        victims.count = 0;
        firn_hot_shard *shard = firn_hot_lock_next(cache->hot);
        bool evicted = firn_evict_locked(cache, shard, charge, &victims);
        firn_hot_unlock(shard);
        firn_victims_release(&victims);
        fruitless = evicted ? 0 : fruitless + 1;
    }
}

bool firn_has_room(const firn_cache *cache, uint64_t charge) {
    return !over(firn_hot_held_bytes(cache->hot), charge, firn_held_max(cache));
}

int firn_make_room(firn_cache *cache, uint64_t charge) {
    if (cache->cold == NULL || firn_has_room(cache, charge)) {
        return FIRN_OK;
    }
    firn_make_resident_room(cache, charge <= firn_resident_max(cache) ? charge : 0);
    if (firn_has_room(cache, charge)) {
        return FIRN_OK;
    }
    uint64_t began_ns = firn_monotonic_ns();
    int result = FIRN_OK;
    while (result == FIRN_OK && !firn_has_room(cache, charge) &&
           firn_queue_look(&cache->queue).entries > 0) {
        result = firn_write_batch(cache);
    }
    firn_count(cache->counters, FIRN_EVENT_BACKPRESSURE_WAIT, 1);
    uint64_t ended_ns = firn_monotonic_ns();
    firn_count(cache->counters, FIRN_EVENT_BACKPRESSURE_NS, ended_ns - began_ns);
    firn_time_span(cache, FIRN_LATENCY_BACKPRESSURE, began_ns, ended_ns);
    return result;
}
