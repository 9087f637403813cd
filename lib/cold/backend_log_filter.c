/* The log backend: the filter's part. See backend_log.h for what the filter holds.
 *
 * It is loaded from what a clean close left, or made from the index; both in steps, beside requests
 * and changes. Until it is there it says "maybe", and the index answers. */
#include <string.h>

#include "cold/backend_log.h"

enum {
    CAPACITY_MIN = 4096,
    BYTES_AN_ENTRY = 2048, /* of the budget, to begin with: then it need not grow soon */
    STEP_HASHES = 32768,
    STEP_BYTES = 1 << 20,
    WALK_BUFFER = 512,
    HASHES_IN_15_BYTES = 7, /* at the filter's fullest */
};

static uint64_t bounded(const firn_backend *backend, uint64_t capacity) {
    capacity = capacity < CAPACITY_MIN ? CAPACITY_MIN : capacity;
    return capacity < backend->filter_capacity_max ? capacity : backend->filter_capacity_max;
}

int firn_filter_open(firn_backend *backend, uint64_t bytes_max) {
    backend->filter_capacity_max = bytes_max / 15 < FIRN_FILTER_CAPACITY_MAX / HASHES_IN_15_BYTES
                                       ? bytes_max / 15 * HASHES_IN_15_BYTES
                                       : FIRN_FILTER_CAPACITY_MAX;
    if (backend->filter_capacity_max < CAPACITY_MIN) {
        return FIRN_OK;
    }
    backend->filter = firn_filter_new(backend->heap);
    return backend->filter != NULL
               ? FIRN_OK
               : firn_detail_set(backend->detail, FIRN_ENOMEM, "no memory to open the store");
}

static uint64_t generation(firn_backend *backend) {
    firn_fingerprint fingerprint = {0};
    (void)firn_index_fingerprint(backend->index, &fingerprint);
    return fingerprint.transaction;
}

/* The file goes as soon as it is open: what it says is about to become untrue. */
void firn_filter_recall(firn_backend *backend) {
    if (backend->filter == NULL) {
        return;
    }
    if (firn_filter_file_open(&backend->filter_file, backend->directory, backend->meta.store_id,
                              generation(backend), backend->filter, backend->heap) != FIRN_OK) {
        backend->filter_file = NULL; /* it is made from the index */
    }
    (void)firn_filter_file_remove(backend->directory, backend->heap);
}

void firn_filter_close(firn_backend *backend) {
    firn_filter_file_close(backend->filter_file);
    backend->filter_file = NULL;
    firn_filter_free(backend->filter);
    backend->filter = NULL;
}

void firn_filter_empty(firn_backend *backend) {
    if (backend->filter == NULL) {
        return;
    }
    firn_filter_file_close(backend->filter_file);
    backend->filter_file = NULL;
    firn_filter_rebuild_cancel(backend->filter);
    uint64_t usual = backend->limit_bytes / BYTES_AN_ENTRY;
    /* Without memory for it, it knows nothing: see firn_filter_maintain. */
    (void)firn_filter_start_empty(backend->filter, bounded(backend, usual));
}

void firn_filter_note_before(firn_backend *backend, const firn_change *change) {
    if (backend->filter != NULL && change->place != 0 && change->old == 0) {
        (void)firn_filter_add(backend->filter, change->hash);
    }
}

void firn_filter_note_after(firn_backend *backend, const firn_change *change) {
    if (backend->filter != NULL && change->place == 0 && change->old != 0) {
        (void)firn_filter_remove(backend->filter, change->hash);
    }
}

/* The hashes of the stored index, a buffer of them at a time. */
typedef struct walk {
    firn_backend *backend;
    uint64_t hashes[WALK_BUFFER];
    size_t count;
    size_t at;
    bool ended;
} walk;

static int next_hash(void *context, uint64_t from, uint64_t *hash) {
    walk *self = context;
    while (self->at < self->count && self->hashes[self->at] < from) {
        self->at++;
    }
    if (self->at == self->count && !self->ended) {
        firn_index_reader *reader = self->backend->own->reader;
        int result = firn_index_read_begin(reader);
        if (result != FIRN_OK) {
            return result;
        }
        result = firn_index_walk(reader, from, self->hashes, WALK_BUFFER, &self->count);
        firn_index_read_end(reader);
        if (result != FIRN_OK) {
            return result;
        }
        self->at = 0;
        self->ended = self->count < WALK_BUFFER;
    }
    if (self->at == self->count) {
        return FIRN_NOT_FOUND;
    }
    *hash = self->hashes[self->at];
    return FIRN_OK;
}

static int begin_building(firn_backend *backend, uint64_t capacity) {
    backend->filter_too_small = capacity > backend->filter_capacity_max;
    if (backend->filter_too_small) {
        return FIRN_OK; /* it goes on knowing nothing, until there is less to know */
    }
    int result = firn_filter_rebuild_begin(backend->filter, bounded(backend, capacity));
    return result == FIRN_OK ? FIRN_AGAIN : result;
}

/* The walk is to find all there is in the index itself. */
static int build_some(firn_backend *backend) {
    int result = firn_checkpoint(backend);
    if (result != FIRN_OK) {
        return result;
    }
    walk self = {.backend = backend};
    result = firn_filter_rebuild_step(backend->filter, STEP_HASHES, next_hash, &self);
    return result == FIRN_ENOSPC ? begin_building(backend, backend->index_entries * 3) : result;
}

int firn_filter_maintain(firn_backend *backend) {
    if (backend->filter == NULL) {
        return FIRN_OK;
    }
    if (backend->filter_file != NULL) {
        int result = firn_filter_file_load(backend->filter_file, STEP_BYTES);
        if (result != FIRN_AGAIN) {
            firn_filter_file_close(backend->filter_file);
            backend->filter_file = NULL;
        }
        return FIRN_AGAIN; /* after an error, to make it from the index */
    }
    if (firn_filter_is_building(backend->filter)) {
        return build_some(backend);
    }
    if (!firn_filter_wants_rebuild(backend->filter) ||
        (backend->filter_too_small && backend->index_entries > backend->filter_capacity_max)) {
        return FIRN_OK;
    }
    return begin_building(backend, backend->index_entries * 2);
}

int firn_filter_save(firn_backend *backend) {
    if (backend->filter == NULL) {
        return FIRN_OK;
    }
    int result = firn_filter_file_save(backend->filter, backend->directory, backend->meta.store_id,
                                       generation(backend), backend->heap, backend->detail);
    return result == FIRN_NOT_FOUND ? FIRN_OK : result;
}
