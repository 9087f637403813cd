/* What loading costs: a hit by firn_get_or_load beside one by firn_get, and how often a slow source
 * is asked, and how long callers wait, when an entry expires that eight threads want.
 *
 * Each figure is a line of JSON, {"bench": ..., "value": ..., "unit": ...}. Usage: bench_load */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <firn/firn.h>

enum {
    KEYS = 100000,
    TURN = 10000, /* gets */
    TURNS = 300,
    THREADS = 8,
    EXPIRIES = 200,
    TTL_MS = 1000,
    LOAD_NS = 2000000, /* that the source takes */
};

static double seconds(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void tell(const char *what, const char *how, const char *unit, double value) {
    printf("{\"bench\": \"%s, %s\", \"value\": %.4g, \"unit\": \"%s\"}\n", what, how, value, unit);
    fflush(stdout);
}

static void need(int result) {
    if (result < 0) {
        fprintf(stderr, "bench_load: %s\n", firn_strerror(result));
        exit(1);
    }
}

static _Atomic uint64_t clock_ms = 1000000;

static uint64_t moved_clock(void *context) {
    (void)context;
    return atomic_load_explicit(&clock_ms, memory_order_relaxed);
}

/* ---- hits ---- */

static int load_never(void *context, const void *key, size_t key_size, firn_load *load) {
    (void)context;
    (void)key;
    (void)key_size;
    return firn_load_fail(load, FIRN_EUSER);
}

typedef struct subject {
    const char *name;
    bool loads;      /* by firn_get_or_load */
    uint64_t ttl_ms; /* of the entries */
    uint64_t refresh_ahead_ms;
    double beta;
    firn_cache *cache;
    double seconds[TURNS];
} subject;

static void fill(subject *self) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = (uint64_t)128 << 20;
    options.hot_policy = "sieve";
    need(firn_open(&self->cache, NULL, &options));
    firn_put_options put = FIRN_PUT_OPTIONS_INIT;
    put.ttl_ms = self->ttl_ms;
    put.cost_us = self->ttl_ms != 0 ? 1000 : 0;
    const char value[100] = "value";
    for (uint64_t key = 0; key < KEYS; key++) {
        need(firn_put(self->cache, &key, sizeof key, value, sizeof value, &put));
    }
}

static void take_turn(subject *self, unsigned turn) {
    firn_loader loader = FIRN_LOADER_INIT;
    loader.load = load_never;
    loader.refresh_ahead_ms = self->refresh_ahead_ms;
    loader.beta = self->beta;
    uint64_t key = turn;
    double began = seconds(CLOCK_THREAD_CPUTIME_ID);
    for (unsigned i = 0; i < TURN; i++) {
        key = (key * 6364136223846793005u + 1442695040888963407u);
        uint64_t one = (key >> 33) % KEYS;
        firn_object *object;
        need(self->loads ? firn_get_or_load(self->cache, &one, sizeof one, &loader, &object)
                         : firn_get(self->cache, &one, sizeof one, &object));
        firn_object_unref(object);
    }
    self->seconds[turn] = seconds(CLOCK_THREAD_CPUTIME_ID) - began;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* In turns, by the thread's own time, and a figure of the fastest quarter: so that what else runs
 * on the machine counts as little as may be. */
static void bench_hits(void) {
    static subject subjects[] = {
        {.name = "firn_get, no expiry"},
        {.name = "firn_get_or_load, no expiry", .loads = true},
        {.name = "firn_get, ttl", .ttl_ms = 3600000},
        {.name = "firn_get_or_load, ttl", .loads = true, .ttl_ms = 3600000},
        {.name = "firn_get_or_load, ttl and refresh ahead",
         .loads = true,
         .ttl_ms = 3600000,
         .refresh_ahead_ms = 1000},
        {.name = "firn_get_or_load, ttl and beta", .loads = true, .ttl_ms = 3600000, .beta = 1},
    };
    enum { SUBJECTS = sizeof subjects / sizeof subjects[0] };
    for (unsigned s = 0; s < SUBJECTS; s++) {
        fill(&subjects[s]);
    }
    for (unsigned turn = 0; turn < TURNS; turn++) {
        for (unsigned s = 0; s < SUBJECTS; s++) {
            take_turn(&subjects[s], turn);
        }
    }
    for (unsigned s = 0; s < SUBJECTS; s++) {
        qsort(subjects[s].seconds, TURNS, sizeof(double), compare);
        tell("hit", subjects[s].name, "ns/op", subjects[s].seconds[TURNS / 4] * 1e9 / TURN);
        need(firn_close(subjects[s].cache));
    }
}

/* ---- a stampede ---- */

typedef struct stampede {
    const char *name;
    firn_cache *cache;
    firn_loader loader;
    bool by_hand; /* get, load and put, as a program does without loading */
    pthread_barrier_t barrier;
    _Atomic unsigned asked; /* the source was */
} stampede;

typedef struct caller {
    stampede *of;
    bool moves_clock;
    double waited[EXPIRIES];
} caller;

static void ask_source(stampede *self) {
    const struct timespec takes = {0, LOAD_NS};
    atomic_fetch_add(&self->asked, 1);
    nanosleep(&takes, NULL);
}

static int load_slowly(void *context, const void *key, size_t key_size, firn_load *load) {
    (void)key;
    (void)key_size;
    ask_source(context);
    return firn_load_bytes(load, "value", 5);
}

static void get_by_hand(stampede *self, firn_object **object) {
    if (firn_get(self->cache, "key", 3, object) == FIRN_OK) {
        return;
    }
    ask_source(self);
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.ttl_ms = TTL_MS;
    need(firn_put(self->cache, "key", 3, "value", 5, &options));
    need(firn_get(self->cache, "key", 3, object));
}

static void *call(void *context) {
    caller *self = context;
    stampede *of = self->of;
    for (unsigned i = 0; i < EXPIRIES; i++) {
        pthread_barrier_wait(&of->barrier);
        firn_object *object;
        double began = seconds(CLOCK_MONOTONIC);
        if (of->by_hand) {
            get_by_hand(of, &object);
        } else {
            need(firn_get_or_load(of->cache, "key", 3, &of->loader, &object));
        }
        self->waited[i] = seconds(CLOCK_MONOTONIC) - began;
        firn_object_unref(object);
        pthread_barrier_wait(&of->barrier);
        if (self->moves_clock) {
            atomic_fetch_add(&clock_ms, TTL_MS + 1);
        }
    }
    return NULL;
}

static void bench_stampede(const char *name, bool by_hand, uint64_t stale_ms, unsigned refresh) {
    static caller callers[THREADS];
    static double waited[THREADS * EXPIRIES];
    pthread_t threads[THREADS];
    firn_options options = FIRN_OPTIONS_INIT;
    options.clock.now_ms = moved_clock;
    stampede self = {.name = name, .by_hand = by_hand, .loader = FIRN_LOADER_INIT};
    need(firn_open(&self.cache, NULL, &options));
    pthread_barrier_init(&self.barrier, NULL, THREADS);
    self.loader.load = load_slowly;
    self.loader.context = &self;
    self.loader.ttl_ms = TTL_MS;
    self.loader.stale_ms = stale_ms;
    self.loader.refresh = refresh;
    for (unsigned i = 0; i < THREADS; i++) {
        callers[i].of = &self;
        callers[i].moves_clock = i == 0;
        if (pthread_create(&threads[i], NULL, call, &callers[i]) != 0) {
            exit(1);
        }
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        memcpy(&waited[i * EXPIRIES], callers[i].waited, sizeof callers[i].waited);
    }
    need(firn_close(self.cache));
    pthread_barrier_destroy(&self.barrier);
    qsort(waited, THREADS * EXPIRIES, sizeof(double), compare);
    tell("stampede of 8", name, "loads/expiry", (double)self.asked / EXPIRIES);
    tell("stampede of 8, median wait", name, "us", waited[THREADS * EXPIRIES / 2] * 1e6);
    tell("stampede of 8, longest tenth waits", name, "us",
         waited[THREADS * EXPIRIES * 9 / 10] * 1e6);
}

int main(void) {
    bench_hits();
    bench_stampede("get, load and put", true, 0, FIRN_REFRESH_CALLER);
    bench_stampede("firn_get_or_load", false, 0, FIRN_REFRESH_CALLER);
    bench_stampede("stale_ms", false, 60 * TTL_MS, FIRN_REFRESH_CALLER);
    bench_stampede("stale_ms, in the background", false, 60 * TTL_MS, FIRN_REFRESH_BACKGROUND);
    return 0;
}
