/* The file of what was cleared, firn.clears: lines that are appended, and read when the store is
 * opened. See base/clears.h for what they mean.
 *
 *     offset 0   8 bytes "FIRNCLRS"     then, for each, 32 bytes:
 *            8   u32 format, 1              0  u64 hash of the prefix or tag
 *           12   u32 0                      8  u64 version: older entries are void
 *           16   u64 store id              16  u32 kind: 1 all, 2 prefix, 3 tag, 4 whatever has a
 * tag 24   u64 check                 20  u32 bytes of the prefix 24  u64 check
 *
 * A check is XXH3-64, seeded with the store id, of the bytes before it. A line survives the process
 * as soon as it is written; what is torn or foreign says nothing. Knows numbers, no entries. */
#ifndef FIRN_COLD_CLEARS_FILE_H
#define FIRN_COLD_CLEARS_FILE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clears.h"
#include "base/detail.h"
#include "base/heap.h"

#define FIRN_CLEARS_FILE "firn.clears"

typedef struct firn_clears_file {
    firn_heap *heap;       /* lent; immutable, as the next five */
    firn_detail *detail;   /* lent */
    firn_clears *clears;   /* lent: what the lines are read into */
    const char *directory; /* lent */
    bool writable;
    uint64_t store_id;
    pthread_mutex_t lock; /* guards what follows */
    int fd;               /* of the file that was read or written last; -1: there was none */
    uint64_t inode;
    uint64_t size;  /* bytes that were read or written */
    uint64_t lines; /* in the file */
    bool damaged;   /* some of them say nothing, or it may not be on the device though it was
                       synced: it is to be made anew before it is believed */
    bool unsynced;  /* it was written to since it was synced */
} firn_clears_file;

/* 0 or an errno. */
int firn_clears_file_init(firn_clears_file *file, firn_heap *heap, firn_detail *detail,
                          firn_clears *clears, const char *directory, bool writable);
void firn_clears_file_fini(firn_clears_file *file);

/* Reads what is there, or what has come since the last time; the store's id is known by now. No
 * file: FIRN_OK. FIRN_ENOMEM, FIRN_EIO. */
int firn_clears_file_read(firn_clears_file *file, uint64_t store_id);
/* Writes a line down, and then adds it. sync: on the device, too. The file is made anew when most
 * of it says nothing any more. FIRN_OK; else nothing is cleared, and what of the line was written
 * is taken back: FIRN_EIO, FIRN_ENOSPC, FIRN_ENOMEM. */
int firn_clears_file_add(firn_clears_file *file, const firn_clear_line *line, bool sync);
/* Pushes it to the device, if it was written to. When that fails it is made anew: at once, or, if
 * that fails too, by the next sync or add, of another process as well. FIRN_OK, FIRN_EIO,
 * FIRN_ENOSPC, FIRN_ENOMEM. */
int firn_clears_file_sync(firn_clears_file *file);

#endif
