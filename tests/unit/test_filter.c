/* The filter: against a plain set, through growth, overflow and rebuilding, without memory, with
 * readers that ask while a writer moves everything, and through its file, whole and damaged. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>

#include "base/filter.h"
#include "cold/filter_file.h"

#include "unit/suite.h"
#include "unit/support.h"

enum { STORE_ID = 77, GENERATION = 5, SLOTS = 4 };

/* ---- memory that can be refused, and is counted ---- */

typedef struct memory {
    long countdown; /* the allocation that brings it to 0 fails, and all after it; 0: none does */
    long live;
} memory;

static void *give(void *context, size_t size) {
    memory *self = context;
    if (self->countdown > 0 && --self->countdown == 0) {
        self->countdown = 1;
        return NULL;
    }
    self->live += (long)size;
    return malloc(size);
}

static void take_back(void *context, void *block, size_t size) {
    ((memory *)context)->live -= (long)size;
    free(block);
}

/* ---- a plain set, which is the index that a rebuild walks ---- */

static uint64_t mix(uint64_t number) {
    number = (number ^ number >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    number = (number ^ number >> 27) * UINT64_C(0x94D049BB133111EB);
    return number ^ number >> 31;
}

static uint64_t step(uint64_t *state) {
    return mix(*state += UINT64_C(0x9E3779B97F4A7C15));
}

typedef struct set {
    uint64_t *hashes; /* ascending: all that may ever be there */
    bool *there;
    size_t size;
    size_t count; /* are there */
    int fails;    /* the walk's answer instead of a hash, if not 0 */
} set;

static int ascending(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

static set make_set(size_t size) {
    set self = {calloc(size, sizeof(uint64_t)), calloc(size, sizeof(bool)), size, 0, 0};
    for (size_t i = 0; i < size; i++) {
        self.hashes[i] = mix(i + 1);
    }
    qsort(self.hashes, size, sizeof self.hashes[0], ascending);
    return self;
}

static void drop_set(set *self) {
    free(self->hashes);
    free(self->there);
}

static int next_of_set(void *context, uint64_t from, uint64_t *hash) {
    const set *self = context;
    size_t low = 0;
    size_t high = self->size;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (self->hashes[middle] < from) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    while (low < self->size && !self->there[low]) {
        low++;
    }
    *hash = low < self->size ? self->hashes[low] : 0;
    return self->fails != 0 ? self->fails : low < self->size ? FIRN_OK : FIRN_NOT_FOUND;
}

static bool change(set *self, firn_filter *filter, size_t index) {
    self->there[index] = !self->there[index];
    self->count += self->there[index] ? 1 : (size_t)-1;
    return self->there[index] ? firn_filter_add(filter, self->hashes[index])
                              : firn_filter_remove(filter, self->hashes[index]);
}

static void assert_holds_all(const set *self, const firn_filter *filter) {
    for (size_t i = 0; i < self->size; i++) {
        if (self->there[i] && !firn_filter_may_contain(filter, self->hashes[i])) {
            ck_abort_msg("hash %zu of %zu is denied", i, self->size);
        }
    }
}

static firn_filter_stats stats_of(const firn_filter *filter) {
    firn_filter_stats stats;
    firn_filter_get_stats(filter, &stats);
    return stats;
}

static bool knows(const firn_filter *filter) {
    return stats_of(filter).knows;
}

static size_t places_taken(const firn_filter *filter) {
    firn_filter_shape shape;
    ck_assert_int_eq(firn_filter_get_shape(filter, &shape), FIRN_OK);
    size_t taken = 0;
    for (uint64_t i = 0; i < shape.buckets; i++) {
        uint64_t word;
        firn_filter_get_words(filter, i, &word, 1);
        for (; word != 0; word >>= 16) {
            taken += (word & 0xffff) != 0;
        }
    }
    ck_assert_uint_eq(shape.count, taken);
    return taken;
}

/* Neither more nor less than the set: nothing of what was removed is left. */
static void assert_equal(const set *self, const firn_filter *filter) {
    ck_assert(knows(filter));
    ck_assert_uint_eq(stats_of(filter).count, self->count);
    ck_assert_uint_eq(places_taken(filter), self->count);
    assert_holds_all(self, filter);
}

/* Asks for that many hashes that were never there. */
static size_t false_maybes(const firn_filter *filter, size_t asked) {
    size_t maybes = 0;
    for (size_t i = 0; i < asked; i++) {
        maybes += firn_filter_may_contain(filter, mix(i + (UINT64_C(1) << 40)));
    }
    return maybes;
}

static void assert_few_false_maybes(const firn_filter *filter, size_t asked) {
    firn_filter_shape shape;
    ck_assert_int_eq(firn_filter_get_shape(filter, &shape), FIRN_OK);
    /* Two buckets' places that are taken, each of which is one of 65,535; and eight deviations. */
    double load = (double)shape.count / (double)(shape.buckets * SLOTS);
    double expected = (double)asked * 2 * SLOTS * load / 65535;
    double found = (double)false_maybes(filter, asked);
    double more = found - expected;
    ck_assert_msg(more <= 0 || more * more <= 64 * (expected + 1), "%f for %f", found, expected);
}

static void rebuild(firn_filter *filter, set *self, uint64_t capacity) {
    ck_assert_int_eq(firn_filter_rebuild_begin(filter, capacity), FIRN_OK);
    ck_assert_int_eq(firn_filter_rebuild_step(filter, UINT64_MAX, next_of_set, self), FIRN_OK);
}

/* ---- one thread ---- */

START_TEST(a_new_filter_denies_nothing_and_wants_to_be_built) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_filter *filter = firn_filter_new(heap);
    ck_assert(!knows(filter));
    ck_assert(firn_filter_wants_rebuild(filter));
    ck_assert_uint_eq(false_maybes(filter, 1000), 1000);
    ck_assert(firn_filter_add(filter, 1));
    ck_assert(firn_filter_remove(filter, 1));
    ck_assert(firn_filter_remove(filter, 2)); /* of which it knows nothing */
    firn_filter_prefetch(filter, 3);
    ck_assert_int_eq(firn_filter_rebuild_step(filter, 1, next_of_set, NULL), FIRN_ENOSPC);
    firn_filter_shape shape;
    ck_assert_int_eq(firn_filter_get_shape(filter, &shape), FIRN_NOT_FOUND);
    firn_filter_free(filter);
    firn_filter_free(NULL);
    firn_heap_unref(heap);
}
END_TEST

START_TEST(an_empty_filter_denies_everything) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_filter *filter = firn_filter_new(heap);
    ck_assert_int_eq(firn_filter_start_empty(filter, 0), FIRN_OK);
    ck_assert(!firn_filter_wants_rebuild(filter));
    ck_assert_uint_eq(false_maybes(filter, 100000), 0);
    ck_assert_int_eq(firn_filter_start_empty(filter, FIRN_FILTER_CAPACITY_MAX + 1), FIRN_EINVAL);
    ck_assert_int_eq(firn_filter_rebuild_begin(filter, UINT64_MAX), FIRN_EINVAL);
    ck_assert_uint_eq(false_maybes(filter, 100000), 0);
    firn_filter_free(filter);
    firn_heap_unref(heap);
}
END_TEST

START_TEST(every_capacity_is_reached_before_the_filter_is_full) {
    set self = make_set(60000);
    firn_heap *heap = firn_heap_new(NULL);
    for (uint64_t capacity = 0; capacity < self.size; capacity += capacity / 2 + 1) {
        memset(self.there, 0, self.size * sizeof self.there[0]);
        self.count = 0;
        firn_filter *filter = firn_filter_new(heap);
        ck_assert_int_eq(firn_filter_start_empty(filter, capacity), FIRN_OK);
        ck_assert_uint_ge(stats_of(filter).capacity, capacity);
        for (size_t i = 0; i < capacity; i++) {
            ck_assert(change(&self, filter, i * 7919 % self.size)); /* from all over the range */
        }
        ck_assert(!firn_filter_wants_rebuild(filter));
        assert_equal(&self, filter);
        assert_few_false_maybes(filter, 100000);
        firn_filter_free(filter);
    }
    firn_heap_unref(heap);
    drop_set(&self);
}
END_TEST

START_TEST(an_entry_takes_little_more_than_two_bytes) {
    set self = make_set(200000);
    firn_heap *heap = firn_heap_new(NULL);
    firn_filter *filter = firn_filter_new(heap);
    ck_assert_int_eq(firn_filter_start_empty(filter, self.size), FIRN_OK);
    for (size_t i = 0; i < self.size; i++) {
        ck_assert(change(&self, filter, i));
    }
    ck_assert_uint_le(stats_of(filter).bytes, self.size * 215 / 100);
    assert_few_false_maybes(filter, 2000000);
    assert_equal(&self, filter);
    firn_filter_free(filter);
    firn_heap_unref(heap);
    drop_set(&self);
}
END_TEST

START_TEST(equal_fingerprints_have_eight_places_and_the_ninth_fills_the_filter) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_filter *filter = firn_filter_new(heap);
    ck_assert_int_eq(firn_filter_start_empty(filter, 1000), FIRN_OK);
    uint64_t hash = UINT64_C(0x1234567800009abc); /* the two zeros make no difference */
    for (unsigned round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < 8; i++) {
            ck_assert(firn_filter_add(filter, hash | i << 16));
        }
        for (uint64_t i = 0; i < 8; i++) {
            ck_assert(firn_filter_may_contain(filter, hash | (7 - i) << 16));
            ck_assert(firn_filter_remove(filter, hash | i << 16));
        }
        ck_assert(!firn_filter_may_contain(filter, hash));
        ck_assert_uint_eq(places_taken(filter), 0);
    }
    for (uint64_t i = 0; i < 8; i++) {
        ck_assert(firn_filter_add(filter, hash | i << 16));
    }
    ck_assert(!firn_filter_wants_rebuild(filter));
    ck_assert(!firn_filter_add(filter, hash | 8 << 16));
    ck_assert(!knows(filter));
    ck_assert(firn_filter_wants_rebuild(filter));
    ck_assert_uint_eq(false_maybes(filter, 1000), 1000);
    firn_filter_free(filter);
    firn_heap_unref(heap);
}
END_TEST

START_TEST(a_removal_of_what_is_not_there_ends_the_trust) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_filter *filter = firn_filter_new(heap);
    ck_assert_int_eq(firn_filter_start_empty(filter, 1000), FIRN_OK);
    ck_assert(firn_filter_add(filter, mix(1)));
    ck_assert(!firn_filter_remove(filter, mix(2)));
    ck_assert(!knows(filter));
    ck_assert(firn_filter_may_contain(filter, mix(2)));
    firn_filter_free(filter);
    firn_heap_unref(heap);
}
END_TEST

START_TEST(what_changes_during_a_walk_is_counted_once_on_either_side_of_it) {
    set self = make_set(1000);
    firn_heap *heap = firn_heap_new(NULL);
    firn_filter *filter = firn_filter_new(heap);
    ck_assert_int_eq(firn_filter_start_empty(filter, 1000), FIRN_OK);
    for (size_t i = 0; i < 1000; i += 2) {
        ck_assert(change(&self, filter, i));
    }
    ck_assert_int_eq(firn_filter_rebuild_begin(filter, 2000), FIRN_OK);
    ck_assert(firn_filter_is_building(filter));
    ck_assert_int_eq(firn_filter_rebuild_step(filter, 250, next_of_set, &self), FIRN_AGAIN);
    for (size_t i = 0; i < 1000; i += 5) { /* additions and removals, behind and ahead of it */
        ck_assert(change(&self, filter, i));
        assert_holds_all(&self, filter);
    }
    for (size_t i = 0; i < 1000; i += 10) { /* and some of them undone */
        ck_assert(change(&self, filter, i));
    }
    ck_assert_int_eq(firn_filter_rebuild_step(filter, 100, next_of_set, &self), FIRN_AGAIN);
    for (size_t i = 0; i < 1000; i += 3) {
        ck_assert(change(&self, filter, i));
    }
    assert_equal(&self, filter); /* the old one is right, */
    ck_assert_int_eq(firn_filter_rebuild_step(filter, 1000, next_of_set, &self), FIRN_OK);
    ck_assert(!firn_filter_is_building(filter));
    assert_equal(&self, filter); /* and so is the new one */
    for (size_t i = 0; i < 1000; i++) {
        if (self.there[i]) {
            ck_assert(change(&self, filter, i));
        }
    }
    ck_assert_uint_eq(places_taken(filter), 0);
    firn_filter_free(filter);
    firn_heap_unref(heap);
    drop_set(&self);
}
END_TEST

START_TEST(the_least_and_the_greatest_hash_are_walked) {
    set self = make_set(3);
    self.hashes[0] = 0;
    self.hashes[2] = UINT64_MAX;
    firn_heap *heap = firn_heap_new(NULL);
    firn_filter *filter = firn_filter_new(heap);
    for (size_t i = 0; i < 3; i++) {
        ck_assert(change(&self, filter, i));
    }
    rebuild(filter, &self, 3);
    assert_equal(&self, filter);
    firn_filter_free(filter);
    firn_heap_unref(heap);
    drop_set(&self);
}
END_TEST

START_TEST(a_walk_that_fails_may_go_on_and_one_that_finds_no_place_is_given_up) {
    set self = make_set(5000);
    firn_heap *heap = firn_heap_new(NULL);
    firn_filter *filter = firn_filter_new(heap);
    for (size_t i = 0; i < self.size; i++) {
        ck_assert(change(&self, filter, i));
    }
    ck_assert_int_eq(firn_filter_rebuild_begin(filter, 5000), FIRN_OK);
    ck_assert_int_eq(firn_filter_rebuild_step(filter, 1000, next_of_set, &self), FIRN_AGAIN);
    self.fails = FIRN_EIO;
    ck_assert_int_eq(firn_filter_rebuild_step(filter, 1000, next_of_set, &self), FIRN_EIO);
    self.fails = 0;
    ck_assert_int_eq(firn_filter_rebuild_step(filter, 9999, next_of_set, &self), FIRN_OK);
    assert_equal(&self, filter);

    ck_assert_int_eq(firn_filter_rebuild_begin(filter, 4000), FIRN_OK);
    ck_assert_int_eq(firn_filter_rebuild_step(filter, 9999, next_of_set, &self), FIRN_ENOSPC);
    ck_assert(!firn_filter_is_building(filter));
    ck_assert_int_eq(firn_filter_rebuild_step(filter, 9999, next_of_set, &self), FIRN_ENOSPC);
    assert_equal(&self, filter); /* the old one remains */

    ck_assert_int_eq(firn_filter_rebuild_begin(filter, 9000), FIRN_OK);
    firn_filter_load_cancel(filter); /* nothing is being loaded */
    ck_assert(firn_filter_is_building(filter));
    firn_filter_rebuild_cancel(filter);
    ck_assert(!firn_filter_is_building(filter));
    assert_equal(&self, filter);
    firn_filter_free(filter);
    firn_heap_unref(heap);
    drop_set(&self);
}
END_TEST

static int give_a_lower_one(void *context, uint64_t from, uint64_t *hash) {
    (void)context;
    *hash = from == 0 ? 1000 : from - 1;
    return FIRN_OK;
}

START_TEST(a_walk_out_of_order_is_refused) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_filter *filter = firn_filter_new(heap);
    ck_assert_int_eq(firn_filter_rebuild_begin(filter, 10), FIRN_OK);
    ck_assert_int_eq(firn_filter_rebuild_step(filter, 10, give_a_lower_one, NULL), FIRN_EINVAL);
    ck_assert(!knows(filter));
    firn_filter_free(filter);
    firn_heap_unref(heap);
}
END_TEST

/* Waves of additions and removals; whenever the filter wants it, and now and then without need, it
 * is rebuilt, a few hashes between one change and the next, sometimes for too few. Returns how
 * often there was no place. */
static unsigned run_model(firn_heap *heap, size_t size, unsigned seed, size_t operations) {
    set self = make_set(size);
    firn_filter *filter = firn_filter_new(heap);
    uint64_t state = seed;
    unsigned taken_place = 0;
    unsigned overflowed = 0;
    for (size_t i = 0; i < operations; i++) {
        size_t wave = i / size % 4;
        size_t index = step(&state) % size;
        bool adds = step(&state) % 8 < (wave < 2 ? 7 : wave == 2 ? 1 : 4);
        if (adds != self.there[index]) {
            overflowed += change(&self, filter, index) ? 0 : 1;
        }
        size_t other = step(&state) % size;
        if (self.there[other] && !firn_filter_may_contain(filter, self.hashes[other])) {
            ck_abort_msg("hash %zu is denied after change %zu", other, i);
        }
        bool now = firn_filter_wants_rebuild(filter) ? step(&state) % 2000 == 0
                                                     : step(&state) % (2 * size) == 0;
        if (now) {
            uint64_t parts = step(&state) % 8; /* 0: too few */
            ck_assert_int_eq(
                firn_filter_rebuild_begin(filter, self.count * (7 + parts) / 8 + parts), FIRN_OK);
        }
        if (firn_filter_is_building(filter)) {
            int result = firn_filter_rebuild_step(filter, step(&state) % 16, next_of_set, &self);
            if (result < FIRN_OK) {
                ck_assert_int_eq(result, FIRN_ENOSPC);
            }
            if (result == FIRN_OK) {
                assert_equal(&self, filter);
                taken_place++;
            }
        }
        if (i % (size / 2) == 0) {
            assert_holds_all(&self, filter);
            if (knows(filter)) {
                assert_equal(&self, filter);
                assert_few_false_maybes(filter, 20000);
            }
        }
    }
    ck_assert_uint_gt(taken_place, 3);
    firn_filter_free(filter);
    drop_set(&self);
    return overflowed;
}

START_TEST(it_holds_what_a_plain_set_holds_whatever_happens) {
    firn_heap *heap = firn_heap_new(NULL);
    unsigned overflowed = 0;
    for (unsigned seed = 1; seed < 5; seed++) {
        overflowed += run_model(heap, 4000, seed, 100000);
    }
    ck_assert_uint_gt(overflowed, 0);
    firn_heap_unref(heap);
}
END_TEST

START_TEST(it_does_so_in_memory_of_the_users_too) {
    memory given = {0};
    firn_allocator allocator = {give, take_back, &given};
    firn_heap *heap = firn_heap_new(&allocator);
    unsigned overflowed = 0;
    for (unsigned seed = 5; seed < 8; seed++) {
        overflowed += run_model(heap, 3000, seed, 80000);
    }
    ck_assert_uint_gt(overflowed, 0);
    firn_heap_unref(heap);
    ck_assert_int_eq(given.live, 0);
}
END_TEST

START_TEST(retired_tables_are_used_again) {
    memory given = {0};
    firn_allocator allocator = {give, take_back, &given};
    firn_heap *heap = firn_heap_new(&allocator);
    set self = make_set(1000);
    firn_filter *filter = firn_filter_new(heap);
    for (size_t i = 0; i < self.size; i += 2) {
        ck_assert(change(&self, filter, i));
    }
    rebuild(filter, &self, 1000);
    rebuild(filter, &self, 1000);
    long live = given.live;
    for (unsigned i = 0; i < 50; i++) {
        rebuild(filter, &self, 990 + i % 10);
        assert_equal(&self, filter);
    }
    ck_assert_int_eq(given.live, live);
    firn_filter_free(filter);
    firn_heap_unref(heap);
    drop_set(&self);
}
END_TEST

/* ---- readers beside a writer ---- */

enum { STEADY = 150, PASSING = 600, ROUNDS = 400 };

typedef struct contest {
    firn_filter *filter;
    _Atomic unsigned asking; /* readers that have asked for all once */
    _Atomic bool over;
    _Atomic uint64_t denied; /* of the steady hashes: never */
    _Atomic uint64_t noes;   /* of absent hashes: the filter is not just shy */
} contest;

static void *ask(void *context) {
    contest *self = context;
    uint64_t denied = 0;
    uint64_t noes = 0;
    for (bool first = true; !atomic_load_explicit(&self->over, memory_order_relaxed);
         first = false) {
        for (uint64_t i = 1; i <= STEADY; i++) {
            firn_filter_prefetch(self->filter, mix(i));
            denied += !firn_filter_may_contain(self->filter, mix(i));
            noes += !firn_filter_may_contain(self->filter, mix(i + (UINT64_C(1) << 40)));
        }
        if (first) {
            atomic_fetch_add(&self->asking, 1);
        }
    }
    atomic_fetch_add(&self->denied, denied);
    atomic_fetch_add(&self->noes, noes);
    return NULL;
}

/* The writer is quick: it would be through before a reader has begun. */
static void await_readers(contest *self, unsigned count) {
    while (atomic_load(&self->asking) < count) {
        sched_yield();
    }
}

/* The steady and the passing hashes are one set; tells for each whether it is steady. */
static bool *find_steady(const set *all) {
    bool *steady = calloc(all->size, sizeof *steady);
    for (uint64_t i = 1; i <= STEADY; i++) {
        uint64_t hash = mix(i);
        const uint64_t *found = bsearch(&hash, all->hashes, all->size, sizeof hash, ascending);
        steady[found - all->hashes] = true;
    }
    return steady;
}

static void stir(contest *self, set *all) {
    bool *steady = find_steady(all);
    uint64_t state = 1;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < PASSING; i++) {
            size_t index = step(&state) % all->size;
            /* Kept above what the filter is made for, so that almost each addition moves others. */
            bool adds = !all->there[index];
            if (!steady[index] && (adds ? all->count < 540 : all->count > 500)) {
                (void)change(all, self->filter, index);
            }
            if (firn_filter_is_building(self->filter)) {
                (void)firn_filter_rebuild_step(self->filter, 3, next_of_set, all);
            }
        }
        if (!firn_filter_is_building(self->filter)) {
            ck_assert_int_eq(firn_filter_rebuild_begin(self->filter, 400 + round % 2 * 40),
                             FIRN_OK);
        }
    }
    free(steady);
}

static void run_contest(firn_heap *heap) {
    contest self = {.filter = firn_filter_new(heap)};
    set all = make_set(STEADY + PASSING);
    bool *steady = find_steady(&all);
    for (size_t i = 0; i < all.size; i++) {
        if (steady[i]) {
            (void)change(&all, self.filter, i);
        }
    }
    free(steady);
    rebuild(self.filter, &all, 400);
    pthread_t threads[2];
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, ask, &self), 0);
    }
    await_readers(&self, 2);
    stir(&self, &all);
    atomic_store(&self.over, true);
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    ck_assert_uint_eq(atomic_load(&self.denied), 0);
    ck_assert_uint_gt(atomic_load(&self.noes), 0);
    assert_holds_all(&all, self.filter);
    firn_filter_free(self.filter);
    drop_set(&all);
}

START_TEST(readers_find_what_stays_while_a_writer_moves_and_rebuilds) {
    firn_heap *heap = firn_heap_new(NULL);
    run_contest(heap);
    firn_heap_unref(heap);
}
END_TEST

START_TEST(they_do_so_in_memory_that_is_used_again) {
    memory given = {0};
    firn_allocator allocator = {give, take_back, &given};
    firn_heap *heap = firn_heap_new(&allocator);
    run_contest(heap);
    firn_heap_unref(heap);
    ck_assert_int_eq(given.live, 0);
}
END_TEST

/* One hash that stays and one with an equal fingerprint that comes and goes: what is removed is not
 * always what was added, so the one that stays may change its place without a move. */
START_TEST(an_equal_fingerprint_that_comes_and_goes_hides_nothing) {
    firn_heap *heap = firn_heap_new(NULL);
    contest self = {.filter = firn_filter_new(heap)};
    ck_assert_int_eq(firn_filter_start_empty(self.filter, 16), FIRN_OK);
    for (uint64_t i = 1; i <= STEADY / 10; i++) {
        ck_assert(firn_filter_add(self.filter, mix(i)));
    }
    (void)firn_filter_rebuild_begin(self.filter, STEADY * 2);
    set all = make_set(STEADY);
    memset(all.there, 1, STEADY * sizeof all.there[0]);
    all.count = STEADY;
    ck_assert_int_eq(firn_filter_rebuild_step(self.filter, 9999, next_of_set, &all), FIRN_OK);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, ask, &self), 0);
    await_readers(&self, 1);
    for (unsigned round = 0; round < ROUNDS * 40; round++) {
        uint64_t hash = mix(round % STEADY + 1);
        /* Two more of the same, so that both buckets get some; and away. */
        for (uint64_t twin = 1; twin <= 3; twin++) {
            ck_assert(firn_filter_add(self.filter, hash ^ twin << 16));
        }
        for (uint64_t twin = 1; twin <= 3; twin++) {
            ck_assert(firn_filter_remove(self.filter, hash ^ twin << 16));
        }
    }
    atomic_store(&self.over, true);
    pthread_join(thread, NULL);
    ck_assert_uint_eq(atomic_load(&self.denied), 0);
    ck_assert_uint_gt(atomic_load(&self.noes), 0);
    assert_equal(&all, self.filter);
    firn_filter_free(self.filter);
    firn_heap_unref(heap);
    drop_set(&all);
}
END_TEST

/* Between two instructions of a reader lies next to no time, so threads alone seldom show what may
 * happen there. A signal does: its handler is the writer, and the reader stands still wherever it
 * is until the handler has moved everything. */

enum { INTERRUPTIONS = 5000, INTERRUPTED_EVERY_NS = 120000, PASSES_BETWEEN_NAPS = 500 };

static struct interruption {
    firn_filter *filter;
    set all;
    bool *steady; /* beside all.hashes */
    uint64_t state;
    bool rebuilds; /* else it changes hashes */
    bool failed;
    _Atomic unsigned count;
} interruption;

static void interrupt(int number) {
    struct interruption *self = &interruption;
    int error = errno;
    (void)number;
    if (self->rebuilds) {
        self->failed |=
            firn_filter_rebuild_begin(self->filter, 400) != FIRN_OK ||
            firn_filter_rebuild_step(self->filter, UINT64_MAX, next_of_set, &self->all) != FIRN_OK;
    }
    for (unsigned i = 0; i < 500 && !self->rebuilds; i++) {
        size_t index = step(&self->state) % self->all.size;
        bool adds = !self->all.there[index];
        if (!self->steady[index] && (adds ? self->all.count < 528 : self->all.count > 510)) {
            self->failed |= !change(&self->all, self->filter, index);
        }
    }
    atomic_fetch_add(&self->count, 1);
    errno = error;
}

static void run_interrupted(bool rebuilds) {
    struct interruption *self = &interruption;
    firn_heap *heap = firn_heap_new(NULL);
    *self = (struct interruption){.rebuilds = rebuilds, .state = 3};
    self->filter = firn_filter_new(heap);
    self->all = make_set(STEADY + PASSING);
    self->steady = find_steady(&self->all);
    for (size_t i = 0; i < self->all.size; i++) {
        if (self->steady[i] || self->all.count < STEADY + 300) {
            (void)change(&self->all, self->filter, i);
        }
    }
    rebuild(self->filter, &self->all, 400);
    rebuild(self->filter, &self->all, 400); /* two tables from now on: the handler allocates none */
    struct sigaction action = {.sa_handler = interrupt};
    ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    timer_t timer;
    ck_assert_int_eq(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    struct timespec every = {0, INTERRUPTED_EVERY_NS};
    ck_assert_int_eq(timer_settime(timer, 0, &(struct itimerspec){every, every}, NULL), 0);
    uint64_t denied = 0;
    for (uint64_t pass = 1; atomic_load(&self->count) < INTERRUPTIONS; pass++) {
        for (uint64_t i = 1; i <= STEADY; i++) {
            denied += !firn_filter_may_contain(self->filter, mix(i));
        }
        if (pass % PASSES_BETWEEN_NAPS == 0) { /* when the thread sanitizer gives signals out */
            nanosleep(&(struct timespec){0, 1}, NULL);
        }
    }
    timer_delete(timer);
    nanosleep(&(struct timespec){0, 1}, NULL);
    ck_assert_uint_eq(denied, 0);
    ck_assert(!self->failed);
    assert_equal(&self->all, self->filter);
    firn_filter_free(self->filter);
    free(self->steady);
    drop_set(&self->all);
    firn_heap_unref(heap);
}

START_TEST(a_reader_that_is_stopped_while_hashes_move_denies_none) {
    run_interrupted(false);
}
END_TEST

START_TEST(a_reader_that_is_stopped_while_the_table_is_replaced_denies_none) {
    run_interrupted(true);
}
END_TEST

/* The same at exactly one place: the filter lies in pages that a reader may not touch at first. The
 * page of the first bucket is opened to it; at the second everything is moved before it goes on. */

enum { PAGE = 4096, PAGED = 6000, PAGED_STEADY = 1000, PAGED_FULL = 4150 };

static struct paged {
    firn_filter *filter;
    set all; /* each sixth is steady */
    uint64_t state;
    unsigned char *base; /* of the only block above a page */
    size_t size;
    unsigned faults;
    unsigned stopped; /* readers between their loads */
} paged;

static void *give_pages(void *context, size_t size) {
    struct paged *self = context;
    if (size < PAGE) {
        return malloc(size);
    }
    void *block = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    self->base = block;
    self->size = size;
    return block != MAP_FAILED ? block : NULL;
}

static void take_pages(void *context, void *block, size_t size) {
    (void)context;
    if (size < PAGE) {
        free(block);
    } else {
        munmap(block, size);
    }
}

/* Adds, or removes, what is not steady, until that many are there. */
static void fill_paged(struct paged *self, size_t count) {
    bool adds = self->all.count < count;
    while (self->all.count != count) {
        size_t index = step(&self->state) % PAGED;
        if (index % 6 != 0 && self->all.there[index] != adds) {
            (void)change(&self->all, self->filter, index);
        }
    }
}

static void meet_fault(int number, siginfo_t *info, void *where) {
    struct paged *self = &paged;
    (void)number;
    (void)where;
    if (self->faults++ == 0) {
        size_t page = (size_t)((unsigned char *)info->si_addr - self->base) / PAGE;
        mprotect(self->base + page * PAGE, PAGE, PROT_READ | PROT_WRITE);
        return;
    }
    self->stopped++;
    mprotect(self->base, self->size, PROT_READ | PROT_WRITE);
    fill_paged(self, PAGED_FULL); /* by additions alone: removals count departures too */
}

START_TEST(a_reader_that_is_stopped_between_two_buckets_denies_nothing) {
    struct paged *self = &paged;
    firn_allocator allocator = {give_pages, take_pages, self};
    firn_heap *heap = firn_heap_new(&allocator);
    *self = (struct paged){.filter = firn_filter_new(heap), .all = make_set(PAGED), .state = 5};
    ck_assert_int_eq(firn_filter_start_empty(self->filter, 4000), FIRN_OK);
    for (size_t i = 0; i < PAGED; i++) {
        if (i % 6 == 0 || (i % 2 == 0 && self->all.count < PAGED_FULL)) {
            (void)change(&self->all, self->filter, i);
        }
    }
    struct sigaction action = {.sa_sigaction = meet_fault, .sa_flags = SA_SIGINFO};
    struct sigaction before;
    ck_assert_int_eq(sigaction(SIGSEGV, &action, &before), 0);
    unsigned denied = 0;
    for (size_t i = 0; i < PAGED; i += 6) {
        self->faults = 0;
        fill_paged(self, PAGED_FULL - 500);
        mprotect(self->base, self->size, PROT_NONE);
        denied += !firn_filter_may_contain(self->filter, self->all.hashes[i]);
        mprotect(self->base, self->size, PROT_READ | PROT_WRITE);
    }
    sigaction(SIGSEGV, &before, NULL);
    ck_assert_uint_eq(denied, 0);
    ck_assert_uint_gt(self->stopped, PAGED_STEADY / 4);
    assert_equal(&self->all, self->filter);
    firn_filter_free(self->filter);
    drop_set(&self->all);
    firn_heap_unref(heap);
}
END_TEST

/* ---- the file ---- */

typedef struct fixture {
    char *path;
    memory memory;
    firn_heap *heap;
    firn_detail detail;
    firn_filter *filter;
    set set;
} fixture;

static void make(fixture *self, const char *name, size_t hashes) {
    *self = (fixture){.path = scratch_path(name), .set = make_set(2 * hashes)};
    firn_allocator allocator = {give, take_back, &self->memory};
    self->heap = firn_heap_new(&allocator);
    ck_assert_int_eq(mkdir(self->path, 0700), 0);
    ck_assert_int_eq(firn_detail_init(&self->detail), 0);
    self->filter = firn_filter_new(self->heap);
    ck_assert_int_eq(firn_filter_start_empty(self->filter, hashes), FIRN_OK);
    for (size_t i = 0; i < hashes; i++) {
        ck_assert(change(&self->set, self->filter, 2 * i));
    }
}

static void drop(fixture *self) {
    firn_filter_free(self->filter);
    firn_detail_fini(&self->detail);
    firn_heap_unref(self->heap);
    ck_assert_int_eq(self->memory.live, 0);
    remove_tree(self->path);
    drop_set(&self->set);
}

static int save(fixture *self) {
    return firn_filter_file_save(self->filter, self->path, STORE_ID, GENERATION, self->heap,
                                 &self->detail);
}

/* As a restart does: a filter that knows nothing. */
static void restart(fixture *self) {
    firn_filter_free(self->filter);
    self->filter = firn_filter_new(self->heap);
    ck_assert_ptr_nonnull(self->filter);
}

static int open_file(fixture *self, firn_filter_file **file) {
    return firn_filter_file_open(file, self->path, STORE_ID, GENERATION, self->filter, self->heap);
}

/* What an open and all steps make of the file. */
static int load(fixture *self, size_t bytes_max) {
    firn_filter_file *file;
    int result = open_file(self, &file);
    if (result != FIRN_OK) {
        ck_assert_ptr_null(file);
        return result;
    }
    do {
        ck_assert(!knows(self->filter));
        result = firn_filter_file_load(file, bytes_max);
    } while (result == FIRN_AGAIN);
    firn_filter_file_close(file);
    ck_assert(!firn_filter_is_building(self->filter));
    ck_assert_int_eq(knows(self->filter), result == FIRN_OK);
    return result;
}

START_TEST(filters_of_every_size_are_loaded_as_they_were_saved) {
    static const size_t counts[] = {0, 1, 100, 30000, 31000, 70000};
    static const size_t steps[] = {0, 100, 65536, SIZE_MAX / 2};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        fixture self;
        make(&self, "filter-sizes", counts[i]);
        ck_assert_int_eq(save(&self), FIRN_OK);
        firn_filter_shape shape;
        ck_assert_int_eq(firn_filter_get_shape(self.filter, &shape), FIRN_OK);
        ck_assert_uint_eq(file_size(self.path, "firn.filter"), 64 + 8 * shape.buckets);
        for (size_t j = 0; j < sizeof steps / sizeof steps[0]; j++) {
            restart(&self);
            ck_assert_int_eq(load(&self, steps[j]), FIRN_OK);
            assert_equal(&self.set, self.filter);
        }
        drop(&self);
    }
}
END_TEST

START_TEST(changes_made_while_it_is_loaded_are_made) {
    fixture self;
    make(&self, "filter-meanwhile", 3000);
    ck_assert_int_eq(save(&self), FIRN_OK);
    restart(&self);
    firn_filter_file *file;
    ck_assert_int_eq(open_file(&self, &file), FIRN_OK);
    uint64_t state = 9;
    int result;
    do {
        for (unsigned i = 0; i < 10; i++) {
            /* Each third is changed twice, which must come to the same as not at all. */
            size_t index = step(&state) % self.set.size;
            ck_assert(change(&self.set, self.filter, index));
            if (self.set.count > 3000 || i % 3 == 0) {
                ck_assert(change(&self.set, self.filter, index));
            }
            ck_assert(firn_filter_may_contain(self.filter, self.set.hashes[index]));
        }
        result = firn_filter_file_load(file, 64);
    } while (result == FIRN_AGAIN);
    ck_assert_int_eq(result, FIRN_OK);
    firn_filter_file_close(file);
    assert_equal(&self.set, self.filter);
    drop(&self);
}
END_TEST

START_TEST(more_changes_than_are_worth_remembering_end_the_loading) {
    fixture self;
    make(&self, "filter-many", 100);
    ck_assert_int_eq(save(&self), FIRN_OK);
    restart(&self);
    firn_filter_file *file;
    ck_assert_int_eq(open_file(&self, &file), FIRN_OK);
    for (unsigned i = 0; i < FIRN_FILTER_CHANGES_MAX; i++) {
        ck_assert(change(&self.set, self.filter, 0));
    }
    ck_assert(firn_filter_is_building(self.filter));
    ck_assert(!change(&self.set, self.filter, 0));
    ck_assert(firn_filter_wants_rebuild(self.filter));
    ck_assert_int_eq(firn_filter_file_load(file, 64), FIRN_ENOMEM);
    rebuild(self.filter, &self.set, 100);
    firn_filter_file_close(file);
    assert_equal(&self.set, self.filter);
    drop(&self);
}
END_TEST

START_TEST(changes_that_have_no_place_or_no_cause_end_the_loading) {
    fixture self;
    make(&self, "filter-no-place", 500);
    ck_assert_int_eq(save(&self), FIRN_OK);
    restart(&self);
    firn_filter_file *file;
    ck_assert_int_eq(open_file(&self, &file), FIRN_OK);
    for (size_t i = 0; i < 500; i++) {
        ck_assert(change(&self.set, self.filter, 2 * i + 1));
    }
    ck_assert_int_eq(firn_filter_file_load(file, 1 << 20), FIRN_ENOSPC);
    firn_filter_file_close(file);
    ck_assert(!knows(self.filter));

    ck_assert_int_eq(open_file(&self, &file), FIRN_OK);
    ck_assert(firn_filter_remove(self.filter, mix(UINT64_C(1) << 50)));
    ck_assert_int_eq(firn_filter_file_load(file, 1 << 20), FIRN_ECORRUPT);
    firn_filter_file_close(file);
    ck_assert(!knows(self.filter));
    drop(&self);
}
END_TEST

START_TEST(a_loading_may_be_broken_off_by_a_close_or_a_rebuild) {
    fixture self;
    make(&self, "filter-break", 3000);
    ck_assert_int_eq(save(&self), FIRN_OK);
    restart(&self);
    firn_filter_file *file;
    ck_assert_int_eq(open_file(&self, &file), FIRN_OK);
    ck_assert_int_eq(firn_filter_file_load(file, 100), FIRN_AGAIN);
    firn_filter_file_close(file);
    firn_filter_file_close(NULL);
    ck_assert(!firn_filter_is_building(self.filter));
    ck_assert(!knows(self.filter));

    ck_assert_int_eq(open_file(&self, &file), FIRN_OK);
    ck_assert_int_eq(firn_filter_rebuild_begin(self.filter, 3000), FIRN_OK);
    ck_assert_int_eq(firn_filter_file_load(file, 100), FIRN_ENOMEM);
    firn_filter_file_close(file);
    ck_assert(firn_filter_is_building(self.filter));
    ck_assert_int_eq(firn_filter_rebuild_step(self.filter, 9999, next_of_set, &self.set), FIRN_OK);
    assert_equal(&self.set, self.filter);
    drop(&self);
}
END_TEST

START_TEST(a_filter_that_knows_nothing_leaves_no_file) {
    fixture self;
    make(&self, "filter-nothing", 10);
    ck_assert_int_eq(save(&self), FIRN_OK);
    restart(&self);
    ck_assert_int_eq(save(&self), FIRN_NOT_FOUND);
    ck_assert_int_eq(load(&self, 100), FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_filter_file_remove(self.path, self.heap), FIRN_OK);
    drop(&self);
}
END_TEST

START_TEST(a_file_that_is_removed_is_gone) {
    fixture self;
    make(&self, "filter-remove", 10);
    ck_assert_int_eq(save(&self), FIRN_OK);
    ck_assert_int_eq(firn_filter_file_remove(self.path, self.heap), FIRN_OK);
    restart(&self);
    ck_assert_int_eq(load(&self, 100), FIRN_NOT_FOUND);
    drop(&self);
}
END_TEST

START_TEST(the_file_of_another_store_or_state_is_refused) {
    fixture self;
    make(&self, "filter-other", 10);
    ck_assert_int_eq(save(&self), FIRN_OK);
    restart(&self);
    firn_filter_file *file;
    ck_assert_int_eq(
        firn_filter_file_open(&file, self.path, STORE_ID + 1, GENERATION, self.filter, self.heap),
        FIRN_ECORRUPT);
    ck_assert_int_eq(
        firn_filter_file_open(&file, self.path, STORE_ID, GENERATION + 1, self.filter, self.heap),
        FIRN_ECORRUPT);
    ck_assert_ptr_null(file);
    ck_assert(!firn_filter_is_building(self.filter));
    drop(&self);
}
END_TEST

START_TEST(every_flipped_byte_is_found) {
    fixture self;
    make(&self, "filter-flips", 20);
    ck_assert_int_eq(save(&self), FIRN_OK);
    restart(&self);
    char *name = join(self.path, "firn.filter");
    int fd = open(name, O_RDWR);
    ck_assert_int_ge(fd, 0);
    off_t size = (off_t)file_size(self.path, "firn.filter");
    for (off_t i = 0; i < size; i++) {
        change_byte(fd, i, 0x20);
        ck_assert_msg(load(&self, 100) == FIRN_ECORRUPT, "byte %ld", (long)i);
        change_byte(fd, i, 0x20);
    }
    ck_assert_int_eq(load(&self, 100), FIRN_OK);
    close(fd);
    free(name);
    drop(&self);
}
END_TEST

START_TEST(a_file_of_another_length_is_refused) {
    fixture self;
    make(&self, "filter-lengths", 20);
    char *name = join(self.path, "firn.filter");
    ck_assert_int_eq(save(&self), FIRN_OK);
    off_t size = (off_t)file_size(self.path, "firn.filter");
    firn_filter *whole = self.filter;
    for (off_t length = 0; length <= size + 8; length++) {
        self.filter = whole;
        ck_assert_int_eq(save(&self), FIRN_OK);
        ck_assert_int_eq(truncate(name, length), 0);
        self.filter = firn_filter_new(self.heap);
        ck_assert_msg(load(&self, 100) == (length == size ? FIRN_OK : FIRN_ECORRUPT), "cut to %ld",
                      (long)length);
        firn_filter_free(self.filter);
    }
    self.filter = whole;
    free(name);
    drop(&self);
}
END_TEST

START_TEST(a_file_that_shrinks_while_it_is_loaded_is_refused) {
    fixture self;
    make(&self, "filter-shrinks", 20000);
    ck_assert_int_eq(save(&self), FIRN_OK);
    restart(&self);
    char *name = join(self.path, "firn.filter");
    firn_filter_file *file;
    ck_assert_int_eq(open_file(&self, &file), FIRN_OK);
    ck_assert_int_eq(firn_filter_file_load(file, 1000), FIRN_AGAIN);
    ck_assert_int_eq(truncate(name, 5000), 0);
    ck_assert_int_eq(firn_filter_file_load(file, 1 << 20), FIRN_ECORRUPT);
    ck_assert(firn_filter_wants_rebuild(self.filter));
    firn_filter_file_close(file);
    free(name);
    drop(&self);
}
END_TEST

START_TEST(shapes_that_no_filter_has_are_refused) {
    static const firn_filter_shape shapes[] = {
        {0, 0}, {1, 0}, {7, 0}, {2, 9}, {UINT64_C(1) << 40, 0}, {UINT64_MAX - 1, 0}};
    fixture self;
    make(&self, "filter-shapes", 1);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        ck_assert_int_eq(firn_filter_load_begin(self.filter, &shapes[i]), FIRN_ECORRUPT);
    }
    uint64_t words[3] = {1, 2, 3};
    ck_assert_int_eq(firn_filter_load_words(self.filter, words, 1), FIRN_ENOMEM);
    ck_assert_int_eq(firn_filter_load_finish(self.filter), FIRN_ENOMEM);
    /* Too many words, too few, and another number of hashes. */
    ck_assert_int_eq(firn_filter_load_begin(self.filter, &(firn_filter_shape){2, 2}), FIRN_OK);
    ck_assert_int_eq(firn_filter_load_words(self.filter, words, 3), FIRN_ECORRUPT);
    ck_assert_int_eq(firn_filter_load_words(self.filter, words, 1), FIRN_OK);
    ck_assert_int_eq(firn_filter_load_finish(self.filter), FIRN_ECORRUPT);
    ck_assert_int_eq(firn_filter_load_begin(self.filter, &(firn_filter_shape){2, 3}), FIRN_OK);
    ck_assert_int_eq(firn_filter_load_words(self.filter, words, 2), FIRN_OK);
    ck_assert_int_eq(firn_filter_load_finish(self.filter), FIRN_ECORRUPT);
    assert_equal(&self.set, self.filter); /* the filter there was remains */
    drop(&self);
}
END_TEST

START_TEST(a_file_that_cannot_be_put_in_place_takes_the_old_one_with_it) {
    fixture self;
    make(&self, "filter-blocked", 5);
    ck_assert_int_eq(save(&self), FIRN_OK);
    char *temporary = join(self.path, "firn.filter.tmp");
    ck_assert_int_eq(mkdir(temporary, 0700), 0); /* so that it cannot be written */
    ck_assert_int_eq(save(&self), FIRN_EIO);
    char text[200];
    firn_detail_get(&self.detail, text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, "firn.filter"));
    restart(&self);
    ck_assert_int_eq(load(&self, 100), FIRN_NOT_FOUND);
    free(temporary);
    drop(&self);
}
END_TEST

/* ---- without memory ---- */

static bool is_fine(int result) {
    return result >= FIRN_OK || result == FIRN_ENOMEM;
}

/* A life: a filter is built, changed, saved, loaded while it changes, and built again. */
static void live(fixture *self) {
    firn_filter_free(self->filter);
    self->filter = firn_filter_new(self->heap);
    if (self->filter == NULL) {
        return;
    }
    ck_assert(is_fine(firn_filter_start_empty(self->filter, 10)));
    int result = firn_filter_rebuild_begin(self->filter, self->set.count);
    ck_assert(is_fine(result));
    if (result == FIRN_OK) {
        ck_assert_int_eq(firn_filter_rebuild_step(self->filter, 9999, next_of_set, &self->set),
                         FIRN_OK);
    } else {
        ck_assert(!firn_filter_is_building(self->filter));
        firn_filter_free(self->filter);
        self->filter = firn_filter_new(self->heap);
    }
    if (self->filter == NULL) {
        return;
    }
    ck_assert(is_fine(save(self)));
    firn_filter_file *file;
    result = open_file(self, &file);
    ck_assert(is_fine(result));
    for (unsigned i = 0; i < 300; i++) { /* more than are remembered in one piece */
        (void)change(&self->set, self->filter, i % 2);
        assert_holds_all(&self->set, self->filter);
    }
    if (result == FIRN_OK) {
        ck_assert(is_fine(firn_filter_file_load(file, 1 << 20)));
        firn_filter_file_close(file);
    }
    assert_holds_all(&self->set, self->filter);
    ck_assert(is_fine(firn_filter_rebuild_begin(self->filter, 5000)));
    while (firn_filter_is_building(self->filter)) {
        ck_assert(is_fine(firn_filter_rebuild_step(self->filter, 10, next_of_set, &self->set)));
        assert_holds_all(&self->set, self->filter);
    }
}

START_TEST(without_memory_it_knows_less_and_denies_nothing) {
    fixture self;
    make(&self, "filter-alloc", 100);
    long allocations = 0;
    for (long n = 1;; n++) {
        self.memory.countdown = n;
        live(&self);
        bool refused = self.memory.countdown == 1;
        self.memory.countdown = 0;
        if (!refused) {
            break;
        }
        allocations = n;
    }
    ck_assert_int_gt(allocations, 12);
    assert_equal(&self.set, self.filter);
    drop(&self);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, a_new_filter_denies_nothing_and_wants_to_be_built);
    tcase_add_test(tcase, an_empty_filter_denies_everything);
    tcase_add_test(tcase, every_capacity_is_reached_before_the_filter_is_full);
    tcase_add_test(tcase, an_entry_takes_little_more_than_two_bytes);
    tcase_add_test(tcase, equal_fingerprints_have_eight_places_and_the_ninth_fills_the_filter);
    tcase_add_test(tcase, a_removal_of_what_is_not_there_ends_the_trust);
    tcase_add_test(tcase, what_changes_during_a_walk_is_counted_once_on_either_side_of_it);
    tcase_add_test(tcase, the_least_and_the_greatest_hash_are_walked);
    tcase_add_test(tcase, a_walk_that_fails_may_go_on_and_one_that_finds_no_place_is_given_up);
    tcase_add_test(tcase, a_walk_out_of_order_is_refused);
    tcase_add_test(tcase, it_holds_what_a_plain_set_holds_whatever_happens);
    tcase_add_test(tcase, it_does_so_in_memory_of_the_users_too);
    tcase_add_test(tcase, retired_tables_are_used_again);
    tcase_add_test(tcase, readers_find_what_stays_while_a_writer_moves_and_rebuilds);
    tcase_add_test(tcase, they_do_so_in_memory_that_is_used_again);
    tcase_add_test(tcase, an_equal_fingerprint_that_comes_and_goes_hides_nothing);
    tcase_add_test(tcase, a_reader_that_is_stopped_while_hashes_move_denies_none);
    tcase_add_test(tcase, a_reader_that_is_stopped_while_the_table_is_replaced_denies_none);
    tcase_add_test(tcase, a_reader_that_is_stopped_between_two_buckets_denies_nothing);
    tcase_add_test(tcase, filters_of_every_size_are_loaded_as_they_were_saved);
    tcase_add_test(tcase, changes_made_while_it_is_loaded_are_made);
    tcase_add_test(tcase, more_changes_than_are_worth_remembering_end_the_loading);
    tcase_add_test(tcase, changes_that_have_no_place_or_no_cause_end_the_loading);
    tcase_add_test(tcase, a_loading_may_be_broken_off_by_a_close_or_a_rebuild);
    tcase_add_test(tcase, a_filter_that_knows_nothing_leaves_no_file);
    tcase_add_test(tcase, a_file_that_is_removed_is_gone);
    tcase_add_test(tcase, the_file_of_another_store_or_state_is_refused);
    tcase_add_test(tcase, every_flipped_byte_is_found);
    tcase_add_test(tcase, a_file_of_another_length_is_refused);
    tcase_add_test(tcase, a_file_that_shrinks_while_it_is_loaded_is_refused);
    tcase_add_test(tcase, shapes_that_no_filter_has_are_refused);
    tcase_add_test(tcase, a_file_that_cannot_be_put_in_place_takes_the_old_one_with_it);
    tcase_add_test(tcase, without_memory_it_knows_less_and_denies_nothing);
}

int main(void) {
    return run_suite("filter", add, 300);
}
