/* Event counters: nothing is lost, however many threads count, at once or one after the other. */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#include "observe/counters.h"
#include "unit/suite.h"

enum { THREADS = 100, COUNTED = 2000 };

static void *count(void *context) {
    for (unsigned i = 0; i < COUNTED; i++) {
        firn_count(context, FIRN_EVENT_HOT_HIT, 1);
        firn_count(context, FIRN_EVENT_MISS, 3);
    }
    return NULL;
}

START_TEST(more_threads_than_stripes_lose_nothing) {
    firn_counters *counters = aligned_alloc(64, sizeof *counters);
    ck_assert_ptr_nonnull(counters);
    *counters = (firn_counters){0};
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, count, counters), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    ck_assert_uint_eq(firn_counted(counters, FIRN_EVENT_HOT_HIT), THREADS * COUNTED);
    ck_assert_uint_eq(firn_counted(counters, FIRN_EVENT_MISS), THREADS * COUNTED * 3);
    ck_assert_uint_eq(firn_counted(counters, FIRN_EVENT_PUT), 0);
    free(counters);
}
END_TEST

START_TEST(threads_that_follow_each_other_go_on_where_the_last_one_stopped) {
    firn_counters *counters = aligned_alloc(64, sizeof *counters);
    ck_assert_ptr_nonnull(counters);
    *counters = (firn_counters){0};
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_t thread; /* most likely in the memory that the last one had */
        ck_assert_int_eq(pthread_create(&thread, NULL, count, counters), 0);
        pthread_join(thread, NULL);
        count(counters);
    }
    ck_assert_uint_eq(firn_counted(counters, FIRN_EVENT_HOT_HIT), 2 * THREADS * COUNTED);
    free(counters);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, more_threads_than_stripes_lose_nothing);
    tcase_add_test(tcase, threads_that_follow_each_other_go_on_where_the_last_one_stopped);
}

int main(void) {
    return run_suite("counters", add, 120);
}
