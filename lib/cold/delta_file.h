/* What came to the log since the last checkpoint, written down as changes of the index: so that an
 * open after kill -9 takes them over in milliseconds, where the log itself would have to be read,
 * frame by frame, with a look into the index for each. The log is the truth all the same: what is
 * missing or unsound here is taken from there. Nothing is synced, and after a power loss the file
 * says nothing.
 *
 *     offset 0   8 bytes "FIRNDELT"    16  u64 store id
 *            8   u32 format, 1         24  u64 turn: a random number
 *           12   u32 0                 32  u64 XXH3-64 of bytes 0-31
 *          40   pieces, one behind the other
 *
 *     a piece:   u64 where in the log what it tells of begins
 *                u64 where it ends
 *                u64 the next version that the writer would have given
 *                u64 number of changes
 *                u64 XXH3-64 of all the rest of the piece, seeded with the turn
 *                changes: u64 hash, u64 place, u64 place before, u64 expiry
 *
 * Each begins where the one before it ends, the first at the checkpoint of the index; what does not
 * is left over from an earlier turn. Little-endian.
 *
 * Knows a file and numbers, nothing of the log and of the index. All functions are the writer's. */
#ifndef FIRN_COLD_DELTA_FILE_H
#define FIRN_COLD_DELTA_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/heap.h"

#define FIRN_DELTA_FILE "firn.delta"

enum { FIRN_DELTA_FILE_CHANGES_MAX = 4096 }; /* in one piece */

/* For the place before: there was an entry, whose segment is gone. */
#define FIRN_PLACE_GONE UINT64_C(1)

typedef struct firn_change {
    uint64_t hash;
    uint64_t place;      /* 0: removed */
    uint64_t old;        /* 0: there was none; FIRN_PLACE_GONE: the filter holds the hash still */
    uint64_t expires_ms; /* of the record; 0: never */
} firn_change;

/* What a piece tells of. */
typedef struct firn_delta_span {
    uint64_t from;
    uint64_t to;
    uint64_t version_next;
} firn_delta_span;

typedef struct firn_delta_file firn_delta_file;

/* In the directory, which is lent for the call; the heap for the file's life. NULL: there can be
 * none, which costs the next open time and nothing else. Nothing is written yet. */
firn_delta_file *firn_delta_file_open(const char *directory, uint64_t store_id, firn_heap *heap);
/* remove: there is nothing in it that anybody will need. NULL is ignored. */
void firn_delta_file_close(firn_delta_file *file, bool remove);

/* Reads the pieces from a position of the log on, one after the other, as long as they are sound
 * and none ends above `most`, and as `take` says true. What is appended goes behind these. FIRN_OK,
 * whatever was found; FIRN_ENOMEM. */
int firn_delta_file_read(firn_delta_file *file, uint64_t from, uint64_t most,
                         bool (*take)(void *context, const firn_delta_span *span,
                                      const firn_change *changes, size_t count),
                         void *context);
/* Begins anew: what is appended next is the first. NULL is ignored, also by the next. */
void firn_delta_file_restart(firn_delta_file *file);
/* Adds a piece. After an error nothing is added until it is begun anew. */
void firn_delta_file_append(firn_delta_file *file, const firn_delta_span *span,
                            const firn_change *changes, size_t count);

#endif
