/* Clearing by prefix and by tag: what is cleared is gone at once in both tiers, stays gone over
 * restarts and kill -9, and nothing else goes. */
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <firn/firn.h>

#include "base/clears.h"
#include "base/hash.h"
#include "entries.h"
#include "suite.h"
#include "support.h"

static firn_options quiet(void) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 1 << 20;
    options.cold_bytes = 16 << 20;
    options.threads = 0;
    return options;
}

static void put_tagged(firn_cache *cache, const char *key, const char *tag) {
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.tags = &tag;
    options.tag_count = tag != NULL ? 1 : 0;
    ck_assert_int_eq(firn_put(cache, key, strlen(key), key, strlen(key), &options), FIRN_OK);
}

static bool has(firn_cache *cache, const char *key) {
    bool found = finds(cache, key);
    ck_assert_int_eq(firn_contains(cache, key, strlen(key)), found ? FIRN_OK : FIRN_NOT_FOUND);
    return found;
}

static void work(firn_cache *cache) {
    int result;
    do {
        result = firn_run(cache, 0);
    } while (result == FIRN_AGAIN);
    ck_assert_int_eq(result, FIRN_OK);
}

static size_t count_entries(firn_cache *cache) {
    firn_cursor *cursor;
    firn_object *object;
    size_t count = 0;
    ck_assert_int_eq(firn_cursor_open(cache, NULL, 0, FIRN_CURSOR_KEYS, &cursor), FIRN_OK);
    while (firn_cursor_next(cursor, &object) == FIRN_OK) {
        firn_object_unref(object);
        count++;
    }
    firn_cursor_close(cursor);
    return count;
}

/* ---- the table ---- */

static bool voids(const firn_clears *clears, uint64_t version, const char *key, uint64_t tag) {
    firn_traits traits = {.tags = &tag, .tag_count = tag != 0 ? 1 : 0};
    return firn_clears_void(clears, version, key, strlen(key), &traits);
}

static int add_tag(firn_clears *clears, uint64_t tag, uint64_t version) {
    return firn_clears_add(clears, &(firn_clear_line){.kind = FIRN_CLEARS_TAG,
                                                      .name = firn_hash64(0, &tag, sizeof tag),
                                                      .version = version});
}

static uint64_t hash_of_tag(uint64_t tag) {
    return firn_hash64(0, &tag, sizeof tag);
}

START_TEST(the_table_tells_what_was_cleared_and_when) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_clears clears;
    ck_assert_int_eq(firn_clears_init(&clears, heap), 0);
    ck_assert(!voids(&clears, 0, "any", 5));
    firn_clear_line line = firn_clears_of_prefix("user:", 5, 10);
    ck_assert_int_eq(firn_clears_add(&clears, &line), FIRN_OK);
    ck_assert(voids(&clears, 9, "user:1", 0));
    ck_assert(voids(&clears, 9, "user:", 0));
    ck_assert(!voids(&clears, 10, "user:1", 0));
    ck_assert(!voids(&clears, 9, "user", 0));
    ck_assert(!voids(&clears, 9, "usex:1", 0));
    ck_assert(!firn_clears_void(&clears, 9, NULL, 6, &(firn_traits){0}));
    line.version = 8; /* what is older changes nothing */
    ck_assert_int_eq(firn_clears_add(&clears, &line), FIRN_OK);
    ck_assert(voids(&clears, 9, "user:1", 0));
    ck_assert_int_eq(add_tag(&clears, 3, 20), FIRN_OK);
    ck_assert(voids(&clears, 19, "other", hash_of_tag(3)));
    ck_assert(!voids(&clears, 19, "other", hash_of_tag(4)));
    ck_assert(!voids(&clears, 20, "other", hash_of_tag(3)));
    line = firn_clears_of_prefix(NULL, 0, 30);
    ck_assert_int_eq(firn_clears_add(&clears, &line), FIRN_OK);
    ck_assert(voids(&clears, 29, "other", 0));
    ck_assert(firn_clears_void(&clears, 29, NULL, 6, &(firn_traits){0}));
    ck_assert(!voids(&clears, 30, "user:1", hash_of_tag(3)));
    firn_clears_fini(&clears);
    firn_heap_unref(heap);
}
END_TEST

START_TEST(many_tags_are_kept_and_of_too_many_the_older_are_forgotten_safely) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_clears clears;
    ck_assert_int_eq(firn_clears_init(&clears, heap), 0);
    uint64_t more = FIRN_CLEARS_TAGS_MAX + 10;
    firn_clear_line line = firn_clears_of_prefix("p", 1, 50);
    ck_assert_int_eq(firn_clears_add(&clears, &line), FIRN_OK);
    for (uint64_t i = 1; i <= more; i++) {
        ck_assert_int_eq(add_tag(&clears, i, i * 2), FIRN_OK);
        if (i == FIRN_CLEARS_TAGS_MAX) {
            ck_assert(!voids(&clears, 2, "k", hash_of_tag(1)));
            ck_assert(!voids(&clears, 1, "k", hash_of_tag(more + 1)));
        }
    }
    ck_assert_uint_le(clears.tags, FIRN_CLEARS_TAGS_MAX);
    for (uint64_t i = 1; i <= more; i += 997) {
        ck_assert(voids(&clears, i * 2 - 1, "k", hash_of_tag(i)));
    }
    /* The later half is known exactly, and the floor is no higher than the half. */
    ck_assert(!voids(&clears, more * 2, "k", hash_of_tag(more)));
    ck_assert(!voids(&clears, more + 100, "k", hash_of_tag(more + 1)));
    ck_assert(voids(&clears, 1, "k", hash_of_tag(more + 1)));
    ck_assert(!voids(&clears, 1, "k", 0)); /* what has no tag is not concerned */
    ck_assert(voids(&clears, 49, "prefixed", 0));
    firn_clears_fini(&clears);
    firn_heap_unref(heap);
}
END_TEST

static void *counted_alloc(void *context, size_t size) {
    size_t *held = context;
    void *memory = malloc(size);
    *held += memory != NULL ? size : 0;
    return memory;
}

static void counted_free(void *context, void *memory, size_t size) {
    size_t *held = context;
    *held -= memory != NULL ? size : 0;
    free(memory);
}

START_TEST(ever_more_tags_take_no_more_memory) {
    size_t held = 0;
    firn_allocator allocator = {.alloc = counted_alloc, .free = counted_free, .context = &held};
    firn_heap *heap = firn_heap_new(&allocator);
    firn_clears clears;
    ck_assert_int_eq(firn_clears_init(&clears, heap), 0);
    firn_clear_line line = firn_clears_of_prefix("p", 1, 1);
    ck_assert_int_eq(firn_clears_add(&clears, &line), FIRN_OK);
    size_t settled = 0;
    for (uint64_t i = 1; i <= 4 * FIRN_CLEARS_TAGS_MAX; i++) {
        ck_assert_int_eq(add_tag(&clears, i, i), FIRN_OK);
        if (i == FIRN_CLEARS_TAGS_MAX + 1) {
            settled = held;
        }
        if (i % 61 == 0) {
            ck_assert(voids(&clears, i - 1, "k", hash_of_tag(i)));
            ck_assert(voids(&clears, i / 2 - 1, "k", hash_of_tag(i / 2)));
            ck_assert(!voids(&clears, i, "k", hash_of_tag(i)));
            ck_assert(voids(&clears, 0, "p", 0));
        }
    }
    ck_assert_uint_le(held, settled);
    firn_clears_fini(&clears);
    firn_heap_unref(heap);
    ck_assert_uint_eq(held, 0);
}
END_TEST

enum { LOOKERS = 2, TAGS_OF_ONE = SANITIZED ? 1 << 14 : 1 << 17 };

typedef struct looking {
    firn_clears clears;
    _Atomic uint64_t cleared; /* tag 1, so far, is below this version */
    atomic_bool over;
    _Atomic unsigned stale;
} looking;

/* One tag that is cleared again and again, and many before it that never are, so that a look takes
 * as long as it takes to forget some. */
static void *look_all_the_while(void *context) {
    looking *self = context;
    uint64_t *tags = malloc(TAGS_OF_ONE * sizeof *tags);
    for (uint64_t i = 0; i < TAGS_OF_ONE; i++) {
        tags[i] = hash_of_tag(~i);
    }
    tags[TAGS_OF_ONE - 1] = hash_of_tag(1);
    firn_traits traits = {.tags = tags, .tag_count = TAGS_OF_ONE};
    while (!atomic_load_explicit(&self->over, memory_order_relaxed)) {
        uint64_t cleared = atomic_load_explicit(&self->cleared, memory_order_acquire);
        if (cleared > 0 && !firn_clears_void(&self->clears, cleared - 1, "k", 1, &traits)) {
            atomic_fetch_add(&self->stale, 1);
        }
    }
    free(tags);
    return NULL;
}

START_TEST(what_was_cleared_is_seen_while_tags_are_forgotten) {
    static looking self;
    firn_heap *heap = firn_heap_new(NULL);
    pthread_t threads[LOOKERS];
    ck_assert_int_eq(firn_clears_init(&self.clears, heap), 0);
    for (unsigned i = 0; i < LOOKERS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, look_all_the_while, &self), 0);
    }
    for (uint64_t i = 1; i <= 4 * FIRN_CLEARS_TAGS_MAX; i++) {
        uint64_t tag = i % 64 == 0 ? 1 : i;
        ck_assert_int_eq(add_tag(&self.clears, tag, i), FIRN_OK);
        if (tag == 1) {
            atomic_store_explicit(&self.cleared, i, memory_order_release);
        }
    }
    atomic_store(&self.over, true);
    for (unsigned i = 0; i < LOOKERS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    ck_assert_uint_eq(atomic_load(&self.stale), 0);
    firn_clears_fini(&self.clears);
    firn_heap_unref(heap);
}
END_TEST

START_TEST(a_floor_holds_where_there_are_no_tags) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_clears clears;
    ck_assert_int_eq(firn_clears_init(&clears, heap), 0);
    firn_clear_line line = {.kind = FIRN_CLEARS_FLOOR, .version = 10};
    ck_assert_int_eq(firn_clears_add(&clears, &line), FIRN_OK);
    ck_assert(voids(&clears, 9, "k", hash_of_tag(1)));
    ck_assert(!voids(&clears, 10, "k", hash_of_tag(1)));
    ck_assert(!voids(&clears, 9, "k", 0));
    firn_clears_fini(&clears);
    firn_heap_unref(heap);
}
END_TEST

static void clear_numbers(firn_cache *cache, unsigned from, unsigned to) {
    for (unsigned i = from; i < to; i++) {
        ck_assert_int_eq(firn_clear(cache, &i, sizeof i), FIRN_OK);
    }
}

START_TEST(there_is_a_bound_on_prefixes) {
    char *path = scratch_path("bound");
    for (unsigned tiers = 0; tiers < 2; tiers++) {
        firn_options options = quiet();
        firn_cache *cache = open_with(tiers == 0 ? NULL : path, &options);
        clear_numbers(cache, 0, FIRN_CLEARS_PREFIXES_MAX);
        put_tagged(cache, "one more", NULL);
        ck_assert_int_eq(firn_clear(cache, "one more", 8), FIRN_ENOSPC);
        char message[200];
        ck_assert_uint_gt(firn_last_message(cache, message, sizeof message), 0);
        ck_assert_ptr_nonnull(strstr(message, "prefix"));
        clear_numbers(cache, 7, 8); /* again */
        if (tiers > 0) {
            ck_assert_int_eq(firn_close(cache), FIRN_OK);
            cache = open_with(path, &options);
        }
        ck_assert(has(cache, "one more"));
        /* What is cleared with everything takes no place any more. */
        ck_assert_int_eq(firn_clear(cache, NULL, 0), FIRN_OK);
        clear_numbers(cache, FIRN_CLEARS_PREFIXES_MAX, 2 * FIRN_CLEARS_PREFIXES_MAX);
        put_tagged(cache, "one more", NULL);
        ck_assert_int_eq(firn_clear(cache, "one more", 8), FIRN_ENOSPC);
        ck_assert(has(cache, "one more"));
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
    }
    remove_tree(path);
}
END_TEST

/* ---- the cache ---- */

START_TEST(a_prefix_is_cleared_in_both_tiers_and_for_good) {
    char *path = scratch_path("prefix");
    for (unsigned tiers = 0; tiers < 4; tiers++) { /* memory, both, flushed, disk alone */
        firn_options options = quiet();
        options.hot_bytes = tiers == 3 ? 0 : options.hot_bytes;
        firn_cache *cache = open_with(tiers == 0 ? NULL : path, &options);
        put_tagged(cache, "user:1", NULL);
        put_tagged(cache, "user:2", NULL);
        put_tagged(cache, "page:1", NULL);
        if (tiers >= 2) {
            ck_assert_int_eq(firn_flush(cache), FIRN_OK);
        }
        ck_assert_int_eq(firn_clear(cache, "user:", 5), FIRN_OK);
        for (unsigned round = 0; round < 3; round++) {
            ck_assert(!has(cache, "user:1"));
            ck_assert(has(cache, "user:2") == (round > 0));
            ck_assert(has(cache, "page:1"));
            ck_assert_uint_eq(count_entries(cache), round > 0 ? 2 : 1);
            if (round == 0) {
                ck_assert_int_eq(firn_replace(cache, "user:1", 6, "v", 1, NULL), FIRN_NOT_FOUND);
                ck_assert_int_eq(firn_delete(cache, "user:1", 6), FIRN_NOT_FOUND);
                ck_assert_int_eq(firn_add(cache, "user:2", 6, "v", 1, NULL), FIRN_OK);
                work(cache);
            } else if (tiers > 0 && round == 1) {
                ck_assert_int_eq(firn_close(cache), FIRN_OK);
                cache = open_with(path, &options);
            }
        }
        ck_assert_uint_gt(stats_of(cache).cleared + (tiers > 0), 0);
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
        clear_tree(path);
    }
    remove_tree(path);
}
END_TEST

START_TEST(everything_is_cleared_and_the_memory_comes_back) {
    char *path = scratch_path("everything");
    enum { ENTRIES = 5000 };
    for (unsigned tiers = 0; tiers < 2; tiers++) {
        firn_options options = quiet();
        firn_cache *cache = open_with(tiers == 0 ? NULL : path, &options);
        for (unsigned i = 0; i < ENTRIES; i++) {
            ck_assert_int_eq(firn_put(cache, &i, sizeof i, "some value", 10, NULL), FIRN_OK);
        }
        uint64_t bytes = stats_of(cache).hot_bytes;
        ck_assert_uint_eq(stats_of(cache).hot_entries, ENTRIES);
        ck_assert_int_eq(firn_clear(cache, NULL, 0), FIRN_OK);
        unsigned fresh = ENTRIES + 1;
        ck_assert_int_eq(firn_put(cache, &fresh, sizeof fresh, "v", 1, NULL), FIRN_OK);
        ck_assert_uint_eq(count_entries(cache), 1);
        work(cache);
        ck_assert_uint_eq(stats_of(cache).hot_entries, 1);
        ck_assert_uint_lt(stats_of(cache).hot_bytes, bytes - ENTRIES * 40);
        ck_assert_uint_eq(stats_of(cache).cleared, ENTRIES);
        ck_assert_uint_eq(stats_of(cache).evictions, 0);
        ck_assert_uint_eq(count_entries(cache), 1);
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
    }
    remove_tree(path);
}
END_TEST

/* Who is evicted before the sweep comes to it is counted for what it is. */
START_TEST(what_was_cleared_is_not_counted_as_expired_when_it_is_evicted) {
    firn_options options = clocked();
    options.hot_bytes = 256 << 10;
    options.shards = 1;
    firn_cache *cache = open_with(NULL, &options);
    put_text(cache, "a", "cleared");
    ck_assert_int_eq(firn_clear(cache, "a", 1), FIRN_OK);
    push_out(cache, 400);
    ck_assert_uint_gt(stats_of(cache).evictions, 0);
    ck_assert_uint_eq(stats_of(cache).cleared, 1);
    ck_assert_uint_eq(stats_of(cache).expired, 0);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(a_tag_is_cleared_and_no_older_value_shows) {
    char *path = scratch_path("tag");
    for (unsigned flushed = 0; flushed < 2; flushed++) {
        firn_options options = quiet();
        firn_cache *cache = open_with(path, &options);
        put_tagged(cache, "a", NULL);
        put_tagged(cache, "b", "red");
        put_tagged(cache, "c", "blue");
        ck_assert_int_eq(firn_flush(cache), FIRN_OK);
        put_tagged(cache, "a", "red"); /* over one on disk that has no tag */
        put_tagged(cache, "c", NULL);
        if (flushed) {
            ck_assert_int_eq(firn_flush(cache), FIRN_OK);
        }
        ck_assert_int_eq(firn_invalidate_tag(cache, "red"), FIRN_OK);
        ck_assert_int_eq(firn_invalidate_tag(cache, "blue"), FIRN_OK);
        for (unsigned round = 0; round < 3; round++) {
            ck_assert(!has(cache, "a"));
            ck_assert(!has(cache, "b"));
            ck_assert(has(cache, "c")); /* it has the tag no more */
            if (round == 0) {
                work(cache);
            } else if (round == 1) {
                ck_assert_int_eq(firn_close(cache), FIRN_OK);
                cache = open_with(path, &options);
            }
        }
        put_tagged(cache, "b", "red");
        ck_assert(has(cache, "b"));
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
        clear_tree(path);
    }
    remove_tree(path);
}
END_TEST

START_TEST(what_was_cleared_stays_so_after_kill_9) {
    char *path = scratch_path("killed");
    firn_options options = quiet();
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        firn_cache *cache = open_with(path, &options);
        put_tagged(cache, "user:1", NULL);
        put_tagged(cache, "page:1", "red");
        put_tagged(cache, "page:2", "blue");
        ck_assert_int_eq(firn_flush(cache), FIRN_OK);
        ck_assert_int_eq(firn_clear(cache, "user:", 5), FIRN_OK);
        ck_assert_int_eq(firn_invalidate_tag(cache, "red"), FIRN_OK);
        raise(SIGKILL);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    firn_cache *cache = open_with(path, &options);
    ck_assert(!has(cache, "user:1"));
    ck_assert(!has(cache, "page:1"));
    ck_assert(has(cache, "page:2"));
    /* Versions go on above what was cleared. */
    put_tagged(cache, "user:1", "red");
    ck_assert(has(cache, "user:1"));
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(a_reader_beside_the_writer_sees_what_is_cleared) {
    char *path = scratch_path("beside");
    firn_options options = quiet();
    firn_cache *cache = open_with(path, &options);
    put_tagged(cache, "user:1", NULL);
    put_tagged(cache, "page:1", "red");
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    int to[2];
    int from[2];
    ck_assert(pipe(to) == 0 && pipe(from) == 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        firn_options reading = quiet();
        reading.read_only = 1;
        firn_cache *reader;
        char step;
        close(to[1]);
        int failed = firn_open(&reader, path, &reading) != FIRN_OK;
        while (!failed && read(to[0], &step, 1) == 1) {
            char seen = (char)('0' + (firn_contains(reader, "user:1", 6) == FIRN_OK) +
                               2 * (firn_contains(reader, "page:1", 6) == FIRN_OK));
            failed = write(from[1], &seen, 1) != 1;
        }
        _exit(failed || firn_close(reader) != FIRN_OK);
    }
    close(to[0]);
    const char *expected = "320";
    for (unsigned i = 0; i < 3; i++) {
        char seen;
        if (i == 1) {
            ck_assert_int_eq(firn_clear(cache, "user:", 5), FIRN_OK);
        } else if (i == 2) {
            ck_assert_int_eq(firn_invalidate_tag(cache, "red"), FIRN_OK);
        }
        ck_assert_int_eq(write(to[1], "x", 1), 1);
        ck_assert_int_eq(read(from[0], &seen, 1), 1);
        ck_assert_int_eq(seen, expected[i]);
    }
    close(to[1]);
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

static size_t entries_told(const char *path) {
    char why[200];
    firn_store *store;
    firn_store_entry entry = FIRN_STORE_ENTRY_INIT;
    size_t count = 0;
    ck_assert_int_eq(firn_store_open(&store, path, why, sizeof why), FIRN_OK);
    while (firn_store_next(store, 0, &entry) == FIRN_OK) {
        count++;
    }
    firn_store_close(store);
    return count;
}

START_TEST(tools_do_not_bring_back_what_was_cleared) {
    char *path = scratch_path("tools");
    char *saved = scratch_path("tools-saved");
    firn_options options = quiet();
    firn_cache *cache = open_with(path, &options);
    put_tagged(cache, "user:1", NULL);
    put_tagged(cache, "page:1", "red");
    put_tagged(cache, "page:2", "blue");
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    ck_assert_int_eq(firn_clear(cache, "user:", 5), FIRN_OK);
    ck_assert_int_eq(firn_invalidate_tag(cache, "red"), FIRN_OK);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    ck_assert_uint_eq(entries_told(path), 1);
    firn_salvage_options how = FIRN_SALVAGE_OPTIONS_INIT;
    firn_salvage_report salvage = FIRN_SALVAGE_REPORT_INIT;
    ck_assert_int_eq(firn_store_salvage(path, saved, &how, &salvage, NULL, NULL), FIRN_OK);
    ck_assert_uint_eq(salvage.salvaged, 1);
    firn_compact_report compact = FIRN_COMPACT_REPORT_INIT;
    ck_assert_int_eq(firn_store_compact(path, NULL, &compact, NULL, NULL), FIRN_OK);
    const char *paths[] = {path, saved};
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_uint_eq(entries_told(paths[i]), 1);
        cache = open_with(paths[i], &options);
        ck_assert(!has(cache, "user:1"));
        ck_assert(!has(cache, "page:1"));
        ck_assert(has(cache, "page:2"));
        ck_assert_int_eq(firn_invalidate_tag(cache, "blue"), FIRN_OK); /* tags are saved too */
        ck_assert(!has(cache, "page:2"));
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
    }
    remove_tree(path);
    remove_tree(saved);
}
END_TEST

START_TEST(a_clear_that_cannot_be_written_down_clears_nothing) {
    char *path = scratch_path("unwritable");
    firn_options options = quiet();
    firn_cache *cache = open_with(path, &options);
    put_tagged(cache, "k", "red");
    char *file = join(path, "firn.clears.tmp");
    ck_assert_int_eq(mkdir(file, 0700), 0); /* where it would be written */
    ck_assert_int_eq(firn_clear(cache, "k", 1), FIRN_EIO);
    ck_assert_int_eq(firn_invalidate_tag(cache, "red"), FIRN_EIO);
    ck_assert(has(cache, "k"));
    ck_assert_int_eq(rmdir(file), 0);
    ck_assert_int_eq(firn_clear(cache, "k", 1), FIRN_OK);
    ck_assert(!has(cache, "k"));
    free(file);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(a_damaged_file_says_what_its_sound_lines_say) {
    char *path = scratch_path("damaged");
    firn_options options = quiet();
    for (unsigned line = 0; line < 4; line++) { /* the title, one of two lines, a torn third */
        firn_cache *cache = open_with(path, &options);
        put_tagged(cache, "a", NULL);
        put_tagged(cache, "b", NULL);
        ck_assert_int_eq(firn_flush(cache), FIRN_OK);
        ck_assert_int_eq(firn_clear(cache, "a", 1), FIRN_OK);
        ck_assert_int_eq(firn_clear(cache, "b", 1), FIRN_OK);
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
        char *file = join(path, "firn.clears");
        int fd = open(file, O_RDWR);
        if (line < 3) {
            change_byte(fd, (off_t)line * 32 + 3, 0x10);
        } else {
            ck_assert_int_eq(pwrite(fd, "torn", 4, 96), 4);
        }
        close(fd);
        free(file);
        cache = open_with(path, &options);
        ck_assert(has(cache, "a") == (line == 1));
        ck_assert(has(cache, "b") == (line == 2));
        ck_assert_int_eq(firn_clear(cache, "a", 1), FIRN_OK); /* which makes it anew */
        ck_assert(!has(cache, "a"));
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
        cache = open_with(path, &options);
        ck_assert(!has(cache, "a"));
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
        clear_tree(path);
    }
    remove_tree(path);
}
END_TEST

START_TEST(what_depends_on_what_was_cleared_goes_too) {
    char *path = scratch_path("dependent");
    for (unsigned tiers = 0; tiers < 3; tiers++) {
        firn_options options = quiet();
        firn_cache *cache = open_with(tiers == 0 ? NULL : path, &options);
        put_tagged(cache, "page:1", "red");
        put_tagged(cache, "page:2", NULL);
        firn_link links[] = {{.kind = FIRN_LINK_DEPENDS, .key = "page:1", .key_size = 6},
                             {.kind = FIRN_LINK_DEPENDS, .key = "page:2", .key_size = 6}};
        for (unsigned i = 0; i < 2; i++) {
            firn_put_options linked = FIRN_PUT_OPTIONS_INIT;
            linked.links = &links[i];
            linked.link_count = 1;
            const char *key = i == 0 ? "index:1" : "index:2";
            ck_assert_int_eq(firn_put(cache, key, 7, "v", 1, &linked), FIRN_OK);
        }
        if (tiers == 2) {
            ck_assert_int_eq(firn_close(cache), FIRN_OK);
            cache = open_with(path, &options);
        }
        ck_assert_int_eq(firn_invalidate_tag(cache, "red"), FIRN_OK);
        ck_assert(!has(cache, "index:1"));
        ck_assert(has(cache, "index:2"));
        ck_assert_int_eq(firn_clear(cache, NULL, 0), FIRN_OK);
        ck_assert(!has(cache, "index:2"));
        put_tagged(cache, "page:2", NULL);
        ck_assert(!has(cache, "index:2"));
        work(cache);
        ck_assert_uint_eq(stats_of(cache).links, 0);
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
        clear_tree(path);
    }
    remove_tree(path);
}
END_TEST

START_TEST(values_are_interned_again_after_a_clear) {
    char *path = scratch_path("interned");
    for (unsigned tiers = 0; tiers < 2; tiers++) {
        firn_options options = quiet();
        options.intern_bytes = 1;
        firn_cache *cache = open_with(tiers == 0 ? NULL : path, &options);
        for (unsigned round = 0; round < 3; round++) {
            ck_assert_int_eq(firn_put(cache, "a", 1, "the same", 8, NULL), FIRN_OK);
            ck_assert_int_eq(firn_put(cache, "b", 1, "the same", 8, NULL), FIRN_OK);
            ck_assert(has(cache, "a") && has(cache, "b"));
            ck_assert_int_eq(firn_clear(cache, round == 1 ? "a" : NULL, round == 1), FIRN_OK);
            ck_assert(!has(cache, "a"));
            ck_assert(has(cache, "b") == (round == 1));
            ck_assert_int_eq(firn_flush(cache), FIRN_OK);
        }
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
    }
    remove_tree(path);
}
END_TEST

/* ---- against a plain model ---- */

enum { KEYS = 60, TAGS = 4 };

typedef struct model {
    bool there[KEYS];
    unsigned tag[KEYS];
    unsigned value[KEYS];
} model;

static size_t key_of(unsigned number, char *key) {
    return (size_t)sprintf(key, "%c%c%u", 'a' + (int)(number % 3), 'a' + (int)(number / 3 % 2),
                           number);
}

START_TEST(a_random_course_agrees_with_a_model) {
    static const char *tags[TAGS] = {"t0", "t1", "t2", "t3"};
    char *path = scratch_path("model");
    firn_options options = quiet();
    options.hot_bytes = 64 << 10;
    options.cold_bytes = 4 << 20;
    options.shards = 1;
    firn_cache *cache = open_with(_i % 3 == 0 ? NULL : path, &options);
    model expected = {0};
    srandom((unsigned)_i);
    for (unsigned step = 0; step < 4000; step++) {
        unsigned number = (unsigned)random() % KEYS;
        unsigned what = (unsigned)random() % 100;
        char key[32];
        size_t key_size = key_of(number, key);
        if (what < 45) {
            unsigned value[50] = {step};
            expected.there[number] = true;
            expected.tag[number] = (unsigned)random() % (TAGS + 1); /* the last: none */
            expected.value[number] = step;
            firn_put_options how = FIRN_PUT_OPTIONS_INIT;
            how.tags = &tags[expected.tag[number] % TAGS];
            how.tag_count = expected.tag[number] < TAGS ? 1 : 0;
            ck_assert_int_eq(firn_put(cache, key, key_size, value, sizeof value, &how), FIRN_OK);
        } else if (what < 90) {
            firn_object *object;
            int result = firn_get(cache, key, key_size, &object);
            ck_assert_int_eq(result, expected.there[number] ? FIRN_OK : FIRN_NOT_FOUND);
            if (result == FIRN_OK) {
                ck_assert_mem_eq(firn_object_data(object), &expected.value[number],
                                 sizeof(unsigned));
            }
            firn_object_unref(object);
        } else if (what < 93) {
            size_t size = (size_t)random() % 3; /* 0: everything */
            ck_assert_int_eq(firn_clear(cache, key, size), FIRN_OK);
            for (unsigned i = 0; i < KEYS; i++) {
                char other[32];
                key_of(i, other);
                expected.there[i] = expected.there[i] && memcmp(other, key, size) != 0;
            }
        } else if (what < 96) {
            unsigned tag = (unsigned)random() % TAGS;
            ck_assert_int_eq(firn_invalidate_tag(cache, tags[tag]), FIRN_OK);
            for (unsigned i = 0; i < KEYS; i++) {
                expected.there[i] = expected.there[i] && expected.tag[i] != tag;
            }
        } else if (what < 98) {
            work(cache);
        } else if (what < 99) {
            ck_assert_int_eq(firn_flush(cache), FIRN_OK);
        } else if (_i % 3 != 0) {
            ck_assert_int_eq(firn_close(cache), FIRN_OK);
            cache = open_with(path, &options);
        }
    }
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, the_table_tells_what_was_cleared_and_when);
    tcase_add_test(tcase, many_tags_are_kept_and_of_too_many_the_older_are_forgotten_safely);
    tcase_add_test(tcase, ever_more_tags_take_no_more_memory);
    tcase_add_test(tcase, what_was_cleared_is_seen_while_tags_are_forgotten);
    tcase_add_test(tcase, a_floor_holds_where_there_are_no_tags);
    tcase_add_test(tcase, there_is_a_bound_on_prefixes);
    tcase_add_test(tcase, a_prefix_is_cleared_in_both_tiers_and_for_good);
    tcase_add_test(tcase, everything_is_cleared_and_the_memory_comes_back);
    tcase_add_test(tcase, what_was_cleared_is_not_counted_as_expired_when_it_is_evicted);
    tcase_add_test(tcase, a_tag_is_cleared_and_no_older_value_shows);
    tcase_add_test(tcase, what_was_cleared_stays_so_after_kill_9);
    tcase_add_test(tcase, a_reader_beside_the_writer_sees_what_is_cleared);
    tcase_add_test(tcase, tools_do_not_bring_back_what_was_cleared);
    tcase_add_test(tcase, a_clear_that_cannot_be_written_down_clears_nothing);
    tcase_add_test(tcase, a_damaged_file_says_what_its_sound_lines_say);
    tcase_add_test(tcase, what_depends_on_what_was_cleared_goes_too);
    tcase_add_test(tcase, values_are_interned_again_after_a_clear);
    tcase_add_loop_test(tcase, a_random_course_agrees_with_a_model, 0, 9);
}

int main(void) {
    return run_suite("clear", add_tests, 120);
}
