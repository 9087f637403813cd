/* The log: a file of records in the order of writing, in segments that are used over and over.
 *
 *     offset 0     header, 4096 bytes:
 *              0   8 bytes "FIRNLOG1"           64  u64 tail: number of the oldest segment
 *              8   u32 format                   72  u64 end: position where the log ends
 *             12   u32 bytes of a segment       80  u64 how many segments were ever moved
 *             16   u64 store id                 88  u64 XXH3-64 of bytes 64-87, seeded with the
 *                                                   store id
 *             24   u64 seed of the key hash
 *             32   u64 when the store was made, ms since 1970
 *             40   u64 XXH3-64 of bytes 0-39
 *             96   what is in doubt: see doubt.h. The other file is the index; seeded likewise
 *     offset 4096  slots, each of a segment's bytes:
 *              0   u32 "FSEG"                   16  u32 how often it was moved
 *              4   u32 offset of the first      20  u32 0
 *                  frame in the payload         24  u64 XXH3-64 of bytes 0-23, seeded likewise
 *              8   u64 number                   32  payload
 *
 * A position counts the bytes of payload that were ever written: segment number N holds positions
 * N * payload to (N + 1) * payload, in whatever slot of the file. So positions only grow, while the
 * file does not: what falls off the old end gives its slot to what comes. A frame may go on over
 * any number of segments; it is lost with the one it begins in. What a frame is made of is the
 * caller's: this file knows bytes and positions, no records.
 *
 * Functions marked [writer] are called by one thread at a time. firn_log_read is safe from any
 * thread beside them: it may find bytes of a segment that has just gone or moved, so what it gives
 * must be checked by the reader, and if it is not right be asked for again when firn_log_changes
 * has changed. */
#ifndef FIRN_COLD_LOG_H
#define FIRN_COLD_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/detail.h"
#include "base/heap.h"

#define FIRN_LOG_FILE "firn.log"

enum {
    FIRN_LOG_FORMAT = 1,
    FIRN_LOG_HEADER_SIZE = 4096,
    FIRN_LOG_SEGMENT_HEADER_SIZE = 32,
    FIRN_LOG_SEGMENT_MIN = 16 << 10,
    FIRN_LOG_SEGMENT_MAX = 64 << 20,
};

#define FIRN_LOG_NO_SLOT UINT32_MAX

/* What the header tells of the store, so that all can be made anew from the log alone. */
typedef struct firn_log_identity {
    uint64_t store_id;
    uint64_t seed;
    uint64_t created_ms;
} firn_log_identity;

typedef struct firn_log firn_log;

typedef struct firn_log_config {
    const char *directory;      /* lent for the call */
    firn_heap *heap;            /* lent for the life of the log */
    firn_detail *detail;        /* likewise; may be NULL */
    firn_log_identity identity; /* create: what it is to tell; else its store_id is compared */
    uint32_t segment_bytes;     /* create: a power of two within the bounds above */
    uint64_t from;              /* create: positions begin above that */
    uint64_t limit_bytes;       /* the file is not going to be larger; ignored for read_only */
    bool read_only;
    bool create; /* any old file is removed; else it must be there */
} firn_log_config;

/* *log is NULL after an error. Which segments lie where is not known yet: firn_log_place or
 * firn_log_scan tells.
 *
 * FIRN_ECORRUPT  there is no such file, it is another store's, or its header is damaged
 * FIRN_EVERSION, FIRN_EREADONLY, FIRN_ENOSPC, FIRN_EIO, FIRN_ENOMEM */
int firn_log_open(firn_log **log, const firn_log_config *config);
void firn_log_close(firn_log *log);

/* Reads the identity of the log in a directory. FIRN_OK, FIRN_NOT_FOUND, FIRN_ECORRUPT, FIRN_EIO,
 * FIRN_ENOMEM. */
int firn_log_identify(const char *directory, firn_log_identity *identity, firn_heap *heap,
                      firn_detail *detail);

uint32_t firn_log_segment_bytes(const firn_log *log);
uint64_t firn_log_payload(const firn_log *log); /* bytes a segment holds */
static inline uint64_t firn_log_number(uint64_t payload, uint64_t position) {
    return position / payload;
}

/* The oldest segment's number, and where the log ends. Safe from any thread. */
uint64_t firn_log_tail(const firn_log *log);
uint64_t firn_log_end(const firn_log *log);
/* What the file's header said of the two at the open; 0: that is damaged. */
uint64_t firn_log_told_tail(const firn_log *log);
uint64_t firn_log_told_end(const firn_log *log);
/* How many segments there can be between the two, with those that are lost. Of a writer's log it
 * does not change after the open. */
uint64_t firn_log_segments_max(const firn_log *log);
/* Raised whenever a segment went or moved. Safe from any thread. */
uint64_t firn_log_changes(const firn_log *log);
/* [writer] How many segments were moved since the open. */
uint64_t firn_log_moves(const firn_log *log);
/* What the file takes on the device. */
uint64_t firn_log_file_bytes(const firn_log *log);

/* Says in which slot a segment between tail and end lies. FIRN_OK; FIRN_ECORRUPT: it cannot be
 * there; FIRN_ENOMEM. */
int firn_log_place(firn_log *log, uint64_t number, uint32_t slot);
uint32_t firn_log_slot(const firn_log *log, uint64_t number);
/* Looks at every slot's header. whole: tail and end are not believed either, but are set to what
 * the slots hold: from the end of the newest segment down to the first that is missing, for what
 * lies before that may be void by what is lost. FIRN_OK, FIRN_EIO, FIRN_ENOMEM. */
int firn_log_scan(firn_log *log, bool whole);
/* For a reader beside a writer in another process: takes over tail and end. *changed: they differ
 * from what they were. A segment that is not known by then wants a scan. FIRN_OK, FIRN_EIO,
 * FIRN_ECORRUPT. */
int firn_log_follow(firn_log *log, bool *changed);
/* Whether every segment between tail and end is placed. */
bool firn_log_is_complete(const firn_log *log);
/* [writer] While no segment is placed: takes these for the oldest segment's number and the end,
 * which the header does not know yet. FIRN_OK, FIRN_ENOMEM. */
int firn_log_set_range(firn_log *log, uint64_t tail, uint64_t end);
/* [writer] Takes this for the end: after a look at what lies behind it, or to take back what was
 * appended since, if nothing was dropped. */
void firn_log_set_end(firn_log *log, uint64_t end);

/* Reads what there is of `size` bytes from a position on: *got, which is less at the log's end and
 * where a segment is gone.
 *
 * Small reads are from a map of the file, which spares them a system call. If somebody cuts the
 * file, that is noticed within some milliseconds; a read from the map in that time would end the
 * process, as it would in LMDB. FIRN_OK, FIRN_EIO. */
int firn_log_read(firn_log *log, uint64_t position, void *to, size_t size, size_t *got);
/* Where the first frame begins that begins in a segment; the position of the next segment if none
 * does. FIRN_OK; FIRN_NOT_FOUND: the segment is not there; FIRN_ECORRUPT, FIRN_EIO. */
int firn_log_first_frame(const firn_log *log, uint64_t number, uint64_t *position);

/* [writer] Bytes that can be appended before something has to be dropped. */
uint64_t firn_log_room(const firn_log *log);
/* [writer] Appends bytes in which frames begin at the given offsets, in ascending order; the bytes
 * end where a frame ends. After an error the log is as before. The new end is told to other
 * processes by firn_log_publish. FIRN_OK, FIRN_ENOSPC (also when there is no room), FIRN_EIO. */
int firn_log_append(firn_log *log, const void *bytes, size_t size, const uint32_t *frames,
                    size_t count);
/* [writer] Writes tail and end to the header. FIRN_OK, FIRN_ENOSPC, FIRN_EIO. */
int firn_log_publish(firn_log *log);
/* [writer] The same, as it will be after the next firn_log_drop. */
int firn_log_publish_dropped(firn_log *log);
/* [writer] Gives up the oldest segment, which must not be the newest. */
void firn_log_drop(firn_log *log);
/* [writer] Gives up all segments; positions go on. */
void firn_log_clear(firn_log *log);
/* [writer] The file may have that many slots, as far as limit_bytes goes. Segments behind are moved
 * in front as far as there are free slots, and space behind is given back. FIRN_OK, FIRN_EIO,
 * FIRN_ENOSPC, FIRN_ENOMEM. */
int firn_log_set_slots(firn_log *log, uint32_t slots);
/* [writer] Cuts the file behind the last segment, when no other process has it open. */
int firn_log_cut(firn_log *log);
uint32_t firn_log_slots_used(const firn_log *log);
/* Whether the file is still as long as its segments need it. */
bool firn_log_is_whole(const firn_log *log);

/* Pushes it to the device. Safe from any thread. FIRN_OK; FIRN_AGAIN: it is in doubt, because an
 * earlier sync failed: see doubt.h; FIRN_EIO, FIRN_ENOSPC: it is from here on. */
int firn_log_sync(firn_log *log);
/* The position from which on it is in doubt, 0: it is not. Safe from any thread. */
uint64_t firn_log_doubt(firn_log *log);
/* [writer] All that there is was on the device when the log was opened. */
void firn_log_trust(firn_log *log);
/* [writer] Writes bytes that were read at a position there again. FIRN_OK, FIRN_ENOSPC, FIRN_EIO.
 */
int firn_log_rewrite(firn_log *log, uint64_t position, const void *bytes, size_t size);
/* [writer] The same of the file's header and those of the segments from a position on. *lost: how
 * many of them are damaged. FIRN_OK, FIRN_ENOSPC, FIRN_EIO. */
int firn_log_rewrite_headers(firn_log *log, uint64_t from, uint64_t *lost);
/* [writer] All of it was written again, and may be synced. */
void firn_log_end_doubt(firn_log *log);
/* Whether the index is in doubt is kept here, for the index can be made anew from the log: it is on
 * the device with the next sync. Safe from any thread. */
void firn_log_set_index_doubt(firn_log *log, bool doubt);
bool firn_log_index_doubt(firn_log *log);

#endif
