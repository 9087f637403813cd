/* The log backend: readers. See backend_log.h. */
#include <stdlib.h>
#include <string.h>

#include "cold/backend_log.h"
#include "cold/blobs.h"

enum {
    ATTEMPTS = 16,        /* at one place that moves meanwhile */
    BUFFER_KEPT = 1 << 20 /* bytes, between reads */
};

static int compare_hashes(const void *a, const void *b) {
    const uint64_t *left = a;
    const uint64_t *right = b;
    return *left < *right ? -1 : *left > *right;
}

/* Its segment was given up; or the index is damaged and speaks of what was never written, which in
 * a handle beside a writer of another process may only mean that it is ahead. */
static bool is_gone(const firn_backend *backend, uint64_t place) {
    uint64_t position = firn_place_position(place);
    return firn_log_number(backend->payload, position) < firn_log_tail(backend->log) ||
           (!backend->read_only && position >= firn_log_end(backend->log));
}

/* What the deltas and the filter say: FIRN_OK, *place may be 0; FIRN_NOT_FOUND: surely none;
 * FIRN_AGAIN: the index is to be asked, in a transaction that begins after this. */
static int locate_in_memory(firn_backend *backend, uint64_t hash, uint64_t *place) {
    const firn_delta *active = atomic_load_explicit(&backend->active, memory_order_acquire);
    *place = 0;
    if (firn_delta_find(active, hash, place)) {
        return FIRN_OK;
    }
    const firn_delta *frozen = atomic_load_explicit(&backend->frozen, memory_order_acquire);
    if (firn_delta_find(frozen, hash, place)) {
        return FIRN_OK;
    }
    if (backend->index == NULL) {
        return FIRN_NOT_FOUND;
    }
    bool denied = backend->filter != NULL && !firn_filter_may_contain(backend->filter, hash);
    return denied ? FIRN_NOT_FOUND : FIRN_AGAIN;
}

int firn_locate(firn_backend *backend, firn_index_reader *reader, uint64_t hash, uint64_t *place) {
    int result = locate_in_memory(backend, hash, place);
    if (result == FIRN_AGAIN) {
        result = firn_index_read_begin(reader);
        if (result == FIRN_OK) {
            result = firn_index_get(reader, hash, place);
            firn_index_read_end(reader);
        }
    }
    if (result != FIRN_OK) {
        return result;
    }
    return *place == 0 || is_gone(backend, *place) ? FIRN_NOT_FOUND : FIRN_OK;
}

static int grow(firn_backend_session *session, size_t size) {
    if (size <= session->capacity) {
        return FIRN_OK;
    }
    firn_backend *backend = session->backend;
    size_t capacity = size < 4096 ? 4096 : size + size / 4;
    firn_heap_free(backend->heap, session->bytes, session->capacity);
    session->bytes = firn_heap_alloc(backend->heap, capacity);
    session->capacity = session->bytes != NULL ? capacity : 0;
    return session->bytes != NULL ? FIRN_OK
                                  : firn_detail_set(backend->detail, FIRN_ENOMEM,
                                                    "no memory for a record of %zu bytes", size);
}

int firn_read_place(firn_backend_session *session, uint64_t place, firn_bytes *record) {
    firn_backend *backend = session->backend;
    uint64_t position = firn_place_position(place);
    uint64_t end = firn_log_end(backend->log);
    uint64_t there = position < end ? end - position : 0;
    /* A damaged index may ask for anything. */
    size_t size = (size_t)(firn_place_size(place) < there ? firn_place_size(place) : there);
    int result = grow(session, size + FIRN_FRAME_HEAD);
    if (result != FIRN_OK) {
        return result;
    }
    size_t got;
    result = firn_log_read(backend->log, position, session->bytes, size, &got);
    if (result != FIRN_OK) {
        return result;
    }
    if (got == 0 && firn_log_slot(backend->log,
                                  firn_log_number(backend->payload, firn_place_position(place))) ==
                        FIRN_LOG_NO_SLOT) {
        return FIRN_NOT_FOUND; /* the segment was lost, which was counted when it was found out */
    }
    uint32_t own = 0;
    if (got >= sizeof own) {
        memcpy(&own, session->bytes, sizeof own);
    }
    /* Fewer bytes than there should be: the checksum will not fit. */
    size_t rest = got > FIRN_FRAME_HEAD ? got - FIRN_FRAME_HEAD : 0;
    *record = (firn_bytes){session->bytes + FIRN_FRAME_HEAD, own < rest ? own : rest};
    return is_gone(backend, place) ? FIRN_NOT_FOUND : FIRN_OK;
}

int firn_session_new(firn_backend *backend, firn_backend_session **out) {
    firn_backend_session *session = firn_heap_zalloc(backend->heap, sizeof *session);
    *out = NULL;
    if (session == NULL) {
        return firn_detail_set(backend->detail, FIRN_ENOMEM, "no memory to read the store");
    }
    session->backend = backend;
    int result =
        backend->index != NULL ? firn_index_reader_new(backend->index, &session->reader) : FIRN_OK;
    if (result != FIRN_OK) {
        firn_session_free(session);
        return result;
    }
    *out = session;
    return FIRN_OK;
}

static void drop_blob(firn_backend_session *session) {
    firn_heap_free(session->backend->heap, session->blob, session->blob_size);
    session->blob = NULL;
    session->blob_size = 0;
}

void firn_session_free(firn_backend_session *session) {
    if (session == NULL) {
        return;
    }
    firn_heap *heap = session->backend->heap;
    drop_blob(session);
    firn_index_reader_free(session->reader);
    firn_scan_fini(&session->scan, heap);
    firn_heap_free(heap, session->bytes, session->capacity);
    firn_heap_free(heap, session, sizeof *session);
}

/* Of a read-only handle: takes over what a writer did meanwhile. */
static int catch_up(firn_backend *backend) {
    pthread_rwlock_wrlock(&backend->follow_lock);
    int result = firn_follow_locked(backend);
    pthread_rwlock_unlock(&backend->follow_lock);
    return result;
}

int firn_session_begin(firn_backend_session *session) {
    firn_backend *backend = session->backend;
    session->after = 0;
    session->scan.length = 0; /* what it holds may be old */
    if (!backend->read_only || backend->index == NULL) {
        return FIRN_OK;
    }
    int result = catch_up(backend);
    if (result == FIRN_OK) {
        pthread_rwlock_rdlock(&backend->follow_lock);
        session->locked = true;
    }
    return result;
}

void firn_session_end(firn_backend_session *session) {
    firn_backend *backend = session->backend;
    if (session->locked) {
        session->locked = false;
        pthread_rwlock_unlock(&backend->follow_lock);
    }
    drop_blob(session);
    if (session->capacity > BUFFER_KEPT) {
        firn_heap_free(backend->heap, session->bytes, session->capacity);
        session->bytes = NULL;
        session->capacity = 0;
    }
    if (session->scan.capacity > BUFFER_KEPT) {
        firn_scan_fini(&session->scan, backend->heap);
    }
}

/* Beside a writer in another process the index may know more than was followed. */
static int locate_followed(firn_backend_session *session, uint64_t hash, uint64_t *place) {
    firn_backend *backend = session->backend;
    int result = FIRN_NOT_FOUND;
    for (unsigned i = 0; i < ATTEMPTS; i++) {
        result = firn_locate(backend, session->reader, hash, place);
        if (result != FIRN_OK || !session->locked ||
            firn_place_position(*place) < firn_log_end(backend->log)) {
            return result;
        }
        pthread_rwlock_unlock(&backend->follow_lock);
        result = catch_up(backend);
        pthread_rwlock_rdlock(&backend->follow_lock);
        if (result != FIRN_OK) {
            return result;
        }
    }
    return FIRN_NOT_FOUND;
}

/* Before anything is looked at that a writer may change. */
static void note_changes(firn_backend_session *session) {
    session->changes = firn_log_changes(session->backend->log);
}

int firn_session_lookup_many(firn_backend_session *session, size_t count, const uint64_t *hashes,
                             uint64_t *places) {
    firn_backend *backend = session->backend;
    int result = FIRN_OK;
    bool any = false;
    note_changes(session);
    for (size_t i = 0; i < count && backend->filter != NULL; i++) {
        firn_filter_prefetch(backend->filter, firn_index_hash(hashes[i]));
    }
    for (size_t i = 0; i < count; i++) {
        int one = locate_in_memory(backend, firn_index_hash(hashes[i]), &places[i]);
        /* No place is all ones: its size would be beyond all bounds. */
        places[i] = one == FIRN_AGAIN ? UINT64_MAX : places[i];
        any = any || one == FIRN_AGAIN;
    }
    if (any) {
        result = firn_index_read_begin(session->reader);
    }
    for (size_t i = 0; i < count && any && result == FIRN_OK; i++) {
        if (places[i] == UINT64_MAX) {
            result = firn_index_get(session->reader, firn_index_hash(hashes[i]), &places[i]);
            places[i] = result == FIRN_OK ? places[i] : 0;
            result = result == FIRN_NOT_FOUND ? FIRN_OK : result;
        }
    }
    if (any) {
        firn_index_read_end(session->reader);
    }
    return result;
}

int firn_session_fetch(firn_backend_session *session, uint64_t place, uint64_t *sequence,
                       firn_bytes *record) {
    *sequence = firn_place_position(place);
    return is_gone(session->backend, place) ? FIRN_NOT_FOUND
                                            : firn_read_place(session, place, record);
}

bool firn_session_overtaken(firn_backend_session *session) {
    firn_backend *backend = session->backend;
    if (session->locked) { /* it may have been in another process */
        pthread_rwlock_unlock(&backend->follow_lock);
        int result = catch_up(backend);
        pthread_rwlock_rdlock(&backend->follow_lock);
        if (result != FIRN_OK) {
            return true; /* it cannot be told, and nothing is known any more */
        }
    }
    return firn_log_changes(session->backend->log) != session->changes;
}

/* One whose segment went between the look-up and the reading may have been written once more before
 * that: then it is looked for again. */
int firn_session_lookup(firn_backend_session *session, uint64_t hash, uint64_t *sequence,
                        firn_bytes *record) {
    int result = FIRN_NOT_FOUND;
    for (unsigned i = 0; i < ATTEMPTS; i++) {
        uint64_t place = 0;
        note_changes(session);
        result = locate_followed(session, firn_index_hash(hash), &place);
        *sequence = firn_place_position(place);
        if (result == FIRN_OK) {
            result = firn_read_place(session, place, record);
        }
        if (result != FIRN_NOT_FOUND || place == 0 || !firn_session_overtaken(session)) {
            return result;
        }
    }
    return result;
}

static int locate(firn_backend_session *session, uint64_t hash, uint64_t *sequence) {
    int result = FIRN_NOT_FOUND;
    *sequence = 0;
    for (unsigned i = 0; i < ATTEMPTS; i++) {
        uint64_t place = 0;
        note_changes(session);
        result = locate_followed(session, firn_index_hash(hash), &place);
        if (result == FIRN_OK) {
            *sequence = firn_place_position(place);
        }
        if (result != FIRN_NOT_FOUND || place == 0 || !firn_session_overtaken(session)) {
            return result;
        }
    }
    return result;
}

/* Whoever looked up many before compares the others of them with the changes at that time. */
int firn_session_locate(firn_backend_session *session, uint64_t hash, uint64_t *sequence) {
    uint64_t before = session->changes;
    int result = locate(session, hash, sequence);
    session->changes = before;
    return result;
}

/* Where the search for a sequence of at least `from` begins: at the first frame of its segment,
 * unless the last one found stands right before it. */
static int search_start(firn_backend_session *session, uint64_t from, uint64_t *position) {
    const firn_backend *backend = session->backend;
    if (session->after != 0 && from == session->after + 1) {
        *position = session->next;
        return FIRN_OK;
    }
    uint64_t number = firn_log_number(backend->payload, from);
    uint64_t tail = firn_log_tail(backend->log);
    return firn_scan_skip(backend, (number > tail ? number : tail) * backend->payload - 1,
                          position);
}

int firn_session_next_record(firn_backend_session *session, uint64_t from, uint64_t *sequence,
                             firn_bytes *record) {
    firn_backend *backend = session->backend;
    uint64_t position;
    int result = search_start(session, from, &position);
    while (result == FIRN_OK) {
        if (firn_log_number(backend->payload, position) < firn_log_tail(backend->log)) {
            position = firn_log_tail(backend->log) * backend->payload; /* it went meanwhile */
            result = firn_scan_skip(backend, position - 1, &position);
            continue;
        }
        firn_frame frame;
        result = firn_scan_frame(backend, &session->scan, position, &frame);
        if (result == FIRN_ECORRUPT) {
            session->skipped = true;
            result = firn_scan_skip(backend, position, &position);
            continue;
        }
        if (result != FIRN_OK) {
            return result;
        }
        uint64_t end = frame.end;
        bool wanted = !frame.removal && position >= from;
        uint64_t next;
        result = firn_scan_next(backend, &session->scan, &frame, &next);
        session->skipped = session->skipped || result != FIRN_OK || next != end;
        if (wanted) {
            session->after = position;
            session->next = result == FIRN_OK ? next : firn_log_end(backend->log);
            /* It may have been pushed out of memory by a look at what follows. */
            *sequence = position;
            result = firn_scan_frame(backend, &session->scan, position, &frame);
            *record = frame.record;
            return result == FIRN_ECORRUPT ? FIRN_EIO : result;
        }
        position = next;
    }
    return result;
}

int firn_session_next_index(firn_backend_session *session, uint64_t from, uint64_t *hash,
                            uint64_t *sequence) {
    uint64_t place = 0;
    if (session->backend->index == NULL) {
        return FIRN_NOT_FOUND;
    }
    int result = firn_index_read_begin(session->reader);
    if (result == FIRN_OK) {
        result = firn_index_next(session->reader, from, hash, &place);
        firn_index_read_end(session->reader);
    }
    *sequence = firn_place_position(place);
    return result;
}

/* Sorts the hashes, and keeps the lowest `most` of those that differ. */
static size_t keep_lowest(uint64_t *hashes, size_t count, size_t most) {
    qsort(hashes, count, sizeof *hashes, compare_hashes);
    size_t kept = 0;
    for (size_t i = 0; i < count && kept < most; i++) {
        if (kept == 0 || hashes[i] != hashes[kept - 1]) {
            hashes[kept++] = hashes[i];
        }
    }
    return kept;
}

static size_t walk_delta(const firn_delta *delta, uint64_t from, uint64_t *hashes, size_t most,
                         size_t count) {
    uint64_t to = UINT64_MAX;
    size_t mask = atomic_load_explicit(&delta->mask, memory_order_acquire);
    for (size_t i = 0; i <= mask; i++) {
        uint64_t hash = atomic_load_explicit(&firn_delta_at(delta, i)->hash, memory_order_acquire);
        if (hash == 0 || hash < from || hash > to) {
            continue;
        }
        hashes[count++] = hash;
        if (count == 2 * most) {
            count = keep_lowest(hashes, count, most);
            to = count == most ? hashes[most - 1] : to;
        }
    }
    return keep_lowest(hashes, count, most);
}

/* The deltas before the index, and the transaction begins behind them: as in firn_locate, and for
 * the same reason. A delta that is emptied meanwhile was in the index before. */
int firn_session_walk(firn_backend_session *session, uint64_t from, uint64_t *hashes, size_t most,
                      size_t *count) {
    firn_backend *backend = session->backend;
    size_t found = walk_delta(atomic_load_explicit(&backend->active, memory_order_acquire), from,
                              hashes, most, 0);
    found = walk_delta(atomic_load_explicit(&backend->frozen, memory_order_acquire), from, hashes,
                       most, found);
    size_t more = 0;
    int result = firn_index_read_begin(session->reader);
    if (result == FIRN_OK) {
        result = firn_index_walk(session->reader, from, hashes + found, most, &more);
        firn_index_read_end(session->reader);
    }
    *count = result == FIRN_OK ? keep_lowest(hashes, found + more, most) : 0;
    return result;
}

int firn_session_get_blob(firn_backend_session *session, uint64_t number, firn_bytes *blob) {
    const firn_backend *backend = session->backend;
    drop_blob(session);
    int result = firn_blob_get(backend->directory, number, &session->blob, &session->blob_size,
                               backend->heap, backend->detail);
    session->blob_size = result == FIRN_OK ? session->blob_size : 0;
    *blob = (firn_bytes){session->blob, session->blob_size};
    return result;
}

int firn_session_next_blob(firn_backend_session *session, uint64_t from, uint64_t *number,
                           firn_bytes *blob) {
    const firn_backend *backend = session->backend;
    int result;
    do { /* one that is removed meanwhile is passed over */
        result = firn_blob_next(backend->directory, from, number, backend->detail);
        if (result == FIRN_OK) {
            result = firn_session_get_blob(session, *number, blob);
            if (result != FIRN_NOT_FOUND || *number == UINT64_MAX) {
                return result;
            }
            from = *number + 1;
            result = FIRN_OK;
        }
    } while (result == FIRN_OK);
    return result;
}
