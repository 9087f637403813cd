/* A stored index that has no room left, whatever is tried: the store begins anew, empty, goes on,
 * and tells that all is gone. */
#include "base/hash.h"
#include "cold/cold.h"
#include "cold/cold_internal.h"
#include "cold/index.h"
#include "unit/suite.h"
#include "unit/support.h"

enum { MIB = 1024 * 1024, VALUE = 3000, ATTEMPTS = 8 };

static char *path;
static firn_heap *heap;
static firn_detail detail;
static firn_cold *cold;
static uint64_t version;
static unsigned full_commits; /* still to come */
static unsigned told_of_all;

/* The linker puts these two in place of the one. */
int __real_firn_index_commit(firn_index *index);
int __wrap_firn_index_commit(firn_index *index);

int __wrap_firn_index_commit(firn_index *index) {
    if (full_commits == 0) {
        return __real_firn_index_commit(index);
    }
    full_commits--;
    firn_index_abort(index);
    return FIRN_BACKEND_FULL;
}

static void note_reclaimed(void *context, uint64_t hash, uint64_t of) {
    (void)context;
    (void)hash;
    told_of_all += of == 0;
}

static void open_it(void) {
    firn_cold_config config = {
        .path = path,
        .heap = heap,
        .detail = &detail,
        .budget_bytes = 4 * MIB,
        .compression_level = FIRN_COMPRESSION_OFF,
        .reclaimed = note_reclaimed,
        .durability = FIRN_DURABILITY_NONE,
    };
    ck_assert_int_eq(firn_cold_open(&cold, &config), FIRN_OK);
    version = firn_cold_version_next(cold);
}

static void set_up(void) {
    path = scratch_path("full-index");
    heap = firn_heap_new(NULL);
    ck_assert_int_eq(firn_detail_init(&detail), 0);
    told_of_all = 0;
    open_it();
}

static void tear_down(void) {
    firn_cold_close(cold, false);
    firn_detail_fini(&detail);
    firn_heap_unref(heap);
    remove_tree(path);
}

static uint64_t hash_of(const unsigned *number) {
    return firn_hash64(firn_cold_seed(cold), number, sizeof *number);
}

static void put(unsigned number) {
    unsigned char value[VALUE];
    memset(value, (int)number, sizeof value);
    firn_cold_item item = {
        .hash = hash_of(&number),
        .version = version++,
        .key = &number,
        .key_size = sizeof number,
        .value = value,
        .value_size = sizeof value,
    };
    ck_assert_int_eq(firn_cold_write(cold, &item, 1, version), FIRN_OK);
    ck_assert_int_eq(item.result, FIRN_OK);
}

static bool is_there(unsigned number) {
    int result = firn_cold_read(cold, hash_of(&number), &number, sizeof number, NULL, NULL, NULL);
    ck_assert(result == FIRN_OK || result == FIRN_NOT_FOUND);
    return result == FIRN_OK;
}

static unsigned count(unsigned to) {
    unsigned there = 0;
    for (unsigned i = 0; i < to; i++) {
        there += is_there(i);
    }
    return there;
}

static uint64_t entries(void) {
    firn_cold_stats stats;
    firn_cold_get_stats(cold, &stats);
    ck_assert_uint_eq(stats.damaged, 0);
    return stats.entries;
}

/* Goes on, is killed, and goes on. */
static void go_on(unsigned from) {
    for (unsigned i = from; i < from + 20; i++) {
        put(i);
        ck_assert(is_there(i));
    }
    ck_assert_uint_eq(entries(), count(from + 20));
    firn_cold_close(cold, false);
    open_it();
    ck_assert_uint_eq(entries(), count(from + 20));
    for (unsigned i = from; i < from + 20; i++) {
        ck_assert(is_there(i));
    }
    for (unsigned i = from + 20; i < from + 3000; i++) { /* more than once round */
        put(i);
        ck_assert(is_there(i));
    }
    ck_assert_uint_eq(entries(), count(from + 3000));
}

START_TEST(met_when_the_oldest_part_is_to_go) {
    unsigned n = 0;
    while (cold->ops->room(cold->backend, false) > 50 * VALUE) {
        put(n++);
    }
    full_commits = ATTEMPTS;
    while (full_commits > 0) {
        put(n++);
    }
    ck_assert_uint_eq(told_of_all, 1);
    ck_assert(is_there(n - 1));
    go_on(n);
}
END_TEST

START_TEST(met_when_a_checkpoint_is_made) {
    for (unsigned i = 0; i < 100; i++) {
        put(i);
    }
    full_commits = ATTEMPTS;
    ck_assert_int_eq(firn_cold_conclude(cold), FIRN_OK);
    ck_assert_uint_eq(full_commits, 0);
    ck_assert_uint_eq(count(100), 0);
    put(100);
    ck_assert_uint_eq(told_of_all, 1);
    go_on(101);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, met_when_the_oldest_part_is_to_go);
    tcase_add_test(tcase, met_when_a_checkpoint_is_made);
}

int main(void) {
    return run_suite("full_index", add, 120);
}
