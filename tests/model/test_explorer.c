/* The explorer of interleavings itself, on toys: wrong protocols are found, right ones are not
 * complained of, and the reduction misses nothing that all schedules together show. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "model/interleave/explorer.h"
#include "unit/suite.h"

static void nothing(void *context) {
    (void)context;
}

static void explore(unsigned threads, void (*begin)(void *), void (*body)(void *, unsigned),
                    void (*end)(void *), void *context, model_mode mode, unsigned bound,
                    const char *schedule, model_result *result) {
    model_scenario scenario = {threads, begin, body, end, nothing, context};
    model_settings settings = {.mode = mode, .bound = bound, .schedule = schedule};
    model_explore(&scenario, &settings, result);
}

/* ---- counting ---- */

static _Atomic uint32_t counter;

static void counter_begin(void *context) {
    (void)context;
    counter = 0;
}

static void add_in_two_steps(void *context, unsigned thread) {
    (void)context;
    (void)thread;
    uint32_t seen = atomic_load_explicit(&counter, memory_order_relaxed);
    atomic_store_explicit(&counter, seen + 1, memory_order_relaxed);
}

static void add_in_one_step(void *context, unsigned thread) {
    (void)context;
    (void)thread;
    atomic_fetch_add_explicit(&counter, 1, memory_order_relaxed);
}

static void counter_end(void *context) {
    const unsigned *threads = context;
    if (counter != *threads) {
        model_fail("%u were counted", (unsigned)counter);
    }
}

START_TEST(a_lost_addition_is_found_and_can_be_replayed) {
    static const struct {
        model_mode mode;
        unsigned bound;
    } ways[] = {{MODEL_REDUCED, 0}, {MODEL_FULL, 0}, {MODEL_BOUNDED, 1}};
    unsigned threads = 2;
    for (unsigned i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        model_result found;
        model_result again;
        explore(threads, counter_begin, add_in_two_steps, counter_end, &threads, ways[i].mode,
                ways[i].bound, NULL, &found);
        ck_assert_str_eq(found.failure, "1 were counted");
        ck_assert(!found.complete);
        explore(threads, counter_begin, add_in_two_steps, counter_end, &threads, MODEL_REDUCED, 0,
                found.schedule, &again);
        ck_assert_str_eq(again.failure, found.failure);
        ck_assert_uint_eq(again.runs, 1);
    }
}
END_TEST

START_TEST(without_a_preemption_no_addition_is_lost) {
    unsigned threads = 3;
    model_result result;
    explore(threads, counter_begin, add_in_two_steps, counter_end, &threads, MODEL_BOUNDED, 0, NULL,
            &result);
    ck_assert_str_eq(result.failure, "");
    ck_assert(result.complete);
}
END_TEST

START_TEST(atomic_additions_are_right_in_each_order) {
    unsigned threads = 3;
    model_result result;
    explore(threads, counter_begin, add_in_one_step, counter_end, &threads, MODEL_REDUCED, 0, NULL,
            &result);
    ck_assert_str_eq(result.failure, "");
    ck_assert(result.complete);
    ck_assert_uint_eq(result.runs, 6);
}
END_TEST

/* ---- locks ---- */

static pthread_mutex_t locks[2];

static void lock_both(void *context, unsigned thread) {
    const bool *crosswise = context;
    unsigned first = *crosswise ? thread : 0;
    pthread_mutex_lock(&locks[first]);
    pthread_mutex_lock(&locks[1 - first]);
    uint32_t seen = atomic_load_explicit(&counter, memory_order_relaxed);
    atomic_store_explicit(&counter, seen + 1, memory_order_relaxed);
    pthread_mutex_unlock(&locks[1 - first]);
    pthread_mutex_unlock(&locks[first]);
}

static void both_counted(void *context) {
    (void)context;
    if (counter != 2) {
        model_fail("the lock let two in");
    }
}

START_TEST(a_deadlock_is_found) {
    bool crosswise = true;
    model_result result;
    explore(2, counter_begin, lock_both, both_counted, &crosswise, MODEL_REDUCED, 0, NULL, &result);
    ck_assert_str_eq(result.failure, "deadlock: no thread can go on");
    crosswise = false;
    explore(2, counter_begin, lock_both, both_counted, &crosswise, MODEL_REDUCED, 0, NULL, &result);
    ck_assert_str_eq(result.failure, "");
    ck_assert_uint_eq(result.runs, 2);
}
END_TEST

/* ---- references ---- */

/* A reader looks which object there is, and then takes a reference: too late, if a writer dropped
 * the last one in between. */
static struct {
    _Atomic(unsigned) current;
    _Atomic uint32_t refs[2];
    bool freed[2];
} objects;

static const char *check_objects(const volatile void *cell) {
    bool gone = (cell == &objects.refs[0] && objects.freed[0]) ||
                (cell == &objects.refs[1] && objects.freed[1]);
    return gone ? "use after free" : NULL;
}

static void objects_begin(void *context) {
    (void)context;
    memset(&objects, 0, sizeof objects);
    objects.refs[0] = 1;
    objects.refs[1] = 1;
}

static void unref(unsigned object) {
    if (atomic_fetch_sub_explicit(&objects.refs[object], 1, memory_order_acq_rel) == 1) {
        objects.freed[object] = true;
    }
}

static void read_or_exchange(void *context, unsigned thread) {
    (void)context;
    if (thread == 0) {
        unsigned seen = atomic_load_explicit(&objects.current, memory_order_acquire);
        atomic_fetch_add_explicit(&objects.refs[seen], 1, memory_order_relaxed);
        unref(seen);
    } else {
        unref(atomic_exchange_explicit(&objects.current, 1, memory_order_acq_rel));
    }
}

START_TEST(a_use_after_free_is_found) {
    model_result result;
    model_check_cell = check_objects;
    explore(2, objects_begin, read_or_exchange, nothing, NULL, MODEL_REDUCED, 0, NULL, &result);
    ck_assert_msg(strncmp(result.failure, "use after free", 14) == 0, "%s", result.failure);
}
END_TEST

/* ---- what all schedules show ---- */

enum { PROGRAM_THREADS = 3, PROGRAM_STEPS = 3, PROGRAM_CELLS = 2, SEEN_MAX = 4096 };

/* A made-up program: what each thread does, and what came of it. */
static struct {
    unsigned threads;
    unsigned steps[PROGRAM_THREADS][PROGRAM_STEPS];
    _Atomic uint32_t cells[PROGRAM_CELLS];
    uint32_t registers[PROGRAM_THREADS][PROGRAM_STEPS];
    bool local; /* looks at what each thread saw by itself, not at all together */
    unsigned preemptions_max;
    unsigned seen_count;
    uint64_t seen[SEEN_MAX];
} program;

static void program_begin(void *context) {
    (void)context;
    memset(program.registers, 0, sizeof program.registers);
    for (unsigned i = 0; i < PROGRAM_CELLS; i++) {
        program.cells[i] = 0;
    }
}

static uint32_t do_step(unsigned step, uint32_t mine) {
    _Atomic uint32_t *cell = &program.cells[step % PROGRAM_CELLS];
    uint32_t seen = 0;
    switch (step / PROGRAM_CELLS) {
    case 0:
        return atomic_load_explicit(cell, memory_order_relaxed);
    case 1:
        atomic_store_explicit(cell, mine, memory_order_relaxed);
        return 0;
    case 2:
        return atomic_fetch_add_explicit(cell, 16 * mine, memory_order_relaxed);
    case 3:
        atomic_compare_exchange_strong_explicit(cell, &seen, mine, memory_order_relaxed,
                                                memory_order_relaxed);
        return seen;
    case 4:
        pthread_mutex_lock(&locks[step % PROGRAM_CELLS]);
        seen = atomic_load_explicit(cell, memory_order_relaxed);
        atomic_store_explicit(cell, seen + mine, memory_order_relaxed);
        pthread_mutex_unlock(&locks[step % PROGRAM_CELLS]);
        return seen;
    default:
        if (pthread_mutex_trylock(&locks[step % PROGRAM_CELLS]) != 0) {
            return 99;
        }
        seen = atomic_load_explicit(cell, memory_order_relaxed);
        pthread_mutex_unlock(&locks[step % PROGRAM_CELLS]);
        return seen;
    }
}

static void program_body(void *context, unsigned thread) {
    (void)context;
    for (unsigned i = 0; i < PROGRAM_STEPS; i++) {
        uint32_t mine = 1 + thread * PROGRAM_STEPS + i;
        program.registers[thread][i] = do_step(program.steps[thread][i], mine);
    }
}

static void note_seen(uint64_t hash) {
    for (unsigned i = 0; i < program.seen_count; i++) {
        if (program.seen[i] == hash) {
            return;
        }
    }
    ck_assert_uint_lt(program.seen_count, SEEN_MAX);
    program.seen[program.seen_count++] = hash;
}

static uint64_t mixed(uint64_t hash, uint64_t number) {
    return (hash ^ number) * UINT64_C(0x9e3779b97f4a7c15) + (hash >> 29);
}

static void program_end(void *context) {
    (void)context;
    uint64_t hash = 1;
    if (model_preemptions() > program.preemptions_max) {
        return;
    }
    for (unsigned i = 0; i < program.threads; i++) {
        hash = program.local ? mixed(1, i) : hash;
        for (unsigned j = 0; j < PROGRAM_STEPS; j++) {
            hash = mixed(hash, program.registers[i][j]);
        }
        if (program.local) {
            note_seen(hash);
        }
    }
    for (unsigned i = 0; !program.local && i < PROGRAM_CELLS; i++) {
        hash = mixed(hash, program.cells[i]);
    }
    if (!program.local) {
        note_seen(hash);
    }
}

/* How many different outcomes there are; and the sum of their names. */
static unsigned outcomes(model_mode mode, unsigned bound, uint64_t *sum, uint64_t *runs) {
    model_result result;
    program.seen_count = 0;
    explore(program.threads, program_begin, program_body, program_end, NULL, mode, bound, NULL,
            &result);
    ck_assert_str_eq(result.failure, "");
    ck_assert(result.complete);
    *sum = 0;
    for (unsigned i = 0; i < program.seen_count; i++) {
        *sum += program.seen[i];
    }
    *runs = result.runs;
    return program.seen_count;
}

/* steps: of all kinds, or of those without locks. */
static void make_program(uint64_t *seed, unsigned steps) {
    for (unsigned i = 0; i < PROGRAM_THREADS; i++) {
        for (unsigned j = 0; j < PROGRAM_STEPS; j++) {
            *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407;
            program.steps[i][j] = (unsigned)(*seed >> 33) % steps;
        }
    }
}

START_TEST(the_reduction_shows_what_all_schedules_show) {
    uint64_t seed = 1;
    uint64_t all = 0;
    uint64_t reduced = 0;
    program.local = false;
    program.preemptions_max = UINT32_MAX;
    for (unsigned i = 0; i < 150; i++) {
        bool locks_too = i % 3 == 0;
        program.threads = locks_too ? 2 : 3;
        make_program(&seed, locks_too ? 6 * PROGRAM_CELLS : 4 * PROGRAM_CELLS);
        uint64_t sums[3];
        uint64_t runs[3];
        unsigned counts[3];
        counts[0] = outcomes(MODEL_FULL, 0, &sums[0], &runs[0]);
        counts[1] = outcomes(MODEL_REDUCED, 0, &sums[1], &runs[1]);
        counts[2] = outcomes(MODEL_BOUNDED, 1000, &sums[2], &runs[2]);
        ck_assert_msg(counts[0] == counts[1] && sums[0] == sums[1], "program %u: %u, not %u", i,
                      counts[1], counts[0]);
        ck_assert_msg(counts[0] == counts[2] && sums[0] == sums[2], "program %u: %u, not %u", i,
                      counts[2], counts[0]);
        all += runs[0];
        reduced += runs[1];
    }
    ck_assert_uint_gt(all, 5 * reduced);
}
END_TEST

START_TEST(a_bound_shows_what_each_thread_can_see_within_it) {
    uint64_t seed = 2;
    program.local = true;
    for (unsigned i = 0; i < 60; i++) {
        unsigned bound = i % 3;
        program.threads = 3;
        make_program(&seed, 4 * PROGRAM_CELLS);
        uint64_t sums[2];
        uint64_t runs[2];
        unsigned counts[2];
        program.preemptions_max = bound;
        counts[0] = outcomes(MODEL_FULL, 0, &sums[0], &runs[0]);
        counts[1] = outcomes(MODEL_BOUNDED, bound, &sums[1], &runs[1]);
        ck_assert_msg(counts[0] == counts[1] && sums[0] == sums[1],
                      "program %u, bound %u: %u, not %u", i, bound, counts[1], counts[0]);
    }
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, a_lost_addition_is_found_and_can_be_replayed);
    tcase_add_test(tcase, without_a_preemption_no_addition_is_lost);
    tcase_add_test(tcase, atomic_additions_are_right_in_each_order);
    tcase_add_test(tcase, a_deadlock_is_found);
    tcase_add_test(tcase, a_use_after_free_is_found);
    tcase_add_test(tcase, the_reduction_shows_what_all_schedules_show);
    tcase_add_test(tcase, a_bound_shows_what_each_thread_can_see_within_it);
}

int main(void) {
    return run_suite("explorer", add_tests, 600);
}
