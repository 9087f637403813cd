/* Records in LMDB: four named databases in data.mdb.
 *
 *     meta     name -> number (little-endian u32 or u64)
 *     index    u64 key hash -> u64 sequence (MDB_INTEGERKEY)
 *     records  u64 sequence -> record (MDB_INTEGERKEY, written with MDB_APPEND)
 *     blobs    u64 number -> bytes (MDB_INTEGERKEY)
 *
 * The map starts small and is made larger under map_lock, whose write side keeps every read
 * session of the process out, because LMDB moves the map then. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include <lmdb.h>

#include "base/file.h"
#include "cold/backend.h"
#include "cold/lmdb_check.h"
#include "cold/store_files.h"

_Static_assert(sizeof(size_t) == sizeof(uint64_t), "MDB_INTEGERKEY holds 64-bit keys");

enum {
    READERS_MAX = 512, /* slots of all processes */
    MAP_START = 1 << 20,
    FREE_DBI = 0, /* LMDB's own list of free pages, as in its mdb_stat */
};

struct firn_backend {
    MDB_env *env;
    MDB_dbi main;
    MDB_dbi meta;
    MDB_dbi index;
    MDB_dbi records;
    MDB_dbi blobs;
    firn_heap *heap;
    firn_detail *detail;
    char *path; /* of the data file */
    uint32_t page_bytes;
    bool read_only;
    pthread_rwlock_t map_lock; /* read: a session reads. write: the map moves */
    bool unmapped;             /* map_lock: moving the map failed, and there is none now */
    MDB_txn *txn;              /* the writer's, NULL between transactions */
    MDB_cursor *cursor;        /* over records, of txn */
};

struct firn_backend_session {
    firn_backend *backend;
    MDB_txn *txn; /* reset between reads, so that it keeps no pages; NULL: none yet */
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

static int fail(const firn_backend *backend, int error, const char *what) {
    int code = code_of(backend->path, error);
    if (code == FIRN_BACKEND_FULL) {
        return code;
    }
    return firn_detail_set(backend->detail, code, "%s: cannot %s: %s%s", backend->path, what,
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

static int lmdb_check(const char *directory, bool thorough, firn_heap *heap, firn_detail *detail) {
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

static int open_databases_in(firn_backend *backend, MDB_txn *txn, unsigned create) {
    int error = mdb_dbi_open(txn, NULL, 0, &backend->main);
    if (error == 0) {
        error = mdb_dbi_open(txn, "meta", create, &backend->meta);
    }
    if (error == 0) {
        error =
            mdb_dbi_open(txn, "index", create != 0 ? create | MDB_INTEGERKEY : 0, &backend->index);
    }
    if (error == 0) {
        error = mdb_dbi_open(txn, "records", create != 0 ? create | MDB_INTEGERKEY : 0,
                             &backend->records);
    }
    if (error == 0) {
        error =
            mdb_dbi_open(txn, "blobs", create != 0 ? create | MDB_INTEGERKEY : 0, &backend->blobs);
    }
    unsigned index_flags = 0;
    unsigned record_flags = 0;
    unsigned blob_flags = 0;
    if (error == 0) {
        error = mdb_dbi_flags(txn, backend->index, &index_flags);
    }
    if (error == 0) {
        error = mdb_dbi_flags(txn, backend->records, &record_flags);
    }
    if (error == 0) {
        error = mdb_dbi_flags(txn, backend->blobs, &blob_flags);
    }
    if (error == 0 && (index_flags != MDB_INTEGERKEY || record_flags != MDB_INTEGERKEY ||
                       blob_flags != MDB_INTEGERKEY)) {
        error = MDB_INCOMPATIBLE;
    }
    return error == MDB_NOTFOUND ? MDB_INVALID : error;
}

static int open_databases(firn_backend *backend, bool create) {
    MDB_txn *txn;
    int error = mdb_txn_begin(backend->env, NULL, create ? 0 : MDB_RDONLY, &txn);
    if (error != 0) {
        return error;
    }
    error = open_databases_in(backend, txn, create ? MDB_CREATE : 0);
    if (error != 0) {
        mdb_txn_abort(txn);
        return error;
    }
    return mdb_txn_commit(txn); /* also of a read: it keeps the handles */
}

/* The map a writer begins with: small, but not below what the file takes. */
static size_t first_map_bytes(const char *path, uint64_t limit) {
    struct stat status;
    uint64_t bytes = MAP_START < limit ? MAP_START : limit;
    if (stat(path, &status) == 0 && (uint64_t)status.st_size > bytes) {
        bytes = (uint64_t)status.st_size;
    }
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    return (size_t)(bytes / page * page);
}

static int open_env(firn_backend *backend, const firn_backend_config *config) {
    int error = mdb_env_create(&backend->env);
    if (error != 0) {
        return error;
    }
    mdb_env_set_maxdbs(backend->env, 4);
    mdb_env_set_maxreaders(backend->env, READERS_MAX);
    unsigned flags = MDB_NOTLS | MDB_NORDAHEAD;
    if (config->read_only) {
        flags |= MDB_RDONLY;
    } else {
        flags |= config->sync_commits ? 0 : MDB_NOSYNC;
        error =
            mdb_env_set_mapsize(backend->env, first_map_bytes(backend->path, config->limit_bytes));
    }
    if (error == 0) {
        error = mdb_env_open(backend->env, config->directory, flags, 0666);
    }
    if (error == 0) {
        int dead;
        mdb_reader_check(backend->env, &dead);
        error = open_databases(backend, config->create);
    }
    MDB_stat stat;
    if (error == 0) {
        error = mdb_env_stat(backend->env, &stat);
    }
    backend->page_bytes = error == 0 ? stat.ms_psize : 0;
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

static void lmdb_close(firn_backend *backend) {
    if (backend->env != NULL) {
        mdb_env_close(backend->env);
    }
    pthread_rwlock_destroy(&backend->map_lock);
    firn_path_free(backend->heap, backend->path);
    firn_heap_free(backend->heap, backend, sizeof *backend);
}

static int lmdb_open(firn_backend **out, const firn_backend_config *config) {
    *out = NULL;
    firn_backend *backend = firn_heap_zalloc(config->heap, sizeof *backend);
    char *path = firn_path_join(config->heap, config->directory, FIRN_DATA_FILE);
    if (backend == NULL || path == NULL || init_lock(&backend->map_lock) != 0) {
        firn_path_free(config->heap, path);
        firn_heap_free(config->heap, backend, sizeof *backend);
        return firn_detail_set(config->detail, FIRN_ENOMEM, "%s: no memory to open it",
                               config->directory);
    }
    backend->heap = config->heap;
    backend->detail = config->detail;
    backend->path = path;
    backend->read_only = config->read_only;
    int error = open_env(backend, config);
    if (error != 0) {
        int code = fail(backend, error, "open");
        if (code == FIRN_BACKEND_FULL) {
            code =
                firn_detail_set(config->detail, FIRN_ENOSPC,
                                "%s: no room to make a store; give it a larger cold_bytes", path);
        }
        lmdb_close(backend);
        return code;
    }
    *out = backend;
    return FIRN_OK;
}

static int lmdb_fingerprint(firn_backend *backend, firn_fingerprint *fingerprint) {
    int fd;
    struct stat status;
    MDB_envinfo info;
    if (mdb_env_get_fd(backend->env, &fd) != 0 || fstat(fd, &status) != 0) {
        return fail(backend, errno, "look at");
    }
    mdb_env_info(backend->env, &info);
    *fingerprint = (firn_fingerprint){
        .file_bytes = (uint64_t)status.st_size,
        .mtime_ns =
            (uint64_t)status.st_mtim.tv_sec * 1000000000u + (uint64_t)status.st_mtim.tv_nsec,
        .transaction = info.me_last_txnid,
    };
    return FIRN_OK;
}

static int lmdb_sync(firn_backend *backend) {
    int error = backend->read_only ? 0 : mdb_env_sync(backend->env, 1);
    return error == 0 ? FIRN_OK : fail(backend, error, "sync");
}

/* ---- the map's size, and readers ---- */

/* Called with map_lock held for writing. */
static int set_map_locked(firn_backend *backend, size_t bytes) {
    int error = mdb_env_set_mapsize(backend->env, bytes);
    if (error != 0) {
        backend->unmapped = true;
    }
    return error;
}

static int lmdb_resize(firn_backend *backend, uint64_t *bytes) {
    MDB_envinfo info;
    pthread_rwlock_wrlock(&backend->map_lock);
    int error = 0;
    mdb_env_info(backend->env, &info);
    size_t wanted = (size_t)(*bytes / backend->page_bytes * backend->page_bytes);
    if (info.me_mapsize != wanted) {
        error = set_map_locked(backend, wanted);
        mdb_env_info(backend->env, &info);
    }
    pthread_rwlock_unlock(&backend->map_lock);
    *bytes = info.me_mapsize;
    return error == 0 ? FIRN_OK : fail(backend, error, "map");
}

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

static bool has_old_reader(firn_backend *backend) {
    MDB_envinfo info;
    mdb_env_info(backend->env, &info);
    reader_search search = {info.me_last_txnid, false};
    mdb_reader_list(backend->env, look_at_reader, &search);
    return search.found;
}

static bool lmdb_wait_readers(firn_backend *backend, unsigned max_ms) {
    int dead;
    mdb_reader_check(backend->env, &dead);
    for (unsigned waited = 0; has_old_reader(backend); waited++) {
        if (waited >= max_ms) {
            return false;
        }
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return true;
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

static void lmdb_abort(firn_backend *backend) {
    if (backend->cursor != NULL) {
        mdb_cursor_close(backend->cursor);
        backend->cursor = NULL;
    }
    if (backend->txn != NULL) {
        mdb_txn_abort(backend->txn);
        backend->txn = NULL;
    }
}

static int lmdb_begin(firn_backend *backend) {
    if (backend->unmapped) { /* written by this thread alone */
        return firn_detail_set(backend->detail, FIRN_ENOMEM,
                               "%s: is no longer mapped, for want of address space; close and open "
                               "the store again",
                               backend->path);
    }
    int error = mdb_txn_begin(backend->env, NULL, 0, &backend->txn);
    if (error == 0) {
        error = mdb_cursor_open(backend->txn, backend->records, &backend->cursor);
    }
    if (error != 0) {
        int code = fail(backend, error, "begin a transaction in");
        lmdb_abort(backend);
        return code;
    }
    return FIRN_OK;
}

static int lmdb_commit(firn_backend *backend) {
    mdb_cursor_close(backend->cursor);
    backend->cursor = NULL;
    int error = mdb_txn_commit(backend->txn);
    backend->txn = NULL;
    return error == 0 ? FIRN_OK : fail(backend, error, "commit to");
}

/* LMDB loads only as much of its list of free pages as it needs, and that list's own pages lie
 * scattered between the free ones. Asking for a long run makes it load the list; when the run is
 * given back within the same transaction, nothing is written but the list, in one piece. */
static int load_free_list(firn_backend *backend, size_t bytes) {
    static char name[] = "squeeze"; /* is never committed */
    MDB_val key = {sizeof name - 1, name};
    MDB_val value = {bytes, NULL};
    MDB_txn *txn;
    int error = mdb_txn_begin(backend->env, NULL, 0, &txn);
    if (error != 0) {
        return error;
    }
    error = mdb_put(txn, backend->meta, &key, &value, MDB_RESERVE);
    if (error == 0) {
        error = mdb_del(txn, backend->meta, &key, NULL);
    }
    if (error != 0) {
        mdb_txn_abort(txn);
        return error;
    }
    return mdb_txn_commit(txn);
}

static int lmdb_squeeze(firn_backend *backend, uint64_t bytes) {
    int error = MDB_MAP_FULL;
    for (size_t run = (size_t)bytes; error == MDB_MAP_FULL && run >= backend->page_bytes;
         run /= 2) {
        error = load_free_list(backend, run);
    }
    return error == 0 || error == MDB_MAP_FULL ? FIRN_OK : fail(backend, error, "write");
}

/* Index, then record. A record that is gone is no entry. */
static int find_in(const firn_backend *backend, MDB_txn *txn, uint64_t hash, uint64_t *sequence,
                   firn_bytes *record) {
    MDB_val key = key_of(&hash);
    MDB_val value;
    int error = mdb_get(txn, backend->index, &key, &value);
    if (error == 0 && !take_u64(&value, sequence)) {
        error = MDB_CORRUPTED;
    }
    if (error == 0) {
        key = key_of(sequence);
        error = mdb_get(txn, backend->records, &key, &value);
    }
    if (error == MDB_NOTFOUND) {
        return FIRN_NOT_FOUND;
    }
    if (error != 0) {
        return fail(backend, error, "read");
    }
    *record = (firn_bytes){value.mv_data, value.mv_size};
    return FIRN_OK;
}

static int lmdb_find(firn_backend *backend, uint64_t hash, uint64_t *sequence, firn_bytes *record) {
    return find_in(backend, backend->txn, hash, sequence, record);
}

static int lmdb_put(firn_backend *backend, uint64_t hash, uint64_t sequence,
                    const firn_bytes *parts, size_t count) {
    MDB_val key = key_of(&sequence);
    MDB_val value = {0, NULL};
    for (size_t i = 0; i < count; i++) {
        value.mv_size += parts[i].size;
    }
    int error = mdb_put(backend->txn, backend->records, &key, &value, MDB_RESERVE | MDB_APPEND);
    if (error != 0) {
        return fail(backend, error, "write a record to");
    }
    unsigned char *to = value.mv_data;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].size > 0) {
            memcpy(to, parts[i].data, parts[i].size);
            to += parts[i].size;
        }
    }
    key = key_of(&hash);
    value = key_of(&sequence);
    error = mdb_put(backend->txn, backend->index, &key, &value, 0);
    return error == 0 ? FIRN_OK : fail(backend, error, "write the index of");
}

static int lmdb_remove(firn_backend *backend, uint64_t hash, uint64_t sequence) {
    MDB_val key = key_of(&sequence);
    MDB_val value;
    int error = mdb_del(backend->txn, backend->records, &key, NULL);
    if (error != 0 && error != MDB_NOTFOUND) {
        return fail(backend, error, "remove a record from");
    }
    key = key_of(&hash);
    error = mdb_get(backend->txn, backend->index, &key, &value);
    uint64_t pointed;
    if (error == MDB_NOTFOUND ||
        (error == 0 && take_u64(&value, &pointed) && pointed != sequence)) {
        return FIRN_NOT_FOUND;
    }
    if (error == 0) {
        error = mdb_del(backend->txn, backend->index, &key, NULL);
    }
    return error == 0 ? FIRN_OK : fail(backend, error, "write the index of");
}

static int lmdb_sweep(firn_backend *backend, uint64_t sequence) {
    MDB_cursor *cursor;
    int error = mdb_cursor_open(backend->txn, backend->index, &cursor);
    if (error != 0) {
        return fail(backend, error, "read the index of");
    }
    MDB_val key;
    MDB_val value;
    while ((error = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        uint64_t pointed;
        if (take_u64(&value, &pointed) && pointed == sequence) {
            error = mdb_cursor_del(cursor, 0);
            break;
        }
    }
    mdb_cursor_close(cursor);
    return error == 0 || error == MDB_NOTFOUND ? FIRN_OK
                                               : fail(backend, error, "write the index of");
}

/* The cursor's first entry with a key of at least `from`. */
static int seek(MDB_cursor *cursor, uint64_t from, uint64_t *number, MDB_val *value) {
    MDB_val key = key_of(&from);
    int error = mdb_cursor_get(cursor, &key, value, MDB_SET_RANGE);
    return error == 0 && !take_u64(&key, number) ? MDB_CORRUPTED : error;
}

static int lmdb_oldest(firn_backend *backend, uint64_t from, uint64_t *sequence,
                       firn_bytes *record) {
    MDB_val value;
    int error = seek(backend->cursor, from, sequence, &value);
    if (error != 0) {
        return error == MDB_NOTFOUND ? FIRN_NOT_FOUND : fail(backend, error, "read");
    }
    *record = (firn_bytes){value.mv_data, value.mv_size};
    return FIRN_OK;
}

static int lmdb_clear(firn_backend *backend) {
    int error = mdb_drop(backend->txn, backend->records, 0);
    if (error == 0) {
        error = mdb_drop(backend->txn, backend->index, 0);
    }
    return error == 0 ? FIRN_OK : fail(backend, error, "clear");
}

/* ---- blobs ---- */

/* Ends a transaction of its own, and pushes it to the device. */
static int finish_blob(firn_backend *backend, MDB_txn *txn, int error) {
    if (error != 0) {
        mdb_txn_abort(txn);
    } else {
        error = mdb_txn_commit(txn);
    }
    if (error == 0) {
        error = mdb_env_sync(backend->env, 1);
    }
    return error == MDB_NOTFOUND ? FIRN_NOT_FOUND
           : error == 0          ? FIRN_OK
                                 : fail(backend, error, "write a dictionary to");
}

static int lmdb_put_blob(firn_backend *backend, uint64_t number, const firn_bytes *blob) {
    MDB_txn *txn;
    int error = mdb_txn_begin(backend->env, NULL, 0, &txn);
    if (error != 0) {
        return fail(backend, error, "begin a transaction in");
    }
    MDB_val key = key_of(&number);
    MDB_val value = {blob->size, NULL};
    error = mdb_put(txn, backend->blobs, &key, &value, MDB_RESERVE);
    if (error == 0) {
        memcpy(value.mv_data, blob->data, blob->size);
    }
    return finish_blob(backend, txn, error);
}

static int lmdb_remove_blob(firn_backend *backend, uint64_t number) {
    MDB_txn *txn;
    int error = mdb_txn_begin(backend->env, NULL, 0, &txn);
    if (error != 0) {
        return fail(backend, error, "begin a transaction in");
    }
    MDB_val key = key_of(&number);
    return finish_blob(backend, txn, mdb_del(txn, backend->blobs, &key, NULL));
}

static int usage_in(const firn_backend *backend, MDB_txn *txn, firn_backend_usage *usage) {
    MDB_dbi all[] = {FREE_DBI,       backend->main,    backend->meta,
                     backend->index, backend->records, backend->blobs};
    uint64_t pages = 2; /* LMDB's meta pages */
    *usage = (firn_backend_usage){.page_bytes = backend->page_bytes};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        MDB_stat stat;
        int error = mdb_stat(txn, all[i], &stat);
        if (error != 0) {
            return fail(backend, error, "read");
        }
        pages += stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
        usage->entries = all[i] == backend->index ? stat.ms_entries : usage->entries;
        usage->records = all[i] == backend->records ? stat.ms_entries : usage->records;
    }
    usage->live_bytes = pages * backend->page_bytes;
    int fd;
    struct stat status;
    if (mdb_env_get_fd(backend->env, &fd) != 0 || fstat(fd, &status) != 0) {
        return fail(backend, errno, "look at");
    }
    usage->file_bytes = (uint64_t)status.st_size;
    return FIRN_OK;
}

static int lmdb_usage(firn_backend *backend, firn_backend_usage *usage) {
    return usage_in(backend, backend->txn, usage);
}

/* ---- meta numbers ---- */

typedef struct meta_field {
    const char *name;
    size_t offset; /* within firn_backend_meta */
    size_t size;
} meta_field;

#define META_FIELD(field)                                                                          \
    { #field, offsetof(firn_backend_meta, field), sizeof((firn_backend_meta *)0)->field }

static const meta_field meta_fields[] = {
    META_FIELD(format), META_FIELD(store_id),     META_FIELD(seed),          META_FIELD(created_ms),
    META_FIELD(budget), META_FIELD(version_next), META_FIELD(sequence_next),
};

static MDB_val name_of(const meta_field *field) {
    char *name;
    memcpy(&name, &field->name, sizeof name); /* LMDB's keys are not const, and are not written */
    return (MDB_val){.mv_size = strlen(name), .mv_data = name};
}

/* Numbers that have not changed are not written again. The host is little-endian. */
static int lmdb_set_meta(firn_backend *backend, const firn_backend_meta *meta) {
    for (size_t i = 0; i < sizeof meta_fields / sizeof meta_fields[0]; i++) {
        const meta_field *field = &meta_fields[i];
        unsigned char bytes[8];
        memcpy(bytes, (const unsigned char *)meta + field->offset, field->size);
        MDB_val key = name_of(field);
        MDB_val value;
        int error = mdb_get(backend->txn, backend->meta, &key, &value);
        if (error == 0 && value.mv_size == field->size &&
            memcmp(value.mv_data, bytes, field->size) == 0) {
            continue;
        }
        value = (MDB_val){.mv_size = field->size, .mv_data = bytes};
        error = mdb_put(backend->txn, backend->meta, &key, &value, 0);
        if (error != 0) {
            return fail(backend, error, "write");
        }
    }
    return FIRN_OK;
}

static int lmdb_read_meta(firn_backend_session *session, firn_backend_meta *meta) {
    const firn_backend *backend = session->backend;
    for (size_t i = 0; i < sizeof meta_fields / sizeof meta_fields[0]; i++) {
        const meta_field *field = &meta_fields[i];
        MDB_val key = name_of(field);
        MDB_val value;
        int error = mdb_get(session->txn, backend->meta, &key, &value);
        if (error == MDB_NOTFOUND || (error == 0 && value.mv_size != field->size)) {
            return firn_detail_set(backend->detail, FIRN_ECORRUPT,
                                   "%s: its number \"%s\" is missing%s", backend->path, field->name,
                                   advice(FIRN_ECORRUPT));
        }
        if (error != 0) {
            return fail(backend, error, "read");
        }
        memcpy((unsigned char *)meta + field->offset, value.mv_data, field->size);
    }
    return FIRN_OK;
}

/* ---- readers ---- */

static int lmdb_session_new(firn_backend *backend, firn_backend_session **out) {
    *out = firn_heap_zalloc(backend->heap, sizeof **out);
    if (*out == NULL) {
        return firn_detail_set(backend->detail, FIRN_ENOMEM, "%s: no memory to read it",
                               backend->path);
    }
    (*out)->backend = backend;
    return FIRN_OK;
}

static void lmdb_session_free(firn_backend_session *session) {
    if (session->txn != NULL) {
        mdb_txn_abort(session->txn);
    }
    firn_heap_free(session->backend->heap, session, sizeof *session);
}

/* Called with map_lock held for reading. */
static int start_locked(firn_backend_session *session) {
    MDB_env *env = session->backend->env;
    if (session->backend->unmapped) {
        return ENOMEM;
    }
    if (session->txn != NULL) {
        return mdb_txn_renew(session->txn);
    }
    int error = mdb_txn_begin(env, NULL, MDB_RDONLY, &session->txn);
    if (error == MDB_READERS_FULL) {
        int dead;
        mdb_reader_check(env, &dead);
        error = mdb_txn_begin(env, NULL, MDB_RDONLY, &session->txn);
    }
    if (error != 0) {
        session->txn = NULL;
    }
    return error;
}

static int lmdb_read_begin(firn_backend_session *session) {
    firn_backend *backend = session->backend;
    int error;
    for (;;) {
        pthread_rwlock_rdlock(&backend->map_lock);
        error = start_locked(session);
        if (error == 0) {
            return FIRN_OK; /* map_lock stays held until lmdb_read_end */
        }
        pthread_rwlock_unlock(&backend->map_lock);
        if (error != MDB_MAP_RESIZED) {
            return fail(backend, error, "begin to read");
        }
        /* A writer in another process has enlarged the file: take over its size. */
        pthread_rwlock_wrlock(&backend->map_lock);
        error = set_map_locked(backend, 0);
        pthread_rwlock_unlock(&backend->map_lock);
        if (error != 0) {
            return fail(backend, error, "map");
        }
    }
}

static void lmdb_read_end(firn_backend_session *session) {
    mdb_txn_reset(session->txn);
    pthread_rwlock_unlock(&session->backend->map_lock);
}

static int lmdb_lookup(firn_backend_session *session, uint64_t hash, uint64_t *sequence,
                       firn_bytes *record) {
    return find_in(session->backend, session->txn, hash, sequence, record);
}

static int seek_once(firn_backend_session *session, MDB_dbi dbi, uint64_t from, uint64_t *number,
                     MDB_val *value) {
    MDB_cursor *cursor;
    int error = mdb_cursor_open(session->txn, dbi, &cursor);
    if (error == 0) {
        error = seek(cursor, from, number, value);
        mdb_cursor_close(cursor);
    }
    if (error == MDB_NOTFOUND) {
        return FIRN_NOT_FOUND;
    }
    return error == 0 ? FIRN_OK : fail(session->backend, error, "read");
}

static int lmdb_next_record(firn_backend_session *session, uint64_t from, uint64_t *sequence,
                            firn_bytes *record) {
    MDB_val value;
    int result = seek_once(session, session->backend->records, from, sequence, &value);
    if (result == FIRN_OK) {
        *record = (firn_bytes){value.mv_data, value.mv_size};
    }
    return result;
}

static int lmdb_next_index(firn_backend_session *session, uint64_t from, uint64_t *hash,
                           uint64_t *sequence) {
    MDB_val value;
    int result = seek_once(session, session->backend->index, from, hash, &value);
    if (result == FIRN_OK && !take_u64(&value, sequence)) {
        return fail(session->backend, MDB_CORRUPTED, "read the index of");
    }
    return result;
}

static int lmdb_get_blob(firn_backend_session *session, uint64_t number, firn_bytes *blob) {
    MDB_val key = key_of(&number);
    MDB_val value;
    int error = mdb_get(session->txn, session->backend->blobs, &key, &value);
    if (error == MDB_NOTFOUND) {
        return FIRN_NOT_FOUND;
    }
    if (error != 0) {
        return fail(session->backend, error, "read a dictionary from");
    }
    *blob = (firn_bytes){value.mv_data, value.mv_size};
    return FIRN_OK;
}

static int lmdb_next_blob(firn_backend_session *session, uint64_t from, uint64_t *number,
                          firn_bytes *blob) {
    MDB_val value;
    int result = seek_once(session, session->backend->blobs, from, number, &value);
    if (result == FIRN_OK) {
        *blob = (firn_bytes){value.mv_data, value.mv_size};
    }
    return result;
}

static int lmdb_read_usage(firn_backend_session *session, firn_backend_usage *usage) {
    return usage_in(session->backend, session->txn, usage);
}

const firn_backend_ops firn_backend_lmdb = {
    .name = "lmdb",
    .check = lmdb_check,
    .open = lmdb_open,
    .close = lmdb_close,
    .fingerprint = lmdb_fingerprint,
    .sync = lmdb_sync,
    .resize = lmdb_resize,
    .wait_readers = lmdb_wait_readers,
    .squeeze = lmdb_squeeze,
    .begin = lmdb_begin,
    .find = lmdb_find,
    .put = lmdb_put,
    .remove = lmdb_remove,
    .sweep = lmdb_sweep,
    .oldest = lmdb_oldest,
    .clear = lmdb_clear,
    .usage = lmdb_usage,
    .set_meta = lmdb_set_meta,
    .commit = lmdb_commit,
    .abort = lmdb_abort,
    .put_blob = lmdb_put_blob,
    .remove_blob = lmdb_remove_blob,
    .session_new = lmdb_session_new,
    .session_free = lmdb_session_free,
    .read_begin = lmdb_read_begin,
    .read_end = lmdb_read_end,
    .lookup = lmdb_lookup,
    .next_record = lmdb_next_record,
    .next_index = lmdb_next_index,
    .get_blob = lmdb_get_blob,
    .next_blob = lmdb_next_blob,
    .read_meta = lmdb_read_meta,
    .read_usage = lmdb_read_usage,
};
