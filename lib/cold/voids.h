/* What a process that was killed had declared void and not yet removed from the store: for each
 * hash the version below which nothing stored counts. Made once, from the journal, and then only
 * read, by any thread. Knows 64-bit numbers, nothing of files or records. */
#ifndef FIRN_COLD_VOIDS_H
#define FIRN_COLD_VOIDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/heap.h"

typedef struct firn_voids firn_voids;

/* With room for `most` hashes. The heap is lent for its life. NULL: no memory. */
firn_voids *firn_voids_new(firn_heap *heap, size_t most);
/* NULL is ignored. */
void firn_voids_free(firn_voids *voids);

/* Of several versions of a hash the highest counts. version is not 0. */
void firn_voids_add(firn_voids *voids, uint64_t hash, uint64_t version);

/* What is stored of the hash counts from this version on; 0: all of it does. */
uint64_t firn_voids_below(const firn_voids *voids, uint64_t hash);

#endif
