/* The allocator of one cache: the user's functions or the C library's, behind a reference count.
 *
 * Objects may outlive the cache that made them, so each object refers to its heap, and the heap
 * lives until the last of them is gone. Knows nothing of what is allocated. */
#ifndef FIRN_BASE_HEAP_H
#define FIRN_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <firn/options.h>

typedef struct firn_heap firn_heap;

/* NULL when there is no memory. allocator may be NULL or hold NULL functions: the C library. */
firn_heap *firn_heap_new(const firn_allocator *allocator);
firn_heap *firn_heap_ref(firn_heap *heap);
void firn_heap_unref(firn_heap *heap);

/* NULL when there is no memory. size must not be 0. Safe from any thread. */
void *firn_heap_alloc(firn_heap *heap, size_t size);
void *firn_heap_zalloc(firn_heap *heap, size_t size);
/* size: what was asked for. memory may be NULL. */
void firn_heap_free(firn_heap *heap, void *memory, size_t size);
/* Zeroed and aligned to a cache line, for what threads share. */
void *firn_heap_alloc_lines(firn_heap *heap, size_t size);
void firn_heap_free_lines(firn_heap *heap, void *memory, size_t size);
/* The same for memory of a power of two of bytes, aligned to its size: from the user's allocator by
 * asking for twice as much, else from the system, so that it goes back there when it is freed. Not
 * zeroed if it is the user's. huge: the system is asked for pages of FIRN_HEAP_HUGE, which spare
 * the processor most of its translations of addresses, but are there as a whole once they are
 * touched. */
#define FIRN_HEAP_HUGE ((size_t)2 << 20)
void *firn_heap_alloc_aligned(firn_heap *heap, size_t size, bool huge);
void firn_heap_free_aligned(firn_heap *heap, void *memory, size_t size);
/* Zeroed memory of a power of two of bytes, for a table that is used all over: in huge pages if it
 * is large enough for them and the system's. */
void *firn_heap_alloc_table(firn_heap *heap, size_t size);
void firn_heap_free_table(firn_heap *heap, void *memory, size_t size);
/* Zeroed memory of which the most will not be used: from the system, so that only the pages that
 * are touched are there, or the user's allocator. Aligned to a cache line. */
void *firn_heap_alloc_sparse(firn_heap *heap, size_t size);
void firn_heap_free_sparse(firn_heap *heap, void *memory, size_t size);
/* True: memory comes from functions of the user's. */
bool firn_heap_is_users(const firn_heap *heap);
/* A terminated copy; free with firn_heap_free(heap, copy, strlen(copy) + 1). */
char *firn_heap_strdup(firn_heap *heap, const char *text);

#endif
