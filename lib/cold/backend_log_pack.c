/* The log backend: giving space back to the file system. See backend_log.h.
 *
 * Segments are moved to the front of the log's file, which is cut behind them; the index's file is
 * copied without its free pages. */
#include "cold/backend_log.h"
#include "cold/filter_file.h"

/* The stored index no longer says where segments lie, so that an open which finds it so asks the
 * slots themselves: for from here on they move. */
static int forget_slots(firn_backend *backend) {
    int result = firn_index_begin(backend->index);
    if (result != FIRN_OK) {
        return result;
    }
    for (uint64_t n = firn_log_tail(backend->log);
         n * backend->payload < firn_log_end(backend->log) && result == FIRN_OK; n++) {
        firn_index_segment segment = firn_lives_row(backend, n, FIRN_LOG_NO_SLOT);
        result = firn_index_set_segment(backend->index, n, &segment);
    }
    if (result != FIRN_OK) {
        firn_index_abort(backend->index);
        return result;
    }
    result = firn_index_commit(backend->index);
    return result == FIRN_OK ? firn_sync_index(backend) : result;
}

int firn_pack(firn_backend *backend) {
    int result = firn_checkpoint(backend);
    if (result == FIRN_OK) {
        result = forget_slots(backend);
    }
    if (result == FIRN_OK) { /* the moves sync it themselves, which in doubt they could not */
        result = firn_sync_log(backend);
    }
    if (result == FIRN_OK) {
        result = firn_log_set_slots(backend->log, firn_log_slots_used(backend->log));
    }
    if (result == FIRN_OK) {
        result = firn_log_cut(backend->log);
    }
    if (result == FIRN_OK) {
        result = firn_sync_log(backend);
    }
    /* They are stored again, all of them, whether they moved or not. */
    backend->moves_stored = UINT64_MAX;
    backend->meta_dirty = true;
    return result == FIRN_OK ? firn_checkpoint(backend) : result;
}

/* A filter that was saved before must not be taken for one of a later state, whose transaction has
 * the same number by chance. */
int firn_pack_closed(const char *directory, firn_heap *heap, firn_detail *detail) {
    int result = firn_filter_file_remove(directory, heap);
    return result == FIRN_OK
               ? firn_index_pack(directory, heap, detail)
               : firn_detail_set(detail, result, "%s: cannot remove its filter", directory);
}
