/* Links between entries: what keeps and what depends, in memory, below, and over a restart. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>

#include <firn/firn.h>

#include "unit/entries.h"
#include "unit/suite.h"
#include "unit/support.h"

static uint64_t now_ms = 1000000;

static uint64_t clock_now(void *context) {
    (void)context;
    return now_ms;
}

static firn_cache *open_linked(const char *path) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.threads = 0;
    options.hot_bytes = 1 << 20;
    options.shards = 1;
    options.clock.now_ms = clock_now;
    return open_with(path, &options);
}

static firn_link keeps(const char *key) {
    return (firn_link){FIRN_LINK_KEEPS, key, strlen(key), 0};
}

static firn_link depends(const char *key) {
    return (firn_link){FIRN_LINK_DEPENDS, key, strlen(key), 0};
}

static int put_with(firn_cache *cache, const char *key, const firn_link *links, size_t count,
                    bool owned) {
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.links = links;
    options.link_count = count;
    options.owned = owned;
    return firn_put(cache, key, strlen(key), key, strlen(key), &options);
}

static void put(firn_cache *cache, const char *key) {
    ck_assert_int_eq(put_with(cache, key, NULL, 0, false), FIRN_OK);
}

static void put_1(firn_cache *cache, const char *key, firn_link link) {
    ck_assert_int_eq(put_with(cache, key, &link, 1, false), FIRN_OK);
}

static bool has(firn_cache *cache, const char *key) {
    int result = firn_contains(cache, key, strlen(key));
    ck_assert_int_ge(result, 0);
    return result == FIRN_OK;
}

static uint64_t version_of(firn_cache *cache, const char *key) {
    firn_object *object;
    ck_assert_int_eq(firn_get(cache, key, strlen(key), &object), FIRN_OK);
    uint64_t version = firn_object_version(object);
    firn_object_unref(object);
    return version;
}

/* ---- depends ---- */

/* Sources a and b; two results of a, one of both, one of that; and one that has nothing to do with
 * it. */
static void put_results(firn_cache *cache) {
    put(cache, "a");
    put(cache, "b");
    put_1(cache, "a1", depends("a"));
    put_1(cache, "a2", depends("a"));
    firn_link both[] = {depends("a1"), depends("a2"), depends("b")};
    ck_assert_int_eq(put_with(cache, "ab", both, 3, false), FIRN_OK);
    put_1(cache, "top", depends("ab"));
    put_1(cache, "b1", depends("b"));
    put(cache, "other");
}

static void expect_results(firn_cache *cache, bool a, bool b) {
    ck_assert_int_eq(has(cache, "a1"), a);
    ck_assert_int_eq(has(cache, "a2"), a);
    ck_assert_int_eq(has(cache, "ab"), a && b);
    ck_assert_int_eq(has(cache, "top"), a && b);
    ck_assert_int_eq(has(cache, "b1"), b);
    ck_assert(has(cache, "other"));
}

static void each_place(void (*test)(firn_cache *cache, bool sleeping), bool memory) {
    if (memory) {
        firn_cache *cache = open_linked(NULL);
        test(cache, false);
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
    }
    for (int sleeping = 0; sleeping < 2; sleeping++) {
        char *path = scratch_path("links");
        firn_cache *cache = open_linked(path);
        test(cache, sleeping == 1);
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
        remove_tree(path);
    }
}

/* Everything that was put goes down. */
static void put_to_sleep(firn_cache *cache, bool sleeping) {
    if (sleeping) {
        push_out(cache, 3000);
        ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    }
}

static void overwrite_a_source(firn_cache *cache, bool sleeping) {
    put_results(cache);
    expect_results(cache, true, true);
    put_to_sleep(cache, sleeping);
    put(cache, "a");
    expect_results(cache, false, true);
    ck_assert(has(cache, "a"));
    ck_assert_uint_eq(stats_of(cache).invalidated, 4);
    put_results(cache);
    expect_results(cache, true, true);
    put_to_sleep(cache, sleeping);
    ck_assert_int_eq(firn_delete(cache, "b", 1), FIRN_OK);
    expect_results(cache, true, false);
    ck_assert(!has(cache, "b"));
    put_results(cache);
    put_to_sleep(cache, sleeping);
    ck_assert_int_eq(
        firn_compare_and_swap(cache, "a", 1, version_of(cache, "a"), "x", 1, NULL, NULL), FIRN_OK);
    expect_results(cache, false, true);
}

START_TEST(what_depends_on_a_change_is_gone_when_the_call_returns) {
    each_place(overwrite_a_source, true);
}
END_TEST

static void expire_a_source(firn_cache *cache, bool sleeping) {
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.ttl_ms = 1000;
    put_results(cache);
    ck_assert_int_eq(firn_put(cache, "a", 1, "short", 5, &options), FIRN_OK);
    put_1(cache, "a1", depends("a"));
    put_1(cache, "a2", depends("a1"));
    put_to_sleep(cache, sleeping);
    now_ms += 999;
    ck_assert(has(cache, "a1"));
    ck_assert(has(cache, "a2"));
    now_ms += 1;
    ck_assert(!has(cache, "a"));
    ck_assert(!has(cache, "a1"));
    ck_assert(!has(cache, "a2"));
    /* A longer life of its own does not help. */
    ck_assert_int_eq(firn_put(cache, "a", 1, "short", 5, &options), FIRN_OK);
    put_1(cache, "a1", depends("a"));
    put_to_sleep(cache, sleeping);
    ck_assert_int_eq(firn_touch(cache, "a1", 2, 1000000), FIRN_OK);
    now_ms += 1000;
    ck_assert(!has(cache, "a1"));
    /* And a shorter one of the source takes its results with it. */
    put(cache, "a");
    put_1(cache, "a1", depends("a"));
    put_to_sleep(cache, sleeping);
    ck_assert_int_eq(firn_touch(cache, "a", 1, 10), FIRN_OK);
    ck_assert(!has(cache, "a1"));
}

START_TEST(a_result_expires_with_what_it_depends_on) {
    each_place(expire_a_source, true);
}
END_TEST

static void depend_in_a_circle(firn_cache *cache, bool sleeping) {
    put(cache, "x");
    put_1(cache, "y", depends("x"));
    put_1(cache, "z", depends("y"));
    firn_link to_z = depends("z");
    ck_assert_int_eq(firn_link_add(cache, "x", 1, &to_z), FIRN_OK);
    ck_assert(has(cache, "x"));
    ck_assert(has(cache, "y"));
    ck_assert(has(cache, "z"));
    put_to_sleep(cache, sleeping);
    put(cache, "y");
    ck_assert(has(cache, "y"));
    ck_assert(!has(cache, "x"));
    ck_assert(!has(cache, "z"));
    put_1(cache, "self", depends("self"));
    put_1(cache, "self", depends("self"));
    ck_assert(has(cache, "self"));
}

START_TEST(dependence_may_go_in_a_circle) {
    each_place(depend_in_a_circle, true);
}
END_TEST

START_TEST(a_result_of_an_older_version_is_not_put) {
    firn_cache *cache = open_linked(NULL);
    put(cache, "source");
    firn_link link = depends("source");
    link.version = version_of(cache, "source");
    ck_assert_int_eq(put_with(cache, "result", &link, 1, false), FIRN_OK);
    put(cache, "source");
    ck_assert_int_eq(put_with(cache, "result", &link, 1, false), FIRN_CONFLICT);
    ck_assert(!has(cache, "result"));
    ck_assert_int_eq(firn_delete(cache, "source", 6), FIRN_OK);
    ck_assert_int_eq(put_with(cache, "result", &link, 1, false), FIRN_CONFLICT);
    /* What depends on something's not being there ends when it comes. */
    put_1(cache, "negative", depends("source"));
    ck_assert(has(cache, "negative"));
    put(cache, "source");
    ck_assert(!has(cache, "negative"));
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

/* That it is evicted is no change. */
START_TEST(a_lost_source_leaves_its_results) {
    firn_cache *cache = open_linked(NULL);
    put(cache, "source");
    put_1(cache, "result", depends("source"));
    ck_assert_int_eq(firn_pin(cache, "result", 6, NULL), FIRN_OK);
    push_out(cache, 3000);
    ck_assert(!has(cache, "source"));
    ck_assert(has(cache, "result"));
    put(cache, "source"); /* computed anew, perhaps otherwise */
    ck_assert(!has(cache, "result"));
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

/* ---- restarts ---- */

/* Ends without a close, as by kill -9; what the test wants done before comes first. */
static void in_a_process_that_dies(const char *path, void (*work)(firn_cache *cache)) {
    fflush(NULL);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        work(open_linked(path));
        _exit(0);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}

static void put_and_flush(firn_cache *cache) {
    put_results(cache);
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
}

static void put_flush_and_overwrite(firn_cache *cache) {
    put_and_flush(cache);
    put(cache, "a"); /* in memory alone: lost, and with it what depends on it is void */
}

/* The new source is flushed, but what depends on it died with the process before it was deleted: as
 * if it had been killed in between. */
static void overwrite_behind_the_links(firn_cache *cache) {
    put(cache, "a");
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
}

START_TEST(links_hold_after_a_restart) {
    char *path = scratch_path("restart");
    firn_cache *cache = open_linked(path);
    put_results(cache);
    ck_assert_uint_eq(stats_of(cache).links, 7);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    cache = open_linked(path);
    expect_results(cache, true, true);
    ck_assert_uint_eq(stats_of(cache).links, 7);
    put(cache, "a");
    expect_results(cache, false, true);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    cache = open_linked(path);
    expect_results(cache, false, true);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(links_hold_after_a_crash) {
    char *path = scratch_path("crash");
    in_a_process_that_dies(path, put_and_flush);
    firn_cache *cache = open_linked(path);
    expect_results(cache, true, true);
    ck_assert_uint_eq(stats_of(cache).links, 7);
    put(cache, "b");
    expect_results(cache, true, false);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    clear_tree(path);
    in_a_process_that_dies(path, put_flush_and_overwrite);
    cache = open_linked(path);
    ck_assert(!has(cache, "a"));
    expect_results(cache, false, true);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(a_change_that_came_without_its_cascade_is_found_out) {
    char *path = scratch_path("cascade");
    firn_cache *cache = open_linked(path);
    put_results(cache);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    char *file = join(path, "firn.links");
    char *aside = join(path, "aside");
    ck_assert_int_eq(rename(file, aside), 0); /* a writer that knows of no links */
    in_a_process_that_dies(path, overwrite_behind_the_links);
    char dirty[64] = {0}; /* damaged: to be taken for dirty */
    write_file(file, dirty);
    cache = open_linked(path);
    ck_assert(has(cache, "a"));
    expect_results(cache, false, true);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    free(file);
    free(aside);
    remove_tree(path);
}
END_TEST

/* ---- keeps ---- */

static void put_manifest(firn_cache *cache) {
    ck_assert_int_eq(put_with(cache, "chunk 1", NULL, 0, true), FIRN_OK);
    ck_assert_int_eq(put_with(cache, "chunk 2", NULL, 0, true), FIRN_OK);
    firn_link chunks[] = {keeps("chunk 1"), keeps("chunk 2")};
    ck_assert_int_eq(put_with(cache, "manifest", chunks, 2, false), FIRN_OK);
}

static void end_a_manifest(firn_cache *cache, bool sleeping) {
    put_manifest(cache);
    put_to_sleep(cache, sleeping);
    firn_link chunk = keeps("chunk 1");
    put_1(cache, "manifest", chunk); /* the second is not wanted any more */
    ck_assert(has(cache, "chunk 1"));
    ck_assert(!has(cache, "chunk 2"));
    put_1(cache, "other manifest", chunk);
    put_to_sleep(cache, sleeping);
    ck_assert_int_eq(firn_delete(cache, "manifest", 8), FIRN_OK);
    ck_assert(has(cache, "chunk 1"));
    ck_assert_int_eq(firn_link_remove(cache, "other manifest", 14, &chunk), FIRN_OK);
    ck_assert(!has(cache, "chunk 1"));
    ck_assert(has(cache, "other manifest"));
    ck_assert_int_eq(firn_link_remove(cache, "other manifest", 14, &chunk), FIRN_NOT_FOUND);
    ck_assert_uint_eq(stats_of(cache).unkept, 2);
    /* Whole chains. */
    ck_assert_int_eq(put_with(cache, "last", NULL, 0, true), FIRN_OK);
    firn_link to_last = keeps("last");
    ck_assert_int_eq(put_with(cache, "middle", &to_last, 1, true), FIRN_OK);
    put_1(cache, "first", keeps("middle"));
    put_to_sleep(cache, sleeping);
    ck_assert_int_eq(firn_delete(cache, "first", 5), FIRN_OK);
    ck_assert(!has(cache, "middle"));
    ck_assert(!has(cache, "last"));
    /* What is not owned stays. */
    put(cache, "plain");
    put_1(cache, "first", keeps("plain"));
    ck_assert_int_eq(firn_delete(cache, "first", 5), FIRN_OK);
    ck_assert(has(cache, "plain"));
}

START_TEST(owned_entries_go_with_the_last_that_keeps_them) {
    each_place(end_a_manifest, true);
}
END_TEST

/* In memory alone nothing may be where what it keeps is not. */
START_TEST(what_is_kept_is_not_evicted_alone) {
    firn_cache *cache = open_linked(NULL);
    char chunk[32];
    char manifest[32];
    for (int i = 0; i < 4000; i++) {
        snprintf(chunk, sizeof chunk, "chunk %d", i);
        snprintf(manifest, sizeof manifest, "manifest %d", i);
        char filler[500] = {0};
        ck_assert_int_eq(firn_put(cache, chunk, strlen(chunk), filler, sizeof filler, NULL),
                         FIRN_OK);
        put_1(cache, manifest, keeps(chunk));
        if (i % 100 == 0) {
            for (int n = 0; n <= i; n++) {
                snprintf(chunk, sizeof chunk, "chunk %d", n);
                snprintf(manifest, sizeof manifest, "manifest %d", n);
                ck_assert(!has(cache, manifest) || has(cache, chunk));
            }
        }
    }
    ck_assert(!has(cache, "chunk 0"));
    ck_assert_uint_gt(stats_of(cache).evictions, 1000);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

/* Ten times the budget goes through the store, and the chunks are still there. */
START_TEST(what_is_kept_is_not_reclaimed) {
    char *path = scratch_path("reclaim");
    firn_options options = FIRN_OPTIONS_INIT;
    options.threads = 0;
    options.hot_bytes = 1 << 20;
    options.cold_bytes = 4 << 20;
    options.compression_level = FIRN_COMPRESSION_OFF;
    firn_cache *cache = open_with(path, &options);
    put(cache, "not kept");
    put_manifest(cache);
    firn_link to_manifest = keeps("manifest");
    ck_assert_int_eq(put_with(cache, "root", &to_manifest, 1, false), FIRN_OK);
    /* One that was overwritten before anybody linked to it: of its two records the older goes. */
    put(cache, "plain");
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    push_out(cache, 100);
    put(cache, "plain");
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    push_out(cache, 2000);
    firn_link plain_links[] = {keeps("plain"), keeps("holder")};
    ck_assert_int_eq(put_with(cache, "holder", plain_links, 2, false), FIRN_OK);
    firn_link to_root = keeps("root");
    ck_assert_int_eq(firn_link_add(cache, "root", 4, &to_root), FIRN_OK); /* keeps itself */
    for (int i = 0; i < 40000; i++) {
        char filler[1000];
        memset(filler, i, sizeof filler);
        ck_assert_int_eq(firn_put(cache, &i, sizeof i, filler, sizeof filler, NULL), FIRN_OK);
    }
    ck_assert_uint_gt(stats_of(cache).reclaimed, 20000);
    ck_assert(!has(cache, "not kept"));
    ck_assert(has(cache, "plain") && has(cache, "holder"));
    ck_assert(has(cache, "root"));
    ck_assert(has(cache, "manifest"));
    ck_assert(has(cache, "chunk 1"));
    ck_assert(has(cache, "chunk 2"));
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

/* So much is kept that it cannot all stay: then nothing stays without what it keeps. */
START_TEST(when_no_room_can_be_made_both_go) {
    char *path = scratch_path("both");
    firn_options options = FIRN_OPTIONS_INIT;
    options.threads = 0;
    options.hot_bytes = 1 << 20;
    options.cold_bytes = 4 << 20;
    options.compression_level = FIRN_COMPRESSION_OFF;
    firn_cache *cache = open_with(path, &options);
    enum { COUNT = 8000 };
    for (int i = 0; i < COUNT; i++) {
        char filler[1000];
        char key[32];
        memset(filler, i, sizeof filler);
        snprintf(key, sizeof key, "kept %d", i);
        ck_assert_int_eq(firn_put(cache, key, strlen(key), filler, sizeof filler, NULL), FIRN_OK);
        char holder[32];
        snprintf(holder, sizeof holder, "holder %d", i);
        put_1(cache, holder, keeps(key));
    }
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    ck_assert_int_ge(firn_run(cache, 100), FIRN_OK);
    int holders = 0;
    for (int i = 0; i < COUNT; i++) {
        char key[32];
        char holder[32];
        snprintf(key, sizeof key, "kept %d", i);
        snprintf(holder, sizeof holder, "holder %d", i);
        ck_assert(!has(cache, holder) || has(cache, key));
        holders += has(cache, holder);
    }
    ck_assert_int_gt(holders, 500);
    ck_assert_int_lt(holders, COUNT / 2);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

/* ---- circles ---- */

static void put_owned(firn_cache *cache, const char *key, firn_link link) {
    ck_assert_int_eq(put_with(cache, key, &link, 1, true), FIRN_OK);
}

/* An anchor that keeps a circle of three, with a tail, and something plain that it keeps too. */
static void let_a_circle_go(firn_cache *cache, bool sleeping) {
    put(cache, "plain");
    ck_assert_int_eq(put_with(cache, "tail", NULL, 0, true), FIRN_OK);
    firn_link many[] = {keeps("one"), keeps("tail"), keeps("plain")};
    ck_assert_int_eq(put_with(cache, "three", many, 3, true), FIRN_OK);
    put_owned(cache, "two", keeps("three"));
    put_owned(cache, "one", keeps("two"));
    put_1(cache, "anchor", keeps("two"));
    ck_assert_int_eq(firn_collect(cache, UINT64_MAX, NULL), FIRN_OK);
    put_to_sleep(cache, sleeping);
    ck_assert(has(cache, "one") && has(cache, "two") && has(cache, "three"));
    ck_assert_uint_eq(stats_of(cache).circles, 0);
    ck_assert_int_eq(firn_delete(cache, "anchor", 6), FIRN_OK);
    ck_assert(has(cache, "one") && has(cache, "two") && has(cache, "three"));
    ck_assert_int_eq(firn_collect(cache, UINT64_MAX, NULL), FIRN_OK);
    ck_assert(!has(cache, "one") && !has(cache, "two") && !has(cache, "three"));
    ck_assert(!has(cache, "tail"));
    ck_assert(has(cache, "plain"));
    ck_assert_uint_gt(stats_of(cache).circles, 0);
    ck_assert_uint_eq(stats_of(cache).links, 0);
}

START_TEST(owned_entries_in_a_circle_are_collected) {
    each_place(let_a_circle_go, true);
}
END_TEST

/* Also what was in the store when it was opened, and in steps. */
START_TEST(circles_in_the_store_are_collected) {
    char *path = scratch_path("circles");
    firn_cache *cache = open_linked(path);
    enum { COUNT = 3000 };
    for (int i = 0; i < COUNT; i++) {
        char key[32];
        char next[32];
        snprintf(key, sizeof key, "ring %d", i);
        snprintf(next, sizeof next, "ring %d", i % 100 == 99 ? i - 99 : i + 1);
        put_owned(cache, key, keeps(next));
    }
    put_1(cache, "anchor", keeps("ring 250"));
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    cache = open_linked(path);
    int result = FIRN_AGAIN;
    int steps = 0;
    while (result == FIRN_AGAIN) {
        result = firn_collect(cache, 0, NULL);
        steps++;
    }
    ck_assert_int_eq(result, FIRN_OK);
    ck_assert_int_gt(steps, 5);
    ck_assert(has(cache, "ring 200") && has(cache, "ring 299"));
    ck_assert(!has(cache, "ring 199") && !has(cache, "ring 300") && !has(cache, "ring 0"));
    ck_assert_uint_eq(stats_of(cache).links, 101);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(a_pin_keeps_a_circle) {
    firn_cache *cache = open_linked(NULL);
    put_owned(cache, "one", keeps("two"));
    put_owned(cache, "two", keeps("one"));
    ck_assert_int_eq(firn_pin(cache, "one", 3, NULL), FIRN_OK);
    ck_assert_int_eq(firn_collect(cache, UINT64_MAX, NULL), FIRN_OK);
    ck_assert(has(cache, "one") && has(cache, "two"));
    ck_assert_int_eq(firn_unpin(cache, "one", 3), FIRN_OK);
    ck_assert_int_eq(firn_collect(cache, UINT64_MAX, NULL), FIRN_OK);
    ck_assert(!has(cache, "one") && !has(cache, "two"));
    /* And one whose last link goes, until it is let go. */
    ck_assert_int_eq(put_with(cache, "chunk", NULL, 0, true), FIRN_OK);
    put_1(cache, "manifest", keeps("chunk"));
    ck_assert_int_eq(firn_pin(cache, "chunk", 5, NULL), FIRN_OK);
    ck_assert_int_eq(firn_delete(cache, "manifest", 8), FIRN_OK);
    ck_assert(has(cache, "chunk"));
    ck_assert_int_eq(firn_unpin(cache, "chunk", 5), FIRN_OK);
    ck_assert(!has(cache, "chunk"));
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

/* ---- the rest ---- */

typedef struct listing {
    size_t count;
    firn_link links[4];
    char keys[4][32];
} listing;

static int list_one(void *context, const firn_link *link) {
    listing *self = context;
    self->links[self->count] = *link;
    memcpy(self->keys[self->count], link->key, link->key_size);
    self->count++;
    return self->count == 4;
}

static listing list(firn_cache *cache, const char *key) {
    listing self = {0};
    firn_object *object;
    ck_assert_int_eq(firn_get(cache, key, strlen(key), &object), FIRN_OK);
    ck_assert_int_eq(firn_object_links(object, list_one, &self), 0);
    firn_object_unref(object);
    return self;
}

static void change_links(firn_cache *cache, bool sleeping) {
    put(cache, "target");
    put(cache, "holder");
    firn_link kept = keeps("target");
    firn_link needed = depends("target");
    put_to_sleep(cache, sleeping);
    ck_assert_int_eq(firn_link_add(cache, "holder", 6, &kept), FIRN_OK);
    ck_assert_int_eq(firn_link_add(cache, "holder", 6, &kept), FIRN_OK); /* it is there */
    put_to_sleep(cache, sleeping);
    ck_assert_int_eq(firn_link_add(cache, "holder", 6, &needed), FIRN_OK);
    put_to_sleep(cache, sleeping);
    listing links = list(cache, "holder");
    ck_assert_uint_eq(links.count, 2);
    ck_assert_uint_eq(links.links[0].kind, FIRN_LINK_KEEPS);
    ck_assert_str_eq(links.keys[0], "target");
    ck_assert_uint_eq(links.links[1].kind, FIRN_LINK_DEPENDS);
    ck_assert_uint_eq(links.links[1].version, version_of(cache, "target"));
    firn_object *object;
    ck_assert_int_eq(firn_get(cache, "holder", 6, &object), FIRN_OK);
    ck_assert_mem_eq(firn_object_data(object), "holder", 6);
    firn_object_unref(object);
    ck_assert_int_eq(firn_touch(cache, "holder", 6, 500), FIRN_OK);
    ck_assert_uint_eq(list(cache, "holder").count, 2);
    ck_assert_int_eq(firn_link_remove(cache, "holder", 6, &needed), FIRN_OK);
    put_to_sleep(cache, sleeping);
    ck_assert_uint_eq(list(cache, "holder").count, 1);
    put(cache, "target");
    ck_assert(has(cache, "holder"));
    put(cache, "holder"); /* links belong to the value */
    ck_assert_uint_eq(list(cache, "holder").count, 0);
    ck_assert_uint_eq(stats_of(cache).links, 0);
    ck_assert_int_eq(firn_link_add(cache, "missing", 7, &kept), FIRN_NOT_FOUND);
    needed.version = 1;
    ck_assert_int_eq(firn_link_add(cache, "holder", 6, &needed), FIRN_CONFLICT);
}

START_TEST(links_are_added_listed_and_removed) {
    each_place(change_links, true);
}
END_TEST

/* A value that the cold tier never gets keeps its place when its links change. */
START_TEST(links_of_a_live_value_change_in_place) {
    static const firn_type live = {.size = sizeof(firn_type), .name = "live", .value_size = 8};
    char *path = scratch_path("live");
    firn_cache *cache = open_linked(path);
    ck_assert_int_eq(firn_register_type(cache, &live), FIRN_OK);
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.type = &live;
    firn_link first = keeps("first");
    options.links = &first;
    options.link_count = 1;
    firn_object *object;
    ck_assert_int_eq(firn_object_new(cache, "live", 4, 8, &options, &object), FIRN_OK);
    ck_assert_int_eq(firn_put_object(cache, object), FIRN_OK);
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    put(cache, "second");
    firn_link second = depends("second");
    ck_assert_int_eq(firn_link_add(cache, "live", 4, &second), FIRN_OK);
    ck_assert_uint_eq(list(cache, "live").count, 2);
    firn_object *same;
    ck_assert_int_eq(firn_get(cache, "live", 4, &same), FIRN_OK);
    ck_assert_ptr_eq(same, object);
    firn_object_unref(same);
    firn_object_unref(object);
    put(cache, "second");
    ck_assert(!has(cache, "live"));
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(a_source_that_is_written_as_a_stream_changes_too) {
    char *path = scratch_path("streamed");
    firn_cache *cache = open_linked(path);
    put(cache, "source");
    put_1(cache, "result", depends("source"));
    firn_writer *writer;
    ck_assert_int_eq(firn_writer_open(cache, "source", 6, NULL, &writer), FIRN_OK);
    ck_assert_int_eq(firn_writer_write(writer, "anew", 4), FIRN_OK);
    ck_assert(has(cache, "result"));
    ck_assert_int_eq(firn_writer_commit(writer), FIRN_OK);
    firn_object *object; /* no other change comes, that might see to it */
    ck_assert_int_eq(firn_get(cache, "result", 6, &object), FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(a_large_value_that_goes_straight_down_has_links_too) {
    char *path = scratch_path("large");
    firn_cache *cache = open_linked(path);
    enum { SIZE = 4 << 20 };
    char *value = calloc(1, SIZE);
    put(cache, "source");
    firn_link link = depends("source");
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.links = &link;
    options.link_count = 1;
    for (int round = 0; round < 2; round++) {
        ck_assert_int_eq(firn_put(cache, "large", 5, value, SIZE, &options), FIRN_OK);
        ck_assert_uint_eq(list(cache, "large").count, 1);
        put(cache, "source");
        ck_assert(!has(cache, "large"));
    }
    free(value);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(arguments_are_checked) {
    firn_cache *cache = open_linked(NULL);
    put(cache, "k");
    firn_link link = keeps("k");
    link.kind = 7;
    ck_assert_int_eq(put_with(cache, "x", &link, 1, false), FIRN_EINVAL);
    link = keeps("");
    ck_assert_int_eq(put_with(cache, "x", &link, 1, false), FIRN_EINVAL);
    ck_assert_int_eq(put_with(cache, "x", NULL, 1, false), FIRN_EINVAL);
    ck_assert_int_eq(put_with(cache, "x", &link, FIRN_LINKS_MAX + 1, false), FIRN_ETOOLARGE);
    char *long_key = calloc(1, FIRN_LINK_BYTES_MAX);
    firn_link long_links[] = {{FIRN_LINK_KEEPS, long_key, FIRN_LINK_BYTES_MAX, 0}, keeps("k")};
    ck_assert_int_eq(put_with(cache, "x", long_links, 2, false), FIRN_ETOOLARGE);
    free(long_key);
    ck_assert_int_eq(firn_link_add(cache, "k", 1, NULL), FIRN_EINVAL);
    ck_assert_int_eq(firn_link_add(NULL, "k", 1, &link), FIRN_EINVAL);
    ck_assert_int_eq(firn_link_add(cache, "", 0, &link), FIRN_EINVAL);
    ck_assert_int_eq(firn_object_links(NULL, list_one, NULL), FIRN_EINVAL);
    ck_assert(!has(cache, "x"));
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

/* ---- threads ---- */

enum { SOURCES = 4, RESULTS = 16, FRESH = 1500 /* results that are to be put */ };

typedef struct race {
    firn_cache *cache;
    atomic_uint number;
    atomic_uint fresh;
    /* Of each source, the last value whose put has returned. */
    atomic_uint done[SOURCES];
    pthread_mutex_t locks[SOURCES];
} race;

static void source_key(unsigned source, char *key) {
    snprintf(key, 32, "source %u", source);
}

/* Sources count up; a result is a copy of its source's number. So a result that is seen may never
 * be below what its source was before the look. */
static void *race_sources(void *context) {
    race *self = context;
    unsigned state = atomic_fetch_add(&self->number, 1) * 7919 + 1;
    while (atomic_load(&self->fresh) < FRESH) {
        state = state * 1664525 + 1013904223;
        unsigned source = (state >> 8) % SOURCES;
        char key[32];
        source_key(source, key);
        pthread_mutex_lock(&self->locks[source]);
        unsigned value = atomic_load(&self->done[source]) + 1;
        ck_assert_int_eq(firn_put(self->cache, key, strlen(key), &value, sizeof value, NULL),
                         FIRN_OK);
        atomic_store(&self->done[source], value);
        pthread_mutex_unlock(&self->locks[source]);
    }
    return NULL;
}

static void *race_results(void *context) {
    race *self = context;
    unsigned state = atomic_fetch_add(&self->number, 1) * 104729 + 1;
    while (atomic_load(&self->fresh) < FRESH) {
        state = state * 1664525 + 1013904223;
        unsigned result = (state >> 8) % RESULTS;
        unsigned source = result % SOURCES;
        char key[32];
        char name[32];
        source_key(source, key);
        snprintf(name, sizeof name, "result %u", result);
        unsigned before = atomic_load(&self->done[source]);
        firn_object *object;
        if (firn_get(self->cache, name, strlen(name), &object) == FIRN_OK) {
            unsigned value;
            memcpy(&value, firn_object_data(object), sizeof value);
            firn_object_unref(object);
            ck_assert_uint_ge(value, before);
            continue;
        }
        if (firn_get(self->cache, key, strlen(key), &object) != FIRN_OK) {
            continue;
        }
        firn_link link = depends(key);
        link.version = firn_object_version(object);
        firn_put_options options = FIRN_PUT_OPTIONS_INIT;
        options.links = &link;
        options.link_count = 1;
        int put = firn_put(self->cache, name, strlen(name), firn_object_data(object),
                           firn_object_size(object), &options);
        ck_assert(put == FIRN_OK || put == FIRN_CONFLICT);
        atomic_fetch_add(&self->fresh, put == FIRN_OK);
        firn_object_unref(object);
    }
    return NULL;
}

static void run_race(const char *path) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 1 << 20;
    options.shards = 4;
    race self = {.cache = open_with(path, &options)};
    pthread_t threads[4];
    for (int i = 0; i < SOURCES; i++) {
        pthread_mutex_init(&self.locks[i], NULL);
    }
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(
            pthread_create(&threads[i], NULL, i < 2 ? race_sources : race_results, &self), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    ck_assert_int_eq(firn_close(self.cache), FIRN_OK);
}

START_TEST(no_result_is_older_than_its_source) {
    char *path = scratch_path("race");
    run_race(NULL);
    run_race(path);
    remove_tree(path);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, what_depends_on_a_change_is_gone_when_the_call_returns);
    tcase_add_test(tcase, a_result_expires_with_what_it_depends_on);
    tcase_add_test(tcase, dependence_may_go_in_a_circle);
    tcase_add_test(tcase, a_result_of_an_older_version_is_not_put);
    tcase_add_test(tcase, a_lost_source_leaves_its_results);
    tcase_add_test(tcase, links_hold_after_a_restart);
    tcase_add_test(tcase, links_hold_after_a_crash);
    tcase_add_test(tcase, a_change_that_came_without_its_cascade_is_found_out);
    tcase_add_test(tcase, owned_entries_go_with_the_last_that_keeps_them);
    tcase_add_test(tcase, what_is_kept_is_not_evicted_alone);
    tcase_add_test(tcase, what_is_kept_is_not_reclaimed);
    tcase_add_test(tcase, when_no_room_can_be_made_both_go);
    tcase_add_test(tcase, owned_entries_in_a_circle_are_collected);
    tcase_add_test(tcase, circles_in_the_store_are_collected);
    tcase_add_test(tcase, a_pin_keeps_a_circle);
    tcase_add_test(tcase, links_are_added_listed_and_removed);
    tcase_add_test(tcase, links_of_a_live_value_change_in_place);
    tcase_add_test(tcase, a_source_that_is_written_as_a_stream_changes_too);
    tcase_add_test(tcase, a_large_value_that_goes_straight_down_has_links_too);
    tcase_add_test(tcase, arguments_are_checked);
    tcase_add_test(tcase, no_result_is_older_than_its_source);
}

int main(void) {
    return run_suite("links", add_tests, 120);
}
