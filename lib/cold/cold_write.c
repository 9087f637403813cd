/* The cold tier: writing batches, applying the journal, reclaiming the oldest. See cold.h, and
 * cold_internal.h for who does the rest.
 *
 * A batch is one transaction. Before it begins, room is made for it: the oldest part of the log is
 * given up, of which records that were hit since they were written are written once more, and while
 * much of the log is superseded all that are valid. If that does not help, the batch is cut in two;
 * a single record that does not even fit into an empty store is refused. Counters are collected in
 * cold->tally and told only after the commit. */
#include <endian.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "cold/cold_internal.h"
#include "cold/record.h"
#include "observe/histogram.h"

enum {
    REMOVAL_BYTES = 32,      /* in the log, at the most */
    JOURNAL_REMOVALS = 1024, /* records that the journal removes in one commit, at the most */
    SECOND_LIFE_SHARE = 2,   /* of a segment's bytes, to records that were hit */
    KEPT_NUM = 3,            /* as much as that of what they may take, to all that links keep */
    KEPT_DEN = 2,
    AHEAD = 8,        /* items whose memory is on its way */
    FRAME_BYTES = 16, /* that the backend adds to a record, at the most */
    /* While less than three quarters of the log is valid, nothing valid is lost. */
    CLEAN_BELOW_NUM = 3,
    CLEAN_BELOW_DEN = 4,
    CLEAN_EXPIRED = 25, /* percent of some of the oldest segments together: likewise */
};

/* What one call works on. */
typedef struct work {
    firn_cold_item *items;
    firn_cold_encoded *encoded; /* beside items */
    uint64_t journal_at;        /* slots before are applied and committed */
    uint64_t journal_end;
    uint64_t journal_next; /* slots before are applied in the current transaction */
} work;

/* ---- one transaction ---- */

/* Something is gone of which it cannot be told whose it was. */
static void tell_loss(firn_cold *cold) {
    if (cold->reclaimed != NULL) {
        cold->reclaimed(cold->reclaimed_context, 0, 0);
    }
}

/* After calls of the backend that may come upon it. */
static void look_for_loss(firn_cold *cold) {
    int loss = cold->ops->loss(cold->backend);
    if (loss != FIRN_OK) {
        firn_cold_count(&cold->counters.damaged, loss == FIRN_ECORRUPT ? 1 : 0);
        firn_cold_note_usage(cold);
        tell_loss(cold);
    }
}

static int begin(firn_cold *cold) {
    cold->tally = (firn_cold_tally){0};
    int result = cold->ops->begin(cold->backend);
    look_for_loss(cold);
    return result;
}

/* Only a checkpoint changes it, which comes when the backend wants one. */
static void note_fingerprint(firn_cold *cold) {
    firn_backend_usage usage;
    firn_fingerprint fingerprint;
    cold->ops->usage(cold->backend, &usage);
    if (usage.index_commits != cold->commits_noted &&
        cold->ops->fingerprint(cold->backend, &fingerprint) == FIRN_OK) {
        firn_journal_set_fingerprint(cold->journal, &fingerprint);
        cold->commits_noted = usage.index_commits;
    }
}

static void publish(firn_cold *cold) {
    firn_cold_counters *to = &cold->counters;
    const firn_cold_tally *tally = &cold->tally;
    note_fingerprint(cold);
    firn_cold_note_usage(cold);
    firn_cold_count(&to->value_bytes, tally->value_bytes);
    firn_cold_count(&to->stored_bytes, tally->stored_bytes);
    firn_cold_count(&to->reclaimed, tally->reclaimed);
    firn_cold_count(&to->expired, tally->expired);
    firn_cold_count(&to->cleared, tally->cleared);
    firn_cold_count(&to->collisions, tally->collisions);
    firn_cold_count(&to->damaged, tally->damaged);
    cold->tally = (firn_cold_tally){0};
}

/* Ends what was begun: by a commit or, if result says so, by giving it up. */
static int finish(firn_cold *cold, int result) {
    if (result != FIRN_OK) {
        cold->ops->abort(cold->backend);
        return result;
    }
    cold->ops->set_meta(cold->backend, &cold->meta);
    result = cold->ops->commit(cold->backend);
    if (result == FIRN_OK) {
        firn_cold_count(&cold->counters.commits, 1);
        publish(cold);
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
    return cold->ops->remove(cold->backend, hash, below);
}

static bool has_other_key(const firn_bytes *bytes, const firn_cold_item *item) {
    firn_record record;
    return firn_record_parse(bytes->data, bytes->size, &record) == NULL &&
           (record.key_size != item->key_size ||
            memcmp(record.key, item->key, item->key_size) != 0);
}

static int put_item(firn_cold *cold, firn_cold_item *item, const firn_cold_encoded *ready) {
    uint64_t sequence;
    firn_bytes bytes;
    int result = cold->ops->find(cold->backend, item->hash, &sequence, &bytes);
    if (result == FIRN_OK) {
        if (is_newer(cold, &bytes, sequence, item->version)) {
            return FIRN_OK;
        }
        cold->tally.collisions += has_other_key(&bytes, item) ? 1 : 0;
    } else if (result != FIRN_NOT_FOUND) {
        return result;
    }
    void *to;
    size_t size = ready->head_size + ready->payload_size;
    result = cold->ops->put(cold->backend, item->hash, size, item->expires_ms, &sequence, &to);
    if (result != FIRN_OK) {
        return result;
    }
    memcpy(to, ready->head, ready->head_size);
    if (ready->payload_size > 0) {
        memcpy((unsigned char *)to + ready->head_size, ready->payload, ready->payload_size);
    }
    firn_record_seal(to, size, NULL, 0, sequence);
    item->stored_size = size;
    cold->tally.value_bytes += item->value_size;
    cold->tally.stored_bytes += ready->payload_size;
    return FIRN_OK;
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
           removals < JOURNAL_REMOVALS) {
        firn_journal_entry entry = firn_journal_at(cold->journal, self->journal_next++);
        if (entry.version != 0) { /* empty, or damaged */
            result = void_stored(cold, entry.hash, entry.version, &removals);
        }
    }
    return result;
}

/* ---- reclaiming ---- */

static int note_loss(firn_cold *cold, uint64_t hash, uint64_t version) {
    if (cold->losses_used == cold->losses_size) {
        size_t size = cold->losses_size * 2 + 1024;
        firn_cold_loss *losses = firn_heap_alloc(cold->heap, size * sizeof *losses);
        if (losses == NULL) {
            return firn_detail_set(cold->detail, FIRN_ENOMEM, "%s: no memory to reclaim",
                                   cold->path);
        }
        if (cold->losses_used > 0) {
            memcpy(losses, cold->losses, cold->losses_used * sizeof *losses);
        }
        firn_heap_free(cold->heap, cold->losses, cold->losses_size * sizeof *losses);
        cold->losses = losses;
        cold->losses_size = size;
    }
    cold->losses[cold->losses_used++] = (firn_cold_loss){hash, version};
    return FIRN_OK;
}

/* Whether it was hit since it was written; the mark goes. */
static bool take_hit(firn_cold *cold, uint64_t hash) {
    _Atomic uint8_t *mark = &cold->hit_marks[hash & cold->hit_marks_mask];
    bool hit = firn_cold_was_hit(cold, hash);
    if (hit) {
        atomic_store_explicit(mark, 0, memory_order_relaxed);
    }
    return hit;
}

static bool is_valid(firn_cold *cold, uint64_t hash, uint64_t sequence) {
    uint64_t found;
    return cold->ops->locate(cold->session, hash, &found) == FIRN_OK && found == sequence;
}

/* Whether a head names the piece; one that is not written yet does not. All other records belong to
 * themselves. */
static bool is_named(firn_cold *cold, const firn_record *record) {
    uint64_t head;
    uint64_t sequence;
    firn_bytes bytes;
    firn_record found;
    if (record->part != FIRN_PART_PIECE) {
        return true;
    }
    if (record->key_size != FIRN_PIECE_KEY_SIZE) {
        return false;
    }
    memcpy(&head, record->key, sizeof head);
    return cold->ops->lookup(cold->session, le64toh(head), &sequence, &bytes) == FIRN_OK &&
           firn_record_parse(bytes.data, bytes.size, &found) == NULL &&
           found.part == FIRN_PART_HEAD && found.payload_size == FIRN_STREAM_HEAD_SIZE &&
           memcmp((const char *)found.payload + 8, (const char *)record->key + 8, 8) == 0;
}

int firn_cold_copy_forward(firn_cold *cold, uint64_t hash, const firn_record *record,
                           firn_bytes bytes) {
    int result =
        firn_cold_is_of_now(cold, record) ? FIRN_OK : firn_cold_recode(cold, record, &bytes);
    uint64_t sequence;
    void *to;
    if (result == FIRN_OK) {
        result =
            cold->ops->put(cold->backend, hash, bytes.size, record->expires_ms, &sequence, &to);
    }
    if (result == FIRN_OK) {
        memcpy(to, bytes.data, bytes.size);
        firn_record_seal(to, bytes.size, NULL, 0, sequence);
    }
    return result;
}

typedef struct reclaim {
    firn_cold *cold;
    uint64_t now_ms;
    bool clean;  /* all that is valid is kept */
    size_t kept; /* records, in the current transaction */
    uint64_t expired;
    uint64_t cleared;
    uint64_t copied;     /* bytes, in all */
    uint64_t copied_max; /* of records that were hit */
    bool damaged;        /* some are, so that it cannot be told whose they are */
} reclaim;

/* What links keep may take more than what was hit, but not all, or nothing would come free. */
static bool is_kept(firn_cold *cold, const reclaim *self, uint64_t hash, size_t size) {
    return cold->kept != NULL && self->copied + size <= self->copied_max / KEPT_DEN * KEPT_NUM &&
           cold->kept(cold->reclaimed_context, hash);
}

/* What becomes of one record of the oldest part. */
static int reclaim_one(void *context, uint64_t sequence, const firn_bytes *bytes) {
    reclaim *self = context;
    firn_cold *cold = self->cold;
    firn_record record;
    if (firn_record_check(bytes->data, bytes->size, sequence) != NULL ||
        firn_record_parse(bytes->data, bytes->size, &record) != NULL) {
        cold->tally.damaged++;
        self->damaged = true;
        return FIRN_OK;
    }
    uint64_t hash = firn_hash64(cold->seed, record.key, record.key_size);
    bool expired = record.expires_ms != 0 && record.expires_ms <= self->now_ms;
    bool hit = take_hit(cold, hash);
    bool kept = self->clean || (hit && self->copied + bytes->size <= self->copied_max) ||
                is_kept(cold, self, hash, bytes->size);
    bool cleared = firn_record_cleared(&record, cold->clears);
    if (!expired && !cleared && kept && is_valid(cold, hash, sequence) && is_named(cold, &record)) {
        int result = firn_cold_copy_forward(cold, hash, &record, *bytes);
        self->kept += result == FIRN_OK;
        self->copied += result == FIRN_OK ? bytes->size : 0;
        if (result != FIRN_BACKEND_FULL && result != FIRN_ECORRUPT) {
            return result;
        }
    }
    if ((expired || cleared) && is_valid(cold, hash, sequence)) {
        self->expired += expired;
        self->cleared += !expired;
    }
    return note_loss(cold, hash, record.version);
}

int firn_cold_each_oldest(firn_cold *cold, firn_cold_each one, void *context, size_t *changes) {
    size_t changes_max = cold->ops->changes_max(cold->backend);
    uint64_t from = 0;
    *changes = 0;
    int result = begin(cold);
    if (result != FIRN_OK) {
        return result;
    }
    while (result == FIRN_OK) {
        uint64_t sequence;
        firn_bytes bytes;
        result = cold->ops->oldest(cold->backend, from, &sequence, &bytes);
        if (result == FIRN_OK) {
            from = sequence + 1;
            result = one(context, sequence, &bytes);
        }
        if (result == FIRN_OK && *changes == changes_max) {
            result = finish(cold, FIRN_OK);
            if (result == FIRN_OK) {
                *changes = 0;
                result = begin(cold);
            }
            if (result != FIRN_OK) {
                return result;
            }
        }
    }
    return finish(cold, result == FIRN_NOT_FOUND ? FIRN_OK : result);
}

static uint64_t entries_now(firn_cold *cold) {
    firn_backend_usage usage;
    cold->ops->usage(cold->backend, &usage);
    return usage.entries;
}

static bool should_clean(firn_cold *cold, uint64_t now_ms) {
    firn_backend_usage usage;
    firn_backend_expired expired;
    cold->ops->usage(cold->backend, &usage);
    cold->ops->expired(cold->backend, now_ms, &expired);
    /* One turn round the log makes room of all that is superseded or expired. */
    return (usage.live_bytes - expired.bytes <
                usage.log_bytes / CLEAN_BELOW_DEN * CLEAN_BELOW_NUM ||
            expired.share >= CLEAN_EXPIRED) &&
           (uint64_t)cold->cleaned * usage.segment_bytes < usage.log_bytes;
}

/* FIRN_NOT_FOUND: there is nothing that could be given up. */
static int reclaim_oldest(firn_cold *cold) {
    uint64_t sequence;
    firn_bytes bytes;
    if (cold->session == NULL) {
        int result = cold->ops->session_new(cold->backend, &cold->session);
        if (result != FIRN_OK) {
            return result;
        }
    }
    int result = cold->ops->oldest(cold->backend, 0, &sequence, &bytes);
    if (result != FIRN_OK && result != FIRN_NOT_FOUND) {
        return result;
    }
    firn_backend_usage usage;
    cold->ops->usage(cold->backend, &usage);
    uint64_t now_ms = firn_clock_now_ms(&cold->clock);
    reclaim self = {
        .cold = cold,
        .now_ms = now_ms,
        .clean = should_clean(cold, now_ms),
        /* Were all kept that were hit, nothing might come free however long it went on. */
        .copied_max = usage.segment_bytes / SECOND_LIFE_SHARE,
    };
    cold->cleaned = self.clean ? cold->cleaned + 1 : 0;
    cold->losses_used = 0;
    if (result == FIRN_OK) { /* else nothing begins in it, or it is the newest */
        result = firn_cold_each_oldest(cold, reclaim_one, &self, &self.kept);
        if (result != FIRN_OK) {
            return result;
        }
    }
    self.damaged = self.damaged || cold->ops->oldest_damaged(cold->backend);
    uint64_t before = entries_now(cold);
    result = cold->ops->drop(cold->backend);
    look_for_loss(cold);
    if (result != FIRN_OK) {
        return result;
    }
    uint64_t lost = before - entries_now(cold);
    cold->tally.expired = self.expired < lost ? self.expired : lost;
    cold->tally.cleared = self.cleared;
    uint64_t gone = cold->tally.expired + cold->tally.cleared;
    cold->tally.reclaimed = lost > gone ? lost - gone : 0;
    publish(cold);
    for (size_t i = 0; cold->reclaimed != NULL && i < cold->losses_used; i++) {
        cold->reclaimed(cold->reclaimed_context, cold->losses[i].hash, cold->losses[i].version);
    }
    if (self.damaged && lost > 0) {
        tell_loss(cold);
    }
    return FIRN_OK;
}

/* FIRN_BACKEND_FULL: there cannot be so much. */
static int make_room(firn_cold *cold, uint64_t needed) {
    cold->cleaned = 0;
    while (cold->ops->room(cold->backend, false) < needed) {
        uint64_t began_ns = firn_monotonic_ns();
        int result = reclaim_oldest(cold);
        if (result == FIRN_OK && cold->histograms != NULL) {
            firn_histograms_add(cold->histograms, FIRN_LATENCY_RECLAIM,
                                firn_monotonic_ns() - began_ns);
        }
        if (result == FIRN_NOT_FOUND) {
            return cold->ops->room(cold->backend, true) < needed ? FIRN_BACKEND_FULL : FIRN_OK;
        }
        if (result != FIRN_OK) {
            return result;
        }
    }
    return FIRN_OK;
}

/* ---- the whole ---- */

static uint64_t bytes_of(const work *self, size_t first, size_t count) {
    uint64_t sum = JOURNAL_REMOVALS * REMOVAL_BYTES;
    for (size_t i = first; i < first + count; i++) {
        sum += self->encoded[i].head_size + self->encoded[i].payload_size + REMOVAL_BYTES +
               FRAME_BYTES;
    }
    return sum;
}

static int transact(firn_cold *cold, work *self, size_t first, size_t count) {
    int result = make_room(cold, bytes_of(self, first, count));
    if (result == FIRN_OK) {
        result = begin(cold);
    }
    if (result != FIRN_OK) {
        return result;
    }
    for (size_t i = first; i < first + count && result == FIRN_OK; i++) {
        if (i + AHEAD < first + count) {
            cold->ops->prefetch(cold->backend, self->items[i + AHEAD].hash);
        }
        result = apply_item(cold, &self->items[i], &self->encoded[i]);
    }
    if (result == FIRN_OK) {
        result = apply_journal(cold, self);
    }
    result = finish(cold, result);
    if (result == FIRN_OK) {
        self->journal_at = self->journal_next;
    }
    return result;
}

static int refuse(firn_cold *cold, work *self, size_t at) {
    self->encoded[at] = (firn_cold_encoded){.refused = true};
    firn_detail_set(cold->detail, FIRN_ETOOLARGE,
                    "%s: a value of %zu bytes does not fit; raise cold_bytes (%llu now)",
                    cold->path, self->items[at].value_size, (unsigned long long)cold->budget_bytes);
    return transact(cold, self, at, 1);
}

/* A part that was committed, and comes again with the whole after an error, is written again. */
static int write_items(firn_cold *cold, work *self, size_t first, size_t count) {
    size_t most = cold->ops->changes_max(cold->backend) - JOURNAL_REMOVALS;
    int result = count <= most ? transact(cold, self, first, count) : FIRN_BACKEND_FULL;
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

static int write_all(firn_cold *cold, work *self, size_t count) {
    int result = count > 0 ? write_items(cold, self, 0, count) : FIRN_OK;
    while (result == FIRN_OK && self->journal_at < self->journal_end) {
        result = transact(cold, self, 0, 0);
    }
    if (result == FIRN_BACKEND_FULL) {
        result = firn_detail_set(cold->detail, FIRN_ENOSPC,
                                 "%s: cold_bytes (%llu) has no room left to work in; raise it",
                                 cold->path, (unsigned long long)cold->budget_bytes);
    }
    return result;
}

/* Who reads looks at the voids with a reader taken, so that with all of them here nobody does. Not
 * now is as good as now: there are only addresses at stake. */
static void free_voids(firn_cold *cold) {
    unsigned taken = 0;
    while (taken < FIRN_COLD_READERS && sem_trywait(&cold->readers_free) == 0) {
        taken++;
    }
    if (taken == FIRN_COLD_READERS) {
        firn_voids_free(cold->old_voids);
        cold->old_voids = NULL;
    }
    while (taken > 0) {
        sem_post(&cold->readers_free);
        taken--;
    }
}

/* Lines from begin to end are applied and committed, and go. */
static int release_journal(firn_cold *cold, uint64_t begin, uint64_t end) {
    if (begin < cold->adopted_end && cold->adopted_is_synced) {
        int result = firn_cold_sync(cold, true);
        if (result != FIRN_OK) {
            return result;
        }
    }
    firn_journal_release(cold->journal, end);
    if (end >= cold->adopted_end) {
        atomic_store_explicit(&cold->voids, NULL, memory_order_release);
    }
    return FIRN_OK;
}

static int write_batch(firn_cold *cold, firn_cold_item *items, firn_cold_encoded *encoded,
                       size_t count) {
    work self = {.items = items, .encoded = encoded};
    firn_journal_range(cold->journal, &self.journal_at, &self.journal_end);
    uint64_t journal_begin = self.journal_at;
    if (count == 0 && firn_cold_has_old_lines(cold) && self.journal_end < cold->adopted_end) {
        return firn_detail_set(cold->detail, FIRN_EIO, "%s/%s: was cut off by somebody", cold->path,
                               FIRN_JOURNAL_FILE);
    }
    if (count > 0) {
        firn_cold_tend_dictionaries(cold);
    }
    int result = firn_cold_encode(cold, items, encoded, count);
    if (result == FIRN_OK) {
        result = write_all(cold, &self, count);
    }
    firn_cold_trim_arena(cold);
    if (self.journal_at > journal_begin) {
        /* The items are written all the same. Lines that stay are applied once more. */
        int released = release_journal(cold, journal_begin, self.journal_at);
        result = result == FIRN_OK && count == 0 ? released : result;
    }
    if (cold->old_voids != NULL && !firn_cold_has_old_lines(cold)) {
        free_voids(cold);
    }
    if (result == FIRN_OK && count > 0) {
        /* Under a steady load nothing else would come to it. What fails here is tried again, and
         * costs look-ups only. */
        (void)firn_cold_tidy(cold);
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

int firn_cold_conclude(firn_cold *cold) {
    cold->ops->set_meta(cold->backend, &cold->meta);
    int result = cold->ops->conclude(cold->backend);
    look_for_loss(cold);
    note_fingerprint(cold);
    return result;
}

int firn_cold_tidy(firn_cold *cold) {
    if (cold->read_only) {
        return FIRN_OK;
    }
    int result = cold->ops->maintain(cold->backend);
    look_for_loss(cold);
    note_fingerprint(cold);
    return result;
}
