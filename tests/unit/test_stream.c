/* Values as streams: what was written in pieces is read as it was, in little memory, or not at all.
 */
#include <endian.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <firn/firn.h>

#include "base/hash.h"
#include "cold/cold.h"
#include "cold/pieces.h"
#include "unit/suite.h"
#include "unit/support.h"

enum { PIECE = 1 << 16 };

static firn_options small_options(void) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 2u << 20;
    options.cold_bytes = 64u << 20;
    options.threads = 0;
    return options;
}

/* The bytes of a value from an offset on: they depend on the value's number and on their place, and
 * cannot be made small. */
static void fill(unsigned char *to, size_t size, uint64_t offset, unsigned number) {
    for (size_t i = 0; i < size; i++) {
        uint64_t word = ((offset + i) / 8 + 1) * UINT64_C(0x9e3779b97f4a7c15) + number;
        word ^= word >> 29;
        word *= UINT64_C(0xbf58476d1ce4e5b9);
        to[i] = (unsigned char)(word >> (offset + i) % 8 * 8);
    }
}

static firn_writer *open_writer(firn_cache *cache, const char *key) {
    firn_writer_options options = FIRN_WRITER_OPTIONS_INIT;
    options.piece = PIECE;
    firn_writer *writer;
    ck_assert_int_eq(firn_writer_open(cache, key, strlen(key), &options, &writer), FIRN_OK);
    return writer;
}

static int write_bytes(firn_writer *writer, uint64_t from, uint64_t to, unsigned number) {
    static _Thread_local unsigned char
        bytes[50000]; /* neither divides a piece nor is divided by it */
    int result = FIRN_OK;
    while (from < to && result == FIRN_OK) {
        size_t some = to - from < sizeof bytes ? (size_t)(to - from) : sizeof bytes;
        fill(bytes, some, from, number);
        result = firn_writer_write(writer, bytes, some);
        from += some;
    }
    return result;
}

static int write_value(firn_cache *cache, const char *key, uint64_t size, unsigned number) {
    firn_writer *writer = open_writer(cache, key);
    int result = write_bytes(writer, 0, size, number);
    if (result != FIRN_OK) {
        firn_writer_abort(writer);
        return result;
    }
    return firn_writer_commit(writer);
}

static firn_reader *open_reader(firn_cache *cache, const char *key) {
    firn_reader *reader;
    ck_assert_int_eq(firn_reader_open(cache, key, strlen(key), &reader), FIRN_OK);
    return reader;
}

/* Reads to the end or an error, which is returned; all that is read has to be right. */
static int read_on(firn_reader *reader, uint64_t *offset, unsigned number) {
    static _Thread_local unsigned char expected[FIRN_PIECE_BYTES_MAX];
    const void *piece;
    size_t size;
    int result;
    while ((result = firn_reader_next(reader, &piece, &size)) == FIRN_OK) {
        ck_assert_uint_gt(size, 0);
        for (size_t at = 0; at < size; at += sizeof expected) {
            size_t some = size - at < sizeof expected ? size - at : sizeof expected;
            fill(expected, some, *offset + at, number);
            ck_assert(memcmp((const char *)piece + at, expected, some) == 0);
        }
        *offset += size;
    }
    ck_assert_ptr_null(piece);
    ck_assert_uint_eq(size, 0);
    ck_assert_int_eq(firn_reader_next(reader, &piece, &size), result);
    return result;
}

static void check_value(firn_cache *cache, const char *key, uint64_t size, unsigned number) {
    firn_reader *reader = open_reader(cache, key);
    ck_assert_uint_eq(firn_reader_size(reader), size);
    uint64_t offset = 0;
    ck_assert_int_eq(read_on(reader, &offset, number), FIRN_NOT_FOUND);
    ck_assert_uint_eq(offset, size);
    firn_reader_close(reader);
}

static void check_object(firn_object *object, size_t size, unsigned number) {
    ck_assert_uint_eq(firn_object_size(object), size);
    unsigned char *expected = malloc(size + 1);
    fill(expected, size, 0, number);
    ck_assert(memcmp(firn_object_data(object), expected, size) == 0);
    free(expected);
}

static uint64_t cold_entries(firn_cache *cache) {
    firn_stats stats = FIRN_STATS_INIT;
    ck_assert_int_eq(firn_get_stats(cache, &stats), FIRN_OK);
    return stats.cold_entries;
}

static unsigned count_entries(firn_cache *cache) {
    unsigned there = 0;
    firn_cursor *cursor;
    firn_object *object;
    ck_assert_int_eq(firn_cursor_open(cache, NULL, 0, FIRN_CURSOR_KEYS, &cursor), FIRN_OK);
    while (firn_cursor_next(cursor, &object) == FIRN_OK) {
        there++;
        firn_object_unref(object);
    }
    firn_cursor_close(cursor);
    return there;
}

static void churn(firn_cache *cache, uint64_t bytes) {
    static unsigned char value[40000];
    static unsigned number;
    for (uint64_t done = 0; done < bytes; done += sizeof value) {
        char key[32];
        int size = snprintf(key, sizeof key, "churn %u", number++);
        fill(value, sizeof value, 0, number);
        ck_assert_int_eq(firn_put(cache, key, (size_t)size, value, sizeof value, NULL), FIRN_OK);
    }
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
}

static const uint64_t sizes[] = {0,         1,         PIECE - 1,     PIECE,
                                 PIECE + 1, 2 * PIECE, 3 * PIECE - 1, 10 * PIECE + 12345};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

START_TEST(what_was_written_is_read_whatever_its_size_and_way) {
    char *path = scratch_path("stream-sizes");
    firn_options options = small_options();
    for (unsigned round = 0; round < 3; round++) {
        options.read_only = round == 2;
        firn_cache *cache = open_with(path, &options);
        for (unsigned i = 0; i < SIZES; i++) {
            char key[32];
            snprintf(key, sizeof key, "value %u", i);
            if (round == 0) {
                ck_assert_int_eq(write_value(cache, key, sizes[i], i), FIRN_OK);
            }
            check_value(cache, key, sizes[i], i);
            firn_object *object;
            int result = firn_get(cache, key, strlen(key), &object);
            if (round == 2 && sizes[i] > PIECE) { /* which has no memory to keep it in */
                ck_assert_int_eq(result, FIRN_ETOOLARGE);
                continue;
            }
            ck_assert_int_eq(result, FIRN_OK);
            check_object(object, (size_t)sizes[i], i);
            firn_object_unref(object);
            check_value(cache, key, sizes[i], i); /* from memory now */
        }
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
    }
    remove_tree(path);
}
END_TEST

START_TEST(a_batch_of_gets_finds_streams_among_others) {
    char *path = scratch_path("stream-many");
    firn_options options = small_options();
    firn_cache *cache = open_with(path, &options);
    ck_assert_int_eq(write_value(cache, "a", 5 * PIECE, 1), FIRN_OK);
    ck_assert_int_eq(firn_put(cache, "b", 1, "two", 3, NULL), FIRN_OK);
    ck_assert_int_eq(write_value(cache, "c", 3 * PIECE + 7, 3), FIRN_OK);
    firn_key keys[] = {{"a", 1}, {"b", 1}, {"c", 1}, {"d", 1}};
    firn_object *objects[4];
    size_t found;
    ck_assert_int_eq(firn_get_many(cache, 4, keys, objects, &found), FIRN_OK);
    ck_assert_uint_eq(found, 3);
    check_object(objects[0], 5 * PIECE, 1);
    check_object(objects[2], 3 * PIECE + 7, 3);
    ck_assert_ptr_null(objects[3]);
    for (unsigned i = 0; i < 4; i++) {
        firn_object_unref(objects[i]);
    }
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(a_value_too_large_for_memory_is_told_so_and_too_large_for_the_disk_refused) {
    char *path = scratch_path("stream-large");
    firn_options options = small_options();
    options.cold_bytes = 32u << 20;
    firn_cache *cache = open_with(path, &options);
    ck_assert_int_eq(write_value(cache, "a", 4u << 20, 1), FIRN_OK);
    firn_object *object;
    ck_assert_int_eq(firn_get(cache, "a", 1, &object), FIRN_ETOOLARGE);
    ck_assert_ptr_null(object);
    char text[256];
    firn_last_message(cache, text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, "firn_reader_open"));
    ck_assert_int_eq(firn_contains(cache, "a", 1), FIRN_OK);
    check_value(cache, "a", 4u << 20, 1);
    ck_assert_int_eq(write_value(cache, "a", 30u << 20, 2), FIRN_ETOOLARGE);
    ck_assert_int_eq(write_value(cache, "b", 40u << 20, 2), FIRN_ETOOLARGE);
    ck_assert_int_eq(firn_contains(cache, "b", 1), FIRN_NOT_FOUND);
    ck_assert_uint_le(cold_entries(cache), (4u << 20) / PIECE + 1); /* no pieces were left */
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(a_cache_in_memory_takes_what_memory_holds) {
    firn_options options = small_options();
    options.hot_bytes = 4u << 20;
    firn_cache *cache = open_with(NULL, &options);
    ck_assert_int_eq(write_value(cache, "a", 2000000, 1), FIRN_OK);
    check_value(cache, "a", 2000000, 1);
    ck_assert_int_eq(write_value(cache, "b", 5u << 20, 2), FIRN_ETOOLARGE);
    firn_reader *reader;
    ck_assert_int_eq(firn_reader_open(cache, "b", 1, &reader), FIRN_NOT_FOUND);
    ck_assert_ptr_null(reader);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
}
END_TEST

START_TEST(an_abort_leaves_nothing_and_what_was_there_stays) {
    char *path = scratch_path("stream-abort");
    firn_options options = small_options();
    firn_cache *cache = open_with(path, &options);
    ck_assert_int_eq(write_value(cache, "a", 3 * PIECE, 1), FIRN_OK);
    uint64_t before = cold_entries(cache);
    firn_writer *writer = open_writer(cache, "a");
    ck_assert_int_eq(write_bytes(writer, 0, 200 * PIECE, 2), FIRN_OK);
    ck_assert_uint_ge(cold_entries(cache), before + 199);
    firn_writer_abort(writer);
    ck_assert_uint_eq(cold_entries(cache), before);
    check_value(cache, "a", 3 * PIECE, 1);
    firn_writer_abort(NULL);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(a_process_that_dies_in_the_middle_leaves_no_entry_and_its_pieces_go_in_time) {
    char *path = scratch_path("stream-killed");
    firn_options options = small_options();
    options.cold_bytes = 16u << 20;
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        firn_cache *cache;
        if (firn_open(&cache, path, &options) != FIRN_OK) {
            _exit(1);
        }
        firn_writer *writer = open_writer(cache, "a");
        if (write_bytes(writer, 0, 50 * PIECE + 10, 1) != FIRN_OK) {
            _exit(2);
        }
        kill(getpid(), SIGKILL);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    firn_cache *cache = open_with(path, &options);
    ck_assert_uint_eq(cold_entries(cache), 50);
    ck_assert_int_eq(firn_contains(cache, "a", 1), FIRN_NOT_FOUND);
    churn(cache, 24u << 20);
    /* What is there is a turn of the log of what came since: none of the pieces. */
    ck_assert_uint_eq(cold_entries(cache), count_entries(cache));
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(a_reader_keeps_its_value_through_an_overwrite_and_a_delete) {
    char *path = scratch_path("stream-overwrite");
    firn_options options = small_options();
    firn_cache *cache = open_with(path, &options);
    uint64_t size = 60 * PIECE + 99;
    ck_assert_int_eq(write_value(cache, "a", size, 1), FIRN_OK);
    firn_reader *old = open_reader(cache, "a");
    const void *piece;
    size_t piece_size;
    ck_assert_int_eq(firn_reader_next(old, &piece, &piece_size), FIRN_OK);
    ck_assert_int_eq(write_value(cache, "a", 2 * size, 2), FIRN_OK);
    firn_reader *newer = open_reader(cache, "a");
    ck_assert_int_eq(firn_delete(cache, "a", 1), FIRN_OK);
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    uint64_t offset = piece_size;
    ck_assert_int_eq(read_on(old, &offset, 1), FIRN_NOT_FOUND);
    ck_assert_uint_eq(offset, size);
    offset = 0;
    ck_assert_int_eq(read_on(newer, &offset, 2), FIRN_NOT_FOUND);
    ck_assert_uint_eq(offset, 2 * size);
    firn_reader_close(old);
    firn_reader_close(newer);
    firn_reader *none;
    ck_assert_int_eq(firn_reader_open(cache, "a", 1, &none), FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(a_piece_that_was_reclaimed_ends_the_reading_and_the_entry) {
    char *path = scratch_path("stream-reclaimed");
    firn_options options = small_options();
    options.cold_bytes = 16u << 20;
    firn_cache *cache = open_with(path, &options);
    ck_assert_int_eq(write_value(cache, "a", 4u << 20, 1), FIRN_OK);
    firn_reader *reader = open_reader(cache, "a");
    uint64_t offset = 0;
    churn(cache, 10u << 20); /* until the first of them go */
    while (firn_contains(cache, "a", 1) == FIRN_OK) {
        firn_reader *other = open_reader(cache, "a");
        offset = 0;
        int result = read_on(other, &offset, 1);
        firn_reader_close(other);
        if (result == FIRN_ECORRUPT) {
            ck_assert_int_eq(firn_contains(cache, "a", 1), FIRN_NOT_FOUND);
            break;
        }
        ck_assert_int_eq(result, FIRN_NOT_FOUND);
        churn(cache, 1u << 20);
    }
    offset = 0;
    ck_assert_int_eq(read_on(reader, &offset, 1), FIRN_ECORRUPT);
    ck_assert_uint_lt(offset, 4u << 20);
    firn_reader_close(reader);
    firn_reader *none;
    ck_assert_int_eq(firn_reader_open(cache, "a", 1, &none), FIRN_NOT_FOUND);
    /* The key can be written again. */
    ck_assert_int_eq(write_value(cache, "a", 3 * PIECE, 2), FIRN_OK);
    check_value(cache, "a", 3 * PIECE, 2);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

/* While most of the log is superseded all that is valid is kept: but for pieces that no head names.
 */
START_TEST(reclaiming_keeps_the_pieces_of_what_is_there_and_no_others) {
    static unsigned char value[40000];
    char *path = scratch_path("stream-cleaned");
    firn_options options = small_options();
    options.cold_bytes = 32u << 20;
    options.write_mode = FIRN_WRITE_THROUGH; /* each put is written, and none synced */
    firn_cache *cache = open_with(path, &options);
    ck_assert_int_eq(write_value(cache, "deleted", 2u << 20, 1), FIRN_OK);
    ck_assert_int_eq(write_value(cache, "kept", 2u << 20, 2), FIRN_OK);
    ck_assert_int_eq(write_value(cache, "overwritten", 2u << 20, 3), FIRN_OK);
    ck_assert_int_eq(firn_delete(cache, "deleted", 7), FIRN_OK);
    ck_assert_int_eq(firn_put(cache, "overwritten", 11, "", 0, NULL), FIRN_OK);
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    ck_assert_uint_eq(cold_entries(cache), 3 * (2u << 20) / PIECE + 2);
    for (unsigned i = 0; i < 2000; i++) {
        fill(value, sizeof value, 0, i);
        ck_assert_int_eq(firn_put(cache, &(char){(char)(i % 4)}, 1, value, sizeof value, NULL),
                         FIRN_OK);
    }
    check_value(cache, "kept", 2u << 20, 2);
    ck_assert_uint_eq(count_entries(cache), 4 + 2);
    ck_assert_uint_eq(cold_entries(cache), (2u << 20) / PIECE + 4 + 2);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

/* Turns a byte in the middle of the log's copy of the value. */
static void damage_byte(const char *path, uint64_t offset, unsigned number) {
    unsigned char wanted[64];
    fill(wanted, sizeof wanted, offset, number);
    char *name = join(path, "firn.log");
    FILE *file = fopen(name, "r+");
    ck_assert_ptr_nonnull(file);
    uint64_t length = file_size(path, "firn.log");
    unsigned char *bytes = malloc(length);
    ck_assert_uint_eq(fread(bytes, 1, length, file), length);
    unsigned char *at = memmem(bytes, length, wanted, sizeof wanted);
    ck_assert_ptr_nonnull(at);
    ck_assert_int_eq(fseek(file, at - bytes, SEEK_SET), 0);
    ck_assert_int_ne(fputc(*at ^ 1, file), EOF);
    ck_assert_int_eq(fclose(file), 0);
    free(bytes);
    free(name);
}

START_TEST(a_damaged_piece_ends_the_reading_and_the_entry) {
    char *path = scratch_path("stream-damaged");
    firn_options options = small_options();
    firn_cache *cache = open_with(path, &options);
    ck_assert_int_eq(write_value(cache, "a", 8 * PIECE, 1), FIRN_OK);
    ck_assert_int_eq(write_value(cache, "b", 8 * PIECE, 2), FIRN_OK);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    damage_byte(path, 3 * PIECE + 1000, 1);
    damage_byte(path, 5 * PIECE + 1000, 2);
    cache = open_with(path, &options);
    firn_reader *reader = open_reader(cache, "a");
    uint64_t offset = 0;
    ck_assert_int_eq(read_on(reader, &offset, 1), FIRN_ECORRUPT);
    ck_assert_uint_eq(offset, 3 * PIECE);
    firn_reader_close(reader);
    ck_assert_int_eq(firn_contains(cache, "a", 1), FIRN_NOT_FOUND);
    firn_object *object;
    ck_assert_int_eq(firn_get(cache, "b", 1, &object), FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_contains(cache, "b", 1), FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(pieces_are_no_entries_for_cursors) {
    char *path = scratch_path("stream-cursor");
    firn_options options = small_options();
    firn_cache *cache = open_with(path, &options);
    ck_assert_int_eq(write_value(cache, "large", 4u << 20, 1), FIRN_OK);
    ck_assert_int_eq(write_value(cache, "medium", 5 * PIECE, 2), FIRN_OK);
    ck_assert_int_eq(firn_put(cache, "small", 5, "three", 5, NULL), FIRN_OK);
    firn_cursor *cursor;
    firn_object *object;
    unsigned seen = 0;
    ck_assert_int_eq(firn_cursor_open(cache, NULL, 0, 0, &cursor), FIRN_OK);
    while (firn_cursor_next(cursor, &object) == FIRN_OK) {
        size_t key_size;
        const char *key = firn_object_key(object, &key_size);
        if (key[0] == 'l') {
            ck_assert_uint_eq(firn_object_size(object), 0);
        } else if (key[0] == 'm') {
            check_object(object, 5 * PIECE, 2);
        } else {
            ck_assert_uint_eq(firn_object_size(object), 5);
        }
        seen++;
        firn_object_unref(object);
    }
    ck_assert_uint_eq(seen, 3);
    firn_cursor_close(cursor);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

static firn_store *open_store(const char *path) {
    firn_store *store;
    char why[256] = "";
    ck_assert_msg(firn_store_open(&store, path, why, sizeof why) == FIRN_OK, "%s", why);
    return store;
}

static firn_verify_report verify(firn_store *store, int expected) {
    firn_verify_report report = FIRN_VERIFY_REPORT_INIT;
    ck_assert_int_eq(firn_store_verify(store, &report, NULL, NULL), expected);
    return report;
}

/* All pieces of the entry are right, up to the first that gives another result, which is returned.
 */
static int check_pieces(firn_store *store, const firn_store_entry *entry, unsigned number) {
    static unsigned char expected[PIECE];
    uint64_t offset = 0;
    const void *piece;
    size_t size;
    ck_assert_uint_le(entry->piece_size, sizeof expected);
    for (uint64_t i = 0; i < entry->pieces; i++) {
        int result = firn_store_get_piece(store, entry, i, &piece, &size);
        if (result != FIRN_OK) {
            ck_assert_ptr_null(piece);
            ck_assert_uint_eq(size, 0);
            ck_assert_str_ne(firn_store_message(store), "");
            return result;
        }
        fill(expected, size, offset, number);
        ck_assert(memcmp(piece, expected, size) == 0);
        offset += size;
    }
    ck_assert_uint_eq(offset, entry->value_size);
    return FIRN_OK;
}

START_TEST(from_outside_a_value_is_given_in_its_pieces) {
    enum { LARGE = 10 * PIECE + 1234, OVERWRITTEN = 4 };
    char *path = scratch_path("stream-outside");
    firn_options options = small_options();
    firn_cache *cache = open_with(path, &options);
    ck_assert_int_eq(write_value(cache, "gone", OVERWRITTEN * PIECE, 3), FIRN_OK);
    ck_assert_int_eq(write_value(cache, "large", LARGE, 1), FIRN_OK);
    ck_assert_int_eq(write_value(cache, "medium", 2 * PIECE, 2), FIRN_OK);
    ck_assert_int_eq(firn_put(cache, "small", 5, "three", 5, NULL), FIRN_OK);
    ck_assert_int_eq(firn_put(cache, "gone", 4, "", 0, NULL), FIRN_OK);
    ck_assert_int_eq(firn_flush(cache), FIRN_OK);
    ck_assert_uint_eq(cold_entries(cache), 4 + OVERWRITTEN + 11 + 2);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);

    firn_store *store = open_store(path);
    firn_store_entry entry;
    unsigned seen = 0;
    while (firn_store_next(store, FIRN_STORE_VALUES, &entry) == FIRN_OK) {
        seen++;
        ck_assert_uint_eq(entry.damaged + entry.incomplete, 0);
        if (entry.key_size == 5 && memcmp(entry.key, "large", 5) == 0) {
            ck_assert_uint_eq(entry.value_size, LARGE);
            ck_assert_uint_eq(entry.pieces, 11);
            ck_assert_uint_eq(entry.piece_size, PIECE);
            ck_assert_str_eq(entry.codec, "stream");
            ck_assert_ptr_null(entry.value);
            ck_assert_int_eq(check_pieces(store, &entry, 1), FIRN_OK);
            ck_assert_mem_eq(entry.key, "large", 5); /* and the walk goes on */
        } else if (entry.key_size == 6) {
            ck_assert_int_eq(check_pieces(store, &entry, 2), FIRN_OK);
        } else {
            ck_assert_uint_eq(entry.pieces, 0);
            ck_assert_ptr_nonnull(entry.value);
        }
    }
    ck_assert_uint_eq(seen, 4);
    ck_assert_int_eq(firn_store_get(store, "large", 5, &entry), FIRN_OK);
    ck_assert_int_eq(check_pieces(store, &entry, 1), FIRN_OK);
    /* The number of a piece, and an entry without any. */
    const void *piece;
    size_t size;
    ck_assert_int_eq(firn_store_get_piece(store, &entry, 11, &piece, &size), FIRN_EINVAL);
    ck_assert_int_eq(firn_store_get_piece(store, NULL, 0, &piece, &size), FIRN_EINVAL);
    ck_assert_int_eq(firn_store_get_piece(store, &entry, 0, NULL, &size), FIRN_EINVAL);
    /* A piece has a key, under which there is no entry. */
    uint64_t key[3] = {htole64(entry.hash), htole64(entry.stream), 0};
    ck_assert_uint_eq(sizeof key, FIRN_PIECE_KEY_SIZE);
    ck_assert_int_eq(firn_store_get(store, key, sizeof key, &entry), FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_store_get(store, "small", 5, &entry), FIRN_OK);
    ck_assert_int_eq(firn_store_get_piece(store, &entry, 0, &piece, &size), FIRN_EINVAL);

    firn_store_info info = FIRN_STORE_INFO_INIT;
    ck_assert_int_eq(firn_store_get_info(store, &info), FIRN_OK);
    ck_assert_uint_eq(info.entries, 4);
    ck_assert_uint_eq(info.streams, 2);
    ck_assert_uint_eq(info.streams_incomplete, 0);
    ck_assert_uint_eq(info.pieces, OVERWRITTEN + 11 + 2);
    ck_assert_uint_eq(info.value_bytes, LARGE + (OVERWRITTEN + 2) * PIECE + 5);
    ck_assert_uint_ge(info.stored_bytes, LARGE);
    firn_verify_report report = verify(store, FIRN_OK);
    ck_assert_uint_eq(report.entries, 4);
    ck_assert_uint_eq(report.streams, 2);
    ck_assert_uint_eq(report.streams_incomplete, 0);
    ck_assert_uint_eq(report.pieces, OVERWRITTEN + 11 + 2);
    firn_store_close(store);
    remove_tree(path);
}
END_TEST

START_TEST(from_outside_a_missing_piece_is_told_and_is_no_damage) {
    char *path = scratch_path("stream-incomplete");
    firn_options options = small_options();
    options.cold_bytes = 16u << 20;
    firn_cache *cache = open_with(path, &options);
    ck_assert_int_eq(write_value(cache, "a", 4u << 20, 1), FIRN_OK);
    churn(cache, 8u << 20);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    firn_store *store = open_store(path);
    firn_store_entry entry;
    ck_assert_int_eq(firn_store_get(store, "a", 1, &entry), FIRN_OK);
    while (!entry.incomplete) { /* the head stays for 4 MiB more than the first piece */
        ck_assert_int_eq(check_pieces(store, &entry, 1), FIRN_OK);
        firn_store_close(store);
        cache = open_with(path, &options);
        churn(cache, 1u << 20);
        ck_assert_int_eq(firn_close(cache), FIRN_OK);
        store = open_store(path);
        ck_assert_int_eq(firn_store_get(store, "a", 1, &entry), FIRN_OK);
    }
    ck_assert_uint_eq(entry.value_size, 4u << 20);
    ck_assert_int_eq(check_pieces(store, &entry, 1), FIRN_NOT_FOUND);
    firn_store_info info = FIRN_STORE_INFO_INIT;
    ck_assert_int_eq(firn_store_get_info(store, &info), FIRN_OK);
    ck_assert_uint_eq(info.streams, 1);
    ck_assert_uint_eq(info.streams_incomplete, 1);
    ck_assert_uint_gt(info.pieces, 0);
    ck_assert_uint_lt(info.pieces, (4u << 20) / PIECE);
    firn_verify_report report = verify(store, FIRN_OK);
    ck_assert_uint_eq(report.streams_incomplete, 1);
    ck_assert_uint_eq(report.pieces, info.pieces);
    ck_assert_uint_eq(report.entries, info.entries);
    firn_store_close(store);
    char *to = scratch_path("stream-salvaged");
    firn_salvage_report salvaged = FIRN_SALVAGE_REPORT_INIT;
    ck_assert_int_eq(firn_store_salvage(path, to, NULL, &salvaged, NULL, NULL), FIRN_OK);
    ck_assert_uint_eq(salvaged.incomplete, 1);
    ck_assert_uint_eq(salvaged.salvaged, report.entries - 1);
    remove_tree(to);
    remove_tree(path);
}
END_TEST

START_TEST(from_outside_a_damaged_piece_is_told) {
    char *path = scratch_path("stream-hurt");
    firn_options options = small_options();
    firn_cache *cache = open_with(path, &options);
    ck_assert_int_eq(write_value(cache, "a", 8 * PIECE, 1), FIRN_OK);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    damage_byte(path, 3 * PIECE + 1000, 1);
    firn_store *store = open_store(path);
    firn_store_entry entry;
    ck_assert_int_eq(firn_store_get(store, "a", 1, &entry), FIRN_OK);
    ck_assert_uint_eq(entry.incomplete, 0);
    ck_assert_int_eq(check_pieces(store, &entry, 1), FIRN_ECORRUPT);
    firn_verify_report report = verify(store, FIRN_ECORRUPT);
    ck_assert_uint_eq(report.records_damaged, 1);
    ck_assert_uint_eq(report.pieces, 7);
    ck_assert_uint_eq(report.entries_missing, 0);
    firn_store_close(store);
    remove_tree(path);
}
END_TEST

/* With sound records, for the checksum is made of what is written. */
START_TEST(a_head_that_makes_no_sense_is_damage_and_one_that_lies_is_incomplete) {
    char *path = scratch_path("stream-heads");
    firn_detail detail;
    ck_assert_int_eq(firn_detail_init(&detail), 0);
    firn_heap *heap = firn_heap_new(NULL);
    firn_cold_config config = {
        .path = path, .heap = heap, .detail = &detail, .budget_bytes = 1 << 24};
    firn_cold *cold;
    ck_assert_int_eq(firn_cold_open(&cold, &config), FIRN_OK);
    unsigned char heads[3][FIRN_STREAM_HEAD_SIZE];
    firn_cold_item items[3];
    firn_pieces pieces[3] = {
        {.total = 2 * PIECE, .stream = 1, .piece = PIECE, .count = 3},
        {.total = UINT64_MAX, .stream = 2, .piece = 4096, .count = UINT64_MAX / 4096 + 1},
        {.total = 0, .stream = 3, .piece = PIECE, .count = 0},
    };
    for (unsigned i = 0; i < 3; i++) {
        firn_pieces_write(&pieces[i], heads[i]);
        items[i] = (firn_cold_item){.hash = firn_hash64(firn_cold_seed(cold), &"abc"[i], 1),
                                    .version = i + 1,
                                    .key = &"abc"[i],
                                    .key_size = 1,
                                    .value = heads[i],
                                    .value_size = FIRN_STREAM_HEAD_SIZE,
                                    .part = FIRN_PART_HEAD};
    }
    ck_assert_int_eq(firn_cold_write(cold, items, 3, 4), FIRN_OK);
    ck_assert_int_eq(firn_cold_close(cold, true), FIRN_OK);
    firn_store *store = open_store(path);
    firn_store_entry entry;
    ck_assert_int_eq(firn_store_get(store, "a", 1, &entry), FIRN_ECORRUPT);
    ck_assert_int_eq(firn_store_get(store, "b", 1, &entry), FIRN_OK);
    ck_assert_uint_ne(entry.incomplete, 0);
    ck_assert_uint_eq(entry.value_size, UINT64_MAX);
    ck_assert_int_eq(check_pieces(store, &entry, 1), FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_store_get(store, "c", 1, &entry), FIRN_ECORRUPT);
    firn_verify_report report = verify(store, FIRN_ECORRUPT);
    ck_assert_uint_eq(report.records_damaged, 2);
    ck_assert_uint_eq(report.streams_incomplete, 1);
    firn_store_close(store);
    firn_detail_fini(&detail);
    firn_heap_unref(heap);
    remove_tree(path);
}
END_TEST

START_TEST(a_salvage_keeps_values_in_pieces) {
    char *path = scratch_path("stream-salvage");
    char *to = scratch_path("stream-salvaged");
    firn_options options = small_options();
    firn_cache *cache = open_with(path, &options);
    firn_writer_options expiring = FIRN_WRITER_OPTIONS_INIT;
    expiring.piece = PIECE;
    expiring.ttl_ms = 3600 * 1000;
    firn_writer *writer;
    ck_assert_int_eq(write_value(cache, "large", 4u << 20, 1), FIRN_OK);
    ck_assert_int_eq(firn_writer_open(cache, "expiring", 8, &expiring, &writer), FIRN_OK);
    ck_assert_int_eq(write_bytes(writer, 0, 3 * PIECE + 1, 2), FIRN_OK);
    ck_assert_int_eq(firn_writer_commit(writer), FIRN_OK);
    ck_assert_int_eq(write_value(cache, "hurt", 8 * PIECE, 3), FIRN_OK);
    ck_assert_int_eq(firn_put(cache, "small", 5, "three", 5, NULL), FIRN_OK);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    damage_byte(path, 3 * PIECE + 1000, 3);
    firn_salvage_report report = FIRN_SALVAGE_REPORT_INIT;
    ck_assert_int_eq(firn_store_salvage(path, to, NULL, &report, NULL, NULL), FIRN_OK);
    ck_assert_uint_eq(report.salvaged, 3);
    ck_assert_uint_eq(report.damaged, 1);
    ck_assert_uint_eq(report.incomplete, 1);
    ck_assert_uint_eq(report.refused, 0);
    firn_store *old_store = open_store(path);
    firn_store *store = open_store(to);
    firn_store_entry was;
    firn_store_entry entry;
    ck_assert_int_eq(firn_store_get(old_store, "expiring", 8, &was), FIRN_OK);
    ck_assert_int_eq(firn_store_get(store, "expiring", 8, &entry), FIRN_OK);
    ck_assert_uint_eq(entry.expires_ms, was.expires_ms);
    ck_assert_uint_eq(entry.version, was.version);
    verify(store, FIRN_OK);
    firn_store_close(old_store);
    firn_store_close(store);
    cache = open_with(to, &options);
    check_value(cache, "large", 4u << 20, 1);
    check_value(cache, "expiring", 3 * PIECE + 1, 2);
    ck_assert_int_eq(firn_contains(cache, "hurt", 4), FIRN_NOT_FOUND);
    firn_object *whole;
    ck_assert_int_eq(firn_get(cache, "expiring", 8, &whole), FIRN_OK);
    check_object(whole, 3 * PIECE + 1, 2);
    firn_object_unref(whole);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    clear_tree(to);
    /* What does not fit is not there by half. */
    firn_salvage_options small = FIRN_SALVAGE_OPTIONS_INIT;
    small.cold_bytes = 1 << 20;
    report = (firn_salvage_report)FIRN_SALVAGE_REPORT_INIT;
    ck_assert_int_eq(firn_store_salvage(path, to, &small, &report, NULL, NULL), FIRN_OK);
    ck_assert_uint_eq(report.salvaged, 2);
    ck_assert_uint_eq(report.refused, 1);
    cache = open_with(to, &options);
    check_value(cache, "expiring", 3 * PIECE + 1, 2);
    firn_object *object;
    ck_assert_int_eq(firn_get(cache, "large", 5, &object), FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(to);
    remove_tree(path);
}
END_TEST

/* Writes and reads the value, and tells by how many KiB the process was larger at the most than
 * before; below 0: something was wrong. */
static long pass_through(firn_cache *cache, uint64_t size) {
    static unsigned char part[PIECE];
    struct rusage before;
    struct rusage after;
    fill(part, sizeof part, 0, 1);
    getrusage(RUSAGE_SELF, &before);
    firn_writer *writer;
    if (firn_writer_open(cache, "a", 1, NULL, &writer) != FIRN_OK) {
        return -1;
    }
    for (uint64_t at = 0; at < size; at += sizeof part) {
        memcpy(part, &at, sizeof at);
        if (firn_writer_write(writer, part, sizeof part) != FIRN_OK) {
            return -2;
        }
    }
    firn_reader *reader;
    if (firn_writer_commit(writer) != FIRN_OK || firn_flush(cache) != FIRN_OK ||
        firn_reader_open(cache, "a", 1, &reader) != FIRN_OK) {
        return -3;
    }
    const void *piece;
    size_t piece_size;
    uint64_t at = 0;
    int result;
    while ((result = firn_reader_next(reader, &piece, &piece_size)) == FIRN_OK) {
        for (size_t i = 0; i < piece_size; i += sizeof part, at += sizeof part) {
            memcpy(part, &at, sizeof at);
            if (piece_size % sizeof part != 0 ||
                memcmp((const char *)piece + i, part, sizeof part) != 0) {
                return -4;
            }
        }
    }
    firn_reader_close(reader);
    getrusage(RUSAGE_SELF, &after);
    return result == FIRN_NOT_FOUND && at == size ? after.ru_maxrss - before.ru_maxrss : -5;
}

START_TEST(a_value_much_larger_than_memory_passes_through) {
    char *path = scratch_path("stream-memory");
    firn_options options = small_options();
    options.cold_bytes = (uint64_t)1 << 30;
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fork(); /* so that the most that it ever took is its own */
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        firn_cache *cache;
        long grown = -6;
        if (firn_open(&cache, path, &options) == FIRN_OK) {
            grown = pass_through(cache, (uint64_t)256 << 20);
            grown = firn_close(cache) == FIRN_OK ? grown : -7;
        }
        _exit(write(ends[1], &grown, sizeof grown) == sizeof grown ? 0 : 1);
    }
    long grown;
    ck_assert_int_eq(read(ends[0], &grown, sizeof grown), sizeof grown);
    close(ends[0]);
    close(ends[1]);
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ck_assert_int_ge(grown, 0);
    if (!SANITIZED) { /* which keep what was freed */
        ck_assert_int_lt(grown, (16 << 10) + (long)(options.hot_bytes >> 10));
    }
    remove_tree(path);
}
END_TEST

/* ---- threads ---- */

enum { STREAMS = 2, TURNS = 12, SIZE_LEAST = 150000 };

typedef struct streamer {
    firn_cache *cache;
    char key[8];
    atomic_bool *stop;
    unsigned whole; /* values that were read to their ends */
} streamer;

/* A value's size tells its number. */
static uint64_t size_of_number(unsigned number) {
    return SIZE_LEAST + (uint64_t)number * 8;
}

static void *write_streams(void *context) {
    streamer *self = context;
    for (unsigned number = 1; number <= TURNS; number++) {
        ck_assert_int_eq(write_value(self->cache, self->key, size_of_number(number), number),
                         FIRN_OK);
    }
    return NULL;
}

/* While its head is being replaced there is neither the old value nor the new. */
static void read_stream(streamer *self) {
    firn_reader *reader;
    int result = firn_reader_open(self->cache, self->key, strlen(self->key), &reader);
    if (result == FIRN_NOT_FOUND) {
        return;
    }
    ck_assert_int_eq(result, FIRN_OK);
    uint64_t size = firn_reader_size(reader);
    uint64_t offset = 0;
    ck_assert_int_eq(read_on(reader, &offset, (unsigned)((size - SIZE_LEAST) / 8)), FIRN_NOT_FOUND);
    ck_assert_uint_eq(offset, size);
    firn_reader_close(reader);
    self->whole++;
}

static void *read_streams(void *context) {
    streamer *self = context;
    do {
        read_stream(self);
    } while (!atomic_load(self->stop) || self->whole == 0);
    return NULL;
}

START_TEST(readers_beside_writers_get_whole_values) {
    char *path = scratch_path("stream-threads");
    firn_options options = small_options();
    options.threads = 1;
    firn_cache *cache = open_with(path, &options);
    atomic_bool stop = false;
    pthread_t threads[2 * STREAMS];
    streamer all[2 * STREAMS];
    for (unsigned i = 0; i < 2 * STREAMS; i++) {
        all[i] = (streamer){.cache = cache, .stop = &stop};
        snprintf(all[i].key, sizeof all[i].key, "key%u", i % STREAMS);
        if (i < STREAMS) {
            ck_assert_int_eq(write_value(cache, all[i].key, size_of_number(0), 0), FIRN_OK);
        }
    }
    for (unsigned i = 0; i < 2 * STREAMS; i++) {
        ck_assert_int_eq(
            pthread_create(&threads[i], NULL, i < STREAMS ? write_streams : read_streams, &all[i]),
            0);
    }
    for (unsigned i = 0; i < 2 * STREAMS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        if (i == STREAMS - 1) {
            atomic_store(&stop, true);
        }
    }
    for (unsigned i = STREAMS; i < 2 * STREAMS; i++) {
        ck_assert_uint_gt(all[i].whole, 0);
        check_value(cache, all[i].key, size_of_number(TURNS), TURNS);
    }
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

START_TEST(bad_arguments_are_told) {
    char *path = scratch_path("stream-arguments");
    firn_options options = small_options();
    firn_cache *cache = open_with(path, &options);
    firn_writer *writer;
    firn_reader *reader;
    firn_writer_options writing = FIRN_WRITER_OPTIONS_INIT;
    ck_assert_int_eq(firn_writer_open(NULL, "a", 1, NULL, &writer), FIRN_EINVAL);
    ck_assert_ptr_null(writer);
    ck_assert_int_eq(firn_writer_open(cache, "a", 0, NULL, &writer), FIRN_EINVAL);
    ck_assert_int_eq(firn_writer_open(cache, "a", 1, NULL, NULL), FIRN_EINVAL);
    ck_assert_int_eq(firn_writer_open(cache, "a", FIRN_KEY_SIZE_MAX + 1, NULL, &writer),
                     FIRN_ETOOLARGE);
    writing.piece = FIRN_PIECE_BYTES_MIN - 1;
    ck_assert_int_eq(firn_writer_open(cache, "a", 1, &writing, &writer), FIRN_EINVAL);
    writing.piece = FIRN_PIECE_BYTES_MAX + 1;
    ck_assert_int_eq(firn_writer_open(cache, "a", 1, &writing, &writer), FIRN_EINVAL);
    writing.piece = 0;
    writing.size = 1;
    ck_assert_int_eq(firn_writer_open(cache, "a", 1, &writing, &writer), FIRN_EINVAL);
    ck_assert_int_eq(firn_writer_write(NULL, "a", 1), FIRN_EINVAL);
    ck_assert_int_eq(firn_writer_commit(NULL), FIRN_EINVAL);
    ck_assert_int_eq(firn_reader_open(cache, "a", 1, &reader), FIRN_NOT_FOUND);
    ck_assert_int_eq(firn_reader_open(cache, "a", 1, NULL), FIRN_EINVAL);
    ck_assert_int_eq(firn_reader_open(NULL, "a", 1, &reader), FIRN_EINVAL);
    ck_assert_int_eq(firn_reader_next(NULL, NULL, NULL), FIRN_EINVAL);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    options.read_only = 1;
    cache = open_with(path, &options);
    ck_assert_int_eq(firn_writer_open(cache, "a", 1, NULL, &writer), FIRN_EREADONLY);
    ck_assert_int_eq(firn_close(cache), FIRN_OK);
    remove_tree(path);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, what_was_written_is_read_whatever_its_size_and_way);
    tcase_add_test(tcase, a_batch_of_gets_finds_streams_among_others);
    tcase_add_test(tcase,
                   a_value_too_large_for_memory_is_told_so_and_too_large_for_the_disk_refused);
    tcase_add_test(tcase, a_cache_in_memory_takes_what_memory_holds);
    tcase_add_test(tcase, an_abort_leaves_nothing_and_what_was_there_stays);
    tcase_add_test(tcase,
                   a_process_that_dies_in_the_middle_leaves_no_entry_and_its_pieces_go_in_time);
    tcase_add_test(tcase, a_reader_keeps_its_value_through_an_overwrite_and_a_delete);
    tcase_add_test(tcase, a_piece_that_was_reclaimed_ends_the_reading_and_the_entry);
    tcase_add_test(tcase, reclaiming_keeps_the_pieces_of_what_is_there_and_no_others);
    tcase_add_test(tcase, a_damaged_piece_ends_the_reading_and_the_entry);
    tcase_add_test(tcase, pieces_are_no_entries_for_cursors);
    tcase_add_test(tcase, from_outside_a_value_is_given_in_its_pieces);
    tcase_add_test(tcase, from_outside_a_missing_piece_is_told_and_is_no_damage);
    tcase_add_test(tcase, from_outside_a_damaged_piece_is_told);
    tcase_add_test(tcase, a_head_that_makes_no_sense_is_damage_and_one_that_lies_is_incomplete);
    tcase_add_test(tcase, a_salvage_keeps_values_in_pieces);
    tcase_add_test(tcase, a_value_much_larger_than_memory_passes_through);
    tcase_add_test(tcase, bad_arguments_are_told);
    tcase_add_test(tcase, readers_beside_writers_get_whole_values);
}

static void add_thread_tests(TCase *tcase) {
    tcase_add_test(tcase, readers_beside_writers_get_whole_values);
}

/* The tests of threads by themselves, for the thread sanitizer. */
int main(void) {
    return getenv("FIRN_THREADS_ONLY") != NULL ? run_suite("stream threads", add_thread_tests, 300)
                                               : run_suite("stream", add_tests, 300);
}
