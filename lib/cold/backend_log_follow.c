/* The log backend: taking what came to the log into the delta, after a crash or beside a writer of
 * another process, and keeping account of what is valid. See backend_log.h. */
#include <string.h>

#include "cold/backend_log.h"

enum {
    FOLLOW_ATTEMPTS = 16,
    AHEAD = 8, /* changes whose memory is on its way */
};

/* Room for the account of as many segments as the log has slots. */
int firn_lives_reserve(firn_backend *backend) {
    uint64_t most = firn_log_segments_max(backend->log);
    uint64_t size = 64;
    while (size < most + 2) {
        size *= 2;
    }
    if (backend->lives != NULL && size <= backend->lives_mask + 1) {
        return FIRN_OK;
    }
    firn_live *lives = firn_heap_zalloc(backend->heap, (size_t)size * sizeof *lives);
    if (lives == NULL) {
        return firn_detail_set(backend->detail, FIRN_ENOMEM, "no memory for the store's segments");
    }
    if (backend->lives != NULL) {
        for (uint64_t n = firn_log_tail(backend->log);
             n * backend->payload < firn_log_end(backend->log); n++) {
            lives[n & (size - 1)] = backend->lives[n & backend->lives_mask];
        }
        firn_heap_free(backend->heap, backend->lives,
                       (size_t)(backend->lives_mask + 1) * sizeof *backend->lives);
    }
    backend->lives = lives;
    backend->lives_mask = size - 1;
    return FIRN_OK;
}

int firn_lives_load(firn_backend *backend, firn_index_reader *reader) {
    memset(backend->lives, 0, (size_t)(backend->lives_mask + 1) * sizeof *backend->lives);
    backend->expiry_from_s = 0;
    uint64_t entries = 0;
    uint64_t bytes = 0;
    uint64_t from = firn_log_tail(backend->log);
    for (;;) {
        uint64_t number;
        firn_index_segment segment;
        int result = firn_index_next_segment(reader, from, &number, &segment);
        if (result == FIRN_NOT_FOUND ||
            (result == FIRN_OK && number * backend->payload >= firn_log_end(backend->log))) {
            break;
        }
        if (result != FIRN_OK) {
            return result;
        }
        backend->lives[number & backend->lives_mask] = (firn_live){
            .count = segment.live_count, .bytes = segment.live_bytes, .expiry = segment.expiry};
        entries += segment.live_count;
        bytes += segment.live_bytes;
        from = number + 1;
    }
    atomic_store_explicit(&backend->entries, entries, memory_order_relaxed);
    atomic_store_explicit(&backend->live_bytes, bytes, memory_order_relaxed);
    return FIRN_OK;
}

firn_index_segment firn_lives_row(const firn_backend *backend, uint64_t number, uint32_t slot) {
    const firn_live *live = &backend->lives[number & backend->lives_mask];
    return (firn_index_segment){slot, live->count, live->bytes, live->expiry};
}

static void count_valid(firn_backend *backend, firn_live *live, uint64_t place) {
    uint64_t bytes = firn_place_size(place);
    live->dirty = true;
    live->count++;
    live->bytes += bytes;
    firn_add_valid(backend, 1, bytes);
}

static void count_void(firn_backend *backend, firn_live *live, uint64_t place) {
    uint64_t bytes = firn_place_size(place);
    live->dirty = true;
    if (live->count > 0 && live->bytes >= bytes) { /* else the stored account was wrong */
        live->count--;
        live->bytes -= bytes;
        firn_add_valid(backend, UINT64_MAX, 0 - bytes);
    }
}

void firn_change_apply(firn_backend *backend, const firn_change *change) {
    if (change->old > FIRN_PLACE_GONE) {
        count_void(backend, firn_live_of(backend, firn_place_position(change->old)), change->old);
    }
    if (change->place != 0) {
        firn_live *live = firn_live_of(backend, firn_place_position(change->place));
        count_valid(backend, live, change->place);
        firn_expiry_add(&live->expiry, firn_place_size(change->place), change->expires_ms);
        uint64_t from_s = firn_expiry_first_s(&live->expiry);
        backend->expiry_from_s = from_s < backend->expiry_from_s ? from_s : backend->expiry_from_s;
    }
    firn_filter_note_before(backend, change);
    firn_delta_set(atomic_load_explicit(&backend->active, memory_order_relaxed), change->hash,
                   change->place);
    firn_filter_note_after(backend, change);
}

/* ---- what is noted beside the log ---- */

void firn_note_changes(firn_backend *backend, const firn_change *changes, size_t count,
                       uint64_t to) {
    firn_delta_span span = {backend->noted, to, backend->meta.version_next};
    firn_delta_file_append(backend->delta_file, &span, changes, count);
    backend->noted = count > 0 ? to : backend->noted;
    backend->changes += count;
}

void firn_forget_changes(firn_backend *backend) {
    firn_delta_file_restart(backend->delta_file);
    backend->noted = backend->known;
    backend->changes = 0;
}

typedef struct recalling {
    firn_backend *backend;
    firn_backend_recovery *recovery;
} recalling;

/* tail: position of the oldest segment, as in the next. */
static bool is_plausible(const firn_delta_span *span, uint64_t tail, const firn_change *change) {
    uint64_t position = firn_place_position(change->place);
    return change->hash != 0 && firn_place_position(change->old) < span->to &&
           (change->place != 0 ? position >= span->from && position < span->to && position >= tail
                               : change->old != 0);
}

static void take_change(firn_backend *backend, uint64_t tail, const firn_change *noted) {
    firn_change change = *noted;
    if (change.old != 0 && firn_place_position(change.old) < tail) {
        change.old = FIRN_PLACE_GONE; /* since */
    }
    firn_change_apply(backend, &change);
}

static bool take_changes(void *context, const firn_delta_span *span, const firn_change *changes,
                         size_t count) {
    const recalling *self = context;
    firn_backend *backend = self->backend;
    const firn_delta *active = atomic_load_explicit(&backend->active, memory_order_relaxed);
    uint64_t tail = firn_log_tail(backend->log) * backend->payload;
    bool plausible = active->count + count <= active->max; /* else a replay makes room */
    for (size_t i = 0; i < count && plausible; i++) {
        plausible = is_plausible(span, tail, &changes[i]);
    }
    for (size_t i = 0; i < count && plausible; i++) {
        if (i + AHEAD < count) {
            firn_delta_prefetch(active, changes[i + AHEAD].hash);
        }
        take_change(backend, tail, &changes[i]);
    }
    if (!plausible) {
        return false;
    }
    backend->known = backend->noted = span->to;
    backend->meta_dirty = true;
    backend->meta.version_next = span->version_next;
    self->recovery->version_max = span->version_next - 1;
    self->recovery->replayed += count;
    backend->changes += count;
    return true;
}

int firn_recall_changes(firn_backend *backend, firn_backend_recovery *recovery) {
    recalling self = {backend, recovery};
    if (backend->delta_file == NULL ||
        backend->known < firn_log_tail(backend->log) * backend->payload) {
        return FIRN_OK;
    }
    return firn_delta_file_read(backend->delta_file, backend->noted, firn_log_end(backend->log),
                                take_changes, &self);
}

/* What a replay came by, up to `known`. */
static void note_replayed(firn_backend *backend) {
    firn_note_changes(backend, backend->staging.changes, backend->staging.count, backend->known);
    backend->staging.count = 0;
}

/* ---- what the log itself tells ---- */

/* Not while the index is made anew: that ends with a checkpoint. */
static bool notes_replayed(const firn_backend *backend) {
    return backend->delta_file != NULL && !backend->rebuilding;
}

static int replay_frame(firn_backend *backend, const firn_frame *frame, bool sound,
                        firn_backend_recovery *recovery) {
    if (!sound) {
        return FIRN_ECORRUPT;
    }
    firn_change change = {.hash = firn_index_hash(frame->identity.hash)};
    if (!frame->removal) {
        change.place = firn_place_make(frame->position, frame->end - frame->position);
        change.expires_ms = frame->identity.expires_ms;
    }
    int result = firn_locate(backend, backend->own->reader, change.hash, &change.old);
    if (result == FIRN_NOT_FOUND) {
        change.old = change.old != 0 ? FIRN_PLACE_GONE : 0;
        result = FIRN_OK;
    }
    /* A frame may be met again after a reload. */
    if (result == FIRN_OK && change.old != change.place) {
        firn_change_apply(backend, &change);
        if (notes_replayed(backend)) {
            backend->staging.changes[backend->staging.count++] = change;
        }
    }
    recovery->replayed++;
    if (frame->identity.version > recovery->version_max) {
        recovery->version_max = frame->identity.version;
    }
    /* The next checkpoint takes the frame out of further replays, and is to say what it said. */
    if (frame->identity.version >= backend->meta.version_next) {
        backend->meta.version_next = frame->identity.version + 1;
        backend->meta_dirty = true;
    }
    return result;
}

static int replay(firn_backend *backend, bool powerless, int (*full)(firn_backend *backend),
                  firn_backend_recovery *recovery) {
    firn_scan *scan = &backend->own->scan;
    scan->length = 0; /* what it holds may be old */
    uint64_t tail = firn_log_tail(backend->log) * backend->payload;
    if (backend->known < tail) {
        /* What lay between is gone, and the index does not know it. */
        int result = firn_scan_skip(backend, tail - 1, &backend->known);
        if (result != FIRN_OK) {
            backend->known = firn_log_end(backend->log);
            return result == FIRN_NOT_FOUND ? FIRN_OK : result;
        }
    }
    while (backend->known < firn_log_end(backend->log)) {
        firn_delta *active = atomic_load_explicit(&backend->active, memory_order_relaxed);
        if (active->count == active->max) {
            int result = full(backend);
            if (result != FIRN_OK) {
                return result;
            }
            backend->staging.count = 0; /* the index knows them */
            continue;
        }
        firn_frame frame;
        int result = firn_scan_frame(backend, scan, backend->known, &frame);
        if (result == FIRN_OK || result == FIRN_ECORRUPT) {
            bool sound = result == FIRN_OK &&
                         (frame.removal ||
                          firn_identify(backend, frame.position, &frame.record, &frame.identity));
            result = replay_frame(backend, &frame, sound, recovery);
        }
        if (result == FIRN_ECORRUPT && powerless) {
            recovery->lost++;
            if (!backend->read_only) {
                firn_log_set_end(backend->log, backend->known);
            }
            return FIRN_OK;
        }
        if (result == FIRN_ECORRUPT) {
            return firn_detail_set(backend->detail, FIRN_ECORRUPT,
                                   "the end of the store's log is damaged at position %llu; remove "
                                   "the store, or open it with set_aside_damaged",
                                   (unsigned long long)backend->known);
        }
        if (result != FIRN_OK) {
            return result;
        }
        backend->known = frame.end;
        if (backend->staging.count == FIRN_CHANGES_MAX) {
            note_replayed(backend);
        }
    }
    return FIRN_OK;
}

int firn_replay(firn_backend *backend, bool powerless, int (*full)(firn_backend *backend),
                firn_backend_recovery *recovery) {
    int result = replay(backend, powerless, full, recovery);
    note_replayed(backend);
    return result;
}

/* ---- beside a writer of another process ---- */

/* Begins again with what the stored index is by now. */
static int reload(firn_backend *backend) {
    firn_delta_clear(atomic_load_explicit(&backend->active, memory_order_relaxed));
    firn_index_reader *reader = backend->own->reader;
    firn_index_meta meta;
    int result = firn_lives_reserve(backend);
    if (result == FIRN_OK) {
        result = firn_index_read_begin(reader);
    }
    if (result == FIRN_OK) {
        result = firn_index_read_meta(reader, &meta);
        if (result == FIRN_OK) {
            result = firn_lives_load(backend, reader);
        }
        firn_index_read_end(reader);
    }
    if (result == FIRN_OK) {
        backend->meta = meta.store;
        backend->checkpoint = meta.checkpoint;
        backend->known = meta.checkpoint;
    }
    return result;
}

static int make_space(firn_backend *backend) {
    firn_delta *active = atomic_load_explicit(&backend->active, memory_order_relaxed);
    if (active->max < backend->delta_max) {
        return firn_delta_enlarge(active, backend->heap) == FIRN_OK
                   ? FIRN_OK
                   : firn_detail_set(backend->detail, FIRN_ENOMEM,
                                     "no memory to follow the store's log");
    }
    uint64_t before = backend->checkpoint;
    int result = reload(backend);
    if (result == FIRN_OK && backend->checkpoint == before) {
        return firn_detail_set(backend->detail, FIRN_EIO,
                               "the store's log has more than can be followed; try again");
    }
    return result;
}

/* Segments that went: what was valid in them is no longer. */
static void forget_gone(firn_backend *backend, uint64_t old_tail) {
    for (uint64_t n = old_tail;
         n < firn_log_tail(backend->log) && n < old_tail + backend->lives_mask + 1; n++) {
        firn_live *live = &backend->lives[n & backend->lives_mask];
        firn_add_valid(backend, 0 - (uint64_t)live->count, 0 - live->bytes);
        *live = (firn_live){0};
    }
}

/* The writer has made one since: then the index is ahead of what is known here, and what comes to
 * the delta would be taken for known and not be counted. */
static int look_for_checkpoint(firn_backend *backend, bool *found) {
    firn_index_reader *reader = backend->own->reader;
    firn_index_meta meta;
    uint64_t transaction = firn_index_transaction(backend->index);
    *found = false;
    if (transaction == backend->transaction) {
        return FIRN_OK;
    }
    int result = firn_index_read_begin(reader);
    if (result == FIRN_OK) {
        result = firn_index_read_meta(reader, &meta);
        firn_index_read_end(reader);
    }
    if (result == FIRN_OK &&
        meta.merging == 0) { /* else it is under way, and is looked for again */
        *found = meta.checkpoint != backend->checkpoint;
        backend->transaction = transaction;
    }
    return result;
}

static int follow_once(firn_backend *backend, bool *again) {
    bool changed;
    uint64_t old_tail = firn_log_tail(backend->log);
    int result = firn_log_follow(backend->log, &changed);
    *again = false;
    if (result != FIRN_OK || (!changed && backend->known == firn_log_end(backend->log))) {
        return result;
    }
    if (backend->lives != NULL) { /* before there is another array, without their rows */
        forget_gone(backend, old_tail);
    }
    if (!firn_log_is_complete(backend->log)) {
        result = firn_log_scan(backend->log, false);
    }
    if (result == FIRN_OK) {
        result = firn_lives_reserve(backend);
    }
    bool fresh = false;
    if (result == FIRN_OK) {
        result = look_for_checkpoint(backend, &fresh);
    }
    if (result == FIRN_OK) {
        firn_delta *active = atomic_load_explicit(&backend->active, memory_order_relaxed);
        if (backend->known == 0 || fresh || active->count > backend->delta_max / 2 ||
            backend->known < firn_log_tail(backend->log) * backend->payload) {
            result = reload(backend);
        }
    }
    if (result == FIRN_OK && backend->known > firn_log_end(backend->log)) {
        *again = true; /* the writer went on meanwhile */
        backend->known = 0;
        return FIRN_OK;
    }
    firn_backend_recovery recovery = {0};
    if (result == FIRN_OK) {
        result = firn_replay(backend, false, make_space, &recovery);
    }
    /* Frames that were overwritten while they were read look damaged. And a writer that found
     * damage goes on behind it, with a stored index that knows that. */
    if (result == FIRN_ECORRUPT) {
        *again = true;
        backend->known = 0;
    }
    return result;
}

int firn_follow_locked(firn_backend *backend) {
    bool again = true;
    int result = FIRN_OK;
    for (unsigned i = 0; i < FOLLOW_ATTEMPTS && again; i++) {
        result = follow_once(backend, &again);
    }
    if (result != FIRN_OK) {
        backend->known = 0; /* what was done by halves is done anew */
    }
    return result;
}
