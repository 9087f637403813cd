/* The pool: sizes and waste, blocks that keep their contents, memory that goes back, draining,
 * threads, an owner that leaves first. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/pool.h"
#include "unit/suite.h"

typedef struct ledger {
    _Atomic size_t live_bytes;
    unsigned refuse_every; /* 0: never */
    unsigned calls;
} ledger;

static void *ledger_alloc(void *context, size_t size) {
    ledger *self = context;
    if (self->refuse_every != 0 && ++self->calls % self->refuse_every == 0) {
        return NULL;
    }
    self->live_bytes += size;
    return malloc(size);
}

static void ledger_free(void *context, void *memory, size_t size) {
    ((ledger *)context)->live_bytes -= size;
    free(memory);
}

static uint64_t step(uint64_t *state) {
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return *state >> 33;
}

START_TEST(a_block_counts_for_little_more_than_was_asked_for) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_pool *pool = firn_pool_new(heap, 64 << 20, 1);
    for (size_t size = 16; size <= (1 << 20); size += size < 9000 ? 1 : 97) {
        size_t charge = firn_pool_charge(pool, size);
        ck_assert_uint_ge(charge, size);
        size_t waste = charge - size;
        /* 16-byte steps, then a sixteenth, then runs of 512, then pages and a prefix. */
        size_t most = size <= 2048 ? 15 : size <= 7168 ? size / 16 : size <= 262144 ? 511 : 4159;
        ck_assert_msg(waste <= most, "%zu bytes count for %zu", size, charge);
        ck_assert_uint_ge(firn_pool_charge(pool, size + 1), charge);
    }
    ck_assert_uint_eq(firn_pool_charge(pool, SIZE_MAX), SIZE_MAX);
    firn_pool_close(pool);
    firn_heap_unref(heap);
}
END_TEST

typedef struct block {
    unsigned char *memory;
    size_t size;
    unsigned char fill;
} block;

static size_t random_size(uint64_t *state, unsigned mix) {
    switch (step(state) % 8 + mix) {
    case 0:
    case 1:
    case 2:
        return 16 + step(state) % 200;
    case 3:
    case 4:
        return 16 + step(state) % 2000;
    case 5:
    case 6:
        return 1000 + step(state) % 12000;
    case 7:
        return 1000 + step(state) % 200000;
    default:
        return 100000 + step(state) % 400000;
    }
}

static bool intact(const block *at) {
    return at->memory[0] == at->fill && at->memory[at->size / 2] == at->fill &&
           at->memory[at->size - 1] == at->fill;
}

static void drop(block *at) {
    ck_assert(intact(at));
    firn_pool_free(at->memory, at->size);
    at->memory = NULL;
}

static bool take(firn_pool *pool, block *at, size_t size, uint64_t *state) {
    *at = (block){firn_pool_alloc(pool, size), size, (unsigned char)step(state)};
    if (at->memory != NULL) {
        ck_assert_uint_eq((uintptr_t)at->memory % 16, 0);
        ck_assert_ptr_eq(firn_pool_of(at->memory, size), pool);
        memset(at->memory, at->fill, size);
    }
    return at->memory != NULL;
}

static void churn(firn_heap *heap, bool may_refuse) {
    firn_pool *pool = firn_pool_new(heap, 16 << 20, 77);
    if (pool == NULL) {
        ck_assert(may_refuse);
        return;
    }
    ck_assert_uint_eq(firn_pool_seed(pool), 77);
    enum { BLOCKS = 400 };
    block blocks[BLOCKS] = {{NULL, 0, 0}};
    uint64_t state = 5;
    uint64_t charges = 0;
    uint64_t there = 0;
    for (unsigned turn = 0; turn < 40000; turn++) {
        block *at = &blocks[step(&state) % BLOCKS];
        if (at->memory != NULL) {
            charges -= firn_pool_charge(pool, at->size);
            there--;
            drop(at);
        } else if (take(pool, at, random_size(&state, turn / 20000), &state)) {
            charges += firn_pool_charge(pool, at->size);
            there++;
        } else {
            ck_assert(may_refuse);
        }
    }
    firn_pool_stats stats;
    firn_pool_get_stats(pool, &stats);
    ck_assert_uint_eq(stats.charge_bytes, charges);
    ck_assert_uint_eq(stats.blocks, there);
    ck_assert_uint_ge(stats.mapped_bytes, charges);
    firn_pool_close(pool);
    for (unsigned i = 0; i < BLOCKS; i++) {
        if (blocks[i].memory != NULL) {
            drop(&blocks[i]);
        }
    }
}

START_TEST(blocks_of_all_sizes_keep_their_contents) {
    firn_heap *heap = firn_heap_new(NULL);
    churn(heap, false);
    firn_heap_unref(heap);
}
END_TEST

START_TEST(all_of_a_users_memory_comes_back_also_when_some_is_refused) {
    for (unsigned refuse_every = 0; refuse_every < 9; refuse_every++) {
        ledger counts = {.refuse_every = 0};
        firn_allocator allocator = {ledger_alloc, ledger_free, &counts};
        firn_heap *heap = firn_heap_new(&allocator);
        counts.refuse_every = refuse_every;
        churn(heap, refuse_every != 0);
        firn_heap_unref(heap);
        ck_assert_uint_eq(counts.live_bytes, 0);
    }
}
END_TEST

/* A cache in little: as many bytes as fit into a budget, oldest out first, sizes of a mix that
 * shifts; and the owner's part of draining. */
START_TEST(mapped_memory_stays_near_the_charges_when_the_mix_of_sizes_shifts) {
    firn_heap *heap = firn_heap_new(NULL);
    enum { BUDGET = 24 << 20, SLACK = BUDGET / 8, BLOCKS = 1 << 16 };
    firn_pool *pool = firn_pool_new(heap, BUDGET, 1);
    block *blocks = calloc(BLOCKS, sizeof *blocks);
    uint64_t state = 11;
    uint64_t charges = 0;
    uint64_t worst = 0;
    uint64_t moved = 0;
    const size_t mixes[][2] = {{50, 300}, {600, 900}, {80, 5000}, {3000, 20000}, {60, 120}};
    for (unsigned mix = 0; mix < sizeof mixes / sizeof mixes[0]; mix++) {
        size_t turns = 4 * (BUDGET / ((mixes[mix][0] + mixes[mix][1]) / 2));
        for (size_t turn = 0; turn < turns; turn++) {
            size_t size = mixes[mix][0] + step(&state) % (mixes[mix][1] - mixes[mix][0]);
            while (charges + firn_pool_charge(pool, size) > BUDGET) {
                /* Out of order, so that slabs become sparse. */
                block *at = &blocks[step(&state) % BLOCKS];
                if (at->memory != NULL) {
                    charges -= firn_pool_charge(pool, at->size);
                    drop(at);
                }
            }
            block *at = &blocks[step(&state) % BLOCKS];
            if (at->memory != NULL) {
                charges -= firn_pool_charge(pool, at->size);
                drop(at);
            }
            ck_assert(take(pool, at, size, &state));
            charges += firn_pool_charge(pool, size);
            if (turn % 1024 == 0 && firn_pool_plan_drain(pool, SLACK)) {
                ck_assert(firn_pool_draining(pool));
                for (unsigned i = 0; i < BLOCKS; i++) {
                    if (blocks[i].memory != NULL &&
                        firn_pool_should_move(blocks[i].memory, blocks[i].size)) {
                        block copy = blocks[i];
                        copy.memory = firn_pool_alloc(pool, copy.size);
                        ck_assert(!firn_pool_should_move(copy.memory, copy.size));
                        memcpy(copy.memory, blocks[i].memory, copy.size);
                        drop(&blocks[i]);
                        blocks[i] = copy;
                        moved++;
                    }
                }
                firn_pool_end_drain(pool);
                ck_assert(!firn_pool_draining(pool));
                firn_pool_stats stats;
                firn_pool_get_stats(pool, &stats);
                uint64_t slack = stats.mapped_bytes - stats.charge_bytes;
                worst = slack > worst ? slack : worst;
            }
        }
    }
    ck_assert_uint_gt(moved, 0);
    /* What no draining can take away: the last slab of each class, the holes that runs leave
     * between them, and the reserves. */
    ck_assert_msg(worst <= SLACK + BUDGET / 3, "slack of %llu bytes", (unsigned long long)worst);
    for (unsigned i = 0; i < BLOCKS; i++) {
        if (blocks[i].memory != NULL) {
            drop(&blocks[i]);
        }
    }
    firn_pool_stats stats;
    firn_pool_get_stats(pool, &stats);
    ck_assert_uint_eq(stats.charge_bytes, 0);
    ck_assert_uint_le(stats.mapped_bytes, 4 << 20);
    free(blocks);
    firn_pool_close(pool);
    firn_heap_unref(heap);
}
END_TEST

typedef struct crowd {
    firn_pool *pool;
    _Atomic(unsigned char *) shared[64]; /* blocks on their way from one thread to another */
    atomic_uint failures;
} crowd;

enum { SHARED_SIZE = 120 };

static void *worker(void *context) {
    crowd *self = context;
    uint64_t state = (uint64_t)(uintptr_t)&state;
    for (unsigned turn = 0; turn < 60000; turn++) {
        unsigned char *mine = firn_pool_alloc(self->pool, SHARED_SIZE);
        memset(mine, (int)(turn & 0x7f), SHARED_SIZE);
        unsigned char *other = atomic_exchange(&self->shared[step(&state) % 64], mine);
        if (other != NULL) {
            if (other[0] != other[SHARED_SIZE - 1]) {
                atomic_fetch_add(&self->failures, 1);
            }
            firn_pool_free(other, SHARED_SIZE);
        }
        if (turn % 16 == 0) {
            size_t size = 2000 + step(&state) % 20000;
            void *large = firn_pool_alloc(self->pool, size);
            firn_pool_free(large, size);
        }
        if (turn % 4096 == 0) {
            firn_pool_stats stats;
            firn_pool_get_stats(self->pool, &stats);
        }
    }
    return NULL;
}

static void *free_last(void *context) {
    crowd *self = context;
    for (unsigned i = 0; i < 64; i++) {
        if (self->shared[i] != NULL) {
            firn_pool_free(self->shared[i], SHARED_SIZE);
        }
    }
    return NULL;
}

/* Blocks with mappings of their own, in turns of all sizes: what is kept for the next is counted,
 * bounded, and never given out twice. */
START_TEST(large_blocks_take_the_place_of_those_that_went) {
    enum { LIVE = 8, BUDGET = 64 << 20, SPARE_MAX = BUDGET / 32 };
    firn_heap *heap = firn_heap_new(NULL);
    firn_pool *pool = firn_pool_new(heap, BUDGET, 1);
    block live[LIVE] = {{NULL, 0, 0}};
    uint64_t state = 3;
    firn_pool_stats stats;
    bool kept = false;
    for (unsigned i = 0; i < 2000; i++) {
        block *at = &live[step(&state) % LIVE];
        if (at->memory != NULL) {
            ck_assert_uint_eq(at->memory[0], at->fill);
            ck_assert_uint_eq(at->memory[at->size / 2], at->fill);
            ck_assert_uint_eq(at->memory[at->size - 1], at->fill);
            firn_pool_free(at->memory, at->size);
        }
        at->size = 262145 + step(&state) % 3000000;
        at->fill = (unsigned char)i;
        at->memory = firn_pool_alloc(pool, at->size);
        ck_assert_ptr_nonnull(at->memory);
        at->memory[0] = at->memory[at->size / 2] = at->memory[at->size - 1] = at->fill;
        firn_pool_get_stats(pool, &stats);
        ck_assert_uint_ge(stats.mapped_bytes, stats.charge_bytes);
        ck_assert_uint_le(stats.mapped_bytes, stats.charge_bytes + SPARE_MAX);
        kept = kept || stats.mapped_bytes > stats.charge_bytes;
    }
    ck_assert(kept);
    for (unsigned i = 0; i < LIVE; i++) {
        if (live[i].memory != NULL) {
            firn_pool_free(live[i].memory, live[i].size);
        }
    }
    firn_pool_close(pool);
    firn_heap_unref(heap);
}
END_TEST

START_TEST(threads_share_it_and_blocks_outlive_its_owner) {
    ledger counts = {.refuse_every = 0};
    firn_allocator allocator = {ledger_alloc, ledger_free, &counts};
    firn_heap *heap = firn_heap_new(&allocator);
    crowd self = {.pool = firn_pool_new(heap, 512 << 20, 1)}; /* large enough for stripes */
    firn_heap_unref(heap);
    pthread_t threads[3];
    for (unsigned i = 0; i < 3; i++) {
        pthread_create(&threads[i], NULL, worker, &self);
    }
    for (unsigned i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    ck_assert_uint_eq(atomic_load(&self.failures), 0);
    firn_pool_close(self.pool);
    ck_assert_uint_gt(counts.live_bytes, 0);
    pthread_create(&threads[0], NULL, free_last, &self);
    pthread_join(threads[0], NULL);
    ck_assert_uint_eq(counts.live_bytes, 0);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, a_block_counts_for_little_more_than_was_asked_for);
    tcase_add_test(tcase, blocks_of_all_sizes_keep_their_contents);
    tcase_add_test(tcase, all_of_a_users_memory_comes_back_also_when_some_is_refused);
    tcase_add_test(tcase, mapped_memory_stays_near_the_charges_when_the_mix_of_sizes_shifts);
    tcase_add_test(tcase, large_blocks_take_the_place_of_those_that_went);
    tcase_add_test(tcase, threads_share_it_and_blocks_outlive_its_owner);
}

int main(void) {
    return run_suite("pool", add, 300);
}
