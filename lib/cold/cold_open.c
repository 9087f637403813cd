/* The cold tier: opening and closing. See cold.h, and cold_internal.h for who does the rest.
 *
 * Here it is decided whether what lies on disk may be trusted: the head of the data file is always
 * looked at; if the journal's fingerprint of it does not fit, or the machine went down without a
 * sync, every page is checked before the backend may follow them. */
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "cold/cold_internal.h"
#include "cold/store_files.h"

enum {
    HIT_MARKS_MIN = 4096,
    BYTES_A_HIT_MARK = 2048, /* of the budget */
};

/* ---- making and freeing the handle ---- */

static void free_sessions(firn_cold *cold) {
    for (unsigned i = 0; cold->readers != NULL && i < FIRN_COLD_READERS; i++) {
        if (cold->readers[i].session != NULL) {
            cold->ops->session_free(cold->readers[i].session);
            cold->readers[i].session = NULL;
        }
    }
    if (cold->session != NULL) {
        cold->ops->session_free(cold->session);
        cold->session = NULL;
    }
}

static void free_readers(firn_cold *cold) {
    free_sessions(cold);
    for (unsigned i = 0; cold->readers != NULL && i < FIRN_COLD_READERS; i++) {
        firn_decoders_fini(&cold->readers[i].decoders);
    }
    firn_heap_free_lines(cold->heap, cold->readers, FIRN_COLD_READERS * sizeof *cold->readers);
}

static size_t hit_marks_of(uint64_t budget) {
    size_t marks = HIT_MARKS_MIN;
    while (marks < FIRN_COLD_HIT_MARKS && marks * 2 <= budget / BYTES_A_HIT_MARK) {
        marks *= 2;
    }
    return marks;
}

static void free_cold(firn_cold *cold) {
    free_readers(cold);
    if (cold->backend != NULL) {
        cold->ops->close(cold->backend);
    }
    firn_journal_close(cold->journal);
    firn_lock_drop(&cold->lock);
    firn_encoding_free(cold->encoding);
    firn_dictionaries_fini(&cold->dictionaries);
    firn_decoders_fini(&cold->decoders);
    firn_heap_free(cold->heap, cold->recoding, cold->recoding_size);
    firn_heap_free(cold->heap, cold->arena, cold->arena_size);
    firn_heap_free(cold->heap, cold->losses, cold->losses_size * sizeof *cold->losses);
    firn_voids_free(cold->old_voids);
    if (cold->hit_marks != NULL) {
        firn_heap_free(cold->heap, cold->hit_marks, cold->hit_marks_mask + 1);
    }
    firn_clears_file_fini(&cold->clears_file);
    firn_clears_fini(&cold->own_clears);
    firn_path_free(cold->heap, cold->path);
    sem_destroy(&cold->readers_free);
    firn_heap *heap = cold->heap;
    firn_heap_free_lines(heap, cold, sizeof *cold);
    firn_heap_unref(heap);
}

static firn_cold *new_cold(const firn_cold_config *config) {
    firn_cold *cold = firn_heap_alloc_lines(config->heap, sizeof *cold);
    if (cold == NULL) {
        return NULL;
    }
    cold->heap = firn_heap_ref(config->heap);
    cold->detail = config->detail;
    cold->clock = config->clock;
    cold->ops = config->backend != NULL ? config->backend : firn_backend_find(NULL);
    cold->lock = (firn_store_lock)FIRN_LOCK_INIT;
    cold->durability = config->durability;
    cold->read_only = config->read_only;
    cold->filter_bytes_max = config->filter_bytes_max;
    cold->reclaimed = config->reclaimed;
    cold->kept = config->kept;
    cold->reclaimed_context = config->reclaimed_context;
    cold->histograms = config->histograms;
    cold->budget_bytes = config->budget_bytes;
    firn_dictionaries_init(&cold->dictionaries, config->heap);
    sem_init(&cold->readers_free, 0, FIRN_COLD_READERS);
    cold->path = firn_heap_strdup(config->heap, config->path);
    cold->clears = config->clears != NULL ? config->clears : &cold->own_clears;
    int failed = firn_clears_init(&cold->own_clears, config->heap);
    failed |= firn_clears_file_init(&cold->clears_file, config->heap, config->detail, cold->clears,
                                    cold->path, !config->read_only);
    cold->readers = firn_heap_alloc_lines(config->heap, FIRN_COLD_READERS * sizeof *cold->readers);
    if (!config->read_only) {
        cold->encoding = firn_encoding_new(&(firn_encoding_config){
            .heap = config->heap,
            .level = config->compression_level,
            .min_bytes = config->compression_min_bytes,
            .threads = config->compression_threads,
            .budget_bytes = config->budget_bytes,
        });
    }
    bool writer_parts = config->read_only || cold->encoding != NULL;
    cold->hit_marks_mask = hit_marks_of(config->budget_bytes) - 1;
    cold->hit_marks = firn_heap_zalloc(config->heap, cold->hit_marks_mask + 1);
    if (cold->path == NULL || cold->readers == NULL || cold->hit_marks == NULL || !writer_parts ||
        failed != 0) {
        free_cold(cold);
        return NULL;
    }
    return cold;
}

/* ---- may it be trusted? ---- */

/* What the journal tells of those who had the store open before. */
typedef struct past {
    firn_journal_header header;
    firn_journal_scan scan;
    bool checked; /* every page of the data file was, since */
} past;

static void look_back(const firn_cold *cold, past *last) {
    last->checked = false;
    firn_journal_get_header(cold->journal, &last->header);
    firn_journal_scan_all(cold->journal, &last->scan, NULL, NULL);
}

/* The machine may have gone down with something that was not on the device. */
static bool lost_power(const firn_journal_header *header) {
    return !header->clean && !firn_journal_is_of_this_boot(header);
}

/* Checks as much as is needed. Anything wrong with the data file is damage: the journal said that
 * there is a store. */
static int check_data(firn_cold *cold, past *last) {
    const firn_journal_header *header = &last->header;
    uint32_t writer;
    bool live = cold->read_only && firn_lock_has_writer(&cold->lock, &writer);
    bool thorough = !live && (last->scan.damaged > 0 || lost_power(header) ||
                              !firn_store_files_data_is(cold->path, header->fingerprint.file_bytes,
                                                        header->fingerprint.mtime_ns, cold->heap));
    if (!cold->read_only) {
        firn_cold_count(&cold->counters.damaged, last->scan.damaged);
    }
    int result = cold->ops->check(cold->path, thorough, cold->heap, cold->detail);
    last->checked = thorough;
    return result == FIRN_NOT_FOUND || result == FIRN_ENOTSTORE ? FIRN_ECORRUPT : result;
}

/* ---- opening what is there ---- */

static int check_meta(firn_cold *cold, const firn_journal_header *header) {
    if (cold->meta.format != FIRN_STORE_FORMAT) {
        return firn_detail_set(cold->detail, FIRN_EVERSION,
                               "%s: has format %u, but this library knows format %d; use the firn "
                               "that made it, or remove the store",
                               cold->path, (unsigned)cold->meta.format, FIRN_STORE_FORMAT);
    }
    if (cold->meta.store_id != header->store_id) {
        return firn_detail_set(cold->detail, FIRN_ECORRUPT,
                               "%s: its journal belongs to another store; remove the store, or "
                               "open it with set_aside_damaged",
                               cold->path);
    }
    return FIRN_OK;
}

/* A file that was put in place of ours at the same size and time shows by its transaction. */
static int check_transaction(firn_cold *cold, const past *last) {
    firn_fingerprint fingerprint;
    if (cold->read_only && firn_lock_has_writer(&cold->lock, NULL)) {
        return FIRN_OK;
    }
    int result = cold->ops->fingerprint(cold->backend, &fingerprint);
    if (result == FIRN_OK && !last->checked &&
        fingerprint.transaction != last->header.fingerprint.transaction) {
        result = cold->ops->check(cold->path, true, cold->heap, cold->detail);
    }
    return result;
}

static firn_backend_config backend_config(firn_cold *cold) {
    return (firn_backend_config){
        .directory = cold->path,
        .heap = cold->heap,
        .detail = cold->detail,
        .limit_bytes = cold->budget_bytes,
        .filter_bytes_max = cold->filter_bytes_max,
        .read_only = cold->read_only,
        .sync_commits = cold->durability == FIRN_DURABILITY_COMMIT,
        .identify = firn_cold_identify,
        .identify_context = cold,
    };
}

/* Versions go on above all that was ever given. */
static void take_version(firn_cold *cold, uint64_t above) {
    if (above >= cold->version_next) {
        cold->version_next = above + 1;
    }
}

static int recover(firn_cold *cold, const past *last) {
    firn_backend_recovery recovery;
    int result = cold->ops->recover(cold->backend, lost_power(&last->header), &recovery);
    if (result != FIRN_OK) {
        return result;
    }
    if (!cold->read_only) {
        firn_cold_count(&cold->counters.damaged, recovery.lost);
    }
    cold->version_next = cold->meta.version_next;
    take_version(cold, recovery.version_max);
    take_version(cold, last->scan.version_max);
    result = firn_clears_file_read(&cold->clears_file, cold->store_id);
    if (result != FIRN_OK) {
        return result;
    }
    /* Also above what was read of a store that was set aside. */
    take_version(cold, atomic_load_explicit(&cold->clears->latest, memory_order_relaxed));
    cold->meta.version_next = cold->version_next;
    firn_cold_note_usage(cold);
    return FIRN_OK;
}

static int take_over(firn_cold *cold, const past *last, bool rebuild) {
    firn_backend_config config = backend_config(cold);
    config.rebuild = rebuild;
    config.clean = last->header.clean;
    int result = cold->ops->open(&cold->backend, &config);
    cold->commits_noted = UINT64_MAX;
    if (result == FIRN_OK) {
        result = cold->ops->read_meta(cold->backend, &cold->meta);
    }
    if (result == FIRN_OK) {
        result = check_meta(cold, &last->header);
    }
    if (result == FIRN_OK && !rebuild) {
        result = check_transaction(cold, last);
    }
    if (result != FIRN_OK) {
        return result;
    }
    cold->store_id = cold->meta.store_id;
    cold->seed = cold->meta.seed;
    cold->created_ms = cold->meta.created_ms;
    return recover(cold, last);
}

static void add_void(void *context, const firn_journal_entry *entry) {
    firn_voids_add(context, entry->hash, entry->version);
}

/* What a crash left in the journal is heeded from here on, and applied with the next batch. It is
 * on the device before the journal forgets it; unless neither the last writer nor this one promises
 * anything for the time after a power loss. */
static int adopt_journal(firn_cold *cold, const past *last) {
    uint64_t begin;
    firn_voids *voids = firn_voids_new(cold->heap, last->scan.entries);
    if (voids == NULL) {
        return firn_detail_set(cold->detail, FIRN_ENOMEM, "%s: no memory for its journal",
                               cold->path);
    }
    firn_journal_adopt(cold->journal, add_void, voids);
    firn_journal_range(cold->journal, &begin, &cold->adopted_end);
    if (last->scan.entries == 0) {
        firn_voids_free(voids);
        return FIRN_OK;
    }
    cold->old_voids = voids;
    cold->adopted_is_synced =
        last->header.durability != FIRN_DURABILITY_NONE || cold->durability != FIRN_DURABILITY_NONE;
    atomic_init(&cold->voids, voids);
    return FIRN_OK;
}

static int begin_writing(firn_cold *cold, const past *last) {
    firn_journal_set_dirty(cold->journal, cold->durability);
    cold->meta.budget = cold->budget_bytes;
    int result = firn_cold_survey_dictionaries(cold);
    return result == FIRN_OK ? adopt_journal(cold, last) : result;
}

static void close_backend(firn_cold *cold) {
    if (cold->backend != NULL) {
        cold->ops->close(cold->backend);
        cold->backend = NULL;
    }
}

/* What is damaged is made anew from what is not, as far as that is sure to be valid. */
static int rebuild(firn_cold *cold, const past *last) {
    char cause[300];
    firn_detail_get(cold->detail, cause, sizeof cause);
    close_backend(cold);
    int result = take_over(cold, last, true);
    if (result == FIRN_OK) {
        uint64_t entries = atomic_load_explicit(&cold->counters.entries, memory_order_relaxed);
        firn_detail_set(cold->detail, FIRN_OK,
                        "%s: its index was damaged and was made anew from the log, with %llu "
                        "entries: %s",
                        cold->path, (unsigned long long)entries, cause);
    }
    return result;
}

/* *expendable: if it is damaged, it may be set aside unasked. */
static int open_present(firn_cold *cold, bool *expendable) {
    *expendable = false;
    int result =
        firn_journal_open(&cold->journal, cold->path, !cold->read_only, cold->heap, cold->detail);
    if (result != FIRN_OK) {
        return result;
    }
    past last;
    look_back(cold, &last);
    *expendable = lost_power(&last.header);
    result = check_data(cold, &last);
    if (result == FIRN_OK) {
        result = take_over(cold, &last, false);
    }
    if (result == FIRN_ECORRUPT && !cold->read_only) {
        result = rebuild(cold, &last);
    }
    return result == FIRN_OK && !cold->read_only ? begin_writing(cold, &last) : result;
}

/* ---- making a store ---- */

static int make_backend(firn_cold *cold, uint64_t store_id) {
    firn_backend_meta meta = {
        .format = FIRN_STORE_FORMAT,
        .store_id = store_id,
        .seed = firn_random64(),
        .created_ms = firn_clock_now_ms(&cold->clock),
        .budget = cold->budget_bytes,
        .version_next = 1,
    };
    firn_backend_config config = backend_config(cold);
    config.create = true;
    config.meta = &meta;
    int result = cold->ops->open(&cold->backend, &config);
    if (result != FIRN_OK) {
        return result;
    }
    firn_fingerprint fingerprint;
    result = cold->ops->sync(cold->backend, true);
    if (result == FIRN_OK) {
        result = cold->ops->fingerprint(cold->backend, &fingerprint);
    }
    if (result == FIRN_OK) {
        firn_journal_set_fingerprint(cold->journal, &fingerprint);
    }
    close_backend(cold);
    return result;
}

/* Whatever breaks this off leaves a journal in state CREATING, which the next open clears away. */
static int make_store(firn_cold *cold) {
    uint64_t store_id = firn_random64();
    int result = firn_journal_create(cold->path, store_id, cold->heap, cold->detail);
    if (result == FIRN_OK) {
        result = firn_journal_open(&cold->journal, cold->path, true, cold->heap, cold->detail);
    }
    if (result == FIRN_OK) {
        firn_journal_set_dirty(cold->journal, cold->durability);
        result = make_backend(cold, store_id);
    }
    if (result == FIRN_OK) {
        firn_journal_set_state(cold->journal, FIRN_JOURNAL_READY);
        result = firn_journal_sync(cold->journal);
        (void)firn_sync_directory(cold->path); /* some file systems cannot */
    }
    firn_journal_close(cold->journal);
    cold->journal = NULL;
    return result;
}

/* ---- the two ways in ---- */

static void let_go(firn_cold *cold) {
    close_backend(cold);
    firn_journal_close(cold->journal);
    cold->journal = NULL;
}

static int open_or_set_aside(firn_cold *cold, bool set_aside_damaged) {
    bool expendable;
    int result = open_present(cold, &expendable);
    if (result != FIRN_ECORRUPT || (!expendable && !set_aside_damaged)) {
        return result;
    }
    char cause[300];
    firn_detail_get(cold->detail, cause, sizeof cause);
    let_go(cold);
    result = firn_store_files_set_aside(cold->path, cold->heap, cold->detail);
    if (result == FIRN_OK) {
        result = make_store(cold);
    }
    if (result == FIRN_OK) {
        result = open_present(cold, &(bool){false});
    }
    if (result == FIRN_OK) {
        firn_detail_set(cold->detail, FIRN_OK,
                        "%s: was damaged%s, so it was set aside as %s.damaged and a fresh store "
                        "was made: %s",
                        cold->path, expendable ? " while it was not closed" : "", cold->path,
                        cause);
    }
    return result;
}

static int open_for_writing(firn_cold *cold, bool set_aside_damaged) {
    firn_store_kind kind;
    int result = firn_store_files_identify(cold->path, &kind, cold->heap, cold->detail);
    if (result == FIRN_OK && kind == FIRN_STORE_ABSENT) {
        result = firn_store_files_make_directory(cold->path, cold->detail);
    }
    if (result == FIRN_OK) {
        result = firn_lock_take(&cold->lock, cold->path, true, cold->heap, cold->detail);
    }
    if (result == FIRN_OK) { /* again: somebody may have made it while nobody had the lock */
        result = firn_store_files_identify(cold->path, &kind, cold->heap, cold->detail);
    }
    if (result == FIRN_OK && kind == FIRN_STORE_UNFINISHED) {
        result = firn_store_files_wipe(cold->path, cold->heap, cold->detail);
    }
    if (result == FIRN_OK && kind != FIRN_STORE_PRESENT) {
        result = make_store(cold);
    }
    return result == FIRN_OK ? open_or_set_aside(cold, set_aside_damaged) : result;
}

static int open_for_reading(firn_cold *cold) {
    firn_store_kind kind;
    int result = firn_store_files_identify(cold->path, &kind, cold->heap, cold->detail);
    if (result != FIRN_OK) {
        return result;
    }
    if (kind != FIRN_STORE_PRESENT) {
        return firn_detail_set(cold->detail, FIRN_NOT_FOUND, "%s: there is no store here",
                               cold->path);
    }
    result = firn_lock_take(&cold->lock, cold->path, false, cold->heap, cold->detail);
    if (result != FIRN_OK && result != FIRN_NOT_FOUND) {
        return result;
    }
    return open_present(cold, &(bool){false});
}

int firn_cold_open(firn_cold **out, const firn_cold_config *config) {
    *out = NULL;
    firn_cold *cold = new_cold(config);
    if (cold == NULL) {
        return firn_detail_set(config->detail, FIRN_ENOMEM, "%s: no memory to open it",
                               config->path);
    }
    int result = config->read_only ? open_for_reading(cold)
                                   : open_for_writing(cold, config->set_aside_damaged);
    if (result != FIRN_OK) {
        free_cold(cold);
        return result;
    }
    *out = cold;
    return FIRN_OK;
}

int firn_cold_reopen(firn_cold *cold, int (*between)(firn_cold *cold)) {
    past last;
    look_back(cold, &last);
    free_sessions(cold);
    close_backend(cold);
    int result = between(cold);
    int opened = take_over(cold, &last, false);
    return result != FIRN_OK ? result : opened;
}

int firn_cold_close(firn_cold *cold, bool clean) {
    int result = FIRN_OK;
    if (clean && !cold->read_only && cold->backend != NULL) {
        result = firn_cold_write(cold, NULL, 0, cold->meta.version_next);
        if (result == FIRN_OK) {
            result = firn_cold_conclude(cold);
        }
        if (result == FIRN_OK) {
            result = firn_cold_sync(cold, true);
        }
        if (result == FIRN_OK) {
            firn_journal_set_clean(cold->journal);
            result = firn_cold_sync_journal(cold);
        }
    }
    free_cold(cold);
    return result;
}
