/* Many threads on one cache: every value read must be one that was put under its key, and nothing
 * is lost that was never dropped. Run under the thread sanitizer too. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include <firn/firn.h>

#include "unit/suite.h"
#include "unit/support.h"

enum { THREADS = 4, KEYS = 400, OPERATIONS = 4000 };

typedef struct job {
    firn_cache *cache;
    uint64_t seed;
    _Atomic unsigned *wrong;
} job;

static uint64_t next(uint64_t *seed) {
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 33;
}

/* A value says which key it belongs to, all through. */
static size_t fill(unsigned char *value, unsigned key, uint64_t salt) {
    size_t size = 8 + salt % 900;
    memset(value, (int)(key % 251), size);
    memcpy(value, &key, sizeof key);
    return size;
}

static void check(const firn_object *object, unsigned key, _Atomic unsigned *wrong) {
    const unsigned char *value = firn_object_data(object);
    size_t size = firn_object_size(object);
    unsigned said;
    memcpy(&said, value, sizeof said);
    if (size < 8 || said != key || value[size - 1] != key % 251) {
        atomic_fetch_add(wrong, 1);
    }
}

static void *work(void *context) {
    job *self = context;
    unsigned char value[1024];
    for (unsigned i = 0; i < OPERATIONS; i++) {
        unsigned key = (unsigned)(next(&self->seed) % KEYS);
        uint64_t dice = next(&self->seed) % 100;
        int result = FIRN_OK;
        if (dice < 35) {
            size_t size = fill(value, key, next(&self->seed));
            result = firn_put(self->cache, &key, sizeof key, value, size, NULL);
        } else if (dice < 45) {
            result = firn_delete(self->cache, &key, sizeof key);
        } else if (dice < 50) {
            result = firn_contains(self->cache, &key, sizeof key);
        } else if (dice == 50) {
            result = firn_flush(self->cache);
        } else {
            firn_object *object;
            result = firn_get(self->cache, &key, sizeof key, &object);
            if (result == FIRN_OK) {
                check(object, key, self->wrong);
                firn_object_unref(object);
            }
        }
        if (result < 0) {
            atomic_fetch_add(self->wrong, 1);
        }
    }
    return NULL;
}

static void run_jobs(firn_cache *cache) {
    pthread_t threads[THREADS];
    job jobs[THREADS];
    _Atomic unsigned wrong = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        jobs[i] = (job){cache, i * 77 + 1, &wrong};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work, &jobs[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    ck_assert_uint_eq(atomic_load(&wrong), 0);
}

START_TEST(threads_share_a_memory_cache) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 96 << 10;
    options.shards = 4;
    firn_cache *cache = open_with(NULL, &options);
    run_jobs(cache);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

static void share_a_store(unsigned write_mode, unsigned backpressure, bool moves,
                          const char *name) {
    char *path = scratch_path(name);
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 96 << 10;
    options.cold_bytes = 1 << 20;
    options.shards = 4;
    options.write_mode = write_mode;
    options.backpressure = backpressure;
    options.write_behind_ms = 5;
    options.sync_interval_ms = 20;
    if (moves) {
        options.admission = "frequency";
        options.demotion = "budget";
        options.demotion_rate = 1 << 20;
        options.promotion = "gain";
        options.hot_policy = "sieve";
    }
    firn_cache *cache = open_with(path, &options);
    run_jobs(cache);
    firn_stats stats = FIRN_STATS_INIT;
    ck_assert_int_eq(firn_get_stats(cache, &stats), FIRN_OK);
    ck_assert_uint_eq(stats.damaged, 0);
    ck_assert_uint_eq(stats.write_errors, 0);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    cache = open_with(path, &options);
    run_jobs(cache);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}

START_TEST(threads_share_both_tiers) {
    share_a_store(FIRN_WRITE_ON_EVICTION, FIRN_BACKPRESSURE_WRITE, false, "on-eviction");
}
END_TEST

START_TEST(threads_share_both_tiers_with_write_behind) {
    share_a_store(FIRN_WRITE_BEHIND, FIRN_BACKPRESSURE_DROP, false, "behind");
}
END_TEST

START_TEST(threads_share_both_tiers_with_write_through) {
    share_a_store(FIRN_WRITE_THROUGH, FIRN_BACKPRESSURE_WRITE, false, "through");
}
END_TEST

START_TEST(threads_share_both_tiers_with_policies_of_moves) {
    share_a_store(FIRN_WRITE_ON_EVICTION, FIRN_BACKPRESSURE_WRITE, true, "moves");
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, threads_share_a_memory_cache);
    tcase_add_test(tcase, threads_share_both_tiers);
    tcase_add_test(tcase, threads_share_both_tiers_with_write_behind);
    tcase_add_test(tcase, threads_share_both_tiers_with_write_through);
    tcase_add_test(tcase, threads_share_both_tiers_with_policies_of_moves);
}

int main(void) {
    return run_suite("concurrent", add, 300);
}
