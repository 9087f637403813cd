/* What the policy auto promises: to do about as well as what suits the stream, on small streams of
 * one kind each, and to live within its means. No stream is random from run to run, so that each
 * hit ratio is always the same. */
#include <stdint.h>
#include <stdlib.h>

#include <firn/options.h>
#include <firn/simulate.h>

#include "hot/policy_host.h"
#include "hot/simulate.h"
#include "unit/suite.h"

enum { REQUESTS = 60000 };

typedef struct request {
    uint64_t key;
    uint64_t charge;
} request;

static uint64_t mixed(uint64_t number) {
    number = (number ^ number >> 31) * UINT64_C(0x7fb5d329728ea185);
    number = (number ^ number >> 27) * UINT64_C(0x81dadef4bc2dd44d);
    return number ^ number >> 33;
}

static uint64_t drawn(uint64_t *state) {
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return *state >> 33;
}

/* One of so many keys, the lower the more often: about as often as one over its number. */
static uint64_t skewed(uint64_t *state, uint64_t keys) {
    uint64_t most = keys;
    for (unsigned halvings = (unsigned)(drawn(state) % 12); halvings > 0; halvings--) {
        most = most > 2 ? most / 2 : 2;
    }
    return drawn(state) % most;
}

/* Misses of a policy over the last of the requests, from `from` on. */
static unsigned misses_from(const char *policy, uint64_t capacity, const request *requests,
                            unsigned from, unsigned to) {
    firn_simulation *simulation;
    ck_assert_int_eq(firn_simulation_open(&simulation, policy, NULL, capacity), FIRN_OK);
    unsigned misses = 0;
    for (unsigned i = 0; i < to; i++) {
        int result =
            firn_simulation_access(simulation, mixed(requests[i].key + 1), requests[i].charge);
        misses += result != FIRN_OK && i >= from;
    }
    firn_simulation_close(simulation);
    return misses;
}

/* auto may miss so many percent more than the policy named. */
static void does_as_well_as(const char *policy, double percent, uint64_t capacity,
                            const request *requests) {
    unsigned mine = misses_from("auto", capacity, requests, 0, REQUESTS);
    unsigned other = misses_from(policy, capacity, requests, 0, REQUESTS);
    ck_assert_msg(mine <= other * (1 + percent / 100), "auto misses %u times, %s %u", mine, policy,
                  other);
}

static request *room(void) {
    request *requests = calloc(REQUESTS, sizeof *requests);
    ck_assert_ptr_nonnull(requests);
    return requests;
}

/* Half of the requests are for what was used a little while ago, the others for something new. */
static void fill_recent(request *requests, unsigned from, unsigned to, uint64_t base) {
    uint64_t state = base + 3;
    uint64_t newest = base;
    for (unsigned i = from; i < to; i++) {
        bool again = drawn(&state) % 2 == 0 && newest > base;
        uint64_t back = drawn(&state) % 400;
        requests[i].key = again && newest - base > back ? newest - back : ++newest;
        requests[i].charge = 1;
    }
}

static void fill_loop(request *requests, unsigned from, unsigned to, uint64_t base, uint64_t keys) {
    for (unsigned i = from; i < to; i++) {
        requests[i] = (request){base + (i - from) % keys, 1};
    }
}

static void fill_popular(request *requests, unsigned from, unsigned to, uint64_t base) {
    uint64_t state = base + 7;
    for (unsigned i = from; i < to; i++) {
        requests[i] = (request){base + skewed(&state, 20000), 1};
    }
}

START_TEST(it_does_as_well_as_lru_where_recency_is_all) {
    request *requests = room();
    fill_recent(requests, 0, REQUESTS, 0);
    does_as_well_as("lru", 3, 500, requests);
    free(requests);
}
END_TEST

START_TEST(it_keeps_a_part_of_a_loop_that_does_not_fit) {
    request *requests = room();
    fill_loop(requests, 0, REQUESTS, 0, 2000);
    ck_assert_uint_eq(misses_from("lru", 1800, requests, 0, REQUESTS), REQUESTS);
    /* All that can be had is 1800 of 2000. */
    unsigned misses = misses_from("auto", 1800, requests, REQUESTS / 2, REQUESTS);
    ck_assert_msg(misses <= REQUESTS / 2 / 10 * 13 / 10, "%u misses", misses);
    free(requests);
}
END_TEST

START_TEST(it_does_as_well_as_those_that_count_where_popularity_is_all) {
    request *requests = room();
    fill_popular(requests, 0, REQUESTS, 0);
    const char *const others[] = {"lru", "slru", "sieve", "s3fifo", "arc", "tinylfu"};
    for (unsigned i = 0; i < sizeof others / sizeof others[0]; i++) {
        does_as_well_as(others[i], 3, 400, requests);
    }
    free(requests);
}
END_TEST

START_TEST(it_keeps_many_small_entries_rather_than_few_large_ones) {
    request *requests = room();
    fill_popular(requests, 0, REQUESTS, 0);
    for (unsigned i = 0; i < REQUESTS; i++) {
        uint64_t large = mixed(requests[i].key + 99) % 10;
        requests[i].charge = large == 0 ? 20000 : large < 4 ? 1000 : 50;
    }
    does_as_well_as("gdsf", 3, 500000, requests);
    unsigned mine = misses_from("auto", 500000, requests, 0, REQUESTS);
    unsigned lru = misses_from("lru", 500000, requests, 0, REQUESTS);
    ck_assert_msg(mine * 10 < lru * 9, "auto misses %u times, lru %u", mine, lru);
    free(requests);
}
END_TEST

START_TEST(it_looks_at_sizes_that_begin_to_differ_late) {
    request *requests = room();
    fill_popular(requests, 0, REQUESTS, 0);
    for (unsigned i = 0; i < REQUESTS; i++) {
        bool large = requests[i].key % 4 == 1;
        requests[i].charge = 100;
        if (i >= REQUESTS / 3) {
            requests[i].key += 1000000;
            requests[i].charge = large ? 5000 : 100;
        }
    }
    unsigned mine = misses_from("auto", 200000, requests, REQUESTS / 3, REQUESTS);
    unsigned gdsf = misses_from("gdsf", 200000, requests, REQUESTS / 3, REQUESTS);
    ck_assert_msg(mine <= gdsf * 1.05, "auto misses %u times, gdsf %u", mine, gdsf);
    free(requests);
}
END_TEST

START_TEST(it_notices_that_a_loop_gave_way_to_recency_and_back) {
    enum { PHASE = REQUESTS / 3 };
    request *requests = room();
    fill_loop(requests, 0, PHASE, 0, 600);
    fill_recent(requests, PHASE, 2 * PHASE, 1000000);
    fill_loop(requests, 2 * PHASE, REQUESTS, 2000000, 600);
    /* Of each phase the second half, when there was time to notice. */
    unsigned loop = misses_from("auto", 500, requests, PHASE / 2, PHASE);
    unsigned recent = misses_from("auto", 500, requests, PHASE + PHASE / 2, 2 * PHASE);
    unsigned lru = misses_from("lru", 500, requests, PHASE + PHASE / 2, 2 * PHASE);
    unsigned again = misses_from("auto", 500, requests, 2 * PHASE + PHASE / 2, REQUESTS);
    ck_assert_msg(loop <= PHASE / 2 / 4, "%u misses in the first loop", loop);
    ck_assert_msg(recent <= lru * 1.05, "%u misses where lru has %u", recent, lru);
    ck_assert_msg(again <= PHASE / 2 / 4, "%u misses in the second loop", again);
    free(requests);
}
END_TEST

START_TEST(it_does_not_go_to_and_fro_between_candidates_that_are_as_good) {
    /* Two loops take turns, together a little larger than the cache: every candidate that keeps a
     * part of them will do, as long as it is the same part. */
    request *requests = room();
    for (unsigned i = 0; i < REQUESTS; i++) {
        unsigned turn = i / 500;
        requests[i].key = turn % 2 * 100000 + (turn / 2 * 500 + i % 500) % 1000;
        requests[i].charge = 100 + mixed(requests[i].key) % 100;
    }
    uint64_t capacity = UINT64_C(1500) * 150;
    unsigned misses = misses_from("auto", capacity, requests, REQUESTS / 2, REQUESTS);
    ck_assert_msg(misses <= REQUESTS / 2 * 35 / 100, "%u misses of %d", misses, REQUESTS / 2);
    free(requests);
}
END_TEST

typedef struct meter {
    size_t live, peak;
} meter;

static void *meter_alloc(void *context, size_t size) {
    meter *self = context;
    self->live += size;
    self->peak = self->live > self->peak ? self->live : self->peak;
    return malloc(size);
}

static void meter_free(void *context, void *memory, size_t size) {
    ((meter *)context)->live -= size;
    free(memory);
}

/* The most memory that a simulation took. */
static size_t peak_of(const char *policy, uint64_t capacity) {
    meter counts = {0};
    firn_allocator allocator = {meter_alloc, meter_free, &counts};
    firn_heap *heap = firn_heap_new(&allocator);
    firn_simulation *simulation = firn_simulation_new(heap, firn_policy_by_name(policy), capacity);
    ck_assert_ptr_nonnull(simulation);
    for (uint64_t key = 0; key < 3 * capacity; key++) {
        firn_simulation_access(simulation, mixed(key + 1), 1);
        firn_simulation_access(simulation, mixed(key / 2 + 1), 1);
    }
    firn_simulation_close(simulation);
    firn_heap_unref(heap);
    ck_assert_uint_eq(counts.live, 0);
    return counts.peak;
}

START_TEST(it_costs_about_twelve_bytes_an_entry_and_gives_all_back) {
    enum { SMALL = 50000, LARGE = 150000 };
    size_t small = peak_of("auto", SMALL) - peak_of("lru", SMALL);
    size_t large = peak_of("auto", LARGE) - peak_of("lru", LARGE);
    /* While ghosts move to a larger table, there are two of them. */
    ck_assert_msg((double)(large - small) / (LARGE - SMALL) <= 20, "%g bytes an entry",
                  (double)(large - small) / (LARGE - SMALL));
    ck_assert_msg((double)large / LARGE <= 24, "%g bytes an entry", (double)large / LARGE);
}
END_TEST

START_TEST(it_holds_no_more_than_its_capacity) {
    /* If every key is asked for once, what hits was held when that began. */
    enum { CAPACITY = 300, KEYS = 5000 };
    firn_simulation *simulation;
    ck_assert_int_eq(firn_simulation_open(&simulation, "auto", NULL, CAPACITY), FIRN_OK);
    uint64_t state = 5;
    for (unsigned i = 0; i < REQUESTS; i++) {
        firn_simulation_access(simulation, mixed(1 + skewed(&state, KEYS)), 1);
    }
    unsigned held = 0;
    for (uint64_t key = 0; key < KEYS; key++) {
        held += firn_simulation_access(simulation, mixed(1 + key), 1) == FIRN_OK;
    }
    ck_assert_uint_le(held, CAPACITY);
    ck_assert_uint_gt(held, CAPACITY / 10);
    firn_simulation_close(simulation);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, it_does_as_well_as_lru_where_recency_is_all);
    tcase_add_test(tcase, it_keeps_a_part_of_a_loop_that_does_not_fit);
    tcase_add_test(tcase, it_does_as_well_as_those_that_count_where_popularity_is_all);
    tcase_add_test(tcase, it_keeps_many_small_entries_rather_than_few_large_ones);
    tcase_add_test(tcase, it_looks_at_sizes_that_begin_to_differ_late);
    tcase_add_test(tcase, it_notices_that_a_loop_gave_way_to_recency_and_back);
    tcase_add_test(tcase, it_does_not_go_to_and_fro_between_candidates_that_are_as_good);
    tcase_add_test(tcase, it_costs_about_twelve_bytes_an_entry_and_gives_all_back);
    tcase_add_test(tcase, it_holds_no_more_than_its_capacity);
}

int main(void) {
    return run_suite("auto", add, 120);
}
