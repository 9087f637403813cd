/* What moves between the tiers: each policy by itself, and what the cache makes of their answers.
 */
#include <stdbool.h>
#include <string.h>

#include <zstd.h>

#include <firn/firn.h>

#include "base/compressible.h"
#include "base/recent.h"
#include "tier/policy/policies.h"
#include "unit/entries.h"
#include "unit/never.h"
#include "unit/suite.h"
#include "unit/support.h"

/* ---- a policy by itself ---- */

static void *host_alloc(const firn_tier_host *host, size_t size) {
    *(size_t *)host->context += size;
    return calloc(1, size);
}

static void host_free(const firn_tier_host *host, void *memory, size_t size) {
    if (memory != NULL) {
        *(size_t *)host->context -= size;
    }
    free(memory);
}

typedef struct bench {
    const firn_tier_policy *policy;
    firn_tier_host host;
    size_t held; /* bytes */
    void *state;
} bench;

static void bench_open(bench *self, unsigned question, const char *name) {
    *self = (bench){.policy = firn_tier_policy_by_name(question, name)};
    ck_assert_ptr_nonnull(self->policy);
    self->host = (firn_tier_host){.size = sizeof self->host,
                                  .hot_bytes = 1 << 20,
                                  .cold_bytes = 8 << 20,
                                  .demotion_rate = 100000,
                                  .promotion_hits = 3,
                                  .alloc = host_alloc,
                                  .free = host_free,
                                  .context = &self->held};
    self->state = calloc(1, self->policy->state_size + 1);
    ck_assert_ptr_nonnull(self->state);
    if (self->policy->init != NULL) {
        ck_assert_int_eq(self->policy->init(self->state, &self->host), FIRN_OK);
    }
}

static void bench_close(bench *self) {
    if (self->policy->fini != NULL) {
        self->policy->fini(self->state);
    }
    ck_assert_uint_eq(self->held, 0);
    free(self->state);
}

static bool ask(bench *self, const firn_candidate *candidate) {
    return self->policy->admits(self->state, candidate) != 0;
}

/* A hash for each number, all bits of it. */
static uint64_t hash_of(uint64_t number) {
    number = (number + 1) * UINT64_C(0x9e3779b97f4a7c15);
    number = (number ^ number >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    return number ^ number >> 31;
}

START_TEST(ghosts_count_and_the_oldest_give_way) {
    uint32_t memory[2 * FIRN_RECENT_LINE] = {0};
    firn_recent recent = {memory, 2};
    ck_assert_uint_eq(firn_recent_meet(&recent, hash_of(1)), 1);
    ck_assert_uint_eq(firn_recent_meet(&recent, hash_of(1)), 2);
    ck_assert_uint_eq(firn_recent_meet(&recent, hash_of(2)), 1);
    firn_recent_forget(&recent, hash_of(1));
    firn_recent_forget(&recent, hash_of(3)); /* is not there */
    ck_assert_uint_eq(firn_recent_meet(&recent, hash_of(1)), 1);
    for (unsigned i = 0; i < 1000; i++) {
        firn_recent_meet(&recent, hash_of(100 + i));
        firn_recent_meet(&recent, hash_of(1)); /* who is met goes on being remembered */
    }
    ck_assert_uint_eq(firn_recent_meet(&recent, hash_of(1)), FIRN_RECENT_COUNT_MAX);
    ck_assert_uint_eq(firn_recent_meet(&recent, hash_of(2)), 1);
    firn_recent none = {NULL, 0};
    ck_assert_uint_eq(firn_recent_meet(&none, 5), 1);
    firn_recent_forget(&none, 5);
}
END_TEST

static void fill_random(unsigned char *bytes, size_t size) {
    uint64_t seed = 88172645463325252u;
    for (size_t i = 0; i < size; i++) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        bytes[i] = (unsigned char)(seed >> 24);
    }
}

static size_t zstd_size(const unsigned char *bytes, size_t size) {
    size_t room = ZSTD_compressBound(size);
    void *to = malloc(room);
    size_t made = ZSTD_compress(to, room, bytes, size, 3);
    free(to);
    ck_assert(!ZSTD_isError(made));
    return made;
}

START_TEST(how_small_a_value_becomes_is_guessed) {
    enum { SIZE = 20000 };
    static unsigned char bytes[SIZE];
    ck_assert_uint_eq(firn_compressible_size(bytes, 0), 0);
    ck_assert_uint_ge(firn_compressible_size(bytes, 1), 1);
    ck_assert_uint_lt(firn_compressible_size(bytes, SIZE), SIZE / 3);
    fill_random(bytes, SIZE);
    ck_assert_uint_gt(firn_compressible_size(bytes, SIZE), SIZE * 9 / 10);
    ck_assert_uint_le(firn_compressible_size(bytes, SIZE), SIZE);
    for (unsigned i = 0; i < SIZE; i++) { /* six bits of eight, and nothing repeats */
        bytes[i] = bytes[i] & 63;
    }
    uint64_t guess = firn_compressible_size(bytes, SIZE);
    uint64_t truth = zstd_size(bytes, SIZE);
    ck_assert_msg(guess * 4 > truth * 3 && guess * 3 < truth * 4, "%llu for %llu",
                  (unsigned long long)guess, (unsigned long long)truth);
    size_t used = 0;
    for (unsigned i = 0; used + 100 < SIZE; i++) { /* as a program writes records */
        used += (size_t)snprintf((char *)bytes + used, 100,
                                 "{\"id\":%u,\"name\":\"item-%u\",\"price\":%u,\"tags\":[\"a\"]}\n",
                                 i, i * 7919 % 1000, i * 104729 % 100000);
    }
    guess = firn_compressible_size(bytes, used);
    truth = zstd_size(bytes, used);
    ck_assert_msg(guess < used / 2 && guess < truth * 4, "%llu for %llu of %zu",
                  (unsigned long long)guess, (unsigned long long)truth, used);
}
END_TEST

START_TEST(reject_first_wants_what_comes_again) {
    bench self;
    bench_open(&self, FIRN_DEMOTION, "reject-first");
    ck_assert_uint_le(self.held, self.host.hot_bytes / 64);
    for (unsigned i = 0; i < 100; i++) {
        firn_candidate candidate = {.hash = hash_of(i)};
        ck_assert(!ask(&self, &candidate));
    }
    for (unsigned i = 0; i < 100; i++) {
        firn_candidate candidate = {.hash = hash_of(i)};
        ck_assert(ask(&self, &candidate));
    }
    bench_close(&self);
}
END_TEST

START_TEST(frequency_wants_what_was_seen_twice) {
    bench self;
    bench_open(&self, FIRN_DEMOTION, "frequency");
    firn_candidate candidate = {.frequency = 1};
    ck_assert(!ask(&self, &candidate));
    candidate.frequency = 2;
    ck_assert(ask(&self, &candidate));
    ck_assert_uint_ne(self.policy->wants & FIRN_WANTS_FREQUENCY, 0);
    bench_close(&self);
}
END_TEST

START_TEST(size_wants_what_is_small_for_its_worth) {
    bench self;
    bench_open(&self, FIRN_DEMOTION, "size");
    firn_candidate candidate = {.frequency = 1, .stored_size = 1000};
    for (unsigned i = 0; i < 100; i++) {
        ck_assert(ask(&self, &candidate));
    }
    candidate.stored_size = 8000;
    ck_assert(!ask(&self, &candidate));
    candidate.frequency = 9;
    ck_assert(ask(&self, &candidate));
    candidate.frequency = 1;
    candidate.stored_size = 100;
    candidate.cost_us = 500;
    for (unsigned i = 0; i < 1000; i++) {
        ck_assert(ask(&self, &candidate));
    }
    candidate.stored_size = 8000;
    ck_assert(!ask(&self, &candidate));
    candidate.cost_us = 500000;
    ck_assert(ask(&self, &candidate));
    bench_close(&self);
}
END_TEST

/* A second of evictions: each thousandth of the rate, one in four of them of a worth. Returns what
 * was let through, and how much of it was worth. */
static uint64_t offer(bench *self, uint64_t *now_ms, unsigned count, uint64_t *worthy) {
    uint64_t written = 0;
    for (unsigned i = 0; i < count; i++) {
        firn_candidate candidate = {.hash = hash_of(*now_ms * 1000 + i),
                                    .stored_size = self->host.demotion_rate / 1000,
                                    .frequency = i % 4 == 0 ? 8 : 1,
                                    .now_ms = *now_ms + i * UINT64_C(1000) / count};
        if (ask(self, &candidate)) {
            written += candidate.stored_size;
            *worthy += i % 4 == 0 ? candidate.stored_size : 0;
        }
    }
    *now_ms += 1000;
    return written;
}

START_TEST(a_budget_is_kept_to_and_spent_on_what_is_worth_most) {
    enum { SECONDS = 60 };
    bench self;
    bench_open(&self, FIRN_DEMOTION, "budget");
    uint64_t now_ms = 1000000;
    uint64_t worthy = 0;
    uint64_t rate = self.host.demotion_rate;
    for (unsigned i = 0; i < 10; i++) { /* half of it is offered: all goes */
        ck_assert_uint_eq(offer(&self, &now_ms, 500, &worthy), rate / 2);
    }
    uint64_t written = 0;
    for (unsigned i = 0; i < 10; i++) { /* what was saved is spent, and no more */
        written += offer(&self, &now_ms, 8000, &worthy);
    }
    ck_assert_uint_le(written, rate * 16);
    written = worthy = 0;
    for (unsigned i = 0; i < SECONDS; i++) { /* eight times as much as there is */
        written += offer(&self, &now_ms, 8000, &worthy);
    }
    ck_assert_msg(written > rate * SECONDS * 8 / 10 && written <= rate * (SECONDS + 5),
                  "%llu of %llu", (unsigned long long)written, (unsigned long long)rate * SECONDS);
    /* What is worth most is twice what there is. */
    ck_assert_msg(worthy > written * 9 / 10, "%llu of %llu", (unsigned long long)worthy,
                  (unsigned long long)written);
    for (unsigned i = 0; i < 20; i++) {
        self.policy->written(self.state, rate, now_ms + i * 1000);
        offer(&self, &now_ms, 8000, &worthy);
    }
    written = 0; /* a flush each second takes it all */
    for (unsigned i = 0; i < 10; i++) {
        self.policy->written(self.state, rate, now_ms);
        written += offer(&self, &now_ms, 8000, &worthy);
    }
    ck_assert_msg(written < rate * 3, "%llu", (unsigned long long)written);
    now_ms = 5000; /* the clock is set back */
    for (unsigned i = 0; i < 100; i++) {
        written += offer(&self, &now_ms, 500, &worthy);
    }
    ck_assert_uint_gt(written, rate * 40);
    bench_close(&self);
}
END_TEST

START_TEST(a_budget_pays_for_what_is_large_and_forgets_old_debts) {
    bench self;
    bench_open(&self, FIRN_DEMOTION, "budget");
    uint64_t rate = self.host.demotion_rate;
    firn_candidate large = {.hash = 1, .stored_size = rate * 8, .frequency = 1, .now_ms = 1000000};
    unsigned let_through = 0;
    for (unsigned i = 0; i < 20; i++) { /* one in eighty seconds: a tenth of the rate */
        large.now_ms += 80000;
        let_through += ask(&self, &large);
    }
    ck_assert_uint_ge(let_through, 19);
    uint64_t now_ms = large.now_ms;
    uint64_t worthy = 0;
    self.policy->written(self.state, rate * 100000, now_ms); /* a day's worth at once */
    uint64_t written = 0;
    for (unsigned i = 0; i < 30; i++) {
        written += offer(&self, &now_ms, 2000, &worthy);
    }
    ck_assert_uint_ge(written, rate * 15);
    bench_close(&self);
}
END_TEST

START_TEST(the_kth_hit_is_counted_and_begun_anew) {
    bench self;
    bench_open(&self, FIRN_PROMOTION, "kth-hit");
    firn_candidate candidate = {.hash = hash_of(7)};
    for (unsigned i = 0; i < 3; i++) {
        ck_assert(!ask(&self, &candidate));
        ck_assert(!ask(&self, &candidate));
        ck_assert(ask(&self, &candidate));
    }
    bench_close(&self);
}
END_TEST

START_TEST(gain_compares_with_what_has_to_go) {
    bench self;
    bench_open(&self, FIRN_PROMOTION, "gain");
    firn_candidate candidate = {.frequency = 1, .charge = 1000};
    ck_assert(ask(&self, &candidate)); /* nothing had to go yet */
    firn_candidate victim = {.frequency = 4, .charge = 1000};
    for (unsigned i = 0; i < 300; i++) {
        self.policy->evicted(self.state, &victim);
    }
    ck_assert(!ask(&self, &candidate));
    candidate.charge = 200; /* small */
    ck_assert(ask(&self, &candidate));
    candidate = (firn_candidate){.frequency = 5, .charge = 1000};
    ck_assert(ask(&self, &candidate));
    victim.cost_us = 10;
    for (unsigned i = 0; i < 300; i++) {
        self.policy->evicted(self.state, &victim);
    }
    candidate = (firn_candidate){.frequency = 1, .charge = 1000, .cost_us = 100}; /* dear */
    ck_assert(ask(&self, &candidate));
    candidate.cost_us = 10;
    ck_assert(!ask(&self, &candidate));
    bench_close(&self);
}
END_TEST

START_TEST(admission_compares_with_what_has_to_go) {
    bench self;
    bench_open(&self, FIRN_ADMISSION, "frequency");
    firn_candidate candidate = {.frequency = 1, .charge = 100};
    firn_candidate victim = {.frequency = 3, .charge = 100};
    ck_assert(ask(&self, &candidate));
    self.policy->evicted(self.state, &victim);
    ck_assert(!ask(&self, &candidate));
    candidate.frequency = 3;
    ck_assert(ask(&self, &candidate));
    bench_close(&self);
    bench_open(&self, FIRN_ADMISSION, "size");
    candidate.charge = 1000;
    candidate.frequency = 1;
    ck_assert(ask(&self, &candidate));
    self.policy->evicted(self.state, &victim);
    ck_assert(!ask(&self, &candidate));
    candidate.frequency = 10;
    ck_assert(ask(&self, &candidate));
    bench_close(&self);
}
END_TEST

/* ---- in a cache ---- */

enum { HOT_BYTES = 64 << 10, VALUE_SIZE = 1000 };

/* Without a thread, and with an order of eviction that is exact. */
static firn_options small_options(void) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = HOT_BYTES;
    options.cold_bytes = 16 << 20;
    options.threads = 0;
    options.shards = 1;
    return options;
}

static void put(firn_cache *cache, unsigned number, const char *text) {
    char value[VALUE_SIZE] = "";
    snprintf(value, sizeof value, "%s", text);
    ck_assert_int_eq(firn_put(cache, &number, sizeof number, value, sizeof value, NULL), FIRN_OK);
}

/* NULL: there is nothing. */
static void expect(firn_cache *cache, unsigned number, const char *text) {
    firn_object *object;
    int result = firn_get(cache, &number, sizeof number, &object);
    ck_assert_int_eq(result, text != NULL ? FIRN_OK : FIRN_NOT_FOUND);
    if (text != NULL) {
        ck_assert_str_eq(firn_object_data(object), text);
        firn_object_unref(object);
    }
}

enum { OTHERS = 100000 };

/* Others come until all that was in memory had to go. */
static void push_all_out(firn_cache *cache, unsigned round) {
    for (unsigned i = 0; i < 2 * HOT_BYTES / VALUE_SIZE; i++) {
        put(cache, OTHERS + round * 1000 + i, "other");
    }
    work_off(cache);
}

static unsigned last_reason(firn_cache *cache, unsigned number) {
    firn_explanation told = {.size = sizeof told};
    ck_assert_int_eq(firn_explain(cache, &number, sizeof number, &told), FIRN_OK);
    return told.decision_count > 0 ? told.decisions[told.decision_count - 1].reason
                                   : FIRN_REASON_NONE;
}

/* ---- a program's own ---- */

typedef struct own {
    const firn_tier_host *host;
    void *memory;
} own;

static struct {
    unsigned begun;
    unsigned ended;
    unsigned asked;
    unsigned evicted;
    uint64_t written;
    uint64_t hot_bytes; /* expected */
    firn_candidate last;
} heard;

static int own_init(void *state, const firn_tier_host *host) {
    own *self = state;
    ck_assert_uint_eq(host->hot_bytes, heard.hot_bytes);
    ck_assert_uint_eq(host->cold_bytes, 16 << 20);
    ck_assert_uint_eq(host->demotion_rate, 77);
    ck_assert_uint_eq(host->promotion_hits, 2);
    self->host = host;
    self->memory = host->alloc(host, 1000);
    heard.begun++;
    return self->memory != NULL ? FIRN_OK : FIRN_ENOMEM;
}

static void own_fini(void *state) {
    own *self = state;
    self->host->free(self->host, self->memory, 1000);
    heard.ended++;
}

static int own_admits(void *state, const firn_candidate *candidate) {
    (void)state;
    heard.asked++;
    heard.last = *candidate;
    return candidate->cost_us > 0;
}

static void own_evicted(void *state, const firn_candidate *candidate) {
    (void)state;
    (void)candidate;
    heard.evicted++;
}

static void own_written(void *state, uint64_t bytes, uint64_t now_ms) {
    (void)state;
    (void)now_ms;
    heard.written += bytes;
}

static const firn_tier_policy own_policy = {
    .size = sizeof(firn_tier_policy),
    .name = "own-dear",
    .state_size = sizeof(own),
    .wants = FIRN_WANTS_FREQUENCY | FIRN_WANTS_STORED_SIZE,
    .init = own_init,
    .fini = own_fini,
    .admits = own_admits,
    .evicted = own_evicted,
    .written = own_written,
};

/* ---- what the cache makes of it ---- */

enum { TRIED = 8 }; /* now and then a ghost gives way before its time */

static void put_tried(firn_cache *cache, const char *text) {
    for (unsigned i = 1; i <= TRIED; i++) {
        put(cache, i, text);
    }
}

/* How many are there, with that value. */
static unsigned count_tried(firn_cache *cache, const char *text) {
    unsigned found = 0;
    for (unsigned i = 1; i <= TRIED; i++) {
        firn_object *object;
        if (firn_get(cache, &i, sizeof i, &object) == FIRN_OK) {
            ck_assert_str_eq(firn_object_data(object), text);
            firn_object_unref(object);
            found++;
        }
    }
    return found;
}

START_TEST(what_is_refused_below_is_lost_and_counted) {
    char *path = scratch_path("refused");
    firn_options options = small_options();
    options.demotion = "reject-first";
    firn_cache *cache = open_with(path, &options);
    put_tried(cache, "first");
    push_all_out(cache, 1);
    ck_assert_uint_eq(count_tried(cache, "first"), 0);
    ck_assert_uint_eq(last_reason(cache, 1), FIRN_REASON_ROOM_REFUSED);
    firn_stats stats = stats_of(cache);
    ck_assert_uint_gt(stats.demotions_refused, 0);
    ck_assert_uint_eq(stats.demotions_refused, stats.evictions);
    ck_assert_uint_eq(stats.writes, 0);
    ck_assert_uint_eq(stats.queued_entries, 0); /* nor is a tombstone */
    put_tried(cache, "second");
    push_all_out(cache, 2);
    unsigned found = count_tried(cache, "second");
    ck_assert_uint_ge(found, TRIED - 3);
    ck_assert_uint_eq(stats_of(cache).cold_hits, found);
    uint64_t writes = stats_of(cache).writes;
    push_all_out(cache, 3); /* what is below already is not written, nor asked about */
    ck_assert_uint_eq(count_tried(cache, "second"), found);
    ck_assert_uint_eq(stats_of(cache).writes, writes);
    ck_assert_uint_ge(stats_of(cache).clean_demotions, found);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(a_flush_and_a_close_write_all_that_is_there) {
    char *path = scratch_path("refused-flush");
    firn_options options = small_options();
    options.demotion = "reject-first";
    firn_cache *cache = open_with(path, &options);
    put(cache, 1, "flushed");
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    push_all_out(cache, 1);
    expect(cache, 1, "flushed");
    put(cache, 2, "closed");
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    cache = open_with(path, &options);
    expect(cache, 1, "flushed");
    expect(cache, 2, "closed");
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

/* What is older lies below, and must not show when what came in its place is refused: neither now
 * nor after a restart. */
START_TEST(what_is_older_does_not_come_back) {
    char *path = scratch_path("refused-older");
    firn_options options = small_options();
    options.demotion_ops = &never;
    options.filter_bytes = _i == 0 ? 0 : FIRN_FILTER_OFF;
    firn_cache *cache = open_with(path, &options);
    put(cache, 1, "older");
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    push_all_out(cache, 1);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    cache = open_with(path, &options);
    work_off(cache);
    uint64_t before = stats_of(cache).demotions_refused;
    put(cache, 1, "newer");
    for (unsigned i = 0; i < 2 * HOT_BYTES / VALUE_SIZE; i++) {
        put(cache, OTHERS + 2000 + i, "other");
    }
    ck_assert_uint_gt(stats_of(cache).demotions_refused, before);
    expect(cache, 1, NULL);
    work_off(cache);
    expect(cache, 1, NULL);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    cache = open_with(path, &options);
    expect(cache, 1, NULL);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

/* Hits count, however the eviction policy hears of them. */
START_TEST(hits_in_memory_count_for_frequency) {
    const char *name = firn_policy_name((unsigned)_i);
    char *path = scratch_path("frequency");
    firn_options options = small_options();
    options.demotion = "frequency";
    options.hot_policy = name;
    options.hot_bytes = 1 << 20; /* the simulations of auto want memory */
    firn_cache *cache = open_with(path, &options);
    put(cache, 1, "wanted");
    for (unsigned i = 0; i < 3; i++) {
        expect(cache, 1, "wanted");
        for (unsigned other = 0; other < 20; other++) {
            put(cache, OTHERS + i * 100 + other, "other");
        }
    }
    for (unsigned i = 0; i < 40; i++) {
        push_all_out(cache, 10 + i);
    }
    expect(cache, 1, "wanted");
    firn_stats stats = stats_of(cache);
    ck_assert_msg(stats.demotions_refused > 2 * stats.demotions, "%s: %llu, %llu were written",
                  name, (unsigned long long)stats.demotions_refused,
                  (unsigned long long)stats.demotions);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(a_budget_bounds_what_eviction_writes) {
    char *path = scratch_path("budget");
    firn_options options = small_options();
    options.clock.now_ms = fake_clock;
    fake_now_ms = 1000000;
    options.demotion = "budget";
    options.demotion_rate = 20000; /* bytes a second */
    options.compression_level = FIRN_COMPRESSION_OFF;
    firn_cache *cache = open_with(path, &options);
    enum { SECONDS = 40, PUTS_A_SECOND = 100 };
    for (unsigned i = 0; i < SECONDS * PUTS_A_SECOND; i++) {
        put(cache, i, "value");
        fake_now_ms += 1000 / PUTS_A_SECOND;
        if (i % 10 == 0) {
            ck_assert_int_ge(firn_run(cache, 1), 0);
        }
    }
    firn_stats stats = stats_of(cache);
    uint64_t budget = options.demotion_rate * SECONDS;
    ck_assert_msg(stats.cold_stored_bytes > budget / 2 &&
                      stats.cold_stored_bytes < budget + options.demotion_rate * 6,
                  "%llu of %llu bytes", (unsigned long long)stats.cold_stored_bytes,
                  (unsigned long long)budget);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

/* A value that goes straight down says nothing of how small others become, and is paid for. */
START_TEST(a_budget_is_not_led_astray_by_a_large_value) {
    char *path = scratch_path("budget-large");
    firn_options options = small_options();
    options.clock.now_ms = fake_clock;
    fake_now_ms = 1000000;
    options.demotion = "budget";
    options.demotion_rate = 1 << 20;
    firn_cache *cache = open_with(path, &options);
    size_t size = 3 << 20;
    unsigned char *large = malloc(size);
    ck_assert_ptr_nonnull(large);
    fill_random(large, size);
    ck_assert_int_eq(firn_put(cache, "large", 5, large, size, NULL), FIRN_OK);
    free(large);
    fake_now_ms += 60000;
    for (unsigned i = 0; i < 2000; i++) {
        put(cache, i, "value");
        fake_now_ms += 10; /* a tenth of the rate, uncompressed */
        ck_assert_int_ge(firn_run(cache, 1), 0);
    }
    firn_stats stats = stats_of(cache);
    ck_assert_msg(stats.demotions > 10 * stats.demotions_refused, "%llu, %llu were refused",
                  (unsigned long long)stats.demotions, (unsigned long long)stats.demotions_refused);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

/* A disk cache has its values written because there is no memory, and not because it was asked. */
START_TEST(what_is_written_unasked_is_told) {
    char *path = scratch_path("unasked");
    for (unsigned i = 0; i < 3; i++) {
        firn_options options = small_options();
        options.demotion_ops = &own_policy;
        options.demotion_rate = 77;
        options.write_mode = i == 1 ? FIRN_WRITE_THROUGH : FIRN_WRITE_ON_EVICTION;
        memset(&heard, 0, sizeof heard);
        heard.hot_bytes = options.hot_bytes = i == 0 ? 0 : HOT_BYTES;
        firn_cache *cache = open_with(path, &options);
        put(cache, 1, "value");
        if (i == 2) {
            ck_assert_int_eq(firn_flush(cache), FIRN_OK);
        }
        work_off(cache);
        ck_assert_uint_eq(heard.asked, 0);
        ck_assert_uint_gt(heard.written, 0);
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
        clear_tree(path);
    }
    remove_tree(path);
}
END_TEST

/* The hits of newcomers count, also where the eviction policy need not hear of them. */
START_TEST(hits_count_with_several_shards) {
    const char *name = firn_policy_name((unsigned)_i);
    char *path = scratch_path("shards");
    firn_options options = small_options();
    options.demotion = "frequency";
    options.hot_policy = name;
    options.hot_bytes = 4 << 20;
    options.shards = 4;
    firn_cache *cache = open_with(path, &options);
    enum { WANTED = 500, OTHER = 12000 };
    for (unsigned i = 0; i < WANTED; i++) {
        put(cache, i, "wanted");
        for (unsigned hit = 0; hit < 5; hit++) {
            expect(cache, i, "wanted");
        }
    }
    for (unsigned i = 0; i < OTHER; i++) {
        put(cache, OTHERS + i, "other");
        ck_assert_int_ge(firn_run(cache, 1), 0);
    }
    unsigned left = 0;
    for (unsigned i = 0; i < WANTED; i++) {
        left += firn_contains(cache, &i, sizeof i) == FIRN_OK;
    }
    ck_assert_msg(left > WANTED * 9 / 10, "%s: %u", name, left);
    ck_assert_uint_gt(stats_of(cache).demotions_refused, OTHER / 4);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

static unsigned told[FIRN_DECISION_COUNT];

static void note_told(void *context, const firn_notice *notice) {
    (void)context;
    told[notice->decision.kind]++;
}

START_TEST(what_nobody_wants_is_counted_and_told_of_once) {
    char *path = scratch_path("unwanted");
    for (unsigned tiers = 1; tiers <= 2; tiers++) {
        firn_options options = small_options();
        options.admission_ops = &never;
        options.demotion_ops = &never;
        options.listener.tell = note_told;
        memset(told, 0, sizeof told);
        firn_cache *cache = open_with(tiers == 2 ? path : NULL, &options);
        put(cache, 1, "value");
        expect(cache, 1, NULL);
        firn_stats stats = stats_of(cache);
        ck_assert_uint_eq(stats.admissions_refused, 1);
        ck_assert_uint_eq(stats.dropped_memory_only, tiers == 1 ? 1 : 0);
        ck_assert_uint_eq(stats.demotions_refused, tiers == 2 ? 1 : 0);
        ck_assert_uint_eq(stats.puts, 1);
        ck_assert_uint_eq(told[FIRN_DECISION_INSERT], 0);
        ck_assert_uint_eq(told[FIRN_DECISION_REFUSE], 1);
        ck_assert_uint_eq(told[FIRN_DECISION_DROP], 1);
        /* On a condition it is put, or the condition would mean nothing. */
        ck_assert_int_eq(firn_add(cache, "lock", 4, "v", 1, NULL), FIRN_OK);
        ck_assert_int_eq(firn_add(cache, "lock", 4, "v", 1, NULL), FIRN_EXISTS);
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
    }
    remove_tree(path);
}
END_TEST

START_TEST(what_the_cold_tier_cannot_take_is_not_sent_there) {
    char *path = scratch_path("nowhere");
    firn_options options = small_options();
    options.hot_bytes = 8 << 20;
    options.cold_bytes = FIRN_COLD_BYTES_MIN;
    options.admission_ops = &never;
    firn_cache *cache = open_with(path, &options);
    size_t size = 1 << 20; /* more than a quarter of it */
    void *value = calloc(1, size);
    ck_assert_ptr_nonnull(value);
    ck_assert_int_eq(firn_put(cache, "k", 1, value, size, NULL), FIRN_OK);
    free(value);
    ck_assert_uint_eq(stats_of(cache).queued_entries, 0);
    ck_assert_uint_eq(stats_of(cache).admissions_refused, 1);
    ck_assert_uint_eq(stats_of(cache).dropped_memory_only, 1);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(a_very_large_newcomer_pushes_nobody_out_before_it_is_refused) {
    firn_options options = small_options();
    options.hot_bytes = 4 << 20;
    options.admission = "size";
    firn_cache *cache = open_with(NULL, &options);
    for (unsigned i = 0; i < 6000; i++) {
        put(cache, i, "small");
    }
    uint64_t evictions = stats_of(cache).evictions;
    ck_assert_uint_gt(evictions, 0);
    size_t size = 1 << 20;
    void *value = calloc(1, size);
    ck_assert_ptr_nonnull(value);
    ck_assert_int_eq(firn_put(cache, "k", 1, value, size, NULL), FIRN_OK);
    free(value);
    ck_assert_uint_eq(stats_of(cache).admissions_refused, 1);
    ck_assert_uint_eq(stats_of(cache).evictions, evictions);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(a_large_newcomer_gets_no_place_in_memory) {
    char *path = scratch_path("admission");
    for (unsigned tiers = 1; tiers <= 2; tiers++) {
        firn_options options = small_options();
        options.admission = "size";
        firn_cache *cache = open_with(tiers == 2 ? path : NULL, &options);
        push_all_out(cache, 1);
        ck_assert_uint_eq(stats_of(cache).admissions_refused, 0);
        char value[VALUE_SIZE * 8] = "large";
        uint64_t evictions = stats_of(cache).evictions;
        ck_assert_int_eq(firn_put(cache, "l", 1, value, sizeof value, NULL), FIRN_OK);
        ck_assert_uint_eq(stats_of(cache).admissions_refused, 1);
        /* With a cold tier there has to be room for it to wait in. */
        ck_assert(tiers == 2 || stats_of(cache).evictions == evictions);
        firn_object *object;
        int result = firn_get(cache, "l", 1, &object);
        if (tiers == 2) {
            ck_assert_int_eq(result, FIRN_OK); /* it waits to be written, or is below */
            ck_assert_uint_eq(firn_object_size(object), sizeof value);
            firn_object_unref(object);
        } else {
            ck_assert_int_eq(result, FIRN_NOT_FOUND);
        }
        /* What takes the place of an entry has its place. */
        ck_assert_int_eq(firn_put(cache, "s", 1, value, 10, NULL), FIRN_OK);
        ck_assert_int_eq(firn_put(cache, "s", 1, value, sizeof value, NULL), FIRN_OK);
        ck_assert_uint_eq(stats_of(cache).admissions_refused, 1);
        ck_assert_int_eq(firn_get(cache, "s", 1, &object), FIRN_OK);
        firn_object_unref(object);
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
    }
    remove_tree(path);
}
END_TEST

START_TEST(gdsf_keeps_what_is_dear) {
    firn_options options = small_options();
    options.hot_policy = "gdsf";
    firn_cache *cache = open_with(NULL, &options);
    char value[VALUE_SIZE] = "";
    enum { ENTRIES = 200 }; /* four times what there is room for */
    for (unsigned i = 0; i < ENTRIES; i++) {
        firn_put_options put_options = FIRN_PUT_OPTIONS_INIT;
        put_options.cost_us = i % 8 == 0 ? 100000 : 100;
        ck_assert_int_eq(firn_put(cache, &i, sizeof i, value, sizeof value, &put_options), FIRN_OK);
    }
    unsigned dear = 0;
    for (unsigned i = 0; i < ENTRIES; i += 8) {
        dear += firn_contains(cache, &i, sizeof i) == FIRN_OK;
    }
    ck_assert_uint_eq(dear, ENTRIES / 8);
    ck_assert_uint_lt(stats_of(cache).hot_entries, ENTRIES / 2);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(what_is_kept_by_links_is_not_refused) {
    char *path = scratch_path("kept");
    firn_options options = small_options();
    options.demotion = "reject-first";
    firn_cache *cache = open_with(path, &options);
    unsigned number = 1;
    put(cache, number, "chunk");
    firn_link link = {.kind = FIRN_LINK_KEEPS, .key = &number, .key_size = sizeof number};
    firn_put_options put_options = FIRN_PUT_OPTIONS_INIT;
    put_options.links = &link;
    put_options.link_count = 1;
    ck_assert_int_eq(firn_put(cache, "manifest", 8, "m", 1, &put_options), FIRN_OK);
    ck_assert_int_eq(firn_pin(cache, "manifest", 8, NULL), FIRN_OK);
    push_all_out(cache, 1);
    expect(cache, 1, "chunk");
    ck_assert_uint_gt(stats_of(cache).demotions_refused, 0);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(a_program_may_bring_its_own) {
    char *path = scratch_path("own");
    firn_options options = small_options();
    options.demotion_ops = &own_policy;
    options.demotion_rate = 77;
    memset(&heard, 0, sizeof heard);
    heard.hot_bytes = options.hot_bytes;
    firn_cache *cache = open_with(path, &options);
    ck_assert_uint_eq(heard.begun, 1);
    firn_put_options dear = FIRN_PUT_OPTIONS_INIT;
    dear.cost_us = 1234;
    char value[VALUE_SIZE];
    fill_random((unsigned char *)value, sizeof value);
    ck_assert_int_eq(firn_put(cache, "dear", 4, value, sizeof value, &dear), FIRN_OK);
    firn_object *object;
    ck_assert_int_eq(firn_get(cache, "dear", 4, &object), FIRN_OK);
    firn_object_unref(object);
    unsigned others = 0;
    while (heard.asked == 0) {
        put(cache, OTHERS + others++, "other");
    }
    ck_assert_uint_eq(heard.last.cost_us, 1234);
    ck_assert_uint_eq(heard.last.key_size, 4);
    ck_assert_uint_eq(heard.last.value_size, sizeof value);
    ck_assert_uint_ge(heard.last.charge, sizeof value + 4);
    ck_assert_uint_ge(heard.last.stored_size, sizeof value * 8 / 10);
    ck_assert_uint_ge(heard.last.frequency,
                      2); /* a sketch may tell too much, and never too little */
    ck_assert_uint_le(heard.last.frequency, 3);
    ck_assert_uint_ne(heard.last.now_ms, 0);
    push_all_out(cache, 1);
    ck_assert_uint_ge(heard.evicted, heard.asked);
    ck_assert_uint_eq(heard.written, 0);
    ck_assert_uint_lt(heard.last.stored_size, sizeof value / 2); /* zeros, mostly */
    ck_assert_int_eq(firn_get(cache, "dear", 4, &object), FIRN_OK);
    firn_object_unref(object);
    expect(cache, OTHERS, NULL);
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    ck_assert_uint_gt(heard.written, 0);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    ck_assert_uint_eq(heard.ended, 1);
    remove_tree(path);
}
END_TEST

static int fail_init(void *state, const firn_tier_host *host) {
    (void)state;
    (void)host;
    return FIRN_ENOMEM;
}

START_TEST(what_makes_no_sense_is_refused_with_words) {
    char why[300] = "";
    firn_cache *cache;
    firn_options options = FIRN_OPTIONS_INIT;
    options.error_buffer = why;
    options.error_buffer_size = sizeof why;
    options.demotion = "budget";
    ck_assert_int_eq(firn_open(&cache, NULL, &options), FIRN_EINVAL);
    ck_assert_ptr_nonnull(strstr(why, "budget"));
    ck_assert_ptr_nonnull(strstr(why, "demotion"));
    options.demotion = "never";
    ck_assert_int_eq(firn_open(&cache, NULL, &options), FIRN_EINVAL);
    ck_assert_ptr_nonnull(strstr(why, "'never'"));
    options.demotion = NULL;
    options.promotion = "kth-hit";
    options.promotion_hits = 1000;
    ck_assert_int_eq(firn_open(&cache, NULL, &options), FIRN_EINVAL);
    ck_assert_ptr_nonnull(strstr(why, "promotion"));
    options.promotion = NULL;
    firn_tier_policy failing = own_policy;
    failing.init = fail_init;
    options.admission_ops = &failing;
    memset(&heard, 0, sizeof heard);
    ck_assert_int_eq(firn_open(&cache, NULL, &options), FIRN_ENOMEM);
    ck_assert_uint_eq(heard.ended, 0); /* it never began */
    ck_assert_ptr_null(firn_tier_policy_name(3, 0));
    for (unsigned question = 0; question < 3; question++) {
        ck_assert_str_eq(firn_tier_policy_name(question, 0), "always");
    }
}
END_TEST

/* A program that was built when there was less to a policy. */
START_TEST(an_older_policy_is_understood) {
    struct {
        firn_tier_policy policy;
    } old = {own_policy};
    old.policy.size = offsetof(firn_tier_policy, evicted);
    old.policy.init = NULL;
    old.policy.fini = NULL;
    firn_options options = small_options();
    options.admission_ops = &old.policy;
    memset(&heard, 0, sizeof heard);
    firn_cache *cache = open_with(NULL, &options);
    push_all_out(cache, 1);
    ck_assert_uint_gt(heard.asked, 0);
    ck_assert_uint_eq(heard.evicted, 0);
    ck_assert_uint_eq(stats_of(cache).admissions_refused, heard.asked);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, ghosts_count_and_the_oldest_give_way);
    tcase_add_test(tcase, how_small_a_value_becomes_is_guessed);
    tcase_add_test(tcase, reject_first_wants_what_comes_again);
    tcase_add_test(tcase, frequency_wants_what_was_seen_twice);
    tcase_add_test(tcase, size_wants_what_is_small_for_its_worth);
    tcase_add_test(tcase, a_budget_is_kept_to_and_spent_on_what_is_worth_most);
    tcase_add_test(tcase, a_budget_pays_for_what_is_large_and_forgets_old_debts);
    tcase_add_test(tcase, the_kth_hit_is_counted_and_begun_anew);
    tcase_add_test(tcase, gain_compares_with_what_has_to_go);
    tcase_add_test(tcase, admission_compares_with_what_has_to_go);
    tcase_add_test(tcase, what_is_refused_below_is_lost_and_counted);
    tcase_add_test(tcase, a_flush_and_a_close_write_all_that_is_there);
    tcase_add_loop_test(tcase, what_is_older_does_not_come_back, 0, 2);
    tcase_add_loop_test(tcase, hits_in_memory_count_for_frequency, 0, 9);
    tcase_add_test(tcase, a_budget_bounds_what_eviction_writes);
    tcase_add_test(tcase, a_budget_is_not_led_astray_by_a_large_value);
    tcase_add_test(tcase, what_is_written_unasked_is_told);
    tcase_add_loop_test(tcase, hits_count_with_several_shards, 0, 9);
    tcase_add_test(tcase, what_nobody_wants_is_counted_and_told_of_once);
    tcase_add_test(tcase, what_the_cold_tier_cannot_take_is_not_sent_there);
    tcase_add_test(tcase, a_very_large_newcomer_pushes_nobody_out_before_it_is_refused);
    tcase_add_test(tcase, a_large_newcomer_gets_no_place_in_memory);
    tcase_add_test(tcase, gdsf_keeps_what_is_dear);
    tcase_add_test(tcase, what_is_kept_by_links_is_not_refused);
    tcase_add_test(tcase, a_program_may_bring_its_own);
    tcase_add_test(tcase, what_makes_no_sense_is_refused_with_words);
    tcase_add_test(tcase, an_older_policy_is_understood);
}

int main(void) {
    return run_suite("tiering", add, 120);
}
