/* Writes accesses to a file while a program runs: threads note them in a ring, without a lock and
 * without waiting; somebody else takes them out, packs them into blocks, and writes these. Knows
 * accesses, not the cache. */
#ifndef FIRN_OBSERVE_RECORDER_H
#define FIRN_OBSERVE_RECORDER_H

#include <stdbool.h>
#include <stdint.h>

#include <firn/record.h>

#include "base/detail.h"
#include "base/heap.h"

typedef struct firn_recorder firn_recorder;

/* What stands in the file's head, and how large it may become. */
typedef struct firn_recorder_config {
    uint64_t below;
    uint64_t started_ms;
    uint64_t hot_bytes;
    uint64_t cold_bytes;
    uint64_t file_bytes_max;
} firn_recorder_config;

/* One that has no file yet. NULL: no memory. It is freed when no thread can note any more. */
firn_recorder *firn_recorder_new(firn_heap *heap);
void firn_recorder_free(firn_recorder *self);

/* Begins a new file. FIRN_OK, or with words FIRN_EIO, FIRN_EREADONLY, FIRN_ENOSPC, FIRN_ENOMEM.
 * What the ring holds from before goes. */
int firn_recorder_begin(firn_recorder *self, const char *path, const firn_recorder_config *config,
                        firn_detail *detail);
/* Writes all that was noted before it, and closes the file. It waits for threads that have begun to
 * note something, if there are any: for what others have noted meanwhile stands behind that.
 * FIRN_OK, or with words what kept it from being written to its end. */
int firn_recorder_end(firn_recorder *self, firn_detail *detail);

/* From any thread. True: it is time that somebody drains the ring. */
bool firn_recorder_note(firn_recorder *self, const firn_access *access);

/* Packs what is in the ring, up to a note that is not finished, and writes it if that is much, or
 * `all`. False: the file is full or failed, and notes are in vain. Does nothing without a file.
 * From any thread. */
bool firn_recorder_drain(firn_recorder *self, bool all);

/* Fills in all but size and recording. */
void firn_recorder_get_stats(firn_recorder *self, firn_record_stats *stats);

#endif
