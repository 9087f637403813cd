/* The index on disk: an LMDB environment with
 *
 *     index     u64 key hash -> u64 place (MDB_INTEGERKEY)
 *     segments  u64 segment number -> firn_index_segment (MDB_INTEGERKEY)
 *     meta      name -> number
 *
 * It holds the state of the store as of a checkpoint. Knows hashes and numbers; not what a place
 * is, nor when a checkpoint is due. Functions marked [writer] are called by one thread at a time. A
 * reader is used by one thread at a time; all else is safe from any thread. */
#ifndef FIRN_COLD_INDEX_H
#define FIRN_COLD_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/detail.h"
#include "base/heap.h"
#include "cold/backend.h"
#include "cold/expiry.h"

typedef struct firn_index firn_index;
typedef struct firn_index_reader firn_index_reader;

typedef struct firn_index_segment {
    uint32_t slot;
    uint32_t live_count; /* records the index points to, or will after the next checkpoint */
    uint64_t live_bytes;
    firn_expiry expiry; /* of all records that were written to it */
} firn_index_segment;

/* What stands in meta. */
typedef struct firn_index_meta {
    firn_backend_meta store;
    uint64_t checkpoint; /* position of the log up to which the index knows it */
    uint64_t merging;    /* not 0: a checkpoint is under way, or was broken off: the index is ahead
                            for some hashes, and what segments say they hold is not */
} firn_index_meta;

typedef struct firn_index_usage {
    uint64_t entries;
    uint64_t live_bytes; /* pages in use */
    uint64_t file_bytes;
    uint32_t page_bytes;
} firn_index_usage;

/* See firn_backend_ops.check. */
int firn_index_check(const char *directory, bool thorough, firn_heap *heap, firn_detail *detail);

/* Puts a copy without free pages in place of the file, at once (rename), synced. Nobody may have it
 * open. Its transactions count from the beginning again. FIRN_OK; after an error the file is as it
 * was. */
int firn_index_pack(const char *directory, firn_heap *heap, firn_detail *detail);

/* limit_bytes: the file never grows above it. *index is NULL after an error. */
int firn_index_open(firn_index **index, const firn_backend_config *config, uint64_t limit_bytes);
void firn_index_close(firn_index *index);
int firn_index_fingerprint(firn_index *index, firn_fingerprint *fingerprint);
int firn_index_sync(firn_index *index);
/* Whether the file is as long as LMDB believes: a map of a file that was cut would end the process.
 * Looks once in some milliseconds, and so may be wrong for that long. */
bool firn_index_is_whole(firn_index *index);
uint64_t firn_index_file_bytes(const firn_index *index);
/* How many transactions were to be committed since the open. */
uint64_t firn_index_commits(const firn_index *index);
/* The number of the last transaction, of a writer in any process. Of a read-only handle. */
uint64_t firn_index_transaction(firn_index *index);

/* [writer] One transaction at a time; after an error but FIRN_NOT_FOUND it can only be aborted. A
 * failed commit ends it too. FIRN_BACKEND_FULL: the limit is reached. */
int firn_index_begin(firn_index *index);
int firn_index_commit(firn_index *index);
void firn_index_abort(firn_index *index);
int firn_index_put(firn_index *index, uint64_t hash, uint64_t place);
int firn_index_delete(firn_index *index, uint64_t hash); /* FIRN_OK also if there was none */
/* Takes away what `dead` says is dead of the entries from *from on, up to `to`, looking at no more
 * than `most`. *from: where to go on; *over: `to` was reached. */
int firn_index_sweep(firn_index *index, uint64_t *from, uint64_t to, size_t most, bool *over,
                     bool (*dead)(void *context, uint64_t hash, uint64_t place), void *context);
int firn_index_set_segment(firn_index *index, uint64_t number, const firn_index_segment *segment);
/* Takes away all segments below number. */
int firn_index_trim_segments(firn_index *index, uint64_t number);
int firn_index_set_meta(firn_index *index, const firn_index_meta *meta);
int firn_index_clear(firn_index *index); /* index and segments */
/* Between transactions. True: no reader of this or another process keeps old pages from reuse, or
 * none did after at most max_ms. */
bool firn_index_wait_readers(firn_index *index, unsigned max_ms);

int firn_index_reader_new(firn_index *index, firn_index_reader **reader);
void firn_index_reader_free(firn_index_reader *reader);
/* Between the two the reader sees one state; what it gives out is lent. To be kept short. */
int firn_index_read_begin(firn_index_reader *reader);
void firn_index_read_end(firn_index_reader *reader);
/* FIRN_OK, FIRN_NOT_FOUND or an error, these four. */
int firn_index_get(firn_index_reader *reader, uint64_t hash, uint64_t *place);
int firn_index_next(firn_index_reader *reader, uint64_t from, uint64_t *hash, uint64_t *place);
/* Up to `most` hashes from one on, ascending; fewer when these are all. */
int firn_index_walk(firn_index_reader *reader, uint64_t from, uint64_t *hashes, size_t most,
                    size_t *count);
/* Gives the place of each entry. */
int firn_index_each(firn_index_reader *reader, void (*each)(void *context, uint64_t place),
                    void *context);
int firn_index_next_segment(firn_index_reader *reader, uint64_t from, uint64_t *number,
                            firn_index_segment *segment);
/* FIRN_ECORRUPT: a number is missing or has a wrong size. */
int firn_index_read_meta(firn_index_reader *reader, firn_index_meta *meta);
int firn_index_read_usage(firn_index_reader *reader, firn_index_usage *usage);

#endif
