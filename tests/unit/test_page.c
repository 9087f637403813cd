/* The page by which other processes watch a cache: firn.page. */
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <firn/firn.h>

#include "observe/page.h"
#include "suite.h"
#include "support.h"
#include "watching.h"

static firn_page *open_page(const char *path) {
    char why[200] = "";
    firn_page *page;
    int result = firn_page_open(&page, path, why, sizeof why);
    ck_assert_msg(result == FIRN_OK, "%s: %s", firn_strerror(result), why);
    return page;
}

START_TEST(a_page_tells_of_the_process_that_has_the_store) {
    char *path = scratch_path("page");
    firn_options options = by_hand();
    firn_cache *cache = open_with(path, &options);
    firn_page *page = open_page(path);
    firn_page_info info = FIRN_PAGE_INFO_INIT;
    firn_stats stats = FIRN_STATS_INIT;
    ck_assert_int_eq(firn_page_read(page, &info, &stats, NULL), FIRN_OK);
    ck_assert_uint_eq(info.pid, (uint64_t)getpid());
    ck_assert(info.alive && !info.closed);
    ck_assert_uint_eq(info.next_ms, 0); /* the program calls firn_run */
    ck_assert_uint_eq(stats.puts, 0);
    put(cache, "a", 10);
    firn_close(cache);
    static firn_latencies latencies;
    latencies.size = sizeof latencies;
    ck_assert_int_eq(firn_page_read(page, &info, &stats, &latencies), FIRN_OK);
    ck_assert(info.closed && !info.alive);
    ck_assert_uint_eq(stats.puts, 1);
    ck_assert_uint_eq(stats.cold_entries, 1);
    ck_assert_uint_ge(firn_latency_count(&latencies.of[FIRN_LATENCY_COLD_WRITE]), 1);
    firn_page_close(page);
    remove_tree(path);
}
END_TEST

START_TEST(a_page_is_written_when_it_is_due) {
    char *path = scratch_path("page");
    firn_options options = by_hand();
    options.page_ms = 1;
    firn_cache *cache = open_with(path, &options);
    put(cache, "a", 10);
    firn_page *page = open_page(path);
    firn_stats stats = FIRN_STATS_INIT;
    do {
        ck_assert_int_eq(firn_run(cache, 0), FIRN_OK);
        ck_assert_int_eq(firn_page_read(page, NULL, &stats, NULL), FIRN_OK);
    } while (stats.puts == 0);
    firn_page_close(page);
    firn_close(cache);
    remove_tree(path);
}
END_TEST

START_TEST(decisions_are_on_the_page_and_outlive_the_process) {
    char *path = scratch_path("page");
    firn_options options = by_hand();
    firn_cache *cache = open_with(path, &options);
    put(cache, "first", 100);
    flood(cache);
    firn_close(cache);
    firn_page *page = open_page(path);
    firn_decision decisions[20];
    size_t count;
    ck_assert_int_eq(firn_page_decisions(page, "first", 5, decisions, 20, &count), FIRN_OK);
    ck_assert_uint_eq(count, 2);
    ck_assert_uint_eq(decisions[0].kind, FIRN_DECISION_EVICT);
    ck_assert_uint_eq(decisions[1].kind, FIRN_DECISION_DEMOTE);
    ck_assert_int_eq(firn_page_decisions(page, "first", 5, decisions, 1, &count), FIRN_OK);
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(decisions[0].kind, FIRN_DECISION_DEMOTE); /* the youngest */
    ck_assert_int_eq(firn_page_decisions(page, NULL, 0, decisions, 20, &count), FIRN_OK);
    ck_assert_uint_eq(count, 20);
    cache = open_with(path, &options);
    firn_object *object;
    ck_assert_int_eq(firn_get(cache, "first", 5, &object), FIRN_OK);
    firn_object_unref(object);
    firn_close(cache);
    ck_assert_int_eq(firn_page_decisions(page, "first", 5, decisions, 20, &count), FIRN_OK);
    ck_assert_uint_eq(count, 3);
    ck_assert_uint_eq(decisions[2].kind, FIRN_DECISION_PROMOTE);
    firn_page_close(page);
    remove_tree(path);
}
END_TEST

START_TEST(a_page_can_be_left_out) {
    char *path = scratch_path("page");
    firn_options options = by_hand();
    options.page_ms = FIRN_PAGE_OFF;
    firn_cache *cache = open_with(path, &options);
    firn_page *page;
    char why[200];
    ck_assert_int_eq(firn_page_open(&page, path, why, sizeof why), FIRN_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(why, "firn.page"));
    firn_close(cache);
    ck_assert_int_eq(firn_page_open(&page, path, NULL, 0), FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_page_open(&page, "/nowhere", NULL, 0), FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_page_open(&page, NULL, NULL, 0), FIRN_EINVAL);
    options.page_ms = 86400001;
    ck_assert_int_eq(firn_open(&cache, path, &options), FIRN_EINVAL);
    remove_tree(path);
}
END_TEST

START_TEST(a_page_that_cannot_be_made_is_counted_and_harms_nothing) {
    char *path = scratch_path("page");
    firn_options options = by_hand();
    firn_cache *cache = open_with(path, &options);
    firn_close(cache);
    char *file = join(path, FIRN_PAGE_FILE);
    ck_assert_int_eq(unlink(file), 0);
    ck_assert_int_eq(mkdir(file, 0700), 0);
    cache = open_with(path, &options);
    put(cache, "a", 10);
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    ck_assert_int_ge(firn_run(cache, 0), 0);
    firn_stats stats = FIRN_STATS_INIT;
    ck_assert_int_eq(firn_get_stats(cache, &stats), FIRN_OK);
    ck_assert_uint_eq(stats.page_errors, 1);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    firn_page *page;
    ck_assert_int_eq(firn_page_open(&page, path, NULL, 0), FIRN_ENOTSTORE);
    free(file);
    remove_tree(path);
}
END_TEST

/* All that can be asked of a page, whatever it is: no crash, and no endless wait. */
static int try_page(const char *path) {
    firn_page *page;
    char why[200];
    int result = firn_page_open(&page, path, why, sizeof why);
    if (result != FIRN_OK) {
        return result;
    }
    firn_page_info info = FIRN_PAGE_INFO_INIT;
    firn_stats stats = FIRN_STATS_INIT;
    static firn_latencies latencies;
    latencies.size = sizeof latencies;
    firn_decision decisions[10];
    size_t count;
    result = firn_page_read(page, &info, &stats, &latencies);
    (void)firn_page_decisions(page, NULL, 0, decisions, 10, &count);
    firn_page_close(page);
    return result;
}

START_TEST(a_damaged_page_is_an_error) {
    char *path = scratch_path("page");
    firn_options options = by_hand();
    firn_cache *cache = open_with(path, &options);
    flood(cache);
    firn_close(cache);
    char *file = join(path, FIRN_PAGE_FILE);
    int fd = open(file, O_RDWR);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(try_page(path), FIRN_OK);
    for (off_t at = 0; at < (off_t)sizeof(firn_page_head); at++) {
        bool is_sequence = at >= 16 && at < 24;
        change_byte(fd, at, is_sequence ? 2 : 0x41);
        int result = try_page(path);
        ck_assert_msg(is_sequence == (result == FIRN_OK), "byte %d: %d", (int)at, result);
        change_byte(fd, at, is_sequence ? 2 : 0x41);
    }
    change_byte(fd, 4096 + 77, 1);
    ck_assert_int_eq(try_page(path), FIRN_ECORRUPT);
    change_byte(fd, 4096 + 77, 1);
    change_byte(fd, 16, 1); /* somebody died over it */
    ck_assert_int_eq(try_page(path), FIRN_AGAIN);
    change_byte(fd, 16, 1);
    ck_assert_int_eq(try_page(path), FIRN_OK);
    const off_t sizes[] = {300000, 50000, 4096, 100, 0};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        ck_assert_int_eq(ftruncate(fd, sizes[i]), 0);
        ck_assert(sizes[i] >= 300000 || try_page(path) != FIRN_OK);
    }
    close(fd);
    /* Whoever opens the store makes it anew. */
    cache = open_with(path, &options);
    firn_stats stats = FIRN_STATS_INIT;
    ck_assert_int_eq(firn_get_stats(cache, &stats), FIRN_OK);
    ck_assert_uint_eq(stats.page_errors, 0);
    firn_close(cache);
    ck_assert_int_eq(try_page(path), FIRN_OK);
    free(file);
    remove_tree(path);
}
END_TEST

static void *run_for_long(void *context) {
    for (unsigned i = 0; i < 3000; i++) {
        put(context, "a", 10);
        ck_assert_int_ge(firn_run(context, 0), 0);
    }
    return NULL;
}

START_TEST(readers_see_whole_pages_beside_a_writer) {
    char *path = scratch_path("page");
    firn_options options = by_hand();
    options.page_ms = 1;
    firn_cache *cache = open_with(path, &options);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, run_for_long, cache), 0);
    firn_page *page = open_page(path);
    uint64_t puts = 0;
    for (unsigned i = 0; i < 200; i++) {
        firn_stats stats = FIRN_STATS_INIT;
        int result = firn_page_read(page, NULL, &stats, NULL);
        ck_assert(result == FIRN_OK || result == FIRN_AGAIN);
        ck_assert(result != FIRN_OK || stats.puts >= puts);
        puts = result == FIRN_OK ? stats.puts : puts;
    }
    pthread_join(thread, NULL);
    firn_page_close(page);
    firn_close(cache);
    remove_tree(path);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, a_page_tells_of_the_process_that_has_the_store);
    tcase_add_test(tcase, a_page_is_written_when_it_is_due);
    tcase_add_test(tcase, decisions_are_on_the_page_and_outlive_the_process);
    tcase_add_test(tcase, a_page_can_be_left_out);
    tcase_add_test(tcase, a_page_that_cannot_be_made_is_counted_and_harms_nothing);
    tcase_add_test(tcase, a_damaged_page_is_an_error);
    tcase_add_test(tcase, readers_see_whole_pages_beside_a_writer);
}

int main(void) {
    return run_suite("page", add, 60);
}
