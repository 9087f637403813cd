/* The lock-free table: against a trivial model, through growth and shrinking, without memory, and
 * with readers that look while a writer changes it. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "hot/table.h"
#include "unit/suite.h"

enum { SEED = 42 };

typedef struct rig {
    firn_heap *heap;
    firn_pool *pool;
    firn_segments segments;
    firn_table table;
    bool refuse; /* the allocator gives nothing */
} rig;

static void *rig_alloc(void *context, size_t size) {
    return ((rig *)context)->refuse ? NULL : malloc(size);
}

static void rig_free(void *context, void *memory, size_t size) {
    (void)context;
    (void)size;
    free(memory);
}

static void rig_open(rig *self) {
    memset(self, 0, sizeof *self);
    firn_allocator allocator = {rig_alloc, rig_free, self};
    self->heap = firn_heap_new(&allocator);
    self->pool = firn_pool_new(self->heap, 64 << 20, SEED);
    ck_assert_int_eq(firn_segments_init(&self->segments, self->heap, 1 << 20), 0);
    ck_assert_int_eq(firn_table_init(&self->table, self->heap, &self->segments), FIRN_OK);
}

static void rig_close(rig *self) {
    firn_table_fini(&self->table);
    firn_segments_fini(&self->segments);
    firn_pool_stats stats;
    firn_pool_get_stats(self->pool, &stats);
    ck_assert_uint_eq(stats.charge_bytes, 0); /* every reference was given back, exactly once */
    firn_pool_close(self->pool);
    firn_heap_unref(self->heap);
}

static uint64_t hash_of(uint64_t number) {
    return firn_hash64(SEED, &number, sizeof number);
}

static firn_object *make(rig *self, uint64_t number, uint64_t version) {
    firn_object *object =
        firn_object_make(self->pool, &number, sizeof number, sizeof version, NULL);
    ck_assert_ptr_nonnull(object);
    memcpy(firn_object_body(object), &version, sizeof version);
    firn_object_set_version(object, version);
    return object;
}

static int put(rig *self, uint64_t number, uint64_t version) {
    uint64_t hash = hash_of(number);
    firn_object *old = firn_table_find(&self->table, hash, &number, sizeof number);
    int result = old == NULL ? firn_table_reserve(&self->table, hash) : FIRN_OK;
    if (result == FIRN_OK) {
        firn_object *object = make(self, number, version);
        if (old != NULL) {
            firn_table_replace(&self->table, hash, old, object);
            firn_object_unref(old);
        } else {
            firn_table_insert(&self->table, hash, object);
        }
        firn_object_unref(object);
    }
    return result;
}

static void take_out(rig *self, uint64_t number) {
    uint64_t hash = hash_of(number);
    firn_object *old = firn_table_find(&self->table, hash, &number, sizeof number);
    ck_assert_ptr_nonnull(old);
    firn_table_remove(&self->table, hash, old);
    firn_object_unref(old);
}

/* The version a reader finds; 0: none. */
static uint64_t version_of(rig *self, uint64_t number) {
    firn_object *object = firn_table_get(&self->table, hash_of(number), &number, sizeof number);
    uint64_t version = object != NULL ? firn_object_version(object) : 0;
    firn_object_unref(object);
    return version;
}

static uint64_t step(uint64_t *state) {
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return *state >> 33;
}

static void count_visit(void *context, firn_object *object) {
    (void)object;
    ++*(size_t *)context;
}

START_TEST(it_holds_what_a_trivial_model_holds_as_it_grows_and_shrinks) {
    rig self;
    rig_open(&self);
    enum { NUMBERS = 60000 };
    uint64_t *model = calloc(NUMBERS, sizeof *model);
    uint64_t state = 1;
    uint64_t version = 0;
    size_t largest = 0;
    /* Waves: filling, then emptying, several times. */
    for (unsigned wave = 0; wave < 6; wave++) {
        for (unsigned i = 0; i < NUMBERS; i++) {
            uint64_t number = step(&state) % NUMBERS;
            bool puts = step(&state) % 16 < (wave % 2 == 0 ? 13 : 2);
            if (puts) {
                model[number] = ++version;
                ck_assert_int_eq(put(&self, number, version), FIRN_OK);
            } else if (model[number] != 0) {
                take_out(&self, number);
                model[number] = 0;
            }
            uint64_t other = step(&state) % NUMBERS;
            ck_assert_uint_eq(version_of(&self, other), model[other]);
        }
        size_t there = 0;
        for (uint64_t number = 0; number < NUMBERS; number++) {
            there += model[number] != 0;
            ck_assert_uint_eq(version_of(&self, number), model[number]);
            const firn_object *by_hash =
                firn_table_find_hash(&self.table, hash_of(number), model[number]);
            ck_assert_int_eq(by_hash != NULL, model[number] != 0);
        }
        ck_assert_uint_eq(self.table.count, there);
        size_t seen = 0;
        size_t position = 0;
        while (!firn_table_sweep(&self.table, &position, 100, count_visit, &seen)) {
        }
        ck_assert_uint_eq(seen, there);
        largest = there > largest ? there : largest;
        /* At most 24 bytes an entry at the worst moment, and what a small table takes. */
        ck_assert_uint_le(atomic_load(&self.table.bytes), largest * 24 + 65536);
    }
    free(model);
    rig_close(&self);
}
END_TEST

START_TEST(it_shrinks_when_most_is_gone) {
    rig self;
    rig_open(&self);
    enum { NUMBERS = 100000, KEPT = 1000 };
    for (uint64_t number = 0; number < NUMBERS; number++) {
        ck_assert_int_eq(put(&self, number, 1), FIRN_OK);
    }
    size_t full = atomic_load(&self.table.bytes);
    ck_assert_uint_le(full, NUMBERS * 15);
    for (uint64_t number = KEPT; number < NUMBERS; number++) {
        take_out(&self, number);
    }
    ck_assert_uint_lt(atomic_load(&self.table.bytes), full / 4);
    for (uint64_t number = 0; number < KEPT; number++) {
        ck_assert_uint_eq(version_of(&self, number), 1);
    }
    rig_close(&self);
}
END_TEST

START_TEST(without_memory_it_refuses_and_keeps_what_it_has) {
    rig self;
    rig_open(&self);
    uint64_t number = 0;
    while (number < 20000) {
        /* Objects need memory too: only the table's own is refused, some of the time. */
        uint64_t hash = hash_of(number);
        firn_object *object = make(&self, number, 1);
        self.refuse = number % 3 != 0;
        int result = firn_table_reserve(&self.table, hash);
        self.refuse = false;
        if (result == FIRN_OK) {
            firn_table_insert(&self.table, hash, object);
            number++;
        } else {
            ck_assert_int_eq(result, FIRN_ENOMEM);
            ck_assert_int_eq(firn_table_reserve(&self.table, hash), FIRN_OK);
            firn_table_insert(&self.table, hash, object);
            number++;
        }
        firn_object_unref(object);
    }
    for (uint64_t n = 0; n < number; n++) {
        ck_assert_uint_eq(version_of(&self, n), 1);
    }
    rig_close(&self);
}
END_TEST

START_TEST(equal_hashes_are_told_apart_by_key) {
    rig self;
    rig_open(&self);
    enum { KEYS = 90 }; /* more than a bucket, all at one home with one tag */
    for (uint64_t number = 0; number < KEYS; number++) {
        firn_object *object = make(&self, number, number + 1);
        ck_assert_int_eq(firn_table_reserve(&self.table, 77), FIRN_OK);
        firn_table_insert(&self.table, 77, object);
        firn_object_unref(object);
    }
    for (uint64_t number = 0; number < KEYS; number++) {
        firn_object *found = firn_table_get(&self.table, 77, &number, sizeof number);
        ck_assert_ptr_nonnull(found);
        ck_assert_uint_eq(firn_object_version(found), number + 1);
        ck_assert(firn_table_holds(&self.table, 77, found));
        firn_object_unref(found);
    }
    for (uint64_t number = 0; number < KEYS; number++) {
        firn_object *found = firn_table_find(&self.table, 77, &number, sizeof number);
        firn_table_remove(&self.table, 77, found);
        ck_assert(!firn_table_holds(&self.table, 77, found));
        firn_object_unref(found);
    }
    rig_close(&self);
}
END_TEST

START_TEST(a_slots_count_of_readers_is_brought_over_before_it_is_full) {
    rig self;
    rig_open(&self);
    uint64_t number = 5;
    ck_assert_int_eq(put(&self, number, 1), FIRN_OK);
    /* Held and released: the slot's count sees two million readers, which is twice what fits. */
    enum { HELD = 1 << 20 };
    firn_object *object = NULL;
    for (unsigned i = 0; i < HELD; i++) {
        object = firn_table_get(&self.table, hash_of(number), &number, sizeof number);
        ck_assert_ptr_nonnull(object);
    }
    for (unsigned i = 0; i < HELD; i++) {
        ck_assert_uint_eq(version_of(&self, number), 1);
    }
    take_out(&self, number);
    ck_assert_uint_eq(version_of(&self, number), 0);
    for (unsigned i = 0; i < HELD; i++) {
        ck_assert_uint_eq(firn_object_version(object), 1); /* alive to the last */
        firn_object_unref(object);
    }
    rig_close(&self);
}
END_TEST

START_TEST(references_that_readers_took_go_along_when_an_entry_moves) {
    rig self;
    rig_open(&self);
    /* Few are brought to the new slot's count, many to the object's. */
    const unsigned held[] = {0, 1, 100, 9000, 16000};
    enum { ENTRIES = sizeof held / sizeof held[0], OTHERS = 20000 };
    firn_object *objects[ENTRIES] = {NULL};
    for (uint64_t number = 0; number < ENTRIES; number++) {
        ck_assert_int_eq(put(&self, number, number + 1), FIRN_OK);
    }
    /* Twice over, so that counts are there when the table grows and when it shrinks. */
    for (unsigned round = 0; round < 2; round++) {
        for (uint64_t number = 0; number < ENTRIES; number++) {
            for (unsigned i = 0; i < held[number]; i++) {
                objects[number] =
                    firn_table_get(&self.table, hash_of(number), &number, sizeof number);
                ck_assert_ptr_nonnull(objects[number]);
            }
        }
        for (uint64_t number = ENTRIES; number < OTHERS; number++) {
            ck_assert_int_eq(put(&self, number, 1), FIRN_OK);
        }
        for (uint64_t number = ENTRIES; number < OTHERS; number++) {
            take_out(&self, number);
        }
    }
    for (uint64_t number = 0; number < ENTRIES; number++) {
        ck_assert_uint_eq(version_of(&self, number), number + 1);
        take_out(&self, number);
        for (unsigned i = 0; i < 2 * held[number]; i++) {
            ck_assert_uint_eq(firn_object_version(objects[number]), number + 1);
            firn_object_unref(objects[number]);
        }
    }
    rig_close(&self);
}
END_TEST

enum { KEYS = 4096, ALWAYS = 512 };

typedef struct race {
    rig *rig;
    atomic_bool stop;
    atomic_uint_fast64_t reads;
    atomic_uint failures;
} race;

/* Keys below ALWAYS are never out of the table; what a reader finds has the right key, a value that
 * agrees with its version, and a version not below one it has seen. */
static void *reader(void *context) {
    race *self = context;
    uint64_t seen[ALWAYS] = {0};
    uint64_t state = (uint64_t)(uintptr_t)&seen;
    uint64_t reads = 0;
    while (!atomic_load_explicit(&self->stop, memory_order_relaxed)) {
        uint64_t number = step(&state) % KEYS;
        firn_object *object =
            firn_table_get(&self->rig->table, hash_of(number), &number, sizeof number);
        bool wrong = object == NULL && number < ALWAYS;
        if (object != NULL) {
            uint64_t value;
            memcpy(&value, firn_object_data(object), sizeof value);
            wrong = !firn_object_has_key(object, &number, sizeof number) ||
                    value != firn_object_version(object) ||
                    (number < ALWAYS && value < seen[number]);
            if (number < ALWAYS) {
                seen[number] = value;
            }
            firn_object_unref(object);
        }
        if (wrong) {
            atomic_fetch_add(&self->failures, 1);
        }
        reads++;
    }
    atomic_fetch_add(&self->reads, reads);
    return NULL;
}

START_TEST(readers_find_all_that_is_there_while_it_grows_and_shrinks) {
    rig self;
    rig_open(&self);
    uint64_t version = 0;
    for (uint64_t number = 0; number < ALWAYS; number++) {
        ck_assert_int_eq(put(&self, number, ++version), FIRN_OK);
    }
    race readers = {.rig = &self};
    pthread_t threads[2];
    for (unsigned i = 0; i < 2; i++) {
        pthread_create(&threads[i], NULL, reader, &readers);
    }
    uint64_t state = 99;
    for (unsigned round = 0; round < 4; round++) {
        /* Up: the table grows many times over, while what is always there is overwritten. */
        for (uint64_t number = ALWAYS; number < 12 * KEYS; number++) {
            ck_assert_int_eq(put(&self, number, ++version), FIRN_OK);
            ck_assert_int_eq(put(&self, step(&state) % ALWAYS, ++version), FIRN_OK);
        }
        for (uint64_t number = ALWAYS; number < 12 * KEYS; number++) {
            take_out(&self, number);
        }
    }
    atomic_store(&readers.stop, true);
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    ck_assert_uint_eq(atomic_load(&readers.failures), 0);
    ck_assert_uint_gt(atomic_load(&readers.reads), 0);
    rig_close(&self);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, it_holds_what_a_trivial_model_holds_as_it_grows_and_shrinks);
    tcase_add_test(tcase, it_shrinks_when_most_is_gone);
    tcase_add_test(tcase, references_that_readers_took_go_along_when_an_entry_moves);
    tcase_add_test(tcase, without_memory_it_refuses_and_keeps_what_it_has);
    tcase_add_test(tcase, equal_hashes_are_told_apart_by_key);
    tcase_add_test(tcase, a_slots_count_of_readers_is_brought_over_before_it_is_full);
    tcase_add_test(tcase, readers_find_all_that_is_there_while_it_grows_and_shrinks);
}

int main(void) {
    return run_suite("table", add, 300);
}
