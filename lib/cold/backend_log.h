/* What the files of the log backend share. backend_log.c opens, recovers and tells of itself,
 * backend_log_write.c writes, reclaims and makes checkpoints, backend_log_read.c is for readers,
 * backend_log_scan.c walks through frames, backend_log_salvage.c makes the index anew from the log,
 * backend_log_pack.c gives space back, backend_log_sync.c brings all to the device. For no other
 * file.
 *
 * The log is the truth. Its frames, in order, say everything; the index on disk is what they come
 * to as of a checkpoint, and the delta is what came since. A hash is looked for in
 *
 *     active delta, frozen delta, index on disk
 *
 * in this order, and each answer counts: a place, or 0 for "removed". While a checkpoint is under
 * way the delta that it merges is frozen, and a fresh one takes what comes. A frozen delta is
 * emptied after the commit that holds its entries. So a reader that finds nothing in either, and
 * only then begins its transaction, sees a commit that holds what it missed: no entry is ever out
 * of sight. For the same reason it looks at the active one first: an entry moves from there to the
 * frozen one, never back.
 *
 * Before the index on disk a filter is asked, which holds the hashes of all entries that are in the
 * index or in a delta, dead ones too, but not those that a delta says are removed. It gets a hash
 * before the delta does, and loses it after the delta did or a sweep's commit, so it never denies
 * an entry that can be found.
 *
 * A frame: u32 size, then that many bytes of a record; or 0xffffffff, then u64 hash, u64 version
 * and u64 XXH3-64 of these two seeded with the frame's position: the hash has no record any more.
 * Little-endian, without padding. A frame's position is its record's sequence. */
#ifndef FIRN_COLD_BACKEND_LOG_H
#define FIRN_COLD_BACKEND_LOG_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/filter.h"
#include "cold/backend.h"
#include "cold/delta.h"
#include "cold/delta_file.h"
#include "cold/expiry.h"
#include "cold/filter_file.h"
#include "cold/index.h"
#include "cold/log.h"
#include "cold/place.h"

enum {
    FIRN_FRAME_HEAD = 4,
    FIRN_FRAME_REMOVAL_SIZE = 28,
    FIRN_CHANGES_MAX = FIRN_DELTA_FILE_CHANGES_MAX, /* in one transaction */
    FIRN_DELTA_MIN = 8192,                          /* entries: twice that */
    FIRN_DELTA_MAX = 131072,
};

#define FIRN_FRAME_REMOVAL UINT32_MAX

/* A stretch of the log in memory. */
typedef struct firn_scan {
    unsigned char *bytes;
    size_t capacity;
    uint64_t start;
    size_t length;
} firn_scan;

typedef struct firn_frame {
    uint64_t position;
    uint64_t end;
    bool removal;
    firn_bytes record;              /* not a removal's; lent from the scan */
    firn_backend_identity identity; /* a removal's; else see firn_backend_identify */
} firn_frame;

/* What the index points to in a segment. The writer's, or whoever follows. */
typedef struct firn_live {
    uint32_t count;
    bool dirty; /* not as in the stored index */
    uint64_t bytes;
    firn_expiry expiry; /* of all records that were written to it */
} firn_live;

/* The transaction. */
typedef struct firn_staging {
    unsigned char *bytes; /* frames, as they will stand in the log from `begin` on */
    size_t capacity;
    size_t size;
    uint64_t begin;
    uint64_t room;    /* bytes the log takes */
    uint32_t *frames; /* FIRN_CHANGES_MAX; offsets */
    firn_change *changes;
    size_t count;
    uint32_t *table; /* FIRN_CHANGES_MAX * 2; hash -> number of the change + 1 */
} firn_staging;

struct firn_backend {
    /* Immutable after the open. */
    firn_heap *heap;
    firn_detail *detail;
    bool read_only;
    bool sync_commits;
    bool clean;      /* the last writer closed the store */
    bool rebuilding; /* until recover is through: the index is not whole, and does not say it is */
    char *directory;
    uint64_t limit_bytes;
    uint64_t index_limit; /* bytes the index's file may take */
    uint64_t entries_max; /* so that the index stays below that */
    bool (*identify)(void *context, uint64_t sequence, const firn_bytes *record,
                     firn_backend_identity *identity);
    void *identify_context;
    firn_index *index; /* NULL: all there is stands in the active delta */
    firn_log *log;
    uint64_t payload;

    firn_filter *filter;          /* immutable; NULL: none, or a read-only handle */
    uint64_t filter_capacity_max; /* immutable */

    size_t delta_max; /* immutable; entries that one may come to hold */
    firn_delta deltas[2];
    /* Release and acquire, frozen set before active: see above. */
    _Atomic(firn_delta *) active;
    _Atomic(firn_delta *) frozen;

    _Atomic uint64_t entries; /* relaxed, like the next: numbers by themselves */
    _Atomic uint64_t live_bytes;

    /* The writer's; of a read-only handle: of who holds follow_lock for writing. */
    firn_live *lives; /* of segment N at N & lives_mask */
    uint64_t lives_mask;
    uint64_t transaction;   /* of the index, at the last look for a checkpoint of another's */
    uint64_t expiry_from_s; /* nothing that is there expires before; 0: not known */
    firn_backend_meta meta;
    bool meta_dirty;
    uint64_t checkpoint;         /* position up to which the stored index knows the log */
    uint64_t moves_stored;       /* of segments, as of the checkpoint */
    uint64_t known;              /* and up to which index and deltas know it */
    uint64_t noted;              /* and up to which delta_file tells of the deltas */
    uint64_t changes;            /* since the checkpoint, of one hash too */
    firn_delta_file *delta_file; /* NULL: there is none */
    firn_staging staging;
    firn_backend_session *own;     /* for find, oldest and recover */
    uint64_t sweep_from;           /* hash */
    uint64_t dead;                 /* entries of the index that died and were not swept, about */
    uint64_t index_entries;        /* of the stored index, dead ones too */
    uint64_t index_live_bytes;     /* its pages in use */
    firn_delta_entry *sorted;      /* of the delta; while a checkpoint is under way */
    firn_filter_file *filter_file; /* while the filter is being loaded */
    bool filter_too_small;         /* for all the entries there are */
    int loss;                      /* see firn_backend_ops.loss */

    pthread_rwlock_t follow_lock; /* of read-only handles. read: a session reads */

    pthread_mutex_t sync_lock; /* held over each sync, so that an error is not taken by another */
    /* The index is not to be believed by the next open. Set with sync_lock; relaxed. */
    atomic_bool index_doubt;
};

struct firn_backend_session {
    firn_backend *backend;
    firn_index_reader *reader;
    unsigned char *bytes; /* what lookup gave */
    size_t capacity;
    uint64_t changes; /* of the log, before the look-up */
    firn_scan scan;
    uint64_t after;      /* sequence of the last record of next_record */
    uint64_t next;       /* and where the frame behind it begins */
    bool skipped;        /* next_record met damage, and went on with a later segment */
    bool locked;         /* holds follow_lock */
    unsigned char *blob; /* what get_blob or next_blob gave */
    size_t blob_size;
};

/* Delta's hashes are not 0. */
static inline uint64_t firn_index_hash(uint64_t hash) {
    return hash != 0 ? hash : 1;
}

static inline bool firn_identify(const firn_backend *backend, uint64_t sequence,
                                 const firn_bytes *record, firn_backend_identity *identity) {
    return backend->identify(backend->identify_context, sequence, record, identity);
}

/* More, or by wrapping around less, is valid. Only the writer changes the two, or who follows one,
 * so that this needs no atomic addition. */
static inline void firn_add_valid(firn_backend *backend, uint64_t entries, uint64_t bytes) {
    entries += atomic_load_explicit(&backend->entries, memory_order_relaxed);
    bytes += atomic_load_explicit(&backend->live_bytes, memory_order_relaxed);
    atomic_store_explicit(&backend->entries, entries, memory_order_relaxed);
    atomic_store_explicit(&backend->live_bytes, bytes, memory_order_relaxed);
}

static inline firn_live *firn_live_of(const firn_backend *backend, uint64_t position) {
    return &backend->lives[firn_log_number(backend->payload, position) & backend->lives_mask];
}

/* backend_log_scan.c */
void firn_scan_fini(firn_scan *scan, firn_heap *heap);
/* The frame at a position. FIRN_OK; FIRN_NOT_FOUND: the log ends there; FIRN_ECORRUPT: there is no
 * frame that makes sense; FIRN_EIO, FIRN_ENOMEM. A record's checksum is not looked at. */
int firn_scan_frame(const firn_backend *backend, firn_scan *scan, uint64_t position,
                    firn_frame *frame);
/* Where the first frame begins behind a position at which there is none that is sound, from the
 * next segment on. FIRN_OK, FIRN_NOT_FOUND, FIRN_EIO. */
int firn_scan_skip(const firn_backend *backend, uint64_t position, uint64_t *next);
/* Where the walk goes on behind a frame: right behind it if its record is sound, or if what follows
 * is; else with the next segment. */
int firn_scan_next(const firn_backend *backend, firn_scan *scan, const firn_frame *frame,
                   uint64_t *next);

/* backend_log_read.c */
/* FIRN_NOT_FOUND: *place is 0, or that of an entry whose segment is gone. */
int firn_locate(firn_backend *backend, firn_index_reader *reader, uint64_t hash, uint64_t *place);
/* Reads the record at a place into the session. */
int firn_read_place(firn_backend_session *session, uint64_t place, firn_bytes *record);
int firn_session_new(firn_backend *backend, firn_backend_session **session);
void firn_session_free(firn_backend_session *session);
int firn_session_begin(firn_backend_session *session);
void firn_session_end(firn_backend_session *session);
int firn_session_lookup(firn_backend_session *session, uint64_t hash, uint64_t *sequence,
                        firn_bytes *record);
bool firn_session_overtaken(firn_backend_session *session);
int firn_session_lookup_many(firn_backend_session *session, size_t count, const uint64_t *hashes,
                             uint64_t *places);
int firn_session_fetch(firn_backend_session *session, uint64_t place, uint64_t *sequence,
                       firn_bytes *record);
int firn_session_locate(firn_backend_session *session, uint64_t hash, uint64_t *sequence);
int firn_session_next_record(firn_backend_session *session, uint64_t from, uint64_t *sequence,
                             firn_bytes *record);
int firn_session_next_index(firn_backend_session *session, uint64_t from, uint64_t *hash,
                            uint64_t *sequence);
int firn_session_walk(firn_backend_session *session, uint64_t from, uint64_t *hashes, size_t most,
                      size_t *count);

int firn_session_get_blob(firn_backend_session *session, uint64_t number, firn_bytes *blob);
int firn_session_next_blob(firn_backend_session *session, uint64_t from, uint64_t *number,
                           firn_bytes *blob);

/* backend_log_follow.c: what came to the log is taken into the delta. */
int firn_lives_reserve(firn_backend *backend);
/* Takes over what the stored index says of the segments. The session's transaction is begun. */
int firn_lives_load(firn_backend *backend, firn_index_reader *reader);
void firn_change_apply(firn_backend *backend, const firn_change *change);
/* [writer] The changes of the log from `noted` to `to` are applied: for delta_file. */
void firn_note_changes(firn_backend *backend, const firn_change *changes, size_t count,
                       uint64_t to);
/* [writer] They are in the stored index. */
void firn_forget_changes(firn_backend *backend);
/* Takes over what is noted of the changes since the checkpoint, as far as it is sound. */
int firn_recall_changes(firn_backend *backend, firn_backend_recovery *recovery);
/* What the stored index is to say of a segment. */
firn_index_segment firn_lives_row(const firn_backend *backend, uint64_t number, uint32_t slot);
/* Takes the frames from `known` to the log's end into the active delta. full: called when it has no
 * room. */
int firn_replay(firn_backend *backend, bool powerless, int (*full)(firn_backend *backend),
                firn_backend_recovery *recovery);
/* A read-only handle: takes over what a writer did. follow_lock is held for writing. */
int firn_follow_locked(firn_backend *backend);

/* backend_log_salvage.c */
/* Makes the index anew from the log: on disk; its last segment ends with its last sound frame. */
int firn_remake_index(firn_backend *backend, bool powerless, firn_backend_recovery *recovery);
/* The same in memory, for a read-only handle without one on disk. */
int firn_salvage_recover(firn_backend *backend, bool powerless, firn_backend_recovery *recovery);

/* backend_log_write.c */
int firn_staging_init(firn_backend *backend);
void firn_staging_fini(firn_backend *backend);
int firn_write_begin(firn_backend *backend);
void firn_write_prefetch(firn_backend *backend, uint64_t hash);
int firn_write_find(firn_backend *backend, uint64_t hash, uint64_t *sequence, firn_bytes *record);
int firn_write_put(firn_backend *backend, uint64_t hash, size_t size, uint64_t expires_ms,
                   uint64_t *sequence, void **bytes);
int firn_write_remove(firn_backend *backend, uint64_t hash, uint64_t version);
int firn_write_commit(firn_backend *backend);
void firn_write_abort(firn_backend *backend);
uint64_t firn_write_room(firn_backend *backend, bool spare);
int firn_write_oldest(firn_backend *backend, uint64_t from, uint64_t *sequence, firn_bytes *record);
bool firn_write_oldest_damaged(const firn_backend *backend);
int firn_write_drop(firn_backend *backend);
/* The index holds nothing, and knows the log up to its end. */
int firn_write_empty_index(firn_backend *backend);
int firn_write_clear(firn_backend *backend);

uint64_t firn_write_oldest_valid(const firn_backend *backend);
void firn_write_expired(firn_backend *backend, uint64_t now_ms, firn_backend_expired *expired);

/* backend_log_pack.c */
int firn_pack(firn_backend *backend);
int firn_pack_closed(const char *directory, firn_heap *heap, firn_detail *detail);

/* backend_log_sync.c */
/* See firn_backend_ops.sync. */
int firn_sync(firn_backend *backend, bool writer);
/* [writer] Between transactions: brings the log to the device, whatever was before. FIRN_ECORRUPT:
 * it is there, but what an earlier sync could not push is lost. */
int firn_sync_log(firn_backend *backend);
int firn_sync_index(firn_backend *backend);

/* backend_log_filter.c */
int firn_filter_open(firn_backend *backend, uint64_t bytes_max);
/* Before the first change: begins to load what the last close left, if it is as of this state. */
void firn_filter_recall(firn_backend *backend);
void firn_filter_close(firn_backend *backend);
/* Nothing is there any more. */
void firn_filter_empty(firn_backend *backend);
/* What a change means to it, before and after the delta has it. */
void firn_filter_note_before(firn_backend *backend, const firn_change *change);
void firn_filter_note_after(firn_backend *backend, const firn_change *change);
/* A piece of what is to be done: FIRN_AGAIN: there is more. */
int firn_filter_maintain(firn_backend *backend);
int firn_filter_save(firn_backend *backend);

/* backend_log_checkpoint.c */
int firn_checkpoint(firn_backend *backend);
/* Before there are readers: makes the first delta as large as suits the store, in one piece. */
int firn_begin_delta(firn_backend *backend);

#endif
