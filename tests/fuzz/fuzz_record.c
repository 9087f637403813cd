/* Records of any bytes: parsing and decompression must not read or write where they should not,
 * and a record that can be read must come out the same when it is written again.
 *
 * Input: the record as it stands on disk. Its checksum is not asked for, since a fuzzer would never
 * find one. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cold/codec.h"
#include "cold/record.h"

enum { VALUE_MAX = 8 << 20 /* larger ones only cost time */ };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(const firn_record *record) {
    unsigned char *value = malloc(record->value_size + 1);
    firn_decoders decoders = {{NULL}};
    if (value != NULL) {
        value[record->value_size] = 0x5a;
        (void)firn_decode(&decoders, record->codec, NULL, value, record->value_size, record->payload,
                          record->payload_size);
        if (value[record->value_size] != 0x5a) {
            abort(); /* written beyond the value */
        }
    }
    firn_decoders_fini(&decoders);
    free(value);
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
    if (firn_record_check(bytes, size, 7) != NULL || firn_record_check(bytes, size, 8) == NULL ||
        firn_record_parse(bytes, size, &again) != NULL || again.codec != record->codec ||
        again.version != record->version || again.expires_ms != record->expires_ms ||
        again.written_ms != record->written_ms || again.value_size != record->value_size ||
        again.key_size != record->key_size || again.payload_size != record->payload_size ||
        memcmp(again.key, record->key, record->key_size) != 0) {
        abort();
    }
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    firn_record record;
    (void)firn_record_check(data, size, 1);
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
