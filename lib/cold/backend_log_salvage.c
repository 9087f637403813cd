/* The log backend: what is valid is found out from the log alone, where the index is damaged or
 * missing: on disk by a writer, in memory for whoever looks at a store and may change nothing in
 * it. See backend_log.h.
 *
 * Both walk through the log in the same way. What lies before a damaged stretch may have been
 * overwritten or deleted in it, and is given up. So is all there is if something may be missing
 * that came after it. In memory it takes about 48 bytes an entry. */
#include <string.h>

#include "cold/backend_log.h"

/* How the two differ. */
typedef struct remaking {
    int (*full)(firn_backend *backend); /* the active delta has no room */
    /* Forgets what was found so far, and goes on behind what is damaged at `known`. */
    int (*pass)(firn_backend *backend);
} remaking;

static int pass_damage(firn_backend *backend, const remaking *how,
                       firn_backend_recovery *recovery) {
    recovery->lost++;
    recovery->given_up += atomic_load_explicit(&backend->entries, memory_order_relaxed);
    return how->pass(backend);
}

/* `known` is where the first frame begins. */
static int find_first(firn_backend *backend) {
    int result = firn_log_scan(backend->log, true);
    /* What was reclaimed and is not overwritten yet must not come back: a delete of it left no
     * trace. */
    while (result == FIRN_OK && firn_log_tail(backend->log) < firn_log_told_tail(backend->log) &&
           (firn_log_tail(backend->log) + 1) * backend->payload <= firn_log_end(backend->log)) {
        firn_log_drop(backend->log);
    }
    if (result == FIRN_OK) {
        result = firn_lives_reserve(backend);
    }
    if (result != FIRN_OK) {
        return result;
    }
    uint64_t first = firn_log_tail(backend->log) * backend->payload;
    result = firn_scan_skip(backend, first - 1, &backend->known);
    if (result == FIRN_NOT_FOUND) {
        firn_log_clear(backend->log);
        backend->known = firn_log_end(backend->log);
        result = FIRN_OK;
    }
    return result;
}

/* There is no sound frame at `known` because the log ends there, and not for damage: all must be
 * sound up to where the header says that it ends. Behind that, or if the machine went down, what
 * lies in the last segment looks no different from damage. */
static bool is_end(const firn_backend *backend, uint64_t told) {
    uint64_t last = firn_log_number(backend->payload, firn_log_end(backend->log) - 1);
    return firn_log_number(backend->payload, backend->known) == last && backend->known >= told;
}

static int walk(firn_backend *backend, bool powerless, const remaking *how,
                firn_backend_recovery *recovery) {
    uint64_t told = powerless ? 0 : firn_log_told_end(backend->log);
    uint64_t told_tail = powerless ? 0 : firn_log_told_tail(backend->log);
    int result = find_first(backend);
    uint64_t tail = firn_log_tail(backend->log);
    recovery->lost += told_tail != 0 && tail > told_tail ? tail - told_tail : 0;
    while (result == FIRN_OK && backend->known < firn_log_end(backend->log)) {
        result = firn_replay(backend, false, how->full, recovery);
        if (result == FIRN_ECORRUPT && is_end(backend, told)) {
            firn_log_set_end(backend->log, backend->known);
            result = FIRN_OK;
        } else if (result == FIRN_ECORRUPT) {
            result = pass_damage(backend, how, recovery);
        }
    }
    /* Segments that are not there any more came after all that is. If it is not known where the log
     * ended, there may have been some. */
    if (result == FIRN_OK && !powerless && (told == 0 || backend->known < told)) {
        result = pass_damage(backend, how, recovery);
    }
    backend->meta.version_next = recovery->version_max + 1;
    return result;
}

/* ---- on disk ---- */

/* With the next segment: what is given up leaves the log as well, so that it need not be looked at
 * again. */
static int pass_on_disk(firn_backend *backend) {
    uint64_t next;
    int result = firn_scan_skip(backend, backend->known, &next);
    if (result == FIRN_NOT_FOUND) {
        next = firn_log_end(backend->log);
    } else if (result != FIRN_OK) {
        return result;
    }
    uint64_t number = firn_log_number(backend->payload, next);
    while (firn_log_tail(backend->log) < number &&
           (firn_log_tail(backend->log) + 1) * backend->payload <= firn_log_end(backend->log)) {
        firn_log_drop(backend->log);
    }
    uint64_t end = firn_log_end(backend->log);
    backend->known = next;
    firn_delta_clear(atomic_load_explicit(&backend->active, memory_order_relaxed));
    result = firn_write_empty_index(backend);
    backend->known = next < end ? next : end;
    return result;
}

int firn_remake_index(firn_backend *backend, bool powerless, firn_backend_recovery *recovery) {
    static const remaking how = {firn_checkpoint, pass_on_disk};
    firn_filter_recall(backend); /* for what it does to an old file */
    firn_filter_empty(backend);
    if (!powerless && firn_log_told_end(backend->log) == 0) {
        return firn_detail_set(backend->detail, FIRN_ECORRUPT,
                               "%s: neither its index nor where its log ends can be read; salvage "
                               "what can be with 'firn verify --repair', or open it with "
                               "set_aside_damaged",
                               backend->directory);
    }
    int result = walk(backend, powerless, &how, recovery);
    if (result == FIRN_OK) {
        backend->rebuilding = false;
        backend->meta_dirty = true;
        result = firn_log_publish(backend->log);
    }
    return result == FIRN_OK ? firn_checkpoint(backend) : result;
}

/* ---- in memory ---- */

/* Everything stands in one delta. */
static int enlarge(firn_backend *backend) {
    firn_delta *delta = atomic_load_explicit(&backend->active, memory_order_relaxed);
    return firn_delta_enlarge(delta, backend->heap) == FIRN_OK
               ? FIRN_OK
               : firn_detail_set(backend->detail, FIRN_ENOMEM,
                                 "no memory for an index of the store");
}

/* Right behind a frame whose bounds are still right, else with the next segment. */
static int pass_in_memory(firn_backend *backend) {
    firn_frame frame;
    firn_delta_clear(atomic_load_explicit(&backend->active, memory_order_relaxed));
    memset(backend->lives, 0, (size_t)(backend->lives_mask + 1) * sizeof *backend->lives);
    atomic_store_explicit(&backend->entries, 0, memory_order_relaxed);
    atomic_store_explicit(&backend->live_bytes, 0, memory_order_relaxed);
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

int firn_salvage_recover(firn_backend *backend, bool powerless, firn_backend_recovery *recovery) {
    static const remaking how = {enlarge, pass_in_memory};
    return walk(backend, powerless, &how, recovery);
}
