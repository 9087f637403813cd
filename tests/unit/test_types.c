/* Values of types: live structures in both tiers, dropped exactly once. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <firn/firn.h>

#include "unit/entries.h"
#include "unit/suite.h"
#include "unit/support.h"

/* A structure that owns memory, and a ledger of what happens to such. */
typedef struct text {
    char *words;
    size_t size;
} text;

typedef struct ledger {
    atomic_int made;
    atomic_int dropped;
    atomic_int encoded;
    atomic_int decoded;
    bool refuse_encode;
    bool refuse_decode;
} ledger;

static ledger texts;

static void fill_text(text *value, const char *words) {
    value->size = strlen(words);
    value->words = strdup(words);
    atomic_fetch_add(&texts.made, 1);
}

static size_t text_charge(void *context, const void *value, size_t value_size) {
    (void)context;
    (void)value_size;
    return ((const text *)value)->size;
}

static int text_encode(void *context, const void *value, size_t value_size, firn_encoder *encoder) {
    ledger *self = context;
    const text *from = value;
    ck_assert_uint_eq(value_size, sizeof *from);
    if (self->refuse_encode) {
        return FIRN_EINVAL;
    }
    atomic_fetch_add(&self->encoded, 1);
    int result = firn_encode_bytes(encoder, "text:", 5);
    return result == FIRN_OK ? firn_encode_bytes(encoder, from->words, from->size) : result;
}

static int text_decode(void *context, uint32_t version, const void *bytes, size_t size, void *value,
                       size_t value_size) {
    ledger *self = context;
    text *to = value;
    ck_assert_uint_eq(version, 1);
    ck_assert_uint_eq(value_size, sizeof *to);
    if (self->refuse_decode || size < 5 || memcmp(bytes, "text:", 5) != 0) {
        return FIRN_EINVAL;
    }
    to->size = size - 5;
    to->words = strndup((const char *)bytes + 5, to->size);
    atomic_fetch_add(&self->made, 1);
    atomic_fetch_add(&self->decoded, 1);
    return FIRN_OK;
}

static void text_drop(void *context, void *value, size_t value_size) {
    ledger *self = context;
    ck_assert_uint_eq(value_size, sizeof(text));
    free(((text *)value)->words);
    atomic_fetch_add(&self->dropped, 1);
}

static const firn_type text_type = {.size = sizeof(firn_type),
                                    .name = "text",
                                    .version = 1,
                                    .value_size = sizeof(text),
                                    .context = &texts,
                                    .charge = text_charge,
                                    .encode = text_encode,
                                    .decode = text_decode,
                                    .drop = text_drop};

/* A type that stays in memory. */
static const firn_type note_type = {.size = sizeof(firn_type),
                                    .name = "note",
                                    .version = 1,
                                    .value_size = sizeof(text),
                                    .context = &texts,
                                    .drop = text_drop};

static void reset(void) {
    memset(&texts, 0, sizeof texts);
}

static firn_cache *open_typed(const char *path) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.threads = 0;
    options.hot_bytes = 1 << 20;
    options.shards = 1;
    firn_cache *cache = open_with(path, &options);
    ck_assert_int_eq(firn_register_type(cache, &text_type), FIRN_OK);
    return cache;
}

static void put_words(firn_cache *cache, const firn_type *type, const char *key,
                      const char *words) {
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.type = type;
    firn_object *object;
    ck_assert_int_eq(firn_object_new(cache, key, strlen(key), sizeof(text), &options, &object),
                     FIRN_OK);
    fill_text(firn_object_value(object), words);
    ck_assert_int_eq(firn_put_object(cache, object), FIRN_OK);
    ck_assert_ptr_null(firn_object_value(object));
    firn_object_unref(object);
}

static void expect_text(firn_cache *cache, const char *key, const char *words) {
    firn_object *object;
    ck_assert_int_eq(firn_get(cache, key, strlen(key), &object), FIRN_OK);
    ck_assert_ptr_eq(firn_object_type(object), &text_type);
    const text *value = firn_object_data(object);
    ck_assert_uint_eq(value->size, strlen(words));
    ck_assert_mem_eq(value->words, words, value->size);
    firn_object_unref(object);
}

static void expect_all_dropped(void) {
    ck_assert_int_eq(texts.dropped, texts.made);
}

START_TEST(a_value_is_used_in_place_and_dropped_once) {
    reset();
    firn_cache *cache = open_typed(NULL);
    put_words(cache, &text_type, "a", "first");
    expect_text(cache, "a", "first");
    firn_object *held;
    ck_assert_int_eq(firn_get(cache, "a", 1, &held), FIRN_OK);
    put_words(cache, &text_type, "a", "second");
    ck_assert_int_eq(texts.dropped, 0);
    firn_object_unref(held);
    ck_assert_int_eq(texts.dropped, 1);
    expect_text(cache, "a", "second");
    ck_assert_int_eq(firn_delete(cache, "a", 1), FIRN_OK);
    ck_assert_int_eq(texts.dropped, 2);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    expect_all_dropped();
}
END_TEST

START_TEST(a_copied_value_belongs_to_the_cache_once_it_is_put) {
    reset();
    firn_cache *cache = open_typed(NULL);
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.type = &text_type;
    text value;
    fill_text(&value, "copied");
    ck_assert_int_eq(firn_put(cache, "k", 1, &value, sizeof value, &options), FIRN_OK);
    expect_text(cache, "k", "copied");
    /* One that is not put stays the caller's. */
    text refused;
    fill_text(&refused, "refused");
    ck_assert_int_eq(firn_add(cache, "k", 1, &refused, sizeof refused, &options), FIRN_EXISTS);
    ck_assert_int_eq(texts.dropped, 0);
    text_drop(&texts, &refused, sizeof refused);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    expect_all_dropped();
}
END_TEST

START_TEST(an_object_that_is_not_put_is_its_makers) {
    reset();
    firn_cache *cache = open_typed(NULL);
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.type = &text_type;
    firn_object *object;
    ck_assert_int_eq(firn_object_new(cache, "k", 1, sizeof(text), &options, &object), FIRN_OK);
    text *value = firn_object_value(object);
    ck_assert_ptr_null(value->words); /* zeroed */
    firn_object_unref(object);
    ck_assert_int_eq(texts.dropped, 0);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(an_object_is_put_once_and_into_its_own_cache) {
    reset();
    firn_cache *cache = open_typed(NULL);
    firn_cache *other = open_typed(NULL);
    firn_object *object;
    ck_assert_int_eq(firn_object_new(cache, "k", 1, 3, NULL, &object), FIRN_OK);
    memcpy(firn_object_value(object), "abc", 3);
    ck_assert_int_eq(firn_put_object(other, object), FIRN_EINVAL);
    ck_assert_int_eq(firn_put_object(cache, object), FIRN_OK);
    ck_assert_int_eq(firn_put_object(cache, object), FIRN_EINVAL);
    firn_object *got;
    ck_assert_int_eq(firn_get(cache, "k", 1, &got), FIRN_OK);
    ck_assert_ptr_eq(got, object); /* no copy was made */
    firn_object_unref(got);
    firn_object_unref(object);
    ck_assert_int_eq(firn_close(other), FIRN_OK);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(a_large_object_of_bytes_goes_straight_down) {
    char *path = scratch_path("large");
    firn_cache *cache = open_typed(path);
    enum { SIZE = 4 << 20 };
    firn_object *object;
    ck_assert_int_eq(firn_object_new(cache, "big", 3, SIZE, NULL, &object), FIRN_OK);
    memset(firn_object_value(object), 'x', SIZE);
    ck_assert_int_eq(firn_put_object(cache, object), FIRN_OK);
    firn_object_unref(object);
    ck_assert_int_eq(firn_get(cache, "big", 3, &object), FIRN_OK);
    ck_assert_uint_eq(firn_object_size(object), SIZE);
    firn_object_unref(object);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

/* More than fits into memory, so that most are encoded on the way down and decoded on the way up.
 */
START_TEST(values_go_down_and_come_up) {
    reset();
    char *path = scratch_path("down");
    firn_cache *cache = open_typed(path);
    enum { COUNT = 2000 };
    static char words[2000];
    memset(words, 'w', sizeof words - 1);
    for (int i = 0; i < COUNT; i++) {
        char key[20];
        snprintf(key, sizeof key, "key %d", i);
        snprintf(words, 20, "value %d", i);
        words[strlen(words)] = ' ';
        put_words(cache, &text_type, key, words);
    }
    ck_assert_uint_le(stats_of(cache).hot_bytes, 1 << 20); /* what the type told of is in it */
    ck_assert_int_gt(texts.encoded, COUNT / 2);
    for (int i = 0; i < COUNT; i++) {
        char key[20];
        snprintf(key, sizeof key, "key %d", i);
        memset(words, 'w', sizeof words - 1);
        snprintf(words, 20, "value %d", i);
        words[strlen(words)] = ' ';
        expect_text(cache, key, words);
    }
    ck_assert_int_gt(texts.decoded, COUNT / 2);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    expect_all_dropped();

    cache = open_typed(path);
    ck_assert_int_eq(firn_run(cache, 1000), FIRN_OK); /* warms */
    expect_text(cache, "key 1999", words);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    expect_all_dropped();
    remove_tree(path);
}
END_TEST

START_TEST(what_cannot_be_encoded_is_lost_and_counted) {
    reset();
    char *path = scratch_path("unencoded");
    firn_cache *cache = open_typed(path);
    ck_assert_int_eq(firn_register_type(cache, &note_type), FIRN_OK);
    ck_assert_int_eq(firn_put(cache, "a", 1, "old", 3, NULL), FIRN_OK);
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    put_words(cache, &note_type, "a", "in memory");
    put_words(cache, &text_type, "b", "refuses");
    texts.refuse_encode = true;
    ck_assert_int_eq(firn_flush(cache), FIRN_OK); /* they stay where they are */
    firn_object *object;
    ck_assert_int_eq(firn_get(cache, "a", 1, &object), FIRN_OK);
    ck_assert_ptr_eq(firn_object_type(object), &note_type);
    firn_object_unref(object);
    ck_assert_uint_eq(stats_of(cache).dropped_unencoded, 0);
    for (int i = 0; i < 1000; i++) {
        char filler[2000] = {0};
        ck_assert_int_eq(firn_put(cache, &i, sizeof i, filler, sizeof filler, NULL), FIRN_OK);
    }
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    ck_assert_int_eq(firn_get(cache, "a", 1, &object), FIRN_NOT_FOUND); /* and not the old one */
    ck_assert_int_eq(firn_get(cache, "b", 1, &object), FIRN_NOT_FOUND);
    ck_assert_uint_eq(stats_of(cache).dropped_unencoded, 2);
    expect_all_dropped();
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

static void store_text(const char *path) {
    firn_cache *cache = open_typed(path);
    put_words(cache, &text_type, "k", "stored");
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}

static firn_cache *open_untyped(const char *path) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.threads = 0;
    return open_with(path, &options);
}

START_TEST(an_entry_of_an_unknown_type_stays_and_is_named) {
    reset();
    char *path = scratch_path("unknown");
    store_text(path);
    firn_cache *cache = open_untyped(path);
    ck_assert_int_eq(firn_run(cache, 1000), FIRN_OK);
    firn_object *object = (firn_object *)path;
    ck_assert_int_eq(firn_get(cache, "k", 1, &object), FIRN_ETYPE);
    ck_assert_ptr_null(object);
    char message[300];
    ck_assert_uint_gt(firn_last_message(cache, message, sizeof message), 0);
    ck_assert_msg(strstr(message, "'text'") != NULL, "%s", message);
    ck_assert_int_eq(firn_contains(cache, "k", 1), FIRN_OK);
    /* A cursor tells of it, without its value. */
    firn_cursor *cursor;
    ck_assert_int_eq(firn_cursor_open(cache, NULL, 0, 0, &cursor), FIRN_OK);
    ck_assert_int_eq(firn_cursor_next(cursor, &object), FIRN_OK);
    ck_assert_uint_eq(firn_object_size(object), 0);
    firn_object_unref(object);
    firn_cursor_close(cursor);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    cache = open_typed(path);
    expect_text(cache, "k", "stored");
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    expect_all_dropped();
    remove_tree(path);
}
END_TEST

START_TEST(an_entry_of_a_newer_version_is_refused) {
    reset();
    char *path = scratch_path("newer");
    store_text(path);
    firn_type older = text_type;
    older.version = 0;
    firn_cache *cache = open_untyped(path);
    ck_assert_int_eq(firn_register_type(cache, &older), FIRN_OK);
    firn_object *object;
    ck_assert_int_eq(firn_get(cache, "k", 1, &object), FIRN_ETYPE);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(a_decode_that_fails_is_a_miss) {
    reset();
    char *path = scratch_path("refuses");
    store_text(path);
    firn_cache *cache = open_typed(path);
    texts.refuse_decode = true;
    firn_object *object;
    ck_assert_int_eq(firn_get(cache, "k", 1, &object), FIRN_NOT_FOUND);
    firn_key key = {"k", 1};
    ck_assert_int_eq(firn_get_many(cache, 1, &key, &object, NULL), FIRN_OK);
    ck_assert_ptr_null(object);
    ck_assert_uint_eq(stats_of(cache).decode_failures, 2);
    texts.refuse_decode = false;
    ck_assert_int_eq(firn_get_many(cache, 1, &key, &object, NULL), FIRN_OK);
    ck_assert_ptr_eq(firn_object_type(object), &text_type);
    firn_object_unref(object);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    expect_all_dropped();
    remove_tree(path);
}
END_TEST

START_TEST(functions_that_want_bytes_refuse_a_type) {
    reset();
    char *path = scratch_path("bytes");
    for (int round = 0; round < 2; round++) { /* from below, and from memory */
        firn_cache *cache = open_typed(path);
        if (round == 0) {
            put_words(cache, &text_type, "k", "12345678");
        }
        char buffer[64];
        size_t size = 1;
        ck_assert_int_eq(firn_get_copy(cache, "k", 1, buffer, sizeof buffer, &size), FIRN_ETYPE);
        ck_assert_uint_eq(size, 0);
        int64_t number;
        ck_assert_int_eq(firn_increment(cache, "k", 1, 1, 0, NULL, &number), FIRN_ETYPE);
        firn_reader *reader;
        ck_assert_int_eq(firn_reader_open(cache, "k", 1, &reader), FIRN_ETYPE);
        expect_text(cache, "k", "12345678");
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
    }
    expect_all_dropped();
    remove_tree(path);
}
END_TEST

START_TEST(a_touched_value_is_still_the_value) {
    reset();
    char *path = scratch_path("touch");
    firn_cache *cache = open_typed(path);
    put_words(cache, &text_type, "k", "touched");
    ck_assert_int_eq(firn_touch(cache, "k", 1, 1000000), FIRN_OK); /* in place */
    ck_assert_int_eq(texts.made, 1);
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    ck_assert_int_eq(firn_touch(cache, "k", 1, 2000000), FIRN_OK); /* below too: by a copy */
    expect_text(cache, "k", "touched");
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    cache = open_typed(path);
    expect_text(cache, "k", "touched");
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    expect_all_dropped();
    remove_tree(path);
}
END_TEST

START_TEST(objects_outlive_the_cache) {
    reset();
    firn_cache *cache = open_typed(NULL);
    put_words(cache, &text_type, "k", "outlives");
    firn_object *object;
    ck_assert_int_eq(firn_get(cache, "k", 1, &object), FIRN_OK);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    ck_assert_int_eq(texts.dropped, 0);
    ck_assert_str_eq(((const text *)firn_object_data(object))->words, "outlives");
    firn_object_unref(object);
    expect_all_dropped();
}
END_TEST

START_TEST(registering_says_what_is_wrong) {
    firn_cache *cache = open_typed(NULL);
    firn_type bad = text_type;
    ck_assert_int_eq(firn_register_type(cache, &text_type), FIRN_OK);
    ck_assert_int_eq(firn_register_type(cache, &bad), FIRN_EXISTS);
    bad.name = "with space";
    ck_assert_int_eq(firn_register_type(cache, &bad), FIRN_EINVAL);
    bad.name = "";
    ck_assert_int_eq(firn_register_type(cache, &bad), FIRN_EINVAL);
    bad.name = NULL;
    ck_assert_int_eq(firn_register_type(cache, &bad), FIRN_EINVAL);
    bad.name = "other";
    bad.decode = NULL;
    ck_assert_int_eq(firn_register_type(cache, &bad), FIRN_EINVAL);
    bad = text_type;
    bad.size = 8;
    ck_assert_int_eq(firn_register_type(cache, &bad), FIRN_EINVAL);
    ck_assert_int_eq(firn_register_type(NULL, &text_type), FIRN_EINVAL);
    ck_assert_int_eq(firn_register_type(cache, NULL), FIRN_EINVAL);
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.type = &note_type;
    ck_assert_int_eq(firn_put(cache, "k", 1, "", 0, &options), FIRN_ETYPE);
    static firn_type many[80];
    static char names[80][8];
    int result = FIRN_OK;
    int count = 0;
    for (; count < 80 && result == FIRN_OK; count++) {
        many[count] = note_type;
        snprintf(names[count], sizeof names[count], "t%d", count);
        many[count].name = names[count];
        result = firn_register_type(cache, &many[count]);
    }
    ck_assert_int_eq(result, FIRN_ENOSPC);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

/* A list of values each of which holds the next. */
typedef struct chained {
    firn_object *next;
} chained;

static int links_dropped;

static void link_drop(void *context, void *value, size_t value_size) {
    (void)context;
    (void)value_size;
    links_dropped++;
    firn_object_unref(((chained *)value)->next);
}

static const firn_type link_type = {
    .size = sizeof(firn_type), .name = "link", .value_size = sizeof(chained), .drop = link_drop};

START_TEST(a_long_chain_of_values_needs_no_deep_stack) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 64 << 20;
    firn_cache *cache = open_with(NULL, &options);
    ck_assert_int_eq(firn_register_type(cache, &link_type), FIRN_OK);
    enum { COUNT = 200000 };
    links_dropped = 0;
    firn_put_options put = FIRN_PUT_OPTIONS_INIT;
    put.type = &link_type;
    firn_object *last = NULL;
    for (int i = 0; i < COUNT; i++) {
        firn_object *object;
        ck_assert_int_eq(firn_object_new(cache, "same key", 8, sizeof(chained), &put, &object),
                         FIRN_OK);
        ((chained *)firn_object_value(object))->next = last;
        ck_assert_int_eq(firn_put_object(cache, object), FIRN_OK);
        last = object; /* our reference goes into the next value */
    }
    ck_assert_int_eq(firn_delete(cache, "same key", 8), FIRN_OK);
    ck_assert_int_eq(links_dropped, 0);
    firn_object_unref(last);
    ck_assert_int_eq(links_dropped, COUNT);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

/* Values whose drop puts, gets, flushes and deletes. */
static firn_cache *called;
static int calls;
static int refused;

static void calling_drop(void *context, void *value, size_t value_size) {
    (void)context;
    (void)value;
    (void)value_size;
    char filler[500] = {0};
    calls++;
    int result = firn_put(called, &calls, sizeof calls, filler, sizeof filler, NULL);
    refused += result == FIRN_EREADONLY;
    ck_assert(result == FIRN_OK || result == FIRN_EREADONLY);
    firn_object *object;
    result = firn_get(called, &calls, sizeof calls, &object);
    ck_assert(result == FIRN_OK || result == FIRN_NOT_FOUND);
    firn_object_unref(object);
    if (calls % 16 == 0) {
        ck_assert_int_eq(firn_flush(called), FIRN_OK);
        ck_assert_int_ge(firn_run(called, 1), FIRN_OK);
    }
}

static int eight_bytes(void *context, const void *value, size_t value_size, firn_encoder *encoder) {
    (void)context;
    (void)value_size;
    return firn_encode_bytes(encoder, value, 8);
}

static int from_eight_bytes(void *context, uint32_t version, const void *bytes, size_t size,
                            void *value, size_t value_size) {
    (void)context;
    (void)version;
    (void)value_size;
    memcpy(value, bytes, size);
    return FIRN_OK;
}

static const firn_type calling_type = {.size = sizeof(firn_type),
                                       .name = "calling",
                                       .value_size = 8,
                                       .encode = eight_bytes,
                                       .decode = from_eight_bytes,
                                       .drop = calling_drop};

static void let_drops_call(const char *path, unsigned threads) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.threads = threads;
    options.hot_bytes = 1 << 20;
    options.write_mode = path != NULL ? FIRN_WRITE_THROUGH : FIRN_WRITE_ON_EVICTION;
    called = open_with(path, &options);
    calls = 0;
    refused = 0;
    ck_assert_int_eq(firn_register_type(called, &calling_type), FIRN_OK);
    firn_put_options put = FIRN_PUT_OPTIONS_INIT;
    put.type = &calling_type;
    enum { COUNT = 3000 };
    for (int i = 0; i < COUNT; i++) {
        char key[32];
        char filler[500] = {0};
        snprintf(key, sizeof key, "calling %d", i % 1500);
        ck_assert_int_eq(firn_put(called, key, strlen(key), filler, 8, &put), FIRN_OK);
        snprintf(key, sizeof key, "filler %d", i);
        ck_assert_int_eq(firn_put(called, key, strlen(key), filler, sizeof filler, NULL), FIRN_OK);
    }
    ck_assert_int_ge(calls, 1500);
    ck_assert_int_eq(refused, 0);
    int before = calls;
    ck_assert_int_eq(firn_close(called), FIRN_OK);
    ck_assert_int_eq(refused, calls - before);
    if (path == NULL) {
        ck_assert_int_eq(calls, COUNT);
    }
}

START_TEST(a_drop_may_call_the_cache) {
    char *path = scratch_path("calls");
    let_drops_call(NULL, 0);
    let_drops_call(path, 0);
    remove_tree(path);
}
END_TEST

enum { GETS_MOST = 9000 }; /* for each object that is got is dropped as well */

static void get_another(void *context, void *value, size_t value_size) {
    (void)context;
    (void)value;
    (void)value_size;
    char key[32];
    firn_object *object;
    if (calls >= GETS_MOST) {
        return;
    }
    snprintf(key, sizeof key, "getting %d", (int)((unsigned)calls++ * 7919u % 3000));
    if (firn_get(called, key, strlen(key), &object) == FIRN_OK) {
        firn_object_unref(object);
    }
}

static int encode_all(void *context, const void *value, size_t value_size, firn_encoder *encoder) {
    (void)context;
    return firn_encode_bytes(encoder, value, value_size);
}

static int decode_all(void *context, uint32_t version, const void *bytes, size_t size, void *value,
                      size_t value_size) {
    (void)context;
    (void)version;
    memcpy(value, bytes, size < value_size ? size : value_size);
    return FIRN_OK;
}

START_TEST(a_drop_at_the_close_may_get_what_is_below) {
    static const firn_type getting_type = {.size = sizeof(firn_type),
                                           .name = "getting",
                                           .value_size = 300,
                                           .drop = get_another,
                                           .encode = encode_all,
                                           .decode = decode_all};
    char *path = scratch_path("drops-get");
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 512 << 10;
    options.shards = 4;
    called = open_with(path, &options);
    calls = 0;
    ck_assert_int_eq(firn_register_type(called, &getting_type), FIRN_OK);
    firn_put_options put = FIRN_PUT_OPTIONS_INIT;
    put.type = &getting_type;
    for (int i = 0; i < 3000; i++) {
        char key[32];
        char value[300] = {1};
        snprintf(key, sizeof key, "getting %d", i);
        ck_assert_int_eq(firn_put(called, key, strlen(key), value, sizeof value, &put), FIRN_OK);
    }
    ck_assert_int_eq(firn_flush(called), FIRN_OK);
    int before = calls;
    calls = 0;
    ck_assert_int_eq(firn_close(called), FIRN_OK);
    ck_assert_int_gt(before, 0);
    ck_assert_int_gt(calls, 100);
    remove_tree(path);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, a_value_is_used_in_place_and_dropped_once);
    tcase_add_test(tcase, a_copied_value_belongs_to_the_cache_once_it_is_put);
    tcase_add_test(tcase, an_object_that_is_not_put_is_its_makers);
    tcase_add_test(tcase, an_object_is_put_once_and_into_its_own_cache);
    tcase_add_test(tcase, a_large_object_of_bytes_goes_straight_down);
    tcase_add_test(tcase, values_go_down_and_come_up);
    tcase_add_test(tcase, what_cannot_be_encoded_is_lost_and_counted);
    tcase_add_test(tcase, an_entry_of_an_unknown_type_stays_and_is_named);
    tcase_add_test(tcase, an_entry_of_a_newer_version_is_refused);
    tcase_add_test(tcase, a_decode_that_fails_is_a_miss);
    tcase_add_test(tcase, functions_that_want_bytes_refuse_a_type);
    tcase_add_test(tcase, a_touched_value_is_still_the_value);
    tcase_add_test(tcase, objects_outlive_the_cache);
    tcase_add_test(tcase, registering_says_what_is_wrong);
    tcase_add_test(tcase, a_long_chain_of_values_needs_no_deep_stack);
    tcase_add_test(tcase, a_drop_may_call_the_cache);
    tcase_add_test(tcase, a_drop_at_the_close_may_get_what_is_below);
}

int main(void) {
    return run_suite("types", add_tests, 60);
}
