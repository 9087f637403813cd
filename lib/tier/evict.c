/* Making room: which objects leave the hot tier, and what becomes of them. Knows the budgets and
 * the queue; the writing itself is batch.c's. */
#include "tier/cache.h"

enum {
    SPARED_MAX = 64, /* victims that links keep, of one call */
    SLIDE_SHARE = 8, /* of the idle time: a shorter way of the expiry is not written down */
};

uint64_t firn_enqueue_locked(firn_cache *cache, firn_hot_shard *shard, firn_object *object) {
    firn_hot_change_locked(shard, object, FIRN_STORED | FIRN_ALONE, FIRN_QUEUED);
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
    firn_decide_over(cache, hash, object, cleared);
    if (cache->cold == NULL) {
        /* With a cold tier the record is still to be found there, and is counted then. */
        firn_count(cache->counters, cleared ? FIRN_EVENT_CLEARED : FIRN_EVENT_EXPIRED, 1);
    }
    return object;
}

/* Drops an entry that the cold tier does not have. A place in the queue is reserved: where
 * something older may lie below, which must not show, a tombstone takes it. False: no memory for
 * that. */
static bool drop_locked(firn_cache *cache, firn_hot_shard *shard, uint64_t hash,
                        firn_object *victim) {
    if ((firn_object_state(victim) & FIRN_ALONE) != 0) {
        firn_hot_remove_locked(shard, hash, victim, true);
        /* Who got it meanwhile must not take it for one that was read below. Last: until then
         * somebody may look at the counter, and find the object after that. */
        firn_removals_bump(cache, hash);
        firn_queue_release(&cache->queue);
    } else {
        size_t key_size;
        const void *key = firn_object_key(victim, &key_size);
        firn_object *tombstone = firn_object_make(cache->pool, key, key_size, 0, NULL);
        if (tombstone == NULL) {
            return false;
        }
        firn_object_set_version(tombstone, firn_object_version(victim));
        firn_hot_retire_locked(shard, victim, true);
        firn_hot_insert_locked(shard, hash, tombstone, victim, FIRN_TOMBSTONE);
        firn_enqueue_locked(cache, shard, tombstone);
        firn_object_unref(tombstone);
    }
    firn_links_lose_locked(cache, hash, firn_object_version(victim));
    return true;
}

static bool queue_is_full(const firn_cache *cache) {
    uint64_t held = firn_hot_held_bytes(cache->hot);
    uint64_t resident = firn_hot_resident_bytes(cache->hot);
    uint64_t share = firn_held_max(cache) - firn_resident_max(cache);
    return held > resident && held - resident > share / 4 * 3;
}

bool firn_is_dirty_locked(const firn_object *object) {
    if ((firn_object_state(object) & FIRN_STORED) == 0) {
        return true;
    }
    if (!firn_object_slides(object)) {
        return false;
    }
    /* What the cold tier holds would expire long before it should. */
    const firn_object_traits *traits = firn_object_traits_of(object);
    return firn_object_expires_ms(object) - traits->known_ms > traits->idle_ms / SLIDE_SHARE;
}

/* The victim goes, for one of the reasons that have to do with room. */
static void tell_evicted(firn_cache *cache, uint64_t hash, firn_object *victim, unsigned reason) {
    firn_decide_of(cache, hash, victim, FIRN_DECISION_EVICT, reason, firn_object_charge(victim));
}

/* Out of the table, for nothing is to be written. lost: nor is it below. */
static void leave_locked(firn_cache *cache, firn_hot_shard *shard, uint64_t hash,
                         firn_object *victim, bool lost) {
    firn_decisions_prefetch(cache->deciding.last, hash);
    bool over = lost && firn_is_expired(cache, victim);
    bool cleared = over && firn_is_cleared(cache, victim);
    firn_hot_remove_locked(shard, hash, victim, true);
    if (over) {
        firn_count(cache->counters, cleared ? FIRN_EVENT_CLEARED : FIRN_EVENT_EXPIRED, 1);
        firn_links_remove_locked(cache, hash);
        firn_decide_over(cache, hash, victim, cleared);
    } else if (lost) {
        firn_count(cache->counters, FIRN_EVENT_DROPPED_MEMORY_ONLY, 1);
        tell_evicted(cache, hash, victim, FIRN_REASON_ROOM_LOST);
        firn_links_lose_locked(cache, hash, firn_object_version(victim));
    } else {
        firn_count(cache->counters, FIRN_EVENT_CLEAN_DEMOTION, 1);
        tell_evicted(cache, hash, victim, FIRN_REASON_ROOM_STORED);
    }
}

/* What becomes of a victim that the cold tier does not have, or not as it is. */
enum fate { TO_WRITE, TO_WRITE_AS_ASKED, TO_REFUSE, TO_DROP };

static enum fate fate_of(firn_cache *cache, firn_hot_shard *shard, uint64_t hash,
                         firn_object *victim) {
    if (cache->options.backpressure == FIRN_BACKPRESSURE_DROP && queue_is_full(cache)) {
        return TO_DROP;
    }
    /* What others keep must not be lost by a policy. */
    if (!firn_asks(&cache->moving, FIRN_DEMOTION) || firn_links_keep(cache, hash)) {
        return TO_WRITE;
    }
    return firn_demotes_locked(cache, shard, hash, victim) ? TO_WRITE_AS_ASKED : TO_REFUSE;
}

/* A place in the queue is reserved. True: the caller drops the index's reference. */
static bool write_or_drop_locked(firn_cache *cache, firn_hot_shard *shard, uint64_t hash,
                                 firn_object *victim) {
    enum fate fate = fate_of(cache, shard, hash, victim);
    bool writes = fate == TO_WRITE || fate == TO_WRITE_AS_ASKED;
    if (!writes && (firn_object_state(victim) & FIRN_STORED) != 0) {
        /* Below it expires sooner than it should. That is little to lose. */
        firn_queue_release(&cache->queue);
        leave_locked(cache, shard, hash, victim, false);
        return true;
    }
    if (writes || !drop_locked(cache, shard, hash, victim)) {
        firn_hot_retire_locked(shard, victim, true);
        firn_enqueue_locked(cache, shard, victim);
        if (fate == TO_WRITE_AS_ASKED) {
            firn_hot_change_locked(shard, victim, 0, FIRN_ASKED);
        }
        tell_evicted(cache, hash, victim, FIRN_REASON_ROOM_QUEUED);
        return false;
    }
    if (fate == TO_REFUSE) {
        firn_count(cache->counters, FIRN_EVENT_DEMOTION_REFUSED, 1);
        tell_evicted(cache, hash, victim, FIRN_REASON_ROOM_REFUSED);
    } else {
        firn_count(cache->counters, FIRN_EVENT_DROPPED_BACKPRESSURE, 1);
        firn_decide_of(cache, hash, victim, FIRN_DECISION_DROP, FIRN_REASON_BACKPRESSURE,
                       firn_object_value_size(victim));
    }
    return true;
}

/* The victim leaves the hot tier, though perhaps not the table yet. *gone: an object whose index
 * reference the caller drops after the unlock, or NULL. False: there is no memory to queue it. */
static bool evict_locked(firn_cache *cache, firn_hot_shard *shard, firn_object *victim,
                         firn_object **gone) {
    unsigned group = firn_object_group(victim);
    bool clean = cache->cold == NULL || !firn_is_dirty_locked(victim);
    bool queued = (firn_object_state(victim) & FIRN_QUEUED) != 0;
    *gone = NULL;
    if (!clean && !queued && firn_queue_reserve(&cache->queue) != FIRN_OK) {
        return false;
    }
    uint64_t hash = firn_object_hash(victim);
    if (cache->moving.hears_evictions) {
        firn_note_evicted_locked(cache, shard, hash, victim);
    }
    if (clean) {
        leave_locked(cache, shard, hash, victim, cache->cold == NULL);
        *gone = victim;
    } else if (queued) {
        firn_hot_retire_locked(shard, victim, true);
        tell_evicted(cache, hash, victim, FIRN_REASON_ROOM_QUEUED);
    } else if (write_or_drop_locked(cache, shard, hash, victim)) {
        *gone = victim;
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
