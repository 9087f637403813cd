/* Loading: an entry that is not there is got from where it comes from, once.
 *
 * firn_get_or_load gives an entry, and if there is none calls the program's loader for its value,
 * puts it and gives that. However many callers want the same key at the same time, one of them
 * loads and the others wait for it, or are given a value that is a little too old, if the loader
 * allows that.
 *
 *     static int load_page(void *context, const void *key, size_t key_size, firn_load *load) {
 *         ... fetch it from the slow source ...
 *         return firn_load_bytes(load, page, page_size);
 *     }
 *
 *     firn_loader loader = FIRN_LOADER_INIT;
 *     loader.load = load_page;
 *     loader.ttl_ms = 60000;
 *     int result = firn_get_or_load(cache, key, key_size, &loader, &object);
 *
 * A change of the entry by the program (a put, a delete, any of the atomic changes, a clear) during
 * a load wins: what is loaded is given to those who wait for it already, but not put, and who comes
 * after the change is not given it. Evictions, expiry and firn_touch are no changes.
 *
 * docs/loading.md tells what each option guarantees, and what callers get when.
 */
#ifndef FIRN_LOAD_H
#define FIRN_LOAD_H

#include <stddef.h>
#include <stdint.h>

#include <firn/cache.h>
#include <firn/error.h>
#include <firn/object.h>
#include <firn/options.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A load on its way: takes the value. Lent to the loader's functions, for the time of the call and
 * to its thread, unless they see to it that others use it one at a time. */
typedef struct firn_load firn_load;

/* Who reloads an entry that is still given to others meanwhile. */
enum {
    FIRN_REFRESH_CALLER = 0,    /* the caller who met it, who waits for the new value */
    FIRN_REFRESH_BACKGROUND = 1 /* a thread of the cache that is started for it, or firn_run if the
                                   cache was opened with threads = 0; the caller is given what
                                   there is. When 64 wait already, as FIRN_REFRESH_CALLER */
};

/* How entries are loaded. The functions are called with no lock of the cache held, and may call the
 * cache, but not firn_close. Zeros are the defaults: one load in flight a key, others wait without
 * a bound, nothing stale or negative is kept. */
typedef struct firn_loader {
    size_t size; /* sizeof(firn_loader) */

    /* Loads a value: gives it to `load` and returns FIRN_OK. FIRN_NOT_FOUND: the source has none. A
     * negative number: it failed, and this is what callers get: one of firn's, or one of the
     * program's own, FIRN_EUSER or below. It must return. */
    int (*load)(void *context, const void *key, size_t key_size, firn_load *load);

    /* Loads many: the value of keys[i] goes to loads[i]; a load that is given nothing is
     * FIRN_NOT_FOUND, or see firn_load_fail. Not FIRN_OK: that is what those get that were given
     * nothing. NULL: firn_get_or_load_many calls `load` for each, one after the other. If `load` is
     * NULL, this is called for single keys too. */
    int (*load_many)(void *context, size_t count, const firn_key *keys, firn_load *const *loads);

    void *context; /* handed to the functions */

    uint64_t ttl_ms; /* how long a value is fresh, from when it is given to the load; 0: the cache's
                        default; FIRN_TTL_NONE: for ever */
    uint64_t negative_ttl_ms; /* so long it is remembered that the source has none: FIRN_NOT_FOUND
                                 without a load. 0: that is not remembered */
    uint64_t stale_ms; /* so long after its freshness a value is given to others while one loads. 0:
                          they wait */
    uint64_t stale_if_error_ms; /* so long after its freshness a value is given if the load fails,
                                   or is not done in time */
    uint64_t refresh_ahead_ms;  /* so long before the end of its freshness an entry that is hit is
                                   loaded anew, while others are given what there is. 0: not. Less
                                   than ttl_ms, or else every hit loads */
    double beta; /* not 0: an entry is loaded anew before its freshness ends by chance, the likelier
                    the nearer that is and the longer the last load took, so that several processes
                    do not all load at the same time. 1 is a good choice, more is earlier. Not
                    negative */
    uint64_t (*random)(void *context); /* 64 random bits for beta; safe from any thread. NULL: the
                                          cache's own */
    uint64_t wait_ms;         /* so long one waits for another's load, at the most, by the system's
                                 monotonic clock; 0: without a bound */
    uint64_t load_timeout_ms; /* after which another caller may load beside one that is not done,
                                 by the same clock. What comes late is not put over what was put by
                                 the later load. 0: never */
    unsigned refresh;         /* FIRN_REFRESH_...: for stale_ms, refresh_ahead_ms and beta. In the
                                 background: the functions and the context must stay valid until
                                 firn_close, which drops what has not begun and waits for one that
                                 has; else until the call returns */
} firn_loader;

#define FIRN_LOADER_INIT                                                                           \
    { sizeof(firn_loader), NULL, NULL, NULL, 0, 0, 0, 0, 0, 0.0, NULL, 0, 0, FIRN_REFRESH_CALLER }

/* Gets the entry's object, loading it if need be.
 *
 * loader  lent for the call, what it points to as told at firn_loader.refresh
 * object  where the object goes, NULL unless FIRN_OK or FIRN_STALE is returned. The caller owns one
 *         reference and drops it with firn_object_unref.
 *
 * FIRN_OK         a fresh value. One that was loaded is given also if it could not be kept: because
 *                 of a change meanwhile, because no tier can hold it, or for want of memory or disk
 *                 (firn_last_message tells), or because the cache is read-only
 * FIRN_STALE      stale_ms or stale_if_error_ms: the value is past its freshness. With neither set
 *                 it is never returned
 * FIRN_NOT_FOUND  the source has none, or had none within negative_ttl_ms
 * FIRN_ETIMEDOUT  wait_ms is over
 * FIRN_EDEADLK    called by a loader for a key that its own thread loads, or would wait for a load
 *                 that waits for it. Waits that go by way of threads of the program's own are not
 *                 seen: wait_ms ends those
 * FIRN_EINVAL     the loader makes no sense, or returned FIRN_OK without a value
 * FIRN_ETYPE, FIRN_ETOOLARGE  as firn_get, of an entry that is there
 * FIRN_ENOMEM
 * what the loader returned
 *
 * In firn_stats it counts as one get: a hit if a fresh entry was there, else a miss. */
FIRN_API FIRN_NODISCARD int firn_get_or_load(firn_cache *cache, const void *key, size_t key_size,
                                             const firn_loader *loader, firn_object **object);

/* Gets many. What is there is given; the rest is loaded with one call of load_many; what others
 * load already is waited for after that, so that two batches never wait for each other.
 *
 * count    keys, objects and results; may be 0. A key may be there more than once.
 * objects  where the objects go, in the order of the keys: NULL for a key that has none. The caller
 *          owns one reference to each, also when an error is returned.
 * results  may be NULL; what firn_get_or_load would return for each
 *
 * FIRN_OK, also when some were stale or not found; else the first error of a key, in their order,
 * or FIRN_ENOMEM: nothing was done. */
FIRN_API FIRN_NODISCARD int firn_get_or_load_many(firn_cache *cache, size_t count,
                                                  const firn_key *keys, const firn_loader *loader,
                                                  firn_object **objects, int *results);

/* The following are for use in a loader's functions, with the load they are given. */

/* The options the value will be put with, for the loader to change before it gives the value: from
 * the loader ttl_ms and stale_ms (the longer one of stale_ms and stale_if_error_ms), else all
 * defaults. cost_us of 0: what the load takes, and a share of it for each key of a load of many.
 * What they point to is read when the value is given. Lent for the call. */
FIRN_API firn_put_options *firn_load_options(firn_load *load);

/* Where the value goes, to be filled in before the function returns: size bytes, aligned to 16, not
 * zeroed, except for a type's. It becomes the entry's without a copy. What was given before is
 * forgotten. What the value of a type holds is the loader's to release if the load fails after
 * this, or another value is given.
 *
 * NULL: the options make no sense, or there is no memory; the load fails with that, and may return
 * FIRN_OK. */
FIRN_API void *firn_load_value(firn_load *load, size_t size);

/* Gives a copy of the value. value may be NULL when value_size is 0. FIRN_OK, or why not, which may
 * be returned: FIRN_EINVAL, FIRN_ETYPE, FIRN_ENOMEM. */
FIRN_API int firn_load_bytes(firn_load *load, const void *value, size_t value_size);

/* Says that this load failed, for a load of many. error: as of `load`, FIRN_NOT_FOUND or negative.
 * What was given is forgotten. Returns error. */
FIRN_API int firn_load_fail(firn_load *load, int error);

/* What there is of the entry, though stale, or soon to be: to ask the source only whether it has
 * changed. NULL: nothing. Lent for the call. */
FIRN_API firn_object *firn_load_present(const firn_load *load);

#ifdef __cplusplus
}
#endif

#endif
