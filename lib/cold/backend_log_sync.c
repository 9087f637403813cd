/* The log backend: bringing it to the device, also after that failed. See backend_log.h.
 *
 * After a sync of the log that failed, what was written since the last good one is read back.
 * Frames that are sound are written again, so that the next sync means them too; the others are
 * lost, which is told by one error. The log goes on with the next segment then, for the header of
 * this one may be lost as well, and a checkpoint is made, for a replay must not meet the damage.
 *
 * The index has no checksums, so what is left of it cannot be told. It serves on, but the log notes
 * that it is not to be believed at the next open, which makes it anew from the log. With that note
 * on the device a sync is as good as with the index. */
#include "cold/backend_log.h"

static int write_frame(const firn_backend *backend, const firn_scan *scan,
                       const firn_frame *frame) {
    return firn_log_rewrite(backend->log, frame->position,
                            scan->bytes + (frame->position - scan->start),
                            (size_t)(frame->end - frame->position));
}

/* Writes the frame at *position again, if it is sound, and goes on to the next. */
static int write_next(const firn_backend *backend, firn_scan *scan, uint64_t *position,
                      uint64_t *lost) {
    firn_frame frame;
    firn_backend_identity identity;
    int result = firn_scan_frame(backend, scan, *position, &frame);
    if (result == FIRN_ECORRUPT) {
        ++*lost;
        return firn_scan_skip(backend, *position, position);
    }
    if (result != FIRN_OK) {
        return result;
    }
    if (frame.removal || firn_identify(backend, frame.position, &frame.record, &identity)) {
        *position = frame.end;
        return write_frame(backend, scan, &frame);
    }
    ++*lost;
    return firn_scan_next(backend, scan, &frame, position);
}

/* *lost: stretches that are not what was written. */
static int write_again(firn_backend *backend, uint64_t from, uint64_t *lost) {
    uint64_t tail = firn_log_tail(backend->log) * backend->payload;
    int result = firn_log_rewrite_headers(backend->log, from, lost);
    if (result == FIRN_OK && from <= tail) {
        result = firn_scan_skip(backend, tail - 1, &from);
    }
    firn_scan scan = {0}; /* the sessions' may be lent at this moment */
    while (result == FIRN_OK && from < firn_log_end(backend->log)) {
        result = write_next(backend, &scan, &from, lost);
    }
    firn_scan_fini(&scan, backend->heap);
    return result == FIRN_NOT_FOUND ? FIRN_OK : result;
}

static int leave_damage(firn_backend *backend) {
    uint64_t end = firn_log_end(backend->log);
    uint64_t begun = end % backend->payload;
    if (begun != 0) {
        firn_log_set_end(backend->log, end - begun + backend->payload);
        backend->known = firn_log_end(backend->log);
    }
    int result = firn_log_publish(backend->log);
    return result == FIRN_OK ? firn_checkpoint(backend) : result;
}

int firn_sync_log(firn_backend *backend) {
    uint64_t from = firn_log_doubt(backend->log);
    uint64_t lost = 0;
    int result = from != 0 ? write_again(backend, from, &lost) : FIRN_OK;
    if (result == FIRN_OK && lost > 0) {
        result = leave_damage(backend);
    }
    if (result != FIRN_OK) {
        return result;
    }
    firn_log_end_doubt(backend->log);
    result = firn_log_sync(backend->log);
    if (result == FIRN_AGAIN) { /* somebody else's failed at this moment */
        result = firn_detail_set(backend->detail, FIRN_EIO, "%s: its log could not be synced",
                                 backend->directory);
    }
    return result == FIRN_OK && lost > 0
               ? firn_detail_set(backend->detail, FIRN_ECORRUPT,
                                 "%s: an earlier sync of its log failed, and entries that were "
                                 "written before it are lost",
                                 backend->directory)
               : result;
}

/* sync_lock is held. */
static int sync_index_locked(firn_backend *backend) {
    int result = firn_index_sync(backend->index);
    if (result != FIRN_OK) {
        atomic_store_explicit(&backend->index_doubt, true, memory_order_relaxed);
        firn_log_set_index_doubt(backend->log, true);
    } else if (firn_log_index_doubt(backend->log) &&
               !atomic_load_explicit(&backend->index_doubt, memory_order_relaxed)) {
        firn_log_set_index_doubt(backend->log, false); /* it was another file's */
    }
    return result;
}

int firn_sync_index(firn_backend *backend) {
    pthread_mutex_lock(&backend->sync_lock);
    int result = sync_index_locked(backend);
    pthread_mutex_unlock(&backend->sync_lock);
    return result;
}

/* The log first: an index that is newer than the log it speaks of would be the worse half. */
int firn_sync(firn_backend *backend, bool writer) {
    pthread_mutex_lock(&backend->sync_lock);
    int result = writer ? firn_sync_log(backend) : firn_log_sync(backend->log);
    if (result == FIRN_OK) {
        result = sync_index_locked(backend);
    }
    pthread_mutex_unlock(&backend->sync_lock);
    return result;
}
