/* Records of any bytes: parsing and decompression must not read or write where they should not,
 * and a record that can be read must come out the same when it is written again.
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

static bool is_same(const firn_record *a, const firn_record *b) {
    return a->codec == b->codec && a->dictionary == b->dictionary && a->version == b->version &&
           a->expires_ms == b->expires_ms && a->written_ms == b->written_ms &&
           a->value_size == b->value_size && a->key_size == b->key_size &&
           a->payload_size == b->payload_size && memcmp(a->key, b->key, a->key_size) == 0;
}

static void write_again(const firn_record *record) {
    unsigned char *bytes = malloc(FIRN_RECORD_HEAD_MAX + record->key_size + record->payload_size);
    if (bytes == NULL) {
        return;
    }
    size_t size = firn_record_head(record, bytes);
    memcpy(bytes + size, record->key, record->key_size);
    size += record->key_size;
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (dictionaries[0] == NULL) {
        make_dictionaries();
    }
    firn_record record;
    firn_dictionary head;
    firn_bytes blob = {data, size};
    (void)firn_record_check(data, size, 1);
    (void)firn_dictionary_check(&blob, 1, &head);
    if (firn_record_parse(data, size, &record) != NULL) {
        return 0;
    }
    write_again(&record);
    const char *wrong =
        firn_decode_plausible(record.codec, record.payload, record.payload_size, record.value_size);
    if (wrong == NULL && record.value_size <= VALUE_MAX) {
        decode(&record);
    }
    return 0;
}
