/* Every allocation fails in turn while typed, linked, interned, pinned and weakly referenced
 * entries come and go: nothing crashes, nothing leaks, each value is dropped once, and nothing
 * depends on what has changed. */
#include <string.h>

#include <firn/firn.h>

#include "fault/faulty.h"
#include "unit/suite.h"
#include "unit/support.h"

static bool is_fine(int result) {
    return result == FIRN_OK || result == FIRN_NOT_FOUND || result == FIRN_ENOMEM ||
           result == FIRN_CONFLICT || result == FIRN_ETYPE;
}

/* A value that counts how many of it there are. */
static atomic_long alive;

static int box_encode(void *context, const void *value, size_t value_size, firn_encoder *encoder) {
    (void)context;
    return firn_encode_bytes(encoder, value, value_size);
}

static int box_decode(void *context, uint32_t version, const void *bytes, size_t size, void *value,
                      size_t value_size) {
    (void)context;
    (void)version;
    if (size != value_size) {
        return FIRN_EINVAL;
    }
    memcpy(value, bytes, size);
    atomic_fetch_add(&alive, 1);
    return FIRN_OK;
}

static void box_drop(void *context, void *value, size_t value_size) {
    (void)context;
    (void)value;
    (void)value_size;
    atomic_fetch_sub(&alive, 1);
}

static void box_visit(void *context, const void *value, size_t value_size, firn_visitor visitor,
                      void *visitor_context) {
    (void)context;
    (void)value;
    (void)value_size;
    (void)visitor;
    (void)visitor_context;
}

static const firn_type box_type = {.size = sizeof(firn_type),
                                   .name = "box",
                                   .value_size = 200,
                                   .encode = box_encode,
                                   .decode = box_decode,
                                   .visit = box_visit,
                                   .drop = box_drop};

static void put_box(firn_cache *cache, const char *key) {
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.type = &box_type;
    firn_object *object;
    int result = firn_object_new(cache, key, strlen(key), 200, &options, &object);
    ck_assert(is_fine(result));
    if (result == FIRN_OK) {
        atomic_fetch_add(&alive, 1);
        result = firn_put_object(cache, object);
        ck_assert(is_fine(result));
        if (result != FIRN_OK) {
            atomic_fetch_sub(&alive, 1); /* still ours */
        }
        firn_object_unref(object);
    }
}

static bool put_linked(firn_cache *cache, const char *key, unsigned kind, const char *target,
                       bool owned) {
    firn_link link = {kind, target, strlen(target), 0};
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.links = &link;
    options.link_count = 1;
    options.owned = owned;
    int result = firn_put(cache, key, strlen(key), key, strlen(key), &options);
    ck_assert(is_fine(result));
    return result == FIRN_OK;
}

static bool has(firn_cache *cache, const char *key) {
    return firn_contains(cache, key, strlen(key)) == FIRN_OK;
}

static void use_links(firn_cache *cache, const char *value) {
    if (firn_put(cache, "source", 6, value, strlen(value), NULL) != FIRN_OK) {
        return; /* the old one is kept, and with it what depends on it */
    }
    ck_assert(!has(cache, "result") && !has(cache, "result of it"));
    if (put_linked(cache, "result", FIRN_LINK_DEPENDS, "source", false)) {
        put_linked(cache, "result of it", FIRN_LINK_DEPENDS, "result", false);
    }
    put_linked(cache, "one", FIRN_LINK_KEEPS, "two", true);
    put_linked(cache, "two", FIRN_LINK_KEEPS, "one", true);
    firn_link link = {FIRN_LINK_KEEPS, "source", 6, 0};
    ck_assert(is_fine(firn_link_add(cache, "result", 6, &link)));
    ck_assert(is_fine(firn_link_remove(cache, "result", 6, &link)));
    ck_assert(is_fine(firn_touch(cache, "result", 6, 100000)));
}

static void use_references(firn_cache *cache) {
    firn_object *object;
    firn_weak *weak = NULL;
    int result = firn_pin(cache, "box 1", 5, &object);
    ck_assert(is_fine(result));
    if (result == FIRN_OK) {
        ck_assert(is_fine(firn_weak_new(cache, object, &weak)));
        firn_object_unref(object);
        ck_assert_int_eq(firn_unpin(cache, "box 1", 5), FIRN_OK);
    }
    put_box(cache, "box 1");
    if (weak != NULL) {
        ck_assert(is_fine(firn_weak_get(weak, &object)));
        firn_object_unref(object);
        firn_weak_free(weak);
    }
}

static void use_interned(firn_cache *cache) {
    char value[700];
    memset(value, 'i', sizeof value);
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.intern = FIRN_INTERN_YES;
    for (int i = 0; i < 6; i++) {
        ck_assert(is_fine(firn_put(cache, &i, sizeof i, value, sizeof value, &options)));
    }
    for (int i = 0; i < 6; i += 2) {
        ck_assert(is_fine(firn_delete(cache, &i, sizeof i)));
    }
    for (int i = 0; i < 6; i++) {
        firn_object *object;
        int result = firn_get(cache, &i, sizeof i, &object);
        ck_assert(is_fine(result));
        if (result == FIRN_OK) {
            ck_assert_uint_eq(firn_object_size(object), sizeof value);
            ck_assert_mem_eq(firn_object_data(object), value, sizeof value);
            firn_object_unref(object);
        }
    }
}

static void scenario(const char *path, faulty *memory) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 64 << 10;
    options.cold_bytes = 2 << 20;
    options.threads = 0;
    options.allocator = (firn_allocator){faulty_alloc, faulty_free, memory};
    firn_cache *cache;
    int result = firn_open(&cache, path, &options);
    ck_assert_msg(is_fine(result), "open: %s", firn_strerror(result));
    if (result != FIRN_OK) {
        return;
    }
    result = firn_register_type(cache, &box_type);
    ck_assert(is_fine(result));
    for (int i = 0; i < 40 && result == FIRN_OK; i++) {
        char key[20];
        snprintf(key, sizeof key, "box %d", i);
        put_box(cache, key);
    }
    use_links(cache, "first");
    use_links(cache, "second");
    use_interned(cache);
    if (result == FIRN_OK) {
        use_references(cache);
    }
    ck_assert(is_fine(firn_collect(cache, UINT64_MAX, NULL)));
    ck_assert(path == NULL || is_fine(firn_flush(cache)));
    ck_assert(is_fine(firn_close(cache)));
}

static void fail_each(const char *path) {
    for (long n = 1;; n++) {
        faulty memory = {n, 0, false};
        atomic_store(&alive, 0);
        scenario(path, &memory);
        ck_assert_msg(atomic_load(&memory.live) == 0, "allocation %ld: %ld bytes leaked", n,
                      atomic_load(&memory.live));
        ck_assert_msg(atomic_load(&alive) == 0, "allocation %ld: %ld values are not dropped", n,
                      atomic_load(&alive));
        if (!atomic_load(&memory.hit)) {
            break;
        }
        if (path != NULL && n % 20 == 0) {
            clear_tree(path);
        }
    }
}

START_TEST(no_allocation_may_fail_badly_in_memory) {
    fail_each(NULL);
}
END_TEST

START_TEST(no_allocation_may_fail_badly_with_a_store) {
    char *path = scratch_path("alloc-objects");
    fail_each(path);
    remove_tree(path);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, no_allocation_may_fail_badly_in_memory);
    tcase_add_test(tcase, no_allocation_may_fail_badly_with_a_store);
}

int main(void) {
    return run_suite("alloc objects", add, 300);
}
