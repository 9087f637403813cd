/* Warm restarts: what was hot is hot again, after a close and after kill -9. */
#include <check.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include <firn/firn.h>

#include "suite.h"
#include "support.h"
#include "tier/cache.h"

enum { ENTRIES = 2000, HOT = 500 };

static firn_options quiet(void) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 256 << 10;
    options.threads = 0;
    options.write_mode = FIRN_WRITE_BEHIND;
    options.warm_save_ms = 1;
    return options;
}

/* Many entries, of which the first are hot at the end. */
static firn_cache *fill(const char *path, const firn_options *options) {
    firn_cache *cache = open_with(path, options);
    char value[300] = "";
    for (unsigned i = 0; i < ENTRIES; i++) {
        ck_assert_int_eq(firn_put(cache, &i, sizeof i, value, sizeof value, NULL), FIRN_OK);
    }
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < HOT; i++) {
            firn_object *object;
            ck_assert_int_eq(firn_get(cache, &i, sizeof i, &object), FIRN_OK);
            firn_object_unref(object);
        }
        work_off(cache);
    }
    usleep(5000); /* more than warm_save_ms, however quick all was */
    work_off(cache);
    return cache;
}

/* How many of those that were hot are in memory, once what comes back has come. */
static unsigned count_hot(const char *path, const firn_options *options) {
    firn_cache *cache = open_with(path, options);
    work_off(cache);
    firn_stats before = FIRN_STATS_INIT;
    firn_stats after = FIRN_STATS_INIT;
    ck_assert_int_eq(firn_get_stats(cache, &before), FIRN_OK);
    ck_assert_uint_eq(before.hot_entries, before.warmed);
    for (unsigned i = 0; i < HOT; i++) {
        firn_object *object;
        ck_assert_int_eq(firn_get(cache, &i, sizeof i, &object), FIRN_OK);
        firn_object_unref(object);
    }
    ck_assert_int_eq(firn_get_stats(cache, &after), FIRN_OK);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    return (unsigned)(after.hot_hits - before.hot_hits);
}

START_TEST(what_was_hot_is_hot_after_a_close) {
    char *path = scratch_path("closed");
    firn_options options = quiet();
    options.warm_save_ms = FIRN_WARM_SAVE_OFF;
    ck_assert_int_eq(firn_close(fill(path, &options)), FIRN_OK);
    ck_assert_uint_eq(count_hot(path, &options), HOT);
    remove_tree(path);
}
END_TEST

START_TEST(what_was_hot_is_hot_after_kill_9) {
    for (unsigned off = 0; off < 2; off++) {
        char *path = scratch_path("killed");
        firn_options options = quiet();
        options.warm_save_ms = off ? FIRN_WARM_SAVE_OFF : 1;
        pid_t child = fork();
        ck_assert_int_ge(child, 0);
        if (child == 0) {
            (void)fill(path, &options);
            raise(SIGKILL);
        }
        int status;
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        unsigned hot = count_hot(path, &options);
        ck_assert_msg(off ? hot == 0 : hot > HOT / 10 * 9, "%u of %u", hot, (unsigned)HOT);
        remove_tree(path);
    }
}
END_TEST

START_TEST(nothing_is_recorded_while_nothing_changes) {
    char *path = scratch_path("unchanged");
    firn_options options = quiet();
    firn_cache *cache = fill(path, &options);
    usleep(5000);
    work_off(cache);
    char *file = join(path, "firn.hot");
    ck_assert_int_eq(unlink(file), 0);
    usleep(5000);
    work_off(cache);
    ck_assert_int_ne(access(file, F_OK), 0);
    char value[300] = "";
    for (unsigned i = 0; i < ENTRIES; i++) {
        ck_assert_int_eq(firn_put(cache, &i, sizeof i, value, sizeof value, NULL), FIRN_OK);
    }
    usleep(5000);
    work_off(cache);
    ck_assert_int_eq(access(file, F_OK), 0);
    free(file);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

/* ---- what is hot is written ---- */

enum { INTERVAL_MS = 1000 };

static void put_some(firn_cache *cache, unsigned from, unsigned to) {
    char value[300] = "";
    for (unsigned i = from; i < to; i++) {
        ck_assert_int_eq(firn_put(cache, &i, sizeof i, value, sizeof value, NULL), FIRN_OK);
    }
}

/* So few that they all stay in memory. */
static firn_cache *fill_memory(const char *path, const firn_options *options) {
    firn_cache *cache = open_with(path, options);
    put_some(cache, 0, HOT);
    return cache;
}

/* The next time to record, and writing what is due then. The clock of this is ours alone: the
 * background work of the cache is not called. */
static void record(firn_cache *cache, uint64_t *now_ns) {
    uint64_t wait_ns = UINT64_MAX;
    *now_ns += INTERVAL_MS * UINT64_C(1000000);
    while (firn_warm_save_step(cache, *now_ns, &wait_ns)) {
        while (firn_queue_look(&cache->queue).entries > 0) {
            ck_assert_int_eq(firn_write_batch(cache), FIRN_OK);
        }
    }
}

static firn_stats stats_of(firn_cache *cache) {
    firn_stats stats = FIRN_STATS_INIT;
    ck_assert_int_eq(firn_get_stats(cache, &stats), FIRN_OK);
    return stats;
}

static firn_options on_eviction(void) {
    firn_options options = quiet();
    options.write_mode = FIRN_WRITE_ON_EVICTION;
    options.warm_save_ms = INTERVAL_MS;
    return options;
}

START_TEST(what_never_left_memory_is_hot_after_kill_9) {
    for (unsigned off = 0; off < 2; off++) {
        char *path = scratch_path("stayed");
        firn_options options = on_eviction();
        options.warm_save_ms = off ? FIRN_WARM_SAVE_OFF : INTERVAL_MS;
        pid_t child = fork();
        ck_assert_int_ge(child, 0);
        if (child == 0) {
            firn_cache *cache = fill_memory(path, &options);
            uint64_t now_ns = 0;
            record(cache, &now_ns);
            record(cache, &now_ns);
            raise(SIGKILL);
        }
        int status;
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        if (off) {
            firn_cache *cache = open_with(path, &options);
            ck_assert_uint_eq(stats_of(cache).cold_entries, 0);
            ck_assert_int_eq(firn_close(cache), FIRN_OK);
        } else {
            ck_assert_uint_eq(count_hot(path, &options), HOT);
        }
        remove_tree(path);
    }
}
END_TEST

START_TEST(what_is_hot_is_written_once_and_stays) {
    char *path = scratch_path("once");
    firn_options options = on_eviction();
    firn_cache *cache = fill_memory(path, &options);
    uint64_t now_ns = 0;
    record(cache, &now_ns);
    ck_assert_uint_eq(stats_of(cache).writes, 0); /* it has just come */
    for (unsigned i = 0; i < 3; i++) {
        record(cache, &now_ns);
        ck_assert_uint_eq(stats_of(cache).writes, HOT);
    }
    ck_assert_uint_eq(stats_of(cache).hot_entries, HOT);
    ck_assert_uint_eq(stats_of(cache).evictions, 0);
    /* Nothing is left to do, so nobody is to be woken for it. */
    uint64_t wait_ns = UINT64_MAX;
    ck_assert(!firn_warm_save_step(cache, now_ns, &wait_ns));
    ck_assert_uint_eq(wait_ns, UINT64_MAX);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(what_is_overwritten_again_and_again_is_not_written_each_time) {
    char *path = scratch_path("often");
    firn_options options = on_eviction();
    firn_cache *cache = fill_memory(path, &options);
    uint64_t now_ns = 0;
    for (unsigned i = 0; i < 10; i++) {
        put_some(cache, 0, HOT / 5);
        record(cache, &now_ns);
    }
    ck_assert_uint_eq(stats_of(cache).writes, HOT - HOT / 5);
    record(cache, &now_ns); /* once it is left alone */
    ck_assert_uint_eq(stats_of(cache).writes, HOT);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(what_a_policy_refuses_is_not_written_for_being_hot) {
    char *path = scratch_path("refused");
    firn_options options = on_eviction();
    options.demotion = "reject-first";
    firn_cache *cache = fill_memory(path, &options);
    uint64_t now_ns = 0;
    for (unsigned i = 0; i < 3; i++) {
        record(cache, &now_ns);
    }
    ck_assert_uint_eq(stats_of(cache).writes, 0);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, what_was_hot_is_hot_after_a_close);
    tcase_add_test(tcase, what_was_hot_is_hot_after_kill_9);
    tcase_add_test(tcase, nothing_is_recorded_while_nothing_changes);
    tcase_add_test(tcase, what_never_left_memory_is_hot_after_kill_9);
    tcase_add_test(tcase, what_is_hot_is_written_once_and_stays);
    tcase_add_test(tcase, what_is_overwritten_again_and_again_is_not_written_each_time);
    tcase_add_test(tcase, what_a_policy_refuses_is_not_written_for_being_hot);
}

int main(void) {
    return run_suite("warm", add_tests, 60);
}
