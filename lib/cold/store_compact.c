/* Giving space of a store back to the file system: firn_store_compact. What is to be done is the
 * cold tier's (see cold_pack.c); here it is made sure that the store is sound, and told what came
 * of it. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <firn/options.h>

#include "base/file.h"
#include "cold/cold.h"
#include "cold/log.h"
#include "cold/store_files.h"
#include "cold/store_internal.h"

/* Of records whose dictionary is not in use any more: they are made anew. */
enum { COMPRESSION_LEVEL = 3, COMPRESSION_MIN_BYTES = 64 };

typedef struct compaction {
    firn_heap *heap;
    firn_detail detail;
    const char *path;
    firn_compact_report *report;
    firn_verify_callback callback;
    void *context;
} compaction;

static int on_progress(void *context, uint64_t done, uint64_t total) {
    const compaction *self = context;
    return self->callback != NULL ? self->callback(self->context, NULL, done, total) : 0;
}

/* What the file system has given for a file; 0: it is not there. */
static uint64_t allocated(const compaction *self, const char *name) {
    char *file = firn_path_join(self->heap, self->path, name);
    struct stat status;
    bool there = file != NULL && stat(file, &status) == 0;
    firn_path_free(self->heap, file);
    return there ? (uint64_t)status.st_blocks * 512 : 0;
}

/* That it is there, sound, and nobody's; *budget: of its last writer. */
static int look(const compaction *self, uint64_t *budget, char *why, size_t why_size) {
    firn_store *store;
    int result = firn_store_open(&store, self->path, why, why_size);
    if (result != FIRN_OK) {
        return result;
    }
    uint32_t writer;
    if (firn_lock_has_writer(&store->lock, &writer)) {
        result = FIRN_EBUSY;
        snprintf(why, why_size, "%s: process %u has the store open for writing; close it there",
                 self->path, (unsigned)writer);
    } else if (store->backend == NULL || store->from_log) {
        result = FIRN_ECORRUPT;
        snprintf(why, why_size,
                 "%s: is damaged; 'firn verify' tells where, and with --repair salvages what is "
                 "sound",
                 self->path);
    }
    *budget = store->meta.budget;
    firn_store_close(store);
    return result;
}

static int compact(compaction *self, uint64_t budget) {
    firn_cold *cold;
    firn_cold_config config = {
        .path = self->path,
        .heap = self->heap,
        .detail = &self->detail,
        .budget_bytes = budget,
        .durability = FIRN_DURABILITY_NONE, /* it is synced where that matters */
        .compression_level = COMPRESSION_LEVEL,
        .compression_min_bytes = COMPRESSION_MIN_BYTES,
        .filter_bytes_max = UINT64_MAX - 1, /* no bound */
    };
    int result = firn_cold_open(&cold, &config);
    if (result != FIRN_OK) {
        return result;
    }
    result = firn_cold_pack(cold, on_progress, self, &self->report->records_copied);
    firn_cold_stats stats;
    bool usable = result == FIRN_OK || result == FIRN_AGAIN || result == FIRN_EBUSY;
    if (usable) {
        firn_cold_get_stats(cold, &stats);
        self->report->entries = stats.entries;
    }
    int closed = firn_cold_close(cold, usable);
    return result == FIRN_OK ? closed : result;
}

static int run(compaction *self, char *why, size_t why_size) {
    uint64_t budget;
    int result = look(self, &budget, why, why_size);
    if (result != FIRN_OK) {
        return result;
    }
    firn_compact_report *report = self->report;
    report->log_bytes_before = allocated(self, FIRN_LOG_FILE);
    report->index_bytes_before = allocated(self, FIRN_DATA_FILE);
    result = compact(self, budget);
    report->log_bytes_after = allocated(self, FIRN_LOG_FILE);
    report->index_bytes_after = allocated(self, FIRN_DATA_FILE);
    if (result != FIRN_OK) {
        firn_detail_get(&self->detail, why, why_size);
    }
    return result;
}

int firn_store_compact(const char *path, const firn_compact_options *given,
                       firn_compact_report *report, firn_verify_callback callback, void *context) {
    firn_compact_options options = FIRN_COMPACT_OPTIONS_INIT;
    if (given != NULL) {
        options = *given;
    }
    if (path == NULL || report == NULL || report->size < sizeof *report ||
        options.size < sizeof options ||
        (options.error_buffer == NULL && options.error_buffer_size > 0)) {
        return FIRN_EINVAL;
    }
    *report = (firn_compact_report)FIRN_COMPACT_REPORT_INIT;
    compaction self = {
        .heap = firn_heap_new(NULL),
        .path = path,
        .report = report,
        .callback = callback,
        .context = context,
    };
    if (self.heap == NULL || firn_detail_init(&self.detail) != 0) {
        firn_heap_unref(self.heap);
        return FIRN_ENOMEM;
    }
    char why[768] = "";
    int result = run(&self, why, sizeof why);
    if (result != FIRN_OK && options.error_buffer_size > 0) {
        snprintf(options.error_buffer, options.error_buffer_size, "%s", why);
    }
    firn_detail_fini(&self.detail);
    firn_heap_unref(self.heap);
    return result;
}
