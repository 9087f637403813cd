/* The cache: open, close, put, get, delete, and the atomic changes.
 *
 * Unless a comment says otherwise, a function may be called from any thread at any time between
 * firn_open and firn_close, also at the same time as any other; firn_close must be the last call
 * on its cache. A process that forks must not use the cache in the child.
 *
 * Errors that every function may return are not repeated below: FIRN_EINVAL for a NULL cache, a
 * NULL pointer that must be given, or an empty key; FIRN_ETOOLARGE for a key above
 * FIRN_KEY_SIZE_MAX. firn_last_message tells more about the last error of a cache.
 */
#ifndef FIRN_CACHE_H
#define FIRN_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include <firn/error.h>
#include <firn/object.h>
#include <firn/options.h>
#include <firn/stats.h>
#include <firn/type.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct firn_cache firn_cache;

/* Opens a cache, making the store if there is none.
 *
 * cache    where the handle goes; NULL after an error. Release it with firn_close.
 * path     the store's directory, made if its parent exists; NULL: memory only.
 * options  NULL: all defaults.
 *
 * What was hot when the store was last closed comes back in the background; no call waits for it.
 *
 * FIRN_EINVAL     an option makes no sense (error_buffer says which)
 * FIRN_EBUSY      another handle, here or in another process, has the store open for writing; or this
 *                 process has it open at all, or one that has the same pid in another container
 * FIRN_ENOTSTORE  the path is a file, or a directory that holds other things; nothing is touched
 * FIRN_EVERSION   the store's format or byte order is not this library's
 * FIRN_ECORRUPT   the store's log or journal is damaged (see set_aside_damaged); nothing is
 *                 touched. A damaged index is no error: it is made anew from the log.
 * FIRN_EREADONLY  the path cannot be written to: open it read_only
 * FIRN_NOT_FOUND  read_only, and there is no store at path
 * FIRN_ENOMEM, FIRN_ENOSPC, FIRN_EIO
 */
FIRN_API FIRN_NODISCARD int firn_open(firn_cache **cache, const char *path,
                                      const firn_options *options);

/* Demotes what is hot and not yet on disk, records what was hot, syncs, stops the thread and frees
 * the cache. Objects the caller still holds stay valid. NULL is ignored. The handle is gone
 * whatever the result: an error says that entries could not be written, which loses those entries
 * and nothing else.
 *
 * FIRN_ENOSPC, FIRN_EIO, FIRN_ENOMEM, FIRN_ECORRUPT */
FIRN_API int firn_close(firn_cache *cache);

/* Writes every entry that is only in memory to the cold tier and syncs it to the device. What was
 * put before the call is safe from power loss when it returns FIRN_OK. Puts may go on meanwhile.
 * FIRN_OK at once without a cold tier.
 *
 * FIRN_EREADONLY, FIRN_ENOSPC, FIRN_EIO, FIRN_ENOMEM, FIRN_ECORRUPT: nothing is lost; what is in
 * memory stays there and can be flushed again. */
FIRN_API FIRN_NODISCARD int firn_flush(firn_cache *cache);

/* Puts a copy of the value under the key, in place of any before.
 *
 * key, key_size      1 to FIRN_KEY_SIZE_MAX bytes, any bytes
 * value, value_size  0 bytes and up; value may be NULL when value_size is 0
 * options            NULL: all defaults
 *
 * A value too large for the hot tier is written straight to the cold tier.
 *
 * FIRN_ETOOLARGE  no tier can hold it; the old value, if there was one, is kept
 * FIRN_CONFLICT   options->links: what the value depends on has changed (see firn/link.h)
 * FIRN_ETYPE      options->type is not registered
 * FIRN_EREADONLY
 * FIRN_ENOMEM     the old value, if there was one, is kept
 * FIRN_ENOSPC, FIRN_EIO, FIRN_ECORRUPT
 *                 the memory bound is reached and the cold tier cannot take entries now: nothing
 *                 was changed. In write-through mode: the value is in memory, but not yet on
 *                 disk, and is tried again. For a value that goes straight down: it could not be
 *                 written, and the key may be gone; the old value never stays in its place. */
FIRN_API FIRN_NODISCARD int firn_put(firn_cache *cache, const void *key, size_t key_size,
                                     const void *value, size_t value_size,
                                     const firn_put_options *options);

/* Makes an object whose value the caller fills in place, to be put without a copy.
 *
 * key, key_size  1 to FIRN_KEY_SIZE_MAX bytes, copied
 * value_size     bytes of the value, 0 and up. Not zeroed, except for a type's
 * options        NULL: all defaults; the lifetime counts from now
 * object         where it goes; NULL unless FIRN_OK is returned. The caller owns one reference.
 *                firn_object_value tells where the value goes; firn_put_object puts it. If it is
 * not put, dropping the reference frees it; what the value of a type holds then is the caller's to
 * release before.
 *
 * Until it is put the object counts in detached_bytes, not in the budget.
 *
 * FIRN_ETYPE   options->type is not registered
 * FIRN_ENOMEM */
FIRN_API FIRN_NODISCARD int firn_object_new(firn_cache *cache, const void *key, size_t key_size,
                                            size_t value_size, const firn_put_options *options,
                                            firn_object **object);

/* Puts an object that firn_object_new made, in place of any entry of its key. The caller keeps its
 * reference, and must not change the value any more. What the value of a type holds is the
 * object's from now on, unless an error is returned (but in write-through mode, where an object
 * that could not be written is in memory all the same: firn_object_value gives NULL then).
 *
 * FIRN_EINVAL  not from firn_object_new of this cache, or put before
 * All others as firn_put */
FIRN_API FIRN_NODISCARD int firn_put_object(firn_cache *cache, firn_object *object);

/* Gets the entry's object.
 *
 * object  where the object goes, NULL unless FIRN_OK is returned. The caller owns one reference
 *         and drops it with firn_object_unref.
 *
 * FIRN_NOT_FOUND  no such entry, it has expired, or its record is damaged (which is counted)
 * FIRN_ETOOLARGE  the value was written as a stream and is too large for memory: firn_reader_open
 *                 reads it. So it is with all functions that look at a value
 * FIRN_ETYPE      the value is of a type that is not registered, or of a newer version of it: it
 *                 stays where it is. Functions that want bytes give it for a value of any type
 * FIRN_ENOMEM, FIRN_EIO */
FIRN_API FIRN_NODISCARD int firn_get(firn_cache *cache, const void *key, size_t key_size,
                                     firn_object **object);

/* A key of a batch: 1 to FIRN_KEY_SIZE_MAX bytes. */
typedef struct firn_key {
    const void *data;
    size_t size;
} firn_key;

/* Gets many entries. It brings the memory of several entries on its way at once, so that a batch of
 * 16 costs much less than 16 gets of entries that no cache of the processor holds. What the hot
 * tier does not have is read below together, in the order in which it lies there.
 *
 * count    keys and objects; may be 0
 * objects  where the objects go, in the order of the keys: NULL for a key without an entry. The
 *          caller owns one reference to each, also when an error is returned.
 * found    may be NULL; how many there were
 *
 * FIRN_OK also when none was found.
 * FIRN_ENOMEM, FIRN_EIO: at least one key could not be looked up; the others were */
FIRN_API FIRN_NODISCARD int firn_get_many(firn_cache *cache, size_t count, const firn_key *keys,
                                          firn_object **objects, size_t *found);

/* Copies the entry's value into a buffer of the caller.
 *
 * buffer, capacity  where to, and its size in bytes; buffer may be NULL when capacity is 0
 * value_size        may be NULL; the value's size on FIRN_OK and FIRN_EBUFFER, 0 else
 *
 * FIRN_NOT_FOUND  as firn_get
 * FIRN_EBUFFER    the value is larger than capacity: nothing is copied
 * FIRN_ENOMEM, FIRN_EIO */
FIRN_API FIRN_NODISCARD int firn_get_copy(firn_cache *cache, const void *key, size_t key_size,
                                          void *buffer, size_t capacity, size_t *value_size);

/* Whether there is an entry, in either tier: FIRN_OK or FIRN_NOT_FOUND. Neither promotes nor
 * counts as a hit, and does not read the value, so a record damaged in its value is found.
 *
 * FIRN_ENOMEM, FIRN_EIO */
FIRN_API FIRN_NODISCARD int firn_contains(firn_cache *cache, const void *key, size_t key_size);

/* The atomic changes. Each takes effect at one instant: between what it looked at and what it did,
 * no other change of the entry comes. (Except for a value so large that it goes straight to the
 * cold tier: there its condition holds at the start only.) Otherwise all is as with firn_put, and
 * so are the errors. */

/* Puts the value if there is no entry. FIRN_EXISTS: there is one, and nothing was changed. */
FIRN_API FIRN_NODISCARD int firn_add(firn_cache *cache, const void *key, size_t key_size,
                                     const void *value, size_t value_size,
                                     const firn_put_options *options);

/* Puts the value if there is an entry. FIRN_NOT_FOUND: there is none, and nothing was changed. */
FIRN_API FIRN_NODISCARD int firn_replace(firn_cache *cache, const void *key, size_t key_size,
                                         const void *value, size_t value_size,
                                         const firn_put_options *options);

/* Puts the value if the entry is still the one that was seen.
 *
 * expected  the version of the object that was got: firn_object_version
 * version   may be NULL; the new entry's version, 0 unless FIRN_OK is returned
 *
 * FIRN_CONFLICT   the entry has another version: get it again
 * FIRN_NOT_FOUND  there is no entry any more */
FIRN_API FIRN_NODISCARD int firn_compare_and_swap(firn_cache *cache, const void *key,
                                                  size_t key_size, uint64_t expected,
                                                  const void *value, size_t value_size,
                                                  const firn_put_options *options,
                                                  uint64_t *version);

/* Adds to a number. Its value is the 8 bytes of an int64_t in the machine's byte order, so that
 * firn_get_copy into an int64_t reads it; sums wrap round.
 *
 * by       what is added; may be negative
 * initial  what the entry becomes if there is none; `by` is not added then
 * options  NULL: an entry that is there keeps its expiry
 * value    may be NULL; the number afterwards, 0 after an error
 *
 * FIRN_EINVAL  there is an entry, and its value is not of 8 bytes */
FIRN_API FIRN_NODISCARD int firn_increment(firn_cache *cache, const void *key, size_t key_size,
                                           int64_t by, int64_t initial,
                                           const firn_put_options *options, int64_t *value);

/* Gives the entry a new lifetime, counted from now, and counts as a hit.
 *
 * ttl_ms  milliseconds; 0: the cache's default; FIRN_TTL_NONE: never expires
 *
 * The value stays, but the entry may get a new version: one that is in the cold tier is written
 * there again. FIRN_NOT_FOUND: there is no entry. */
FIRN_API FIRN_NODISCARD int firn_touch(firn_cache *cache, const void *key, size_t key_size,
                                       uint64_t ttl_ms);

/* firn_get and firn_touch in one. The object is the one that was found, and may still have the
 * expiry and the version from before. object as for firn_get; NULL: the same as firn_touch. */
FIRN_API FIRN_NODISCARD int firn_get_and_touch(firn_cache *cache, const void *key, size_t key_size,
                                               uint64_t ttl_ms, firn_object **object);

/* Deletes the entry from both tiers. FIRN_OK if there was one, FIRN_NOT_FOUND if not.
 *
 * FIRN_EREADONLY
 * FIRN_ENOMEM, FIRN_ENOSPC, FIRN_EIO, FIRN_ECORRUPT: the entry is still there */
FIRN_API int firn_delete(firn_cache *cache, const void *key, size_t key_size);

/* Pins an entry: brings it up if need be, and keeps it in the hot tier until it was unpinned as
 * often. A pin belongs to the entry: overwriting it pins the new value, if that fits into memory.
 * Deleting or expiring it ends all its pins, and so does firn_close. What is pinned counts in the
 * budget, of which pins may take three quarters.
 *
 * object  may be NULL; else as for firn_get
 *
 * FIRN_NOT_FOUND  no such entry
 * FIRN_ENOSPC     the pins would take too much of hot_bytes: raise it, or unpin others
 * FIRN_ETOOLARGE  the entry has 65,535 pins, or was written as a stream and is too large
 * FIRN_EREADONLY
 * FIRN_ETYPE, FIRN_ENOMEM, FIRN_EIO */
FIRN_API FIRN_NODISCARD int firn_pin(firn_cache *cache, const void *key, size_t key_size,
                                     firn_object **object);

/* Takes one pin off. FIRN_NOT_FOUND: the entry has none. */
FIRN_API int firn_unpin(firn_cache *cache, const void *key, size_t key_size);

/* Changes options.hot_bytes while the cache is in use. When it grows, nothing happens at once; when
 * it shrinks, what is too much is evicted before the call returns, which for a lot of memory takes
 * a while, but keeps nobody else from working. With a cold tier, demotion may go on after it.
 *
 * FIRN_EINVAL  below the least that firn_open takes, or the cache was opened with 0
 * FIRN_EREADONLY */
FIRN_API FIRN_NODISCARD int firn_set_hot_bytes(firn_cache *cache, uint64_t hot_bytes);

/* Does background work on the calling thread: demotion, warm-up, write-behind, syncing, collecting
 * circles. For caches
 * opened with threads = 0, where it should be called regularly; harmless with threads.
 *
 * budget_ms  stop after about this many milliseconds; one batch is always done
 *
 * FIRN_OK         nothing is left to do now
 * FIRN_AGAIN      work is left
 * FIRN_ENOSPC, FIRN_EIO, FIRN_ENOMEM, FIRN_ECORRUPT: entries wait in memory, and are tried again */
FIRN_API int firn_run(firn_cache *cache, uint64_t budget_ms);

/* What firn_collect did since firn_open, in the background too. Entries that were deleted because
 * their links went in a circle are in firn_stats.circles. */
typedef struct firn_collect_stats {
    size_t size;                   /* sizeof(firn_collect_stats) */
    uint64_t rounds;               /* that were done */
    uint64_t candidates;           /* values that were looked at */
    uint64_t objects;              /* whose values were dropped */
    uint64_t bytes;                /* that those took */
    uint64_t longest_step_us;      /* a step is to take a millisecond, but one function of a type is
                                      never interrupted */
    uint64_t link_rounds;          /* rounds through the links */
    uint64_t longest_link_step_us; /* the graph of links is locked that long */
} firn_collect_stats;

#define FIRN_COLLECT_STATS_INIT                                                                    \
    { sizeof(firn_collect_stats), 0, 0, 0, 0, 0, 0, 0 }

/* Drops values that hold each other in circles (see firn_type.visit), that left the cache by
 * eviction, overwrite or delete, and that nobody else holds. It stops nobody: others go on in the
 * midst of it. And deletes owned entries that only keep each other by links (see firn/link.h), in
 * both tiers. It is done in the background too, so that a program seldom needs to call it; and by
 * firn_close, for the circles that are in the cache then.
 *
 * budget_us  stop after about this many microseconds; at least one step of up to a millisecond is
 *            done. UINT64_MAX: a whole round, from its beginning
 * stats      may be NULL; stats->size must hold its size on entry (see FIRN_COLLECT_STATS_INIT)
 *
 * Not while the caller holds a lock that a function which drops a value may want.
 *
 * FIRN_OK      a whole round is done: what was garbage when it began is gone
 * FIRN_AGAIN   it is not done yet: call again
 * FIRN_EBUSY   called by a function that drops a value
 * FIRN_ENOMEM  the round was given up, and nothing was dropped */
FIRN_API int firn_collect(firn_cache *cache, uint64_t budget_us, firn_collect_stats *stats);

/* Fills *stats; stats->size must hold sizeof(firn_stats) on entry (see FIRN_STATS_INIT). Each
 * counter is exact, but the counters are not read at one instant. */
FIRN_API int firn_get_stats(firn_cache *cache, firn_stats *stats);

/* Copies the detail of the cache's most recent error (or notable event of the open, such as a store
 * set aside) into buffer, cut to capacity and always terminated. Returns the full length in bytes
 * without the terminator; 0: there was none. The message is per cache, not per thread. */
FIRN_API size_t firn_last_message(firn_cache *cache, char *buffer, size_t capacity);

#ifdef __cplusplus
}
#endif

#endif
