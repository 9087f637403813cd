/* What-if: the estimate of the hit-ratio curve is near the exact one, stays within its memory, and
 * goes on after a restart. Streams are the same in each run, and so are the figures. */
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/heap.h"
#include "observe/curve_file.h"
#include "observe/shards.h"

#include "bench/stack_distance.h"
#include "unit/suite.h"
#include "unit/support.h"

enum { KEYS = 20000, REQUESTS = 200000, SIZES = 16 };

static uint64_t mixed(uint64_t number) {
    number = (number ^ number >> 31) * UINT64_C(0x7fb5d329728ea185);
    number = (number ^ number >> 27) * UINT64_C(0x81dadef4bc2dd44d);
    return number ^ number >> 33;
}

static uint64_t drawn(uint64_t *state) {
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return *state >> 33;
}

/* One of the keys, the lower the more often: about as often as one over its number. */
static uint32_t zipf(uint64_t number) {
    static uint64_t state;
    state = number == 0 ? 1 : state;
    double at = (double)drawn(&state) / 2147483648.0;
    return (uint32_t)(pow(KEYS, at) - 1);
}

static uint32_t loop(uint64_t number) {
    return (uint32_t)(number % (KEYS / 2));
}

/* A third of the gets go round, the rest are skewed. */
static uint32_t mixture(uint64_t number) {
    return number % 3 == 0 ? KEYS - 1 - (uint32_t)(number / 3 % (KEYS / 3)) : zipf(number);
}

static uint32_t one(uint32_t key) {
    (void)key;
    return 1;
}

static uint32_t uneven(uint32_t key) {
    return 50 + (uint32_t)(mixed(key + 7) % 1000);
}

/* The mean of the errors at sizes up to more than all keys take, and the worst. */
static void errors(uint32_t (*stream)(uint64_t), uint32_t (*charge)(uint32_t), uint64_t bytes,
                   double rate, double *mean, double *worst) {
    firn_estimator *estimator;
    firn_curve curve = FIRN_CURVE_INIT;
    distances exact;
    ck_assert(distances_init(&exact, KEYS, REQUESTS));
    ck_assert_int_eq(firn_estimator_open(&estimator, bytes, rate), FIRN_OK);
    for (uint64_t i = 0; i < REQUESTS; i++) {
        uint32_t key = stream(i);
        distances_add(&exact, key, charge(key));
        firn_estimator_access(estimator, mixed(key + 1), charge(key));
    }
    ck_assert_int_eq(firn_estimator_get_curve(estimator, &curve), FIRN_OK);
    ck_assert_uint_eq(curve.gets, REQUESTS);
    distances_finish(&exact);
    *mean = *worst = 0;
    for (unsigned i = 0; i < SIZES; i++) {
        uint64_t size = distances_footprint(&exact) * (2 * i + 1) / (2 * SIZES - 4);
        double error = fabs(firn_curve_at(&curve.hot, size) - distances_hit_ratio(&exact, size));
        *mean += error / SIZES;
        *worst = error > *worst ? error : *worst;
    }
    firn_estimator_close(estimator);
    distances_fini(&exact);
}

static void assert_errors(uint32_t (*stream)(uint64_t), uint32_t (*charge)(uint32_t),
                          uint64_t bytes, double rate, double mean_max, double worst_max) {
    double mean;
    double worst;
    errors(stream, charge, bytes, rate, &mean, &worst);
    ck_assert_msg(mean <= mean_max && worst <= worst_max, "mean %.5f, worst %.5f", mean, worst);
}

/* What is left of an error is the width of the buckets, and the points. */
START_TEST(all_keys_give_the_exact_curve) {
    assert_errors(zipf, one, 2 << 20, 1, 0.005, 0.01);
    assert_errors(zipf, uneven, 2 << 20, 1, 0.005, 0.01);
    assert_errors(mixture, uneven, 2 << 20, 1, 0.005, 0.02);
    assert_errors(loop, one, 2 << 20, 1, 0.005, 0.01);
}
END_TEST

START_TEST(some_of_the_keys_give_a_curve_that_is_near) {
    assert_errors(zipf, one, 2 << 20, 0.1, 0.02, 0.04);
    assert_errors(zipf, uneven, 2 << 20, 0.1, 0.02, 0.04);
    assert_errors(mixture, one, 2 << 20, 0.1, 0.02, 0.05);
    assert_errors(loop, one, 2 << 20, 0.1, 0.05, 1); /* all or nothing, a little beside */
}
END_TEST

START_TEST(with_little_memory_the_rate_falls_and_the_curve_stays_near) {
    assert_errors(zipf, uneven, 64 << 10, 1, 0.02, 0.05);
    assert_errors(mixture, one, 64 << 10, 1, 0.02, 0.05);
    assert_errors(zipf, one, 32 << 10, 1, 0.03, 0.06);
}
END_TEST

static size_t taken;

static void *count_alloc(void *context, size_t size) {
    (void)context;
    taken += size;
    return aligned_alloc(64, (size + 63) / 64 * 64);
}

static void count_free(void *context, void *memory, size_t size) {
    (void)context;
    taken -= size;
    free(memory);
}

START_TEST(no_more_memory_is_taken_than_was_given) {
    const firn_allocator counting = {count_alloc, count_free, NULL};
    for (size_t bytes = FIRN_CURVE_BYTES_MIN; bytes <= 4 << 20; bytes += bytes / 3) {
        firn_heap *heap = firn_heap_new(&counting);
        size_t before = taken;
        firn_shards *shards = firn_shards_new(heap, bytes, UINT64_MAX, NULL);
        ck_assert_uint_le(taken - before, bytes);
        ck_assert_uint_gt(taken - before, bytes / 2);
        for (uint64_t i = 0; i < 50000; i++) {
            firn_shards_get(shards, mixed(i), 100, 0);
        }
        firn_curve curve = FIRN_CURVE_INIT;
        firn_shards_curve(shards, &curve);
        ck_assert_uint_gt(curve.samples, bytes / 80);
        ck_assert_uint_lt(curve.samples, bytes / 30);
        ck_assert_uint_le(taken - before, bytes);
        firn_shards_free(shards);
        firn_heap_unref(heap);
    }
}
END_TEST

START_TEST(what_is_removed_or_expired_hits_at_no_size) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_shards *shards = firn_shards_new(heap, 64 << 10, UINT64_MAX, NULL);
    firn_curve curve = FIRN_CURVE_INIT;
    firn_shards_put(shards, 1, 100, 0);
    firn_shards_put(shards, 2, 100, 0);
    firn_shards_put(shards, 3, 100, 1000); /* long ago */
    firn_shards_get(shards, 1, 100, 0);    /* a hit from 300 on */
    firn_shards_forget(shards, 2);
    firn_shards_get(shards, 2, 0, 0);
    firn_shards_get(shards, 3, 0, 0);
    firn_shards_get(shards, 4, 0, 0); /* a key that is nowhere */
    firn_shards_get(shards, 4, 0, 0);
    firn_shards_count(shards, 5, 0);
    firn_shards_curve(shards, &curve);
    ck_assert_double_eq_tol(firn_curve_at(&curve.hot, 1000), 0.2, 1e-9);
    ck_assert_double_eq_tol(firn_curve_at(&curve.hot, 280), 0, 1e-9);
    ck_assert_uint_eq(curve.samples, 1);
    firn_shards_free(shards);
    firn_heap_unref(heap);
}
END_TEST

START_TEST(estimators_refuse_what_makes_no_sense) {
    firn_estimator *estimator;
    firn_curve curve = FIRN_CURVE_INIT;
    ck_assert_int_eq(firn_estimator_open(NULL, 1 << 20, 1), FIRN_EINVAL);
    ck_assert_int_eq(firn_estimator_open(&estimator, 1000, 1), FIRN_EINVAL);
    ck_assert_int_eq(firn_estimator_open(&estimator, 1 << 20, 0), FIRN_EINVAL);
    ck_assert_int_eq(firn_estimator_open(&estimator, 1 << 20, 1.1), FIRN_EINVAL);
    ck_assert_int_eq(firn_estimator_open(&estimator, 1 << 20, (double)NAN), FIRN_EINVAL);
    ck_assert_int_eq(firn_estimator_open(&estimator, FIRN_CURVE_BYTES_MIN, 1e-300), FIRN_OK);
    ck_assert_int_eq(firn_estimator_get_curve(estimator, &curve), FIRN_OK);
    ck_assert_double_eq(firn_curve_at(&curve.hot, 100), 0);
    curve.size = 8;
    ck_assert_int_eq(firn_estimator_get_curve(estimator, &curve), FIRN_EINVAL);
    firn_estimator_close(estimator);
    firn_estimator_close(NULL);
}
END_TEST

/* ---- of a cache ---- */

enum { ENTRIES = 4000, VALUE = 200 };

static firn_cache *open_cache(const char *path, uint64_t curve_bytes) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 256 << 10;
    options.cold_bytes = 16 << 20;
    options.threads = 0;
    options.curve_bytes = curve_bytes;
    options.curve_sampling = 1;
    firn_cache *cache;
    ck_assert_int_eq(firn_open(&cache, path, &options), FIRN_OK);
    return cache;
}

static void use(firn_cache *cache, uint64_t key) {
    char value[VALUE] = "";
    firn_object *object;
    int result = firn_get(cache, &key, sizeof key, &object);
    if (result == FIRN_OK) {
        firn_object_unref(object);
        return;
    }
    ck_assert_int_eq(result, FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_put(cache, &key, sizeof key, value, sizeof value, NULL), FIRN_OK);
}

static void use_all(firn_cache *cache, unsigned rounds) {
    for (unsigned i = 0; i < rounds; i++) {
        for (uint64_t key = 0; key < ENTRIES; key++) {
            use(cache, key);
        }
    }
}

/* Round and round: all or nothing. */
START_TEST(a_cache_tells_what_more_memory_would_bring) {
    firn_cache *cache = open_cache(NULL, 1 << 20);
    use_all(cache, 4);
    firn_curve curve = FIRN_CURVE_INIT;
    ck_assert_int_eq(firn_get_curve(cache, &curve), FIRN_OK);
    ck_assert_uint_eq(curve.gets, 4 * ENTRIES);
    ck_assert_uint_eq(curve.hot.bytes, 256 << 10);
    ck_assert_uint_eq(curve.total.count, 0);
    firn_stats stats = FIRN_STATS_INIT;
    ck_assert_int_eq(firn_get_stats(cache, &stats), FIRN_OK);
    ck_assert_double_eq_tol(curve.hot.measured_hit_ratio,
                            (double)stats.hot_hits / (double)stats.gets, 1e-9);
    ck_assert_double_lt(firn_curve_at(&curve.hot, curve.hot.bytes), 0.02);
    ck_assert_double_lt(firn_curve_at(&curve.hot, ENTRIES * VALUE), 0.02);
    ck_assert_double_eq_tol(firn_curve_at(&curve.hot, 2 * ENTRIES * VALUE), 0.75, 0.02);
    ck_assert_int_eq(firn_get_curve(NULL, &curve), FIRN_EINVAL);
    curve.size--;
    ck_assert_int_eq(firn_get_curve(cache, &curve), FIRN_EINVAL);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(it_can_be_turned_off) {
    firn_cache *cache = open_cache(NULL, FIRN_CURVE_OFF);
    firn_curve curve = FIRN_CURVE_INIT;
    use_all(cache, 1);
    ck_assert_int_eq(firn_get_curve(cache, &curve), FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    firn_options options = FIRN_OPTIONS_INIT;
    options.curve_bytes = 1000;
    ck_assert_int_eq(firn_open(&cache, NULL, &options), FIRN_EINVAL);
}
END_TEST

static int read_curve(const char *path, firn_curve *curve) {
    firn_store *store;
    *curve = (firn_curve)FIRN_CURVE_INIT;
    ck_assert_int_eq(firn_store_open(&store, path, NULL, 0), FIRN_OK);
    int result = firn_store_get_curve(store, curve);
    firn_store_close(store);
    return result;
}

START_TEST(it_is_kept_in_the_store_and_goes_on) {
    char *path = scratch_path("curve");
    firn_curve curve = FIRN_CURVE_INIT;
    firn_curve before = FIRN_CURVE_INIT;
    firn_cache *cache = open_cache(path, 1 << 20);
    use_all(cache, 2);
    ck_assert_int_eq(firn_get_curve(cache, &before), FIRN_OK);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);

    ck_assert_int_eq(read_curve(path, &curve), FIRN_OK);
    ck_assert_uint_eq(curve.gets, before.gets);
    ck_assert_uint_eq(curve.samples, before.samples);
    ck_assert_uint_eq(curve.total.bytes, (256 << 10) + (16 << 20));
    ck_assert_double_eq_tol(firn_curve_at(&curve.total, curve.total.bytes), 0.5, 0.02);

    /* The third round is a reuse of the second. */
    cache = open_cache(path, 1 << 20);
    use_all(cache, 1);
    ck_assert_int_eq(firn_get_curve(cache, &curve), FIRN_OK);
    ck_assert_uint_eq(curve.gets, 3 * ENTRIES);
    ck_assert_double_eq_tol(firn_curve_at(&curve.total, curve.total.bytes), 0.667, 0.02);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(a_damaged_file_is_as_good_as_none) {
    char *path = scratch_path("curve-damage");
    firn_cache *cache = open_cache(path, 1 << 20);
    use_all(cache, 1);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    char *file = join(path, FIRN_CURVE_FILE);
    firn_curve curve;
    ck_assert_int_eq(read_curve(path, &curve), FIRN_OK);
    int fd = open(file, O_RDWR);
    ck_assert_int_ge(fd, 0);
    off_t size = lseek(fd, 0, SEEK_END);
    for (off_t at = 0; at < size; at += at < 64 ? 1 : 997) {
        change_byte(fd, at, 0x40);
        ck_assert_int_eq(read_curve(path, &curve), FIRN_NOT_FOUND);
        change_byte(fd, at, 0x40);
    }
    ck_assert_int_eq(ftruncate(fd, size - 8), 0);
    ck_assert_int_eq(read_curve(path, &curve), FIRN_NOT_FOUND);
    cache = open_cache(path, 1 << 20);
    ck_assert_int_eq(firn_get_curve(cache, &curve), FIRN_OK);
    ck_assert_uint_eq(curve.gets, 0);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    close(fd);
    free(file);
    remove_tree(path);
}
END_TEST

/* Whatever a state says, one that is loaded can be used. */
START_TEST(a_state_of_any_bytes_does_no_harm) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_shards *from = firn_shards_new(heap, 64 << 10, UINT64_MAX, NULL);
    for (uint64_t i = 0; i < 3000; i++) {
        firn_shards_get(from, mixed(i % 700), i % 50 + 1, 0);
    }
    unsigned char *bytes = malloc(firn_shards_image_size(from));
    size_t size = firn_shards_save(from, bytes);
    uint64_t state = 1;
    for (unsigned i = 0; i < 2000; i++) {
        firn_shards *to = firn_shards_new(heap, 32 << 10, UINT64_MAX / (i % 3 + 1), NULL);
        size_t at = (size_t)drawn(&state) % (i % 2 == 0 ? 64 : size);
        unsigned char old = bytes[at];
        bytes[at] = (unsigned char)drawn(&state);
        firn_shards_load(to, bytes, i % 5 == 0 ? size - i % 60 : size);
        for (uint64_t n = 0; n < 50; n++) {
            firn_shards_get(to, mixed(n), 9, 0);
        }
        firn_curve curve = FIRN_CURVE_INIT;
        firn_shards_curve(to, &curve);
        for (size_t n = 0; n < curve.hot.count; n++) {
            double ratio = curve.hot.points[n].hit_ratio;
            ck_assert(ratio >= 0 && ratio <= 1);
        }
        bytes[at] = old;
        firn_shards_free(to);
    }
    free(bytes);
    firn_shards_free(from);
    firn_heap_unref(heap);
}
END_TEST

static void *use_some(void *context) {
    for (uint64_t i = 0; i < 20000; i++) {
        use(context, mixed(i) % ENTRIES);
    }
    return NULL;
}

START_TEST(threads_use_it_together) {
    firn_cache *cache = open_cache(NULL, 1 << 20);
    pthread_t threads[3];
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, use_some, cache), 0);
    }
    firn_curve curve = FIRN_CURVE_INIT;
    for (unsigned i = 0; i < 100; i++) {
        ck_assert_int_eq(firn_get_curve(cache, &curve), FIRN_OK);
    }
    for (unsigned i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    ck_assert_int_eq(firn_get_curve(cache, &curve), FIRN_OK);
    ck_assert_uint_le(curve.gets, 60000);
    ck_assert_double_gt(firn_curve_at(&curve.hot, 64 << 20), 0.5);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, threads_use_it_together);
    if (getenv("FIRN_THREADS_ONLY") != NULL) {
        return;
    }
    tcase_add_test(tcase, all_keys_give_the_exact_curve);
    tcase_add_test(tcase, some_of_the_keys_give_a_curve_that_is_near);
    tcase_add_test(tcase, with_little_memory_the_rate_falls_and_the_curve_stays_near);
    tcase_add_test(tcase, no_more_memory_is_taken_than_was_given);
    tcase_add_test(tcase, what_is_removed_or_expired_hits_at_no_size);
    tcase_add_test(tcase, estimators_refuse_what_makes_no_sense);
    tcase_add_test(tcase, a_cache_tells_what_more_memory_would_bring);
    tcase_add_test(tcase, it_can_be_turned_off);
    tcase_add_test(tcase, it_is_kept_in_the_store_and_goes_on);
    tcase_add_test(tcase, a_damaged_file_is_as_good_as_none);
    tcase_add_test(tcase, a_state_of_any_bytes_does_no_harm);
}

int main(void) {
    return run_suite("whatif", add, 120);
}
