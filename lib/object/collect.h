/* The collector of circles: live values that hold each other, that no key leads to, and that nobody
 * else holds. Their counts alone would never come to 0.
 *
 * It works in rounds, and a round in pieces of any length, beside everything else that happens: it
 * stops nobody. Knows objects and what the domain lists; no cache, no tiers, and not when a round
 * is worth its while. */
#ifndef FIRN_OBJECT_COLLECT_H
#define FIRN_OBJECT_COLLECT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "object/domain.h"

typedef struct firn_candidate firn_candidate;

enum firn_collect_phase {
    FIRN_COLLECT_IDLE,
    FIRN_COLLECT_GATHER,
    FIRN_COLLECT_MAKE_PLACES,
    FIRN_COLLECT_INDEX,
    FIRN_COLLECT_COUNT,
    FIRN_COLLECT_JUDGE,
    FIRN_COLLECT_FREEZE,
    FIRN_COLLECT_CHECK,
    FIRN_COLLECT_SEAL,
    FIRN_COLLECT_DROP,
    FIRN_COLLECT_RELEASE,
    FIRN_COLLECT_CLEAR,
};

typedef struct firn_collector {
    firn_domain *domain; /* lent; immutable; NULL: not there */

    /* Guards the rest but the statistics, and marks in the domain's lists. Held over each piece of
     * work, functions that drop values included: whatever such a function may call does not wait
     * for it. */
    pthread_mutex_t lock;
    enum firn_collect_phase phase;
    bool asked;        /* the round was begun for somebody who waits for it */
    int failed;        /* the round is given up: why */
    unsigned list;     /* GATHER: the domain's */
    uint32_t position; /* of what the phase goes through */
    firn_holder_mark mark;

    /* Those of this round; each with a reference. */
    firn_candidate **chunks;
    uint32_t chunk_count;
    uint32_t chunk_room;
    uint32_t count;
    uint32_t **pages; /* of places by address: a candidate's number and 1; 0: free */
    uint32_t page_count;
    uint32_t page_room;
    uint64_t place_count; /* a power of two */
    uint32_t alive;    /* the first of those that were found alive and not visited since, and 1 */
    uint32_t *watched; /* numbers of the frozen that weak references know */
    uint32_t watched_count;
    uint32_t watched_room;

    /* Since it was made. Written under the lock, read by anybody, relaxed. */
    _Atomic uint64_t rounds;
    _Atomic uint64_t candidates;
    _Atomic uint64_t objects;
    _Atomic uint64_t bytes;
    _Atomic uint64_t longest_ns; /* of a piece of work that was to take FIRN_COLLECT_PIECE_NS */
} firn_collector;

#define FIRN_COLLECT_PIECE_NS UINT64_C(1000000)

/* FIRN_OK or FIRN_ENOMEM. */
int firn_collector_init(firn_collector *collector, firn_domain *domain);
/* Gives up what it is at. One that was never made is ignored. */
void firn_collector_fini(firn_collector *collector);

/* Works for about that long, at least a piece; UINT64_MAX: until a round is done that began after
 * the call. FIRN_OK: a round is done that was begun by this function; FIRN_AGAIN; FIRN_ENOMEM: the
 * round was given up. Not within a drop. */
int firn_collector_run(firn_collector *collector, uint64_t budget_ns);
/* The same for whoever does not wait: a piece of a round, if nobody else is at it. FIRN_OK: there
 * is no more of it. */
int firn_collector_step(firn_collector *collector);
/* A round is under way. */
bool firn_collector_busy(firn_collector *collector);
/* Whole rounds until one finds nothing. */
void firn_collector_finish(firn_collector *collector);

#endif
