/* The cold tier: writing batches, applying the journal, reclaiming the oldest. See cold.h, and
 * cold_internal.h for who does the rest.
 *
 * A batch is one transaction. If the backend has no room for it, the transaction is given up; the
 * file grows while it may, and then room is made from the old end in commits of their own. If that
 * does not help, the batch is cut in two; a single record that does not even fit into an empty
 * store is refused. Counters and losses are collected in cold->tally and told only after the
 * commit. */
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "cold/cold_internal.h"
#include "cold/record.h"

enum {
    BATCH_RELIEFS = 2,       /* times room is made for a batch before it is cut in two */
    RECORD_RELIEFS = 12,     /* and for one record before it is refused; the last empty the store */
    READERS_WAIT_MS = 1000,  /* a reader that keeps old pages longer than that blocks writing */
    USAGE_EVERY = 16,        /* removals between looks at the usage */
    JOURNAL_REMOVALS = 4096, /* records that the journal removes in one commit, at the most */
};

/* What one call works on. */
typedef struct work {
    firn_cold_item *items;
    firn_cold_encoded *encoded; /* beside items */
    uint64_t journal_at;        /* slots before are applied and committed */
    uint64_t journal_end;
    uint64_t journal_next;     /* slots before are applied in the current transaction */
    unsigned journal_removals; /* at the most, in one transaction; 0: the journal waits */
} work;

/* ---- one transaction ---- */

static int begin(firn_cold *cold) {
    cold->tally = (firn_cold_tally){0};
    cold->losses_used = 0;
    return cold->ops->begin(cold->backend);
}

/* After a commit: what others are to know of it. */
static void publish(firn_cold *cold, const firn_backend_usage *usage) {
    firn_cold_counters *to = &cold->counters;
    const firn_cold_tally *tally = &cold->tally;
    firn_fingerprint fingerprint = {.file_bytes = usage->file_bytes};
    if (cold->ops->fingerprint(cold->backend, &fingerprint) == FIRN_OK) {
        firn_journal_set_fingerprint(cold->journal, &fingerprint);
    }
    atomic_store_explicit(&to->entries, usage->entries, memory_order_relaxed);
    atomic_store_explicit(&to->live_bytes, usage->live_bytes, memory_order_relaxed);
    atomic_store_explicit(&to->file_bytes, fingerprint.file_bytes, memory_order_relaxed);
    firn_cold_count(&to->commits, 1);
    firn_cold_count(&to->value_bytes, tally->value_bytes);
    firn_cold_count(&to->stored_bytes, tally->stored_bytes);
    firn_cold_count(&to->reclaimed, tally->reclaimed);
    firn_cold_count(&to->expired, tally->expired);
    firn_cold_count(&to->collisions, tally->collisions);
    firn_cold_count(&to->damaged, tally->damaged);
    for (size_t i = 0; cold->reclaimed != NULL && i < cold->losses_used; i++) {
        cold->reclaimed(cold->reclaimed_context, cold->losses[i].hash, cold->losses[i].version);
    }
}

/* Ends what was begun: by a commit or, if result says so, by giving it up. */
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
        return result;
    }
    result = cold->ops->commit(cold->backend);
    if (result == FIRN_OK) {
        publish(cold, &usage);
    }
    return result;
}

/* ---- changes within a transaction ---- */

/* Whether the record found is newer than version, and may be believed. The checksum is looked at
 * only when the head claims so: a damaged record must not keep others out. */
static bool is_newer(firn_cold *cold, const firn_bytes *bytes, uint64_t sequence,
                     uint64_t version) {
    firn_record record;
    if (firn_record_parse(bytes->data, bytes->size, &record) != NULL || record.version <= version) {
        return false;
    }
    bool sound = firn_record_check(bytes->data, bytes->size, sequence) == NULL;
    cold->tally.damaged += sound ? 0 : 1;
    return sound;
}

/* An index entry that does not point to the record, though it should, is damage: whatever does is
 * looked for. */
static int remove_record(firn_cold *cold, uint64_t hash, uint64_t sequence) {
    int result = cold->ops->remove(cold->backend, hash, sequence);
    return result == FIRN_NOT_FOUND ? cold->ops->sweep(cold->backend, sequence) : result;
}

/* Removes what is stored of the hash, if its version is below `below`, which is not 0. */
static int void_stored(firn_cold *cold, uint64_t hash, uint64_t below, unsigned *removals) {
    uint64_t sequence;
    firn_bytes bytes;
    int result = cold->ops->find(cold->backend, hash, &sequence, &bytes);
    if (result != FIRN_OK) {
        return result == FIRN_NOT_FOUND ? FIRN_OK : result;
    }
    if (is_newer(cold, &bytes, sequence, below - 1)) {
        return FIRN_OK;
    }
    ++*removals;
    return remove_record(cold, hash, sequence);
}

static bool has_other_key(const firn_bytes *bytes, const firn_cold_item *item) {
    firn_record record;
    return firn_record_parse(bytes->data, bytes->size, &record) == NULL &&
           (record.key_size != item->key_size ||
            memcmp(record.key, item->key, item->key_size) != 0);
}

static int put_item(firn_cold *cold, const firn_cold_item *item, const firn_cold_encoded *ready) {
    uint64_t sequence;
    firn_bytes bytes;
    int result = cold->ops->find(cold->backend, item->hash, &sequence, &bytes);
    if (result == FIRN_OK) {
        if (is_newer(cold, &bytes, sequence, item->version)) {
            return FIRN_OK;
        }
        cold->tally.collisions += has_other_key(&bytes, item) ? 1 : 0;
        result = remove_record(cold, item->hash, sequence);
    }
    if (result != FIRN_OK && result != FIRN_NOT_FOUND) {
        return result;
    }
    cold->tally.value_bytes += item->value_size;
    cold->tally.stored_bytes += ready->payload_size;
    firn_bytes parts[] = {
        {ready->head, ready->head_size},
        {ready->payload, ready->payload_size},
    };
    return cold->ops->put(cold->backend, item->hash, ready->sequence, parts, 2);
}

static int apply_item(firn_cold *cold, firn_cold_item *item, const firn_cold_encoded *ready) {
    unsigned removals = 0;
    item->result = FIRN_OK;
    if (ready->overtaken) {
        return FIRN_OK;
    }
    if (ready->refused) {
        item->result = FIRN_ETOOLARGE;
        return void_stored(cold, item->hash, item->version + 1, &removals);
    }
    return item->remove ? void_stored(cold, item->hash, item->version, &removals)
                        : put_item(cold, item, ready);
}

static int apply_journal(firn_cold *cold, work *self) {
    unsigned removals = 0;
    int result = FIRN_OK;
    self->journal_next = self->journal_at;
    while (result == FIRN_OK && self->journal_next < self->journal_end &&
           removals < self->journal_removals) {
        firn_journal_entry entry = firn_journal_at(cold->journal, self->journal_next++);
        if (entry.version != 0) { /* empty, or damaged */
            result = void_stored(cold, entry.hash, entry.version, &removals);
        }
    }
    return result;
}

/* ---- reclaiming within a transaction ---- */

/* Removes the oldest record and notes the loss. FIRN_NOT_FOUND: there is none below `before`, or
 * `losses_max` is reached. */
static int reclaim_oldest(firn_cold *cold, uint64_t before, size_t losses_max) {
    uint64_t sequence;
    firn_bytes bytes;
    int result = cold->ops->oldest(cold->backend, 0, &sequence, &bytes);
    if (result != FIRN_OK) {
        return result;
    }
    if (sequence >= before || cold->losses_used >= losses_max) {
        return FIRN_NOT_FOUND;
    }
    firn_record record;
    uint64_t hash = 0; /* of a damaged record: then the index is searched for what points to it */
    if (firn_record_parse(bytes.data, bytes.size, &record) == NULL) {
        hash = firn_hash64(cold->seed, record.key, record.key_size);
        bool expired =
            record.expires_ms != 0 && record.expires_ms <= firn_clock_now_ms(&cold->clock);
        cold->tally.expired += expired ? 1 : 0;
        cold->tally.reclaimed += expired ? 0 : 1;
        cold->losses[cold->losses_used++] = (firn_cold_loss){hash, record.version};
    } else {
        cold->tally.damaged++;
    }
    return remove_record(cold, hash, sequence);
}

/* Reclaims until no more than live_max is in use, or nothing is left that may go. */
static int reclaim_to(firn_cold *cold, uint64_t live_max, uint64_t before, size_t losses_max) {
    int result = FIRN_OK;
    while (result == FIRN_OK) {
        firn_backend_usage usage;
        result = cold->ops->usage(cold->backend, &usage);
        if (result == FIRN_OK && usage.live_bytes <= live_max) {
            return FIRN_OK;
        }
        for (unsigned i = 0; i < USAGE_EVERY && result == FIRN_OK; i++) {
            result = reclaim_oldest(cold, before, losses_max);
        }
    }
    return result == FIRN_NOT_FOUND ? FIRN_OK : result;
}

/* ---- making room, in commits of its own ---- */

static uint64_t live_bytes(const firn_cold *cold) {
    return atomic_load_explicit(&cold->counters.live_bytes, memory_order_relaxed);
}

static uint64_t entries(const firn_cold *cold) {
    return atomic_load_explicit(&cold->counters.entries, memory_order_relaxed);
}

static int set_map(firn_cold *cold, uint64_t bytes) {
    cold->map_bytes = bytes;
    return cold->ops->resize(cold->backend, &cold->map_bytes);
}

/* The last resort of a store so full that nothing can be reclaimed: an empty cache is still a
 * right one. */
static int clear_all(firn_cold *cold) {
    cold->tally.reclaimed = entries(cold);
    int result = cold->ops->begin(cold->backend);
    cold->losses_used = 0;
    if (result == FIRN_OK) {
        result = finish(cold, cold->ops->clear(cold->backend));
    }
    return result;
}

/* Reclaims down to live_max. When not even that finds room, smaller steps do with less. */
static int reclaim_now(firn_cold *cold, uint64_t live_max) {
    size_t step = FIRN_COLD_LOSSES_MAX;
    int result = FIRN_OK;
    while ((result == FIRN_OK && live_bytes(cold) > live_max && entries(cold) > 0) ||
           result == FIRN_BACKEND_FULL) {
        if (result == FIRN_BACKEND_FULL) {
            if (step == 1) {
                return clear_all(cold);
            }
            step = step > 16 ? step / 16 : 1;
        }
        uint64_t before = entries(cold);
        result = begin(cold);
        if (result == FIRN_OK) {
            result = finish(cold, reclaim_to(cold, live_max, UINT64_MAX, step));
        }
        if (result == FIRN_OK && entries(cold) == before) {
            break;
        }
    }
    return result;
}

/* Pages freed by a commit serve again only after the next one, and only if no reader sees them. */
static int let_pages_age(firn_cold *cold) {
    int result = FIRN_OK;
    for (unsigned i = 0; i < 2 && result == FIRN_OK; i++) {
        if (!cold->ops->wait_readers(cold->backend, READERS_WAIT_MS)) {
            return firn_detail_set(cold->detail, FIRN_ENOSPC,
                                   "%s: another process has been reading for too long and keeps "
                                   "space from reuse; end it",
                                   cold->path);
        }
        cold->meta.sequence_next++; /* so that there is something to commit */
        result = begin(cold);
        if (result == FIRN_OK) {
            result = finish(cold, FIRN_OK);
        }
    }
    return result;
}

/* Reclaims until `needed` bytes ought to fit, and further with every attempt, since a large record
 * needs pages in a row. */
static int relieve(firn_cold *cold, uint64_t needed, unsigned attempt) {
    uint64_t live = live_bytes(cold);
    uint64_t most = cold->normal_bytes / 16 * 15;
    uint64_t top = most > needed ? most - needed : 0;
    top = live < top ? live : top;
    uint64_t freed = cold->budget_bytes / 32 << (attempt < 5 ? attempt : 5);
    int result = set_map(cold, cold->budget_bytes);
    if (result == FIRN_OK) {
        result = reclaim_now(cold, top > freed ? top - freed : 0);
    }
    if (result == FIRN_OK) {
        result = let_pages_age(cold);
    }
    if (result == FIRN_OK) {
        result = cold->ops->squeeze(cold->backend, needed);
    }
    if (result == FIRN_OK) {
        result = let_pages_age(cold);
    }
    /* The last attempts may use what is else kept for reclaiming. */
    if (result == FIRN_OK && attempt + 2 < RECORD_RELIEFS) {
        result = set_map(cold, cold->normal_bytes);
    }
    return result;
}

/* An ordinary batch ought to find room: if it does not, the store is kept emptier from now on. */
static void lower_live_max(firn_cold *cold) {
    uint64_t lower = cold->live_max - cold->normal_bytes / 32;
    cold->live_max = lower > cold->normal_bytes / 2 ? lower : cold->normal_bytes / 2;
}

/* FIRN_BACKEND_FULL: the attempts are used up. */
static int make_room(firn_cold *cold, uint64_t needed, unsigned attempts, unsigned *attempt) {
    if (cold->map_bytes < cold->normal_bytes) {
        uint64_t more = needed * 2 > cold->map_bytes ? needed * 2 : cold->map_bytes;
        uint64_t bytes = cold->map_bytes + more;
        return set_map(cold, bytes < cold->normal_bytes ? bytes : cold->normal_bytes);
    }
    if (*attempt >= attempts) {
        return FIRN_BACKEND_FULL;
    }
    if (needed <= cold->budget_bytes / 8) {
        lower_live_max(cold);
    }
    return relieve(cold, needed, (*attempt)++);
}

/* ---- the whole ---- */

static int transact(firn_cold *cold, work *self, size_t first, size_t count) {
    int result = begin(cold);
    if (result != FIRN_OK) {
        return result;
    }
    uint64_t protect = UINT64_MAX; /* what this transaction writes is not reclaimed by it */
    for (size_t i = first; i < first + count && result == FIRN_OK; i++) {
        const firn_cold_encoded *ready = &self->encoded[i];
        protect = protect == UINT64_MAX && ready->sequence != 0 ? ready->sequence : protect;
        result = apply_item(cold, &self->items[i], ready);
    }
    if (result == FIRN_OK) {
        result = apply_journal(cold, self);
    }
    if (result == FIRN_OK) {
        result = reclaim_to(cold, cold->live_max, protect, FIRN_COLD_LOSSES_MAX);
    }
    result = finish(cold, result);
    if (result == FIRN_OK) {
        self->journal_at = self->journal_next;
    }
    return result;
}

static uint64_t bytes_of(const firn_cold *cold, const work *self, size_t first, size_t count) {
    uint64_t sum = 16 * (uint64_t)cold->page_bytes;
    for (size_t i = first; i < first + count; i++) {
        sum += self->encoded[i].head_size + self->encoded[i].payload_size + 64;
    }
    return sum;
}

static int refuse(firn_cold *cold, work *self, size_t at) {
    self->encoded[at] = (firn_cold_encoded){.refused = true};
    firn_detail_set(cold->detail, FIRN_ETOOLARGE,
                    "%s: a value of %zu bytes does not fit; raise cold_bytes (%llu now)",
                    cold->path, self->items[at].value_size, (unsigned long long)cold->budget_bytes);
    unsigned attempt = 0;
    int result;
    do {
        result = transact(cold, self, at, 1);
    } while (result == FIRN_BACKEND_FULL &&
             (result = make_room(cold, 16 * (uint64_t)cold->page_bytes, RECORD_RELIEFS,
                                 &attempt)) == FIRN_OK);
    return result;
}

/* A part that was committed, and comes again with the whole after an error, is written again. */
static int write_items(firn_cold *cold, work *self, size_t first, size_t count) {
    unsigned attempt = 0;
    int result = transact(cold, self, first, count);
    uint64_t needed = bytes_of(cold, self, first, count);
    unsigned attempts = count == 1                        ? RECORD_RELIEFS
                        : needed > cold->budget_bytes / 8 ? 0
                                                          : BATCH_RELIEFS;
    while (result == FIRN_BACKEND_FULL) {
        self->journal_removals = 0; /* one trouble at a time: the journal comes afterwards */
        result = make_room(cold, needed, attempts, &attempt);
        if (result != FIRN_OK) {
            break;
        }
        result = transact(cold, self, first, count);
    }
    if (result != FIRN_BACKEND_FULL) {
        return result;
    }
    if (count == 1) {
        return refuse(cold, self, first);
    }
    result = write_items(cold, self, first, count / 2);
    return result == FIRN_OK ? write_items(cold, self, first + count / 2, count - count / 2)
                             : result;
}

/* What is left of the journal after the batch. If there is no room, fewer removals a commit need
 * less of it. */
static int write_journal(firn_cold *cold, work *self) {
    unsigned attempt = 0;
    int result = FIRN_OK;
    self->journal_removals = JOURNAL_REMOVALS;
    while (result == FIRN_OK && self->journal_at < self->journal_end) {
        result = transact(cold, self, 0, 0);
        if (result != FIRN_BACKEND_FULL) {
            continue;
        }
        result = FIRN_OK;
        if (self->journal_removals > 16) {
            self->journal_removals /= 4;
        } else {
            result = make_room(cold, 64 * (uint64_t)cold->page_bytes, RECORD_RELIEFS, &attempt);
        }
    }
    return result;
}

/* After everything else has failed for want of room, nothing stored may be kept that might be
 * void. */
static int write_all(firn_cold *cold, work *self, size_t count) {
    int result = count > 0 ? write_items(cold, self, 0, count) : FIRN_OK;
    if (result == FIRN_OK) {
        result = write_journal(cold, self);
    }
    if (result == FIRN_BACKEND_FULL) {
        result = firn_detail_set(cold->detail, FIRN_ENOSPC,
                                 "%s: cold_bytes (%llu) has no room left to work in; raise it",
                                 cold->path, (unsigned long long)cold->budget_bytes);
    }
    return result;
}

static int write_batch(firn_cold *cold, firn_cold_item *items, firn_cold_encoded *encoded,
                       size_t count) {
    work self = {.items = items, .encoded = encoded, .journal_removals = JOURNAL_REMOVALS};
    firn_journal_range(cold->journal, &self.journal_at, &self.journal_end);
    uint64_t journal_begin = self.journal_at;
    if (count > 0) {
        firn_cold_tend_dictionaries(cold);
    }
    int result = firn_cold_encode(cold, items, encoded, count);
    if (result == FIRN_OK) {
        result = write_all(cold, &self, count);
    }
    firn_cold_trim_arena(cold);
    if (self.journal_at > journal_begin) {
        firn_journal_release(cold->journal, self.journal_at);
    }
    return result;
}

int firn_cold_write(firn_cold *cold, firn_cold_item *items, size_t count, uint64_t version_next) {
    if (cold->read_only) {
        return FIRN_EREADONLY;
    }
    bool newer = version_next > cold->meta.version_next;
    cold->meta.version_next = newer ? version_next : cold->meta.version_next;
    size_t size = (count + 1) * sizeof(firn_cold_encoded);
    firn_cold_encoded *encoded = firn_heap_zalloc(cold->heap, size);
    int result = encoded != NULL ? write_batch(cold, items, encoded, count)
                                 : firn_detail_set(cold->detail, FIRN_ENOMEM,
                                                   "%s: no memory to write a batch", cold->path);
    firn_heap_free(cold->heap, encoded, size);
    if (result != FIRN_OK) {
        firn_cold_count(&cold->counters.write_errors, 1);
    }
    return result;
}

int firn_cold_replay_journal(firn_cold *cold) {
    work self = {.journal_end = FIRN_JOURNAL_SLOTS};
    return write_all(cold, &self, 0);
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
        firn_cold_counters *to = &cold->counters;
        atomic_store_explicit(&to->entries, usage.entries, memory_order_relaxed);
        atomic_store_explicit(&to->live_bytes, usage.live_bytes, memory_order_relaxed);
        atomic_store_explicit(&to->file_bytes, usage.file_bytes, memory_order_relaxed);
    }
    return result;
}
