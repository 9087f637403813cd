/* The file firn.curve of a store: the estimated hit-ratio curve as it was last, for whoever looks
 * into the store, and the state of the estimate, so that it goes on after a restart. It is replaced
 * as a whole; a damaged one is as good as none. Knows no cache. */
#ifndef FIRN_OBSERVE_CURVE_FILE_H
#define FIRN_OBSERVE_CURVE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include <firn/curve.h>

#include "base/heap.h"

#define FIRN_CURVE_FILE "firn.curve"

typedef struct firn_shards firn_shards;

/* The bytes of the file, to be freed with the heap; NULL: no memory. *size: how many were made, of
 * *room that the memory has. */
unsigned char *firn_curve_file_make(uint64_t store_id, const firn_curve *curve,
                                    const firn_shards *shards, firn_heap *heap, size_t *size,
                                    size_t *room);
/* Puts them in place. FIRN_OK, or what kept it from that. */
int firn_curve_file_write(const char *directory, const unsigned char *bytes, size_t size,
                          firn_heap *heap);
/* What the file says. curve may be NULL, and so may shards, which is new. FIRN_OK; FIRN_NOT_FOUND:
 * there is none, or it is damaged or another store's; FIRN_ENOMEM, FIRN_EIO. */
int firn_curve_file_read(const char *directory, uint64_t store_id, firn_curve *curve,
                         firn_shards *shards, firn_heap *heap);

#endif
