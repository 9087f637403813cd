/* Where the tables of all shards get their buckets: segments of one size, which go from table to
 * table, but back to the system only when all tables are gone. That is what lets a reader without a
 * lock look into a segment that its table gave up a moment ago.
 *
 * Segments of all shards share large blocks, so that a large tier's table lies in few pages. Knows
 * nothing of what is in a segment but that its first word may be used while it is free. */
#ifndef FIRN_HOT_SEGMENTS_H
#define FIRN_HOT_SEGMENTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/heap.h"

enum { FIRN_SEGMENT_BYTES = 4096 };

typedef struct firn_segments_block firn_segments_block;

typedef struct firn_segments {
    firn_heap *heap; /* lent; immutable, like the next */
    size_t block_bytes;
    pthread_mutex_t lock; /* guards the rest; taken while a shard is locked */
    void *free;           /* linked by their first words */
    firn_segments_block *blocks;
} firn_segments;

/* capacity: bytes of the tier, for the size of the blocks. 0 or an errno. */
int firn_segments_init(firn_segments *segments, firn_heap *heap, uint64_t capacity);
void firn_segments_fini(firn_segments *segments);

/* A segment whose contents are whatever the last user left; new ones are zero but for the first
 * word. NULL: no memory. */
void *firn_segments_take(firn_segments *segments);
void firn_segments_give(firn_segments *segments, void *segment);

#endif
