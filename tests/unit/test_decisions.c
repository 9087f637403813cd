/* What the cache decides: the table of the last decisions, and the listener. */
#include <check.h>
#include <pthread.h>
#include <string.h>

#include <firn/firn.h>

#include "observe/decisions.h"
#include "suite.h"
#include "support.h"
#include "tier/cache.h"
#include "watching.h"

/* ---- the table ---- */

static firn_decisions *table;
static firn_heap *heap;

static void make_table(void) {
    heap = firn_heap_new(NULL);
    table = firn_decisions_new(heap);
    ck_assert_ptr_nonnull(table);
}

static void free_table(void) {
    firn_decisions_free(table, heap);
    firn_heap_unref(heap);
}

/* All of its numbers follow from one. */
static firn_decision decision_of(uint64_t hash, uint64_t number) {
    return (firn_decision){.time_ms = 1000 + number,
                           .hash = hash,
                           .version = number,
                           .detail = number * 3,
                           .kind = (unsigned)(number % FIRN_DECISION_COUNT),
                           .reason = (unsigned)(number % FIRN_REASON_COUNT)};
}

static void check_decision(const firn_decision *decision) {
    firn_decision whole = decision_of(decision->hash, decision->version);
    ck_assert_uint_eq(decision->time_ms, whole.time_ms);
    ck_assert_uint_eq(decision->detail, whole.detail);
    ck_assert_uint_eq(decision->kind, whole.kind);
    ck_assert_uint_eq(decision->reason, whole.reason);
}

START_TEST(the_last_decisions_of_a_hash_are_found_in_order) {
    make_table();
    for (uint64_t i = 1; i <= 20; i++) {
        firn_decision decision = decision_of(77, i);
        firn_decisions_note(table, &decision);
    }
    firn_decision found[FIRN_DECISION_WAYS];
    ck_assert_uint_eq(firn_decisions_of(table, 77, found), FIRN_DECISION_WAYS);
    for (unsigned i = 0; i < FIRN_DECISION_WAYS; i++) {
        ck_assert_uint_eq(found[i].version, 20 - FIRN_DECISION_WAYS + 1 + i);
        check_decision(&found[i]);
    }
    ck_assert_uint_eq(firn_decisions_of(table, 78, found), 0); /* of the same set */
    free_table();
}
END_TEST

START_TEST(the_youngest_of_all_are_found_by_time) {
    make_table();
    for (uint64_t i = 1; i <= 1000; i++) {
        firn_decision decision = decision_of(i << 20, i);
        firn_decisions_note(table, &decision);
    }
    firn_decision last[10];
    ck_assert_uint_eq(firn_decisions_last(table, last, 10), 10);
    for (unsigned i = 0; i < 10; i++) {
        ck_assert_uint_eq(last[i].version, 991 + i);
    }
    ck_assert_uint_eq(firn_decisions_last(table, last, 0), 0);
    free_table();
}
END_TEST

START_TEST(sets_are_copied_and_restored) {
    make_table();
    for (uint64_t i = 1; i <= 9; i++) {
        firn_decision decision = decision_of(5, i);
        firn_decisions_note(table, &decision);
    }
    _Alignas(64) unsigned char bytes[sizeof(firn_decision_set)] = {0};
    uint64_t sequence = 0;
    ck_assert(firn_decisions_copy(table, 0, &sequence, bytes));
    ck_assert_uint_eq(sequence, 18);
    firn_decision found[FIRN_DECISION_WAYS];
    firn_decisions *other = firn_decisions_new(heap);
    firn_decisions_restore(other, 0, bytes);
    ck_assert_uint_eq(firn_decisions_of(other, 5, found), FIRN_DECISION_WAYS);
    ck_assert_uint_eq(found[0].version, 3);
    ck_assert_uint_eq(found[6].version, 9);
    /* One that was half written is left out. */
    bytes[0] |= 1;
    firn_decisions_restore(other, 1, bytes);
    ck_assert_uint_eq(firn_decisions_last(other, found, FIRN_DECISION_WAYS), FIRN_DECISION_WAYS);
    firn_decision decision = decision_of(5, 10);
    firn_decisions_note(other, &decision);
    ck_assert_uint_eq(firn_decisions_of(other, 5, found), FIRN_DECISION_WAYS);
    ck_assert_uint_eq(found[6].version, 10);
    firn_decisions_free(other, heap);
    free_table();
}
END_TEST

enum { WRITERS = 2, NOTES = 20000 };

static void *write_notes(void *context) {
    uint64_t first = *(uint64_t *)context;
    for (uint64_t i = 0; i < NOTES; i++) {
        firn_decision decision = decision_of(i % 4, first + i);
        firn_decisions_note(table, &decision);
    }
    return NULL;
}

START_TEST(readers_see_whole_decisions_beside_writers) {
    make_table();
    pthread_t threads[WRITERS];
    uint64_t firsts[WRITERS] = {1, 1000000};
    for (unsigned i = 0; i < WRITERS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, write_notes, &firsts[i]), 0);
    }
    firn_decision found[FIRN_DECISION_WAYS];
    for (unsigned i = 0; i < 2000; i++) {
        size_t count = firn_decisions_of(table, i % 4, found);
        for (size_t j = 0; j < count; j++) {
            ck_assert_uint_eq(found[j].hash, i % 4);
            check_decision(&found[j]);
        }
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
    }
    ck_assert_uint_gt(firn_decisions_of(table, 0, found), 0);
    free_table();
}
END_TEST

START_TEST(every_kind_and_reason_has_words) {
    for (unsigned i = 0; i < FIRN_DECISION_COUNT; i++) {
        ck_assert_str_ne(firn_decision_name(i), "unknown");
        ck_assert_str_ne(firn_decision_detail(i), "unknown");
    }
    for (unsigned i = 0; i < FIRN_REASON_COUNT; i++) {
        ck_assert_str_ne(firn_decision_reason(i), "unknown");
    }
    ck_assert_str_eq(firn_decision_name(FIRN_DECISION_COUNT), "unknown");
    ck_assert_str_eq(firn_decision_reason(1000), "unknown");
    ck_assert_str_eq(firn_decision_detail(1000), "unknown");
}
END_TEST

/* ---- the listener ---- */

enum { HEARD_MAX = 256 };

typedef struct heard {
    firn_cache *cache; /* not NULL: the callback calls it */
    unsigned count;
    unsigned kinds[HEARD_MAX];
    unsigned reasons[HEARD_MAX];
    char keys[HEARD_MAX][16];
    bool within;
} heard;

static void hear(void *context, const firn_notice *notice) {
    heard *self = context;
    ck_assert(!self->within); /* one at a time, and not within each other */
    self->within = true;
    if (self->count < HEARD_MAX) {
        self->kinds[self->count] = notice->decision.kind;
        self->reasons[self->count] = notice->decision.reason;
        if (notice->key != NULL && notice->key_size < sizeof self->keys[0]) {
            memcpy(self->keys[self->count], notice->key, notice->key_size);
        }
        self->count++;
    }
    if (self->cache != NULL && notice->decision.kind == FIRN_DECISION_DELETE) {
        ck_assert_int_eq(firn_put(self->cache, "again", 5, "x", 1, NULL), FIRN_OK);
        ck_assert_int_ge(firn_flush(self->cache), 0);
        ck_assert_int_ge(firn_run(self->cache, 0), 0);
    }
    self->within = false;
}

static firn_options listening(heard *ear, uint64_t kinds) {
    firn_options options = by_hand();
    options.shards = 1;
    options.listener = (firn_listener){hear, ear, kinds};
    return options;
}

/* The last notice of that kind; fails if there is none. */
static unsigned last_of(const heard *ear, unsigned kind) {
    for (unsigned i = ear->count; i-- > 0;) {
        if (ear->kinds[i] == kind) {
            return i;
        }
    }
    ck_abort_msg("nothing was heard of %s", firn_decision_name(kind));
    return 0;
}

START_TEST(a_listener_hears_of_puts_deletes_and_evictions) {
    heard ear = {0};
    firn_options options = listening(&ear, 0);
    options.hot_bytes = 64 << 10;
    firn_cache *cache = open_with(NULL, &options);
    put(cache, "a", 10);
    ck_assert_uint_eq(ear.count, 1);
    ck_assert_uint_eq(ear.kinds[0], FIRN_DECISION_INSERT);
    ck_assert_str_eq(ear.keys[0], "a");
    ck_assert_int_eq(firn_delete(cache, "a", 1), FIRN_OK);
    ck_assert_uint_eq(ear.count, 2);
    ck_assert_uint_eq(ear.kinds[1], FIRN_DECISION_DELETE);
    ck_assert_str_eq(ear.keys[1], "a");
    put(cache, "b", 10);
    for (unsigned i = 0; i < 10; i++) {
        char key[16];
        snprintf(key, sizeof key, "large %u", i);
        put(cache, key, 20000);
    }
    unsigned evicted = last_of(&ear, FIRN_DECISION_EVICT);
    ck_assert_uint_eq(ear.reasons[evicted], FIRN_REASON_ROOM_LOST);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(a_listener_hears_of_the_way_down_and_up) {
    heard ear = {0};
    char *path = scratch_path("decisions");
    firn_options options = listening(&ear, 0);
    firn_cache *cache = open_with(path, &options);
    put(cache, "first", 1000);
    flood(cache);
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    unsigned evicted = last_of(&ear, FIRN_DECISION_EVICT);
    ck_assert_uint_eq(ear.reasons[evicted], FIRN_REASON_ROOM_QUEUED);
    unsigned demoted = last_of(&ear, FIRN_DECISION_DEMOTE);
    ck_assert_uint_eq(ear.reasons[demoted], FIRN_REASON_WRITTEN);
    ck_assert_ptr_nonnull(strchr(ear.keys[demoted], 'l'));
    firn_object *object;
    ck_assert_int_eq(firn_get(cache, "first", 5, &object), FIRN_OK);
    firn_object_unref(object);
    unsigned promoted = last_of(&ear, FIRN_DECISION_PROMOTE);
    ck_assert_uint_eq(ear.reasons[promoted], FIRN_REASON_HIT);
    ck_assert_str_eq(ear.keys[promoted], "first");
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(a_listener_hears_of_what_expires) {
    heard ear = {0};
    firn_options options = listening(&ear, UINT64_C(1) << FIRN_DECISION_EXPIRE);
    firn_cache *cache = open_with(NULL, &options);
    firn_put_options brief = FIRN_PUT_OPTIONS_INIT;
    brief.ttl_ms = 1;
    ck_assert_int_eq(firn_put(cache, "a", 1, "x", 1, &brief), FIRN_OK);
    firn_object *object;
    while (firn_get(cache, "a", 1, &object) == FIRN_OK) {
        firn_object_unref(object);
    }
    ck_assert_uint_eq(ear.count, 1); /* and nothing else: not of the put */
    ck_assert_uint_eq(ear.kinds[0], FIRN_DECISION_EXPIRE);
    ck_assert_str_eq(ear.keys[0], "a");
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(a_listener_may_call_the_cache) {
    heard ear = {0};
    char *path = scratch_path("decisions");
    firn_options options = listening(&ear, 0);
    options.durability = FIRN_DURABILITY_NONE;
    firn_cache *cache = open_with(path, &options);
    ear.cache = cache;
    put(cache, "a", 10);
    ck_assert_int_eq(firn_delete(cache, "a", 1), FIRN_OK);
    ck_assert_int_eq(firn_contains(cache, "again", 5), FIRN_OK);
    ck_assert_str_eq(ear.keys[last_of(&ear, FIRN_DECISION_INSERT)], "again");
    ear.cache = NULL;
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

static void *put_many(void *context) {
    for (unsigned i = 0; i < 2000; i++) {
        put(context, i % 2 == 0 ? "a" : "b", 10);
    }
    return NULL;
}

static void count_it(void *context, const firn_notice *notice) {
    /* Not atomic: calls come one at a time. */
    *(unsigned *)context += notice->decision.kind == FIRN_DECISION_INSERT;
}

START_TEST(every_notice_is_told_once_whichever_thread_it_is_of) {
    unsigned heard_of = 0;
    firn_options options = FIRN_OPTIONS_INIT;
    options.listener = (firn_listener){count_it, &heard_of, 0};
    firn_cache *cache = open_with(NULL, &options);
    pthread_t threads[2];
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, put_many, cache), 0);
    }
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    firn_stats stats = FIRN_STATS_INIT;
    ck_assert_int_eq(firn_get_stats(cache, &stats), FIRN_OK);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    ck_assert_uint_eq(heard_of + stats.notices_lost, 4000);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, the_last_decisions_of_a_hash_are_found_in_order);
    tcase_add_test(tcase, the_youngest_of_all_are_found_by_time);
    tcase_add_test(tcase, sets_are_copied_and_restored);
    tcase_add_test(tcase, readers_see_whole_decisions_beside_writers);
    tcase_add_test(tcase, every_kind_and_reason_has_words);
    tcase_add_test(tcase, a_listener_hears_of_puts_deletes_and_evictions);
    tcase_add_test(tcase, a_listener_hears_of_the_way_down_and_up);
    tcase_add_test(tcase, a_listener_hears_of_what_expires);
    tcase_add_test(tcase, a_listener_may_call_the_cache);
    tcase_add_test(tcase, every_notice_is_told_once_whichever_thread_it_is_of);
}

int main(void) {
    return run_suite("decisions", add, 60);
}
