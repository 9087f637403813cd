/* The filter's file: what the filter of a store knew at a clean close, so that the next open need
 * not walk the whole index to know it again.
 *
 * Written as a stream, and read in steps beside requests and changes. The file is tied to the store
 * by its id, and to the state of the store by a generation, any number that tells one state from
 * every later one. A file that is damaged, or of another store or state, is ignored: the filter is
 * built anew then. Format: see filter_file.c. Knows a directory and the filter, and nothing of
 * entries or records. */
#ifndef FIRN_COLD_FILTER_FILE_H
#define FIRN_COLD_FILTER_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/detail.h"
#include "base/filter.h"
#include "base/heap.h"

typedef struct firn_filter_file firn_filter_file;

/* [writer of the filter] Puts what the filter knows in place of the old file at once (rename),
 * synced. After an error the old file is gone too: it would no longer be true. Takes 64 KiB of
 * memory for as long as it runs.
 *
 * FIRN_OK; FIRN_NOT_FOUND: the filter knows nothing, there is no file now; FIRN_ENOMEM, FIRN_EIO,
 * FIRN_ENOSPC, FIRN_EREADONLY, the last three with words in detail. */
int firn_filter_file_save(const firn_filter *filter, const char *directory, uint64_t store_id,
                          uint64_t generation, firn_heap *heap, firn_detail *detail);

/* [writer of the filter] Opens the file and begins to load it into the filter, which from now on
 * remembers the changes it is told: to be called before the first. Reads the header only. filter
 * and heap are lent until the close.
 *
 * FIRN_OK. FIRN_NOT_FOUND: there is none. FIRN_ECORRUPT: damaged, or of another store or
 * generation. FIRN_ENOMEM, FIRN_EIO. *file is NULL after an error, and the filter is as it was. */
int firn_filter_file_open(firn_filter_file **file, const char *directory, uint64_t store_id,
                          uint64_t generation, firn_filter *filter, firn_heap *heap);
/* [writer of the filter] Loads about the next bytes_max bytes.
 *
 * FIRN_AGAIN: more is left. FIRN_OK: it was whole, and the filter knows it from now on.
 * FIRN_ECORRUPT, FIRN_EIO; FIRN_ENOMEM, FIRN_ENOSPC: the changes meanwhile could not be remembered,
 * or have no place. After an error it is given up, and the filter to be built anew. Only the close
 * is to be called after any answer but FIRN_AGAIN. */
int firn_filter_file_load(firn_filter_file *file, size_t bytes_max);
/* [writer of the filter] Releases it; a loading that was not finished is given up. file may be
 * NULL. */
void firn_filter_file_close(firn_filter_file *file);

/* Removes the file: what it tells is about to become untrue. FIRN_OK, also if there is none;
 * FIRN_ENOMEM, FIRN_EIO, FIRN_EREADONLY. */
int firn_filter_file_remove(const char *directory, firn_heap *heap);

#endif
