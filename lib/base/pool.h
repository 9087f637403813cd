/* The pool that a cache's objects come from: blocks by size class, with little waste, and memory
 * that goes back to the system.
 *
 *     up to a slab's eighth   slabs of one class each: slots side by side, no header a block.
 * Classes are 16 bytes apart up to 2 KiB, then a sixteenth of their size. up to 256 KiB runs of 512
 * bytes in extents above                   a mapping of its own, of which some are kept for the
 * next
 *
 * What a block counts for, its charge, is the slot, run or mapping it takes. What is mapped beyond
 * the charges is slack: slots and runs that are free in slabs and extents that are not. When there
 * is too much of it, firn_pool_plan_drain picks the sparsest, and the pool's owner moves what is in
 * them, for only it knows who may be moved.
 *
 * Objects may outlive the cache: a closed pool goes when its last block does. Knows nothing of what
 * is in a block. */
#ifndef FIRN_BASE_POOL_H
#define FIRN_BASE_POOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/heap.h"

typedef struct firn_pool firn_pool;

/* NULL: no memory. budget_bytes: about what it is to hold, for the sizes of slabs and extents.
 * seed: kept for firn_pool_seed. */
firn_pool *firn_pool_new(firn_heap *heap, uint64_t budget_bytes, uint64_t seed);
/* The owner is done with it. NULL is ignored. */
void firn_pool_close(firn_pool *pool);
/* What lives as long as the pool does, for whoever meets a block: released by release(companion)
 * when the pool goes. Set once, before there are blocks. */
void firn_pool_set_companion(firn_pool *pool, void *companion, void (*release)(void *companion));
void *firn_pool_companion(const firn_pool *pool);

/* A block aligned to 16, below 2^48; at least 16 bytes are asked for. NULL: no memory. From any
 * thread. */
void *firn_pool_alloc(firn_pool *pool, size_t size);
/* size: what was asked for. From any thread, also after the pool was closed. */
void firn_pool_free(void *block, size_t size);

/* What a block of that size counts for, in bytes; SIZE_MAX if that overflows. */
size_t firn_pool_charge(const firn_pool *pool, size_t size);
/* The pool that the block is from. */
firn_pool *firn_pool_of(const void *block, size_t size);
uint64_t firn_pool_seed(const firn_pool *pool);

typedef struct firn_pool_stats {
    uint64_t charge_bytes; /* of all blocks */
    uint64_t mapped_bytes; /* taken from the heap for blocks */
    uint64_t blocks;
} firn_pool_stats;

/* Exact when nobody takes or gives blocks meanwhile. */
void firn_pool_get_stats(firn_pool *pool, firn_pool_stats *stats);

/* If more than slack_max bytes are slack, marks slabs and extents whose blocks fit into the holes
 * of others: no new blocks come from them until firn_pool_end_drain. True: there are such. */
bool firn_pool_plan_drain(firn_pool *pool, uint64_t slack_max);
/* True between the two. Cheap. */
bool firn_pool_draining(const firn_pool *pool);
/* The block lies in what is to be drained. Cheap, and only a hint: relaxed loads. */
bool firn_pool_should_move(const void *block, size_t size);
void firn_pool_end_drain(firn_pool *pool);

#endif
