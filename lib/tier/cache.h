/* The cache: both tiers and what moves entries between them.
 *
 * The rule that carries everything: **the hot table is the truth**. If a key is indexed there, that
 * object says what the entry is, a tombstone included; only if it is not does the cold tier speak.
 * Therefore an entry stays indexed until the commit that holds it is done, and a delete indexes a
 * tombstone until the commit that removed the record is done.
 *
 * Locks, in the order they are taken:
 *   1. worker_lock, then settle_lock of the links: over a step of work
 *   2. write_lock     one batch at a time goes to the cold tier
 *   3. a shard        of the hot table, one at a time
 *   4. the queue's lock
 *   5. the graph's, the cursors', the flights', the cold tier's, the object layer's, the detail's
 *      and that of what moves, which call nobody (but policies, the last)
 */
#ifndef FIRN_TIER_CACHE_H
#define FIRN_TIER_CACHE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <firn/cache.h>

#include "base/clears.h"
#include "base/clock.h"
#include "base/detail.h"
#include "base/hash.h"
#include "base/heap.h"
#include "base/pool.h"
#include "cold/cold.h"
#include "cold/warm_list.h"
#include "hot/hot.h"
#include "object/collect.h"
#include "object/drops.h"
#include "object/track.h"
#include "observe/counters.h"
#include "observe/histogram.h"
#include "tier/decide.h"
#include "tier/flights.h"
#include "tier/groups.h"
#include "tier/links.h"
#include "tier/load.h"
#include "tier/moves.h"
#include "tier/queue.h"
#include "tier/timing.h"
#include "tier/types.h"
#include "tier/whatif.h"

enum {
    FIRN_REMOVAL_COUNTERS = 4096,
    FIRN_VICTIMS_AT_ONCE = 32, /* that one hold of a shard's lock may take */
    FIRN_LARGE_CHARGE = 16384, /* bytes: room for more than that is made before it is taken */
};

/* Objects whose index references are to be dropped once the shard is unlocked. */
typedef struct firn_victims {
    unsigned count;
    firn_object *objects[FIRN_VICTIMS_AT_ONCE + 1]; /* and one that was overwritten */
} firn_victims;

static inline void firn_victims_add(firn_victims *victims, firn_object *object) {
    victims->objects[victims->count++] = object;
}

/* See page.c. All but the errors: worker_lock, or whoever opens or closes the cache. */
typedef struct firn_paging {
    struct firn_page_writer *writer;   /* NULL: there is no page */
    struct firn_page_numbers *numbers; /* what is being written */
    uint64_t opened_ms;                /* wall clock */
    uint64_t opened_ns;                /* monotonic, as the next two */
    uint64_t due_ns;                   /* not before that */
    uint64_t rest_ns;                  /* and it need not be before that */
    unsigned rest;                     /* intervals from page to page, while nothing happens */
    _Atomic uint64_t errors;           /* relaxed */
} firn_paging;

struct firn_cache {
    firn_options options; /* immutable; pointers into the user's memory are cleared */
    firn_heap *heap;      /* immutable */
    firn_pool *pool;      /* immutable; where objects come from. It outlives the cache if they do */
    firn_hot *hot;        /* immutable */
    firn_cold *cold;      /* immutable; NULL: memory only */
    uint64_t seed;        /* immutable; of the key hash in both tiers */
    _Atomic uint64_t
        sampled_below;            /* hashes below it are sampled; 0: none. Relaxed; see whatif.c */
    firn_timing timing;           /* see there */
    struct firn_tracker *tracker; /* the domain's; immutable; NULL: handles are not noted */
    firn_detail detail;           /* has a lock of its own */
    firn_counters *counters;
    firn_histograms *histograms; /* immutable; how long things take */
    firn_deciding deciding;      /* see there */
    firn_paging paging;          /* see there */
    firn_types types;            /* see there */
    firn_groups groups;          /* see there */
    firn_linking linking;        /* see there */
    firn_flights flights;        /* see there */
    firn_refresher refresher;    /* see tier/load.h */
    firn_moving moving;          /* see there */

    /* What is resident stays below resident_max; what is resident, waits to be written or shadows
     * the cold tier stays below held_max; the difference is the queue's share. Relaxed: a thread
     * that sees an older budget keeps to that one for a moment more. */
    _Atomic uint64_t hot_bytes; /* what was asked for */
    _Atomic uint64_t resident_max;
    _Atomic uint64_t held_max;

    firn_clears clears; /* see there; the cold tier's too */
    /* What is in the table may be void below that version. Raised when something is cleared, 0 when
     * the table was swept since; see clear.c. */
    _Atomic uint64_t unswept;
    struct {
        uint64_t target; /* worker_lock, as the next; 0: no sweep is under way */
        unsigned shard;
        size_t position;
        uint64_t layout; /* of the shard, to which the position belongs */
        bool left;       /* something is still to be written, or removed below */
        uint64_t await;  /* with which this ticket of the queue is done */
    } clearing;

    _Atomic uint64_t version; /* next to give; drawn while the entry's shard is locked, so that
                                 versions of one key grow. Relaxed: the shard's lock orders. */
    firn_queue queue;
    atomic_bool closing; /* firn_close began: changes are refused. Written by firn_close, when only
                            functions that it calls use the cache; relaxed */

    pthread_mutex_t write_lock; /* held over a batch, see firn_lock; guards the next five */
    firn_encoder encoder;       /* of the values of types in a batch */
    firn_cold_item *batch_items;
    firn_object **batch_objects;
    size_t batch_items_max;
    size_t batch_bytes_max;

    uint64_t batch_ready_bytes; /* immutable; a queue of that many bytes need not wait for more */

    /* How often entries of a stripe of hashes changed below: bumped, with the shard locked, when
     * a batch made a change of theirs true or a record was reclaimed. A read that
     * finds the same number after it read below knows that what it read is still so. */
    _Atomic uint32_t *removals;

    struct {
        firn_warm_list *list;  /* worker_lock; NULL: there is none */
        uint64_t position;     /* worker_lock */
        bool checked;          /* worker_lock */
        _Atomic uint64_t left; /* entries still to come. Relaxed: written with worker_lock held,
                                  read by anybody */
        uint64_t saved_ns;     /* worker_lock; when it was recorded last while running, monotonic */
        uint64_t saved_arrived; /* worker_lock; entries that had come to memory by then */
        /* What has been hot for long is written as well, shard by shard. worker_lock. */
        uint64_t seen_version;    /* what came before the last time is older than this */
        uint64_t written_version; /* what is older than this is written */
        unsigned writing;         /* the shard whose turn it is; behind the last: none */
        uint64_t writing_bytes;   /* that may still be queued of that shard */
        bool unwritten;           /* there was more in some shard */
    } warm;

    firn_collector collector; /* has a lock of its own, of which no other is held when it is waited
                                 for */
    struct {
        _Atomic uint64_t began_ns; /* the last round in the background. Relaxed, like the next: who
                                      reads an older one is too early or too late */
        _Atomic uint64_t left;     /* values it left that no key leads to */
        _Atomic uint64_t links_ns; /* the last round through the links in the background */
        _Atomic uint64_t longest_links_ns; /* of its steps */
        atomic_bool at_links;              /* firn_collect is through with the values */
    } collecting;

    pthread_mutex_t cursors_lock; /* guards the next, and what the cursors say is guarded by it */
    struct firn_cursor *cursors;  /* those that are open */

    pthread_mutex_t
        worker_lock;    /* see firn_lock; held over a step of background work other than a batch */
    uint64_t synced_ns; /* worker_lock; when last synced, monotonic */
    uint64_t synced_commits; /* worker_lock; commits then */
    uint64_t drain_to;       /* worker_lock; write without waiting for more until this ticket */

    pthread_t thread;            /* immutable while it runs */
    pthread_mutex_t thread_lock; /* guards the next, and the start of the thread */
    bool thread_runs;
    atomic_bool expires;       /* there may be something in memory that expires; see expire.c */
    pthread_mutex_t wake_lock; /* guards the next three */
    pthread_cond_t wake;
    bool stop;
    bool awake; /* somebody asked for work to be looked at */

    firn_sampling sampling; /* see there */
};

struct firn_backend_ops;

/* Write_lock and worker_lock: while they are held, values are not dropped, for whatever drops them
 * may call the cache. */
static inline void firn_lock(pthread_mutex_t *lock) {
    firn_drops_hold();
    pthread_mutex_lock(lock);
}

static inline void firn_unlock(pthread_mutex_t *lock) {
    pthread_mutex_unlock(lock);
    firn_drops_release();
}

/* open.c: firn_open with another backend below, for tests; NULL: the usual one. */
int firn_open_with(firn_cache **cache, const char *path, const firn_options *options,
                   const struct firn_backend_ops *backend);
/* close.c: releases what there is of a cache; nothing is written. */
void firn_cache_abandon(firn_cache *cache);

/* open.c: divides the memory budget. */
void firn_set_budgets(firn_cache *cache, uint64_t hot_bytes, bool has_cold);

/* Counts an event for the group of an entry. */
static inline void firn_count_group(firn_cache *cache, unsigned group, enum firn_event event) {
    if (__builtin_expect(group != 0, 0)) {
        firn_count(cache->groups.of[group].counters, event, 1);
    }
}
/* The same, and for the cache. */
static inline void firn_count_of(firn_cache *cache, unsigned group, enum firn_event event) {
    firn_count(cache->counters, event, 1);
    firn_count_group(cache, group, event);
}
/* The same, by the key. */
static inline void firn_count_key(firn_cache *cache, const void *key, size_t key_size,
                                  enum firn_event event) {
    firn_count_of(cache, firn_group_of_key(cache, key, key_size), event);
}

/* options.c: copies a struct whose first field is its size; fields that an older caller did not
 * know keep what *full has. FIRN_EINVAL: it is none, or has fields that we do not know. */
int firn_read_sized(void *full, size_t full_size, const void *given, const char *what,
                    firn_detail *detail);
/* options.c: fills *full from what the user gave, or says what is wrong with it. */
int firn_options_read(firn_options *full, const firn_options *given, const char *path,
                      firn_detail *detail);
int firn_check_hot_bytes(uint64_t hot_bytes, firn_detail *detail);
/* The same as the first for a put of a good key. traits: what it says of them. tags: room for
 * FIRN_TAGS_MAX, to which the traits point then; NULL if there can be none. */
int firn_put_options_read(firn_cache *cache, const void *key, size_t key_size,
                          const firn_put_options *given, firn_put_options *full,
                          firn_traits *traits, uint64_t *tags);

/* whatif.c */
int firn_sampling_init(firn_cache *cache); /* the cold tier is open */
void firn_sampling_fini(firn_cache *cache);
void firn_sampling_save(firn_cache *cache);
void firn_sampling_step(firn_cache *cache, uint64_t now_ns, uint64_t *wait_ns); /* worker_lock */
/* Takes over a threshold of one of the two that sample. */
void firn_sampling_publish_locked(firn_cache *cache, _Atomic uint64_t *which, uint64_t below);
/* An access to a hash that is sampled. hit: FIRN_ACCESS_..., if there is an object; object: what
 * the get found; may be NULL. */
void firn_sample_get(firn_cache *cache, uint64_t hash, unsigned hit, const firn_object *object);
void firn_sample_put(firn_cache *cache, uint64_t hash, size_t key_size, size_t value_size,
                     const firn_traits *traits);
void firn_sample_delete(firn_cache *cache, uint64_t hash);
/* recording.c: notes the access, if its hash is recorded. */
void firn_record_access(firn_cache *cache, firn_access *access);
void firn_recording_step(firn_cache *cache, uint64_t now_ns, uint64_t *wait_ns);
void firn_recording_fini(firn_cache *cache);
static inline bool firn_is_sampled(const firn_cache *cache, uint64_t hash) {
    return __builtin_expect(
        hash < atomic_load_explicit(&cache->sampled_below, memory_order_relaxed), 0);
}
/* The same for any access: whether it is sampled is looked at first. */
static inline void firn_note_get(firn_cache *cache, uint64_t hash, unsigned hit,
                                 const firn_object *object) {
    if (firn_is_sampled(cache, hash)) {
        firn_sample_get(cache, hash, hit, object);
    }
}
static inline void firn_note_put(firn_cache *cache, uint64_t hash, size_t key_size,
                                 size_t value_size, const firn_traits *traits) {
    if (firn_is_sampled(cache, hash)) {
        firn_sample_put(cache, hash, key_size, value_size, traits);
    }
}
static inline void firn_note_delete(firn_cache *cache, uint64_t hash) {
    if (firn_is_sampled(cache, hash)) {
        firn_sample_delete(cache, hash);
    }
}

/* get.c */
int firn_check_key(firn_cache *cache, const void *key, size_t key_size);
/* Before the look into the table that finds nothing: see promote. */
uint32_t firn_removals_look(firn_cache *cache, uint64_t hash);
void firn_removals_bump(firn_cache *cache, uint64_t hash); /* the shard is locked */
uint64_t firn_now_ms(const firn_cache *cache);
/* clear.c */
bool firn_look_whether_cleared(const firn_cache *cache, const firn_object *object);
/* A piece of the sweep for what was cleared. True: there is more to do. worker_lock is held. */
bool firn_clear_step(firn_cache *cache);
/* False: it was not cleared, or the table was swept since; then it is not indexed any more, and not
 * resident, which whoever looks after this sees. */
static inline bool firn_is_cleared_maybe(const firn_cache *cache, const firn_object *object) {
    /* Acquire: with the release of the clear, what was cleared is seen; with that of the sweep's
     * end, what it took out. */
    return __builtin_expect(firn_object_version(object) <
                                atomic_load_explicit(&cache->unswept, memory_order_acquire),
                            0);
}
/* It is void, for something was cleared that it belongs to. */
static inline bool firn_is_cleared(const firn_cache *cache, const firn_object *object) {
    return (firn_is_cleared_maybe(cache, object) ||
            (firn_object_state(object) & FIRN_INDEXED) == 0) &&
           firn_look_whether_cleared(cache, object);
}
/* It is of no use to anybody any more, and may go. The clock is only asked about an object that
 * expires at all. */
static inline bool firn_is_expired(const firn_cache *cache, const firn_object *object) {
    return (firn_object_expires_ms(object) != 0 &&
            firn_object_expired(object, firn_now_ms(cache))) ||
           firn_is_cleared(cache, object);
}
/* It is expired, stale or negative. */
static inline bool firn_is_unfresh(const firn_cache *cache, const firn_object *object) {
    if ((firn_object_flags(object) & FIRN_OBJECT_EXTENDED) == 0) {
        return false;
    }
    firn_traits traits = firn_object_get_traits(object);
    return firn_traits_limited(&traits) && firn_traits_unserved(&traits, firn_now_ms(cache));
}
/* The same, or cleared. */
static inline bool firn_is_unserved(const firn_cache *cache, const firn_object *object) {
    return firn_is_cleared(cache, object) || firn_is_unfresh(cache, object);
}
/* There is no value for a plain read: that, or a tombstone. */
static inline bool firn_is_absent(const firn_cache *cache, const firn_object *object) {
    return (firn_object_state(object) & FIRN_TOMBSTONE) != 0 || firn_is_unserved(cache, object);
}
/* get.c: whether the cold tier has the entry, by its head alone, which goes to *meta (lent by the
 * caller, not NULL). What a plain read would not get is FIRN_NOT_FOUND too. */
int firn_look_below(firn_cache *cache, uint64_t hash, const void *key, size_t key_size,
                    firn_cold_meta *meta);
static inline uint64_t firn_resident_max(const firn_cache *cache) {
    return atomic_load_explicit(&cache->resident_max, memory_order_relaxed);
}
static inline uint64_t firn_held_max(const firn_cache *cache) {
    return atomic_load_explicit(&cache->held_max, memory_order_relaxed);
}
/* firn_get, of which it is not noted who takes the handle. */
int firn_get_any(firn_cache *cache, const void *key, size_t key_size, firn_object **object);
/* The program is given a handle by a call that returns to `place`. */
static inline void firn_note_handle(firn_cache *cache, firn_object *object, const void *place) {
    if (__builtin_expect(cache->tracker != NULL, 0) && object != NULL) {
        firn_track_take(cache->tracker, object, place);
    }
}
/* Gets an entry without counting it, telling the policy or promoting it. */
int firn_look(firn_cache *cache, const void *key, size_t key_size, firn_object **object);
/* The same, but it is promoted. The key is a good one. */
int firn_get_uncounted(firn_cache *cache, const void *key, size_t key_size, firn_object **object);
/* An object was read below: makes it resident if policy, room and the state of things allow. If the
 * entry was put meanwhile, the object in the table takes the place of *object. removals: what
 * firn_removals_look gave before the table was found to hold nothing. */
void firn_promote(firn_cache *cache, uint64_t hash, firn_object **object, uint32_t removals);
/* Reads an entry from the cold tier into a new object of the caller's. key NULL: any of the hash.
 * Results as firn_cold_read, and FIRN_ETYPE. */
int firn_read_below(firn_cache *cache, uint64_t hash, const void *key, size_t key_size,
                    firn_object **object);

/* get.c: FIRN_ETYPE, with words: bytes were wanted, and the object is of a type. */
int firn_refuse_typed(firn_cache *cache, const firn_object *object);

/* put.c: deletes the entry if it has that version still; else FIRN_CONFLICT or FIRN_NOT_FOUND. The
 * second counts no delete and looks after no links; 0: whatever version. */
int firn_delete_quietly(firn_cache *cache, const void *key, size_t key_size, uint64_t version);
int firn_check_writable(firn_cache *cache);
/* Puts the value that an entry has once more, with other links. FIRN_CONFLICT: it has another value
 * by now, or see firn_graph_put. All others as firn_put. */
int firn_put_same(firn_cache *cache, firn_object *object, const firn_link_plan *plan);
int firn_delete_version(firn_cache *cache, const void *key, size_t key_size, uint64_t version);
/* firn_object_new, without a handle being noted. */
int firn_object_new_any(firn_cache *cache, const void *key, size_t key_size, size_t value_size,
                        const firn_put_options *options, firn_object **object);
/* What a flight brought: a value, as an object that was made for it, that there is none, or that
 * there is none and this is not to be remembered. FIRN_CONFLICT: the entry was changed since the
 * flight began. All others as firn_put and firn_delete. */
int firn_put_loaded(firn_cache *cache, firn_object *object, unsigned intern, firn_flight *flight);
int firn_put_negative(firn_cache *cache, const void *key, size_t key_size, uint64_t expires_ms,
                      firn_flight *flight);
int firn_delete_loaded(firn_cache *cache, const void *key, size_t key_size, firn_flight *flight);

/* stream.c: the value of a head that was read below, as one object. FIRN_OK; FIRN_ETOOLARGE: it is
 * more than may be resident; FIRN_NOT_FOUND: pieces are missing; FIRN_ENOMEM, FIRN_EIO. */
typedef struct firn_stream_head {
    uint64_t hash; /* of the head's key */
    uint64_t version;
    uint64_t expires_ms;
    unsigned char bytes[FIRN_STREAM_HEAD_SIZE]; /* see cold/pieces.h */
} firn_stream_head;
int firn_stream_assemble(firn_cache *cache, const firn_stream_head *head, const void *key,
                         size_t key_size, firn_object **object);
bool firn_stream_fits(const firn_cache *cache, const firn_stream_head *head);

/* raise.c: an entry on its way up. cache is filled in, the rest zeros. */
typedef struct firn_raise {
    firn_cache *cache;
    firn_object *object; /* out: what came of it */
    bool takes_all;      /* the caller wants also what is stale, or negative */
    bool is_stream;      /* it is a head, which is filled in */
    firn_stream_head head;
    int result; /* why the place was refused */
    bool owned;
    bool is_body;
    bool interned;     /* its value is a body's */
    firn_links *links; /* until the object has them */
    /* The value of a type: what decode needs to know. */
    const firn_type *type;
    uint32_t type_version;
    uint64_t version;
    firn_traits traits;    /* its tags are in the buffer */
    unsigned char *buffer; /* tags, key and encoded value */
    size_t buffer_size;
    size_t key_size;
    size_t encoded_size;
} firn_raise;
/* The firn_cold_place of a read; the context is the firn_raise. */
void *firn_raise_place(void *context, const firn_cold_meta *meta);
/* After the read, which had that result: makes the object whole. key: NULL, if it is not known.
 * Results as of firn_cold_read, and FIRN_ETYPE, FIRN_ETOOLARGE; the object is NULL unless
 * FIRN_OK. */
int firn_raise_finish(firn_raise *self, const void *key, size_t key_size, int result);

/* intern.c: the body of a value: an object with a reference for the caller. FIRN_OK;
 * FIRN_NOT_FOUND: the value cannot be interned, and is put as any other; or an error. */
int firn_intern(firn_cache *cache, const void *value, size_t value_size, firn_object **body);
/* The body that the links of an entry name. FIRN_OK, FIRN_NOT_FOUND, or an error. */
int firn_intern_find(firn_cache *cache, const firn_links *links, firn_object **body);
/* The link to a body. *link lends the body's key. */
void firn_intern_link(const firn_object *body, firn_link *link);
/* put.c: puts a body, unless there is one. *object: the one that is there then, with a reference.
 */
int firn_put_body(firn_cache *cache, const void *key, size_t key_size, const void *value,
                  size_t value_size, firn_object **object);

/* evict.c: no lock is held by the caller, unless a name ends in _locked. */
void firn_victims_release(firn_victims *victims);
/* Evicts from that shard until `charge` more bytes may become resident, it has nothing more, or
 * enough was done at once. True: something was evicted. */
bool firn_evict_locked(firn_cache *cache, firn_hot_shard *shard, uint64_t charge,
                       firn_victims *victims);
/* Evicts until `charge` more bytes may become resident. */
void firn_make_resident_room(firn_cache *cache, uint64_t charge);
/* With a cold tier: evicts, and waits or drops as the back-pressure policy says, until `charge`
 * more bytes may be held. FIRN_OK or what keeps the cold tier from taking entries. */
int firn_make_room(firn_cache *cache, uint64_t charge);
bool firn_has_room(const firn_cache *cache, uint64_t charge);
/* Whether the cold tier has to be told of a resident before it leaves. */
bool firn_is_dirty_locked(const firn_object *object);
/* Puts a dirty object in the queue, where a place is reserved. Returns the ticket. It is STORED no
 * more, if it was: what the cold tier holds would expire too soon. */
uint64_t firn_enqueue_locked(firn_cache *cache, firn_hot_shard *shard, firn_object *object);
/* Takes care of an expired object that was met. The caller drops a reference to what is returned,
 * after the unlock. */
firn_object *firn_expire_locked(firn_cache *cache, firn_hot_shard *shard, uint64_t hash,
                                firn_object *object);

/* expire.c */
/* Takes care of one entry whose time has come. False: there is none. There must be room among the
 * victims. */
bool firn_expire_due_locked(firn_cache *cache, firn_hot_shard *shard, uint64_t now_ms,
                            firn_victims *victims);
/* A piece of the background's work. True: there is more to do now. Else *wait_ns is lowered to when
 * there may be. No lock is held. */
bool firn_expire_step(firn_cache *cache, uint64_t *wait_ns);
void firn_expiry_begin(firn_cache *cache);
/* An object that the table has got may expire. No shard is locked. */
static inline void firn_expiry_note(firn_cache *cache, uint64_t expires_ms) {
    if (expires_ms != 0 && !atomic_load_explicit(&cache->expires, memory_order_relaxed)) {
        firn_expiry_begin(cache);
    }
}

/* batch.c */
/* Writes one batch, or only applies the journal if the queue is empty. write_lock is not held. */
int firn_write_batch(firn_cache *cache);
/* Writes batches until the ticket is done. */
int firn_write_until(firn_cache *cache, uint64_t ticket);
/* Writes one value from the caller's memory as an entry. */
typedef struct firn_direct {
    firn_object *placeholder; /* an empty object of the key */
    uint64_t hash;
    const void *value;
    size_t value_size;
    firn_traits traits;         /* the tags are lent */
    firn_part part;             /* whole or a head */
    const firn_link_plan *plan; /* NULL: no links */
    bool same_value;            /* as the entry has already */
    firn_flight *flight;        /* NULL, or the load that made it */
} firn_direct;
int firn_write_direct(firn_cache *cache, const firn_direct *direct);
/* Queues every resident the cold tier does not have, coldest first. *ticket: the last one's.
 * FIRN_OK, or FIRN_ENOMEM: not all. */
int firn_enqueue_dirty(firn_cache *cache, uint64_t *ticket);
/* Pushes what the cold tier was given to the device. No lock is held. FIRN_OK, FIRN_EIO,
 * FIRN_ENOSPC, FIRN_ENOMEM. */
int firn_sync_cold(firn_cache *cache);

/* Whether there is surely nothing below of the hash, nor on its way there, for an object that comes
 * in the place of old (NULL: none). The shard is locked. */
bool firn_is_alone_locked(const firn_cache *cache, const firn_object *old, uint64_t hash);
/* Records in the journal that what the cold tier holds of the hash is void, if that is needed for
 * an entry in the state of old (NULL: none). The shard is locked. FIRN_OK, FIRN_EBUSY or
 * FIRN_EIO. */
int firn_void_below_locked(firn_cache *cache, const firn_object *old, bool alone, uint64_t hash,
                           uint64_t version);
/* After FIRN_EBUSY, with no lock held: makes room in the journal. */
int firn_relieve_journal(firn_cache *cache);

/* cursor.c: an entry that is in the table has no record below any more. The shard is locked. */
void firn_cursors_note_lifted(firn_cache *cache, uint64_t hash);

/* warm.c */
void firn_warm_begin(firn_cache *cache);
/* Brings up to a few hundred entries back. True: more are left. worker_lock is held. */
bool firn_warm_step(firn_cache *cache);
int firn_warm_save(firn_cache *cache);
/* Records what is hot if it is time to, and queues some of it that is not below. worker_lock is
 * held. True: there is something to write. Else *wait_ns is lowered to when it is time again. */
bool firn_warm_save_step(firn_cache *cache, uint64_t now_ns, uint64_t *wait_ns);
void firn_warm_end(firn_cache *cache);

/* page.c */
void firn_page_begin(firn_cache *cache); /* nobody else has the cache yet */
/* Writes the page, if it is due. *wait_ns: no longer than until it is again. worker_lock is held.
 */
void firn_page_step(firn_cache *cache, uint64_t now_ns, uint64_t *wait_ns);
/* The last one: the store is still open, and about to be closed. */
void firn_page_end(firn_cache *cache);
void firn_page_fini(firn_cache *cache);

/* collect.c */
/* Collects circles for a moment, if that is due. FIRN_AGAIN: there may be more to do. FIRN_OK:
 * nothing for the next *wait_ns. No lock is held. */
int firn_collect_in_background(firn_cache *cache, uint64_t *wait_ns);

/* worker.c */
/* There is, or will be, something to do: starts the thread if it does not run and the options want
 * one, and has it look. FIRN_OK or FIRN_EIO. */
int firn_worker_need(firn_cache *cache);
void firn_worker_stop(firn_cache *cache);
/* Makes the thread look for work. May be called with a shard locked. */
void firn_worker_wake(firn_cache *cache);

#endif
