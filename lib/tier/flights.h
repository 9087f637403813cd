/* Loads in flight: who loads which key now, and who waits for it.
 *
 * A flight is entered under the lock of the key's shard in the hot table, and every change of an
 * entry marks the flights of its hash under the same lock. So a change comes either before a
 * flight, and what is loaded has seen it, or marks the flight, and what is loaded is not put. Of a
 * flight that was marked, or takes too long, nobody becomes a passenger any more: there may be
 * several of a key then, and what the later one puts the earlier one cannot overwrite.
 *
 * Knows hashes, keys and results; not what is loaded, nor how. Locks: a shard of the hot table may
 * be held when a stripe's is taken; a stripe's, and the one of the waits, call nobody. */
#ifndef FIRN_TIER_FLIGHTS_H
#define FIRN_TIER_FLIGHTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/heap.h"
#include "object/object.h"

enum { FIRN_FLIGHT_STRIPES = 32 };

typedef struct firn_flight {
    struct firn_flight *next; /* of the stripe, or of its spares; the stripe's lock, like all that
                                 follows unless it says otherwise */
    uint64_t hash;            /* immutable */
    const void *key;          /* lent by whoever leads it, until it ended */
    size_t key_size;
    _Atomic uint64_t leader; /* the thread's name; does not change while there are passengers.
                                Relaxed: read with wait_lock held too */
    uint64_t number;         /* of a key's flights the later one has the higher */
    uint64_t version;        /* the last that was given to an entry when it began */
    uint64_t began_ns;
    uint64_t timeout_ns; /* after which it may be overtaken; 0: never */
    unsigned refs;
    bool queued;         /* it has not begun */
    bool overtaken;      /* a later one began, for it took too long */
    atomic_bool changed; /* the entry was, since it began. Set under the stripe's lock and the
                            shard's, or by firn_flights_spoil under the stripe's. Relaxed */
    atomic_bool ended; /* set under the stripe's lock; relaxed: what has ended never begins again */
    int result;        /* when it ended */
    firn_object *object; /* a reference; NULL: none */
    pthread_cond_t end;  /* tells passengers */
} firn_flight;

/* A thread that leads a flight and waits for another. */
typedef struct firn_flight_wait {
    struct firn_flight_wait *next;
    uint64_t thread;
    const firn_flight *flight;
} firn_flight_wait;

typedef struct firn_flights {
    firn_heap *heap;           /* immutable */
    _Atomic uint64_t active;   /* flights. Relaxed: whom it concerns holds the lock of a shard */
    _Atomic uint64_t number;   /* next to give; relaxed, drawn with the shard locked */
    _Atomic uint64_t random;   /* state of firn_flights_random; relaxed */
    _Atomic unsigned clearing; /* clears under way, see firn_flights_clear_begin */
    pthread_mutex_t wait_lock; /* guards the next */
    firn_flight_wait *waits;
    struct firn_flight_stripe {
        _Alignas(64) pthread_mutex_t lock; /* guards the next three */
        firn_flight *flights;
        firn_flight *spares;
        unsigned spare_count;
    } stripes[FIRN_FLIGHT_STRIPES];
} firn_flights;

/* 0 or an errno. */
int firn_flights_init(firn_flights *flights, firn_heap *heap, uint64_t seed);
/* There is none any more. */
void firn_flights_fini(firn_flights *flights);

/* What somebody becomes who needs a key. */
enum firn_flight_role { FIRN_FLIGHT_LEADER, FIRN_FLIGHT_PASSENGER };

/* Finds the flight of a key, or begins one. The shard is locked. Either way the caller has a
 * reference.
 *
 * key         lent until the flight ended, if the caller leads it
 * version     the last that was given to an entry
 * timeout_ns  of a new one
 * must        one that is queued is taken over: the caller leads it
 *
 * NULL: no memory. */
firn_flight *firn_flights_enter_locked(firn_flights *flights, uint64_t hash, const void *key,
                                       size_t key_size, uint64_t version, uint64_t timeout_ns,
                                       bool must, enum firn_flight_role *role);
/* The leader lets it wait until somebody starts it; the key is lent by the queue then. False: it
 * has passengers already, who cannot be left to that. */
bool firn_flights_queue(firn_flights *flights, firn_flight *flight, const void *key);
/* The caller leads it, if it is queued still. False: somebody else took it over. */
bool firn_flights_start(firn_flights *flights, firn_flight *flight, uint64_t version);
/* The leader is done: hands the result to the passengers, and drops its reference. object: NULL, or
 * lent. */
void firn_flights_end(firn_flights *flights, firn_flight *flight, int result, firn_object *object);

/* Waits for the end of a flight. until_ns: monotonic; UINT64_MAX: for ever. nested: the caller
 * leads flights itself. FIRN_OK; FIRN_ETIMEDOUT; FIRN_AGAIN: it takes too long, and may be
 * overtaken; FIRN_EDEADLK: it would wait for the caller. */
int firn_flights_wait(firn_flights *flights, firn_flight *flight, uint64_t until_ns, bool nested);
/* Drops a reference that does not lead. */
void firn_flights_leave(firn_flights *flights, firn_flight *flight);

/* See firn_flights_change_locked. */
void firn_flights_mark(firn_flights *flights, uint64_t hash, const firn_flight *by);
/* The entry was changed, by the program (NULL) or by what a flight put: what earlier ones bring is
 * not to be put. The shard is locked. */
static inline void firn_flights_change_locked(firn_flights *flights, uint64_t hash,
                                              const firn_flight *by) {
    if (__builtin_expect(atomic_load_explicit(&flights->active, memory_order_relaxed) != 0, 0)) {
        firn_flights_mark(flights, hash, by);
    }
}
/* Nobody becomes a passenger of that flight any more, and what it brings is not to be put. */
void firn_flights_spoil(firn_flights *flights, firn_flight *flight);
static inline bool firn_flight_is_changed(const firn_flight *flight) {
    return atomic_load_explicit(&flight->changed, memory_order_relaxed);
}

/* Something is about to be cleared: its version is drawn after this, by a read-modify-write that
 * releases; and it can be found when this ends. Who draws a version by one that acquires, and then
 * finds no clear under way, can find every clear that has a lower version. */
static inline void firn_flights_clear_begin(firn_flights *flights) {
    atomic_fetch_add_explicit(&flights->clearing, 1, memory_order_relaxed);
}
static inline void firn_flights_clear_end(firn_flights *flights) {
    /* Release: the clear can be found. */
    atomic_fetch_sub_explicit(&flights->clearing, 1, memory_order_release);
}
static inline bool firn_flights_is_clearing(const firn_flights *flights) {
    return atomic_load_explicit(&flights->clearing, memory_order_acquire) != 0;
}

/* 64 bits that look random. */
uint64_t firn_flights_random(firn_flights *flights);

#endif
