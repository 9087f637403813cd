/* Entries whose time has come: they give their space back without being met. The hot tier's wheels
 * tell which they are; the cold tier sees to its own when it wants room (see cold/expiry.h). Called
 * by the background work and by whoever makes room. */
#include "tier/cache.h"

enum { LOOK_MS = 1000 /* between looks, while there is something that expires */ };

bool firn_expire_due_locked(firn_cache *cache, firn_hot_shard *shard, uint64_t now_ms,
                            firn_victims *victims) {
    firn_object *object = firn_hot_due_locked(shard, now_ms);
    if (object == NULL) {
        return false;
    }
    bool resident = (firn_object_state(object) & FIRN_RESIDENT) != 0;
    if (resident && firn_object_expired(object, now_ms)) {
        firn_object *gone = firn_expire_locked(cache, shard, firn_object_hash(object), object);
        if (gone != NULL) {
            firn_victims_add(victims, gone);
            return true;
        }
        resident = (firn_object_state(object) & FIRN_RESIDENT) != 0; /* no memory to queue it */
    } else {
        resident = true; /* put off; or on its way out, whence a hit may take it back */
    }
    if (resident) {
        firn_hot_watch_expiry_locked(shard, object);
    }
    return true;
}

void firn_expiry_begin(firn_cache *cache) {
    /* Relaxed: whoever sees it set too long is told of by the shard's lock, see firn_expire_step.
     */
    if (atomic_exchange_explicit(&cache->expires, true, memory_order_relaxed)) {
        return;
    }
    /* Without the thread, they go when they are met, or room is made. */
    (void)firn_worker_need(cache);
}

bool firn_expire_step(firn_cache *cache, uint64_t *wait_ns) {
    if (!atomic_load_explicit(&cache->expires, memory_order_relaxed)) {
        return false;
    }
    /* Cleared before the look: an entry that the look misses came to a shard after it was looked
     * at, so that whoever put it there finds the mark cleared. */
    atomic_store_explicit(&cache->expires, false, memory_order_relaxed);
    uint64_t now_ms = firn_now_ms(cache);
    bool more = false;
    bool left = false;
    for (unsigned i = 0; i < firn_hot_shard_count(cache->hot); i++) {
        firn_victims victims;
        victims.count = 0;
        unsigned looked = 0;
        firn_hot_shard *shard = firn_hot_lock_number(cache->hot, i);
        while (looked < FIRN_VICTIMS_AT_ONCE &&
               firn_expire_due_locked(cache, shard, now_ms, &victims)) {
            looked++;
        }
        more = more || looked == FIRN_VICTIMS_AT_ONCE;
        left = left || firn_hot_expires_locked(shard);
        firn_hot_unlock(shard);
        firn_victims_release(&victims);
    }
    if (left) {
        atomic_store_explicit(&cache->expires, true, memory_order_relaxed);
        firn_wait_at_most(wait_ns, firn_ns_of_ms(LOOK_MS));
    }
    return more;
}
