/* Expiry by a clock that stands still until it is moved: sliding, stale, and space that comes back.
 */
#include <check.h>
#include <string.h>

#include <firn/firn.h>

#include "base/hash.h"
#include "entries.h"
#include "object/object.h"
#include "suite.h"
#include "support.h"

static void put(firn_cache *cache, const char *key, const firn_put_options *options) {
    ck_assert_int_eq(firn_put(cache, key, strlen(key), "value", 5, options), FIRN_OK);
}

/* Entries that push everything else out of memory. */
static void flood(firn_cache *cache, unsigned count) {
    static unsigned next;
    char value[1000] = "";
    for (unsigned i = 0; i < count; i++, next++) {
        char key[32];
        snprintf(key, sizeof key, "flood %u", next);
        ck_assert_int_eq(firn_put(cache, key, strlen(key), value, sizeof value, NULL), FIRN_OK);
    }
}

START_TEST(hits_put_a_sliding_expiry_off) {
    firn_options options = clocked();
    firn_cache *cache = open_with(NULL, &options);
    firn_put_options sliding = FIRN_PUT_OPTIONS_INIT;
    sliding.idle_ms = 100;
    put(cache, "hit", &sliding);
    put(cache, "idle", &sliding);
    sliding.ttl_ms = 250;
    put(cache, "limited", &sliding);
    for (unsigned i = 0; i < 4; i++) {
        ck_assert(finds(cache, "hit"));
        ck_assert_msg(finds(cache, "limited") == (i * 60 < 250), "%u", i);
        ck_assert_int_eq(firn_contains(cache, "idle", 4), i < 2 ? FIRN_OK : FIRN_NOT_FOUND);
        fake_now_ms += 60;
    }
    ck_assert(finds(cache, "hit"));
    fake_now_ms += 20; /* 260 after the put */
    ck_assert(finds(cache, "hit"));
    ck_assert(!finds(cache, "limited"));
    fake_now_ms += 100;
    ck_assert(!finds(cache, "hit"));
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(a_sliding_expiry_is_known_in_the_cold_tier) {
    char *path = scratch_path("sliding");
    firn_options options = clocked();
    options.hot_bytes = 256 << 10;
    firn_cache *cache = open_with(path, &options);
    firn_put_options sliding = FIRN_PUT_OPTIONS_INIT;
    sliding.idle_ms = 1000;
    put(cache, "k", &sliding);
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    fake_now_ms += 900;
    ck_assert(finds(cache, "k")); /* until 1900 now, and below until 1000 */
    uint64_t writes = stats_of(cache).writes;
    flood(cache, 400); /* it goes down once more */
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    ck_assert_uint_gt(stats_of(cache).writes, writes);
    fake_now_ms += 900;
    ck_assert(finds(cache, "k")); /* from below, which is a hit too */
    fake_now_ms += 900;
    ck_assert(finds(cache, "k"));
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    cache = open_with(path, &options);
    fake_now_ms += 900;
    ck_assert(finds(cache, "k"));
    fake_now_ms += 1000;
    ck_assert(!finds(cache, "k"));
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(what_slid_a_little_is_not_written_again) {
    char *path = scratch_path("slid-little");
    firn_options options = clocked();
    options.hot_bytes = 256 << 10;
    firn_cache *cache = open_with(path, &options);
    firn_put_options sliding = FIRN_PUT_OPTIONS_INIT;
    sliding.idle_ms = 1000;
    put(cache, "k", &sliding);
    flood(cache, 400);
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    fake_now_ms += 50;
    ck_assert(finds(cache, "k")); /* comes up */
    fake_now_ms += 50;
    ck_assert(finds(cache, "k"));
    uint64_t clean = stats_of(cache).clean_demotions;
    uint64_t writes = stats_of(cache).writes;
    ck_assert_int_eq(firn_set_hot_bytes(cache, 64 << 10), FIRN_OK);
    ck_assert_uint_gt(stats_of(cache).clean_demotions, clean);
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    ck_assert_uint_eq(stats_of(cache).writes, writes);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(stale_values_are_kept_and_not_given) {
    char *path = scratch_path("stale");
    for (unsigned tiers = 0; tiers < 2; tiers++) {
        firn_options options = clocked();
        options.hot_bytes = tiers == 0 ? 1 << 20 : 0; /* in memory, or below */
        firn_cache *cache = open_with(tiers == 0 ? NULL : path, &options);
        firn_put_options soft = FIRN_PUT_OPTIONS_INIT;
        soft.ttl_ms = 100;
        soft.stale_ms = 50;
        put(cache, "k", &soft);
        ck_assert_int_eq(firn_flush(cache), FIRN_OK);
        fake_now_ms += 99;
        ck_assert(finds(cache, "k"));
        ck_assert_int_eq(firn_contains(cache, "k", 1), FIRN_OK);
        ck_assert_int_eq(firn_touch(cache, "k", 1, 100), FIRN_OK);
        fake_now_ms += 99;
        ck_assert(finds(cache, "k"));
        fake_now_ms += 1;
        ck_assert(!finds(cache, "k"));
        ck_assert_int_eq(firn_contains(cache, "k", 1), FIRN_NOT_FOUND);
        ck_assert_int_eq(firn_touch(cache, "k", 1, 100), FIRN_NOT_FOUND);
        ck_assert_int_eq(firn_replace(cache, "k", 1, "other", 5, NULL), FIRN_NOT_FOUND);
        char copy[8];
        ck_assert_int_eq(firn_get_copy(cache, "k", 1, copy, sizeof copy, NULL), FIRN_NOT_FOUND);
        ck_assert_uint_eq(stats_of(cache).expired, 0);
        firn_cursor *cursor;
        firn_object *object;
        ck_assert_int_eq(firn_cursor_open(cache, NULL, 0, 0, &cursor), FIRN_OK);
        ck_assert_int_eq(firn_cursor_next(cursor, &object), FIRN_NOT_FOUND);
        firn_cursor_close(cursor);
        ck_assert_int_eq(firn_add(cache, "k", 1, "value", 5, NULL), FIRN_OK);
        ck_assert(finds(cache, "k"));
        ck_assert_int_eq(firn_put(cache, "k", 1, "value", 5, &soft), FIRN_OK);
        fake_now_ms += 120;
        ck_assert_int_eq(firn_delete(cache, "k", 1), FIRN_OK); /* what is stale can be deleted */
        ck_assert_int_eq(firn_delete(cache, "k", 1), FIRN_NOT_FOUND);
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
    }
    remove_tree(path);
}
END_TEST

START_TEST(options_that_do_not_go_together_are_refused) {
    firn_options options = clocked();
    firn_cache *cache = open_with(NULL, &options);
    firn_put_options wrong = FIRN_PUT_OPTIONS_INIT;
    wrong.idle_ms = 5;
    wrong.stale_ms = 5;
    ck_assert_int_eq(firn_put(cache, "k", 1, "v", 1, &wrong), FIRN_EINVAL);
    wrong = (firn_put_options)FIRN_PUT_OPTIONS_INIT;
    const char *tags[FIRN_TAGS_MAX + 1] = {"a", ""};
    wrong.tag_count = 1;
    ck_assert_int_eq(firn_put(cache, "k", 1, "v", 1, &wrong), FIRN_EINVAL);
    wrong.tags = tags;
    ck_assert_int_eq(firn_put(cache, "k", 1, "v", 1, &wrong), FIRN_OK);
    wrong.tag_count = 2; /* one is empty */
    ck_assert_int_eq(firn_put(cache, "k", 1, "v", 1, &wrong), FIRN_EINVAL);
    wrong.tag_count = FIRN_TAGS_MAX + 1;
    ck_assert_int_eq(firn_put(cache, "k", 1, "v", 1, &wrong), FIRN_EINVAL);
    for (unsigned i = 0; i <= FIRN_TAGS_MAX; i++) {
        tags[i] = "the same";
    }
    wrong.tag_count = FIRN_TAGS_MAX;
    ck_assert_int_eq(firn_put(cache, "k", 1, "v", 1, &wrong), FIRN_OK);
    firn_object *object;
    ck_assert_int_eq(firn_get(cache, "k", 1, &object), FIRN_OK);
    ck_assert_uint_eq(firn_object_get_traits(object).tag_count, 1);
    firn_object_unref(object);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(traits_come_back_from_below) {
    char *path = scratch_path("traits");
    firn_options options = clocked();
    firn_cache *cache = open_with(path, &options);
    const char *tags[] = {"red", "round"};
    firn_put_options full = FIRN_PUT_OPTIONS_INIT;
    full.ttl_ms = 500;
    full.stale_ms = 70;
    full.cost_us = 1234;
    full.tags = tags;
    full.tag_count = 2;
    put(cache, "stale", &full);
    full.stale_ms = 0;
    full.idle_ms = 200;
    put(cache, "sliding", &full);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    cache = open_with(path, &options);
    const uint64_t hashes[] = {firn_tag_hash("red"), firn_tag_hash("round")};
    const char *keys[] = {"stale", "sliding"};
    for (unsigned i = 0; i < 2; i++) {
        firn_object *object;
        ck_assert_int_eq(firn_get(cache, keys[i], strlen(keys[i]), &object), FIRN_OK);
        firn_traits traits = firn_object_get_traits(object);
        ck_assert_uint_eq(traits.cost_us, 1234);
        ck_assert_uint_eq(traits.tag_count, 2);
        ck_assert_mem_eq(traits.tags, hashes, sizeof hashes);
        ck_assert_uint_eq(traits.stale_ms, i == 0 ? 70 : 0);
        ck_assert_uint_eq(traits.expires_ms, fake_now_ms + (i == 0 ? 570 : 200));
        ck_assert_uint_eq(traits.limit_ms, i == 0 ? 0 : fake_now_ms + 500);
        firn_object_unref(object);
    }
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

/* The background's work, all that is due. */
static void work(firn_cache *cache) {
    int result;
    do {
        result = firn_run(cache, 0);
    } while (result == FIRN_AGAIN);
    ck_assert_int_eq(result, FIRN_OK);
}

START_TEST(expired_entries_give_their_memory_back_unasked) {
    char *path = scratch_path("given-back");
    enum { ENTRIES = 3000 };
    for (unsigned tiers = 0; tiers < 3; tiers++) {
        firn_options options = clocked();
        options.hot_bytes = 8 << 20;
        options.default_ttl_ms = 5000;
        firn_cache *cache = open_with(tiers == 0 ? NULL : path, &options);
        char value[500] = "";
        for (unsigned i = 0; i < ENTRIES; i++) {
            firn_put_options put_options = FIRN_PUT_OPTIONS_INIT;
            put_options.ttl_ms = i % 3 == 0 ? FIRN_TTL_NONE : i % 3 == 1 ? 0 : 1000000000;
            ck_assert_int_eq(firn_put(cache, &i, sizeof i, value, sizeof value, &put_options),
                             FIRN_OK);
        }
        if (tiers == 2) {
            ck_assert_int_eq(firn_flush(cache), FIRN_OK); /* else they are dirty */
        }
        work(cache);
        ck_assert_uint_eq(stats_of(cache).hot_entries, ENTRIES);
        uint64_t bytes = stats_of(cache).hot_bytes;
        unsigned third = 1;
        ck_assert_int_eq(firn_touch(cache, &third, sizeof third, 20000), FIRN_OK);
        fake_now_ms += 5000 + 600;
        work(cache);
        ck_assert_uint_eq(stats_of(cache).hot_entries, ENTRIES / 3 * 2 + 1);
        ck_assert_uint_lt(stats_of(cache).hot_bytes, bytes - ENTRIES / 3 * 500);
        fake_now_ms += 15000;
        work(cache);
        ck_assert_uint_eq(stats_of(cache).hot_entries, ENTRIES / 3 * 2);
        fake_now_ms += 1000000000;
        work(cache);
        ck_assert_uint_eq(stats_of(cache).hot_entries, ENTRIES / 3);
        if (tiers < 2) {
            ck_assert_uint_eq(stats_of(cache).expired, ENTRIES / 3 * 2);
        }
        ck_assert_uint_eq(stats_of(cache).evictions, 0);
        for (unsigned i = 0; i < ENTRIES; i++) {
            ck_assert_int_eq(firn_contains(cache, &i, sizeof i),
                             i % 3 == 0 ? FIRN_OK : FIRN_NOT_FOUND);
        }
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
        clear_tree(path);
    }
    remove_tree(path);
}
END_TEST

START_TEST(what_is_expired_makes_room_before_what_is_not) {
    firn_options options = clocked();
    options.hot_bytes = 1 << 20;
    options.shards = 1;
    firn_cache *cache = open_with(NULL, &options);
    firn_put_options lasting = FIRN_PUT_OPTIONS_INIT;
    put(cache, "lasting", &lasting);
    char value[1000] = "";
    firn_put_options brief = FIRN_PUT_OPTIONS_INIT;
    brief.ttl_ms = 1000;
    for (unsigned i = 0; i < 700; i++) {
        ck_assert_int_eq(firn_put(cache, &i, sizeof i, value, sizeof value, &brief), FIRN_OK);
    }
    fake_now_ms += 2000;
    flood(cache, 700); /* the coldest of those that live is the first */
    ck_assert_uint_eq(stats_of(cache).evictions, 0);
    ck_assert_uint_gt(stats_of(cache).expired, 300);
    ck_assert(finds(cache, "lasting"));
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(the_background_thread_sees_to_a_cache_in_memory) {
    firn_options options = clocked();
    options.threads = 1;
    firn_cache *cache = open_with(NULL, &options);
    firn_put_options brief = FIRN_PUT_OPTIONS_INIT;
    brief.ttl_ms = 1;
    fake_now_ms += 1000;
    put(cache, "k", &brief);
    fake_now_ms += 2000;
    for (unsigned i = 0; i < 3000 && stats_of(cache).hot_entries > 0; i++) {
        usleep(10000); /* until it is seen to; the test's own limit ends it */
    }
    ck_assert_uint_eq(stats_of(cache).hot_entries, 0);
    ck_assert_uint_eq(stats_of(cache).expired, 1);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, expired_entries_give_their_memory_back_unasked);
    tcase_add_test(tcase, what_is_expired_makes_room_before_what_is_not);
    tcase_add_test(tcase, the_background_thread_sees_to_a_cache_in_memory);
    tcase_add_test(tcase, hits_put_a_sliding_expiry_off);
    tcase_add_test(tcase, a_sliding_expiry_is_known_in_the_cold_tier);
    tcase_add_test(tcase, what_slid_a_little_is_not_written_again);
    tcase_add_test(tcase, stale_values_are_kept_and_not_given);
    tcase_add_test(tcase, options_that_do_not_go_together_are_refused);
    tcase_add_test(tcase, traits_come_back_from_below);
}

int main(void) {
    return run_suite("expiry", add_tests, 60);
}
