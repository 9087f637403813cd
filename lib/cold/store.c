/* Looking into a store from outside: firn/store.h. Reads through the backend's sessions, a chunk
 * of records at a time, so that no transaction stays open while a caller thinks. Knows records,
 * the journal and the warm list; writes nothing. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/detail.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/links.h"
#include "base/sized.h"
#include "cold/log.h"
#include "cold/store_files.h"
#include "cold/store_internal.h"
#include "cold/warm_list.h"

enum {
    FULL_CHECK_MAX = 4096, /* heads of larger records are shown without reading the value */
    COUNT_PIECES = 1 << 8, /* a flag beside those of firn_store_next */
    COPY_ATTEMPTS = 100,   /* at a record that a writer moves or gives up meanwhile */
};

typedef firn_store_buffer bytes_buffer;
typedef firn_store_held held;

static size_t pending_bytes(void) {
    return FIRN_JOURNAL_SLOTS * sizeof(firn_journal_entry);
}

/* ---- open and close ---- */

static void close_backend(firn_store *store) {
    if (store->session != NULL) {
        store->ops->session_free(store->session);
        store->session = NULL;
    }
    if (store->backend != NULL) {
        store->ops->close(store->backend);
        store->backend = NULL;
    }
}

void firn_store_close(firn_store *store) {
    if (store == NULL) {
        return;
    }
    firn_heap *heap = store->heap;
    close_backend(store);
    firn_journal_close(store->journal);
    firn_lock_drop(&store->lock);
    firn_decoders_fini(&store->decoders);
    firn_dictionaries_fini(&store->dictionaries);
    firn_heap_free(heap, store->raw.bytes, store->raw.size);
    firn_heap_free(heap, store->value.bytes, store->value.size);
    firn_heap_free(heap, store->piece.bytes, store->piece.size);
    firn_store_types_fini(store);
    firn_clears_file_fini(&store->clears_file);
    firn_clears_fini(&store->clears);
    firn_heap_free(heap, store->pending, pending_bytes());
    firn_heap_free(heap, store->chunk, FIRN_STORE_CHUNK_RECORDS * sizeof *store->chunk);
    firn_path_free(heap, store->path);
    firn_detail_fini(&store->detail);
    firn_heap_free(heap, store, sizeof *store);
    firn_heap_unref(heap);
}

static firn_store *new_store(const char *path) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_store *store = heap != NULL ? firn_heap_zalloc(heap, sizeof *store) : NULL;
    if (store == NULL || firn_detail_init(&store->detail) != 0) {
        if (store != NULL) {
            firn_heap_free(heap, store, sizeof *store);
        }
        firn_heap_unref(heap);
        return NULL;
    }
    store->heap = heap;
    store->lock = (firn_store_lock)FIRN_LOCK_INIT;
    firn_dictionaries_init(&store->dictionaries, heap);
    store->ops = firn_backend_find(NULL);
    store->path = firn_heap_strdup(heap, path);
    store->pending = firn_heap_alloc(heap, pending_bytes());
    store->chunk = firn_heap_alloc(heap, FIRN_STORE_CHUNK_RECORDS * sizeof *store->chunk);
    int failed = firn_clears_init(&store->clears, heap);
    failed |= firn_clears_file_init(&store->clears_file, heap, &store->detail, &store->clears,
                                    store->path, false);
    if (failed != 0 || store->path == NULL || store->pending == NULL || store->chunk == NULL) {
        firn_store_close(store);
        return NULL;
    }
    return store;
}

bool firn_store_identify(void *context, uint64_t sequence, const firn_bytes *bytes,
                         firn_backend_identity *identity) {
    const firn_store *store = context;
    firn_record record;
    /* The cheap look first: a salvage asks about bytes that are no record at all. */
    if (firn_record_parse(bytes->data, bytes->size, &record) != NULL ||
        firn_record_check(bytes->data, bytes->size, sequence) != NULL) {
        return false;
    }
    identity->hash = firn_hash64(store->meta.seed, record.key, record.key_size);
    identity->version = record.version;
    identity->expires_ms = record.expires_ms;
    return true;
}

static int check_meta(firn_store *store, uint64_t store_id) {
    if (store->meta.format != FIRN_STORE_FORMAT) {
        return firn_detail_set(&store->detail, FIRN_EVERSION,
                               "%s: has format %u, but this program knows format %d", store->path,
                               (unsigned)store->meta.format, FIRN_STORE_FORMAT);
    }
    if (store->meta.store_id != store_id) {
        return firn_detail_set(&store->detail, FIRN_ECORRUPT,
                               "%s: its journal belongs to another store; remove the store, or "
                               "open it as a cache with set_aside_damaged",
                               store->path);
    }
    return FIRN_OK;
}

/* from_log: without the index. powerless: see firn_backend_ops.recover. */
static int open_backend(firn_store *store, uint64_t store_id, bool from_log, bool powerless) {
    firn_backend_config config = {
        .directory = store->path,
        .heap = store->heap,
        .detail = &store->detail,
        .read_only = true,
        .rebuild = from_log,
        .identify = firn_store_identify,
        .identify_context = store,
    };
    int result = store->ops->open(&store->backend, &config);
    if (result == FIRN_OK) {
        result = store->ops->read_meta(store->backend, &store->meta);
    }
    if (result == FIRN_OK) {
        result = check_meta(store, store_id);
    }
    if (result == FIRN_OK) {
        result = store->ops->recover(store->backend, powerless, &store->recovery);
    }
    if (result == FIRN_OK && from_log) {
        result = store->ops->read_meta(store->backend, &store->meta);
    }
    if (result == FIRN_OK) {
        result = store->ops->session_new(store->backend, &store->session);
    }
    store->from_log = from_log && result == FIRN_OK;
    if (result != FIRN_OK) {
        close_backend(store);
    }
    return result;
}

/* A file that a live process writes is sound by construction, and one that was closed clean and not
 * changed since is what it was; any other is walked before LMDB may follow its pages. Damage is
 * FIRN_ECORRUPT: the journal said that there is a store. header may be NULL. */
static int check_data(firn_store *store, const firn_journal_header *header) {
    bool live = firn_lock_has_writer(&store->lock, NULL);
    bool familiar = header != NULL && header->clean &&
                    firn_store_files_data_is(store->path, header->fingerprint.file_bytes,
                                             header->fingerprint.mtime_ns, store->heap);
    int result = store->ops->check(store->path, !live && !familiar, store->heap, &store->detail);
    return result == FIRN_NOT_FOUND || result == FIRN_ENOTSTORE ? FIRN_ECORRUPT : result;
}

/* With the index or, if it is damaged or does not fit the log, from the log alone. */
static int open_index_or_log(firn_store *store, uint64_t store_id,
                             const firn_journal_header *header, bool thorough) {
    int result = check_data(store, thorough ? NULL : header);
    bool pages_damaged = result == FIRN_ECORRUPT;
    if (result == FIRN_OK) {
        result = open_backend(store, store_id, false, false);
    }
    if (result != FIRN_ECORRUPT || firn_lock_has_writer(&store->lock, NULL)) {
        return pages_damaged ? FIRN_OK : result;
    }
    bool powerless = header != NULL && !header->clean && !firn_journal_is_of_this_boot(header);
    result = open_backend(store, store_id, true, powerless);
    return result == FIRN_ECORRUPT && pages_damaged ? FIRN_OK : result;
}

static int take_lock(firn_store *store) {
    int result = firn_lock_take(&store->lock, store->path, false, store->heap, &store->detail);
    return result == FIRN_NOT_FOUND ? FIRN_OK : result;
}

static int open_parts(firn_store *store) {
    firn_store_kind kind;
    int result = firn_store_files_identify(store->path, &kind, store->heap, &store->detail);
    if (result != FIRN_OK) {
        return result;
    }
    if (kind == FIRN_STORE_ABSENT) {
        return firn_detail_set(&store->detail, FIRN_NOT_FOUND, "%s: there is nothing here",
                               store->path);
    }
    if (kind != FIRN_STORE_PRESENT) {
        return firn_detail_set(&store->detail, FIRN_ENOTSTORE,
                               "%s: there is no store in this directory", store->path);
    }
    result = take_lock(store);
    if (result == FIRN_OK) {
        result =
            firn_journal_open(&store->journal, store->path, false, store->heap, &store->detail);
    }
    if (result != FIRN_OK) {
        return result;
    }
    firn_journal_header header;
    firn_journal_get_header(store->journal, &header);
    return open_index_or_log(store, header.store_id, &header, false);
}

/* Whether it is this store's and none of its lines is damaged. */
static bool journal_is_sound(firn_store *store, uint64_t store_id, firn_journal_header *header) {
    if (firn_journal_open(&store->journal, store->path, false, store->heap, NULL) != FIRN_OK) {
        return false;
    }
    firn_journal_get_header(store->journal, header);
    if (header->store_id != store_id) {
        firn_journal_close(store->journal);
        store->journal = NULL;
        return false;
    }
    firn_journal_scan scan;
    firn_journal_scan_all(store->journal, &scan, NULL, NULL);
    return scan.damaged == 0;
}

static int open_damaged_parts(firn_store *store, bool *journal_damaged) {
    firn_log_identity identity;
    int result = firn_log_identify(store->path, &identity, store->heap, &store->detail);
    if (result == FIRN_NOT_FOUND) {
        firn_store_kind kind;
        result = firn_store_files_identify(store->path, &kind, store->heap, &store->detail);
        if (result == FIRN_OK) {
            result = kind == FIRN_STORE_ABSENT    ? FIRN_NOT_FOUND
                     : kind == FIRN_STORE_PRESENT ? FIRN_ECORRUPT
                                                  : FIRN_ENOTSTORE;
            firn_detail_set(&store->detail, result, "%s: there is no log to salvage from",
                            store->path);
        }
    }
    if (result == FIRN_OK) {
        result = take_lock(store);
    }
    uint32_t writer;
    if (result == FIRN_OK && firn_lock_has_writer(&store->lock, &writer)) {
        result = firn_detail_set(&store->detail, FIRN_EBUSY,
                                 "%s: process %u has the store open for writing; close it there",
                                 store->path, (unsigned)writer);
    }
    if (result != FIRN_OK) {
        return result;
    }
    firn_journal_header header;
    *journal_damaged = !journal_is_sound(store, identity.store_id, &header);
    result =
        open_index_or_log(store, identity.store_id, store->journal != NULL ? &header : NULL, true);
    return result == FIRN_OK && store->backend == NULL ? FIRN_ECORRUPT : result;
}

/* journal_damaged: NULL unless damage is to be got over. */
static int open_store(firn_store **out, const char *path, bool *journal_damaged, char *error_buffer,
                      size_t error_size) {
    *out = NULL;
    firn_store *store = new_store(path);
    if (store == NULL) {
        return FIRN_ENOMEM;
    }
    int result =
        journal_damaged != NULL ? open_damaged_parts(store, journal_damaged) : open_parts(store);
    if (result != FIRN_OK) {
        firn_detail_get(&store->detail, error_buffer, error_size);
        firn_store_close(store);
        return result;
    }
    *out = store;
    return FIRN_OK;
}

int firn_store_open(firn_store **out, const char *path, char *error_buffer, size_t error_size) {
    if (out == NULL || path == NULL || (error_buffer == NULL && error_size > 0)) {
        return FIRN_EINVAL;
    }
    return open_store(out, path, NULL, error_buffer, error_size);
}

int firn_store_open_damaged(firn_store **out, const char *path, bool *journal_damaged,
                            char *error_buffer, size_t error_size) {
    return open_store(out, path, journal_damaged, error_buffer, error_size);
}

const char *firn_store_message(const firn_store *store) {
    return store != NULL ? store->detail.text : "";
}

int firn_store_check_usable(firn_store *store) {
    if (store->backend != NULL) {
        return FIRN_OK;
    }
    return firn_detail_set(&store->detail, FIRN_ECORRUPT,
                           "%s: its pages and its log are damaged; 'firn verify' tells where. A "
                           "cache opened with set_aside_damaged begins afresh",
                           store->path);
}

/* ---- records ---- */

int firn_store_grow(firn_store *store, bytes_buffer *buffer, size_t size, size_t kept) {
    if (size <= buffer->size) {
        return FIRN_OK;
    }
    size_t larger = size + size / 2;
    unsigned char *bytes = firn_heap_alloc(store->heap, larger);
    if (bytes == NULL) {
        return firn_detail_set(&store->detail, FIRN_ENOMEM,
                               "%s: no memory for a record of %zu "
                               "bytes",
                               store->path, size);
    }
    if (kept > 0) {
        memcpy(bytes, buffer->bytes, kept);
    }
    firn_heap_free(store->heap, buffer->bytes, buffer->size);
    *buffer = (bytes_buffer){bytes, larger};
    return FIRN_OK;
}

static int compare_entries(const void *a, const void *b) {
    const firn_journal_entry *left = a;
    const firn_journal_entry *right = b;
    return left->hash < right->hash ? -1 : left->hash > right->hash;
}

static void keep_pending(void *context, const firn_journal_entry *entry, bool damaged) {
    firn_store *store = context;
    if (!damaged && store->pending_count < FIRN_JOURNAL_SLOTS) {
        store->pending[store->pending_count++] = *entry;
    }
}

static void look_at_journal(firn_store *store) {
    firn_journal_scan scan;
    store->pending_count = 0;
    store->types.fresh = false;
    /* What cannot be read says nothing, like the journal. */
    (void)firn_clears_file_read(&store->clears_file, store->meta.store_id);
    if (store->journal == NULL) {
        return;
    }
    firn_journal_scan_all(store->journal, &scan, keep_pending, store);
    qsort(store->pending, store->pending_count, sizeof *store->pending, compare_entries);
}

static bool is_void(const firn_store *store, uint64_t hash, const firn_record *record) {
    uint64_t version = record->version;
    if (firn_record_cleared(record, &store->clears)) {
        return true;
    }
    size_t low = 0;
    size_t high = store->pending_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (store->pending[middle].hash < hash) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for (; low < store->pending_count && store->pending[low].hash == hash; low++) {
        if (store->pending[low].version > version) {
            return true;
        }
    }
    return false;
}

/* False: it has none. */
static bool find_body_link(const firn_attributes *attributes, firn_link *link) {
    size_t at = 0;
    while (attributes->links != NULL &&
           firn_links_next(attributes->links, attributes->links_size, &at, link)) {
        if (link->kind == FIRN_LINKS_BODY) {
            return true;
        }
    }
    return false;
}

static bool are_links_sound(const firn_attributes *attributes) {
    firn_link link;
    return (attributes->links_size == 0 ||
            firn_links_count(attributes->links, attributes->links_size) != SIZE_MAX) &&
           find_body_link(attributes, &link) == attributes->interned;
}

const char *firn_store_check_bytes(const firn_bytes *bytes, uint64_t sequence, bool fully,
                                   firn_record *record) {
    const char *wrong = NULL;
    if (fully || bytes->size <= FULL_CHECK_MAX) {
        wrong = firn_record_check(bytes->data, bytes->size, sequence);
    }
    if (wrong == NULL) {
        wrong = firn_record_parse(bytes->data, bytes->size, record);
    }
    firn_pieces pieces;
    if (wrong == NULL && record->part == FIRN_PART_HEAD &&
        (record->codec != FIRN_RECORD_CODEC_RAW ||
         !firn_pieces_read(&pieces, 0, record->payload, record->payload_size))) {
        wrong = "what it says of its pieces makes no sense";
    }
    if (wrong == NULL && !are_links_sound(&record->attributes)) {
        wrong = "its links make no sense";
    }
    return wrong != NULL ? wrong
                         : firn_decode_plausible(record->codec, record->payload,
                                                 record->payload_size, record->value_size);
}

int firn_store_fetch_dictionary(firn_store *store, const firn_bytes *bytes) {
    firn_record record;
    firn_dictionary *dictionary;
    const char *wrong;
    if (firn_record_parse(bytes->data, bytes->size, &record) != NULL) {
        return FIRN_OK;
    }
    int result = firn_dictionaries_get(&store->dictionaries, store->ops, store->session,
                                       record.dictionary, &dictionary, &wrong);
    if (result == FIRN_ENOMEM) {
        return firn_detail_set(&store->detail, result, "%s: no memory for a dictionary",
                               store->path);
    }
    return result == FIRN_ECORRUPT ? FIRN_OK : result;
}

static void count_piece(firn_store *store, const firn_record *record) {
    store->pieces.count++;
    store->pieces.value_bytes += record->value_size;
    store->pieces.stored_bytes += record->payload_size;
}

/* Copies one record into the chunk. used: bytes of the raw buffer. */
static int hold(firn_store *store, uint64_t sequence, const firn_bytes *bytes, unsigned flags,
                size_t *used) {
    firn_record record;
    held one = {.sequence = sequence, .at = *used, .record_size = bytes->size};
    bool values = (flags & FIRN_STORE_VALUES) != 0;
    one.damage = firn_store_check_bytes(bytes, sequence, values, &record);
    if (one.damage == NULL) {
        one.hash = firn_hash64(store->meta.seed, record.key, record.key_size);
        uint64_t valid;
        bool piece = record.part == FIRN_PART_PIECE;
        if ((piece && (flags & COUNT_PIECES) == 0) || is_void(store, one.hash, &record) ||
            store->ops->locate(store->session, one.hash, &valid) != FIRN_OK || valid != sequence) {
            return FIRN_OK;
        }
        if (piece) {
            count_piece(store, &record);
            return FIRN_OK;
        }
        bool whole = values || record.part == FIRN_PART_HEAD;
        one.kept = bytes->size - (whole ? 0 : record.payload_size);
    }
    int result = firn_store_grow(store, &store->raw, *used + one.kept, *used);
    if (result == FIRN_OK && values && one.damage == NULL) {
        result = firn_store_fetch_dictionary(store, bytes);
    }
    if (result != FIRN_OK) {
        return result;
    }
    if (one.kept > 0) { /* else there may be no buffer yet */
        memcpy(store->raw.bytes + one.at, bytes->data, one.kept);
    }
    *used += one.kept;
    store->chunk[store->chunk_count++] = one;
    return FIRN_OK;
}

static int load_in_session(firn_store *store, unsigned flags) {
    size_t used = 0;
    for (unsigned i = 0; i < FIRN_STORE_CHUNK_RECORDS && used < FIRN_STORE_CHUNK_BYTES; i++) {
        uint64_t sequence;
        firn_bytes bytes;
        int result = store->ops->next_record(store->session, store->from, &sequence, &bytes);
        if (result == FIRN_NOT_FOUND) {
            store->ended = true;
            return FIRN_OK;
        }
        if (result == FIRN_OK) {
            store->met++;
            result = hold(store, sequence, &bytes, flags, &used);
        }
        if (result != FIRN_OK) {
            return result;
        }
        if (sequence == UINT64_MAX) {
            store->ended = true;
            return FIRN_OK;
        }
        store->from = sequence + 1;
    }
    return FIRN_OK;
}

static int load_chunk(firn_store *store, unsigned flags) {
    store->chunk_count = 0;
    store->chunk_next = 0;
    store->chunk_flags = flags;
    look_at_journal(store);
    int result = store->ops->read_begin(store->session);
    if (result == FIRN_OK) {
        result = load_in_session(store, flags);
        store->ops->read_end(store->session);
    }
    return result;
}

static void describe_damage(const held *one, firn_store_entry *entry) {
    *entry = (firn_store_entry){
        .size = sizeof *entry,
        .sequence = one->sequence,
        .record_size = one->record_size,
        .damaged = 1,
        .damage = one->damage,
    };
}

const char *firn_store_decode(firn_store *store, const firn_record *record) {
    const firn_dictionary *dictionary = NULL;
    if (record->dictionary != 0) {
        dictionary = firn_dictionaries_find(&store->dictionaries, record->dictionary);
        if (dictionary == NULL) {
            return "its dictionary is missing or damaged";
        }
    }
    return firn_decode(&store->decoders, record->codec, dictionary, store->value.bytes,
                       record->value_size, record->payload, record->payload_size);
}

int firn_store_find_pieces(firn_store *store, const firn_pieces *pieces, uint64_t *from,
                           uint64_t most) {
    unsigned char key[FIRN_PIECE_KEY_SIZE];
    uint64_t to = pieces->count - *from > most ? *from + most : pieces->count;
    for (; *from < to; ++*from) {
        uint64_t sequence;
        uint64_t hash = firn_pieces_key(pieces, store->meta.seed, *from, key);
        int result = store->ops->locate(store->session, hash, &sequence);
        if (result != FIRN_OK) {
            return result;
        }
    }
    return to < pieces->count ? FIRN_AGAIN : FIRN_OK;
}

/* Tells of the value in pieces whose head the record is. */
static int describe_stream(firn_store *store, const firn_record *record, firn_store_entry *entry) {
    firn_pieces pieces;
    if (record->payload == NULL ||
        !firn_pieces_read(&pieces, entry->hash, record->payload, record->payload_size)) {
        return FIRN_ECORRUPT; /* it was looked at before */
    }
    entry->codec = "stream";
    entry->stored_size = 0;
    entry->value_size = pieces.total;
    entry->pieces = pieces.count;
    entry->piece_size = pieces.piece;
    entry->stream = pieces.stream;
    uint64_t from = 0;
    int result = FIRN_AGAIN;
    while (result == FIRN_AGAIN) {
        result = store->ops->read_begin(store->session);
        if (result == FIRN_OK) {
            result = firn_store_find_pieces(store, &pieces, &from, FIRN_STORE_CHUNK_RECORDS);
            store->ops->read_end(store->session);
        }
    }
    entry->incomplete = result == FIRN_NOT_FOUND;
    return result == FIRN_NOT_FOUND ? FIRN_OK : result;
}

static int describe_attributes(firn_store *store, const firn_attributes *attributes,
                               firn_store_entry *entry) {
    entry->type_id = attributes->type;
    entry->type_version = attributes->type_version;
    entry->owned = attributes->owned;
    entry->links = attributes->links;
    entry->links_size = attributes->links_size;
    if (attributes->links_size > 0) { /* they were looked at before */
        entry->link_count = (uint32_t)firn_links_count(attributes->links, attributes->links_size);
        entry->link_count -= attributes->interned; /* the one to its body is not the program's */
    }
    entry->body = attributes->body;
    entry->interned = attributes->interned;
    const firn_traits *traits = &attributes->traits;
    entry->cost_us = traits->cost_us;
    entry->stale_ms = traits->stale_ms;
    entry->idle_ms = traits->idle_ms;
    entry->limit_ms = traits->limit_ms;
    entry->negative = traits->negative;
    entry->tag_count = traits->tag_count;
    entry->tags = traits->tags;
    return attributes->type != 0 ? firn_store_name_type(store, attributes->type, &entry->type)
                                 : FIRN_OK;
}

/* FIRN_NOT_FOUND: there is none. */
static int copy_record(firn_store *store, uint64_t hash, bytes_buffer *to, held *one) {
    firn_bytes bytes;
    int result = store->ops->read_begin(store->session);
    if (result != FIRN_OK) {
        return result;
    }
    bool again = true;
    for (unsigned i = 0; i < COPY_ATTEMPTS && again; i++) {
        result = store->ops->lookup(store->session, hash, &one->sequence, &bytes);
        again = result == FIRN_OK &&
                firn_record_check(bytes.data, bytes.size, one->sequence) != NULL &&
                store->ops->overtaken(store->session);
    }
    if (result == FIRN_OK) {
        result = firn_store_grow(store, to, bytes.size, 0);
    }
    if (result == FIRN_OK) {
        memcpy(to->bytes, bytes.data, bytes.size);
        result = firn_store_fetch_dictionary(store, &bytes);
        one->record_size = bytes.size;
        one->kept = bytes.size;
    }
    store->ops->read_end(store->session);
    return result;
}

/* Finds the value that the entry shares with others, if its own record is sound. FIRN_OK; the entry
 * says if it is missing or damaged. */
static int describe_interned(firn_store *store, const firn_attributes *attributes, bool value,
                             firn_store_entry *entry) {
    firn_link link;
    held body = {0};
    firn_bytes bytes;
    firn_record record;
    entry->value_size = attributes->interned_size;
    if (!find_body_link(attributes, &link)) {
        return FIRN_ECORRUPT; /* it was looked at before */
    }
    body.hash = firn_hash64(store->meta.seed, link.key, link.key_size);
    int result = copy_record(store, body.hash, &store->piece, &body);
    if (result != FIRN_OK) {
        entry->incomplete = result == FIRN_NOT_FOUND;
        return result == FIRN_NOT_FOUND ? FIRN_OK : result;
    }
    bytes = (firn_bytes){store->piece.bytes, body.record_size};
    const char *wrong = firn_store_check_bytes(&bytes, body.sequence, true, &record);
    if (wrong != NULL || !record.attributes.body || record.value_size != entry->value_size) {
        entry->incomplete = 1;
        return FIRN_OK;
    }
    if (value) {
        result = firn_store_grow(store, &store->value, record.value_size + 1, 0);
        if (result == FIRN_OK && firn_store_decode(store, &record) == NULL) {
            entry->value = store->value.bytes;
        }
        entry->incomplete = entry->value == NULL;
    }
    return result;
}

/* Fills the entry from a sound record; decodes its value if asked. */
static int describe(firn_store *store, const held *one, bool value, firn_store_entry *entry) {
    firn_record record;
    if (firn_record_parse_head(store->raw.bytes + one->at, one->kept, one->record_size, &record) !=
        NULL) {
        return FIRN_ECORRUPT;
    }
    const firn_codec *codec = firn_codec_find(record.codec);
    *entry = (firn_store_entry){
        .size = sizeof *entry,
        .key = record.key,
        .key_size = record.key_size,
        .value_size = record.value_size,
        .stored_size = record.payload_size,
        .record_size = one->record_size,
        .sequence = one->sequence,
        .hash = one->hash,
        .dictionary = record.dictionary,
        .version = record.version,
        .written_ms = store->meta.created_ms + record.written_ms,
        .expires_ms = record.expires_ms,
        .codec = codec != NULL ? codec->name : "unknown",
        .expired = record.expires_ms != 0 && record.expires_ms <= firn_clock_now_ms(NULL),
    };
    int result = describe_attributes(store, &record.attributes, entry);
    if (result == FIRN_OK && record.part == FIRN_PART_HEAD) {
        return describe_stream(store, &record, entry);
    }
    if (result == FIRN_OK && record.attributes.interned) {
        return describe_interned(store, &record.attributes, value, entry);
    }
    if (result == FIRN_OK && value) {
        result = firn_store_grow(store, &store->value, record.value_size + 1, 0);
    }
    if (result != FIRN_OK || !value) {
        return result;
    }
    const char *wrong = firn_store_decode(store, &record);
    if (wrong != NULL) {
        held damaged = *one;
        damaged.damage = wrong;
        describe_damage(&damaged, entry);
    } else {
        entry->value = store->value.bytes;
    }
    return FIRN_OK;
}

/* Gives up what is buffered for firn_store_next, which will read it again from where it stood. */
static void drop_chunk(firn_store *store) {
    if (store->chunk_next < store->chunk_count) {
        store->from = store->chunk[store->chunk_next].sequence;
        store->ended = false;
    }
    store->chunk_count = 0;
    store->chunk_next = 0;
}

static int next_entry(firn_store *store, unsigned flags, firn_store_entry *entry) {
    int result = firn_store_check_usable(store);
    if (store->chunk_flags != flags) {
        drop_chunk(store);
    }
    while (result == FIRN_OK && store->chunk_next == store->chunk_count) {
        if (store->ended) {
            return FIRN_NOT_FOUND;
        }
        result = load_chunk(store, flags);
    }
    if (result != FIRN_OK) {
        return result;
    }
    const held *one = &store->chunk[store->chunk_next++];
    if (one->damage != NULL) {
        describe_damage(one, entry);
        return FIRN_OK;
    }
    return describe(store, one, (flags & FIRN_STORE_VALUES) != 0, entry);
}

int firn_store_next(firn_store *store, unsigned flags, firn_store_entry *entry) {
    if (store == NULL || entry == NULL || (flags & ~(unsigned)FIRN_STORE_VALUES) != 0) {
        return FIRN_EINVAL;
    }
    return next_entry(store, flags, entry);
}

void firn_store_rewind(firn_store *store) {
    if (store != NULL) {
        store->from = 0;
        store->chunk_count = 0;
        store->chunk_next = 0;
        store->ended = false;
    }
}

int firn_store_get(firn_store *store, const void *key, size_t key_size, firn_store_entry *entry) {
    if (store == NULL || key == NULL || key_size == 0 || entry == NULL) {
        return FIRN_EINVAL;
    }
    int result = firn_store_check_usable(store);
    if (result != FIRN_OK) {
        return result;
    }
    drop_chunk(store); /* its place is needed */
    held one = {.hash = firn_hash64(store->meta.seed, key, key_size)};
    look_at_journal(store);
    result = copy_record(store, one.hash, &store->raw, &one);
    if (result != FIRN_OK) {
        return result;
    }
    firn_bytes bytes = {store->raw.bytes, one.record_size};
    firn_record record;
    one.damage = firn_store_check_bytes(&bytes, one.sequence, true, &record);
    if (one.damage == NULL &&
        (record.part == FIRN_PART_PIECE || record.key_size != key_size ||
         memcmp(record.key, key, key_size) != 0 || is_void(store, one.hash, &record))) {
        return FIRN_NOT_FOUND;
    }
    if (one.damage == NULL) {
        result = describe(store, &one, true, entry);
        one.damage = entry->damage;
    }
    if (one.damage != NULL) {
        return firn_detail_set(&store->detail, FIRN_ECORRUPT, "%s: record %llu is damaged: %s",
                               store->path, (unsigned long long)one.sequence, one.damage);
    }
    return result;
}

/* Whether the record is the piece; NULL, or what is wrong. */
static const char *check_piece(firn_store *store, const firn_bytes *bytes, uint64_t sequence,
                               const unsigned char *key, size_t size, firn_record *record) {
    const char *wrong = firn_store_check_bytes(bytes, sequence, true, record);
    if (wrong == NULL &&
        (record->part != FIRN_PART_PIECE || record->key_size != FIRN_PIECE_KEY_SIZE ||
         memcmp(record->key, key, FIRN_PIECE_KEY_SIZE) != 0 || record->value_size != size)) {
        wrong = "it is another than its entry tells of";
    }
    if (wrong == NULL && firn_store_grow(store, &store->value, size, 0) != FIRN_OK) {
        wrong = firn_decode_no_memory;
    }
    return wrong != NULL ? wrong : firn_store_decode(store, record);
}

int firn_store_get_piece(firn_store *store, const firn_store_entry *entry, uint64_t number,
                         const void **piece, size_t *piece_size) {
    if (store == NULL || entry == NULL || piece == NULL || piece_size == NULL) {
        return FIRN_EINVAL;
    }
    *piece = NULL;
    *piece_size = 0;
    if (number >= entry->pieces || entry->piece_size == 0 ||
        entry->pieces != (entry->value_size - 1) / entry->piece_size + 1) {
        return FIRN_EINVAL;
    }
    int result = firn_store_check_usable(store);
    if (result != FIRN_OK) {
        return result;
    }
    firn_pieces pieces = {.hash = entry->hash,
                          .total = entry->value_size,
                          .stream = entry->stream,
                          .piece = entry->piece_size,
                          .count = entry->pieces};
    unsigned char key[FIRN_PIECE_KEY_SIZE];
    size_t size = firn_pieces_size(&pieces, number);
    held one = {.hash = firn_pieces_key(&pieces, store->meta.seed, number, key)};
    result = copy_record(store, one.hash, &store->piece, &one);
    if (result == FIRN_NOT_FOUND) {
        return firn_detail_set(&store->detail, result,
                               "%s: piece %llu of %llu of a value was reclaimed", store->path,
                               (unsigned long long)number, (unsigned long long)pieces.count);
    }
    if (result != FIRN_OK) {
        return result;
    }
    firn_bytes bytes = {store->piece.bytes, one.record_size};
    firn_record record;
    const char *wrong = check_piece(store, &bytes, one.sequence, key, size, &record);
    if (wrong != NULL) {
        return firn_detail_set(&store->detail,
                               wrong == firn_decode_no_memory ? FIRN_ENOMEM : FIRN_ECORRUPT,
                               "%s: piece %llu of %llu of a value, record %llu: %s", store->path,
                               (unsigned long long)number, (unsigned long long)pieces.count,
                               (unsigned long long)one.sequence, wrong);
    }
    *piece = store->value.bytes;
    *piece_size = size;
    return FIRN_OK;
}

/* ---- facts ---- */

static int count_dictionaries(firn_store *store, firn_store_info *info) {
    firn_dictionary_info found = {.id = 0};
    int result = store->ops->read_begin(store->session);
    if (result != FIRN_OK) {
        return result;
    }
    while (found.id < UINT32_MAX &&
           (result = firn_dictionary_next(store->ops, store->session, found.id + 1, &found)) ==
               FIRN_OK) {
        info->dictionaries++;
        info->dictionary_bytes += found.stored_size;
    }
    store->ops->read_end(store->session);
    return result == FIRN_NOT_FOUND ? FIRN_OK : result;
}

static void count_attributes(firn_store *store, const firn_store_entry *entry,
                             firn_store_info *info) {
    info->linked += entry->link_count > 0;
    info->links += entry->link_count;
    info->owned += entry->owned != 0 && !entry->body;
    if (entry->type_id != 0) {
        info->typed++;
        firn_store_count_type(store, entry->type_id, entry->type_version);
    }
}

static int sum_up(firn_store *store, firn_store_info *info) {
    drop_chunk(store);
    uint64_t from = store->from;
    bool ended = store->ended;
    firn_store_rewind(store);
    store->met = 0;
    store->pieces = (firn_store_pieces){0};
    firn_store_entry entry;
    int result;
    while ((result = next_entry(store, COUNT_PIECES, &entry)) == FIRN_OK) {
        if (entry.pieces > 0) {
            info->streams++;
            info->streams_incomplete += entry.incomplete;
        } else if (entry.interned) {
            info->interned++;
            info->interned_bytes += entry.value_size;
        } else if (!entry.damaged) {
            info->bodies += entry.body;
            info->body_bytes += entry.body ? entry.value_size : 0;
            info->value_bytes += entry.value_size;
            info->stored_bytes += entry.stored_size;
            info->dictionary_entries += entry.dictionary != 0;
        }
        count_attributes(store, &entry, info);
        info->first_sequence = info->first_sequence == 0 ? entry.sequence : info->first_sequence;
        info->last_sequence = entry.sequence;
    }
    info->pieces = store->pieces.count;
    info->value_bytes += store->pieces.value_bytes;
    info->stored_bytes += store->pieces.stored_bytes;
    /* A writer may have written more meanwhile than was counted before. */
    uint64_t others = info->pieces + info->bodies;
    info->entries -= others < info->entries ? others : info->entries;
    firn_store_rewind(store);
    store->from = from;
    store->ended = ended;
    return result == FIRN_NOT_FOUND ? FIRN_OK : result;
}

int firn_store_get_info(firn_store *store, firn_store_info *info) {
    if (store == NULL || firn_is_unsized(info)) {
        return FIRN_EINVAL;
    }
    int result = firn_store_check_usable(store);
    if (result != FIRN_OK) {
        return result;
    }
    result = store->ops->read_begin(store->session); /* catches up with a writer */
    if (result != FIRN_OK) {
        return result;
    }
    store->ops->read_end(store->session);
    firn_backend_usage usage;
    firn_backend_files files;
    store->ops->usage(store->backend, &usage);
    store->ops->files(store->backend, &files);
    result = store->ops->read_meta(store->backend, &store->meta);
    if (result != FIRN_OK) {
        return result;
    }
    firn_journal_header header;
    firn_journal_scan scan;
    firn_journal_get_header(store->journal, &header);
    firn_journal_scan_all(store->journal, &scan, NULL, NULL);
    firn_store_info full = {
        .store_id = store->meta.store_id,
        .created_ms = store->meta.created_ms,
        .format_version = store->meta.format,
        .page_bytes = usage.page_bytes,
        .entries = usage.entries,
        .file_bytes = files.all_bytes,
        .log_bytes = usage.log_bytes,
        .index_bytes = files.index_bytes,
        .segment_bytes = usage.segment_bytes,
        .live_bytes = usage.live_bytes,
        .budget_bytes = store->meta.budget,
        .journal_entries = scan.entries,
        .version_next = store->meta.version_next,
        .closed_clean = header.clean,
    };
    firn_lock_has_writer(&store->lock, &full.writer_pid);
    firn_warm_list *list;
    if (firn_warm_list_open(&list, store->path, full.store_id, store->heap) == FIRN_OK) {
        full.warm_entries = firn_warm_list_count(list);
        firn_warm_list_close(list);
    }
    result = count_dictionaries(store, &full);
    if (result == FIRN_OK) {
        result = firn_store_count_types(store);
    }
    if (result == FIRN_OK) {
        result = sum_up(store, &full);
    }
    full.records = store->met;
    full.types = store->types.listed;
    firn_give_sized(info, &full, sizeof full);
    return result;
}
