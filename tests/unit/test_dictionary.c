/* Dictionaries, effort and the crew: what is worth it is done, what is damaged is told, and every
 * value comes back. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include <fcntl.h>

#include "base/hash.h"
#include "cold/codec.h"
#include "cold/cold.h"
#include "cold/crew.h"
#include "cold/dictionary.h"
#include "cold/effort.h"
#include "cold/encoding.h"
#include "cold/trainer.h"
#include "suite.h"
#include "support.h"

enum { KIB = 1024, MIB = 1024 * 1024, VALUE = 256 };

/* ---- values, a function of their number ---- */

static uint64_t mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static void fill_noise(unsigned char *to, size_t size, uint64_t number) {
    for (size_t i = 0; i < size; i++) {
        to[i] = (unsigned char)(mix(number << 20 ^ i / 8) >> (i % 8 * 8));
    }
}

/* Records of a table: names that come again in each, and data that does not. `kind` is the
 * table. */
static void fill_text(unsigned char *to, size_t size, uint64_t number, unsigned kind) {
    static const char *const states[] = {"active", "closed", "pending", "suspended"};
    char line[400];
    for (size_t at = 0; at < size;) {
        uint64_t a = mix(number << 8 ^ at);
        unsigned small = (unsigned)(a & 0xffff);
        unsigned month = (unsigned)(a >> 20 & 7) + 1;
        unsigned amount = (unsigned)(a >> 24 & 0xfff);
        unsigned other = (unsigned)(a >> 40 & 0xffff);
        const char *state = states[a >> 16 & 3];
        int length =
            kind == 0
                ? snprintf(line, sizeof line,
                           "{\"account\":%u,\"status\":\"%s\",\"created\":\"2024-%02u-11\","
                           "\"balance\":%u.25,\"owner\":\"user-%u@example.org\"}\n",
                           small, state, month, amount, other)
                : snprintf(line, sizeof line,
                           "<row sensor='%u' state='%s' month='%02u'><temperature unit='celsius'>"
                           "%u</temperature><station>weather-station-%u</station></row>\n",
                           small, state, month, amount, other);
        size_t part = (size_t)length < size - at ? (size_t)length : size - at;
        memcpy(to + at, line, part);
        at += part;
    }
}

/* ---- memory that runs out ---- */

typedef struct faulty {
    long countdown; /* the allocation that brings it to 0 fails, and no other */
    long live;
    bool hit;
} faulty;

static void *faulty_alloc(void *context, size_t size) {
    faulty *self = context;
    if (self->countdown > 0 && --self->countdown == 0) {
        self->hit = true;
        return NULL;
    }
    self->live += (long)size;
    return malloc(size);
}

static void faulty_free(void *context, void *memory, size_t size) {
    ((faulty *)context)->live -= (long)size;
    free(memory);
}

static firn_heap *faulty_heap(faulty *memory) {
    return firn_heap_new(&(firn_allocator){faulty_alloc, faulty_free, memory});
}

/* ---- effort ---- */

START_TEST(noise_is_told_from_everything_else) {
    unsigned char value[4096];
    for (size_t size = 64; size <= sizeof value; size *= 2) {
        unsigned wrong = 0;
        for (uint64_t number = 0; number < 200; number++) {
            fill_noise(value, size, number);
            wrong += !firn_looks_random(value, size);
            fill_text(value, size, number, 0);
            wrong += firn_looks_random(value, size);
        }
        ck_assert_msg(wrong <= 2, "%u of 400 at %zu bytes", wrong, size);
    }
    memset(value, 0, sizeof value);
    ck_assert(!firn_looks_random(value, sizeof value));
}
END_TEST

/* How many of `count` values are tried when each becomes smaller or none does. */
static unsigned tries(firn_effort *effort, unsigned count, size_t size, bool noise, bool smaller) {
    static unsigned char value[8192];
    unsigned tried = 0;
    for (unsigned i = 0; i < count; i++) {
        if (noise) {
            fill_noise(value, size, i);
        } else {
            fill_text(value, size, i, 0);
        }
        if (firn_effort_try(effort, value, size)) {
            tried++;
            firn_effort_tell(effort, size, smaller);
        }
    }
    return tried;
}

START_TEST(what_never_becomes_smaller_is_hardly_tried_any_more) {
    firn_effort effort = {0};
    ck_assert_uint_le(tries(&effort, 1600, 8192, true, false), 1600 / 16 + 10);
    /* Nor if it does not look like noise. */
    memset(&effort, 0, sizeof effort);
    ck_assert_uint_le(tries(&effort, 6400, 300, false, false), 6400 / 64 + 160);
}
END_TEST

START_TEST(what_becomes_smaller_is_always_tried_whatever_other_sizes_do) {
    firn_effort effort = {0};
    tries(&effort, 1000, 8192, true, false);
    ck_assert_uint_eq(tries(&effort, 1000, 300, false, true), 1000);
}
END_TEST

START_TEST(a_class_of_sizes_that_changes_is_noticed) {
    firn_effort effort = {0};
    tries(&effort, 1000, 300, false, false);
    tries(&effort, 200, 300, false, true);
    ck_assert_uint_eq(tries(&effort, 1000, 300, false, true), 1000);
    /* Even if it looks like noise, and is not: the same block again and again. */
    tries(&effort, 1000, 8192, true, false);
    tries(&effort, 2000, 8192, true, true);
    ck_assert_uint_eq(tries(&effort, 1000, 8192, true, true), 1000);
}
END_TEST

START_TEST(noise_between_text_is_not_tried_and_text_is) {
    firn_effort effort = {0};
    unsigned char value[1024];
    unsigned noise_tried = 0;
    unsigned text_tried = 0;
    for (unsigned i = 0; i < 1000; i++) {
        bool noise = i % 2 == 1;
        if (noise) {
            fill_noise(value, sizeof value, i);
        } else {
            fill_text(value, sizeof value, i, 0);
        }
        if (firn_effort_try(&effort, value, sizeof value)) {
            noise_tried += noise;
            text_tried += !noise;
            firn_effort_tell(&effort, sizeof value, !noise);
        }
    }
    ck_assert_uint_eq(text_tried, 500);
    ck_assert_uint_le(noise_tried, 150);
}
END_TEST

/* ---- the crew ---- */

enum { PIECES = 1000, CREW = 3 };

typedef struct labour {
    _Atomic unsigned done[PIECES];
    unsigned by_lane[CREW + 1]; /* not atomic: a lane is one thread at a time */
} labour;

static void do_piece(void *context, unsigned lane, size_t piece) {
    labour *self = context;
    atomic_fetch_add(&self->done[piece], 1);
    self->by_lane[lane]++;
}

START_TEST(a_crew_does_each_piece_once) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_crew *crew = firn_crew_new(heap, CREW);
    ck_assert_ptr_nonnull(crew);
    labour *self = calloc(1, sizeof *self);
    for (unsigned round = 1; round <= 200; round++) {
        size_t count = round % 3 == 0 ? 1 : PIECES;
        firn_crew_run(crew, count, do_piece, self);
    }
    firn_crew_run(crew, 0, do_piece, self);
    unsigned sum = 0;
    for (unsigned i = 0; i < PIECES; i++) {
        ck_assert_uint_eq(self->done[i], i == 0 ? 200 : 134);
    }
    for (unsigned lane = 0; lane <= CREW; lane++) {
        sum += self->by_lane[lane];
    }
    ck_assert_uint_eq(sum, 200 + 134 * (PIECES - 1));
    free(self);
    firn_crew_free(crew);
    firn_heap_unref(heap);
}
END_TEST

/* ---- training ---- */

/* Offers `bytes` of values of a kind; 2 is noise. */
static void offer(firn_trainer *trainer, uint64_t bytes, size_t size, unsigned kind,
                  const firn_dictionary *current) {
    static uint64_t number;
    static unsigned char value[FIRN_SAMPLE_VALUE_MAX];
    for (uint64_t at = 0; at < bytes && !firn_trainer_ready(trainer); at += size) {
        if (kind == 2) {
            fill_noise(value, size, ++number);
        } else {
            fill_text(value, size, ++number, kind);
        }
        firn_trainer_offer(trainer, value, size, kind == 2, current);
    }
}

/* A dictionary that was trained from such values; the caller's. */
static firn_dictionary *trained(firn_heap *heap, size_t size, unsigned kind, uint32_t id) {
    firn_trainer *trainer = firn_trainer_new(heap, 3, 64 * MIB);
    offer(trainer, MIB, size, kind, NULL);
    ck_assert(firn_trainer_ready(trainer));
    firn_trainer_train(trainer);
    firn_dictionary *made = firn_trainer_candidate(trainer);
    ck_assert_ptr_nonnull(made);
    firn_trainer_settle(trainer, true);
    firn_trainer_free(trainer);
    made->id = id;
    return made;
}

/* The mean size of a hundred values encoded. */
static size_t encoded_size(const firn_dictionary *dictionary, size_t size, unsigned kind) {
    unsigned char *value = malloc(size);
    unsigned char *found = malloc(size);
    unsigned char *to = malloc(FIRN_ENCODE_LEAD + size);
    void *encoder = firn_codec_zstd.encoder_new(3);
    firn_decoders decoders = {{NULL}};
    size_t sum = 0;
    for (uint64_t number = 1 << 20; number < (1 << 20) + 100; number++) {
        fill_text(value, size, number, kind);
        size_t used =
            firn_codec_zstd.encode(encoder, dictionary, to + FIRN_ENCODE_LEAD, size, value, size);
        ck_assert_uint_gt(used, 0);
        ck_assert_ptr_null(firn_decode(&decoders, firn_codec_zstd.number, dictionary, found, size,
                                       to + FIRN_ENCODE_LEAD, used));
        ck_assert_mem_eq(found, value, size);
        sum += used;
    }
    firn_decoders_fini(&decoders);
    firn_codec_zstd.encoder_free(encoder);
    free(to);
    free(found);
    free(value);
    return sum / 100;
}

START_TEST(values_of_a_kind_take_less_than_half_with_a_dictionary_of_their_kind) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_dictionary *dictionary = trained(heap, VALUE, 0, 1);
    ck_assert_uint_lt(encoded_size(dictionary, VALUE, 0) * 2, encoded_size(NULL, VALUE, 0));
    ck_assert_uint_lt(dictionary->tried_stored, dictionary->tried_bytes);
    /* Of another kind, and larger: they still come back. */
    (void)encoded_size(dictionary, VALUE, 1);
    (void)encoded_size(dictionary, 16384, 0);
    (void)encoded_size(dictionary, 20000, 0);
    firn_dictionary_free(heap, dictionary);
    firn_heap_unref(heap);
}
END_TEST

START_TEST(a_payload_is_refused_without_its_dictionary) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_dictionary *dictionary = trained(heap, VALUE, 0, 1);
    unsigned char value[VALUE];
    unsigned char found[VALUE];
    unsigned char to[FIRN_ENCODE_LEAD + VALUE];
    void *encoder = firn_codec_zstd.encoder_new(3);
    firn_decoders decoders = {{NULL}};
    fill_text(value, VALUE, 1, 0);
    size_t used =
        firn_codec_zstd.encode(encoder, dictionary, to + FIRN_ENCODE_LEAD, VALUE, value, VALUE);
    ck_assert_uint_gt(used, 0);
    ck_assert_ptr_nonnull(firn_decode(&decoders, firn_codec_zstd.number, NULL, found, VALUE,
                                      to + FIRN_ENCODE_LEAD, used));
    firn_decoders_fini(&decoders);
    firn_codec_zstd.encoder_free(encoder);
    firn_dictionary_free(heap, dictionary);
    firn_heap_unref(heap);
}
END_TEST

START_TEST(an_encoder_that_found_no_room_takes_a_dictionary) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_dictionary *dictionary = trained(heap, 64, 0, 1);
    unsigned char value[64];
    unsigned char to[FIRN_ENCODE_LEAD + sizeof value];
    void *encoder = firn_codec_zstd.encoder_new(3);
    fill_noise(value, sizeof value, 1);
    ck_assert_uint_eq(firn_codec_zstd.encode(encoder, NULL, to + FIRN_ENCODE_LEAD, sizeof value,
                                             value, sizeof value),
                      0);
    fill_text(value, sizeof value, 1, 0);
    ck_assert_uint_gt(firn_codec_zstd.encode(encoder, dictionary, to + FIRN_ENCODE_LEAD,
                                             sizeof value, value, sizeof value),
                      0);
    ck_assert_uint_lt(encoded_size(dictionary, sizeof value, 0), sizeof value * 2 / 3);
    firn_codec_zstd.encoder_free(encoder);
    firn_dictionary_free(heap, dictionary);
    firn_heap_unref(heap);
}
END_TEST

START_TEST(a_dictionary_that_hardly_saves_is_not_proposed) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_trainer *trainer = firn_trainer_new(heap, 3, 64 * MIB);
    static unsigned char value[4096];
    for (uint64_t number = 0; number < 1000 && !firn_trainer_ready(trainer); number++) {
        fill_noise(value, sizeof value, number);
        for (size_t i = 0; i < sizeof value; i++) {
            value[i] = "abcdefghijklmnop"[value[i] % 16]; /* half its size, and nothing in common */
        }
        firn_trainer_offer(trainer, value, sizeof value, false, NULL);
    }
    ck_assert(firn_trainer_ready(trainer));
    firn_trainer_train(trainer);
    ck_assert_ptr_null(firn_trainer_candidate(trainer));
    ck_assert(!firn_trainer_ready(trainer));
    firn_trainer_free(trainer);
    firn_heap_unref(heap);
}
END_TEST

START_TEST(a_second_dictionary_is_proposed_only_if_it_is_better_than_the_first) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_dictionary *first = trained(heap, VALUE, 0, 1);
    firn_trainer *trainer = firn_trainer_new(heap, 3, 64 * MIB);
    offer(trainer, MIB, VALUE, 0, first);
    ck_assert(firn_trainer_ready(trainer));
    firn_trainer_train(trainer);
    ck_assert_ptr_null(firn_trainer_candidate(trainer));
    offer(trainer, 5 * MIB, VALUE, 1, first); /* more have to go by this time */
    ck_assert(firn_trainer_ready(trainer));
    firn_trainer_train(trainer);
    ck_assert_ptr_nonnull(firn_trainer_candidate(trainer));
    firn_trainer_settle(trainer, false);
    ck_assert_ptr_null(firn_trainer_candidate(trainer));
    firn_trainer_free(trainer);
    firn_dictionary_free(heap, first);
    firn_heap_unref(heap);
}
END_TEST

START_TEST(noise_is_not_sampled) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_trainer *trainer = firn_trainer_new(heap, 3, MIB);
    offer(trainer, 4 * MIB, VALUE, 2, NULL);
    ck_assert(!firn_trainer_ready(trainer));
    firn_trainer_free(trainer);
    firn_heap_unref(heap);
}
END_TEST

START_TEST(samples_are_bounded_and_of_all_that_went_by) {
    faulty memory = {0};
    firn_heap *heap = faulty_heap(&memory);
    firn_trainer *trainer = firn_trainer_new(heap, 3, (uint64_t)1 << 40);
    offer(trainer, MIB, VALUE, 0, NULL);
    firn_trainer_train(trainer);
    firn_trainer_settle(trainer, false);
    /* The first half of one kind, the second of another: the dictionary knows both. */
    offer(trainer, 2 * MIB, VALUE, 0, NULL);
    offer(trainer, 4 * MIB, VALUE, 1, NULL);
    ck_assert(firn_trainer_ready(trainer));
    ck_assert_int_le(memory.live, 2 * MIB);
    firn_trainer_train(trainer);
    firn_dictionary *both = firn_trainer_candidate(trainer);
    ck_assert_ptr_nonnull(both);
    both->id = 1;
    for (unsigned kind = 0; kind < 2; kind++) {
        ck_assert_uint_lt(encoded_size(both, VALUE, kind) * 3, encoded_size(NULL, VALUE, kind) * 2);
    }
    firn_trainer_free(trainer); /* a candidate that was not settled goes with it */
    firn_heap_unref(heap);
    ck_assert_int_eq(memory.live, 0);
}
END_TEST

/* ---- how a dictionary is stored ---- */

START_TEST(any_changed_bit_of_a_stored_dictionary_is_noticed) {
    firn_heap *heap = firn_heap_new(NULL);
    unsigned char content[100];
    fill_text(content, sizeof content, 1, 0);
    firn_dictionary *dictionary = firn_dictionary_new(heap, 7, content, sizeof content);
    ck_assert_ptr_nonnull(dictionary);
    dictionary->first_sequence = 12345;
    dictionary->tried_bytes = 1000;
    dictionary->tried_stored = 300;
    unsigned char bytes[FIRN_DICTIONARY_HEAD + sizeof content];
    firn_dictionary_pack(dictionary, bytes);
    firn_bytes blob = {bytes, sizeof bytes};
    firn_dictionary head;
    ck_assert_ptr_null(firn_dictionary_check(&blob, 7, &head));
    ck_assert_uint_eq(head.first_sequence, 12345);
    ck_assert_uint_eq(head.tried_bytes, 1000);
    ck_assert_uint_eq(head.tried_stored, 300);
    ck_assert_uint_eq(head.size, sizeof content);
    ck_assert_ptr_nonnull(firn_dictionary_check(&blob, 8, &head));
    for (size_t bit = 0; bit < sizeof bytes * 8; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        ck_assert_ptr_nonnull(firn_dictionary_check(&blob, 7, &head));
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    for (size_t size = 0; size < sizeof bytes; size++) {
        blob.size = size;
        ck_assert_ptr_nonnull(firn_dictionary_check(&blob, 7, &head));
    }
    firn_dictionary_free(heap, dictionary);
    firn_heap_unref(heap);
}
END_TEST

/* ---- in a store ---- */

static struct {
    char *path;
    firn_heap *heap;
    firn_detail detail;
    firn_cold *cold;
    uint64_t version;
    faulty memory;
} at;

static firn_cold_config config_of(uint64_t budget) {
    return (firn_cold_config){
        .path = at.path,
        .heap = at.heap,
        .detail = &at.detail,
        .budget_bytes = budget,
        .compression_level = 3,
        .compression_min_bytes = 64,
    };
}

static void open_store(uint64_t budget) {
    firn_cold_config config = config_of(budget);
    ck_assert_int_eq(firn_cold_open(&at.cold, &config), FIRN_OK);
    at.version = firn_cold_version_next(at.cold);
}

static void close_store(void) {
    ck_assert_int_eq(firn_cold_close(at.cold, true), FIRN_OK);
    at.cold = NULL;
}

static void set_up(void) {
    at.path = scratch_path("dictionary");
    at.memory = (faulty){0};
    at.heap = faulty_heap(&at.memory);
    ck_assert_int_eq(firn_detail_init(&at.detail), 0);
}

static void tear_down(void) {
    if (at.cold != NULL) {
        firn_cold_close(at.cold, false);
        at.cold = NULL;
    }
    remove_tree(at.path);
    firn_detail_fini(&at.detail);
    firn_heap_unref(at.heap);
    ck_assert_int_eq(at.memory.live, 0);
}

static const char *words(void) {
    static char text[800];
    firn_detail_get(&at.detail, text, sizeof text);
    return text;
}

enum { BATCH = 512 };

/* Writes values first .. first + count - 1. */
static int write_values(uint64_t first, unsigned count, unsigned kind) {
    static unsigned char values[BATCH][VALUE];
    static uint64_t keys[BATCH];
    static firn_cold_item items[BATCH];
    for (unsigned done = 0; done < count; done += BATCH) {
        unsigned part = count - done < BATCH ? count - done : BATCH;
        for (unsigned i = 0; i < part; i++) {
            keys[i] = first + done + i;
            fill_text(values[i], VALUE, keys[i], kind);
            items[i] = (firn_cold_item){
                .hash = firn_hash64(firn_cold_seed(at.cold), &keys[i], sizeof keys[i]),
                .version = at.version++,
                .key = &keys[i],
                .key_size = sizeof keys[i],
                .value = values[i],
                .value_size = VALUE,
            };
        }
        int result = firn_cold_write(at.cold, items, part, at.version);
        if (result != FIRN_OK) {
            return result;
        }
    }
    return FIRN_OK;
}

static void put_values(uint64_t first, unsigned count, unsigned kind) {
    int result = write_values(first, count, kind);
    ck_assert_msg(result == FIRN_OK, "%s: %s", firn_strerror(result), words());
}

static void *place_in(void *context, const firn_cold_meta *meta) {
    return meta->value_size == VALUE ? context : NULL;
}

static int read_value(uint64_t number, unsigned char *value) {
    uint64_t hash = firn_hash64(firn_cold_seed(at.cold), &number, sizeof number);
    return firn_cold_read(at.cold, hash, &number, sizeof number, place_in, value, NULL);
}

/* How many of them are there; each is what it was. */
static unsigned count_values(uint64_t first, unsigned count, unsigned kind) {
    unsigned there = 0;
    for (uint64_t number = first; number < first + count; number++) {
        unsigned char value[VALUE];
        unsigned char wanted[VALUE];
        int result = read_value(number, value);
        if (result == FIRN_NOT_FOUND) {
            continue;
        }
        ck_assert_msg(result == FIRN_OK, "%s: %s", firn_strerror(result), words());
        fill_text(wanted, VALUE, number, kind);
        ck_assert_mem_eq(value, wanted, VALUE);
        there++;
    }
    return there;
}

/* How many dictionaries the store has. */
static unsigned dictionaries(void) {
    unsigned count = 0;
    firn_dictionary_info found = {.id = 0};
    while (firn_cold_next_dictionary(at.cold, found.id + 1, &found) == FIRN_OK) {
        count++;
    }
    return count;
}

static uint32_t only_dictionary(void) {
    firn_dictionary_info found;
    ck_assert_uint_eq(dictionaries(), 1);
    ck_assert_int_eq(firn_cold_next_dictionary(at.cold, 0, &found), FIRN_OK);
    return found.id;
}

static bool has_dictionary(uint32_t id) {
    firn_dictionary_info found;
    return firn_cold_next_dictionary(at.cold, id, &found) == FIRN_OK && found.id == id;
}

static double ratio_of_last(unsigned count, uint64_t first, unsigned kind) {
    firn_cold_stats before;
    firn_cold_stats after;
    firn_cold_get_stats(at.cold, &before);
    put_values(first, count, kind);
    firn_cold_get_stats(at.cold, &after);
    return (double)(after.stored_bytes - before.stored_bytes) /
           (double)(after.value_bytes - before.value_bytes);
}

START_TEST(a_dictionary_is_trained_beside_the_writer_and_kept_for_the_next_process) {
    open_store(64 * MIB);
    ck_assert(!firn_cold_maintain(at.cold));
    double without = ratio_of_last(1500, 0, 0);
    ck_assert_uint_eq(dictionaries(), 0);
    ck_assert(firn_cold_maintain(at.cold));
    ck_assert(!firn_cold_maintain(at.cold));
    ck_assert_uint_eq(dictionaries(), 0); /* the writer takes it over */
    double with = ratio_of_last(1500, 1500, 0);
    uint32_t id = only_dictionary();
    ck_assert(with < without / 2);
    ck_assert_uint_eq(count_values(0, 3000, 0), 3000);
    close_store();

    open_store(64 * MIB);
    ck_assert_uint_eq(count_values(0, 3000, 0), 3000);
    double again = ratio_of_last(1000, 3000, 0);
    ck_assert(again < without / 2);
    ck_assert_uint_eq(only_dictionary(), id);
    ck_assert_uint_eq(count_values(0, 4000, 0), 4000);
    firn_dictionary_info found;
    ck_assert_int_eq(firn_cold_next_dictionary(at.cold, 0, &found), FIRN_OK);
    ck_assert(!found.damaged);
    ck_assert_uint_gt(found.tried_bytes, found.tried_stored);
    close_store();

    firn_cold_config config = config_of(64 * MIB);
    config.read_only = true;
    ck_assert_int_eq(firn_cold_open(&at.cold, &config), FIRN_OK);
    ck_assert_uint_eq(count_values(0, 4000, 0), 4000);
    ck_assert(!firn_cold_maintain(at.cold));
    ck_assert_uint_eq(only_dictionary(), id);
}
END_TEST

START_TEST(a_store_looked_into_from_outside_knows_its_dictionaries) {
    open_store(64 * MIB);
    put_values(0, 1500, 0);
    ck_assert(firn_cold_maintain(at.cold));
    put_values(1500, 1500, 0);
    close_store();
    firn_store *store;
    ck_assert_int_eq(firn_store_open(&store, at.path, NULL, 0), FIRN_OK);
    firn_store_entry entry = FIRN_STORE_ENTRY_INIT;
    unsigned count = 0;
    while (firn_store_next(store, FIRN_STORE_VALUES, &entry) == FIRN_OK) {
        uint64_t number;
        unsigned char wanted[VALUE];
        ck_assert(!entry.damaged);
        memcpy(&number, entry.key, sizeof number);
        fill_text(wanted, VALUE, number, 0);
        ck_assert_uint_eq(entry.value_size, VALUE);
        ck_assert_mem_eq(entry.value, wanted, VALUE);
        count++;
    }
    ck_assert_uint_eq(count, 3000);
    firn_verify_report report = FIRN_VERIFY_REPORT_INIT;
    ck_assert_int_eq(firn_store_verify(store, &report, NULL, NULL), FIRN_OK);
    firn_store_close(store);
}
END_TEST

START_TEST(when_the_data_changes_so_does_the_dictionary_and_the_old_one_goes_with_its_records) {
    open_store(8 * MIB);
    put_values(0, 1500, 0);
    ck_assert(firn_cold_maintain(at.cold));
    put_values(1500, 500, 0);
    uint32_t first = only_dictionary();
    uint64_t next = 2000;
    for (unsigned i = 0; i < 60 && !firn_cold_maintain(at.cold); i++) {
        put_values(next, 500, 1);
        next += 500;
    }
    double changed = ratio_of_last(500, next, 1);
    next += 500;
    ck_assert_uint_ge(dictionaries(), has_dictionary(first) ? 2 : 1);
    ck_assert(changed < 0.5);
    /* In one process or the next: what is there is read, and once no record is left that the first
     * one made, it is gone. */
    (void)count_values(0, 2000, 0);
    ck_assert_uint_gt(count_values(2000, (unsigned)next - 2000, 1), 0);
    for (unsigned i = 0; i < 200 && has_dictionary(first); i++) {
        put_values(next, 1000, 1);
        next += 1000;
        if (i % 20 == 19) {
            close_store();
            open_store(8 * MIB);
        }
    }
    ck_assert(!has_dictionary(first));
    ck_assert_uint_ge(dictionaries(), 1);
    ck_assert_uint_eq(count_values(0, 2000, 0), 0);
    ck_assert_uint_gt(count_values(next - 1000, 1000, 1), 0);
}
END_TEST

START_TEST(an_older_dictionary_stays_while_a_record_needs_it) {
    open_store(64 * MIB);
    put_values(0, 1500, 0);
    ck_assert(firn_cold_maintain(at.cold));
    put_values(1500, 500, 0);
    uint64_t next = 2000;
    for (unsigned i = 0; i < 60 && !firn_cold_maintain(at.cold); i++) {
        put_values(next, 500, 1);
        next += 500;
    }
    put_values(next, 500, 1);
    ck_assert_uint_eq(dictionaries(), 2);
    close_store();
    open_store(64 * MIB);
    put_values(next + 500, 10, 1);
    ck_assert_uint_eq(dictionaries(), 2);
    ck_assert_uint_eq(count_values(0, 2000, 0), 2000);
}
END_TEST

/* Takes the blob of a dictionary away, or turns a bit of it. */
static void spoil(uint32_t number, bool remove) {
    char name[40];
    snprintf(name, sizeof name, "firn.blob.%016x", number);
    char *path = join(at.path, name);
    if (remove) {
        ck_assert_int_eq(unlink(path), 0);
    } else {
        off_t middle = (off_t)file_size(at.path, name) / 2;
        unsigned char byte;
        int fd = open(path, O_RDWR);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq((int)pread(fd, &byte, 1, middle), 1);
        byte ^= 4;
        ck_assert_int_eq((int)pwrite(fd, &byte, 1, middle), 1);
        close(fd);
    }
    free(path);
}

static void lose_a_dictionary(bool remove, const char *said) {
    open_store(64 * MIB);
    put_values(0, 1500, 0);
    ck_assert(firn_cold_maintain(at.cold));
    put_values(1500, 600, 0);
    uint32_t first = only_dictionary();
    close_store();
    spoil(first, remove);

    open_store(64 * MIB);
    unsigned char value[VALUE];
    ck_assert_uint_eq(count_values(0, 1500, 0), 1500); /* made without it */
    ck_assert_int_eq(read_value(2000, value), FIRN_ECORRUPT);
    ck_assert_msg(strstr(words(), said) != NULL, "%s", words());
    firn_cold_stats stats;
    firn_cold_get_stats(at.cold, &stats);
    ck_assert_uint_eq(stats.damaged, 1);
    /* Life goes on: a put of the key mends it, and another dictionary comes. */
    put_values(1500, 1500, 0);
    ck_assert_uint_eq(count_values(0, 3000, 0), 3000);
    ck_assert(firn_cold_maintain(at.cold));
    put_values(3000, 1500, 0);
    ck_assert_uint_eq(count_values(0, 4500, 0), 4500);
    ck_assert(has_dictionary(first) == !remove);
    ck_assert_uint_eq(dictionaries(), remove ? 1 : 2);
    close_store();

    firn_store *store;
    firn_verify_report report = FIRN_VERIFY_REPORT_INIT;
    ck_assert_int_eq(firn_store_open(&store, at.path, NULL, 0), FIRN_OK);
    ck_assert_int_eq(firn_store_verify(store, &report, NULL, NULL), FIRN_OK);
    firn_store_close(store);
}

START_TEST(records_whose_dictionary_is_damaged_are_damaged_and_nothing_else_is) {
    lose_a_dictionary(false, "its dictionary is damaged");
}
END_TEST

START_TEST(records_whose_dictionary_is_gone_are_damaged_and_nothing_else_is) {
    lose_a_dictionary(true, "its dictionary is not in the store");
}
END_TEST

START_TEST(a_store_looked_into_tells_of_its_dictionaries) {
    open_store(64 * MIB);
    put_values(0, 1500, 0);
    ck_assert(firn_cold_maintain(at.cold));
    put_values(1500, 600, 0);
    uint32_t id = only_dictionary();
    close_store();
    firn_store *store;
    firn_store_info info = FIRN_STORE_INFO_INIT;
    ck_assert_int_eq(firn_store_open(&store, at.path, NULL, 0), FIRN_OK);
    ck_assert_int_eq(firn_store_get_info(store, &info), FIRN_OK);
    ck_assert_uint_eq(info.dictionaries, 1);
    ck_assert_uint_gt(info.dictionary_bytes, 1000);
    ck_assert_uint_eq(info.dictionary_entries, 600);
    firn_store_entry entry = FIRN_STORE_ENTRY_INIT;
    unsigned with = 0;
    while (firn_store_next(store, 0, &entry) == FIRN_OK) {
        ck_assert(entry.dictionary == 0 || entry.dictionary == id);
        with += entry.dictionary == id;
    }
    ck_assert_uint_eq(with, 600);
    firn_store_close(store);
}
END_TEST

START_TEST(a_store_looked_into_tells_which_records_lack_their_dictionary) {
    open_store(64 * MIB);
    put_values(0, 1500, 0);
    ck_assert(firn_cold_maintain(at.cold));
    put_values(1500, 600, 0);
    uint32_t first = only_dictionary();
    close_store();
    spoil(first, false);
    firn_store *store;
    ck_assert_int_eq(firn_store_open(&store, at.path, NULL, 0), FIRN_OK);
    firn_verify_report report = FIRN_VERIFY_REPORT_INIT;
    ck_assert_int_eq(firn_store_verify(store, &report, NULL, NULL), FIRN_ECORRUPT);
    ck_assert_uint_eq(report.records, 2100);
    ck_assert_uint_eq(report.records_damaged, 600);
    firn_store_entry entry = FIRN_STORE_ENTRY_INIT;
    unsigned damaged = 0;
    while (firn_store_next(store, FIRN_STORE_VALUES, &entry) == FIRN_OK) {
        damaged += entry.damaged;
    }
    ck_assert_uint_eq(damaged, 600);
    firn_store_close(store);
}
END_TEST

START_TEST(nothing_is_trained_when_nothing_is_compressed) {
    firn_cold_config config = config_of(64 * MIB);
    config.compression_level = FIRN_COMPRESSION_OFF;
    ck_assert_int_eq(firn_cold_open(&at.cold, &config), FIRN_OK);
    at.version = firn_cold_version_next(at.cold);
    put_values(0, 3000, 0);
    ck_assert(!firn_cold_maintain(at.cold));
    ck_assert_uint_eq(count_values(0, 3000, 0), 3000);
    ck_assert_uint_eq(dictionaries(), 0);
}
END_TEST

/* ---- with threads ---- */

typedef struct reading {
    _Atomic bool stop;
    _Atomic uint64_t written; /* values below are there */
    _Atomic unsigned failures;
    _Atomic unsigned reads;
} reading;

static void *read_on(void *context) {
    reading *self = context;
    for (uint64_t i = 0; !atomic_load(&self->stop); i++) {
        uint64_t below = atomic_load(&self->written);
        if (below == 0) {
            continue;
        }
        unsigned char value[VALUE];
        unsigned char wanted[VALUE];
        uint64_t number = mix(i) % below;
        fill_text(wanted, VALUE, number, 0);
        if (read_value(number, value) != FIRN_OK || memcmp(value, wanted, VALUE) != 0) {
            atomic_fetch_add(&self->failures, 1);
        }
        atomic_fetch_add(&self->reads, 1);
    }
    return NULL;
}

static void *maintain_on(void *context) {
    reading *self = context;
    while (!atomic_load(&self->stop)) {
        firn_cold_maintain(at.cold);
    }
    return NULL;
}

START_TEST(a_batch_divided_among_threads_is_read_while_it_is_written_and_trained_from) {
    /* Another allocator: that of the other tests is not for threads. */
    firn_heap *heap = firn_heap_new(NULL);
    firn_cold_config config = config_of(64 * MIB);
    config.heap = heap;
    config.compression_threads = 2;
    ck_assert_int_eq(firn_cold_open(&at.cold, &config), FIRN_OK);
    at.version = firn_cold_version_next(at.cold);
    reading self = {0};
    pthread_t readers[2];
    pthread_t background;
    for (unsigned i = 0; i < 2; i++) {
        pthread_create(&readers[i], NULL, read_on, &self);
    }
    pthread_create(&background, NULL, maintain_on, &self);
    uint64_t next = 0;
    while (next < 6000 ||
           ((dictionaries() == 0 || atomic_load(&self.reads) == 0) && next < 200000)) {
        put_values(next, BATCH, 0);
        next += BATCH;
        atomic_store(&self.written, next);
    }
    put_values(next, BATCH, 0);
    next += BATCH;
    atomic_store(&self.stop, true);
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(readers[i], NULL);
    }
    pthread_join(background, NULL);
    ck_assert_uint_eq(self.failures, 0);
    ck_assert_uint_gt(self.reads, 0);
    ck_assert_uint_ne(dictionaries(), 0);
    ck_assert_uint_eq(count_values(0, (unsigned)next, 0), (unsigned)next);
    close_store();
    firn_heap_unref(heap);
}
END_TEST

/* ---- in a cache ---- */

static void fill_cache(firn_cache *cache, uint64_t first, uint64_t end) {
    for (uint64_t number = first; number < end; number++) {
        unsigned char value[VALUE];
        fill_text(value, VALUE, number, 0);
        ck_assert_int_eq(firn_put(cache, &number, sizeof number, value, VALUE, NULL), FIRN_OK);
    }
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
}

/* The mean size of what is stored of values first .. end - 1. */
static double stored_mean(uint64_t first, uint64_t end) {
    firn_store *store;
    ck_assert_int_eq(firn_store_open(&store, at.path, NULL, 0), FIRN_OK);
    firn_store_entry entry = FIRN_STORE_ENTRY_INIT;
    uint64_t sum = 0;
    uint64_t count = 0;
    while (firn_store_next(store, 0, &entry) == FIRN_OK) {
        uint64_t number;
        memcpy(&number, entry.key, sizeof number);
        if (number >= first && number < end) {
            sum += entry.stored_size;
            count++;
        }
    }
    firn_store_close(store);
    ck_assert_uint_eq(count, end - first);
    return (double)sum / (double)count;
}

START_TEST(a_cache_without_threads_trains_in_firn_run) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.threads = 0;
    options.compression_threads = 1;
    firn_cache *cache;
    ck_assert_int_eq(firn_open(&cache, at.path, &options), FIRN_OK);
    fill_cache(cache, 0, 2000);
    ck_assert_int_eq(firn_run(cache, 60000), FIRN_OK);
    fill_cache(cache, 2000, 3000);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    ck_assert(stored_mean(2000, 3000) < stored_mean(0, 1000) / 2);

    ck_assert_int_eq(firn_open(&cache, at.path, &options), FIRN_OK);
    for (uint64_t number = 0; number < 3000; number++) {
        unsigned char value[VALUE];
        firn_object *object;
        fill_text(value, VALUE, number, 0);
        ck_assert_int_eq(firn_get(cache, &number, sizeof number, &object), FIRN_OK);
        ck_assert_uint_eq(firn_object_size(object), VALUE);
        ck_assert_mem_eq(firn_object_data(object), value, VALUE);
        firn_object_unref(object);
    }
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

/* ---- without memory ---- */

static bool is_fine(int result) {
    return result == FIRN_OK || result == FIRN_ENOMEM;
}

START_TEST(any_allocation_may_fail_from_sampling_to_reading) {
    for (long n = 1;; n++) {
        open_store(4 * MIB);
        at.memory.countdown = n;
        at.memory.hit = false;
        ck_assert(is_fine(write_values(0, 1100, 0)));
        firn_cold_maintain(at.cold);
        ck_assert(is_fine(write_values(2000, 300, 0)));
        ck_assert(is_fine(write_values(2300, 300, 0)));
        unsigned char value[VALUE];
        (void)read_value(2299, value);
        bool hit = at.memory.hit;
        at.memory.countdown = 0;
        put_values(0, 100, 0);
        ck_assert_uint_eq(count_values(0, 100, 0), 100);
        (void)count_values(2000, 600, 0); /* what is there is right */
        close_store();

        open_store(4 * MIB); /* the stored dictionary is loaded again */
        at.memory.countdown = n;
        at.memory.hit = false;
        ck_assert(is_fine(write_values(3000, 100, 0)));
        (void)read_value(3000, value);
        hit = hit || at.memory.hit;
        at.memory.countdown = 0;
        put_values(3000, 100, 0);
        ck_assert_uint_eq(count_values(3000, 100, 0), 100);
        close_store();
        clear_tree(at.path);
        if (!hit) {
            ck_assert_int_gt(n, 5);
            break;
        }
    }
}
END_TEST

START_TEST(no_encoding_is_made_without_memory) {
    for (long n = 1;; n++) {
        faulty memory = {.countdown = n + 1};
        firn_heap *heap = faulty_heap(&memory);
        firn_encoding *encoding = firn_encoding_new(&(firn_encoding_config){
            .heap = heap, .level = 3, .min_bytes = 64, .threads = 2, .budget_bytes = MIB});
        ck_assert((encoding != NULL) == !memory.hit);
        firn_encoding_free(encoding);
        firn_heap_unref(heap);
        ck_assert_int_eq(memory.live, 0);
        if (!memory.hit) {
            ck_assert_int_gt(n, 3);
            break;
        }
    }
}
END_TEST

/* ---- drift ---- */

/* Encodes and notes values until the samples are ready or `bytes` went by; returns those bytes. */
static uint64_t feed(firn_encoding *encoding, uint64_t bytes, unsigned kind) {
    static uint64_t number;
    static unsigned char value[1024];
    static unsigned char to[FIRN_ENCODE_LEAD + sizeof value];
    uint64_t went = 0;
    while (went < bytes && !firn_trainer_ready(firn_encoding_trainer(encoding))) {
        uint32_t dictionary;
        fill_text(value, sizeof value, ++number, kind);
        size_t used =
            firn_encode(encoding, 0, to + FIRN_ENCODE_LEAD, value, sizeof value, &dictionary);
        firn_encoding_note(encoding, value, sizeof value, used);
        went += sizeof value;
    }
    return went;
}

START_TEST(what_is_dense_without_a_dictionary_does_not_call_for_one) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_encoding *encoding = firn_encoding_new(&(firn_encoding_config){
        .heap = heap, .level = 3, .min_bytes = 64, .budget_bytes = 16 * MIB});
    unsigned char value[1000];
    unsigned char to[FIRN_ENCODE_LEAD + sizeof value];
    for (unsigned i = 0; i < 2000; i++) {
        uint32_t dictionary;
        memset(value, (int)('a' + i % 26), sizeof value);
        size_t used =
            firn_encode(encoding, 0, to + FIRN_ENCODE_LEAD, value, sizeof value, &dictionary);
        ck_assert_uint_gt(used, 0);
        firn_encoding_note(encoding, value, sizeof value, used);
    }
    ck_assert(!firn_trainer_ready(firn_encoding_trainer(encoding)));
    firn_encoding_free(encoding);
    firn_heap_unref(heap);
}
END_TEST

START_TEST(a_dictionary_that_no_longer_fits_is_replaced_before_its_time) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_encoding *encoding = firn_encoding_new(&(firn_encoding_config){
        .heap = heap, .level = 3, .min_bytes = 64, .budget_bytes = 16 * MIB});
    firn_trainer *trainer = firn_encoding_trainer(encoding);
    feed(encoding, MIB, 0);
    firn_trainer_train(trainer);
    firn_dictionary *first = firn_trainer_candidate(trainer);
    ck_assert_ptr_nonnull(first);
    first->id = 1;
    firn_trainer_settle(trainer, true);
    ck_assert(firn_encoding_use(encoding, first));
    feed(encoding, 5 * MIB, 0);
    ck_assert(firn_trainer_ready(trainer)); /* a look at what richer samples give */
    firn_trainer_train(trainer);
    firn_dictionary *second = firn_trainer_candidate(trainer);
    if (second != NULL) {
        second->id = 2;
        firn_trainer_settle(trainer, true);
        ck_assert(firn_encoding_use(encoding, second));
    }
    /* As long as the data stays what it is, nothing happens for a long time. */
    ck_assert_uint_eq(feed(encoding, 20 * MIB, 0), 20 * MIB);
    uint64_t went = feed(encoding, 20 * MIB, 1);
    ck_assert(firn_trainer_ready(trainer));
    ck_assert_uint_lt(went, 4 * MIB);
    firn_trainer_train(trainer);
    ck_assert_ptr_nonnull(firn_trainer_candidate(trainer));
    firn_encoding_free(encoding);
    firn_dictionary_free(heap, first);
    firn_dictionary_free(heap, second);
    firn_heap_unref(heap);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, noise_is_told_from_everything_else);
    tcase_add_test(tcase, what_never_becomes_smaller_is_hardly_tried_any_more);
    tcase_add_test(tcase, what_becomes_smaller_is_always_tried_whatever_other_sizes_do);
    tcase_add_test(tcase, a_class_of_sizes_that_changes_is_noticed);
    tcase_add_test(tcase, noise_between_text_is_not_tried_and_text_is);
    tcase_add_test(tcase, a_crew_does_each_piece_once);
    tcase_add_test(tcase, values_of_a_kind_take_less_than_half_with_a_dictionary_of_their_kind);
    tcase_add_test(tcase, a_payload_is_refused_without_its_dictionary);
    tcase_add_test(tcase, an_encoder_that_found_no_room_takes_a_dictionary);
    tcase_add_test(tcase, a_dictionary_that_hardly_saves_is_not_proposed);
    tcase_add_test(tcase, a_second_dictionary_is_proposed_only_if_it_is_better_than_the_first);
    tcase_add_test(tcase, noise_is_not_sampled);
    tcase_add_test(tcase, samples_are_bounded_and_of_all_that_went_by);
    tcase_add_test(tcase, any_changed_bit_of_a_stored_dictionary_is_noticed);
    tcase_add_test(tcase, a_dictionary_is_trained_beside_the_writer_and_kept_for_the_next_process);
    tcase_add_test(tcase, a_store_looked_into_from_outside_knows_its_dictionaries);
    tcase_add_test(
        tcase, when_the_data_changes_so_does_the_dictionary_and_the_old_one_goes_with_its_records);
    tcase_add_test(tcase, an_older_dictionary_stays_while_a_record_needs_it);
    tcase_add_test(tcase, records_whose_dictionary_is_damaged_are_damaged_and_nothing_else_is);
    tcase_add_test(tcase, records_whose_dictionary_is_gone_are_damaged_and_nothing_else_is);
    tcase_add_test(tcase, a_store_looked_into_tells_of_its_dictionaries);
    tcase_add_test(tcase, a_store_looked_into_tells_which_records_lack_their_dictionary);
    tcase_add_test(tcase, nothing_is_trained_when_nothing_is_compressed);
    tcase_add_test(tcase,
                   a_batch_divided_among_threads_is_read_while_it_is_written_and_trained_from);
    tcase_add_test(tcase, a_cache_without_threads_trains_in_firn_run);
    tcase_add_test(tcase, any_allocation_may_fail_from_sampling_to_reading);
    tcase_add_test(tcase, no_encoding_is_made_without_memory);
    tcase_add_test(tcase, what_is_dense_without_a_dictionary_does_not_call_for_one);
    tcase_add_test(tcase, a_dictionary_that_no_longer_fits_is_replaced_before_its_time);
}

int main(void) {
    return run_suite("dictionary", add, 300);
}
