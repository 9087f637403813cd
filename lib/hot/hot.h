/* The hot tier: a sharded table of objects, the bytes they take, and one eviction policy a shard;
 * or several, where groups of keys have a part of the tier to themselves.
 *
 * It finds, indexes and accounts; when something is to be evicted, and where it goes from here, is
 * decided above. It knows objects, not the disk. A look-up takes no lock. Functions that end in
 * _locked want the shard locked; a thread holds one shard at a time. */
#ifndef FIRN_HOT_HOT_H
#define FIRN_HOT_HOT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <firn/policy.h>

#include "base/heap.h"
#include "base/pool.h"
#include "base/prefixes.h"
#include "hot/policy/frequencies.h"
#include "hot/policy_host.h"
#include "hot/segments.h"
#include "hot/table.h"
#include "hot/wheel.h"
#include "object/object.h"

typedef struct firn_hot firn_hot;
typedef struct firn_hot_shard firn_hot_shard;

/* NULL: no memory. policy: lent for good. shards: a power of two. capacity: bytes that residents
 * may take, for the policy to divide; to keep to it is the caller's. */
firn_hot *firn_hot_new(firn_heap *heap, firn_pool *pool, const firn_policy *policy, unsigned shards,
                       uint64_t capacity);
/* Drops the index's references. Nobody may hold a shard or look anything up. */
void firn_hot_free(firn_hot *hot);

/* Two steps on the way to a firn_hot_get that is to come soon: the first for several hashes, then
 * the second. */
void firn_hot_prefetch(firn_hot *hot, uint64_t hash);
void firn_hot_prefetch_object(firn_hot *hot, uint64_t hash);

unsigned firn_hot_shard_count(const firn_hot *hot);
firn_hot_shard *firn_hot_lock(firn_hot *hot, uint64_t hash);
firn_hot_shard *firn_hot_try_lock(firn_hot *hot, uint64_t hash);
firn_hot_shard *firn_hot_lock_number(firn_hot *hot, unsigned number);
void firn_hot_unlock(firn_hot_shard *shard);

/* The object indexed under the key; lent until the unlock. NULL: none. */
firn_object *firn_hot_find_locked(firn_hot_shard *shard, uint64_t hash, const void *key,
                                  size_t key_size);
/* The first object indexed under the hash for which version matches, or any when version is 0. */
firn_object *firn_hot_find_hash_locked(firn_hot_shard *shard, uint64_t hash, uint64_t version);

/* Makes sure that a firn_hot_insert_locked for that hash will find room. FIRN_OK or FIRN_ENOMEM. */
int firn_hot_reserve_locked(firn_hot_shard *shard, uint64_t hash);
/* Indexes the object, taking a reference of its own, in the place of `old` if that is not NULL.
 * Then old is no longer indexed nor resident, and the caller gets the index's reference to it. set:
 * further state bits for the new one; with FIRN_RESIDENT the policy is told: of an arrival, or of
 * an overwrite if old was resident. */
void firn_hot_insert_locked(firn_hot_shard *shard, uint64_t hash, firn_object *object,
                            firn_object *old, unsigned set);
/* The same for an entry that comes back after a restart: it ranks below all that is there. */
void firn_hot_restore_locked(firn_hot_shard *shard, uint64_t hash, firn_object *object,
                             unsigned set);
/* Takes the object out of the index and the policy; the caller gets the index's reference.
 * evicted: it was the policy's victim. */
void firn_hot_remove_locked(firn_hot_shard *shard, uint64_t hash, firn_object *object,
                            bool evicted);
/* A hit: tells the policy, or admits the object to it again if it was on its way out. */
void firn_hot_hit_locked(firn_hot_shard *shard, firn_object *object);
/* Takes the object out of the policy; it stays indexed. */
void firn_hot_retire_locked(firn_hot_shard *shard, firn_object *object, bool evicted);
/* Sets and clears FIRN_QUEUED, FIRN_STORED, FIRN_TOMBSTONE, FIRN_ALONE and FIRN_ASKED, keeping the
 * accounts. */
void firn_hot_change_locked(firn_hot_shard *shard, firn_object *object, unsigned clear,
                            unsigned set);
/* Changes when an indexed object expires; see firn_object_set_expiry_locked. */
bool firn_hot_set_expiry_locked(firn_hot_shard *shard, firn_object *object, uint64_t expires_ms);
/* The next indexed object whose time has come, though its expiry may have been put off since: then,
 * and if it is to stay, firn_hot_watch_expiry_locked has to be called. Lent. NULL: none. */
firn_object *firn_hot_due_locked(firn_hot_shard *shard, uint64_t now_ms);
void firn_hot_watch_expiry_locked(firn_hot_shard *shard, firn_object *object);
/* Whether there may be anything that expires. */
bool firn_hot_expires_locked(const firn_hot_shard *shard);
/* The policy's next victim, still resident, lent; NULL: the shard has none. */
firn_object *firn_hot_victim_locked(firn_hot_shard *shard);
/* Keeps a resident out of the policy's hands, once more: it is no victim until it was let go as
 * often. An entry that is overwritten hands its pins on to the new object, if that is resident too;
 * one that leaves for any other reason loses them. False: it has 65,535 already. */
bool firn_hot_pin_locked(firn_hot_shard *shard, firn_object *object);
/* False: it is not pinned. */
bool firn_hot_unpin_locked(firn_hot_shard *shard, firn_object *object);
/* From now on each shard counts how often keys are seen, unless its policy does that by itself.
 * Nobody else uses the tier yet. FIRN_OK or FIRN_ENOMEM. */
int firn_hot_keep_frequencies(firn_hot *hot);
/* Memory that counts as the tier's own, zeroed; NULL: there is none. For what belongs to no shard.
 */
void *firn_hot_alloc(firn_hot *hot, size_t size);
void firn_hot_release(firn_hot *hot, void *memory, size_t size); /* memory may be NULL */
/* How often the key was seen lately, 0 to 15, or as its policy counts; group: of the key. again: it
 * was just now, while it was not resident. 0 unless they are kept. */
unsigned firn_hot_frequency_locked(firn_hot_shard *shard, unsigned group, uint64_t hash,
                                   bool again);
/* References to an object that is indexed, but the index's own; about, for others take and drop
 * some meanwhile. */
uint64_t firn_hot_references_locked(firn_hot_shard *shard, firn_object *object);
/* What the mark of an object says of hits: *mark_max as its policy has it, 0 if the mark does not
 * count; *lately: it was hit since the policy looked, or, where only that is noted, lately. */
void firn_hot_hits_locked(const firn_hot_shard *shard, const firn_object *object, unsigned *mark,
                          unsigned *mark_max, unsigned *lately);
/* Residents in order of value, the pinned ones being the hottest, from NULL to NULL; order:
 * FIRN_HOTTEST_FIRST or FIRN_COLDEST_FIRST. */
firn_object *firn_hot_walk_locked(firn_hot_shard *shard, const firn_object *object, unsigned order);
/* Calls visit with every object that is indexed in a piece of the shard, from *position on (0: the
 * beginning), and moves *position on: up to a thousand. True: the end was reached. visit changes
 * nothing. Between pieces the shard may be unlocked, as long as the layout stays the same. */
bool firn_hot_sweep_locked(firn_hot_shard *shard, size_t *position,
                           void (*visit)(void *context, firn_object *object), void *context);
/* See firn_table_layout. */
uint64_t firn_hot_layout_locked(const firn_hot_shard *shard);
/* Locks the shard whose turn it is to give a victim. */
firn_hot_shard *firn_hot_lock_next(firn_hot *hot);

/* Looks whether slabs of the pool have become sparse, and if so has the objects in them moved, a
 * few at each insertion; and learns what firn_hot_surplus tells. Insertions ask by themselves now
 * and then. */
void firn_hot_tidy(firn_hot *hot);
/* Bytes by which the residents had better be fewer than they may be, for the memory they lie in is
 * much more than they take: sizes changed faster than memory could be tidied. */
uint64_t firn_hot_surplus(const firn_hot *hot);

/* The residents' bytes may come to that much from now on. */
void firn_hot_set_capacity(firn_hot *hot, uint64_t capacity);

/* Gives the objects of the next group (see base/prefixes.h) a part of the tier with a policy of
 * their own, before there is any such object. What a part does not use of its share, others may:
 * victims are taken from the part that is the most above its share. share: bytes. policy: lent for
 * good; one thread at a time. FIRN_OK or FIRN_ENOMEM. */
int firn_hot_add_part(firn_hot *hot, const firn_policy *policy, uint64_t share);
typedef struct firn_hot_part_totals {
    uint64_t entries; /* resident */
    uint64_t bytes;   /* their charges */
} firn_hot_part_totals;
/* Of the part of a group. Exact when nobody changes them meanwhile. */
firn_hot_part_totals firn_hot_part_total(const firn_hot *hot, unsigned group);

/* Bytes of residents, tables and the policy's own; and of all that is indexed or queued, with the
 * same. What shards did lately may not be in it yet: with several shards it is right to 1/256 of
 * the capacity, with one it is exact. */
uint64_t firn_hot_resident_bytes(const firn_hot *hot);
uint64_t firn_hot_held_bytes(const firn_hot *hot);
/* Exact when nobody changes them meanwhile. */
typedef struct firn_hot_totals {
    uint64_t resident_entries;
    uint64_t resident_bytes; /* as above, but exact */
    uint64_t held_bytes;
    uint64_t overhead_bytes; /* of both: tables and the policy's own */
    uint64_t pinned_entries; /* of the residents */
    uint64_t pinned_bytes;
} firn_hot_totals;
firn_hot_totals firn_hot_total(const firn_hot *hot);

/* What follows is hot.c's, and stands here so that a look-up becomes part of its caller. */

enum {
    FIRN_HOT_RINGS = 4,      /* a shard's, where there are several shards */
    FIRN_HOT_RING_HITS = 32, /* a power of two */
};

/* Hits that readers noted and the policy was not told of yet. Whoever holds the shard's lock tells
 * it. Readers write without a lock and without an atomic addition: when two meet, a hit is lost,
 * which a policy can bear; what is found in a slot is checked before it is believed. */
typedef struct firn_hot_ring {
    _Alignas(64) _Atomic uint32_t noted; /* relaxed; the low bits give the next slot */
    _Atomic uint32_t told;               /* changed under the lock; relaxed */
    struct {
        _Atomic uint64_t hash;
        _Atomic(firn_object *) object; /* may be gone meanwhile: to be compared, not looked at */
    } hits[FIRN_HOT_RING_HITS];        /* relaxed */
} firn_hot_ring;

/* As FIRN_HITS_MARK; and the first hit that raises a mark is noted, for the count of frequencies.
 */
enum { FIRN_HITS_MARK_NOTED = 3 };

/* A shard's share in a part of the tier. */
typedef struct firn_hot_part {
    const firn_policy *policy; /* the shard's lock, like the next; NULL: there is no such part */
    void *state;
    uint64_t share;           /* bytes; the shard's lock */
    _Atomic uint64_t entries; /* gauges of residents, as those of the shard */
    _Atomic uint64_t bytes;
} firn_hot_part;

struct firn_hot_shard {
    firn_table table; /* see there */

    _Alignas(64) pthread_mutex_t lock; /* guards what follows, and the state of the objects */
    firn_hot *hot;                     /* immutable, as the next */
    firn_policy_host host;             /* what the policy knows of the shard */
    firn_hot_ring *rings;              /* NULL: no policy wants to hear of hits */
    /* Bytes that are not in the tier's gauges yet. */
    int64_t resident_untold;
    int64_t held_untold;
    size_t overhead_seen; /* bytes of the table that the tier was told of */
    uint64_t turnover;    /* charges that came since the generation changed */
    firn_object *pinned;  /* the first; they are chained by their links, and their bits count */
    size_t sweep_position;
    unsigned sweep_round;        /* that the position is of */
    const firn_object *newcomer; /* not to be moved: who inserts it goes on with it */
    firn_wheel *wheel;      /* of what is indexed and expires; NULL: nothing did, or no memory */
    uint64_t plan_turnover; /* charges that came since it was asked whether slabs are sparse */
    /* Gauges, written under the lock and read by anybody, relaxed. */
    _Atomic uint64_t resident_entries;
    _Atomic uint64_t resident_bytes; /* charges */
    _Atomic uint64_t held_bytes;
    _Atomic uint64_t pinned_entries;
    _Atomic uint64_t pinned_bytes;        /* charges */
    firn_frequencies frequencies;         /* the shard's lock */
    firn_hot_part parts[FIRN_GROUPS_MAX]; /* by group */
    /* Of FIRN_HITS_RECENT: a hit on an entry whose mark says the same is not passed on. Never 0.
     * Written under the lock, read by readers, relaxed. */
    _Alignas(64) _Atomic uint8_t generation;
};

struct firn_hot {
    firn_heap *heap; /* lent; immutable, as all up to the gauges */
    firn_pool *pool;
    unsigned hits;     /* FIRN_HITS_... of the policy of group 0 */
    unsigned mark_max; /* of FIRN_HITS_MARK */
    bool keeps_frequencies;
    /* The same of each group. Written before there is an object of it. */
    struct {
        unsigned hits;
        unsigned mark_max;
    } hearing[FIRN_GROUPS_MAX];
    unsigned shard_count;
    unsigned shard_shift; /* the hash's top bits choose the shard */
    unsigned ring_count;
    size_t allocation;      /* bytes of this block */
    firn_segments segments; /* has a lock of its own */

    /* Relaxed: no other data hangs on any of them. */
    _Alignas(64) _Atomic uint64_t capacity;
    _Atomic unsigned part_count; /* with that of group 0; relaxed, for objects say their own */
    _Atomic int64_t grain; /* bytes that a shard may keep to itself before it tells the gauges */
    _Atomic uint64_t resident_bytes; /* with tables and the policy's own, like the next */
    _Atomic uint64_t held_bytes;
    _Atomic uint64_t surplus;                      /* see firn_hot_surplus */
    _Alignas(64) _Atomic uint64_t policy_overhead; /* bytes of the policies' states */
    _Alignas(64) _Atomic unsigned turn;            /* any order of turns will do */
    _Atomic unsigned sweep_round; /* of moving objects out of sparse slabs; 0: none yet */
    _Atomic unsigned sweep_left;  /* shards that are not through with it */

    firn_hot_shard shards[];
};

static inline firn_hot_shard *firn_hot_shard_of(firn_hot *hot, uint64_t hash) {
    /* In two steps, for a shift by 64 is none. */
    return &hot->shards[hash >> 1 >> (hot->shard_shift - 1)];
}

/* The highest hash of a shard: each has a range of hashes, in the order of their numbers. */
static inline uint64_t firn_hot_last_hash(const firn_hot *hot, unsigned number) {
    return number + 1 == hot->shard_count ? UINT64_MAX
                                          : ((uint64_t)(number + 1) << hot->shard_shift) - 1;
}

/* With one shard, policies are told of every hit in order. */
static inline bool firn_hot_is_exact(const firn_hot *hot) {
    return hot->shard_count == 1;
}

/* Without a lock, and without waiting for anybody: the object indexed under the key, tombstones
 * too, with a reference for the caller. NULL: none. */
static inline firn_object *firn_hot_get(firn_hot *hot, uint64_t hash, const void *key,
                                        size_t key_size) {
    return firn_table_get(&firn_hot_shard_of(hot, hash)->table, hash, key, key_size);
}

/* Writes a hit to a ring, for the policy to be told of it. */
void firn_hot_note(firn_hot *hot, uint64_t hash, firn_object *object);

/* Marks a resident that was hit, whose policy hears of hits so. True: it is to hear of it too, by
 * firn_hot_note. The caller holds a reference. */
static inline bool firn_hot_mark_hit_so(const firn_hot *hot, const firn_hot_shard *shard,
                                        firn_object *object, unsigned hits, unsigned mark_max) {
    unsigned mark = firn_entry_mark(&object->entry);
    if (hits == FIRN_HITS_MARK) {
        /* Not an atomic addition: a hit that is lost to another reader's is no harm. And written
         * also where it stays the same: the line is the reader's own by now, for the count of
         * references is in it, and a branch would be guessed wrong often, after a miss. */
        firn_entry_set_mark(&object->entry, mark + (mark < mark_max));
        return false;
    }
    if (hits == FIRN_HITS_RECENT && !firn_hot_is_exact(hot)) {
        unsigned generation = atomic_load_explicit(&shard->generation, memory_order_relaxed);
        if (mark == generation) {
            return false;
        }
        firn_entry_set_mark(&object->entry, generation);
    }
    if (hits == FIRN_HITS_MARK_NOTED) {
        firn_entry_set_mark(&object->entry, mark + (mark < mark_max));
        return mark == 0;
    }
    return true;
}

/* The same for an object of group 0. */
static inline bool firn_hot_mark_hit(const firn_hot *hot, const firn_hot_shard *shard,
                                     firn_object *object) {
    return firn_hot_mark_hit_so(hot, shard, object, hot->hits, hot->mark_max);
}

/* Tells the policy, now or soon, that a resident was hit. The caller holds a reference. */
static inline void firn_hot_note_hit(firn_hot *hot, uint64_t hash, firn_object *object) {
    unsigned group = firn_object_group(object);
    if (firn_hot_mark_hit_so(hot, firn_hot_shard_of(hot, hash), object, hot->hearing[group].hits,
                             hot->hearing[group].mark_max)) {
        firn_hot_note(hot, hash, object);
    }
}

#endif
