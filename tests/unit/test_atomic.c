/* The atomic changes, batches of gets, a budget that changes, and a policy of the program's own: on
 * a cache in memory and on one with a store, whose entries may sleep below. */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <firn/firn.h>

#include "unit/suite.h"
#include "unit/support.h"

typedef struct ticking {
    uint64_t now_ms;
} ticking;

static uint64_t tick(void *context) {
    return ((ticking *)context)->now_ms;
}

static ticking clock_now;

static firn_cache *open_cache(const char *path, uint64_t hot_bytes) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = hot_bytes;
    options.threads = 0;
    options.clock = (firn_clock){tick, &clock_now};
    clock_now.now_ms = 1000000;
    firn_cache *cache;
    ck_assert_int_eq(firn_open(&cache, path, &options), FIRN_OK);
    return cache;
}

/* What the entry holds, as text; "" for none. */
static const char *value_of(firn_cache *cache, const char *key) {
    static char text[256];
    size_t size;
    int result = firn_get_copy(cache, key, strlen(key), text, sizeof text - 1, &size);
    text[result == FIRN_OK ? size : 0] = '\0';
    return text;
}

static uint64_t version_of(firn_cache *cache, const char *key) {
    firn_object *object;
    if (firn_get(cache, key, strlen(key), &object) != FIRN_OK) {
        return 0;
    }
    uint64_t version = firn_object_version(object);
    firn_object_unref(object);
    return version;
}

static int put(firn_cache *cache, const char *key, const char *value) {
    return firn_put(cache, key, strlen(key), value, strlen(value), NULL);
}

/* Makes all that is in memory leave it, so that it is found below. */
static void push_down(firn_cache *cache) {
    char key[32];
    static char value[2000];
    for (unsigned i = 0; i < 200; i++) {
        snprintf(key, sizeof key, "filler %u", i);
        ck_assert_int_eq(firn_put(cache, key, strlen(key), value, sizeof value, NULL), FIRN_OK);
    }
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
}

static void add_replace_and_swap(firn_cache *cache, bool below) {
    ck_assert_int_eq(firn_replace(cache, "a", 1, "1", 1, NULL), FIRN_NOT_FOUND);
    ck_assert_str_eq(value_of(cache, "a"), "");
    ck_assert_int_eq(firn_add(cache, "a", 1, "one", 3, NULL), FIRN_OK);
    if (below) {
        push_down(cache);
    }
    ck_assert_int_eq(firn_add(cache, "a", 1, "two", 3, NULL), FIRN_EXISTS);
    ck_assert_str_eq(value_of(cache, "a"), "one");
    if (below) {
        push_down(cache);
    }
    ck_assert_int_eq(firn_replace(cache, "a", 1, "three", 5, NULL), FIRN_OK);
    ck_assert_str_eq(value_of(cache, "a"), "three");
    uint64_t seen = version_of(cache, "a");
    if (below) {
        push_down(cache);
    }
    uint64_t version;
    ck_assert_int_eq(firn_compare_and_swap(cache, "a", 1, seen + 1000000, "x", 1, NULL, &version),
                     FIRN_CONFLICT);
    ck_assert_uint_eq(version, 0);
    ck_assert_int_eq(firn_compare_and_swap(cache, "a", 1, seen, "four", 4, NULL, &version),
                     FIRN_OK);
    ck_assert_uint_gt(version, seen);
    ck_assert_uint_eq(version_of(cache, "a"), version);
    ck_assert_int_eq(firn_compare_and_swap(cache, "a", 1, seen, "five", 4, NULL, NULL),
                     FIRN_CONFLICT);
    ck_assert_str_eq(value_of(cache, "a"), "four");
    ck_assert_int_eq(firn_delete(cache, "a", 1), FIRN_OK);
    ck_assert_int_eq(firn_compare_and_swap(cache, "a", 1, version, "six", 3, NULL, NULL),
                     FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_replace(cache, "a", 1, "six", 3, NULL), FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_add(cache, "a", 1, "seven", 5, NULL), FIRN_OK);
    ck_assert_str_eq(value_of(cache, "a"), "seven");
}

static void increments(firn_cache *cache, bool below) {
    int64_t value;
    ck_assert_int_eq(firn_increment(cache, "n", 1, 5, 100, NULL, &value), FIRN_OK);
    ck_assert_int_eq(value, 100);
    if (below) {
        push_down(cache);
    }
    ck_assert_int_eq(firn_increment(cache, "n", 1, 5, 100, NULL, &value), FIRN_OK);
    ck_assert_int_eq(value, 105);
    ck_assert_int_eq(firn_increment(cache, "n", 1, -205, 0, NULL, &value), FIRN_OK);
    ck_assert_int_eq(value, -100);
    int64_t stored;
    ck_assert_int_eq(firn_get_copy(cache, "n", 1, &stored, sizeof stored, NULL), FIRN_OK);
    ck_assert_int_eq(stored, -100);
    ck_assert_int_eq(firn_increment(cache, "max", 3, 0, INT64_MAX, NULL, &value), FIRN_OK);
    ck_assert_int_eq(firn_increment(cache, "max", 3, 1, 0, NULL, &value), FIRN_OK);
    ck_assert_int_eq(value, INT64_MIN); /* wraps */
    ck_assert_int_eq(put(cache, "text", "not a number"), FIRN_OK);
    ck_assert_int_eq(firn_increment(cache, "text", 4, 1, 0, NULL, &value), FIRN_EINVAL);
    ck_assert_int_eq(value, 0);
    ck_assert_str_eq(value_of(cache, "text"), "not a number");
    /* The expiry stays, unless options are given. */
    firn_put_options brief = FIRN_PUT_OPTIONS_INIT;
    brief.ttl_ms = 100;
    ck_assert_int_eq(firn_increment(cache, "brief", 5, 1, 7, &brief, NULL), FIRN_OK);
    clock_now.now_ms += 60;
    ck_assert_int_eq(firn_increment(cache, "brief", 5, 1, 0, NULL, &value), FIRN_OK);
    ck_assert_int_eq(value, 8);
    clock_now.now_ms += 60;
    ck_assert_int_eq(firn_increment(cache, "brief", 5, 1, 70, NULL, &value), FIRN_OK);
    ck_assert_int_eq(value, 70);
}

static void touches(firn_cache *cache, bool below) {
    ck_assert_int_eq(firn_touch(cache, "t", 1, 100), FIRN_NOT_FOUND);
    ck_assert_int_eq(put(cache, "t", "kept"), FIRN_OK); /* without an expiry */
    if (below) {
        push_down(cache);
    }
    ck_assert_int_eq(firn_touch(cache, "t", 1, 100), FIRN_OK);
    clock_now.now_ms += 80;
    ck_assert_str_eq(value_of(cache, "t"), "kept");
    if (below) {
        push_down(cache);
    }
    ck_assert_int_eq(firn_touch(cache, "t", 1, 100), FIRN_OK);
    clock_now.now_ms += 80;
    firn_object *object;
    ck_assert_int_eq(firn_get_and_touch(cache, "t", 1, FIRN_TTL_NONE, &object), FIRN_OK);
    ck_assert_mem_eq(firn_object_data(object), "kept", 4);
    firn_object_unref(object);
    clock_now.now_ms += 1000000;
    ck_assert_str_eq(value_of(cache, "t"), "kept");
    ck_assert_int_eq(firn_touch(cache, "t", 1, 50), FIRN_OK);
    clock_now.now_ms += 50;
    ck_assert_str_eq(value_of(cache, "t"), "");
    ck_assert_int_eq(firn_touch(cache, "t", 1, 50), FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_get_and_touch(cache, "t", 1, 50, &object), FIRN_NOT_FOUND);
    ck_assert_ptr_null(object);
}

static void batches(firn_cache *cache, bool below) {
    enum { COUNT = 45 };
    char names[COUNT][16];
    firn_key keys[COUNT];
    firn_object *objects[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        keys[i] = (firn_key){names[i], (size_t)snprintf(names[i], sizeof names[i], "k%u", i)};
        if (i % 3 != 0) {
            ck_assert_int_eq(put(cache, names[i], names[i]), FIRN_OK);
        }
    }
    if (below) {
        push_down(cache);
    }
    size_t found;
    ck_assert_int_eq(firn_get_many(cache, COUNT, keys, objects, &found), FIRN_OK);
    ck_assert_uint_eq(found, COUNT / 3 * 2);
    for (unsigned i = 0; i < COUNT; i++) {
        ck_assert_int_eq(objects[i] != NULL, i % 3 != 0);
        if (objects[i] != NULL) {
            ck_assert_uint_eq(firn_object_size(objects[i]), keys[i].size);
            ck_assert_mem_eq(firn_object_data(objects[i]), names[i], keys[i].size);
        }
        firn_object_unref(objects[i]);
    }
    ck_assert_int_eq(firn_get_many(cache, 0, NULL, NULL, &found), FIRN_OK);
    ck_assert_int_eq(firn_get_many(cache, 1, NULL, objects, &found), FIRN_EINVAL);
    keys[1].size = 0;
    ck_assert_int_eq(firn_get_many(cache, 3, keys, objects, NULL), FIRN_EINVAL);
    ck_assert_ptr_null(objects[2]);
}

typedef void (*part)(firn_cache *cache, bool below);

static const part parts[] = {add_replace_and_swap, increments, touches, batches};

START_TEST(in_memory_alone) {
    for (unsigned i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        firn_cache *cache = open_cache(NULL, 1 << 20);
        parts[i](cache, false);
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
    }
}
END_TEST

START_TEST(with_a_store_whose_entries_are_in_memory_or_below) {
    for (unsigned i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        for (unsigned below = 0; below < 2; below++) {
            char *path = scratch_path("atomic");
            firn_cache *cache = open_cache(path, 64 << 10);
            parts[i](cache, below != 0);
            ck_assert_int_eq(firn_close(cache), FIRN_OK);
            remove_tree(path);
        }
    }
}
END_TEST

START_TEST(a_touched_expiry_survives_a_restart) {
    char *path = scratch_path("atomic");
    firn_cache *cache = open_cache(path, 1 << 20);
    ck_assert_int_eq(put(cache, "a", "value"), FIRN_OK);
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    ck_assert_int_eq(firn_touch(cache, "a", 1, 500), FIRN_OK);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    cache = open_cache(path, 1 << 20);
    ck_assert_str_eq(value_of(cache, "a"), "value");
    clock_now.now_ms += 500;
    ck_assert_str_eq(value_of(cache, "a"), "");
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

enum { THREADS = 4, ROUNDS = 3000 };

static void *count_up(void *context) {
    firn_cache *cache = context;
    for (unsigned i = 0; i < ROUNDS; i++) {
        int64_t value;
        if (firn_increment(cache, "shared", 6, 1, 1, NULL, &value) != FIRN_OK) {
            abort();
        }
        firn_object *object;
        uint64_t number;
        int result;
        do {
            if (firn_get(cache, "swapped", 7, &object) != FIRN_OK) {
                abort();
            }
            memcpy(&number, firn_object_data(object), sizeof number);
            number++;
            result = firn_compare_and_swap(cache, "swapped", 7, firn_object_version(object),
                                           &number, sizeof number, NULL, NULL);
            firn_object_unref(object);
        } while (result == FIRN_CONFLICT);
        if (result != FIRN_OK) {
            abort();
        }
    }
    return NULL;
}

START_TEST(no_change_is_lost_between_threads) {
    firn_cache *cache = open_cache(NULL, 1 << 20);
    uint64_t number = 0;
    ck_assert_int_eq(firn_put(cache, "swapped", 7, &number, sizeof number, NULL), FIRN_OK);
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, count_up, cache);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    int64_t value;
    ck_assert_int_eq(firn_increment(cache, "shared", 6, 0, 0, NULL, &value), FIRN_OK);
    ck_assert_int_eq(value, THREADS * ROUNDS);
    ck_assert_int_eq(firn_get_copy(cache, "swapped", 7, &number, sizeof number, NULL), FIRN_OK);
    ck_assert_uint_eq(number, THREADS * ROUNDS);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

static uint64_t held(firn_cache *cache) {
    firn_stats stats = FIRN_STATS_INIT;
    ck_assert_int_eq(firn_get_stats(cache, &stats), FIRN_OK);
    return stats.hot_bytes;
}

static void fill(firn_cache *cache, unsigned count) {
    static char value[1000];
    for (unsigned i = 0; i < count; i++) {
        ck_assert_int_eq(firn_put(cache, &i, sizeof i, value, sizeof value, NULL), FIRN_OK);
    }
}

START_TEST(the_budget_can_be_changed_while_in_use) {
    firn_cache *cache = open_cache(NULL, 8 << 20);
    fill(cache, 20000);
    ck_assert_uint_le(held(cache), 8 << 20);
    ck_assert_uint_ge(held(cache), 7 << 20);
    ck_assert_int_eq(firn_set_hot_bytes(cache, 2 << 20), FIRN_OK);
    ck_assert_uint_le(held(cache), 2 << 20);
    ck_assert_int_eq(firn_set_hot_bytes(cache, 16 << 20), FIRN_OK);
    fill(cache, 30000);
    ck_assert_uint_le(held(cache), 16 << 20);
    ck_assert_uint_ge(held(cache), 15 << 20);
    ck_assert_int_eq(firn_set_hot_bytes(cache, 5), FIRN_EINVAL);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

/* First in, first out, by a program's own hand. */
typedef struct fifo {
    firn_entry *newest;
    firn_entry *oldest;
} fifo;

static int fifo_init(void *state, const firn_policy_host *host, uint64_t capacity) {
    (void)state;
    void *memory = firn_policy_alloc(host, 100);
    firn_policy_free(host, memory, 100);
    return memory != NULL && capacity > 0 ? FIRN_OK : FIRN_ENOMEM;
}

static void fifo_fini(void *state) {
    (void)state;
}

static void fifo_resize(void *state, uint64_t capacity) {
    (void)state;
    (void)capacity;
}

static void fifo_insert(void *state, firn_entry *entry) {
    fifo *self = state;
    firn_policy_link(entry, NULL, self->newest);
    if (self->newest != NULL) {
        firn_policy_link(self->newest, entry, firn_policy_next(self->newest));
    } else {
        self->oldest = entry;
    }
    self->newest = entry;
}

static void fifo_remove(void *state, firn_entry *entry, int evicted) {
    (void)evicted;
    fifo *self = state;
    firn_entry *prev = firn_policy_prev(entry);
    firn_entry *next = firn_policy_next(entry);
    if (prev != NULL) {
        firn_policy_link(prev, firn_policy_prev(prev), next);
    } else {
        self->newest = next;
    }
    if (next != NULL) {
        firn_policy_link(next, prev, firn_policy_next(next));
    } else {
        self->oldest = prev;
    }
}

static void fifo_replace(void *state, firn_entry *old, firn_entry *entry) {
    fifo_remove(state, old, 0);
    fifo_insert(state, entry);
}

static firn_entry *fifo_victim(void *state) {
    return ((fifo *)state)->oldest;
}

static firn_entry *fifo_walk(void *state, const firn_entry *entry, unsigned order) {
    fifo *self = state;
    if (order == FIRN_HOTTEST_FIRST) {
        return entry != NULL ? firn_policy_next(entry) : self->newest;
    }
    return entry != NULL ? firn_policy_prev(entry) : self->oldest;
}

START_TEST(a_program_may_bring_its_own_policy) {
    const firn_policy own = {
        sizeof(firn_policy), "own-fifo",  sizeof(fifo), FIRN_HITS_MARK, 1,    fifo_init,
        fifo_fini,           fifo_resize, fifo_insert,  fifo_insert,    NULL, fifo_replace,
        fifo_remove,         fifo_victim, fifo_walk,    NULL,
    };
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 256 << 10;
    options.hot_policy_ops = &own;
    options.shards = 1;
    firn_cache *cache;
    ck_assert_int_eq(firn_open(&cache, NULL, &options), FIRN_OK);
    static char value[1000];
    for (unsigned i = 0; i < 1000; i++) {
        ck_assert_int_eq(firn_put(cache, &i, sizeof i, value, sizeof value, NULL), FIRN_OK);
        unsigned first = 0;
        if (i == 100) {
            ck_assert_int_eq(firn_contains(cache, &first, sizeof first), FIRN_OK);
        }
    }
    /* The newest are there, without a gap, and nothing else. */
    unsigned there = 0;
    for (unsigned i = 1000; i > 0; i--) {
        unsigned key = i - 1;
        if (firn_contains(cache, &key, sizeof key) != FIRN_OK) {
            break;
        }
        there++;
    }
    firn_stats stats = FIRN_STATS_INIT;
    ck_assert_int_eq(firn_get_stats(cache, &stats), FIRN_OK);
    ck_assert_uint_eq(stats.hot_entries, there);
    ck_assert_uint_gt(there, 100);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, in_memory_alone);
    tcase_add_test(tcase, with_a_store_whose_entries_are_in_memory_or_below);
    tcase_add_test(tcase, a_touched_expiry_survives_a_restart);
    tcase_add_test(tcase, no_change_is_lost_between_threads);
    tcase_add_test(tcase, the_budget_can_be_changed_while_in_use);
    tcase_add_test(tcase, a_program_may_bring_its_own_policy);
}

int main(void) {
    return run_suite("atomic", add, 120);
}
