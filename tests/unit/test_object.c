/* The object: layout, lifetime, accounting. */
#include <stdint.h>
#include <string.h>

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

START_TEST(an_object_is_one_allocation_that_holds_key_and_value) {
    ledger counts = {0};
    firn_heap *heap = heap_on(&counts);
    size_t calls = counts.calls;
    firn_object *object = firn_object_new(heap, 7, "key", 3, 5);
    ck_assert_uint_eq(counts.calls, calls + 1);
    memcpy(firn_object_value(object), "value", 5);
    size_t key_size;
    ck_assert_mem_eq(firn_object_key(object, &key_size), "key", 3);
    ck_assert_uint_eq(key_size, 3);
    ck_assert_mem_eq(firn_object_data(object), "value", 5);
    ck_assert_uint_eq(firn_object_size(object), 5);
    ck_assert_uint_eq(firn_object_charge(object), sizeof(firn_object) + 16 + 5);
    firn_object_unref(object);
    firn_heap_unref(heap);
    ck_assert_uint_eq(counts.live_bytes, 0);
}
END_TEST

START_TEST(the_value_is_aligned_for_every_key_size) {
    firn_heap *heap = firn_heap_new(NULL);
    unsigned char key[70] = {1};
    for (size_t size = 1; size <= sizeof key; size++) {
        firn_object *object = firn_object_new(heap, 1, key, size, 1);
        ck_assert_uint_eq((uintptr_t)firn_object_data(object) % 16, 0);
        firn_object_unref(object);
    }
    firn_heap_unref(heap);
}
END_TEST

START_TEST(an_object_outlives_the_heaps_owner) {
    ledger counts = {0};
    firn_heap *heap = heap_on(&counts);
    firn_object *object = firn_object_new(heap, 1, "k", 1, 1);
    ck_assert_uint_eq(firn_heap_object_bytes(heap), firn_object_charge(object));
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
    ck_assert_ptr_null(firn_object_new(heap, 1, "k", 1, SIZE_MAX));
    ck_assert_ptr_null(firn_object_new(heap, 1, "k", 1, SIZE_MAX - 100));
    counts.refuse = true;
    ck_assert_ptr_null(firn_object_new(heap, 1, "k", 1, 1));
    firn_object_unref(NULL);
    firn_heap_unref(heap);
    ck_assert_uint_eq(counts.live_bytes, 0);
}
END_TEST

START_TEST(expiry_is_at_the_millisecond_and_zero_means_never) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_object *object = firn_object_new(heap, 1, "k", 1, 0);
    ck_assert(!firn_object_expired(object, UINT64_MAX));
    object->expires_ms = 100;
    ck_assert(!firn_object_expired(object, 99));
    ck_assert(firn_object_expired(object, 100));
    firn_object_unref(object);
    firn_heap_unref(heap);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, an_object_is_one_allocation_that_holds_key_and_value);
    tcase_add_test(tcase, the_value_is_aligned_for_every_key_size);
    tcase_add_test(tcase, an_object_outlives_the_heaps_owner);
    tcase_add_test(tcase, sizes_that_overflow_and_refusals_give_no_object);
    tcase_add_test(tcase, expiry_is_at_the_millisecond_and_zero_means_never);
}

int main(void) {
    return run_suite("object", add, 30);
}
