/* What it costs to ask policies of admission, demotion and promotion: caches that differ in one of
 * them, in one process and in short turns, so that what disturbs the machine disturbs all alike.
 *
 * Usage: bench_moves FOLDER
 *
 * FOLDER is for stores, and must be there. Each line is JSON: the median time of an operation, and
 * the median of the ratios to the first cache in the same turn, where all is "always". A put is of
 * a new entry, for which another has to leave memory; a cold hit is of an entry that is below. The
 * time to write what goes below is not in it: that is done between turns. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <firn/firn.h>

enum { TURNS = 101, PUTS = 2000, VALUE = 256, COLD_KEYS = 60000, GETS = 500 };

typedef struct candidate {
    const char *what;
    const char *admission;
    const char *demotion;
    const char *promotion;
    firn_cache *cache;
    uint64_t next;
    double put_ns[TURNS];
    double get_ns[TURNS];
} candidate;

static candidate candidates[] = {
    {.what = "always"},
    {.what = "admission frequency", .admission = "frequency"},
    {.what = "admission size", .admission = "size"},
    {.what = "demotion reject-first", .demotion = "reject-first"},
    {.what = "demotion frequency", .demotion = "frequency"},
    {.what = "demotion size", .demotion = "size"},
    {.what = "demotion budget", .demotion = "budget"},
    {.what = "promotion kth-hit", .promotion = "kth-hit"},
    {.what = "promotion gain", .promotion = "gain"},
};

enum { CANDIDATES = sizeof candidates / sizeof candidates[0] };

static void fail(const char *what) {
    fprintf(stderr, "bench_moves: %s\n", what);
    exit(1);
}

static double now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void work_off(firn_cache *cache) {
    while (firn_run(cache, 1000) == FIRN_AGAIN) {
    }
}

static void put(candidate *self, uint64_t key) {
    char value[VALUE];
    memset(value, (int)(key % 251), sizeof value);
    if (firn_put(self->cache, &key, sizeof key, value, sizeof value, NULL) != FIRN_OK) {
        fail("put");
    }
}

static void begin(candidate *self, const char *folder, unsigned number) {
    char path[4096];
    snprintf(path, sizeof path, "%s/moves-%u", folder, number);
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 4 << 20;
    options.cold_bytes = 256 << 20;
    options.threads = 0;
    options.durability = FIRN_DURABILITY_NONE;
    options.admission = self->admission;
    options.demotion = self->demotion;
    options.demotion_rate = 100 << 20;
    options.promotion = self->promotion;
    if (firn_open(&self->cache, path, &options) != FIRN_OK) {
        fail("cannot open a store: is the folder there, and without stores?");
    }
    for (uint64_t key = 0; key < COLD_KEYS; key++) {
        put(self, key);
    }
    if (firn_flush(self->cache) != FIRN_OK) {
        fail("flush");
    }
    self->next = COLD_KEYS;
}

static void turn(candidate *self, unsigned number) {
    double began = now_ns();
    for (unsigned i = 0; i < PUTS; i++) {
        put(self, self->next++);
    }
    self->put_ns[number] = (now_ns() - began) / PUTS;
    work_off(self->cache);
    began = now_ns();
    for (unsigned i = 0; i < GETS; i++) {
        uint64_t key = (self->next * 31 + i * UINT64_C(7919)) % COLD_KEYS;
        firn_object *object;
        if (firn_get(self->cache, &key, sizeof key, &object) == FIRN_OK) {
            firn_object_unref(object);
        }
    }
    self->get_ns[number] = (now_ns() - began) / GETS;
    work_off(self->cache);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *numbers) {
    qsort(numbers, TURNS, sizeof *numbers, compare);
    return numbers[TURNS / 2];
}

static void report(const char *what, const char *operation, double *ns, const double *base) {
    double ratios[TURNS];
    double sorted[TURNS];
    for (unsigned i = 0; i < TURNS; i++) {
        ratios[i] = ns[i] / base[i];
        sorted[i] = ns[i];
    }
    printf("{\"bench\": \"%s\", \"policy\": \"%s\", \"ns\": %.0f, \"ratio\": %.3f}\n", operation,
           what, median(sorted), median(ratios));
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: bench_moves FOLDER\n");
        return 2;
    }
    for (unsigned i = 0; i < CANDIDATES; i++) {
        begin(&candidates[i], argv[1], i);
    }
    for (unsigned number = 0; number < TURNS; number++) {
        for (unsigned i = 0; i < CANDIDATES; i++) {
            turn(&candidates[(i + number) % CANDIDATES], number);
        }
    }
    for (unsigned i = 0; i < CANDIDATES; i++) {
        candidate *self = &candidates[i];
        report(self->what, "put, one is evicted", self->put_ns, candidates[0].put_ns);
        report(self->what, "cold hit", self->get_ns, candidates[0].get_ns);
        firn_close(self->cache);
    }
    return 0;
}
