/* The part of a cache that follows a sample of its accesses. What is done with each is told in
 * whatif.c. */
#ifndef FIRN_TIER_WHATIF_H
#define FIRN_TIER_WHATIF_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "observe/shards.h"

typedef struct firn_sampling {
    pthread_mutex_t lock;  /* guards the next five, and changes of cache->sampled_below. Calls
                              nobody. A get that finds it taken goes on without */
    firn_shards *shards;   /* immutable; NULL: there is no estimate */
    uint64_t counted_gets; /* of the counters of events, that the estimate was told of */
    uint64_t counted_lost;
    uint64_t pending;      /* sampled gets since then */
    bool changed;          /* since the file was written */
    _Atomic uint64_t lost; /* gets that were to be sampled and found the lock taken. Relaxed: a
                              number by itself */
    uint64_t saved_ns;     /* worker_lock, or nobody else is left; when the file was written */
} firn_sampling;

#endif
