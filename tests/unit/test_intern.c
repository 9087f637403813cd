/* Interned values: equal ones are there once. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <firn/firn.h>

#include "unit/entries.h"
#include "unit/suite.h"
#include "unit/support.h"

enum { SIZE = 3000 };

static firn_cache *open_interning(const char *path, uint64_t intern_bytes) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.threads = 0;
    options.hot_bytes = 2 << 20;
    options.shards = 1;
    options.compression_level = FIRN_COMPRESSION_OFF;
    options.intern_bytes = intern_bytes;
    return open_with(path, &options);
}

static const char *value_of(int number) {
    static char value[SIZE];
    for (size_t i = 0; i < sizeof value; i++) {
        value[i] = (char)(i * 31 + (size_t)number * 17 + i / 7 * (size_t)number);
    }
    return value;
}

static void put(firn_cache *cache, const char *key, int number) {
    ck_assert_int_eq(firn_put(cache, key, strlen(key), value_of(number), SIZE, NULL), FIRN_OK);
}

static firn_object *get(firn_cache *cache, const char *key) {
    firn_object *object;
    ck_assert_int_eq(firn_get(cache, key, strlen(key), &object), FIRN_OK);
    return object;
}

static void expect(firn_cache *cache, const char *key, int number) {
    firn_object *object = get(cache, key);
    ck_assert_uint_eq(firn_object_size(object), SIZE);
    ck_assert_mem_eq(firn_object_data(object), value_of(number), SIZE);
    firn_object_unref(object);
}

static void flood(firn_cache *cache) {
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.intern = FIRN_INTERN_NO;
    for (int i = 0; i < 3000; i++) {
        ck_assert_int_eq(firn_put(cache, &i, sizeof i, value_of(1), SIZE, &options), FIRN_OK);
    }
}

static size_t count_entries(firn_cache *cache) {
    firn_cursor *cursor;
    firn_object *object;
    size_t count = 0;
    ck_assert_int_eq(firn_cursor_open(cache, NULL, 0, 0, &cursor), FIRN_OK);
    while (firn_cursor_next(cursor, &object) == FIRN_OK) {
        ck_assert_uint_eq(firn_object_size(object), SIZE);
        firn_object_unref(object);
        count++;
    }
    firn_cursor_close(cursor);
    return count;
}

START_TEST(equal_values_share_one_object) {
    firn_cache *cache = open_interning(NULL, 1000);
    for (int i = 0; i < 100; i++) {
        char key[20];
        snprintf(key, sizeof key, "key %d", i);
        put(cache, key, i % 2);
    }
    expect(cache, "key 0", 0);
    expect(cache, "key 99", 1);
    firn_object *a = get(cache, "key 2");
    firn_object *b = get(cache, "key 98");
    ck_assert_ptr_eq(firn_object_data(a), firn_object_data(b));
    ck_assert_str_eq(firn_object_key(b, NULL), "key 98");
    firn_object_unref(a);
    firn_object_unref(b);
    firn_stats stats = stats_of(cache);
    ck_assert_uint_eq(stats.interned, 100);
    ck_assert_uint_eq(stats.interned_saved, 98 * SIZE);
    ck_assert_uint_lt(stats.hot_bytes, 60000);
    ck_assert_uint_eq(count_entries(cache), 100); /* bodies are none */
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(a_body_goes_with_the_last_that_has_it) {
    for (int below = 0; below < 2; below++) {
        char *path = below ? scratch_path("last") : NULL;
        firn_cache *cache = open_interning(path, 0);
        firn_put_options options = FIRN_PUT_OPTIONS_INIT;
        options.intern = FIRN_INTERN_YES;
        ck_assert_int_eq(firn_put(cache, "a", 1, value_of(5), SIZE, &options), FIRN_OK);
        ck_assert_int_eq(firn_put(cache, "b", 1, value_of(5), SIZE, &options), FIRN_OK);
        put(cache, "c", 5); /* by default not */
        ck_assert_uint_eq(stats_of(cache).interned, 2);
        firn_object *held = get(cache, "a");
        put(cache, "a", 6);
        expect(cache, "b", 5);
        ck_assert_int_eq(firn_delete(cache, "b", 1), FIRN_OK);
        ck_assert_mem_eq(firn_object_data(held), value_of(5), SIZE);
        ck_assert_uint_eq(stats_of(cache).links, 0);
        firn_object_unref(held);
        ck_assert_uint_eq(stats_of(cache).interned, 0);
        ck_assert_uint_eq(stats_of(cache).interned_saved, 0);
        if (!below) {
            ck_assert_uint_eq(stats_of(cache).hot_entries, 2);
        }
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
        if (below) {
            cache = open_interning(path, 0);
            ck_assert_uint_eq(stats_of(cache).cold_entries, 2);
            ck_assert_int_eq(firn_close(cache), FIRN_OK);
            remove_tree(path);
        }
    }
}
END_TEST

START_TEST(interned_values_go_down_and_come_up) {
    char *path = scratch_path("intern");
    firn_cache *cache = open_interning(path, 1000);
    enum { COUNT = 2000 };
    for (int i = 0; i < COUNT; i++) {
        char key[20];
        snprintf(key, sizeof key, "key %d", i);
        put(cache, key, i % 10);
    }
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    ck_assert_uint_lt(stats_of(cache).cold_stored_bytes, 20 * SIZE); /* of 2000 */
    flood(cache);
    for (int i = 0; i < COUNT; i += 7) {
        char key[20];
        snprintf(key, sizeof key, "key %d", i);
        expect(cache, key, i % 10);
    }
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    cache = open_interning(path, 1000);
    ck_assert_int_eq(firn_run(cache, 1000), FIRN_OK);
    for (int i = 0; i < COUNT; i += 3) {
        char key[20];
        snprintf(key, sizeof key, "key %d", i);
        expect(cache, key, i % 10);
    }
    firn_object *a = get(cache, "key 10");
    firn_object *b = get(cache, "key 20");
    ck_assert_ptr_eq(firn_object_data(a), firn_object_data(b));
    firn_object_unref(a);
    firn_object_unref(b);
    /* What is changed otherwise still is interned. */
    ck_assert_int_eq(firn_touch(cache, "key 10", 6, 1000000), FIRN_OK);
    firn_link link = {FIRN_LINK_KEEPS, "key 30", 6, 0};
    ck_assert_int_eq(firn_link_add(cache, "key 10", 6, &link), FIRN_OK);
    a = get(cache, "key 10");
    b = get(cache, "key 20");
    ck_assert_ptr_eq(firn_object_data(a), firn_object_data(b));
    firn_object_unref(a);
    firn_object_unref(b);
    /* And copies go out like any other value. */
    char buffer[SIZE];
    size_t size;
    ck_assert_int_eq(firn_get_copy(cache, "key 10", 6, buffer, sizeof buffer, &size), FIRN_OK);
    ck_assert_mem_eq(buffer, value_of(0), SIZE);
    flood(cache);
    for (int hot = 0; hot < 2; hot++) {
        firn_reader *reader;
        ck_assert_int_eq(firn_reader_open(cache, "key 10", 6, &reader), FIRN_OK);
        ck_assert_uint_eq(firn_reader_size(reader), SIZE);
        firn_reader_close(reader);
        expect(cache, "key 10", 0);
    }
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

static void expect_in_store(const char *path) {
    firn_store *store;
    ck_assert_int_eq(firn_store_open(&store, path, NULL, 0), FIRN_OK);
    firn_store_info info = FIRN_STORE_INFO_INIT;
    ck_assert_int_eq(firn_store_get_info(store, &info), FIRN_OK);
    ck_assert_uint_eq(info.entries, 31);
    ck_assert_uint_eq(info.interned, 30);
    ck_assert_uint_eq(info.interned_bytes, 30 * SIZE);
    ck_assert_uint_eq(info.bodies, 3);
    ck_assert_uint_eq(info.body_bytes, 3 * SIZE);
    ck_assert_uint_eq(info.linked, 1);
    ck_assert_uint_eq(info.owned, 0);
    firn_store_entry entry = FIRN_STORE_ENTRY_INIT;
    ck_assert_int_eq(firn_store_get(store, "key 4", 5, &entry), FIRN_OK);
    ck_assert_uint_eq(entry.interned, 1);
    ck_assert_uint_eq(entry.value_size, SIZE);
    ck_assert_mem_eq(entry.value, value_of(1), SIZE);
    size_t met = 0;
    while (firn_store_next(store, FIRN_STORE_VALUES, &entry) == FIRN_OK) {
        met += !entry.body;
        ck_assert_uint_eq(entry.incomplete, 0);
        ck_assert_ptr_nonnull(entry.value);
    }
    ck_assert_uint_eq(met, 31);
    firn_store_close(store);
}

START_TEST(stores_tell_of_shared_values_and_are_salvaged_with_them) {
    char *path = scratch_path("stores");
    char *salvaged = scratch_path("salvaged");
    firn_cache *cache = open_interning(path, 1000);
    for (int i = 0; i < 30; i++) {
        char key[20];
        snprintf(key, sizeof key, "key %d", i);
        put(cache, key, i % 3);
    }
    firn_link link = {FIRN_LINK_KEEPS, "key 0", 5, 0};
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.links = &link;
    options.link_count = 1;
    options.intern = FIRN_INTERN_NO;
    ck_assert_int_eq(firn_put(cache, "linked", 6, "small", 5, &options), FIRN_OK);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    expect_in_store(path);
    firn_salvage_report report = FIRN_SALVAGE_REPORT_INIT;
    ck_assert_int_eq(firn_store_salvage(path, salvaged, NULL, &report, NULL, NULL), FIRN_OK);
    expect_in_store(salvaged);
    cache = open_interning(salvaged, 1000);
    expect(cache, "key 5", 2);
    ck_assert_uint_eq(stats_of(cache).links, 31);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
    remove_tree(salvaged);
}
END_TEST

enum { THREADS = 4, KEYS = 40, VALUES = 3, ROUNDS = 3000 };

typedef struct race {
    firn_cache *cache;
    char values[VALUES][SIZE];
    atomic_uint number;
} race;

static void *race_puts(void *context) {
    race *self = context;
    unsigned state = atomic_fetch_add(&self->number, 1) * 7919 + 1;
    for (int i = 0; i < ROUNDS; i++) {
        state = state * 1664525 + 1013904223;
        unsigned key = (state >> 8) % KEYS;
        unsigned value = (state >> 16) % VALUES;
        firn_object *object;
        switch (state >> 28 & 3) {
        case 0:
            ck_assert_int_ge(firn_delete(self->cache, &key, sizeof key), 0);
            break;
        case 1:
            ck_assert_int_eq(
                firn_put(self->cache, &key, sizeof key, self->values[value], SIZE, NULL), FIRN_OK);
            break;
        default:
            if (firn_get(self->cache, &key, sizeof key, &object) == FIRN_OK) {
                const char *data = firn_object_data(object);
                ck_assert_uint_eq(firn_object_size(object), SIZE);
                ck_assert(memcmp(data, self->values[data[0] - 'a'], SIZE) == 0);
                firn_object_unref(object);
            }
        }
    }
    return NULL;
}

static void run_race(const char *path) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 1 << 20;
    options.intern_bytes = 1;
    race *self = calloc(1, sizeof *self);
    self->cache = open_with(path, &options);
    ck_assert_int_eq(firn_set_hot_bytes(self->cache, 64 << 10), FIRN_OK);
    for (int i = 0; i < VALUES; i++) {
        memset(self->values[i], 'a' + i, SIZE);
    }
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, race_puts, self), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    for (unsigned key = 0; key < KEYS; key++) {
        ck_assert_int_ge(firn_delete(self->cache, &key, sizeof key), 0);
    }
    ck_assert_uint_eq(stats_of(self->cache).interned, 0);
    ck_assert_uint_eq(stats_of(self->cache).links, 0);
    ck_assert_int_eq(firn_close(self->cache), FIRN_OK);
    free(self);
}

START_TEST(threads_that_put_equal_values) {
    char *path = scratch_path("race");
    run_race(NULL);
    run_race(path);
    remove_tree(path);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, equal_values_share_one_object);
    tcase_add_test(tcase, a_body_goes_with_the_last_that_has_it);
    tcase_add_test(tcase, interned_values_go_down_and_come_up);
    tcase_add_test(tcase, stores_tell_of_shared_values_and_are_salvaged_with_them);
    tcase_add_test(tcase, threads_that_put_equal_values);
}

int main(void) {
    return run_suite("intern", add_tests, 120);
}
