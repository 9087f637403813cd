/* The cold tier: turning a batch's items into records, all but their checksums, before any
 * transaction begins. See cold.h,
 * and cold_internal.h for who does the rest.
 *
 * Heads, keys and compressed values lie in one arena; a value that is stored as it is stays where
 * the caller has it. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cold/cold_internal.h"
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

static bool may_compress(const firn_cold *cold, size_t size) {
    return cold->compression_level != FIRN_COMPRESSION_OFF && size > 0 &&
           size >= cold->compression_min_bytes;
}

/* An encoding must save a thirty-second to be worth its decoding. */
static size_t encoding_room(size_t size) {
    return size - size / 32 - 1;
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

static size_t arena_needed(const firn_cold *cold, const firn_cold_item *items,
                           const firn_cold_encoded *encoded, size_t count) {
    size_t needed = 1;
    for (size_t i = 0; i < count; i++) {
        if (is_written(cold, &items[i], &encoded[i])) {
            needed += FIRN_RECORD_HEAD_MAX + items[i].key_size;
            needed += may_compress(cold, items[i].value_size) ? items[i].value_size : 0;
        }
    }
    return needed;
}

/* Returns the arena's bytes that were used. */
static size_t encode_one(firn_cold *cold, const firn_cold_item *item, uint64_t written_ms,
                         size_t at, firn_cold_encoded *out) {
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
        used =
            firn_codec_zstd.encode(cold->encoder, cold->compression_level, payload,
                                   encoding_room(item->value_size), item->value, item->value_size);
        record.codec = used > 0 ? firn_codec_zstd.number : firn_codec_none.number;
    }
    size_t head_size = firn_record_head(&record, head);
    memcpy(head + head_size, item->key, item->key_size);
    *out = (firn_cold_encoded){
        .ready = true,
        .head = head,
        .head_size = head_size + item->key_size,
        .payload = used > 0 ? payload : item->value,
        .payload_size = used > 0 ? used : item->value_size,
    };
    return FIRN_RECORD_HEAD_MAX + item->key_size + used;
}

int firn_cold_encode(firn_cold *cold, const firn_cold_item *items, firn_cold_encoded *encoded,
                     size_t count) {
    int result = mark_overtaken(cold, items, encoded, count);
    if (result == FIRN_OK) {
        result = reserve_arena(cold, arena_needed(cold, items, encoded, count));
    }
    if (result != FIRN_OK) {
        return result;
    }
    uint64_t now_ms = firn_clock_now_ms(&cold->clock);
    uint64_t written_ms = now_ms > cold->created_ms ? now_ms - cold->created_ms : 0;
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (is_written(cold, &items[i], &encoded[i])) {
            at += encode_one(cold, &items[i], written_ms, at, &encoded[i]);
        } else {
            encoded[i].refused = !items[i].remove && !encoded[i].overtaken;
        }
    }
    return FIRN_OK;
}
