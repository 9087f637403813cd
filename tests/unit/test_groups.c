/* Groups of keys: a share of memory, a policy, an expiry and counters of their own. */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <firn/firn.h>

#include "entries.h"
#include "suite.h"
#include "support.h"

static firn_options small(void) {
    firn_options options = clocked();
    options.hot_bytes = 1 << 20;
    options.shards = 1;
    return options;
}

static void define(firn_cache *cache, const char *prefix, const firn_group_options *options) {
    ck_assert_int_eq(firn_group_define(cache, prefix, strlen(prefix), options), FIRN_OK);
}

static firn_group_stats group_stats(firn_cache *cache, const char *prefix) {
    firn_group_stats stats = FIRN_GROUP_STATS_INIT;
    ck_assert_int_eq(firn_group_get_stats(cache, prefix, strlen(prefix), &stats), FIRN_OK);
    return stats;
}

static void put(firn_cache *cache, const char *prefix, unsigned number) {
    char key[32];
    char value[200] = "";
    snprintf(key, sizeof key, "%s%u", prefix, number);
    ck_assert_int_eq(firn_put(cache, key, strlen(key), value, sizeof value, NULL), FIRN_OK);
}

static bool has(firn_cache *cache, const char *prefix, unsigned number) {
    char key[32];
    snprintf(key, sizeof key, "%s%u", prefix, number);
    return finds(cache, key);
}

START_TEST(a_flood_of_one_group_leaves_the_share_of_another) {
    static const char *const policies[] = {"lru", "sieve", "tinylfu", "arc"};
    firn_options options = small();
    options.hot_policy = policies[_i % 4];
    options.shards = _i < 4 ? 1 : 4;
    firn_cache *cache = open_with(NULL, &options);
    firn_group_options quarter = FIRN_GROUP_OPTIONS_INIT;
    quarter.hot_bytes = 256 << 10;
    define(cache, "a:", &quarter);
    define(cache, "b:", NULL);
    for (unsigned i = 0; i < 600; i++) {
        put(cache, "a:", i);
    }
    uint64_t before = group_stats(cache, "a:").hot_entries;
    ck_assert_uint_eq(before, 600);
    for (unsigned i = 0; i < 20000; i++) { /* scans past */
        put(cache, i % 2 == 0 ? "b:" : "other ", i);
    }
    firn_group_stats a = group_stats(cache, "a:");
    firn_group_stats b = group_stats(cache, "b:");
    ck_assert_uint_eq(a.hot_share, 256 << 10);
    ck_assert_uint_eq(a.hot_entries, 600); /* less than its share: untouched */
    ck_assert_uint_eq(a.evictions, 0);
    ck_assert_uint_gt(b.evictions, 9000);
    for (unsigned i = 0; i < 600; i++) {
        ck_assert(has(cache, "a:", i));
    }
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(what_nobody_wants_may_be_used_and_is_given_back) {
    firn_options options = small();
    firn_cache *cache = open_with(NULL, &options);
    firn_group_options half = FIRN_GROUP_OPTIONS_INIT;
    half.hot_bytes = 500 << 10;
    define(cache, "a:", &half);
    for (unsigned i = 0; i < 10000; i++) {
        put(cache, "a:", i);
    }
    uint64_t alone = group_stats(cache, "a:").hot_bytes;
    ck_assert_uint_gt(alone, 900 << 10); /* nearly all */
    for (unsigned i = 0; i < 10000; i++) {
        put(cache, "other ", i);
    }
    uint64_t beside = group_stats(cache, "a:").hot_bytes;
    ck_assert_uint_le(beside, 510 << 10);
    ck_assert_uint_gt(beside, 440 << 10);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(each_group_has_its_policy) {
    firn_options options = small();
    options.hot_policy = "lru";
    firn_cache *cache = open_with(NULL, &options);
    firn_group_options how = FIRN_GROUP_OPTIONS_INIT;
    how.hot_bytes = 300 << 10;
    how.hot_policy = "tinylfu"; /* what was often hit outlives a scan; with lru it does not */
    define(cache, "a:", &how);
    how.hot_policy = NULL;
    define(cache, "b:", &how);
    for (unsigned round = 0; round < 30; round++) {
        for (unsigned i = 0; i < 100; i++) {
            const char *prefix[] = {"a:", "b:"};
            for (unsigned j = 0; j < 2; j++) {
                if (!has(cache, prefix[j], i)) {
                    put(cache, prefix[j], i);
                }
            }
        }
    }
    for (unsigned i = 1000; i < 9000; i++) {
        put(cache, "a:", i);
        put(cache, "b:", i);
    }
    unsigned kept[2] = {0, 0};
    for (unsigned i = 0; i < 100; i++) {
        kept[0] += has(cache, "a:", i);
        kept[1] += has(cache, "b:", i);
    }
    ck_assert_uint_ge(kept[0], 80);
    ck_assert_uint_eq(kept[1], 0);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(a_group_has_its_expiry) {
    firn_options options = small();
    options.default_ttl_ms = 1000;
    firn_cache *cache = open_with(NULL, &options);
    firn_group_options how = FIRN_GROUP_OPTIONS_INIT;
    how.default_ttl_ms = 100;
    define(cache, "brief:", &how);
    how.default_ttl_ms = FIRN_TTL_NONE;
    define(cache, "lasting:", &how);
    how.default_ttl_ms = 0;
    how.default_idle_ms = 100;
    define(cache, "idle:", &how);
    const char *prefixes[] = {"brief:", "lasting:", "idle:", "other:"};
    for (unsigned i = 0; i < 4; i++) {
        put(cache, prefixes[i], 1);
    }
    firn_put_options own = FIRN_PUT_OPTIONS_INIT;
    own.ttl_ms = 500;
    ck_assert_int_eq(firn_put(cache, "brief:own", 9, "v", 1, &own), FIRN_OK);
    fake_now_ms += 90;
    ck_assert(has(cache, "idle:", 1));
    fake_now_ms += 90;
    ck_assert(!has(cache, "brief:", 1));
    ck_assert_int_eq(firn_contains(cache, "brief:own", 9), FIRN_OK);
    ck_assert(has(cache, "idle:", 1));
    fake_now_ms += 100;
    ck_assert(!has(cache, "idle:", 1));
    fake_now_ms += 800;
    ck_assert(!has(cache, "other:", 1));
    ck_assert(has(cache, "lasting:", 1));
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(what_happens_to_a_group_is_counted) {
    char *path = scratch_path("counted");
    firn_options options = small();
    firn_cache *cache = open_with(path, &options);
    define(cache, "a:", NULL);
    define(cache, "a:b:", NULL); /* the longer prefix has it */
    put(cache, "a:", 1);
    put(cache, "a:b:", 1);
    ck_assert(has(cache, "a:", 1));
    ck_assert(!has(cache, "a:", 2));
    ck_assert_int_eq(firn_delete(cache, "a:b:1", 5), FIRN_OK);
    for (unsigned i = 0; i < 9000; i++) {
        put(cache, "other ", i);
    }
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    ck_assert(has(cache, "a:", 1)); /* from below, or from memory */
    firn_group_stats a = group_stats(cache, "a:");
    ck_assert_uint_eq(a.puts, 1);
    ck_assert_uint_eq(a.hot_hits + a.cold_hits, 2);
    ck_assert_uint_eq(a.misses, 1);
    ck_assert_uint_eq(a.hot_entries, 1);
    firn_group_stats b = group_stats(cache, "a:b:");
    ck_assert_uint_eq(b.puts, 1);
    ck_assert_uint_eq(b.deletes, 1);
    ck_assert_uint_eq(b.hot_entries, 0);
    ck_assert_uint_eq(b.hot_bytes, 0);
    for (unsigned i = 0; i < 9000; i++) {
        put(cache, "a:", i);
    }
    a = group_stats(cache, "a:");
    ck_assert_uint_eq(a.puts, 9001);
    ck_assert_uint_gt(a.evictions, 1000);
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    a = group_stats(cache, "a:");
    ck_assert_uint_gt(a.demotions, 1000);
    ck_assert(has(cache, "a:", 5));
    ck_assert_uint_eq(group_stats(cache, "a:").cold_hits, a.cold_hits + 1);
    ck_assert_uint_eq(group_stats(cache, "a:").promotions, a.promotions + 1);
    ck_assert_int_eq(firn_clear(cache, "a:", 2), FIRN_OK);
    ck_assert(!has(cache, "a:", 5));
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(entries_from_before_a_group_come_to_it_by_and_by) {
    firn_options options = small();
    firn_cache *cache = open_with(NULL, &options);
    for (unsigned i = 0; i < 100; i++) {
        put(cache, "a:", i);
    }
    define(cache, "a:", NULL);
    ck_assert_uint_eq(group_stats(cache, "a:").hot_entries, 0);
    for (unsigned i = 0; i < 50; i++) {
        put(cache, "a:", i);
    }
    ck_assert_uint_eq(group_stats(cache, "a:").hot_entries, 50);
    for (unsigned i = 0; i < 9000; i++) { /* evicts from both */
        put(cache, i % 3 == 0 ? "a:" : "other ", i);
    }
    for (unsigned i = 0; i < 9000; i++) {
        char key[32];
        snprintf(key, sizeof key, "%s%u", i % 3 == 0 ? "a:" : "other ", i);
        int result = firn_delete(cache, key, strlen(key));
        ck_assert(result == FIRN_OK || result == FIRN_NOT_FOUND);
    }
    for (unsigned i = 0; i < 100; i++) {
        char key[32];
        snprintf(key, sizeof key, "a:%u", i);
        int result = firn_delete(cache, key, strlen(key));
        ck_assert(result == FIRN_OK || result == FIRN_NOT_FOUND);
    }
    ck_assert_uint_eq(group_stats(cache, "a:").hot_entries, 0);
    ck_assert_uint_eq(group_stats(cache, "a:").hot_bytes, 0);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(what_makes_no_sense_is_refused) {
    firn_options options = small();
    firn_cache *cache = open_with(NULL, &options);
    char longest[FIRN_PREFIX_SIZE_MAX + 1] = "x";
    firn_group_options wrong = FIRN_GROUP_OPTIONS_INIT;
    firn_group_stats stats = FIRN_GROUP_STATS_INIT;
    ck_assert_int_eq(firn_group_define(NULL, "a", 1, NULL), FIRN_EINVAL);
    ck_assert_int_eq(firn_group_define(cache, "a", 0, NULL), FIRN_EINVAL);
    ck_assert_int_eq(firn_group_define(cache, NULL, 1, NULL), FIRN_EINVAL);
    ck_assert_int_eq(firn_group_define(cache, longest, sizeof longest, NULL), FIRN_EINVAL);
    wrong.hot_policy = "no such";
    ck_assert_int_eq(firn_group_define(cache, "a", 1, &wrong), FIRN_EINVAL);
    wrong.hot_policy = NULL;
    wrong.hot_bytes = 1 << 20;
    ck_assert_int_eq(firn_group_define(cache, "a", 1, &wrong), FIRN_EINVAL);
    ck_assert_int_eq(firn_group_get_stats(cache, "a", 1, &stats), FIRN_NOT_FOUND);
    ck_assert_ptr_null(firn_group_prefix(cache, 0, NULL));
    for (unsigned i = 0; i < FIRN_GROUP_COUNT_MAX; i++) {
        ck_assert_int_eq(firn_group_define(cache, &i, 1, NULL), FIRN_OK);
        ck_assert_int_eq(firn_group_define(cache, &i, 1, NULL), FIRN_EXISTS);
        size_t size;
        const unsigned char *prefix = firn_group_prefix(cache, i, &size);
        ck_assert(prefix != NULL && size == 1 && *prefix == i);
    }
    ck_assert_int_eq(firn_group_define(cache, "one more", 8, NULL), FIRN_ENOSPC);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

/* A program that was built with a newer header, or an older one, gets what both know. */
START_TEST(statistics_are_given_as_far_as_their_size_goes) {
    firn_options options = small();
    firn_cache *cache = open_with(NULL, &options);
    ck_assert_int_eq(firn_group_define(cache, "a:", 2, NULL), FIRN_OK);
    put(cache, "a:", 1);
    struct {
        firn_group_stats known;
        uint64_t later;
    } newer = {FIRN_GROUP_STATS_INIT, 99};
    newer.known.size = sizeof newer;
    ck_assert_int_eq(firn_group_get_stats(cache, "a:", 2, &newer.known), FIRN_OK);
    ck_assert_uint_eq(newer.known.size, sizeof newer);
    ck_assert_uint_eq(newer.known.puts, 1);
    ck_assert_uint_eq(newer.later, 99);
    firn_group_stats older = {.size = offsetof(firn_group_stats, puts), .puts = 99};
    ck_assert_int_eq(firn_group_get_stats(cache, "a:", 2, &older), FIRN_OK);
    ck_assert_uint_eq(older.hot_entries, 1);
    ck_assert_uint_eq(older.puts, 99);
    older.size = sizeof older.size - 1;
    ck_assert_int_eq(firn_group_get_stats(cache, "a:", 2, &older), FIRN_EINVAL);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

static atomic_bool stop;

static void *churn(void *context) {
    firn_cache *cache = context;
    for (unsigned i = 0; !stop; i++) {
        put(cache, i % 2 == 0 ? "a:" : "b:", i % 5000);
        (void)has(cache, i % 3 == 0 ? "a:" : "b:", i % 4999);
    }
    return NULL;
}

START_TEST(groups_may_be_defined_while_the_cache_is_used) {
    firn_options options = small();
    options.shards = 4;
    firn_cache *cache = open_with(NULL, &options);
    pthread_t threads[2];
    stop = false;
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, churn, cache), 0);
    }
    static const char *const policies[] = {"sieve", "lru", "arc", "gdsf"};
    for (unsigned i = 0; i < 4; i++) {
        char prefix[8];
        snprintf(prefix, sizeof prefix, "%c:%.*s", 'a' + (int)(i % 2), (int)i / 2, "1");
        firn_group_options how = FIRN_GROUP_OPTIONS_INIT;
        how.hot_policy = policies[i];
        define(cache, prefix, &how);
        for (unsigned j = 0; j < 2000; j++) {
            put(cache, "a:", j);
        }
    }
    stop = true;
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    ck_assert_uint_gt(group_stats(cache, "a:").puts, 0);
    ck_assert_int_eq(firn_clear(cache, NULL, 0), FIRN_OK);
    work_off(cache);
    ck_assert_uint_eq(group_stats(cache, "a:").hot_bytes, 0);
    ck_assert_uint_eq(group_stats(cache, "b:").hot_entries, 0);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

static void add_tests(TCase *tcase) {
    if (getenv("FIRN_THREADS_ONLY") == NULL) {
        tcase_add_loop_test(tcase, a_flood_of_one_group_leaves_the_share_of_another, 0, 8);
        tcase_add_test(tcase, what_nobody_wants_may_be_used_and_is_given_back);
        tcase_add_test(tcase, each_group_has_its_policy);
        tcase_add_test(tcase, a_group_has_its_expiry);
        tcase_add_test(tcase, what_happens_to_a_group_is_counted);
        tcase_add_test(tcase, entries_from_before_a_group_come_to_it_by_and_by);
        tcase_add_test(tcase, statistics_are_given_as_far_as_their_size_goes);
        tcase_add_test(tcase, what_makes_no_sense_is_refused);
    }
    tcase_add_test(tcase, groups_may_be_defined_while_the_cache_is_used);
}

int main(void) {
    return run_suite("groups", add_tests, 120);
}
