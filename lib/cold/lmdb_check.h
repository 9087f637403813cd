/* A reader of LMDB's data files (format 1 of LMDB 0.9, 64-bit) that trusts nothing in them.
 *
 * LMDB maps its file and follows what stands there; over a damaged file it may crash. So a file
 * whose history is in doubt is checked here first: every page in use, every node's bounds, the
 * order of keys, the free list, and that no page serves twice. What lies inside values is not
 * looked at. A file that passes can be read and written by LMDB. Only what firn makes of LMDB is
 * understood: named databases, with keys that are strings or 64-bit integers, and without
 * duplicates.
 *
 * The file must not be written to meanwhile. It may shrink: then it is damaged. Knows LMDB's pages;
 * nothing of records or stores. */
#ifndef FIRN_COLD_LMDB_CHECK_H
#define FIRN_COLD_LMDB_CHECK_H

#include <stdint.h>

#include "base/detail.h"
#include "base/heap.h"

typedef struct firn_lmdb_check_report {
    uint64_t pages;    /* looked at */
    uint64_t findings; /* what is wrong; only the first hundred are told in words */
    uint32_t page_bytes;
    uint64_t txn_id; /* of the newest commit */
    uint64_t last_page;
    uint64_t file_bytes;
} firn_lmdb_check_report;

/* Checks the whole file.
 *
 * finding  called for each finding, up to a hundred; may be NULL
 *
 * FIRN_OK, FIRN_ECORRUPT, FIRN_NOT_FOUND (no file), FIRN_ENOTSTORE (no LMDB file), FIRN_EVERSION,
 * FIRN_EIO, FIRN_ENOMEM. */
int firn_lmdb_check(const char *data_path, firn_heap *heap,
                    void (*finding)(void *context, const char *text), void *context,
                    firn_lmdb_check_report *report);

/* Checks the two meta pages, and that the file is as long as they say: O(1), but for the seldom
 * file that lacks free pages at its end, which is checked whole. Results as above. */
int firn_lmdb_check_head(const char *data_path, firn_detail *detail);

#endif
