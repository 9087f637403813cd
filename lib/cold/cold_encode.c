/* The cold tier: turning a batch's items into records, all but their checksums, before any
 * transaction begins. See cold.h,
 * and cold_internal.h for who does the rest.
 *
 * Each record has a place in one arena: head, key and compressed value, one behind the other; a
 * value that is stored as it is stays where the caller has it. So several threads can make records
 * at the same time. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cold/cold_internal.h"
#include "cold/encoding.h"
#include "cold/record.h"

enum { ARENA_KEPT = 8 << 20 /* bytes, between batches */ };

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

void firn_cold_trim_arena(firn_cold *cold) {
    if (cold->arena_size > ARENA_KEPT) {
        firn_heap_free(cold->heap, cold->arena, cold->arena_size);
        cold->arena = NULL;
        cold->arena_size = 0;
    }
}

/* ---- which items count ---- */

typedef struct rank {
    uint64_t hash;
    uint64_t version;
    size_t at;
} rank;

static int compare_ranks(const void *a, const void *b) {
    const rank *left = a;
    const rank *right = b;
    if (left->hash != right->hash) {
        return left->hash < right->hash ? -1 : 1;
    }
    if (left->version != right->version) {
        return left->version < right->version ? -1 : 1;
    }
    return left->at < right->at ? -1 : left->at > right->at;
}

/* Of several items of one hash only the newest has a lasting effect, and so only it is applied. */
static int mark_overtaken(firn_cold *cold, const firn_cold_item *items, firn_cold_encoded *encoded,
                          size_t count) {
    if (count < 2) {
        return FIRN_OK;
    }
    rank *ranks = firn_heap_alloc(cold->heap, count * sizeof *ranks);
    if (ranks == NULL) {
        return firn_detail_set(cold->detail, FIRN_ENOMEM, "%s: no memory to sort a batch",
                               cold->path);
    }
    for (size_t i = 0; i < count; i++) {
        ranks[i] = (rank){items[i].hash, items[i].version, i};
    }
    qsort(ranks, count, sizeof *ranks, compare_ranks);
    for (size_t i = 0; i + 1 < count; i++) {
        encoded[ranks[i].at].overtaken = ranks[i].hash == ranks[i + 1].hash;
    }
    firn_heap_free(cold->heap, ranks, count * sizeof *ranks);
    return FIRN_OK;
}

/* ---- encoding ---- */

static bool is_written(const firn_cold *cold, const firn_cold_item *item,
                       const firn_cold_encoded *encoded) {
    return !item->remove && !encoded->overtaken &&
           item->value_size <= firn_cold_value_max(cold, item->key_size);
}

/* Reclaiming reads the value of a head, and wants no decoder for it. */
static bool is_compressed(const firn_cold *cold, const firn_cold_item *item) {
    return item->part != FIRN_PART_HEAD && firn_encoding_wants(cold->encoding, item->value_size);
}

/* Bytes in front of the payload: the head begins where it must to end at the key. */
static size_t lead_bytes(const firn_cold_item *item) {
    return firn_record_lead_max(&item->attributes, item->key_size);
}

/* Writes a record's head, key and links so that they end where the payload begins. Returns where
 * they begin. */
static unsigned char *put_head(const firn_record *record, const void *key, unsigned char *payload) {
    unsigned char head[FIRN_RECORD_HEAD_MAX + FIRN_TAGS_MAX * sizeof(uint64_t)];
    size_t head_size = firn_record_head(record, head);
    size_t links_size = record->attributes.links_size;
    unsigned char *from = payload - links_size - record->key_size - head_size;
    memcpy(from, head, head_size);
    memcpy(from + head_size, key, record->key_size);
    if (links_size > 0) {
        memcpy(payload - links_size, record->attributes.links, links_size);
    }
    return from;
}

/* What the threads of one run share. */
typedef struct encoding_job {
    firn_cold *cold;
    const firn_cold_item *items;
    firn_cold_encoded *encoded;
    uint64_t written_ms;
} encoding_job;

/* Gives each record that is written its place, told by `head` until it is made.
 * Returns the bytes of the arena that are needed. */
static size_t plan(encoding_job *job, size_t count, unsigned char *arena) {
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        const firn_cold_item *item = &job->items[i];
        if (!is_written(job->cold, item, &job->encoded[i])) {
            job->encoded[i].refused = !item->remove && !job->encoded[i].overtaken;
            continue;
        }
        if (arena != NULL) {
            job->encoded[i].ready = true;
            job->encoded[i].head = arena + at;
        }
        at += lead_bytes(item);
        at += is_compressed(job->cold, item) ? item->value_size : 0;
    }
    return at;
}

/* Called by several threads at once, each with pieces of its own. */
static void encode_one(void *context, unsigned lane, size_t piece) {
    const encoding_job *job = context;
    const firn_cold_item *item = &job->items[piece];
    firn_cold_encoded *out = &job->encoded[piece];
    if (!out->ready) {
        return;
    }
    firn_record record = {
        .part = item->part,
        .codec = firn_codec_none.number,
        .version = item->version,
        .expires_ms = item->expires_ms,
        .written_ms = job->written_ms,
        .attributes = item->attributes,
        .key_size = item->key_size,
        .value_size = item->value_size,
    };
    unsigned char *payload = out->head + lead_bytes(item);
    size_t used = 0;
    if (is_compressed(job->cold, item)) {
        used = firn_encode(job->cold->encoding, lane, payload, item->value, item->value_size,
                           &record.dictionary);
        record.codec = used > 0 ? firn_codec_zstd.number : firn_codec_none.number;
    }
    out->head = put_head(&record, item->key, payload);
    out->head_size = (size_t)(payload - out->head);
    out->payload = used > 0 ? payload : item->value;
    out->payload_size = used > 0 ? used : item->value_size;
}

static void take_note(encoding_job *job, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const firn_cold_item *item = &job->items[i];
        const firn_cold_encoded *done = &job->encoded[i];
        if (done->ready && is_compressed(job->cold, item)) {
            bool raw = done->payload == item->value;
            firn_encoding_note(job->cold->encoding, item->value, item->value_size,
                               raw ? 0 : done->payload_size);
        }
    }
}

int firn_cold_encode(firn_cold *cold, const firn_cold_item *items, firn_cold_encoded *encoded,
                     size_t count) {
    encoding_job job = {.cold = cold, .items = items, .encoded = encoded};
    int result = mark_overtaken(cold, items, encoded, count);
    if (result == FIRN_OK) {
        result = reserve_arena(cold, plan(&job, count, NULL) + 1);
    }
    if (result != FIRN_OK) {
        return result;
    }
    plan(&job, count, cold->arena);
    uint64_t now_ms = firn_clock_now_ms(&cold->clock);
    job.written_ms = now_ms > cold->created_ms ? now_ms - cold->created_ms : 0;
    firn_encoding_run(cold->encoding, count, encode_one, &job);
    take_note(&job, count);
    return FIRN_OK;
}

/* ---- once more ---- */

/* A record that is made anew with the dictionary of now. */
typedef struct recoding {
    firn_cold *cold;
    firn_record record;
    const unsigned char *value;
    unsigned char *payload; /* has room for the value, and for the rest in front */
    size_t used;
} recoding;

static void recode_one(void *context, unsigned lane, size_t piece) {
    recoding *self = context;
    (void)piece;
    self->used = firn_encode(self->cold->encoding, lane, self->payload, self->value,
                             self->record.value_size, &self->record.dictionary);
}

static int reserve_recoding(firn_cold *cold, size_t size) {
    if (size <= cold->recoding_size) {
        return FIRN_OK;
    }
    firn_heap_free(cold->heap, cold->recoding, cold->recoding_size);
    cold->recoding = firn_heap_alloc(cold->heap, size);
    cold->recoding_size = cold->recoding != NULL ? size : 0;
    return cold->recoding != NULL
               ? FIRN_OK
               : firn_detail_set(cold->detail, FIRN_ENOMEM,
                                 "%s: no memory to write a record once more", cold->path);
}

bool firn_cold_is_of_now(const firn_cold *cold, const firn_record *record) {
    const firn_dictionary *now = firn_encoding_dictionary(cold->encoding);
    return record->dictionary == 0 || (now != NULL && now->id == record->dictionary);
}

int firn_cold_recode(firn_cold *cold, const firn_record *old, firn_bytes *bytes) {
    size_t lead = firn_record_lead_max(&old->attributes, old->key_size);
    int result = reserve_recoding(cold, lead + 2 * old->value_size + 1);
    firn_dictionary *dictionary;
    const char *wrong = NULL;
    if (result == FIRN_OK) {
        result = cold->ops->read_begin(cold->session);
    }
    if (result != FIRN_OK) {
        return result;
    }
    result = firn_dictionaries_get(&cold->dictionaries, cold->ops, cold->session, old->dictionary,
                                   &dictionary, &wrong);
    cold->ops->read_end(cold->session);
    unsigned char *payload = cold->recoding + lead;
    unsigned char *value = payload + old->value_size;
    if (result == FIRN_OK) {
        wrong = firn_decode(&cold->decoders, old->codec, dictionary, value, old->value_size,
                            old->payload, old->payload_size);
        result = wrong == NULL                    ? FIRN_OK
                 : wrong == firn_decode_no_memory ? FIRN_ENOMEM
                                                  : FIRN_ECORRUPT;
    }
    if (result != FIRN_OK) {
        return result;
    }
    recoding self = {.cold = cold, .record = *old, .value = value, .payload = payload};
    self.record.dictionary = 0;
    firn_encoding_run(cold->encoding, 1, recode_one, &self);
    self.record.codec = self.used > 0 ? firn_codec_zstd.number : firn_codec_none.number;
    if (self.used == 0) {
        memcpy(payload, value, old->value_size);
    }
    unsigned char *from = put_head(&self.record, old->key, payload);
    size_t rest = self.used > 0 ? self.used : old->value_size;
    *bytes = (firn_bytes){from, (size_t)(payload - from) + rest};
    return FIRN_OK;
}
