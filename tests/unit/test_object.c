/* The object: layout, lifetime, accounting. */
#include <stdint.h>
#include <string.h>

#include "base/hash.h"
#include "object/object.h"
#include "unit/suite.h"

typedef struct ledger {
    size_t live_bytes;
    size_t calls;
    bool refuse;
} ledger;

static void *ledger_alloc(void *context, size_t size) {
    ledger *self = context;
    if (self->refuse) {
        return NULL;
    }
    self->live_bytes += size;
    self->calls++;
    return malloc(size);
}

static void ledger_free(void *context, void *memory, size_t size) {
    ((ledger *)context)->live_bytes -= size;
    free(memory);
}

static firn_heap *heap_on(ledger *self) {
    firn_allocator allocator = {ledger_alloc, ledger_free, self};
    firn_heap *heap = firn_heap_new(&allocator);
    ck_assert_ptr_nonnull(heap);
    return heap;
}

enum { BUDGET = 1 << 20 };

static const uint64_t tags[3] = {11, 12, 13};

/* One of eight mixtures of traits. */
static firn_traits traits_number(size_t number) {
    static const firn_traits all[8] = {
        {.expires_ms = 77},
        {.expires_ms = 0},
        {.cost_us = 5},
        {.expires_ms = 70, .idle_ms = 3, .limit_ms = 99},
        {.negative = true, .expires_ms = 1},
        {.tags = tags, .tag_count = 1},
        {.tags = tags, .tag_count = 3, .stale_ms = 4, .expires_ms = 8},
        {.tags = tags, .tag_count = 2, .idle_ms = 1, .expires_ms = 9, .cost_us = UINT32_MAX},
    };
    return all[number];
}

static void assert_same_traits(const firn_object *object, const firn_traits *traits) {
    firn_traits got = firn_object_get_traits(object);
    ck_assert_uint_eq(got.expires_ms, traits->expires_ms);
    ck_assert_uint_eq(got.idle_ms, traits->idle_ms);
    ck_assert_uint_eq(got.limit_ms, traits->limit_ms);
    ck_assert_uint_eq(got.stale_ms, traits->stale_ms);
    ck_assert_uint_eq(got.cost_us, traits->cost_us);
    ck_assert(got.negative == traits->negative);
    ck_assert_uint_eq(got.tag_count, traits->tag_count);
    if (traits->tag_count > 0) {
        ck_assert_mem_eq(got.tags, traits->tags, firn_traits_tags_size(traits));
    }
}

START_TEST(an_object_holds_key_and_value_whatever_their_sizes) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_pool *pool = firn_pool_new(heap, BUDGET, 7);
    static unsigned char key[300];
    static unsigned char value[300];
    for (size_t i = 0; i < sizeof key; i++) {
        key[i] = (unsigned char)(i * 7 + 1);
        value[i] = (unsigned char)(i * 5 + 2);
    }
    for (size_t key_size = 1; key_size <= sizeof key; key_size += 1 + key_size / 40) {
        for (size_t value_size = 0; value_size <= sizeof value; value_size++) {
            firn_traits traits = traits_number(value_size % 8);
            uint64_t expires_ms = traits.expires_ms;
            firn_object *object = firn_object_make(pool, key, key_size, value_size, &traits);
            firn_object_set_version(object, 12345);
            memcpy(firn_object_body(object), value, value_size);
            size_t got;
            ck_assert_mem_eq(firn_object_key(object, &got), key, key_size);
            ck_assert_uint_eq(got, key_size);
            ck_assert_uint_eq((uintptr_t)firn_object_data(object) % 16, 0);
            ck_assert_mem_eq(firn_object_data(object), value, value_size);
            ck_assert_uint_eq(firn_object_size(object), value_size);
            ck_assert_uint_eq(firn_object_expires_ms(object), expires_ms);
            ck_assert_uint_eq(firn_object_version(object), 12345);
            ck_assert(firn_object_has_key(object, key, key_size));
            ck_assert(!firn_object_has_key(object, value, key_size));
            ck_assert_uint_eq(firn_object_hash(object), firn_hash64(7, key, key_size));
            ck_assert_uint_eq(firn_object_charge(object),
                              firn_object_charge_for(pool, key_size, value_size, &traits));
            ck_assert_uint_ge(firn_object_charge(object), 32 + key_size + value_size);
            /* Another that says the same. */
            firn_object *copy = firn_object_copy(pool, object);
            ck_assert_mem_eq(firn_object_data(copy), value, value_size);
            ck_assert_uint_eq(firn_object_version(copy), 12345);
            assert_same_traits(object, &traits);
            assert_same_traits(copy, &traits);
            ck_assert(firn_object_has_key(copy, key, key_size));
            firn_object_unref(object);
            firn_object_unref(copy);
        }
    }
    firn_pool_stats stats;
    firn_pool_get_stats(pool, &stats);
    ck_assert_uint_eq(stats.charge_bytes, 0);
    firn_pool_close(pool);
    firn_heap_unref(heap);
}
END_TEST

START_TEST(large_values_and_keys_keep_their_sizes) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_pool *pool = firn_pool_new(heap, BUDGET, 7);
    unsigned char *key = calloc(1, FIRN_KEY_SIZE_MAX);
    const size_t sizes[] = {(1 << 20) - 2, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5 << 20};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        firn_object *object = firn_object_make(pool, key, FIRN_KEY_SIZE_MAX, sizes[i],
                                               &(firn_traits){.expires_ms = i % 2});
        memset(firn_object_body(object), 0x5a, sizes[i]);
        size_t key_size;
        ck_assert_mem_eq(firn_object_key(object, &key_size), key, FIRN_KEY_SIZE_MAX);
        ck_assert_uint_eq(key_size, FIRN_KEY_SIZE_MAX);
        ck_assert_uint_eq(firn_object_size(object), sizes[i]);
        ck_assert_uint_eq(firn_object_expires_ms(object), i % 2);
        firn_object_unref(object);
    }
    free(key);
    firn_pool_close(pool);
    firn_heap_unref(heap);
}
END_TEST

START_TEST(an_object_outlives_the_pools_owner) {
    ledger counts = {0};
    firn_heap *heap = heap_on(&counts);
    firn_pool *pool = firn_pool_new(heap, BUDGET, 7);
    firn_object *object = firn_object_make(pool, "k", 1, 1, NULL);
    firn_pool_stats stats;
    firn_pool_get_stats(pool, &stats);
    ck_assert_uint_eq(stats.charge_bytes, firn_object_charge(object));
    firn_pool_close(pool);
    firn_heap_unref(heap);
    ck_assert_ptr_eq(firn_object_ref(object), object);
    firn_object_unref(object);
    ck_assert_uint_gt(counts.live_bytes, 0);
    firn_object_unref(object);
    ck_assert_uint_eq(counts.live_bytes, 0);
}
END_TEST

START_TEST(sizes_that_overflow_and_refusals_give_no_object) {
    ledger counts = {0};
    firn_heap *heap = heap_on(&counts);
    firn_pool *pool = firn_pool_new(heap, BUDGET, 7);
    ck_assert_ptr_null(firn_object_make(pool, "k", 1, SIZE_MAX, NULL));
    ck_assert_ptr_null(firn_object_make(pool, "k", 1, SIZE_MAX - 100, NULL));
    ck_assert_ptr_null(
        firn_object_make(pool, "k", 1, (size_t)INT64_MAX, &(firn_traits){.expires_ms = 1}));
    counts.refuse = true;
    ck_assert_ptr_null(firn_object_make(pool, "k", 1, 1, NULL));
    firn_object_unref(NULL);
    firn_pool_close(pool);
    firn_heap_unref(heap);
    ck_assert_uint_eq(counts.live_bytes, 0);
}
END_TEST

START_TEST(expiry_is_at_the_millisecond_and_zero_means_never) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_pool *pool = firn_pool_new(heap, BUDGET, 7);
    firn_object *object = firn_object_make(pool, "k", 1, 0, NULL);
    ck_assert(!firn_object_expired(object, UINT64_MAX));
    ck_assert(firn_object_set_expiry_locked(object, 0));
    ck_assert(!firn_object_set_expiry_locked(object, 5)); /* there is no room for it */
    firn_object_unref(object);
    object = firn_object_make(pool, "k", 1, 0, &(firn_traits){.expires_ms = 100});
    ck_assert(!firn_object_expired(object, 99));
    ck_assert(firn_object_expired(object, 100));
    ck_assert(firn_object_set_expiry_locked(object, 200));
    ck_assert(!firn_object_expired(object, 199));
    ck_assert(firn_object_set_expiry_locked(object, 0));
    ck_assert(!firn_object_expired(object, UINT64_MAX));
    firn_object_unref(object);
    firn_pool_close(pool);
    firn_heap_unref(heap);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, an_object_holds_key_and_value_whatever_their_sizes);
    tcase_add_test(tcase, large_values_and_keys_keep_their_sizes);
    tcase_add_test(tcase, an_object_outlives_the_pools_owner);
    tcase_add_test(tcase, sizes_that_overflow_and_refusals_give_no_object);
    tcase_add_test(tcase, expiry_is_at_the_millisecond_and_zero_means_never);
}

int main(void) {
    return run_suite("object", add, 30);
}
