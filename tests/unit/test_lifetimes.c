/* Pins and weak references: what keeps an entry where, and what remembers it without keeping it. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <firn/firn.h>

#include "unit/entries.h"
#include "unit/suite.h"
#include "unit/support.h"

static firn_cache *open_small(const char *path, const char *policy, unsigned shards) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.threads = 0;
    options.hot_bytes = 1 << 20;
    options.shards = shards;
    options.hot_policy = policy;
    return open_with(path, &options);
}

static int get(firn_cache *cache, const char *key, firn_object **object) {
    return firn_get(cache, key, strlen(key), object);
}

/* Several times more than fits. */
static void flood(firn_cache *cache) {
    push_out(cache, 4000);
}

static bool is_value(const firn_object *object, const char *value) {
    return firn_object_size(object) == strlen(value) &&
           memcmp(firn_object_data(object), value, strlen(value)) == 0;
}

/* ---- pins ---- */

START_TEST(a_pinned_entry_is_never_evicted) {
    const char *name;
    for (unsigned i = 0; (name = firn_policy_name(i)) != NULL; i++) {
        firn_cache *cache = open_small(NULL, name, 1);
        put_text(cache, "pinned", "stays");
        put_text(cache, "other", "goes");
        firn_object *pinned;
        ck_assert_int_eq(firn_pin(cache, "pinned", 6, &pinned), FIRN_OK);
        ck_assert_int_eq(firn_pin(cache, "pinned", 6, NULL), FIRN_OK);
        flood(cache);
        firn_object *object;
        if (strcmp(name, "lru") == 0) { /* others may judge otherwise */
            ck_assert_int_eq(get(cache, "other", &object), FIRN_NOT_FOUND);
        }
        ck_assert_int_eq(get(cache, "pinned", &object), FIRN_OK);
        ck_assert_ptr_eq(object, pinned);
        firn_object_unref(object);
        firn_object_unref(pinned);
        ck_assert_uint_eq(stats_of(cache).pinned_entries, 1);
        /* Let go as often as it was pinned, it is like any other. */
        ck_assert_int_eq(firn_unpin(cache, "pinned", 6), FIRN_OK);
        flood(cache);
        ck_assert_int_eq(firn_contains(cache, "pinned", 6), FIRN_OK);
        ck_assert_int_eq(firn_unpin(cache, "pinned", 6), FIRN_OK);
        ck_assert_int_eq(firn_unpin(cache, "pinned", 6), FIRN_NOT_FOUND);
        ck_assert_uint_eq(stats_of(cache).pinned_entries, 0);
        ck_assert_uint_eq(stats_of(cache).pinned_bytes, 0);
        flood(cache);
        flood(cache);
        if (strcmp(name, "lru") == 0) {
            ck_assert_int_eq(firn_contains(cache, "pinned", 6), FIRN_NOT_FOUND);
        }
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
    }
}
END_TEST

static uint64_t next_random(uint64_t *seed) {
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 33;
}

/* Slabs that are sparse are given up while entries come and go, and what lies in them moves: but
 * not from beneath who has just put it there. */
START_TEST(a_pin_holds_where_entries_move_out_of_slabs) {
    enum { BELOW = 3000, ROUNDS = 400, PUTS = 400, PINS = 12 };
    char *path = scratch_path("pins-move");
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 512 << 10;
    options.shards = 1;
    options.threads = 0;
    options.compression_level = FIRN_COMPRESSION_OFF;
    options.warm_save_ms = FIRN_WARM_SAVE_OFF;
    options.promotion = "kth-hit";
    options.promotion_hits = 255;
    firn_cache *cache = open_with(path, &options);
    static const char value[950] = "x";
    char key[32];
    for (unsigned i = 0; i < BELOW; i++) {
        int size = snprintf(key, sizeof key, "below %u", i);
        ck_assert_int_eq(firn_put(cache, key, (size_t)size, value, sizeof value, NULL), FIRN_OK);
    }
    unsigned pinned = 0;
    uint64_t seed = 7;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < PUTS; i++) {
            int size = snprintf(key, sizeof key, "%u %u", round, i);
            ck_assert_int_eq(firn_put(cache, key, (size_t)size, value, sizeof value, NULL),
                             FIRN_OK);
        }
        work_off(cache);
        for (unsigned i = 0; i < PUTS; i += 1 + (unsigned)(next_random(&seed) % 4)) {
            int size = snprintf(key, sizeof key, "%u %u", round, i);
            ck_assert_int_ge(firn_delete(cache, key, (size_t)size), 0);
        }
        work_off(cache);
        for (unsigned i = 0; i < PINS; i++) {
            firn_object *object;
            int size =
                snprintf(key, sizeof key, "below %u", (unsigned)(next_random(&seed) % BELOW));
            int result = firn_pin(cache, key, (size_t)size, &object);
            ck_assert(result == FIRN_OK || result == FIRN_NOT_FOUND);
            if (result == FIRN_OK) {
                firn_explanation told = {.size = sizeof told};
                ck_assert_int_eq(firn_explain(cache, key, (size_t)size, &told), FIRN_OK);
                ck_assert(told.pinned);
                firn_object_unref(object);
                ck_assert_int_eq(firn_unpin(cache, key, (size_t)size), FIRN_OK);
                pinned++;
            }
        }
    }
    ck_assert_uint_gt(pinned, 0);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(a_pin_goes_over_to_the_new_value_and_ends_with_the_entry) {
    firn_cache *cache = open_small(NULL, "lru", 1);
    put_text(cache, "k", "one");
    ck_assert_int_eq(firn_pin(cache, "k", 1, NULL), FIRN_OK);
    put_text(cache, "k", "another value");
    flood(cache);
    firn_object *object;
    ck_assert_int_eq(get(cache, "k", &object), FIRN_OK);
    ck_assert(is_value(object, "another value"));
    firn_object_unref(object);
    ck_assert_int_eq(firn_delete(cache, "k", 1), FIRN_OK);
    ck_assert_uint_eq(stats_of(cache).pinned_bytes, 0);
    put_text(cache, "k", "new");
    ck_assert_int_eq(firn_unpin(cache, "k", 1), FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_pin(cache, "missing", 7, &object), FIRN_NOT_FOUND);
    ck_assert_ptr_null(object);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(pins_leave_room_for_others) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 8 << 20;
    options.shards = 1;
    firn_cache *cache = open_with(NULL, &options);
    char filler[80000] = {0};
    int result = FIRN_OK;
    int pinned = 0;
    while (result == FIRN_OK) {
        ck_assert_int_eq(firn_put(cache, &pinned, sizeof pinned, filler, sizeof filler, NULL),
                         FIRN_OK);
        result = firn_pin(cache, &pinned, sizeof pinned, NULL);
        pinned += result == FIRN_OK;
    }
    ck_assert_int_eq(result, FIRN_ENOSPC);
    int first = 0; /* once more takes nothing more */
    ck_assert_int_eq(firn_pin(cache, &first, sizeof first, NULL), FIRN_OK);
    ck_assert_int_eq(firn_unpin(cache, &first, sizeof first), FIRN_OK);
    ck_assert_int_gt(pinned, 60);
    ck_assert_int_lt(pinned, 80);
    flood(cache);
    for (int i = 0; i < pinned; i++) {
        ck_assert_int_eq(firn_unpin(cache, &i, sizeof i), FIRN_OK);
    }
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(a_pin_brings_an_entry_up_and_flushing_writes_it) {
    char *path = scratch_path("pins");
    firn_options options = FIRN_OPTIONS_INIT;
    options.threads = 0;
    options.hot_bytes = 1 << 20;
    options.promotion = "kth-hit";
    firn_cache *cache = open_with(path, &options);
    put_text(cache, "k", "below");
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    flood(cache);
    uint64_t hot_hits = stats_of(cache).hot_hits;
    ck_assert_int_eq(firn_pin(cache, "k", 1, NULL), FIRN_OK);
    ck_assert_uint_eq(stats_of(cache).hot_hits, hot_hits); /* it had gone down */
    flood(cache);
    firn_object *object;
    ck_assert_int_eq(get(cache, "k", &object), FIRN_OK);
    firn_object_unref(object);
    ck_assert_uint_eq(stats_of(cache).hot_hits, hot_hits + 1);
    put_text(cache, "k", "changed");
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    cache = open_with(path, &options);
    ck_assert_int_eq(get(cache, "k", &object), FIRN_OK);
    ck_assert(is_value(object, "changed"));
    firn_object_unref(object);
    ck_assert_uint_eq(stats_of(cache).pinned_entries, 0);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    options.read_only = 1;
    cache = open_with(path, &options);
    ck_assert_int_eq(firn_pin(cache, "k", 1, NULL), FIRN_EREADONLY);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

/* ---- no unneeded objects ---- */

static atomic_ulong allocations;

static void *counting_alloc(void *context, size_t size) {
    (void)context;
    atomic_fetch_add(&allocations, 1);
    return aligned_alloc(64, (size + 63) / 64 * 64);
}

static void counting_free(void *context, void *memory, size_t size) {
    (void)context;
    (void)size;
    free(memory);
}

static void hit_everything(firn_cache *cache, int count) {
    firn_object *objects[16];
    firn_key keys[16];
    int numbers[16];
    for (int i = 0; i < count; i++) {
        firn_object *object;
        ck_assert_int_eq(firn_get(cache, &i, sizeof i, &object), FIRN_OK);
        firn_object_unref(firn_object_ref(object));
        firn_object_unref(object);
        char copy[200];
        ck_assert_int_eq(firn_get_copy(cache, &i, sizeof i, copy, sizeof copy, NULL), FIRN_OK);
        ck_assert_int_eq(firn_contains(cache, &i, sizeof i), FIRN_OK);
    }
    for (int i = 0; i < 16; i++) {
        numbers[i] = i;
        keys[i] = (firn_key){&numbers[i], sizeof numbers[i]};
    }
    ck_assert_int_eq(firn_get_many(cache, 16, keys, objects, NULL), FIRN_OK);
    for (int i = 0; i < 16; i++) {
        firn_object_unref(objects[i]);
    }
}

START_TEST(a_hot_hit_allocates_nothing_and_freed_blocks_are_used_again) {
    const char *name;
    char value[150] = {0};
    enum { COUNT = 2000 };
    for (unsigned i = 0; (name = firn_policy_name(i)) != NULL; i++) {
        firn_options options = FIRN_OPTIONS_INIT;
        options.hot_bytes = 16 << 20;
        options.hot_policy = name;
        options.allocator = (firn_allocator){counting_alloc, counting_free, NULL};
        firn_cache *cache = open_with(NULL, &options);
        for (int n = 0; n < COUNT; n++) {
            ck_assert_int_eq(firn_put(cache, &n, sizeof n, value, sizeof value, NULL), FIRN_OK);
        }
        unsigned long before = atomic_load(&allocations);
        ck_assert_uint_gt(before, 0);
        for (int round = 0; round < 5; round++) {
            hit_everything(cache, COUNT);
        }
        ck_assert_uint_eq(atomic_load(&allocations), before);
        /* Overwriting takes the blocks that overwriting gave back; the pool asks for none. */
        for (int round = 0; round < 5; round++) {
            for (int n = 0; n < COUNT; n++) {
                firn_object *object;
                ck_assert_int_eq(firn_object_new(cache, &n, sizeof n, sizeof value, NULL, &object),
                                 FIRN_OK);
                memset(firn_object_value(object), round, sizeof value);
                ck_assert_int_eq(firn_put_object(cache, object), FIRN_OK);
                firn_object_unref(object);
            }
        }
        ck_assert_uint_le(atomic_load(&allocations), before + 1); /* of a slab, if they were full */
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
    }
}
END_TEST

/* ---- weak references ---- */

static firn_weak *weak_of(firn_cache *cache, const char *key) {
    firn_object *object;
    firn_weak *weak;
    ck_assert_int_eq(get(cache, key, &object), FIRN_OK);
    ck_assert_int_eq(firn_weak_new(cache, object, &weak), FIRN_OK);
    firn_object_unref(object);
    return weak;
}

START_TEST(a_weak_reference_keeps_nothing) {
    firn_cache *cache = open_small(NULL, "lru", 1);
    put_text(cache, "k", "value");
    firn_weak *weak = weak_of(cache, "k");
    firn_object *object;
    ck_assert_int_eq(firn_weak_get(weak, &object), FIRN_OK);
    ck_assert(is_value(object, "value"));
    firn_object_unref(object);
    put_text(cache, "k", "newer");
    ck_assert_int_eq(firn_weak_get(weak, &object), FIRN_OK);
    ck_assert(is_value(object, "newer"));
    firn_object_unref(object);
    flood(cache);
    ck_assert_int_eq(firn_weak_get(weak, &object), FIRN_NOT_FOUND);
    ck_assert_ptr_null(object);
    ck_assert_uint_eq(stats_of(cache).detached_bytes, 0);
    put_text(cache, "k", "back");
    ck_assert_int_eq(firn_weak_get(weak, &object), FIRN_OK);
    firn_object_unref(object);
    ck_assert_int_eq(firn_delete(cache, "k", 1), FIRN_OK);
    ck_assert_int_eq(firn_weak_get(weak, &object), FIRN_NOT_FOUND);
    firn_weak_free(weak);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(a_weak_reference_gives_the_object_that_somebody_holds) {
    char *path = scratch_path("held");
    firn_cache *cache = open_small(path, "lru", 1);
    put_text(cache, "k", "held");
    firn_object *held;
    ck_assert_int_eq(get(cache, "k", &held), FIRN_OK);
    firn_weak *weak;
    ck_assert_int_eq(firn_weak_new(cache, held, &weak), FIRN_OK);
    flood(cache); /* now it is below, and only we hold it */
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    uint64_t promotions = stats_of(cache).promotions;
    firn_object *object;
    ck_assert_int_eq(firn_weak_get(weak, &object), FIRN_OK);
    ck_assert_ptr_eq(object, held);
    firn_object_unref(object);
    ck_assert_uint_eq(stats_of(cache).promotions, promotions + 1);
    ck_assert_int_eq(get(cache, "k", &object), FIRN_OK); /* it is resident again */
    ck_assert_ptr_eq(object, held);
    firn_object_unref(object);
    /* When it goes down once more with nobody holding it, another comes up. */
    firn_object_unref(held);
    flood(cache);
    ck_assert_int_eq(firn_weak_get(weak, &object), FIRN_OK);
    ck_assert(is_value(object, "held"));
    /* An old version that is held is not given for a new one below. */
    put_text(cache, "k", "overwritten");
    flood(cache);
    firn_object *now;
    ck_assert_int_eq(firn_weak_get(weak, &now), FIRN_OK);
    ck_assert(is_value(now, "overwritten"));
    firn_object_unref(now);
    ck_assert_int_eq(firn_delete(cache, "k", 1), FIRN_OK);
    ck_assert_int_eq(firn_weak_get(weak, &now), FIRN_NOT_FOUND);
    firn_object_unref(object);
    firn_weak_free(weak);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(a_weak_reference_may_outlive_the_cache) {
    firn_cache *cache = open_small(NULL, "lru", 1);
    put_text(cache, "a", "held");
    put_text(cache, "b", "not held");
    firn_object *held;
    ck_assert_int_eq(get(cache, "a", &held), FIRN_OK);
    firn_weak *a = weak_of(cache, "a");
    firn_weak *b = weak_of(cache, "b");
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    firn_object *object;
    ck_assert_int_eq(firn_weak_get(a, &object), FIRN_OK);
    ck_assert_ptr_eq(object, held);
    firn_object_unref(object);
    ck_assert_int_eq(firn_weak_get(b, &object), FIRN_NOT_FOUND);
    firn_object_unref(held);
    ck_assert_int_eq(firn_weak_get(a, &object), FIRN_NOT_FOUND);
    firn_weak_free(a);
    firn_weak_free(b);
    firn_weak_free(NULL);
}
END_TEST

START_TEST(many_weak_references_to_many_objects) {
    enum { COUNT = 3000 };
    static firn_weak *weak[COUNT][2];
    firn_options options = FIRN_OPTIONS_INIT;
    firn_cache *cache = open_with(NULL, &options);
    for (int i = 0; i < COUNT; i++) {
        firn_object *object;
        ck_assert_int_eq(firn_put(cache, &i, sizeof i, &i, sizeof i, NULL), FIRN_OK);
        ck_assert_int_eq(firn_get(cache, &i, sizeof i, &object), FIRN_OK);
        ck_assert_int_eq(firn_weak_new(cache, object, &weak[i][0]), FIRN_OK);
        ck_assert_int_eq(firn_weak_new(cache, object, &weak[i][1]), FIRN_OK);
        firn_object_unref(object);
    }
    for (int i = 0; i < COUNT; i += 2) {
        firn_weak_free(weak[i][i / 2 % 2]);
        weak[i][i / 2 % 2] = NULL;
        ck_assert_int_eq(firn_delete(cache, &i, sizeof i), FIRN_OK);
    }
    for (int i = 0; i < COUNT; i++) {
        for (int n = 0; n < 2; n++) {
            firn_object *object;
            if (weak[i][n] != NULL) {
                ck_assert_int_eq(firn_weak_get(weak[i][n], &object),
                                 i % 2 == 0 ? FIRN_NOT_FOUND : FIRN_OK);
                firn_object_unref(object);
            }
            firn_weak_free(weak[i][n]);
        }
    }
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(arguments_are_checked) {
    firn_cache *cache = open_small(NULL, "lru", 1);
    firn_cache *other = open_small(NULL, "lru", 1);
    put_text(cache, "k", "v");
    firn_object *object;
    firn_weak *weak = (firn_weak *)cache;
    ck_assert_int_eq(get(cache, "k", &object), FIRN_OK);
    ck_assert_int_eq(firn_weak_new(other, object, &weak), FIRN_EINVAL);
    ck_assert_ptr_null(weak);
    ck_assert_int_eq(firn_weak_new(cache, NULL, &weak), FIRN_EINVAL);
    ck_assert_int_eq(firn_weak_new(cache, object, NULL), FIRN_EINVAL);
    ck_assert_int_eq(firn_weak_get(NULL, &object), FIRN_EINVAL);
    ck_assert_int_eq(get(cache, "k", &object), FIRN_OK);
    firn_object_unref(object);
    firn_object_unref(object);
    ck_assert_int_eq(firn_object_new(cache, "new", 3, 1, NULL, &object), FIRN_OK);
    ck_assert_int_eq(firn_weak_new(cache, object, &weak), FIRN_EINVAL);
    firn_object_unref(object);
    ck_assert_int_eq(firn_pin(NULL, "k", 1, NULL), FIRN_EINVAL);
    ck_assert_int_eq(firn_pin(cache, "", 0, NULL), FIRN_EINVAL);
    ck_assert_int_eq(firn_unpin(NULL, "k", 1), FIRN_EINVAL);
    ck_assert_int_eq(firn_close(other), FIRN_OK);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

/* ---- threads ---- */

enum { KEYS = 40, THREADS = 4, ROUNDS = 4000 };

typedef struct race {
    firn_cache *cache;
    firn_weak *weak[KEYS];
    atomic_uint number;
} race;

/* Each value tells its key. */
static void put_key(race *self, unsigned key) {
    char value[600] = {0};
    snprintf(value, sizeof value, "%u", key);
    ck_assert_int_eq(firn_put(self->cache, &key, sizeof key, value, sizeof value, NULL), FIRN_OK);
}

/* Everybody does everything to few entries, of which the hot tier holds about a half. */
static void *race_all(void *context) {
    race *self = context;
    unsigned number = atomic_fetch_add(&self->number, 1);
    unsigned state = number * 7919 + 1;
    for (unsigned i = 0; i < ROUNDS; i++) {
        state = state * 1664525 + 1013904223;
        unsigned key = (state >> 8) % KEYS;
        firn_object *object = NULL;
        switch (state >> 24 & 7) {
        case 0:
            put_key(self, key);
            break;
        case 1:
            ck_assert_int_ge(firn_delete(self->cache, &key, sizeof key), 0);
            break;
        case 2:
            if (firn_pin(self->cache, &key, sizeof key, &object) == FIRN_OK) {
                ck_assert_int_ge(firn_unpin(self->cache, &key, sizeof key), 0);
            }
            break;
        case 3:
            ck_assert_int_ge(firn_get(self->cache, &key, sizeof key, &object), 0);
            break;
        default:
            ck_assert_int_ge(firn_weak_get(self->weak[key], &object), 0);
        }
        if (object != NULL) {
            char expected[16];
            snprintf(expected, sizeof expected, "%u", key);
            ck_assert_str_eq((const char *)firn_object_data(object), expected);
            firn_object_unref(object);
        }
    }
    return NULL;
}

static void run_race(const char *path) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 1 << 20;
    options.shards = 2;
    race self = {.cache = open_with(path, &options)};
    ck_assert_int_eq(firn_set_hot_bytes(self.cache, 64 << 10), FIRN_OK);
    for (unsigned i = 0; i < KEYS; i++) {
        firn_object *object;
        put_key(&self, i);
        ck_assert_int_eq(firn_get(self.cache, &i, sizeof i, &object), FIRN_OK);
        ck_assert_int_eq(firn_weak_new(self.cache, object, &self.weak[i]), FIRN_OK);
        firn_object_unref(object);
    }
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, race_all, &self), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    for (unsigned i = 0; i < KEYS; i++) {
        firn_weak_free(self.weak[i]);
    }
    ck_assert_uint_eq(stats_of(self.cache).pinned_entries, 0);
    ck_assert_int_eq(firn_close(self.cache), FIRN_OK);
}

START_TEST(weak_references_race_with_everything) {
    char *path = scratch_path("race");
    run_race(NULL);
    run_race(path);
    remove_tree(path);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, a_pinned_entry_is_never_evicted);
    tcase_add_test(tcase, a_pin_holds_where_entries_move_out_of_slabs);
    tcase_add_test(tcase, a_pin_goes_over_to_the_new_value_and_ends_with_the_entry);
    tcase_add_test(tcase, pins_leave_room_for_others);
    tcase_add_test(tcase, a_pin_brings_an_entry_up_and_flushing_writes_it);
    tcase_add_test(tcase, a_hot_hit_allocates_nothing_and_freed_blocks_are_used_again);
    tcase_add_test(tcase, a_weak_reference_keeps_nothing);
    tcase_add_test(tcase, a_weak_reference_gives_the_object_that_somebody_holds);
    tcase_add_test(tcase, a_weak_reference_may_outlive_the_cache);
    tcase_add_test(tcase, many_weak_references_to_many_objects);
    tcase_add_test(tcase, arguments_are_checked);
    tcase_add_test(tcase, weak_references_race_with_everything);
}

int main(void) {
    return run_suite("lifetimes", add_tests, 120);
}
