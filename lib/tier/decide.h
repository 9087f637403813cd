/* Where decisions about entries are told: to the table of the last ones, to the probes, and to the
 * program's listener, which is called when no lock is held.
 *
 * Whoever decides calls firn_decide or firn_decide_of, one line, whatever locks it holds. A
 * function that is about to return to the program, without locks, calls firn_tell. Knows nothing of
 * why something is decided. */
#ifndef FIRN_TIER_DECIDE_H
#define FIRN_TIER_DECIDE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <firn/observe.h>

#include "observe/decisions.h"

struct firn_cache;
struct firn_object;
struct firn_untold;

typedef struct firn_deciding {
    firn_decisions *last; /* immutable */
    bool listens;         /* immutable: there is a listener, and what follows is in use */

    pthread_mutex_t lock; /* guards the next four; calls nobody */
    struct firn_untold *untold;
    size_t count;
    size_t capacity;
    bool telling;          /* somebody calls the listener, and will tell of all there is */
    _Atomic size_t queued; /* count, written under the lock, for a look without it; relaxed: who
                              misses one of another thread's leaves it to that thread */
    _Atomic uint64_t lost; /* notices that found no place; relaxed */
} firn_deciding;

/* FIRN_OK or FIRN_ENOMEM. The heap, options and counters of the cache are set. */
int firn_deciding_init(struct firn_cache *cache);
/* Nobody else uses the cache. What was not told is forgotten. */
void firn_deciding_fini(struct firn_cache *cache);

/* Notes a decision; kind, reason and detail are as in firn/observe.h. May be called with any lock
 * held. version 0: it is not known; hash 0: of no entry alone. */
void firn_decide(struct firn_cache *cache, uint64_t hash, uint64_t version, unsigned kind,
                 unsigned reason, uint64_t detail);
/* The same where the object is at hand, so that the listener learns key and sizes. */
void firn_decide_of(struct firn_cache *cache, uint64_t hash, struct firn_object *object,
                    unsigned kind, unsigned reason, uint64_t detail);
/* What it means that a record was read with that result, if it means anything; true: it cannot be
 * read, which is noted. */
bool firn_decide_unreadable(struct firn_cache *cache, uint64_t hash, int result);

/* An entry was found expired, or cleared, and goes. */
void firn_decide_over(struct firn_cache *cache, uint64_t hash, struct firn_object *object,
                      bool cleared);

/* Calls the listener with what waits for it, unless the thread is within something that must not
 * be disturbed: then a later call does it. No lock is held that firn_lock does not know of. */
void firn_tell(struct firn_cache *cache);

#endif
