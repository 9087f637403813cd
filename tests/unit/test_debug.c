/* What is told of the objects there are, and of handles that were not given back. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <firn/firn.h>

#include "unit/entries.h"
#include "unit/suite.h"
#include "unit/support.h"

/* A value that holds one other. */
static void pair_visit(void *context, const void *value, size_t value_size, firn_visitor visitor,
                       void *visitor_context) {
    (void)context;
    (void)value_size;
    visitor(visitor_context, *(firn_object *const *)value);
}

static void pair_drop(void *context, void *value, size_t value_size) {
    (void)context;
    (void)value_size;
    firn_object_unref(*(firn_object **)value);
}

static const firn_type pair_type = {.size = sizeof(firn_type),
                                    .name = "pair",
                                    .value_size = sizeof(firn_object *),
                                    .visit = pair_visit,
                                    .drop = pair_drop};

/* ---- leaks ---- */

typedef struct report {
    unsigned count;
    firn_leak leaks[16];
    char keys[16][16];
    bool drop; /* the handles there are */
} report;

static void note_leak(void *context, const firn_leak *leak) {
    report *self = context;
    ck_assert_uint_lt(self->count, 16);
    size_t size;
    const void *key = firn_object_key(leak->object, &size);
    ck_assert_uint_lt(size, 16);
    memcpy(self->keys[self->count], key, size);
    ck_assert_uint_eq(leak->size, sizeof *leak);
    self->leaks[self->count++] = *leak;
    for (uint64_t i = 0; self->drop && i < leak->references; i++) {
        firn_object_unref(leak->object);
    }
}

/* One with no references, if it was not told of. */
static firn_leak leak_of(const report *self, const char *key) {
    firn_leak leak = {.references = 0};
    for (unsigned i = 0; i < self->count; i++) {
        if (strcmp(self->keys[i], key) == 0) {
            leak = self->leaks[i];
        }
    }
    return leak;
}

static firn_cache *open_reporting(const char *path, report *to, unsigned track) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.threads = 0;
    options.hot_bytes = 1 << 20;
    options.leak_report = note_leak;
    options.leak_context = to;
    options.track_handles = track;
    memset(to, 0, sizeof *to);
    firn_cache *cache = open_with(path, &options);
    ck_assert_int_eq(firn_register_type(cache, &pair_type), FIRN_OK);
    return cache;
}

static void put(firn_cache *cache, const char *key) {
    put_text(cache, key, "value");
}

static firn_object *got(firn_cache *cache, const char *key) {
    firn_object *object;
    ck_assert_int_eq(firn_get(cache, key, strlen(key), &object), FIRN_OK);
    return object;
}

START_TEST(nothing_is_told_when_all_was_given_back) {
    report told;
    char *path = scratch_path("none");
    for (int round = 0; round < 2; round++) {
        firn_cache *cache = open_reporting(round == 0 ? NULL : path, &told, 1);
        for (int i = 0; i < 3000; i++) {
            char value[1000] = {0};
            ck_assert_int_eq(firn_put(cache, &i, sizeof i, value, sizeof value, NULL), FIRN_OK);
            firn_object *object;
            ck_assert_int_eq(firn_get(cache, &i, sizeof i, &object), FIRN_OK);
            firn_object_unref(firn_object_ref(object));
            firn_object_unref(object);
        }
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
        ck_assert_uint_eq(told.count, 0);
    }
    remove_tree(path);
}
END_TEST

START_TEST(each_object_that_is_held_is_told_of) {
    report told;
    firn_cache *cache = open_reporting(NULL, &told, 0);
    put(cache, "twice");
    put(cache, "deleted");
    put(cache, "not held");
    firn_object *twice = got(cache, "twice");
    firn_object *deleted = got(cache, "deleted");
    firn_object_ref(twice);
    firn_object_unref(got(cache, "not held"));
    ck_assert_int_eq(firn_delete(cache, "deleted", 7), FIRN_OK);
    firn_object *made;
    ck_assert_int_eq(firn_object_new(cache, "made", 4, 3, NULL, &made), FIRN_OK);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    ck_assert_uint_eq(told.count, 3);
    ck_assert_uint_eq(leak_of(&told, "twice").references, 2);
    ck_assert_uint_eq(leak_of(&told, "twice").taken, 2);
    ck_assert_ptr_eq(leak_of(&told, "twice").object, twice);
    ck_assert_uint_eq(leak_of(&told, "twice").place_count, 0);
    ck_assert_uint_eq(leak_of(&told, "deleted").references, 1);
    ck_assert_uint_eq(leak_of(&told, "made").references, 1);
    /* They are still good. */
    ck_assert_mem_eq(firn_object_data(twice), "value", 5);
    firn_object_unref(twice);
    firn_object_unref(twice);
    firn_object_unref(deleted);
    firn_object_unref(made);
}
END_TEST

START_TEST(handles_may_be_dropped_by_the_report) {
    report told;
    firn_cache *cache = open_reporting(NULL, &told, 1);
    put(cache, "a");
    put(cache, "b");
    firn_object_ref(got(cache, "a"));
    got(cache, "b");
    told.drop = true;
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    ck_assert_uint_eq(told.count, 2);
}
END_TEST

START_TEST(what_a_held_value_holds_is_told_of) {
    report told;
    firn_cache *cache = open_reporting(NULL, &told, 0);
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.type = &pair_type;
    put(cache, "inner");
    firn_object *outer;
    ck_assert_int_eq(firn_object_new(cache, "outer", 5, sizeof(firn_object *), &options, &outer),
                     FIRN_OK);
    firn_object *inner = got(cache, "inner");
    memcpy(firn_object_value(outer), &inner, sizeof inner);
    ck_assert_int_eq(firn_put_object(cache, outer), FIRN_OK);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    ck_assert_uint_eq(told.count, 2);
    ck_assert_uint_eq(leak_of(&told, "inner").references, 1);
    firn_object_unref(outer);
}
END_TEST

/* Functions that are not part of their callers, so that their addresses tell. */

static __attribute__((noinline)) firn_object *get_here(firn_cache *cache) {
    firn_object *object = NULL;
    ck_assert_int_eq(firn_get(cache, "k", 1, &object), FIRN_OK);
    return object;
}

static __attribute__((noinline)) firn_object *pin_here(firn_cache *cache) {
    firn_object *object = NULL;
    ck_assert_int_eq(firn_pin(cache, "k", 1, &object), FIRN_OK);
    return object;
}

static __attribute__((noinline)) firn_object *touch_here(firn_cache *cache) {
    firn_object *object = NULL;
    ck_assert_int_eq(firn_get_and_touch(cache, "k", 1, 0, &object), FIRN_OK);
    return object;
}

static __attribute__((noinline)) firn_object *get_many_here(firn_cache *cache) {
    firn_object *object = NULL;
    firn_key key = {"k", 1};
    ck_assert_int_eq(firn_get_many(cache, 1, &key, &object, NULL), FIRN_OK);
    return object;
}

static __attribute__((noinline)) firn_object *walk_here(firn_cache *cache) {
    firn_object *object = NULL;
    firn_cursor *cursor;
    ck_assert_int_eq(firn_cursor_open(cache, NULL, 0, 0, &cursor), FIRN_OK);
    ck_assert_int_eq(firn_cursor_next(cursor, &object), FIRN_OK);
    firn_cursor_close(cursor);
    return object;
}

static __attribute__((noinline)) firn_object *upgrade_here(firn_cache *cache) {
    firn_object *object = NULL;
    firn_object *from = NULL;
    firn_weak *weak;
    firn_key key = {"k", 1};
    ck_assert_int_eq(firn_get_many(cache, 1, &key, &from, NULL), FIRN_OK);
    ck_assert_int_eq(firn_weak_new(cache, from, &weak), FIRN_OK);
    ck_assert_int_eq(firn_weak_get(weak, &object), FIRN_OK);
    firn_object_unref(from);
    firn_weak_free(weak);
    return object;
}

static __attribute__((noinline)) firn_object *ref_here(firn_cache *cache) {
    firn_object *object = NULL;
    ck_assert_int_eq(firn_get(cache, "k", 1, &object), FIRN_OK);
    firn_object *more = firn_object_ref(object);
    firn_object_unref(object);
    return more;
}

static __attribute__((noinline)) firn_object *make_here(firn_cache *cache) {
    firn_object *object = NULL;
    ck_assert_int_eq(firn_object_new(cache, "k", 1, 1, NULL, &object), FIRN_OK);
    return object;
}

typedef firn_object *(*taker)(firn_cache *cache);

static const taker takers[] = {get_here,  pin_here,     touch_here, get_many_here,
                               walk_here, upgrade_here, ref_here,   make_here};

enum { TAKERS = sizeof takers / sizeof takers[0] };

/* The taker that begins last before the address. */
static taker taker_at(const void *address) {
    taker best = NULL;
    for (unsigned i = 0; i < TAKERS; i++) {
        if ((uintptr_t)takers[i] < (uintptr_t)address && (uintptr_t)takers[i] > (uintptr_t)best) {
            best = takers[i];
        }
    }
    return best;
}

START_TEST(the_place_of_each_taker_is_told) {
    for (unsigned i = 0; i < TAKERS; i++) {
        report told;
        firn_cache *cache = open_reporting(NULL, &told, 1);
        put(cache, "k");
        firn_object *object = takers[i](cache);
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
        ck_assert_uint_eq(told.count, 1);
        ck_assert_uint_ge(told.leaks[0].place_count, 1);
        const firn_place *place = &told.leaks[0].places[0];
        ck_assert_msg(taker_at(place->address) == takers[i], "taker %u: %p", i, place->address);
        ck_assert_ptr_nonnull(place->module);
        ck_assert_msg(strstr(place->module, "test_debug") != NULL, "%s", place->module);
        firn_object_unref(object);
    }
}
END_TEST

START_TEST(the_last_places_are_told_newest_first) {
    report told;
    firn_cache *cache = open_reporting(NULL, &told, 1);
    put(cache, "k");
    firn_object *object = get_here(cache);
    for (int i = 0; i < 20; i++) {
        firn_object_unref(touch_here(cache));
    }
    firn_object_unref(pin_here(cache));
    ck_assert_int_eq(firn_unpin(cache, "k", 1), FIRN_OK);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    ck_assert_uint_eq(told.leaks[0].taken, 22);
    ck_assert_uint_eq(told.leaks[0].references, 1);
    ck_assert_uint_eq(told.leaks[0].place_count, FIRN_PLACES_MAX);
    ck_assert(taker_at(told.leaks[0].places[0].address) == pin_here);
    for (unsigned i = 1; i < FIRN_PLACES_MAX; i++) {
        ck_assert(taker_at(told.leaks[0].places[i].address) == touch_here);
    }
    firn_object_unref(object);
}
END_TEST

/* ---- dumps ---- */

typedef struct text {
    size_t size;
    char bytes[100000];
} text;

static void append(void *context, const char *line) {
    text *self = context;
    size_t size = strlen(line);
    ck_assert_ptr_null(strchr(line, '\n'));
    if (self->size + size + 2 < sizeof self->bytes) {
        memcpy(self->bytes + self->size, line, size);
        self->size += size;
        self->bytes[self->size++] = '\n';
        self->bytes[self->size] = '\0';
    }
}

static void expect(const text *in, const char *words) {
    ck_assert_msg(strstr(in->bytes, words) != NULL, "'%s' is not in:\n%s", words, in->bytes);
}

START_TEST(a_dump_tells_what_links_keep_alive) {
    static text dumped;
    report told;
    firn_cache *cache = open_reporting(NULL, &told, 0);
    firn_link links[] = {{FIRN_LINK_KEEPS, "chunk", 5, 0}, {FIRN_LINK_DEPENDS, "source", 6, 0}};
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.owned = 1;
    ck_assert_int_eq(firn_put(cache, "chunk", 5, "c", 1, &options), FIRN_OK);
    options = (firn_put_options)FIRN_PUT_OPTIONS_INIT;
    options.links = links;
    options.link_count = 2;
    options.intern = FIRN_INTERN_YES;
    ck_assert_int_eq(firn_put(cache, "holder", 6, "shared", 6, &options), FIRN_OK);
    ck_assert_int_eq(firn_debug_dump(cache, append, &dumped), FIRN_OK);
    expect(&dumped, "    keeps \"chunk\"\n    depends on \"source\"\n    shares the value of 0x");
    expect(&dumped, "indexed resident owned");
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(a_dump_tells_of_everything) {
    static text dumped;
    firn_options options = FIRN_OPTIONS_INIT;
    options.threads = 0;
    firn_cache *cache = open_with(NULL, &options);
    ck_assert_int_eq(firn_register_type(cache, &pair_type), FIRN_OK);
    put(cache, "plain");
    put(cache, "held");
    put(cache, "od\"d\1");
    firn_object *held = got(cache, "held");
    firn_object_ref(held);
    ck_assert_int_eq(firn_pin(cache, "held", 4, NULL), FIRN_OK);
    firn_put_options put_options = FIRN_PUT_OPTIONS_INIT;
    put_options.type = &pair_type;
    firn_object *pair;
    ck_assert_int_eq(firn_object_new(cache, "pair", 4, sizeof held, &put_options, &pair), FIRN_OK);
    memcpy(firn_object_value(pair), &held, sizeof held);
    ck_assert_int_eq(firn_put_object(cache, pair), FIRN_OK);
    ck_assert_int_eq(firn_debug_dump(cache, append, &dumped), FIRN_OK);
    expect(&dumped, "\"plain\" 5 bytes, bytes, version 1, 0 references, 0 pins: indexed resident");
    expect(&dumped, "\"held\" 5 bytes, bytes, version 2, 2 references, 1 pins: indexed resident");
    expect(&dumped, "\"od\\x22d\\x01\"");
    expect(&dumped, "\"pair\" 8 bytes, pair, version 4, 1 references, 0 pins: indexed");
    expect(&dumped, "holds ");
    expect(&dumped, "4 objects told of; in all 4 of ");
    ck_assert_int_eq(firn_delete(cache, "pair", 4), FIRN_OK);
    memset(&dumped, 0, sizeof dumped);
    ck_assert_int_eq(firn_debug_dump(cache, append, &dumped), FIRN_OK);
    expect(&dumped, "\"pair\" 8 bytes, pair, version 4, 1 references, 0 pins: detached");
    firn_object_unref(pair);
    firn_object_unref(held);
    ck_assert_int_eq(firn_debug_dump(NULL, append, &dumped), FIRN_EINVAL);
    ck_assert_int_eq(firn_debug_dump(cache, NULL, &dumped), FIRN_EINVAL);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

typedef struct beside {
    firn_cache *cache;
    atomic_bool stop;
} beside;

/* Circles of one come and go. */
static void *churn(void *context) {
    beside *self = context;
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.type = &pair_type;
    for (unsigned i = 0; !atomic_load(&self->stop); i++) {
        unsigned key = i % 50;
        firn_object *object;
        ck_assert_int_eq(
            firn_object_new(self->cache, &key, sizeof key, sizeof object, &options, &object),
            FIRN_OK);
        firn_object *own = firn_object_ref(object);
        memcpy(firn_object_value(object), &own, sizeof own);
        ck_assert_int_eq(firn_put_object(self->cache, object), FIRN_OK);
        firn_object_unref(object);
        if (i % 8 == 0) {
            ck_assert_int_ge(firn_collect(self->cache, 50, NULL), FIRN_OK);
        }
    }
    return NULL;
}

START_TEST(dumps_go_beside_everything) {
    static text dumped;
    report told;
    beside self = {.cache = open_reporting(NULL, &told, 1)};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, churn, &self), 0);
    }
    for (int i = 0; i < 300; i++) {
        dumped.size = 0;
        ck_assert_int_eq(firn_debug_dump(self.cache, append, &dumped), FIRN_OK);
    }
    atomic_store(&self.stop, true);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    ck_assert_int_eq(firn_close(self.cache), FIRN_OK);
    ck_assert_uint_eq(told.count, 0);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, a_dump_tells_what_links_keep_alive);
    tcase_add_test(tcase, nothing_is_told_when_all_was_given_back);
    tcase_add_test(tcase, each_object_that_is_held_is_told_of);
    tcase_add_test(tcase, handles_may_be_dropped_by_the_report);
    tcase_add_test(tcase, what_a_held_value_holds_is_told_of);
    tcase_add_test(tcase, the_place_of_each_taker_is_told);
    tcase_add_test(tcase, the_last_places_are_told_newest_first);
    tcase_add_test(tcase, a_dump_tells_of_everything);
    tcase_add_test(tcase, dumps_go_beside_everything);
}

int main(void) {
    return run_suite("debug", add_tests, 120);
}
