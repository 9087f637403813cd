/* See index.h.
 *
 * The map has the size of the limit from the start, for its addresses cost nothing; so a writer's
 * never moves. A reader beside a writer in another process may have to take over a larger one,
 * under map_lock.
 *
 * When LMDB fails to write one of its two heads, it takes part in nothing any more until it is
 * opened anew. The writer does that beneath its readers: each says in a field of its own that it
 * reads, and only then looks whether it may; the writer says that nobody may, and only then waits
 * for those who do. All four are sequentially consistent, so one of the two sees the other. */
#include "cold/index.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include <lmdb.h>

#include "base/clock.h"
#include "base/file.h"
#include "cold/lmdb_check.h"
#include "cold/store_files.h"

_Static_assert(sizeof(size_t) == sizeof(uint64_t), "MDB_INTEGERKEY holds 64-bit keys");

enum {
    READERS_MAX = 512, /* slots of all processes */
    FREE_DBI = 0,      /* LMDB's own list of free pages, as in its mdb_stat */
};

/* A row of segments. Without times it ends before expiry_bytes. */
typedef struct stored_segment {
    uint32_t slot;
    uint32_t live_count;
    uint64_t live_bytes;
    uint64_t expiry_bytes;
    firn_expiry_time times[FIRN_EXPIRY_TIMES];
} stored_segment;

static size_t stored_size(uint32_t times) {
    return times == 0 ? offsetof(stored_segment, expiry_bytes)
                      : offsetof(stored_segment, times) + times * sizeof(firn_expiry_time);
}

struct firn_index {
    MDB_env *env; /* NULL: it could not be opened anew. In a writer's handle it and the numbers of
                     databases change in renew alone, while nobody reads and nobody syncs */
    MDB_dbi main;
    MDB_dbi meta;
    MDB_dbi index;
    MDB_dbi segments;
    firn_heap *heap;
    firn_detail *detail;
    char *directory;
    char *path; /* of the data file */
    int fd;     /* our own, of the data file; -1: none */
    uint64_t limit_bytes;
    uint32_t page_bytes;
    bool read_only;
    /* Read-only handles: read: a reader reads; write: the map moves. Others: read: a sync is under
     * way, or a reader waits for its turn; write: it is opened anew. */
    pthread_rwlock_t map_lock;
    atomic_bool renewing; /* nobody may begin to read */
    pthread_mutex_t list_lock;
    firn_index_reader *readers;  /* list_lock */
    bool unmapped;               /* map_lock: moving the map failed, and there is none now */
    MDB_txn *txn;                /* the writer's, NULL between transactions */
    MDB_cursor *cursor;          /* over the index, of txn */
    _Atomic uint64_t file_bytes; /* at the open and after each commit; relaxed, like the next */
    _Atomic uint64_t commits;    /* see firn_index_commits */
    _Atomic uint64_t looked_ns;  /* when the file's length was last looked at */
    atomic_bool cut;             /* it was too short */
};

struct firn_index_reader {
    firn_index *index;
    MDB_txn *txn; /* reset between reads, so that it keeps no pages; NULL: none yet. The reader's
                     while it reads; else renew may take it away */
    atomic_bool reading;
    firn_index_reader *next;  /* list_lock, as the next */
    firn_index_reader **back; /* what points to it */
};

/* ---- errors ---- */

/* LMDB turns a short write into EIO: a full disk is told by the space that is left. */
static bool disk_is_full(const char *path) {
    struct statvfs fs;
    return statvfs(path, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize < (1u << 20);
}

static int code_of(const char *path, int error) {
    switch (error) {
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_INCOMPATIBLE:
        return FIRN_ECORRUPT;
    case MDB_VERSION_MISMATCH:
        return FIRN_EVERSION;
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
    case MDB_BAD_VALSIZE:
        return FIRN_BACKEND_FULL;
    case EIO:
        return disk_is_full(path) ? FIRN_ENOSPC : FIRN_EIO;
    default:
        return error > 0 ? firn_code_of_errno(error) : FIRN_EIO;
    }
}

static const char *advice(int code) {
    switch (code) {
    case FIRN_ECORRUPT:
        return "; remove the store, or open it with set_aside_damaged";
    case FIRN_ENOSPC:
        return "; free space on that file system, or give the store a smaller cold_bytes";
    case FIRN_EREADONLY:
        return "; open the store read_only, or change its permissions";
    default:
        return "";
    }
}

static int fail(const firn_index *index, int error, const char *what) {
    int code = code_of(index->path, error);
    if (code == FIRN_BACKEND_FULL) {
        return code;
    }
    return firn_detail_set(index->detail, code, "%s: cannot %s: %s%s", index->path, what,
                           mdb_strerror(error), advice(code));
}

/* ---- checks of the file ---- */

static void keep_first(void *context, const char *text) {
    char *first = context;
    if (first[0] == '\0') {
        snprintf(first, 256, "%s", text);
    }
}

static int check_pages(const char *path, firn_heap *heap, firn_detail *detail) {
    char first[256] = "";
    firn_lmdb_check_report report = {0};
    int result = firn_lmdb_check(path, heap, keep_first, first, &report);
    if (result == FIRN_ECORRUPT) {
        return firn_detail_set(detail, result,
                               "%s: the page check failed: %s; remove the store, or open it with "
                               "set_aside_damaged",
                               path, first);
    }
    return result == FIRN_OK ? FIRN_OK
                             : firn_detail_set(detail, result, "%s: the page check broke off: %s",
                                               path, firn_strerror(result));
}

int firn_index_check(const char *directory, bool thorough, firn_heap *heap, firn_detail *detail) {
    char *path = firn_path_join(heap, directory, FIRN_DATA_FILE);
    if (path == NULL) {
        return firn_detail_set(detail, FIRN_ENOMEM, "%s: no memory to check it", directory);
    }
    int result;
    if (access(path, F_OK) != 0 && errno == ENOENT) {
        result = firn_detail_set(detail, FIRN_NOT_FOUND, "%s: is missing", path);
    } else {
        result = firn_lmdb_check_head(path, detail);
        if (result == FIRN_OK && thorough) {
            result = check_pages(path, heap, detail);
        }
    }
    firn_path_free(heap, path);
    return result;
}

/* ---- open and close ---- */

static int open_database(MDB_txn *txn, const char *name, unsigned flags, unsigned create,
                         MDB_dbi *dbi) {
    unsigned found = 0;
    int error = mdb_dbi_open(txn, name, create != 0 ? create | flags : 0, dbi);
    if (error == 0) {
        error = mdb_dbi_flags(txn, *dbi, &found);
    }
    return error == 0 && found != flags ? MDB_INCOMPATIBLE : error;
}

static int open_databases_in(firn_index *index, MDB_txn *txn, unsigned create) {
    int error = mdb_dbi_open(txn, NULL, 0, &index->main);
    if (error == 0) {
        error = open_database(txn, "meta", 0, create, &index->meta);
    }
    if (error == 0) {
        error = open_database(txn, "index", MDB_INTEGERKEY, create, &index->index);
    }
    if (error == 0) {
        error = open_database(txn, "segments", MDB_INTEGERKEY, create, &index->segments);
    }
    return error == MDB_NOTFOUND ? MDB_INVALID : error;
}

static int open_databases(firn_index *index, bool create) {
    MDB_txn *txn;
    int error = mdb_txn_begin(index->env, NULL, create ? 0 : MDB_RDONLY, &txn);
    if (error != 0) {
        return error;
    }
    error = open_databases_in(index, txn, create ? MDB_CREATE : 0);
    if (error != 0) {
        mdb_txn_abort(txn);
        return error;
    }
    return mdb_txn_commit(txn); /* also of a read: it keeps the handles */
}

uint64_t firn_index_file_bytes(const firn_index *index) {
    struct stat status;
    return fstat(index->fd, &status) == 0 ? (uint64_t)status.st_size : 0;
}

uint64_t firn_index_commits(const firn_index *index) {
    return atomic_load_explicit(&index->commits, memory_order_relaxed);
}

uint64_t firn_index_transaction(firn_index *index) {
    MDB_envinfo info = {0};
    pthread_rwlock_rdlock(&index->map_lock); /* it is read from the map */
    if (!index->unmapped) {
        mdb_env_info(index->env, &info);
    }
    pthread_rwlock_unlock(&index->map_lock);
    return info.me_last_txnid;
}

static void note_length(firn_index *index) {
    atomic_store_explicit(&index->file_bytes, firn_index_file_bytes(index), memory_order_relaxed);
}

/* The file may be larger than the limit, if that was lowered. */
static size_t map_bytes(const char *path, uint64_t limit) {
    struct stat status;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    if (stat(path, &status) == 0 && (uint64_t)status.st_size > limit) {
        limit = (uint64_t)status.st_size + page - 1;
    }
    return (size_t)(limit / page * page);
}

static int open_env(firn_index *index, const firn_backend_config *config, uint64_t limit_bytes) {
    int error = mdb_env_create(&index->env);
    if (error != 0) {
        return error;
    }
    mdb_env_set_maxdbs(index->env, 4);
    mdb_env_set_maxreaders(index->env, READERS_MAX);
    /* Without a sync at its commits: when a checkpoint is on the device is the caller's to say. */
    unsigned flags = MDB_NOTLS | MDB_NORDAHEAD | (config->read_only ? MDB_RDONLY : MDB_NOSYNC);
    if (!config->read_only) {
        error = mdb_env_set_mapsize(index->env, map_bytes(index->path, limit_bytes));
    }
    if (error == 0) {
        error = mdb_env_open(index->env, config->directory, flags, 0666);
    }
    if (error == 0) {
        int dead;
        mdb_reader_check(index->env, &dead);
        error = open_databases(index, config->create);
    }
    MDB_stat stat;
    if (error == 0) {
        error = mdb_env_stat(index->env, &stat);
    }
    if (error == 0 && index->fd < 0) {
        index->fd = open(index->path, O_RDONLY | O_CLOEXEC);
        error = index->fd < 0 ? errno : 0;
    }
    if (error == 0) {
        index->page_bytes = stat.ms_psize;
        note_length(index);
    }
    return error;
}

/* A reader must not starve the writer, which waits here only to enlarge the map. */
static int init_lock(pthread_rwlock_t *lock) {
    pthread_rwlockattr_t attributes;
    int error = pthread_rwlockattr_init(&attributes);
    if (error != 0) {
        return error;
    }
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    error = pthread_rwlock_init(lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    return error;
}

void firn_index_close(firn_index *index) {
    if (index == NULL) {
        return;
    }
    if (index->env != NULL) {
        mdb_env_close(index->env);
    }
    if (index->fd >= 0) {
        close(index->fd);
    }
    pthread_rwlock_destroy(&index->map_lock);
    pthread_mutex_destroy(&index->list_lock);
    firn_path_free(index->heap, index->directory);
    firn_path_free(index->heap, index->path);
    firn_heap_free(index->heap, index, sizeof *index);
}

int firn_index_open(firn_index **out, const firn_backend_config *config, uint64_t limit_bytes) {
    *out = NULL;
    firn_index *index = firn_heap_zalloc(config->heap, sizeof *index);
    char *path = firn_path_join(config->heap, config->directory, FIRN_DATA_FILE);
    char *directory = firn_heap_strdup(config->heap, config->directory);
    if (index == NULL || path == NULL || directory == NULL || init_lock(&index->map_lock) != 0) {
        firn_path_free(config->heap, path);
        firn_path_free(config->heap, directory);
        firn_heap_free(config->heap, index, sizeof *index);
        return firn_detail_set(config->detail, FIRN_ENOMEM, "%s: no memory to open it",
                               config->directory);
    }
    index->heap = config->heap;
    index->detail = config->detail;
    index->path = path;
    index->directory = directory;
    index->fd = -1;
    index->limit_bytes = limit_bytes;
    index->read_only = config->read_only;
    pthread_mutex_init(&index->list_lock, NULL);
    int error = open_env(index, config, limit_bytes);
    if (error != 0) {
        int code = fail(index, error, "open");
        if (code == FIRN_BACKEND_FULL) {
            code =
                firn_detail_set(config->detail, FIRN_ENOSPC,
                                "%s: no room to make a store; give it a larger cold_bytes", path);
        }
        firn_index_close(index);
        return code;
    }
    *out = index;
    return FIRN_OK;
}

static int was_cut(firn_index *index) {
    return firn_detail_set(index->detail, FIRN_EIO,
                           "%s: was cut off by somebody; close the store and open it again",
                           index->path);
}

/* Of a file that was cut there is none: the next open must not take it for sound. */
int firn_index_fingerprint(firn_index *index, firn_fingerprint *fingerprint) {
    struct stat status;
    MDB_envinfo info;
    if (fstat(index->fd, &status) != 0) {
        return fail(index, errno, "look at");
    }
    if ((uint64_t)status.st_size < atomic_load_explicit(&index->file_bytes, memory_order_relaxed)) {
        return was_cut(index);
    }
    if (index->env == NULL) {
        return fail(index, EIO, "look at");
    }
    mdb_env_info(index->env, &info);
    *fingerprint = (firn_fingerprint){
        .file_bytes = (uint64_t)status.st_size,
        .mtime_ns =
            (uint64_t)status.st_mtim.tv_sec * 1000000000u + (uint64_t)status.st_mtim.tv_nsec,
        .transaction = info.me_last_txnid,
    };
    return FIRN_OK;
}

int firn_index_sync(firn_index *index) {
    int error = 0;
    if (!index->read_only) {
        pthread_rwlock_rdlock(&index->map_lock);
        error = index->env != NULL ? mdb_env_sync(index->env, 1) : EIO;
        pthread_rwlock_unlock(&index->map_lock);
    }
    return error == 0 ? FIRN_OK : fail(index, error, "sync");
}

bool firn_index_is_whole(firn_index *index) {
    uint64_t now_ns = firn_coarse_ns();
    uint64_t looked_ns = atomic_load_explicit(&index->looked_ns, memory_order_relaxed);
    if (now_ns != looked_ns) {
        uint64_t known = atomic_load_explicit(&index->file_bytes, memory_order_relaxed);
        atomic_store_explicit(&index->cut, firn_index_file_bytes(index) < known,
                              memory_order_relaxed);
        atomic_store_explicit(&index->looked_ns, now_ns, memory_order_relaxed);
    }
    return !atomic_load_explicit(&index->cut, memory_order_relaxed);
}

/* ---- readers that keep old pages ---- */

typedef struct reader_search {
    size_t last_transaction;
    bool found; /* a reader of an older one */
} reader_search;

/* Lines are "pid thread transaction", or a dash for a reader that rests. */
static int look_at_reader(const char *line, void *context) {
    reader_search *search = context;
    unsigned long transaction;
    if (sscanf(line, "%*d %*x %lu", &transaction) == 1 && transaction < search->last_transaction) {
        search->found = true;
    }
    return 0;
}

static bool has_old_reader(firn_index *index) {
    MDB_envinfo info;
    mdb_env_info(index->env, &info);
    reader_search search = {info.me_last_txnid, false};
    mdb_reader_list(index->env, look_at_reader, &search);
    return search.found;
}

bool firn_index_wait_readers(firn_index *index, unsigned max_ms) {
    int dead;
    mdb_reader_check(index->env, &dead);
    for (unsigned waited = 0; has_old_reader(index); waited++) {
        if (waited >= max_ms) {
            return false;
        }
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return true;
}

/* ---- opening it anew ---- */

static void end_reads(firn_index *index) {
    pthread_mutex_lock(&index->list_lock);
    for (firn_index_reader *reader = index->readers; reader != NULL; reader = reader->next) {
        while (atomic_load(&reader->reading)) {
            nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL); /* reads are short */
        }
        if (reader->txn != NULL) {
            mdb_txn_abort(reader->txn);
            reader->txn = NULL;
        }
    }
    pthread_mutex_unlock(&index->list_lock);
}

/* 0, or an error of LMDB's: then there is no index for now. */
static int renew(firn_index *index) {
    firn_backend_config config = {.directory = index->directory};
    pthread_rwlock_wrlock(&index->map_lock);
    atomic_store(&index->renewing, true);
    end_reads(index);
    if (index->env != NULL) {
        mdb_env_close(index->env);
        index->env = NULL;
    }
    int error = open_env(index, &config, index->limit_bytes);
    if (error != 0 && index->env != NULL) {
        mdb_env_close(index->env);
        index->env = NULL;
    }
    atomic_store(&index->renewing, false);
    pthread_rwlock_unlock(&index->map_lock);
    return error;
}

/* Whether LMDB takes part in nothing any more. */
static bool is_out_of_order(firn_index *index) {
    MDB_txn *txn;
    int error = mdb_txn_begin(index->env, NULL, MDB_RDONLY, &txn);
    if (error == 0) {
        mdb_txn_abort(txn);
    }
    return error == MDB_PANIC;
}

/* ---- the write transaction ---- */

static MDB_val key_of(uint64_t *number) {
    return (MDB_val){.mv_size = sizeof *number, .mv_data = number};
}

static bool take_u64(const MDB_val *value, uint64_t *number) {
    if (value->mv_size != sizeof *number) {
        return false;
    }
    memcpy(number, value->mv_data, sizeof *number);
    return true;
}

void firn_index_abort(firn_index *index) {
    if (index->cursor != NULL) {
        mdb_cursor_close(index->cursor);
        index->cursor = NULL;
    }
    if (index->txn != NULL) {
        mdb_txn_abort(index->txn);
        index->txn = NULL;
    }
}

/* In a file that was cut LMDB would meet pages that are gone, and what it writes would make the
 * file look whole again. */
int firn_index_begin(firn_index *index) {
    if (firn_index_file_bytes(index) <
        atomic_load_explicit(&index->file_bytes, memory_order_relaxed)) {
        return was_cut(index);
    }
    int error = index->env != NULL ? 0 : renew(index);
    if (error == 0) {
        error = mdb_txn_begin(index->env, NULL, 0, &index->txn);
    }
    if (error == 0) {
        error = mdb_cursor_open(index->txn, index->index, &index->cursor);
    }
    if (error != 0) {
        int code = fail(index, error, "begin a transaction in");
        firn_index_abort(index);
        return code;
    }
    return FIRN_OK;
}

int firn_index_commit(firn_index *index) {
    mdb_cursor_close(index->cursor);
    index->cursor = NULL;
    int error = mdb_txn_commit(index->txn);
    index->txn = NULL;
    note_length(index);
    atomic_fetch_add_explicit(&index->commits, 1, memory_order_relaxed);
    if (error == 0) {
        return FIRN_OK;
    }
    int result = fail(index, error, "commit to");
    if (is_out_of_order(index)) {
        (void)renew(index); /* else the next transaction tries it */
    }
    return result;
}

int firn_index_put(firn_index *index, uint64_t hash, uint64_t place) {
    MDB_val key = key_of(&hash);
    MDB_val value = key_of(&place);
    int error = mdb_cursor_put(index->cursor, &key, &value, 0);
    return error == 0 ? FIRN_OK : fail(index, error, "write to");
}

int firn_index_delete(firn_index *index, uint64_t hash) {
    MDB_val key = key_of(&hash);
    int error = mdb_del(index->txn, index->index, &key, NULL);
    return error == 0 || error == MDB_NOTFOUND ? FIRN_OK : fail(index, error, "write to");
}

/* The cursor's first entry with a key of at least `from`. */
static int seek(MDB_cursor *cursor, uint64_t from, uint64_t *number, MDB_val *value) {
    MDB_val key = key_of(&from);
    int error = mdb_cursor_get(cursor, &key, value, MDB_SET_RANGE);
    return error == 0 && !take_u64(&key, number) ? MDB_CORRUPTED : error;
}

int firn_index_sweep(firn_index *index, uint64_t *from, uint64_t to, size_t most, bool *over,
                     bool (*dead)(void *context, uint64_t hash, uint64_t place), void *context) {
    uint64_t hash = 0;
    uint64_t place = 0;
    MDB_val value;
    int error = seek(index->cursor, *from, &hash, &value);
    *over = false;
    for (size_t looked = 0; error == 0 && hash <= to; looked++) {
        if (looked == most) {
            *from = hash;
            return FIRN_OK;
        }
        if (!take_u64(&value, &place)) {
            error = MDB_CORRUPTED;
        } else if (dead(context, hash, place)) {
            error = mdb_cursor_del(index->cursor, 0);
        }
        MDB_val key;
        if (error == 0) {
            error = mdb_cursor_get(index->cursor, &key, &value, MDB_NEXT);
        }
        if (error == 0 && !take_u64(&key, &hash)) {
            error = MDB_CORRUPTED;
        }
    }
    *over = true;
    return error == 0 || error == MDB_NOTFOUND ? FIRN_OK : fail(index, error, "sweep");
}

int firn_index_set_segment(firn_index *index, uint64_t number, const firn_index_segment *segment) {
    stored_segment stored = {
        .slot = segment->slot,
        .live_count = segment->live_count,
        .live_bytes = segment->live_bytes,
        .expiry_bytes = segment->expiry.bytes,
    };
    memcpy(stored.times, segment->expiry.times, sizeof stored.times);
    MDB_val key = key_of(&number);
    MDB_val value = {stored_size(segment->expiry.count), &stored};
    int error = mdb_put(index->txn, index->segments, &key, &value, 0);
    return error == 0 ? FIRN_OK : fail(index, error, "write to");
}

int firn_index_trim_segments(firn_index *index, uint64_t number) {
    MDB_cursor *cursor;
    int error = mdb_cursor_open(index->txn, index->segments, &cursor);
    if (error != 0) {
        return fail(index, error, "write to");
    }
    uint64_t found;
    MDB_val value;
    while ((error = seek(cursor, 0, &found, &value)) == 0 && found < number) {
        error = mdb_cursor_del(cursor, 0);
        if (error != 0) {
            break;
        }
    }
    mdb_cursor_close(cursor);
    return error == 0 || error == MDB_NOTFOUND ? FIRN_OK : fail(index, error, "write to");
}

int firn_index_clear(firn_index *index) {
    int error = mdb_drop(index->txn, index->index, 0);
    if (error == 0) {
        error = mdb_drop(index->txn, index->segments, 0);
    }
    return error == 0 ? FIRN_OK : fail(index, error, "clear");
}

/* ---- meta numbers ---- */

typedef struct meta_field {
    const char *name;
    size_t offset; /* within firn_index_meta */
    size_t size;
} meta_field;

#define META_FIELD(name, field)                                                                    \
    { name, offsetof(firn_index_meta, field), sizeof((firn_index_meta *)0)->field }

static const meta_field meta_fields[] = {
    META_FIELD("format", store.format),   META_FIELD("store_id", store.store_id),
    META_FIELD("seed", store.seed),       META_FIELD("created_ms", store.created_ms),
    META_FIELD("budget", store.budget),   META_FIELD("version_next", store.version_next),
    META_FIELD("checkpoint", checkpoint), META_FIELD("merging", merging),
};

static MDB_val name_of(const meta_field *field) {
    char *name;
    memcpy(&name, &field->name, sizeof name); /* LMDB's keys are not const, and are not written */
    return (MDB_val){.mv_size = strlen(name), .mv_data = name};
}

/* Numbers that have not changed are not written again. The host is little-endian. */
int firn_index_set_meta(firn_index *index, const firn_index_meta *meta) {
    for (size_t i = 0; i < sizeof meta_fields / sizeof meta_fields[0]; i++) {
        const meta_field *field = &meta_fields[i];
        unsigned char bytes[8];
        memcpy(bytes, (const unsigned char *)meta + field->offset, field->size);
        MDB_val key = name_of(field);
        MDB_val value;
        int error = mdb_get(index->txn, index->meta, &key, &value);
        if (error == 0 && value.mv_size == field->size &&
            memcmp(value.mv_data, bytes, field->size) == 0) {
            continue;
        }
        value = (MDB_val){.mv_size = field->size, .mv_data = bytes};
        error = mdb_put(index->txn, index->meta, &key, &value, 0);
        if (error != 0) {
            return fail(index, error, "write");
        }
    }
    return FIRN_OK;
}

int firn_index_read_meta(firn_index_reader *reader, firn_index_meta *meta) {
    const firn_index *index = reader->index;
    for (size_t i = 0; i < sizeof meta_fields / sizeof meta_fields[0]; i++) {
        const meta_field *field = &meta_fields[i];
        MDB_val key = name_of(field);
        MDB_val value;
        int error = mdb_get(reader->txn, index->meta, &key, &value);
        if (error == MDB_NOTFOUND || (error == 0 && value.mv_size != field->size)) {
            return firn_detail_set(index->detail, FIRN_ECORRUPT,
                                   "%s: its number \"%s\" is missing%s", index->path, field->name,
                                   advice(FIRN_ECORRUPT));
        }
        if (error != 0) {
            return fail(index, error, "read");
        }
        memcpy((unsigned char *)meta + field->offset, value.mv_data, field->size);
    }
    return FIRN_OK;
}

/* ---- readers ---- */

int firn_index_reader_new(firn_index *index, firn_index_reader **out) {
    *out = firn_heap_zalloc(index->heap, sizeof **out);
    if (*out == NULL) {
        return firn_detail_set(index->detail, FIRN_ENOMEM, "%s: no memory to read it", index->path);
    }
    firn_index_reader *reader = *out;
    reader->index = index;
    pthread_mutex_lock(&index->list_lock);
    reader->next = index->readers;
    reader->back = &index->readers;
    if (reader->next != NULL) {
        reader->next->back = &reader->next;
    }
    index->readers = reader;
    pthread_mutex_unlock(&index->list_lock);
    return FIRN_OK;
}

void firn_index_reader_free(firn_index_reader *reader) {
    if (reader == NULL) {
        return;
    }
    pthread_mutex_lock(&reader->index->list_lock);
    *reader->back = reader->next;
    if (reader->next != NULL) {
        reader->next->back = reader->back;
    }
    if (reader->txn != NULL) {
        mdb_txn_abort(reader->txn);
    }
    pthread_mutex_unlock(&reader->index->list_lock);
    firn_heap_free(reader->index->heap, reader, sizeof *reader);
}

/* Called with map_lock held for reading in a read-only handle, else with `reading` set. */
static int start(firn_index_reader *reader) {
    MDB_env *env = reader->index->env;
    if (reader->index->unmapped) {
        return ENOMEM;
    }
    if (env == NULL) {
        return EIO;
    }
    if (reader->txn != NULL) {
        return mdb_txn_renew(reader->txn);
    }
    int error = mdb_txn_begin(env, NULL, MDB_RDONLY, &reader->txn);
    if (error == MDB_READERS_FULL) {
        int dead;
        mdb_reader_check(env, &dead);
        error = mdb_txn_begin(env, NULL, MDB_RDONLY, &reader->txn);
    }
    if (error != 0) {
        reader->txn = NULL;
    }
    return error;
}

/* A writer in another process may have a larger map: its size is taken over. */
static int start_beside_writer(firn_index_reader *reader) {
    firn_index *index = reader->index;
    for (;;) {
        pthread_rwlock_rdlock(&index->map_lock);
        int error = start(reader);
        if (error == 0) {
            return 0; /* map_lock stays held until the end of the read */
        }
        pthread_rwlock_unlock(&index->map_lock);
        if (error != MDB_MAP_RESIZED) {
            return error;
        }
        pthread_rwlock_wrlock(&index->map_lock);
        error = mdb_env_set_mapsize(index->env, 0);
        index->unmapped = index->unmapped || error != 0;
        pthread_rwlock_unlock(&index->map_lock);
        if (error != 0) {
            return error;
        }
    }
}

static int start_in_turn(firn_index_reader *reader) {
    firn_index *index = reader->index;
    atomic_store(&reader->reading, true);
    while (atomic_load(&index->renewing)) {
        atomic_store(&reader->reading, false);
        pthread_rwlock_rdlock(&index->map_lock); /* until it is through */
        pthread_rwlock_unlock(&index->map_lock);
        atomic_store(&reader->reading, true);
    }
    return start(reader);
}

int firn_index_read_begin(firn_index_reader *reader) {
    firn_index *index = reader->index;
    if (!firn_index_is_whole(index)) {
        return was_cut(index);
    }
    int error = index->read_only ? start_beside_writer(reader) : start_in_turn(reader);
    /* Release: whoever sees that it does not read sees its transaction at rest. */
    atomic_store_explicit(&reader->reading, error == 0, memory_order_release);
    return error == 0 ? FIRN_OK : fail(index, error, "begin to read");
}

void firn_index_read_end(firn_index_reader *reader) {
    if (!atomic_load_explicit(&reader->reading, memory_order_relaxed)) {
        return;
    }
    mdb_txn_reset(reader->txn);
    atomic_store_explicit(&reader->reading, false, memory_order_release); /* as in read_begin */
    if (reader->index->read_only) {
        pthread_rwlock_unlock(&reader->index->map_lock);
    }
}

int firn_index_get(firn_index_reader *reader, uint64_t hash, uint64_t *place) {
    MDB_val key = key_of(&hash);
    MDB_val value;
    int error = mdb_get(reader->txn, reader->index->index, &key, &value);
    if (error == 0 && !take_u64(&value, place)) {
        error = MDB_CORRUPTED;
    }
    if (error == MDB_NOTFOUND) {
        return FIRN_NOT_FOUND;
    }
    return error == 0 ? FIRN_OK : fail(reader->index, error, "read");
}

static int seek_once(firn_index_reader *reader, MDB_dbi dbi, uint64_t from, uint64_t *number,
                     MDB_val *value) {
    MDB_cursor *cursor;
    int error = mdb_cursor_open(reader->txn, dbi, &cursor);
    if (error == 0) {
        error = seek(cursor, from, number, value);
        mdb_cursor_close(cursor);
    }
    if (error == MDB_NOTFOUND) {
        return FIRN_NOT_FOUND;
    }
    return error == 0 ? FIRN_OK : fail(reader->index, error, "read");
}

int firn_index_next(firn_index_reader *reader, uint64_t from, uint64_t *hash, uint64_t *place) {
    MDB_val value;
    int result = seek_once(reader, reader->index->index, from, hash, &value);
    return result != FIRN_OK || take_u64(&value, place)
               ? result
               : fail(reader->index, MDB_CORRUPTED, "read");
}

int firn_index_walk(firn_index_reader *reader, uint64_t from, uint64_t *hashes, size_t most,
                    size_t *count) {
    MDB_cursor *cursor;
    MDB_val value;
    *count = 0;
    int error = mdb_cursor_open(reader->txn, reader->index->index, &cursor);
    if (error != 0) {
        return fail(reader->index, error, "read");
    }
    uint64_t hash;
    error = seek(cursor, from, &hash, &value);
    while (error == 0 && *count < most) {
        MDB_val key;
        hashes[(*count)++] = hash;
        error = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        if (error == 0 && !take_u64(&key, &hash)) {
            error = MDB_CORRUPTED;
        }
    }
    mdb_cursor_close(cursor);
    return error == 0 || error == MDB_NOTFOUND ? FIRN_OK : fail(reader->index, error, "read");
}

int firn_index_each(firn_index_reader *reader, void (*each)(void *context, uint64_t place),
                    void *context) {
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val value;
    int error = mdb_cursor_open(reader->txn, reader->index->index, &cursor);
    if (error != 0) {
        return fail(reader->index, error, "read");
    }
    while ((error = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        uint64_t place;
        if (!take_u64(&value, &place)) {
            error = MDB_CORRUPTED;
            break;
        }
        each(context, place);
    }
    mdb_cursor_close(cursor);
    return error == MDB_NOTFOUND ? FIRN_OK : fail(reader->index, error, "read");
}

int firn_index_next_segment(firn_index_reader *reader, uint64_t from, uint64_t *number,
                            firn_index_segment *segment) {
    MDB_val value;
    int result = seek_once(reader, reader->index->segments, from, number, &value);
    if (result != FIRN_OK) {
        return result;
    }
    stored_segment stored = {0};
    uint32_t count = 0;
    while (count < FIRN_EXPIRY_TIMES && stored_size(count) < value.mv_size) {
        count++;
    }
    if (value.mv_size != stored_size(count)) {
        return fail(reader->index, MDB_CORRUPTED, "read");
    }
    memcpy(&stored, value.mv_data, value.mv_size);
    *segment = (firn_index_segment){
        .slot = stored.slot,
        .live_count = stored.live_count,
        .live_bytes = stored.live_bytes,
        .expiry = {.bytes = stored.expiry_bytes, .count = count},
    };
    memcpy(segment->expiry.times, stored.times, count * sizeof *stored.times);
    return FIRN_OK;
}

int firn_index_read_usage(firn_index_reader *reader, firn_index_usage *usage) {
    const firn_index *index = reader->index;
    MDB_dbi all[] = {FREE_DBI, index->main, index->meta, index->index, index->segments};
    uint64_t pages = 2; /* LMDB's meta pages */
    *usage = (firn_index_usage){.page_bytes = index->page_bytes};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        MDB_stat stat;
        int error = mdb_stat(reader->txn, all[i], &stat);
        if (error != 0) {
            return fail(index, error, "read");
        }
        pages += stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
        usage->entries = all[i] == index->index ? stat.ms_entries : usage->entries;
    }
    usage->live_bytes = pages * index->page_bytes;
    usage->file_bytes = firn_index_file_bytes(index);
    return FIRN_OK;
}
