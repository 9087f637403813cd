/* The store's directory: what lies in it, whether it is ours, and clearing it away.
 *
 * A store is a directory with a journal in it; see docs/format.md. Nothing here touches a file that
 * is not the store's. Knows file names, nothing of what the files hold but the journal's state. */
#ifndef FIRN_COLD_STORE_FILES_H
#define FIRN_COLD_STORE_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/detail.h"
#include "base/heap.h"

#define FIRN_DATA_FILE "data.mdb"

typedef enum firn_store_kind {
    FIRN_STORE_ABSENT,     /* there is nothing at the path */
    FIRN_STORE_EMPTY,      /* a directory a store may be made in */
    FIRN_STORE_UNFINISHED, /* a store whose making was broken off: holds nothing */
    FIRN_STORE_PRESENT     /* a store, sound or not */
} firn_store_kind;

/* Tells what is at a path, and changes nothing. FIRN_OK, FIRN_ENOTSTORE, FIRN_EIO, FIRN_ENOMEM. */
int firn_store_files_identify(const char *path, firn_store_kind *kind, firn_heap *heap,
                              firn_detail *detail);

/* Whether the data file is there. */
bool firn_store_files_has_data(const char *path, firn_heap *heap);

/* Whether the data file has this size and this time of its last change. */
bool firn_store_files_data_is(const char *path, uint64_t file_bytes, uint64_t mtime_ns,
                              firn_heap *heap);

/* Makes the directory; FIRN_OK also if it is there. */
int firn_store_files_make_directory(const char *path, firn_detail *detail);

/* Removes the store's files, all but the lock. The journal goes last, so that a directory is never
 * taken for another's. */
int firn_store_files_wipe(const char *path, firn_heap *heap, firn_detail *detail);

/* Moves the store's files, all but the lock, to the directory PATH.damaged, in place of what was
 * set aside there before. */
int firn_store_files_set_aside(const char *path, firn_heap *heap, firn_detail *detail);

#endif
