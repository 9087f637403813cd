/* See segments.h. */
#include "hot/segments.h"

#include <stdbool.h>
#include <string.h>

struct firn_segments_block {
    firn_segments_block *next;
    unsigned char *memory;
};

enum { BLOCK_MIN = 4 * FIRN_SEGMENT_BYTES };

int firn_segments_init(firn_segments *segments, firn_heap *heap, uint64_t capacity) {
    *segments = (firn_segments){.heap = heap, .block_bytes = BLOCK_MIN};
    /* A block is about a thousandth of the tier, and so perhaps a hundredth of the table. */
    while (segments->block_bytes < FIRN_HEAP_HUGE && segments->block_bytes < capacity / 32) {
        segments->block_bytes *= 2;
    }
    return pthread_mutex_init(&segments->lock, NULL);
}

void firn_segments_fini(firn_segments *segments) {
    while (segments->blocks != NULL) {
        firn_segments_block *block = segments->blocks;
        segments->blocks = block->next;
        firn_heap_free_aligned(segments->heap, block->memory, segments->block_bytes);
        firn_heap_free(segments->heap, block, sizeof *block);
    }
    pthread_mutex_destroy(&segments->lock);
}

/* The first word of a segment: a reader that is late may be reading it. Relaxed: it believes
 * nothing of what it reads. */
static _Atomic uint64_t *first_word(void *segment) {
    return segment;
}

static void push(firn_segments *segments, void *segment) {
    atomic_store_explicit(first_word(segment), (uint64_t)(uintptr_t)segments->free,
                          memory_order_relaxed);
    segments->free = segment;
}

static bool add_block(firn_segments *segments) {
    firn_segments_block *block = firn_heap_alloc(segments->heap, sizeof *block);
    unsigned char *memory = firn_heap_alloc_aligned(segments->heap, segments->block_bytes,
                                                    segments->block_bytes == FIRN_HEAP_HUGE);
    if (block == NULL || memory == NULL) {
        firn_heap_free(segments->heap, block, sizeof *block);
        firn_heap_free_aligned(segments->heap, memory, segments->block_bytes);
        return false;
    }
    memset(memory, 0, segments->block_bytes);
    *block = (firn_segments_block){segments->blocks, memory};
    segments->blocks = block;
    for (size_t at = segments->block_bytes; at > 0; at -= FIRN_SEGMENT_BYTES) {
        push(segments, memory + at - FIRN_SEGMENT_BYTES);
    }
    return true;
}

void *firn_segments_take(firn_segments *segments) {
    void *segment = NULL;
    pthread_mutex_lock(&segments->lock);
    if (segments->free != NULL || add_block(segments)) {
        segment = segments->free;
        segments->free =
            (void *)(uintptr_t)atomic_load_explicit(first_word(segment), memory_order_relaxed);
    }
    pthread_mutex_unlock(&segments->lock);
    return segment;
}

void firn_segments_give(firn_segments *segments, void *segment) {
    pthread_mutex_lock(&segments->lock);
    push(segments, segment);
    pthread_mutex_unlock(&segments->lock);
}
