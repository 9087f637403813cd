/* Links: entries that keep others, and entries that depend on others.
 *
 * An entry may have links to others, which it names by their keys; they belong to its value, are
 * stored with it and hold over restarts. A target need not be there: it is looked for when it
 * matters.
 *
 * FIRN_LINK_KEEPS: as long as the holder lives, in either tier, its target is not reclaimed or
 * evicted for room: a manifest and its chunks. Where no room can be made otherwise, both go.
 * Deleting the target by its key deletes it all the same.
 *
 * FIRN_LINK_DEPENDS: the holder becomes invalid when its target is overwritten, deleted or expires:
 * a result and what it was computed from. It goes over any number of links, also to entries that
 * sleep on disk, and is done when the call that changed the target returns FIRN_OK; of a put with a
 * type, also when there is memory and disk to delete with. An error may mean that the target was
 * changed, and what depends on it could not be deleted yet; every later call tries again. That the
 * target is evicted or reclaimed changes nothing.
 *
 * An entry that is put with `owned` set lives only as long as others keep it: when the last link
 * that keeps it goes, with its holder or by firn_link_remove, it is deleted from both tiers. Until
 * its first link it is like any other. Owned entries that keep each other in a circle, and that
 * nothing else keeps, are found and deleted by firn_collect, and in the background of a cache with
 * a store.
 *
 * Links take memory beside hot_bytes, also those of entries on disk: about 25 bytes each, and 70
 * for each entry that has or is the target of one.
 */
#ifndef FIRN_LINK_H
#define FIRN_LINK_H

#include <stddef.h>
#include <stdint.h>

#include <firn/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct firn_cache;
struct firn_object;

enum { FIRN_LINK_KEEPS = 1, FIRN_LINK_DEPENDS = 2 };

/* The most links of one entry, and the most bytes that they may take with their keys. */
#define FIRN_LINKS_MAX      65535
#define FIRN_LINK_BYTES_MAX ((size_t)1 << 20)

/* One link, of the entry that has it. */
typedef struct firn_link {
    unsigned kind;   /* FIRN_LINK_... */
    const void *key; /* of the target; 1 to FIRN_KEY_SIZE_MAX bytes */
    size_t key_size;
    uint64_t version; /* FIRN_LINK_DEPENDS: the version of the target that the holder's value was
                         made from, firn_object_version; if the target has another by the time of
                         the put, that fails with FIRN_CONFLICT, so that nothing stale is put. 0:
                         whatever is there at the time of the put. In a listing: the version then */
} firn_link;

/* Gives an entry one more link; of one that is there already nothing changes. The entry may get a
 * new version. Links of a new value are best given with it: firn_put_options.
 *
 * key, key_size  the holder
 *
 * FIRN_NOT_FOUND  no such entry
 * FIRN_CONFLICT   link->version is not the target's
 * FIRN_ETOOLARGE  too many links, or too long
 * FIRN_EINVAL     the kind is unknown, or there is no key
 * All others as firn_put */
FIRN_API FIRN_NODISCARD int firn_link_add(struct firn_cache *cache, const void *key,
                                          size_t key_size, const firn_link *link);

/* Takes a link away again; kind and target tell which. FIRN_NOT_FOUND: no such entry, or it has no
 * such link. All others as firn_link_add. */
FIRN_API FIRN_NODISCARD int firn_link_remove(struct firn_cache *cache, const void *key,
                                             size_t key_size, const firn_link *link);

/* Calls each for every link of an object, in the order in which they were given, until it returns
 * something else than 0, which is then returned. The link's key is lent for the call. Returns 0
 * after all. Of a live entry, links that are added or removed later show in its new object, or in
 * the same. Safe from any thread. */
FIRN_API int firn_object_links(struct firn_object *object,
                               int (*each)(void *context, const firn_link *link), void *context);

#ifdef __cplusplus
}
#endif

#endif
