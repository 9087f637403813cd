/* The backend: what keeps records on disk, behind a table of functions.
 *
 * A backend holds records in the order of writing, each at a sequence that it gives, and one record
 * a key hash is the valid one; the others are superseded, and go when their turn comes. It knows
 * bytes and numbers: not what a record looks like, nor which one is worth keeping. To add one,
 * write backend_NAME.c with one firn_backend_ops, and add a line to backend_table.c. Tests put
 * doubles here.
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

    FIRN_BACKEND_FULL = 100, /* a write needs more room than there is: abort, then reclaim */
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
} firn_backend_meta;

typedef struct firn_backend_usage {
    uint64_t entries;         /* hashes with a valid record */
    uint64_t oldest_sequence; /* no record has a lower one */
    uint64_t next_sequence;   /* of the next record */
    uint64_t live_bytes;      /* of their records, about */
    uint64_t log_bytes;       /* of segments in use */
    uint32_t page_bytes;
    uint32_t segment_bytes;
    uint64_t filter_bytes;   /* of memory; 0: there is no filter */
    uint64_t filter_entries; /* 0: it does not know any yet */
    uint64_t index_commits;  /* since the open: after each the fingerprint is another one */
} firn_backend_usage;

/* What the files take. */
typedef struct firn_backend_files {
    uint64_t index_bytes;
    uint64_t all_bytes; /* of the backend */
} firn_backend_files;

/* What tells one state of the data file from another. */
typedef struct firn_fingerprint {
    uint64_t file_bytes;
    uint64_t mtime_ns;
    uint64_t transaction;
} firn_fingerprint;

/* Whose a record is. */
typedef struct firn_backend_identity {
    uint64_t hash;
    uint64_t version;
    uint64_t expires_ms; /* 0: never */
} firn_backend_identity;

/* What has expired by a time, about. */
typedef struct firn_backend_expired {
    uint64_t bytes; /* of live_bytes */
    unsigned share; /* in percent: the largest that it makes of any number of the oldest parts
                       together */
} firn_backend_expired;

typedef struct firn_backend_config {
    const char *directory;     /* lent for the call */
    firn_heap *heap;           /* lent for the life of the backend */
    firn_detail *detail;       /* likewise; may be NULL */
    uint64_t limit_bytes;      /* what all files together may take. Ignored for read_only. */
    uint64_t filter_bytes_max; /* memory for a filter of what is there; 0: none. Likewise. */
    bool read_only;
    bool create;       /* there is nothing yet; else it must be there */
    bool clean;        /* the last writer closed it, and nobody has written since */
    bool rebuild;      /* what can be derived is made anew from the records, by recover; with
                          read_only, in memory, and no writer may be active */
    bool sync_commits; /* a commit is on the device when it returns */
    const firn_backend_meta *meta; /* create: the numbers it begins with; lent for the call */
    /* Tells whose a record is that the backend met: false if it is damaged. Safe from any thread.
     */
    bool (*identify)(void *context, uint64_t sequence, const firn_bytes *record,
                     firn_backend_identity *identity);
    void *identify_context;
} firn_backend_config;

/* What recover found. */
typedef struct firn_backend_recovery {
    uint64_t replayed;    /* records and removals that the index did not know */
    uint64_t version_max; /* of them; 0: none */
    uint64_t lost;        /* segments that are missing or damaged */
    uint64_t given_up;    /* read_only and rebuild: entries that damage may have superseded */
} firn_backend_recovery;

typedef struct firn_backend_ops {
    const char *name;

    /* Looks at the files without opening them: their heads only, or (thorough) every page of what
     * could bring the process down. FIRN_OK, FIRN_NOT_FOUND (no file), FIRN_ENOTSTORE,
     * FIRN_EVERSION, FIRN_ECORRUPT, FIRN_EIO, FIRN_ENOMEM. */
    int (*check)(const char *directory, bool thorough, firn_heap *heap, firn_detail *detail);

    /* *backend is NULL after an error. All sessions are freed before the close. Between open and
     * recover only read_meta may be called. */
    int (*open)(firn_backend **backend, const firn_backend_config *config);
    void (*close)(firn_backend *backend);
    int (*read_meta)(firn_backend *backend, firn_backend_meta *meta);
    /* Brings the index up to the log's end. powerless: the machine may have gone down since, so
     * that the log's last part may be missing; else a damaged end is FIRN_ECORRUPT. */
    int (*recover)(firn_backend *backend, bool powerless, firn_backend_recovery *recovery);

    int (*fingerprint)(firn_backend *backend, firn_fingerprint *fingerprint);
    /* Pushes all commits to the device. writer: the caller is the writer. FIRN_AGAIN: an earlier
     * one failed, so the writer has to call. FIRN_ECORRUPT: all that can be read is there, but
     * what that one could not push is lost. FIRN_EIO, FIRN_ENOSPC, FIRN_ENOMEM. */
    int (*sync)(firn_backend *backend, bool writer);
    void (*usage)(firn_backend *backend, firn_backend_usage *usage);
    /* Asks the system. */
    void (*files)(firn_backend *backend, firn_backend_files *files);

    /* [writer] One transaction at a time. After any error within it but FIRN_NOT_FOUND it can only
     * be aborted. A failed commit leaves everything as it was before begin, and ends the
     * transaction. No more than changes_max puts and removals may be in one. */
    int (*begin)(firn_backend *backend);
    /* Brings what a find of the hash will look at into the processor's cache. */
    void (*prefetch)(firn_backend *backend, uint64_t hash);
    /* The valid record of a hash, lent until the next call. FIRN_NOT_FOUND: none. */
    int (*find)(firn_backend *backend, uint64_t hash, uint64_t *sequence, firn_bytes *record);
    /* Makes a new record the hash's valid one, of use until expires_ms (0: for ever). *bytes: where
     * its `size` bytes are to be written by the caller before the next call. The sequence is above
     * every other. */
    int (*put)(firn_backend *backend, uint64_t hash, size_t size, uint64_t expires_ms,
               uint64_t *sequence, void **bytes);
    /* Leaves the hash without a record: a note of it is written too. FIRN_NOT_FOUND: it has none.
     */
    int (*remove)(firn_backend *backend, uint64_t hash, uint64_t version);
    int (*commit)(firn_backend *backend);
    void (*abort)(firn_backend *backend);
    size_t (*changes_max)(const firn_backend *backend);

    /* [writer] Between transactions: stores bytes under a number, in place of what is there, or
     * removes them. On the device when it returns, whatever sync_commits says: what is written
     * afterwards may depend on it. They outlive a rebuild. remove_blob: FIRN_NOT_FOUND: there is
     * none. */
    int (*put_blob)(firn_backend *backend, uint64_t number, const firn_bytes *blob);
    int (*remove_blob)(firn_backend *backend, uint64_t number);

    /* [writer] Between transactions: bytes of records that can be put before something has to be
     * reclaimed; spare: in need, also what is else kept for reclaiming. */
    uint64_t (*room)(firn_backend *backend, bool spare);
    /* [writer] The next record in the part that would be reclaimed next, from a sequence on (0: the
     * first of the part), valid or not. Lent until the next call of it; may be called within a
     * transaction. FIRN_NOT_FOUND: no more. */
    int (*oldest)(firn_backend *backend, uint64_t from, uint64_t *sequence, firn_bytes *record);
    /* [writer] How many valid records begin in that part. */
    uint64_t (*oldest_valid)(const firn_backend *backend);
    /* [writer] Whether, since a call of oldest with from 0, some of that part was passed over
     * because it is damaged. */
    bool (*oldest_damaged)(const firn_backend *backend);
    /* [writer] What of the records has expired by now_ms. Takes a look at each part, if anything
     * can have, and none at records. */
    void (*expired)(firn_backend *backend, uint64_t now_ms, firn_backend_expired *expired);
    /* [writer] Gives that part up. FIRN_NOT_FOUND: there is none. */
    int (*drop)(firn_backend *backend);
    /* [writer] Gives everything up. */
    int (*clear)(firn_backend *backend);
    /* [writer] Whether entries went since the last call of it, by another function than drop and
     * clear. FIRN_BACKEND_FULL: all, as there was no room to go on; FIRN_ECORRUPT: some that an
     * earlier sync could not push; else FIRN_OK. */
    int (*loss)(firn_backend *backend);
    /* [writer] Takes the numbers, to be stored with the next checkpoint. */
    void (*set_meta)(firn_backend *backend, const firn_backend_meta *meta);
    /* [writer] Brings the stored index up to the log's end. */
    int (*checkpoint)(firn_backend *backend);
    /* [writer] Between transactions: a piece of the work that can wait. FIRN_AGAIN: there is more.
     */
    int (*maintain)(firn_backend *backend);
    /* [writer] A checkpoint, and what else makes the next open quick. */
    int (*conclude)(firn_backend *backend);
    /* [writer] Between transactions, when nobody else has the store open: gives space that serves
     * nothing back to the file system, without losing a record. pack: of what is open;
     * pack_closed: of the files in a directory, when the backend is closed again; the fingerprint
     * is another one then. Either may be broken off at any point by the end of the process. */
    int (*pack)(firn_backend *backend);
    int (*pack_closed)(const char *directory, firn_heap *heap, firn_detail *detail);
    /* False: there is surely no valid record of the hash. Safe from any thread. */
    bool (*may_hold)(firn_backend *backend, uint64_t hash);

    /* Readers. What a session gives out is lent until its next call or read_end; overtaken and
     * locate leave it alone. */
    int (*session_new)(firn_backend *backend, firn_backend_session **session);
    void (*session_free)(firn_backend_session *session);
    int (*read_begin)(firn_backend_session *session);
    void (*read_end)(firn_backend_session *session);
    /* The hash's valid record; FIRN_NOT_FOUND: none. What it gives was read without a lock, and may
     * be torn by a writer: if it turns out wrong, and overtaken says so, it is to be asked for
     * again. */
    int (*lookup)(firn_backend_session *session, uint64_t hash, uint64_t *sequence,
                  firn_bytes *record);
    bool (*overtaken)(firn_backend_session *session);
    /* The same in two steps for many at once: places[i] is where the record of hashes[i] lies, in
     * numbers that grow with where it is; 0: there is none. Then any of them is fetched. */
    int (*lookup_many)(firn_backend_session *session, size_t count, const uint64_t *hashes,
                       uint64_t *places);
    int (*fetch)(firn_backend_session *session, uint64_t place, uint64_t *sequence,
                 firn_bytes *record);
    /* The same without the record. */
    int (*locate)(firn_backend_session *session, uint64_t hash, uint64_t *sequence);
    /* The first record whose sequence is at least `from`, valid or not; FIRN_NOT_FOUND: none. */
    int (*next_record)(firn_backend_session *session, uint64_t from, uint64_t *sequence,
                       firn_bytes *record);
    /* The first entry of the stored index whose hash is at least `from`; FIRN_NOT_FOUND: none. */
    int (*next_index)(firn_backend_session *session, uint64_t from, uint64_t *hash,
                      uint64_t *sequence);
    /* Hashes from one on, ascending: of every entry that is there all the while, and perhaps of
     * some that are not. hashes has room for twice `most`; *count is `most` at the most, and less
     * than that only if these are all. */
    int (*walk)(firn_backend_session *session, uint64_t from, uint64_t *hashes, size_t most,
                size_t *count);
    /* Lent until the next of these two, or read_end. FIRN_NOT_FOUND: no such number. */
    int (*get_blob)(firn_backend_session *session, uint64_t number, firn_bytes *blob);
    /* The first blob whose number is at least `from`; FIRN_NOT_FOUND: none. */
    int (*next_blob)(firn_backend_session *session, uint64_t from, uint64_t *number,
                     firn_bytes *blob);
} firn_backend_ops;

extern const firn_backend_ops firn_backend_log;

/* The backend of a name, NULL: there is none. name NULL: the one that stores are made with. */
const firn_backend_ops *firn_backend_find(const char *name);

#endif
