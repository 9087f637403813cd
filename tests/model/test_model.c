/* The whole cache against a trivial reference: the same random operations on both, tiers so small
 * that everything moves, with restarts.
 *
 * A cache may forget, so the reference says what a value may be, not that it is there: the last
 * value put under the key that was not deleted or expired since. Whatever else comes back is a bug.
 * And with a cold tier that is large enough nothing may be missing at all: then the reference is
 * exact. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <firn/firn.h>

#include "unit/suite.h"
#include "unit/support.h"

enum { KEYS = 300, VALUE_MAX = 40000 };

typedef struct expected {
    bool there;
    uint64_t salt; /* which value it is */
    size_t size;
    uint64_t expires_ms; /* 0: never */
} expected;

typedef struct world {
    firn_cache *cache;
    const char *path;
    firn_options options;
    expected entries[KEYS];
    uint64_t seed;
    bool exact; /* nothing may be missing */
    uint64_t hits;
    uint64_t misses;
    uint64_t lost; /* entries that should be there, and were not */
    uint64_t demotions_refused;
    uint64_t admissions_refused;
} world;

static uint64_t now_ms;

static uint64_t test_clock(void *context) {
    (void)context;
    return now_ms;
}

static uint64_t next(world *self) {
    self->seed ^= self->seed << 13;
    self->seed ^= self->seed >> 7;
    self->seed ^= self->seed << 17;
    return self->seed;
}

static size_t key_of(unsigned number, char *key) {
    int size =
        snprintf(key, 64, "%s%u", number % 3 == 0 ? "a/rather/longer/name/of/" : "k", number);
    return (size_t)size;
}

static void fill(unsigned char *value, size_t size, uint64_t salt) {
    for (size_t i = 0; i < size; i++) {
        /* half of the values compress well */
        value[i] = (unsigned char)(salt % 2 == 0 ? salt + i / 64 : (salt * (i + 7)) >> 11);
    }
}

static void check_value(world *self, unsigned number, const firn_object *object) {
    static unsigned char value[VALUE_MAX];
    const expected *want = &self->entries[number];
    ck_assert_msg(want->there, "key %u came back though it is gone", number);
    ck_assert_msg(want->expires_ms == 0 || want->expires_ms > now_ms, "key %u has expired", number);
    ck_assert_uint_eq(firn_object_size(object), want->size);
    fill(value, want->size, want->salt);
    ck_assert_msg(memcmp(value, firn_object_data(object), want->size) == 0,
                  "key %u has an old or wrong value", number);
}

static bool is_expected(const expected *want) {
    return want->there && (want->expires_ms == 0 || want->expires_ms > now_ms);
}

static void do_get(world *self, unsigned number) {
    char key[64];
    size_t key_size = key_of(number, key);
    firn_object *object;
    int result = firn_get(self->cache, key, key_size, &object);
    if (result == FIRN_OK) {
        check_value(self, number, object);
        firn_object_unref(object);
        self->hits++;
        return;
    }
    ck_assert_int_eq(result, FIRN_NOT_FOUND);
    ck_assert_msg(!self->exact || !is_expected(&self->entries[number]), "key %u is lost", number);
    self->misses++;
    if (is_expected(&self->entries[number])) {
        self->lost++;
        self->entries[number].there = false; /* and it is not to come back */
    }
}

static size_t random_size(world *self) {
    uint64_t dice = next(self) % 100;
    return dice < 5    ? 0
           : dice < 80 ? next(self) % 400
           : dice < 97 ? next(self) % 4000
                       : next(self) % VALUE_MAX;
}

static void do_put(world *self, unsigned number) {
    static unsigned char value[VALUE_MAX];
    char key[64];
    size_t key_size = key_of(number, key);
    expected *want = &self->entries[number];
    *want = (expected){true, next(self), random_size(self), 0};
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    if (next(self) % 5 == 0) {
        options.ttl_ms = 1 + next(self) % 500;
        want->expires_ms = now_ms + options.ttl_ms;
    }
    fill(value, want->size, want->salt);
    ck_assert_int_eq(firn_put(self->cache, key, key_size, value, want->size, &options), FIRN_OK);
}

static void do_delete(world *self, unsigned number) {
    char key[64];
    size_t key_size = key_of(number, key);
    int result = firn_delete(self->cache, key, key_size);
    bool expected_there = is_expected(&self->entries[number]);
    ck_assert_msg(result == FIRN_NOT_FOUND || (result == FIRN_OK && expected_there),
                  "delete of %u gave %d", number, result);
    ck_assert_msg(!self->exact || (result == FIRN_OK) == expected_there, "delete of %u gave %d",
                  number, result);
    self->entries[number].there = false;
}

static void do_contains(world *self, unsigned number) {
    char key[64];
    size_t key_size = key_of(number, key);
    int result = firn_contains(self->cache, key, key_size);
    bool expected_there = is_expected(&self->entries[number]);
    ck_assert_msg(result == FIRN_NOT_FOUND || (result == FIRN_OK && expected_there),
                  "contains of %u gave %d", number, result);
    ck_assert(!self->exact || (result == FIRN_OK) == expected_there);
}

static void open_world(world *self) {
    self->cache = open_with(self->path, &self->options);
}

static void note_refusals(world *self) {
    firn_stats stats = FIRN_STATS_INIT;
    ck_assert_int_eq(firn_get_stats(self->cache, &stats), FIRN_OK);
    self->demotions_refused += stats.demotions_refused;
    self->admissions_refused += stats.admissions_refused;
}

static void restart(world *self) {
    note_refusals(self);
    ck_assert_int_eq(firn_close(self->cache), FIRN_OK);
    open_world(self);
}

static void check_budgets(world *self) {
    firn_stats stats = FIRN_STATS_INIT;
    ck_assert_int_eq(firn_get_stats(self->cache, &stats), FIRN_OK);
    ck_assert_msg(stats.hot_bytes <= stats.hot_bytes_max + VALUE_MAX + 256,
                  "%s, %s, %s, %s: %llu bytes of %llu are held", self->options.hot_policy,
                  self->options.admission, self->options.demotion, self->options.promotion,
                  (unsigned long long)stats.hot_bytes, (unsigned long long)stats.hot_bytes_max);
    char why[512] = "";
    (void)firn_last_message(self->cache, why, sizeof why);
    ck_assert_msg(stats.damaged == 0, "%s", why);
    ck_assert_uint_eq(stats.write_errors, 0);
    ck_assert_uint_eq(stats.gets, stats.hot_hits + stats.cold_hits + stats.misses);
    if (self->path != NULL) {
        ck_assert_uint_le(file_size(self->path, "data.mdb"), self->options.cold_bytes);
    }
}

static void step(world *self) {
    unsigned number = (unsigned)(next(self) % KEYS);
    uint64_t dice = next(self) % 1000;
    if (dice < 400) {
        do_get(self, number);
    } else if (dice < 750) {
        do_put(self, number);
    } else if (dice < 860) {
        do_delete(self, number);
    } else if (dice < 950) {
        do_contains(self, number);
    } else if (dice < 980) {
        now_ms += next(self) % 100;
    } else if (dice < 990 && self->options.threads == 0) {
        ck_assert_int_ge(firn_run(self->cache, 2), 0);
    } else if (dice < 995) {
        ck_assert_int_eq(firn_flush(self->cache), FIRN_OK);
    } else if (dice < 997 && self->path != NULL) {
        restart(self);
    }
    if (dice % 50 == 0) {
        check_budgets(self);
    }
}

static void live(world *self, unsigned steps) {
    now_ms = 1000000;
    self->options.clock.now_ms = test_clock;
    open_world(self);
    for (unsigned i = 0; i < steps; i++) {
        step(self);
    }
    ck_assert_uint_gt(self->hits, 0);
    for (unsigned i = 0; i < KEYS; i++) {
        do_get(self, i);
    }
    note_refusals(self);
    ck_assert_int_eq(firn_close(self->cache), FIRN_OK);
}

/* Every combination of modes, a few seeds each. */
static void all_modes(uint64_t hot_bytes, uint64_t cold_bytes, bool exact, const char *name) {
    for (unsigned i = 0; i < 24; i++) {
        char *path = scratch_path(name);
        world self = {.path = path,
                      .options = FIRN_OPTIONS_INIT,
                      .seed = 88172645463325252u + i,
                      .exact = exact};
        self.options.hot_bytes = hot_bytes;
        self.options.cold_bytes = cold_bytes;
        self.options.write_mode = i % 3;
        self.options.threads = i / 3 % 2;
        self.options.promotion = firn_tier_policy_name(FIRN_PROMOTION, i / 6 % 2);
        self.options.hot_policy = firn_policy_name(i / 12);
        self.options.backpressure = exact ? FIRN_BACKPRESSURE_WRITE : i % 2;
        self.options.durability = i % 2 == 0 ? FIRN_DURABILITY_NONE : FIRN_DURABILITY_PERIODIC;
        self.options.write_behind_ms = 1;
        self.options.shards = 2;
        live(&self, 4000);
        remove_tree(path);
    }
}

START_TEST(with_room_below_nothing_is_ever_lost) {
    all_modes(64 << 10, 64 << 20, true, "model-roomy");
}
END_TEST

START_TEST(with_both_tiers_full_nothing_stale_is_ever_seen) {
    all_modes(64 << 10, 1 << 20, false, "model-full");
}
END_TEST

START_TEST(a_disk_cache_agrees_too) {
    all_modes(0, 64 << 20, true, "model-disk");
}
END_TEST

/* With room below, only what a policy refused may be lost, each time it is counted. */
START_TEST(what_policies_refuse_is_counted_and_nothing_stale_is_seen) {
    enum { ADMISSIONS = 3, DEMOTIONS = 5, PROMOTIONS = 3 };
    uint64_t refused = 0;
    uint64_t unadmitted = 0;
    uint64_t lost = 0;
    for (unsigned i = 0; i < ADMISSIONS * DEMOTIONS * PROMOTIONS; i++) {
        char *path = scratch_path("model-movers");
        world self = {.path = path, .options = FIRN_OPTIONS_INIT, .seed = 1181783497u + i};
        self.options.admission = firn_tier_policy_name(FIRN_ADMISSION, i % ADMISSIONS);
        self.options.demotion = firn_tier_policy_name(FIRN_DEMOTION, i / ADMISSIONS % DEMOTIONS);
        self.options.promotion = firn_tier_policy_name(FIRN_PROMOTION, i / ADMISSIONS / DEMOTIONS);
        self.options.demotion_rate = 20000;
        self.options.hot_bytes = 64 << 10;
        self.options.cold_bytes = 64 << 20;
        self.options.threads = i % 2;
        self.options.shards = 1u << i % 2;
        self.options.hot_policy =
            firn_policy_name(i % 8); /* all but auto, whose simulations want more memory */
        self.options.filter_bytes = i % 7 == 0 ? FIRN_FILTER_OFF : 0;
        live(&self, 2500);
        ck_assert_msg(self.lost <= self.demotions_refused, "%s, %s, %s: %llu lost",
                      self.options.admission, self.options.demotion, self.options.promotion,
                      (unsigned long long)self.lost);
        refused += self.demotions_refused;
        unadmitted += self.admissions_refused;
        lost += self.lost;
        remove_tree(path);
    }
    ck_assert_uint_gt(refused, 0);
    ck_assert_uint_gt(unadmitted, 0);
    ck_assert_uint_gt(lost, 0);
    ck_assert_ptr_null(firn_tier_policy_name(FIRN_ADMISSION, ADMISSIONS));
    ck_assert_ptr_null(firn_tier_policy_name(FIRN_DEMOTION, DEMOTIONS));
    ck_assert_ptr_null(firn_tier_policy_name(FIRN_PROMOTION, PROMOTIONS));
}
END_TEST

START_TEST(memory_alone_agrees_too) {
    for (unsigned i = 0; i < 6; i++) {
        world self = {.path = NULL, .options = FIRN_OPTIONS_INIT, .seed = 1234567 + i};
        self.options.hot_bytes = 256 << 10;
        self.options.hot_policy = firn_policy_name(i % 2);
        self.options.shards = 1u << i % 3;
        live(&self, 20000);
    }
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, with_room_below_nothing_is_ever_lost);
    tcase_add_test(tcase, with_both_tiers_full_nothing_stale_is_ever_seen);
    tcase_add_test(tcase, a_disk_cache_agrees_too);
    tcase_add_test(tcase, what_policies_refuse_is_counted_and_nothing_stale_is_seen);
    tcase_add_test(tcase, memory_alone_agrees_too);
}

int main(void) {
    return run_suite("model", add, 600);
}
