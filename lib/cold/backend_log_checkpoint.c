/* The log backend: checkpoints, which bring the stored index up to the log's end. See
 * backend_log.h.
 *
 * Entries are merged in the order of their hashes, so that a page of the index is touched once for
 * all of its entries, and in several transactions, so that the pages that one of them frees serve
 * the next but one: the file grows by a part of the index and not by a second one. Until the last
 * of them says so, the index is as of the checkpoint before, with some entries ahead of it, which a
 * replay of the log sets right again.
 *
 * Entries that died with their segment are swept away as the merge comes by; where it touches a
 * small part of a large index only, by walks of their own, a piece at each checkpoint, so that
 * about one in eight is dead at the most. */
#include <string.h>

#include "cold/backend_log.h"

enum {
    PARTS = 16,               /* transactions of a checkpoint, about */
    CHANGES_AT_ONCE = 16384,  /* in one of them at the most */
    SWEPT_AT_ONCE_MIN = 1024, /* entries looked at in one transaction */
    SWEPT_AT_ONCE_MAX = 65536,
    DEAD_SHARE = 8,         /* one in so many entries may be dead */
    ENTRIES_A_PAGE = 64,    /* of the index, at the least */
    READERS_WAIT_MS = 1000, /* for readers that keep old pages */
    ATTEMPTS = 8,
    ENTRIES_A_DELTA_ENTRY = 4, /* of the index: then a checkpoint meets some in each page */
};

/* A transaction on the way to a checkpoint says that it is one. */
static int begin_part(firn_backend *backend) {
    firn_index_meta meta = {backend->meta, backend->checkpoint, 1};
    int result = firn_index_begin(backend->index);
    if (result == FIRN_OK && !backend->rebuilding) {
        result = firn_index_set_meta(backend->index, &meta);
        if (result != FIRN_OK) {
            firn_index_abort(backend->index);
        }
    }
    return result;
}

static int finish(firn_backend *backend, int result) {
    if (result != FIRN_OK) {
        firn_index_abort(backend->index);
        return result;
    }
    return firn_index_commit(backend->index);
}

/* What a sweep found dead; the filter is told after the commit. */
typedef struct swept {
    firn_backend *backend;
    uint64_t *hashes;
    size_t count;
    size_t size;
} swept;

static bool note_swept(swept *self, uint64_t hash) {
    if (self->count == self->size) {
        firn_heap *heap = self->backend->heap;
        size_t size = self->size * 2 + 1024;
        uint64_t *hashes = firn_heap_alloc(heap, size * sizeof *hashes);
        if (hashes == NULL) {
            return false;
        }
        if (self->count > 0) {
            memcpy(hashes, self->hashes, self->count * sizeof *hashes);
        }
        firn_heap_free(heap, self->hashes, self->size * sizeof *hashes);
        self->hashes = hashes;
        self->size = size;
    }
    self->hashes[self->count++] = hash;
    return true;
}

static void free_swept(swept *self) {
    firn_heap_free(self->backend->heap, self->hashes, self->size * sizeof *self->hashes);
}

/* What cannot be noted stays for another time. */
static bool is_dead(void *context, uint64_t hash, uint64_t place) {
    swept *self = context;
    const firn_backend *backend = self->backend;
    return firn_log_number(backend->payload, firn_place_position(place)) <
               firn_log_tail(backend->log) &&
           note_swept(self, hash);
}

/* A hash that is in a delta has an entry there, or lost its place when it was removed. */
static void tell_filter(const swept *self) {
    firn_backend *backend = self->backend;
    for (size_t i = 0; i < self->count && backend->filter != NULL; i++) {
        uint64_t place;
        if (!firn_delta_find(&backend->deltas[0], self->hashes[i], &place) &&
            !firn_delta_find(&backend->deltas[1], self->hashes[i], &place)) {
            (void)firn_filter_remove(backend->filter, self->hashes[i]);
        }
    }
}

static int sweep_some(firn_backend *backend, uint64_t to, size_t at_once, bool *over) {
    swept self = {.backend = backend};
    uint64_t from = backend->sweep_from;
    int result = begin_part(backend);
    if (result == FIRN_OK) {
        result = finish(backend,
                        firn_index_sweep(backend->index, &from, to, at_once, over, is_dead, &self));
    }
    if (result == FIRN_OK) {
        backend->sweep_from = from;
        tell_filter(&self);
    }
    free_swept(&self);
    return result;
}

/* Sweeps up to the hash `to`. */
static int sweep_to(firn_backend *backend, uint64_t to, size_t at_once) {
    bool over = false;
    int result = FIRN_OK;
    while (!over && result == FIRN_OK) {
        result = sweep_some(backend, to, at_once, &over);
    }
    return result;
}

/* As large a part of the index as is needed to keep to DEAD_SHARE. */
static int sweep(firn_backend *backend, bool whole, size_t at_once) {
    uint64_t allowed = backend->index_entries / DEAD_SHARE + 1;
    if (backend->dead == 0) {
        return FIRN_OK;
    }
    uint64_t to = UINT64_MAX;
    if (whole) {
        backend->sweep_from = 0;
    } else if (backend->dead < allowed) {
        uint64_t share = UINT64_MAX / allowed * backend->dead;
        to = share < UINT64_MAX - backend->sweep_from ? backend->sweep_from + share : UINT64_MAX;
    }
    int result = sweep_to(backend, to, at_once);
    if (result == FIRN_OK) {
        /* What died outside of the part is still there, but its turn comes before as many more
         * died again. */
        backend->dead = 0;
        backend->sweep_from = to == UINT64_MAX ? 0 : to + 1;
    }
    return result;
}

static int store_segments(firn_backend *backend) {
    uint64_t tail = firn_log_tail(backend->log);
    bool moved = firn_log_moves(backend->log) != backend->moves_stored;
    int result = firn_index_trim_segments(backend->index, tail);
    for (uint64_t n = tail; n * backend->payload < firn_log_end(backend->log) && result == FIRN_OK;
         n++) {
        const firn_live *live = &backend->lives[n & backend->lives_mask];
        if (live->dirty || moved || n * backend->payload >= backend->checkpoint) {
            firn_index_segment segment = firn_lives_row(backend, n, firn_log_slot(backend->log, n));
            result = firn_index_set_segment(backend->index, n, &segment);
        }
    }
    return result;
}

/* The last transaction: from here on what is known of the log is in the index. */
static int conclude(firn_backend *backend) {
    firn_index_meta meta = {backend->meta, backend->known, 0};
    int result = firn_index_begin(backend->index);
    if (result != FIRN_OK) {
        return result;
    }
    result = store_segments(backend);
    if (result == FIRN_OK && !backend->rebuilding) {
        result = firn_index_set_meta(backend->index, &meta);
    }
    result = finish(backend, result);
    if (result == FIRN_OK) {
        backend->checkpoint = meta.checkpoint;
        backend->meta_dirty = false;
        backend->moves_stored = firn_log_moves(backend->log);
        for (uint64_t i = 0; i <= backend->lives_mask; i++) {
            backend->lives[i].dirty = false;
        }
    }
    return result;
}

static void note_usage(firn_backend *backend) {
    firn_index_usage usage;
    if (firn_index_read_begin(backend->own->reader) == FIRN_OK) {
        if (firn_index_read_usage(backend->own->reader, &usage) == FIRN_OK) {
            backend->index_entries = usage.entries;
            backend->index_live_bytes = usage.live_bytes;
        }
        firn_index_read_end(backend->own->reader);
    }
}

/* Entries of the delta, and on the way what is dead among those of the index from hash `from` to
 * `to`, which lie in the same pages. */
static int merge_some(firn_backend *backend, const firn_delta_entry *entries, size_t count,
                      bool sweeping, uint64_t from, uint64_t to) {
    swept self = {.backend = backend};
    int result = begin_part(backend);
    if (result != FIRN_OK) {
        return result;
    }
    for (size_t i = 0; i < count && result == FIRN_OK; i++) {
        result = entries[i].place != 0
                     ? firn_index_put(backend->index, entries[i].hash, entries[i].place)
                     : firn_index_delete(backend->index, entries[i].hash);
    }
    if (result == FIRN_OK && sweeping) {
        bool over;
        result = firn_index_sweep(backend->index, &from, to, SIZE_MAX, &over, is_dead, &self);
    }
    result = finish(backend, result);
    if (result == FIRN_OK) {
        tell_filter(&self);
    }
    free_swept(&self);
    return result;
}

/* merged: entries that were, in earlier attempts. */
static int merge(firn_backend *backend, size_t count, size_t part, bool sweeping, size_t *merged) {
    const firn_delta_entry *entries = backend->sorted;
    int result = FIRN_OK;
    while (*merged < count && result == FIRN_OK) {
        size_t some = count - *merged < part ? count - *merged : part;
        size_t after = *merged + some;
        uint64_t from = *merged > 0 ? entries[*merged - 1].hash + 1 : 0;
        uint64_t to = after < count ? entries[after - 1].hash : UINT64_MAX;
        result = merge_some(backend, entries + *merged, some, sweeping, from, to);
        *merged += result == FIRN_OK ? some : 0;
    }
    return result;
}

/* Where there is no room for new pages: smaller steps, and pages that readers let go of. */
static int merge_all(firn_backend *backend, size_t count) {
    size_t part = count / PARTS + 64;
    part = part < CHANGES_AT_ONCE ? part : CHANGES_AT_ONCE;
    size_t at_once = (size_t)(backend->index_entries / PARTS) + SWEPT_AT_ONCE_MIN;
    at_once = at_once < SWEPT_AT_ONCE_MAX ? at_once : SWEPT_AT_ONCE_MAX;
    size_t merged = 0;
    /* Where most pages are written anyway, all is swept along with it. */
    bool along = backend->dead > 0 && count * ENTRIES_A_PAGE >= backend->index_entries;
    bool tight = backend->index_entries + backend->dead > backend->entries_max;
    int result = FIRN_OK;
    for (unsigned attempt = 0; attempt < ATTEMPTS; attempt++) {
        result = tight ? sweep(backend, true, at_once) : FIRN_OK;
        if (result == FIRN_OK) {
            result = merge(backend, count, part, along, &merged);
        }
        if (result == FIRN_OK && along) {
            backend->dead = 0;
        } else if (result == FIRN_OK && !tight) {
            result = sweep(backend, false, at_once);
        }
        if (result == FIRN_OK) {
            result = conclude(backend);
        }
        if (result != FIRN_BACKEND_FULL) {
            return result;
        }
        if (!firn_index_wait_readers(backend->index, READERS_WAIT_MS)) {
            return firn_detail_set(backend->detail, FIRN_ENOSPC,
                                   "another process has been reading the store for too long and "
                                   "keeps space from reuse; end it");
        }
        part = part / 4 > 16 ? part / 4 : 16;
        at_once = at_once / 4 > 256 ? at_once / 4 : 256;
        tight = backend->dead > 0;
    }
    return result;
}

static int merge_frozen(firn_backend *backend, firn_delta *frozen) {
    size_t size = (frozen->count + 1) * sizeof *backend->sorted;
    backend->sorted = firn_heap_alloc(backend->heap, size);
    if (backend->sorted == NULL) {
        return firn_detail_set(backend->detail, FIRN_ENOMEM,
                               "no memory to bring the store's index up to date");
    }
    firn_delta_sorted(frozen, backend->sorted);
    int result = merge_all(backend, frozen->count);
    firn_heap_free(backend->heap, backend->sorted, size);
    backend->sorted = NULL;
    return result;
}

/* What suits a store of so many entries. */
static size_t delta_max_of(const firn_backend *backend, uint64_t entries) {
    size_t max = FIRN_DELTA_MIN;
    while (max < backend->delta_max && max * 2 * ENTRIES_A_DELTA_ENTRY <= entries) {
        max *= 2;
    }
    return max;
}

int firn_begin_delta(firn_backend *backend) {
    firn_delta *first = &backend->deltas[0];
    firn_delta_fini(first, backend->heap);
    int result =
        firn_delta_init(first, backend->heap, delta_max_of(backend, backend->index_entries));
    return result == FIRN_OK
               ? FIRN_OK
               : firn_detail_set(backend->detail, result, "no memory to open the store");
}

int firn_checkpoint(firn_backend *backend) {
    firn_delta *frozen = atomic_load_explicit(&backend->frozen, memory_order_relaxed);
    firn_delta *active = atomic_load_explicit(&backend->active, memory_order_relaxed);
    if (frozen->count == 0) { /* else an earlier attempt failed, and goes on here */
        if (active->count == 0 && !backend->meta_dirty && backend->checkpoint == backend->known) {
            return FIRN_OK;
        }
        firn_delta *empty = frozen;
        size_t max = delta_max_of(backend, backend->index_entries + active->count);
        (void)firn_delta_resize(empty, backend->heap, max); /* without memory it is as it was */
        frozen = active;
        atomic_store_explicit(&backend->frozen, frozen, memory_order_release);
        atomic_store_explicit(&backend->active, empty, memory_order_release);
    }
    int result = merge_frozen(backend, frozen);
    if (result == FIRN_BACKEND_FULL) { /* an empty cache is still a right one */
        backend->loss = FIRN_BACKEND_FULL;
        return firn_write_clear(backend);
    }
    if (result == FIRN_OK) {
        firn_delta_clear(frozen);
        firn_forget_changes(backend);
        note_usage(backend);
    }
    return result;
}
