/* How long the collector of circles takes, and the longest step of it.
 *
 * A million values (or as many as the first argument says), each of which holds four others by
 * chance, are put and deleted; a handle to one of them keeps nearly all at first, then it goes.
 *
 *     build/tests/bench_collect [VALUES] */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <firn/firn.h>

enum { EDGES = 4 };

typedef struct node {
    firn_object *held[EDGES];
} node;

static void visit(void *context, const void *value, size_t value_size, firn_visitor visitor,
                  void *visitor_context) {
    (void)context;
    (void)value_size;
    for (unsigned i = 0; i < EDGES; i++) {
        visitor(visitor_context, ((const node *)value)->held[i]);
    }
}

static void drop(void *context, void *value, size_t value_size) {
    (void)context;
    (void)value_size;
    for (unsigned i = 0; i < EDGES; i++) {
        firn_object_unref(((node *)value)->held[i]);
    }
}

static const firn_type type = {.size = sizeof(firn_type),
                               .name = "node",
                               .value_size = sizeof(node),
                               .visit = visit,
                               .drop = drop};

static void must(int result, const char *what) {
    if (result != FIRN_OK) {
        fprintf(stderr, "%s: %s\n", what, firn_strerror(result));
        exit(1);
    }
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Values put and deleted, which hold each other; a handle to the first. */
static firn_object *make(firn_cache *cache, size_t values) {
    firn_object **objects = calloc(values, sizeof *objects);
    if (objects == NULL) {
        must(FIRN_ENOMEM, "calloc");
    }
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.type = &type;
    for (size_t i = 0; i < values; i++) {
        must(firn_object_new(cache, &i, sizeof i, sizeof(node), &options, &objects[i]), "new");
    }
    uint64_t state = 1;
    for (size_t i = 0; i < values; i++) {
        node *value = firn_object_value(objects[i]);
        for (unsigned n = 0; n < EDGES; n++) {
            state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            value->held[n] = firn_object_ref(objects[(state >> 20) % values]);
        }
    }
    for (size_t i = 0; i < values; i++) {
        must(firn_put_object(cache, objects[i]), "put");
        must(firn_delete(cache, &i, sizeof i), "delete");
    }
    for (size_t i = 1; i < values; i++) {
        firn_object_unref(objects[i]);
    }
    firn_object *first = objects[0];
    free(objects);
    return first;
}

/* A round in steps, each timed from outside. */
static void collect(firn_cache *cache, const char *what, double *longest) {
    firn_collect_stats before = FIRN_COLLECT_STATS_INIT;
    firn_collect_stats stats = FIRN_COLLECT_STATS_INIT;
    double began = now();
    int result = FIRN_AGAIN;
    for (int steps = 0; result == FIRN_AGAIN; steps++) {
        double step = now();
        result = firn_collect(cache, 1000, &stats);
        double took = now() - step;
        *longest = took > *longest ? took : *longest;
        before = steps == 0 ? stats : before;
    }
    must(result, "firn_collect");
    printf("%-28s %9llu values dropped in %7.1f ms\n", what,
           (unsigned long long)(stats.objects - before.objects), (now() - began) * 1e3);
}

int main(int count, char **arguments) {
    size_t values = count > 1 ? strtoull(arguments[1], NULL, 10) : 1000000;
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = UINT64_C(1) << 30;
    options.threads = 0;
    firn_cache *cache;
    must(firn_open(&cache, NULL, &options), "firn_open");
    must(firn_register_type(cache, &type), "firn_register_type");
    firn_object *first = make(cache, values);
    double longest = 0;
    collect(cache, "nearly all are held", &longest);
    firn_object_unref(first);
    collect(cache, "nobody holds any", &longest);
    firn_collect_stats stats = FIRN_COLLECT_STATS_INIT;
    must(firn_collect(cache, UINT64_MAX, &stats), "firn_collect");
    printf("longest step                 %9.2f ms (by the library's own count %.2f)\n",
           longest * 1e3, (double)stats.longest_step_us / 1e3);
    must(firn_close(cache), "firn_close");
    return 0;
}
