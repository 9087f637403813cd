/* Compaction: space comes back, no entry is lost, nobody else gets in; and whenever the process is
 * killed meanwhile, the store is sound and holds all its entries. */
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <time.h>

#include "unit/suite.h"
#include "unit/support.h"

enum { KEYS = 2000, ROUNDS = 120 };

static uint64_t next(uint64_t *seed) {
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 33;
}

static size_t make_value(unsigned char *value, unsigned key, unsigned change) {
    size_t size = 8 + (key * 37 + change * 11) % 1200;
    uint64_t seed = key + change * 7919u;
    for (size_t i = 0; i < size; i++) {
        value[i] = (unsigned char)next(&seed);
    }
    return size;
}

static firn_cache *open_cache(const char *path) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.threads = 0;
    options.cold_bytes = 32 << 20;
    options.hot_bytes = 1 << 20;
    return open_with(path, &options);
}

/* Every key is there with the change, but those that `skip` divides, which are deleted. */
static void fill(const char *path, unsigned change, unsigned skip) {
    unsigned char value[1300];
    firn_cache *cache = open_cache(path);
    for (unsigned round = 0; round < 3; round++) { /* so that there is something to drop */
        for (unsigned key = 0; key < KEYS; key++) {
            size_t size = make_value(value, key, change + round);
            ck_assert_int_eq(firn_put(cache, &key, sizeof key, value, size, NULL), FIRN_OK);
        }
        ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    }
    for (unsigned key = 0; key < KEYS; key += skip) {
        ck_assert_int_ge(firn_delete(cache, &key, sizeof key), 0);
    }
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}

/* killed: the count of entries may be off after a checkpoint that was broken off; the entries
 * themselves are looked for one by one. */
static void check(const char *path, unsigned change, unsigned skip, bool killed) {
    unsigned char value[1300];
    char why[600] = "";
    firn_store *store;
    ck_assert_msg(firn_store_open(&store, path, why, sizeof why) == FIRN_OK, "%s", why);
    firn_verify_report report = FIRN_VERIFY_REPORT_INIT;
    int verified = firn_store_verify(store, &report, NULL, NULL);
    uint64_t damage = report.records_damaged + report.index_dangling + report.pages_damaged +
                      report.journal_damaged;
    ck_assert_msg(damage == 0 && (verified == FIRN_OK || (killed && report.entries_missing > 0)),
                  "%s: of records %llu damaged, of entries %llu missing, %llu dangling",
                  firn_store_message(store), (unsigned long long)report.records_damaged,
                  (unsigned long long)report.entries_missing,
                  (unsigned long long)report.index_dangling);
    firn_store_close(store);
    firn_cache *cache = open_cache(path);
    for (unsigned key = 0; key < KEYS; key++) {
        firn_object *object;
        int result = firn_get(cache, &key, sizeof key, &object);
        if (key % skip == 0) {
            ck_assert_msg(result == FIRN_NOT_FOUND, "key %u came back", key);
            continue;
        }
        ck_assert_msg(result == FIRN_OK, "key %u is lost", key);
        size_t size = make_value(value, key, change + 2);
        ck_assert_uint_eq(firn_object_size(object), size);
        ck_assert_mem_eq(firn_object_data(object), value, size);
        firn_object_unref(object);
    }
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}

static int compact(const char *path, firn_compact_report *report, firn_verify_callback callback,
                   void *context) {
    char why[600] = "";
    firn_compact_options options = FIRN_COMPACT_OPTIONS_INIT;
    options.error_buffer = why;
    options.error_buffer_size = sizeof why;
    *report = (firn_compact_report)FIRN_COMPACT_REPORT_INIT;
    int result = firn_store_compact(path, &options, report, callback, context);
    ck_assert_msg(result > 0 || (result == FIRN_OK) == (why[0] == '\0'), "%d: %s", result, why);
    return result;
}

START_TEST(space_comes_back_and_no_entry_is_lost) {
    char *path = scratch_path("compact");
    firn_compact_report report;
    for (unsigned round = 0; round < 3; round++) {
        unsigned skip = round + 1 == 3 ? 2 : 5 - round;
        fill(path, round * 10, skip);
        uint64_t log = file_size(path, "firn.log");
        ck_assert_int_eq(compact(path, &report, NULL, NULL), FIRN_OK);
        ck_assert_uint_eq(report.entries, KEYS - (KEYS + skip - 1) / skip);
        ck_assert_uint_gt(report.records_copied, 0);
        ck_assert_uint_lt(report.log_bytes_after, report.log_bytes_before / 2);
        ck_assert_uint_le(report.index_bytes_after, report.index_bytes_before);
        ck_assert_uint_lt(file_size(path, "firn.log"), log / 2);
        check(path, round * 10, skip, false);
    }
    /* Once more: there is next to nothing to be had, and nothing breaks. */
    ck_assert_int_eq(compact(path, &report, NULL, NULL), FIRN_OK);
    ck_assert_int_eq(compact(path, &report, NULL, NULL), FIRN_OK);
    ck_assert_uint_le(report.log_bytes_after, report.log_bytes_before);
    check(path, 20, 2, false);
    remove_tree(path);
}
END_TEST

/* A clock that stands still, long ago: what lives for a moment by it has expired for all others. */
static uint64_t long_ago(void *context) {
    (void)context;
    return UINT64_C(1000000000000);
}

START_TEST(what_has_expired_goes) {
    char *path = scratch_path("compact-expired");
    firn_options past = FIRN_OPTIONS_INIT;
    past.threads = 0;
    past.cold_bytes = 32 << 20;
    past.clock.now_ms = long_ago;
    firn_cache *cache = open_with(path, &past);
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    unsigned char value[1300];
    for (unsigned key = 0; key < KEYS; key++) {
        size_t size = make_value(value, key, 1);
        options.ttl_ms = key % 2 == 0 ? 1 : 0;
        ck_assert_int_eq(firn_put(cache, &key, sizeof key, value, size, &options), FIRN_OK);
    }
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    cache = open_with(path, &past);
    for (unsigned key = 0; key < KEYS; key += 3) { /* so that it pays */
        ck_assert_int_ge(firn_delete(cache, &key, sizeof key), 0);
    }
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    firn_compact_report report;
    ck_assert_int_eq(compact(path, &report, NULL, NULL), FIRN_OK);
    unsigned kept = 0;
    for (unsigned key = 0; key < KEYS; key++) {
        kept += key % 2 != 0 && key % 3 != 0;
    }
    ck_assert_uint_ge(report.entries, kept);
    ck_assert_uint_lt(report.entries,
                      kept + KEYS / 4); /* some in the newest part are still there */
    remove_tree(path);
}
END_TEST

START_TEST(arguments_and_stores_that_make_no_sense_are_refused) {
    char *path = scratch_path("compact-none");
    firn_compact_report report = FIRN_COMPACT_REPORT_INIT;
    ck_assert_int_eq(firn_store_compact(NULL, NULL, &report, NULL, NULL), FIRN_EINVAL);
    ck_assert_int_eq(firn_store_compact(path, NULL, NULL, NULL, NULL), FIRN_EINVAL);
    ck_assert_int_eq(compact(path, &report, NULL, NULL), FIRN_NOT_FOUND);
    ck_assert_int_ne(access(path, F_OK), 0);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_eq(compact(path, &report, NULL, NULL), FIRN_ENOTSTORE);
    ck_assert_int_eq(rmdir(path), 0);
    fill(path, 0, 2);
    char *data = join(path, "data.mdb");
    ck_assert_int_eq(unlink(data), 0);
    ck_assert_int_eq(compact(path, &report, NULL, NULL), FIRN_ECORRUPT);
    ck_assert_int_ne(access(data, F_OK), 0);
    free(data);
    remove_tree(path);
}
END_TEST

/* In another process: what the open of a view says. */
static int open_elsewhere(const char *path) {
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        char why[600] = "";
        firn_store *store;
        int result = firn_store_open(&store, path, why, sizeof why);
        bool told = result == FIRN_EBUSY && strstr(why, "compacted") != NULL;
        _exit(result == FIRN_OK ? 0 : told ? 1 : 2);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int try_to_enter(void *context, const char *finding, uint64_t done, uint64_t total) {
    ck_assert_ptr_null(finding);
    ck_assert_uint_le(done, total);
    ck_assert_int_eq(open_elsewhere(context), 1);
    return done >= 1; /* enough */
}

START_TEST(nobody_gets_in_meanwhile_and_the_callback_may_stop_it) {
    char *path = scratch_path("compact-alone");
    fill(path, 0, 2);
    firn_compact_report report;
    ck_assert_int_eq(open_elsewhere(path), 0);
    ck_assert_int_eq(compact(path, &report, try_to_enter, path), FIRN_AGAIN);
    ck_assert_int_eq(open_elsewhere(path), 0);
    check(path, 0, 2, false);
    remove_tree(path);
}
END_TEST

START_TEST(it_is_refused_while_somebody_has_the_store_open) {
    char *path = scratch_path("compact-busy");
    fill(path, 0, 2);
    for (unsigned writer = 0; writer < 2; writer++) {
        int ready[2];
        int end[2];
        ck_assert_int_eq(pipe(ready), 0);
        ck_assert_int_eq(pipe(end), 0);
        pid_t pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
            close(end[1]);
            firn_store *store = NULL;
            firn_cache *cache = NULL;
            if (writer) {
                cache = open_cache(path);
            } else if (firn_store_open(&store, path, NULL, 0) != FIRN_OK) {
                _exit(1);
            }
            char byte = 'r';
            if (write(ready[1], &byte, 1) != 1 || read(end[0], &byte, 1) != 0) {
                _exit(1);
            }
            firn_store_close(store);
            _exit(cache != NULL && firn_close(cache) != FIRN_OK);
        }
        close(end[0]);
        char byte;
        ck_assert_int_eq(read(ready[0], &byte, 1), 1);
        firn_compact_report report;
        ck_assert_int_eq(compact(path, &report, NULL, NULL), FIRN_EBUSY);
        close(end[1]);
        int status;
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_int_eq(status, 0);
        close(ready[0]);
        close(ready[1]);
    }
    check(path, 0, 2, false);
    remove_tree(path);
}
END_TEST

/* Short lines that have much in common, as two tables would. */
static size_t make_line(char *value, unsigned key, unsigned table) {
    uint64_t seed = key * 2654435761u + table;
    unsigned a = (unsigned)(next(&seed) % 65536);
    unsigned b = (unsigned)(next(&seed) % 4096);
    int size = table == 0 ? snprintf(value, 200,
                                     "{\"account\":%u,\"status\":\"active\",\"balance\":%u.25,"
                                     "\"owner\":\"user-%u@example.org\",\"created\":\"2024\"}",
                                     a, b, a ^ b)
                          : snprintf(value, 200,
                                     "<row sensor='%u'><temperature unit='celsius'>%u</temperature>"
                                     "<station>weather-station-%u</station><state/></row>",
                                     a, b, a ^ b);
    return (size_t)size;
}

static void put_lines(firn_cache *cache, unsigned from, unsigned to, unsigned table) {
    char value[200];
    for (unsigned key = from; key < to; key++) {
        size_t size = make_line(value, key, table);
        ck_assert_int_eq(firn_put(cache, &key, sizeof key, value, size, NULL), FIRN_OK);
    }
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    ck_assert_int_eq(firn_run(cache, 60000), FIRN_OK);
}

static unsigned count_blobs(const char *path) {
    char command[800];
    snprintf(command, sizeof command, "ls '%s' | grep -c firn.blob", path);
    FILE *pipe = popen(command, "r");
    unsigned count = 0;
    ck_assert_ptr_nonnull(pipe);
    ck_assert_int_eq(fscanf(pipe, "%u", &count), 1);
    pclose(pipe);
    return count;
}

START_TEST(records_that_need_a_dictionary_can_be_read_afterwards) {
    char *path = scratch_path("compact-dictionary");
    firn_options options = FIRN_OPTIONS_INIT;
    options.threads = 0;
    options.cold_bytes = 16 << 20;
    options.hot_bytes = 1 << 20;
    firn_cache *cache = open_with(path, &options);
    put_lines(cache, 0, 3000, 0);
    put_lines(cache, 3000, 6000, 0); /* with a dictionary */
    unsigned end = 6000;
    for (unsigned i = 0; i < 200 && count_blobs(path) < 2; i++) {
        put_lines(cache, end, end + 500, 1);
        end += 500;
    }
    put_lines(cache, end, end + 500, 1);
    end += 500;
    ck_assert_uint_eq(count_blobs(path), 2);
    for (unsigned key = 0; key < end; key++) {
        if (key % 3 != 0) {
            ck_assert_int_ge(firn_delete(cache, &key, sizeof key), 0);
        }
    }
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    firn_compact_report report;
    for (unsigned round = 0; round < 2; round++) {
        ck_assert_int_eq(compact(path, &report, NULL, NULL), FIRN_OK);
        ck_assert_uint_eq(report.entries, (end + 2) / 3);
        cache = open_with(path, &options);
        put_lines(cache, end, end + 1, 1); /* dictionaries that no record needs go now */
        ck_assert_int_eq(firn_delete(cache, &end, sizeof end), FIRN_OK);
        for (unsigned key = 0; key < end; key += 3) {
            char value[200];
            firn_object *object;
            size_t size = make_line(value, key, key < 6000 ? 0 : 1);
            int result = firn_get(cache, &key, sizeof key, &object);
            ck_assert_msg(result == FIRN_OK, "key %u: %s", key, firn_strerror(result));
            ck_assert_uint_eq(firn_object_size(object), size);
            ck_assert_mem_eq(firn_object_data(object), value, size);
            firn_object_unref(object);
        }
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
    }
    ck_assert_uint_eq(count_blobs(path), 1);
    remove_tree(path);
}
END_TEST

static uint64_t elapsed_ns(const struct timespec *since) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)(now.tv_sec - since->tv_sec) * 1000000000u + (uint64_t)now.tv_nsec -
           (uint64_t)since->tv_nsec;
}

START_TEST(killed_at_any_moment_it_loses_nothing) {
    char *sound = scratch_path("compact-sound");
    char *path = scratch_path("compact-killed");
    fill(sound, 0, 3);
    char command[800];
    snprintf(command, sizeof command, "rm -rf '%s' && cp -r '%s' '%s'", path, sound, path);
    uint64_t seed = 31;
    uint64_t whole_ns = 0; /* of one that nobody disturbs: tells where to kill the others */
    unsigned killed = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        if (round % 3 == 0) { /* else on what the last one left */
            ck_assert_int_eq(system(command), 0);
        }
        struct timespec start;
        clock_gettime(CLOCK_MONOTONIC, &start);
        pid_t pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
            firn_compact_report report = FIRN_COMPACT_REPORT_INIT;
            _exit(firn_store_compact(path, NULL, &report, NULL, NULL) == FIRN_OK ? 0 : 1);
        }
        if (round > 0) {
            uint64_t ns = next(&seed) % (whole_ns + 1);
            nanosleep(&(struct timespec){(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)},
                      NULL);
            kill(pid, SIGKILL);
        }
        int status;
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_msg(WIFSIGNALED(status) || status == 0, "round %u: status %x", round,
                      (unsigned)status);
        killed += WIFSIGNALED(status);
        if (round == 0) {
            whole_ns = elapsed_ns(&start);
        }
        check(path, 0, 3, true);
    }
    ck_assert_uint_gt(killed, 0);
    firn_compact_report report;
    ck_assert_int_eq(compact(path, &report, NULL, NULL), FIRN_OK);
    check(path, 0, 3, true);
    remove_tree(path);
    remove_tree(sound);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, space_comes_back_and_no_entry_is_lost);
    tcase_add_test(tcase, what_has_expired_goes);
    tcase_add_test(tcase, arguments_and_stores_that_make_no_sense_are_refused);
    tcase_add_test(tcase, nobody_gets_in_meanwhile_and_the_callback_may_stop_it);
    tcase_add_test(tcase, it_is_refused_while_somebody_has_the_store_open);
    tcase_add_test(tcase, records_that_need_a_dictionary_can_be_read_afterwards);
    tcase_add_test(tcase, killed_at_any_moment_it_loses_nothing);
}

int main(void) {
    return run_suite("compact", add, 300);
}
