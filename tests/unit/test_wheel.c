/* The timer wheel against a plain list, with time that goes in steps and in leaps. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "hot/wheel.h"
#include "suite.h"

enum { OBJECTS = 400, TICK_MS = 1 << FIRN_WHEEL_TICK_BITS };

typedef struct fixture {
    firn_heap *heap;
    firn_pool *pool;
    firn_wheel wheel;
    firn_object *objects[OBJECTS];
    bool there[OBJECTS];
} fixture;

static fixture self;

static void set_up(void) {
    memset(&self, 0, sizeof self);
    self.heap = firn_heap_new(NULL);
    self.pool = firn_pool_new(self.heap, 16 << 20, 7);
    for (unsigned i = 0; i < OBJECTS; i++) {
        self.objects[i] =
            firn_object_make(self.pool, &i, sizeof i, 0, &(firn_traits){.expires_ms = 1});
        ck_assert_ptr_nonnull(self.objects[i]);
    }
}

static void tear_down(void) {
    for (unsigned i = 0; i < OBJECTS; i++) {
        firn_object_unref(self.objects[i]);
    }
    firn_pool_close(self.pool);
    firn_heap_unref(self.heap);
}

static void add(unsigned number, uint64_t expires_ms) {
    ck_assert(firn_object_set_expiry_locked(self.objects[number], expires_ms));
    firn_wheel_add(&self.wheel, self.objects[number]);
    self.there[number] = true;
}

static unsigned number_of(const firn_object *object) {
    unsigned number;
    memcpy(&number, firn_object_key_bytes(object), sizeof number);
    return number;
}

/* All that is due comes, and nothing before its time; what is left is not due. */
static void advance(uint64_t now_ms) {
    firn_object *object;
    while ((object = firn_wheel_due(&self.wheel, now_ms)) != NULL) {
        unsigned number = number_of(object);
        ck_assert(self.there[number]);
        ck_assert_uint_le(firn_object_expires_ms(object), now_ms);
        self.there[number] = false;
    }
    bool any = false;
    for (unsigned i = 0; i < OBJECTS; i++) {
        any = any || self.there[i];
        /* A tick is done when it is over, and what came to one that was through has to wait. */
        uint64_t expires_ms = firn_object_expires_ms(self.objects[i]);
        ck_assert(!self.there[i] || expires_ms > now_ms || now_ms - expires_ms < 2 * TICK_MS);
    }
    ck_assert(!any || firn_wheel_any(&self.wheel));
}

START_TEST(what_is_due_comes_and_nothing_else) {
    uint64_t now_ms = _i % 2 == 0 ? 0 : UINT64_C(1764000000000);
    srandom((unsigned)_i);
    for (unsigned step = 0; step < 2000; step++) {
        unsigned number = (unsigned)random() % OBJECTS;
        if (self.there[number]) {
            firn_wheel_remove(self.objects[number]);
            self.there[number] = false;
        } else {
            unsigned bits = (unsigned)random() % 45; /* up to a thousand years */
            uint64_t more = ((uint64_t)random() << 20 ^ (uint64_t)random()) & ((1ull << bits) - 1);
            add(number, now_ms + more + 1);
        }
        if (random() % 4 == 0) {
            unsigned bits = (unsigned)random() % (random() % 50 == 0 ? 44 : 14);
            now_ms += (uint64_t)random() & ((1ull << bits) - 1);
            advance(now_ms);
        }
    }
    advance(UINT64_MAX >> 1);
    for (unsigned i = 0; i < OBJECTS; i++) {
        ck_assert(!self.there[i]);
    }
    ck_assert(!firn_wheel_any(&self.wheel));
}
END_TEST

START_TEST(the_latest_of_all_times_has_a_place) {
    add(0, UINT64_MAX);
    add(1, UINT64_MAX - 300);
    advance(UINT64_MAX >> 1);
    ck_assert(self.there[0] && self.there[1]);
    firn_wheel_remove(self.objects[0]);
    self.there[0] = false;
    advance(UINT64_MAX);
    ck_assert(!self.there[1]);
}
END_TEST

START_TEST(a_clock_that_goes_back_ends_nothing_early) {
    add(0, 10 * TICK_MS);
    advance(5 * TICK_MS);
    add(1, 3 * TICK_MS); /* by a clock that went back to 2 */
    ck_assert_ptr_null(firn_wheel_due(&self.wheel, 2 * TICK_MS));
    advance(6 * TICK_MS);
    ck_assert(!self.there[1] && self.there[0]);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_loop_test(tcase, what_is_due_comes_and_nothing_else, 0, 4);
    tcase_add_test(tcase, the_latest_of_all_times_has_a_place);
    tcase_add_test(tcase, a_clock_that_goes_back_ends_nothing_early);
}

int main(void) {
    return run_suite("wheel", add_tests, 60);
}
