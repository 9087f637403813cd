/* The cache as its users see it: what each call promises, in memory and with a store. */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <firn/firn.h>

#include "unit/entries.h"
#include "unit/suite.h"
#include "unit/support.h"

static firn_cache *open_memory(uint64_t hot_bytes) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = hot_bytes;
    firn_cache *cache;
    ck_assert_int_eq(firn_open(&cache, NULL, &options), FIRN_OK);
    return cache;
}

static firn_cache *open_store(const char *path, uint64_t hot_bytes, uint64_t cold_bytes) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = hot_bytes;
    options.cold_bytes = cold_bytes;
    return open_with(path, &options);
}

static void expect_text(firn_cache *cache, const char *key, const char *value) {
    firn_object *object;
    ck_assert_msg(firn_get(cache, key, strlen(key), &object) == FIRN_OK, "no %s", key);
    ck_assert_uint_eq(firn_object_size(object), strlen(value));
    ck_assert_mem_eq(firn_object_data(object), value, strlen(value));
    firn_object_unref(object);
}

static void expect_none(firn_cache *cache, const char *key) {
    firn_object *object;
    ck_assert_int_eq(firn_get(cache, key, strlen(key), &object), FIRN_NOT_FOUND);
    ck_assert_ptr_null(object);
}

START_TEST(what_is_put_is_got_overwritten_and_deleted) {
    firn_cache *cache = open_memory(1 << 20);
    expect_none(cache, "a");
    put_text(cache, "a", "one");
    expect_text(cache, "a", "one");
    put_text(cache, "a", "second");
    expect_text(cache, "a", "second");
    ck_assert_int_eq(firn_contains(cache, "a", 1), FIRN_OK);
    ck_assert_int_eq(firn_delete(cache, "a", 1), FIRN_OK);
    ck_assert_int_eq(firn_delete(cache, "a", 1), FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_contains(cache, "a", 1), FIRN_NOT_FOUND);
    expect_none(cache, "a");
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(an_object_outlives_overwrite_delete_and_close) {
    firn_cache *cache = open_memory(1 << 20);
    put_text(cache, "a", "kept");
    firn_object *object;
    ck_assert_int_eq(firn_get(cache, "a", 1, &object), FIRN_OK);
    put_text(cache, "a", "other");
    ck_assert_int_eq(firn_delete(cache, "a", 1), FIRN_OK);
    ck_assert_uint_gt(stats_of(cache).detached_bytes, 0);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    ck_assert_mem_eq(firn_object_data(object), "kept", 4);
    firn_object_unref(object);
}
END_TEST

START_TEST(get_copy_into_a_small_buffer_copies_nothing_and_tells_the_size) {
    firn_cache *cache = open_memory(1 << 20);
    put_text(cache, "a", "value");
    char buffer[8] = "xxxxxxx";
    size_t size = 99;
    ck_assert_int_eq(firn_get_copy(cache, "a", 1, buffer, 4, &size), FIRN_EBUFFER);
    ck_assert_uint_eq(size, 5);
    ck_assert_mem_eq(buffer, "xxxxxxx", 8);
    ck_assert_int_eq(firn_get_copy(cache, "a", 1, buffer, 5, &size), FIRN_OK);
    ck_assert_mem_eq(buffer, "valuexx", 8);
    ck_assert_int_eq(firn_get_copy(cache, "b", 1, buffer, 5, &size), FIRN_NOT_FOUND);
    ck_assert_uint_eq(size, 0);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(bad_arguments_are_told_and_change_nothing) {
    firn_cache *cache = open_memory(1 << 20);
    firn_object *object;
    char *key = calloc(1, FIRN_KEY_SIZE_MAX + 1);
    ck_assert_int_eq(firn_put(cache, "", 0, "v", 1, NULL), FIRN_EINVAL);
    ck_assert_int_eq(firn_put(cache, NULL, 1, "v", 1, NULL), FIRN_EINVAL);
    ck_assert_int_eq(firn_put(cache, "k", 1, NULL, 1, NULL), FIRN_EINVAL);
    ck_assert_int_eq(firn_put(NULL, "k", 1, "v", 1, NULL), FIRN_EINVAL);
    ck_assert_int_eq(firn_put(cache, key, FIRN_KEY_SIZE_MAX + 1, "v", 1, NULL), FIRN_ETOOLARGE);
    ck_assert_int_eq(firn_put(cache, "k", 1, key, SIZE_MAX, NULL), FIRN_ETOOLARGE);
    ck_assert_int_eq(firn_get(cache, "", 0, &object), FIRN_EINVAL);
    ck_assert_int_eq(firn_get(cache, "k", 1, NULL), FIRN_EINVAL);
    ck_assert_int_eq(firn_get(NULL, "k", 1, &object), FIRN_EINVAL);
    ck_assert_int_eq(firn_delete(cache, "", 0), FIRN_EINVAL);
    ck_assert_int_eq(firn_contains(cache, "", 0), FIRN_EINVAL);
    ck_assert_int_eq(firn_put(cache, key, 70000, "", 0, NULL), FIRN_OK);
    ck_assert_int_eq(firn_get(cache, key, 70000, &object), FIRN_OK);
    ck_assert_uint_eq(firn_object_size(object), 0);
    firn_object_unref(object);
    char text[8];
    ck_assert_uint_gt(firn_last_message(cache, text, sizeof text), 7);
    ck_assert_uint_eq(strlen(text), 7);
    free(key);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    ck_assert_int_eq(firn_close(NULL), FIRN_OK);
}
END_TEST

START_TEST(options_that_make_no_sense_are_refused_with_words) {
    struct {
        const char *word;
        firn_options options;
    } cases[] = {
        {"nothing could be kept", FIRN_OPTIONS_INIT},
        {"hot_bytes", FIRN_OPTIONS_INIT},
        {"hot_policy", FIRN_OPTIONS_INIT},
        {"promotion", FIRN_OPTIONS_INIT},
        {"shards", FIRN_OPTIONS_INIT},
        {"compression_level", FIRN_OPTIONS_INIT},
        {"allocator", FIRN_OPTIONS_INIT},
        {"threads", FIRN_OPTIONS_INIT},
        {"compression_threads", FIRN_OPTIONS_INIT},
    };
    cases[0].options.hot_bytes = 0;
    cases[1].options.hot_bytes = 100;
    cases[2].options.hot_policy = "nonesuch";
    cases[3].options.promotion = "never";
    cases[4].options.shards = 3;
    cases[5].options.compression_level = 99;
    cases[6].options.allocator.alloc = (void *(*)(void *, size_t))(uintptr_t)1;
    cases[7].options.threads = 9;
    cases[8].options.compression_threads = 65;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[300] = "";
        cases[i].options.error_buffer = text;
        cases[i].options.error_buffer_size = sizeof text;
        firn_cache *cache = (firn_cache *)&cache;
        ck_assert_int_eq(firn_open(&cache, NULL, &cases[i].options), FIRN_EINVAL);
        ck_assert_ptr_null(cache);
        ck_assert_msg(strstr(text, cases[i].word) != NULL, "%zu: %s", i, text);
    }
}
END_TEST

START_TEST(an_older_and_a_newer_option_struct_are_understood) {
    firn_options older = FIRN_OPTIONS_INIT;
    older.size = offsetof(firn_options, hot_policy);
    older.hot_policy = "garbage the library must not read";
    firn_cache *cache;
    ck_assert_int_eq(firn_open(&cache, NULL, &older), FIRN_OK);
    firn_close(cache);
    struct {
        firn_options known;
        uint64_t future;
    } newer = {FIRN_OPTIONS_INIT, 0};
    newer.known.size = sizeof newer;
    ck_assert_int_eq(firn_open(&cache, NULL, &newer.known), FIRN_OK);
    firn_close(cache);
    newer.future = 1;
    ck_assert_int_eq(firn_open(&cache, NULL, &newer.known), FIRN_EINVAL);
    newer.known.size = 0;
    ck_assert_int_eq(firn_open(&cache, NULL, &newer.known), FIRN_EINVAL);
}
END_TEST

START_TEST(memory_alone_stays_within_its_budget_and_counts_what_it_drops) {
    firn_cache *cache = open_memory(256 << 10);
    char value[700] = "v";
    for (unsigned i = 0; i < 5000; i++) {
        ck_assert_int_eq(firn_put(cache, &i, sizeof i, value, 1 + i % sizeof value, NULL), FIRN_OK);
        ck_assert_uint_le(stats_of(cache).hot_bytes, 256 << 10);
    }
    firn_stats stats = stats_of(cache);
    ck_assert_uint_eq(stats.dropped_memory_only + stats.hot_entries, 5000);
    ck_assert_uint_eq(stats.evictions, stats.dropped_memory_only);
    char *large = calloc(1, 300 << 10);
    ck_assert_int_eq(firn_put(cache, "large", 5, large, 300 << 10, NULL), FIRN_ETOOLARGE);
    free(large);
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(entries_expire_by_the_clock_in_both_tiers) {
    char *path = scratch_path("expiry");
    firn_options options = FIRN_OPTIONS_INIT;
    options.clock.now_ms = fake_clock;
    options.default_ttl_ms = 100;
    fake_now_ms = 1000000;
    firn_cache *cache = open_with(path, &options);
    firn_put_options longer = FIRN_PUT_OPTIONS_INIT;
    longer.ttl_ms = 1000;
    firn_put_options never = FIRN_PUT_OPTIONS_INIT;
    never.ttl_ms = FIRN_TTL_NONE;
    firn_put_options huge = FIRN_PUT_OPTIONS_INIT;
    huge.ttl_ms = UINT64_MAX - 1;
    put_text(cache, "default", "1");
    ck_assert_int_eq(firn_put(cache, "longer", 6, "2", 1, &longer), FIRN_OK);
    ck_assert_int_eq(firn_put(cache, "never", 5, "3", 1, &never), FIRN_OK);
    ck_assert_int_eq(firn_put(cache, "huge", 4, "4", 1, &huge), FIRN_OK);
    fake_now_ms += 99;
    expect_text(cache, "default", "1");
    fake_now_ms += 1;
    expect_none(cache, "default");
    expect_text(cache, "longer", "2");
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    cache = open_with(path, &options);
    expect_none(cache, "default");
    expect_text(cache, "longer", "2");
    fake_now_ms += 900;
    expect_none(cache, "longer");
    ck_assert_int_eq(firn_contains(cache, "longer", 6), FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_delete(cache, "longer", 6), FIRN_NOT_FOUND);
    expect_none(cache, "longer"); /* below too, where it is counted */
    expect_text(cache, "never", "3");
    expect_text(cache, "huge", "4");
    ck_assert_uint_ge(stats_of(cache).expired, 1);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(an_expired_overwrite_does_not_bring_the_old_value_back) {
    char *path = scratch_path("expired-overwrite");
    firn_options options = FIRN_OPTIONS_INIT;
    options.clock.now_ms = fake_clock;
    fake_now_ms = 5000;
    firn_cache *cache = open_with(path, &options);
    put_text(cache, "k", "old, on disk");
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    firn_put_options brief = FIRN_PUT_OPTIONS_INIT;
    brief.ttl_ms = 10;
    ck_assert_int_eq(firn_put(cache, "k", 1, "new", 3, &brief), FIRN_OK);
    fake_now_ms += 10;
    expect_none(cache, "k");
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    expect_none(cache, "k");
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    cache = open_with(path, &options);
    expect_none(cache, "k");
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(many_are_read_below_at_once_as_one_by_one) {
    enum { KEYS = 3000 };
    char *path = scratch_path("many");
    firn_cache *cache = open_store(path, 256 << 10, 16 << 20);
    for (unsigned i = 0; i < KEYS; i++) {
        char value[300];
        memset(value, (int)('a' + i % 26), sizeof value);
        ck_assert_int_eq(firn_put(cache, &i, sizeof i, value, 1 + i % 300, NULL), FIRN_OK);
    }
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    for (unsigned i = 0; i < KEYS; i += 7) {
        ck_assert_int_eq(firn_delete(cache, &i, sizeof i), FIRN_OK);
    }
    firn_stats before = stats_of(cache);
    firn_key keys[500];
    unsigned numbers[500];
    firn_object *objects[500];
    size_t all = 0;
    for (unsigned round = 0; round < 12; round++) {
        for (unsigned i = 0; i < 500; i++) { /* some are absent, and some named twice */
            numbers[i] = (i * 37 + round * 271) % (KEYS + 100);
            numbers[i] = i % 50 == 49 ? numbers[i - 1] : numbers[i];
            keys[i] = (firn_key){&numbers[i], sizeof numbers[i]};
        }
        size_t found;
        ck_assert_int_eq(firn_get_many(cache, 500, keys, objects, &found), FIRN_OK);
        size_t there = 0;
        for (unsigned i = 0; i < 500; i++) {
            bool wanted = numbers[i] < KEYS && numbers[i] % 7 != 0;
            ck_assert_msg((objects[i] != NULL) == wanted, "key %u", numbers[i]);
            if (wanted) {
                ck_assert_uint_eq(firn_object_size(objects[i]), 1 + numbers[i] % 300);
                const char *data = firn_object_data(objects[i]);
                ck_assert_int_eq(data[numbers[i] % 300], (int)('a' + numbers[i] % 26));
                firn_object_unref(objects[i]);
                there++;
            }
        }
        ck_assert_uint_eq(found, there);
        all += there;
    }
    firn_stats after = stats_of(cache);
    ck_assert_uint_eq(after.gets - before.gets, 12 * 500);
    ck_assert_uint_eq(after.hot_hits + after.cold_hits - before.hot_hits - before.cold_hits, all);
    ck_assert_uint_gt(after.cold_hits - before.cold_hits, 1000);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(what_leaves_memory_is_found_below_and_comes_up) {
    char *path = scratch_path("demotion");
    firn_cache *cache = open_store(path, 128 << 10, 16 << 20);
    char value[1000];
    for (unsigned i = 0; i < 2000; i++) {
        memset(value, (int)('a' + i % 26), sizeof value);
        ck_assert_int_eq(firn_put(cache, &i, sizeof i, value, sizeof value, NULL), FIRN_OK);
        ck_assert_uint_le(stats_of(cache).hot_bytes, (128 << 10) + 2048);
    }
    ck_assert_int_eq(firn_flush(cache), FIRN_OK); /* else what waits may leave no room to come up */
    for (unsigned i = 0; i < 2000; i++) {
        firn_object *object;
        ck_assert_int_eq(firn_get(cache, &i, sizeof i, &object), FIRN_OK);
        ck_assert_int_eq(((const char *)firn_object_data(object))[999], (int)('a' + i % 26));
        firn_object_unref(object);
    }
    firn_stats stats = stats_of(cache);
    ck_assert_uint_eq(stats.misses, 0);
    ck_assert_uint_eq(stats.hot_hits + stats.cold_hits, 2000);
    ck_assert_uint_gt(stats.promotions, 1000);
    ck_assert_uint_lt(stats.cold_stored_bytes, stats.cold_value_bytes / 4);
    uint64_t writes = stats.writes;
    for (unsigned i = 0; i < 2000; i++) {
        ck_assert_int_eq(firn_get_copy(cache, &i, sizeof i, value, sizeof value, NULL), FIRN_OK);
    }
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    stats = stats_of(cache);
    /* What came up unchanged is not written again: only what had never been written was. */
    ck_assert_uint_le(stats.writes, 2000);
    ck_assert_uint_ge(stats.writes, writes);
    ck_assert_uint_gt(stats.clean_demotions, 1000);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(a_restart_brings_everything_back_and_warms_what_was_hot) {
    char *path = scratch_path("restart");
    firn_cache *cache = open_store(path, 256 << 10, 16 << 20);
    char value[500] = "v";
    for (unsigned i = 0; i < 1000; i++) {
        ck_assert_int_eq(firn_put(cache, &i, sizeof i, value, sizeof value, NULL), FIRN_OK);
    }
    uint64_t hot = stats_of(cache).hot_entries;
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 256 << 10;
    options.cold_bytes = 16 << 20;
    options.threads = 0;
    cache = open_with(path, &options);
    ck_assert_uint_ge(stats_of(cache).warming, hot);
    ck_assert_int_eq(firn_run(cache, 10000), FIRN_OK);
    firn_stats stats = stats_of(cache);
    ck_assert_uint_eq(stats.warming, 0);
    ck_assert_uint_ge(stats.warmed, hot - 1);
    unsigned last = 999;
    ck_assert_int_eq(firn_get_copy(cache, &last, sizeof last, value, sizeof value, NULL), FIRN_OK);
    ck_assert_uint_eq(stats_of(cache).hot_hits, 1);
    for (unsigned i = 0; i < 1000; i++) {
        ck_assert_int_eq(firn_contains(cache, &i, sizeof i), FIRN_OK);
    }
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(deleted_and_overwritten_values_do_not_come_back_after_a_restart) {
    char *path = scratch_path("stale");
    firn_cache *cache = open_store(path, 64 << 10, 4 << 20);
    for (unsigned i = 0; i < 300; i++) {
        ck_assert_int_eq(firn_put(cache, &i, sizeof i, "old", 3, NULL), FIRN_OK);
    }
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    for (unsigned i = 0; i < 300; i++) {
        if (i % 2 == 0) {
            ck_assert_int_eq(firn_delete(cache, &i, sizeof i), FIRN_OK);
        } else {
            ck_assert_int_eq(firn_put(cache, &i, sizeof i, "newer", 5, NULL), FIRN_OK);
        }
    }
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    cache = open_store(path, 64 << 10, 4 << 20);
    for (unsigned i = 0; i < 300; i++) {
        char value[8];
        size_t size;
        int result = firn_get_copy(cache, &i, sizeof i, value, sizeof value, &size);
        ck_assert_int_eq(result, i % 2 == 0 ? FIRN_NOT_FOUND : FIRN_OK);
        ck_assert_uint_eq(size, i % 2 == 0 ? 0 : 5);
    }
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(a_value_larger_than_memory_goes_straight_down) {
    char *path = scratch_path("large");
    firn_cache *cache = open_store(path, 128 << 10, 64 << 20);
    size_t size = 5 << 20;
    char *value = malloc(size);
    for (size_t i = 0; i < size; i++) {
        value[i] = (char)(i * i >> 7);
    }
    ck_assert_int_eq(firn_put(cache, "large", 5, value, size, NULL), FIRN_OK);
    firn_object *object;
    ck_assert_int_eq(firn_get(cache, "large", 5, &object), FIRN_OK);
    ck_assert_uint_eq(firn_object_size(object), size);
    ck_assert_mem_eq(firn_object_data(object), value, size);
    firn_object_unref(object);
    ck_assert_uint_eq(stats_of(cache).hot_entries, 0);
    ck_assert_int_eq(firn_put(cache, "large", 5, value, 3 << 20, NULL), FIRN_OK);
    ck_assert_int_eq(firn_put(cache, "larger", 6, value, (size_t)100 << 20, NULL), FIRN_ETOOLARGE);
    char text[200];
    firn_last_message(cache, text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, "neither tier"));
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    cache = open_store(path, 128 << 10, 64 << 20);
    ck_assert_int_eq(firn_get_copy(cache, "large", 5, NULL, 0, &size), FIRN_EBUFFER);
    ck_assert_uint_eq(size, 3 << 20);
    ck_assert_int_eq(firn_delete(cache, "large", 5), FIRN_OK);
    expect_none(cache, "large");
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    free(value);
    remove_tree(path);
}
END_TEST

START_TEST(the_cold_budget_is_kept_and_the_newest_survive) {
    const uint64_t budgets[] = {1 << 20, 4 << 20, 16 << 20};
    for (size_t b = 0; b < 3; b++) {
        char *path = scratch_path("budget");
        firn_options options = FIRN_OPTIONS_INIT;
        options.hot_bytes = 64 << 10;
        options.cold_bytes = budgets[b];
        options.compression_level = FIRN_COMPRESSION_OFF;
        firn_cache *cache = open_with(path, &options);
        char *value = malloc(budgets[b] / 4);
        memset(value, 'x', budgets[b] / 4);
        uint64_t written = 0;
        unsigned count = 0;
        uint64_t seed = 42;
        while (written < budgets[b] * 10) {
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
            size_t size = seed >> 60 == 0 ? budgets[b] / 5 : 1 + (seed >> 33) % 8000;
            ck_assert_int_eq(firn_put(cache, &count, sizeof count, value, size, NULL), FIRN_OK);
            written += size;
            count++;
            ck_assert_uint_le(file_size(path, "data.mdb"), budgets[b]);
        }
        ck_assert_int_eq(firn_flush(cache), FIRN_OK);
        firn_stats stats = stats_of(cache);
        ck_assert_uint_le(stats.cold_file_bytes, budgets[b]);
        ck_assert_uint_gt(stats.reclaimed, 0);
        ck_assert_uint_eq(stats.dropped_too_large, 0);
        for (unsigned i = count - 10; i < count; i++) {
            ck_assert_int_eq(firn_contains(cache, &i, sizeof i), FIRN_OK);
        }
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
        free(value);
        remove_tree(path);
    }
}
END_TEST

START_TEST(write_through_is_on_disk_when_put_returns) {
    char *path = scratch_path("through");
    firn_options options = FIRN_OPTIONS_INIT;
    options.write_mode = FIRN_WRITE_THROUGH;
    firn_cache *cache = open_with(path, &options);
    put_text(cache, "k", "v");
    firn_stats stats = stats_of(cache);
    ck_assert_uint_eq(stats.writes, 1);
    ck_assert_uint_eq(stats.cold_entries, 1);
    ck_assert_uint_eq(stats.hot_entries, 1);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(a_disk_cache_keeps_nothing_in_memory) {
    char *path = scratch_path("disk");
    firn_cache *cache = open_store(path, 0, 8 << 20);
    char value[2000] = "v";
    for (unsigned i = 0; i < 1500; i++) {
        ck_assert_int_eq(firn_put(cache, &i, sizeof i, value, sizeof value, NULL), FIRN_OK);
    }
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    for (unsigned i = 0; i < 1500; i++) {
        ck_assert_int_eq(firn_get_copy(cache, &i, sizeof i, value, sizeof value, NULL), FIRN_OK);
    }
    firn_stats stats = stats_of(cache);
    ck_assert_uint_eq(stats.hot_entries, 0);
    ck_assert_uint_eq(stats.cold_hits, 1500);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(without_threads_the_program_does_the_work) {
    char *path = scratch_path("threads");
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 1 << 20;
    options.threads = 0;
    firn_cache *cache = open_with(path, &options);
    char value[1000] = "v";
    for (unsigned i = 0; i < 1000; i++) {
        ck_assert_int_eq(firn_put(cache, &i, sizeof i, value, sizeof value, NULL), FIRN_OK);
    }
    ck_assert_uint_gt(stats_of(cache).queued_entries, 0);
    ck_assert_int_eq(firn_run(cache, 10000), FIRN_OK);
    ck_assert_uint_eq(stats_of(cache).queued_entries, 0);
    ck_assert_uint_gt(stats_of(cache).demotions, 0);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(the_second_hit_promotes_when_asked) {
    char *path = scratch_path("second-hit");
    firn_cache *cache = open_store(path, 1 << 20, 8 << 20);
    put_text(cache, "k", "v");
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    char *list = join(path, "firn.hot");
    ck_assert_int_eq(unlink(list), 0);
    free(list);
    firn_options options = FIRN_OPTIONS_INIT;
    options.promotion = "kth-hit";
    cache = open_with(path, &options);
    expect_text(cache, "k", "v");
    ck_assert_uint_eq(stats_of(cache).promotions, 0);
    expect_text(cache, "k", "v");
    ck_assert_uint_eq(stats_of(cache).promotions, 1);
    expect_text(cache, "k", "v");
    ck_assert_uint_eq(stats_of(cache).hot_hits, 1);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(a_second_handle_of_the_process_is_refused) {
    char *path = scratch_path("second");
    firn_cache *cache = open_store(path, 1 << 20, 8 << 20);
    firn_options options = FIRN_OPTIONS_INIT;
    char text[300] = "";
    options.error_buffer = text;
    options.error_buffer_size = sizeof text;
    firn_cache *second;
    ck_assert_int_eq(firn_open(&second, path, &options), FIRN_EBUSY);
    ck_assert_ptr_null(second);
    ck_assert_ptr_nonnull(strstr(text, path));
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    cache = open_store(path, 1 << 20, 8 << 20);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(a_read_only_handle_reads_and_refuses_to_write) {
    char *path = scratch_path("read-only");
    firn_options options = FIRN_OPTIONS_INIT;
    options.read_only = 1;
    firn_cache *cache;
    ck_assert_int_eq(firn_open(&cache, path, &options), FIRN_NOT_FOUND);
    cache = open_store(path, 1 << 20, 8 << 20);
    put_text(cache, "k", "v");
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    cache = open_with(path, &options);
    expect_text(cache, "k", "v");
    expect_text(cache, "k", "v");
    ck_assert_int_eq(firn_put(cache, "k", 1, "w", 1, NULL), FIRN_EREADONLY);
    ck_assert_int_eq(firn_delete(cache, "k", 1), FIRN_EREADONLY);
    ck_assert_int_eq(firn_flush(cache), FIRN_EREADONLY);
    ck_assert_uint_eq(stats_of(cache).hot_entries, 0);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(foreign_files_and_folders_are_left_alone) {
    char *path = scratch_path("foreign");
    firn_options options = FIRN_OPTIONS_INIT;
    firn_cache *cache;
    write_file(path, "not a store");
    ck_assert_int_eq(firn_open(&cache, path, &options), FIRN_ENOTSTORE);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(mkdir(path, 0755), 0);
    char *data = join(path, "data.mdb");
    write_file(data, "somebody else's");
    ck_assert_int_eq(firn_open(&cache, path, &options), FIRN_ENOTSTORE);
    ck_assert_uint_eq(file_size(path, "data.mdb"), 15);
    ck_assert_int_eq(unlink(data), 0);
    char *other = join(path, "letter.txt");
    write_file(other, "dear");
    ck_assert_int_eq(firn_open(&cache, path, &options), FIRN_ENOTSTORE);
    ck_assert_uint_eq(file_size(path, "letter.txt"), 4);
    char *deep = join(path, "missing/store");
    ck_assert_int_eq(firn_open(&cache, deep, &options), FIRN_EIO);
    ck_assert_int_eq(firn_open(&cache, "", &options), FIRN_EINVAL);
    free(data);
    free(other);
    free(deep);
    remove_tree(path);
}
END_TEST

START_TEST(a_store_whose_log_is_cut_off_is_refused_or_set_aside) {
    char *path = scratch_path("truncated");
    firn_cache *cache = open_store(path, 1 << 20, 8 << 20);
    char value[3000] = "v";
    for (unsigned i = 0; i < 500; i++) {
        ck_assert_int_eq(firn_put(cache, &i, sizeof i, value, sizeof value, NULL), FIRN_OK);
    }
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    char *data = join(path, "firn.log");
    ck_assert_int_eq(truncate(data, 20), 0);
    firn_options options = FIRN_OPTIONS_INIT;
    char text[300] = "";
    options.error_buffer = text;
    options.error_buffer_size = sizeof text;
    ck_assert_int_eq(firn_open(&cache, path, &options), FIRN_ECORRUPT);
    ck_assert_ptr_nonnull(strstr(text, "firn.log"));
    ck_assert_uint_eq(file_size(path, "firn.log"), 20);
    options.set_aside_damaged = 1;
    cache = open_with(path, &options);
    ck_assert_uint_gt(firn_last_message(cache, text, sizeof text), 0);
    ck_assert_ptr_nonnull(strstr(text, "set aside"));
    put_text(cache, "k", "v");
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    free(data);
    char aside[300];
    snprintf(aside, sizeof aside, "%s.damaged", path);
    ck_assert_uint_eq(file_size(aside, "firn.log"), 20);
    remove_tree(strdup(aside));
    remove_tree(path);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, what_is_put_is_got_overwritten_and_deleted);
    tcase_add_test(tcase, an_object_outlives_overwrite_delete_and_close);
    tcase_add_test(tcase, get_copy_into_a_small_buffer_copies_nothing_and_tells_the_size);
    tcase_add_test(tcase, bad_arguments_are_told_and_change_nothing);
    tcase_add_test(tcase, options_that_make_no_sense_are_refused_with_words);
    tcase_add_test(tcase, an_older_and_a_newer_option_struct_are_understood);
    tcase_add_test(tcase, memory_alone_stays_within_its_budget_and_counts_what_it_drops);
    tcase_add_test(tcase, entries_expire_by_the_clock_in_both_tiers);
    tcase_add_test(tcase, an_expired_overwrite_does_not_bring_the_old_value_back);
    tcase_add_test(tcase, many_are_read_below_at_once_as_one_by_one);
    tcase_add_test(tcase, what_leaves_memory_is_found_below_and_comes_up);
    tcase_add_test(tcase, a_restart_brings_everything_back_and_warms_what_was_hot);
    tcase_add_test(tcase, deleted_and_overwritten_values_do_not_come_back_after_a_restart);
    tcase_add_test(tcase, a_value_larger_than_memory_goes_straight_down);
    tcase_add_test(tcase, the_cold_budget_is_kept_and_the_newest_survive);
    tcase_add_test(tcase, write_through_is_on_disk_when_put_returns);
    tcase_add_test(tcase, a_disk_cache_keeps_nothing_in_memory);
    tcase_add_test(tcase, without_threads_the_program_does_the_work);
    tcase_add_test(tcase, the_second_hit_promotes_when_asked);
    tcase_add_test(tcase, a_second_handle_of_the_process_is_refused);
    tcase_add_test(tcase, a_read_only_handle_reads_and_refuses_to_write);
    tcase_add_test(tcase, foreign_files_and_folders_are_left_alone);
    tcase_add_test(tcase, a_store_whose_log_is_cut_off_is_refused_or_set_aside);
}

int main(void) {
    return run_suite("cache", add, 120);
}
