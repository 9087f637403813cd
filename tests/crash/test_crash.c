/* kill -9 in a loop. A child puts, overwrites and deletes, and tells before and after each step,
 * through shared memory, what it is about to do and what it has done; at a random moment it is
 * killed. Then the store must be sound, hold all that was flushed, and give no value that was
 * overwritten or deleted before. */
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include <firn/firn.h>

#include "cold/cold_internal.h"
#include "tier/cache.h"
#include "unit/suite.h"
#include "unit/support.h"

enum { KEYS = 200, ROUNDS = 60 };

/* What the child tells. Versions count the changes of one key; an even change is a delete. */
typedef struct ledger {
    _Atomic uint64_t begun[KEYS];   /* changes begun */
    _Atomic uint64_t done[KEYS];    /* changes that returned */
    _Atomic uint64_t flushed[KEYS]; /* done before the last flush began that returned */
} ledger;

static uint64_t next(uint64_t *seed) {
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 33;
}

static size_t make_value(unsigned char *value, unsigned key, uint64_t change) {
    size_t size = 24 + (size_t)(change * 37 + key * 11) % 1500;
    memset(value, (int)(change % 256), size);
    memcpy(value, &change, sizeof change);
    memcpy(value + 8, &key, sizeof key);
    return size;
}

/* lossy: what was refused below before, or lost, is not there to be flushed. */
static void flush(firn_cache *cache, ledger *shared, bool lossy) {
    uint64_t done[KEYS];
    for (unsigned i = 0; i < KEYS; i++) {
        done[i] = atomic_load(&shared->done[i]);
    }
    if (firn_flush(cache) == FIRN_OK) {
        for (unsigned i = 0; i < KEYS; i++) {
            if (!lossy || firn_contains(cache, &i, sizeof i) == FIRN_OK) {
                atomic_store(&shared->flushed[i], done[i]);
            }
        }
    }
}

_Noreturn static void child(const char *path, const firn_options *options, ledger *shared,
                            uint64_t seed, bool lossy) {
    unsigned char value[2048];
    firn_cache *cache;
    if (firn_open(&cache, path, options) != FIRN_OK) {
        _exit(3);
    }
    for (;;) {
        unsigned key = (unsigned)(next(&seed) % KEYS);
        uint64_t change = atomic_load(&shared->begun[key]) + 1;
        atomic_store(&shared->begun[key], change);
        int result;
        if (change % 4 == 0) {
            result = firn_delete(cache, &key, sizeof key);
        } else {
            size_t size = make_value(value, key, change);
            result = firn_put(cache, &key, sizeof key, value, size, NULL);
        }
        if (result < 0) {
            _exit(4);
        }
        atomic_store(&shared->done[key], change);
        if (next(&seed) % 400 == 0) {
            flush(cache, shared, lossy);
        }
    }
}

/* What the store has for a key must be a change that was begun last or done last, or, if it was not
 * flushed, nothing. True: it is there. */
static bool check_key(firn_cache *cache, const ledger *shared, unsigned key) {
    unsigned char want[2048];
    uint64_t done = atomic_load(&shared->done[key]);
    uint64_t begun = atomic_load(&shared->begun[key]);
    uint64_t flushed = atomic_load(&shared->flushed[key]);
    firn_object *object;
    int result = firn_get(cache, &key, sizeof key, &object);
    if (result == FIRN_NOT_FOUND) {
        bool may_miss = flushed != done || begun != done || done % 4 == 0 || done == 0;
        ck_assert_msg(may_miss, "key %u was flushed and is lost", key);
        return false;
    }
    ck_assert_int_eq(result, FIRN_OK);
    uint64_t change;
    memcpy(&change, firn_object_data(object), sizeof change);
    ck_assert_msg(change == done || change == begun, "key %u: change %llu came back after %llu",
                  key, (unsigned long long)change, (unsigned long long)done);
    ck_assert_msg(change % 4 != 0, "key %u came back though it was deleted", key);
    size_t size = make_value(want, key, change);
    ck_assert_uint_eq(firn_object_size(object), size);
    ck_assert_mem_eq(firn_object_data(object), want, size);
    firn_object_unref(object);
    return true;
}

static void verify(const char *path) {
    char why[300] = "";
    firn_store *store;
    ck_assert_msg(firn_store_open(&store, path, why, sizeof why) == FIRN_OK, "%s", why);
    firn_verify_report report = FIRN_VERIFY_REPORT_INIT;
    int result = firn_store_verify(store, &report, NULL, NULL);
    ck_assert_msg(result == FIRN_OK, "the store is not sound: %s", firn_store_message(store));
    firn_store_close(store);
}

/* What is true after the restart becomes what the next round builds on. */
static void settle(firn_cache *cache, ledger *shared) {
    for (unsigned key = 0; key < KEYS; key++) {
        bool there = check_key(cache, shared, key);
        /* An interrupted change may have happened or not, and what was not flushed may be gone:
         * deleting makes it certain. */
        if (!there || atomic_load(&shared->begun[key]) != atomic_load(&shared->done[key])) {
            ck_assert_int_ge(firn_delete(cache, &key, sizeof key), 0);
            uint64_t change = (atomic_load(&shared->begun[key]) / 4 + 1) * 4;
            atomic_store(&shared->begun[key], change);
            atomic_store(&shared->done[key], change);
        }
    }
}

/* Waits for a child that is killed, by us or by itself. */
static void expect_killed(pid_t pid) {
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
                  "the child ended by itself: status %x", (unsigned)status);
}

static void run_and_kill(const char *path, const firn_options *options, ledger *shared,
                         uint64_t seed, long us, bool lossy) {
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        child(path, options, shared, seed, lossy);
    }
    nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
    kill(pid, SIGKILL);
    expect_killed(pid);
}

/* in_a_row: of kills, before the store is looked at. */
static void crash_loop(const firn_options *options, const char *name, unsigned in_a_row) {
    char *path = scratch_path(name);
    ledger *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(shared, MAP_FAILED);
    uint64_t seed = 4711;
    bool lossy = options->demotion != NULL || in_a_row > 1;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < in_a_row; i++) {
            long us = (long)(next(&seed) % (round % 2 == 0 ? 20000 : 3000));
            run_and_kill(path, options, shared, next(&seed) + round, us, lossy);
        }
        if (file_size(path, "firn.journal") > 0 && file_size(path, "data.mdb") > 0 &&
            round % 3 == 0) {
            char why[300];
            firn_store *store;
            if (firn_store_open(&store, path, why, sizeof why) == FIRN_OK) {
                firn_store_close(store);
                verify(path);
            }
        }
        firn_cache *cache = open_with(path, options);
        settle(cache, shared);
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
        for (unsigned key = 0; key < KEYS; key++) {
            atomic_store(&shared->flushed[key], atomic_load(&shared->done[key]));
        }
        verify(path);
    }
    munmap(shared, sizeof *shared);
    remove_tree(path);
}

START_TEST(a_killed_program_finds_its_store_sound_and_nothing_stale) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 64 << 10;
    options.cold_bytes = 16 << 20;
    crash_loop(&options, "crash", 1);
}
END_TEST

START_TEST(the_same_with_write_behind_and_without_a_thread) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 128 << 10;
    options.cold_bytes = 16 << 20;
    options.write_mode = FIRN_WRITE_BEHIND;
    options.write_behind_ms = 1;
    options.threads = 0;
    crash_loop(&options, "crash-behind", 1);
}
END_TEST

/* What the demotion policy refuses must not uncover what is older. */
START_TEST(the_same_where_most_is_refused_below) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 64 << 10;
    options.cold_bytes = 16 << 20;
    options.demotion = "reject-first";
    options.promotion = "kth-hit";
    crash_loop(&options, "crash-refused", 1);
}
END_TEST

/* All stays in memory, and comes below only because it is hot. */
START_TEST(the_same_while_what_is_hot_is_written) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 1 << 20;
    options.cold_bytes = 16 << 20;
    options.warm_save_ms = 1;
    crash_loop(&options, "crash-hot", 1);
}
END_TEST

/* What was replayed is not in the index yet when the next is killed. */
START_TEST(the_same_where_one_is_killed_soon_after_the_other) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 64 << 10;
    options.cold_bytes = 16 << 20;
    options.durability = FIRN_DURABILITY_NONE;
    crash_loop(&options, "crash-row", 3);
}
END_TEST

/* ---- versions ---- */

static void put_all(firn_cache *cache) {
    for (unsigned key = 0; key < KEYS; key++) {
        ck_assert_int_eq(firn_put(cache, &key, sizeof key, "value", 5, NULL), FIRN_OK);
    }
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
}

static void delete_last(firn_cache *cache) {
    unsigned key = KEYS - 1;
    ck_assert_int_eq(firn_delete(cache, &key, sizeof key), FIRN_OK);
}

/* The second writes nothing, but makes a checkpoint behind what the first wrote. What the third
 * deletes is younger all the same. */
START_TEST(versions_go_on_where_one_is_killed_soon_after_the_other) {
    char *path = scratch_path("crash-versions");
    firn_options options = FIRN_OPTIONS_INIT;
    options.threads = 0;
    firn_cache *cache = open_with(path, &options);
    put_all(cache);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    void (*const steps[])(firn_cache *) = {put_all, work_off, delete_last};
    for (unsigned i = 0; i < sizeof steps / sizeof *steps; i++) {
        pid_t pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
            steps[i](open_with(path, &options));
            raise(SIGKILL);
        }
        expect_killed(pid);
    }
    cache = open_with(path, &options);
    for (unsigned key = 0; key < KEYS; key++) {
        ck_assert_int_eq(firn_contains(cache, &key, sizeof key),
                         key < KEYS - 1 ? FIRN_OK : FIRN_NOT_FOUND);
    }
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

/* The cold tier tells that it cannot say what it lost. What it has after all must not show once it
 * was overwritten. */
START_TEST(what_may_be_lost_below_does_not_come_back) {
    char *path = scratch_path("crash-lost");
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        firn_options options = FIRN_OPTIONS_INIT;
        options.threads = 0;
        firn_cache *cache;
        if (firn_open(&cache, path, &options) != FIRN_OK ||
            firn_put(cache, "k", 1, "older", 5, NULL) != FIRN_OK || firn_flush(cache) != FIRN_OK) {
            _exit(3);
        }
        cache->cold->reclaimed(cache->cold->reclaimed_context, 0, 0);
        if (firn_put(cache, "k", 1, "newer", 5, NULL) != FIRN_OK) {
            _exit(4);
        }
        kill(getpid(), SIGKILL);
    }
    expect_killed(pid);
    firn_cache *cache = open_with(path, &(firn_options)FIRN_OPTIONS_INIT);
    firn_object *object;
    if (firn_get(cache, "k", 1, &object) == FIRN_OK) {
        ck_assert_mem_eq(firn_object_data(object), "newer", 5);
        firn_object_unref(object);
    }
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, a_killed_program_finds_its_store_sound_and_nothing_stale);
    tcase_add_test(tcase, the_same_with_write_behind_and_without_a_thread);
    tcase_add_test(tcase, the_same_where_most_is_refused_below);
    tcase_add_test(tcase, what_may_be_lost_below_does_not_come_back);
    tcase_add_test(tcase, the_same_while_what_is_hot_is_written);
    tcase_add_test(tcase, the_same_where_one_is_killed_soon_after_the_other);
    tcase_add_test(tcase, versions_go_on_where_one_is_killed_soon_after_the_other);
}

int main(void) {
    return run_suite("crash", add, 300);
}
