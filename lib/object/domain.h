/* What the objects of one cache share, for as long as there are any: the companion of their pool,
 * so it outlives the cache when they do.
 *
 * It keeps the list of the values that hold references and that no key leads to, for the collector
 * of circles, and the table of watches, for weak references. Knows objects; no cache, no tiers. */
#ifndef FIRN_OBJECT_DOMAIN_H
#define FIRN_OBJECT_DOMAIN_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/heap.h"
#include "base/pool.h"
#include "base/prefixes.h"
#include "object/object.h"
#include "object/watch.h"

enum {
    /* Powers of two: each has a lock, so that threads seldom meet. */
    FIRN_HOLDER_LISTS = 16,
    FIRN_WATCH_PARTS = 16,
};

/* Live values whose type visits, while they are not indexed. */
typedef struct firn_holder_list {
    _Alignas(64) pthread_mutex_t lock; /* guards the rest, and next and prev of what is in it. Taken
                                          with no other lock of the object layer held; a shard's may
                                          be */
    firn_object *first;                /* newest first */
    _Atomic uint64_t count;            /* changed under the lock, read by anybody, relaxed */
} firn_holder_list;

/* Where somebody is on the way through a list: an object that is none, between two that are. Who
 * goes through a list without holding its lock all the time leaves one, and all that do so exclude
 * each other. */
typedef struct firn_holder_mark {
    firn_object object;
    firn_object_extension extension;
    firn_object_rich rich;
} firn_holder_mark;

_Static_assert(offsetof(firn_holder_mark, rich) ==
                   sizeof(firn_object) + sizeof(firn_object_extension),
               "a mark's links are where an object has them");

/* A part of the table of watches. */
typedef struct firn_watch_part {
    _Alignas(64) pthread_mutex_t lock; /* guards the rest, and what firn_watch says. Taken last of
                                          all */
    firn_watch **buckets;
    size_t bucket_count; /* a power of two, or 0 */
    size_t count;
} firn_watch_part;

typedef struct firn_domain {
    firn_heap *heap;       /* one reference; immutable */
    firn_prefixes groups;  /* of keys; has a protocol of its own */
    _Atomic uint64_t refs; /* the pool's and weak references'. Relaxed up, acquire-release down:
                              whoever takes the last one off frees the domain */
    atomic_bool closed;    /* the cache is gone. Release, and acquire: what was before the close
                              is seen by whoever sees it */
    pthread_mutex_t links_lock;      /* guards the links of all objects. Taken last of all */
    _Atomic uint64_t interned;       /* objects whose value is a body's. Relaxed, as the next */
    _Atomic uint64_t interned_saved; /* bytes of values that are there once less for it */
    struct firn_tracker *tracker;    /* of handles; NULL: not wanted. Immutable */
    _Atomic uint64_t live_charge;    /* bytes that types told of live values. Relaxed */
    firn_holder_list holders[FIRN_HOLDER_LISTS];
    firn_watch_part watched[FIRN_WATCH_PARTS];
} firn_domain;

/* Makes the pool's companion. FIRN_OK or FIRN_ENOMEM. */
int firn_domain_new(firn_heap *heap, firn_pool *pool);
firn_domain *firn_domain_ref(firn_domain *domain);
void firn_domain_unref(firn_domain *domain);

/* The domain of an object whose pool has one. */
firn_domain *firn_domain_of(const firn_object *object);

/* An object is not indexed: if its value is alive and visits, it joins the list of such. The shard
 * is locked, or nobody else knows the object. */
void firn_domain_add_holder(firn_object *object);
/* It is indexed, or about to be freed: leaves the list, if it is there. Likewise. */
void firn_domain_remove_holder(firn_object *object);
/* How many are listed; right when nobody changes it meanwhile. */
uint64_t firn_domain_holders(const firn_domain *domain);

/* Goes on through a list: to the beginning if the mark is not in it, else on from there, past up to
 * `most` objects, and calls take with each. True: the end was reached, and the mark is out of the
 * list. The lock is held over it, so what is taken is there; its count may have come to 0. */
bool firn_domain_walk_holders(firn_holder_list *list, firn_holder_mark *mark, unsigned most,
                              void (*take)(void *context, firn_object *object), void *context);
/* Takes the mark out, if it is in the list. */
void firn_domain_unmark(firn_holder_list *list, firn_holder_mark *mark);

#endif
