/* How far the estimated hit-ratio curve (firn/curve.h) is from the exact one of a cache that evicts
 * what was used least recently: for each trace and each amount of memory, the mean and the worst of
 * the differences at a hundred sizes up to all that the trace touches, and what an access takes.
 *
 *     build/tests/bench_curve TRACE...
 *
 * A trace with sizes is measured twice: in bytes, and with every object counted as one. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <firn/curve.h>

#include "../../tools/output.h"
#include "../../tools/requests.h"
#include "stack_distance.h"

enum { SIZES = 100 };

static const struct {
    const char *name;
    uint64_t bytes;
    double rate;
} settings[] = {
    {"1 MiB", 1 << 20, 1},
    {"256 KiB", 256 << 10, 1},
    {"64 KiB", 64 << 10, 1},
    {"1 MiB, 1/16", 1 << 20, 1.0 / 16},
    {"512 KiB, 1/64", 512 << 10, 1.0 / 64},
};

/* Keys are numbered in a row: spread over 64 bits, as the cache's hash does. */
static uint64_t spread(uint64_t key) {
    key = (key + 1) * UINT64_C(0x9e3779b97f4a7c15);
    key = (key ^ key >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    key = (key ^ key >> 27) * UINT64_C(0x94d049bb133111eb);
    return key ^ key >> 31;
}

static uint32_t charge_of(const request *one, bool bytes) {
    return bytes ? one->charge : 1;
}

static void fail(const char *what) {
    fprintf(stderr, "bench_curve: %s\n", what);
    exit(1);
}

static void measure(const char *name, const requests *all, const distances *exact, bool bytes,
                    unsigned setting) {
    firn_estimator *estimator;
    firn_curve curve = FIRN_CURVE_INIT;
    if (firn_estimator_open(&estimator, settings[setting].bytes, settings[setting].rate) !=
        FIRN_OK) {
        fail("no memory");
    }
    uint64_t began_ns = now_ns();
    for (uint64_t i = 0; i < all->count; i++) {
        firn_estimator_access(estimator, spread(all->list[i].key), charge_of(&all->list[i], bytes));
    }
    double ns = (double)(now_ns() - began_ns) / (double)all->count;
    if (firn_estimator_get_curve(estimator, &curve) != FIRN_OK) {
        fail("no curve");
    }
    double mean = 0;
    double worst = 0;
    for (unsigned i = 1; i <= SIZES; i++) {
        uint64_t size = (uint64_t)((double)distances_footprint(exact) * i / SIZES);
        double error = fabs(firn_curve_at(&curve.hot, size) - distances_hit_ratio(exact, size));
        mean += error / SIZES;
        worst = error > worst ? error : worst;
    }
    printf("| %s | %s | %s | %llu | %.4f | %.4f | %.4f | %.0f |\n", name,
           bytes ? "bytes" : "objects", settings[setting].name, (unsigned long long)curve.samples,
           curve.sampling_rate, mean, worst, ns);
    firn_estimator_close(estimator);
}

static void measure_all(const char *name, const requests *all, bool bytes) {
    distances exact;
    if (!distances_init(&exact, all->keys, all->count)) {
        fail("no memory");
    }
    for (uint64_t i = 0; i < all->count; i++) {
        distances_add(&exact, all->list[i].key, charge_of(&all->list[i], bytes));
    }
    distances_finish(&exact);
    for (unsigned i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        measure(name, all, &exact, bytes, i);
    }
    distances_fini(&exact);
    fflush(stdout);
}

int main(int argc, char **argv) {
    printf(
        "| trace | over | memory | keys followed | rate | mean error | worst | ns an access |\n");
    printf("| --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for (int i = 1; i < argc; i++) {
        requests all;
        progress shown;
        progress_begin(&shown, true);
        if (requests_load(&all, argv[i], &shown) != 0) {
            return 1;
        }
        const char *slash = strrchr(argv[i], '/');
        char name[64];
        snprintf(name, sizeof name, "%s", slash != NULL ? slash + 1 : argv[i]);
        name[strcspn(name, ".")] = '\0';
        measure_all(name, &all, false);
        if (all.sized) {
            measure_all(name, &all, true);
        }
        requests_free(&all);
    }
    return 0;
}
