/* The backend: what keeps records on disk, behind a table of functions.
 *
 * A backend holds records by sequence and an index from key hash to sequence, one record a hash.
 * It knows bytes and numbers: not what a record looks like, nor when to reclaim. To add one, write
 * backend_NAME.c with one firn_backend_ops, and add a line to backend_table.c. Tests put doubles
 * here.
 *
 * Functions marked [writer] are called by one thread at a time; a session is used by one thread at
 * a time; all others are safe from any thread. Every error but FIRN_NOT_FOUND and FIRN_BACKEND_FULL
 * comes with words in config->detail. */
#ifndef FIRN_COLD_BACKEND_H
#define FIRN_COLD_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <firn/error.h>

#include "base/detail.h"
#include "base/heap.h"

enum {
    FIRN_STORE_FORMAT = 2, /* the whole directory's; in the meta numbers and the journal */

    FIRN_BACKEND_FULL = 100, /* a write needs more room than the limit leaves: abort, then raise the
                                limit or reclaim */
};

typedef struct firn_backend firn_backend;                 /* each backend has its own */
typedef struct firn_backend_session firn_backend_session; /* one reader */

typedef struct firn_bytes {
    const void *data;
    size_t size;
} firn_bytes;

/* Numbers that belong to the store as a whole. */
typedef struct firn_backend_meta {
    uint32_t format;
    uint64_t store_id;
    uint64_t seed; /* of the key hash */
    uint64_t created_ms;
    uint64_t budget; /* of the last writer */
    uint64_t version_next;
    uint64_t sequence_next;
} firn_backend_meta;

typedef struct firn_backend_usage {
    uint64_t entries; /* of the index */
    uint64_t records;
    uint64_t live_bytes; /* pages that hold something, and the backend's own */
    uint64_t file_bytes;
    uint32_t page_bytes;
} firn_backend_usage;

/* What tells one state of the data file from another. */
typedef struct firn_fingerprint {
    uint64_t file_bytes;
    uint64_t mtime_ns;
    uint64_t transaction;
} firn_fingerprint;

typedef struct firn_backend_config {
    const char *directory; /* lent for the call */
    firn_heap *heap;       /* lent for the life of the backend */
    firn_detail *detail;   /* likewise; may be NULL */
    uint64_t limit_bytes;  /* the file may grow to this; see resize. Ignored for read_only. */
    bool read_only;
    bool create;       /* there is nothing yet; else it must be there */
    bool sync_commits; /* a commit is on the device when it returns */
} firn_backend_config;

typedef struct firn_backend_ops {
    const char *name;

    /* Looks at the data file without opening it: its head only, or (thorough) every page.
     * FIRN_OK, FIRN_NOT_FOUND (no file), FIRN_ENOTSTORE, FIRN_EVERSION, FIRN_ECORRUPT, FIRN_EIO,
     * FIRN_ENOMEM. */
    int (*check)(const char *directory, bool thorough, firn_heap *heap, firn_detail *detail);

    /* *backend is NULL after an error. All sessions are freed before the close. */
    int (*open)(firn_backend **backend, const firn_backend_config *config);
    void (*close)(firn_backend *backend);

    int (*fingerprint)(firn_backend *backend, firn_fingerprint *fingerprint);
    /* Pushes all commits to the device. */
    int (*sync)(firn_backend *backend);

    /* [writer] Between transactions: sets the limit the file may grow to, or what it takes already
     * if that is more; *bytes tells which. Waits for the read sessions of this process. */
    int (*resize)(firn_backend *backend, uint64_t *bytes);
    /* [writer] Waits, but no longer than max_ms, until no reader keeps old pages from reuse, and
     * clears away readers that died. False: one still does. */
    bool (*wait_readers)(firn_backend *backend, unsigned max_ms);

    /* [writer] Between transactions: brings free room together, so that a record of that many bytes
     * may find a place, as far as that goes without moving records. */
    int (*squeeze)(firn_backend *backend, uint64_t bytes);

    /* [writer] One write transaction at a time. After any error within it but FIRN_NOT_FOUND it
     * can only be aborted. Records found are lent until the next put or remove. A failed commit
     * leaves everything as it was before begin, and ends the transaction. */
    int (*begin)(firn_backend *backend);
    int (*find)(firn_backend *backend, uint64_t hash, uint64_t *sequence, firn_bytes *record);
    /* The sequence is above every other; the parts follow one another in the record. */
    int (*put)(firn_backend *backend, uint64_t hash, uint64_t sequence, const firn_bytes *parts,
               size_t count);
    /* Takes away the record, and the index entry if it points there. FIRN_NOT_FOUND: the index
     * entry did not; see sweep. */
    int (*remove)(firn_backend *backend, uint64_t hash, uint64_t sequence);
    /* Takes away the index entries that point to this sequence: slow, for damaged records. */
    int (*sweep)(firn_backend *backend, uint64_t sequence);
    /* The record of the lowest sequence that is at least `from`. FIRN_NOT_FOUND: none. */
    int (*oldest)(firn_backend *backend, uint64_t from, uint64_t *sequence, firn_bytes *record);
    /* Takes away every record and index entry. */
    int (*clear)(firn_backend *backend);
    int (*usage)(firn_backend *backend, firn_backend_usage *usage);
    int (*set_meta)(firn_backend *backend, const firn_backend_meta *meta);
    int (*commit)(firn_backend *backend);
    void (*abort)(firn_backend *backend);

    /* [writer] Between transactions: stores bytes under a number, in place of what is there, or
     * removes them. Committed and on the device when it returns, whatever sync_commits says: what
     * is written afterwards may depend on it. remove_blob: FIRN_NOT_FOUND: there is none. */
    int (*put_blob)(firn_backend *backend, uint64_t number, const firn_bytes *blob);
    int (*remove_blob)(firn_backend *backend, uint64_t number);

    /* Readers. Between read_begin and read_end a session sees one state of the store; what it
     * gives out is lent until read_end. Sessions must be short: they keep pages from reuse. */
    int (*session_new)(firn_backend *backend, firn_backend_session **session);
    void (*session_free)(firn_backend_session *session);
    int (*read_begin)(firn_backend_session *session);
    void (*read_end)(firn_backend_session *session);
    /* FIRN_NOT_FOUND: no such hash, or its record is gone (an entry that dangles). */
    int (*lookup)(firn_backend_session *session, uint64_t hash, uint64_t *sequence,
                  firn_bytes *record);
    /* The first record whose sequence is at least `from`; FIRN_NOT_FOUND: none. */
    int (*next_record)(firn_backend_session *session, uint64_t from, uint64_t *sequence,
                       firn_bytes *record);
    /* The first index entry whose hash is at least `from`; FIRN_NOT_FOUND: none. */
    int (*next_index)(firn_backend_session *session, uint64_t from, uint64_t *hash,
                      uint64_t *sequence);
    /* FIRN_NOT_FOUND: no such number. */
    int (*get_blob)(firn_backend_session *session, uint64_t number, firn_bytes *blob);
    /* The first blob whose number is at least `from`; FIRN_NOT_FOUND: none. */
    int (*next_blob)(firn_backend_session *session, uint64_t from, uint64_t *number,
                     firn_bytes *blob);
    /* FIRN_ECORRUPT: a number is missing or has a wrong size. */
    int (*read_meta)(firn_backend_session *session, firn_backend_meta *meta);
    int (*read_usage)(firn_backend_session *session, firn_backend_usage *usage);
} firn_backend_ops;

extern const firn_backend_ops firn_backend_lmdb;

/* The backend of a name, NULL: there is none. name NULL: the one that stores are made with. */
const firn_backend_ops *firn_backend_find(const char *name);

#endif
