/* The part of a cache that follows a sample of its accesses: for the estimate of the hit-ratio
 * curve, which is told in whatif.c, and for a recording, which is told in recording.c. */
#ifndef FIRN_TIER_WHATIF_H
#define FIRN_TIER_WHATIF_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "observe/recorder.h"
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
    /* What samples. Relaxed, like cache->sampled_below, which is the higher one: who reads an older
     * one notes something in vain, or does not note it. Changed under `lock`. */
    _Atomic uint64_t curve_below;
    _Atomic uint64_t record_below; /* 0: nothing is recorded */

    pthread_mutex_t record_lock;       /* guards the next two; taken before `lock` */
    bool recording;                    /* from firn_record_start to firn_record_stop */
    uint64_t drained_ns;               /* when the file was last brought up to date */
    _Atomic(firn_recorder *) recorder; /* NULL: nothing was recorded yet; else it stays until the
                                          close, for threads may still be at it. Acquire, and
                                          released by who made it */
} firn_sampling;

#endif
