/* The log backend: records in a log, an index of them in LMDB. Opening, recovery, and what it tells
 * of itself. See backend_log.h. */
#include "cold/backend_log.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cold/blobs.h"
#include "cold/store_files.h"

enum {
    SEGMENTS_IN_BUDGET = 64, /* at least, where the segment's bounds allow it */
    SEGMENT_USUAL_MAX = 1 << 20,
    SEGMENT_LARGE = 4 << 20,    /* for stores of LARGE_BUDGET and more */
    BYTES_A_DELTA_ENTRY = 2048, /* of the budget */
    INDEX_ENTRY_MAX = 56,       /* bytes that an entry of the index takes, with all that is idle */
};

#define LARGE_BUDGET (UINT64_C(1) << 36)

static uint32_t segment_bytes_for(uint64_t budget) {
    uint64_t most = budget >= LARGE_BUDGET ? SEGMENT_LARGE : SEGMENT_USUAL_MAX;
    uint64_t bytes = FIRN_LOG_SEGMENT_MIN;
    while (bytes < most && bytes * 2 <= budget / SEGMENTS_IN_BUDGET) {
        bytes *= 2;
    }
    return (uint32_t)bytes;
}

static size_t delta_max_for(uint64_t budget) {
    size_t max = FIRN_DELTA_MIN;
    while (max < FIRN_DELTA_MAX && max * 2 <= budget / BYTES_A_DELTA_ENTRY) {
        max *= 2;
    }
    return max;
}

static int log_check(const char *directory, bool thorough, firn_heap *heap, firn_detail *detail) {
    return firn_index_check(directory, thorough, heap, detail);
}

/* ---- open and close ---- */

static void log_close(firn_backend *backend) {
    firn_heap *heap = backend->heap;
    bool is_current = backend->log != NULL && backend->checkpoint == firn_log_end(backend->log);
    firn_delta_file_close(backend->delta_file, is_current);
    firn_filter_close(backend);
    firn_session_free(backend->own);
    firn_staging_fini(backend);
    firn_index_close(backend->index);
    firn_log_close(backend->log);
    for (unsigned i = 0; i < 2; i++) {
        firn_delta_fini(&backend->deltas[i], heap);
    }
    if (backend->lives != NULL) {
        firn_heap_free(heap, backend->lives,
                       (size_t)(backend->lives_mask + 1) * sizeof *backend->lives);
    }
    if (backend->directory != NULL) {
        firn_heap_free(heap, backend->directory, strlen(backend->directory) + 1);
    }
    pthread_rwlock_destroy(&backend->follow_lock);
    pthread_mutex_destroy(&backend->sync_lock);
    firn_heap_free(heap, backend, sizeof *backend);
}

static int init_deltas(firn_backend *backend, uint64_t budget) {
    /* A reader may have to take in what a writer froze and what came since. */
    backend->delta_max = delta_max_for(budget) * (backend->read_only ? 2 : 1);
    int result = firn_delta_init(&backend->deltas[0], backend->heap, FIRN_DELTA_MIN);
    if (result == FIRN_OK) {
        result = firn_delta_init(&backend->deltas[1], backend->heap,
                                 backend->read_only ? 1 : FIRN_DELTA_MIN);
    }
    atomic_init(&backend->active, &backend->deltas[0]);
    atomic_init(&backend->frozen, &backend->deltas[1]);
    return result == FIRN_OK
               ? FIRN_OK
               : firn_detail_set(backend->detail, result, "no memory to open the store");
}

static int read_meta_in(firn_backend *backend, firn_index_meta *meta) {
    firn_index_reader *reader = backend->own->reader;
    int result = firn_index_read_begin(reader);
    if (result == FIRN_OK) {
        result = firn_index_read_meta(reader, meta);
        firn_index_read_end(reader);
    }
    return result;
}

static int first_commit(firn_backend *backend) {
    firn_index_meta meta = {backend->meta, firn_log_end(backend->log), 0};
    int result = firn_index_begin(backend->index);
    if (result != FIRN_OK) {
        return result;
    }
    result = firn_index_set_meta(backend->index, &meta);
    if (result != FIRN_OK) {
        firn_index_abort(backend->index);
        return result;
    }
    backend->checkpoint = backend->known = backend->noted = meta.checkpoint;
    return firn_index_commit(backend->index);
}

static int open_log(firn_backend *backend, const firn_backend_config *config) {
    firn_log_config to = {
        .directory = config->directory,
        .heap = config->heap,
        .detail = config->detail,
        .identity = {backend->meta.store_id, backend->meta.seed, backend->meta.created_ms},
        .segment_bytes = segment_bytes_for(config->limit_bytes),
        .limit_bytes = config->limit_bytes,
        .read_only = config->read_only,
        .create = config->create,
    };
    int result = firn_log_open(&backend->log, &to);
    if (result == FIRN_OK) {
        backend->payload = firn_log_payload(backend->log);
        atomic_init(&backend->index_doubt, firn_log_index_doubt(backend->log) && !config->rebuild);
        if (config->clean) {
            firn_log_trust(backend->log);
        }
    }
    return result;
}

/* An index that is made anew takes the place of the old one; who still reads that keeps it. */
static int remove_index(const firn_backend_config *config) {
    static const char *const names[] = {FIRN_DATA_FILE, "lock.mdb"};
    for (unsigned i = 0; i < 2; i++) {
        char *path = firn_path_join(config->heap, config->directory, names[i]);
        int failed = path == NULL ? ENOMEM : unlink(path) != 0 && errno != ENOENT ? errno : 0;
        firn_path_free(config->heap, path);
        if (failed != 0) {
            return firn_detail_set(config->detail, firn_code_of_errno(failed),
                                   "%s: cannot remove %s: %s", config->directory, names[i],
                                   strerror(failed));
        }
    }
    return FIRN_OK;
}

static int meta_from_log(const firn_backend_config *config, firn_backend_meta *meta) {
    firn_log_identity identity;
    int result = firn_log_identify(config->directory, &identity, config->heap, config->detail);
    if (result == FIRN_OK) {
        *meta = (firn_backend_meta){
            .format = FIRN_STORE_FORMAT,
            .store_id = identity.store_id,
            .seed = identity.seed,
            .created_ms = identity.created_ms,
            .budget = config->limit_bytes,
            .version_next = 1,
        };
        result = config->read_only ? FIRN_OK : remove_index(config);
    }
    return result == FIRN_NOT_FOUND
               ? firn_detail_set(config->detail, FIRN_ECORRUPT,
                                 "%s: its log is missing; remove the store, or open it with "
                                 "set_aside_damaged",
                                 config->directory)
               : result;
}

static int open_parts(firn_backend *backend, const firn_backend_config *config) {
    firn_index_meta meta = {0};
    int result = config->rebuild ? meta_from_log(config, &meta.store) : FIRN_OK;
    if (result == FIRN_OK && !(config->rebuild && config->read_only)) {
        firn_backend_config index_config = *config;
        index_config.create = config->create || config->rebuild;
        result = firn_index_open(&backend->index, &index_config, backend->index_limit);
    }
    if (result == FIRN_OK) {
        result = firn_session_new(backend, &backend->own);
    }
    if (result == FIRN_OK && config->create) {
        meta.store = *config->meta;
    } else if (result == FIRN_OK && !config->rebuild) {
        result = read_meta_in(backend, &meta);
    }
    if (result != FIRN_OK || meta.store.format != FIRN_STORE_FORMAT) {
        backend->meta = meta.store; /* another format: it is told, and nothing else */
        return result;
    }
    backend->meta = meta.store;
    result = open_log(backend, config);
    if (result == FIRN_OK) {
        result =
            init_deltas(backend, config->read_only ? backend->meta.budget : config->limit_bytes);
    }
    if (result == FIRN_OK && !config->read_only) {
        backend->delta_file =
            firn_delta_file_open(config->directory, backend->meta.store_id, backend->heap);
        result = firn_staging_init(backend);
    }
    if (result == FIRN_OK && !config->read_only) {
        result = firn_filter_open(backend, config->filter_bytes_max);
    }
    return result == FIRN_OK && config->create ? first_commit(backend) : result;
}

static int log_open(firn_backend **out, const firn_backend_config *config) {
    *out = NULL;
    firn_backend *backend = firn_heap_zalloc(config->heap, sizeof *backend);
    if (backend == NULL || pthread_rwlock_init(&backend->follow_lock, NULL) != 0) {
        firn_heap_free(config->heap, backend, sizeof *backend);
        return firn_detail_set(config->detail, FIRN_ENOMEM, "%s: no memory to open it",
                               config->directory);
    }
    pthread_mutex_init(&backend->sync_lock, NULL);
    backend->heap = config->heap;
    backend->detail = config->detail;
    backend->read_only = config->read_only;
    backend->sync_commits = config->sync_commits;
    backend->rebuilding = config->rebuild;
    backend->clean = config->clean;
    backend->limit_bytes = config->limit_bytes;
    backend->index_limit = config->limit_bytes / 8 * 5;
    backend->entries_max = backend->index_limit / INDEX_ENTRY_MAX;
    backend->identify = config->identify;
    backend->identify_context = config->identify_context;
    backend->directory = firn_heap_strdup(config->heap, config->directory);
    int result = backend->directory != NULL ? open_parts(backend, config) : FIRN_ENOMEM;
    if (result != FIRN_OK) {
        log_close(backend);
        return result;
    }
    *out = backend;
    return FIRN_OK;
}

static int log_read_meta(firn_backend *backend, firn_backend_meta *meta) {
    firn_index_meta full = {.store = backend->meta};
    int result = backend->rebuilding ? FIRN_OK : read_meta_in(backend, &full);
    *meta = full.store;
    return result;
}

/* ---- recovery ---- */

/* In a store that was closed clean the index knows where each segment lies. */
static int place_segments(firn_backend *backend) {
    firn_index_reader *reader = backend->own->reader;
    int result = firn_index_read_begin(reader);
    if (result != FIRN_OK) {
        return result;
    }
    uint64_t from = firn_log_tail(backend->log);
    uint64_t number;
    firn_index_segment segment;
    while ((result = firn_index_next_segment(reader, from, &number, &segment)) == FIRN_OK) {
        if (firn_log_place(backend->log, number, segment.slot) != FIRN_OK) {
            break; /* then the slots themselves are asked */
        }
        from = number + 1;
    }
    firn_index_read_end(reader);
    return result == FIRN_NOT_FOUND ? FIRN_OK : result;
}

static uint64_t missing_segments(const firn_backend *backend) {
    uint64_t missing = 0;
    for (uint64_t n = firn_log_tail(backend->log);
         n * backend->payload < firn_log_end(backend->log); n++) {
        missing += firn_log_slot(backend->log, n) == FIRN_LOG_NO_SLOT;
    }
    return missing;
}

/* Nothing can be appended to a segment that is not there: the log goes on with the next. */
static void leave_lost_head(firn_backend *backend) {
    uint64_t end = firn_log_end(backend->log);
    uint64_t begun = end % backend->payload;
    if (begun != 0 &&
        firn_log_slot(backend->log, firn_log_number(backend->payload, end)) == FIRN_LOG_NO_SLOT) {
        firn_log_set_end(backend->log, end - begun + backend->payload);
        backend->known = backend->known == end ? firn_log_end(backend->log) : backend->known;
    }
}

/* The index came to the device and the log's header did not: where the log begins and ends is taken
 * from the checkpoint, in which each segment has a row. */
static int take_range(firn_backend *backend) {
    firn_index_reader *reader = backend->own->reader;
    uint64_t tail = firn_log_number(backend->payload, backend->checkpoint);
    uint64_t first;
    firn_index_segment segment;
    int result = firn_index_read_begin(reader);
    if (result != FIRN_OK) {
        return result;
    }
    result = firn_index_next_segment(reader, 0, &first, &segment);
    firn_index_read_end(reader);
    tail = result == FIRN_OK && first < tail ? first : tail;
    tail = tail > firn_log_tail(backend->log) ? tail : firn_log_tail(backend->log);
    return result == FIRN_OK || result == FIRN_NOT_FOUND
               ? firn_log_set_range(backend->log, tail, backend->checkpoint)
               : result;
}

static int find_segments(firn_backend *backend, firn_backend_recovery *recovery) {
    int result = FIRN_OK;
    /* After an unclean end a segment may have been moved since. */
    if (backend->clean && backend->checkpoint == firn_log_end(backend->log)) {
        result = place_segments(backend);
    }
    if (result == FIRN_OK && backend->checkpoint > firn_log_end(backend->log)) {
        result = take_range(backend);
    }
    if (result == FIRN_OK && !firn_log_is_complete(backend->log)) {
        result = firn_log_scan(backend->log, false);
        backend->moves_stored = UINT64_MAX; /* what the index says of slots may be old */
    } else {
        backend->moves_stored = firn_log_moves(backend->log);
    }
    if (result == FIRN_OK) {
        recovery->lost = missing_segments(backend);
        leave_lost_head(backend);
    }
    return result;
}

static int load_lives(firn_backend *backend) {
    firn_index_reader *reader = backend->own->reader;
    firn_index_usage usage;
    int result = firn_lives_reserve(backend);
    if (result == FIRN_OK) {
        result = firn_index_read_begin(reader);
    }
    if (result == FIRN_OK) {
        result = firn_lives_load(backend, reader);
        if (result == FIRN_OK) {
            result = firn_index_read_usage(reader, &usage);
        }
        firn_index_read_end(reader);
    }
    if (result == FIRN_OK) {
        backend->index_entries = usage.entries;
        backend->index_live_bytes = usage.live_bytes;
        uint64_t entries = atomic_load_explicit(&backend->entries, memory_order_relaxed);
        backend->dead = usage.entries > entries ? usage.entries - entries : 0;
    }
    return result;
}

/* A store that was made for a much larger budget has segments too large for this one. */
static int fit_segments(firn_backend *backend) {
    uint64_t few = 12 * (uint64_t)firn_log_segment_bytes(backend->log);
    if (backend->limit_bytes - backend->index_limit >= few) {
        return FIRN_OK;
    }
    firn_log *log;
    uint64_t end = firn_log_end(backend->log);
    firn_log_close(backend->log);
    backend->log = NULL;
    firn_log_config config = {
        .from = end,
        .heap = backend->heap,
        .detail = backend->detail,
        .identity = {backend->meta.store_id, backend->meta.seed, backend->meta.created_ms},
        .segment_bytes = segment_bytes_for(backend->limit_bytes),
        .limit_bytes = backend->limit_bytes,
        .create = true,
        .directory = backend->directory,
    };
    int result = firn_log_open(&log, &config);
    if (result != FIRN_OK) {
        return result;
    }
    (void)firn_sync_directory(backend->directory); /* some file systems cannot */
    backend->log = log;
    backend->payload = firn_log_payload(log);
    result = firn_lives_reserve(backend);
    return result == FIRN_OK ? firn_write_clear(backend) : result;
}

static void count_entry(void *context, uint64_t place) {
    firn_backend *backend = context;
    if (firn_log_number(backend->payload, firn_place_position(place)) >=
        firn_log_tail(backend->log)) {
        firn_live *live = firn_live_of(backend, firn_place_position(place));
        live->count++;
        live->bytes += firn_place_size(place);
    }
}

/* Counts anew what the index holds; the deltas are empty. */
static int count_lives(firn_backend *backend) {
    for (uint64_t i = 0; i <= backend->lives_mask; i++) {
        backend->lives[i].count = 0;
        backend->lives[i].bytes = 0;
    }
    firn_index_reader *reader = backend->own->reader;
    int result = firn_index_read_begin(reader);
    if (result == FIRN_OK) {
        result = firn_index_each(reader, count_entry, backend);
        firn_index_read_end(reader);
    }
    uint64_t entries = 0;
    uint64_t bytes = 0;
    for (uint64_t i = 0; i <= backend->lives_mask; i++) {
        backend->lives[i].dirty = true;
        entries += backend->lives[i].count;
        bytes += backend->lives[i].bytes;
    }
    atomic_store_explicit(&backend->entries, entries, memory_order_relaxed);
    atomic_store_explicit(&backend->live_bytes, bytes, memory_order_relaxed);
    backend->dead = backend->index_entries > entries ? backend->index_entries - entries : 0;
    backend->meta_dirty = true;
    return result == FIRN_OK ? firn_checkpoint(backend) : result;
}

static int log_recover(firn_backend *backend, bool powerless, firn_backend_recovery *recovery) {
    *recovery = (firn_backend_recovery){0};
    firn_index_meta meta;
    if (backend->rebuilding) {
        return backend->read_only ? firn_salvage_recover(backend, powerless, recovery)
                                  : firn_remake_index(backend, powerless, recovery);
    }
    int result = read_meta_in(backend, &meta);
    if (result != FIRN_OK) {
        return result;
    }
    backend->checkpoint = backend->known = backend->noted = meta.checkpoint;
    if (backend->read_only) {
        backend->known = 0; /* nothing is followed yet */
        pthread_rwlock_wrlock(&backend->follow_lock);
        result = firn_follow_locked(backend);
        pthread_rwlock_unlock(&backend->follow_lock);
        return result;
    }
    firn_filter_recall(backend);
    result = fit_segments(backend);
    if (result == FIRN_OK) {
        result = find_segments(backend, recovery);
    }
    if (result == FIRN_OK) {
        result = load_lives(backend);
    }
    if (result == FIRN_OK) {
        result = firn_begin_delta(backend);
    }
    if (result == FIRN_OK && backend->index_entries == 0) {
        firn_filter_empty(backend); /* what comes from here on it is told */
    }
    /* In a checkpoint that was broken off, the index is ahead of what is noted. */
    if (result == FIRN_OK && !powerless && meta.merging == 0) {
        result = firn_recall_changes(backend, recovery);
    }
    if (result == FIRN_OK) {
        result = firn_replay(backend, powerless, firn_checkpoint, recovery);
    }
    /* What was replayed stays in the delta, as it was there before the end, and comes to the index
     * with a later checkpoint: requests need not wait for it. Not if the log was cut: the index is
     * not to know anything behind that. */
    bool cut = powerless && recovery->replayed > 0;
    if (result == FIRN_OK && (cut || meta.merging != 0)) {
        backend->meta_dirty = true;
        result = firn_checkpoint(backend);
    }
    /* What a broken checkpoint had done already was not seen by the replay's accounts. */
    if (result == FIRN_OK && meta.merging != 0) {
        result = count_lives(backend);
    }
    return result;
}

/* ---- what it tells of itself ---- */

static int log_fingerprint(firn_backend *backend, firn_fingerprint *fingerprint) {
    if (atomic_load_explicit(&backend->index_doubt, memory_order_relaxed)) {
        return firn_detail_set(backend->detail, FIRN_ECORRUPT,
                               "%s: a sync of its index failed; open it for writing, which makes "
                               "the index anew",
                               backend->directory);
    }
    return firn_index_fingerprint(backend->index, fingerprint);
}

static void log_usage(firn_backend *backend, firn_backend_usage *usage) {
    firn_filter_stats filter = {0};
    if (backend->filter != NULL) {
        firn_filter_get_stats(backend->filter, &filter);
    }
    *usage = (firn_backend_usage){
        .entries = atomic_load_explicit(&backend->entries, memory_order_relaxed),
        .live_bytes = atomic_load_explicit(&backend->live_bytes, memory_order_relaxed),
        .oldest_sequence = firn_log_tail(backend->log) * backend->payload,
        .next_sequence = firn_log_end(backend->log),
        .log_bytes =
            (firn_log_end(backend->log) / backend->payload + 1 - firn_log_tail(backend->log)) *
            firn_log_segment_bytes(backend->log),
        .page_bytes = (uint32_t)sysconf(_SC_PAGESIZE),
        .segment_bytes = firn_log_segment_bytes(backend->log),
        .filter_bytes = filter.bytes,
        .filter_entries = filter.count,
        .index_commits = backend->index != NULL ? firn_index_commits(backend->index) : 0,
    };
}

static void log_files(firn_backend *backend, firn_backend_files *files) {
    uint64_t index_bytes = backend->index != NULL ? firn_index_file_bytes(backend->index) : 0;
    *files = (firn_backend_files){index_bytes, index_bytes + firn_log_file_bytes(backend->log)};
}

/* For the next open. What fails here makes that one do more, and loses nothing. */
static int log_conclude(firn_backend *backend) {
    int result = firn_checkpoint(backend);
    if (result == FIRN_OK) {
        (void)firn_filter_save(backend);
    }
    return result;
}

static bool log_may_hold(firn_backend *backend, uint64_t hash) {
    return backend->filter == NULL ||
           firn_filter_may_contain(backend->filter, firn_index_hash(hash));
}

static size_t log_changes_max(const firn_backend *backend) {
    (void)backend;
    return FIRN_CHANGES_MAX;
}

static int log_put_blob(firn_backend *backend, uint64_t number, const firn_bytes *blob) {
    return firn_blob_put(backend->directory, number, blob->data, blob->size, backend->heap,
                         backend->detail);
}

static int log_remove_blob(firn_backend *backend, uint64_t number) {
    return firn_blob_remove(backend->directory, number, backend->heap, backend->detail);
}

static void log_set_meta(firn_backend *backend, const firn_backend_meta *meta) {
    if (memcmp(&backend->meta, meta, sizeof *meta) != 0) {
        backend->meta = *meta;
        backend->meta_dirty = true;
    }
}

static int log_loss(firn_backend *backend) {
    int loss = backend->loss;
    backend->loss = FIRN_OK;
    return loss;
}

const firn_backend_ops firn_backend_log = {
    .name = "log",
    .check = log_check,
    .open = log_open,
    .close = log_close,
    .read_meta = log_read_meta,
    .recover = log_recover,
    .fingerprint = log_fingerprint,
    .sync = firn_sync,
    .usage = log_usage,
    .files = log_files,
    .begin = firn_write_begin,
    .prefetch = firn_write_prefetch,
    .find = firn_write_find,
    .put = firn_write_put,
    .remove = firn_write_remove,
    .commit = firn_write_commit,
    .abort = firn_write_abort,
    .changes_max = log_changes_max,
    .put_blob = log_put_blob,
    .remove_blob = log_remove_blob,
    .room = firn_write_room,
    .oldest = firn_write_oldest,
    .oldest_valid = firn_write_oldest_valid,
    .oldest_damaged = firn_write_oldest_damaged,
    .expired = firn_write_expired,
    .drop = firn_write_drop,
    .clear = firn_write_clear,
    .loss = log_loss,
    .set_meta = log_set_meta,
    .checkpoint = firn_checkpoint,
    .maintain = firn_filter_maintain,
    .conclude = log_conclude,
    .pack = firn_pack,
    .pack_closed = firn_pack_closed,
    .may_hold = log_may_hold,
    .session_new = firn_session_new,
    .session_free = firn_session_free,
    .read_begin = firn_session_begin,
    .read_end = firn_session_end,
    .lookup = firn_session_lookup,
    .overtaken = firn_session_overtaken,
    .lookup_many = firn_session_lookup_many,
    .fetch = firn_session_fetch,
    .locate = firn_session_locate,
    .next_record = firn_session_next_record,
    .next_index = firn_session_next_index,
    .walk = firn_session_walk,
    .get_blob = firn_session_get_blob,
    .next_blob = firn_session_next_blob,
};
