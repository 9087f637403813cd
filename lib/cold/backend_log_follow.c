/* The log backend: taking what came to the log into the delta, after a crash or beside a writer of
 * another process, and keeping account of what is valid. See backend_log.h. */
#include <string.h>

#include "cold/backend_log.h"

enum { FOLLOW_ATTEMPTS = 16 };

/* Room for the account of as many segments as the log has slots. */
int firn_lives_reserve(firn_backend *backend) {
    uint64_t slots = backend->read_only
                         ? firn_log_slots(backend->log)
                         : backend->limit_bytes / firn_log_segment_bytes(backend->log);
    uint64_t size = 64;
    while (size < slots + 2) {
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

static void account(firn_backend *backend, uint64_t place, bool more) {
    firn_live *live = firn_live_of(backend, firn_place_position(place));
    uint64_t bytes = firn_place_size(place);
    live->dirty = true;
    if (more) {
        live->count++;
        live->bytes += bytes;
        atomic_fetch_add_explicit(&backend->entries, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&backend->live_bytes, bytes, memory_order_relaxed);
    } else if (live->count > 0 && live->bytes >= bytes) { /* else the stored account was wrong */
        live->count--;
        live->bytes -= bytes;
        atomic_fetch_sub_explicit(&backend->entries, 1, memory_order_relaxed);
        atomic_fetch_sub_explicit(&backend->live_bytes, bytes, memory_order_relaxed);
    }
}

void firn_change_apply(firn_backend *backend, const firn_change *change) {
    if (change->old != 0) {
        account(backend, change->old, false);
    }
    if (change->place != 0) {
        account(backend, change->place, true);
        firn_expiry *expiry = &firn_live_of(backend, firn_place_position(change->place))->expiry;
        firn_expiry_add(expiry, firn_place_size(change->place), change->expires_ms);
        uint64_t from_s = firn_expiry_first_s(expiry);
        backend->expiry_from_s = from_s < backend->expiry_from_s ? from_s : backend->expiry_from_s;
    }
    firn_filter_note_before(backend, change);
    firn_delta_set(atomic_load_explicit(&backend->active, memory_order_relaxed), change->hash,
                   change->place);
    firn_filter_note_after(backend, change);
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
        change.dead_before = change.old != 0;
        change.old = 0;
        result = FIRN_OK;
    }
    /* A frame may be met again after a reload. */
    if (result == FIRN_OK && change.old != change.place) {
        firn_change_apply(backend, &change);
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

int firn_replay(firn_backend *backend, bool powerless, int (*full)(firn_backend *backend),
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
    }
    return FIRN_OK;
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
        atomic_fetch_sub_explicit(&backend->entries, live->count, memory_order_relaxed);
        atomic_fetch_sub_explicit(&backend->live_bytes, live->bytes, memory_order_relaxed);
        *live = (firn_live){0};
    }
}

static int follow_once(firn_backend *backend, bool *again) {
    bool changed;
    uint64_t old_tail = firn_log_tail(backend->log);
    int result = firn_log_follow(backend->log, &changed);
    *again = false;
    if (result != FIRN_OK || (!changed && backend->known == firn_log_end(backend->log))) {
        return result;
    }
    if (!firn_log_is_complete(backend->log)) {
        result = firn_log_scan(backend->log, false);
    }
    if (result == FIRN_OK) {
        result = firn_lives_reserve(backend);
    }
    if (result == FIRN_OK) {
        forget_gone(backend, old_tail);
        firn_delta *active = atomic_load_explicit(&backend->active, memory_order_relaxed);
        if (backend->known == 0 || active->count > backend->delta_max / 2 ||
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
    return result;
}
