/* A file that takes the place of another at once: written beside it as NAME.tmp, synced, renamed,
 * and the directory synced. Whoever looks, after a crash too, finds the old one or the new, whole.
 * Knows nothing of what the files hold. */
#ifndef FIRN_BASE_REPLACE_H
#define FIRN_BASE_REPLACE_H

#include <stddef.h>
#include <stdint.h>

#include "base/detail.h"
#include "base/heap.h"

typedef struct firn_replacement {
    firn_heap *heap;     /* lent */
    firn_detail *detail; /* lent; may be NULL */
    char *directory;
    char *path;
    char *temporary;
    int fd;
    int error; /* the first errno met by a write; 0: none */
} firn_replacement;

/* Begins to write directory/name. FIRN_OK: firn_replacement_finish or _cancel must follow. Else
 * FIRN_ENOMEM, or, with words in detail, FIRN_EIO, FIRN_ENOSPC, FIRN_EREADONLY. */
int firn_replacement_begin(firn_replacement *self, const char *directory, const char *name,
                           firn_heap *heap, firn_detail *detail);
/* An error is kept and returned by the finish; nothing is written after one. */
void firn_replacement_write(firn_replacement *self, const void *bytes, size_t size,
                            uint64_t offset);
/* Puts it in place. After an error, as of the begin, the old file is there as it was, unless only
 * the sync of the directory failed: then it is not known which of them a power loss leaves. */
int firn_replacement_finish(firn_replacement *self);
/* The same, but after an error the old file is gone too: for what is no longer true. */
int firn_replacement_finish_or_remove(firn_replacement *self);
/* Gives it up: the old file stays. */
void firn_replacement_cancel(firn_replacement *self);

/* All of it in one call, for what is small. */
int firn_replace_file(const char *directory, const char *name, const void *bytes, size_t size,
                      firn_heap *heap, firn_detail *detail);

#endif
