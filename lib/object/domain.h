/* What the objects of one cache share, for as long as there are any: the companion of their pool,
 * so it outlives the cache when they do.
 *
 * It keeps the list of the values that hold references, for the collector of circles. Knows
 * objects; no cache, no tiers. */
#ifndef FIRN_OBJECT_DOMAIN_H
#define FIRN_OBJECT_DOMAIN_H

#include <pthread.h>
#include <stdint.h>

#include "base/heap.h"
#include "base/pool.h"
#include "object/object.h"

enum { FIRN_HOLDER_LISTS = 16 }; /* a power of two: each has a lock, so that threads seldom meet */

/* Live values whose type visits. */
typedef struct firn_holder_list {
    _Alignas(64) pthread_mutex_t lock; /* guards the rest, and next and prev of what is in it. Taken
                                          with no other lock of the object layer held */
    firn_object *first;                /* newest first */
    uint64_t count;
} firn_holder_list;

typedef struct firn_domain {
    firn_heap *heap; /* one reference; immutable */
    firn_holder_list holders[FIRN_HOLDER_LISTS];
} firn_domain;

/* Makes the pool's companion. FIRN_OK or FIRN_ENOMEM. */
int firn_domain_new(firn_heap *heap, firn_pool *pool);

/* The domain of a rich object. */
firn_domain *firn_domain_of(const firn_object *object);

/* The object joins the list of those that hold references, and leaves it. Any thread. */
void firn_domain_add_holder(firn_object *object);
void firn_domain_remove_holder(firn_object *object);

#endif
