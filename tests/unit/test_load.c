/* Loading: by a clock that stands still until it is moved, and by loaders that wait at gates, so
 * that what happens meanwhile is known. */
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include <firn/firn.h>

#include "base/hash.h"
#include "fault/faulty.h"
#include "object/object.h"
#include "unit/entries.h"
#include "unit/suite.h"
#include "unit/support.h"

static void at_clock(void);

static uint64_t gated_clock(void *context) {
    at_clock();
    return fake_clock(context);
}

static firn_options gated(void) {
    firn_options options = clocked();
    options.clock.now_ms = gated_clock;
    return options;
}

/* Where one thread waits until another opens it. */
typedef struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned arrived;
    bool open;
} gate;

#define GATE_INIT                                                                                  \
    { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, false }

static void gate_pass(gate *self) {
    pthread_mutex_lock(&self->lock);
    self->arrived++;
    pthread_cond_broadcast(&self->changed);
    while (!self->open) {
        pthread_cond_wait(&self->changed, &self->lock);
    }
    pthread_mutex_unlock(&self->lock);
}

/* Until so many stand before it, or passed. */
static void gate_await(gate *self, unsigned count) {
    pthread_mutex_lock(&self->lock);
    while (self->arrived < count) {
        pthread_cond_wait(&self->changed, &self->lock);
    }
    pthread_mutex_unlock(&self->lock);
}

static void gate_open(gate *self) {
    pthread_mutex_lock(&self->lock);
    self->open = true;
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->lock);
}

/* The thread passes a gate when it asks for the time so many times more: so it can be held within a
 * call. */
static _Thread_local gate *clock_gate;
static _Thread_local unsigned clock_calls;

static void at_clock(void) {
    if (clock_gate != NULL && --clock_calls == 0) {
        gate *here = clock_gate;
        clock_gate = NULL;
        gate_pass(here);
    }
}

/* Where entries come from. */
typedef struct source {
    firn_cache *cache;
    const char *value;
    int result; /* not FIRN_OK: what is returned in place of a value */
    gate *gate; /* each load waits here first; NULL: none does */
    gate *other_gate;
    void (*meanwhile)(struct source *self, firn_load *load); /* called in the load; may be NULL */
    _Atomic unsigned calls;
    _Atomic unsigned keys; /* of all calls */
    uint64_t seed;
} source;

static int load(void *context, const void *key, size_t key_size, firn_load *one) {
    source *self = context;
    (void)key;
    (void)key_size;
    atomic_fetch_add(&self->calls, 1);
    /* What the source says when it is asked, and not when it answers. */
    const char *value = self->value;
    int result = self->result;
    if (self->gate != NULL) {
        gate_pass(self->gate);
    }
    if (self->meanwhile != NULL) {
        self->meanwhile(self, one);
    }
    return result == FIRN_OK ? firn_load_bytes(one, value, strlen(value)) : result;
}

static firn_loader loader_of(source *self) {
    firn_loader loader = FIRN_LOADER_INIT;
    loader.load = load;
    loader.context = self;
    return loader;
}

/* The result, and that the value is the one that is expected. NULL: none. */
static int get(firn_cache *cache, const char *key, const firn_loader *loader,
               const char *expected) {
    firn_object *object;
    int result = firn_get_or_load(cache, key, strlen(key), loader, &object);
    if (expected == NULL) {
        ck_assert_ptr_null(object);
        return result;
    }
    ck_assert_msg(object != NULL, "%s: %s", key, firn_strerror(result));
    ck_assert_uint_eq(firn_object_size(object), strlen(expected));
    ck_assert_mem_eq(firn_object_data(object), expected, strlen(expected));
    ck_assert_ptr_null(firn_object_value(object));
    firn_object_unref(object);
    return result;
}

/* The same by a plain get. */
static bool holds(firn_cache *cache, const char *key, const char *expected) {
    char copy[64];
    size_t size;
    int result = firn_get_copy(cache, key, strlen(key), copy, sizeof copy, &size);
    if (expected == NULL) {
        return result == FIRN_NOT_FOUND;
    }
    return result == FIRN_OK && size == strlen(expected) && memcmp(copy, expected, size) == 0;
}

/* A get on a thread of its own. */
typedef struct getter {
    pthread_t thread;
    firn_cache *cache;
    const char *key;
    const firn_loader *loader;
    int result;
    char value[64];
} getter;

static void *getter_run(void *context) {
    getter *self = context;
    firn_object *object;
    self->result =
        firn_get_or_load(self->cache, self->key, strlen(self->key), self->loader, &object);
    if (object != NULL) {
        size_t size = firn_object_size(object);
        memcpy(self->value, firn_object_data(object), size < 63 ? size : 63);
        firn_object_unref(object);
    }
    return NULL;
}

static void getter_start(getter *self, firn_cache *cache, const char *key,
                         const firn_loader *loader) {
    *self = (getter){.cache = cache, .key = key, .loader = loader};
    ck_assert_int_eq(pthread_create(&self->thread, NULL, getter_run, self), 0);
}

static void getter_end(getter *self, int result, const char *value) {
    pthread_join(self->thread, NULL);
    ck_assert_int_eq(self->result, result);
    ck_assert_str_eq(self->value, value);
}

/* One that is held on its way. */
typedef struct held_getter {
    getter getter;
    gate *gate;
    unsigned calls; /* of the clock, before it is held */
} held_getter;

/* In memory, in both tiers, and on disk alone. */
enum { KINDS = 3 };

static firn_cache *open_kind(unsigned kind, char **path) {
    firn_options options = gated();
    options.hot_bytes = kind == 2 ? 0 : 1 << 20;
    *path = scratch_path("load");
    return open_with(kind == 0 ? NULL : *path, &options);
}

static void close_kind(firn_cache *cache, char *path) {
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}

START_TEST(what_is_not_there_is_loaded_once) {
    for (unsigned kind = 0; kind < KINDS; kind++) {
        char *path;
        firn_cache *cache = open_kind(kind, &path);
        source from = {.value = "one"};
        firn_loader loader = loader_of(&from);
        loader.ttl_ms = 100;
        ck_assert_int_eq(get(cache, "k", &loader, "one"), FIRN_OK);
        from.value = "two";
        ck_assert_int_eq(get(cache, "k", &loader, "one"), FIRN_OK);
        ck_assert(holds(cache, "k", "one"));
        fake_now_ms += 100;
        ck_assert(holds(cache, "k", NULL));
        ck_assert_int_eq(get(cache, "k", &loader, "two"), FIRN_OK);
        ck_assert_uint_eq(from.calls, 2);
        firn_stats stats = stats_of(cache);
        ck_assert_uint_eq(stats.loads, 2);
        ck_assert_uint_eq(stats.refreshes, 0);
        ck_assert_uint_eq(stats.load_failures, 0);
        ck_assert_uint_eq(stats.loads_joined, 0);
        ck_assert_uint_eq(stats.puts, 2);
        ck_assert_uint_eq(stats.gets, 5);
        ck_assert_uint_eq(stats.misses, 3);
        close_kind(cache, path);
    }
}
END_TEST

START_TEST(absence_is_remembered_if_asked) {
    for (unsigned kind = 0; kind < KINDS; kind++) {
        char *path;
        firn_cache *cache = open_kind(kind, &path);
        source from = {.value = "one", .result = FIRN_NOT_FOUND};
        firn_loader loader = loader_of(&from);
        loader.ttl_ms = 1000;
        ck_assert_int_eq(get(cache, "k", &loader, NULL), FIRN_NOT_FOUND);
        ck_assert_int_eq(get(cache, "k", &loader, NULL), FIRN_NOT_FOUND);
        ck_assert_uint_eq(from.calls, 2);
        loader.negative_ttl_ms = 50;
        ck_assert_int_eq(get(cache, "k", &loader, NULL), FIRN_NOT_FOUND);
        ck_assert_uint_eq(stats_of(cache).negative_hits, 0);
        fake_now_ms += 49;
        ck_assert_int_eq(get(cache, "k", &loader, NULL), FIRN_NOT_FOUND);
        ck_assert_uint_eq(stats_of(cache).negative_hits, 1);
        ck_assert_uint_eq(from.calls, 3);
        ck_assert(holds(cache, "k", NULL));
        ck_assert_int_eq(firn_contains(cache, "k", 1), FIRN_NOT_FOUND);
        fake_now_ms += 1;
        from.result = FIRN_OK;
        ck_assert_int_eq(get(cache, "k", &loader, "one"), FIRN_OK);
        ck_assert_uint_eq(from.calls, 4);
        /* A put ends it at once. */
        from.result = FIRN_NOT_FOUND;
        ck_assert_int_eq(get(cache, "other", &loader, NULL), FIRN_NOT_FOUND);
        ck_assert_int_eq(firn_add(cache, "other", 5, "put", 3, NULL), FIRN_OK);
        ck_assert_int_eq(get(cache, "other", &loader, "put"), FIRN_OK);
        ck_assert_uint_eq(stats_of(cache).load_failures, 0);
        close_kind(cache, path);
    }
}
END_TEST

START_TEST(what_the_source_lost_goes) {
    for (unsigned kind = 0; kind < KINDS; kind++) {
        char *path;
        firn_cache *cache = open_kind(kind, &path);
        source from = {.value = "one"};
        firn_loader loader = loader_of(&from);
        loader.ttl_ms = 100;
        loader.stale_ms = 100;
        ck_assert_int_eq(get(cache, "k", &loader, "one"), FIRN_OK);
        fake_now_ms += 150;
        from.result = FIRN_NOT_FOUND;
        ck_assert_int_eq(get(cache, "k", &loader, NULL), FIRN_NOT_FOUND);
        from.result = FIRN_EUSER;
        ck_assert_int_eq(get(cache, "k", &loader, NULL), FIRN_EUSER); /* nothing stale is left */
        close_kind(cache, path);
    }
}
END_TEST

static int load_nothing(void *context, const void *key, size_t key_size, firn_load *one) {
    (void)context;
    (void)key;
    (void)key_size;
    (void)one;
    return FIRN_OK;
}

static int load_badly(void *context, const void *key, size_t key_size, firn_load *one) {
    (void)context;
    (void)key;
    (void)key_size;
    firn_load_options(one)->idle_ms = 5;
    firn_load_options(one)->stale_ms = 5;
    ck_assert_ptr_null(firn_load_value(one, 3));
    return FIRN_OK;
}

START_TEST(mistakes_are_refused) {
    firn_options options = gated();
    firn_cache *cache = open_with(NULL, &options);
    source from = {.value = "one"};
    firn_loader loader = FIRN_LOADER_INIT;
    firn_object *object;
    ck_assert_int_eq(get(cache, "k", &loader, NULL), FIRN_EINVAL); /* no function */
    loader = loader_of(&from);
    ck_assert_int_eq(firn_get_or_load(cache, "", 0, &loader, &object), FIRN_EINVAL);
    ck_assert_int_eq(firn_get_or_load(cache, "k", 1, NULL, &object), FIRN_EINVAL);
    ck_assert_int_eq(firn_get_or_load(cache, "k", 1, &loader, NULL), FIRN_EINVAL);
    ck_assert_int_eq(firn_get_or_load(NULL, "k", 1, &loader, &object), FIRN_EINVAL);
    ck_assert_int_eq(firn_get_or_load_many(NULL, 0, NULL, &loader, NULL, NULL), FIRN_EINVAL);
    ck_assert_int_eq(firn_get_or_load_many(cache, 1, NULL, &loader, &object, NULL), FIRN_EINVAL);
    firn_key empty = {"", 0};
    ck_assert_int_eq(firn_get_or_load_many(cache, 1, &empty, &loader, &object, NULL), FIRN_EINVAL);
    ck_assert_int_eq(firn_get_or_load_many(cache, 0, NULL, &loader, NULL, NULL), FIRN_OK);
    const double wrong[] = {-1, INFINITY, NAN};
    for (unsigned i = 0; i < 3; i++) {
        loader.beta = wrong[i];
        ck_assert_int_eq(get(cache, "k", &loader, NULL), FIRN_EINVAL);
    }
    loader = loader_of(&from);
    loader.refresh = 2;
    ck_assert_int_eq(get(cache, "k", &loader, NULL), FIRN_EINVAL);
    loader = loader_of(&from);
    loader.size = 3;
    ck_assert_int_eq(get(cache, "k", &loader, NULL), FIRN_EINVAL);
    loader = loader_of(&from);
    from.result = FIRN_EXISTS; /* no answer of a loader */
    ck_assert_int_eq(get(cache, "k", &loader, NULL), FIRN_EINVAL);
    ck_assert_uint_eq(from.calls, 1);
    loader.load = load_nothing;
    ck_assert_int_eq(get(cache, "k", &loader, NULL), FIRN_EINVAL);
    loader.load = load_badly;
    ck_assert_int_eq(get(cache, "k", &loader, NULL), FIRN_EINVAL);
    ck_assert_uint_eq(stats_of(cache).load_failures, 3);
    ck_assert_uint_eq(stats_of(cache).hot_entries, 0);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(errors_of_the_loader_are_given) {
    firn_options options = gated();
    firn_cache *cache = open_with(NULL, &options);
    source from = {.value = "one", .result = FIRN_EUSER - 7};
    firn_loader loader = loader_of(&from);
    ck_assert_int_eq(get(cache, "k", &loader, NULL), FIRN_EUSER - 7);
    ck_assert_str_eq(firn_strerror(FIRN_EUSER - 7), "an error of the program's own");
    from.result = FIRN_EIO;
    ck_assert_int_eq(get(cache, "k", &loader, NULL), FIRN_EIO);
    from.result = FIRN_OK;
    ck_assert_int_eq(get(cache, "k", &loader, "one"), FIRN_OK);
    firn_stats stats = stats_of(cache);
    ck_assert_uint_eq(stats.loads, 3);
    ck_assert_uint_eq(stats.load_failures, 2);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

/* ---- the value, its options, its type */

static int load_traits(void *context, const void *key, size_t key_size, firn_load *one) {
    (void)context;
    static const char *const tags[] = {"red", "round"};
    const firn_link link = {.kind = FIRN_LINK_KEEPS, .key = "target", .key_size = 6};
    firn_put_options *options = firn_load_options(one);
    ck_assert_uint_eq(options->ttl_ms, 500);
    ck_assert_uint_eq(options->stale_ms, 80);
    options->ttl_ms = 300;
    options->tags = tags;
    options->tag_count = 2;
    if (key_size == 1 && *(const char *)key == 'c') {
        options->cost_us = 4321;
    } else {
        options->links = &link;
        options->link_count = 1;
    }
    char *value = firn_load_value(one, 5);
    memcpy(value, "wrong", 5);
    value = firn_load_value(one, 3); /* thought better of it */
    ck_assert_ptr_nonnull(value);
    memcpy(value, "abc", 3);
    return FIRN_OK;
}

static int count_link(void *context, const firn_link *link) {
    ++*(unsigned *)context;
    ck_assert_mem_eq(link->key, "target", 6);
    return 0;
}

START_TEST(a_load_says_how_its_value_is_put) {
    for (unsigned kind = 0; kind < KINDS; kind++) {
        char *path;
        firn_cache *cache = open_kind(kind, &path);
        firn_loader loader = FIRN_LOADER_INIT;
        loader.load = load_traits;
        loader.ttl_ms = 500;
        loader.stale_ms = 30;
        loader.stale_if_error_ms = 80;
        ck_assert_int_eq(get(cache, "k", &loader, "abc"), FIRN_OK);
        ck_assert_int_eq(get(cache, "c", &loader, "abc"), FIRN_OK);
        const uint64_t tags[] = {firn_tag_hash("red"), firn_tag_hash("round")};
        for (unsigned i = 0; i < 2; i++) {
            firn_object *object;
            ck_assert_int_eq(firn_get(cache, i == 0 ? "k" : "c", 1, &object), FIRN_OK);
            firn_traits traits = firn_object_get_traits(object);
            ck_assert_uint_eq(traits.expires_ms, fake_now_ms + 380);
            ck_assert_uint_eq(traits.stale_ms, 80);
            ck_assert_uint_eq(traits.tag_count, 2);
            ck_assert_mem_eq(traits.tags, tags, sizeof tags);
            ck_assert_uint_ge(traits.cost_us, 1);
            ck_assert_int_eq(traits.cost_us == 4321, i == 1);
            unsigned links = 0;
            ck_assert_int_eq(firn_object_links(object, count_link, &links), 0);
            ck_assert_uint_eq(links, i == 0);
            firn_object_unref(object);
        }
        close_kind(cache, path);
    }
}
END_TEST

static int load_interned(void *context, const void *key, size_t key_size, firn_load *one) {
    (void)context;
    (void)key;
    (void)key_size;
    firn_load_options(one)->intern = FIRN_INTERN_YES;
    char value[200];
    memset(value, 'x', sizeof value);
    return firn_load_bytes(one, value, sizeof value);
}

START_TEST(values_are_interned) {
    for (unsigned kind = 0; kind < 2; kind++) {
        char *path;
        firn_cache *cache = open_kind(kind, &path);
        firn_loader loader = FIRN_LOADER_INIT;
        loader.load = load_interned;
        for (unsigned i = 0; i < 4; i++) {
            firn_object *object;
            const char *key = i % 2 == 0 ? "a" : "b";
            ck_assert_int_eq(firn_get_or_load(cache, key, 1, &loader, &object), FIRN_OK);
            ck_assert_uint_eq(firn_object_size(object), 200);
            ck_assert_ptr_null(firn_object_value(object));
            uint64_t version = firn_object_version(object);
            firn_object_unref(object);
            ck_assert_int_eq(firn_get(cache, key, 1, &object), FIRN_OK);
            ck_assert_uint_eq(firn_object_version(object), version);
            firn_object_unref(object);
        }
        ck_assert_uint_eq(stats_of(cache).interned, 2);
        ck_assert_uint_eq(stats_of(cache).loads, 2);
        close_kind(cache, path);
    }
}
END_TEST

typedef struct thing {
    uint64_t number;
} thing;

static _Atomic unsigned dropped;

static int thing_encode(void *context, const void *value, size_t value_size,
                        firn_encoder *encoder) {
    (void)context;
    return firn_encode_bytes(encoder, value, value_size);
}

static int thing_decode(void *context, uint32_t version, const void *bytes, size_t size,
                        void *value, size_t value_size) {
    (void)context;
    (void)version;
    (void)value_size;
    memcpy(value, bytes, size);
    return FIRN_OK;
}

static void thing_drop(void *context, void *value, size_t value_size) {
    (void)context;
    (void)value;
    (void)value_size;
    dropped++;
}

static const firn_type thing_type = {.size = sizeof(firn_type),
                                     .name = "thing",
                                     .version = 1,
                                     .value_size = sizeof(thing),
                                     .encode = thing_encode,
                                     .decode = thing_decode,
                                     .drop = thing_drop};

static int load_thing(void *context, const void *key, size_t key_size, firn_load *one) {
    source *self = context;
    firn_load_options(one)->type = &thing_type;
    thing *value = firn_load_value(one, sizeof *value);
    ck_assert_ptr_nonnull(value);
    ck_assert_uint_eq(value->number, 0);
    value->number = 42;
    if (self->meanwhile != NULL) {
        self->meanwhile(self, one);
    }
    (void)key;
    (void)key_size;
    return self->result;
}

static void put_over(source *self, firn_load *one) {
    (void)one;
    ck_assert_int_eq(firn_put(self->cache, "k", 1, "put", 3, NULL), FIRN_OK);
}

static void expect_thing(firn_cache *cache, const firn_loader *loader) {
    firn_object *object;
    ck_assert_int_eq(firn_get_or_load(cache, "k", 1, loader, &object), FIRN_OK);
    ck_assert_ptr_eq(firn_object_type(object), &thing_type);
    ck_assert_uint_eq(((const thing *)firn_object_data(object))->number, 42);
    ck_assert_ptr_null(firn_object_value(object));
    firn_object_unref(object);
}

START_TEST(values_of_types_are_dropped_once) {
    firn_options options = gated();
    firn_cache *cache = open_with(NULL, &options);
    ck_assert_int_eq(firn_register_type(cache, &thing_type), FIRN_OK);
    source from = {.cache = cache};
    firn_loader loader = loader_of(&from);
    loader.load = load_thing;
    dropped = 0;
    expect_thing(cache, &loader); /* kept */
    expect_thing(cache, &loader);
    ck_assert_uint_eq(dropped, 0);
    ck_assert_int_eq(firn_delete(cache, "k", 1), FIRN_OK);
    ck_assert_uint_eq(dropped, 1);
    from.meanwhile = put_over; /* given, and not kept */
    expect_thing(cache, &loader);
    ck_assert_uint_eq(dropped, 2);
    ck_assert(holds(cache, "k", "put"));
    ck_assert_int_eq(firn_delete(cache, "k", 1), FIRN_OK);
    from.meanwhile = NULL;
    from.result = FIRN_EUSER; /* what it holds is the loader's to release */
    firn_object *object;
    ck_assert_int_eq(firn_get_or_load(cache, "k", 1, &loader, &object), FIRN_EUSER);
    ck_assert_uint_eq(dropped, 2);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    ck_assert_uint_eq(dropped, 2);
}
END_TEST

typedef struct large {
    firn_cache *cache;
    size_t size;
    bool deleted; /* in the load */
} large;

static int load_large(void *context, const void *key, size_t key_size, firn_load *one) {
    const large *self = context;
    unsigned char *value = firn_load_value(one, self->size);
    ck_assert_ptr_nonnull(value);
    memset(value, 7, self->size);
    if (self->deleted) {
        ck_assert_int_eq(firn_delete(self->cache, key, key_size), FIRN_NOT_FOUND);
    }
    return FIRN_OK;
}

START_TEST(what_fits_into_no_tier_is_given) {
    char *path = scratch_path("load-large");
    firn_options options = gated();
    options.hot_bytes = 256 << 10;
    options.cold_bytes = 8 << 20;
    firn_cache *cache = open_with(path, &options);
    large larges[] = {
        {cache, 400 << 10, false}, {cache, 16 << 20, false}, {cache, 400 << 10, true}};
    for (unsigned i = 0; i < 3; i++) {
        firn_loader loader = FIRN_LOADER_INIT;
        size_t size = larges[i].size;
        uint64_t before = stats_of(cache).loads;
        loader.load = load_large;
        loader.context = &larges[i];
        for (unsigned times = 1; times < 3; times++) {
            firn_object *object;
            ck_assert_int_eq(firn_get_or_load(cache, &i, sizeof i, &loader, &object), FIRN_OK);
            ck_assert_uint_eq(firn_object_size(object), size);
            ck_assert_uint_eq(((const unsigned char *)firn_object_data(object))[size - 1], 7);
            ck_assert_uint_ne(firn_object_version(object), 0);
            firn_object_unref(object);
            /* The first goes to disk, the second cannot, and the third must not. */
            ck_assert_uint_eq(stats_of(cache).loads - before, i == 0 ? 1 : times);
        }
    }
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

/* ---- stale values */

START_TEST(a_stale_value_is_given_while_one_loads) {
    for (unsigned kind = 0; kind < KINDS; kind++) {
        char *path;
        firn_cache *cache = open_kind(kind, &path);
        gate here = GATE_INIT;
        source from = {.value = "old"};
        firn_loader loader = loader_of(&from);
        loader.ttl_ms = 100;
        loader.stale_ms = 50;
        ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_OK);
        fake_now_ms += 149;
        from.value = "new";
        from.gate = &here;
        getter first;
        getter_start(&first, cache, "k", &loader);
        gate_await(&here, 1);
        ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_STALE);
        ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_STALE);
        ck_assert(holds(cache, "k", NULL));
        gate_open(&here);
        getter_end(&first, FIRN_OK, "new");
        ck_assert_int_eq(get(cache, "k", &loader, "new"), FIRN_OK);
        ck_assert_uint_eq(from.calls, 2);
        firn_stats stats = stats_of(cache);
        ck_assert_uint_eq(stats.stale_served, 2);
        ck_assert_uint_eq(stats.refreshes, 1);
        ck_assert_uint_eq(stats.loads_joined, 0);
        /* Past that time it is not given any more. */
        fake_now_ms += 150;
        from.result = FIRN_EUSER;
        ck_assert_int_eq(get(cache, "k", &loader, NULL), FIRN_EUSER);
        close_kind(cache, path);
    }
}
END_TEST

START_TEST(a_stale_value_is_given_if_the_load_fails) {
    for (unsigned kind = 0; kind < KINDS; kind++) {
        char *path;
        firn_cache *cache = open_kind(kind, &path);
        source from = {.value = "old"};
        firn_loader loader = loader_of(&from);
        loader.ttl_ms = 100;
        loader.stale_ms = 20;
        loader.stale_if_error_ms = 80;
        ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_OK);
        from.result = FIRN_EUSER;
        fake_now_ms += 110; /* stale_ms */
        ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_STALE);
        fake_now_ms += 69;
        ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_STALE);
        ck_assert_uint_eq(stats_of(cache).stale_served, 2);
        ck_assert_uint_eq(stats_of(cache).load_failures, 2);
        /* Another loader may be stricter. */
        firn_loader strict = loader_of(&from);
        ck_assert_int_eq(get(cache, "k", &strict, NULL), FIRN_EUSER);
        fake_now_ms += 1;
        ck_assert_int_eq(get(cache, "k", &loader, NULL), FIRN_EUSER);
        close_kind(cache, path);
    }
}
END_TEST

START_TEST(what_waits_gets_the_stale_value_if_the_load_fails) {
    firn_options options = gated();
    firn_cache *cache = open_with(NULL, &options);
    gate here = GATE_INIT;
    source from = {.value = "old"};
    firn_loader loader = loader_of(&from);
    loader.ttl_ms = 100;
    loader.stale_if_error_ms = 80;
    ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_OK);
    fake_now_ms += 120;
    from.result = FIRN_EUSER;
    from.gate = &here;
    getter getters[3];
    for (unsigned i = 0; i < 3; i++) {
        getter_start(&getters[i], cache, "k", &loader);
    }
    while (stats_of(cache).loads_joined < 2) {
        sched_yield();
    }
    gate_open(&here);
    for (unsigned i = 0; i < 3; i++) {
        getter_end(&getters[i], FIRN_STALE, "old");
    }
    ck_assert_uint_eq(from.calls, 2);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(an_entry_is_loaded_anew_ahead_of_its_end) {
    for (unsigned kind = 0; kind < KINDS; kind++) {
        char *path;
        firn_cache *cache = open_kind(kind, &path);
        gate here = GATE_INIT;
        source from = {.value = "old"};
        firn_loader loader = loader_of(&from);
        loader.ttl_ms = 100;
        loader.refresh_ahead_ms = 30;
        ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_OK);
        fake_now_ms += 69;
        from.value = "new";
        ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_OK);
        fake_now_ms += 1;
        from.result = FIRN_EUSER; /* which changes nothing for anybody */
        ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_OK);
        ck_assert_uint_eq(from.calls, 2);
        from.result = FIRN_OK;
        from.gate = &here;
        getter first;
        getter_start(&first, cache, "k", &loader);
        gate_await(&here, 1);
        ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_OK);
        ck_assert(holds(cache, "k", "old"));
        gate_open(&here);
        getter_end(&first, FIRN_OK, "new");
        ck_assert_int_eq(get(cache, "k", &loader, "new"), FIRN_OK);
        ck_assert_uint_eq(from.calls, 3);
        firn_stats stats = stats_of(cache);
        ck_assert_uint_eq(stats.refreshes, 2);
        ck_assert_uint_eq(stats.stale_served, 0);
        close_kind(cache, path);
    }
}
END_TEST

static void expect_present(source *self, firn_load *one) {
    firn_object *present = firn_load_present(one);
    if (self->calls == 1) {
        ck_assert_ptr_null(present);
    } else {
        ck_assert_uint_eq(firn_object_size(present), 3);
        ck_assert_mem_eq(firn_object_data(present), "one", 3);
    }
}

START_TEST(a_load_sees_what_there_is) {
    firn_options options = gated();
    firn_cache *cache = open_with(NULL, &options);
    source from = {.value = "one", .meanwhile = expect_present};
    firn_loader loader = loader_of(&from);
    loader.ttl_ms = 100;
    loader.stale_ms = 100;
    ck_assert_int_eq(get(cache, "k", &loader, "one"), FIRN_OK);
    fake_now_ms += 120;
    ck_assert_int_eq(get(cache, "k", &loader, "one"), FIRN_OK);
    ck_assert_uint_eq(from.calls, 2);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

/* ---- in the background */

START_TEST(firn_run_loads_what_waits) {
    firn_options options = gated();
    firn_cache *cache = open_with(NULL, &options);
    source from = {.value = "old"};
    firn_loader loader = loader_of(&from);
    loader.ttl_ms = 100;
    loader.stale_ms = 50;
    loader.refresh_ahead_ms = 10;
    loader.refresh = FIRN_REFRESH_BACKGROUND;
    ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_OK);
    from.value = "new";
    fake_now_ms += 95;
    ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_OK);
    fake_now_ms += 10;
    ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_STALE); /* it waits already */
    ck_assert_uint_eq(from.calls, 1);
    ck_assert_int_eq(firn_run(cache, 1000), FIRN_OK);
    ck_assert_uint_eq(from.calls, 2);
    ck_assert_int_eq(get(cache, "k", &loader, "new"), FIRN_OK);
    /* Nobody who needs it waits for firn_run. */
    fake_now_ms += 120;
    ck_assert_int_eq(get(cache, "k", &loader, "new"), FIRN_STALE);
    fake_now_ms += 50;
    from.value = "third";
    ck_assert_int_eq(get(cache, "k", &loader, "third"), FIRN_OK);
    ck_assert_int_eq(firn_run(cache, 1000), FIRN_OK);
    ck_assert_uint_eq(from.calls, 3);
    /* What was put meanwhile stays. */
    fake_now_ms += 120;
    ck_assert_int_eq(get(cache, "k", &loader, "third"), FIRN_STALE);
    ck_assert_int_eq(firn_put(cache, "k", 1, "put", 3, NULL), FIRN_OK);
    ck_assert_int_eq(firn_run(cache, 1000), FIRN_OK);
    ck_assert_uint_eq(from.calls, 3);
    ck_assert(holds(cache, "k", "put"));
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(the_background_has_a_bound) {
    firn_options options = gated();
    firn_cache *cache = open_with(NULL, &options);
    source from = {.value = "old"};
    firn_loader loader = loader_of(&from);
    loader.ttl_ms = 100;
    loader.stale_ms = 50;
    loader.refresh = FIRN_REFRESH_BACKGROUND;
    char key[16];
    for (unsigned i = 0; i < 70; i++) {
        snprintf(key, sizeof key, "%u", i);
        ck_assert_int_eq(get(cache, key, &loader, "old"), FIRN_OK);
    }
    fake_now_ms += 110;
    from.value = "new";
    for (unsigned i = 0; i < 70; i++) {
        snprintf(key, sizeof key, "%u", i);
        ck_assert_int_eq(get(cache, key, &loader, i < 64 ? "old" : "new"),
                         i < 64 ? FIRN_STALE : FIRN_OK);
    }
    ck_assert_uint_eq(from.calls, 70 + 6);
    ck_assert_int_eq(firn_close(cache), FIRN_OK); /* drops what waits */
    ck_assert_uint_eq(from.calls, 70 + 6);
}
END_TEST

static void *open_gate(void *context) {
    gate_open(context);
    return NULL;
}

START_TEST(closing_waits_for_a_load_in_the_background) {
    firn_options options = gated();
    options.threads = 1;
    firn_cache *cache = open_with(NULL, &options);
    gate here = GATE_INIT;
    source from = {.value = "old"};
    firn_loader loader = loader_of(&from);
    loader.ttl_ms = 100;
    loader.stale_ms = 50;
    loader.refresh = FIRN_REFRESH_BACKGROUND;
    ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_OK);
    ck_assert_int_eq(get(cache, "other", &loader, "old"), FIRN_OK);
    fake_now_ms += 110;
    from.gate = &here;
    ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_STALE);
    gate_await(&here, 1);
    ck_assert_int_eq(get(cache, "other", &loader, "old"), FIRN_STALE); /* waits behind it */
    pthread_t opener;
    ck_assert_int_eq(pthread_create(&opener, NULL, open_gate, &here), 0);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    pthread_join(opener, NULL);
    ck_assert_uint_le(from.calls, 4);
}
END_TEST

START_TEST(a_thread_loads_in_the_background) {
    char *path = scratch_path("load-thread");
    firn_options options = gated();
    options.threads = 1;
    firn_cache *cache = open_with(path, &options);
    source from = {.value = "old"};
    firn_loader loader = loader_of(&from);
    loader.ttl_ms = 100;
    loader.stale_ms = 1000;
    loader.refresh = FIRN_REFRESH_BACKGROUND;
    ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_OK);
    fake_now_ms += 110;
    from.value = "new";
    ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_STALE);
    while (stats_of(cache).puts < 2) {
        sched_yield();
    }
    ck_assert_int_eq(get(cache, "k", &loader, "new"), FIRN_OK);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

/* ---- a damaged record */

static void damage_value(const char *path, const char *value) {
    char *name = join(path, "firn.log");
    size_t size = (size_t)file_size(path, "firn.log");
    char *bytes = malloc(size);
    int fd = open(name, O_RDWR);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pread(fd, bytes, size, 0), (ssize_t)size);
    const char *found = memmem(bytes, size, value, strlen(value));
    ck_assert_ptr_nonnull(found);
    change_byte(fd, found - bytes, 1);
    close(fd);
    free(bytes);
    free(name);
}

static unsigned told_of(firn_cache *cache, const char *key, unsigned kind) {
    firn_explanation told = {.size = sizeof told};
    int result = firn_explain(cache, key, strlen(key), &told);
    ck_assert(result == FIRN_OK || result == FIRN_ECORRUPT);
    unsigned count = 0;
    for (size_t i = 0; i < told.decision_count; i++) {
        count += told.decisions[i].kind == kind;
    }
    return count;
}

/* Each look that finds it tells, and a call that looks more than once does not tell more. */
START_TEST(a_damaged_record_is_told_once_a_call) {
    char *path = scratch_path("load-damage");
    firn_options options = gated();
    options.hot_bytes = 64 << 10;
    options.compression_level = FIRN_COMPRESSION_OFF;
    firn_cache *cache = open_with(path, &options);
    source from = {.value = "a value to be found in the log"};
    firn_loader loader = loader_of(&from);
    loader.ttl_ms = 100;
    loader.stale_ms = 100000;
    loader.refresh = FIRN_REFRESH_BACKGROUND;
    ck_assert_int_eq(get(cache, "k", &loader, from.value), FIRN_OK);
    fake_now_ms += 110;
    ck_assert_int_eq(get(cache, "k", &loader, from.value), FIRN_STALE); /* it waits for firn_run */
    static const char filler[16 << 10];
    for (unsigned i = 0; i < 20; i++) {
        ck_assert_int_eq(firn_put(cache, &i, sizeof i, filler, sizeof filler, NULL), FIRN_OK);
    }
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    damage_value(path, from.value);
    ck_assert_uint_eq(told_of(cache, "k", FIRN_DECISION_DAMAGE), 0);
    ck_assert_int_ge(firn_run(cache, 1000), FIRN_OK);
    ck_assert_uint_eq(from.calls, 1); /* what was to be made anew is gone */
    ck_assert_uint_eq(told_of(cache, "k", FIRN_DECISION_DAMAGE), 1);
    from.result = FIRN_EUSER;
    ck_assert_int_eq(get(cache, "k", &loader, NULL), FIRN_EUSER);
    ck_assert_uint_eq(told_of(cache, "k", FIRN_DECISION_DAMAGE), 2);
    const firn_key key = {"k", 1};
    firn_object *object;
    ck_assert_int_eq(firn_get_or_load_many(cache, 1, &key, &loader, &object, NULL), FIRN_EUSER);
    ck_assert_uint_eq(told_of(cache, "k", FIRN_DECISION_DAMAGE), 3);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

/* ---- changes during a load */

static void delete_it(source *self, firn_load *one) {
    (void)one;
    int result = firn_delete(self->cache, "k", 1);
    ck_assert(result == FIRN_OK || result == FIRN_NOT_FOUND);
}

static void put_and_delete(source *self, firn_load *one) {
    put_over(self, one);
    delete_it(self, one);
}

static void add_it(source *self, firn_load *one) {
    (void)one;
    ck_assert_int_eq(firn_add(self->cache, "k", 1, "put", 3, NULL), FIRN_OK);
}

static void write_stream(source *self, firn_load *one) {
    (void)one;
    firn_writer *writer;
    ck_assert_int_eq(firn_writer_open(self->cache, "k", 1, NULL, &writer), FIRN_OK);
    ck_assert_int_eq(firn_writer_write(writer, "put", 3), FIRN_OK);
    ck_assert_int_eq(firn_writer_commit(writer), FIRN_OK);
}

START_TEST(a_change_during_a_load_wins) {
    const struct {
        void (*change)(source *self, firn_load *one);
        const char *left;
        bool needs_store;
    } changes[] = {{put_over, "put", false},
                   {delete_it, NULL, false},
                   {put_and_delete, NULL, false},
                   {add_it, "put", false},
                   {write_stream, "put", true}};
    for (unsigned kind = 0; kind < KINDS; kind++) {
        char *path;
        firn_cache *cache = open_kind(kind, &path);
        for (unsigned i = 0; i < 10; i++) {
            unsigned what = i % 5;
            bool stale = i >= 5; /* there is an old value */
            if (changes[what].needs_store && kind == 0) {
                continue;
            }
            source from = {.cache = cache, .value = "loaded"};
            firn_loader loader = loader_of(&from);
            loader.ttl_ms = 100;
            loader.stale_ms = 100;
            if (stale) {
                ck_assert_int_eq(get(cache, "k", &loader, "loaded"), FIRN_OK);
                fake_now_ms += 120;
            }
            from.meanwhile = changes[what].change;
            /* The source answered before the change, or may have. */
            ck_assert_int_eq(get(cache, "k", &loader, "loaded"), FIRN_OK);
            ck_assert_msg(holds(cache, "k", changes[what].left), "change %u, kind %u", what, kind);
            /* The next load is put again. */
            from.meanwhile = NULL;
            from.value = "next";
            ck_assert_int_eq(firn_delete(cache, "k", 1),
                             changes[what].left != NULL ? FIRN_OK : FIRN_NOT_FOUND);
            ck_assert_int_eq(get(cache, "k", &loader, "next"), FIRN_OK);
            ck_assert(holds(cache, "k", "next"));
            ck_assert_int_eq(firn_delete(cache, "k", 1), FIRN_OK);
        }
        close_kind(cache, path);
    }
}
END_TEST

static void clear_all(source *self, firn_load *one) {
    (void)one;
    ck_assert_int_eq(firn_clear(self->cache, NULL, 0), FIRN_OK);
}

static void clear_prefix(source *self, firn_load *one) {
    (void)one;
    ck_assert_int_eq(firn_clear(self->cache, "k", 1), FIRN_OK);
}

static void clear_tag(source *self, firn_load *one) {
    static const char *const tags[] = {"tag"};
    firn_load_options(one)->tags = tags;
    firn_load_options(one)->tag_count = 1;
    ck_assert_int_eq(firn_invalidate_tag(self->cache, "tag"), FIRN_OK);
}

static void clear_others(source *self, firn_load *one) {
    (void)one;
    ck_assert_int_eq(firn_clear(self->cache, "other", 5), FIRN_OK);
    ck_assert_int_eq(firn_invalidate_tag(self->cache, "tag"), FIRN_OK);
}

START_TEST(a_clear_during_a_load_wins) {
    void (*const clears[])(source * self, firn_load * one) = {clear_all, clear_prefix, clear_tag,
                                                              clear_others};
    for (unsigned kind = 0; kind < KINDS; kind++) {
        char *path;
        firn_cache *cache = open_kind(kind, &path);
        for (unsigned i = 0; i < 8; i++) {
            unsigned what = i % 4;
            bool stale = i >= 4;
            source from = {.cache = cache, .value = "loaded"};
            firn_loader loader = loader_of(&from);
            loader.ttl_ms = 100;
            loader.stale_ms = 100;
            if (stale) {
                ck_assert_int_eq(get(cache, "k", &loader, "loaded"), FIRN_OK);
                fake_now_ms += 120;
            }
            from.meanwhile = clears[what];
            ck_assert_int_eq(get(cache, "k", &loader, "loaded"), FIRN_OK);
            ck_assert_msg(holds(cache, "k", what == 3 ? "loaded" : NULL), "clear %u, kind %u", what,
                          kind);
            from.meanwhile = NULL;
            ck_assert_int_eq(get(cache, "k", &loader, "loaded"), FIRN_OK);
            ck_assert(holds(cache, "k", "loaded"));
            /* Absence is cleared too, but has no tags. */
            from.meanwhile = clears[what];
            from.result = FIRN_NOT_FOUND;
            loader.negative_ttl_ms = 1000;
            ck_assert_int_eq(get(cache, "k2", &loader, NULL), FIRN_NOT_FOUND);
            unsigned calls = from.calls;
            from.meanwhile = NULL;
            ck_assert_int_eq(get(cache, "k2", &loader, NULL), FIRN_NOT_FOUND);
            ck_assert_uint_eq(from.calls - calls, what < 2);
            ck_assert_int_eq(firn_clear(cache, NULL, 0), FIRN_OK);
        }
        close_kind(cache, path);
    }
}
END_TEST

static void clear_and_get_elsewhere(source *self, firn_load *one) {
    clear_prefix(self, one);
    self->meanwhile = NULL;
    self->value = "new";
    firn_loader loader = loader_of(self);
    getter other;
    getter_start(&other, self->cache, "k", &loader);
    getter_end(&other, FIRN_OK, "new");
}

/* Whether the value has the tag is not known before it is there. */
static void clear_tag_and_let_wait(source *self, firn_load *one) {
    clear_tag(self, one);
    self->meanwhile = NULL;
    self->value = "new";
    gate_open(self->other_gate);
    while (stats_of(self->cache).loads_joined < 1) {
        sched_yield();
    }
}

static void *get_behind_gate(void *context) {
    held_getter *self = context;
    gate_pass(self->gate);
    return getter_run(&self->getter);
}

START_TEST(who_comes_after_a_clear_loads_for_himself) {
    firn_options options = gated();
    firn_cache *cache = open_with(NULL, &options);
    source from = {.cache = cache, .value = "old", .meanwhile = clear_and_get_elsewhere};
    firn_loader loader = loader_of(&from);
    ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_OK);
    ck_assert(holds(cache, "k", "new"));
    ck_assert_uint_eq(from.calls, 2);
    gate here = GATE_INIT;
    from.meanwhile = clear_tag_and_let_wait;
    from.other_gate = &here;
    from.value = "old";
    held_getter behind = {{.cache = cache, .key = "tagged", .loader = &loader}, &here, 0};
    ck_assert_int_eq(pthread_create(&behind.getter.thread, NULL, get_behind_gate, &behind), 0);
    ck_assert_int_eq(get(cache, "tagged", &loader, "old"), FIRN_OK);
    getter_end(&behind.getter, FIRN_OK, "new");
    ck_assert_uint_eq(from.calls, 4);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

static void delete_and_absent(source *self, firn_load *one) {
    delete_it(self, one);
    self->meanwhile = NULL;
}

START_TEST(a_change_during_a_load_wins_over_absence) {
    firn_options options = gated();
    firn_cache *cache = open_with(NULL, &options);
    source from = {.cache = cache, .result = FIRN_NOT_FOUND, .meanwhile = put_over};
    firn_loader loader = loader_of(&from);
    loader.negative_ttl_ms = 1000;
    ck_assert_int_eq(get(cache, "k", &loader, NULL), FIRN_NOT_FOUND);
    ck_assert(holds(cache, "k", "put"));
    ck_assert_int_eq(firn_delete(cache, "k", 1), FIRN_OK);
    from.meanwhile = delete_and_absent;
    ck_assert_int_eq(get(cache, "k", &loader, NULL), FIRN_NOT_FOUND);
    ck_assert_int_eq(get(cache, "k", &loader, NULL), FIRN_NOT_FOUND);
    ck_assert_uint_eq(from.calls, 3); /* the second was not remembered, the third is */
    ck_assert_int_eq(get(cache, "k", &loader, NULL), FIRN_NOT_FOUND);
    ck_assert_uint_eq(from.calls, 3);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

/* Eviction is no change. */
static void evict_it(source *self, firn_load *one) {
    (void)one;
    static char filler[4000];
    for (unsigned i = 0; i < 400; i++) {
        ck_assert_int_eq(firn_put(self->cache, &i, sizeof i, filler, sizeof filler, NULL), FIRN_OK);
    }
}

START_TEST(eviction_during_a_load_is_no_change) {
    firn_options options = gated();
    options.hot_bytes = 256 << 10;
    firn_cache *cache = open_with(NULL, &options);
    source from = {.cache = cache, .value = "old"};
    firn_loader loader = loader_of(&from);
    loader.ttl_ms = 100;
    loader.stale_ms = 100;
    ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_OK);
    fake_now_ms += 120;
    from.meanwhile = evict_it;
    from.value = "new";
    ck_assert_int_eq(get(cache, "k", &loader, "new"), FIRN_OK);
    ck_assert(holds(cache, "k", "new"));
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

static void delete_and_get_elsewhere(source *self, firn_load *one) {
    delete_it(self, one);
    self->meanwhile = NULL;
    self->value = "new";
    firn_loader loader = loader_of(self);
    getter other;
    getter_start(&other, self->cache, "k", &loader);
    getter_end(&other, FIRN_OK, "new"); /* did not wait for what was there before the delete */
}

START_TEST(who_comes_after_a_change_loads_for_himself) {
    firn_options options = gated();
    firn_cache *cache = open_with(NULL, &options);
    source from = {.cache = cache, .value = "old", .meanwhile = delete_and_get_elsewhere};
    firn_loader loader = loader_of(&from);
    ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_OK);
    ck_assert(holds(cache, "k", "new"));
    ck_assert_uint_eq(from.calls, 2);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

/* ---- times to wait */

START_TEST(waiting_has_a_bound) {
    firn_options options = gated();
    firn_cache *cache = open_with(NULL, &options);
    gate here = GATE_INIT;
    source from = {.value = "old"};
    firn_loader loader = loader_of(&from);
    loader.ttl_ms = 100;
    loader.stale_if_error_ms = 100;
    ck_assert_int_eq(get(cache, "stale", &loader, "old"), FIRN_OK);
    fake_now_ms += 150;
    from.gate = &here;
    from.value = "new";
    getter getters[2];
    getter_start(&getters[0], cache, "k", &loader);
    getter_start(&getters[1], cache, "stale", &loader);
    gate_await(&here, 2);
    firn_loader hasty = loader;
    hasty.wait_ms = 1;
    ck_assert_int_eq(get(cache, "k", &hasty, NULL), FIRN_ETIMEDOUT);
    ck_assert_int_eq(get(cache, "stale", &hasty, "old"), FIRN_STALE);
    gate_open(&here);
    getter_end(&getters[0], FIRN_OK, "new");
    getter_end(&getters[1], FIRN_OK, "new");
    ck_assert_uint_eq(from.calls, 3);
    ck_assert_int_eq(get(cache, "k", &hasty, "new"), FIRN_OK);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(a_load_that_takes_too_long_is_overtaken) {
    for (unsigned late = 0; late < 2; late++) {
        firn_options options = gated();
        firn_cache *cache = open_with(NULL, &options);
        gate gates[2] = {GATE_INIT, GATE_INIT};
        source slow = {.value = "slow", .gate = &gates[0]};
        source quick = {.value = "quick", .gate = &gates[1]};
        firn_loader slow_loader = loader_of(&slow);
        firn_loader quick_loader = loader_of(&quick);
        slow_loader.load_timeout_ms = 1;
        getter first;
        getter second;
        getter_start(&first, cache, "k", &slow_loader);
        gate_await(&gates[0], 1);
        getter_start(&second, cache, "k", &quick_loader); /* waits for a moment, and overtakes */
        gate_await(&gates[1], 1);
        if (late == 0) { /* the first comes after the second */
            gate_open(&gates[1]);
            getter_end(&second, FIRN_OK, "quick");
            ck_assert(holds(cache, "k", "quick"));
            gate_open(&gates[0]);
            getter_end(&first, FIRN_OK, "slow");
        } else { /* before it */
            gate_open(&gates[0]);
            getter_end(&first, FIRN_OK, "slow");
            ck_assert(holds(cache, "k", "slow"));
            gate_open(&gates[1]);
            getter_end(&second, FIRN_OK, "quick");
        }
        ck_assert(holds(cache, "k", "quick")); /* it began later */
        ck_assert_uint_eq(slow.calls + quick.calls, 2);
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
    }
}
END_TEST

/* ---- loads within loads */

static int load_nested(void *context, const void *key, size_t key_size, firn_load *one) {
    source *self = context;
    atomic_fetch_add(&self->calls, 1);
    if (key_size > 3) {
        return firn_load_bytes(one, "end", 3);
    }
    /* Loads by way of another key, which is longer. */
    char longer[8] = "";
    memcpy(longer, key, key_size);
    longer[key_size] = 'x';
    firn_loader loader = FIRN_LOADER_INIT;
    loader.load = load_nested;
    loader.context = self;
    firn_object *object;
    int result = firn_get_or_load(self->cache, longer, strlen(longer), &loader, &object);
    if (result == FIRN_OK) {
        result = firn_load_bytes(one, firn_object_data(object), firn_object_size(object));
        firn_object_unref(object);
    }
    return result;
}

static void load_itself(source *self, firn_load *one) {
    (void)one;
    firn_loader loader = loader_of(self);
    firn_object *object;
    ck_assert_int_eq(firn_get_or_load(self->cache, "k", 1, &loader, &object), FIRN_EDEADLK);
    ck_assert_ptr_null(object);
    const firn_key keys[] = {{"k", 1}, {"there", 5}};
    firn_object *objects[2];
    int results[2];
    ck_assert_int_eq(firn_get_or_load_many(self->cache, 2, keys, &loader, objects, results),
                     FIRN_EDEADLK);
    ck_assert_int_eq(results[0], FIRN_EDEADLK);
    ck_assert_int_eq(results[1], FIRN_OK);
    firn_object_unref(objects[1]);
    delete_it(self, one); /* after which it is another flight, but the same thread */
    ck_assert_int_eq(firn_get_or_load(self->cache, "k", 1, &loader, &object), FIRN_EDEADLK);
}

START_TEST(a_load_may_load_others_but_not_itself) {
    firn_options options = gated();
    firn_cache *cache = open_with(NULL, &options);
    source from = {.cache = cache, .value = "one", .meanwhile = load_itself};
    ck_assert_int_eq(firn_put(cache, "there", 5, "yes", 3, NULL), FIRN_OK);
    firn_loader loader = loader_of(&from);
    ck_assert_int_eq(get(cache, "k", &loader, "one"), FIRN_OK);
    ck_assert_uint_eq(from.calls, 1);
    loader.load = load_nested;
    ck_assert_int_eq(get(cache, "x", &loader, "end"), FIRN_OK);
    ck_assert_uint_eq(from.calls, 5);
    ck_assert(holds(cache, "xxx", "end"));
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

typedef struct crossing {
    firn_cache *cache;
    gate *gate;
    const char *other; /* the key that its load wants */
    int result;        /* of that */
} crossing;

static int load_crossing(void *context, const void *key, size_t key_size, firn_load *one) {
    crossing *self = context;
    (void)key;
    (void)key_size;
    gate_pass(self->gate); /* until both load */
    firn_loader loader = FIRN_LOADER_INIT;
    loader.load = load_crossing; /* not called */
    firn_object *object;
    self->result = firn_get_or_load(self->cache, self->other, 1, &loader, &object);
    firn_object_unref(object);
    return firn_load_bytes(one, self->other, 1);
}

START_TEST(loads_that_wait_for_each_other_are_told) {
    firn_options options = gated();
    firn_cache *cache = open_with(NULL, &options);
    gate here = GATE_INIT;
    crossing crossings[3];
    firn_loader loaders[3];
    getter getters[3];
    static const char *const keys[] = {"a", "b", "c"};
    for (unsigned i = 0; i < 3; i++) {
        crossings[i] = (crossing){.cache = cache, .gate = &here, .other = keys[(i + 1) % 3]};
        loaders[i] = (firn_loader)FIRN_LOADER_INIT;
        loaders[i].load = load_crossing;
        loaders[i].context = &crossings[i];
        getter_start(&getters[i], cache, keys[i], &loaders[i]);
    }
    gate_await(&here, 3);
    gate_open(&here);
    unsigned refused = 0;
    for (unsigned i = 0; i < 3; i++) {
        getter_end(&getters[i], FIRN_OK, crossings[i].other);
        ck_assert(crossings[i].result == FIRN_OK || crossings[i].result == FIRN_EDEADLK);
        refused += crossings[i].result == FIRN_EDEADLK;
    }
    ck_assert_uint_eq(refused, 1);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

/* ---- many at once */

/* Keys that begin with n are not there, with f fail; the value is the key. */
static int load_many(void *context, size_t count, const firn_key *keys, firn_load *const *loads) {
    source *self = context;
    atomic_fetch_add(&self->calls, 1);
    atomic_fetch_add(&self->keys, (unsigned)count);
    if (self->gate != NULL) {
        gate_pass(self->gate);
    }
    for (size_t i = 0; i < count && self->result == FIRN_OK; i++) {
        const char *key = keys[i].data;
        if (key[0] == 'f') {
            ck_assert_int_eq(firn_load_fail(loads[i], FIRN_EUSER), FIRN_EUSER);
        } else if (key[0] != 'n') {
            ck_assert_int_eq(firn_load_bytes(loads[i], key, keys[i].size), FIRN_OK);
        }
    }
    return self->result;
}

static int load_one_of_many(void *context, const void *key, size_t key_size, firn_load *one) {
    const firn_key keys[] = {{key, key_size}};
    ((source *)context)->keys--;
    ((source *)context)->calls--;
    int result = load_many(context, 1, keys, &one);
    ((source *)context)->keys += 100;
    return ((const char *)key)[0] == 'n' ? FIRN_NOT_FOUND : result;
}

static void release(firn_object **objects, size_t count) {
    for (size_t i = 0; i < count; i++) {
        firn_object_unref(objects[i]);
    }
}

START_TEST(many_are_loaded_with_one_call) {
    for (unsigned kind = 0; kind < 2 * KINDS; kind++) {
        char *path;
        firn_cache *cache = open_kind(kind % KINDS, &path);
        bool by_one = kind >= KINDS;
        source from = {.result = FIRN_OK};
        firn_loader loader = FIRN_LOADER_INIT;
        loader.load = by_one ? load_one_of_many : NULL;
        loader.load_many = by_one ? NULL : load_many;
        loader.context = &from;
        loader.ttl_ms = 100;
        loader.stale_if_error_ms = 100;
        loader.negative_ttl_ms = 100;
        const firn_key keys[] = {{"a", 1}, {"there", 5}, {"no", 2}, {"fail", 4},
                                 {"b", 1}, {"a", 1},     {"c", 1}};
        const int expected[] = {FIRN_OK, FIRN_OK, FIRN_NOT_FOUND, FIRN_EUSER,
                                FIRN_OK, FIRN_OK, FIRN_OK};
        enum { COUNT = sizeof keys / sizeof keys[0] };
        ck_assert_int_eq(firn_put(cache, "there", 5, "there", 5, NULL), FIRN_OK);
        firn_object *objects[COUNT];
        int results[COUNT];
        for (unsigned times = 0; times < 2; times++) {
            ck_assert_int_eq(firn_get_or_load_many(cache, COUNT, keys, &loader, objects, results),
                             FIRN_EUSER);
            for (unsigned i = 0; i < COUNT; i++) {
                ck_assert_msg(results[i] == expected[i], "key %u: %s", i,
                              firn_strerror(results[i]));
                ck_assert_int_eq(objects[i] != NULL, expected[i] == FIRN_OK);
                if (objects[i] != NULL) {
                    ck_assert_uint_eq(firn_object_size(objects[i]), keys[i].size);
                    ck_assert_mem_eq(firn_object_data(objects[i]), keys[i].data, keys[i].size);
                }
            }
            release(objects, COUNT);
        }
        if (by_one) {
            ck_assert_uint_eq(from.keys, 600); /* five, and the failure once more */
        } else {
            ck_assert_uint_eq(from.calls, 2);
            ck_assert_uint_eq(from.keys, 5 + 1);
        }
        /* Stale values take the place of what failed. */
        fake_now_ms += 150;
        from.result = FIRN_EUSER;
        ck_assert_int_eq(firn_get_or_load_many(cache, COUNT, keys, &loader, objects, results),
                         FIRN_EUSER);
        ck_assert_int_eq(results[0], FIRN_STALE);
        ck_assert_int_eq(results[1], FIRN_OK);
        ck_assert_int_eq(results[5], FIRN_STALE);
        ck_assert_int_ne(results[2], FIRN_OK);
        release(objects, COUNT);
        /* Of a single key, too. */
        from.result = FIRN_OK;
        ck_assert_int_eq(get(cache, "single", &loader, "single"), FIRN_OK);
        ck_assert_int_eq(get(cache, "none", &loader, NULL), FIRN_NOT_FOUND);
        close_kind(cache, path);
    }
}
END_TEST

typedef struct batch_getter {
    pthread_t thread;
    firn_cache *cache;
    const firn_loader *loader;
    const char *keys; /* of a letter each */
    int result;
    unsigned right;
} batch_getter;

static void *batch_run(void *context) {
    batch_getter *self = context;
    size_t count = strlen(self->keys);
    firn_key keys[16] = {{NULL, 0}};
    firn_object *objects[16] = {NULL};
    for (size_t i = 0; i < count; i++) {
        keys[i] = (firn_key){&self->keys[i], 1};
    }
    self->result = firn_get_or_load_many(self->cache, count, keys, self->loader, objects, NULL);
    for (size_t i = 0; i < count; i++) {
        self->right += objects[i] != NULL && firn_object_size(objects[i]) == 1 &&
                       *(const char *)firn_object_data(objects[i]) == self->keys[i];
    }
    release(objects, count);
    return NULL;
}

START_TEST(batches_that_overlap_wait_when_they_have_loaded) {
    firn_options options = gated();
    firn_cache *cache = open_with(NULL, &options);
    gate here = GATE_INIT;
    source from = {.result = FIRN_OK, .gate = &here};
    firn_loader loader = FIRN_LOADER_INIT;
    loader.load_many = load_many;
    loader.context = &from;
    batch_getter getters[3] = {{.keys = "abc"}, {.keys = "cda"}, {.keys = "dbe"}};
    for (unsigned i = 0; i < 3; i++) {
        getters[i].cache = cache;
        getters[i].loader = &loader;
        ck_assert_int_eq(pthread_create(&getters[i].thread, NULL, batch_run, &getters[i]), 0);
        gate_await(&here, i + 1); /* each has something that the others have not */
    }
    ck_assert_uint_eq(from.keys, 5);
    gate_open(&here);
    for (unsigned i = 0; i < 3; i++) {
        pthread_join(getters[i].thread, NULL);
        ck_assert_int_eq(getters[i].result, FIRN_OK);
        ck_assert_uint_eq(getters[i].right, 3);
    }
    ck_assert_uint_eq(from.keys, 5);
    ck_assert_uint_eq(stats_of(cache).loads_joined, 4);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

/* ---- threads */

static void await_waiting(source *self, firn_load *one) {
    (void)one;
    while (stats_of(self->cache).loads_joined < 7) {
        sched_yield();
    }
}

START_TEST(eight_threads_make_one_load) {
    for (unsigned kind = 0; kind < KINDS; kind++) {
        char *path;
        firn_cache *cache = open_kind(kind, &path);
        source from = {.cache = cache, .value = "one", .meanwhile = await_waiting};
        firn_loader loader = loader_of(&from);
        getter getters[8];
        for (unsigned i = 0; i < 8; i++) {
            getter_start(&getters[i], cache, "k", &loader);
        }
        for (unsigned i = 0; i < 8; i++) {
            getter_end(&getters[i], FIRN_OK, "one");
        }
        ck_assert_uint_eq(from.calls, 1);
        close_kind(cache, path);
    }
}
END_TEST

static void *held_getter_run(void *context) {
    held_getter *self = context;
    clock_gate = self->gate;
    clock_calls = self->calls;
    getter_run(&self->getter);
    gate_pass(self->gate); /* if it was never held */
    return NULL;
}

START_TEST(who_comes_late_does_not_load_again) {
    for (unsigned calls = 1; calls < 10; calls++) {
        firn_options options = gated();
        firn_cache *cache = open_with(NULL, &options);
        gate here = GATE_INIT;
        source from = {.value = "old"};
        firn_loader loader = loader_of(&from);
        loader.ttl_ms = 100;
        loader.stale_if_error_ms = 100;
        ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_OK);
        fake_now_ms += 150;
        from.value = "new";
        held_getter late = {{.cache = cache, .key = "k", .loader = &loader}, &here, calls};
        ck_assert_int_eq(pthread_create(&late.getter.thread, NULL, held_getter_run, &late), 0);
        gate_await(&here, 1);
        /* Wherever it is held: within its load the other one waits for it. */
        getter other;
        getter_start(&other, cache, "k", &loader);
        while (from.calls < 2 && stats_of(cache).loads_joined < 1) {
            sched_yield();
        }
        gate_open(&here);
        getter_end(&other, FIRN_OK, "new");
        getter_end(&late.getter, FIRN_OK, "new");
        ck_assert_uint_eq(from.calls, 2);
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
    }
}
END_TEST

enum { EXPIRIES = 400 };

typedef struct stamping {
    firn_cache *cache;
    const firn_loader *loader;
    pthread_barrier_t *barrier;
    bool moves_clock;
    unsigned missed;
} stamping;

static void *stamping_run(void *context) {
    stamping *self = context;
    for (unsigned i = 0; i < EXPIRIES; i++) {
        pthread_barrier_wait(self->barrier);
        firn_object *object;
        self->missed += firn_get_or_load(self->cache, "k", 1, self->loader, &object) != FIRN_OK;
        firn_object_unref(object);
        pthread_barrier_wait(self->barrier);
        if (self->moves_clock) {
            fake_now_ms += 100;
        }
    }
    return NULL;
}

START_TEST(each_expiry_makes_one_load) {
    firn_options options = gated();
    firn_cache *cache = open_with(NULL, &options);
    source from = {.value = "one"};
    firn_loader loader = loader_of(&from);
    loader.ttl_ms = 100;
    pthread_barrier_t barrier;
    ck_assert_int_eq(pthread_barrier_init(&barrier, NULL, 4), 0);
    stamping stampings[4];
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++) {
        stampings[i] = (stamping){cache, &loader, &barrier, i == 0, 0};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, stamping_run, &stampings[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_uint_eq(stampings[i].missed, 0);
    }
    pthread_barrier_destroy(&barrier);
    ck_assert_uint_eq(from.calls, EXPIRIES);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

enum { CROWD = 4, ROUNDS = 1500, CROWD_KEYS = 20 };

typedef struct crowd {
    firn_cache *cache;
    uint64_t seed;
    /* What the source has now, and the highest that was deleted: nothing older is read after. */
    _Atomic uint64_t *source;
    _Atomic unsigned *wrong;
} crowd;

static int load_number(void *context, const void *key, size_t key_size, firn_load *one) {
    crowd *self = context;
    (void)key_size;
    unsigned number;
    memcpy(&number, key, sizeof number);
    uint64_t value = atomic_load(&self->source[number]);
    return value % 16 == 15   ? FIRN_EUSER
           : value % 16 == 14 ? FIRN_NOT_FOUND
                              : firn_load_bytes(one, &value, sizeof value);
}

static int load_numbers(void *context, size_t count, const firn_key *keys,
                        firn_load *const *loads) {
    for (size_t i = 0; i < count; i++) {
        int result = load_number(context, keys[i].data, keys[i].size, loads[i]);
        if (result != FIRN_OK) {
            firn_load_fail(loads[i], result);
        }
    }
    return FIRN_OK;
}

static uint64_t next_random(uint64_t *seed) {
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 33;
}

static void check_number(crowd *self, const firn_object *object, uint64_t least) {
    uint64_t value;
    if (firn_object_size(object) != sizeof value) {
        atomic_fetch_add(self->wrong, 1);
        return;
    }
    memcpy(&value, firn_object_data(object), sizeof value);
    if (value < least) {
        atomic_fetch_add(self->wrong, 1);
    }
}

/* The source changes, and the entry is deleted: who begins to get it after that sees nothing
 * older. */
static void *crowd_run(void *context) {
    crowd *self = context;
    firn_loader loader = FIRN_LOADER_INIT;
    loader.load = load_number;
    loader.load_many = load_numbers;
    loader.context = self;
    loader.ttl_ms = 10;
    loader.negative_ttl_ms = 5;
    loader.beta = 1;
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t dice = next_random(&self->seed) % 100;
        unsigned key = (unsigned)(next_random(&self->seed) % CROWD_KEYS);
        loader.load_timeout_ms = dice % 2;
        if (dice < 10) {
            atomic_fetch_add(&self->source[key], 1);
            uint64_t least = atomic_load(&self->source[key]);
            int result = firn_delete(self->cache, &key, sizeof key);
            firn_object *object;
            if (result < 0) {
                atomic_fetch_add(self->wrong, 1);
            }
            if (firn_get_or_load(self->cache, &key, sizeof key, &loader, &object) == FIRN_OK) {
                check_number(self, object, least);
            }
            firn_object_unref(object);
        } else if (dice < 15) {
            fake_now_ms += 3;
        } else if (dice < 40) {
            unsigned numbers[4];
            uint64_t least[4];
            firn_key keys[4];
            firn_object *objects[4];
            for (unsigned j = 0; j < 4; j++) {
                numbers[j] = (key + j * (unsigned)(dice % 3)) % CROWD_KEYS;
                keys[j] = (firn_key){&numbers[j], sizeof numbers[j]};
                least[j] = 0;
            }
            int result = firn_get_or_load_many(self->cache, 4, keys, &loader, objects, NULL);
            if (result != FIRN_OK && result != FIRN_EUSER) {
                atomic_fetch_add(self->wrong, 1);
            }
            for (unsigned j = 0; j < 4; j++) {
                if (objects[j] != NULL) {
                    check_number(self, objects[j], least[j]);
                }
            }
            release(objects, 4);
        } else {
            firn_object *object;
            int result = firn_get_or_load(self->cache, &key, sizeof key, &loader, &object);
            if (result != FIRN_OK && result != FIRN_NOT_FOUND && result != FIRN_EUSER) {
                atomic_fetch_add(self->wrong, 1);
            }
            if (object != NULL) {
                check_number(self, object, 0);
                firn_object_unref(object);
            }
        }
    }
    return NULL;
}

START_TEST(nothing_older_than_a_delete_comes_back) {
    for (unsigned kind = 0; kind < KINDS; kind++) {
        char *path;
        firn_cache *cache = open_kind(kind, &path);
        static _Atomic uint64_t numbers[CROWD_KEYS];
        _Atomic unsigned wrong = 0;
        crowd crowds[CROWD];
        pthread_t threads[CROWD];
        for (unsigned i = 0; i < CROWD; i++) {
            crowds[i] = (crowd){cache, i * 77 + 1, numbers, &wrong};
            ck_assert_int_eq(pthread_create(&threads[i], NULL, crowd_run, &crowds[i]), 0);
        }
        for (unsigned i = 0; i < CROWD; i++) {
            pthread_join(threads[i], NULL);
        }
        ck_assert_uint_eq(atomic_load(&wrong), 0);
        close_kind(cache, path);
    }
}
END_TEST

/* ---- memory that runs out */

START_TEST(allocations_fail) {
    for (long which = 1; which < 400; which++) {
        faulty memory = {.countdown = 0};
        firn_options options = gated();
        options.allocator = (firn_allocator){faulty_alloc, faulty_free, &memory};
        options.hot_bytes = 256 << 10;
        firn_cache *cache = open_with(NULL, &options);
        source from = {.value = "one"};
        firn_loader loader = loader_of(&from);
        loader.ttl_ms = 100;
        loader.stale_ms = 50;
        loader.refresh = FIRN_REFRESH_BACKGROUND;
        memory.countdown = which;
        for (unsigned i = 0; i < 10; i++) {
            const firn_key keys[] = {{"a", 1}, {"b", 1}, {"c", 1}};
            firn_object *objects[3];
            int result = firn_get_or_load_many(cache, 3, keys, &loader, objects, NULL);
            ck_assert(result == FIRN_OK || result == FIRN_ENOMEM);
            release(objects, 3);
            firn_object *object;
            result = firn_get_or_load(cache, &i, sizeof i, &loader, &object);
            ck_assert(result == FIRN_OK || result == FIRN_STALE || result == FIRN_ENOMEM);
            ck_assert_int_eq(object != NULL, result != FIRN_ENOMEM);
            firn_object_unref(object);
            fake_now_ms += 60;
            result = firn_run(cache, 10);
            ck_assert(result == FIRN_OK || result == FIRN_AGAIN || result == FIRN_ENOMEM);
        }
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
        ck_assert_int_eq(memory.live, 0);
        if (!memory.hit) {
            ck_assert_int_gt(which, 10);
            return;
        }
    }
    ck_abort_msg("there is no end of allocations");
}
END_TEST

/* ---- early by chance */

static uint64_t fixed_bits(void *context) {
    return ((source *)context)->seed;
}

static uint64_t seeded_bits(void *context) {
    uint64_t x = ((source *)context)->seed += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static void put_costly(firn_cache *cache) {
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.ttl_ms = 10000;
    options.cost_us = 50000;
    ck_assert_int_eq(firn_put(cache, "k", 1, "old", 3, &options), FIRN_OK);
}

START_TEST(an_entry_ends_early_as_the_formula_says) {
    firn_options options = gated();
    firn_cache *cache = open_with(NULL, &options);
    source from = {.result = FIRN_EUSER}; /* so that nothing changes */
    firn_loader loader = loader_of(&from);
    loader.random = fixed_bits;
    loader.beta = 2;
    put_costly(cache);
    /* A draw of a half: cost * beta * ln 2 = 69.3 ms before the end. */
    from.seed = UINT64_C(1) << 63;
    fake_now_ms += 10000 - 70;
    ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_OK);
    ck_assert_uint_eq(from.calls, 0);
    fake_now_ms += 1;
    ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_OK);
    ck_assert_uint_eq(from.calls, 1);
    from.seed = UINT64_MAX; /* a draw of 1: not at all */
    ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_OK);
    ck_assert_uint_eq(from.calls, 1);
    loader.beta = 0;
    from.seed = 0;
    ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_OK);
    ck_assert_uint_eq(from.calls, 1);
    /* The smallest draw: 36.7 times cost and beta. */
    loader.beta = 0.5;
    put_costly(cache);
    fake_now_ms += 10000 - 918;
    ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_OK);
    ck_assert_uint_eq(from.calls, 2);
    fake_now_ms -= 1;
    ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_OK);
    ck_assert_uint_eq(from.calls, 2);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(draws_are_what_the_mathematics_library_says) {
    firn_options options = gated();
    firn_cache *cache = open_with(NULL, &options);
    source from = {.result = FIRN_EUSER};
    source chance = {.seed = 1};
    firn_loader loader = loader_of(&from);
    loader.random = fixed_bits;
    loader.beta = 1;
    put_costly(cache);
    uint64_t end_ms = fake_now_ms + 10000;
    for (unsigned i = 0; i < 500; i++) {
        from.seed = seeded_bits(&chance) >> i % 50; /* small ones too */
        double reach_ms = -log((double)((from.seed >> 11) + 1) * 0x1p-53) * 50;
        if (fabs(reach_ms - round(reach_ms)) < 1e-5) {
            continue; /* as good as both */
        }
        from.calls = 0;
        fake_now_ms = end_ms - (uint64_t)reach_ms - 1;
        ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_OK);
        ck_assert_uint_eq(from.calls, 0);
        if (reach_ms >= 1) {
            fake_now_ms += 1;
            ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_OK);
            ck_assert_uint_eq(from.calls, 1);
        }
    }
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(an_entry_ends_early_as_often_as_the_formula_says) {
    firn_options options = gated();
    firn_cache *cache = open_with(NULL, &options);
    source from = {.result = FIRN_EUSER};
    firn_loader loader = loader_of(&from);
    loader.random = seeded_bits;
    loader.beta = 1.5;
    put_costly(cache);
    uint64_t end_ms = fake_now_ms + 10000;
    const unsigned left_ms[] = {5, 50, 150, 400};
    enum { DRAWS = 4000 };
    for (unsigned i = 0; i < 4; i++) {
        fake_now_ms = end_ms - left_ms[i];
        from.calls = 0;
        for (unsigned j = 0; j < DRAWS; j++) {
            ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_OK);
        }
        double chance = exp(-(double)left_ms[i] / (50 * 1.5));
        double deviation = sqrt(DRAWS * chance * (1 - chance));
        ck_assert_msg(fabs(from.calls - DRAWS * chance) < 4 * deviation, "%u ms: %u of %.0f",
                      left_ms[i], from.calls, DRAWS * chance);
    }
    /* The cache's own source of chance: some, and not all. */
    loader.random = NULL;
    fake_now_ms = end_ms - 50;
    from.calls = 0;
    for (unsigned j = 0; j < 500; j++) {
        ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_OK);
    }
    ck_assert_uint_gt(from.calls, 50);
    ck_assert_uint_lt(from.calls, 450);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

/* ---- stores */

START_TEST(what_was_learnt_outlives_the_process) {
    char *path = scratch_path("load-restart");
    firn_options options = gated();
    firn_cache *cache = open_with(path, &options);
    source from = {.value = "old"};
    firn_loader loader = loader_of(&from);
    loader.ttl_ms = 100;
    loader.negative_ttl_ms = 500;
    loader.stale_if_error_ms = 500;
    ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_OK);
    firn_object *object;
    ck_assert_int_eq(firn_get(cache, "k", 1, &object), FIRN_OK);
    uint32_t cost_us = firn_object_get_traits(object).cost_us;
    firn_object_unref(object);
    from.result = FIRN_NOT_FOUND;
    ck_assert_int_eq(get(cache, "none", &loader, NULL), FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    cache = open_with(path, &options);
    firn_reader *reader;
    ck_assert_int_eq(firn_reader_open(cache, "none", 4, &reader), FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_get(cache, "k", 1, &object), FIRN_OK);
    ck_assert_uint_eq(firn_object_get_traits(object).cost_us, cost_us);
    firn_object_unref(object);
    ck_assert_int_eq(get(cache, "none", &loader, NULL), FIRN_NOT_FOUND);
    ck_assert_uint_eq(from.calls, 2);
    ck_assert_uint_eq(stats_of(cache).negative_hits, 1);
    fake_now_ms += 200;
    from.result = FIRN_EUSER;
    ck_assert_int_eq(get(cache, "k", &loader, "old"), FIRN_STALE);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(a_read_only_cache_loads_and_keeps_nothing) {
    char *path = scratch_path("load-read-only");
    firn_options options = gated();
    firn_cache *cache = open_with(path, &options);
    ck_assert_int_eq(firn_put(cache, "there", 5, "yes", 3, NULL), FIRN_OK);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    options.read_only = 1;
    cache = open_with(path, &options);
    source from = {.value = "one"};
    firn_loader loader = loader_of(&from);
    loader.negative_ttl_ms = 100;
    ck_assert_int_eq(get(cache, "there", &loader, "yes"), FIRN_OK);
    ck_assert_int_eq(get(cache, "k", &loader, "one"), FIRN_OK);
    ck_assert_int_eq(get(cache, "k", &loader, "one"), FIRN_OK);
    from.result = FIRN_NOT_FOUND;
    ck_assert_int_eq(get(cache, "k", &loader, NULL), FIRN_NOT_FOUND);
    ck_assert_uint_eq(from.calls, 3);
    ck_assert_uint_eq(stats_of(cache).puts, 0);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, what_is_not_there_is_loaded_once);
    tcase_add_test(tcase, absence_is_remembered_if_asked);
    tcase_add_test(tcase, what_the_source_lost_goes);
    tcase_add_test(tcase, mistakes_are_refused);
    tcase_add_test(tcase, errors_of_the_loader_are_given);
    tcase_add_test(tcase, a_load_says_how_its_value_is_put);
    tcase_add_test(tcase, values_are_interned);
    tcase_add_test(tcase, values_of_types_are_dropped_once);
    tcase_add_test(tcase, what_fits_into_no_tier_is_given);
    tcase_add_test(tcase, a_stale_value_is_given_while_one_loads);
    tcase_add_test(tcase, a_stale_value_is_given_if_the_load_fails);
    tcase_add_test(tcase, what_waits_gets_the_stale_value_if_the_load_fails);
    tcase_add_test(tcase, an_entry_is_loaded_anew_ahead_of_its_end);
    tcase_add_test(tcase, a_load_sees_what_there_is);
    tcase_add_test(tcase, firn_run_loads_what_waits);
    tcase_add_test(tcase, the_background_has_a_bound);
    tcase_add_test(tcase, closing_waits_for_a_load_in_the_background);
    tcase_add_test(tcase, a_thread_loads_in_the_background);
    tcase_add_test(tcase, a_damaged_record_is_told_once_a_call);
    tcase_add_test(tcase, a_change_during_a_load_wins);
    tcase_add_test(tcase, a_clear_during_a_load_wins);
    tcase_add_test(tcase, who_comes_after_a_clear_loads_for_himself);
    tcase_add_test(tcase, a_change_during_a_load_wins_over_absence);
    tcase_add_test(tcase, eviction_during_a_load_is_no_change);
    tcase_add_test(tcase, who_comes_after_a_change_loads_for_himself);
    tcase_add_test(tcase, waiting_has_a_bound);
    tcase_add_test(tcase, a_load_that_takes_too_long_is_overtaken);
    tcase_add_test(tcase, a_load_may_load_others_but_not_itself);
    tcase_add_test(tcase, loads_that_wait_for_each_other_are_told);
    tcase_add_test(tcase, many_are_loaded_with_one_call);
    tcase_add_test(tcase, batches_that_overlap_wait_when_they_have_loaded);
    tcase_add_test(tcase, eight_threads_make_one_load);
    tcase_add_test(tcase, who_comes_late_does_not_load_again);
    tcase_add_test(tcase, each_expiry_makes_one_load);
    tcase_add_test(tcase, nothing_older_than_a_delete_comes_back);
    tcase_add_test(tcase, allocations_fail);
    tcase_add_test(tcase, an_entry_ends_early_as_the_formula_says);
    tcase_add_test(tcase, draws_are_what_the_mathematics_library_says);
    tcase_add_test(tcase, an_entry_ends_early_as_often_as_the_formula_says);
    tcase_add_test(tcase, what_was_learnt_outlives_the_process);
    tcase_add_test(tcase, a_read_only_cache_loads_and_keeps_nothing);
}

int main(void) {
    return run_suite("load", add, 120);
}
