/* The warm list: the hashes of what was hot at close, most valuable first, in a file of the store.
 *
 * Written as a stream, so that a close needs no memory for it; read in parts, and checked
 * after the open, which costs nothing. A damaged list is ignored: it only makes the restart colder.
 * Format: docs/format.md. Knows a directory and 64-bit numbers, and nothing of entries or tiers. */
#ifndef FIRN_COLD_WARM_LIST_H
#define FIRN_COLD_WARM_LIST_H

#include <stddef.h>
#include <stdint.h>

#include "base/detail.h"
#include "base/heap.h"

typedef struct firn_warm_writer firn_warm_writer;
typedef struct firn_warm_list firn_warm_list;

/* store_id ties the list to its store. FIRN_OK, FIRN_ENOMEM, FIRN_EIO, FIRN_ENOSPC, FIRN_EREADONLY.
 */
int firn_warm_writer_open(firn_warm_writer **writer, const char *directory, uint64_t store_id,
                          firn_heap *heap, firn_detail *detail);
/* Adds one hash. An error is kept and returned by the end. */
void firn_warm_writer_add(firn_warm_writer *writer, uint64_t hash);
/* Puts the list in place of the old one at once (rename), synced, and releases the writer. On an
 * error the old list is gone too: it would no longer be true. writer must not be NULL. */
int firn_warm_writer_finish(firn_warm_writer *writer);

/* Opens the list for reading. FIRN_OK; FIRN_NOT_FOUND: none; FIRN_ECORRUPT: damaged, or of another
 * store; FIRN_ENOMEM, FIRN_EIO. Checks the header only: O(1). */
int firn_warm_list_open(firn_warm_list **list, const char *directory, uint64_t store_id,
                        firn_heap *heap);
uint64_t firn_warm_list_count(const firn_warm_list *list);
/* FIRN_OK or FIRN_ECORRUPT; reads all of the list. To be called once, before the first
 * firn_warm_list_at. */
int firn_warm_list_check(firn_warm_list *list);
/* Number index < count. */
uint64_t firn_warm_list_at(firn_warm_list *list, uint64_t index);
void firn_warm_list_close(firn_warm_list *list);

#endif
