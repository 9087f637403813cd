/* The cold tier: reading, and what it tells of itself. See cold.h, and cold_internal.h for who does
 * the rest. */
#include "cold/cold.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <firn/error.h>

#include "base/clock.h"
#include "base/hash.h"
#include "cold/cold_internal.h"
#include "cold/record.h"

enum {
    HEAD_CHECK_MAX = 4096, /* records up to this size are checked in full even when only their head
                              is asked for */
    ATTEMPTS = 100,        /* at a record that a writer moves or gives up meanwhile */
};

/* ---- readers ---- */

/* A reader that is free: there is one for everybody whom the semaphore lets pass. Threads begin to
 * look at different places, so that each finds its own again. */
static firn_cold_reader *take_reader(firn_cold *cold) {
    while (sem_wait(&cold->readers_free) != 0 && errno == EINTR) {
    }
    uint64_t self = (uint64_t)(uintptr_t)pthread_self();
    for (uint64_t i = self >> 12 ^ self >> 20;; i++) {
        firn_cold_reader *reader = &cold->readers[i % FIRN_COLD_READERS];
        unsigned free = 0;
        if (atomic_compare_exchange_strong_explicit(&reader->taken, &free, 1, memory_order_acquire,
                                                    memory_order_relaxed)) {
            return reader;
        }
    }
}

static void give_reader(firn_cold *cold, firn_cold_reader *reader) {
    atomic_store_explicit(&reader->taken, 0, memory_order_release);
    sem_post(&cold->readers_free);
}

/* ---- reading ---- */

bool firn_cold_identify(void *context, uint64_t sequence, const firn_bytes *bytes,
                        firn_backend_identity *identity) {
    const firn_cold *cold = context;
    firn_record record;
    if (firn_record_check(bytes->data, bytes->size, sequence) != NULL ||
        firn_record_parse(bytes->data, bytes->size, &record) != NULL) {
        return false;
    }
    *identity = (firn_backend_identity){
        firn_hash64(cold->seed, record.key, record.key_size),
        record.version,
        record.expires_ms,
    };
    return true;
}

typedef struct read_request {
    uint64_t hash;
    const void *key;
    size_t key_size;
    firn_cold_place place;
    void *place_context;
    firn_cold_meta *meta;
    bool quiet; /* leaves no trace */
    bool piece; /* a piece is wanted, and nothing else is */
} read_request;

static int damaged(firn_cold *cold, uint64_t sequence, const char *what) {
    firn_cold_count(&cold->counters.damaged, 1);
    return firn_detail_set(cold->detail, FIRN_ECORRUPT,
                           "%s: record %llu is damaged: %s; it counts as a miss, and a put of its "
                           "key replaces it",
                           cold->path, (unsigned long long)sequence, what);
}

/* Nothing of a record is believed before its checksum, except when its head alone is asked for and
 * it is large: then only its form is checked, since the checksum would read all of the value. */
static const char *check_record(const firn_bytes *bytes, uint64_t sequence, bool head_only,
                                firn_record *record) {
    const char *wrong = NULL;
    if (!head_only || bytes->size <= HEAD_CHECK_MAX) {
        wrong = firn_record_check(bytes->data, bytes->size, sequence);
    }
    if (wrong == NULL) {
        wrong = firn_record_parse(bytes->data, bytes->size, record);
    }
    return wrong != NULL ? wrong
                         : firn_decode_plausible(record->codec, record->payload,
                                                 record->payload_size, record->value_size);
}

/* What is stored of the hash counts from this version on, as far as the lines say that a killed
 * process left in the journal. */
static uint64_t void_below(const firn_cold_reader *reader, uint64_t hash) {
    return reader->voids != NULL ? firn_voids_below(reader->voids, hash) : 0;
}

/* FIRN_OK; FIRN_NOT_FOUND; else it cannot be told: FIRN_EIO, FIRN_ENOMEM. */
static int check_wanted(firn_cold *cold, const read_request *request, const firn_record *record) {
    if (request->key != NULL && (record->key_size != request->key_size ||
                                 memcmp(record->key, request->key, request->key_size) != 0)) {
        return FIRN_NOT_FOUND;
    }
    if (record->expires_ms != 0 && record->expires_ms <= firn_clock_now_ms(&cold->clock)) {
        firn_cold_count(&cold->counters.expired, request->quiet ? 0 : 1);
        return FIRN_NOT_FOUND;
    }
    if (cold->read_only) {
        if (firn_journal_voids(cold->journal, request->hash, record->version)) {
            return FIRN_NOT_FOUND;
        }
        /* The writer may have cleared something since. */
        int result = firn_clears_file_read(&cold->clears_file, cold->store_id);
        if (result != FIRN_OK) {
            return result;
        }
    }
    if (firn_record_cleared(record, cold->clears)) {
        firn_cold_count(&cold->counters.cleared, request->quiet ? 0 : 1);
        return FIRN_NOT_FOUND;
    }
    return FIRN_OK;
}

static int produce_value(firn_cold *cold, firn_cold_reader *reader, const read_request *request,
                         const firn_cold_meta *meta, const firn_record *record) {
    firn_dictionary *dictionary;
    const char *wrong;
    int result = firn_dictionaries_get(&cold->dictionaries, cold->ops, reader->session,
                                       record->dictionary, &dictionary, &wrong);
    if (result != FIRN_OK) {
        if (result == FIRN_ECORRUPT && cold->ops->overtaken(reader->session)) {
            return FIRN_AGAIN; /* it may have gone with the last record that needed it */
        }
        return result == FIRN_ECORRUPT ? damaged(cold, meta->sequence, wrong) : result;
    }
    void *to = request->place(request->place_context, meta);
    if (to == NULL) {
        return FIRN_ENOMEM;
    }
    wrong = firn_decode(&reader->decoders, record->codec, dictionary, to, record->value_size,
                        record->payload, record->payload_size);
    if (wrong == firn_decode_no_memory) {
        return firn_detail_set(cold->detail, FIRN_ENOMEM, "%s: %s", cold->path, wrong);
    }
    return wrong == NULL ? FIRN_OK : damaged(cold, meta->sequence, wrong);
}

static void mark_hit(firn_cold *cold, uint64_t hash) {
    _Atomic uint8_t *mark = &cold->hit_marks[hash & cold->hit_marks_mask];
    uint8_t tag = firn_cold_hit_tag(hash);
    if (atomic_load_explicit(mark, memory_order_relaxed) != tag) { /* spares the line a write */
        atomic_store_explicit(mark, tag, memory_order_relaxed);
    }
}

bool firn_cold_was_hit(const firn_cold *cold, uint64_t hash) {
    const _Atomic uint8_t *mark = &cold->hit_marks[hash & cold->hit_marks_mask];
    return atomic_load_explicit(mark, memory_order_relaxed) == firn_cold_hit_tag(hash);
}

const char *firn_cold_codec_name(unsigned codec) {
    const firn_codec *found = firn_codec_find(codec);
    return found != NULL ? found->name : "unknown";
}

/* Of a read-only handle, after the journal was asked: the writer tells of a removal in the log
 * before it takes the line from the journal. A line that was gone by then may have been there when
 * the record was looked up, so the log is asked once more. */
static bool is_still_there(firn_cold *cold, firn_cold_reader *reader, uint64_t hash,
                           uint64_t sequence) {
    uint64_t now;
    return !cold->ops->overtaken(reader->session) ||
           (cold->ops->locate(reader->session, hash, &now) == FIRN_OK && now == sequence);
}

/* FIRN_AGAIN: what was read was overtaken by a writer. */
static int use_record(firn_cold *cold, firn_cold_reader *reader, const read_request *request,
                      uint64_t sequence, const firn_bytes *bytes) {
    firn_record record;
    int result = FIRN_OK;
    const char *wrong = check_record(bytes, sequence, request->place == NULL, &record);
    if (wrong != NULL) {
        return cold->ops->overtaken(reader->session) ? FIRN_AGAIN : damaged(cold, sequence, wrong);
    }
    if (record.version < void_below(reader, request->hash)) {
        return FIRN_NOT_FOUND;
    }
    if ((record.part == FIRN_PART_PIECE) != request->piece) {
        return request->quiet ? FIRN_EXISTS : FIRN_NOT_FOUND;
    }
    result = check_wanted(cold, request, &record);
    if (result != FIRN_OK) {
        return result;
    }
    if (cold->read_only && !is_still_there(cold, reader, request->hash, sequence)) {
        return FIRN_AGAIN;
    }
    firn_cold_meta meta = {
        .part = record.part,
        .hash = request->hash,
        .version = record.version,
        .expires_ms = record.expires_ms,
        .written_ms = cold->created_ms + record.written_ms,
        .sequence = sequence,
        .attributes = record.attributes,
        .key = record.key,
        .key_size = record.key_size,
        .value_size = record.value_size,
        .stored_size = record.payload_size,
        .codec = record.codec,
        .dictionary = record.dictionary,
    };
    meta.attributes.traits.expires_ms = record.expires_ms;
    if (request->place != NULL) {
        result = produce_value(cold, reader, request, &meta, &record);
        if (!request->quiet) {
            mark_hit(cold, request->hash);
        }
    }
    if (result == FIRN_OK && request->meta != NULL) {
        *request->meta = meta;
        request->meta->key = NULL; /* they are gone with the session */
        request->meta->attributes.links = NULL;
    }
    return result;
}

static int read_once(firn_cold *cold, firn_cold_reader *reader, const read_request *request) {
    uint64_t sequence;
    firn_bytes bytes;
    int result = cold->ops->lookup(reader->session, request->hash, &sequence, &bytes);
    return result == FIRN_OK ? use_record(cold, reader, request, sequence, &bytes) : result;
}

static int read_in_session(firn_cold *cold, firn_cold_reader *reader, const read_request *request) {
    int result = FIRN_AGAIN;
    for (unsigned i = 0; i < ATTEMPTS && result == FIRN_AGAIN; i++) {
        result = read_once(cold, reader, request);
    }
    return result == FIRN_AGAIN ? FIRN_NOT_FOUND : result; /* it goes as fast as we look */
}

static int begin_session(firn_cold *cold, firn_cold_reader *reader) {
    reader->voids = atomic_load_explicit(&cold->voids, memory_order_acquire);
    if (reader->session == NULL) {
        int result = cold->ops->session_new(cold->backend, &reader->session);
        if (result != FIRN_OK) {
            reader->session = NULL;
            return result;
        }
    }
    return cold->ops->read_begin(reader->session);
}

static int read_with(firn_cold *cold, firn_cold_reader *reader, const read_request *request) {
    int result = begin_session(cold, reader);
    if (result == FIRN_OK) {
        result = read_in_session(cold, reader, request);
        cold->ops->read_end(reader->session);
    }
    return result;
}

static void count_read_error(firn_cold *cold, int result) {
    if (result == FIRN_EIO || result == FIRN_ENOMEM) {
        firn_cold_count(&cold->counters.read_errors, 1);
    }
}

int firn_cold_read(firn_cold *cold, uint64_t hash, const void *key, size_t key_size,
                   firn_cold_place place, void *place_context, firn_cold_meta *meta) {
    if (!firn_cold_may_hold(cold, hash)) { /* spares the reader too */
        return FIRN_NOT_FOUND;
    }
    read_request request = {hash, key, key_size, place, place_context, meta, false, false};
    firn_cold_reader *reader = take_reader(cold);
    int result = read_with(cold, reader, &request);
    give_reader(cold, reader);
    count_read_error(cold, result);
    return result;
}

int firn_cold_read_piece(firn_cold *cold, uint64_t hash, const void *key, size_t key_size,
                         firn_cold_place place, void *place_context) {
    read_request request = {hash, key, key_size, place, place_context, NULL, false, true};
    firn_cold_reader *reader = take_reader(cold);
    int result = read_with(cold, reader, &request);
    give_reader(cold, reader);
    count_read_error(cold, result);
    return result;
}

int firn_cold_locate(firn_cold *cold, uint64_t hash) {
    uint64_t sequence;
    read_request request = {.hash = hash, .quiet = true};
    firn_cold_reader *reader = take_reader(cold);
    int result = begin_session(cold, reader);
    if (result == FIRN_OK) {
        /* With a line that may mean the record, that has to be looked at. */
        result = void_below(reader, hash) == 0 ? cold->ops->locate(reader->session, hash, &sequence)
                                               : read_in_session(cold, reader, &request);
        cold->ops->read_end(reader->session);
    }
    give_reader(cold, reader);
    count_read_error(cold, result);
    return result == FIRN_EXISTS ? FIRN_OK : result; /* a piece */
}

int firn_cold_visit(firn_cold *cold, uint64_t hash, firn_cold_place place, void *place_context) {
    read_request request = {
        .hash = hash, .place = place, .place_context = place_context, .quiet = true};
    firn_cold_reader *reader = take_reader(cold);
    int result = read_with(cold, reader, &request);
    give_reader(cold, reader);
    count_read_error(cold, result == FIRN_EIO ? result : FIRN_OK);
    return result;
}

int firn_cold_walk(firn_cold *cold, uint64_t from, uint64_t *hashes, size_t most, size_t *count) {
    *count = 0;
    firn_cold_reader *reader = take_reader(cold);
    int result = begin_session(cold, reader);
    if (result == FIRN_OK) {
        result = cold->ops->walk(reader->session, from, hashes, most, count);
        cold->ops->read_end(reader->session);
    }
    give_reader(cold, reader);
    count_read_error(cold, result);
    return result;
}

/* ---- many at once ---- */

typedef struct placed {
    uint64_t place;
    size_t at;
} placed;

static int compare_placed(const void *a, const void *b) {
    const placed *left = a;
    const placed *right = b;
    return left->place < right->place ? -1 : left->place > right->place;
}

static int read_placed(firn_cold *cold, firn_cold_reader *reader, const read_request *request,
                       uint64_t place) {
    uint64_t sequence;
    firn_bytes bytes;
    if (place == 0) {
        return FIRN_NOT_FOUND;
    }
    int result = cold->ops->fetch(reader->session, place, &sequence, &bytes);
    if (result == FIRN_OK) {
        result = use_record(cold, reader, request, sequence, &bytes);
    }
    return result;
}

static int read_all(firn_cold *cold, firn_cold_reader *reader, firn_cold_read_item *items,
                    size_t count, firn_cold_place place) {
    uint64_t hashes[FIRN_COLD_READS_MAX] = {0};
    uint64_t places[FIRN_COLD_READS_MAX] = {0};
    placed order[FIRN_COLD_READS_MAX];
    for (size_t i = 0; i < count; i++) {
        hashes[i] = items[i].hash;
    }
    int result = cold->ops->lookup_many(reader->session, count, hashes, places);
    if (result != FIRN_OK) {
        return result;
    }
    for (size_t i = 0; i < count; i++) {
        order[i] = (placed){places[i], i};
    }
    qsort(order, count, sizeof *order, compare_placed);
    bool again[FIRN_COLD_READS_MAX] = {false};
    for (size_t i = 0; i < count; i++) {
        firn_cold_read_item *item = &items[order[i].at];
        read_request request = {item->hash,          item->key, item->key_size, place,
                                item->place_context, NULL,      false,          false};
        item->result = read_placed(cold, reader, &request, order[i].place);
        /* Also one that is gone may have been written anew at another place meanwhile. */
        again[order[i].at] =
            item->result == FIRN_AGAIN || (item->result == FIRN_NOT_FOUND && order[i].place != 0);
    }
    for (size_t i = 0; i < count; i++) {
        read_request request = {
            items[i].hash, items[i].key, items[i].key_size, place, items[i].place_context, NULL,
            false,         false};
        if (again[i]) {
            items[i].result = read_in_session(cold, reader, &request);
        }
    }
    return FIRN_OK;
}

void firn_cold_read_many(firn_cold *cold, firn_cold_read_item *items, size_t count,
                         firn_cold_place place) {
    firn_cold_reader *reader = take_reader(cold);
    int result = begin_session(cold, reader);
    if (result == FIRN_OK) {
        result = read_all(cold, reader, items, count, place);
        cold->ops->read_end(reader->session);
    }
    give_reader(cold, reader);
    for (size_t i = 0; i < count; i++) {
        items[i].result = result == FIRN_OK ? items[i].result : result;
        count_read_error(cold, items[i].result);
    }
}

bool firn_cold_may_hold(const firn_cold *cold, uint64_t hash) {
    return cold->ops->may_hold(cold->backend, hash);
}

bool firn_cold_has_old_lines(const firn_cold *cold) {
    return atomic_load_explicit(&cold->voids, memory_order_relaxed) != NULL;
}

/* ---- invalidation ---- */

int firn_cold_invalidate(firn_cold *cold, uint64_t hash, uint64_t version) {
    if (cold->read_only) {
        return FIRN_EREADONLY;
    }
    int result = firn_journal_append(cold->journal, hash, version);
    return result == FIRN_EIO
               ? firn_detail_set(cold->detail, FIRN_EIO, "%s/%s: was cut off by somebody",
                                 cold->path, FIRN_JOURNAL_FILE)
               : result;
}

size_t firn_cold_journal_room(const firn_cold *cold) {
    return firn_journal_room(cold->journal);
}

size_t firn_cold_journal_capacity(const firn_cold *cold) {
    (void)cold;
    return FIRN_JOURNAL_SLOTS;
}

int firn_cold_sync_journal(firn_cold *cold) {
    if (firn_journal_sync(cold->journal) == FIRN_OK) {
        return FIRN_OK;
    }
    return firn_detail_set(cold->detail, FIRN_EIO, "%s/%s: cannot sync: %s", cold->path,
                           FIRN_JOURNAL_FILE, strerror(errno));
}

int firn_cold_sync(firn_cold *cold, bool writer) {
    int result = cold->ops->sync(cold->backend, writer);
    if (result == FIRN_ECORRUPT) {
        firn_cold_count(&cold->counters.damaged, 1);
        if (cold->reclaimed != NULL) {
            cold->reclaimed(cold->reclaimed_context, 0, 0);
        }
        return FIRN_EIO;
    }
    if (result == FIRN_OK) {
        result = firn_cold_sync_journal(cold);
    }
    if (result == FIRN_OK) {
        result = firn_clears_file_sync(&cold->clears_file);
    }
    if (result == FIRN_OK) {
        firn_cold_count(&cold->counters.syncs, 1);
    }
    return result;
}

int firn_cold_clear(firn_cold *cold, const firn_clear_line *line) {
    return firn_clears_file_add(&cold->clears_file, line,
                                cold->durability == FIRN_DURABILITY_COMMIT);
}

/* ---- what it tells of itself ---- */

uint64_t firn_cold_seed(const firn_cold *cold) {
    return cold->seed;
}

uint64_t firn_cold_version_next(const firn_cold *cold) {
    return cold->version_next;
}

uint64_t firn_cold_store_id(const firn_cold *cold) {
    return cold->store_id;
}

const char *firn_cold_path(const firn_cold *cold) {
    return cold->path;
}

uint64_t firn_cold_record_max(const firn_cold *cold) {
    return cold->budget_bytes / 4; /* the log has always more than that to give */
}

uint64_t firn_cold_value_max(const firn_cold *cold, size_t key_size) {
    uint64_t most = firn_cold_record_max(cold);
    uint64_t rest = FIRN_RECORD_HEAD_MAX + (uint64_t)key_size;
    uint64_t value = most > rest ? most - rest : 0;
    return value < FIRN_VALUE_SIZE_MAX ? value : FIRN_VALUE_SIZE_MAX;
}

void firn_cold_batch_limits(const firn_cold *cold, size_t *items, size_t *bytes) {
    uint64_t items_of_budget = cold->budget_bytes / 65536;
    *items = items_of_budget < 16 ? 16 : items_of_budget > 1024 ? 1024 : (size_t)items_of_budget;
    uint64_t share = cold->budget_bytes / 16;
    *bytes = share < (4u << 20) ? (size_t)share : 4u << 20;
}

static uint64_t get(const _Atomic uint64_t *counter) {
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void firn_cold_note_usage(firn_cold *cold) {
    firn_backend_usage usage;
    firn_cold_counters *to = &cold->counters;
    cold->ops->usage(cold->backend, &usage);
    atomic_store_explicit(&to->entries, usage.entries, memory_order_relaxed);
    atomic_store_explicit(&to->live_bytes, usage.live_bytes, memory_order_relaxed);
}

/* A handle for reading has no commits of its own to learn from. *journal_entries: lines that are
 * not applied. */
static void catch_up(firn_cold *cold, uint64_t *journal_entries) {
    firn_backend_session *session;
    if (cold->ops->session_new(cold->backend, &session) == FIRN_OK) {
        if (cold->ops->read_begin(session) == FIRN_OK) {
            cold->ops->read_end(session);
        }
        cold->ops->session_free(session);
    }
    firn_cold_note_usage(cold);
    firn_journal_scan scan;
    firn_journal_scan_all(cold->journal, &scan, NULL, NULL);
    *journal_entries = scan.entries;
}

void firn_cold_get_stats(firn_cold *cold, firn_cold_stats *stats) {
    const firn_cold_counters *from = &cold->counters;
    firn_backend_usage usage;
    firn_backend_files files;
    cold->ops->usage(cold->backend, &usage);
    cold->ops->files(cold->backend, &files);
    uint64_t journal_entries = FIRN_JOURNAL_SLOTS - firn_journal_room(cold->journal);
    if (cold->read_only) {
        catch_up(cold, &journal_entries);
    }
    *stats = (firn_cold_stats){
        .budget_bytes = cold->budget_bytes,
        .entries = get(&from->entries),
        .live_bytes = get(&from->live_bytes),
        .file_bytes = files.all_bytes,
        .commits = get(&from->commits),
        .value_bytes = get(&from->value_bytes),
        .stored_bytes = get(&from->stored_bytes),
        .reclaimed = get(&from->reclaimed),
        .expired = get(&from->expired),
        .cleared = get(&from->cleared),
        .collisions = get(&from->collisions),
        .damaged = get(&from->damaged) + firn_journal_mended(cold->journal),
        .write_errors = get(&from->write_errors),
        .read_errors = get(&from->read_errors),
        .syncs = get(&from->syncs),
        .journal_entries = journal_entries,
        .filter_bytes = usage.filter_bytes,
    };
}
