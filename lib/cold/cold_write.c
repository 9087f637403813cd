/* The cold tier: writing batches, applying the journal, reclaiming the oldest. See cold.h, and
 * cold_internal.h for who does the rest.
 *
 * A batch is encoded and compressed before its transaction begins. If the backend has no more room
 * for it, the transaction is given up, room is made in commits of their own, and it is tried again; if that
 * does not help the batch is cut in two, and a single record that never fits is refused. */
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "cold/cold_internal.h"
#include "cold/record.h"

enum {
    TRIES = 12,
    READERS_WAIT_MS = 20,
    ARENA_KEPT = 8 << 20, /* bytes */
    USAGE_EVERY = 16,     /* removals between looks at the usage */
};

/* A record ready to be put. */
typedef struct encoded {
    uint64_t sequence;
    size_t head_at; /* in the arena: head and key */
    size_t head_size;
    const void *payload;
    size_t payload_size;
} encoded;

/* What one call of firn_cold_write works on. */
typedef struct batch {
    firn_cold_item *items;
    encoded *encoded; /* beside items */
    uint64_t version_next;
    uint64_t journal_begin;
    uint64_t journal_end;
    uint64_t first_sequence; /* of this batch: reclaim stops there */
} batch;

/* ---- encoding ---- */

static int reserve_arena(firn_cold *cold, size_t size) {
    if (size <= cold->arena_size) {
        return FIRN_OK;
    }
    firn_heap_free(cold->heap, cold->arena, cold->arena_size);
    cold->arena_size = 0;
    cold->arena = firn_heap_alloc(cold->heap, size);
    if (cold->arena == NULL) {
        return firn_detail_set(cold->detail, FIRN_ENOMEM,
                               "%s: no memory to encode %zu bytes of records", cold->path, size);
    }
    cold->arena_size = size;
    return FIRN_OK;
}

static void trim_arena(firn_cold *cold) {
    if (cold->arena_size > ARENA_KEPT) {
        firn_heap_free(cold->heap, cold->arena, cold->arena_size);
        cold->arena = NULL;
        cold->arena_size = 0;
    }
}

static bool may_compress(const firn_cold *cold, size_t size) {
    return cold->compression_level != FIRN_COMPRESSION_OFF && size > 0 &&
           size >= cold->compression_min_bytes;
}

/* An encoding must save a thirty-second to be worth its decoding. */
static size_t encoding_room(size_t size) {
    return size - size / 32 - 1;
}

static size_t arena_needed(const firn_cold *cold, const firn_cold_item *items, size_t count) {
    size_t needed = 1;
    for (size_t i = 0; i < count; i++) {
        if (!items[i].remove) {
            needed += FIRN_RECORD_HEAD_MAX + items[i].key_size;
            needed += may_compress(cold, items[i].value_size) ? items[i].value_size : 0;
        }
    }
    return needed;
}

/* Returns the arena's bytes that were used. */
static size_t encode(firn_cold *cold, const firn_cold_item *item, uint64_t written_ms, size_t at,
                     encoded *out) {
    firn_record record = {
        .codec = firn_codec_none.number,
        .version = item->version,
        .expires_ms = item->expires_ms,
        .written_ms = written_ms,
        .key_size = item->key_size,
        .value_size = item->value_size,
    };
    unsigned char *head = cold->arena + at;
    unsigned char *payload = head + FIRN_RECORD_HEAD_MAX + item->key_size;
    size_t used = 0;
    if (may_compress(cold, item->value_size)) {
        used = firn_codec_zstd.encode(cold->encoder, cold->compression_level, payload,
                                      encoding_room(item->value_size), item->value,
                                      item->value_size);
        record.codec = used > 0 ? firn_codec_zstd.number : firn_codec_none.number;
    }
    *out = (encoded){
        .sequence = cold->meta.sequence_next++,
        .head_at = at,
        .payload = used > 0 ? payload : item->value,
        .payload_size = used > 0 ? used : item->value_size,
    };
    out->head_size = firn_record_head(&record, head);
    memcpy(head + out->head_size, item->key, item->key_size);
    out->head_size += item->key_size;
    firn_record_seal(head, out->head_size, out->payload, out->payload_size, out->sequence);
    return FIRN_RECORD_HEAD_MAX + item->key_size + used;
}

static int encode_all(firn_cold *cold, batch *self, size_t count) {
    int result = reserve_arena(cold, arena_needed(cold, self->items, count));
    if (result != FIRN_OK) {
        return result;
    }
    uint64_t now_ms = firn_clock_now_ms(&cold->clock);
    uint64_t written_ms = now_ms > cold->created_ms ? now_ms - cold->created_ms : 0;
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (!self->items[i].remove) {
            at += encode(cold, &self->items[i], written_ms, at, &self->encoded[i]);
        }
    }
    return FIRN_OK;
}

/* ---- one transaction ---- */

/* An index entry that was gone already is no fault. */
static int remove_record(firn_cold *cold, uint64_t hash, uint64_t sequence) {
    int result = cold->ops->remove(cold->backend, hash, sequence);
    return result == FIRN_NOT_FOUND ? FIRN_OK : result;
}

/* Removes what is stored of the hash, if it is older than version. */
static int void_stored(firn_cold *cold, uint64_t hash, uint64_t version) {
    uint64_t sequence;
    firn_bytes bytes;
    int result = cold->ops->find(cold->backend, hash, &sequence, &bytes);
    if (result != FIRN_OK) {
        return result == FIRN_NOT_FOUND ? FIRN_OK : result;
    }
    firn_record record;
    bool sound = firn_record_parse(bytes.data, bytes.size, &record) == NULL;
    if (sound && record.version >= version) {
        return FIRN_OK;
    }
    return remove_record(cold, hash, sequence);
}

static int put_item(firn_cold *cold, const firn_cold_item *item, const encoded *ready) {
    uint64_t sequence;
    firn_bytes bytes;
    int result = cold->ops->find(cold->backend, item->hash, &sequence, &bytes);
    if (result == FIRN_OK) {
        firn_record old;
        bool sound = firn_record_parse(bytes.data, bytes.size, &old) == NULL;
        if (sound && old.version >= item->version) {
            return FIRN_OK; /* written before, or overtaken by a newer one */
        }
        if (sound && (old.key_size != item->key_size ||
                      memcmp(old.key, item->key, item->key_size) != 0)) {
            firn_cold_count(&cold->counters.collisions, 1);
        }
        result = cold->ops->remove(cold->backend, item->hash, sequence);
    }
    if (result != FIRN_OK && result != FIRN_NOT_FOUND) {
        return result;
    }
    firn_bytes parts[] = {
        {cold->arena + ready->head_at, ready->head_size},
        {ready->payload, ready->payload_size},
    };
    return cold->ops->put(cold->backend, item->hash, ready->sequence, parts, 2);
}

/* Removes the oldest record, and notes the loss. FIRN_NOT_FOUND: there is none below `before`. */
static int reclaim_oldest(firn_cold *cold, uint64_t before) {
    uint64_t sequence;
    firn_bytes bytes;
    int result = cold->ops->oldest(cold->backend, 0, &sequence, &bytes);
    if (result != FIRN_OK) {
        return result;
    }
    if (sequence >= before || cold->losses_used == FIRN_COLD_LOSSES_MAX) {
        return FIRN_NOT_FOUND;
    }
    firn_record record;
    if (firn_record_parse(bytes.data, bytes.size, &record) != NULL) {
        /* Its key cannot be trusted: whatever points to it goes too. */
        firn_cold_count(&cold->counters.damaged, 1);
        result = cold->ops->sweep(cold->backend, sequence);
        return result == FIRN_OK ? remove_record(cold, 0, sequence) : result;
    }
    uint64_t hash = firn_hash64(cold->seed, record.key, record.key_size);
    cold->losses[cold->losses_used++] = (firn_cold_loss){hash, record.version};
    bool expired =
        record.expires_ms != 0 && record.expires_ms <= firn_clock_now_ms(&cold->clock);
    firn_cold_count(expired ? &cold->counters.expired : &cold->counters.reclaimed, 1);
    return remove_record(cold, hash, sequence);
}

/* Reclaims until no more than live_max is in use, or nothing is left that may go. */
static int reclaim_to(firn_cold *cold, uint64_t live_max, uint64_t before) {
    int result = FIRN_OK;
    while (result == FIRN_OK) {
        firn_backend_usage usage;
        result = cold->ops->usage(cold->backend, &usage);
        if (result != FIRN_OK || usage.live_bytes <= live_max) {
            return result;
        }
        for (unsigned i = 0; i < USAGE_EVERY && result == FIRN_OK; i++) {
            result = reclaim_oldest(cold, before);
        }
    }
    return result == FIRN_NOT_FOUND ? FIRN_OK : result;
}

static int fill(firn_cold *cold, const batch *self, size_t first, size_t count) {
    for (size_t i = first; i < first + count; i++) {
        const firn_cold_item *item = &self->items[i];
        int result = item->remove ? void_stored(cold, item->hash, item->version)
                                  : put_item(cold, item, &self->encoded[i]);
        if (result != FIRN_OK) {
            return result;
        }
    }
    for (uint64_t at = self->journal_begin; at < self->journal_end; at++) {
        firn_journal_entry entry = firn_journal_at(cold->journal, at);
        int result = void_stored(cold, entry.hash, entry.version);
        if (result != FIRN_OK) {
            return result;
        }
    }
    return reclaim_to(cold, cold->live_max, self->first_sequence);
}

/* After a commit: what others are to know of it. */
static void publish(firn_cold *cold) {
    firn_fingerprint fingerprint;
    if (cold->ops->fingerprint(cold->backend, &fingerprint) == FIRN_OK) {
        firn_journal_set_fingerprint(cold->journal, &fingerprint);
    }
    firn_cold_count(&cold->counters.commits, 1);
    if (cold->reclaimed != NULL) {
        for (size_t i = 0; i < cold->losses_used; i++) {
            cold->reclaimed(cold->reclaimed_context, cold->losses[i].hash,
                            cold->losses[i].version);
        }
    }
    cold->losses_used = 0;
}

static void set_gauges(firn_cold *cold, const firn_backend_usage *usage) {
    atomic_store_explicit(&cold->counters.entries, usage->entries, memory_order_relaxed);
    atomic_store_explicit(&cold->counters.live_bytes, usage->live_bytes, memory_order_relaxed);
    atomic_store_explicit(&cold->counters.file_bytes, usage->file_bytes, memory_order_relaxed);
}

/* Ends what was begun, by a commit or, if result says so, by giving it up. */
static int finish(firn_cold *cold, int result) {
    firn_backend_usage usage;
    if (result == FIRN_OK) {
        result = cold->ops->set_meta(cold->backend, &cold->meta);
    }
    if (result == FIRN_OK) {
        result = cold->ops->usage(cold->backend, &usage);
    }
    if (result != FIRN_OK) {
        cold->ops->abort(cold->backend);
        cold->losses_used = 0;
        return result;
    }
    result = cold->ops->commit(cold->backend);
    if (result != FIRN_OK) {
        cold->losses_used = 0;
        return result;
    }
    publish(cold);
    firn_cold_note_usage(cold);
    return FIRN_OK;
}

static int transact(firn_cold *cold, const batch *self, size_t first, size_t count) {
    int result = cold->ops->begin(cold->backend);
    return result == FIRN_OK ? finish(cold, fill(cold, self, first, count)) : result;
}

int firn_cold_note_usage(firn_cold *cold) {
    firn_backend_session *session;
    int result = cold->ops->session_new(cold->backend, &session);
    if (result != FIRN_OK) {
        return result;
    }
    firn_backend_usage usage;
    result = cold->ops->read_begin(session);
    if (result == FIRN_OK) {
        result = cold->ops->read_usage(session, &usage);
        cold->ops->read_end(session);
    }
    cold->ops->session_free(session);
    if (result == FIRN_OK) {
        set_gauges(cold, &usage);
    }
    return result;
}

/* ---- making room ---- */

static int set_map(firn_cold *cold, uint64_t bytes) {
    cold->map_bytes = bytes;
    return cold->ops->resize(cold->backend, &cold->map_bytes);
}

/* One commit that only reclaims, and one more, since pages freed by a commit serve again only
 * after the next. */
static int reclaim_now(firn_cold *cold, uint64_t bytes, bool everything) {
    uint64_t live = atomic_load_explicit(&cold->counters.live_bytes, memory_order_relaxed);
    int result = set_map(cold, cold->budget_bytes);
    if (result == FIRN_OK) {
        result = cold->ops->begin(cold->backend);
    }
    if (result == FIRN_OK) {
        result = finish(cold, everything ? reclaim_to(cold, 0, UINT64_MAX)
                                         : reclaim_to(cold, live > bytes ? live - bytes : 0,
                                                      UINT64_MAX));
    }
    for (unsigned i = 0; i < 2 && result == FIRN_OK; i++) {
        cold->ops->wait_readers(cold->backend, READERS_WAIT_MS);
        cold->meta.sequence_next++; /* so that there is something to commit */
        result = cold->ops->begin(cold->backend);
        if (result == FIRN_OK) {
            result = finish(cold, FIRN_OK);
        }
    }
    return result;
}

/* The transaction was full: lets the file grow while it may, then takes from the old end, more
 * with every try. */
static int make_room(firn_cold *cold, uint64_t needed, unsigned attempt) {
    if (cold->map_bytes < cold->normal_bytes) {
        uint64_t bytes = cold->map_bytes * 2;
        bytes = bytes > cold->map_bytes + needed * 2 ? bytes : cold->map_bytes + needed * 2;
        return set_map(cold, bytes < cold->normal_bytes ? bytes : cold->normal_bytes);
    }
    uint64_t bytes = needed + (cold->budget_bytes / 16 << (attempt < 4 ? attempt : 4));
    int result = reclaim_now(cold, bytes, attempt + 3 >= TRIES);
    if (result == FIRN_OK && attempt + 3 < TRIES) {
        result = set_map(cold, cold->normal_bytes);
    }
    return result;
}

static uint64_t bytes_of(const firn_cold *cold, const batch *self, size_t first, size_t count) {
    uint64_t sum = 0;
    for (size_t i = first; i < first + count; i++) {
        sum += self->items[i].remove
                   ? 0
                   : self->encoded[i].head_size + self->encoded[i].payload_size + 64;
    }
    return sum + 16 * (uint64_t)cold->page_bytes;
}

static int refuse(firn_cold *cold, batch *self, size_t at) {
    firn_cold_item *item = &self->items[at];
    item->result = firn_detail_set(cold->detail, FIRN_ETOOLARGE,
                                   "%s: a value of %zu bytes does not fit into cold_bytes (%llu)",
                                   cold->path, item->value_size,
                                   (unsigned long long)cold->budget_bytes);
    firn_cold_item removal = {.hash = item->hash, .version = item->version, .remove = true};
    batch alone = *self;
    alone.items = &removal;
    return transact(cold, &alone, 0, 1);
}

/* A read-only neighbour may hold old pages; so a batch that does not fit now is cut, and tried in
 * smaller parts. A part that was committed and comes again with the whole is passed over. */
static int write_part(firn_cold *cold, batch *self, size_t first, size_t count) {
    int result = FIRN_BACKEND_FULL;
    unsigned tries = count > 1 ? TRIES / 3 : TRIES;
    for (unsigned i = 0; i < tries && result == FIRN_BACKEND_FULL; i++) {
        result = transact(cold, self, first, count);
        if (result == FIRN_BACKEND_FULL) {
            unsigned attempt = count > 1 ? i / 2 : i;
            int made = make_room(cold, bytes_of(cold, self, first, count), attempt);
            if (made != FIRN_OK) {
                return made == FIRN_BACKEND_FULL
                           ? firn_detail_set(cold->detail, FIRN_ENOSPC,
                                             "%s: no room to reclaim: a reader keeps old pages in "
                                             "use, or cold_bytes is too small",
                                             cold->path)
                           : made;
            }
        }
    }
    if (result != FIRN_BACKEND_FULL) {
        return result;
    }
    if (count > 1) {
        result = write_part(cold, self, first, count / 2);
        return result == FIRN_OK ? write_part(cold, self, first + count / 2, count - count / 2)
                                 : result;
    }
    if (count == 1 && !self->items[first].remove) {
        return refuse(cold, self, first);
    }
    return firn_detail_set(cold->detail, FIRN_ENOSPC,
                           "%s: no room to write invalidations: raise cold_bytes", cold->path);
}

/* ---- the whole ---- */

static void count_written(firn_cold *cold, const batch *self, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!self->items[i].remove && self->items[i].result == FIRN_OK) {
            firn_cold_count(&cold->counters.value_bytes, self->items[i].value_size);
            firn_cold_count(&cold->counters.stored_bytes, self->encoded[i].payload_size);
        }
    }
}

static int write_batch(firn_cold *cold, batch *self, size_t count) {
    for (size_t i = 0; i < count; i++) {
        self->items[i].result = FIRN_OK;
    }
    self->first_sequence = cold->meta.sequence_next;
    int result = encode_all(cold, self, count);
    if (result == FIRN_OK) {
        cold->meta.version_next = self->version_next;
        result = write_part(cold, self, 0, count);
    }
    trim_arena(cold);
    if (result == FIRN_OK) {
        firn_journal_release(cold->journal, self->journal_end);
        count_written(cold, self, count);
    }
    return result;
}

int firn_cold_write(firn_cold *cold, firn_cold_item *items, size_t count, uint64_t version_next) {
    batch self = {.items = items, .version_next = version_next};
    firn_journal_range(cold->journal, &self.journal_begin, &self.journal_end);
    if (count == 0 && self.journal_begin == self.journal_end) {
        return FIRN_OK;
    }
    size_t size = (count + 1) * sizeof *self.encoded;
    self.encoded = firn_heap_zalloc(cold->heap, size);
    int result = self.encoded != NULL ? write_batch(cold, &self, count) : FIRN_ENOMEM;
    firn_heap_free(cold->heap, self.encoded, size);
    if (result != FIRN_OK) {
        firn_cold_count(&cold->counters.write_errors, 1);
    }
    return result;
}

int firn_cold_apply_entries(firn_cold *cold, const firn_journal_entry *entries, size_t count) {
    enum { CHUNK = 4096 };
    firn_cold_item *items = firn_heap_zalloc(cold->heap, CHUNK * sizeof *items);
    if (items == NULL) {
        return FIRN_ENOMEM;
    }
    int result = FIRN_OK;
    for (size_t first = 0; first < count && result == FIRN_OK; first += CHUNK) {
        size_t part = count - first < CHUNK ? count - first : CHUNK;
        for (size_t i = 0; i < part; i++) {
            items[i] = (firn_cold_item){.hash = entries[first + i].hash,
                                        .version = entries[first + i].version,
                                        .remove = true};
        }
        batch self = {
            .items = items,
            .version_next = cold->version_next,
            .first_sequence = cold->meta.sequence_next,
        };
        cold->meta.version_next = cold->version_next;
        size_t size = part * sizeof *self.encoded;
        self.encoded = firn_heap_zalloc(cold->heap, size);
        result = self.encoded != NULL ? write_part(cold, &self, 0, part) : FIRN_ENOMEM;
        firn_heap_free(cold->heap, self.encoded, size);
    }
    firn_heap_free(cold->heap, items, CHUNK * sizeof *items);
    return result;
}
