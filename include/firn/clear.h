/* Clearing many entries at once: all, those whose keys have a prefix, those that have a tag.
 *
 * Keys that begin with the same bytes are a namespace: "user:17:name" and "user:17:mail" go when
 * "user:17:" is cleared. Tags are names that an entry is given when it is put:
 *
 *     const char *tags[] = {"product 4711", "front page"};
 *     firn_put_options options = FIRN_PUT_OPTIONS_INIT;
 *     options.tags = tags;
 *     options.tag_count = 2;
 *     firn_put(cache, key, key_size, page, page_size, &options);
 *     ...
 *     firn_invalidate_tag(cache, "product 4711");
 *
 * To clear takes as long for a million entries as for one: it is written down that older ones are
 * void, in memory and in the store. They are not found any more from the return of the call on,
 * also after kill -9 and a restart. Their memory comes back soon after, by a sweep in the
 * background (firn_run), their space on disk when it is needed; until then they are counted in
 * hot_entries and cold_entries. */
#ifndef FIRN_CLEAR_H
#define FIRN_CLEAR_H

#include <stddef.h>

#include <firn/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct firn_cache;

/* The longest prefix that can be cleared, in bytes. */
#define FIRN_PREFIX_SIZE_MAX ((size_t)63)

/* Clears every entry whose key begins with the prefix. Entries that links have to do with (see
 * firn/link.h) are looked at one by one, so that what depends on a cleared one goes too. Puts that
 * are under way at the same time may be cleared or not. A value being written by a firn_writer is,
 * when everything is.
 *
 * prefix       NULL, with 0: everything
 * prefix_size  bytes, up to FIRN_PREFIX_SIZE_MAX
 *
 * FIRN_EINVAL     a prefix that is too long
 * FIRN_EREADONLY
 * FIRN_ENOSPC     the store has no room for it, or there are more than 4,096 prefixes since
 *                 everything was cleared last
 * FIRN_EIO, FIRN_ENOMEM: nothing was cleared, nor is it by a restart, unless power is lost before
 * the next clear or flush; or, of entries with links, what depends on them may
 * be there still */
FIRN_API FIRN_NODISCARD int firn_clear(struct firn_cache *cache, const void *prefix,
                                       size_t prefix_size);

/* Clears every entry that has the tag.
 *
 * tag  at least one character
 *
 * Of more than 262,144 tags that were invalidated the older half is forgotten; then whatever has a
 * tag and is as old as they are is cleared too.
 *
 * FIRN_EINVAL     an empty tag
 * FIRN_EREADONLY, FIRN_ENOSPC, FIRN_EIO, FIRN_ENOMEM: as of firn_clear */
FIRN_API FIRN_NODISCARD int firn_invalidate_tag(struct firn_cache *cache, const char *tag);

#ifdef __cplusplus
}
#endif

#endif
