/* What stands below the library's upper layers in the explorer: a heap, a pool and a cold tier that
 * are begun anew for each run, always give the same, and tell what is done wrong with them.
 *
 * The pool and the heap make no stop of their own: what they do is their caller's. The cold tier
 * stops where its readers and its writer meet: a look-up, a line in the journal, the beginning of a
 * write and its commit are one step each. */
#ifndef FIRN_TESTS_DOUBLES_H
#define FIRN_TESTS_DOUBLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <firn/options.h>

/* Begins anew: all memory is free, all stores are empty. reuse: the pool gives blocks that were
 * freed out again, the last one first; else never. */
void doubles_reset(bool reuse);

firn_allocator doubles_allocator(void);
/* Bytes taken from the heap and blocks taken from the pool that were not given back. */
size_t doubles_heap_bytes(void);
size_t doubles_pool_blocks(void);

/* Lines that the cold tier's journal has. */
void doubles_set_journal(size_t lines);
/* The next write reclaims the record of the key's hash after its commit. */
void doubles_reclaim_next(uint64_t hash);
/* Writes fail from now on, or do not. */
void doubles_fail_writes(bool fail);
/* The value stored under the hash once the journal is applied; NULL: none. */
const void *doubles_stored(uint64_t hash, size_t *size);

#endif
