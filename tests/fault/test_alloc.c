/* Every allocation of a scenario fails in turn: nothing crashes, nothing leaks, each error is one
 * that is promised, and no wrong value comes back. */
#include <errno.h>
#include <string.h>

#include <firn/firn.h>

#include "fault/faulty.h"
#include "unit/suite.h"
#include "unit/support.h"

static bool is_fine(int result) {
    return result == FIRN_OK || result == FIRN_NOT_FOUND || result == FIRN_ENOMEM;
}

/* Byte i of the stream's value. */
static unsigned char stream_byte(size_t i) {
    return (unsigned char)(i * 7 + (i >> 8));
}

enum { STREAM_BYTES = 150000, PIECE = FIRN_PIECE_BYTES_MIN };

static void write_stream(firn_cache *cache) {
    firn_writer_options options = FIRN_WRITER_OPTIONS_INIT;
    options.piece = PIECE;
    firn_writer *writer;
    int result = firn_writer_open(cache, "stream", 6, &options, &writer);
    ck_assert(is_fine(result));
    if (result != FIRN_OK) {
        ck_assert_ptr_null(writer);
        return;
    }
    static unsigned char bytes[STREAM_BYTES];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = stream_byte(i);
    }
    result = firn_writer_write(writer, bytes, sizeof bytes);
    ck_assert(is_fine(result));
    if (result == FIRN_OK) {
        ck_assert(is_fine(firn_writer_commit(writer)));
    } else {
        firn_writer_abort(writer);
    }
}

/* What memory there is not for one piece may be there for it at the next call. */
static void read_stream(firn_cache *cache) {
    firn_reader *reader;
    int result = firn_reader_open(cache, "stream", 6, &reader);
    ck_assert(is_fine(result));
    if (result != FIRN_OK) {
        ck_assert_ptr_null(reader);
        return;
    }
    size_t offset = 0;
    do {
        const void *piece;
        size_t size;
        result = firn_reader_next(reader, &piece, &size);
        ck_assert(is_fine(result));
        for (size_t i = 0; i < size; i++) {
            ck_assert_uint_eq(((const unsigned char *)piece)[i], stream_byte(offset + i));
        }
        offset += size;
    } while (result != FIRN_NOT_FOUND);
    ck_assert_uint_eq(offset, STREAM_BYTES);
    firn_reader_close(reader);
}

/* An entry that cannot be given for want of memory is passed over; no other is. */
static void walk(firn_cache *cache) {
    firn_cursor *cursor;
    int result = firn_cursor_open(cache, NULL, 0, 0, &cursor);
    ck_assert(is_fine(result));
    if (result != FIRN_OK) {
        ck_assert_ptr_null(cursor);
        return;
    }
    do {
        firn_object *object;
        result = firn_cursor_next(cursor, &object);
        ck_assert(is_fine(result));
        firn_object_unref(object);
    } while (result != FIRN_NOT_FOUND);
    firn_cursor_close(cursor);
}

static void scenario(const char *path, faulty *memory, unsigned threads) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 64 << 10;
    options.cold_bytes = 2 << 20;
    options.threads = threads;
    options.admission = "frequency";
    options.demotion = "size"; /* which wants all of this size */
    options.promotion = "kth-hit";
    options.allocator = (firn_allocator){faulty_alloc, faulty_free, memory};
    firn_cache *cache;
    int result = firn_open(&cache, path, &options);
    ck_assert_msg(is_fine(result), "open: %s", firn_strerror(result));
    if (result != FIRN_OK) {
        ck_assert_ptr_null(cache);
        return;
    }
    static unsigned char value[100000];
    for (unsigned i = 0; i < 120; i++) {
        size_t size = i == 60 && path != NULL ? sizeof value : 900;
        memset(value, (int)i, size);
        ck_assert(is_fine(firn_put(cache, &i, sizeof i, value, size, NULL)));
        if (i % 7 == 0) {
            ck_assert(is_fine(firn_delete(cache, &i, sizeof i)));
        }
    }
    if (path != NULL) {
        write_stream(cache);
    }
    int flushed = path == NULL ? FIRN_OK : firn_flush(cache);
    ck_assert(is_fine(flushed));
    for (unsigned i = 0; i < 120; i++) {
        firn_object *object;
        result = firn_get(cache, &i, sizeof i, &object);
        ck_assert(is_fine(result));
        if (result == FIRN_OK) {
            ck_assert_uint_eq(*(const unsigned char *)firn_object_data(object), i);
            firn_object_unref(object);
        }
    }
    if (path != NULL) {
        read_stream(cache);
    }
    walk(cache);
    ck_assert(is_fine(firn_close(cache)));
}

static void fail_each(bool with_store, unsigned threads) {
    char *path = with_store ? scratch_path("alloc") : NULL;
    /* The first ones each; of the later ones a part, and a smaller one where each takes long. */
    for (long n = 1;; n += n < (SANITIZED ? 50 : 100) ? 1 : SANITIZED ? 17 : 7) {
        faulty memory = {n, 0, false};
        scenario(path, &memory, threads);
        ck_assert_msg(atomic_load(&memory.live) == 0, "allocation %ld: %ld bytes leaked", n,
                      atomic_load(&memory.live));
        if (!atomic_load(&memory.hit)) {
            break;
        }
        if (with_store && n % 20 == 0) {
            clear_tree(path);
        }
    }
    if (with_store) {
        remove_tree(path);
    }
}

/* Opens a store whose index is cut, so that it is made anew from the log. Returns entries. */
static unsigned rebuild(const char *path, faulty *memory) {
    char *index = join(path, "data.mdb");
    int cut = truncate(index, 8192);
    ck_assert(cut == 0 || errno == ENOENT); /* what failed before may have removed it */
    free(index);
    firn_options options = FIRN_OPTIONS_INIT;
    options.cold_bytes = 2 << 20;
    options.threads = 0;
    options.allocator = (firn_allocator){faulty_alloc, faulty_free, memory};
    firn_cache *cache;
    int result = firn_open(&cache, path, &options);
    ck_assert_msg(is_fine(result), "open: %s", firn_strerror(result));
    unsigned entries = 0;
    for (unsigned i = 0; i < 120 && result == FIRN_OK; i++) {
        firn_object *object;
        if (firn_get(cache, &i, sizeof i, &object) == FIRN_OK) {
            ck_assert_uint_eq(*(const unsigned char *)firn_object_data(object), i);
            firn_object_unref(object);
            entries++;
        }
    }
    ck_assert(is_fine(firn_close(cache)));
    return entries;
}

START_TEST(no_allocation_may_fail_badly_while_an_index_is_made_anew) {
    char *path = scratch_path("alloc-rebuild");
    faulty memory = {0, 0, false};
    scenario(path, &memory, 0);
    unsigned entries = rebuild(path, &(faulty){0, 0, false});
    ck_assert_uint_gt(entries, 100);
    for (long n = 1;; n++) {
        memory = (faulty){n, 0, false};
        (void)rebuild(path, &memory);
        ck_assert_msg(atomic_load(&memory.live) == 0, "allocation %ld: %ld bytes leaked", n,
                      atomic_load(&memory.live));
        if (!atomic_load(&memory.hit)) {
            break;
        }
        unsigned left = rebuild(path, &(faulty){0, 0, false});
        ck_assert_msg(left == entries, "allocation %ld: %u of %u entries", n, left, entries);
    }
    remove_tree(path);
}
END_TEST

START_TEST(no_allocation_may_fail_badly_in_memory) {
    fail_each(false, 0);
}
END_TEST

START_TEST(no_allocation_may_fail_badly_with_a_store) {
    fail_each(true, 0);
}
END_TEST

START_TEST(no_allocation_may_fail_badly_beside_the_worker) {
    fail_each(true, 1);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, no_allocation_may_fail_badly_while_an_index_is_made_anew);
    tcase_add_test(tcase, no_allocation_may_fail_badly_in_memory);
    tcase_add_test(tcase, no_allocation_may_fail_badly_with_a_store);
    tcase_add_test(tcase, no_allocation_may_fail_badly_beside_the_worker);
}

int main(void) {
    return run_suite("alloc", add, 300);
}
