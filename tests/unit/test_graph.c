/* The graph of links, against a model that is asked everything anew each time. */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "object/graph.h"
#include "unit/suite.h"

enum { ENTRIES = 24, LINKS_MAX = 4, STEPS = 2000, SEEDS = 30 };

typedef struct entry {
    bool present;
    bool owned;
    bool was_kept; /* since it was put as owned */
    uint64_t version;
    size_t count;
    firn_graph_link links[LINKS_MAX];
} entry;

typedef struct model {
    firn_graph *graph;
    entry entries[ENTRIES];
    uint64_t version;
    uint64_t state;
    unsigned removed_circles;
} model;

static unsigned draw(model *self, unsigned below) {
    self->state = self->state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (unsigned)(self->state >> 33) % below;
}

static uint64_t hash_of(unsigned number) {
    return (number + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

static unsigned number_of(uint64_t hash) {
    for (unsigned i = 0; i < ENTRIES; i++) {
        if (hash_of(i) == hash) {
            return i;
        }
    }
    ck_abort_msg("a hash that nobody gave");
    return 0;
}

static unsigned keepers(const model *self, unsigned number) {
    unsigned count = 0;
    for (unsigned i = 0; i < ENTRIES; i++) {
        for (size_t n = 0; self->entries[i].present && n < self->entries[i].count; n++) {
            count += self->entries[i].links[n].kind == FIRN_LINK_KEEPS &&
                     self->entries[i].links[n].target == hash_of(number);
        }
    }
    return count;
}

static void note_kept(model *self) {
    for (unsigned i = 0; i < ENTRIES; i++) {
        self->entries[i].was_kept =
            self->entries[i].present && (self->entries[i].was_kept || keepers(self, i) > 0);
    }
}

/* Marks from the roots. */
static void reach(const model *self, bool *reached) {
    memset(reached, 0, ENTRIES);
    for (unsigned i = 0; i < ENTRIES; i++) {
        const entry *one = &self->entries[i];
        /* One that was kept and is not any more is on its way out. */
        reached[i] = one->present && (!one->owned || (keepers(self, i) == 0 && !one->was_kept));
    }
    for (bool more = true; more;) {
        more = false;
        for (unsigned i = 0; i < ENTRIES; i++) {
            for (size_t n = 0; reached[i] && n < self->entries[i].count; n++) {
                unsigned target = number_of(self->entries[i].links[n].target);
                if (self->entries[i].links[n].kind == FIRN_LINK_KEEPS &&
                    self->entries[target].present && !reached[target]) {
                    reached[target] = true;
                    more = true;
                }
            }
        }
    }
}

/* Who depends on it, over any number of links. */
static void mark_dependents(const model *self, unsigned number, bool *stale) {
    for (unsigned i = 0; i < ENTRIES; i++) {
        for (size_t n = 0; self->entries[i].present && n < self->entries[i].count; n++) {
            if (self->entries[i].links[n].kind == FIRN_LINK_DEPENDS &&
                self->entries[i].links[n].target == hash_of(number) && !stale[i] && i != number) {
                stale[i] = true;
                mark_dependents(self, i, stale);
            }
        }
    }
}

static void remove_entry(model *self, unsigned number) {
    firn_graph_remove(self->graph, hash_of(number));
    memset(&self->entries[number], 0, sizeof(entry));
}

/* Deletes the doomed, as the cache does. */
static void settle(model *self) {
    firn_doomed doomed;
    while (firn_graph_next_doomed(self->graph, &doomed)) {
        unsigned number = number_of(doomed.hash);
        ck_assert(self->entries[number].present);
        ck_assert_uint_eq(self->entries[number].version, doomed.version);
        if (doomed.why == FIRN_DOOM_CIRCLE) {
            bool reached[ENTRIES];
            reach(self, reached);
            ck_assert(!reached[number]);
            self->removed_circles++;
        }
        if (doomed.why == FIRN_DOOM_UNKEPT) {
            ck_assert(self->entries[number].owned);
            ck_assert_uint_eq(keepers(self, number), 0);
        }
        remove_entry(self, number);
    }
    ck_assert(!firn_graph_has_doomed(self->graph));
}

static void put(model *self) {
    unsigned number = draw(self, ENTRIES);
    bool stale[ENTRIES] = {false};
    mark_dependents(self, number, stale);
    entry made = {.present = true, .owned = draw(self, 3) > 0, .version = ++self->version};
    made.count = draw(self, LINKS_MAX + 1);
    for (size_t i = 0; i < made.count; i++) {
        made.links[i] = (firn_graph_link){
            .target = hash_of(draw(self, ENTRIES)),
            .kind = draw(self, 3) > 0 ? FIRN_LINK_KEEPS : FIRN_LINK_DEPENDS,
        };
    }
    ck_assert_int_eq(firn_graph_put(self->graph, hash_of(number), made.version, made.owned,
                                    made.links, made.count, true),
                     FIRN_OK);
    firn_graph_change(self->graph, hash_of(number));
    self->entries[number] = made;
    note_kept(self);
    settle(self);
    for (unsigned i = 0; i < ENTRIES; i++) {
        ck_assert(!stale[i] || i == number || !self->entries[i].present);
    }
}

static void drop(model *self) {
    unsigned number = draw(self, ENTRIES);
    bool stale[ENTRIES] = {false};
    if (!self->entries[number].present) {
        return;
    }
    mark_dependents(self, number, stale);
    remove_entry(self, number);
    settle(self);
    for (unsigned i = 0; i < ENTRIES; i++) {
        ck_assert(!stale[i] || !self->entries[i].present);
    }
}

/* It went, though nothing changed: what kept it goes too, and what depends on it stays. */
static void lose(model *self) {
    unsigned number = draw(self, ENTRIES);
    if (!self->entries[number].present) {
        return;
    }
    if (self->entries[number].owned || self->entries[number].count > 0) {
        /* Another version: nothing is lost. Of all other entries the version is not known. */
        firn_graph_lose(self->graph, hash_of(number), self->entries[number].version + 1);
        ck_assert(!firn_graph_has_doomed(self->graph));
    }
    firn_graph_lose(self->graph, hash_of(number), self->entries[number].version);
    memset(&self->entries[number], 0, sizeof(entry));
    settle(self);
    ck_assert_uint_eq(keepers(self, number), 0);
}

static void check_all(model *self) {
    note_kept(self);
    for (unsigned i = 0; i < ENTRIES; i++) {
        ck_assert_int_eq(firn_graph_keeps(self->graph, hash_of(i)), keepers(self, i) > 0);
        if (self->entries[i].present && self->entries[i].owned && self->entries[i].was_kept) {
            ck_assert_uint_gt(keepers(self, i), 0);
        }
    }
}

static void expect_no_circles(model *self) {
    bool reached[ENTRIES];
    for (int i = 0; i < 2; i++) { /* one that is under way may have passed some by */
        while (!firn_graph_collect(self->graph, 1 + draw(self, 50))) {
        }
        settle(self);
    }
    reach(self, reached);
    for (unsigned i = 0; i < ENTRIES; i++) {
        ck_assert(!self->entries[i].present || reached[i]);
    }
}

START_TEST(the_graph_says_what_the_model_says) {
    unsigned circles = 0;
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        firn_heap *heap = firn_heap_new(NULL);
        model self = {.graph = firn_graph_new(heap), .state = seed};
        for (unsigned step = 0; step < STEPS; step++) {
            switch (draw(&self, 10)) {
            case 0:
                drop(&self);
                break;
            case 1:
                lose(&self);
                break;
            case 2:
            case 3:
            case 4:
                firn_graph_collect(self.graph, 1 + draw(&self, 20));
                settle(&self);
                break;
            case 5:
                if (draw(&self, 20) == 0) {
                    expect_no_circles(&self);
                }
                break;
            default:
                put(&self);
            }
            check_all(&self);
        }
        circles += self.removed_circles;
        for (unsigned i = 0; i < ENTRIES; i++) {
            if (self.entries[i].present) {
                remove_entry(&self, i);
                settle(&self);
            }
        }
        expect_no_circles(&self);
        firn_graph_stats stats;
        firn_graph_get_stats(self.graph, &stats);
        ck_assert_uint_eq(stats.nodes, 0); /* nothing is remembered of what is gone */
        ck_assert_uint_eq(stats.links, 0);
        ck_assert(!firn_graph_in_use(self.graph));
        firn_graph_free(self.graph);
        firn_heap_unref(heap);
    }
    ck_assert_uint_gt(circles, 20);
}
END_TEST

START_TEST(a_target_that_changed_since_it_was_watched_is_a_conflict) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_graph *graph = firn_graph_new(heap);
    firn_graph_link link = {.target = 7, .kind = FIRN_LINK_DEPENDS};
    link.change = firn_graph_watch(graph, 7);
    ck_assert_uint_ne(link.change, 0);
    ck_assert_int_eq(firn_graph_put(graph, 7, 1, false, NULL, 0, true), FIRN_OK);
    firn_graph_change(graph, 7);
    ck_assert_int_eq(firn_graph_put(graph, 8, 2, false, &link, 1, true), FIRN_CONFLICT);
    firn_graph_unwatch(graph, 7);
    link.change = firn_graph_watch(graph, 7);
    ck_assert_int_eq(firn_graph_put(graph, 8, 2, false, &link, 1, true), FIRN_OK);
    firn_graph_unwatch(graph, 7);
    firn_graph_remove(graph, 7);
    firn_doomed doomed;
    /* What is doomed cannot be put once more with the same value. */
    ck_assert_int_eq(firn_graph_put(graph, 8, 3, false, NULL, 0, false), FIRN_CONFLICT);
    ck_assert(firn_graph_next_doomed(graph, &doomed));
    ck_assert_uint_eq(doomed.hash, 8);
    ck_assert_int_eq(firn_graph_put(graph, 8, 3, false, NULL, 0, false), FIRN_CONFLICT);
    ck_assert_int_eq(firn_graph_put(graph, 8, 3, false, NULL, 0, true), FIRN_OK);
    ck_assert(!firn_graph_next_doomed(graph, &doomed));
    firn_graph_free(graph);
    firn_heap_unref(heap);
}
END_TEST

START_TEST(a_pinned_entry_is_a_root) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_graph *graph = firn_graph_new(heap);
    firn_graph_link to_2 = {.target = 2, .kind = FIRN_LINK_KEEPS};
    firn_graph_link to_1 = {.target = 1, .kind = FIRN_LINK_KEEPS};
    ck_assert_int_eq(firn_graph_put(graph, 1, 1, true, &to_2, 1, true), FIRN_OK);
    ck_assert_int_eq(firn_graph_put(graph, 2, 2, true, &to_1, 1, true), FIRN_OK);
    firn_graph_pin(graph, 1, true);
    while (!firn_graph_collect(graph, 1)) {
    }
    ck_assert(!firn_graph_has_doomed(graph));
    firn_graph_pin(graph, 1, false);
    while (!firn_graph_collect(graph, 1)) {
    }
    ck_assert(firn_graph_has_doomed(graph));
    /* A link from what lives pardons both. */
    ck_assert_int_eq(firn_graph_put(graph, 3, 3, false, &to_1, 1, true), FIRN_OK);
    firn_doomed doomed;
    ck_assert(!firn_graph_next_doomed(graph, &doomed));
    firn_graph_free(graph);
    firn_heap_unref(heap);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, the_graph_says_what_the_model_says);
    tcase_add_test(tcase, a_target_that_changed_since_it_was_watched_is_a_conflict);
    tcase_add_test(tcase, a_pinned_entry_is_a_root);
}

int main(void) {
    return run_suite("graph", add_tests, 60);
}
