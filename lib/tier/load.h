/* Loading, by its parts: what a loader makes of an entry, what it is handed for a key, and loads
 * that wait to be done in the background. Knows the program's loaders and flights; nothing of
 * tiers. */
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

/* What there is of an entry, for a loader. */
enum firn_presence {
    FIRN_ABSENT,      /* nothing that may be given */
    FIRN_FRESH,       /* as it should be */
    FIRN_WANING,      /* fresh, and to be loaded anew */
    FIRN_AGED,        /* may be given while somebody loads */
    FIRN_LAST_RESORT, /* may be given if the load fails */
    FIRN_NEGATIVE,    /* it is known that there is no value */
};

/* load_judge.c: what an object is for a loader, by now and, with beta, by chance. */
enum firn_presence firn_load_judge(firn_cache *cache, const firn_loader *loader,
                                   const firn_object *object);
/* False: a fresh one is FIRN_FRESH, and nothing else. */
bool firn_load_may_wane(const firn_loader *loader, const firn_object *object);
/* Fills *full from what the program gave. FIRN_OK or FIRN_EINVAL. */
int firn_loader_read(firn_cache *cache, const firn_loader *given, firn_loader *full);

/* One key on its way to its value. */
struct firn_load {
    firn_cache *cache;
    const void *key;
    size_t key_size;
    firn_put_options options;
    bool cost_given;      /* by the loader, with the value */
    int error;            /* why it has no value; FIRN_OK: it was given none */
    firn_object *object;  /* the value; a reference */
    firn_object *present; /* lent */
};

/* load_value.c: key and present are lent until the loader returned. */
void firn_load_init(firn_load *load, firn_cache *cache, const firn_loader *loader, const void *key,
                    size_t key_size, firn_object *present);
/* What came of it. returned: by the loader; many: by load_many. FIRN_OK: it has a value;
 * FIRN_NOT_FOUND; or an error. */
int firn_load_outcome(firn_load *load, int returned, bool many);
/* Takes the value's object, with the reference, and what it cost written into it; NULL: none. */
firn_object *firn_load_take(firn_load *load, uint64_t cost_ns);

/* load_refresh.c. 0 or an errno. */
int firn_refresher_init(firn_refresher *refresher);
void firn_refresher_fini(firn_refresher *refresher);
/* Leaves a flight that the caller leads to the background. False: it is the caller's still.
 * version: of the entry it is for. */
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
