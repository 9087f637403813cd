/* The file firn.links: what the graph of links was at a clean close, so that the next open need not
 * look through all records to know it again; or a mark that it has to.
 *
 * The file is tied to the store by its id. Where there is none, no record has links or is owned. It
 * says `dirty` before the first such record is written, and `whole` only while nobody has the store
 * open for writing. Format: see links_file.c and docs/format.md. Knows a directory and bytes, and
 * nothing of what is in a graph. */
#ifndef FIRN_COLD_LINKS_FILE_H
#define FIRN_COLD_LINKS_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/detail.h"
#include "base/heap.h"

#define FIRN_LINKS_FILE "firn.links"

typedef enum firn_links_state {
    FIRN_LINKS_DIRTY = 1, /* there are links, and the records have to be looked through */
    FIRN_LINKS_WHOLE = 2, /* its body tells them all */
} firn_links_state;

typedef struct firn_links_writer firn_links_writer;
typedef struct firn_links_reader firn_links_reader;

/* What the header says; the body is not looked at.
 *
 * FIRN_OK. FIRN_NOT_FOUND: there is no such file. FIRN_ECORRUPT: damaged, of another store or of
 * another format: to be taken for dirty. FIRN_ENOMEM, FIRN_EIO. */
int firn_links_file_read_state(const char *directory, uint64_t store_id, firn_links_state *state,
                               firn_heap *heap);
/* Puts a file that says `dirty` in place of what there is, synced. FIRN_OK, FIRN_ENOMEM, or, with
 * words in detail, FIRN_EIO, FIRN_ENOSPC, FIRN_EREADONLY. */
int firn_links_file_mark_dirty(const char *directory, uint64_t store_id, firn_heap *heap,
                               firn_detail *detail);

/* Begins to write a whole file. Nothing changes before the finish. heap and detail are lent until
 * then; detail may be NULL. Takes 64 KiB of memory. Results as of firn_links_file_mark_dirty;
 * *writer is NULL after an error. */
int firn_links_writer_open(firn_links_writer **writer, const char *directory, uint64_t store_id,
                           firn_heap *heap, firn_detail *detail);
/* Adds to the body. An error is kept and returned by the finish. */
void firn_links_writer_append(firn_links_writer *writer, const void *bytes, size_t size);
/* Puts the file in place of the old one, synced, and releases the writer. Results as of
 * firn_links_file_mark_dirty; after an error the old file stays, and nothing untrue is there. */
int firn_links_writer_finish(firn_links_writer *writer);
/* Gives it up: the old file stays. NULL is ignored. */
void firn_links_writer_cancel(firn_links_writer *writer);

/* Opens a whole file for reading. The body is read once through, and its checksum looked at, before
 * anything is given of it. Takes 64 KiB of memory. *reader is NULL after an error.
 *
 * FIRN_OK. FIRN_AGAIN: it says `dirty`. All others as of firn_links_file_read_state. */
int firn_links_reader_open(firn_links_reader **reader, const char *directory, uint64_t store_id,
                           firn_heap *heap);
/* The next size bytes of the body. FIRN_OK. FIRN_NOT_FOUND: the body ends here. FIRN_ECORRUPT: it
 * ends in the midst of them. FIRN_EIO. Unless FIRN_OK is returned, bytes is not to be looked at. */
int firn_links_reader_read(firn_links_reader *reader, void *bytes, size_t size);
/* NULL is ignored. */
void firn_links_reader_close(firn_links_reader *reader);

#endif
