/* Readers beside a writer, in another process or in threads: each entry that is live all the while
 * is found at every moment, while the writer cleans segments, gives them up and moves them. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>

#include <firn/firn.h>

#include "suite.h"
#include "support.h"

enum {
    STABLE = 60, /* entries that are never changed */
    STABLE_BYTES = 700,
    CHURNED = 24, /* that are overwritten over and over */
    CHURNED_BYTES = 6000,
    TURNS = 60, /* a turn writes about a seventh of the log */
    TINY = 4000,
};

static char *path;

static void set_up(void) {
    path = scratch_path("beside");
}

static void tear_down(void) {
    remove_tree(path);
}

static firn_options small_options(void) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 64 << 10;
    options.cold_bytes = FIRN_COLD_BYTES_MIN;
    options.threads = 0;
    options.compression_level = FIRN_COMPRESSION_OFF;
    return options;
}

static unsigned char *value_of(unsigned key, size_t size) {
    static _Thread_local unsigned char value[CHURNED_BYTES];
    for (size_t i = 0; i < size; i++) {
        value[i] = (unsigned char)(key * 31 + i * 7 + (i >> 8));
    }
    return value;
}

static void put(firn_cache *cache, unsigned key, size_t size) {
    ck_assert_int_eq(firn_put(cache, &key, sizeof key, value_of(key, size), size, NULL), FIRN_OK);
}

static uint64_t reclaimed_of(firn_cache *cache) {
    firn_stats stats = FIRN_STATS_INIT;
    ck_assert_int_eq(firn_get_stats(cache, &stats), FIRN_OK);
    return stats.reclaimed;
}

static void begin_writing(firn_cache *cache) {
    for (unsigned i = 0; i < STABLE; i++) {
        put(cache, i, STABLE_BYTES);
    }
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
}

static void churn(firn_cache *cache) {
    for (unsigned turn = 0; turn < TURNS; turn++) {
        for (unsigned i = 0; i < CHURNED; i++) {
            put(cache, STABLE + i, CHURNED_BYTES);
        }
        ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    }
}

/* Many entries make the index larger, and so the log smaller: its last segments are moved. */
static void fill_index(firn_cache *cache) {
    for (unsigned i = 0; i < TINY; i++) {
        put(cache, STABLE + CHURNED + i, 8);
        if (i % 500 == 0) {
            ck_assert_int_eq(firn_flush(cache), FIRN_OK);
        }
    }
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
}

/* Writes in a process of its own, of which *ready is the end of a pipe that tells when to begin.
 */
static pid_t write_beside(void (*work)(firn_cache *cache), int *ready) {
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        firn_options options = small_options();
        firn_cache *cache = open_with(path, &options);
        begin_writing(cache);
        ck_assert_int_eq((int)write(ends[1], "r", 1), 1);
        work(cache);
        ck_assert_uint_eq(reclaimed_of(cache), 0); /* all that is live was kept */
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
        _exit(0);
    }
    close(ends[1]);
    *ready = ends[0];
    return pid;
}

static void find_stable(firn_cache *cache, uint64_t *found) {
    for (unsigned key = 0; key < STABLE; key++) {
        firn_object *object;
        int result = firn_get(cache, &key, sizeof key, &object);
        ck_assert_msg(result == FIRN_OK, "key %u after %llu: %s", key, (unsigned long long)*found,
                      firn_strerror(result));
        ck_assert_uint_eq(firn_object_size(object), STABLE_BYTES);
        ck_assert_mem_eq(firn_object_data(object), value_of(key, STABLE_BYTES), STABLE_BYTES);
        firn_object_unref(object);
        ++*found;
    }
}

static void read_beside(void (*work)(firn_cache *cache)) {
    int ready;
    pid_t pid = write_beside(work, &ready);
    char byte;
    ck_assert_int_eq((int)read(ready, &byte, 1), 1);
    close(ready);
    firn_options options = small_options();
    options.read_only = true;
    firn_cache *cache = open_with(path, &options);
    uint64_t found = 0;
    int status;
    pid_t ended;
    do {
        ended = waitpid(pid, &status, WNOHANG);
        find_stable(cache, &found);
    } while (ended == 0);
    ck_assert_int_eq(ended, pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ck_assert_uint_ge(found, 2 * STABLE);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}

/* What the log's header says at an offset. */
static uint64_t told_by_log(off_t offset) {
    uint64_t number = 0;
    char *file = join(path, "firn.log");
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq((int)pread(fd, &number, sizeof number, offset), (int)sizeof number);
    close(fd);
    free(file);
    return number;
}

START_TEST(what_is_live_is_found_while_segments_are_cleaned) {
    read_beside(churn);
    ck_assert_uint_gt(told_by_log(64), 200); /* so many segments came and went */
}
END_TEST

static void churn_and_fill_index(firn_cache *cache) {
    churn(cache);
    fill_index(cache);
}

START_TEST(what_is_live_is_found_while_segments_are_moved) {
    read_beside(churn_and_fill_index);
    ck_assert_uint_gt(told_by_log(80), 0);
}
END_TEST

typedef struct finder {
    firn_cache *cache;
    atomic_bool *stop;
    uint64_t found;
} finder;

static void *find_on(void *context) {
    finder *self = context;
    while (!atomic_load(self->stop)) {
        find_stable(self->cache, &self->found);
    }
    return NULL;
}

START_TEST(what_is_live_is_found_by_other_threads) {
    enum { FINDERS = 2 };
    firn_options options = small_options();
    firn_cache *cache = open_with(path, &options);
    begin_writing(cache);
    atomic_bool stop = false;
    pthread_t threads[FINDERS];
    finder finders[FINDERS];
    for (unsigned i = 0; i < FINDERS; i++) {
        finders[i] = (finder){cache, &stop, 0};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, find_on, &finders[i]), 0);
    }
    churn(cache);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < FINDERS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert_uint_gt(finders[i].found, 0);
    }
    ck_assert_uint_eq(reclaimed_of(cache), 0);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

static void add_threads(TCase *tcase) {
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, what_is_live_is_found_by_other_threads);
}

static void add(TCase *tcase) {
    add_threads(tcase);
    tcase_add_test(tcase, what_is_live_is_found_while_segments_are_cleaned);
    tcase_add_test(tcase, what_is_live_is_found_while_segments_are_moved);
}

/* The tests of threads by themselves, for the thread sanitizer. */
int main(void) {
    return getenv("FIRN_THREADS_ONLY") != NULL ? run_suite("beside threads", add_threads, 300)
                                               : run_suite("beside", add, 300);
}
