/* What following and recording accesses costs a hot get: a million keys of 8 bytes with values of
 * 100, skewed, all hits. The ways take turns, and of each the fastest round counts, so that others
 * who use the machine disturb little.
 *
 *     build/tests/bench_sampling [FOLDER [ROUNDS]] */
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <firn/firn.h>

enum { KEYS = 1000000, GETS = 2000000, THREADS_MAX = 2 };

static const struct {
    const char *name;
    uint64_t curve_bytes;
    unsigned curve_sampling;
    double record;
} ways[] = {
    {"neither", FIRN_CURVE_OFF, 0, 0},
    {"curve, as by default", 0, 0, 0},
    {"curve of 1 MiB, of every key", 1 << 20, 1, 0},
    {"recording 0.01", FIRN_CURVE_OFF, 0, 0.01},
    {"recording all", FIRN_CURVE_OFF, 0, 1},
};

enum { WAYS = sizeof ways / sizeof ways[0] };

typedef struct runner {
    firn_cache *cache;
    const uint32_t *keys; /* to get, in order */
    size_t from;
} runner;

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec * 1e9 + (double)at.tv_nsec;
}

static void fail(const char *what, int result) {
    fprintf(stderr, "bench_sampling: %s: %s\n", what, firn_strerror(result));
    exit(1);
}

static void *run(void *context) {
    const runner *self = context;
    for (size_t i = 0; i < GETS; i++) {
        uint64_t key = self->keys[(self->from + i) % GETS];
        firn_object *object;
        if (firn_get(self->cache, &key, sizeof key, &object) == FIRN_OK) {
            firn_object_unref(object);
        }
    }
    return NULL;
}

/* Nanoseconds a get. */
static double time_run(firn_cache *cache, const uint32_t *keys, unsigned threads) {
    pthread_t names[THREADS_MAX];
    runner runners[THREADS_MAX];
    double began = now();
    for (unsigned i = 0; i < threads; i++) {
        runners[i] = (runner){cache, keys, i * (GETS / THREADS_MAX)};
        if (pthread_create(&names[i], NULL, run, &runners[i]) != 0) {
            fail("thread", FIRN_EIO);
        }
    }
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(names[i], NULL);
    }
    return (now() - began) / GETS / threads;
}

static firn_cache *fill(unsigned way) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = (uint64_t)512 << 20;
    options.curve_bytes = ways[way].curve_bytes;
    options.curve_sampling = ways[way].curve_sampling;
    firn_cache *cache;
    int result = firn_open(&cache, NULL, &options);
    for (uint64_t key = 0; key < KEYS && result == FIRN_OK; key++) {
        static const char value[100];
        result = firn_put(cache, &key, sizeof key, value, sizeof value, NULL);
    }
    if (result != FIRN_OK) {
        fail("fill", result);
    }
    return cache;
}

static double measure(firn_cache *cache, unsigned way, const uint32_t *keys, unsigned threads,
                      const char *file, firn_record_stats *stats) {
    if (ways[way].record > 0) {
        firn_record_options options = FIRN_RECORD_OPTIONS_INIT;
        options.sampling_rate = ways[way].record;
        int result = firn_record_start(cache, file, &options);
        if (result != FIRN_OK) {
            fail(file, result);
        }
    }
    double ns = time_run(cache, keys, threads);
    if (ways[way].record > 0) {
        (void)firn_record_stop(cache);
        (void)firn_record_get_stats(cache, stats);
        (void)unlink(file);
    }
    return ns;
}

int main(int argc, char **argv) {
    char file[4096];
    snprintf(file, sizeof file, "%s/bench_sampling.%ld", argc > 1 ? argv[1] : "/tmp",
             (long)getpid());
    long rounds = argc > 2 ? atol(argv[2]) : 10;
    uint32_t *keys = malloc(GETS * sizeof *keys);
    if (keys == NULL) {
        fail("keys", FIRN_ENOMEM);
    }
    uint64_t state = 1;
    for (size_t i = 0; i < GETS; i++) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
        keys[i] = (uint32_t)(pow(KEYS, (double)(state >> 33) / 2147483648.0) - 1);
    }
    double best[WAYS][THREADS_MAX];
    firn_cache *caches[WAYS];
    firn_record_stats stats[WAYS];
    for (unsigned way = 0; way < WAYS; way++) {
        caches[way] = fill(way);
        stats[way] = (firn_record_stats)FIRN_RECORD_STATS_INIT;
        best[way][0] = best[way][1] = INFINITY;
    }
    for (long round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < WAYS * THREADS_MAX; i++) {
            unsigned way = i % WAYS;
            unsigned threads = i / WAYS;
            double ns = measure(caches[way], way, keys, threads + 1, file, &stats[way]);
            best[way][threads] = fmin(best[way][threads], ns);
        }
    }
    printf("| | ns a get, 1 thread | 2 threads | recorded of the last round | dropped | bytes each "
           "|\n| --- | --- | --- | --- | --- | --- |\n");
    for (unsigned way = 0; way < WAYS; way++) {
        printf("| %s | %.1f | %.1f | %llu | %llu | %.1f |\n", ways[way].name, best[way][0],
               best[way][1], (unsigned long long)stats[way].recorded,
               (unsigned long long)stats[way].dropped,
               stats[way].recorded > 0 ? (double)stats[way].file_bytes / (double)stats[way].recorded
                                       : 0);
        if (firn_close(caches[way]) != FIRN_OK) {
            fail("close", FIRN_EIO);
        }
    }
    free(keys);
    return 0;
}
