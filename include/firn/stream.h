/* Large values as streams: written and read a piece at a time, so that a value of any size passes
 * through a few pieces' worth of memory.
 *
 * A writer puts pieces into the cold tier as they come; the entry appears, whole, at the commit.
 * It is an entry like any other: it can be deleted, overwritten, expire and be reclaimed. firn_get
 * gives it as one object if the value is at most what may be resident in the hot tier (about seven
 * eighths of hot_bytes), else FIRN_ETOOLARGE; a cursor gives a larger one with an empty value.
 *
 * Pieces are older than the entry they belong to, and are reclaimed first. A reader that misses one
 * says so; the entry is removed then, and the next open is a plain miss. Pieces of an entry that
 * was overwritten or deleted, of a writer that was aborted or whose process died, are removed at
 * the abort, else reclaimed when the cold tier comes to them, at the latest one turn of its log
 * later.
 *
 * A value that fits into one piece becomes an ordinary entry. A cache in memory collects the value,
 * up to hot_bytes. A writer or reader is used by one thread at a time, and closed before
 * firn_close.
 */
#ifndef FIRN_STREAM_H
#define FIRN_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include <firn/cache.h>
#include <firn/error.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct firn_writer firn_writer;
typedef struct firn_reader firn_reader;

#define FIRN_PIECE_BYTES_MIN ((size_t)4096)
#define FIRN_PIECE_BYTES_MAX ((size_t)4 << 20)

typedef struct firn_writer_options {
    size_t size;     /* sizeof(firn_writer_options) */
    uint64_t ttl_ms; /* as in firn_put_options; the lifetime begins at firn_writer_open */
    size_t piece;    /* bytes of a piece; default 1 MiB, or 1/64 of cold_bytes if that is less */
} firn_writer_options;

#define FIRN_WRITER_OPTIONS_INIT                                                                   \
    { sizeof(firn_writer_options), 0, 0 }

/* Begins a value.
 *
 * key, key_size  copied
 * options        NULL: all defaults
 * writer         where it goes; NULL after an error. Ended by firn_writer_commit or
 *                firn_writer_abort.
 *
 * Safe from any thread. FIRN_EREADONLY; FIRN_EINVAL: a piece below FIRN_PIECE_BYTES_MIN or above
 * FIRN_PIECE_BYTES_MAX, or above a sixteenth of cold_bytes; FIRN_ENOMEM */
FIRN_API FIRN_NODISCARD int firn_writer_open(firn_cache *cache, const void *key, size_t key_size,
                                             const firn_writer_options *options,
                                             firn_writer **writer);

/* Appends bytes to the value; they are copied or written before it returns.
 *
 * FIRN_ETOOLARGE: the cold tier (or, in a cache in memory, hot_bytes) cannot hold so much;
 * FIRN_ENOSPC, FIRN_EIO, FIRN_ENOMEM, FIRN_ECORRUPT. After an error the value can only be aborted:
 * further calls return the same. */
FIRN_API FIRN_NODISCARD int firn_writer_write(firn_writer *writer, const void *data, size_t size);

/* Makes the value the entry of its key, in place of any before, and frees the writer, whatever the
 * result. After an error but those of firn_put for a value that goes straight down, what was there
 * is kept.
 *
 * FIRN_ETOOLARGE: pieces were reclaimed already, because the value is larger than the cold tier can
 * hold, or was written too slowly beside others; and the errors of firn_writer_write */
FIRN_API FIRN_NODISCARD int firn_writer_commit(firn_writer *writer);

/* Gives the value up, removes its pieces and frees the writer. NULL is ignored. What cannot be
 * removed is reclaimed in time. */
FIRN_API void firn_writer_abort(firn_writer *writer);

/* Opens the entry's value for reading, of whatever size and however it was put. Counts as a get.
 *
 * reader  where it goes; NULL unless FIRN_OK is returned. Release it with firn_reader_close.
 *
 * What is read is the value as of the open, also when it is overwritten or deleted meanwhile, for
 * as long as its pieces are there. Safe from any thread.
 * FIRN_NOT_FOUND, FIRN_ENOMEM, FIRN_EIO */
FIRN_API FIRN_NODISCARD int firn_reader_open(firn_cache *cache, const void *key, size_t key_size,
                                             firn_reader **reader);

/* The whole value's size in bytes. */
FIRN_API uint64_t firn_reader_size(const firn_reader *reader);

/* Gives the next piece, in order.
 *
 * piece, piece_size  where it is, lent until the next call or the close, and its bytes, at least 1;
 *                    NULL and 0 unless FIRN_OK is returned
 *
 * FIRN_NOT_FOUND  the end
 * FIRN_ECORRUPT   a piece was reclaimed meanwhile, or is damaged: the rest of the value is lost.
 * The entry is removed, unless it has become another. Further calls return the same. FIRN_ENOMEM,
 * FIRN_EIO: can be called again */
FIRN_API FIRN_NODISCARD int firn_reader_next(firn_reader *reader, const void **piece,
                                             size_t *piece_size);

/* Releases the reader. NULL is ignored. */
FIRN_API void firn_reader_close(firn_reader *reader);

#ifdef __cplusplus
}
#endif

#endif
