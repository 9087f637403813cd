/* Records and codecs: what is written is read again, and what is damaged is told. */
#include <string.h>

#include <zstd.h>

#include <firn/options.h>

#include "cold/codec.h"
#include "cold/dictionary.h"
#include "cold/record.h"
#include "suite.h"

enum { ROOM = 4096, SEQUENCE = 77 };

static unsigned char bytes[ROOM];

/* A record in `bytes`; returns its size. */
static size_t write_record(const firn_record *record) {
    size_t size = firn_record_head(record, bytes);
    memcpy(bytes + size, record->key, record->key_size);
    size += record->key_size;
    if (record->attributes.links_size > 0) {
        memcpy(bytes + size, record->attributes.links, record->attributes.links_size);
        size += record->attributes.links_size;
    }
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
    static const unsigned char raw[] = {
        0x20 | 8 /* the format, no codec, an expiry */,
        7 /* the key's size; the value's follows from the record's */,
        0xac,
        0x02 /* version */,
        0x88,
        0x27 /* written */,
        1 /* expiry */,
        't',
        'h',
        'e',
        ' ',
        'k',
        'e',
        'y',
        'v',
        'a',
        'l',
        'u',
        'e'};
    ck_assert_uint_eq(size, 8 + sizeof raw);
    ck_assert_mem_eq(bytes + 8, raw, sizeof raw);
    record.expires_ms = 0;
    record.codec = 1;
    record.dictionary = 129;
    record.value_size = 200;
    size = write_record(&record);
    static const unsigned char compressed[] = {0x20 | 4 | 1 /* a dictionary, zstd */,
                                               0x81,
                                               0x01 /* its id */,
                                               7,
                                               0xc8,
                                               0x01 /* the value's size */,
                                               0xac,
                                               0x02,
                                               0x88,
                                               0x27,
                                               't',
                                               'h',
                                               'e',
                                               ' ',
                                               'k',
                                               'e',
                                               'y',
                                               'v',
                                               'a',
                                               'l',
                                               'u',
                                               'e'};
    ck_assert_uint_eq(size, 8 + sizeof compressed);
    ck_assert_mem_eq(bytes + 8, compressed, sizeof compressed);
}
END_TEST

START_TEST(a_head_tells_all_but_the_payload_when_only_it_is_at_hand) {
    for (unsigned codec = 0; codec < 2; codec++) {
        firn_record record = sample;
        record.codec = codec;
        size_t size = write_record(&record);
        firn_record found;
        ck_assert_ptr_null(firn_record_parse_head(bytes, size - 5, size, &found));
        ck_assert_ptr_null(found.payload);
        ck_assert_uint_eq(found.payload_size, 5);
        ck_assert_uint_eq(found.value_size, 5);
        ck_assert_mem_eq(found.key, "the key", 7);
        ck_assert_ptr_nonnull(firn_record_parse_head(bytes, size - 6, size, &found));
    }
}
END_TEST

static const uint64_t tags[2] = {UINT64_MAX, 1};

/* The bits of a number say what there is: a type, links, an owner, a body, an interned value, a
 * cost, a sliding expiry, that there is no value, tags. */
static firn_attributes attributes_of(unsigned which) {
    firn_attributes attributes = {
        .owned = (which & 4) != 0, .body = (which & 8) != 0, .interned = (which & 16) != 0};
    if ((which & 1) != 0) {
        attributes.type = UINT32_MAX - which;
        attributes.type_version = which == 1 ? 0 : UINT32_MAX;
    }
    if ((which & 2) != 0) {
        attributes.links = "any bytes";
        attributes.links_size = 9;
    }
    attributes.interned_size = attributes.interned ? FIRN_VALUE_SIZE_MAX : 0;
    firn_traits *traits = &attributes.traits;
    traits->cost_us = (which & 32) != 0 && (which & 1) == 0 ? UINT32_MAX : 0;
    traits->stale_ms = (which & 32) != 0 && (which & 1) != 0 ? UINT32_MAX : 0;
    traits->idle_ms = (which & 64) != 0 ? UINT64_MAX : 0;
    traits->limit_ms = (which & 64) != 0 ? which : 0;
    traits->negative = (which & 128) != 0;
    traits->tags = (which & 256) != 0 ? tags : NULL;
    traits->tag_count = (which & 256) != 0 ? 1 + which % 2 : 0;
    return attributes;
}

static void check_attributes(const firn_attributes *found, const firn_attributes *expected) {
    ck_assert_uint_eq(found->type, expected->type);
    ck_assert_uint_eq(found->type_version, expected->type_version);
    ck_assert_uint_eq(found->owned, expected->owned);
    ck_assert_uint_eq(found->body, expected->body);
    ck_assert_uint_eq(found->interned, expected->interned);
    ck_assert_uint_eq(found->interned_size, expected->interned_size);
    ck_assert_uint_eq(found->links_size, expected->links_size);
    if (expected->links_size > 0) {
        ck_assert_mem_eq(found->links, expected->links, expected->links_size);
    }
    const firn_traits *traits = &expected->traits;
    ck_assert_uint_eq(found->traits.cost_us, traits->cost_us);
    ck_assert_uint_eq(found->traits.stale_ms, traits->stale_ms);
    ck_assert_uint_eq(found->traits.idle_ms, traits->idle_ms);
    ck_assert_uint_eq(found->traits.limit_ms, traits->limit_ms);
    ck_assert(found->traits.negative == traits->negative);
    ck_assert_uint_eq(found->traits.tag_count, traits->tag_count);
    if (traits->tag_count > 0) {
        ck_assert_mem_eq(found->traits.tags, traits->tags, firn_traits_tags_size(traits));
    }
}

START_TEST(attributes_are_read_as_written) {
    for (unsigned which = 0; which < 512; which++) {
        firn_record record = sample;
        record.codec = which % 2;
        record.expires_ms = which % 3;
        record.attributes = attributes_of(which);
        size_t size = write_record(&record);
        firn_record found;
        ck_assert_ptr_null(firn_record_check(bytes, size, SEQUENCE));
        ck_assert_uint_eq(bytes[8] >> 4, which == 0 ? 2 : 5);
        for (size_t held = size - 5; held <= size; held += 5) {
            ck_assert_ptr_null(firn_record_parse_head(bytes, held, size, &found));
            check_attributes(&found.attributes, &record.attributes);
            ck_assert_mem_eq(found.key, "the key", 7);
            ck_assert_uint_eq(found.value_size, 5);
            ck_assert_uint_eq(found.payload_size, 5);
        }
        ck_assert_mem_eq(found.payload, "value", 5);
    }
}
END_TEST

START_TEST(links_that_are_not_at_hand_are_not_given) {
    firn_record record = sample;
    record.attributes = attributes_of(2);
    size_t size = write_record(&record);
    firn_record found;
    ck_assert_ptr_null(firn_record_parse_head(bytes, size - 6, size, &found));
    ck_assert_ptr_null(found.attributes.links);
    ck_assert_uint_eq(found.attributes.links_size, 9);
    ck_assert_ptr_null(firn_record_parse_head(bytes, size - 14, size, &found));
    ck_assert_ptr_nonnull(firn_record_parse_head(bytes, size - 15, size, &found));
}
END_TEST

START_TEST(the_bytes_of_attributes_are_those_of_the_format) {
    firn_record record = sample;
    record.version = 3;
    record.written_ms = 4;
    record.key_size = 1;
    record.payload_size = record.value_size = 1;
    record.attributes = (firn_attributes){.type = 300,
                                          .type_version = 2,
                                          .owned = true,
                                          .body = true,
                                          .interned = true,
                                          .interned_size = 5,
                                          .links = "LL",
                                          .links_size = 2,
                                          .traits = {.cost_us = 6,
                                                     .stale_ms = 7,
                                                     .idle_ms = 8,
                                                     .limit_ms = 9,
                                                     .negative = true,
                                                     .tag_count = 1,
                                                     .tags = "abcdefgh"}};
    static const unsigned char expected[] = {0x50, 1,   3,   4,   0xff, 0x03, 0xac, 0x02, 2,   2,
                                             5,    6,   7,   8,   9,    1,    'a',  'b',  'c', 'd',
                                             'e',  'f', 'g', 'h', 't',  'L',  'L',  'v'};
    size_t size = write_record(&record);
    ck_assert_uint_eq(size, 8 + sizeof expected);
    ck_assert_mem_eq(bytes + 8, expected, sizeof expected);
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
        {"another format", {0x10, 1, 1, 0, 'k'}, 5},
        {"an empty key", {0x20, 0, 1, 0, 'k'}, 5},
        {"a key beyond the end", {0x20, 2, 1, 0, 'k'}, 5},
        {"a varint without an end", {0x20, 0xff, 0xff, 0xff, 0xff}, 5},
        {"a varint beyond 64 bits",
         {0x20, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0, 'k'},
         14},
        {"a varint of eleven bytes",
         {0x20, 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0, 'k'},
         15},
        {"a value above the largest", {0x21, 1, 0x80, 0x80, 0x80, 0x80, 0x10, 1, 0, 'k'}, 10},
        {"an expiry that is missing", {0x28, 1, 1, 0}, 4},
        {"a dictionary for what is stored as it is", {0x24, 1, 1, 1, 0, 'k'}, 6},
        {"a dictionary without an id", {0x25, 0, 1, 1, 1, 0, 'k'}, 7},
        {"a dictionary beyond 32 bits", {0x25, 0x80, 0x80, 0x80, 0x80, 0x10, 1, 1, 1, 0, 'k'}, 11},
        {"a format that is not known", {0x60, 1, 1, 0, 4, 'k'}, 6},
        {"attributes that are cut off", {0x50, 1, 1, 0}, 4},
        {"attributes of which there are none", {0x50, 1, 1, 0, 0, 'k'}, 6},
        {"attributes that are not known", {0x50, 1, 1, 0, 0x80, 0x04, 'k'}, 7},
        {"a cost and a staleness of nothing", {0x50, 1, 1, 0, 32, 0, 0, 'k'}, 8},
        {"a cost beyond 32 bits", {0x50, 1, 1, 0, 32, 0x80, 0x80, 0x80, 0x80, 0x10, 0, 'k'}, 12},
        {"an idle time of nothing", {0x50, 1, 1, 0, 64, 0, 1, 'k'}, 8},
        {"no tags", {0x50, 1, 1, 0, 0x80, 0x02, 0, 'k'}, 8},
        {"too many tags", {0x50, 1, 1, 0, 0x80, 0x02, 33, 'k'}, 8},
        {"tags that are cut off", {0x50, 1, 1, 0, 0x80, 0x02, 1, 'k', 'k', 'k'}, 10},
        {"a type without a number", {0x50, 1, 1, 0, 1, 0, 1, 'k'}, 8},
        {"a type beyond 32 bits", {0x50, 1, 1, 0, 1, 0x80, 0x80, 0x80, 0x80, 0x10, 1, 'k'}, 12},
        {"a type's version beyond 32 bits",
         {0x50, 1, 1, 0, 1, 1, 0x80, 0x80, 0x80, 0x80, 0x10, 'k'},
         12},
        {"a type that is cut off", {0x50, 1, 1, 0, 1, 1}, 6},
        {"links without bytes", {0x50, 1, 1, 0, 2, 0, 'k'}, 7},
        {"links beyond the end", {0x50, 1, 1, 0, 2, 2, 'k', 'L'}, 8},
        {"links of nearly all the bytes there can be",
         {0x50, 1, 1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 'k'},
         16},
        {"an interned value above the largest",
         {0x50, 1, 1, 0, 16, 0x80, 0x80, 0x80, 0x80, 0x10, 'k'},
         11},
    };
    static const unsigned char right[] = {0x20, 1, 1, 0, 'k'};
    static const unsigned char with_attributes[] = {0x50, 1, 1, 0, 7, 1, 0, 1, 'k', 'L'};
    ck_assert_ptr_null(parse_of(with_attributes, sizeof with_attributes));
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

/* Encodes into `bytes`, with the room that encoders ask for. */
static size_t encode(void *encoder, const firn_dictionary *dictionary, size_t capacity,
                     const void *value, size_t size) {
    static unsigned char room[FIRN_ENCODE_LEAD + ROOM];
    size_t used =
        firn_codec_zstd.encode(encoder, dictionary, room + FIRN_ENCODE_LEAD, capacity, value, size);
    memcpy(bytes, room + FIRN_ENCODE_LEAD, used);
    return used;
}

START_TEST(zstd_gives_back_what_it_was_given) {
    static const size_t sizes[] = {64, 255, 256, 257, 3000, 16384, 16385, 65536 + 255, 300000};
    void *encoder = firn_codec_zstd.encoder_new(3);
    firn_decoders decoders = {{NULL}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        unsigned char *value = malloc(sizes[i]);
        unsigned char *found = malloc(sizes[i]);
        memset(value, 'v', sizes[i]);
        value[sizes[i] / 2] = 'w';
        size_t used = encode(encoder, NULL, ROOM, value, sizes[i]);
        ck_assert_uint_gt(used, 0);
        ck_assert_uint_lt(used, 100);
        ck_assert_ptr_null(firn_decode_plausible(firn_codec_zstd.number, bytes, used, sizes[i]));
        ck_assert_ptr_null(
            firn_decode(&decoders, firn_codec_zstd.number, NULL, found, sizes[i], bytes, used));
        ck_assert_mem_eq(found, value, sizes[i]);
        ck_assert_uint_eq(encode(encoder, NULL, 5, value, sizes[i]), 0);
        free(found);
        free(value);
    }
    firn_decoders_fini(&decoders);
    firn_codec_zstd.encoder_free(encoder);
}
END_TEST

START_TEST(a_small_value_has_no_frame_header) {
    char value[256];
    unsigned char frame[512];
    for (unsigned i = 0; i < sizeof value; i++) {
        value[i] = "a small value"[i % 13];
    }
    void *encoder = firn_codec_zstd.encoder_new(3);
    size_t used = encode(encoder, NULL, sizeof value, value, sizeof value);
    size_t whole = ZSTD_compress(frame, sizeof frame, value, sizeof value, 3);
    ck_assert_uint_eq(used, whole - 7); /* magic number, descriptor, size */
    ck_assert_mem_eq(bytes, frame + 7, used);
    firn_codec_zstd.encoder_free(encoder);
}
END_TEST

START_TEST(a_damaged_payload_of_a_small_value_is_told_or_gives_as_many_bytes) {
    unsigned char value[600];
    unsigned char *found = malloc(sizeof value);
    for (unsigned i = 0; i < sizeof value; i++) {
        value[i] = (unsigned char)(i * i / 7);
    }
    memset(value + 100, 'x', 300);
    void *encoder = firn_codec_zstd.encoder_new(3);
    size_t used = encode(encoder, NULL, sizeof value, value, sizeof value);
    ck_assert_uint_gt(used, 0);
    firn_decoders decoders = {{NULL}};
    unsigned told = 0;
    for (size_t bit = 0; bit < used * 8; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        told += firn_decode(&decoders, firn_codec_zstd.number, NULL, found, sizeof value, bytes,
                            used) != NULL;
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    ck_assert_uint_gt(told, 0);
    static unsigned char most[20000]; /* more than a small value may have */
    ck_assert_ptr_nonnull(firn_decode(&decoders, firn_codec_zstd.number, NULL, found, sizeof value,
                                      most, sizeof most));
    ck_assert_ptr_nonnull(
        firn_decode_plausible(firn_codec_zstd.number, most, sizeof most, sizeof value));
    firn_decoders_fini(&decoders);
    firn_codec_zstd.encoder_free(encoder);
    free(found);
}
END_TEST

START_TEST(a_payload_never_decompresses_beyond_the_declared_size) {
    size_t used = compress_zeros(bytes, sizeof bytes, 100000);
    firn_decoders decoders = {{NULL}};
    unsigned char *small = malloc(50000);
    ck_assert_ptr_nonnull(
        firn_decode(&decoders, firn_codec_zstd.number, NULL, small, 50000, bytes, used));
    ck_assert_ptr_nonnull(
        firn_decode_plausible(firn_codec_zstd.number, bytes, used, (size_t)FIRN_VALUE_SIZE_MAX));
    ck_assert_ptr_null(firn_decode_plausible(firn_codec_zstd.number, bytes, used, 100000));
    /* Two frames in a row claim the size of the first. */
    memcpy(bytes + used, bytes, used);
    unsigned char *right = malloc(100000);
    ck_assert_ptr_nonnull(
        firn_decode(&decoders, firn_codec_zstd.number, NULL, right, 100000, bytes, 2 * used));
    ck_assert_ptr_nonnull(
        firn_decode(&decoders, firn_codec_zstd.number, NULL, right, 100000, bytes, used - 1));
    free(small);
    free(right);
    firn_decoders_fini(&decoders);
}
END_TEST

START_TEST(an_unknown_codec_is_refused) {
    firn_decoders decoders = {{NULL}};
    for (unsigned number = 2; number < FIRN_CODECS_MAX; number++) {
        ck_assert_ptr_null(firn_codec_find(number));
        ck_assert_ptr_nonnull(firn_decode(&decoders, number, NULL, bytes, 5, "value", 5));
        ck_assert_ptr_nonnull(firn_decode_plausible(number, "value", 5, 5));
    }
}
END_TEST

START_TEST(what_is_stored_as_it_is_has_its_own_size) {
    firn_decoders decoders = {{NULL}};
    ck_assert_ptr_null(firn_decode(&decoders, 0, NULL, bytes, 5, "value", 5));
    ck_assert_mem_eq(bytes, "value", 5);
    ck_assert_ptr_nonnull(firn_decode(&decoders, 0, NULL, bytes, 6, "value", 5));
    ck_assert_ptr_nonnull(firn_decode_plausible(0, "value", 5, 4));
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, what_is_written_is_read_again);
    tcase_add_test(tcase, the_bytes_are_those_of_the_format);
    tcase_add_test(tcase, a_head_tells_all_but_the_payload_when_only_it_is_at_hand);
    tcase_add_test(tcase, attributes_are_read_as_written);
    tcase_add_test(tcase, links_that_are_not_at_hand_are_not_given);
    tcase_add_test(tcase, the_bytes_of_attributes_are_those_of_the_format);
    tcase_add_test(tcase, a_payload_from_elsewhere_seals_the_same);
    tcase_add_test(tcase, any_changed_bit_and_any_other_place_is_noticed);
    tcase_add_test(tcase, a_record_that_is_cut_off_is_refused_or_has_a_shorter_payload);
    tcase_add_test(tcase, heads_that_make_no_sense_are_refused);
    tcase_add_test(tcase, zstd_gives_back_what_it_was_given);
    tcase_add_test(tcase, a_small_value_has_no_frame_header);
    tcase_add_test(tcase, a_damaged_payload_of_a_small_value_is_told_or_gives_as_many_bytes);
    tcase_add_test(tcase, a_payload_never_decompresses_beyond_the_declared_size);
    tcase_add_test(tcase, an_unknown_codec_is_refused);
    tcase_add_test(tcase, what_is_stored_as_it_is_has_its_own_size);
}

int main(void) {
    return run_suite("record", add_tests, 60);
}
