/* Saving what is sound of a damaged store into a new one: firn_store_salvage. Reads the one as
 * firn/store.h does, and writes the other through the cold tier, so that it knows neither how
 * records look nor how they are found; but what names the pieces of a value. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <firn/options.h>

#include "base/file.h"
#include "base/hash.h"
#include "cold/cold.h"
#include "cold/links_file.h"
#include "cold/pieces.h"
#include "cold/store_files.h"
#include "cold/store_internal.h"

enum {
    ITEMS_MAX = 1024,
    BUDGET_IN_SEGMENTS = 128, /* a store's budget is less than so many of its segments */
    COMPRESSION_LEVEL = 3,
    COMPRESSION_MIN_BYTES = 64,
};

typedef struct salvage {
    firn_store *store;
    firn_heap *heap;
    firn_detail *detail;
    firn_cold *cold; /* the new store */
    char *partial;   /* its path until it is whole */
    firn_salvage_report *report;
    firn_verify_callback callback;
    void *context;
    uint64_t total;
    uint64_t version_next;
    uint64_t parts; /* written: pieces, and values that are shared */
    bool stopped;
    bool links_told; /* the new store's file of links says that there are some */
    /* A batch: items whose keys, links and values are copied into bytes. */
    firn_cold_item *items;
    size_t items_max;
    size_t count;
    unsigned char *bytes;
    size_t bytes_size;
    size_t bytes_used;
} salvage;

static void tell(salvage *self, const char *finding) {
    const firn_salvage_report *report = self->report;
    uint64_t done = self->parts + report->salvaged + report->expired + report->refused +
                    report->incomplete + self->count;
    if (self->callback != NULL &&
        self->callback(self->context, finding, done < self->total ? done : self->total,
                       self->total) != 0) {
        self->stopped = true;
    }
}

__attribute__((format(printf, 2, 3))) static void tell_that(salvage *self, const char *format,
                                                            ...) {
    char text[200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    tell(self, text);
}

/* ---- writing ---- */

static int write_items(salvage *self, firn_cold_item *items, size_t count) {
    if (count == 0) {
        return FIRN_OK;
    }
    int result = firn_cold_write(self->cold, items, count, self->version_next);
    for (size_t i = 0; i < count && result == FIRN_OK; i++) {
        firn_part part = items[i].part;
        bool entry = part != FIRN_PART_PIECE && !items[i].attributes.body;
        if (items[i].result == FIRN_OK) {
            self->parts += !entry;
            self->report->salvaged += entry;
            self->report->value_bytes += part != FIRN_PART_HEAD ? items[i].value_size : 0;
        } else if (part != FIRN_PART_PIECE) { /* that a piece is not there shows */
            self->report->refused++;
            tell_that(self, "a value of %zu bytes does not fit into the new store",
                      items[i].value_size);
        }
    }
    return result;
}

static int flush(salvage *self) {
    size_t count = self->count;
    self->count = 0;
    self->bytes_used = 0;
    int result = write_items(self, self->items, count);
    tell(self, NULL);
    return result;
}

static void *keep(salvage *self, const void *bytes, size_t size) {
    void *to = self->bytes + self->bytes_used;
    if (size > 0) {
        memcpy(to, bytes, size);
    }
    self->bytes_used += size;
    return to;
}

static int add_item(salvage *self, firn_cold_item item) {
    size_t tags_size = firn_traits_tags_size(&item.attributes.traits);
    size_t size = item.key_size + item.attributes.links_size + tags_size + item.value_size;
    int result = FIRN_OK;
    if (self->count == self->items_max || size > self->bytes_size - self->bytes_used) {
        result = flush(self);
    }
    if (result == FIRN_OK && size > self->bytes_size) {
        return write_items(self, &item, 1);
    }
    if (result == FIRN_OK) {
        item.key = keep(self, item.key, item.key_size);
        item.attributes.links = keep(self, item.attributes.links, item.attributes.links_size);
        item.attributes.traits.tags = keep(self, item.attributes.traits.tags, tags_size);
        item.value = keep(self, item.value, item.value_size);
        self->items[self->count++] = item;
    }
    return result;
}

/* Keys of pieces tell the hash of their head's key, which is another one in the new store. Pieces
 * that were written before one was found that cannot be read are reclaimed there in time. */
static int add_pieces(salvage *self, const firn_store_entry *entry, const firn_pieces *pieces) {
    unsigned char key[FIRN_PIECE_KEY_SIZE];
    int result = FIRN_OK;
    for (uint64_t i = 0; i < pieces->count && result == FIRN_OK && !self->stopped; i++) {
        firn_cold_item item = {
            .hash = firn_pieces_key(pieces, firn_cold_seed(self->cold), i, key),
            .version = entry->version,
            .expires_ms = entry->expires_ms,
            .key = key,
            .key_size = sizeof key,
            .part = FIRN_PART_PIECE,
        };
        result = firn_store_get_piece(self->store, entry, i, &item.value, &item.value_size);
        if (result == FIRN_OK) {
            result = add_item(self, item);
        }
    }
    return result;
}

/* Whether all pieces are in the new store. */
static int find_pieces(salvage *self, const firn_pieces *pieces) {
    unsigned char key[FIRN_PIECE_KEY_SIZE];
    int result = FIRN_OK;
    for (uint64_t i = 0; i < pieces->count && result == FIRN_OK; i++) {
        uint64_t hash = firn_pieces_key(pieces, firn_cold_seed(self->cold), i, key);
        result = firn_cold_locate(self->cold, hash);
    }
    return result;
}

/* The pieces, and when all are there the head. */
static int add_stream(salvage *self, const firn_store_entry *entry, firn_cold_item *head) {
    unsigned char bytes[FIRN_STREAM_HEAD_SIZE];
    firn_pieces pieces = {.hash = head->hash,
                          .total = entry->value_size,
                          .stream = entry->stream,
                          .piece = entry->piece_size,
                          .count = entry->pieces};
    int result = entry->incomplete ? FIRN_NOT_FOUND : FIRN_OK;
    if (result == FIRN_OK) {
        result = add_pieces(self, entry, &pieces);
    }
    if (result == FIRN_NOT_FOUND || result == FIRN_ECORRUPT) {
        self->report->incomplete++; /* damage was counted where the piece was met */
        return FIRN_OK;
    }
    if (result == FIRN_OK) {
        result = flush(self);
    }
    if (result == FIRN_OK && !self->stopped) {
        result = find_pieces(self, &pieces);
    }
    if (self->stopped || (result != FIRN_OK && result != FIRN_NOT_FOUND)) {
        return result;
    }
    if (result == FIRN_NOT_FOUND) {
        self->report->refused++;
        tell_that(self, "a value of %llu bytes does not fit into the new store",
                  (unsigned long long)pieces.total);
        return FIRN_OK;
    }
    firn_pieces_write(&pieces, bytes);
    head->part = FIRN_PART_HEAD;
    head->value = bytes;
    head->value_size = sizeof bytes;
    return add_item(self, *head);
}

/* The cache has to look through the records when it opens the new store. It is said before the
 * first of them is written, so that it never is not. */
static int tell_of_links(salvage *self) {
    if (self->links_told) {
        return FIRN_OK;
    }
    self->links_told = true;
    return firn_links_file_mark_dirty(self->partial, firn_cold_store_id(self->cold), self->heap,
                                      self->detail);
}

static int add(salvage *self, const firn_store_entry *entry) {
    firn_cold_item item = {
        .hash = firn_hash64(firn_cold_seed(self->cold), entry->key, entry->key_size),
        .version = entry->version,
        .expires_ms = entry->expires_ms,
        .key = entry->key,
        .key_size = entry->key_size,
        .value = entry->value,
        .value_size = entry->interned ? 0 : (size_t)entry->value_size,
        .attributes = {.type = entry->type_id,
                       .type_version = entry->type_version,
                       .owned = entry->owned != 0,
                       .body = entry->body != 0,
                       .interned = entry->interned != 0,
                       .interned_size = entry->interned ? entry->value_size : 0,
                       .links = entry->links,
                       .links_size = entry->links_size,
                       .traits = {.cost_us = (uint32_t)entry->cost_us,
                                  .stale_ms = (uint32_t)entry->stale_ms,
                                  .idle_ms = entry->idle_ms,
                                  .limit_ms = entry->limit_ms,
                                  .negative = entry->negative != 0,
                                  .tag_count = entry->tag_count,
                                  .tags = entry->tags}},
    };
    if (entry->version >= self->version_next) {
        self->version_next = entry->version + 1;
    }
    if (entry->interned && entry->incomplete) {
        self->report->incomplete++; /* damage is counted where the shared value is met */
        return FIRN_OK;
    }
    int result = entry->owned || entry->links_size > 0 ? tell_of_links(self) : FIRN_OK;
    if (result != FIRN_OK) {
        return result;
    }
    return entry->pieces > 0 ? add_stream(self, entry, &item) : add_item(self, item);
}

/* Whether the entry given last is damaged in itself, and not only its compressed value. */
static bool held_damage(const firn_store *store) {
    return store->chunk[store->chunk_next - 1].damage != NULL;
}

static int copy_all(salvage *self) {
    int result = FIRN_OK;
    while (result == FIRN_OK && !self->stopped) {
        firn_store_entry entry;
        result = firn_store_next(self->store, FIRN_STORE_VALUES, &entry);
        if (result != FIRN_OK) {
            break;
        }
        if (entry.damaged && self->store->from_log && held_damage(self->store)) {
            continue; /* the log was damaged there, which was counted when it was found out */
        }
        if (entry.damaged) {
            self->report->damaged++;
            tell_that(self, "record %llu: %s", (unsigned long long)entry.sequence, entry.damage);
        } else if (entry.expired) {
            self->report->expired++;
        } else {
            result = add(self, &entry);
        }
    }
    if (result == FIRN_NOT_FOUND) {
        result = flush(self);
    }
    return result == FIRN_OK && self->stopped ? FIRN_AGAIN : result;
}

/* ---- the new store ---- */

/* What the last writer of the damaged store was allowed; when that is not known, the most that
 * segments of this size tell of. */
static uint64_t budget_for(const firn_store *store, const firn_backend_usage *usage) {
    uint64_t least = usage->live_bytes * 2;
    uint64_t budget = store->meta.budget;
    if (store->from_log) {
        least = usage->live_bytes * 4;
        budget = (uint64_t)usage->segment_bytes * BUDGET_IN_SEGMENTS - 1;
    }
    budget = budget > least ? budget : least;
    return budget > FIRN_COLD_BYTES_MIN ? budget : FIRN_COLD_BYTES_MIN;
}

static char *partial_name(const char *path, firn_heap *heap) {
    static const char suffix[] = ".partial";
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    char *name = firn_heap_zalloc(heap, length + sizeof suffix);
    if (name != NULL) {
        memcpy(name, path, length);
        memcpy(name + length, suffix, sizeof suffix);
    }
    return name;
}

static int make_directory(salvage *self) {
    if (mkdir(self->partial, 0777) != 0) {
        int error = errno;
        int code = error == EEXIST || error == ENOENT ? FIRN_EINVAL : firn_code_of_errno(error);
        return firn_detail_set(self->detail, code, "%s: cannot make the directory: %s",
                               self->partial, strerror(error));
    }
    return FIRN_OK;
}

/* A file more in the damaged store's directory would be a write to it. */
static bool is_within(const salvage *self, const char *path) {
    const char *slash = strrchr(self->partial, '/');
    char *above = firn_heap_strdup(self->heap, slash != NULL ? self->partial : ".");
    if (above != NULL && slash != NULL) {
        above[slash - self->partial + (slash == self->partial)] = '\0';
    }
    struct stat one;
    struct stat other;
    bool same = above != NULL && stat(above, &one) == 0 && stat(path, &other) == 0 &&
                one.st_dev == other.st_dev && one.st_ino == other.st_ino;
    if (above != NULL) {
        size_t size = slash != NULL ? strlen(self->partial) + 1 : sizeof ".";
        firn_heap_free(self->heap, above, size);
    }
    return same;
}

static void remove_partial(salvage *self) {
    (void)firn_store_files_wipe(self->partial, self->heap, NULL);
    char *lock = firn_path_join(self->heap, self->partial, FIRN_LOCK_FILE);
    if (lock != NULL) {
        (void)unlink(lock);
    }
    firn_path_free(self->heap, lock);
    (void)rmdir(self->partial);
}

static int copy_type_names(salvage *self) {
    firn_type_names names;
    int result = firn_type_names_read(&names, self->store->path, self->heap);
    if (result == FIRN_OK) {
        result = firn_type_names_write(&names, self->partial, self->heap, self->detail);
        firn_type_names_free(&names, self->heap);
    }
    return result;
}

static int open_new(salvage *self, uint64_t cold_bytes) {
    firn_backend_usage usage;
    self->store->ops->usage(self->store->backend, &usage);
    self->total = usage.entries;
    self->version_next = self->store->meta.version_next;
    firn_cold_config config = {
        .path = self->partial,
        .heap = self->heap,
        .detail = self->detail,
        .budget_bytes = cold_bytes != 0 ? cold_bytes : budget_for(self->store, &usage),
        .durability = FIRN_DURABILITY_NONE, /* until the end */
        .compression_level = COMPRESSION_LEVEL,
        .compression_min_bytes = COMPRESSION_MIN_BYTES,
    };
    int result = firn_cold_open(&self->cold, &config);
    if (result == FIRN_OK) {
        result = copy_type_names(self);
    }
    if (result != FIRN_OK) {
        return result;
    }
    firn_cold_batch_limits(self->cold, &self->items_max, &self->bytes_size);
    self->items_max = self->items_max < ITEMS_MAX ? self->items_max : ITEMS_MAX;
    self->items = firn_heap_alloc(self->heap, ITEMS_MAX * sizeof *self->items);
    self->bytes = firn_heap_alloc(self->heap, self->bytes_size);
    return self->items != NULL && self->bytes != NULL
               ? FIRN_OK
               : firn_detail_set(self->detail, FIRN_ENOMEM, "%s: no memory to write it",
                                 self->partial);
}

/* What had to make room for others is not there, or not with all of its pieces. */
static int count_left(salvage *self) {
    firn_store *store;
    firn_store_info info = FIRN_STORE_INFO_INIT;
    int result = firn_store_open(&store, self->partial, NULL, 0);
    if (result == FIRN_OK) {
        result = firn_store_get_info(store, &info);
        firn_store_close(store);
    }
    if (result != FIRN_OK) {
        return firn_detail_set(self->detail, result, "%s: cannot count what is in it",
                               self->partial);
    }
    uint64_t left = info.entries - info.streams_incomplete;
    uint64_t gone = left < self->report->salvaged ? self->report->salvaged - left : 0;
    self->report->salvaged -= gone;
    self->report->refused += gone;
    if (gone > 0) {
        tell_that(self, "%llu entries had to make room for others: cold_bytes is too small",
                  (unsigned long long)gone);
    }
    return FIRN_OK;
}

static int close_new(salvage *self, const char *new_path, int result) {
    if (self->cold != NULL) {
        firn_cold_stats stats;
        firn_cold_get_stats(self->cold, &stats);
        int closed = firn_cold_close(self->cold, result == FIRN_OK);
        result = result == FIRN_OK ? closed : result;
        if (result == FIRN_OK && stats.reclaimed > 0) {
            result = count_left(self);
        }
    }
    /* A writer may have come and gone; what it changed would be told wrong. */
    if (result == FIRN_OK && firn_lock_has_writer(&self->store->lock, NULL)) {
        result = firn_detail_set(self->detail, FIRN_EBUSY,
                                 "%s: a writer opened the store meanwhile; close it there",
                                 self->store->path);
    }
    if (result == FIRN_OK && rename(self->partial, new_path) != 0) {
        int error = errno;
        result = firn_detail_set(self->detail, firn_code_of_errno(error),
                                 "%s: cannot rename it to %s: %s", self->partial, new_path,
                                 strerror(error));
    }
    if (result != FIRN_OK) {
        remove_partial(self);
        return result;
    }
    char *above = firn_path_join(self->heap, new_path, "..");
    if (above != NULL) {
        (void)firn_sync_directory(above); /* some file systems cannot */
    }
    firn_path_free(self->heap, above);
    return FIRN_OK;
}

static int salvage_into(salvage *self, const char *new_path, uint64_t cold_bytes) {
    if (is_within(self, self->store->path)) {
        return firn_detail_set(self->detail, FIRN_EINVAL,
                               "%s: lies in the damaged store, which is not written to; choose "
                               "another path",
                               new_path);
    }
    int result = make_directory(self);
    if (result != FIRN_OK) {
        return result;
    }
    result = open_new(self, cold_bytes);
    if (result == FIRN_OK) {
        result = copy_all(self);
    }
    result = close_new(self, new_path, result);
    firn_heap_free(self->heap, self->items, ITEMS_MAX * sizeof *self->items);
    firn_heap_free(self->heap, self->bytes, self->bytes_size);
    return result;
}

static int salvage_from(firn_store *store, const char *new_path,
                        const firn_salvage_options *options, firn_salvage_report *report,
                        firn_verify_callback callback, void *context) {
    struct stat status;
    report->index_damaged = store->from_log;
    report->damaged = store->recovery.lost;
    report->given_up = store->recovery.given_up;
    if (report->journal_damaged && !options->force) {
        return firn_detail_set(&store->detail, FIRN_ECORRUPT,
                               "%s: its journal is damaged or missing, so it is not known what was "
                               "overwritten or deleted; nothing is salvaged unless stale values "
                               "are acceptable (force)",
                               store->path);
    }
    if (lstat(new_path, &status) == 0) {
        return firn_detail_set(&store->detail, FIRN_EINVAL,
                               "%s: is there already; choose a path where nothing is", new_path);
    }
    salvage self = {
        .store = store,
        .heap = store->heap,
        .detail = &store->detail,
        .partial = partial_name(new_path, store->heap),
        .report = report,
        .callback = callback,
        .context = context,
    };
    if (self.partial == NULL) {
        return firn_detail_set(&store->detail, FIRN_ENOMEM, "%s: no memory to salvage it",
                               store->path);
    }
    if (store->recovery.lost > 0) {
        tell_that(&self, "the log is damaged in %llu places; entries given up: %llu",
                  (unsigned long long)report->damaged, (unsigned long long)report->given_up);
    }
    int result = salvage_into(&self, new_path, options->cold_bytes);
    firn_path_free(store->heap, self.partial);
    return result;
}

int firn_store_salvage(const char *path, const char *new_path, const firn_salvage_options *given,
                       firn_salvage_report *report, firn_verify_callback callback, void *context) {
    firn_salvage_options options = FIRN_SALVAGE_OPTIONS_INIT;
    if (given != NULL) {
        options = *given;
    }
    if (path == NULL || new_path == NULL || new_path[0] == '\0' || report == NULL ||
        report->size < sizeof *report || options.size < sizeof options ||
        (options.error_buffer == NULL && options.error_buffer_size > 0) ||
        (options.cold_bytes != 0 && options.cold_bytes < FIRN_COLD_BYTES_MIN)) {
        return FIRN_EINVAL;
    }
    *report = (firn_salvage_report)FIRN_SALVAGE_REPORT_INIT;
    firn_store *store;
    bool journal_damaged = false;
    int result = firn_store_open_damaged(&store, path, &journal_damaged, options.error_buffer,
                                         options.error_buffer_size);
    if (result != FIRN_OK) {
        return result;
    }
    report->journal_damaged = journal_damaged;
    result = salvage_from(store, new_path, &options, report, callback, context);
    if (result != FIRN_OK) {
        firn_detail_get(&store->detail, options.error_buffer, options.error_buffer_size);
    }
    firn_store_close(store);
    return result;
}
