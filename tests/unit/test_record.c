/* Records and codecs: what is written is read again, and what is damaged is told. */
#include <string.h>

#include <zstd.h>

#include <firn/options.h>

#include "cold/codec.h"
#include "cold/record.h"
#include "suite.h"

enum { ROOM = 4096, SEQUENCE = 77 };

static unsigned char bytes[ROOM];

/* A record in `bytes`; returns its size. */
static size_t write_record(const firn_record *record) {
    size_t size = firn_record_head(record, bytes);
    memcpy(bytes + size, record->key, record->key_size);
    size += record->key_size;
    memcpy(bytes + size, record->payload, record->payload_size);
    size += record->payload_size;
    firn_record_seal(bytes, size, NULL, 0, SEQUENCE);
    return size;
}

static const firn_record sample = {
    .codec = 0,
    .version = 123456789,
    .written_ms = 5000,
    .key = "the key",
    .key_size = 7,
    .value_size = 5,
    .payload = "value",
    .payload_size = 5,
};

START_TEST(what_is_written_is_read_again) {
    static const uint64_t numbers[] = {
        0, 1, 127, 128, 16383, 16384, UINT32_MAX, (uint64_t)1 << 48, INT64_MAX, UINT64_MAX};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        firn_record record = sample;
        record.version = record.written_ms = record.expires_ms = numbers[i];
        size_t size = write_record(&record);
        ck_assert_ptr_null(firn_record_check(bytes, size, SEQUENCE));
        firn_record found;
        ck_assert_ptr_null(firn_record_parse(bytes, size, &found));
        ck_assert_uint_eq(found.version, numbers[i]);
        ck_assert_uint_eq(found.written_ms, numbers[i]);
        ck_assert_uint_eq(found.expires_ms, numbers[i]);
        ck_assert_uint_eq(found.value_size, 5);
        ck_assert_uint_eq(found.key_size, 7);
        ck_assert_mem_eq(found.key, "the key", 7);
        ck_assert_uint_eq(found.payload_size, 5);
        ck_assert_mem_eq(found.payload, "value", 5);
    }
}
END_TEST

START_TEST(the_bytes_are_those_of_the_format) {
    firn_record record = sample;
    record.version = 300;
    record.expires_ms = 1;
    size_t size = write_record(&record);
    static const unsigned char after_the_checksum[] = {1,    16 /* no codec, an expiry */,
                                                       7,    5,
                                                       0xac, 0x02,
                                                       0x88, 0x27,
                                                       1,    't',
                                                       'h',  'e',
                                                       ' ',  'k',
                                                       'e',  'y',
                                                       'v',  'a',
                                                       'l',  'u',
                                                       'e'};
    ck_assert_uint_eq(size, 8 + sizeof after_the_checksum);
    ck_assert_mem_eq(bytes + 8, after_the_checksum, sizeof after_the_checksum);
}
END_TEST

START_TEST(a_payload_from_elsewhere_seals_the_same) {
    size_t size = write_record(&sample);
    unsigned char whole[ROOM];
    memcpy(whole, bytes, size);
    firn_record_seal(bytes, size - 5, "value", 5, SEQUENCE);
    ck_assert_mem_eq(bytes, whole, size);
}
END_TEST

START_TEST(any_changed_bit_and_any_other_place_is_noticed) {
    size_t size = write_record(&sample);
    for (size_t bit = 0; bit < size * 8; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        ck_assert_ptr_nonnull(firn_record_check(bytes, size, SEQUENCE));
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    ck_assert_ptr_null(firn_record_check(bytes, size, SEQUENCE));
    ck_assert_ptr_nonnull(firn_record_check(bytes, size, SEQUENCE + 1));
    ck_assert_ptr_nonnull(firn_record_check(bytes, size - 1, SEQUENCE));
    ck_assert_ptr_nonnull(firn_record_check(bytes, 0, SEQUENCE));
}
END_TEST

START_TEST(a_record_that_is_cut_off_is_refused_or_has_a_shorter_payload) {
    size_t size = write_record(&sample);
    for (size_t cut = 0; cut < size; cut++) {
        unsigned char *exact = malloc(cut + 1); /* so that a sanitizer sees every byte too many */
        memcpy(exact, bytes, cut);
        firn_record found;
        const char *wrong = firn_record_parse(exact, cut, &found);
        ck_assert(wrong != NULL || cut >= size - 5);
        free(exact);
    }
}
END_TEST

/* The head of a record, made of bytes. */
static const char *parse_of(const unsigned char *head, size_t size) {
    firn_record found;
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes + 8, head, size);
    return firn_record_parse(bytes, 8 + size, &found);
}

START_TEST(heads_that_make_no_sense_are_refused) {
    static const struct {
        const char *what;
        unsigned char head[24];
        size_t size;
    } wrong[] = {
        {"another format", {2, 0, 1, 0, 1, 0, 'k'}, 7},
        {"an unknown flag", {1, 32, 1, 0, 1, 0, 'k'}, 7},
        {"an empty key", {1, 0, 0, 0, 1, 0, 'k'}, 7},
        {"a key beyond the end", {1, 0, 2, 0, 1, 0, 'k'}, 7},
        {"a varint without an end", {1, 0, 0xff, 0xff, 0xff, 0xff}, 6},
        {"a varint beyond 64 bits",
         {1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0, 0, 0, 'k'},
         16},
        {"a varint of eleven bytes",
         {1, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0, 0, 0, 'k'},
         17},
        {"a value above the largest", {1, 0, 1, 0x80, 0x80, 0x80, 0x80, 0x10, 1, 0, 'k'}, 11},
        {"an expiry that is missing", {1, 16, 1, 0, 1, 0}, 6},
    };
    static const unsigned char right[] = {1, 0, 1, 0, 1, 0, 'k'};
    ck_assert_ptr_null(parse_of(right, sizeof right));
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ck_assert_msg(parse_of(wrong[i].head, wrong[i].size) != NULL, "%s", wrong[i].what);
    }
}
END_TEST

/* ---- codecs ---- */

static size_t compress_zeros(unsigned char *to, size_t room, size_t value_size) {
    void *value = calloc(1, value_size + 1);
    size_t used = ZSTD_compress(to, room, value, value_size, 3);
    ck_assert(!ZSTD_isError(used));
    free(value);
    return used;
}

START_TEST(zstd_gives_back_what_it_was_given) {
    char value[3000];
    memset(value, 'v', sizeof value);
    void *encoder = firn_codec_zstd.encoder_new();
    size_t used = firn_codec_zstd.encode(encoder, 3, bytes, sizeof bytes, value, sizeof value);
    ck_assert_uint_gt(used, 0);
    ck_assert_uint_lt(used, 100);
    firn_decoders decoders = {{NULL}};
    char found[sizeof value];
    ck_assert_ptr_null(
        firn_decode(&decoders, firn_codec_zstd.number, found, sizeof found, bytes, used));
    ck_assert_mem_eq(found, value, sizeof value);
    ck_assert_uint_eq(firn_codec_zstd.encode(encoder, 3, bytes, 5, value, sizeof value), 0);
    firn_decoders_fini(&decoders);
    firn_codec_zstd.encoder_free(encoder);
}
END_TEST

START_TEST(a_payload_never_decompresses_beyond_the_declared_size) {
    size_t used = compress_zeros(bytes, sizeof bytes, 100000);
    firn_decoders decoders = {{NULL}};
    unsigned char *small = malloc(50000);
    ck_assert_ptr_nonnull(
        firn_decode(&decoders, firn_codec_zstd.number, small, 50000, bytes, used));
    ck_assert_ptr_nonnull(
        firn_decode_plausible(firn_codec_zstd.number, bytes, used, (size_t)FIRN_VALUE_SIZE_MAX));
    ck_assert_ptr_null(firn_decode_plausible(firn_codec_zstd.number, bytes, used, 100000));
    /* Two frames in a row claim the size of the first. */
    memcpy(bytes + used, bytes, used);
    unsigned char *right = malloc(100000);
    ck_assert_ptr_nonnull(
        firn_decode(&decoders, firn_codec_zstd.number, right, 100000, bytes, 2 * used));
    ck_assert_ptr_nonnull(
        firn_decode(&decoders, firn_codec_zstd.number, right, 100000, bytes, used - 1));
    free(small);
    free(right);
    firn_decoders_fini(&decoders);
}
END_TEST

START_TEST(an_unknown_codec_is_refused) {
    firn_decoders decoders = {{NULL}};
    for (unsigned number = 2; number < 16; number++) {
        ck_assert_ptr_null(firn_codec_find(number));
        ck_assert_ptr_nonnull(firn_decode(&decoders, number, bytes, 5, "value", 5));
        ck_assert_ptr_nonnull(firn_decode_plausible(number, "value", 5, 5));
    }
}
END_TEST

START_TEST(what_is_stored_as_it_is_has_its_own_size) {
    firn_decoders decoders = {{NULL}};
    ck_assert_ptr_null(firn_decode(&decoders, 0, bytes, 5, "value", 5));
    ck_assert_mem_eq(bytes, "value", 5);
    ck_assert_ptr_nonnull(firn_decode(&decoders, 0, bytes, 6, "value", 5));
    ck_assert_ptr_nonnull(firn_decode_plausible(0, "value", 5, 4));
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, what_is_written_is_read_again);
    tcase_add_test(tcase, the_bytes_are_those_of_the_format);
    tcase_add_test(tcase, a_payload_from_elsewhere_seals_the_same);
    tcase_add_test(tcase, any_changed_bit_and_any_other_place_is_noticed);
    tcase_add_test(tcase, a_record_that_is_cut_off_is_refused_or_has_a_shorter_payload);
    tcase_add_test(tcase, heads_that_make_no_sense_are_refused);
    tcase_add_test(tcase, zstd_gives_back_what_it_was_given);
    tcase_add_test(tcase, a_payload_never_decompresses_beyond_the_declared_size);
    tcase_add_test(tcase, an_unknown_codec_is_refused);
    tcase_add_test(tcase, what_is_stored_as_it_is_has_its_own_size);
}

int main(void) {
    return run_suite("record", add_tests, 60);
}
