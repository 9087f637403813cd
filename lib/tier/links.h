/* Links between entries of a cache: what a put does to the graph of them, and what follows for
 * other entries. Knows both tiers; the graph itself is in lib/object. */
#ifndef FIRN_TIER_LINKS_H
#define FIRN_TIER_LINKS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <firn/link.h>

#include "base/links.h"
#include "cold/cold.h"
#include "object/graph.h"
#include "object/object.h"

struct firn_cache;

typedef struct firn_linking {
    firn_graph *graph; /* immutable */
    /* Held over the deletion of the doomed, so that whoever waits for it knows that all are gone.
     * Taken before all other locks but worker_lock. */
    pthread_mutex_t settle_lock;
    atomic_bool settling; /* written under it. Sequentially consistent with the graph's list: see
                             firn_links_settle */
    pthread_mutex_t store_lock; /* guards the next: held while the file is made */
    atomic_bool stored;         /* the store says that it has links. Release and acquire */
} firn_linking;

/* What an entry is to have of links, all worked out, before it is put. Zeros: nothing. */
typedef struct firn_link_plan {
    bool owned;
    firn_links *block;        /* one reference; NULL: none */
    firn_graph_link *targets; /* as many as the block has */
    uint64_t expires_ms;      /* of what it depends on, the first that expires; 0: none does */
} firn_link_plan;

/* FIRN_OK or FIRN_ENOMEM. */
int firn_linking_init(struct firn_cache *cache);
void firn_linking_fini(struct firn_cache *cache);

/* FIRN_OK, FIRN_EINVAL, FIRN_ETOOLARGE. */
int firn_links_check(struct firn_cache *cache, const firn_link *links, size_t count);
/* Works out a plan. as_they_are: the first so many links are an entry's already, and their versions
 * are not compared. FIRN_OK; FIRN_EINVAL, FIRN_ETOOLARGE; FIRN_CONFLICT: a version is not what was
 * said; FIRN_ENOMEM, FIRN_EIO. After FIRN_OK it is to be ended. */
int firn_link_plan_begin(struct firn_cache *cache, firn_link_plan *plan, const firn_link *links,
                         size_t count, size_t as_they_are, bool owned);
/* The same for the links that an object has. as_they_are: all of them, or none. */
int firn_link_plan_of(struct firn_cache *cache, firn_link_plan *plan, const firn_object *object,
                      bool as_they_are);
void firn_link_plan_end(struct firn_cache *cache, firn_link_plan *plan);
static inline bool firn_link_plan_any(const firn_link_plan *plan) {
    return plan->owned || plan->block != NULL;
}

/* The entry is about to be put, with the shard locked: see firn_graph_put. If it is changed,
 * firn_links_change_locked follows when it is indexed. */
int firn_links_put_locked(struct firn_cache *cache, uint64_t hash, uint64_t version,
                          const firn_link_plan *plan, bool changed);

/* The entry is no more, for the program's doing or because its time is over; or it is lost, though
 * it was not to go. The shard is locked. */
void firn_links_remove_locked(struct firn_cache *cache, uint64_t hash);
/* It has another value, or a shorter life. */
void firn_links_change_locked(struct firn_cache *cache, uint64_t hash);
void firn_links_lose_locked(struct firn_cache *cache, uint64_t hash, uint64_t version);
/* A put had come as far as firn_links_put_locked, and failed then: what is there of the entry can
 * not be relied on any more, and goes when it can. */
void firn_links_forsake(struct firn_cache *cache, uint64_t hash);
/* Whether a link keeps the entry. */
bool firn_links_keep(struct firn_cache *cache, uint64_t hash);

/* What a record or an object says of its links. attributes: lent from the block. */
void firn_links_attributes(const firn_links *block, bool owned, firn_attributes *attributes);

/* Deletes the doomed, and what they doom in turn. Returns when all are gone that were doomed before
 * the call, or with what stands against it: then it is tried again by the next call. No lock is
 * held. Costs nothing when nobody is doomed. */
int firn_links_settle(struct firn_cache *cache);

/* links_store.c: brings the graph back when a store is opened, and keeps it at a clean close. */
int firn_links_load(struct firn_cache *cache);
void firn_links_save(struct firn_cache *cache);
/* Notes in the store that it has links, before the first is written. */
int firn_links_note_stored(struct firn_cache *cache);

#endif
