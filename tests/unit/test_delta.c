/* The table of what the stored index does not know yet: its sizes, and readers beside a writer that
 * empties and resizes it. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/heap.h"
#include "cold/delta.h"
#include "unit/suite.h"
#include "unit/support.h"

enum { SMALL = 64, LARGE = 1024, TURNS = 300, READERS = 2 };

static firn_heap *heap;
static firn_delta delta;

static void set_up(void) {
    heap = firn_heap_new(NULL);
    ck_assert_int_eq(firn_delta_init(&delta, heap, SMALL), FIRN_OK);
}

static void tear_down(void) {
    firn_delta_fini(&delta, heap);
    firn_heap_unref(heap);
}

static uint64_t hash_of(uint64_t number) {
    return (number + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

static uint64_t place_of(uint64_t hash) {
    return ~hash;
}

static void fill(uint64_t from, uint64_t to) {
    for (uint64_t i = from; i < to; i++) {
        firn_delta_set(&delta, hash_of(i), place_of(hash_of(i)));
    }
}

static bool holds(uint64_t number) {
    uint64_t place;
    bool found = firn_delta_find(&delta, hash_of(number), &place);
    ck_assert(!found || place == place_of(hash_of(number)));
    return found;
}

static void expect(uint64_t count) {
    firn_delta_entry entries[2 * LARGE];
    ck_assert_uint_eq(delta.count, count);
    for (uint64_t i = 0; i < 2 * LARGE; i++) {
        ck_assert_int_eq(holds(i), i < count);
    }
    firn_delta_sorted(&delta, entries);
    for (uint64_t i = 0; i < count; i++) {
        ck_assert_uint_eq(entries[i].place, place_of(entries[i].hash));
        ck_assert(i == 0 || entries[i - 1].hash < entries[i].hash);
    }
}

START_TEST(an_empty_one_takes_any_size) {
    static const size_t sizes[] = {SMALL, LARGE, 2 * SMALL, LARGE, 2 * LARGE, SMALL};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        ck_assert_int_eq(firn_delta_resize(&delta, heap, sizes[i]), FIRN_OK);
        ck_assert_uint_eq(delta.max, sizes[i]);
        expect(0);
        fill(0, sizes[i]);
        fill(0, sizes[i] / 2);
        expect(sizes[i]);
        firn_delta_clear(&delta);
    }
}
END_TEST

START_TEST(a_full_one_becomes_twice_as_large) {
    for (size_t max = SMALL; max < LARGE; max *= 2) {
        fill(max / 2, max);
        fill(0, max / 2);
        ck_assert_int_eq(firn_delta_enlarge(&delta, heap), FIRN_OK);
        ck_assert_uint_eq(delta.max, 2 * max);
        expect(max);
    }
}
END_TEST

static atomic_bool over;

static void *read_all_the_while(void *context) {
    size_t *found = context;
    while (!atomic_load_explicit(&over, memory_order_relaxed)) {
        for (uint64_t i = 0; i < LARGE; i++) {
            *found += holds(i);
        }
    }
    return NULL;
}

/* A reader finds an entry with its own place or none, and its search ends. */
START_TEST(readers_stay_beside_a_change_of_size) {
    pthread_t threads[READERS];
    size_t found[READERS] = {0};
    atomic_store(&over, false);
    for (unsigned i = 0; i < READERS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, read_all_the_while, &found[i]), 0);
    }
    for (unsigned turn = 0; turn < TURNS; turn++) {
        size_t max = turn % 2 == 0 ? LARGE : (size_t)SMALL << turn % 4;
        ck_assert_int_eq(firn_delta_resize(&delta, heap, max), FIRN_OK);
        fill(0, max);
        ck_assert(holds(max - 1));
        firn_delta_clear(&delta);
    }
    atomic_store(&over, true);
    for (unsigned i = 0; i < READERS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
}
END_TEST

enum { LIVES = SANITIZED ? 3000000 : 20000000 };

static void *find_one_all_the_while(void *context) {
    size_t *wrong = context;
    uint64_t hash = hash_of(0);
    while (!atomic_load_explicit(&over, memory_order_relaxed)) {
        uint64_t place;
        *wrong += firn_delta_find(&delta, hash, &place) && place != place_of(hash);
    }
    return NULL;
}

/* One slot is one hash's, another's, and the first one's again, so often that a reader meets all
 * three within a look-up. */
START_TEST(a_slot_that_is_used_again_twice_gives_no_other_hashes_place) {
    firn_delta_fini(&delta, heap);
    ck_assert_int_eq(firn_delta_init(&delta, heap, 1), FIRN_OK);
    pthread_t threads[READERS];
    size_t wrong[READERS] = {0};
    uint64_t other = hash_of(0) ^ 1; /* of the same slot */
    atomic_store(&over, false);
    for (unsigned i = 0; i < READERS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, find_one_all_the_while, &wrong[i]), 0);
    }
    for (unsigned life = 0; life < LIVES; life++) {
        uint64_t hash = life % 2 == 0 ? hash_of(0) : other;
        firn_delta_set(&delta, hash, place_of(hash));
        firn_delta_clear(&delta);
    }
    atomic_store(&over, true);
    for (unsigned i = 0; i < READERS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert_uint_eq(wrong[i], 0);
    }
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, an_empty_one_takes_any_size);
    tcase_add_test(tcase, a_full_one_becomes_twice_as_large);
    tcase_add_test(tcase, readers_stay_beside_a_change_of_size);
    tcase_add_test(tcase, a_slot_that_is_used_again_twice_gives_no_other_hashes_place);
}

int main(void) {
    return run_suite("delta", add, 120);
}
