/* Cursors: what is there is given once, whatever moves meanwhile, and what is not is not given. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <firn/firn.h>

#include "unit/suite.h"
#include "unit/support.h"

enum { VALUE_MAX = 3000 };

static _Atomic uint64_t now_ms;

static uint64_t tick(void *context) {
    (void)context;
    return now_ms;
}

static firn_options small_options(void) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 1u << 20;
    options.cold_bytes = 64u << 20;
    options.threads = 0;
    options.clock = (firn_clock){tick, NULL};
    now_ms = 1000000;
    return options;
}

/* Values that cannot be made small, and tell whose they are. */
static size_t value_for(unsigned number, size_t size, unsigned char *value) {
    uint64_t seed = number * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (size_t i = 0; i < size; i++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        value[i] = (unsigned char)(seed >> 56);
    }
    return size;
}

static size_t size_for(unsigned number) {
    return 100 + number % 7 * 50;
}

static size_t key_for(const char *prefix, unsigned number, char key[32]) {
    return (size_t)snprintf(key, 32, "%s%u", prefix, number);
}

static void put_one(firn_cache *cache, const char *prefix, unsigned number, size_t size,
                    const firn_put_options *options) {
    char key[32];
    unsigned char value[VALUE_MAX];
    size_t key_size = key_for(prefix, number, key);
    value_for(number, size, value);
    ck_assert_int_eq(firn_put(cache, key, key_size, value, size, options), FIRN_OK);
}

static void put_range(firn_cache *cache, const char *prefix, unsigned from, unsigned to) {
    for (unsigned i = from; i < to; i++) {
        put_one(cache, prefix, i, size_for(i), NULL);
    }
}

static void delete_one(firn_cache *cache, const char *prefix, unsigned number) {
    char key[32];
    size_t key_size = key_for(prefix, number, key);
    ck_assert_int_eq(firn_delete(cache, key, key_size), FIRN_OK);
}

static bool has(firn_cache *cache, const char *prefix, unsigned number) {
    char key[32];
    size_t key_size = key_for(prefix, number, key);
    int result = firn_contains(cache, key, key_size);
    ck_assert_int_ge(result, FIRN_OK);
    return result == FIRN_OK;
}

static void get_one(firn_cache *cache, const char *prefix, unsigned number) {
    char key[32];
    size_t key_size = key_for(prefix, number, key);
    firn_object *object;
    ck_assert_int_ge(firn_get(cache, key, key_size, &object), FIRN_OK);
    firn_object_unref(object);
}

static uint64_t stat_of(firn_cache *cache, const char *name) {
    firn_stats stats = FIRN_STATS_INIT;
    ck_assert_int_eq(firn_get_stats(cache, &stats), FIRN_OK);
    uint64_t value;
    const char *at;
    for (unsigned i = 0; (at = firn_stats_field(&stats, i, &value)) != NULL; i++) {
        if (strcmp(at, name) == 0) {
            return value;
        }
    }
    ck_abort_msg("no such counter: %s", name);
    return 0;
}

static firn_cursor *open_cursor(firn_cache *cache, const char *prefix, unsigned flags) {
    firn_cursor *cursor;
    ck_assert_int_eq(firn_cursor_open(cache, prefix, strlen(prefix), flags, &cursor), FIRN_OK);
    return cursor;
}

/* How often each number under the prefix was given; others are counted together. */
typedef struct tally {
    const char *prefix;
    unsigned numbers;
    unsigned char *given;
    unsigned others;
} tally;

static tally new_tally(const char *prefix, unsigned numbers) {
    tally made = {prefix, numbers, calloc(numbers, 1), 0};
    ck_assert_ptr_nonnull(made.given);
    return made;
}

/* False: there is nothing more. */
static bool take_next(firn_cursor *cursor, tally *seen, bool with_values) {
    firn_object *object;
    int result = firn_cursor_next(cursor, &object);
    ck_assert_msg(result == FIRN_OK || result == FIRN_NOT_FOUND, "%s", firn_strerror(result));
    if (result == FIRN_NOT_FOUND) {
        ck_assert_ptr_null(object);
        return false;
    }
    size_t key_size;
    const char *key = firn_object_key(object, &key_size);
    size_t skip = strlen(seen->prefix);
    char text[32] = "";
    ck_assert_uint_lt(key_size, sizeof text);
    memcpy(text, key, key_size);
    if (key_size > skip && memcmp(text, seen->prefix, skip) == 0) {
        unsigned number = (unsigned)strtoul(text + skip, NULL, 10);
        ck_assert_uint_lt(number, seen->numbers);
        seen->given[number]++;
        ck_assert_msg(seen->given[number] == 1, "%s was given twice", text);
        if (with_values) {
            unsigned char value[VALUE_MAX];
            ck_assert_uint_eq(firn_object_size(object), size_for(number));
            value_for(number, size_for(number), value);
            ck_assert_mem_eq(firn_object_data(object), value, size_for(number));
        } else {
            ck_assert_uint_eq(firn_object_size(object), 0);
        }
    } else {
        seen->others++;
    }
    firn_object_unref(object);
    return true;
}

static void take_all(firn_cursor *cursor, tally *seen, bool with_values) {
    while (take_next(cursor, seen, with_values)) {
    }
    firn_object *object;
    ck_assert_int_eq(firn_cursor_next(cursor, &object), FIRN_NOT_FOUND);
    firn_cursor_close(cursor);
}

static unsigned given_in(const tally *seen, unsigned from, unsigned to) {
    unsigned sum = 0;
    for (unsigned i = from; i < to; i++) {
        sum += seen->given[i];
    }
    return sum;
}

START_TEST(every_entry_in_memory_is_given_once) {
    firn_options options = small_options();
    options.hot_bytes = 64u << 20;
    options.shards = _i == 0 ? 1 : 8;
    firn_cache *cache = open_with(NULL, &options);
    put_range(cache, "a", 0, 20000);
    put_range(cache, "b", 0, 500);
    tally seen = new_tally("a", 20000);
    take_all(open_cursor(cache, "", 0), &seen, true);
    ck_assert_uint_eq(given_in(&seen, 0, 20000), 20000);
    ck_assert_uint_eq(seen.others, 500);
    free(seen.given);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(every_entry_of_both_tiers_is_given_once_and_nothing_is_counted) {
    char *path = scratch_path("cursor-both");
    firn_options options = small_options();
    firn_cache *cache = open_with(path, &options);
    put_range(cache, "a", 0, 20000); /* five times what memory holds */
    put_range(cache, "b", 0, 500);
    uint64_t gets = stat_of(cache, "gets");
    uint64_t promotions = stat_of(cache, "promotions");
    ck_assert_uint_gt(stat_of(cache, "demotions"), 10000);
    ck_assert_uint_gt(stat_of(cache, "hot_entries"), 100);
    tally seen = new_tally("a", 20000);
    take_all(open_cursor(cache, "", 0), &seen, true);
    ck_assert_uint_eq(given_in(&seen, 0, 20000), 20000);
    ck_assert_uint_eq(seen.others, 500);
    ck_assert_uint_eq(stat_of(cache, "gets"), gets);
    ck_assert_uint_eq(stat_of(cache, "hot_hits") + stat_of(cache, "cold_hits"), 0);
    ck_assert_uint_eq(stat_of(cache, "promotions"), promotions);
    ck_assert_uint_eq(stat_of(cache, "detached_bytes"), 0);
    free(seen.given);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(a_prefix_and_the_wish_for_keys_alone_are_kept_to) {
    char *path = scratch_path("cursor-prefix");
    firn_options options = small_options();
    firn_cache *cache = open_with(path, &options);
    put_range(cache, "apple ", 0, 8000);
    put_range(cache, "apricot ", 0, 3000);
    put_range(cache, "b", 0, 3000);
    tally seen = new_tally("apricot ", 3000);
    take_all(open_cursor(cache, "apricot ", 0), &seen, true);
    ck_assert_uint_eq(given_in(&seen, 0, 3000), 3000);
    ck_assert_uint_eq(seen.others, 0);
    memset(seen.given, 0, 3000);
    take_all(open_cursor(cache, "ap", FIRN_CURSOR_KEYS), &seen, false);
    ck_assert_uint_eq(given_in(&seen, 0, 3000), 3000);
    ck_assert_uint_eq(seen.others, 8000);
    memset(seen.given, 0, 3000);
    seen.others = 0;
    take_all(open_cursor(cache, "apricot 2999 and no more", 0), &seen, true);
    ck_assert_uint_eq(given_in(&seen, 0, 3000) + seen.others, 0);
    free(seen.given);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(what_is_gone_or_expired_is_not_given_and_an_overwrite_hides_what_was) {
    char *path = scratch_path("cursor-gone");
    firn_options options = small_options();
    firn_cache *cache = open_with(path, &options);
    firn_put_options brief = FIRN_PUT_OPTIONS_INIT;
    brief.ttl_ms = 1000;
    for (unsigned i = 0; i < 9000; i++) {
        put_one(cache, "a", i, i % 3 == 2 ? 2000 : size_for(i), i % 3 == 1 ? &brief : NULL);
    }
    put_range(cache, "filler", 0, 4000);
    for (unsigned i = 0; i < 9000; i += 6) {
        delete_one(cache, "a", i); /* half of those that do not expire; some of them below */
    }
    for (unsigned i = 2; i < 9000; i += 3) {
        put_one(cache, "a", i, size_for(i), NULL);
    }
    now_ms += 1000;
    tally seen = new_tally("a", 9000);
    take_all(open_cursor(cache, "a", 0), &seen, true); /* sizes tell the new values from the old */
    for (unsigned i = 0; i < 9000; i++) {
        ck_assert_uint_eq(seen.given[i], i % 3 == 2 || i % 6 == 3);
    }
    free(seen.given);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(a_read_only_cache_gives_what_its_writer_wrote) {
    char *path = scratch_path("cursor-readonly");
    firn_options options = small_options();
    firn_cache *cache = open_with(path, &options);
    put_range(cache, "a", 0, 5000);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    options.read_only = 1;
    cache = open_with(path, &options);
    tally seen = new_tally("a", 5000);
    take_all(open_cursor(cache, "", 0), &seen, true);
    ck_assert_uint_eq(given_in(&seen, 0, 5000), 5000);
    free(seen.given);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

typedef struct grower {
    firn_cache *cache;
    atomic_bool *stop;
} grower;

static void *grow_and_shrink(void *context) {
    const grower *self = context;
    while (!atomic_load(self->stop)) {
        for (unsigned i = 0; i < 40000 && !atomic_load(self->stop); i++) {
            put_one(self->cache, "b", i, 10, NULL);
        }
        for (unsigned i = 0; i < 40000 && !atomic_load(self->stop); i++) {
            if (has(self->cache, "b", i)) {
                delete_one(self->cache, "b", i);
            }
        }
    }
    return NULL;
}

START_TEST(a_table_that_grows_and_shrinks_meanwhile_hides_nothing) {
    enum { STABLE = 5000, WALKS = 20 };
    firn_options options = small_options();
    options.hot_bytes = 256u << 20;
    options.shards = _i == 0 ? 1 : 4;
    firn_cache *cache = open_with(NULL, &options);
    put_range(cache, "a", 0, STABLE);
    atomic_bool stop = false;
    grower growing = {cache, &stop};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, grow_and_shrink, &growing), 0);
    for (unsigned i = 0; i < WALKS; i++) {
        tally seen = new_tally("a", STABLE);
        take_all(open_cursor(cache, "", FIRN_CURSOR_KEYS), &seen, false);
        ck_assert_uint_eq(given_in(&seen, 0, STABLE), STABLE);
        free(seen.given);
    }
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

/* Between two steps of the walk entries are promoted, demoted, reclaimed and copied onward. What is
 * still there at the end was there all the while, for nobody puts it again. */
START_TEST(what_moves_between_the_tiers_meanwhile_is_given_once) {
    enum { STABLE = 12000, HOT_SET = 100 };
    char *path = scratch_path("cursor-moves");
    firn_options options = small_options();
    options.hot_bytes = 1u << 20;
    options.cold_bytes = 8u << 20;
    options.shards = _i % 2 == 0 ? 1 : 2;
    firn_cache *cache = open_with(path, &options);
    put_range(cache, "a", 0, STABLE);
    tally seen = new_tally("a", STABLE);
    firn_cursor *cursor = open_cursor(cache, "", 0);
    uint64_t seed = (uint64_t)_i + 1;
    unsigned fresh = 0;
    bool walking = true;
    while (walking) {
        for (unsigned i = 0; i < 4; i++) { /* some of them again and again, so that they stay up */
            seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            unsigned number = (unsigned)(seed >> 33) % (i == 0 ? STABLE : HOT_SET);
            get_one(cache, "a", number);
        }
        put_one(cache, "filler", fresh++, 2000, NULL);
        put_one(cache, "b", fresh, 100, NULL);
        walking = walking && take_next(cursor, &seen, true);
    }
    unsigned there = 0;
    for (unsigned i = 0; i < STABLE; i++) {
        if (has(cache, "a", i)) {
            there++;
            ck_assert_msg(seen.given[i] == 1, "a%u was not given", i);
        }
    }
    ck_assert_uint_gt(stat_of(cache, "reclaimed"), 1000);
    ck_assert_uint_gt(stat_of(cache, "reclaimed_hot"), 50);
    ck_assert_uint_gt(there, 100);
    ck_assert_uint_lt(there, STABLE);
    firn_cursor_close(cursor);
    free(seen.given);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

typedef struct writer {
    firn_cache *cache;
    unsigned number;
    atomic_bool *stop;
} writer;

static void *write_on(void *context) {
    const writer *self = context;
    char prefix[16];
    snprintf(prefix, sizeof prefix, "w%u ", self->number);
    uint64_t seed = self->number + 77;
    for (unsigned i = 0; !atomic_load(self->stop); i++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        get_one(self->cache, "a", (unsigned)(seed >> 33) % 4000);
        put_one(self->cache, prefix, i % 5000, 500, NULL);
        if (i % 7 == 0 && has(self->cache, prefix, i / 2 % 5000)) {
            delete_one(self->cache, prefix, i / 2 % 5000);
        }
    }
    return NULL;
}

START_TEST(walks_beside_writers_give_what_is_there_all_the_while) {
    enum { STABLE = 4000, WRITERS = 2, WALKS = 3 };
    char *path = scratch_path("cursor-threads");
    firn_options options = small_options();
    options.threads = 1;
    options.shards = 4;
    firn_cache *cache = open_with(path, &options);
    put_range(cache, "a", 0, STABLE);
    atomic_bool stop = false;
    pthread_t threads[WRITERS];
    writer writers[WRITERS];
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (writer){cache, i, &stop};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, write_on, &writers[i]), 0);
    }
    for (unsigned i = 0; i < WALKS; i++) {
        tally seen = new_tally("a", STABLE);
        take_all(open_cursor(cache, i == 1 ? "a" : "", 0), &seen, true);
        ck_assert_uint_eq(given_in(&seen, 0, STABLE), STABLE);
        free(seen.given);
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
    }
    ck_assert_uint_eq(stat_of(cache, "reclaimed"), 0); /* or the count above would prove nothing */
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(a_cursor_that_is_not_finished_can_be_closed_and_bad_arguments_are_told) {
    char *path = scratch_path("cursor-arguments");
    firn_options options = small_options();
    firn_cache *cache = open_with(path, &options);
    put_range(cache, "a", 0, 100);
    firn_cursor *cursor = open_cursor(cache, "", 0);
    firn_object *object;
    ck_assert_int_eq(firn_cursor_next(cursor, &object), FIRN_OK);
    firn_cursor_close(cursor);
    ck_assert_uint_gt(firn_object_size(object), 0); /* outlives the cursor */
    firn_object_unref(object);
    firn_cursor_close(NULL);
    ck_assert_int_eq(firn_cursor_open(NULL, NULL, 0, 0, &cursor), FIRN_EINVAL);
    ck_assert_ptr_null(cursor);
    ck_assert_int_eq(firn_cursor_open(cache, NULL, 0, 0, NULL), FIRN_EINVAL);
    ck_assert_int_eq(firn_cursor_open(cache, NULL, 1, 0, &cursor), FIRN_EINVAL);
    ck_assert_int_eq(firn_cursor_open(cache, NULL, 0, 2, &cursor), FIRN_EINVAL);
    ck_assert_int_eq(firn_cursor_open(cache, "a", FIRN_KEY_SIZE_MAX + 1, 0, &cursor),
                     FIRN_ETOOLARGE);
    ck_assert_int_eq(firn_cursor_next(NULL, &object), FIRN_EINVAL);
    cursor = open_cursor(cache, "", 0);
    ck_assert_int_eq(firn_cursor_next(cursor, NULL), FIRN_EINVAL);
    firn_cursor_close(cursor);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_loop_test(tcase, every_entry_in_memory_is_given_once, 0, 2);
    tcase_add_test(tcase, every_entry_of_both_tiers_is_given_once_and_nothing_is_counted);
    tcase_add_test(tcase, a_prefix_and_the_wish_for_keys_alone_are_kept_to);
    tcase_add_test(tcase, what_is_gone_or_expired_is_not_given_and_an_overwrite_hides_what_was);
    tcase_add_test(tcase, a_read_only_cache_gives_what_its_writer_wrote);
    tcase_add_loop_test(tcase, a_table_that_grows_and_shrinks_meanwhile_hides_nothing, 0, 2);
    tcase_add_loop_test(tcase, what_moves_between_the_tiers_meanwhile_is_given_once, 0, 4);
    tcase_add_test(tcase, walks_beside_writers_give_what_is_there_all_the_while);
    tcase_add_test(tcase, a_cursor_that_is_not_finished_can_be_closed_and_bad_arguments_are_told);
}

int main(void) {
    return run_suite("cursor", add_tests, 300);
}
