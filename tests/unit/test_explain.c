/* Explanations: where an entry is, what is known of it, and that looking changes nothing. */
#include <check.h>
#include <string.h>

#include <firn/firn.h>

#include "observe/decisions.h"
#include "suite.h"
#include "support.h"
#include "watching.h"

static firn_explanation explain(firn_cache *cache, const char *key) {
    firn_explanation found = {.size = sizeof found};
    ck_assert_int_eq(firn_explain(cache, key, strlen(key), &found), FIRN_OK);
    return found;
}

static void get(firn_cache *cache, const char *key) {
    firn_object *object;
    ck_assert_int_eq(firn_get(cache, key, strlen(key), &object), FIRN_OK);
    firn_object_unref(object);
}

/* More than memory holds, of keys whose decisions do not drive out those about one key. */
static void flood_beside(firn_cache *cache, const char *key) {
    size_t set = firn_decision_set_of(explain(cache, key).hash);
    for (unsigned i = 0, done = 0; done < 40; i++) {
        char other[16];
        snprintf(other, sizeof other, "large %u", i);
        if (firn_decision_set_of(explain(cache, other).hash) != set) {
            put(cache, other, 10000);
            done++;
        }
    }
}

START_TEST(an_entry_is_followed_down_and_up) {
    char *path = scratch_path("explain");
    firn_options options = by_hand();
    options.hot_policy = "clock";
    firn_cache *cache = open_with(path, &options);
    firn_explanation found = explain(cache, "a");
    ck_assert_uint_eq(found.place, FIRN_PLACE_NOWHERE);
    ck_assert_uint_eq(found.decision_count, 0);
    put(cache, "a", 1000);
    found = explain(cache, "a");
    ck_assert_uint_eq(found.place, FIRN_PLACE_HOT);
    ck_assert(found.dirty && !found.stored && !found.hit_lately && !found.pinned);
    ck_assert_uint_eq(found.value_size, 1000);
    ck_assert_uint_gt(found.charge, 1000);
    ck_assert_uint_eq(found.handles, 0);
    get(cache, "a");
    firn_object *held;
    ck_assert_int_eq(firn_get(cache, "a", 1, &held), FIRN_OK);
    found = explain(cache, "a");
    ck_assert(found.hit_lately && found.mark > 0 && found.mark <= found.mark_max);
    ck_assert_uint_eq(found.handles, 1);
    firn_object_unref(held);
    flood_beside(cache, "a");
    flood_beside(cache, "a");
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    found = explain(cache, "a");
    ck_assert_uint_eq(found.place, FIRN_PLACE_COLD);
    ck_assert(found.stored && found.charge == 0 && !found.hit_below);
    ck_assert_uint_eq(found.value_size, 1000);
    ck_assert_uint_eq(found.stored_version, found.version);
    ck_assert_uint_lt(found.stored_size, 1000);
    ck_assert_str_eq(found.codec, "zstd");
    ck_assert_uint_gt(found.written_ms, 0);
    ck_assert_uint_eq(found.decision_count, 2);
    ck_assert_uint_eq(found.decisions[0].kind, FIRN_DECISION_EVICT);
    ck_assert_uint_eq(found.decisions[1].kind, FIRN_DECISION_DEMOTE);
    get(cache, "a");
    found = explain(cache, "a");
    ck_assert_uint_eq(found.place, FIRN_PLACE_HOT);
    ck_assert(found.stored && !found.dirty && found.hit_below);
    ck_assert_uint_gt(found.came_up_ms, 0);
    ck_assert_uint_eq(found.decision_count, 3);
    ck_assert_int_eq(firn_delete(cache, "a", 1), FIRN_OK);
    found = explain(cache, "a");
    ck_assert_uint_eq(found.place, FIRN_PLACE_NOWHERE);
    ck_assert(found.deleted);
    ck_assert_uint_eq(found.decisions[3].kind, FIRN_DECISION_DELETE);
    firn_close(cache);
    remove_tree(path);
}
END_TEST

/* A put is not remembered as a decision, so the delete before it stays the last. */
START_TEST(what_is_put_again_is_told_to_be_there) {
    char *path = scratch_path("explain");
    firn_options options = by_hand();
    firn_cache *cache = open_with(path, &options);
    for (unsigned flushed = 0; flushed < 2; flushed++) {
        put(cache, "a", 1000);
        ck_assert_int_eq(firn_delete(cache, "a", 1), FIRN_OK);
        if (flushed) {
            ck_assert_int_eq(firn_flush(cache), FIRN_OK);
        }
        put(cache, "a", 2000);
        firn_explanation found = explain(cache, "a");
        ck_assert_uint_eq(found.place, FIRN_PLACE_HOT);
        ck_assert(!found.deleted && found.dirty);
        ck_assert_uint_eq(found.value_size, 2000);
        const firn_decision *last = &found.decisions[found.decision_count - 1];
        ck_assert_uint_eq(last->kind, FIRN_DECISION_DELETE);
        ck_assert_uint_lt(last->version, found.version);
        flood(cache);
        ck_assert_int_eq(firn_flush(cache), FIRN_OK);
        found = explain(cache, "a");
        ck_assert_uint_eq(found.place, FIRN_PLACE_COLD);
        ck_assert(!found.deleted && found.stored);
        ck_assert_uint_eq(found.value_size, 2000);
        ck_assert_uint_eq(found.stored_version, found.version);
    }
    firn_close(cache);
    remove_tree(path);
}
END_TEST

START_TEST(looking_changes_nothing) {
    char *path = scratch_path("explain");
    firn_options options = by_hand();
    firn_cache *cache = open_with(path, &options);
    put(cache, "a", 1000);
    flood(cache);
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    firn_stats before = FIRN_STATS_INIT;
    firn_stats after = FIRN_STATS_INIT;
    ck_assert_int_eq(firn_get_stats(cache, &before), FIRN_OK);
    for (unsigned i = 0; i < 3; i++) {
        firn_explanation found = explain(cache, "a");
        ck_assert_uint_eq(found.place, FIRN_PLACE_COLD);
        ck_assert(!found.hit_below);
        explain(cache, "nothing");
        explain(cache, "large 39");
    }
    ck_assert_int_eq(firn_get_stats(cache, &after), FIRN_OK);
    ck_assert_mem_eq(&before, &after, sizeof before);
    firn_close(cache);
    remove_tree(path);
}
END_TEST

START_TEST(traits_and_pins_are_told) {
    firn_options options = by_hand();
    firn_cache *cache = open_with(NULL, &options);
    const char *tags[] = {"x", "y"};
    firn_link link = {0};
    link.kind = FIRN_LINK_KEEPS;
    link.key = "other";
    link.key_size = 5;
    put(cache, "other", 1);
    firn_put_options rich = FIRN_PUT_OPTIONS_INIT;
    rich.ttl_ms = 100000;
    rich.cost_us = 77;
    rich.tags = tags;
    rich.tag_count = 2;
    rich.links = &link;
    rich.link_count = 1;
    ck_assert_int_eq(firn_put(cache, "a", 1, "x", 1, &rich), FIRN_OK);
    firn_explanation found = explain(cache, "a");
    ck_assert_uint_eq(found.tag_count, 2);
    ck_assert_uint_eq(found.cost_us, 77);
    ck_assert_uint_eq(found.link_count, 1);
    ck_assert_uint_gt(found.expires_ms, 0);
    ck_assert(!found.expired && !found.stale && !found.negative && !found.owned);
    firn_close(cache);
}
END_TEST

START_TEST(a_value_in_pieces_is_told_whole) {
    char *path = scratch_path("explain");
    firn_options options = by_hand();
    firn_cache *cache = open_with(path, &options);
    firn_writer *writer;
    static char bytes[3 << 20];
    ck_assert_int_eq(firn_writer_open(cache, "s", 1, NULL, &writer), FIRN_OK);
    ck_assert_int_eq(firn_writer_write(writer, bytes, sizeof bytes), FIRN_OK);
    ck_assert_int_eq(firn_writer_commit(writer), FIRN_OK);
    firn_explanation found = explain(cache, "s");
    ck_assert_uint_eq(found.place, FIRN_PLACE_COLD);
    ck_assert_str_eq(found.codec, "stream");
    ck_assert_uint_eq(found.value_size, sizeof bytes);
    firn_close(cache);
    remove_tree(path);
}
END_TEST

START_TEST(a_store_is_explained_beside_its_writer) {
    char *path = scratch_path("explain");
    firn_options options = by_hand();
    firn_cache *cache = open_with(path, &options);
    put(cache, "a", 1000);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    firn_options reading = by_hand();
    reading.read_only = 1;
    cache = open_with(path, &reading);
    firn_explanation found = explain(cache, "a");
    ck_assert_uint_eq(found.place, FIRN_PLACE_COLD);
    ck_assert_uint_eq(found.value_size, 1000);
    firn_close(cache);
    remove_tree(path);
}
END_TEST

START_TEST(bad_arguments_are_refused) {
    firn_options options = by_hand();
    firn_cache *cache = open_with(NULL, &options);
    firn_explanation found = {.size = 1};
    ck_assert_int_eq(firn_explain(cache, "a", 1, &found), FIRN_EINVAL);
    ck_assert_int_eq(firn_explain(cache, "a", 1, NULL), FIRN_EINVAL);
    found.size = sizeof found;
    ck_assert_int_eq(firn_explain(NULL, "a", 1, &found), FIRN_EINVAL);
    ck_assert_int_eq(firn_explain(cache, "", 0, &found), FIRN_EINVAL);
    /* An older program knows less. */
    found.size = offsetof(firn_explanation, version);
    found.version = 99;
    put(cache, "a", 1);
    ck_assert_int_eq(firn_explain(cache, "a", 1, &found), FIRN_OK);
    ck_assert_uint_eq(found.place, FIRN_PLACE_HOT);
    ck_assert_uint_eq(found.version, 99);
    ck_assert_str_eq(firn_place_name(FIRN_PLACE_LEAVING), "leaving");
    ck_assert_str_eq(firn_place_name(4), "unknown");
    firn_close(cache);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, an_entry_is_followed_down_and_up);
    tcase_add_test(tcase, what_is_put_again_is_told_to_be_there);
    tcase_add_test(tcase, looking_changes_nothing);
    tcase_add_test(tcase, traits_and_pins_are_told);
    tcase_add_test(tcase, a_value_in_pieces_is_told_whole);
    tcase_add_test(tcase, a_store_is_explained_beside_its_writer);
    tcase_add_test(tcase, bad_arguments_are_refused);
}

int main(void) {
    return run_suite("explain", add, 60);
}
