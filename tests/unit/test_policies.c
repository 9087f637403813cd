/* The eviction policies: each against a trivial model of what it holds, with and without memory,
 * and what each of them promises; and the simulation that runs them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <firn/options.h>
#include <firn/simulate.h>

#include "base/sketch.h"
#include "hot/policy/ghost.h"
#include "hot/policy_host.h"
#include "unit/suite.h"

typedef struct node {
    _Alignas(16) struct firn_entry entry;
    uint64_t hash;
    uint64_t charge;
    bool in; /* the model's word */
    bool seen;
} node;

static uint64_t node_hash(const firn_policy_host *host, const firn_entry *entry) {
    (void)host;
    return ((const node *)(const void *)entry)->hash;
}

static uint64_t node_charge(const firn_policy_host *host, const firn_entry *entry) {
    (void)host;
    return ((const node *)(const void *)entry)->charge;
}

/* Some are not known, others far apart. */
static uint64_t node_cost(const firn_policy_host *host, const firn_entry *entry) {
    uint64_t hash = node_hash(host, entry);
    return hash % 3 == 0 ? 0 : UINT64_C(1) << hash / 3 % 20;
}

static node *node_of(firn_entry *entry) {
    return (node *)(void *)entry;
}

typedef struct shaky {
    unsigned refuse_every; /* 0: never */
    unsigned calls;
    size_t live;
} shaky;

static void *shaky_alloc(void *context, size_t size) {
    shaky *self = context;
    if (self->refuse_every != 0 && ++self->calls % self->refuse_every == 0) {
        return NULL;
    }
    self->live += size;
    return malloc(size);
}

static void shaky_free(void *context, void *memory, size_t size) {
    ((shaky *)context)->live -= size;
    free(memory);
}

static uint64_t step(uint64_t *state) {
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return *state >> 33;
}

static uint64_t mixed(uint64_t number) {
    number = (number ^ number >> 31) * UINT64_C(0x7fb5d329728ea185);
    return number ^ number >> 29;
}

enum { KEYS = 400 };

typedef struct rig {
    const firn_policy *policy;
    void *state;
    firn_policy_host host;
    _Atomic uint64_t overhead;
    node *nodes; /* twice as many as keys: one of a key's two is in at most */
    uint64_t capacity;
    uint64_t bytes;
    uint64_t count;
} rig;

static void note_gone(rig *self, node *gone, int evicted) {
    ck_assert(gone->in);
    self->policy->remove(self->state, &gone->entry, evicted);
    gone->in = false;
    self->bytes -= gone->charge;
    self->count--;
}

static void note_come(rig *self, node *come) {
    come->in = true;
    self->bytes += come->charge;
    self->count++;
}

static void evict_to_fit(rig *self, uint64_t charge) {
    while (self->bytes + charge > self->capacity) {
        firn_entry *victim = self->policy->victim(self->state);
        ck_assert_msg(victim != NULL, "%s has no victim for %llu bytes of %llu", self->policy->name,
                      (unsigned long long)self->bytes, (unsigned long long)self->capacity);
        note_gone(self, node_of(victim), 1);
    }
    if (self->count == 0) {
        ck_assert_ptr_null(self->policy->victim(self->state));
    }
}

static void check_walks(rig *self) {
    for (unsigned order = 0; order < 2; order++) {
        uint64_t seen = 0;
        firn_entry *at = NULL;
        while ((at = self->policy->walk(self->state, at, order)) != NULL) {
            ck_assert_msg(node_of(at)->in && !node_of(at)->seen, "%s walks astray",
                          self->policy->name);
            node_of(at)->seen = true;
            seen++;
        }
        ck_assert_msg(seen == self->count, "%s walks over %llu entries of %llu", self->policy->name,
                      (unsigned long long)seen, (unsigned long long)self->count);
        for (unsigned i = 0; i < 2 * KEYS; i++) {
            self->nodes[i].seen = false;
        }
    }
}

static void reset(node *at, uint64_t charge) {
    firn_entry_set_prev(&at->entry, NULL);
    firn_entry_set_next(&at->entry, NULL);
    firn_entry_set_bits(&at->entry, 0);
    firn_entry_set_mark(&at->entry, 0);
    at->charge = charge;
}

static void hit(rig *self, node *at) {
    if (self->policy->hits != FIRN_HITS_MARK) {
        self->policy->hit(self->state, &at->entry);
    } else if (firn_entry_mark(&at->entry) < self->policy->mark_max) {
        firn_entry_set_mark(&at->entry, firn_entry_mark(&at->entry) + 1);
    }
}

static void work(rig *self, uint64_t seed) {
    uint64_t state = seed;
    for (unsigned turn = 0; turn < 30000; turn++) {
        unsigned key = (unsigned)(step(&state) % KEYS);
        key = step(&state) % 2 == 0 ? key / 8 : key; /* some are popular */
        node *first = &self->nodes[key * 2];
        node *second = first + 1;
        node *there = first->in ? first : second->in ? second : NULL;
        node *other = there == first ? second : first;
        /* From a byte to a quarter of the capacity. */
        uint64_t charge = 1 + step(&state) % (step(&state) % 50 == 0 ? self->capacity / 4 : 40);
        unsigned what = (unsigned)(step(&state) % 100);
        if (there == NULL) {
            evict_to_fit(self, charge);
            reset(first, charge);
            if (what < 3) {
                self->policy->restore(self->state, &first->entry);
            } else {
                self->policy->insert(self->state, &first->entry);
            }
            note_come(self, first);
        } else if (what < 70) {
            hit(self, there);
        } else if (what < 85) {
            reset(other, charge);
            self->policy->replace(self->state, &there->entry, &other->entry);
            self->bytes -= there->charge;
            there->in = false;
            other->in = true;
            self->bytes += other->charge;
            hit(self, other);
            evict_to_fit(self, 0);
        } else if (what < 95) {
            note_gone(self, there, 0);
        } else if (what < 96) {
            self->capacity = 500 + step(&state) % 3000;
            self->policy->resize(self->state, self->capacity);
            evict_to_fit(self, 0);
        }
        if (turn % 500 == 0) {
            check_walks(self);
        }
    }
    while (self->count > 0) {
        note_gone(self, node_of(self->policy->victim(self->state)), 1);
    }
    check_walks(self);
}

static void run_model(const firn_policy *policy, unsigned refuse_every, uint64_t seed) {
    shaky counts = {.refuse_every = 0};
    firn_allocator allocator = {shaky_alloc, shaky_free, &counts};
    firn_heap *heap = firn_heap_new(&allocator);
    rig self = {.policy = policy, .capacity = 2000};
    self.host = (firn_policy_host){node_hash, node_charge, node_cost, heap, &self.overhead};
    self.nodes = aligned_alloc(16, 2 * KEYS * sizeof(node));
    memset(self.nodes, 0, 2 * KEYS * sizeof(node));
    for (unsigned i = 0; i < 2 * KEYS; i++) {
        self.nodes[i].hash = mixed(i / 2 + 1);
    }
    self.state = aligned_alloc(16, (policy->state_size + 15) / 16 * 16);
    memset(self.state, 0, policy->state_size);
    counts.refuse_every = refuse_every;
    if (policy->init(self.state, &self.host, self.capacity) == FIRN_OK) {
        work(&self, seed);
        policy->fini(self.state);
    } else {
        ck_assert_uint_ne(refuse_every, 0);
    }
    ck_assert_uint_eq(atomic_load(&self.overhead), 0);
    free(self.state);
    free(self.nodes);
    firn_heap_unref(heap);
    ck_assert_uint_eq(counts.live, 0);
}

START_TEST(each_holds_what_a_model_holds) {
    const char *name;
    for (unsigned i = 0; (name = firn_policy_name(i)) != NULL; i++) {
        for (uint64_t seed = 1; seed <= 3; seed++) {
            run_model(firn_policy_by_name(name), 0, seed);
        }
    }
}
END_TEST

START_TEST(each_lives_with_an_allocator_that_refuses) {
    const char *name;
    for (unsigned i = 0; (name = firn_policy_name(i)) != NULL; i++) {
        for (unsigned refuse_every = 1; refuse_every < 6; refuse_every++) {
            run_model(firn_policy_by_name(name), refuse_every, refuse_every);
        }
    }
}
END_TEST

static firn_simulation *simulation_of(const char *policy, uint64_t capacity) {
    firn_simulation *simulation;
    ck_assert_int_eq(firn_simulation_open(&simulation, policy, NULL, capacity), FIRN_OK);
    return simulation;
}

/* Accesses keys given as letters; returns hits as '+' and misses as '-'. */
static const char *play(const char *policy, uint64_t capacity, const char *keys) {
    static char outcome[256];
    firn_simulation *simulation = simulation_of(policy, capacity);
    size_t i = 0;
    for (; keys[i] != '\0'; i++) {
        outcome[i] =
            firn_simulation_access(simulation, mixed((uint64_t)keys[i]), 1) == FIRN_OK ? '+' : '-';
    }
    outcome[i] = '\0';
    firn_simulation_close(simulation);
    return outcome;
}

START_TEST(lru_evicts_what_was_used_longest_ago) {
    /* d evicts b, b evicts c, c evicts a; then a evicts d. */
    ck_assert_str_eq(play("lru", 3, "abcadbca"), "---+----");
    ck_assert_str_eq(play("lru", 3, "abcabdab"), "---++-++");
}
END_TEST

START_TEST(clock_and_sieve_spare_what_was_hit) {
    /* After a, b, c and a hit on a: clock gives a new life and evicts b; so does sieve. */
    ck_assert_str_eq(play("clock", 3, "abcada"), "---+-+");
    ck_assert_str_eq(play("sieve", 3, "abcada"), "---+-+");
    /* Sieve's hand goes on to the newer ones, and a stays though it was hit but once. */
    ck_assert_str_eq(play("sieve", 3, "abcadefa"), "---+---+");
    ck_assert_str_eq(play("clock", 3, "abcadefa"), "---+----");
}
END_TEST

/* A set that is used again and again, while a scan goes by: hits on the set after the scan. */
static unsigned hits_after_scan(const char *policy) {
    enum { SET = 50, CAPACITY = 100 };
    firn_simulation *simulation = simulation_of(policy, CAPACITY);
    for (unsigned round = 0; round < 20; round++) {
        for (uint64_t key = 0; key < SET; key++) {
            firn_simulation_access(simulation, mixed(key + 1), 1);
        }
    }
    for (uint64_t key = 0; key < 10 * CAPACITY; key++) {
        firn_simulation_access(simulation, mixed(1000000 + key), 1);
    }
    unsigned hits = 0;
    for (uint64_t key = 0; key < SET; key++) {
        hits += firn_simulation_access(simulation, mixed(key + 1), 1) == FIRN_OK;
    }
    firn_simulation_close(simulation);
    return hits;
}

START_TEST(a_scan_washes_out_lru_and_not_those_that_resist) {
    ck_assert_uint_eq(hits_after_scan("lru"), 0);
    const char *const resisting[] = {"slru", "s3fifo", "arc", "tinylfu", "gdsf"};
    for (unsigned i = 0; i < sizeof resisting / sizeof resisting[0]; i++) {
        unsigned hits = hits_after_scan(resisting[i]);
        ck_assert_msg(hits >= 25, "%s: %u of 50", resisting[i], hits);
    }
}
END_TEST

START_TEST(gdsf_prefers_many_small_entries_to_a_large_one) {
    firn_simulation *simulation = simulation_of("gdsf", 100);
    firn_simulation_access(simulation, mixed(1), 60);
    for (uint64_t key = 2; key < 42; key++) {
        firn_simulation_access(simulation, mixed(key), 1);
    }
    firn_simulation_access(simulation, mixed(99), 10);
    for (uint64_t key = 2; key < 42; key++) {
        ck_assert_int_eq(firn_simulation_access(simulation, mixed(key), 1), FIRN_OK);
    }
    ck_assert_int_eq(firn_simulation_access(simulation, mixed(1), 60), FIRN_NOT_FOUND);
    firn_simulation_close(simulation);
}
END_TEST

START_TEST(a_simulation_takes_bad_arguments_and_oversized_entries) {
    firn_simulation *simulation;
    ck_assert_int_eq(firn_simulation_open(&simulation, "no such", NULL, 5), FIRN_EINVAL);
    ck_assert_ptr_null(simulation);
    ck_assert_int_eq(firn_simulation_open(&simulation, "lru", NULL, 0), FIRN_EINVAL);
    ck_assert_int_eq(firn_simulation_open(NULL, "lru", NULL, 5), FIRN_EINVAL);
    firn_simulation_close(NULL);
    simulation = simulation_of(NULL, 5);
    ck_assert_int_eq(firn_simulation_access(simulation, 1, 2), FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_simulation_access(simulation, 2, 6), FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_simulation_access(simulation, 2, 6), FIRN_NOT_FOUND); /* too large */
    ck_assert_int_eq(firn_simulation_access(simulation, 1, 2), FIRN_OK);
    firn_simulation_close(simulation);
}
END_TEST

START_TEST(ghosts_come_back_once_and_leave_in_order) {
    firn_heap *heap = firn_heap_new(NULL);
    _Atomic uint64_t overhead = 0;
    firn_policy_host host = {node_hash, node_charge, node_cost, heap, &overhead};
    firn_ghosts ghosts;
    firn_ghosts_init(&ghosts, &host);
    ck_assert(!firn_ghosts_take(&ghosts, 1));
    for (uint64_t n = 0; n < 1000; n++) {
        firn_ghosts_add(&ghosts, mixed(n), 2);
    }
    ck_assert_uint_eq(ghosts.bytes, 2000);
    firn_ghosts_trim(&ghosts, 1000);
    ck_assert_uint_eq(ghosts.count, 500);
    for (uint64_t n = 0; n < 1000; n++) {
        ck_assert_int_eq(firn_ghosts_take(&ghosts, mixed(n)), n >= 500);
        ck_assert(!firn_ghosts_take(&ghosts, mixed(n)));
    }
    ck_assert_uint_eq(ghosts.bytes, 0);
    firn_ghosts_drop(&ghosts);
    firn_ghosts_fini(&ghosts);
    ck_assert_uint_eq(atomic_load(&overhead), 0);
    firn_heap_unref(heap);
}
END_TEST

START_TEST(a_sketch_counts_ages_and_keeps_its_knowledge_when_it_grows) {
    uint64_t words[64] = {0};
    uint64_t more[128] = {0};
    firn_sketch sketch;
    firn_sketch_init(&sketch, words, 64);
    for (unsigned i = 0; i < 9; i++) {
        firn_sketch_add(&sketch, mixed(7));
    }
    ck_assert_uint_ge(firn_sketch_estimate(&sketch, mixed(7)), 9);
    firn_sketch_double(&sketch, more);
    ck_assert_uint_ge(firn_sketch_estimate(&sketch, mixed(7)), 9);
    for (unsigned i = 0; i < 100; i++) {
        firn_sketch_add(&sketch, mixed(7)); /* saturates */
    }
    ck_assert_uint_eq(firn_sketch_estimate(&sketch, mixed(7)), 15);
    for (uint64_t n = 100; n < 4000; n++) {
        firn_sketch_add(&sketch, mixed(n));
    }
    ck_assert_uint_lt(firn_sketch_estimate(&sketch, mixed(7)), 15);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, each_holds_what_a_model_holds);
    tcase_add_test(tcase, each_lives_with_an_allocator_that_refuses);
    tcase_add_test(tcase, lru_evicts_what_was_used_longest_ago);
    tcase_add_test(tcase, clock_and_sieve_spare_what_was_hit);
    tcase_add_test(tcase, a_scan_washes_out_lru_and_not_those_that_resist);
    tcase_add_test(tcase, gdsf_prefers_many_small_entries_to_a_large_one);
    tcase_add_test(tcase, a_simulation_takes_bad_arguments_and_oversized_entries);
    tcase_add_test(tcase, ghosts_come_back_once_and_leave_in_order);
    tcase_add_test(tcase, a_sketch_counts_ages_and_keeps_its_knowledge_when_it_grows);
}

int main(void) {
    return run_suite("policies", add, 120);
}
