/* The store's lock: one writer process, and never two handles of one process.
 *
 * firn.lock is locked with open-file-description locks, which belong to the handle rather than to
 * the process and vanish with it, also by kill -9. Byte 0 is the writer's; the file's text is its
 * pid. Byte 4096 + pid is taken by every handle of a process, because LMDB breaks if one process
 * opens a store twice.
 *
 * So two processes that have the same pid, in two containers that share the directory, keep each
 * other out. That is as it must be: LMDB knows processes by their pids too. It locks a byte of its
 * own by it for as long as it reads, which the other would be refused; and when an environment is
 * closed it frees the places of all readers of its pid, those of the other as well, whose pages the
 * writer would then overwrite. A lock that told the two apart would only let them come to harm.
 *
 * Knows one file, nothing of stores. */
#ifndef FIRN_COLD_LOCK_H
#define FIRN_COLD_LOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/detail.h"
#include "base/heap.h"

#define FIRN_LOCK_FILE "firn.lock"

typedef struct firn_store_lock {
    int fd; /* -1: not held */
} firn_store_lock;

#define FIRN_LOCK_INIT                                                                             \
    { -1 }

/* Takes the lock of a directory's store.
 *
 * writer  also byte 0, making the file if there is none; else the file must be there
 *
 * FIRN_OK
 * FIRN_EBUSY      another writer, or this process, or one of the same pid in another container, has
 *                 the store open already
 * FIRN_NOT_FOUND  not writer, and there is no lock file
 * FIRN_EREADONLY  writer, and the file cannot be written to
 * FIRN_ENOSPC, FIRN_EIO, FIRN_ENOMEM */
int firn_lock_take(firn_store_lock *lock, const char *directory, bool writer, firn_heap *heap,
                   firn_detail *detail);
/* To be asked of a writer's lock: nobody else has the store open, nor can open it before this lock
 * is dropped. FIRN_OK, FIRN_EBUSY, FIRN_EIO, the last two with words. */
int firn_lock_exclude(firn_store_lock *lock, const char *directory, firn_detail *detail);
/* Lets go of it; harmless when it is not held. */
void firn_lock_drop(firn_store_lock *lock);

/* Whether somebody else has the store open for writing now, and who (0: unknown). pid may be NULL.
 * To be asked through a lock that is held for reading. */
bool firn_lock_has_writer(const firn_store_lock *lock, uint32_t *pid);

#endif
