/* See flights.h. */
#include "tier/flights.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "observe/counters.h"

enum { SPARES_MAX = 16 }; /* flights that a stripe keeps for later */

static struct firn_flight_stripe *stripe_of(firn_flights *flights, uint64_t hash) {
    return &flights->stripes[(hash >> 24) % FIRN_FLIGHT_STRIPES];
}

int firn_flights_init(firn_flights *flights, firn_heap *heap, uint64_t seed) {
    flights->heap = heap;
    atomic_init(&flights->active, 0);
    atomic_init(&flights->number, 1);
    atomic_init(&flights->random, seed);
    atomic_init(&flights->clearing, 0);
    flights->waits = NULL;
    int failed = pthread_mutex_init(&flights->wait_lock, NULL);
    for (unsigned i = 0; i < FIRN_FLIGHT_STRIPES; i++) {
        flights->stripes[i].flights = flights->stripes[i].spares = NULL;
        flights->stripes[i].spare_count = 0;
        failed |= pthread_mutex_init(&flights->stripes[i].lock, NULL);
    }
    return failed;
}

static void free_flight(firn_flights *flights, firn_flight *flight) {
    pthread_cond_destroy(&flight->end);
    firn_heap_free(flights->heap, flight, sizeof *flight);
}

void firn_flights_fini(firn_flights *flights) {
    for (unsigned i = 0; i < FIRN_FLIGHT_STRIPES; i++) {
        struct firn_flight_stripe *stripe = &flights->stripes[i];
        while (stripe->spares != NULL) {
            firn_flight *flight = stripe->spares;
            stripe->spares = flight->next;
            free_flight(flights, flight);
        }
        pthread_mutex_destroy(&stripe->lock);
    }
    pthread_mutex_destroy(&flights->wait_lock);
}

/* One that was used before, or a new one. The stripe is locked. */
static firn_flight *make_locked(firn_flights *flights, struct firn_flight_stripe *stripe) {
    firn_flight *flight = stripe->spares;
    if (flight != NULL) {
        stripe->spares = flight->next;
        stripe->spare_count--;
        return flight;
    }
    flight = firn_heap_alloc(flights->heap, sizeof *flight);
    if (flight == NULL) {
        return NULL;
    }
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    int failed = pthread_cond_init(&flight->end, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (failed != 0) {
        firn_heap_free(flights->heap, flight, sizeof *flight);
        return NULL;
    }
    return flight;
}

static bool is_too_long(const firn_flight *flight, uint64_t now_ns) {
    return flight->timeout_ns != 0 && !flight->queued &&
           now_ns - flight->began_ns >= flight->timeout_ns;
}

/* It begins now, led by this thread. The stripe and the shard are locked, or it was queued. */
static void begin(firn_flights *flights, firn_flight *flight, uint64_t version, uint64_t now_ns) {
    atomic_store_explicit(&flight->leader, firn_thread_name(), memory_order_relaxed);
    flight->number = atomic_fetch_add_explicit(&flights->number, 1, memory_order_relaxed);
    flight->version = version;
    flight->began_ns = now_ns;
    flight->queued = false;
}

firn_flight *firn_flights_enter_locked(firn_flights *flights, uint64_t hash, const void *key,
                                       size_t key_size, uint64_t version, uint64_t timeout_ns,
                                       bool must, enum firn_flight_role *role) {
    struct firn_flight_stripe *stripe = stripe_of(flights, hash);
    uint64_t now_ns = firn_monotonic_ns();
    pthread_mutex_lock(&stripe->lock);
    firn_flight *flight = stripe->flights;
    for (; flight != NULL; flight = flight->next) {
        if (flight->hash != hash || flight->overtaken || firn_flight_is_changed(flight) ||
            flight->key_size != key_size || memcmp(flight->key, key, key_size) != 0) {
            continue;
        }
        if (!is_too_long(flight, now_ns)) {
            break;
        }
        flight->overtaken = true;
    }
    *role = FIRN_FLIGHT_PASSENGER;
    if (flight != NULL) {
        flight->refs++;
        if (flight->queued && must) {
            flight->key = key;
            flight->timeout_ns = timeout_ns;
            begin(flights, flight, version, now_ns);
            *role = FIRN_FLIGHT_LEADER;
        }
    } else if ((flight = make_locked(flights, stripe)) != NULL) {
        flight->hash = hash;
        flight->key = key;
        flight->key_size = key_size;
        flight->timeout_ns = timeout_ns;
        flight->refs = 1;
        flight->overtaken = false;
        flight->object = NULL;
        atomic_store_explicit(&flight->changed, false, memory_order_relaxed);
        atomic_store_explicit(&flight->ended, false, memory_order_relaxed);
        begin(flights, flight, version, now_ns);
        flight->next = stripe->flights;
        stripe->flights = flight;
        atomic_fetch_add_explicit(&flights->active, 1, memory_order_relaxed);
        *role = FIRN_FLIGHT_LEADER;
    }
    pthread_mutex_unlock(&stripe->lock);
    return flight;
}

bool firn_flights_queue(firn_flights *flights, firn_flight *flight, const void *key) {
    struct firn_flight_stripe *stripe = stripe_of(flights, flight->hash);
    pthread_mutex_lock(&stripe->lock);
    flight->queued = flight->refs == 1;
    bool queued = flight->queued;
    if (queued) {
        flight->key = key;
    }
    pthread_mutex_unlock(&stripe->lock);
    return queued;
}

bool firn_flights_start(firn_flights *flights, firn_flight *flight, uint64_t version) {
    struct firn_flight_stripe *stripe = stripe_of(flights, flight->hash);
    pthread_mutex_lock(&stripe->lock);
    bool started = flight->queued;
    if (started) {
        begin(flights, flight, version, firn_monotonic_ns());
    }
    pthread_mutex_unlock(&stripe->lock);
    return started;
}

/* Drops a reference; what the last one leaves goes to the spares. *gone: an object whose reference
 * the caller drops after the unlock. True: the flight is to be freed. */
static bool drop_locked(struct firn_flight_stripe *stripe, firn_flight *flight,
                        firn_object **gone) {
    *gone = NULL;
    if (--flight->refs > 0) {
        return false;
    }
    *gone = flight->object;
    if (stripe->spare_count >= SPARES_MAX) {
        return true;
    }
    flight->next = stripe->spares;
    stripe->spares = flight;
    stripe->spare_count++;
    return false;
}

void firn_flights_end(firn_flights *flights, firn_flight *flight, int result, firn_object *object) {
    struct firn_flight_stripe *stripe = stripe_of(flights, flight->hash);
    firn_object *gone;
    pthread_mutex_lock(&stripe->lock);
    firn_flight **at = &stripe->flights;
    while (*at != flight) {
        at = &(*at)->next;
    }
    *at = flight->next;
    flight->result = result;
    if (object != NULL && flight->refs > 1) {
        flight->object = firn_object_keep(object);
    }
    atomic_store_explicit(&flight->ended, true, memory_order_relaxed);
    pthread_cond_broadcast(&flight->end);
    bool unused = drop_locked(stripe, flight, &gone);
    pthread_mutex_unlock(&stripe->lock);
    atomic_fetch_sub_explicit(&flights->active, 1, memory_order_relaxed);
    if (unused) {
        free_flight(flights, flight);
    }
    firn_object_unref(gone);
}

void firn_flights_leave(firn_flights *flights, firn_flight *flight) {
    struct firn_flight_stripe *stripe = stripe_of(flights, flight->hash);
    firn_object *gone;
    pthread_mutex_lock(&stripe->lock);
    bool unused = drop_locked(stripe, flight, &gone);
    pthread_mutex_unlock(&stripe->lock);
    if (unused) {
        free_flight(flights, flight);
    }
    firn_object_unref(gone);
}

/* Whether a thread that has noted its wait is where the flight's end leads to in the end: each
 * flight waits for its leader, who may have noted a wait for another. wait_lock is held. Whoever is
 * on the way has not ended, so it cannot come undone but by a time that is over. */
static bool leads_to_locked(const firn_flights *flights, const firn_flight *flight,
                            uint64_t thread) {
    const firn_flight_wait *wait;
    do {
        if (atomic_load_explicit(&flight->ended, memory_order_relaxed)) {
            return false;
        }
        uint64_t leader = atomic_load_explicit(&flight->leader, memory_order_relaxed);
        if (leader == thread) {
            return true;
        }
        wait = flights->waits;
        while (wait != NULL && wait->thread != leader) {
            wait = wait->next;
        }
        flight = wait != NULL ? wait->flight : NULL;
    } while (flight != NULL);
    return false;
}

/* False: it would never end. */
static bool note_wait(firn_flights *flights, firn_flight_wait *wait) {
    pthread_mutex_lock(&flights->wait_lock);
    bool possible = !leads_to_locked(flights, wait->flight, wait->thread);
    if (possible) {
        wait->next = flights->waits;
        flights->waits = wait;
    }
    pthread_mutex_unlock(&flights->wait_lock);
    return possible;
}

static void forget_wait(firn_flights *flights, const firn_flight_wait *wait) {
    pthread_mutex_lock(&flights->wait_lock);
    firn_flight_wait **at = &flights->waits;
    while (*at != wait) {
        at = &(*at)->next;
    }
    *at = wait->next;
    pthread_mutex_unlock(&flights->wait_lock);
}

static int wait_for(firn_flights *flights, firn_flight *flight, uint64_t until_ns) {
    struct firn_flight_stripe *stripe = stripe_of(flights, flight->hash);
    int result = FIRN_OK;
    pthread_mutex_lock(&stripe->lock);
    while (result == FIRN_OK && !atomic_load_explicit(&flight->ended, memory_order_relaxed)) {
        uint64_t now_ns = firn_monotonic_ns();
        uint64_t wake_ns = until_ns;
        if (flight->timeout_ns != 0 && flight->timeout_ns < UINT64_MAX - flight->began_ns &&
            flight->began_ns + flight->timeout_ns < wake_ns) {
            wake_ns = flight->began_ns + flight->timeout_ns;
        }
        if (flight->overtaken || is_too_long(flight, now_ns)) {
            result = FIRN_AGAIN;
        } else if (now_ns >= until_ns) {
            result = FIRN_ETIMEDOUT;
        } else if (wake_ns == UINT64_MAX) {
            pthread_cond_wait(&flight->end, &stripe->lock);
        } else {
            struct timespec wake = {.tv_sec = (time_t)(wake_ns / 1000000000u),
                                    .tv_nsec = (long)(wake_ns % 1000000000u)};
            pthread_cond_timedwait(&flight->end, &stripe->lock, &wake);
        }
    }
    pthread_mutex_unlock(&stripe->lock);
    return result;
}

int firn_flights_wait(firn_flights *flights, firn_flight *flight, uint64_t until_ns, bool nested) {
    if (!nested) {
        return wait_for(flights, flight, until_ns);
    }
    firn_flight_wait wait = {.thread = firn_thread_name(), .flight = flight};
    if (!note_wait(flights, &wait)) {
        return FIRN_EDEADLK;
    }
    int result = wait_for(flights, flight, until_ns);
    forget_wait(flights, &wait);
    return result;
}

void firn_flights_mark(firn_flights *flights, uint64_t hash, const firn_flight *by) {
    struct firn_flight_stripe *stripe = stripe_of(flights, hash);
    pthread_mutex_lock(&stripe->lock);
    for (firn_flight *flight = stripe->flights; flight != NULL; flight = flight->next) {
        if (flight->hash == hash && flight != by && (by == NULL || flight->number < by->number)) {
            atomic_store_explicit(&flight->changed, true, memory_order_relaxed);
        }
    }
    pthread_mutex_unlock(&stripe->lock);
}

void firn_flights_spoil(firn_flights *flights, firn_flight *flight) {
    struct firn_flight_stripe *stripe = stripe_of(flights, flight->hash);
    pthread_mutex_lock(&stripe->lock);
    atomic_store_explicit(&flight->changed, true, memory_order_relaxed);
    pthread_mutex_unlock(&stripe->lock);
}

/* A counter, each value of which is mixed (the finisher of SplitMix64). */
uint64_t firn_flights_random(firn_flights *flights) {
    uint64_t x = atomic_fetch_add_explicit(&flights->random, UINT64_C(0x9e3779b97f4a7c15),
                                           memory_order_relaxed);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}
