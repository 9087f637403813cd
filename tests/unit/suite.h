/* What every suite needs: a main that runs one list of tests and says how it went. */
#ifndef FIRN_TESTS_SUITE_H
#define FIRN_TESTS_SUITE_H

#include <check.h>
#include <stdlib.h>

#include "unit/point.h"

/* Ends a suite: runs what `add` put into the case, each test within `seconds`. */
static int run_suite(const char *name, void (*add)(TCase *), double seconds) {
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    tcase_set_timeout(tcase, seconds);
    tcase_add_checked_fixture(tcase, begin_point, NULL);
    add(tcase);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    share_points();
    srunner_run_all(runner, CK_NORMAL);
    tell_points(runner);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
