/* Cursors: a walk over the entries of a cache, in both tiers.
 *
 * A cursor is lazy: each call finds one entry. Between two calls it holds no lock, no transaction
 * and no record of the store, so a program may take its time; puts, deletes, demotion and reclaim
 * go on meanwhile. What is promised:
 *
 * - An entry that is there when the cursor is opened is given exactly once, if it is neither
 *   overwritten, deleted, expired nor lost (evicted from a cache in memory, reclaimed, damaged)
 *   before its turn; that it moves from tier to tier, or is written once more, makes no difference.
 * - An entry that is put or overwritten meanwhile is given once or not at all. No key is given
 *   twice, whatever happens to it.
 * - What is given is the entry as of some moment during the walk, and not older than the open: what
 *   was deleted or overwritten before the open is never seen.
 * - The order is none that a program could rely on.
 * - The walk counts no gets and no hits, promotes nothing, and does not change what is evicted or
 *   reclaimed next.
 *
 * A cursor takes 8 bytes an entry of one shard of the hot tier (while the list of them is made, up
 * to three times as much), 8 bytes for each entry whose record is reclaimed below while it is in
 * that shard, and 64 KiB; not in hot_bytes. A value belongs to who gets it.
 *
 * A value that was written as a stream (firn/stream.h) and is too large for memory is given with
 * its key alone, and an empty value. Its pieces are no entries.
 *
 * A prefix is compared before a value is decoded, but every record is looked at: the walk takes as
 * long as one over all entries, but for the decoding. Records are visited in the order of their
 * keys' hashes, not in that in which they lie on disk.
 *
 * A cursor is used by one thread at a time; several cursors may be open on one cache. All are to be
 * closed before firn_close.
 */
#ifndef FIRN_CURSOR_H
#define FIRN_CURSOR_H

#include <stddef.h>

#include <firn/cache.h>
#include <firn/error.h>
#include <firn/object.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct firn_cursor firn_cursor;

/* Flags of firn_cursor_open. */
enum {
    FIRN_CURSOR_KEYS = 1 /* objects with an empty value: values are neither decoded nor copied */
};

/* Opens a cursor on a cache of any kind: in memory, with a store, or read-only.
 *
 * prefix, prefix_size  only entries whose key begins with these bytes are given; copied. prefix may
 *                      be NULL when prefix_size is 0: all entries
 * flags                FIRN_CURSOR_..., or 0
 * cursor               where it goes; NULL after an error. Release it with firn_cursor_close.
 *
 * Safe from any thread. FIRN_EINVAL: a flag that is none; FIRN_ETOOLARGE: a prefix above
 * FIRN_KEY_SIZE_MAX; FIRN_ENOMEM */
FIRN_API FIRN_NODISCARD int firn_cursor_open(firn_cache *cache, const void *prefix,
                                             size_t prefix_size, unsigned flags,
                                             firn_cursor **cursor);

/* Gives the next entry.
 *
 * object  where it goes, with one reference that the caller drops by firn_object_unref; NULL unless
 *         FIRN_OK is returned. Its key, version and expiry are the entry's.
 *
 * FIRN_NOT_FOUND  the end; so is every further call
 * FIRN_ENOMEM, FIRN_EIO, FIRN_ECORRUPT
 *                 the next call goes on; an entry that could not be read is passed over. A record
 *                 that is damaged is passed over too, and counted, without an error */
FIRN_API FIRN_NODISCARD int firn_cursor_next(firn_cursor *cursor, firn_object **object);

/* Releases the cursor. NULL is ignored. Objects it gave stay valid. */
FIRN_API void firn_cursor_close(firn_cursor *cursor);

#ifdef __cplusplus
}
#endif

#endif
