/* Records of any bytes: parsing and decompression must not read or write where they should not,
 * and a record that can be read must come out the same when it is written again; so must its links.
 *
 * Input: the record as it stands on disk. Its checksum is not asked for, since a fuzzer would never
 * find one. A record that names a dictionary gets one of two: of an odd id one that was trained, of
 * an even id one of plain text. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zdict.h>

#include "base/links.h"
#include "cold/codec.h"
#include "cold/dictionary.h"
#include "cold/record.h"

enum {
    VALUE_MAX = 8 << 20, /* larger ones only cost time */
    SAMPLES = 1000,
    SAMPLE = 64,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Made by the first input, and kept. */
static firn_heap *heap;
static firn_dictionary *dictionaries[2];

static void make_dictionaries(void) {
    static char samples[SAMPLES * SAMPLE];
    static size_t sizes[SAMPLES];
    static char trained[2048];
    for (unsigned i = 0; i < SAMPLES; i++) {
        char line[SAMPLE + 1];
        snprintf(line, sizeof line,
                 "{\"number\":%06u,\"state\":\"%-8s\",\"note\":\"%010u\"}        ",
                 i * 7919 % 1000000, i % 3 == 0 ? "open" : "closed", i * 2654435761u);
        memcpy(samples + (size_t)i * SAMPLE, line, SAMPLE);
        sizes[i] = SAMPLE;
    }
    size_t size = ZDICT_trainFromBuffer(trained, sizeof trained, samples, sizes, SAMPLES);
    heap = firn_heap_new(NULL);
    if (heap == NULL || ZDICT_isError(size)) {
        abort();
    }
    dictionaries[1] = firn_dictionary_new(heap, 1, trained, size);
    dictionaries[0] = firn_dictionary_new(heap, 2, samples, SAMPLE * (size_t)20);
    if (dictionaries[0] == NULL || dictionaries[1] == NULL) {
        abort();
    }
}

static void decode(const firn_record *record) {
    unsigned char *value = malloc(record->value_size + 1);
    firn_decoders decoders = {{NULL}};
    if (value != NULL) {
        const firn_dictionary *dictionary =
            record->dictionary != 0 ? dictionaries[record->dictionary % 2] : NULL;
        value[record->value_size] = 0x5a;
        (void)firn_decode(&decoders, record->codec, dictionary, value, record->value_size,
                          record->payload, record->payload_size);
        if (value[record->value_size] != 0x5a) {
            abort(); /* written beyond the value */
        }
    }
    firn_decoders_fini(&decoders);
    free(value);
}

static bool has_same_traits(const firn_traits *a, const firn_traits *b) {
    return a->cost_us == b->cost_us && a->stale_ms == b->stale_ms && a->idle_ms == b->idle_ms &&
           a->limit_ms == b->limit_ms && a->negative == b->negative &&
           a->tag_count == b->tag_count &&
           (a->tag_count == 0 || memcmp(a->tags, b->tags, firn_traits_tags_size(a)) == 0);
}

static bool has_same_attributes(const firn_attributes *a, const firn_attributes *b) {
    return a->type == b->type && a->type_version == b->type_version && a->owned == b->owned &&
           a->body == b->body && a->interned == b->interned &&
           a->interned_size == b->interned_size && a->links_size == b->links_size &&
           (a->links_size == 0 || memcmp(a->links, b->links, a->links_size) == 0) &&
           has_same_traits(&a->traits, &b->traits);
}

static bool is_same(const firn_record *a, const firn_record *b) {
    return a->codec == b->codec && a->dictionary == b->dictionary && a->version == b->version &&
           a->expires_ms == b->expires_ms && a->written_ms == b->written_ms &&
           a->value_size == b->value_size && a->key_size == b->key_size &&
           a->payload_size == b->payload_size && memcmp(a->key, b->key, a->key_size) == 0 &&
           a->part == b->part && has_same_attributes(&a->attributes, &b->attributes);
}

static void write_again(const firn_record *record) {
    size_t links_size = record->attributes.links_size;
    unsigned char *bytes =
        malloc(firn_record_lead_max(&record->attributes, record->key_size) + record->payload_size);
    if (bytes == NULL) {
        return;
    }
    size_t size = firn_record_head(record, bytes);
    memcpy(bytes + size, record->key, record->key_size);
    size += record->key_size;
    if (links_size > 0) {
        memcpy(bytes + size, record->attributes.links, links_size);
        size += links_size;
    }
    if (record->payload_size > 0) {
        memcpy(bytes + size, record->payload, record->payload_size);
    }
    size += record->payload_size;
    firn_record_seal(bytes, size, NULL, 0, 7);
    firn_record again;
    firn_record head;
    if (firn_record_check(bytes, size, 7) != NULL || firn_record_check(bytes, size, 8) == NULL ||
        firn_record_parse(bytes, size, &again) != NULL || !is_same(&again, record) ||
        firn_record_parse_head(bytes, size - record->payload_size, size, &head) != NULL ||
        !is_same(&head, record)) {
        abort();
    }
    free(bytes);
}

/* One that is well-formed has one form only if its numbers are as short as they can be: so it is
 * the links that are compared, not the bytes. */
static void list_links(const void *bytes, size_t size) {
    size_t count = firn_links_count(bytes, size);
    if (count == SIZE_MAX) {
        return;
    }
    firn_link *links = calloc(count + 1, sizeof *links);
    firn_link again;
    size_t at = 0;
    for (size_t i = 0; links != NULL && i < count; i++) {
        if (!firn_links_next(bytes, size, &at, &links[i])) {
            abort();
        }
    }
    firn_links *made = links != NULL ? firn_links_new(heap, links, count) : NULL;
    at = 0;
    for (size_t i = 0; made != NULL && i < count; i++) {
        if (!firn_links_next(made->bytes, made->size, &at, &again) || again.kind != links[i].kind ||
            again.version != links[i].version || again.key_size != links[i].key_size ||
            memcmp(again.key, links[i].key, again.key_size) != 0) {
            abort();
        }
    }
    if (made != NULL && at != made->size) {
        abort();
    }
    firn_links_unref(made, heap);
    free(links);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (dictionaries[0] == NULL) {
        make_dictionaries();
    }
    firn_record record;
    firn_dictionary head;
    firn_bytes blob = {data, size};
    (void)firn_record_check(data, size, 1);
    (void)firn_dictionary_check(&blob, 1, &head);
    list_links(data, size);
    if (firn_record_parse(data, size, &record) != NULL) {
        return 0;
    }
    write_again(&record);
    if (record.attributes.links_size > 0) {
        list_links(record.attributes.links, record.attributes.links_size);
    }
    const char *wrong =
        firn_decode_plausible(record.codec, record.payload, record.payload_size, record.value_size);
    if (wrong == NULL && record.value_size <= VALUE_MAX) {
        decode(&record);
    }
    return 0;
}
