/* Circles of values: what only each other holds goes, all else stays, whatever is done meanwhile.
 */
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <firn/firn.h>

#include "object/domain.h"
#include "unit/entries.h"
#include "unit/suite.h"
#include "unit/support.h"

/* A value that holds others. */
typedef struct node {
    unsigned number;
    unsigned count;
    firn_object *held[];
} node;

enum { NODES_MAX = 4096 };

/* Relaxed would do: they are looked at when the threads are done, or by who holds the node. */
static atomic_int dropped[NODES_MAX];

static void node_visit(void *context, const void *value, size_t value_size, firn_visitor visitor,
                       void *visitor_context) {
    (void)context;
    (void)value_size;
    const node *self = value;
    for (unsigned i = 0; i < self->count; i++) {
        visitor(visitor_context, self->held[i]);
    }
}

static void node_drop(void *context, void *value, size_t value_size) {
    (void)context;
    (void)value_size;
    node *self = value;
    atomic_fetch_add(&dropped[self->number], 1);
    for (unsigned i = 0; i < self->count; i++) {
        firn_object_unref(self->held[i]);
    }
    self->count = UINT32_MAX; /* who looks at it now looks far */
}

static size_t node_charge(void *context, const void *value, size_t value_size) {
    (void)context;
    (void)value;
    (void)value_size;
    return 1000;
}

static const firn_type node_type = {.size = sizeof(firn_type),
                                    .name = "node",
                                    .value_size = sizeof(node),
                                    .visit = node_visit,
                                    .drop = node_drop};
static const firn_type heavy_type = {.size = sizeof(firn_type),
                                     .name = "heavy",
                                     .value_size = sizeof(node),
                                     .charge = node_charge,
                                     .visit = node_visit,
                                     .drop = node_drop};

static firn_cache *open_nodes(unsigned threads, uint64_t hot_bytes) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.threads = threads;
    options.hot_bytes = hot_bytes;
    options.shards = 1;
    firn_cache *cache = open_with(NULL, &options);
    ck_assert_int_eq(firn_register_type(cache, &node_type), FIRN_OK);
    ck_assert_int_eq(firn_register_type(cache, &heavy_type), FIRN_OK);
    memset(dropped, 0, sizeof dropped);
    return cache;
}

/* An object to be put that has room for that many references. */
static firn_object *make_node(firn_cache *cache, const firn_type *type, unsigned number,
                              unsigned room) {
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.type = type;
    firn_object *object;
    ck_assert_int_eq(firn_object_new(cache, &number, sizeof number,
                                     sizeof(node) + room * sizeof(firn_object *), &options,
                                     &object),
                     FIRN_OK);
    ((node *)firn_object_value(object))->number = number;
    return object;
}

static const node *node_of(const firn_object *object) {
    return firn_object_data(object);
}

/* Before `from` is put. */
static void hold(firn_object *from, firn_object *to) {
    node *self = firn_object_value(from);
    self->held[self->count++] = firn_object_ref(to);
}

static void delete_node(firn_cache *cache, unsigned number) {
    ck_assert_int_eq(firn_delete(cache, &number, sizeof number), FIRN_OK);
}

/* Puts the nodes numbered from `first` on; the entries go at once. The handles stay. */
static void put_and_delete(firn_cache *cache, firn_object **objects, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        ck_assert_int_eq(firn_put_object(cache, objects[i]), FIRN_OK);
    }
    for (unsigned i = 0; i < count; i++) {
        delete_node(cache, node_of(objects[i])->number);
    }
}

static void let_go(firn_object **objects, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        firn_object_unref(objects[i]);
        objects[i] = NULL;
    }
}

static void collect(firn_cache *cache) {
    ck_assert_int_eq(firn_collect(cache, UINT64_MAX, NULL), FIRN_OK);
}

static void expect_dropped(unsigned first, unsigned count, int times) {
    for (unsigned i = first; i < first + count; i++) {
        ck_assert_msg(dropped[i] == times, "node %u was dropped %d times, not %d", i, dropped[i],
                      times);
    }
}

/* count nodes, each of which holds the next, and the last the first. */
static void make_circle(firn_cache *cache, unsigned first, firn_object **objects, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        objects[i] = make_node(cache, &node_type, first + i, 4);
    }
    for (unsigned i = 0; i < count; i++) {
        hold(objects[i], objects[(i + 1) % count]);
    }
}

/* ---- shapes ---- */

START_TEST(circles_of_any_size_go) {
    for (unsigned count = 1; count < 40; count++) {
        firn_cache *cache = open_nodes(0, 1 << 20);
        firn_object *objects[40];
        make_circle(cache, 0, objects, count);
        put_and_delete(cache, objects, count);
        collect(cache);
        expect_dropped(0, count, 0); /* we hold them */
        let_go(objects, count);
        expect_dropped(0, count, 0);
        ck_assert_uint_gt(stats_of(cache).detached_bytes, 0);
        collect(cache);
        expect_dropped(0, count, 1);
        firn_stats stats = stats_of(cache);
        ck_assert_uint_eq(stats.detached_bytes, 0);
        ck_assert_uint_eq(stats.collected_objects, count);
        ck_assert_uint_ge(stats.collected_bytes, count * sizeof(node));
        ck_assert_uint_eq(stats.collections, 2);
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
        expect_dropped(0, count, 1);
    }
}
END_TEST

static int admit_none(void *state, const firn_candidate *candidate) {
    (void)state;
    (void)candidate;
    return 0;
}

START_TEST(circles_that_were_not_admitted_go) {
    static const firn_tier_policy never = {
        .size = sizeof never, .name = "never", .admits = admit_none};
    firn_options options = FIRN_OPTIONS_INIT;
    options.threads = 0;
    options.admission_ops = &never;
    firn_cache *cache = open_with(NULL, &options);
    ck_assert_int_eq(firn_register_type(cache, &node_type), FIRN_OK);
    memset(dropped, 0, sizeof dropped);
    firn_object *objects[5];
    make_circle(cache, 0, objects, 5);
    for (unsigned i = 0; i < 5; i++) {
        ck_assert_int_eq(firn_put_object(cache, objects[i]), FIRN_OK);
    }
    ck_assert_uint_eq(stats_of(cache).hot_entries, 0);
    collect(cache);
    expect_dropped(0, 5, 0);
    let_go(objects, 5);
    collect(cache);
    expect_dropped(0, 5, 1);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(a_handle_anywhere_keeps_what_it_reaches) {
    firn_cache *cache = open_nodes(0, 1 << 20);
    firn_object *objects[12];
    make_circle(cache, 0, objects, 6);     /* 0 to 5, and 5 holds 6 as well */
    make_circle(cache, 6, objects + 6, 5); /* 6 to 10, and 10 holds the tail, 11 */
    objects[11] = make_node(cache, &node_type, 11, 0);
    hold(objects[5], objects[6]);
    hold(objects[10], objects[11]);
    put_and_delete(cache, objects, 12);
    firn_object *second = firn_object_ref(objects[8]);
    let_go(objects, 12);
    collect(cache);
    expect_dropped(0, 6, 1); /* nobody holds the first circle */
    expect_dropped(6, 6, 0);
    firn_object_unref(second);
    collect(cache);
    expect_dropped(0, 12, 1);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(an_indexed_entry_keeps_what_it_reaches) {
    firn_cache *cache = open_nodes(0, 1 << 20);
    firn_object *objects[5];
    make_circle(cache, 0, objects, 5);
    for (unsigned i = 0; i < 5; i++) {
        ck_assert_int_eq(firn_put_object(cache, objects[i]), FIRN_OK);
    }
    let_go(objects, 5);
    for (unsigned i = 0; i < 4; i++) {
        delete_node(cache, i);
        collect(cache);
        expect_dropped(0, 5, 0);
    }
    delete_node(cache, 4);
    collect(cache);
    expect_dropped(0, 5, 1);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(a_diamond_and_a_value_held_twice) {
    firn_cache *cache = open_nodes(0, 1 << 20);
    firn_object *objects[4];
    for (unsigned i = 0; i < 4; i++) {
        objects[i] = make_node(cache, &node_type, i, 4);
    }
    hold(objects[0], objects[1]);
    hold(objects[0], objects[2]);
    hold(objects[1], objects[3]);
    hold(objects[2], objects[3]);
    hold(objects[3], objects[0]);
    hold(objects[3], objects[0]);
    hold(objects[3], objects[3]);
    put_and_delete(cache, objects, 4);
    let_go(objects, 4);
    collect(cache);
    expect_dropped(0, 4, 1);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(evicted_and_overwritten_circles_go) {
    firn_cache *cache = open_nodes(0, 1 << 20);
    firn_object *objects[6];
    make_circle(cache, 0, objects, 3);
    make_circle(cache, 3, objects + 3, 3);
    for (unsigned i = 0; i < 6; i++) {
        ck_assert_int_eq(firn_put_object(cache, objects[i]), FIRN_OK);
    }
    let_go(objects, 6);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(firn_put(cache, &i, sizeof i, "new", 3, NULL), FIRN_OK);
    }
    collect(cache);
    expect_dropped(0, 3, 1);
    expect_dropped(3, 3, 0);
    char filler[1000] = {0};
    for (unsigned i = 100; i < 4000; i++) {
        ck_assert_int_eq(firn_put(cache, &i, sizeof i, filler, sizeof filler, NULL), FIRN_OK);
    }
    collect(cache);
    expect_dropped(0, 6, 1);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(the_charge_of_a_type_is_given_back) {
    firn_cache *cache = open_nodes(0, 1 << 20);
    firn_object *object = make_node(cache, &heavy_type, 0, 1);
    hold(object, object);
    put_and_delete(cache, &object, 1);
    uint64_t detached = stats_of(cache).detached_bytes;
    ck_assert_uint_ge(detached, 1000);
    firn_object_unref(object);
    collect(cache);
    firn_stats stats = stats_of(cache);
    ck_assert_uint_eq(stats.detached_bytes, 0);
    ck_assert_uint_eq(stats.collected_bytes, detached);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(a_close_collects_what_is_in_the_cache) {
    firn_cache *cache = open_nodes(1, 1 << 20);
    firn_object *objects[30];
    make_circle(cache, 0, objects, 30);
    for (unsigned i = 0; i < 30; i++) {
        ck_assert_int_eq(firn_put_object(cache, objects[i]), FIRN_OK);
    }
    let_go(objects, 30);
    ck_assert_int_ge(firn_collect(cache, 0, NULL), FIRN_OK);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    expect_dropped(0, 30, 1);
}
END_TEST

START_TEST(a_put_that_fails_leaves_the_value_to_its_maker) {
    firn_cache *cache = open_nodes(0, 1 << 20);
    firn_object *object = make_node(cache, &node_type, 0, 200000);
    hold(object, object);
    ck_assert_int_eq(firn_put_object(cache, object), FIRN_ETOOLARGE);
    collect(cache);
    ck_assert_int_eq(dropped[0], 0);
    firn_object_unref(((node *)firn_object_value(object))->held[0]);
    firn_object_unref(object);
    ck_assert_int_eq(dropped[0], 0);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(arguments_and_statistics) {
    firn_cache *cache = open_nodes(0, 1 << 20);
    firn_collect_stats stats = FIRN_COLLECT_STATS_INIT;
    ck_assert_int_eq(firn_collect(NULL, 0, &stats), FIRN_EINVAL);
    stats.size = 0;
    ck_assert_int_eq(firn_collect(cache, 0, &stats), FIRN_EINVAL);
    stats.size = sizeof stats;
    ck_assert_int_eq(firn_collect(cache, UINT64_MAX, &stats), FIRN_OK);
    ck_assert_uint_eq(stats.rounds, 1);
    ck_assert_uint_eq(stats.candidates, 0);
    static firn_object *objects[3000];
    make_circle(cache, 0, objects, 3000);
    put_and_delete(cache, objects, 3000);
    let_go(objects, 3000);
    int calls = 0;
    while (firn_collect(cache, 0, &stats) == FIRN_AGAIN) {
        calls++;
    }
    ck_assert_int_gt(calls, 100); /* it is done in small steps */
    ck_assert_uint_eq(stats.rounds, 2);
    ck_assert_uint_eq(stats.candidates, 3000);
    ck_assert_uint_eq(stats.objects, 3000);
    ck_assert_uint_gt(stats.bytes, 3000 * sizeof(node));
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

/* An allocator that fails from a number of calls on. */
static long calls_left;

static void *count_down(void *context, size_t size) {
    (void)context;
    void *memory = calls_left-- > 0 ? aligned_alloc(64, (size + 63) & ~(size_t)63) : NULL;
    return memory;
}

static void give_back(void *context, void *memory, size_t size) {
    (void)context;
    (void)size;
    free(memory);
}

START_TEST(without_memory_a_round_is_given_up) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.threads = 0;
    options.hot_bytes = 4 << 20;
    options.allocator = (firn_allocator){.alloc = count_down, .free = give_back};
    calls_left = LONG_MAX;
    firn_cache *cache = open_with(NULL, &options);
    ck_assert_int_eq(firn_register_type(cache, &node_type), FIRN_OK);
    memset(dropped, 0, sizeof dropped);
    static firn_object *objects[NODES_MAX];
    static firn_weak *weak[NODES_MAX];
    make_circle(cache, 0, objects, NODES_MAX);
    for (unsigned i = 0; i < NODES_MAX; i++) {
        ck_assert_int_eq(firn_put_object(cache, objects[i]), FIRN_OK);
        ck_assert_int_eq(firn_weak_new(cache, objects[i], &weak[i]), FIRN_OK);
        delete_node(cache, i);
    }
    let_go(objects, NODES_MAX);
    int result = FIRN_ENOMEM;
    long allowed = 0;
    for (; result == FIRN_ENOMEM; allowed++) {
        expect_dropped(0, NODES_MAX, 0);
        calls_left = allowed;
        result = firn_collect(cache, UINT64_MAX, NULL);
    }
    calls_left = LONG_MAX;
    ck_assert_int_eq(result, FIRN_OK);
    ck_assert_int_gt(allowed, 5);
    expect_dropped(0, NODES_MAX, 1);
    for (unsigned i = 0; i < NODES_MAX; i++) {
        firn_weak_free(weak[i]);
    }
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

/* ---- in the background ---- */

START_TEST(a_run_collects_when_it_is_worth_it) {
    firn_cache *cache = open_nodes(0, 1 << 20);
    firn_object *objects[20];
    make_circle(cache, 0, objects, 20);
    put_and_delete(cache, objects, 20);
    let_go(objects, 20);
    ck_assert_int_eq(firn_run(cache, 10000), FIRN_OK);
    expect_dropped(0, 20, 1);
    ck_assert_uint_eq(stats_of(cache).collections, 1);
    ck_assert_int_eq(firn_run(cache, 10000), FIRN_OK);
    ck_assert_uint_eq(stats_of(cache).collections, 1);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

/* A round that has begun does not know of what came since. */
START_TEST(a_whole_round_is_begun_anew) {
    firn_cache *cache = open_nodes(0, 1 << 20);
    static firn_object *objects[3000];
    make_circle(cache, 0, objects, 2900);
    put_and_delete(cache, objects, 2900);
    let_go(objects, 2900);
    ck_assert_int_eq(firn_collect(cache, 0, NULL), FIRN_AGAIN);
    make_circle(cache, 2900, objects, 100);
    put_and_delete(cache, objects, 100);
    let_go(objects, 100);
    collect(cache);
    expect_dropped(0, 3000, 1);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

/* ---- functions that drop ---- */

static firn_cache *called;

static void calling_drop(void *context, void *value, size_t value_size) {
    node_drop(context, value, value_size);
    ck_assert_int_eq(firn_collect(called, 0, NULL), FIRN_EBUSY);
    ck_assert_int_eq(firn_put(called, "key", 3, "value", 5, NULL), FIRN_OK);
    firn_object *object;
    ck_assert_int_eq(firn_get(called, "key", 3, &object), FIRN_OK);
    firn_object_unref(object);
    ck_assert_int_ge(firn_run(called, 1), FIRN_OK);
    ck_assert_int_eq(firn_flush(called), FIRN_OK);
    stats_of(called);
}

static const firn_type calling_type = {.size = sizeof(firn_type),
                                       .name = "calling",
                                       .value_size = sizeof(node),
                                       .visit = node_visit,
                                       .drop = calling_drop};

START_TEST(a_drop_may_call_the_cache) {
    char *path = scratch_path("calls");
    for (int round = 0; round < 2; round++) {
        firn_options options = FIRN_OPTIONS_INIT;
        options.threads = 0;
        options.hot_bytes = 1 << 20;
        called = open_with(round == 0 ? NULL : path, &options);
        memset(dropped, 0, sizeof dropped);
        ck_assert_int_eq(firn_register_type(called, &calling_type), FIRN_OK);
        firn_object *objects[10];
        for (unsigned i = 0; i < 10; i++) {
            objects[i] = make_node(called, &calling_type, i, 1);
        }
        for (unsigned i = 0; i < 10; i++) {
            hold(objects[i], objects[(i + 1) % 10]);
        }
        put_and_delete(called, objects, 10);
        let_go(objects, 10);
        if (round == 0) {
            collect(called);
        } else {
            ck_assert_int_eq(firn_flush(called), FIRN_OK);
            ck_assert_int_eq(firn_run(called, 10000), FIRN_OK);
        }
        expect_dropped(0, 10, 1);
        ck_assert_int_eq(firn_close(called), FIRN_OK);
    }
    remove_tree(path);
}
END_TEST

/* ---- any graph, and an oracle ---- */

typedef struct graph {
    firn_cache *cache;
    unsigned count;
    uint64_t state;                 /* of the random numbers */
    bool indexed[NODES_MAX];        /* the entry is there */
    firn_object *handle[NODES_MAX]; /* ours, or NULL */
    unsigned degree[NODES_MAX];
    unsigned edges[NODES_MAX][4];
    bool reachable[NODES_MAX];
} graph;

static unsigned random_below(graph *self, unsigned bound) {
    self->state = self->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(self->state >> 33) % bound;
}

static void make_graph(graph *self, unsigned seed, unsigned count) {
    *self = (graph){.cache = open_nodes(0, 4 << 20), .count = count, .state = seed};
    for (unsigned i = 0; i < count; i++) {
        self->handle[i] = make_node(self->cache, &node_type, i, 4);
        self->indexed[i] = true;
    }
    unsigned density = 1 + random_below(self, 4);
    unsigned near = 1 + random_below(self, count);
    for (unsigned i = 0; i < count; i++) {
        for (unsigned n = random_below(self, density + 1); n > 0; n--) {
            unsigned to = (i + random_below(self, near)) % count;
            hold(self->handle[i], self->handle[to]);
            self->edges[i][self->degree[i]++] = to;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        ck_assert_int_eq(firn_put_object(self->cache, self->handle[i]), FIRN_OK);
    }
}

static void reach(graph *self) {
    static unsigned stack[NODES_MAX];
    unsigned depth = 0;
    for (unsigned i = 0; i < self->count; i++) {
        self->reachable[i] = self->indexed[i] || self->handle[i] != NULL;
        if (self->reachable[i]) {
            stack[depth++] = i;
        }
    }
    while (depth > 0) {
        unsigned from = stack[--depth];
        for (unsigned n = 0; n < self->degree[from]; n++) {
            unsigned to = self->edges[from][n];
            if (!self->reachable[to]) {
                self->reachable[to] = true;
                stack[depth++] = to;
            }
        }
    }
}

/* all: what cannot be reached has to be gone, too. */
static void expect_right(graph *self, bool all) {
    reach(self);
    for (unsigned i = 0; i < self->count; i++) {
        if (self->reachable[i]) {
            ck_assert_msg(dropped[i] == 0, "node %u can be reached, and was dropped", i);
        } else if (all) {
            ck_assert_msg(dropped[i] == 1, "node %u was dropped %d times", i, dropped[i]);
        }
    }
}

static void drop_roots(graph *self, unsigned share) {
    for (unsigned i = 0; i < self->count; i++) {
        if (self->indexed[i] && random_below(self, share) == 0) {
            self->indexed[i] = false;
            delete_node(self->cache, i);
        }
        if (self->handle[i] != NULL && random_below(self, share) == 0) {
            firn_object_unref(self->handle[i]);
            self->handle[i] = NULL;
        }
    }
}

static void end_graph(graph *self) {
    drop_roots(self, 1);
    collect(self->cache);
    expect_right(self, true);
    ck_assert_int_eq(firn_close(self->cache), FIRN_OK);
    expect_dropped(0, self->count, 1);
}

START_TEST(any_graph_is_collected_to_what_can_be_reached) {
    static graph self;
    for (unsigned seed = 0; seed < 300; seed++) {
        make_graph(&self, seed, 1 + seed);
        for (int round = 0; round < 4; round++) {
            drop_roots(&self, 2);
            collect(self.cache);
            expect_right(&self, true);
        }
        end_graph(&self);
    }
}
END_TEST

/* One handle goes along an edge, or is taken once more, dropped, or got by key. */
static void move_a_handle(graph *self) {
    unsigned from = random_below(self, self->count);
    firn_object *object = self->handle[from];
    if (object == NULL) {
        if (self->indexed[from]) {
            ck_assert_int_eq(firn_get(self->cache, &from, sizeof from, &self->handle[from]),
                             FIRN_OK);
        }
        return;
    }
    const node *value = node_of(object);
    ck_assert_uint_eq(value->number, from);
    if (value->count > 0 && random_below(self, 8) != 0) {
        firn_object *next = value->held[random_below(self, value->count)];
        unsigned to = node_of(next)->number;
        if (self->handle[to] == NULL) {
            self->handle[to] = firn_object_ref(next);
        }
        if (to == from || random_below(self, 4) == 0) {
            return;
        }
    }
    if (random_below(self, 8) != 0) {
        self->handle[from] = NULL;
        firn_object_unref(object);
    }
}

/* Between two steps of the collector, which are of a few values each, handles move. */
START_TEST(handles_move_between_the_steps) {
    static graph self;
    unsigned calls = 0;
    for (unsigned seed = 0; seed < 300; seed++) {
        make_graph(&self, seed, 30 + seed / 2);
        drop_roots(&self, 2);
        for (unsigned i = 0; i < self.count; i++) {
            if (self.indexed[i] && random_below(&self, 8) != 0) {
                self.indexed[i] = false;
                delete_node(self.cache, i);
            }
        }
        for (int round = 0; round < 3; round++) {
            while (firn_collect(self.cache, 0, NULL) == FIRN_AGAIN) {
                for (unsigned n = random_below(&self, 6); n > 0; n--) {
                    move_a_handle(&self);
                }
                expect_right(&self, false);
                calls++;
            }
        }
        end_graph(&self);
    }
    ck_assert_uint_gt(calls, 10000);
}
END_TEST

/* ---- weak references ---- */

static void watch(firn_cache *cache, firn_watch *watch, firn_object *object, firn_weak **weak) {
    ck_assert_int_eq(firn_weak_new(cache, object, weak), FIRN_OK); /* says that it is watched */
    ck_assert_int_eq(firn_watch_add(firn_domain_of(object), watch, object), FIRN_OK);
}

START_TEST(weak_references_forget_what_is_collected) {
    firn_cache *cache = open_nodes(0, 1 << 20);
    firn_object *objects[40];
    firn_weak *weak[40];
    firn_watch watches[40];
    make_circle(cache, 0, objects, 40);
    for (unsigned i = 0; i < 40; i++) {
        ck_assert_int_eq(firn_put_object(cache, objects[i]), FIRN_OK);
        watch(cache, &watches[i], objects[i], &weak[i]);
    }
    firn_domain *domain = firn_domain_of(objects[0]);
    for (unsigned i = 0; i < 40; i++) {
        delete_node(cache, i);
    }
    let_go(objects, 40);
    /* In each step of a round somebody gets one of them for a moment: then all stay. */
    unsigned steps = 0;
    int result = FIRN_AGAIN;
    while (result == FIRN_AGAIN) {
        result = firn_collect(cache, 0, NULL);
        if (result == FIRN_AGAIN && dropped[0] == 0) {
            firn_object *object = firn_watch_upgrade(domain, &watches[steps++ % 40]);
            ck_assert_ptr_nonnull(object);
            firn_object_unref(object);
        }
    }
    ck_assert_uint_gt(steps, 4);
    expect_dropped(0, 40, 0);
    collect(cache);
    expect_dropped(0, 40, 1);
    for (unsigned i = 0; i < 40; i++) {
        ck_assert_ptr_null(firn_watch_upgrade(domain, &watches[i]));
        firn_object *object;
        ck_assert_int_eq(firn_weak_get(weak[i], &object), FIRN_NOT_FOUND);
        firn_weak_free(weak[i]);
    }
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

/* One handle, never where the collector looks just now: what it is at must not go, though each
 * value by itself looked as if nobody held it. With weak references: it is there now and then only,
 * and comes back by one of them. */
static unsigned elude(unsigned seed, unsigned count, bool watched) {
    firn_cache *cache = open_nodes(0, 1 << 20);
    firn_object *objects[64];
    firn_weak *weak[64];
    firn_watch watches[64];
    unsigned state = seed;
    make_circle(cache, 0, objects, count);
    for (unsigned i = 0; i < count; i++) {
        hold(objects[i], objects[(i + count - 1) % count]);
        hold(objects[i], objects[(i + count / 3) % count]);
    }
    put_and_delete(cache, objects, count);
    for (unsigned i = 0; watched && i < count; i++) {
        watch(cache, &watches[i], objects[i], &weak[i]);
    }
    firn_domain *domain = firn_domain_ref(firn_domain_of(objects[0]));
    firn_object *at = watched ? NULL : firn_object_ref(objects[seed % count]);
    let_go(objects, count);
    int result = FIRN_AGAIN;
    while (result == FIRN_AGAIN) {
        result = firn_collect(cache, 0, NULL);
        ck_assert(at == NULL || dropped[node_of(at)->number] == 0);
        state = state * 1664525 + 1013904223;
        if (watched) {
            firn_object_unref(at);
            at = NULL;
            if ((state >> 16) % 4 == 0) {
                at = firn_watch_upgrade(domain, &watches[(state >> 20) % count]);
            }
        } else {
            for (unsigned moves = (state >> 16) % 20; moves > 0; moves--) {
                state = state * 1664525 + 1013904223;
                firn_object *next = firn_object_ref(node_of(at)->held[(state >> 16) % 3]);
                firn_object_unref(at);
                at = next;
            }
        }
        ck_assert(at == NULL || dropped[node_of(at)->number] == 0);
    }
    unsigned survived = dropped[0] == 0;
    firn_object_unref(at);
    collect(cache);
    expect_dropped(0, count, 1);
    for (unsigned i = 0; watched && i < count; i++) {
        ck_assert_ptr_null(firn_watch_upgrade(domain, &watches[i]));
        firn_weak_free(weak[i]);
    }
    firn_domain_unref(domain);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    return survived;
}

START_TEST(a_handle_that_eludes_the_collector_is_not_overlooked) {
    unsigned survived = 0;
    for (unsigned seed = 0; seed < 3000; seed++) {
        survived += elude(seed, 40 + seed % 24, false);
    }
    ck_assert_uint_eq(survived, 3000);
}
END_TEST

START_TEST(an_upgrade_at_any_moment_is_not_overlooked) {
    unsigned survived = 0;
    for (unsigned seed = 0; seed < 3000; seed++) {
        survived += elude(seed, 20 + seed % 24, true);
    }
    ck_assert_uint_gt(survived, 0);
    ck_assert_uint_lt(survived, 3000);
}
END_TEST

/* ---- threads ---- */

enum { MOVERS = 3, RACE_NODES = 64, RACES = 80 };

typedef struct race {
    firn_cache *cache;
    firn_domain *domain;
    atomic_bool stop;
    atomic_uint seed;
    pthread_mutex_t lock; /* guards the rest */
    firn_object *start;   /* a handle; NULL: none now */
    firn_watch watches[RACE_NODES];
    bool watched;
} race;

/* Goes along the edges from `at`, whose reference it uses up. */
static void walk(firn_object *at, unsigned *state, unsigned moves) {
    for (; moves > 0; moves--) {
        const node *value = node_of(at);
        ck_assert_int_eq(dropped[value->number], 0);
        *state = *state * 1664525 + 1013904223;
        firn_object *next = firn_object_ref(value->held[(*state >> 16) % value->count]);
        firn_object_unref(at);
        at = next;
    }
    firn_object_unref(at);
}

static void *move_along(void *context) {
    race *self = context;
    unsigned state = atomic_fetch_add(&self->seed, 1) * 7919;
    while (!atomic_load(&self->stop)) {
        pthread_mutex_lock(&self->lock);
        firn_object *at = self->start != NULL ? firn_object_ref(self->start) : NULL;
        if (at == NULL && self->watched) {
            state = state * 1664525 + 1013904223;
            at = firn_watch_upgrade(self->domain, &self->watches[(state >> 16) % RACE_NODES]);
        }
        pthread_mutex_unlock(&self->lock);
        if (at != NULL) {
            walk(at, &state, (state >> 20) % 64);
        }
    }
    return NULL;
}

static void *collect_along(void *context) {
    race *self = context;
    while (!atomic_load(&self->stop)) {
        ck_assert_int_ge(firn_collect(self->cache, 10, NULL), FIRN_OK);
    }
    return NULL;
}

/* Circles with chords come, are walked over, and lose their last handle while others go along them
 * and get some of theirs by weak references. */
static void run_race(unsigned threads, bool watched) {
    race self = {.cache = open_nodes(threads, 4 << 20), .lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_t movers[MOVERS];
    pthread_t collector;
    for (int i = 0; i < MOVERS; i++) {
        ck_assert_int_eq(pthread_create(&movers[i], NULL, move_along, &self), 0);
    }
    ck_assert_int_eq(pthread_create(&collector, NULL, collect_along, &self), 0);
    unsigned state = 1;
    for (unsigned round = 0; round < RACES; round++) {
        unsigned first = round % (NODES_MAX / RACE_NODES) * RACE_NODES;
        firn_object *objects[RACE_NODES];
        firn_weak *weak[RACE_NODES];
        /* Those that had the numbers are long gone. */
        for (unsigned i = first; round >= NODES_MAX / RACE_NODES && i < first + RACE_NODES; i++) {
            while (dropped[i] == 0) {
                collect(self.cache);
            }
            ck_assert_int_eq(dropped[i], 1);
            dropped[i] = 0;
        }
        make_circle(self.cache, first, objects, RACE_NODES);
        for (unsigned i = 0; i < RACE_NODES; i++) {
            state = state * 1664525 + 1013904223;
            hold(objects[i], objects[(state >> 16) % RACE_NODES]);
        }
        for (unsigned i = 0; i < RACE_NODES; i++) {
            ck_assert_int_eq(firn_put_object(self.cache, objects[i]), FIRN_OK);
        }
        pthread_mutex_lock(&self.lock);
        self.domain = firn_domain_of(objects[0]);
        for (unsigned i = 0; watched && i < RACE_NODES; i++) {
            watch(self.cache, &self.watches[i], objects[i], &weak[i]);
        }
        self.watched = watched;
        self.start = objects[0];
        pthread_mutex_unlock(&self.lock);
        for (unsigned i = 0; i < RACE_NODES; i++) {
            delete_node(self.cache, first + i);
        }
        let_go(objects + 1, RACE_NODES - 1);
        walk(firn_object_ref(objects[0]), &state, 50);
        pthread_mutex_lock(&self.lock);
        self.start = NULL;
        pthread_mutex_unlock(&self.lock);
        let_go(objects, 1);
        ck_assert_int_ge(firn_collect(self.cache, 50, NULL), FIRN_OK);
        pthread_mutex_lock(&self.lock);
        for (unsigned i = 0; watched && i < RACE_NODES; i++) {
            firn_watch_remove(self.domain, &self.watches[i]);
            firn_weak_free(weak[i]);
        }
        self.watched = false;
        pthread_mutex_unlock(&self.lock);
    }
    atomic_store(&self.stop, true);
    for (int i = 0; i < MOVERS; i++) {
        pthread_join(movers[i], NULL);
    }
    pthread_join(collector, NULL);
    collect(self.cache);
    expect_dropped(0, RACES < NODES_MAX / RACE_NODES ? RACES * RACE_NODES : NODES_MAX, 1);
    ck_assert_uint_eq(stats_of(self.cache).collected_objects, RACES * RACE_NODES);
    ck_assert_uint_eq(stats_of(self.cache).detached_bytes, 0);
    ck_assert_int_eq(firn_close(self.cache), FIRN_OK);
}

START_TEST(threads_move_handles_while_circles_are_collected) {
    run_race(0, false);
}
END_TEST

START_TEST(threads_upgrade_while_circles_are_collected) {
    run_race(1, true);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, circles_of_any_size_go);
    tcase_add_test(tcase, circles_that_were_not_admitted_go);
    tcase_add_test(tcase, a_handle_anywhere_keeps_what_it_reaches);
    tcase_add_test(tcase, an_indexed_entry_keeps_what_it_reaches);
    tcase_add_test(tcase, a_diamond_and_a_value_held_twice);
    tcase_add_test(tcase, evicted_and_overwritten_circles_go);
    tcase_add_test(tcase, the_charge_of_a_type_is_given_back);
    tcase_add_test(tcase, a_close_collects_what_is_in_the_cache);
    tcase_add_test(tcase, a_put_that_fails_leaves_the_value_to_its_maker);
    tcase_add_test(tcase, arguments_and_statistics);
    tcase_add_test(tcase, without_memory_a_round_is_given_up);
    tcase_add_test(tcase, a_run_collects_when_it_is_worth_it);
    tcase_add_test(tcase, a_whole_round_is_begun_anew);
    tcase_add_test(tcase, a_drop_may_call_the_cache);
    tcase_add_test(tcase, any_graph_is_collected_to_what_can_be_reached);
    tcase_add_test(tcase, handles_move_between_the_steps);
    tcase_add_test(tcase, weak_references_forget_what_is_collected);
    tcase_add_test(tcase, a_handle_that_eludes_the_collector_is_not_overlooked);
    tcase_add_test(tcase, an_upgrade_at_any_moment_is_not_overlooked);
    tcase_add_test(tcase, threads_move_handles_while_circles_are_collected);
    tcase_add_test(tcase, threads_upgrade_while_circles_are_collected);
}

int main(void) {
    return run_suite("collect", add_tests, 120);
}
