/* The cold tier: records survive, the newest wins, nothing void returns, the budget holds. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include <lmdb.h>

#include "base/hash.h"
#include "cold/backend.h"
#include "cold/cold.h"
#include "cold/cold_internal.h"
#include "cold/expiry.h"
#include "cold/journal.h"
#include "suite.h"
#include "support.h"

enum { KIB = 1024, MIB = 1024 * 1024 };

/* ---- a store under test ---- */

static struct {
    char *path;
    firn_heap *heap;
    firn_detail detail;
    firn_cold *cold;
    uint64_t now_ms;
    uint64_t version; /* the next */
    uint64_t lost;    /* calls of reclaimed */
} at;

static uint64_t test_now(void *context) {
    (void)context;
    return at.now_ms;
}

static void count_lost(void *context, uint64_t hash, uint64_t version) {
    (void)context;
    (void)hash;
    (void)version;
    at.lost++;
}

static firn_cold_config config_of(uint64_t budget) {
    return (firn_cold_config){
        .path = at.path,
        .heap = at.heap,
        .detail = &at.detail,
        .clock = {test_now, NULL},
        .budget_bytes = budget,
        .compression_level = 3,
        .compression_min_bytes = 64,
        .reclaimed = count_lost,
        .filter_bytes_max = UINT64_MAX - 1,
    };
}

static const char *words(void) {
    static char text[800];
    firn_detail_get(&at.detail, text, sizeof text);
    return text;
}

/* What the budget bounds. */
static uint64_t files_size(void) {
    struct stat status;
    char *log = join(at.path, "firn.log");
    uint64_t log_bytes = stat(log, &status) == 0 ? (uint64_t)status.st_blocks * 512 : 0;
    free(log);
    return file_size(at.path, "data.mdb") + log_bytes;
}

static void open_store(const firn_cold_config *config) {
    int result = firn_cold_open(&at.cold, config);
    ck_assert_msg(result == FIRN_OK, "%s: %s", firn_strerror(result), words());
    if (firn_cold_version_next(at.cold) > at.version) {
        at.version = firn_cold_version_next(at.cold);
    }
}

static void open_budget(uint64_t budget) {
    firn_cold_config config = config_of(budget);
    open_store(&config);
}

static int try_open(uint64_t budget) {
    firn_cold_config config = config_of(budget);
    return firn_cold_open(&at.cold, &config);
}

static void close_store(void) {
    ck_assert_int_eq(firn_cold_close(at.cold, true), FIRN_OK);
    at.cold = NULL;
}

/* As kill -9 would leave it. */
static void crash_store(void) {
    firn_cold_close(at.cold, false);
    at.cold = NULL;
}

static void set_up(void) {
    at.path = scratch_path("cold");
    at.heap = firn_heap_new(NULL);
    ck_assert_int_eq(firn_detail_init(&at.detail), 0);
    at.now_ms = 1000000;
    at.version = 1;
    at.lost = 0;
}

static void tear_down(void) {
    if (at.cold != NULL) {
        firn_cold_close(at.cold, false);
        at.cold = NULL;
    }
    char *aside;
    ck_assert_int_gt(asprintf(&aside, "%s.damaged", at.path), 0);
    remove_tree(aside);
    remove_tree(at.path);
    firn_detail_fini(&at.detail);
    firn_heap_unref(at.heap);
}

/* ---- values that can be told again from their number ---- */

static uint64_t mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static void fill_value(unsigned char *to, size_t size, uint64_t number, bool dense) {
    for (size_t i = 0; i < size; i++) {
        to[i] = dense ? (unsigned char)(number + i / 16)
                      : (unsigned char)(mix(number ^ (i / 8) << 20) >> (i % 8 * 8));
    }
}

static uint64_t hash_of(const char *key) {
    return firn_hash64(firn_cold_seed(at.cold), key, strlen(key));
}

static firn_cold_item item_of(const char *key, const void *value, size_t size) {
    return (firn_cold_item){
        .hash = hash_of(key),
        .version = at.version++,
        .key = key,
        .key_size = strlen(key),
        .value = value,
        .value_size = size,
    };
}

static int put_result(const char *key, const void *value, size_t size) {
    firn_cold_item item = item_of(key, value, size);
    int result = firn_cold_write(at.cold, &item, 1, at.version);
    return result == FIRN_OK ? item.result : result;
}

static void put(const char *key, const char *value) {
    ck_assert_int_eq(put_result(key, value, strlen(value)), FIRN_OK);
}

typedef struct landing {
    unsigned char *bytes;
    size_t size;
} landing;

static void *land(void *context, const firn_cold_meta *meta) {
    landing *to = context;
    to->bytes = malloc(meta->value_size + 1);
    to->size = meta->value_size;
    return to->bytes;
}

static int get(const char *key, landing *to) {
    *to = (landing){NULL, 0};
    int result = firn_cold_read(at.cold, hash_of(key), key, strlen(key), land, to, NULL);
    if (result != FIRN_OK) {
        free(to->bytes);
        to->bytes = NULL;
    }
    return result;
}

static int head(const char *key) {
    return firn_cold_read(at.cold, hash_of(key), key, strlen(key), NULL, NULL, NULL);
}

static void expect(const char *key, const char *value) {
    landing found;
    ck_assert_int_eq(get(key, &found), FIRN_OK);
    ck_assert_uint_eq(found.size, strlen(value));
    ck_assert_mem_eq(found.bytes, value, found.size);
    free(found.bytes);
}

static void expect_none(const char *key) {
    landing found;
    ck_assert_int_eq(get(key, &found), FIRN_NOT_FOUND);
    ck_assert_int_eq(head(key), FIRN_NOT_FOUND);
}

static firn_cold_stats stats(void) {
    firn_cold_stats now;
    firn_cold_get_stats(at.cold, &now);
    return now;
}

/* ---- records ---- */

START_TEST(what_was_written_is_read_after_a_reopening) {
    open_budget(4 * MIB);
    put("key", "value");
    expect("key", "value");
    ck_assert_int_eq(head("key"), FIRN_OK);
    expect_none("other");
    close_store();
    open_budget(4 * MIB);
    expect("key", "value");
    ck_assert_uint_ge(firn_cold_version_next(at.cold), at.version - 1);
}
END_TEST

START_TEST(an_empty_value_is_a_value) {
    open_budget(MIB);
    ck_assert_int_eq(put_result("empty", NULL, 0), FIRN_OK);
    expect("empty", "");
}
END_TEST

START_TEST(values_that_compress_take_less_and_come_back_whole) {
    enum { SIZE = 100000 };
    unsigned char *value = malloc(SIZE);
    open_budget(4 * MIB);
    for (int dense = 0; dense < 2; dense++) {
        fill_value(value, SIZE, 7, dense != 0);
        uint64_t before = stats().stored_bytes;
        ck_assert_int_eq(put_result("key", value, SIZE), FIRN_OK);
        uint64_t stored = stats().stored_bytes - before;
        ck_assert(dense ? stored < SIZE / 4 : stored == SIZE);
        landing found;
        ck_assert_int_eq(get("key", &found), FIRN_OK);
        ck_assert_uint_eq(found.size, SIZE);
        ck_assert_mem_eq(found.bytes, value, SIZE);
        free(found.bytes);
    }
    free(value);
}
END_TEST

START_TEST(meta_tells_what_an_entry_is) {
    open_budget(MIB);
    firn_cold_item item = item_of("key", "value", 5);
    item.expires_ms = at.now_ms + 5000;
    ck_assert_int_eq(firn_cold_write(at.cold, &item, 1, at.version), FIRN_OK);
    firn_cold_meta meta;
    ck_assert_int_eq(firn_cold_read(at.cold, item.hash, NULL, 0, NULL, NULL, &meta), FIRN_OK);
    ck_assert_uint_eq(meta.hash, item.hash);
    ck_assert_uint_eq(meta.version, item.version);
    ck_assert_uint_eq(meta.expires_ms, item.expires_ms);
    ck_assert_uint_eq(meta.written_ms, at.now_ms);
    ck_assert_uint_eq(meta.value_size, 5);
    ck_assert_ptr_null(meta.key);
}
END_TEST

START_TEST(an_expired_entry_is_not_found) {
    open_budget(MIB);
    firn_cold_item item = item_of("key", "value", 5);
    item.expires_ms = at.now_ms + 100;
    ck_assert_int_eq(firn_cold_write(at.cold, &item, 1, at.version), FIRN_OK);
    expect("key", "value");
    at.now_ms += 100;
    expect_none("key");
    ck_assert_uint_gt(stats().expired, 0);
}
END_TEST

/* ---- versions ---- */

START_TEST(an_older_version_never_replaces_a_newer_one) {
    open_budget(MIB);
    firn_cold_item old = item_of("key", "old", 3);
    firn_cold_item new = item_of("key", "new", 3);
    ck_assert_int_eq(firn_cold_write(at.cold, &new, 1, at.version), FIRN_OK);
    ck_assert_int_eq(firn_cold_write(at.cold, &old, 1, at.version), FIRN_OK);
    ck_assert_int_eq(old.result, FIRN_OK);
    expect("key", "new");
    ck_assert_uint_eq(stats().entries, 1);
}
END_TEST

START_TEST(items_of_one_hash_are_applied_by_version_whatever_their_place) {
    open_budget(MIB);
    put("key", "first");
    firn_cold_item old = item_of("key", "old", 3);
    firn_cold_item removal = {.hash = hash_of("key"), .version = at.version++, .remove = true};
    firn_cold_item removed_first[] = {removal, old};
    ck_assert_int_eq(firn_cold_write(at.cold, removed_first, 2, at.version), FIRN_OK);
    expect_none("key");
    firn_cold_item new = item_of("key", "new", 3);
    firn_cold_item new_first[] = {new, removal, old};
    ck_assert_int_eq(firn_cold_write(at.cold, new_first, 3, at.version), FIRN_OK);
    expect("key", "new");
}
END_TEST

START_TEST(a_removal_spares_what_is_not_older) {
    open_budget(MIB);
    firn_cold_item item = item_of("key", "value", 5);
    ck_assert_int_eq(firn_cold_write(at.cold, &item, 1, at.version), FIRN_OK);
    firn_cold_item removal = {.hash = item.hash, .version = item.version, .remove = true};
    ck_assert_int_eq(firn_cold_write(at.cold, &removal, 1, at.version), FIRN_OK);
    expect("key", "value");
    removal.version++;
    ck_assert_int_eq(firn_cold_write(at.cold, &removal, 1, at.version), FIRN_OK);
    expect_none("key");
    ck_assert_uint_eq(stats().entries, 0);
}
END_TEST

START_TEST(a_collision_is_a_miss_for_the_loser_and_never_a_wrong_answer) {
    open_budget(MIB);
    firn_cold_item one = item_of("one", "1", 1);
    firn_cold_item two = item_of("two", "2", 1);
    one.hash = two.hash = 42;
    ck_assert_int_eq(firn_cold_write(at.cold, &one, 1, at.version), FIRN_OK);
    ck_assert_int_eq(firn_cold_write(at.cold, &two, 1, at.version), FIRN_OK);
    ck_assert_int_eq(firn_cold_read(at.cold, 42, "one", 3, NULL, NULL, NULL), FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_cold_read(at.cold, 42, "two", 3, NULL, NULL, NULL), FIRN_OK);
    ck_assert_uint_eq(stats().collisions, 1);
    ck_assert_uint_eq(stats().entries, 1);
}
END_TEST

/* ---- the filter ---- */

static void maintain(void) {
    int result;
    do {
        result = firn_cold_tidy(at.cold);
    } while (result == FIRN_AGAIN);
    ck_assert_int_eq(result, FIRN_OK);
}

/* Writes keys of one letter and a number. */
static void put_numbered(char letter, unsigned first, unsigned count) {
    firn_cold_item items[16];
    char keys[16][24];
    for (unsigned i = first; i < first + count; i += 16) {
        unsigned n = first + count - i < 16 ? first + count - i : 16;
        for (unsigned j = 0; j < n; j++) {
            snprintf(keys[j], sizeof keys[j], "%c%u", letter, i + j);
            items[j] = item_of(keys[j], "value", 5);
        }
        ck_assert_int_eq(firn_cold_write(at.cold, items, n, at.version), FIRN_OK);
    }
}

static unsigned maybes(char letter, unsigned count) {
    unsigned maybes = 0;
    for (unsigned i = 0; i < count; i++) {
        char key[24];
        snprintf(key, sizeof key, "%c%u", letter, i);
        maybes += firn_cold_may_hold(at.cold, hash_of(key));
    }
    return maybes;
}

START_TEST(the_filter_knows_what_is_not_there_from_the_first_put_on) {
    open_budget(16 * MIB);
    put_numbered('a', 0, 20000);
    ck_assert_uint_eq(maybes('a', 20000), 20000);
    ck_assert_uint_lt(maybes('b', 20000), 40);
    firn_cold_item removal = {.hash = hash_of("a7"), .version = at.version++, .remove = true};
    ck_assert_int_eq(firn_cold_write(at.cold, &removal, 1, at.version), FIRN_OK);
    ck_assert(!firn_cold_may_hold(at.cold, removal.hash));
    ck_assert_uint_eq(maybes('a', 20000), 19999);
}
END_TEST

START_TEST(the_filter_comes_back_with_a_clean_close_and_is_made_anew_after_a_crash) {
    open_budget(16 * MIB);
    put_numbered('a', 0, 20000);
    for (int crash = 0; crash < 2; crash++) {
        if (crash != 0) {
            put_numbered('c', 0, 100);
            crash_store();
        } else {
            close_store();
            ck_assert_uint_gt(file_size(at.path, "firn.filter"), 0);
        }
        open_budget(16 * MIB);
        ck_assert_uint_eq(file_size(at.path, "firn.filter"), 0);
        ck_assert_uint_eq(maybes('b', 100), 100); /* it is not there yet */
        put_numbered('d', 0, 1000);
        maintain();
        ck_assert_uint_eq(maybes('a', 20000), 20000);
        ck_assert_uint_eq(maybes('d', 1000), 1000);
        ck_assert_uint_lt(maybes('b', 20000), 40);
    }
    ck_assert_uint_eq(maybes('c', 100), 100);
}
END_TEST

START_TEST(the_filter_grows_with_the_store_and_forgets_what_was_reclaimed) {
    open_budget(8 * MIB);
    for (unsigned i = 0; i < 40; i++) { /* more than there is room for */
        put_numbered('a', i * 10000, 10000);
        maintain();
    }
    ck_assert_uint_gt(stats().reclaimed, 50000);
    unsigned wrong = 0;
    unsigned there = 0;
    for (unsigned i = 0; i < 400000; i++) {
        char key[24];
        snprintf(key, sizeof key, "a%u", i);
        bool found = head(key) == FIRN_OK;
        bool maybe = firn_cold_may_hold(at.cold, hash_of(key));
        ck_assert(maybe || !found);
        there += found;
        wrong += maybe && !found;
    }
    ck_assert_uint_eq(there, stats().entries);
    /* Entries that died with their segment are swept in time, and no leftovers gather. */
    ck_assert_uint_lt(wrong, there / 2);
}
END_TEST

START_TEST(without_a_filter_everything_may_be_there) {
    firn_cold_config config = config_of(4 * MIB);
    config.filter_bytes_max = 0;
    open_store(&config);
    put_numbered('a', 0, 1000);
    maintain();
    ck_assert_uint_eq(maybes('b', 1000), 1000);
    expect_none("b1");
    expect("a1", "value");
}
END_TEST

START_TEST(a_filter_that_is_too_small_denies_nothing) {
    firn_cold_config config = config_of(16 * MIB);
    config.filter_bytes_max = 12000;
    open_store(&config);
    put_numbered('a', 0, 30000);
    maintain();
    ck_assert_uint_eq(maybes('a', 30000), 30000);
    expect("a29999", "value");
}
END_TEST

/* ---- the journal ---- */

START_TEST(an_invalidation_removes_what_is_older_with_the_next_batch) {
    open_budget(MIB);
    put("old", "1");
    put("new", "1");
    ck_assert_int_eq(firn_cold_invalidate(at.cold, hash_of("old"), at.version++), FIRN_OK);
    uint64_t version = at.version;
    ck_assert_int_eq(firn_cold_invalidate(at.cold, hash_of("new"), version), FIRN_OK);
    ck_assert_uint_eq(stats().journal_entries, 2);
    put("new", "2"); /* of the very version that voided the old */
    expect_none("old");
    expect("new", "2");
    ck_assert_uint_eq(stats().journal_entries, 0);
}
END_TEST

START_TEST(an_invalidation_survives_a_crash) {
    open_budget(MIB);
    put("gone", "1");
    put("kept", "1");
    uint64_t version = at.version++;
    ck_assert_int_eq(firn_cold_invalidate(at.cold, hash_of("gone"), version), FIRN_OK);
    crash_store();
    open_budget(MIB);
    ck_assert_uint_gt(firn_cold_version_next(at.cold), version);
    expect_none("gone");
    ck_assert_int_eq(firn_cold_locate(at.cold, hash_of("gone")), FIRN_NOT_FOUND);
    expect("kept", "1");
    ck_assert_int_eq(firn_cold_locate(at.cold, hash_of("kept")), FIRN_OK);
}
END_TEST

/* Requests need not wait for the lines to be applied, and are not told otherwise meanwhile. */
START_TEST(lines_of_a_killed_process_hold_until_they_are_applied) {
    open_budget(MIB);
    put("gone", "1");
    put("anew", "1");
    put("twice", "1");
    ck_assert_int_eq(firn_cold_invalidate(at.cold, hash_of("gone"), at.version++), FIRN_OK);
    ck_assert_int_eq(firn_cold_invalidate(at.cold, hash_of("anew"), at.version++), FIRN_OK);
    ck_assert_int_eq(firn_cold_invalidate(at.cold, hash_of("twice"), at.version++), FIRN_OK);
    for (unsigned i = 0; i < 3; i++) { /* however often it is killed */
        crash_store();
        open_budget(MIB);
        ck_assert(firn_cold_has_old_lines(at.cold));
        ck_assert_uint_eq(stats().journal_entries, 3 + i);
        ck_assert_uint_eq(stats().entries, 3);
        expect_none("gone");
        expect_none("anew");
        ck_assert_int_eq(firn_cold_invalidate(at.cold, hash_of("twice"), at.version++), FIRN_OK);
    }
    ck_assert_ptr_nonnull(at.cold->old_voids);
    put("anew", "2");
    ck_assert(!firn_cold_has_old_lines(at.cold));
    ck_assert_ptr_null(at.cold->old_voids);
    ck_assert_uint_eq(stats().journal_entries, 0);
    ck_assert_uint_eq(stats().entries, 1);
    expect_none("gone");
    expect_none("twice");
    expect("anew", "2");
    crash_store();
    open_budget(MIB);
    ck_assert(!firn_cold_has_old_lines(at.cold));
    expect("anew", "2");
}
END_TEST

START_TEST(a_clean_close_applies_the_journal) {
    open_budget(MIB);
    put("gone", "1");
    ck_assert_int_eq(firn_cold_invalidate(at.cold, hash_of("gone"), at.version++), FIRN_OK);
    close_store();
    firn_cold_config config = config_of(MIB);
    config.read_only = true;
    open_store(&config);
    expect_none("gone");
}
END_TEST

START_TEST(a_full_journal_says_so_and_a_write_empties_it) {
    open_budget(MIB);
    size_t capacity = firn_cold_journal_capacity(at.cold);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < capacity; i++) {
            ck_assert_int_eq(firn_cold_invalidate(at.cold, mix(i), at.version++), FIRN_OK);
        }
        ck_assert_uint_eq(firn_cold_journal_room(at.cold), 0);
        ck_assert_int_eq(firn_cold_invalidate(at.cold, 1, at.version), FIRN_EBUSY);
        ck_assert_int_eq(firn_cold_write(at.cold, NULL, 0, at.version), FIRN_OK);
        ck_assert_uint_eq(firn_cold_journal_room(at.cold), capacity);
    }
}
END_TEST

START_TEST(a_journal_that_voids_a_whole_small_store_is_applied) {
    open_budget(MIB);
    enum { MANY = 4000 };
    firn_cold_item items[16];
    char keys[16][16];
    for (unsigned i = 0; i < MANY; i += 16) {
        for (unsigned j = 0; j < 16; j++) {
            snprintf(keys[j], sizeof keys[j], "k%u", i + j);
            items[j] = item_of(keys[j], "v", 1);
        }
        ck_assert_int_eq(firn_cold_write(at.cold, items, 16, at.version), FIRN_OK);
    }
    ck_assert_uint_gt(stats().entries, MANY / 2);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(keys[0], sizeof keys[0], "k%u", i);
        ck_assert_int_eq(firn_cold_invalidate(at.cold, hash_of(keys[0]), at.version++), FIRN_OK);
    }
    crash_store();
    open_budget(MIB);
    for (unsigned i = 0; i < MANY; i += 7) {
        snprintf(keys[0], sizeof keys[0], "k%u", i);
        expect_none(keys[0]);
    }
    ck_assert_int_eq(firn_cold_write(at.cold, NULL, 0, at.version), FIRN_OK);
    ck_assert_uint_eq(stats().entries, 0);
    ck_assert_uint_le(files_size(), MIB);
}
END_TEST

/* ---- the budget ---- */

typedef struct flood {
    uint64_t budget;
    size_t value_max;
    bool dense;
    unsigned times; /* the budget, to be written */
} flood;

/* Sizes of all magnitudes, the largest rarely. */
static size_t size_of(uint64_t number, size_t most) {
    uint64_t random = mix(number);
    size_t magnitude = (size_t)1 << random % 26;
    size_t size = magnitude + (size_t)(random >> 32) % magnitude;
    return size > most ? most - (size_t)(random >> 40) % (most / 4 + 1) : size;
}

/* Puts several times the budget, in batches as the tier above does. */
static void flood_store(const flood *what) {
    size_t items_max;
    size_t bytes_max;
    firn_cold_batch_limits(at.cold, &items_max, &bytes_max);
    firn_cold_item *items = calloc(items_max, sizeof *items);
    uint64_t written = 0;
    uint64_t number = 0;
    while (written < what->times * what->budget) {
        size_t count = 0;
        size_t bytes = 0;
        while (count < items_max && bytes < bytes_max) {
            size_t size = size_of(number, what->value_max);
            char *key;
            ck_assert_int_gt(asprintf(&key, "key-%llu", (unsigned long long)number), 0);
            unsigned char *value = malloc(size);
            fill_value(value, size, number, what->dense);
            items[count++] = item_of(key, value, size);
            bytes += size + strlen(key) + 32; /* about what the record takes */
            number++;
        }
        int result = firn_cold_write(at.cold, items, count, at.version);
        ck_assert_msg(result == FIRN_OK, "%s: %s", firn_strerror(result), words());
        ck_assert_uint_le(files_size(), what->budget);
        for (size_t i = 0; i < count; i++) {
            ck_assert_int_eq(items[i].result, FIRN_OK);
        }
        landing newest;
        char *last = strndup(items[count - 1].key, items[count - 1].key_size);
        ck_assert_int_eq(get(last, &newest), FIRN_OK);
        ck_assert_uint_eq(newest.size, items[count - 1].value_size);
        ck_assert_mem_eq(newest.bytes, items[count - 1].value, newest.size);
        free(newest.bytes);
        free(last);
        for (size_t i = 0; i < count; i++) {
            free((void *)(uintptr_t)items[i].key);
            free((void *)(uintptr_t)items[i].value);
        }
        written += bytes;
    }
    free(items);
}

static const flood floods[] = {
    {1 * MIB, MIB / 4, false, 10},  {4 * MIB, MIB, false, 10},
    {16 * MIB, 4 * MIB, false, 10}, {1 * MIB, 1, false, 10},
    {4 * MIB, 1, false, 2},         {16 * MIB, 1, false, 2},
    {1 * MIB, 3000, false, 10},     {4 * MIB, 20 * KIB, false, 10},
    {4 * MIB, MIB, true, 10},       {1 * MIB + 12345, MIB / 4, false, 10},
};

START_TEST(ten_times_the_budget_goes_through_and_the_file_stays_within_it) {
    const flood *what = &floods[_i];
    open_budget(what->budget);
    flood_store(what);
    ck_assert(what->dense || stats().reclaimed > 0);
    ck_assert_uint_gt(stats().live_bytes, what->budget / 5);
    close_store();
    ck_assert_uint_le(files_size(), what->budget);
    open_budget(what->budget);
    ck_assert_uint_gt(stats().entries, 0);
}
END_TEST

START_TEST(a_value_of_the_largest_size_goes_into_a_full_store) {
    static const uint64_t budgets[] = {MIB, 3 * MIB + 777, 4 * MIB, 16 * MIB, 64 * MIB};
    uint64_t budget = budgets[_i];
    open_budget(budget);
    size_t most = (size_t)firn_cold_value_max(at.cold, 3);
    ck_assert_uint_ge(most, budget / 4 - 4096);
    unsigned char *value = malloc(most + 1);
    for (unsigned round = 0; round < 4; round++) {
        flood what = {budget, round % 2 == 0 ? 500 : (size_t)budget / 8, false, 2};
        flood_store(&what);
        fill_value(value, most, round, false);
        int result = put_result("big", value, most);
        ck_assert_msg(result == FIRN_OK, "%s: %s", firn_strerror(result), words());
        landing found;
        ck_assert_int_eq(get("big", &found), FIRN_OK);
        ck_assert_uint_eq(found.size, most);
        ck_assert_mem_eq(found.bytes, value, most);
        free(found.bytes);
        /* And again, over itself. */
        fill_value(value, most, round + 100, false);
        ck_assert_int_eq(put_result("big", value, most), FIRN_OK);
        ck_assert_int_eq(put_result("big", value, most + 1), FIRN_ETOOLARGE);
        expect_none("big");
        ck_assert_uint_le(files_size(), budget);
    }
    free(value);
}
END_TEST

START_TEST(each_reclaimed_record_is_told) {
    open_budget(MIB);
    flood what = {MIB, 3000, false, 10};
    flood_store(&what);
    firn_cold_stats now = stats();
    ck_assert_uint_eq(at.lost, now.reclaimed + now.expired);
}
END_TEST

START_TEST(overwriting_one_key_needs_no_reclaim) {
    open_budget(MIB);
    put("bystander", "here");
    char value[2000];
    memset(value, 'x', sizeof value);
    for (int i = 0; i < 3000; i++) {
        ck_assert_int_eq(put_result("key", value, sizeof value), FIRN_OK);
    }
    expect("bystander", "here");
    ck_assert_uint_eq(stats().entries, 2);
    ck_assert_uint_eq(stats().reclaimed, 0);
}
END_TEST

/* ---- expired entries and room ---- */

enum { EXPIRING_VALUE = 3000 };

static void put_expiring(const char *kind, unsigned number, uint64_t expires_ms) {
    unsigned char value[EXPIRING_VALUE];
    char key[40];
    fill_value(value, sizeof value, number, false);
    snprintf(key, sizeof key, "%s-%u", kind, number);
    firn_cold_item item = item_of(key, value, sizeof value);
    item.expires_ms = expires_ms;
    ck_assert_int_eq(firn_cold_write(at.cold, &item, 1, at.version), FIRN_OK);
    ck_assert_int_eq(item.result, FIRN_OK);
}

static void expect_all(const char *kind, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        char key[40];
        snprintf(key, sizeof key, "%s-%u", kind, i);
        ck_assert_msg(head(key) == FIRN_OK, "%s of %u", key, count);
    }
}

static const struct {
    unsigned lasting; /* in a row, in turns with those that expire */
    unsigned expiring;
    uint64_t times; /* when the latter expire; 1: all at once */
    void (*between)(void);
} expiring_stores[] = {
    {1, 1, 1, NULL},          {1, 1, 300, NULL},        {500, 1000, 1, NULL},
    {1, 1, 300, close_store}, {1, 1, 300, crash_store}, {10, 10, 1, close_store},
};

START_TEST(entries_that_have_expired_make_room_before_others_go) {
    enum { BUDGET = 4 * MIB, LIFE_MS = 400000 };
    unsigned lasting = 0;
    unsigned expiring = 0;
    open_budget(BUDGET);
    for (unsigned turn = 0; stats().live_bytes < BUDGET / 100 * 88; turn++) {
        unsigned in_turn = turn % (expiring_stores[_i].lasting + expiring_stores[_i].expiring);
        if (in_turn < expiring_stores[_i].lasting) {
            put_expiring("lasting", lasting++, turn % 3 == 0 ? at.now_ms + 100 * LIFE_MS : 0);
        } else {
            put_expiring("expiring", expiring++,
                         at.now_ms + LIFE_MS - turn % expiring_stores[_i].times * 1000);
        }
    }
    ck_assert_uint_eq(stats().reclaimed, 0);
    ck_assert_uint_eq(stats().entries, lasting + expiring);
    if (expiring_stores[_i].between != NULL) {
        expiring_stores[_i].between();
        open_budget(BUDGET);
    }
    at.now_ms += LIFE_MS + 1000;
    unsigned more = expiring / 10 * 9;
    for (unsigned i = 0; i < more; i++) {
        put_expiring("more", i, 0);
    }
    ck_assert_uint_eq(stats().reclaimed, 0);
    ck_assert_uint_ge(stats().expired, expiring / 10 * 8);
    expect_all("lasting", lasting);
    expect_all("more", more);
}
END_TEST

/* Beside an account of every single one. */
START_TEST(what_expires_is_never_counted_too_early) {
    enum { RECORDS = 1000, SPAN_S = 4000 };
    firn_expiry expiry = {0};
    uint64_t total = 0;
    uint64_t by[SPAN_S + 1] = {0};
    for (unsigned i = 0; i < RECORDS; i++) {
        uint64_t bytes = 20 + mix(i) % 1000;
        uint64_t second = mix(i + RECORDS) % SPAN_S;
        bool lasts = i % 4 == 0;
        firn_expiry_add(&expiry, bytes, lasts ? 0 : at.now_ms + second * 1000 - i % 1000);
        by[second] += lasts ? 0 : bytes;
        total += bytes;
    }
    uint64_t exact = 0;
    uint64_t most = 0;
    for (unsigned second = 0; second <= SPAN_S; second++) {
        exact += by[second];
        uint64_t told = firn_expiry_expired(&expiry, total, at.now_ms + second * 1000);
        ck_assert_uint_le(told, exact);
        most = exact - told > most ? exact - told : most;
    }
    ck_assert_uint_lt(most, total / 3);
    uint64_t last = firn_expiry_expired(&expiry, total, at.now_ms + SPAN_S * 1000);
    ck_assert_uint_ge(last, exact - total / 500);
    ck_assert_uint_le(firn_expiry_expired(&expiry, total / 2, at.now_ms + SPAN_S * 1000),
                      exact / 2);
    ck_assert_uint_eq(firn_expiry_expired(&(firn_expiry){0}, total, UINT64_MAX), 0);
}
END_TEST

/* ---- opening ---- */

START_TEST(a_directory_of_others_is_left_alone) {
    ck_assert_int_eq(mkdir(at.path, 0755), 0);
    char *file = join(at.path, "letter.txt");
    write_file(file, "mine");
    ck_assert_int_eq(try_open(MIB), FIRN_ENOTSTORE);
    ck_assert_int_eq(access(file, F_OK), 0);
    ck_assert_int_eq((int)file_size(at.path, "firn.journal"), 0);
    ck_assert_int_eq(unlink(file), 0);
    free(file);
    char *data = join(at.path, "data.mdb");
    write_file(data, "not ours");
    ck_assert_int_eq(try_open(MIB), FIRN_ENOTSTORE);
    ck_assert_uint_eq(file_size(at.path, "data.mdb"), 8);
    free(data);
}
END_TEST

START_TEST(a_file_at_the_path_is_no_store) {
    write_file(at.path, "a file");
    ck_assert_int_eq(try_open(MIB), FIRN_ENOTSTORE);
}
END_TEST

START_TEST(a_parent_that_is_missing_is_told) {
    char *path = at.path;
    at.path = join(path, "below");
    ck_assert_int_eq(try_open(MIB), FIRN_EIO);
    ck_assert_ptr_nonnull(strstr(words(), at.path));
    free(at.path);
    at.path = path;
}
END_TEST

START_TEST(a_second_open_is_refused) {
    open_budget(MIB);
    firn_cold *second;
    firn_cold_config config = config_of(MIB);
    ck_assert_int_eq(firn_cold_open(&second, &config), FIRN_EBUSY);
    ck_assert_ptr_null(second);
    config.read_only = true;
    ck_assert_int_eq(firn_cold_open(&second, &config), FIRN_EBUSY);
    put("still", "working");
    expect("still", "working");
}
END_TEST

/* What a child process sees; its result is its exit status. */
static int in_child(int (*what)(void)) {
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        _exit(what());
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int child_writes(void) {
    return try_open(MIB) == FIRN_EBUSY ? 0 : 1;
}

static int child_reads(void) {
    firn_cold_config config = config_of(MIB);
    config.read_only = true;
    if (firn_cold_open(&at.cold, &config) != FIRN_OK) {
        return 1;
    }
    landing found;
    if (get("key", &found) != FIRN_OK || found.size != 5 || head("void") != FIRN_NOT_FOUND) {
        return 2;
    }
    firn_cold_item item = item_of("key", "x", 1);
    if (firn_cold_write(at.cold, &item, 1, 99) != FIRN_EREADONLY ||
        firn_cold_invalidate(at.cold, 1, 1) != FIRN_EREADONLY) {
        return 3;
    }
    return stats().entries == 2 && stats().journal_entries == 1 ? 0 : 4;
}

START_TEST(another_process_may_read_but_not_write_beside_a_writer) {
    open_budget(MIB);
    put("key", "value");
    put("void", "value");
    ck_assert_int_eq(firn_cold_invalidate(at.cold, hash_of("void"), at.version++), FIRN_OK);
    ck_assert_int_eq(in_child(child_writes), 0);
    ck_assert_int_eq(in_child(child_reads), 0);
    expect("key", "value");
}
END_TEST

START_TEST(reading_where_there_is_no_store_finds_none_and_makes_none) {
    firn_cold_config config = config_of(MIB);
    config.read_only = true;
    ck_assert_int_eq(firn_cold_open(&at.cold, &config), FIRN_NOT_FOUND);
    ck_assert_int_ne(access(at.path, F_OK), 0);
}
END_TEST

START_TEST(a_making_that_was_broken_off_is_begun_afresh) {
    ck_assert_int_eq(mkdir(at.path, 0755), 0);
    ck_assert_int_eq(firn_journal_create(at.path, 5, at.heap, NULL), FIRN_OK);
    open_budget(MIB);
    ck_assert_uint_ne(firn_cold_store_id(at.cold), 5);
    put("key", "value");
    close_store();
    open_budget(MIB);
    expect("key", "value");
}
END_TEST

/* ---- damage ---- */

static void spoil(const char *name, off_t offset, const void *bytes, size_t size) {
    char *path = join(at.path, name);
    int fd = open(path, O_WRONLY);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq((int)pwrite(fd, bytes, size, offset), (int)size);
    close(fd);
    free(path);
}

static void fill_some(void) {
    for (int i = 0; i < 200; i++) {
        char key[16];
        snprintf(key, sizeof key, "key%d", i);
        put(key, "a value that is long enough to be worth a record of its own");
    }
}

static void expect_some(void) {
    for (int i = 0; i < 200; i++) {
        char key[16];
        snprintf(key, sizeof key, "key%d", i);
        expect(key, "a value that is long enough to be worth a record of its own");
    }
    ck_assert_uint_eq(stats().entries, 200);
}

static void cut(const char *name, uint64_t size) {
    char *path = join(at.path, name);
    ck_assert_int_eq(truncate(path, (off_t)size), 0);
    free(path);
}

static void spoil_index(void) {
    unsigned char junk[20000];
    memset(junk, 0xa5, sizeof junk);
    spoil("data.mdb", 8192, junk, sizeof junk);
}

static void spoil_log_header(void) {
    spoil("firn.log", 16, "not the id", 10);
}

START_TEST(a_damaged_index_is_made_anew_from_the_log) {
    open_budget(MIB);
    fill_some();
    put("gone", "1");
    put("other", "old");
    put("other", "new");
    firn_cold_item removal = {.hash = hash_of("gone"), .version = at.version++, .remove = true};
    ck_assert_int_eq(firn_cold_write(at.cold, &removal, 1, at.version), FIRN_OK);
    removal = (firn_cold_item){.hash = hash_of("other"), .version = at.version++, .remove = true};
    for (int kind = 0; kind < 4; kind++) {
        uint64_t version = firn_cold_version_next(at.cold);
        close_store();
        if (kind == 0) {
            spoil_index();
        } else if (kind == 1) {
            cut("data.mdb", file_size(at.path, "data.mdb") / 2);
        } else if (kind == 2) {
            cut("data.mdb", 0);
        } else {
            char *path = join(at.path, "data.mdb");
            ck_assert_int_eq(unlink(path), 0);
            free(path);
        }
        open_budget(MIB);
        ck_assert_ptr_nonnull(strstr(words(), "made anew"));
        ck_assert_uint_ge(firn_cold_version_next(at.cold), version);
        expect("other", "new");
        expect_none("gone");
        ck_assert_uint_eq(stats().entries, 201);
    }
    ck_assert_int_eq(firn_cold_write(at.cold, &removal, 1, at.version), FIRN_OK);
    expect_some();
}
END_TEST

START_TEST(a_store_whose_log_is_no_log_is_set_aside_when_asked) {
    open_budget(MIB);
    fill_some();
    close_store();
    spoil_log_header();
    ck_assert_int_eq(try_open(MIB), FIRN_ECORRUPT);
    ck_assert_ptr_nonnull(strstr(words(), at.path));
    firn_cold_config config = config_of(MIB);
    config.set_aside_damaged = true;
    for (int i = 0; i < 2; i++) { /* the second takes the place of the first */
        open_store(&config);
        ck_assert_ptr_nonnull(strstr(words(), ".damaged"));
        expect_none("key1");
        fill_some();
        close_store();
        spoil_log_header();
    }
    char *aside;
    ck_assert_int_gt(asprintf(&aside, "%s.damaged", at.path), 0);
    ck_assert_uint_gt(file_size(aside, "firn.log"), 0);
    free(aside);
}
END_TEST

START_TEST(what_the_log_lost_is_a_miss_and_what_it_may_have_voided_too) {
    open_budget(MIB);
    fill_some();
    close_store();
    cut("firn.log", file_size(at.path, "firn.log") / 2);
    open_budget(MIB);
    unsigned there = 0;
    for (int i = 0; i < 200; i++) {
        char key[16];
        snprintf(key, sizeof key, "key%d", i);
        landing found;
        int result = get(key, &found);
        ck_assert(result == FIRN_OK || result == FIRN_NOT_FOUND || result == FIRN_ECORRUPT);
        there += result == FIRN_OK;
        free(found.bytes);
    }
    ck_assert_uint_lt(there, 200);
    put("key1", "new");
    expect("key1", "new");
}
END_TEST

static void pretend_power_loss(void) {
    unsigned char other_boot[16] = {1, 2, 3};
    uint32_t dirty = 0;
    spoil("firn.journal", 40, other_boot, sizeof other_boot);
    spoil("firn.journal", 56, &dirty, sizeof dirty);
}

START_TEST(after_a_power_loss_a_sound_store_is_kept) {
    open_budget(MIB);
    put("key", "value");
    crash_store();
    pretend_power_loss();
    open_budget(MIB);
    expect("key", "value");
}
END_TEST

START_TEST(after_a_power_loss_a_torn_index_is_made_anew) {
    open_budget(MIB);
    fill_some();
    crash_store();
    spoil_index();
    pretend_power_loss();
    open_budget(MIB);
    ck_assert_ptr_nonnull(strstr(words(), "made anew"));
    expect_some();
}
END_TEST

/* Then the log itself has to be read after a crash. */
static void forget_noted(void) {
    char *path = join(at.path, "firn.delta");
    ck_assert_int_eq(unlink(path), 0);
    free(path);
}

START_TEST(after_a_power_loss_the_log_ends_where_it_is_torn) {
    open_budget(MIB);
    put("first", "1");
    uint64_t size = file_size(at.path, "firn.log");
    put("second", "2");
    put("third", "3");
    crash_store();
    spoil("firn.log", (off_t)size + 6, "####", 4);
    forget_noted();
    ck_assert_int_eq(try_open(MIB),
                     FIRN_OK); /* the same boot: then it is damage, and what it may */
    expect_none("first");      /* have voided is not believed */
    expect_none("second");
    close_store();
    clear_tree(at.path);
    open_budget(MIB);
    put("first", "1");
    size = file_size(at.path, "firn.log");
    put("second", "2");
    put("third", "3");
    crash_store();
    spoil("firn.log", (off_t)size + 6, "####", 4);
    pretend_power_loss();
    open_budget(MIB);
    expect("first", "1");
    expect_none("second");
    expect_none("third");
    put("second", "22");
    close_store();
    open_budget(MIB);
    expect("first", "1");
    expect("second", "22");
}
END_TEST

START_TEST(what_a_damaged_record_said_is_known_from_what_was_noted) {
    open_budget(MIB);
    put("first", "1");
    uint64_t size = file_size(at.path, "firn.log");
    put("second", "2");
    put("third", "3");
    crash_store();
    spoil("firn.log", (off_t)size + 6, "####", 4);
    open_budget(MIB);
    expect("first", "1");
    landing found;
    ck_assert_int_eq(get("second", &found), FIRN_ECORRUPT);
    ck_assert_uint_eq(stats().damaged, 1);
    expect("third", "3");
    put("second", "22");
    expect("second", "22");
    close_store();
    ck_assert_uint_eq(file_size(at.path, "firn.delta"), 0); /* it is gone */
}
END_TEST

/* All there is to know of a store, in numbers. */
typedef struct account {
    uint64_t entries;
    uint64_t live_bytes;
    uint64_t found;
    uint64_t versions; /* of what is found, mixed with whose they are */
} account;

enum { ACCOUNT_KEYS = 400 };

static account account_of_open(void) {
    account sum = {.entries = stats().entries, .live_bytes = stats().live_bytes};
    for (unsigned i = 0; i < ACCOUNT_KEYS; i++) {
        char key[32];
        firn_cold_meta meta;
        snprintf(key, sizeof key, "key-%u", i);
        if (firn_cold_read(at.cold, hash_of(key), key, strlen(key), NULL, NULL, &meta) == FIRN_OK) {
            sum.found++;
            sum.versions += mix(meta.version ^ meta.hash ^ meta.expires_ms);
        }
    }
    ck_assert_uint_eq(stats().damaged, 0);
    return sum;
}

static account account_of(const firn_cold_config *config) {
    open_store(config);
    account sum = account_of_open();
    crash_store();
    return sum;
}

static void expect_same(const account *left, const account *right) {
    ck_assert_uint_eq(left->entries, right->entries);
    ck_assert_uint_eq(left->live_bytes, right->live_bytes);
    ck_assert_uint_eq(left->found, right->found);
    ck_assert_uint_eq(left->versions, right->versions);
}

static void put_number(unsigned number) {
    char key[32];
    unsigned char value[100];
    snprintf(key, sizeof key, "key-%u", number);
    fill_value(value, sizeof value, number, false);
    ck_assert_int_eq(put_result(key, value, sizeof value), FIRN_OK);
}

/* Puts, overwrites, removals and expiries, in batches of any size. */
static void change_much(uint64_t seed) {
    unsigned char value[3000];
    firn_cold_item items[16];
    char keys[16][32];
    for (unsigned batch = 0; batch < 60; batch++) {
        size_t count = 1 + mix(seed + batch) % 16;
        for (size_t i = 0; i < count; i++) {
            uint64_t dice = mix(seed * 1000 + batch * 16 + i);
            snprintf(keys[i], sizeof keys[i], "key-%u", (unsigned)(dice % ACCOUNT_KEYS));
            size_t size = (size_t)(dice >> 32) % sizeof value;
            fill_value(value, size, dice, true);
            items[i] = item_of(keys[i], value, size);
            items[i].remove = dice % 5 == 0;
            items[i].expires_ms = dice % 7 == 0 ? at.now_ms + dice % 90000 : 0;
        }
        ck_assert_int_eq(firn_cold_write(at.cold, items, count, at.version), FIRN_OK);
    }
}

/* Else an open after a crash takes the index for one that somebody changed, and looks at all of its
 * pages. */
START_TEST(the_journal_knows_the_index_after_each_batch) {
    open_budget(4 * MIB);
    change_much(1);
    ck_assert_int_eq(at.cold->ops->checkpoint(at.cold->backend), FIRN_OK);
    crash_store(); /* so that the filter has to be made from the index */
    open_budget(4 * MIB);
    unsigned changed = 0;
    for (unsigned i = 0; i < 200; i++) {
        struct stat status;
        firn_journal_header header;
        put_number(i);
        firn_journal_get_header(at.cold->journal, &header);
        char *path = join(at.path, "data.mdb");
        ck_assert_int_eq(stat(path, &status), 0);
        free(path);
        uint64_t mtime_ns =
            (uint64_t)status.st_mtim.tv_sec * 1000000000u + (uint64_t)status.st_mtim.tv_nsec;
        ck_assert_uint_eq(header.fingerprint.file_bytes, (uint64_t)status.st_size);
        ck_assert_uint_eq(header.fingerprint.mtime_ns, mtime_ns);
        changed += at.cold->commits_noted != UINT64_MAX && at.cold->commits_noted > 0;
    }
    ck_assert_uint_gt(changed, 0);
}
END_TEST

START_TEST(what_was_noted_tells_the_same_as_the_log) {
    for (unsigned seed = 0; seed < 24; seed++) {
        char *own = at.path;
        char *copy = scratch_path("cold-copy");
        firn_cold_config config = config_of(seed % 2 == 0 ? MIB : 16 * MIB); /* reclaim, or none */
        open_store(&config);
        for (unsigned life = 0; life < 1 + seed % 4; life++) {
            change_much(seed * 10 + life);
            account before = account_of_open();
            crash_store();
            open_store(&config);
            account after = account_of_open();
            expect_same(&before, &after);
        }
        uint64_t version = at.version;
        crash_store();
        ck_assert_uint_gt(file_size(own, "firn.delta"), 0);
        copy_store(own, copy);
        account noted = account_of(&config);
        ck_assert_uint_eq(at.version, version);
        at.path = copy;
        config.path = copy;
        forget_noted();
        account replayed = account_of(&config);
        expect_same(&noted, &replayed);
        at.path = own;
        clear_tree(own);
        remove_tree(copy);
    }
}
END_TEST

START_TEST(what_is_noted_of_a_few_keys_does_not_grow_for_ever) {
    enum { KEYS = 16, TIMES = 4000 };
    uint64_t largest = 0;
    open_budget(16 * MIB);
    for (unsigned n = 0; n < TIMES; n++) {
        firn_cold_item items[KEYS];
        char keys[KEYS][16];
        for (unsigned i = 0; i < KEYS; i++) {
            snprintf(keys[i], sizeof keys[i], "key-%u", i);
            items[i] = item_of(keys[i], &n, sizeof n);
        }
        ck_assert_int_eq(firn_cold_write(at.cold, items, KEYS, at.version), FIRN_OK);
        uint64_t size = file_size(at.path, "firn.delta");
        largest = size > largest ? size : largest;
    }
    ck_assert_uint_gt(largest, 100 * KIB);
    ck_assert_uint_le(largest, 640 * KIB);
    ck_assert_uint_eq(stats().entries, KEYS);
}
END_TEST

START_TEST(what_was_noted_is_believed_only_if_it_is_sound) {
    firn_cold_config config = config_of(MIB);
    char *own = at.path;
    char *copy = scratch_path("cold-copy");
    open_store(&config);
    change_much(1);
    account wanted = account_of_open();
    crash_store();
    uint64_t size = file_size(own, "firn.delta");
    at.path = copy;
    config.path = copy;
    for (uint64_t i = 0; i < 40; i++) {
        copy_store(own, copy);
        char *path = join(copy, "firn.delta");
        int fd = open(path, O_RDWR);
        ck_assert_int_ge(fd, 0);
        uint64_t where = i < 8 ? i * 12 : mix(i) % size;
        if (i % 4 == 3) {
            ck_assert_int_eq(ftruncate(fd, (off_t)where), 0);
        } else {
            change_byte(fd, (off_t)where, (unsigned char)(1u << i % 8));
        }
        close(fd);
        free(path);
        account found = account_of(&config);
        expect_same(&wanted, &found);
    }
    at.path = own;
    remove_tree(copy);
}
END_TEST

START_TEST(a_torn_slot_of_the_journal_is_dropped_and_counted) {
    open_budget(MIB);
    put("key", "value");
    crash_store();
    uint64_t slot[2] = {77, (uint64_t)99 << 16 | 1};
    spoil("firn.journal", 4096 + 16 * 9, slot, sizeof slot);
    open_budget(MIB);
    ck_assert_uint_eq(stats().damaged, 1);
    expect("key", "value");
    ck_assert(!firn_cold_has_old_lines(at.cold));
    ck_assert_int_eq(firn_cold_write(at.cold, NULL, 0, at.version), FIRN_OK);
    ck_assert_uint_eq(stats().journal_entries, 0);
}
END_TEST

START_TEST(a_damaged_journal_header_is_damage) {
    open_budget(MIB);
    put("key", "value");
    close_store();
    uint64_t other = 12345;
    spoil("firn.journal", 16, &other, sizeof other);
    ck_assert_int_eq(try_open(MIB), FIRN_ECORRUPT);
    firn_cold_config config = config_of(MIB);
    config.set_aside_damaged = true;
    open_store(&config);
    expect_none("key");
}
END_TEST

START_TEST(another_format_is_refused_untouched) {
    open_budget(MIB);
    put("key", "value");
    close_store();
    uint32_t format = 2;
    unsigned char header[24];
    char *path = join(at.path, "firn.journal");
    int fd = open(path, O_RDONLY);
    ck_assert_int_eq((int)pread(fd, header, sizeof header, 0), (int)sizeof header);
    close(fd);
    free(path);
    memcpy(header + 8, &format, sizeof format);
    uint64_t sum = firn_hash64(0, header, sizeof header);
    spoil("firn.journal", 0, header, sizeof header);
    spoil("firn.journal", 24, &sum, sizeof sum);
    firn_cold_config config = config_of(MIB);
    config.set_aside_damaged = true;
    ck_assert_int_eq(firn_cold_open(&at.cold, &config), FIRN_EVERSION);
}
END_TEST

/* Changes one byte of a record, as a failing disk would. */
static void spoil_record(const char *value_part) {
    char *path = join(at.path, "firn.log");
    int fd = open(path, O_RDWR);
    size_t size = (size_t)file_size(at.path, "firn.log");
    unsigned char *all = malloc(size);
    ck_assert_int_eq((int)pread(fd, all, size, 0), (int)size);
    unsigned found = 0;
    for (unsigned char *from = all;
         (from = memmem(from, size - (size_t)(from - all), value_part, strlen(value_part))) != NULL;
         from++) {
        ck_assert_int_eq((int)pwrite(fd, "#", 1, from - all), 1);
        found++;
    }
    ck_assert_uint_gt(found, 0);
    free(all);
    close(fd);
    free(path);
}

START_TEST(a_damaged_record_is_a_counted_miss_and_can_be_replaced) {
    open_budget(MIB);
    put("key", "findmehere");
    close_store();
    spoil_record("findmehere");
    open_budget(MIB);
    landing found;
    ck_assert_int_eq(get("key", &found), FIRN_ECORRUPT);
    ck_assert_uint_eq(stats().damaged, 1);
    put("key", "new");
    expect("key", "new");
    ck_assert_uint_eq(stats().entries, 1);
}
END_TEST

START_TEST(reclaim_passes_over_damaged_records) {
    open_budget(MIB);
    put("onlykeyofthisname", "value");
    close_store();
    spoil_record("onlykeyofthisname"); /* the key: its hash is no longer the index's */
    open_budget(MIB);
    flood what = {MIB, 3000, false, 10};
    flood_store(&what);
    firn_cold_stats now = stats();
    ck_assert_uint_gt(now.reclaimed, 0);
    ck_assert_int_eq(head("onlykeyofthisname"), FIRN_NOT_FOUND);
}
END_TEST

/* ---- faults: a backend whose n-th call fails ---- */

static struct {
    long left; /* calls until the fault; negative: none to come */
    int code;
    bool happened;
} fault = {-1, 0, false};

static int faulty(int result) {
    if (fault.left < 0 || fault.left-- > 0) {
        return result;
    }
    fault.happened = true;
    return fault.code;
}

#define FAULTY(name, parameters, arguments)                                                        \
    static int faulty_##name parameters {                                                          \
        int injected = faulty(FIRN_OK);                                                            \
        return injected != FIRN_OK ? injected : firn_backend_log.name arguments;                   \
    }

FAULTY(open, (firn_backend * *b, const firn_backend_config *c), (b, c))
FAULTY(read_meta, (firn_backend * b, firn_backend_meta *m), (b, m))
FAULTY(recover, (firn_backend * b, bool p, firn_backend_recovery *r), (b, p, r))
FAULTY(sync, (firn_backend * b, bool w), (b, w))
FAULTY(begin, (firn_backend * b), (b))
FAULTY(find, (firn_backend * b, uint64_t h, uint64_t *s, firn_bytes *r), (b, h, s, r))
FAULTY(put, (firn_backend * b, uint64_t h, size_t n, uint64_t e, uint64_t *s, void **p),
       (b, h, n, e, s, p))
FAULTY(remove, (firn_backend * b, uint64_t h, uint64_t v), (b, h, v))
FAULTY(oldest, (firn_backend * b, uint64_t f, uint64_t *s, firn_bytes *r), (b, f, s, r))
FAULTY(drop, (firn_backend * b), (b))
FAULTY(checkpoint, (firn_backend * b), (b))
FAULTY(session_new, (firn_backend * b, firn_backend_session **s), (b, s))
FAULTY(read_begin, (firn_backend_session * s), (s))
FAULTY(lookup, (firn_backend_session * s, uint64_t h, uint64_t *n, firn_bytes *r), (s, h, n, r))
FAULTY(locate, (firn_backend_session * s, uint64_t h, uint64_t *n), (s, h, n))
FAULTY(fingerprint, (firn_backend * b, firn_fingerprint *f), (b, f))

static int faulty_commit(firn_backend *backend) {
    int injected = faulty(FIRN_OK);
    if (injected != FIRN_OK) {
        firn_backend_log.abort(backend); /* a commit that fails ends the transaction too */
        return injected;
    }
    return firn_backend_log.commit(backend);
}

static firn_backend_ops faulty_ops(void) {
    firn_backend_ops ops = firn_backend_log;
    ops.open = faulty_open;
    ops.read_meta = faulty_read_meta;
    ops.recover = faulty_recover;
    ops.sync = faulty_sync;
    ops.begin = faulty_begin;
    ops.find = faulty_find;
    ops.put = faulty_put;
    ops.remove = faulty_remove;
    ops.oldest = faulty_oldest;
    ops.drop = faulty_drop;
    ops.checkpoint = faulty_checkpoint;
    ops.commit = faulty_commit;
    ops.session_new = faulty_session_new;
    ops.read_begin = faulty_read_begin;
    ops.lookup = faulty_lookup;
    ops.locate = faulty_locate;
    ops.fingerprint = faulty_fingerprint;
    return ops;
}

/* One life of a store. Whatever fails, what is read is right. */
static int live_once(const firn_cold_config *config, bool *deleted) {
    int result = firn_cold_open(&at.cold, config);
    if (result != FIRN_OK) {
        ck_assert_ptr_null(at.cold);
        return result;
    }
    if (firn_cold_version_next(at.cold) > at.version) {
        at.version = firn_cold_version_next(at.cold);
    }
    static char big[250000];
    int first = put_result("a", "1", 1);
    int second = put_result("b", big, sizeof big);
    landing found;
    int third = get("a", &found);
    if (third == FIRN_OK) {
        ck_assert(found.size == 1 && found.bytes[0] == '1');
        free(found.bytes);
    }
    int fourth = firn_cold_invalidate(at.cold, hash_of("a"), at.version++);
    *deleted = fourth == FIRN_OK;
    int fifth = firn_cold_write(at.cold, NULL, 0, at.version);
    int last = firn_cold_close(at.cold, true);
    at.cold = NULL;
    int all[] = {first, second, third < 0 ? third : 0, fourth, fifth, last};
    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++) {
        /* A sync that finds that something is lost says that it could not be done. */
        bool lost = fault.code == FIRN_ECORRUPT && all[i] == FIRN_EIO;
        ck_assert_msg(all[i] == FIRN_OK || all[i] == fault.code || lost, "step %u: %d", i, all[i]);
        result = all[i] != FIRN_OK ? all[i] : result;
    }
    return result;
}

START_TEST(any_call_of_the_backend_may_fail_and_nothing_void_returns) {
    static const int codes[] = {FIRN_EIO, FIRN_ENOSPC, FIRN_ENOMEM, FIRN_ECORRUPT};
    firn_backend_ops ops = faulty_ops();
    firn_cold_config config = config_of(MIB);
    config.compression_level = FIRN_COMPRESSION_OFF;
    config.backend = &ops;
    fault.code = codes[_i];
    for (long nth = 0;; nth++) {
        bool deleted = false;
        fault.left = nth;
        fault.happened = false;
        int result = live_once(&config, &deleted);
        bool ended = !fault.happened;
        fault.left = -1;
        ck_assert_msg(!ended || result == FIRN_OK, "%d: %s", result, words());
        open_budget(MIB);
        if (deleted) {
            expect_none("a");
        }
        close_store();
        if (nth % 3 == 0) {
            clear_tree(at.path);
        }
        if (ended) {
            break;
        }
    }
}
END_TEST

/* ---- segments that do not lie as they should ---- */

enum { SEGMENT = 16 * KIB, FEW_SEGMENTS = 126, LONG_VALUE = 3000 };

static firn_cold_config raw_config(uint64_t budget) {
    firn_cold_config config = config_of(budget);
    config.compression_level = FIRN_COMPRESSION_OFF;
    return config;
}

static void put_long(unsigned number) {
    static unsigned char value[LONG_VALUE];
    char key[32];
    snprintf(key, sizeof key, "key-%u", number);
    fill_value(value, sizeof value, number, false);
    ck_assert_int_eq(put_result(key, value, sizeof value), FIRN_OK);
}

static unsigned count_long(unsigned from, unsigned to) {
    unsigned there = 0;
    for (unsigned i = from; i < to; i++) {
        char key[32];
        landing found;
        snprintf(key, sizeof key, "key-%u", i);
        if (get(key, &found) == FIRN_OK) {
            unsigned char wanted[LONG_VALUE];
            fill_value(wanted, sizeof wanted, i, false);
            ck_assert_uint_eq(found.size, sizeof wanted);
            ck_assert_mem_eq(found.bytes, wanted, sizeof wanted);
            free(found.bytes);
            there++;
        }
    }
    return there;
}

/* Puts, of which the newest must always be there. */
static void put_and_find(unsigned from, unsigned to) {
    enum { NEWEST = 50 };
    for (unsigned i = from; i < to; i++) {
        put_long(i);
        if (i % 10 == 0 && i >= from + NEWEST) {
            ck_assert_uint_eq(count_long(i - NEWEST, i + 1), NEWEST + 1);
        }
    }
}

static unsigned locate_all(unsigned to) {
    unsigned there = 0;
    for (unsigned i = 0; i < to; i++) {
        char key[32];
        snprintf(key, sizeof key, "key-%u", i);
        there += firn_cold_locate(at.cold, hash_of(key)) == FIRN_OK;
    }
    return there;
}

START_TEST(a_log_whose_newest_segments_are_lost_goes_on) {
    enum { LOST = 20 };
    firn_cold_config config = raw_config(FEW_SEGMENTS * SEGMENT);
    open_store(&config);
    for (unsigned i = 0; i < 1500; i++) {
        put_long(i);
    }
    char *path = join(at.path, "firn.log");
    int fd = open(path, O_RDWR);
    free(path);
    uint64_t newest = 0;
    for (unsigned round = 0; round < 2; round++) { /* learns the newest, then takes it and others */
        uint64_t head[4];
        for (off_t slot = 0; pread(fd, head, sizeof head, 4096 + slot * SEGMENT) == sizeof head;
             slot++) {
            newest = round == 0 && head[1] > newest ? head[1] : newest;
            if (round == 1 && head[1] + LOST >= newest && head[1] < newest) {
                memset(head, 0, sizeof head);
                ck_assert_int_eq(pwrite(fd, head, sizeof head, 4096 + slot * SEGMENT), sizeof head);
            }
        }
    }
    close(fd);
    crash_store();
    open_store(&config);
    ck_assert_uint_ge(stats().damaged, LOST);
    put_and_find(2000, 3000);
    close_store();
    open_store(&config);
    ck_assert_uint_gt(count_long(2950, 3000), 48);
}
END_TEST

START_TEST(after_a_power_loss_the_index_may_be_far_ahead_of_the_log_s_header) {
    firn_cold_config config = raw_config(FEW_SEGMENTS * SEGMENT);
    open_store(&config);
    for (unsigned i = 0; i < 700; i++) {
        put_long(i);
    }
    unsigned char line[32];
    char *path = join(at.path, "firn.log");
    int fd = open(path, O_RDWR);
    free(path);
    ck_assert_int_eq(pread(fd, line, sizeof line, 64), sizeof line);
    for (unsigned i = 700; i < 2300; i++) {
        put_long(i);
    }
    ck_assert_int_eq(firn_cold_conclude(at.cold), FIRN_OK);
    unsigned there = count_long(0, 2300);
    crash_store();
    ck_assert_int_eq(pwrite(fd, line, sizeof line, 64), sizeof line);
    close(fd);
    pretend_power_loss();
    open_store(&config);
    ck_assert_uint_eq(count_long(0, 2300), there);
    put_and_find(3000, 3500);
    ck_assert_uint_eq(stats().damaged, 0);
}
END_TEST

START_TEST(a_smaller_budget_leaves_the_accounts_right) {
    firn_cold_config config = raw_config(15900000);
    firn_cold_config smaller = raw_config(5 * MIB);
    open_store(&config);
    unsigned n = 0;
    for (; n < 100000; n++) {
        if (n % 200 == 0) { /* in large batches it would take its time */
            firn_cold_item items[200];
            char keys[200][32];
            unsigned char value[100] = {1};
            for (unsigned i = 0; i < 200; i++) {
                snprintf(keys[i], sizeof keys[i], "key-%u", n + i);
                items[i] = item_of(keys[i], value, sizeof value);
            }
            ck_assert_int_eq(firn_cold_write(at.cold, items, 200, at.version), FIRN_OK);
        }
    }
    close_store();
    open_store(&smaller);
    for (unsigned i = 0; i < 3000; i++) {
        put_long(200000 + i);
    }
    unsigned there = locate_all(n);
    for (unsigned i = 0; i < 3000; i++) {
        char key[32];
        snprintf(key, sizeof key, "key-%u", 200000 + i);
        there += firn_cold_locate(at.cold, hash_of(key)) == FIRN_OK;
    }
    ck_assert_uint_eq(stats().entries, there);
    ck_assert_uint_le(stats().live_bytes, 5 * MIB);
}
END_TEST

static void *counting_alloc(void *context, size_t size) {
    size_t *most = context;
    *most = size > *most ? size : *most;
    return malloc(size);
}

static void counting_free(void *context, void *memory, size_t size) {
    (void)context;
    (void)size;
    free(memory);
}

START_TEST(a_small_store_does_not_take_much_memory_because_it_may_grow) {
    size_t most = 0;
    firn_allocator counting = {counting_alloc, counting_free, &most};
    firn_heap *heap = firn_heap_new(&counting);
    open_budget(MIB);
    put("key", "value");
    close_store();
    firn_cold_config config = config_of((uint64_t)1 << 40);
    config.heap = heap;
    config.filter_bytes_max = 0;
    most = 0;
    open_store(&config);
    expect("key", "value");
    put("other", "value");
    close_store();
    ck_assert_uint_le(most, 64 * MIB);
    firn_heap_unref(heap);
}
END_TEST

/* ---- a reader that sleeps while the writer goes on ---- */

typedef struct sleeper {
    pid_t pid;
    int wake; /* the end of a pipe */
} sleeper;

/* In a process of its own: opens the store read-only, sleeps, and ends with what `look` gives. */
static sleeper sleep_beside(int (*look)(void)) {
    int wake[2];
    int ready[2];
    ck_assert_int_eq(pipe(wake), 0);
    ck_assert_int_eq(pipe(ready), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        char byte;
        firn_cold_config config = config_of(0);
        config.read_only = true;
        at.cold = NULL;
        if (firn_cold_open(&at.cold, &config) != FIRN_OK || write(ready[1], "r", 1) != 1 ||
            read(wake[0], &byte, 1) != 1) {
            _exit(99);
        }
        int result = look();
        firn_cold_close(at.cold, false);
        _exit(result);
    }
    char byte;
    close(wake[0]);
    close(ready[1]);
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return (sleeper){pid, wake[1]};
}

static int wake(const sleeper *self) {
    int status;
    ck_assert_int_eq(write(self->wake, "w", 1), 1);
    close(self->wake);
    ck_assert_int_eq(waitpid(self->pid, &status, 0), self->pid);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

enum { SLEPT_FROM = 5000, SLEPT_TO = 6500 };

/* 0: what is counted is what is there. */
static int look_at_counts(void) {
    unsigned there = 0;
    for (unsigned i = 0; i < SLEPT_TO; i++) {
        char key[32];
        snprintf(key, sizeof key, "key-%u", i);
        there += head(key) == FIRN_OK;
    }
    return there == 0 ? 1 : stats().entries != there ? 2 : stats().read_errors != 0 ? 3 : 0;
}

START_TEST(a_reader_that_slept_counts_what_is_there) {
    enum { FIRST = 300 }; /* some 55 segments */
    firn_cold_config config = raw_config(4 * MIB);
    open_store(&config);
    for (unsigned i = 0; i < FIRST; i++) {
        put_long(i);
    }
    sleeper short_one = sleep_beside(look_at_counts);
    for (unsigned i = FIRST; stats().reclaimed < FIRST / 10; i++) {
        ck_assert_uint_lt(i, SLEPT_TO);
        put_long(i);
    }
    ck_assert_int_eq(wake(&short_one), 0);
    sleeper reader = sleep_beside(look_at_counts);
    for (unsigned i = SLEPT_FROM; i < SLEPT_TO; i++) {
        put_long(i);
    }
    sleeper second = sleep_beside(look_at_counts);
    for (unsigned i = SLEPT_FROM; i < SLEPT_TO; i++) { /* once more round */
        put_long(i);
    }
    ck_assert_int_eq(wake(&reader), 0);
    ck_assert_int_eq(wake(&second), 0);
}
END_TEST

/* 0: it is told to open the store again; no other answer but a miss until then. */
static int look_at_another_log(void) {
    char text[800];
    for (unsigned i = 0; i < 200; i++) {
        char key[32];
        snprintf(key, sizeof key, "key-%u", i);
        if (head(key) != FIRN_EIO) {
            return 1;
        }
    }
    firn_detail_get(&at.detail, text, sizeof text);
    return strstr(text, "open it again") == NULL ? 2 : 0;
}

START_TEST(a_reader_is_told_when_the_log_was_made_anew) {
    open_budget(64 * MIB);
    for (unsigned i = 0; i < 200; i++) {
        put_number(i);
    }
    close_store();
    at.cold = NULL;
    sleeper reader = sleep_beside(look_at_another_log);
    open_budget(4 * MIB); /* whose segments are smaller */
    for (unsigned i = 0; i < 200; i += 2) {
        put_number(i);
    }
    ck_assert_int_eq(wake(&reader), 0);
    expect_none("key-1");
}
END_TEST

/* ---- threads ---- */

static atomic_bool stop;
static atomic_uint reading; /* threads that do */

static void *read_all_the_time(void *context) {
    uint64_t *reads = context;
    atomic_fetch_add(&reading, 1);
    while (!atomic_load(&stop)) {
        char key[32];
        snprintf(key, sizeof key, "key-%llu", (unsigned long long)(mix(*reads) % 3000));
        landing found;
        int result = get(key, &found);
        if (result == FIRN_OK) {
            uint64_t number = strtoull(key + 4, NULL, 10);
            unsigned char *wanted = malloc(found.size + 1);
            fill_value(wanted, found.size, number, false);
            ck_assert_mem_eq(found.bytes, wanted, found.size);
            free(wanted);
            free(found.bytes);
        } else {
            ck_assert_int_eq(result, FIRN_NOT_FOUND);
        }
        ++*reads;
    }
    return NULL;
}

enum { THREADS = 6 };

typedef struct crowd {
    pthread_t threads[THREADS];
    uint64_t reads[THREADS]; /* how many, from a number of each one's own on */
} crowd;

static void let_read(crowd *self) {
    atomic_store(&stop, false);
    atomic_store(&reading, 0);
    for (unsigned i = 0; i < THREADS; i++) {
        self->reads[i] = 1 + i * 10000;
        ck_assert_int_eq(
            pthread_create(&self->threads[i], NULL, read_all_the_time, &self->reads[i]), 0);
    }
    while (atomic_load(&reading) < THREADS) {
        sched_yield();
    }
}

static void end_reads(crowd *self) {
    atomic_store(&stop, true);
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(self->threads[i], NULL);
    }
    ck_assert_uint_eq(stats().read_errors, 0);
    ck_assert_uint_eq(stats().damaged, 0);
}

START_TEST(readers_go_on_while_the_file_grows_and_is_reclaimed) {
    crowd readers;
    open_budget(4 * MIB);
    let_read(&readers);
    flood what = {4 * MIB, 200 * KIB, false, 10};
    flood_store(&what);
    end_reads(&readers);
}
END_TEST

/* What the first write sets up must not be taken from under those who read before it. */
START_TEST(readers_come_before_the_first_write_to_a_large_store) {
    enum { TIMES = 20 };
    for (unsigned i = 0; i < TIMES; i++) {
        crowd readers;
        open_budget(64 * MIB);
        for (unsigned n = 0; n < 3000 && i == 0; n++) {
            put_number(n);
        }
        close_store();
        open_budget(64 * MIB);
        let_read(&readers);
        put_number(i);
        end_reads(&readers);
        close_store();
    }
}
END_TEST

static void *look_for_what_is_void(void *context) {
    uint64_t *found = context;
    atomic_fetch_add(&reading, 1);
    while (!atomic_load(&stop)) {
        for (unsigned n = 0; n < 500; n++) {
            char key[32];
            snprintf(key, sizeof key, "key-%u", n);
            *found += firn_cold_locate(at.cold, hash_of(key)) == FIRN_OK;
            *found += head(key) == FIRN_OK;
        }
    }
    return NULL;
}

/* A reader that met a record must not believe it because the line that voids it was applied and
 * went meanwhile. */
START_TEST(what_is_void_is_not_seen_while_the_lines_are_applied) {
    enum { TIMES = 20, MANY = 500 };
    for (unsigned i = 0; i < TIMES; i++) {
        pthread_t threads[THREADS];
        uint64_t found[THREADS] = {0};
        open_budget(MIB);
        for (unsigned n = 0; n < MANY; n++) {
            put_number(n);
        }
        for (unsigned n = 0; n < MANY; n++) {
            char key[32];
            snprintf(key, sizeof key, "key-%u", n);
            ck_assert_int_eq(firn_cold_invalidate(at.cold, hash_of(key), at.version++), FIRN_OK);
        }
        crash_store();
        open_budget(MIB);
        atomic_store(&stop, false);
        atomic_store(&reading, 0);
        for (unsigned t = 0; t < THREADS; t++) {
            ck_assert_int_eq(pthread_create(&threads[t], NULL, look_for_what_is_void, &found[t]),
                             0);
        }
        while (atomic_load(&reading) < THREADS) {
            sched_yield();
        }
        ck_assert_int_eq(firn_cold_write(at.cold, NULL, 0, at.version), FIRN_OK);
        ck_assert(!firn_cold_has_old_lines(at.cold));
        atomic_store(&stop, true);
        for (unsigned t = 0; t < THREADS; t++) {
            pthread_join(threads[t], NULL);
            ck_assert_uint_eq(found[t], 0);
        }
        close_store();
    }
}
END_TEST

/* ---- a read-only handle beside a writer of another process ---- */

/* The backend's calls, of which one lets the writer go on when it has been made. */
static struct {
    firn_backend_ops ops;
    int go;   /* a byte: the writer is to commit */
    int done; /* a byte: it did */
} beside;

static void let_it_commit(void) {
    char byte = 'c';
    if (beside.go >= 0) {
        ck_assert_int_eq((int)write(beside.go, &byte, 1), 1);
        ck_assert_int_eq((int)read(beside.done, &byte, 1), 1);
        close(beside.go);
        beside.go = -1;
    }
}

static int look_up_slowly(firn_backend_session *session, uint64_t hash, uint64_t *sequence,
                          firn_bytes *record) {
    int result = firn_backend_log.lookup(session, hash, sequence, record);
    let_it_commit();
    return result;
}

static int look_up_many_slowly(firn_backend_session *session, size_t count, const uint64_t *hashes,
                               uint64_t *places) {
    int result = firn_backend_log.lookup_many(session, count, hashes, places);
    let_it_commit();
    return result;
}

static const char *const deleted_keys[] = {"one", "two", "three"};
enum { DELETED_KEYS = sizeof deleted_keys / sizeof *deleted_keys };

/* Deletes them, tells so, and commits that when it is asked to. */
static void delete_beside(int go, int done) {
    char byte = 'd';
    open_budget(8 * MIB);
    for (size_t i = 0; i < DELETED_KEYS; i++) {
        ck_assert_int_eq(firn_cold_invalidate(at.cold, hash_of(deleted_keys[i]), at.version++),
                         FIRN_OK);
    }
    ck_assert_int_eq((int)write(done, &byte, 1), 1);
    ck_assert_int_eq((int)read(go, &byte, 1), 1);
    put("another", "of the batch");
    ck_assert_int_eq((int)write(done, &byte, 1), 1);
    ck_assert_int_eq((int)read(go, &byte, 1), 0); /* the reader is done */
    close_store();
    _exit(0);
}

static pid_t open_beside_deleter(void) {
    int go[2];
    int done[2];
    char byte;
    open_budget(8 * MIB);
    for (size_t i = 0; i < DELETED_KEYS; i++) {
        put(deleted_keys[i], "value");
    }
    close_store();
    ck_assert_int_eq(pipe(go), 0);
    ck_assert_int_eq(pipe(done), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        close(go[1]);
        delete_beside(go[0], done[1]);
    }
    close(done[1]);
    ck_assert_int_eq((int)read(done[0], &byte, 1), 1);
    firn_cold_config config = config_of(8 * MIB);
    config.read_only = true;
    open_store(&config);
    beside.ops = firn_backend_log;
    beside.ops.lookup = look_up_slowly;
    beside.ops.lookup_many = look_up_many_slowly;
    beside.go = go[1];
    beside.done = done[0];
    at.cold->ops = &beside.ops;
    return child;
}

static void end_beside(pid_t child) {
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(beside.done);
    close_store();
}

START_TEST(what_was_deleted_is_not_found_while_the_writer_commits_it) {
    pid_t child = open_beside_deleter();
    expect_none(deleted_keys[0]);
    end_beside(child);
}
END_TEST

START_TEST(what_was_deleted_is_not_found_among_many_while_the_writer_commits_it) {
    pid_t child = open_beside_deleter();
    firn_cold_read_item items[DELETED_KEYS] = {0};
    landing landings[DELETED_KEYS] = {0};
    for (size_t i = 0; i < DELETED_KEYS; i++) {
        items[i].hash = hash_of(deleted_keys[i]);
        items[i].key = deleted_keys[i];
        items[i].key_size = strlen(deleted_keys[i]);
        items[i].place_context = &landings[i];
    }
    firn_cold_read_many(at.cold, items, DELETED_KEYS, land);
    for (size_t i = 0; i < DELETED_KEYS; i++) {
        ck_assert_int_eq(items[i].result, FIRN_NOT_FOUND);
        free(landings[i].bytes);
    }
    end_beside(child);
}
END_TEST

START_TEST(what_cannot_be_known_to_be_cleared_is_an_error) {
    open_budget(8 * MIB);
    put("key", "value");
    close_store();
    firn_cold_config config = config_of(8 * MIB);
    config.read_only = true;
    open_store(&config);
    expect("key", "value");
    char *file = join(at.path, FIRN_CLEARS_FILE);
    ck_assert_int_eq(symlink(FIRN_CLEARS_FILE, file), 0); /* it cannot be opened */
    ck_assert_int_eq(head("key"), FIRN_EIO);
    ck_assert_int_eq(unlink(file), 0);
    free(file);
    expect("key", "value");
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, what_was_written_is_read_after_a_reopening);
    tcase_add_test(tcase, an_empty_value_is_a_value);
    tcase_add_test(tcase, values_that_compress_take_less_and_come_back_whole);
    tcase_add_test(tcase, meta_tells_what_an_entry_is);
    tcase_add_test(tcase, an_expired_entry_is_not_found);
    tcase_add_test(tcase, an_older_version_never_replaces_a_newer_one);
    tcase_add_test(tcase, items_of_one_hash_are_applied_by_version_whatever_their_place);
    tcase_add_test(tcase, a_removal_spares_what_is_not_older);
    tcase_add_test(tcase, a_collision_is_a_miss_for_the_loser_and_never_a_wrong_answer);
    tcase_add_test(tcase, the_filter_knows_what_is_not_there_from_the_first_put_on);
    tcase_add_test(tcase, the_filter_comes_back_with_a_clean_close_and_is_made_anew_after_a_crash);
    tcase_add_test(tcase, the_filter_grows_with_the_store_and_forgets_what_was_reclaimed);
    tcase_add_test(tcase, without_a_filter_everything_may_be_there);
    tcase_add_test(tcase, a_filter_that_is_too_small_denies_nothing);
    tcase_add_test(tcase, an_invalidation_removes_what_is_older_with_the_next_batch);
    tcase_add_test(tcase, an_invalidation_survives_a_crash);
    tcase_add_test(tcase, lines_of_a_killed_process_hold_until_they_are_applied);
    tcase_add_test(tcase, a_clean_close_applies_the_journal);
    tcase_add_test(tcase, a_full_journal_says_so_and_a_write_empties_it);
    tcase_add_test(tcase, a_journal_that_voids_a_whole_small_store_is_applied);
    tcase_add_loop_test(tcase, ten_times_the_budget_goes_through_and_the_file_stays_within_it, 0,
                        (int)(sizeof floods / sizeof floods[0]));
    tcase_add_loop_test(tcase, a_value_of_the_largest_size_goes_into_a_full_store, 0, 5);
    tcase_add_loop_test(tcase, entries_that_have_expired_make_room_before_others_go, 0,
                        sizeof expiring_stores / sizeof expiring_stores[0]);
    tcase_add_test(tcase, what_expires_is_never_counted_too_early);
    tcase_add_test(tcase, each_reclaimed_record_is_told);
    tcase_add_test(tcase, overwriting_one_key_needs_no_reclaim);
    tcase_add_test(tcase, a_directory_of_others_is_left_alone);
    tcase_add_test(tcase, a_file_at_the_path_is_no_store);
    tcase_add_test(tcase, a_parent_that_is_missing_is_told);
    tcase_add_test(tcase, a_second_open_is_refused);
    tcase_add_test(tcase, another_process_may_read_but_not_write_beside_a_writer);
    tcase_add_test(tcase, reading_where_there_is_no_store_finds_none_and_makes_none);
    tcase_add_test(tcase, a_making_that_was_broken_off_is_begun_afresh);
    tcase_add_test(tcase, a_damaged_index_is_made_anew_from_the_log);
    tcase_add_test(tcase, a_store_whose_log_is_no_log_is_set_aside_when_asked);
    tcase_add_test(tcase, what_the_log_lost_is_a_miss_and_what_it_may_have_voided_too);
    tcase_add_test(tcase, after_a_power_loss_a_sound_store_is_kept);
    tcase_add_test(tcase, after_a_power_loss_a_torn_index_is_made_anew);
    tcase_add_test(tcase, after_a_power_loss_the_log_ends_where_it_is_torn);
    tcase_add_test(tcase, the_journal_knows_the_index_after_each_batch);
    tcase_add_test(tcase, what_a_damaged_record_said_is_known_from_what_was_noted);
    tcase_add_test(tcase, what_was_noted_tells_the_same_as_the_log);
    tcase_add_test(tcase, what_is_noted_of_a_few_keys_does_not_grow_for_ever);
    tcase_add_test(tcase, what_was_noted_is_believed_only_if_it_is_sound);
    tcase_add_test(tcase, a_torn_slot_of_the_journal_is_dropped_and_counted);
    tcase_add_test(tcase, a_damaged_journal_header_is_damage);
    tcase_add_test(tcase, another_format_is_refused_untouched);
    tcase_add_test(tcase, a_damaged_record_is_a_counted_miss_and_can_be_replaced);
    tcase_add_test(tcase, reclaim_passes_over_damaged_records);
    tcase_add_loop_test(tcase, any_call_of_the_backend_may_fail_and_nothing_void_returns, 0, 4);
    tcase_add_test(tcase, a_log_whose_newest_segments_are_lost_goes_on);
    tcase_add_test(tcase, after_a_power_loss_the_index_may_be_far_ahead_of_the_log_s_header);
    tcase_add_test(tcase, a_smaller_budget_leaves_the_accounts_right);
    tcase_add_test(tcase, a_small_store_does_not_take_much_memory_because_it_may_grow);
    tcase_add_test(tcase, a_reader_that_slept_counts_what_is_there);
    tcase_add_test(tcase, a_reader_is_told_when_the_log_was_made_anew);
    tcase_add_test(tcase, readers_go_on_while_the_file_grows_and_is_reclaimed);
    tcase_add_test(tcase, readers_come_before_the_first_write_to_a_large_store);
    tcase_add_test(tcase, what_is_void_is_not_seen_while_the_lines_are_applied);
    tcase_add_test(tcase, what_was_deleted_is_not_found_while_the_writer_commits_it);
    tcase_add_test(tcase, what_was_deleted_is_not_found_among_many_while_the_writer_commits_it);
    tcase_add_test(tcase, what_cannot_be_known_to_be_cleared_is_an_error);
}

static void add_thread_tests(TCase *tcase) {
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, readers_go_on_while_the_file_grows_and_is_reclaimed);
    tcase_add_test(tcase, readers_come_before_the_first_write_to_a_large_store);
    tcase_add_test(tcase, what_is_void_is_not_seen_while_the_lines_are_applied);
}

/* The tests of threads by themselves, for the thread sanitizer. */
int main(void) {
    return getenv("FIRN_THREADS_ONLY") != NULL ? run_suite("cold threads", add_thread_tests, 240)
                                               : run_suite("cold", add_tests, 240);
}
