/* Loads as the rest of the cache sees them: those that wait to be done in the background.
 *
 * Knows the program's loaders and flights; nothing of tiers. */
#ifndef FIRN_TIER_LOAD_H
#define FIRN_TIER_LOAD_H

#include <pthread.h>
#include <stdbool.h>

#include <firn/load.h>

#include "tier/flights.h"

enum { FIRN_REFRESHES_MAX = 64 }; /* that wait */

struct firn_refresh;

typedef struct firn_refresher {
    pthread_mutex_t lock; /* guards all that follows */
    pthread_cond_t wake;
    struct firn_refresh *first; /* of those that wait */
    struct firn_refresh *last;
    unsigned count;
    bool stop;
    bool thread_runs;
    pthread_t thread;
} firn_refresher;

/* load_refresh.c. 0 or an errno. */
int firn_refresher_init(firn_refresher *refresher);
void firn_refresher_fini(firn_refresher *refresher);
/* Leaves a flight that the caller leads to the background. False: it is the caller's still. */
/* version: of the entry it is for. */
bool firn_refresh_later(firn_cache *cache, const firn_loader *loader, firn_flight *flight,
                        uint64_t version);
/* Does one that waits on this thread. False: none does. No lock is held. */
bool firn_refresh_step(firn_cache *cache);
/* Drops what waits, and waits for what is being done. */
void firn_refresh_stop(firn_cache *cache);

/* load.c: the last version that was given to an entry. What is loaded from then on has seen all
 * that came before the clears up to it. */
uint64_t firn_load_version(const firn_cache *cache);
/* Whether what a flight brings, with such traits, was cleared since it began, or may be. NULL:
 * there is no value, or it is not known yet. */
bool firn_load_is_cleared(const firn_cache *cache, const firn_flight *flight, const void *key,
                          size_t key_size, const struct firn_traits *traits);
/* load.c: loads for a flight that the caller leads, unless the entry has another version, and ends
 * it. */
void firn_load_for(firn_cache *cache, const firn_loader *loader, firn_flight *flight,
                   uint64_t version);

#endif
