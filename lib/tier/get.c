/* Looking entries up in both tiers, and bringing them up: firn_get and its kin. */
#include <string.h>

#include "base/hash_inline.h"
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
    /* Acquire: the look into the table comes after it. */
    return atomic_load_explicit(removal_counter(cache, hash), memory_order_acquire);
}

void firn_removals_bump(firn_cache *cache, uint64_t hash) {
    /* Relaxed, though keys of other shards share the counter: for the keys of one shard its lock
     * orders the bump against the look, and more is not asked. */
    atomic_fetch_add_explicit(removal_counter(cache, hash), 1, memory_order_relaxed);
}

int firn_read_below(firn_cache *cache, uint64_t hash, const void *key, size_t key_size,
                    firn_object **object) {
    firn_raise self = {.cache = cache};
    int result = firn_cold_read(cache->cold, hash, key, key_size, firn_raise_place, &self, NULL);
    result = firn_raise_finish(&self, key, key_size, result);
    (void)firn_decide_unreadable(cache, hash, result);
    *object = self.object;
    return result;
}

int firn_look_below(firn_cache *cache, uint64_t hash, const void *key, size_t key_size,
                    firn_cold_meta *meta) {
    int result = firn_cold_read(cache->cold, hash, key, key_size, NULL, NULL, meta);
    bool absent = result == FIRN_OK && firn_traits_limited(&meta->attributes.traits) &&
                  firn_traits_unserved(&meta->attributes.traits, firn_now_ms(cache));
    return absent ? FIRN_NOT_FOUND : result;
}

/* What hits put off has to come up: below it would expire all the same. */
static bool wants_promotion(firn_cache *cache, uint64_t hash, const firn_object *found) {
    return !firn_asks(&cache->moving, FIRN_PROMOTION) || firn_object_slides(found) ||
           firn_promotes(cache, hash, found);
}

void firn_promote(firn_cache *cache, uint64_t hash, firn_object **object, uint32_t removals) {
    firn_object *found = *object;
    uint64_t charge = firn_object_charge(found);
    /* While it is closed, what is in memory only becomes less. */
    bool closing = atomic_load_explicit(&cache->closing, memory_order_relaxed);
    bool fits = !cache->options.read_only && !closing && charge <= firn_resident_max(cache);
    bool admitted = fits && wants_promotion(cache, hash, found);
    unsigned why_not = fits ? firn_why_not_promoted(cache) : FIRN_REASON_NO_ROOM;
    if (admitted) {
        firn_make_resident_room(cache, charge);
        admitted = firn_has_room(cache, charge);
        why_not = admitted ? FIRN_REASON_CHANGED : FIRN_REASON_NO_ROOM;
    }
    if (admitted) {
        size_t key_size;
        const void *key = firn_object_key(found, &key_size);
        firn_hot_shard *shard = firn_hot_lock(cache->hot, hash);
        firn_object *indexed = firn_hot_find_locked(shard, hash, key, key_size);
        admitted = indexed == NULL && removals == firn_removals_look(cache, hash) &&
                   firn_hot_reserve_locked(shard, hash) == FIRN_OK;
        if (admitted) {
            firn_hot_insert_locked(shard, hash, found, NULL, FIRN_RESIDENT | FIRN_STORED);
        } else if (indexed != NULL && firn_object_version(indexed) == firn_object_version(found) &&
                   (firn_object_state(indexed) & FIRN_TOMBSTONE) == 0) {
            /* Another reader was faster: one object for both. It may be this very one, if both had
             * it from a weak reference. */
            if (indexed != found) {
                *object = firn_object_keep(indexed);
            }
            firn_hot_hit_locked(shard, indexed);
        }
        firn_hot_unlock(shard);
    }
    if (admitted) {
        firn_expiry_note(cache, firn_object_expires_ms(found));
    }
    firn_count_of(cache, firn_object_group(found),
                  admitted ? FIRN_EVENT_PROMOTION : FIRN_EVENT_PROMOTION_DECLINED);
    if (admitted) {
        firn_decide_of(cache, hash, found, FIRN_DECISION_PROMOTE, FIRN_REASON_HIT, charge);
    } else if (firn_resident_max(cache) > 0) { /* else it is nothing new */
        firn_decide_of(cache, hash, found, FIRN_DECISION_REFUSE, why_not, charge);
    }
    if (*object != found) {
        firn_object_unref(found);
    }
}

/* Gets an entry, bringing it up, without a hit or a miss being counted for the program. */
int firn_get_uncounted(firn_cache *cache, const void *key, size_t key_size, firn_object **object) {
    uint64_t hash = firn_hash64(cache->seed, key, key_size);
    uint32_t removals = firn_removals_look(cache, hash);
    firn_object *found = firn_hot_get(cache->hot, hash, key, key_size);
    *object = NULL;
    if (found == NULL && cache->cold != NULL) {
        int result = firn_read_below(cache, hash, key, key_size, object);
        if (result == FIRN_OK) {
            firn_promote(cache, hash, object, removals);
        }
        return result == FIRN_ECORRUPT ? FIRN_NOT_FOUND : result;
    }
    if (found != NULL && firn_is_absent(cache, found)) {
        firn_object_unref(found);
        found = NULL;
    }
    *object = found;
    return found != NULL ? FIRN_OK : FIRN_NOT_FOUND;
}

enum { GETS_A_SAMPLE = 1024, COLD_A_SAMPLE = 16 };

/* Of a key without a group. */
static inline void count_plain_get(firn_cache *cache, enum firn_event event) {
    firn_count_sampled(cache->counters, event, &cache->timing.gets, GETS_A_SAMPLE);
}

static void count_get(firn_cache *cache, const void *key, size_t key_size, enum firn_event event) {
    count_plain_get(cache, event);
    firn_count_group(cache, firn_group_of_key(cache, key, key_size), event);
}

/* A record that is damaged is a miss: the cold tier counted it. */
static int miss_if_damaged(int result) {
    return result == FIRN_ECORRUPT ? FIRN_NOT_FOUND : result;
}

/* The table held the entry in a state that wants more than a note, and that a reader need not see
 * to: if the shard is busy, somebody else will. */
static void attend(firn_cache *cache, uint64_t hash, firn_object *object, bool expired) {
    firn_hot_shard *shard = firn_hot_try_lock(cache->hot, hash);
    if (shard == NULL) {
        return;
    }
    firn_object *gone = NULL;
    bool readmitted = false;
    unsigned state = firn_object_state(object);
    if ((state & FIRN_INDEXED) == 0) {
        /* It was overwritten, deleted or evicted meanwhile. */
    } else if (expired) { /* or it was touched meanwhile */
        gone =
            firn_is_expired(cache, object) ? firn_expire_locked(cache, shard, hash, object) : NULL;
    } else if ((state & FIRN_RESIDENT) != 0 ||
               firn_object_charge(object) <= firn_resident_max(cache)) {
        readmitted = (state & FIRN_RESIDENT) == 0;
        firn_hot_hit_locked(shard, object);
    }
    firn_hot_unlock(shard);
    firn_object_unref(gone);
    if (readmitted) {
        firn_make_resident_room(cache, 0);
    }
    firn_tell(cache);
}

/* What get_hot does with an object that expires, is not resident, or is a tombstone. */
static int get_odd(firn_cache *cache, uint64_t hash, firn_object *found, unsigned state,
                   firn_object **object) {
    if ((state & FIRN_TOMBSTONE) != 0 || firn_is_unserved(cache, found)) {
        if (firn_is_expired(cache, found)) {
            attend(cache, hash, found, true);
        }
        firn_object_unref(found);
        return FIRN_NOT_FOUND;
    }
    if (firn_object_slides(found)) {
        firn_object_slide(found, firn_now_ms(cache));
    }
    if ((state & FIRN_RESIDENT) != 0) {
        firn_hot_note_hit(cache->hot, hash, found);
    } else {
        attend(cache, hash, found, false);
    }
    *object = found;
    return FIRN_OK;
}

/* Neither the table had it nor the cold tier: it may have come up in between, and lost its record
 * at once. So the table is looked at once more, whose lines are at hand. What is overwritten at
 * this very moment may be missed all the same. */
static int look_again(firn_cache *cache, uint64_t hash, const void *key, size_t key_size,
                      firn_object **object) {
    firn_object *found = firn_hot_get(cache->hot, hash, key, key_size);
    int result = found != NULL ? get_odd(cache, hash, found, firn_object_state(found), object)
                               : FIRN_NOT_FOUND;
    count_get(cache, key, key_size, result == FIRN_OK ? FIRN_EVENT_HOT_HIT : FIRN_EVENT_MISS);
    return result;
}

static int get_below(firn_cache *cache, uint64_t hash, const void *key, size_t key_size,
                     uint32_t removals, firn_object **object) {
    int result = FIRN_NOT_FOUND;
    uint64_t began_ns = 0;
    if (cache->cold != NULL && firn_cold_may_hold(cache->cold, hash)) { /* else it is quick */
        began_ns = firn_monotonic_ns();
        result = miss_if_damaged(firn_read_below(cache, hash, key, key_size, object));
        firn_time(cache, FIRN_LATENCY_COLD_READ, began_ns);
    }
    if (result == FIRN_OK) {
        firn_count_key(cache, key, key_size, FIRN_EVENT_COLD_HIT);
        bool timed = firn_counted_here(cache->counters, FIRN_EVENT_COLD_HIT) % COLD_A_SAMPLE == 1;
        firn_promote(cache, hash, object, removals);
        if (timed) {
            firn_time(cache, FIRN_LATENCY_GET_COLD, began_ns);
        }
    } else if (result == FIRN_NOT_FOUND && cache->cold != NULL) {
        result = look_again(cache, hash, key, key_size, object);
    } else {
        count_get(cache, key, key_size, FIRN_EVENT_MISS);
    }
    firn_tell(cache);
    return result;
}

/* The way of a get is cut in two: what nearly all hits go is laid out flat in get_hashed, which
 * keeps nothing over a call and so saves no registers, and everything else ends in a call of one of
 * the next three. What a hit costs beyond the misses of the processor's cache is how far the
 * processor can look ahead, past these instructions, to the next get's misses. */

/* The rest of a get whose first glance found nothing, or an object that is not simply a hit: of
 * another key perhaps. The reference to it is ours. */
static __attribute__((noinline)) int get_other(firn_cache *cache, uint64_t hash, const void *key,
                                               size_t key_size, firn_object *found,
                                               firn_object **object) {
    if (found != NULL && !firn_object_has_key(found, key, key_size)) {
        firn_object_unref(found);
        found = NULL;
    }
    if (found == NULL) {
        uint32_t removals = cache->cold != NULL ? firn_removals_look(cache, hash) : 0;
        found = firn_table_get_further(&firn_hot_shard_of(cache->hot, hash)->table, hash, key,
                                       key_size);
        if (found == NULL) {
            return get_below(cache, hash, key, key_size, removals, object);
        }
    }
    int result = get_odd(cache, hash, found, firn_object_state(found), object);
    count_get(cache, key, key_size, result == FIRN_OK ? FIRN_EVENT_HOT_HIT : FIRN_EVENT_MISS);
    return result;
}

/* The slot's count of readers is full: the whole look-up sees to that. */
static __attribute__((noinline, cold)) int get_anew(firn_cache *cache, uint64_t hash,
                                                    const void *key, size_t key_size,
                                                    firn_object *found, firn_object **object) {
    firn_object_unref(found);
    return get_other(cache, hash, key, key_size, NULL, object);
}

static __attribute__((noinline)) int get_noted(firn_cache *cache, uint64_t hash,
                                               firn_object *found) {
    firn_hot_note(cache->hot, hash, found);
    return FIRN_OK;
}

/* A get of which more is noted: tier by tier, for it is seldom. */
static __attribute__((noinline, cold)) int get_sampled(firn_cache *cache, uint64_t hash,
                                                       const void *key, size_t key_size,
                                                       firn_object **object) {
    uint32_t removals = cache->cold != NULL ? firn_removals_look(cache, hash) : 0;
    firn_object *found = firn_hot_get(cache->hot, hash, key, key_size);
    int result;
    if (found == NULL) {
        result = get_below(cache, hash, key, key_size, removals, object);
    } else {
        result = get_odd(cache, hash, found, firn_object_state(found), object);
        count_get(cache, key, key_size, result == FIRN_OK ? FIRN_EVENT_HOT_HIT : FIRN_EVENT_MISS);
    }
    firn_sample_get(cache, hash, found != NULL ? FIRN_ACCESS_HOT_HIT : FIRN_ACCESS_COLD_HIT,
                    *object);
    return result;
}

/* Objects that are not simply given have one of these in the word of their version: there is more
 * to them, or a group. */
#define ODD_FLAGS                                                                                  \
    ((uint64_t)FIRN_OBJECT_EXTENDED << FIRN_OBJECT_FLAGS_SHIFT |                                   \
     ((UINT64_C(1) << FIRN_OBJECT_FLAGS_SHIFT) - (UINT64_C(1) << FIRN_OBJECT_VERSION_BITS)))

/* The rest of a get, for a hash that was computed. */
static inline __attribute__((always_inline)) int get_hashed(firn_cache *cache, uint64_t hash,
                                                            const void *key, size_t key_size,
                                                            firn_object **object) {
    if (firn_is_sampled(cache, hash)) {
        return get_sampled(cache, hash, key, key_size, object);
    }
    firn_hot *hot = cache->hot;
    firn_hot_shard *shard = firn_hot_shard_of(hot, hash);
    uint64_t counted;
    firn_object *found = firn_table_glance(&shard->table, hash, &counted);
    if (found == NULL) {
        return get_other(cache, hash, key, key_size, NULL, object);
    }
    if (counted >= FIRN_TABLE_READERS_FULL) {
        return get_anew(cache, hash, key, key_size, found, object);
    }
    unsigned flags = firn_object_flags(found);
    if ((found->entry.version_flags & ODD_FLAGS) != 0 || firn_is_cleared_maybe(cache, found) ||
        (firn_object_state(found) & (FIRN_TOMBSTONE | FIRN_RESIDENT)) != FIRN_RESIDENT ||
        !firn_object_plain_has_key(found, flags, key, key_size)) {
        return get_other(cache, hash, key, key_size, found, object);
    }
    *object = found;
    count_plain_get(cache, FIRN_EVENT_HOT_HIT);
    return firn_hot_mark_hit(hot, shard, found) ? get_noted(cache, hash, found) : FIRN_OK;
}

/* Not part of its callers, for it is of any key, checks included. */
__attribute__((noinline)) int firn_get_any(firn_cache *cache, const void *key, size_t key_size,
                                           firn_object **object) {
    if (object == NULL) {
        return FIRN_EINVAL;
    }
    *object = NULL;
    if (cache == NULL) {
        return FIRN_EINVAL;
    }
    if (key == NULL || key_size - 1 >= FIRN_KEY_SIZE_MAX) {
        return firn_check_key(cache, key, key_size);
    }
    return get_hashed(cache, firn_hash64(cache->seed, key, key_size), key, key_size, object);
}

static inline __attribute__((always_inline)) int get(firn_cache *cache, const void *key,
                                                     size_t key_size, firn_object **object) {
    /* Keys of 8 bytes are the commonest, and hashed and compared without a call. */
    if (key_size != sizeof(uint64_t) || cache == NULL || key == NULL || object == NULL) {
        return firn_get_any(cache, key, key_size, object);
    }
    *object = NULL;
    return get_hashed(cache, firn_hash64_inline(cache->seed, key, sizeof(uint64_t)), key,
                      sizeof(uint64_t), object);
}

/* For ourselves. Not part of its callers: a flat way for a hit needs its function to itself. */
static __attribute__((noinline)) int get_quietly(firn_cache *cache, const void *key,
                                                 size_t key_size, firn_object **object) {
    return get(cache, key, key_size, object);
}

/* A get that is timed. What the cold tier answered is timed anyway. */
static int get_timed(firn_cache *cache, const void *key, size_t key_size, firn_object **object) {
    uint64_t hits = firn_counted_here(cache->counters, FIRN_EVENT_HOT_HIT);
    uint64_t misses = firn_counted_here(cache->counters, FIRN_EVENT_MISS);
    uint64_t began_ns = firn_monotonic_ns();
    int result = get_quietly(cache, key, key_size, object);
    uint64_t ended_ns = firn_monotonic_ns();
    if (result == FIRN_OK && firn_counted_here(cache->counters, FIRN_EVENT_HOT_HIT) != hits) {
        firn_time_span(cache, FIRN_LATENCY_GET_HOT, began_ns, ended_ns);
    } else if (result == FIRN_NOT_FOUND &&
               firn_counted_here(cache->counters, FIRN_EVENT_MISS) != misses) {
        firn_time_span(cache, FIRN_LATENCY_GET_MISS, began_ns, ended_ns);
    }
    return result;
}

/* A get that is to be timed, or whose handle is to be noted. */
static __attribute__((noinline)) int get_attended(firn_cache *cache, const void *key,
                                                  size_t key_size, firn_object **object,
                                                  const void *place) {
    int result = firn_sample_taken(&cache->timing.gets) ? get_timed(cache, key, key_size, object)
                                                        : get_quietly(cache, key, key_size, object);
    if (result == FIRN_OK && place != NULL) {
        firn_note_handle(cache, *object, place);
    }
    return result;
}

/* Relaxed, as told in timing.h. */
static inline bool wants_attention(firn_cache *cache) {
    return cache != NULL &&
           __builtin_expect(
               atomic_load_explicit(&cache->timing.gets.attend, memory_order_relaxed) != 0, 0);
}

int firn_get(firn_cache *cache, const void *key, size_t key_size, firn_object **object) {
    if (wants_attention(cache)) {
        return get_attended(cache, key, key_size, object, __builtin_return_address(0));
    }
    return get(cache, key, key_size, object);
}

int firn_look(firn_cache *cache, const void *key, size_t key_size, firn_object **object) {
    *object = NULL;
    if (cache == NULL) {
        return FIRN_EINVAL;
    }
    int result = firn_check_key(cache, key, key_size);
    if (result != FIRN_OK) {
        return result;
    }
    uint64_t hash = firn_hash64(cache->seed, key, key_size);
    firn_object *found = firn_hot_get(cache->hot, hash, key, key_size);
    if (found == NULL) {
        return cache->cold == NULL
                   ? FIRN_NOT_FOUND
                   : miss_if_damaged(firn_read_below(cache, hash, key, key_size, object));
    }
    if (firn_is_absent(cache, found)) {
        firn_object_unref(found);
        return FIRN_NOT_FOUND;
    }
    *object = found;
    return FIRN_OK;
}

/* Keys whose memory is on its way while others are looked at: as many misses as a core keeps in
 * flight, about. */
enum { GET_MANY_AT_ONCE = 16 };

static int get_some(firn_cache *cache, size_t count, const firn_key *keys, firn_object **objects,
                    size_t *found) {
    uint64_t hashes[GET_MANY_AT_ONCE];
    for (size_t i = 0; i < count; i++) {
        hashes[i] = firn_hash64(cache->seed, keys[i].data, keys[i].size);
        firn_hot_prefetch(cache->hot, hashes[i]);
    }
    for (size_t i = 0; i < count; i++) {
        firn_hot_prefetch_object(cache->hot, hashes[i]);
    }
    int result = FIRN_OK;
    for (size_t i = 0; i < count; i++) {
        int one = get_hashed(cache, hashes[i], keys[i].data, keys[i].size, &objects[i]);
        *found += one == FIRN_OK;
        result = one < 0 && result == FIRN_OK ? one : result;
    }
    return result;
}

/* Keys that the hot tier did not have, to be read below together. */
typedef struct below_batch {
    size_t count;
    size_t at[FIRN_COLD_READS_MAX]; /* number of the key */
    uint32_t removals[FIRN_COLD_READS_MAX];
    firn_cold_read_item items[FIRN_COLD_READS_MAX];
    firn_raise found[FIRN_COLD_READS_MAX];
} below_batch;

static int read_batch(firn_cache *cache, below_batch *batch, firn_object **objects, size_t *found) {
    int result = FIRN_OK;
    if (batch->count == 0) {
        return FIRN_OK;
    }
    for (size_t i = 0; i < batch->count; i++) {
        batch->found[i] = (firn_raise){.cache = cache};
        batch->items[i].place_context = &batch->found[i];
    }
    uint64_t began_ns = firn_monotonic_ns();
    firn_cold_read_many(cache->cold, batch->items, batch->count, firn_raise_place);
    firn_time(cache, FIRN_LATENCY_COLD_READ_MANY, began_ns);
    for (size_t i = 0; i < batch->count; i++) {
        int one = firn_raise_finish(&batch->found[i], batch->items[i].key, batch->items[i].key_size,
                                    batch->items[i].result);
        (void)firn_decide_unreadable(cache, batch->items[i].hash, one);
        one = miss_if_damaged(one);
        if (one == FIRN_OK) {
            objects[batch->at[i]] = batch->found[i].object;
            firn_count_of(cache, firn_object_group(objects[batch->at[i]]), FIRN_EVENT_COLD_HIT);
            firn_promote(cache, batch->items[i].hash, &objects[batch->at[i]], batch->removals[i]);
            ++*found;
        } else if (one == FIRN_NOT_FOUND) {
            const firn_cold_read_item *item = &batch->items[i];
            *found += look_again(cache, item->hash, item->key, item->key_size,
                                 &objects[batch->at[i]]) == FIRN_OK;
        } else {
            count_get(cache, batch->items[i].key, batch->items[i].key_size, FIRN_EVENT_MISS);
            result = one < 0 && result == FIRN_OK ? one : result;
        }
        firn_note_get(cache, batch->items[i].hash, FIRN_ACCESS_COLD_HIT, objects[batch->at[i]]);
    }
    batch->count = 0;
    firn_tell(cache);
    return result;
}

/* With a cold tier: what the hot tier does not have is left for the batch, which has room. */
static void get_hot_some(firn_cache *cache, size_t first, size_t count, const firn_key *keys,
                         firn_object **objects, below_batch *batch, size_t *found) {
    uint64_t hashes[GET_MANY_AT_ONCE];
    for (size_t i = 0; i < count; i++) {
        hashes[i] = firn_hash64(cache->seed, keys[first + i].data, keys[first + i].size);
        firn_hot_prefetch(cache->hot, hashes[i]);
    }
    for (size_t i = 0; i < count; i++) {
        firn_hot_prefetch_object(cache->hot, hashes[i]);
    }
    for (size_t i = 0; i < count; i++) {
        const firn_key *key = &keys[first + i];
        uint32_t removals = firn_removals_look(cache, hashes[i]);
        firn_object *object = firn_hot_get(cache->hot, hashes[i], key->data, key->size);
        if (object == NULL) {
            batch->at[batch->count] = first + i;
            batch->removals[batch->count] = removals;
            batch->items[batch->count++] =
                (firn_cold_read_item){.hash = hashes[i], .key = key->data, .key_size = key->size};
            continue;
        }
        int one = get_odd(cache, hashes[i], object, firn_object_state(object), &objects[first + i]);
        count_get(cache, key->data, key->size,
                  one == FIRN_OK ? FIRN_EVENT_HOT_HIT : FIRN_EVENT_MISS);
        firn_note_get(cache, hashes[i], FIRN_ACCESS_HOT_HIT, objects[first + i]);
        *found += one == FIRN_OK;
    }
}

static int get_many_tiered(firn_cache *cache, size_t count, const firn_key *keys,
                           firn_object **objects, size_t *found) {
    below_batch batch;
    batch.count = 0;
    int result = FIRN_OK;
    for (size_t at = 0; at < count; at += GET_MANY_AT_ONCE) {
        size_t some = count - at < GET_MANY_AT_ONCE ? count - at : GET_MANY_AT_ONCE;
        if (batch.count + some > FIRN_COLD_READS_MAX) {
            int one = read_batch(cache, &batch, objects, found);
            result = result == FIRN_OK ? one : result;
        }
        get_hot_some(cache, at, some, keys, objects, &batch, found);
    }
    int last = read_batch(cache, &batch, objects, found);
    return result == FIRN_OK ? last : result;
}

int firn_get_many(firn_cache *cache, size_t count, const firn_key *keys, firn_object **objects,
                  size_t *found) {
    if (found != NULL) {
        *found = 0;
    }
    if (cache == NULL || ((keys == NULL || objects == NULL) && count > 0)) {
        return FIRN_EINVAL;
    }
    size_t asked = count;
    int result = FIRN_OK;
    for (size_t i = 0; i < count; i++) {
        objects[i] = NULL;
    }
    for (size_t i = 0; i < count && result == FIRN_OK; i++) {
        result = firn_check_key(cache, keys[i].data, keys[i].size);
    }
    if (result != FIRN_OK) {
        return result;
    }
    size_t found_now = 0;
    bool timed = firn_sample_taken(&cache->timing.gets);
    uint64_t began_ns = timed ? firn_monotonic_ns() : 0;
    if (cache->cold != NULL) {
        result = get_many_tiered(cache, count, keys, objects, &found_now);
        count = 0;
    }
    for (size_t at = 0; at < count; at += GET_MANY_AT_ONCE) {
        size_t some = count - at < GET_MANY_AT_ONCE ? count - at : GET_MANY_AT_ONCE;
        int one = get_some(cache, some, keys + at, objects + at, &found_now);
        result = result == FIRN_OK ? one : result;
    }
    if (timed) {
        firn_time(cache, FIRN_LATENCY_GET_MANY, began_ns);
    }
    if (found != NULL) {
        *found = found_now;
    }
    for (size_t i = 0; i < asked && cache->tracker != NULL; i++) {
        firn_note_handle(cache, objects[i], __builtin_return_address(0));
    }
    return result;
}

int firn_refuse_typed(firn_cache *cache, const firn_object *object) {
    return firn_detail_set(&cache->detail, FIRN_ETYPE,
                           "the entry's value is of type '%s', not of bytes: firn_get gets it",
                           firn_object_type(object)->name);
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
    int result = wants_attention(cache) ? get_attended(cache, key, key_size, &object, NULL)
                                        : get_quietly(cache, key, key_size, &object);
    if (result != FIRN_OK) {
        return result;
    }
    if (firn_object_type(object) != NULL) {
        result = firn_refuse_typed(cache, object);
        firn_object_unref(object);
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
    firn_object *found = firn_hot_get(cache->hot, hash, key, key_size);
    bool shadowed = found != NULL;
    bool there = shadowed && !firn_is_absent(cache, found);
    firn_object_unref(found);
    if (shadowed || cache->cold == NULL) {
        return there ? FIRN_OK : FIRN_NOT_FOUND;
    }
    firn_cold_meta meta;
    return miss_if_damaged(firn_look_below(cache, hash, key, key_size, &meta));
}
