/* What is written down of the changes since a checkpoint: it comes back in order, and only as far
 * as each piece follows upon the one before it. */
#include <fcntl.h>

#include "cold/delta_file.h"
#include "suite.h"
#include "support.h"

enum { STORE_ID = 4711, MOST = 1 << 20 };

static char *path;
static firn_heap *heap;
static firn_delta_file *file;

static void reopen(void) {
    firn_delta_file_close(file, false);
    file = firn_delta_file_open(path, STORE_ID, heap);
    ck_assert_ptr_nonnull(file);
}

static void set_up(void) {
    path = scratch_path("delta-file");
    ck_assert_int_eq(mkdir(path, 0755), 0);
    heap = firn_heap_new(NULL);
    file = NULL;
    reopen();
}

static void tear_down(void) {
    firn_delta_file_close(file, true);
    ck_assert_int_ne(access(path, F_OK), -1);
    ck_assert_uint_eq(file_size(path, FIRN_DELTA_FILE), 0);
    firn_heap_unref(heap);
    remove_tree(path);
}

/* A piece whose changes can be told from where it begins. */
static void append(uint64_t from, uint64_t to, size_t count) {
    static firn_change changes[FIRN_DELTA_FILE_CHANGES_MAX];
    for (size_t i = 0; i < count; i++) {
        changes[i] = (firn_change){from + i + 1, from * 2 + i, from * 3 + i, from * 5 + i};
    }
    firn_delta_file_append(file, &(firn_delta_span){from, to, to + 7}, changes, count);
}

typedef struct taking {
    uint64_t spans;
    uint64_t changes;
    uint64_t to;
    uint64_t most; /* spans */
} taking;

static bool take(void *context, const firn_delta_span *span, const firn_change *changes,
                 size_t count) {
    taking *self = context;
    if (self->spans == self->most) {
        return false;
    }
    ck_assert_uint_eq(span->version_next, span->to + 7);
    ck_assert(self->spans == 0 || span->from == self->to);
    for (size_t i = 0; i < count; i++) {
        ck_assert_uint_eq(changes[i].hash, span->from + i + 1);
        ck_assert_uint_eq(changes[i].place, span->from * 2 + i);
        ck_assert_uint_eq(changes[i].old, span->from * 3 + i);
        ck_assert_uint_eq(changes[i].expires_ms, span->from * 5 + i);
    }
    self->spans++;
    self->changes += count;
    self->to = span->to;
    return true;
}

static taking read_from(uint64_t from, uint64_t most) {
    taking self = {.most = UINT64_MAX};
    ck_assert_int_eq(firn_delta_file_read(file, from, most, take, &self), FIRN_OK);
    return self;
}

START_TEST(pieces_of_all_sizes_come_back_in_order) {
    uint64_t at = 100;
    uint64_t changes = 0;
    for (size_t i = 0; i < 200; i++) {
        size_t count = i % 50 == 7 ? FIRN_DELTA_FILE_CHANGES_MAX : 1 + i * 13 % 100;
        append(at, at + 10, count);
        at += 10;
        changes += count;
    }
    reopen();
    taking found = read_from(100, MOST);
    ck_assert_uint_eq(found.spans, 200);
    ck_assert_uint_eq(found.changes, changes);
    ck_assert_uint_eq(found.to, at);
    append(at, at + 10, 5); /* and it goes on behind them */
    reopen();
    ck_assert_uint_eq(read_from(100, MOST).spans, 201);
}
END_TEST

START_TEST(an_empty_file_and_another_beginning_tell_nothing) {
    ck_assert_uint_eq(read_from(100, MOST).spans, 0);
    append(100, 110, 3);
    append(110, 110, 0); /* nothing */
    reopen();
    ck_assert_uint_eq(read_from(99, MOST).spans, 0);
    ck_assert_uint_eq(read_from(110, MOST).spans, 0);
    ck_assert_uint_eq(read_from(100, 109).spans, 0);
    ck_assert_uint_eq(read_from(100, 110).spans, 1);
}
END_TEST

START_TEST(a_gap_ends_it) {
    append(100, 110, 3);
    append(111, 120, 3);
    append(120, 130, 3);
    reopen();
    ck_assert_uint_eq(read_from(100, MOST).spans, 1);
    append(110, 120, 1); /* in place of what did not follow */
    reopen();
    ck_assert_uint_eq(read_from(100, MOST).spans, 2);
}
END_TEST

START_TEST(what_is_left_over_from_another_turn_does_not_follow) {
    append(100, 110, 4);
    append(110, 120, 4);
    append(120, 130, 4);
    firn_delta_file_restart(file);
    append(100, 110, 4); /* as long, so that the old second one stands right behind it */
    reopen();
    ck_assert_uint_eq(read_from(100, MOST).spans, 1);
}
END_TEST

START_TEST(what_is_not_taken_is_written_over) {
    append(100, 110, 4);
    append(110, 120, 4);
    append(120, 130, 4);
    reopen();
    taking self = {.most = 1};
    ck_assert_int_eq(firn_delta_file_read(file, 100, MOST, take, &self), FIRN_OK);
    ck_assert_uint_eq(self.spans, 1);
    append(110, 115, 2);
    reopen();
    taking found = read_from(100, MOST);
    ck_assert_uint_eq(found.spans, 2);
    ck_assert_uint_eq(found.to, 115);
}
END_TEST

START_TEST(any_byte_that_changed_ends_it_before_its_piece) {
    append(100, 110, 2);
    append(110, 120, 2);
    uint64_t size = file_size(path, FIRN_DELTA_FILE);
    char *name = join(path, FIRN_DELTA_FILE);
    int fd = open(name, O_RDWR);
    free(name);
    for (uint64_t i = 0; i < size; i++) {
        change_byte(fd, (off_t)i, 0x10);
        uint64_t spans = read_from(100, MOST).spans;
        ck_assert_uint_eq(spans, i < 40 + 40 + 64 ? 0 : 1);
        change_byte(fd, (off_t)i, 0x10);
    }
    ck_assert_uint_eq(read_from(100, MOST).spans, 2);
    close(fd);
}
END_TEST

START_TEST(a_file_of_another_store_tells_nothing) {
    append(100, 110, 2);
    firn_delta_file_close(file, false);
    file = firn_delta_file_open(path, STORE_ID + 1, heap);
    ck_assert_uint_eq(read_from(100, MOST).spans, 0);
}
END_TEST

START_TEST(without_a_file_nothing_happens) {
    ck_assert_ptr_null(firn_delta_file_open("/nowhere", STORE_ID, heap));
    firn_change change = {1, 2, 3, 4};
    firn_delta_file_append(NULL, &(firn_delta_span){1, 2, 3}, &change, 1);
    firn_delta_file_restart(NULL);
    firn_delta_file_close(NULL, true);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, pieces_of_all_sizes_come_back_in_order);
    tcase_add_test(tcase, an_empty_file_and_another_beginning_tell_nothing);
    tcase_add_test(tcase, a_gap_ends_it);
    tcase_add_test(tcase, what_is_left_over_from_another_turn_does_not_follow);
    tcase_add_test(tcase, what_is_not_taken_is_written_over);
    tcase_add_test(tcase, any_byte_that_changed_ends_it_before_its_piece);
    tcase_add_test(tcase, a_file_of_another_store_tells_nothing);
    tcase_add_test(tcase, without_a_file_nothing_happens);
}

int main(void) {
    return run_suite("delta_file", add, 60);
}
