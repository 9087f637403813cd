/* The log backend: transactions, and giving up the oldest. See backend_log.h.
 *
 * A transaction's frames are made in memory and appended in one go; only then do readers learn of
 * them, from the delta. */
#include <string.h>

#include "base/hash.h"
#include "cold/backend_log.h"

enum {
    TABLE_SIZE = FIRN_CHANGES_MAX * 2,
    STAGING_KEPT = 8 << 20, /* bytes, between transactions */
    SPARE_SEGMENTS = 2,     /* are kept for reclaiming, which copies what is worth it */
    INDEX_ENTRY = 48,       /* bytes that a new entry of the index may cost */
    MARGIN = 32 << 10,      /* bytes, for what the index's estimate leaves out */
};

int firn_staging_init(firn_backend *backend) {
    firn_staging *staging = &backend->staging;
    staging->frames = firn_heap_alloc(backend->heap, FIRN_CHANGES_MAX * sizeof *staging->frames);
    staging->changes = firn_heap_alloc(backend->heap, FIRN_CHANGES_MAX * sizeof *staging->changes);
    staging->table = firn_heap_zalloc(backend->heap, TABLE_SIZE * sizeof *staging->table);
    return staging->frames != NULL && staging->changes != NULL && staging->table != NULL
               ? FIRN_OK
               : firn_detail_set(backend->detail, FIRN_ENOMEM, "no memory to write the store");
}

void firn_staging_fini(firn_backend *backend) {
    firn_staging *staging = &backend->staging;
    firn_heap_free(backend->heap, staging->bytes, staging->capacity);
    firn_heap_free(backend->heap, staging->frames, FIRN_CHANGES_MAX * sizeof *staging->frames);
    firn_heap_free(backend->heap, staging->changes, FIRN_CHANGES_MAX * sizeof *staging->changes);
    firn_heap_free(backend->heap, staging->table, TABLE_SIZE * sizeof *staging->table);
}

/* The place in the table for a hash: its change's, or a free one. */
static uint32_t *table_at(firn_staging *staging, uint64_t hash) {
    size_t i = (size_t)(hash >> 20) % TABLE_SIZE;
    while (staging->table[i] != 0 && staging->changes[staging->table[i] - 1].hash != hash) {
        i = (i + 1) % TABLE_SIZE;
    }
    return &staging->table[i];
}

static void reset(firn_staging *staging, firn_heap *heap) {
    if (staging->count > 0) {
        memset(staging->table, 0, TABLE_SIZE * sizeof *staging->table);
    }
    staging->count = 0;
    staging->size = 0;
    if (staging->capacity > STAGING_KEPT) {
        firn_heap_free(heap, staging->bytes, staging->capacity);
        staging->bytes = NULL;
        staging->capacity = 0;
    }
}

int firn_write_begin(firn_backend *backend) {
    const firn_delta *active = atomic_load_explicit(&backend->active, memory_order_relaxed);
    const firn_delta *frozen = atomic_load_explicit(&backend->frozen, memory_order_relaxed);
    /* While a checkpoint that failed is not made up for, nothing comes on top. What is overwritten
     * again and again fills no delta, but would have to be read by an open after a crash. */
    if (active->count + FIRN_CHANGES_MAX > active->max || frozen->count > 0 ||
        backend->changes + FIRN_CHANGES_MAX > 2 * active->max) {
        int result = firn_checkpoint(backend);
        if (result != FIRN_OK) {
            return result;
        }
    }
    if (backend->sync_commits && firn_log_doubt(backend->log) != 0) {
        int result = firn_sync_log(backend);
        if (result == FIRN_ECORRUPT) { /* no reason not to go on with what is there */
            backend->loss = result;
        } else if (result != FIRN_OK) {
            return result;
        }
    }
    reset(&backend->staging, backend->heap);
    backend->staging.begin = firn_log_end(backend->log);
    backend->staging.room = firn_log_room(backend->log);
    return FIRN_OK;
}

/* FIRN_NOT_FOUND: there is none; *place is 0, or that of one whose segment is gone. */
static int locate(firn_backend *backend, uint64_t hash, uint64_t *place) {
    uint32_t *at = table_at(&backend->staging, hash);
    if (*at != 0) {
        *place = backend->staging.changes[*at - 1].place;
        return *place != 0 ? FIRN_OK : FIRN_NOT_FOUND;
    }
    return firn_locate(backend, backend->own->reader, hash, place);
}

void firn_write_prefetch(firn_backend *backend, uint64_t hash) {
    hash = firn_index_hash(hash);
    firn_delta_prefetch(&backend->deltas[0], hash);
    firn_delta_prefetch(&backend->deltas[1], hash);
    if (backend->filter != NULL) {
        firn_filter_prefetch(backend->filter, hash);
    }
}

int firn_write_find(firn_backend *backend, uint64_t hash, uint64_t *sequence, firn_bytes *record) {
    const firn_staging *staging = &backend->staging;
    uint64_t place;
    int result = locate(backend, firn_index_hash(hash), &place);
    if (result != FIRN_OK) {
        return result;
    }
    *sequence = firn_place_position(place);
    if (*sequence < staging->begin) {
        return firn_read_place(backend->own, place, record);
    }
    const unsigned char *frame = staging->bytes + (*sequence - staging->begin);
    uint32_t size;
    memcpy(&size, frame, sizeof size);
    *record = (firn_bytes){frame + FIRN_FRAME_HEAD, size};
    return FIRN_OK;
}

static int grow(firn_backend *backend, size_t size) {
    firn_staging *staging = &backend->staging;
    if (size <= staging->capacity) {
        return FIRN_OK;
    }
    size_t capacity = size + size / 2 + 65536;
    unsigned char *bytes = firn_heap_alloc(backend->heap, capacity);
    if (bytes == NULL) {
        return firn_detail_set(backend->detail, FIRN_ENOMEM, "no memory to write %zu bytes", size);
    }
    if (staging->size > 0) {
        memcpy(bytes, staging->bytes, staging->size);
    }
    firn_heap_free(backend->heap, staging->bytes, staging->capacity);
    staging->bytes = bytes;
    staging->capacity = capacity;
    return FIRN_OK;
}

/* Makes room for a frame, and notes what it means. *frame: where its bytes go. */
static int stage(firn_backend *backend, uint64_t hash, size_t size, bool removal,
                 uint64_t expires_ms, unsigned char **frame) {
    firn_staging *staging = &backend->staging;
    if (staging->count == FIRN_CHANGES_MAX || staging->size + size > staging->room ||
        staging->size + size > UINT32_MAX) {
        return FIRN_BACKEND_FULL;
    }
    uint64_t old;
    int result = locate(backend, hash, &old);
    if (result == FIRN_NOT_FOUND && !removal) {
        old = old != 0 ? FIRN_PLACE_GONE : 0;
        result = FIRN_OK;
    }
    if (result == FIRN_OK) {
        result = grow(backend, staging->size + size);
    }
    if (result != FIRN_OK) {
        return result;
    }
    uint64_t position = staging->begin + staging->size;
    staging->frames[staging->count] = (uint32_t)staging->size;
    staging->changes[staging->count] = (firn_change){
        .hash = hash,
        .place = removal ? 0 : firn_place_make(position, size),
        .old = old,
        .expires_ms = expires_ms,
    };
    uint32_t *at = table_at(staging, hash);
    *at = (uint32_t)++staging->count;
    *frame = staging->bytes + staging->size;
    staging->size += size;
    return FIRN_OK;
}

int firn_write_put(firn_backend *backend, uint64_t hash, size_t size, uint64_t expires_ms,
                   uint64_t *sequence, void **bytes) {
    if (size == 0 || size >= FIRN_FRAME_REMOVAL) {
        return FIRN_BACKEND_FULL;
    }
    *sequence = backend->staging.begin + backend->staging.size;
    unsigned char *frame;
    int result =
        stage(backend, firn_index_hash(hash), FIRN_FRAME_HEAD + size, false, expires_ms, &frame);
    if (result == FIRN_OK) {
        uint32_t head = (uint32_t)size;
        memcpy(frame, &head, sizeof head);
        *bytes = frame + FIRN_FRAME_HEAD;
    }
    return result;
}

int firn_write_remove(firn_backend *backend, uint64_t hash, uint64_t version) {
    uint64_t position = backend->staging.begin + backend->staging.size;
    unsigned char *frame;
    int result = stage(backend, firn_index_hash(hash), FIRN_FRAME_REMOVAL_SIZE, true, 0, &frame);
    if (result == FIRN_OK) {
        uint32_t head = FIRN_FRAME_REMOVAL;
        memcpy(frame, &head, 4);
        memcpy(frame + 4, &hash, 8);
        memcpy(frame + 12, &version, 8);
        uint64_t check = firn_hash64(position, frame + 4, 16);
        memcpy(frame + 20, &check, 8);
    }
    return result;
}

void firn_write_abort(firn_backend *backend) {
    reset(&backend->staging, backend->heap);
}

int firn_write_commit(firn_backend *backend) {
    firn_staging *staging = &backend->staging;
    int result = firn_log_append(backend->log, staging->bytes, staging->size, staging->frames,
                                 staging->count);
    if (result == FIRN_OK) {
        result = firn_log_publish(backend->log);
        if (result == FIRN_OK && backend->sync_commits) {
            result = firn_log_sync(backend->log);
        }
        if (result == FIRN_AGAIN) { /* another thread's failed meanwhile; begin sees to it */
            result = firn_detail_set(backend->detail, FIRN_EIO, "%s: its log could not be synced",
                                     backend->directory);
        }
        if (result != FIRN_OK) {
            firn_log_set_end(backend->log, staging->begin);
            (void)firn_log_publish(backend->log); /* the first error is the one to tell */
        }
    }
    for (size_t i = 0; i < staging->count && result == FIRN_OK; i++) {
        firn_change_apply(backend, &staging->changes[i]);
    }
    if (result == FIRN_OK) {
        backend->known = firn_log_end(backend->log);
        firn_note_changes(backend, staging->changes, staging->count, backend->known);
    }
    reset(staging, backend->heap);
    return result;
}

/* ---- room ---- */

/* What the index may come to take with its next checkpoint. */
static uint64_t index_bytes_soon(firn_backend *backend) {
    const firn_delta *active = atomic_load_explicit(&backend->active, memory_order_relaxed);
    uint64_t now = firn_index_file_bytes(backend->index);
    uint64_t soon = backend->index_live_bytes + active->count * INDEX_ENTRY;
    soon += soon / 6; /* for pages that are copied before the old ones are free */
    soon = soon < backend->index_limit ? soon : backend->index_limit;
    return now > soon ? now : soon;
}

uint64_t firn_write_room(firn_backend *backend, bool spare) {
    uint64_t taken = FIRN_LOG_HEADER_SIZE + index_bytes_soon(backend) + MARGIN;
    uint64_t rest = backend->limit_bytes > taken ? backend->limit_bytes - taken : 0;
    uint64_t slots = rest / firn_log_segment_bytes(backend->log);
    /* An error here is a segment that could not be moved: the file stays larger for now. */
    (void)firn_log_set_slots(backend->log, slots < UINT32_MAX ? (uint32_t)slots : UINT32_MAX);
    if (!spare &&
        atomic_load_explicit(&backend->entries, memory_order_relaxed) >= backend->entries_max) {
        return 0;
    }
    uint64_t room = firn_log_room(backend->log);
    uint64_t kept = spare ? 0 : SPARE_SEGMENTS * backend->payload;
    return room > kept ? room - kept : 0;
}

static bool can_drop(const firn_backend *backend) {
    return (firn_log_tail(backend->log) + 1) * backend->payload <= firn_log_end(backend->log);
}

int firn_write_oldest(firn_backend *backend, uint64_t from, uint64_t *sequence,
                      firn_bytes *record) {
    uint64_t segment_end = (firn_log_tail(backend->log) + 1) * backend->payload;
    if (!can_drop(backend)) {
        return FIRN_NOT_FOUND;
    }
    if (from == 0) {
        uint64_t first;
        backend->own->skipped = firn_log_first_frame(backend->log, firn_log_tail(backend->log),
                                                     &first) == FIRN_ECORRUPT;
        from = segment_end - backend->payload;
    }
    int result = firn_session_next_record(backend->own, from, sequence, record);
    return result == FIRN_OK && *sequence >= segment_end ? FIRN_NOT_FOUND : result;
}

bool firn_write_oldest_damaged(const firn_backend *backend) {
    return backend->own->skipped;
}

uint64_t firn_write_oldest_valid(const firn_backend *backend) {
    return can_drop(backend)
               ? backend->lives[firn_log_tail(backend->log) & backend->lives_mask].count
               : 0;
}

void firn_write_expired(firn_backend *backend, uint64_t now_ms, firn_backend_expired *expired) {
    *expired = (firn_backend_expired){0};
    if (now_ms / 1000 < backend->expiry_from_s) {
        return;
    }
    uint64_t whole = 0;
    uint64_t first_s = UINT64_MAX;
    for (uint64_t n = firn_log_tail(backend->log);
         n * backend->payload < firn_log_end(backend->log); n++) {
        const firn_live *live = &backend->lives[n & backend->lives_mask];
        expired->bytes += firn_expiry_expired(&live->expiry, live->bytes, now_ms);
        whole += backend->payload;
        uint64_t share = expired->bytes * 100 / whole;
        expired->share = share > expired->share ? (unsigned)share : expired->share;
        uint64_t from_s = firn_expiry_first_s(&live->expiry);
        first_s = from_s < first_s ? from_s : first_s;
    }
    backend->expiry_from_s = first_s;
}

int firn_write_drop(firn_backend *backend) {
    if (!can_drop(backend)) {
        return FIRN_NOT_FOUND;
    }
    uint64_t tail = firn_log_tail(backend->log);
    if ((tail + 1) * backend->payload > backend->checkpoint) {
        /* Removals in it would be forgotten before the stored index knows of them. */
        int result = firn_checkpoint(backend);
        if (result != FIRN_OK || firn_log_tail(backend->log) != tail) {
            return result; /* it may have given up everything */
        }
    }
    /* The file first: what is given up in memory has to be told to whoever counts on it, and that
     * is not done after an error. */
    int published = firn_log_publish_dropped(backend->log);
    if (published != FIRN_OK) {
        return published;
    }
    firn_live *live = &backend->lives[tail & backend->lives_mask];
    firn_add_valid(backend, 0 - (uint64_t)live->count, 0 - live->bytes);
    backend->dead += live->count;
    *live = (firn_live){0};
    firn_log_drop(backend->log);
    return FIRN_OK;
}

static void forget_lives(firn_backend *backend) {
    memset(backend->lives, 0, (size_t)(backend->lives_mask + 1) * sizeof *backend->lives);
    atomic_store_explicit(&backend->entries, 0, memory_order_relaxed);
    atomic_store_explicit(&backend->live_bytes, 0, memory_order_relaxed);
}

int firn_write_empty_index(firn_backend *backend) {
    firn_index_meta meta = {backend->meta, firn_log_end(backend->log), 0};
    int result = firn_index_begin(backend->index);
    if (result != FIRN_OK) {
        return result;
    }
    result = firn_index_clear(backend->index);
    if (result == FIRN_OK && !backend->rebuilding) {
        result = firn_index_set_meta(backend->index, &meta);
    }
    if (result != FIRN_OK) {
        firn_index_abort(backend->index);
        return result;
    }
    result = firn_index_commit(backend->index);
    if (result != FIRN_OK) {
        return result;
    }
    forget_lives(backend);
    for (unsigned i = 0; i < 2; i++) {
        firn_delta_clear(&backend->deltas[i]);
    }
    backend->checkpoint = backend->known = meta.checkpoint;
    backend->dead = backend->index_entries = backend->index_live_bytes = 0;
    firn_forget_changes(backend);
    firn_filter_empty(backend);
    return FIRN_OK;
}

int firn_write_clear(firn_backend *backend) {
    firn_log_clear(backend->log);
    forget_lives(backend); /* also if the index goes on knowing what is gone */
    int result = firn_write_empty_index(backend);
    return result == FIRN_OK ? firn_log_publish(backend->log) : result;
}
