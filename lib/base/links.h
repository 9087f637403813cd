/* The links of one entry as bytes: the form in which an object has them, and its record on disk.
 *
 *     for each: u8 kind, varint version of the target, varint key size, key
 *
 * A block of them does not change once it is made, and is counted, for an object may get another
 * while somebody reads it. Knows nothing of what links mean. */
#ifndef FIRN_BASE_LINKS_H
#define FIRN_BASE_LINKS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <firn/link.h>

#include "base/heap.h"

typedef struct firn_links {
    _Atomic uint32_t refs; /* relaxed up, acquire-release down */
    uint32_t count;
    size_t size; /* bytes */
    unsigned char bytes[];
} firn_links;

/* The kind of a link that no program sees: to the entry that holds the value, which the graph takes
 * for one that keeps. See tier/intern.c. */
enum { FIRN_LINKS_BODY = 3 };

/* NULL: no memory. */
firn_links *firn_links_new(firn_heap *heap, const firn_link *links, size_t count);
/* Of bytes that firn_links_count took for good. NULL: no memory. */
firn_links *firn_links_from(firn_heap *heap, const void *bytes, size_t size);
firn_links *firn_links_ref(firn_links *links);
/* NULL is ignored. */
void firn_links_unref(firn_links *links, firn_heap *heap);

/* How many links the bytes hold; SIZE_MAX: they are not well-formed. */
size_t firn_links_count(const void *bytes, size_t size);
/* The next one, from *at on, which moves on. False: there is no other. The key is lent from the
 * bytes, which are well-formed. */
bool firn_links_next(const void *bytes, size_t size, size_t *at, firn_link *link);

#endif
