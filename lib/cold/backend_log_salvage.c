/* The log backend without an index on disk: what is valid is found out from the log alone, in
 * memory, for whoever looks at a store whose index is damaged and may change nothing in it. See
 * backend_log.h.
 *
 * Takes about 48 bytes of memory an entry. What lies before a damaged stretch may have been
 * overwritten or deleted in it, and is given up. */
#include <string.h>

#include "cold/backend_log.h"

static int no_memory(firn_backend *backend) {
    return firn_detail_set(backend->detail, FIRN_ENOMEM, "no memory for an index of the store");
}

/* Everything stands in one delta. */
static int enlarge(firn_backend *backend) {
    firn_delta *delta = atomic_load_explicit(&backend->active, memory_order_relaxed);
    return firn_delta_enlarge(delta, backend->heap) == FIRN_OK ? FIRN_OK : no_memory(backend);
}

/* *blank: nothing was ever written to the last segment behind the position. */
static int look_behind(firn_backend *backend, uint64_t position, bool *blank) {
    size_t size = (size_t)(firn_log_end(backend->log) - position);
    unsigned char *bytes = firn_heap_alloc(backend->heap, size);
    *blank = true;
    if (bytes == NULL) {
        return no_memory(backend);
    }
    size_t got;
    int result = firn_log_read(backend->log, position, bytes, size, &got);
    for (size_t i = 0; result == FIRN_OK && i < got && *blank; i++) {
        *blank = bytes[i] == 0;
    }
    firn_heap_free(backend->heap, bytes, size);
    return result;
}

/* *ends: there is no sound frame at `known` because the log ends there, and not for damage. Where
 * the header does not tell, leftovers of an earlier turn look no different from damage. */
static int is_end(firn_backend *backend, bool powerless, bool *ends) {
    uint64_t told = firn_log_told_end(backend->log);
    uint64_t last = firn_log_number(backend->payload, firn_log_end(backend->log) - 1);
    *ends = firn_log_number(backend->payload, backend->known) == last;
    if (!*ends || powerless) {
        return FIRN_OK;
    }
    if (told != 0) {
        *ends = backend->known >= told;
        return FIRN_OK;
    }
    return look_behind(backend, backend->known, ends);
}

static void give_up(firn_backend *backend, firn_backend_recovery *recovery) {
    recovery->lost++;
    recovery->given_up += atomic_load_explicit(&backend->entries, memory_order_relaxed);
    firn_delta_clear(atomic_load_explicit(&backend->active, memory_order_relaxed));
    memset(backend->lives, 0, (size_t)(backend->lives_mask + 1) * sizeof *backend->lives);
    atomic_store_explicit(&backend->entries, 0, memory_order_relaxed);
    atomic_store_explicit(&backend->live_bytes, 0, memory_order_relaxed);
}

/* Goes on behind what is damaged at `known`: right behind a frame whose bounds are still right,
 * else with the next segment. */
static int pass_damage(firn_backend *backend, firn_backend_recovery *recovery) {
    firn_frame frame;
    give_up(backend, recovery);
    int result = firn_scan_frame(backend, &backend->own->scan, backend->known, &frame);
    if (result == FIRN_OK) {
        result = firn_scan_next(backend, &backend->own->scan, &frame, &backend->known);
    } else if (result == FIRN_ECORRUPT) {
        result = firn_scan_skip(backend, backend->known, &backend->known);
    }
    if (result == FIRN_NOT_FOUND) {
        backend->known = firn_log_end(backend->log);
        result = FIRN_OK;
    }
    return result;
}

static int walk(firn_backend *backend, bool powerless, firn_backend_recovery *recovery) {
    int result = FIRN_OK;
    while (result == FIRN_OK && backend->known < firn_log_end(backend->log)) {
        result = firn_replay(backend, false, enlarge, recovery);
        if (result != FIRN_ECORRUPT) {
            continue;
        }
        bool ends;
        result = is_end(backend, powerless, &ends);
        if (result == FIRN_OK && ends) {
            firn_log_set_end(backend->log, backend->known);
        } else if (result == FIRN_OK) {
            result = pass_damage(backend, recovery);
        }
    }
    return result;
}

int firn_salvage_recover(firn_backend *backend, bool powerless, firn_backend_recovery *recovery) {
    int result = firn_log_scan(backend->log, true);
    if (result == FIRN_OK) {
        result = firn_lives_reserve(backend);
    }
    if (result != FIRN_OK) {
        return result;
    }
    uint64_t tail = firn_log_tail(backend->log);
    uint64_t told_tail = firn_log_told_tail(backend->log);
    recovery->lost = told_tail != 0 && tail > told_tail ? tail - told_tail : 0;
    result = firn_scan_skip(backend, tail * backend->payload - 1, &backend->known);
    if (result == FIRN_NOT_FOUND) {
        backend->known = firn_log_end(backend->log);
        result = FIRN_OK;
    }
    if (result == FIRN_OK) {
        result = walk(backend, powerless, recovery);
    }
    /* Segments that are not there any more came after all that is. If it is not known where the log
     * ended, there may have been some. */
    uint64_t told = firn_log_told_end(backend->log);
    if (result == FIRN_OK && !powerless && (told == 0 || backend->known < told)) {
        give_up(backend, recovery);
    }
    backend->meta.version_next = recovery->version_max + 1;
    return result;
}
