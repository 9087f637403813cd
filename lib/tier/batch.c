/* Writing to the cold tier: batches from the queue, single large values, and the invalidation
 * journal's relief. Knows what a finished write means for the state of an object. */
#include <string.h>

#include "tier/cache.h"

bool firn_is_alone_locked(const firn_cache *cache, const firn_object *old, uint64_t hash) {
    if (cache->cold == NULL) {
        return true;
    }
    /* What is below, or on its way there while the table has no object, would be known. */
    return old != NULL ? (firn_object_state(old) & (FIRN_ALONE | FIRN_QUEUED)) == FIRN_ALONE
                       : !firn_cold_may_hold(cache->cold, hash);
}

int firn_void_below_locked(firn_cache *cache, const firn_object *old, bool alone, uint64_t hash,
                           uint64_t version) {
    if (alone) {
        return FIRN_OK;
    }
    /* An old object that the cold tier does not have, and that is not on its way there, got its
     * own line in the journal when it came, which voids all that is below. */
    if (old != NULL && (firn_object_state(old) & (FIRN_STORED | FIRN_QUEUED)) == 0) {
        return FIRN_OK;
    }
    int result = firn_cold_invalidate(cache->cold, hash, version);
    if (firn_cold_journal_room(cache->cold) == firn_cold_journal_capacity(cache->cold) / 2) {
        firn_worker_wake(cache);
    }
    return result;
}

int firn_relieve_journal(firn_cache *cache) {
    firn_lock(&cache->write_lock);
    int result = FIRN_OK;
    if (firn_cold_journal_room(cache->cold) == 0) {
        uint64_t version = atomic_load_explicit(&cache->version, memory_order_relaxed);
        result = firn_cold_write(cache->cold, NULL, 0, version);
    }
    firn_unlock(&cache->write_lock);
    return result;
}

enum { ENCODED_KEPT = 4 << 20 /* bytes of the encoder's memory, between batches */ };

/* A value of a type becomes bytes: where they begin in the encoder is told by item->value, until
 * the encoder moves no more. What has no bytes is settled as what does not fit, and until then
 * makes sure that nothing older of its key shows. */
static int encode(firn_cache *cache, const firn_object *object, firn_cold_item *item) {
    size_t begin = cache->encoder.size;
    int result = firn_types_encode(&cache->encoder, object, &item->attributes);
    if (result == FIRN_OK) {
        item->value = (const void *)(uintptr_t)begin;
        item->value_size = cache->encoder.size - begin;
    } else {
        item->value = NULL;
        item->remove = true;
    }
    return result == FIRN_ENOMEM ? result : FIRN_OK;
}

static bool is_unencoded(const firn_cold_item *item) {
    return item->remove && item->value == NULL;
}

/* What the writer makes of an object at the moment it takes it. FIRN_OK; FIRN_NOT_FOUND: it was
 * overwritten or deleted meanwhile, so that nothing is left to write; FIRN_ENOMEM. */
static int item_of(firn_cache *cache, firn_object *object, uint64_t now_ms, firn_cold_item *item) {
    uint64_t hash = firn_object_hash(object);
    firn_hot_shard *shard = firn_hot_lock(cache->hot, hash);
    unsigned state = firn_object_state(object);
    firn_hot_unlock(shard);
    if ((state & FIRN_INDEXED) == 0) {
        return FIRN_NOT_FOUND;
    }
    size_t key_size;
    const void *key = firn_object_key(object, &key_size);
    *item = (firn_cold_item){
        .hash = hash,
        .version = firn_object_version(object),
        .attributes = {.traits = firn_object_get_traits(object)},
        .key = key,
        .key_size = key_size,
        .value = firn_object_data(object),
        .value_size = firn_object_size(object),
        .remove = (state & FIRN_TOMBSTONE) != 0 || firn_object_expired(object, now_ms) ||
                  firn_is_cleared(cache, object),
    };
    item->expires_ms = item->attributes.traits.expires_ms;
    const firn_type *type = firn_object_type(object);
    if (firn_object_is_rich(object) && (type == NULL || type->encode != NULL)) {
        /* They do not change while it is queued; of what is never written they may. */
        firn_links_attributes(firn_object_rich_of(object)->links, firn_object_is_owned(object),
                              &item->attributes);
        const firn_object *body = firn_object_body_of(object);
        item->attributes.body = firn_object_rich_of(object)->is_body;
        item->attributes.interned = body != NULL;
        item->attributes.interned_size = body != NULL ? firn_object_value_size(body) : 0;
        item->value_size = firn_object_value_size(object);
    }
    bool typed = !item->remove && type != NULL;
    return typed ? encode(cache, object, item) : FIRN_OK;
}

/* Items of all objects that there is something to write of. FIRN_OK or FIRN_ENOMEM. */
static int make_items(firn_cache *cache, firn_object **objects, size_t count, firn_cold_item *items,
                      size_t *used) {
    uint64_t now_ms = firn_now_ms(cache);
    *used = 0;
    for (size_t i = 0; i < count; i++) {
        int result = item_of(cache, objects[i], now_ms, &items[*used]);
        if (result == FIRN_ENOMEM) {
            return result;
        }
        *used += result == FIRN_OK;
    }
    for (size_t i = 0; i < *used && cache->encoder.size > 0; i++) {
        if (items[i].attributes.type != 0) {
            items[i].value = cache->encoder.bytes + (uintptr_t)items[i].value;
        }
    }
    return FIRN_OK;
}

/* The commit is done: what it means for one object. Returns one whose index reference the caller
 * drops. */
static firn_object *settle_locked(firn_cache *cache, firn_hot_shard *shard, firn_object *object,
                                  const firn_cold_item *item) {
    unsigned state = firn_object_state(object);
    bool resident = (state & FIRN_RESIDENT) != 0;
    bool indexed = (state & FIRN_INDEXED) != 0;
    bool tombstone = (state & FIRN_TOMBSTONE) != 0;
    bool asked = (state & FIRN_ASKED) != 0;
    firn_removals_bump(cache, item->hash);
    firn_hot_change_locked(shard, object, FIRN_QUEUED | FIRN_ASKED, 0);
    if (item->remove) {
        if (!tombstone) {
            bool cleared = firn_is_cleared(cache, object);
            firn_count(cache->counters, cleared ? FIRN_EVENT_CLEARED : FIRN_EVENT_EXPIRED, 1);
            firn_decide_over(cache, item->hash, object, cleared);
            if (indexed) {
                firn_links_remove_locked(cache, item->hash);
            }
        }
        resident = false;
    } else if (item->result == FIRN_OK) {
        firn_count(cache->counters, FIRN_EVENT_WRITE, 1);
        firn_note_written(cache, object, item->stored_size, asked);
        if (indexed) {
            firn_hot_change_locked(shard, object, 0, FIRN_STORED);
        }
        if (firn_object_slides(object)) {
            firn_object_traits_of(object)->known_ms = item->expires_ms;
        }
        if (indexed && !resident && !tombstone) {
            firn_count_of(cache, firn_object_group(object), FIRN_EVENT_DEMOTION);
            firn_decide_of(cache, item->hash, object, FIRN_DECISION_DEMOTE, FIRN_REASON_WRITTEN,
                           item->value_size);
        }
    } else if (!resident) {
        firn_count(cache->counters,
                   item->result == FIRN_ETYPE ? FIRN_EVENT_DROPPED_UNENCODED
                                              : FIRN_EVENT_DROPPED_TOO_LARGE,
                   1);
        firn_decide_of(cache, item->hash, object, FIRN_DECISION_DROP,
                       item->result == FIRN_ETYPE ? FIRN_REASON_UNENCODED : FIRN_REASON_TOO_LARGE,
                       item->value_size);
        if (indexed) {
            firn_links_lose_locked(cache, item->hash, item->version);
        }
    }
    bool unwritten = !item->remove && item->result != FIRN_OK;
    if (indexed && resident && unwritten &&
        atomic_load_explicit(&cache->closing, memory_order_relaxed)) {
        firn_links_lose_locked(cache, item->hash, item->version); /* with the memory it is in */
    }
    if (!indexed || resident) {
        return NULL;
    }
    firn_hot_remove_locked(shard, item->hash, object, false);
    if (unwritten) {
        firn_removals_bump(cache, item->hash); /* once more, last: see drop_locked */
    }
    return object;
}

static void settle(firn_cache *cache, firn_object *object, const firn_cold_item *item) {
    firn_hot_shard *shard = firn_hot_lock(cache->hot, item->hash);
    firn_object *gone = settle_locked(cache, shard, object, item);
    firn_hot_unlock(shard);
    firn_object_unref(gone);
}

/* An object of the batch that had no item: it only leaves the queue. */
static void release(firn_cache *cache, firn_object *object) {
    firn_hot_shard *shard = firn_hot_lock(cache->hot, firn_object_hash(object));
    firn_hot_change_locked(shard, object, FIRN_QUEUED | FIRN_ASKED, 0);
    firn_hot_unlock(shard);
}

/* write_lock is held. */
static int write_batch(firn_cache *cache) {
    firn_object **objects = cache->batch_objects;
    size_t count =
        firn_queue_peek(&cache->queue, cache->batch_items_max, cache->batch_bytes_max, objects);
    firn_cold_item *items = cache->batch_items;
    size_t used;
    uint64_t queued_ns = firn_queue_look(&cache->queue).first_ns; /* of the first */
    uint64_t began_ns = firn_monotonic_ns();
    int result = make_items(cache, objects, count, items, &used);
    if (result == FIRN_OK) {
        uint64_t version = atomic_load_explicit(&cache->version, memory_order_relaxed);
        result = firn_cold_write(cache->cold, items, used, version);
    }
    firn_encoder_clear(&cache->encoder, ENCODED_KEPT);
    if (result != FIRN_OK) {
        firn_decide(cache, 0, 0, FIRN_DECISION_ERROR, FIRN_REASON_WRITE, (uint64_t)-result);
        return result;
    }
    for (size_t i = 0; i < used; i++) {
        if (is_unencoded(&items[i])) {
            items[i].remove = false;
            items[i].result = FIRN_ETYPE;
        }
    }
    uint64_t written_ns = firn_monotonic_ns();
    firn_time_span(cache, FIRN_LATENCY_COLD_WRITE, began_ns, written_ns);
    if (count > 0) {
        firn_time_span(cache, FIRN_LATENCY_DEMOTION, queued_ns, written_ns);
    }
    uint64_t bytes = 0;
    size_t settled = 0;
    for (size_t i = 0; i < count; i++) {
        /* Items were made in the order of the batch, and lend the object's key. */
        if (settled < used && items[settled].key == firn_object_key(objects[i], NULL)) {
            settle(cache, objects[i], &items[settled++]);
        } else {
            release(cache, objects[i]);
        }
        bytes += firn_object_charge(objects[i]);
    }
    /* The queue's references are ours with this; objects are not in the array for long. */
    firn_queue_complete(&cache->queue, count, bytes);
    for (size_t i = 0; i < count; i++) {
        firn_object_unref(objects[i]);
    }
    return FIRN_OK;
}

int firn_write_batch(firn_cache *cache) {
    firn_lock(&cache->write_lock);
    int result = write_batch(cache);
    firn_unlock(&cache->write_lock);
    return result;
}

int firn_write_until(firn_cache *cache, uint64_t ticket) {
    int result = FIRN_OK;
    firn_lock(&cache->write_lock);
    while (result == FIRN_OK && firn_queue_look(&cache->queue).completed < ticket) {
        result = write_batch(cache);
    }
    firn_unlock(&cache->write_lock);
    return result;
}

/* Puts the placeholder in the table: from then on the entry is neither the old nor the new one. */
static int place_locked(firn_cache *cache, firn_hot_shard *shard, const firn_direct *direct,
                        firn_object **old) {
    size_t key_size;
    const void *key = firn_object_key(direct->placeholder, &key_size);
    *old = firn_hot_find_locked(shard, direct->hash, key, key_size);
    if (direct->flight != NULL && firn_flight_is_changed(direct->flight)) {
        return FIRN_CONFLICT;
    }
    int result = *old == NULL ? firn_hot_reserve_locked(shard, direct->hash) : FIRN_OK;
    if (result != FIRN_OK) {
        return result;
    }
    /* Acquire: see firn_flights_clear_begin. */
    uint64_t version = atomic_fetch_add_explicit(&cache->version, 1, memory_order_acquire);
    if (direct->flight != NULL &&
        firn_load_is_cleared(cache, direct->flight, key, key_size, &direct->traits)) {
        return FIRN_CONFLICT;
    }
    result = firn_links_put_locked(cache, direct->hash, version, direct->plan, !direct->same_value);
    if (result != FIRN_OK) {
        return result;
    }
    bool alone = firn_is_alone_locked(cache, *old, direct->hash);
    result = firn_void_below_locked(cache, *old, alone, direct->hash, version);
    if (result != FIRN_OK) {
        if (result != FIRN_EBUSY) {
            firn_links_forsake(cache, direct->hash);
        }
        return result;
    }
    firn_object_set_version(direct->placeholder, version);
    firn_hot_insert_locked(shard, direct->hash, direct->placeholder, *old,
                           FIRN_TOMBSTONE | FIRN_QUEUED);
    if (!direct->same_value) {
        firn_links_change_locked(cache, direct->hash);
        firn_flights_change_locked(&cache->flights, direct->hash, direct->flight);
    }
    return FIRN_OK;
}

/* write_lock is held. */
static int place(firn_cache *cache, const firn_direct *direct) {
    for (;;) {
        firn_object *old = NULL;
        firn_hot_shard *shard = firn_hot_lock(cache->hot, direct->hash);
        int result = place_locked(cache, shard, direct, &old);
        firn_hot_unlock(shard);
        if (result == FIRN_OK) {
            firn_object_unref(old);
        }
        if (result != FIRN_EBUSY) {
            return result;
        }
        uint64_t version = atomic_load_explicit(&cache->version, memory_order_relaxed);
        result = firn_cold_write(cache->cold, NULL, 0, version);
        if (result != FIRN_OK) {
            firn_links_forsake(cache, direct->hash);
            return result;
        }
    }
}

/* write_lock is held, the placeholder is in the table, and a place in the queue is reserved. */
static int write_placed(firn_cache *cache, firn_object *placeholder, firn_cold_item *item,
                        bool changed) {
    uint64_t version = atomic_load_explicit(&cache->version, memory_order_relaxed);
    int result = firn_cold_write(cache->cold, item, 1, version);
    firn_object *gone = NULL;
    bool queued = false;
    firn_hot_shard *shard = firn_hot_lock(cache->hot, item->hash);
    if (result == FIRN_OK) {
        result = item->result;
        item->remove = item->result != FIRN_OK; /* the placeholder goes either way */
        if (item->result != FIRN_OK) {
            firn_count(cache->counters, FIRN_EVENT_DROPPED_TOO_LARGE, 1);
            firn_decide_of(cache, item->hash, placeholder, FIRN_DECISION_DROP,
                           FIRN_REASON_TOO_LARGE, item->value_size);
        }
        gone = settle_locked(cache, shard, placeholder, item);
        if (result == FIRN_OK) {
            firn_decide_of(cache, item->hash, placeholder, FIRN_DECISION_INSERT,
                           FIRN_REASON_PROGRAM, item->value_size);
        }
        if (result == FIRN_OK && changed) {
            firn_links_change_locked(cache, item->hash); /* it can be found from now on */
        }
    } else {
        /* The old record still has to go: the placeholder becomes an ordinary tombstone. */
        firn_hot_change_locked(shard, placeholder, FIRN_QUEUED, 0);
        if ((firn_object_state(placeholder) & FIRN_INDEXED) != 0) {
            firn_enqueue_locked(cache, shard, placeholder);
            queued = true;
        }
    }
    if (result != FIRN_OK) {
        firn_links_lose_locked(cache, item->hash, item->version);
    }
    firn_hot_unlock(shard);
    firn_object_unref(gone);
    if (!queued) {
        firn_queue_release(&cache->queue);
    }
    return result;
}

int firn_write_direct(firn_cache *cache, const firn_direct *direct) {
    if (firn_queue_reserve(&cache->queue) != FIRN_OK) {
        return FIRN_ENOMEM;
    }
    firn_lock(&cache->write_lock);
    int result = place(cache, direct);
    if (result == FIRN_OK) {
        size_t key_size;
        const void *key = firn_object_key(direct->placeholder, &key_size);
        firn_cold_item item = {
            .hash = direct->hash,
            .version = firn_object_version(direct->placeholder),
            .expires_ms = direct->traits.expires_ms,
            .attributes = {.traits = direct->traits},
            .key = key,
            .key_size = key_size,
            .value = direct->value,
            .value_size = direct->value_size,
            .part = direct->part,
        };
        if (direct->plan != NULL) {
            firn_links_attributes(direct->plan->block, direct->plan->owned, &item.attributes);
        }
        result = write_placed(cache, direct->placeholder, &item, !direct->same_value);
    } else {
        firn_queue_release(&cache->queue);
    }
    firn_unlock(&cache->write_lock);
    return result;
}

int firn_enqueue_dirty(firn_cache *cache, uint64_t *ticket) {
    int result = FIRN_OK;
    for (unsigned i = 0; i < firn_hot_shard_count(cache->hot) && result == FIRN_OK; i++) {
        firn_hot_shard *shard = firn_hot_lock_number(cache->hot, i);
        firn_object *object = NULL;
        while (result == FIRN_OK &&
               (object = firn_hot_walk_locked(shard, object, FIRN_COLDEST_FIRST)) != NULL) {
            if ((firn_object_state(object) & FIRN_QUEUED) == 0 && firn_is_dirty_locked(object)) {
                result = firn_queue_reserve(&cache->queue);
                if (result == FIRN_OK) {
                    firn_enqueue_locked(cache, shard, object);
                }
            }
        }
        firn_hot_unlock(shard);
    }
    *ticket = firn_queue_look(&cache->queue).pushed;
    return result;
}

/* Without the writer's lock, unless it has to be. */
int firn_sync_cold(firn_cache *cache) {
    uint64_t began_ns = firn_monotonic_ns();
    int result = firn_cold_sync(cache->cold, false);
    if (result == FIRN_AGAIN) {
        pthread_mutex_lock(&cache->write_lock);
        result = firn_cold_sync(cache->cold, true);
        pthread_mutex_unlock(&cache->write_lock);
    }
    firn_time(cache, FIRN_LATENCY_SYNC, began_ns);
    return result;
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
    uint64_t began_ns = firn_monotonic_ns();
    uint64_t ticket;
    int result = firn_enqueue_dirty(cache, &ticket);
    int written = firn_write_until(cache, ticket);
    result = result == FIRN_OK ? written : result;
    result = result == FIRN_OK ? firn_sync_cold(cache) : result;
    firn_time(cache, FIRN_LATENCY_FLUSH, began_ns);
    firn_tell(cache);
    return result;
}
