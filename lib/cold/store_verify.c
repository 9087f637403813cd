/* Checking all of a store: firn_store_verify. Reads through the backend's sessions, as store.c
 * does; knows records, the index as far as the backend tells of it, LMDB's pages, the journal and
 * the other files beside it. Writes nothing. */
#include <stdarg.h>
#include <stdio.h>

#include "base/file.h"
#include "base/hash.h"
#include "cold/links_file.h"
#include "cold/lmdb_check.h"
#include "cold/record.h"
#include "cold/store_files.h"
#include "cold/store_internal.h"
#include "cold/warm_list.h"

typedef struct verification {
    firn_store *store;
    firn_verify_report *report;
    firn_verify_callback callback;
    void *context;
    uint64_t done;
    uint64_t total;
    uint64_t session_bytes; /* of records read in this session */
    bool stopped;
} verification;

static void tell(verification *self, const char *finding) {
    if (self->callback != NULL &&
        self->callback(self->context, finding, self->done, self->total) != 0) {
        self->stopped = true;
    }
}

__attribute__((format(printf, 2, 3))) static void tell_that(verification *self, const char *format,
                                                            ...) {
    char text[200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    tell(self, text);
}

static void tell_page(void *context, const char *finding) {
    tell(context, finding);
}

static int verify_pages(verification *self) {
    firn_store *store = self->store;
    self->report->writer_active = firn_lock_has_writer(&store->lock, NULL);
    if (self->report->writer_active) {
        return FIRN_OK;
    }
    char *path = firn_path_join(store->heap, store->path, FIRN_DATA_FILE);
    if (path == NULL) {
        return firn_detail_set(&store->detail, FIRN_ENOMEM, "%s: no memory to check it",
                               store->path);
    }
    firn_lmdb_check_report pages;
    int result = firn_lmdb_check(path, store->heap, tell_page, self, &pages);
    firn_path_free(store->heap, path);
    if (result == FIRN_NOT_FOUND) {
        pages.findings++;
        tell(self, FIRN_DATA_FILE " is missing");
    }
    if (result == FIRN_NOT_FOUND || result == FIRN_ENOTSTORE) {
        result = FIRN_ECORRUPT;
    }
    if (result == FIRN_ECORRUPT && firn_lock_has_writer(&store->lock, NULL)) {
        tell(self, "a writer opened the store meanwhile: the findings in its pages mean nothing");
        self->report->writer_active = 1;
        return FIRN_OK;
    }
    self->report->pages_checked = pages.pages;
    self->report->pages_damaged = pages.findings;
    if (result == FIRN_ECORRUPT) {
        return firn_detail_set(&store->detail, result,
                               "%s: the pages of its data file are damaged, so the records were "
                               "not looked at; a cache opened with set_aside_damaged begins afresh",
                               store->path);
    }
    return result == FIRN_OK
               ? FIRN_OK
               : firn_detail_set(&store->detail, result, "%s: the check of its pages broke off: %s",
                                 store->path, firn_strerror(result));
}

static const char *decode_value(firn_store *store, const firn_bytes *bytes,
                                const firn_record *record) {
    if (firn_store_grow(store, &store->value, record->value_size + 1, 0) != FIRN_OK) {
        return "no memory for its value";
    }
    if (firn_store_fetch_dictionary(store, bytes) != FIRN_OK) {
        return "its dictionary cannot be read";
    }
    return firn_store_decode(store, record);
}

/* Of a valid record that is sound. In the session, so that what is there is of one moment. */
static int count_valid(verification *self, const firn_record *record) {
    firn_store *store = self->store;
    firn_verify_report *report = self->report;
    if (record->part == FIRN_PART_PIECE) {
        report->pieces++;
        return FIRN_OK;
    }
    if (record->attributes.body) {
        report->bodies++;
        return FIRN_OK;
    }
    report->entries++;
    firn_pieces pieces;
    uint64_t hash = firn_hash64(store->meta.seed, record->key, record->key_size);
    if (record->part != FIRN_PART_HEAD ||
        !firn_pieces_read(&pieces, hash, record->payload, record->payload_size)) {
        return FIRN_OK;
    }
    report->streams++;
    uint64_t from = 0;
    int result = firn_store_find_pieces(store, &pieces, &from, UINT64_MAX);
    report->streams_incomplete += result == FIRN_NOT_FOUND;
    return result == FIRN_NOT_FOUND ? FIRN_OK : result;
}

/* What was superseded is looked at no further: it need not be whole any more. */
static int verify_one(verification *self, uint64_t sequence, const firn_bytes *bytes) {
    firn_store *store = self->store;
    firn_record record;
    self->report->records++;
    self->session_bytes += bytes->size;
    const char *wrong = firn_store_check_bytes(bytes, sequence, true, &record);
    if (wrong == NULL) {
        uint64_t hash = firn_hash64(store->meta.seed, record.key, record.key_size);
        uint64_t valid;
        if (store->ops->locate(store->session, hash, &valid) != FIRN_OK || valid != sequence) {
            self->report->records_superseded++;
            return FIRN_OK;
        }
        wrong = decode_value(store, bytes, &record);
    }
    if (wrong != NULL) {
        self->report->records_damaged++;
        tell_that(self, "record %llu: %s", (unsigned long long)sequence, wrong);
        return FIRN_OK;
    }
    return count_valid(self, &record);
}

/* The step of a walk, in a session. FIRN_NOT_FOUND: it is over. */
typedef int (*verify_step)(verification *self, uint64_t *from);

static int step_record(verification *self, uint64_t *from) {
    uint64_t sequence;
    firn_bytes bytes;
    int result = self->store->ops->next_record(self->store->session, *from, &sequence, &bytes);
    if (result == FIRN_OK) {
        result = verify_one(self, sequence, &bytes);
        if (result == FIRN_OK && sequence == UINT64_MAX) {
            return FIRN_NOT_FOUND;
        }
        *from = sequence + 1;
    }
    return result;
}

static int step_index(verification *self, uint64_t *from) {
    firn_store *store = self->store;
    uint64_t hash;
    uint64_t sequence;
    int result = store->ops->next_index(store->session, *from, &hash, &sequence);
    if (result != FIRN_OK) {
        return result;
    }
    self->report->index_entries++;
    firn_bytes bytes;
    firn_backend_identity identity;
    uint64_t found;
    /* What is not found is of a part that was reclaimed, or the index on disk is not up to date.
     * A damaged record was told of when it was met. */
    if (store->ops->lookup(store->session, hash, &found, &bytes) == FIRN_OK &&
        firn_store_identify(store, found, &bytes, &identity) && identity.hash != hash) {
        self->report->index_dangling++;
        tell_that(self, "index entry %016llx: points to record %llu, which is not its own",
                  (unsigned long long)hash, (unsigned long long)found);
    }
    if (hash == UINT64_MAX) {
        return FIRN_NOT_FOUND;
    }
    *from = hash + 1;
    return FIRN_OK;
}

/* A new session now and then, so that no transaction keeps a writer's old pages. */
static int walk(verification *self, verify_step step) {
    firn_store *store = self->store;
    uint64_t from = 0;
    int result = FIRN_OK;
    while (result == FIRN_OK && !self->stopped) {
        result = store->ops->read_begin(store->session);
        if (result != FIRN_OK) {
            return result;
        }
        self->session_bytes = 0;
        for (unsigned i = 0;
             i < FIRN_STORE_CHUNK_RECORDS && self->session_bytes < FIRN_STORE_CHUNK_BYTES &&
             result == FIRN_OK && !self->stopped;
             i++) {
            result = step(self, &from);
            self->done += result == FIRN_OK;
        }
        store->ops->read_end(store->session);
        tell(self, NULL);
    }
    return result == FIRN_NOT_FOUND ? FIRN_OK : result;
}

static void verify_side_files(verification *self) {
    firn_store *store = self->store;
    firn_journal_scan scan;
    firn_journal_scan_all(store->journal, &scan, NULL, NULL);
    self->report->journal_entries = scan.entries + scan.damaged;
    self->report->journal_damaged = self->report->writer_active ? 0 : scan.damaged;
    if (self->report->journal_damaged > 0) {
        tell_that(self, "journal: %llu damaged entries", (unsigned long long)scan.damaged);
    }
    firn_warm_list *list = NULL;
    int result = firn_warm_list_open(&list, store->path, store->meta.store_id, store->heap);
    if (result == FIRN_OK) {
        result = firn_warm_list_check(list);
        firn_warm_list_close(list);
    }
    if (result == FIRN_ECORRUPT) {
        self->report->warm_list_damaged = 1;
        tell(self, "warm list: damaged; the next start will be a cold one");
    }
    firn_links_reader *links = NULL;
    result = firn_links_reader_open(&links, store->path, store->meta.store_id, store->heap);
    firn_links_reader_close(links);
    if (result == FIRN_ECORRUPT) {
        self->report->links_file_damaged = 1;
        tell(self, "links: their file is damaged; the next start will look through all records");
    }
}

/* As many records are to be valid as the store counts, pieces included. */
static void count_entries(verification *self, uint64_t entries) {
    firn_verify_report *report = self->report;
    uint64_t valid = report->records - report->records_damaged - report->records_superseded;
    firn_journal_header header = {.clean = false};
    if (self->store->journal != NULL) {
        firn_journal_get_header(self->store->journal, &header);
    }
    /* After an unclean end the next writer counts anew: see backend_log.c. */
    if (header.clean && !report->writer_active && valid + report->records_damaged < entries) {
        report->entries_missing = entries - valid - report->records_damaged;
        tell_that(self, "%llu entries have no record that the index points to",
                  (unsigned long long)report->entries_missing);
    }
}

int firn_store_verify(firn_store *store, firn_verify_report *report, firn_verify_callback callback,
                      void *context) {
    if (store == NULL || report == NULL || report->size < sizeof *report) {
        return FIRN_EINVAL;
    }
    *report = (firn_verify_report)FIRN_VERIFY_REPORT_INIT;
    verification self = {store, report, callback, context, 0, 0, 0, false};
    int result = verify_pages(&self);
    if (result != FIRN_OK || store->backend == NULL) {
        return result == FIRN_OK ? firn_store_check_usable(store) : result;
    }
    firn_backend_usage usage;
    store->ops->usage(store->backend, &usage);
    self.total = 2 * usage.entries;
    if (result == FIRN_OK) {
        result = walk(&self, step_record);
    }
    if (result == FIRN_OK) {
        result = walk(&self, step_index);
    }
    if (result != FIRN_OK) {
        return result;
    }
    if (self.stopped) {
        return FIRN_AGAIN;
    }
    verify_side_files(&self);
    count_entries(&self, usage.entries);
    if (store->from_log) {
        report->index_dangling++;
        report->records_damaged += store->recovery.lost;
        tell_that(&self,
                  "the log and the index do not fit; stretches of the log that are damaged: "
                  "%llu",
                  (unsigned long long)store->recovery.lost);
    }
    uint64_t findings = report->records_damaged + report->index_dangling + report->entries_missing +
                        report->journal_damaged + report->warm_list_damaged +
                        report->links_file_damaged;
    if (findings == 0) {
        return FIRN_OK;
    }
    return firn_detail_set(&store->detail, FIRN_ECORRUPT,
                           "%s: %llu findings; a cache passes over what is damaged, and one opened "
                           "with set_aside_damaged begins afresh if it cannot",
                           store->path, (unsigned long long)findings);
}
