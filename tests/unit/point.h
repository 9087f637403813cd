/* Where a test has got to, at the cost of two stores for each assertion that holds. Check writes
 * and flushes a message to the parent instead, which was most of the time of the suites that assert
 * in a loop. This keeps the point in memory that the parent sees too, and tells it when a test
 * ended on its way: killed, or out of time. An assertion that fails tells its own line as ever.
 * Included where <check.h> is; knows nothing of what is tested. */
#ifndef FIRN_TESTS_POINT_H
#define FIRN_TESTS_POINT_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { TEST_POINTS = 256 }; /* tests of one suite; the rest share the last */

typedef struct test_point {
    const char *file; /* a literal, at the same place in parent and child; NULL: no assertion yet */
    int line;
} test_point;

/* One a test, in the order in which they run. */
typedef struct test_points {
    unsigned begun;
    test_point of[TEST_POINTS];
} test_points;

static test_points *all_points; /* shared by parent and child */
static test_point no_test;      /* for what is no suite, or on its way to be one */
static test_point *this_point = &no_test;

/* Threads of a test may assert at once. Not an atomic_store, where the explorer would stop. */
__attribute__((unused)) static void pass_point(const char *file, int line) {
    __atomic_store_n(&this_point->file, file, __ATOMIC_RELAXED);
    __atomic_store_n(&this_point->line, line, __ATOMIC_RELAXED);
}

#define _mark_point(file, line) pass_point(file, line)

/* In the child, before its test. */
__attribute__((unused)) static void begin_point(void) {
    unsigned test = all_points->begun++;
    this_point = &all_points->of[test < TEST_POINTS ? test : TEST_POINTS - 1];
}

/* In the parent, before all tests. */
__attribute__((unused)) static void share_points(void) {
    all_points =
        mmap(NULL, sizeof *all_points, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (all_points == MAP_FAILED) {
        abort();
    }
}

/* In the parent, after all tests: where those were that did not end by themselves. */
__attribute__((unused)) static void tell_points(SRunner *runner) {
    TestResult **results = srunner_results(runner);
    for (int i = 0; i < srunner_ntests_run(runner) && i < TEST_POINTS - 1; i++) {
        const test_point *point = &all_points->of[i];
        if (tr_rtype(results[i]) == CK_ERROR && point->file != NULL) {
            printf("%s:%d: the last assertion that held before: %s\n", point->file, point->line,
                   tr_msg(results[i]));
        }
    }
    free(results);
    munmap(all_points, sizeof *all_points);
}

#endif
