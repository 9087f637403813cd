/* How long the collector of circles takes, and the longest step of it.
 *
 * A million values (or as many as the first argument says), each of which holds four others by
 * chance, are put and deleted; a handle to one of them keeps nearly all at first, then it goes.
 *
 * Then the same of entries that are owned and keep each other by links: one that is not owned keeps
 * nearly all at first, then it is deleted. A step of that locks the graph of links.
 *
 *     build/tests/bench_collect [VALUES] */
#include <stdbool.h>
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

static double now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
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

/* The longest step so far, in seconds. */
typedef struct steps {
    double wall;
    double processor; /* what the thread itself took, whoever else wanted the processor */
} steps;

static void raise_to(double *longest, double took) {
    *longest = took > *longest ? took : *longest;
}

/* A round in steps, each timed from outside. */
static void collect(firn_cache *cache, const char *what, steps *longest) {
    firn_collect_stats before = FIRN_COLLECT_STATS_INIT;
    firn_collect_stats stats = FIRN_COLLECT_STATS_INIT;
    double began = now(CLOCK_MONOTONIC);
    int result = FIRN_AGAIN;
    for (int number = 0; result == FIRN_AGAIN; number++) {
        double wall = now(CLOCK_MONOTONIC);
        double processor = now(CLOCK_THREAD_CPUTIME_ID);
        result = firn_collect(cache, 1000, &stats);
        raise_to(&longest->processor, now(CLOCK_THREAD_CPUTIME_ID) - processor);
        raise_to(&longest->wall, now(CLOCK_MONOTONIC) - wall);
        before = number == 0 ? stats : before;
    }
    must(result, "firn_collect");
    printf("%-28s %9llu values dropped in %7.1f ms\n", what,
           (unsigned long long)(stats.objects - before.objects),
           (now(CLOCK_MONOTONIC) - began) * 1e3);
}

/* ---- entries that keep each other by links ---- */

static void put_linked(firn_cache *cache, size_t key, const size_t *targets, size_t edges,
                       bool owned) {
    firn_link links[EDGES];
    for (size_t i = 0; i < edges; i++) {
        links[i] = (firn_link){FIRN_LINK_KEEPS, &targets[i], sizeof targets[i], 0};
    }
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.links = links;
    options.link_count = edges;
    options.owned = owned;
    must(firn_put(cache, &key, sizeof key, "", 0, &options), "put");
}

static void collect_entries(firn_cache *cache, const char *what) {
    firn_stats before = FIRN_STATS_INIT;
    firn_stats after = FIRN_STATS_INIT;
    must(firn_get_stats(cache, &before), "stats");
    double began = now(CLOCK_MONOTONIC);
    must(firn_collect(cache, UINT64_MAX, NULL), "firn_collect");
    double took = now(CLOCK_MONOTONIC) - began;
    must(firn_get_stats(cache, &after), "stats");
    printf("%-28s %9llu entries gone in %10.1f ms\n", what,
           (unsigned long long)(after.circles + after.unkept - before.circles - before.unkept),
           took * 1e3);
}

static void run_links(firn_cache *cache, size_t entries) {
    uint64_t state = 1;
    double began = now(CLOCK_MONOTONIC);
    for (size_t i = 0; i < entries; i++) {
        size_t targets[EDGES];
        for (unsigned n = 0; n < EDGES; n++) {
            state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            targets[n] = (state >> 20) % entries;
        }
        targets[0] = (i + 1) % entries; /* an entry that nothing ever kept would be a root */
        put_linked(cache, i, targets, EDGES, true);
    }
    size_t first = 0;
    put_linked(cache, entries, &first, 1, false);
    firn_stats stats = FIRN_STATS_INIT;
    must(firn_get_stats(cache, &stats), "stats");
    printf("%-28s %9.2f us each, %.0f bytes of memory a link with its share of nodes\n",
           "puts with links", (now(CLOCK_MONOTONIC) - began) * 1e6 / (double)entries,
           (double)stats.link_bytes / (double)stats.links);
    collect_entries(cache, "nearly all are kept");
    must(firn_delete(cache, &entries, sizeof entries), "delete");
    collect_entries(cache, "nothing keeps any");
    firn_collect_stats collected = FIRN_COLLECT_STATS_INIT;
    must(firn_collect(cache, UINT64_MAX, &collected), "firn_collect");
    printf("longest step                 %9.2f ms (the graph of links is locked)\n",
           (double)collected.longest_link_step_us / 1e3);
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
    steps longest = {0, 0};
    collect(cache, "nearly all are held", &longest);
    firn_object_unref(first);
    collect(cache, "nobody holds any", &longest);
    printf("longest step                 %9.2f ms, of them the thread's own %.2f ms\n",
           longest.wall * 1e3, longest.processor * 1e3);
    run_links(cache, values);
    must(firn_close(cache), "firn_close");
    return 0;
}
