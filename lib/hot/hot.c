/* See hot.h. */
#include "hot/hot.h"

#include <sched.h>

#include "base/mutex.h"
#include "object/domain.h"

enum {
    /* With several shards, what a shard did to the tier's bytes is told the tier in grains, of
     * which that many over all shards make the capacity. */
    GRAINS = 256,
    /* FIRN_HITS_RECENT: a hit is passed on again when this part of the shard was replaced. */
    RECENT_SHARE = 4,
    /* Objects are moved out of sparse slabs at insertions: the shards' tables are looked through
     * once while a 32nd part of the capacity comes in, and it is asked whether that is due each
     * time that a 256th part came in. */
    SWEEP_SHARE = 32,
    PLAN_SHARE = 256,
    /* Slack above the first of these parts of the capacity is worth moving objects for; above the
     * second, entries are evicted for it. */
    SLACK_SHARE = 16,
    SURPLUS_SHARE = 12,
    HASTE = 4,        /* times as fast are the tables looked through while there is a surplus */
    LEAST_SHARE = 64, /* at least this part of the capacity is group 0's */
    SWEEP_PIECE = 64, /* buckets that are looked through for somebody else at once */
};

#define LOAD(field)         atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, value) atomic_store_explicit(&(field), (value), memory_order_relaxed)

static firn_object *object_of(const firn_entry *entry) {
    return (firn_object *)(uintptr_t)entry;
}

static uint64_t host_hash(const firn_policy_host *host, const firn_entry *entry) {
    (void)host;
    return firn_object_hash(object_of(entry));
}

static uint64_t host_charge(const firn_policy_host *host, const firn_entry *entry) {
    (void)host;
    return firn_object_charge(object_of(entry));
}

static uint64_t host_cost(const firn_policy_host *host, const firn_entry *entry) {
    (void)host;
    const firn_object *object = object_of(entry);
    bool extended = (firn_object_flags(object) & FIRN_OBJECT_EXTENDED) != 0;
    return extended ? firn_object_extension_of(object)->cost_us : 0;
}

/* Tells the tier of what the shard did, when it is enough to be worth the shared line. */
static void tell_locked(firn_hot_shard *shard) {
    firn_hot *hot = shard->hot;
    size_t overhead = LOAD(shard->table.bytes);
    int64_t grown = (int64_t)overhead - (int64_t)shard->overhead_seen;
    shard->overhead_seen = overhead;
    shard->resident_untold += grown;
    shard->held_untold += grown;
    int64_t grain = LOAD(hot->grain);
    if (shard->resident_untold > grain || shard->resident_untold < -grain) {
        atomic_fetch_add_explicit(&hot->resident_bytes, (uint64_t)shard->resident_untold,
                                  memory_order_relaxed);
        shard->resident_untold = 0;
    }
    if (shard->held_untold > grain || shard->held_untold < -grain) {
        atomic_fetch_add_explicit(&hot->held_bytes, (uint64_t)shard->held_untold,
                                  memory_order_relaxed);
        shard->held_untold = 0;
    }
}

static void part_fini(firn_hot_shard *shard, unsigned group) {
    firn_hot_part *part = &shard->parts[group];
    if (part->state != NULL) {
        part->policy->fini(part->state);
        firn_heap_free(shard->hot->heap, part->state, part->policy->state_size);
        *part = (firn_hot_part){.state = NULL};
    }
}

static void shard_fini(firn_hot_shard *shard) {
    firn_hot *hot = shard->hot;
    firn_table_fini(&shard->table);
    for (unsigned i = 0; i < FIRN_GROUPS_MAX; i++) {
        part_fini(shard, i);
    }
    firn_frequencies_fini(&shard->frequencies);
    firn_heap_free(hot->heap, shard->wheel, sizeof *shard->wheel);
    firn_heap_free_lines(hot->heap, shard->rings, hot->ring_count * sizeof(firn_hot_ring));
    pthread_mutex_destroy(&shard->lock);
}

/* The shard is locked, or nobody else's yet. */
static int make_rings(firn_hot_shard *shard) {
    firn_hot *hot = shard->hot;
    if (shard->rings == NULL) {
        shard->rings = firn_heap_alloc_lines(hot->heap, hot->ring_count * sizeof(firn_hot_ring));
    }
    return shard->rings != NULL ? FIRN_OK : FIRN_ENOMEM;
}

static int part_init(firn_hot_shard *shard, unsigned group, const firn_policy *policy,
                     uint64_t share) {
    firn_hot *hot = shard->hot;
    firn_hot_part *part = &shard->parts[group];
    if (policy->hits != FIRN_HITS_MARK && make_rings(shard) != FIRN_OK) {
        return FIRN_ENOMEM;
    }
    void *state = firn_heap_zalloc(hot->heap, policy->state_size);
    if (state == NULL || policy->init(state, &shard->host, share) != FIRN_OK) {
        firn_heap_free(hot->heap, state, policy->state_size);
        return FIRN_ENOMEM;
    }
    part->policy = policy;
    part->state = state;
    part->share = share;
    return FIRN_OK;
}

static int shard_init(firn_hot_shard *shard, firn_hot *hot, const firn_policy *policy) {
    if (firn_mutex_init(&shard->lock) != 0) {
        return FIRN_ENOMEM;
    }
    if (firn_table_init(&shard->table, hot->heap, &hot->segments) != FIRN_OK) {
        pthread_mutex_destroy(&shard->lock);
        return FIRN_ENOMEM;
    }
    shard->hot = hot;
    shard->host =
        (firn_policy_host){host_hash, host_charge, host_cost, hot->heap, &hot->policy_overhead};
    STORE(shard->generation, 1);
    if (part_init(shard, 0, policy, LOAD(hot->capacity) / hot->shard_count) == FIRN_OK) {
        tell_locked(shard);
        return FIRN_OK;
    }
    shard_fini(shard);
    return FIRN_ENOMEM;
}

/* A program's may be of an older header. */
static bool keeps_count(const firn_policy *policy) {
    size_t end = offsetof(firn_policy, frequency) + sizeof policy->frequency;
    return policy->size >= end && policy->frequency != NULL;
}

/* How readers note hits on the objects of a group. */
static void hear(firn_hot *hot, unsigned group, const firn_policy *policy) {
    bool notes = hot->keeps_frequencies && !keeps_count(policy);
    unsigned hits = policy->hits == FIRN_HITS_MARK && notes ? FIRN_HITS_MARK_NOTED : policy->hits;
    hot->hearing[group].hits = hits;
    hot->hearing[group].mark_max = policy->mark_max;
    if (group == 0) {
        hot->hits = hits;
        hot->mark_max = policy->mark_max;
    }
}

int firn_hot_keep_frequencies(firn_hot *hot) {
    int result = FIRN_OK;
    hot->keeps_frequencies = true;
    for (unsigned i = 0; i < hot->shard_count && result == FIRN_OK; i++) {
        firn_hot_shard *shard = &hot->shards[i];
        result = make_rings(shard);
        if (result == FIRN_OK) {
            result = firn_frequencies_init(&shard->frequencies, &shard->host);
        }
    }
    hear(hot, 0, hot->shards[0].parts[0].policy);
    return result;
}

static void set_capacity(firn_hot *hot, uint64_t capacity) {
    STORE(hot->capacity, capacity);
    STORE(hot->grain, firn_hot_is_exact(hot) ? 0 : (int64_t)(capacity / GRAINS / hot->shard_count));
}

firn_hot *firn_hot_new(firn_heap *heap, firn_pool *pool, const firn_policy *policy, unsigned shards,
                       uint64_t capacity) {
    size_t size = sizeof(firn_hot) + shards * sizeof(firn_hot_shard);
    firn_hot *hot = firn_heap_alloc_lines(heap, size);
    if (hot == NULL) {
        return NULL;
    }
    hot->heap = heap;
    hot->pool = pool;
    hear(hot, 0, policy);
    STORE(hot->part_count, 1);
    hot->allocation = size;
    hot->ring_count = shards == 1 ? 1 : FIRN_HOT_RINGS;
    hot->shard_shift = 64;
    for (unsigned n = shards; n > 1; n /= 2) {
        hot->shard_shift--;
    }
    if (firn_segments_init(&hot->segments, heap, capacity) != 0) {
        firn_heap_free_lines(heap, hot, size);
        return NULL;
    }
    unsigned made = 0;
    hot->shard_count = shards;
    set_capacity(hot, capacity);
    while (made < shards && shard_init(&hot->shards[made], hot, policy) == FIRN_OK) {
        made++;
    }
    if (made < shards) {
        hot->shard_count = made;
        firn_hot_free(hot);
        return NULL;
    }
    return hot;
}

void firn_hot_free(firn_hot *hot) {
    if (hot == NULL) {
        return;
    }
    for (unsigned i = 0; i < hot->shard_count; i++) {
        shard_fini(&hot->shards[i]);
    }
    firn_segments_fini(&hot->segments);
    firn_heap_free_lines(hot->heap, hot, hot->allocation);
}

/* Looking up */

void firn_hot_prefetch(firn_hot *hot, uint64_t hash) {
    firn_table_prefetch(&firn_hot_shard_of(hot, hash)->table, hash);
}

void firn_hot_prefetch_object(firn_hot *hot, uint64_t hash) {
    firn_table_prefetch_object(&firn_hot_shard_of(hot, hash)->table, hash);
}

/* What the policy manages: residents, but for those that are pinned. */
static bool is_managed(const firn_object *object) {
    return (firn_object_state(object) & (FIRN_RESIDENT | FIRN_PINNED)) == FIRN_RESIDENT;
}

static firn_hot_part *part_of(firn_hot_shard *shard, const firn_object *object) {
    return &shard->parts[firn_object_group(object)];
}

/* The shard keeps count, and not the policy. */
static bool counts_itself(const firn_hot_shard *shard, const firn_hot_part *part) {
    return shard->hot->keeps_frequencies && !keeps_count(part->policy);
}

static void count_locked(firn_hot_shard *shard, const firn_hot_part *part,
                         const firn_object *object) {
    if (counts_itself(shard, part)) {
        firn_frequencies_add_exactly(&shard->frequencies, firn_object_hash(object));
    }
}

static void tell_policy_locked(firn_hot_shard *shard, firn_object *object) {
    const firn_hot_part *part = part_of(shard, object);
    if (!is_managed(object)) {
        return;
    }
    count_locked(shard, part, object);
    if (part->policy->hits != FIRN_HITS_MARK) {
        part->policy->hit(part->state, &object->entry);
        return;
    }
    unsigned mark = firn_entry_mark(&object->entry);
    if (mark < part->policy->mark_max) {
        firn_entry_set_mark(&object->entry, mark + 1);
    }
}

/* Tells the policy of what readers noted. Each hit means some misses of the processor's cache: the
 * bucket, and the entry's neighbours in a list. So they are gone through three times, and what one
 * pass needs was sent for by the one before. */
static void drain_locked(firn_hot_shard *shard, firn_hot_ring *noted) {
    firn_object *hit[FIRN_HOT_RING_HITS];
    unsigned count = 0;
    uint32_t end = LOAD(noted->noted);
    uint32_t begin = LOAD(noted->told);
    if (end - begin > FIRN_HOT_RING_HITS) {
        begin = end - FIRN_HOT_RING_HITS; /* readers met, or ran ahead of a busy lock */
    }
    for (uint32_t at = begin; at != end; at++) {
        firn_table_prefetch(&shard->table, LOAD(noted->hits[at % FIRN_HOT_RING_HITS].hash));
    }
    for (uint32_t at = begin; at != end; at++) {
        uint64_t hash = LOAD(noted->hits[at % FIRN_HOT_RING_HITS].hash);
        firn_object *object = LOAD(noted->hits[at % FIRN_HOT_RING_HITS].object);
        /* The two may be of different hits, and the object may be gone. */
        if (object != NULL && firn_table_holds(&shard->table, hash, object) && is_managed(object)) {
            __builtin_prefetch(firn_entry_prev(&object->entry), 1);
            __builtin_prefetch(firn_entry_next(&object->entry), 1);
            hit[count++] = object; /* it stays for as long as the lock is held */
        }
    }
    for (unsigned i = 0; i < count; i++) {
        const firn_hot_part *part = part_of(shard, hit[i]);
        count_locked(shard, part, hit[i]);
        if (part->policy->hits != FIRN_HITS_MARK) {
            part->policy->hit(part->state, &hit[i]->entry);
        }
    }
    STORE(noted->told, end);
}

static void drain_all_locked(firn_hot_shard *shard) {
    for (unsigned i = 0; shard->rings != NULL && i < shard->hot->ring_count; i++) {
        if (LOAD(shard->rings[i].noted) != LOAD(shard->rings[i].told)) {
            drain_locked(shard, &shard->rings[i]);
        }
    }
}

void firn_hot_note(firn_hot *hot, uint64_t hash, firn_object *object) {
    firn_hot_shard *shard = firn_hot_shard_of(hot, hash);
    firn_hot_ring *mine =
        &shard->rings[hot->ring_count == 1 ? 0 : (unsigned)sched_getcpu() % FIRN_HOT_RINGS];
    uint32_t at = LOAD(mine->noted);
    if (at - LOAD(mine->told) >= FIRN_HOT_RING_HITS) {
        if (pthread_mutex_trylock(&shard->lock) != 0) {
            return; /* lost: rather than that a reader waits */
        }
        drain_locked(shard, mine);
        pthread_mutex_unlock(&shard->lock);
        at = LOAD(mine->noted);
    }
    STORE(mine->hits[at % FIRN_HOT_RING_HITS].hash, hash);
    STORE(mine->hits[at % FIRN_HOT_RING_HITS].object, object);
    STORE(mine->noted, at + 1);
}

/* Locks */

unsigned firn_hot_shard_count(const firn_hot *hot) {
    return hot->shard_count;
}

static firn_hot_shard *locked(firn_hot_shard *shard) {
    if (firn_hot_is_exact(shard->hot)) {
        drain_all_locked(shard);
    }
    return shard;
}

firn_hot_shard *firn_hot_lock_number(firn_hot *hot, unsigned number) {
    pthread_mutex_lock(&hot->shards[number].lock);
    return locked(&hot->shards[number]);
}

firn_hot_shard *firn_hot_lock(firn_hot *hot, uint64_t hash) {
    firn_hot_shard *shard = firn_hot_shard_of(hot, hash);
    pthread_mutex_lock(&shard->lock);
    return locked(shard);
}

firn_hot_shard *firn_hot_try_lock(firn_hot *hot, uint64_t hash) {
    firn_hot_shard *shard = firn_hot_shard_of(hot, hash);
    return pthread_mutex_trylock(&shard->lock) == 0 ? locked(shard) : NULL;
}

firn_hot_shard *firn_hot_lock_next(firn_hot *hot) {
    unsigned turn = atomic_fetch_add_explicit(&hot->turn, 1, memory_order_relaxed);
    return firn_hot_lock_number(hot, turn & (hot->shard_count - 1));
}

void firn_hot_unlock(firn_hot_shard *shard) {
    pthread_mutex_unlock(&shard->lock);
}

firn_object *firn_hot_find_locked(firn_hot_shard *shard, uint64_t hash, const void *key,
                                  size_t key_size) {
    return firn_table_find(&shard->table, hash, key, key_size);
}

firn_object *firn_hot_find_hash_locked(firn_hot_shard *shard, uint64_t hash, uint64_t version) {
    return firn_table_find_hash(&shard->table, hash, version);
}

int firn_hot_reserve_locked(firn_hot_shard *shard, uint64_t hash) {
    int result = firn_table_reserve(&shard->table, hash);
    tell_locked(shard);
    return result;
}

/* Changing */

void firn_hot_watch_expiry_locked(firn_hot_shard *shard, firn_object *object) {
    if (firn_object_expires_ms(object) == 0) {
        return;
    }
    if (shard->wheel == NULL) {
        /* Without memory for it, expired entries go when they are met or evicted. */
        shard->wheel = firn_heap_zalloc(shard->hot->heap, sizeof *shard->wheel);
    }
    if (shard->wheel != NULL) {
        firn_wheel_add(shard->wheel, object);
    }
}

bool firn_hot_set_expiry_locked(firn_hot_shard *shard, firn_object *object, uint64_t expires_ms) {
    if (!firn_object_set_expiry_locked(object, expires_ms)) {
        return false;
    }
    if ((firn_object_flags(object) & FIRN_OBJECT_EXTENDED) != 0) {
        firn_wheel_remove(object);
        firn_hot_watch_expiry_locked(shard, object);
    }
    return true;
}

firn_object *firn_hot_due_locked(firn_hot_shard *shard, uint64_t now_ms) {
    return shard->wheel != NULL ? firn_wheel_due(shard->wheel, now_ms) : NULL;
}

bool firn_hot_expires_locked(const firn_hot_shard *shard) {
    return shard->wheel != NULL && firn_wheel_any(shard->wheel);
}

/* The one place where states and accounts change, so that they cannot part. */
static void change_locked(firn_hot_shard *shard, firn_object *object, unsigned clear,
                          unsigned set) {
    unsigned before = firn_object_state(object);
    firn_object_change_state_locked(object, clear, set);
    unsigned after = firn_object_state(object);
    int64_t charge = (int64_t)firn_object_charge(object);
    bool held_before = (before & (FIRN_INDEXED | FIRN_QUEUED)) != 0;
    bool held_after = (after & (FIRN_INDEXED | FIRN_QUEUED)) != 0;
    if (held_after != held_before) {
        int64_t change = held_after ? charge : -charge;
        shard->held_untold += change;
        STORE(shard->held_bytes, LOAD(shard->held_bytes) + (uint64_t)change);
    }
    bool resident_before = (before & FIRN_RESIDENT) != 0;
    bool resident_after = (after & FIRN_RESIDENT) != 0;
    if (resident_after != resident_before) {
        int64_t change = resident_after ? charge : -charge;
        shard->resident_untold += change;
        STORE(shard->resident_bytes, LOAD(shard->resident_bytes) + (uint64_t)change);
        STORE(shard->resident_entries, LOAD(shard->resident_entries) + (resident_after ? 1 : -1));
        firn_hot_part *part = part_of(shard, object);
        STORE(part->bytes, LOAD(part->bytes) + (uint64_t)change);
        STORE(part->entries, LOAD(part->entries) + (resident_after ? 1 : -1));
    }
    if (((before ^ after) & FIRN_INDEXED) != 0 &&
        (firn_object_flags(object) & FIRN_OBJECT_EXTENDED) != 0) {
        if ((after & FIRN_INDEXED) != 0) {
            firn_hot_watch_expiry_locked(shard, object);
        } else {
            firn_wheel_remove(object);
        }
    }
    if (((before ^ after) & FIRN_INDEXED) != 0 && firn_object_is_rich(object)) {
        if ((after & FIRN_INDEXED) != 0) {
            firn_domain_remove_holder(object);
        } else {
            firn_domain_add_holder(object);
        }
    }
    tell_locked(shard);
}

void firn_hot_change_locked(firn_hot_shard *shard, firn_object *object, unsigned clear,
                            unsigned set) {
    change_locked(shard, object, clear, set);
}

static void count_pinned(firn_hot_shard *shard, const firn_object *object, int by) {
    uint64_t charge = firn_object_charge(object);
    STORE(shard->pinned_entries, LOAD(shard->pinned_entries) + (uint64_t)(int64_t)by);
    STORE(shard->pinned_bytes, LOAD(shard->pinned_bytes) + (by > 0 ? charge : -charge));
}

static firn_object *next_pinned(const firn_object *object) {
    firn_entry *next = firn_entry_next(&object->entry);
    return next != NULL ? object_of(next) : NULL;
}

static void chain_pinned(firn_hot_shard *shard, firn_object *object, unsigned pins) {
    firn_entry *first = shard->pinned != NULL ? &shard->pinned->entry : NULL;
    firn_entry_set_prev(&object->entry, NULL);
    firn_entry_set_next(&object->entry, first);
    if (first != NULL) {
        firn_entry_set_prev(first, &object->entry);
    }
    firn_entry_set_bits(&object->entry, pins);
    shard->pinned = object;
    change_locked(shard, object, 0, FIRN_PINNED);
    count_pinned(shard, object, 1);
}

static void unchain_pinned(firn_hot_shard *shard, firn_object *object) {
    firn_entry *prev = firn_entry_prev(&object->entry);
    firn_entry *next = firn_entry_next(&object->entry);
    if (prev != NULL) {
        firn_entry_set_next(prev, next);
    } else {
        shard->pinned = next_pinned(object);
    }
    if (next != NULL) {
        firn_entry_set_prev(next, prev);
    }
    change_locked(shard, object, FIRN_PINNED, 0);
    count_pinned(shard, object, -1);
}

void firn_hot_retire_locked(firn_hot_shard *shard, firn_object *object, bool evicted) {
    unsigned state = firn_object_state(object);
    if ((state & FIRN_PINNED) != 0) {
        unchain_pinned(shard, object);
    } else if ((state & FIRN_RESIDENT) != 0) {
        const firn_hot_part *part = part_of(shard, object);
        part->policy->remove(part->state, &object->entry, evicted);
    }
    if ((state & FIRN_RESIDENT) != 0) {
        change_locked(shard, object, FIRN_RESIDENT, 0);
    }
}

static void arrived_locked(firn_hot_shard *shard, firn_object *object) {
    shard->turnover += firn_object_charge(object);
    const firn_hot_part *part = part_of(shard, object);
    if (part->policy->hits != FIRN_HITS_RECENT || firn_hot_is_exact(shard->hot)) {
        return;
    }
    unsigned generation = LOAD(shard->generation);
    if (shard->turnover > LOAD(shard->resident_bytes) / RECENT_SHARE) {
        shard->turnover = 0;
        generation = generation == UINT8_MAX ? 1 : generation + 1;
        STORE(shard->generation, (uint8_t)generation);
    }
    /* It is as recent as can be; but its hits are to be heard of where they are counted. */
    if (!counts_itself(shard, part)) {
        firn_entry_set_mark(&object->entry, generation);
    }
}

/* The policy is told last, when the object is what it will be. */
static void admit_locked(firn_hot_shard *shard, firn_object *object) {
    change_locked(shard, object, 0, FIRN_RESIDENT);
    firn_entry_set_prev(&object->entry, NULL);
    firn_entry_set_next(&object->entry, NULL);
    firn_entry_set_bits(&object->entry, 0);
    firn_entry_set_mark(&object->entry, 0);
    const firn_hot_part *part = part_of(shard, object);
    part->policy->insert(part->state, &object->entry);
    arrived_locked(shard, object);
}

static void count_arrival_locked(firn_hot_shard *shard, const firn_object *object) {
    const firn_hot_part *part = part_of(shard, object);
    if (counts_itself(shard, part)) {
        uint64_t entries = LOAD(shard->resident_entries);
        /* Twice as wide as for a comparison of two: here it has to tell one from two. */
        firn_frequencies_fit(&shard->frequencies, 2 * entries);
        firn_frequencies_pace(&shard->frequencies, entries);
        firn_frequencies_add_exactly(&shard->frequencies, firn_object_hash(object));
    }
}

bool firn_hot_pin_locked(firn_hot_shard *shard, firn_object *object) {
    unsigned pins = firn_entry_bits(&object->entry);
    if ((firn_object_state(object) & FIRN_PINNED) == 0) {
        const firn_hot_part *part = part_of(shard, object);
        part->policy->remove(part->state, &object->entry, false);
        chain_pinned(shard, object, 1);
        return true;
    }
    if (pins == UINT16_MAX) {
        return false;
    }
    firn_entry_set_bits(&object->entry, pins + 1);
    return true;
}

bool firn_hot_unpin_locked(firn_hot_shard *shard, firn_object *object) {
    unsigned pins = firn_entry_bits(&object->entry);
    if ((firn_object_state(object) & FIRN_PINNED) == 0) {
        return false;
    }
    if (pins > 1) {
        firn_entry_set_bits(&object->entry, pins - 1);
    } else {
        unchain_pinned(shard, object);
        admit_locked(shard, object);
    }
    return true;
}

void *firn_hot_alloc(firn_hot *hot, size_t size) {
    return firn_policy_alloc(&hot->shards[0].host, size);
}

void firn_hot_release(firn_hot *hot, void *memory, size_t size) {
    firn_policy_free(&hot->shards[0].host, memory, size);
}

unsigned firn_hot_frequency_locked(firn_hot_shard *shard, unsigned group, uint64_t hash,
                                   bool again) {
    const firn_hot_part *part = &shard->parts[group];
    if (keeps_count(part->policy)) {
        return part->policy->frequency(part->state, hash, again);
    }
    if (again) {
        firn_frequencies_add_exactly(&shard->frequencies, hash);
    }
    return firn_frequencies_of(&shard->frequencies, hash);
}

uint64_t firn_hot_references_locked(firn_hot_shard *shard, firn_object *object) {
    uint64_t readers = firn_table_readers(&shard->table, firn_object_hash(object), object);
    uint32_t counted = LOAD(object->entry.refs) - FIRN_OBJECT_INDEXED; /* too low by readers */
    int64_t references = (int64_t)(int32_t)counted + (int64_t)readers;
    return references > 0 ? (uint64_t)references : 0;
}

void firn_hot_hits_locked(const firn_hot_shard *shard, const firn_object *object, unsigned *mark,
                          unsigned *mark_max, unsigned *lately) {
    const firn_hot *hot = shard->hot;
    unsigned group = firn_object_group(object);
    bool counts = hot->hearing[group].hits == FIRN_HITS_MARK ||
                  hot->hearing[group].hits == FIRN_HITS_MARK_NOTED;
    bool notes = hot->hearing[group].hits == FIRN_HITS_RECENT && !firn_hot_is_exact(hot);
    unsigned raised = firn_entry_mark(&object->entry);
    *mark = raised;
    *mark_max = counts ? hot->hearing[group].mark_max : 0;
    *lately = (counts && raised > 0) || (notes && raised == LOAD(shard->generation));
}

static void sweep_locked(firn_hot_shard *shard, uint64_t charge);

void firn_hot_insert_locked(firn_hot_shard *shard, uint64_t hash, firn_object *object,
                            firn_object *old, unsigned set) {
    bool resident = (set & FIRN_RESIDENT) != 0;
    /* Readers find it before the rest is told: a tombstone has to be one by then. */
    firn_object_change_state_locked(object, 0, set & FIRN_TOMBSTONE);
    if (old == NULL) {
        firn_table_insert(&shard->table, hash, object);
        change_locked(shard, object, 0, FIRN_INDEXED | (set & ~(unsigned)FIRN_RESIDENT));
    } else {
        /* The old one may be from before there was the group. */
        bool overwrites =
            resident && is_managed(old) && firn_object_group(old) == firn_object_group(object);
        unsigned pins = resident && (firn_object_state(old) & FIRN_PINNED) != 0
                            ? firn_entry_bits(&old->entry)
                            : 0;
        firn_table_replace(&shard->table, hash, old, object);
        change_locked(shard, object, 0, FIRN_INDEXED | (set & ~(unsigned)FIRN_RESIDENT));
        if (overwrites) {
            const firn_hot_part *part = part_of(shard, object);
            part->policy->replace(part->state, &old->entry, &object->entry);
            change_locked(shard, old, FIRN_INDEXED | FIRN_RESIDENT, 0);
            change_locked(shard, object, 0, FIRN_RESIDENT);
            tell_policy_locked(shard, object);
            resident = false;
        } else {
            firn_hot_retire_locked(shard, old, false);
            change_locked(shard, old, FIRN_INDEXED, 0);
        }
        if (pins > 0) {
            change_locked(shard, object, 0, FIRN_RESIDENT);
            chain_pinned(shard, object, pins);
            resident = false;
        }
    }
    if (resident) {
        admit_locked(shard, object);
        count_arrival_locked(shard, object);
    }
    shard->newcomer = object;
    sweep_locked(shard, firn_object_charge(object));
    shard->newcomer = NULL;
}

void firn_hot_restore_locked(firn_hot_shard *shard, uint64_t hash, firn_object *object,
                             unsigned set) {
    firn_table_insert(&shard->table, hash, object);
    change_locked(shard, object, 0, FIRN_INDEXED | FIRN_RESIDENT | set);
    const firn_hot_part *part = part_of(shard, object);
    part->policy->restore(part->state, &object->entry);
}

void firn_hot_remove_locked(firn_hot_shard *shard, uint64_t hash, firn_object *object,
                            bool evicted) {
    firn_hot_retire_locked(shard, object, evicted);
    firn_table_remove(&shard->table, hash, object);
    change_locked(shard, object, FIRN_INDEXED, 0);
}

void firn_hot_hit_locked(firn_hot_shard *shard, firn_object *object) {
    if ((firn_object_state(object) & FIRN_RESIDENT) != 0) {
        tell_policy_locked(shard, object);
    } else {
        admit_locked(shard, object);
        count_arrival_locked(shard, object);
    }
}

/* Of the parts that were not asked yet, the one that is the most above its share, in proportion. */
static unsigned fullest_part(const firn_hot_shard *shard, unsigned count, uint32_t asked) {
    unsigned fullest = 0;
    double most = -1;
    for (unsigned i = 0; i < count; i++) {
        const firn_hot_part *part = &shard->parts[i];
        double full = (double)LOAD(part->bytes) / (double)(part->share + 1);
        if ((asked >> i & 1) == 0 && full > most) {
            most = full;
            fullest = i;
        }
    }
    return fullest;
}

firn_object *firn_hot_victim_locked(firn_hot_shard *shard) {
    drain_all_locked(shard);
    unsigned count = LOAD(shard->hot->part_count);
    uint32_t asked = 0; /* a bit for each part that has no victim */
    for (unsigned i = 0; i < count; i++) {
        unsigned number = count > 1 ? fullest_part(shard, count, asked) : 0;
        const firn_hot_part *part = &shard->parts[number];
        firn_entry *victim = part->policy->victim(part->state);
        if (victim != NULL) {
            return object_of(victim);
        }
        asked |= UINT32_C(1) << number;
    }
    return NULL;
}

firn_object *firn_hot_walk_locked(firn_hot_shard *shard, const firn_object *object,
                                  unsigned order) {
    bool at_pinned = object != NULL && (firn_object_state(object) & FIRN_PINNED) != 0;
    firn_object *pinned = at_pinned                                       ? next_pinned(object)
                          : object == NULL && order == FIRN_HOTTEST_FIRST ? shard->pinned
                                                                          : NULL;
    if (pinned != NULL || (at_pinned && order == FIRN_COLDEST_FIRST)) {
        return pinned;
    }
    const firn_entry *entry = object != NULL && !at_pinned ? &object->entry : NULL;
    unsigned count = LOAD(shard->hot->part_count);
    for (unsigned i = entry != NULL ? firn_object_group(object) : 0; i < count; i++) {
        const firn_hot_part *part = &shard->parts[i];
        firn_entry *next = part->policy->walk(part->state, entry, order);
        if (next != NULL) {
            return object_of(next);
        }
        entry = NULL;
    }
    return order == FIRN_COLDEST_FIRST ? shard->pinned : NULL;
}

/* What is left for group 0, of a shard. */
static uint64_t rest_of(const firn_hot_shard *shard, uint64_t capacity) {
    uint64_t given = 0;
    for (unsigned i = 1; i < FIRN_GROUPS_MAX; i++) {
        given += shard->parts[i].share;
    }
    uint64_t least = capacity / LEAST_SHARE;
    return given < capacity - least ? capacity - given : least;
}

static void set_share_locked(firn_hot_part *part, uint64_t share) {
    part->share = share;
    part->policy->resize(part->state, share);
}

void firn_hot_set_capacity(firn_hot *hot, uint64_t capacity) {
    set_capacity(hot, capacity);
    for (unsigned i = 0; i < hot->shard_count; i++) {
        firn_hot_shard *shard = firn_hot_lock_number(hot, i);
        set_share_locked(&shard->parts[0], rest_of(shard, capacity / hot->shard_count));
        firn_hot_unlock(shard);
    }
}

int firn_hot_add_part(firn_hot *hot, const firn_policy *policy, uint64_t share) {
    unsigned group = LOAD(hot->part_count);
    uint64_t capacity = LOAD(hot->capacity) / hot->shard_count;
    int result = FIRN_OK;
    hear(hot, group, policy);
    for (unsigned i = 0; i < hot->shard_count && result == FIRN_OK; i++) {
        firn_hot_shard *shard = firn_hot_lock_number(hot, i);
        result = part_init(shard, group, policy, share / hot->shard_count);
        firn_hot_unlock(shard);
    }
    for (unsigned i = 0; i < hot->shard_count; i++) {
        firn_hot_shard *shard = firn_hot_lock_number(hot, i);
        if (result == FIRN_OK) {
            set_share_locked(&shard->parts[0], rest_of(shard, capacity));
        } else {
            part_fini(shard, group);
        }
        firn_hot_unlock(shard);
    }
    if (result == FIRN_OK) {
        STORE(hot->part_count, group + 1);
    }
    return result;
}

firn_hot_part_totals firn_hot_part_total(const firn_hot *hot, unsigned group) {
    firn_hot_part_totals totals = {0};
    for (unsigned i = 0; i < hot->shard_count; i++) {
        const firn_hot_part *part = &hot->shards[i].parts[group];
        totals.entries += LOAD(part->entries);
        totals.bytes += LOAD(part->bytes);
    }
    return totals;
}

/* Moving objects out of slabs that are to be given up */

static void move_if_asked(void *context, firn_object *object) {
    firn_hot_shard *shard = context;
    /* What waits to be written leaves by itself, and the queue knows it by its address. */
    unsigned state = firn_object_state(object);
    if (!firn_object_should_move(object) || !is_managed(object) || (state & FIRN_QUEUED) != 0 ||
        object == shard->newcomer) {
        return;
    }
    firn_object *copy = firn_object_copy(shard->hot->pool, object);
    if (copy == NULL) {
        return;
    }
    firn_table_replace(&shard->table, firn_object_hash(object), object, copy);
    const firn_hot_part *part = part_of(shard, object);
    part->policy->replace(part->state, &object->entry, &copy->entry);
    change_locked(shard, object, FIRN_INDEXED | FIRN_RESIDENT | FIRN_STORED, 0);
    change_locked(shard, copy, 0, state);
    firn_object_unref(object);
    firn_object_unref(copy);
}

bool firn_hot_sweep_locked(firn_hot_shard *shard, size_t *position,
                           void (*visit)(void *context, firn_object *object), void *context) {
    return firn_table_sweep(&shard->table, position, SWEEP_PIECE, visit, context);
}

uint64_t firn_hot_layout_locked(const firn_hot_shard *shard) {
    return firn_table_layout(&shard->table);
}

/* A small part of what is to do: each shard looks through its table once a round. charge: bytes
 * that came in. */
static void sweep_locked(firn_hot_shard *shard, uint64_t charge) {
    firn_hot *hot = shard->hot;
    uint64_t capacity = LOAD(hot->capacity);
    if (capacity == 0) {
        return; /* a disk cache: what is here passes through a small queue */
    }
    shard->plan_turnover += charge;
    if (shard->plan_turnover > capacity / PLAN_SHARE) {
        shard->plan_turnover = 0;
        firn_hot_tidy(hot);
    }
    if (!firn_pool_draining(hot->pool)) {
        return;
    }
    unsigned haste = LOAD(hot->surplus) > 0 ? HASTE : 1;
    uint64_t share = capacity / SWEEP_SHARE / hot->shard_count / haste + 1;
    size_t buckets =
        1 + (size_t)((double)firn_table_buckets(&shard->table) * (double)charge / (double)share);
    unsigned round = atomic_load_explicit(&hot->sweep_round, memory_order_acquire);
    if (shard->sweep_round == round) {
        return;
    }
    if (firn_table_sweep(&shard->table, &shard->sweep_position, buckets, move_if_asked, shard)) {
        shard->sweep_position = 0;
        shard->sweep_round = round;
        /* Acquire-release: the last one ends what all took part in. */
        if (atomic_fetch_sub_explicit(&hot->sweep_left, 1, memory_order_acq_rel) == 1) {
            firn_pool_end_drain(hot->pool);
        }
    }
}

/* What is above the bound is to go twice, in residents: to evict frees other memory than the one
 * that is sparse, and not all of it at once. More than half of the capacity does not go for it. */
static uint64_t surplus_of(const firn_hot *hot, const firn_pool_stats *pool) {
    uint64_t capacity = LOAD(hot->capacity);
    uint64_t slack =
        pool->mapped_bytes > pool->charge_bytes ? pool->mapped_bytes - pool->charge_bytes : 0;
    uint64_t residents = LOAD(hot->resident_bytes) + slack;
    uint64_t bound = capacity + capacity / SURPLUS_SHARE;
    uint64_t above = residents > bound ? residents - bound : 0;
    return above * 2 < capacity / 2 ? above * 2 : capacity / 2;
}

uint64_t firn_hot_surplus(const firn_hot *hot) {
    return LOAD(hot->surplus);
}

void firn_hot_tidy(firn_hot *hot) {
    firn_pool_stats pool;
    firn_pool_get_stats(hot->pool, &pool);
    STORE(hot->surplus, surplus_of(hot, &pool));
    uint64_t slack_max = LOAD(hot->capacity) / SLACK_SHARE;
    if (pool.mapped_bytes <= pool.charge_bytes + slack_max || firn_pool_draining(hot->pool) ||
        LOAD(hot->sweep_left) != 0 || !firn_pool_plan_drain(hot->pool, slack_max)) {
        return;
    }
    unsigned none = 0;
    /* One thread begins the round. */
    if (atomic_compare_exchange_strong_explicit(&hot->sweep_left, &none, hot->shard_count,
                                                memory_order_acq_rel, memory_order_relaxed)) {
        atomic_fetch_add_explicit(&hot->sweep_round, 1, memory_order_release);
    }
}

/* Totals */

uint64_t firn_hot_resident_bytes(const firn_hot *hot) {
    return LOAD(hot->resident_bytes) + LOAD(hot->policy_overhead);
}

uint64_t firn_hot_held_bytes(const firn_hot *hot) {
    return LOAD(hot->held_bytes) + LOAD(hot->policy_overhead);
}

firn_hot_totals firn_hot_total(const firn_hot *hot) {
    firn_hot_totals totals = {.overhead_bytes = LOAD(hot->policy_overhead)};
    for (unsigned i = 0; i < hot->shard_count; i++) {
        const firn_hot_shard *shard = &hot->shards[i];
        totals.resident_entries += LOAD(shard->resident_entries);
        totals.resident_bytes += LOAD(shard->resident_bytes);
        totals.held_bytes += LOAD(shard->held_bytes);
        totals.pinned_entries += LOAD(shard->pinned_entries);
        totals.pinned_bytes += LOAD(shard->pinned_bytes);
        totals.overhead_bytes += LOAD(shard->table.bytes);
    }
    totals.resident_bytes += totals.overhead_bytes;
    totals.held_bytes += totals.overhead_bytes;
    return totals;
}
