/* Latencies, differences of statistics, and the text for Prometheus. */
#include <check.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <firn/firn.h>

#include "observe/histogram.h"
#include "suite.h"
#include "support.h"

static uint64_t next(uint64_t *seed) {
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return *seed >> 24;
}

/* ---- histograms ---- */

START_TEST(buckets_follow_each_other_and_are_narrow) {
    uint64_t lowest = 0;
    for (unsigned i = 0; i < FIRN_LATENCY_BUCKETS - 1; i++) {
        uint64_t highest = firn_latency_bucket_ns(i);
        ck_assert_uint_eq(firn_histogram_bucket(lowest), i);
        ck_assert_uint_eq(firn_histogram_bucket(highest), i);
        ck_assert_uint_le((highest - lowest) * 16, lowest);
        lowest = highest + 1;
    }
    ck_assert_uint_eq(firn_latency_bucket_ns(FIRN_LATENCY_BUCKETS - 1), UINT64_MAX);
    ck_assert_uint_eq(firn_histogram_bucket(UINT64_MAX), FIRN_LATENCY_BUCKETS - 1);
}
END_TEST

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

enum { TIMES = 20000 };

START_TEST(quantiles_are_right_to_a_sixteenth) {
    static uint64_t times[TIMES];
    firn_heap *heap = firn_heap_new(NULL);
    firn_histograms *histograms = firn_histograms_new(heap);
    uint64_t seed = 7;
    uint64_t sum = 0;
    for (unsigned i = 0; i < TIMES; i++) {
        /* From tens of nanoseconds to seconds, and all sizes alike often. */
        times[i] = next(&seed) >> next(&seed) % 32;
        sum += times[i];
        firn_histograms_add(histograms, FIRN_LATENCY_PUT, times[i]);
    }
    qsort(times, TIMES, sizeof times[0], compare);
    static firn_latency latency;
    firn_histograms_sum(histograms, FIRN_LATENCY_PUT, &latency);
    ck_assert_uint_eq(firn_latency_count(&latency), TIMES);
    ck_assert_uint_eq(firn_latency_mean_ns(&latency), sum / TIMES);
    ck_assert_uint_eq(latency.max_ns, times[TIMES - 1]);
    ck_assert_uint_eq(firn_latency_quantile_ns(&latency, 1), times[TIMES - 1]);
    const double shares[] = {0, 0.1, 0.5, 0.9, 0.99, 0.999};
    for (unsigned i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        uint64_t rank = (uint64_t)(shares[i] * TIMES + 0.5);
        uint64_t exact = times[rank > 0 ? rank - 1 : 0];
        uint64_t told = firn_latency_quantile_ns(&latency, shares[i]);
        ck_assert_uint_ge(told, exact);
        ck_assert_uint_le(told, exact + exact / 16 + 1);
    }
    firn_histograms_free(histograms, heap);
    firn_heap_unref(heap);
}
END_TEST

START_TEST(an_empty_histogram_says_nothing) {
    static firn_latency latency;
    ck_assert_uint_eq(firn_latency_quantile_ns(&latency, 0.5), 0);
    ck_assert_uint_eq(firn_latency_mean_ns(&latency), 0);
    ck_assert_ptr_null(firn_latency_name(FIRN_LATENCY_COUNT));
    ck_assert_ptr_null(firn_latency_help(FIRN_LATENCY_COUNT));
    ck_assert_str_eq(firn_latency_name(FIRN_LATENCY_GET_HOT), "get_hot");
    ck_assert_uint_eq(firn_latency_every(FIRN_LATENCY_SYNC), 1);
}
END_TEST

enum { THREADS = 4, ADDED = 10000 };

static void *add_times(void *context) {
    for (uint64_t i = 0; i < ADDED; i++) {
        firn_histograms_add(context, FIRN_LATENCY_SYNC, i);
    }
    return NULL;
}

START_TEST(times_of_many_threads_are_all_counted) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_histograms *histograms = firn_histograms_new(heap);
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, add_times, histograms), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    static firn_latency latency;
    firn_histograms_sum(histograms, FIRN_LATENCY_SYNC, &latency);
    ck_assert_uint_eq(firn_latency_count(&latency), THREADS * ADDED);
    ck_assert_uint_eq(latency.max_ns, ADDED - 1);
    ck_assert_uint_eq(latency.sum_ns, (uint64_t)THREADS * ADDED * (ADDED - 1) / 2);
    firn_histograms_free(histograms, heap);
    firn_heap_unref(heap);
}
END_TEST

/* ---- of a cache ---- */

static firn_latencies *latencies_of(firn_cache *cache) {
    firn_latencies *latencies = calloc(1, sizeof *latencies);
    latencies->size = sizeof *latencies;
    ck_assert_int_eq(firn_get_latencies(cache, latencies), FIRN_OK);
    return latencies;
}

static firn_cache *open_small(const char *path) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.threads = 0;
    options.hot_bytes = 256 << 10;
    return open_with(path, &options);
}

static void put(firn_cache *cache, unsigned number, size_t value_size) {
    static char value[20000];
    ck_assert_int_eq(firn_put(cache, &number, sizeof number, value, value_size, NULL), FIRN_OK);
}

static int get(firn_cache *cache, unsigned number) {
    firn_object *object;
    int result = firn_get(cache, &number, sizeof number, &object);
    firn_object_unref(object);
    return result;
}

START_TEST(what_is_quick_is_sampled) {
    firn_cache *cache = open_small(NULL);
    put(cache, 1, 10);
    for (unsigned i = 0; i < 5000; i++) {
        ck_assert_int_eq(get(cache, 1), FIRN_OK);
    }
    firn_latencies *latencies = latencies_of(cache);
    uint64_t hits = firn_latency_count(&latencies->of[FIRN_LATENCY_GET_HOT]);
    ck_assert_uint_ge(hits, 1);
    ck_assert_uint_le(hits, 5000 / 1024);
    ck_assert_uint_eq(firn_latency_count(&latencies->of[FIRN_LATENCY_GET_MISS]), 0);
    free(latencies);
    for (unsigned i = 0; i < 5000; i++) {
        ck_assert_int_eq(get(cache, 2), FIRN_NOT_FOUND);
        put(cache, 3, 10);
        ck_assert_int_eq(firn_delete(cache, &(unsigned){3}, sizeof(unsigned)), FIRN_OK);
    }
    latencies = latencies_of(cache);
    /* The first sample after the gets may be one that was due from them. */
    ck_assert_uint_ge(firn_latency_count(&latencies->of[FIRN_LATENCY_GET_MISS]), 1);
    ck_assert_uint_ge(firn_latency_count(&latencies->of[FIRN_LATENCY_PUT]) +
                          firn_latency_count(&latencies->of[FIRN_LATENCY_DELETE]),
                      1);
    ck_assert_uint_eq(firn_latency_count(&latencies->of[FIRN_LATENCY_COLD_READ]), 0);
    free(latencies);
    firn_close(cache);
}
END_TEST

START_TEST(what_is_slow_is_timed_always) {
    char *path = scratch_path("metrics");
    firn_cache *cache = open_small(path);
    for (unsigned i = 0; i < 40; i++) {
        put(cache, i, 10000);
    }
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    ck_assert_int_eq(get(cache, 0), FIRN_OK);
    ck_assert_int_eq(get(cache, 1), FIRN_OK);
    firn_latencies *latencies = latencies_of(cache);
    const firn_latency *of = latencies->of;
    ck_assert_uint_eq(firn_latency_count(&of[FIRN_LATENCY_FLUSH]), 1);
    ck_assert_uint_eq(firn_latency_count(&of[FIRN_LATENCY_SYNC]), 1);
    ck_assert_uint_ge(firn_latency_count(&of[FIRN_LATENCY_COLD_WRITE]), 1);
    ck_assert_uint_ge(firn_latency_count(&of[FIRN_LATENCY_DEMOTION]), 1);
    ck_assert_uint_eq(firn_latency_count(&of[FIRN_LATENCY_GET_COLD]), 1); /* the first of 16 */
    ck_assert_uint_eq(firn_latency_count(&of[FIRN_LATENCY_COLD_READ]), 2);
    ck_assert_uint_ge(of[FIRN_LATENCY_FLUSH].sum_ns, of[FIRN_LATENCY_SYNC].sum_ns);
    firn_stats stats = FIRN_STATS_INIT;
    ck_assert_int_eq(firn_get_stats(cache, &stats), FIRN_OK);
    ck_assert_uint_eq(firn_latency_count(&of[FIRN_LATENCY_BACKPRESSURE]), stats.backpressure_waits);
    free(latencies);
    firn_close(cache);
    remove_tree(path);
}
END_TEST

START_TEST(a_call_for_many_is_timed_as_one) {
    char *path = scratch_path("metrics");
    firn_cache *cache = open_small(path);
    for (unsigned i = 0; i < 40; i++) {
        put(cache, i, 10000);
    }
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    unsigned numbers[20];
    firn_key keys[20];
    firn_object *objects[20];
    for (unsigned i = 0; i < 20; i++) {
        numbers[i] = i;
        keys[i] = (firn_key){&numbers[i], sizeof numbers[i]};
    }
    size_t found;
    ck_assert_int_eq(firn_get_many(cache, 20, keys, objects, &found), FIRN_OK);
    ck_assert_uint_eq(found, 20);
    for (unsigned i = 0; i < 20; i++) {
        firn_object_unref(objects[i]);
    }
    firn_latencies *latencies = latencies_of(cache);
    ck_assert_uint_eq(firn_latency_count(&latencies->of[FIRN_LATENCY_COLD_READ_MANY]), 1);
    free(latencies);
    firn_close(cache);
    remove_tree(path);
}
END_TEST

START_TEST(a_struct_of_another_size_is_filled_as_far_as_it_goes) {
    firn_cache *cache = open_small(NULL);
    size_t two = offsetof(firn_latencies, of) + 2 * sizeof(firn_latency);
    firn_latencies *shorter = malloc(sizeof *shorter);
    memset(shorter, 0xee, sizeof *shorter);
    shorter->size = two;
    ck_assert_int_eq(firn_get_latencies(cache, shorter), FIRN_OK);
    ck_assert_uint_eq(shorter->of[1].max_ns, 0);
    ck_assert_uint_eq(shorter->of[2].max_ns, UINT64_C(0xeeeeeeeeeeeeeeee));
    firn_latencies_delta(shorter, shorter, shorter);
    ck_assert_uint_eq(shorter->of[2].max_ns, UINT64_C(0xeeeeeeeeeeeeeeee));
    shorter->size = 1;
    ck_assert_int_eq(firn_get_latencies(cache, shorter), FIRN_EINVAL);
    ck_assert_int_eq(firn_get_latencies(cache, NULL), FIRN_EINVAL);
    free(shorter);
    firn_close(cache);
}
END_TEST

START_TEST(a_difference_is_what_came_between) {
    static firn_latencies before;
    static firn_latencies after;
    before.size = after.size = sizeof before;
    before.of[3].counts[10] = 4;
    before.of[3].sum_ns = 40;
    before.of[3].max_ns = 2000000;
    after = before;
    after.of[3].counts[10] = 5;
    after.of[3].counts[100] = 1;
    after.of[3].sum_ns += 10 + 1300;
    firn_latencies_delta(&before, &after, &after);
    ck_assert_uint_eq(firn_latency_count(&after.of[3]), 2);
    ck_assert_uint_eq(after.of[3].sum_ns, 1310);
    ck_assert_uint_eq(after.of[3].max_ns, firn_latency_bucket_ns(100));

    firn_stats old = FIRN_STATS_INIT;
    firn_stats now = FIRN_STATS_INIT;
    old.puts = 5;
    old.hot_bytes = 100;
    now.puts = 7;
    now.hot_bytes = 90;
    firn_stats_delta(&old, &now, &now);
    ck_assert_uint_eq(now.puts, 2);
    ck_assert_uint_eq(now.hot_bytes, 90); /* a state of now */
    ck_assert_uint_eq(now.size, sizeof now);
}
END_TEST

START_TEST(every_field_has_words) {
    for (unsigned i = 0; firn_stats_field(NULL, i, NULL) != NULL; i++) {
        const char *help = firn_stats_help(i);
        ck_assert_ptr_nonnull(help);
        ck_assert_int_eq(help[strlen(help) - 1], '.');
    }
    ck_assert_ptr_null(firn_stats_help(10000));
    ck_assert_int_eq(firn_stats_is_counter(10000), 0);
}
END_TEST

/* ---- Prometheus ---- */

typedef struct page {
    char *text;
    size_t size;
    unsigned pieces; /* 0: no end */
} page;

static int append(void *context, const char *text, size_t size) {
    page *self = context;
    self->text = realloc(self->text, self->size + size + 1);
    memcpy(self->text + self->size, text, size);
    self->size += size;
    self->text[self->size] = '\0';
    return self->pieces > 0 && --self->pieces == 0 ? FIRN_EIO : 0;
}

/* A line of the page that begins so; NULL: there is none. */
static const char *find_line(const char *text, const char *begin) {
    for (const char *at = text; at != NULL; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (strncmp(at, begin, strlen(begin)) == 0) {
            return at;
        }
    }
    return NULL;
}

static void check_line(const page *self, const char *line) {
    ck_assert_msg(find_line(self->text, line) != NULL, "no line '%s' in:\n%s", line, self->text);
}

START_TEST(the_text_for_prometheus_is_as_the_format_wants) {
    firn_stats stats = FIRN_STATS_INIT;
    stats.hot_hits = 12;
    stats.hot_bytes = 34;
    stats.backpressure_ns = 1500000000;
    static firn_latencies latencies;
    latencies.size = sizeof latencies;
    firn_latency *sync = &latencies.of[FIRN_LATENCY_SYNC];
    sync->counts[firn_histogram_bucket(100)] = 2;
    sync->counts[firn_histogram_bucket(1000000)] = 3;
    sync->sum_ns = 3000200;
    page self = {NULL, 0, 0};
    ck_assert_int_eq(firn_write_metrics(&stats, &latencies, "a\\b\"c\nd", append, &self), FIRN_OK);
    check_line(&self, "# HELP firn_hot_hits_total Gets answered by the hot tier.\n");
    check_line(&self, "# TYPE firn_hot_hits_total counter\n");
    check_line(&self, "firn_hot_hits_total{store=\"a\\\\b\\\"c\\nd\"} 12\n");
    check_line(&self, "# TYPE firn_hot_bytes gauge\n");
    check_line(&self, "firn_hot_bytes{store=\"a\\\\b\\\"c\\nd\"} 34\n");
    check_line(&self, "firn_backpressure_seconds_total{store=\"a\\\\b\\\"c\\nd\"} 1.500000000\n");
    check_line(&self, "# TYPE firn_operation_seconds histogram\n");
    free(self.text);

    self = (page){NULL, 0, 0};
    ck_assert_int_eq(firn_write_metrics(&stats, &latencies, NULL, append, &self), FIRN_OK);
    check_line(&self, "firn_hot_hits_total 12\n");
    check_line(&self, "firn_operation_seconds_bucket{operation=\"sync\",le=\"0.000000127\"} 2\n");
    check_line(&self, "firn_operation_seconds_bucket{operation=\"sync\",le=\"0.000524287\"} 2\n");
    check_line(&self, "firn_operation_seconds_bucket{operation=\"sync\",le=\"0.001048575\"} 5\n");
    check_line(&self, "firn_operation_seconds_bucket{operation=\"sync\",le=\"+Inf\"} 5\n");
    check_line(&self, "firn_operation_seconds_sum{operation=\"sync\"} 0.003000200\n");
    check_line(&self, "firn_operation_seconds_count{operation=\"sync\"} 5\n");
    check_line(&self, "firn_operation_sampled_every{operation=\"sync\"} 1\n");
    /* Each line is a comment or a name, labels and a number; each name is told of before. */
    unsigned lines = 0;
    for (char *line = strtok(self.text, "\n"); line != NULL; line = strtok(NULL, "\n"), lines++) {
        ck_assert(strncmp(line, "firn_", 5) == 0 || strncmp(line, "# HELP firn_", 12) == 0 ||
                  strncmp(line, "# TYPE firn_", 12) == 0);
        char *end;
        const char *space = strrchr(line, ' ');
        ck_assert(line[0] == '#' || (strtod(space, &end) >= 0 && *end == '\0'));
    }
    ck_assert_uint_gt(lines, 400);
    free(self.text);
}
END_TEST

START_TEST(a_writer_that_fails_ends_it) {
    firn_stats stats = FIRN_STATS_INIT;
    page self = {NULL, 0, 3};
    ck_assert_int_eq(firn_write_metrics(&stats, NULL, NULL, append, &self), FIRN_EIO);
    ck_assert_uint_eq(self.pieces, 0);
    free(self.text);
    ck_assert_int_eq(firn_write_metrics(NULL, NULL, NULL, append, &self), FIRN_EINVAL);
    ck_assert_int_eq(firn_write_metrics(&stats, NULL, NULL, NULL, NULL), FIRN_EINVAL);
    stats.size = 8;
    ck_assert_int_eq(firn_write_metrics(&stats, NULL, NULL, append, &self), FIRN_EINVAL);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, buckets_follow_each_other_and_are_narrow);
    tcase_add_test(tcase, quantiles_are_right_to_a_sixteenth);
    tcase_add_test(tcase, an_empty_histogram_says_nothing);
    tcase_add_test(tcase, times_of_many_threads_are_all_counted);
    tcase_add_test(tcase, what_is_quick_is_sampled);
    tcase_add_test(tcase, what_is_slow_is_timed_always);
    tcase_add_test(tcase, a_call_for_many_is_timed_as_one);
    tcase_add_test(tcase, a_struct_of_another_size_is_filled_as_far_as_it_goes);
    tcase_add_test(tcase, a_difference_is_what_came_between);
    tcase_add_test(tcase, every_field_has_words);
    tcase_add_test(tcase, the_text_for_prometheus_is_as_the_format_wants);
    tcase_add_test(tcase, a_writer_that_fails_ends_it);
}

int main(void) {
    return run_suite("metrics", add, 60);
}
