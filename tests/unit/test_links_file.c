/* The file of links: what is written is read again, a mark replaces it, and no damage to the file
 * is believed. */
#include <fcntl.h>

#include "base/heap.h"
#include "cold/links_file.h"

#include "unit/suite.h"
#include "unit/support.h"

enum { STORE_ID = 77, HEADER = 48, BUFFER = 65536, MANY = 3 * BUFFER + 17 };

typedef struct fixture {
    char *path;
    firn_heap *heap;
    firn_detail detail;
} fixture;

static fixture make(const char *name) {
    fixture self = {.path = scratch_path(name), .heap = firn_heap_new(NULL)};
    ck_assert_int_eq(mkdir(self.path, 0700), 0);
    ck_assert_int_eq(firn_detail_init(&self.detail), 0);
    return self;
}

static void drop(fixture *self) {
    firn_detail_fini(&self->detail);
    firn_heap_unref(self->heap);
    remove_tree(self->path);
}

static unsigned char byte_at(size_t offset) {
    return (unsigned char)(offset * 2654435761u >> 13);
}

static firn_links_writer *begin(fixture *self) {
    firn_links_writer *writer;
    ck_assert_int_eq(
        firn_links_writer_open(&writer, self->path, STORE_ID, self->heap, &self->detail), FIRN_OK);
    return writer;
}

/* In appends of `step` bytes. */
static void append_body(firn_links_writer *writer, size_t size, size_t step) {
    unsigned char bytes[1000];
    for (size_t at = 0; at < size;) {
        size_t some = size - at < step ? size - at : step;
        for (size_t i = 0; i < some; i++) {
            bytes[i] = byte_at(at + i);
        }
        firn_links_writer_append(writer, bytes, some);
        at += some;
    }
}

static void write_body(fixture *self, size_t size, size_t step) {
    firn_links_writer *writer = begin(self);
    append_body(writer, size, step);
    ck_assert_int_eq(firn_links_writer_finish(writer), FIRN_OK);
}

static void mark(fixture *self) {
    ck_assert_int_eq(firn_links_file_mark_dirty(self->path, STORE_ID, self->heap, &self->detail),
                     FIRN_OK);
}

static int open_reader(fixture *self, firn_links_reader **reader) {
    return firn_links_reader_open(reader, self->path, STORE_ID, self->heap);
}

/* What an open makes of the file. */
static int judge(fixture *self) {
    firn_links_reader *reader;
    int result = open_reader(self, &reader);
    ck_assert_int_eq(reader != NULL, result == FIRN_OK);
    firn_links_reader_close(reader);
    return result;
}

static int state_of(fixture *self) {
    firn_links_state state;
    int result = firn_links_file_read_state(self->path, STORE_ID, &state, self->heap);
    return result == FIRN_OK ? (int)state : result;
}

static void assert_body(fixture *self, size_t size, size_t step) {
    unsigned char bytes[1000];
    firn_links_reader *reader;
    ck_assert_int_eq(open_reader(self, &reader), FIRN_OK);
    for (size_t at = 0; at < size;) {
        size_t some = size - at < step ? size - at : step;
        ck_assert_int_eq(firn_links_reader_read(reader, bytes, some), FIRN_OK);
        for (size_t i = 0; i < some; i++) {
            ck_assert_uint_eq(bytes[i], byte_at(at + i));
        }
        at += some;
    }
    ck_assert_int_eq(firn_links_reader_read(reader, bytes, 1), FIRN_NOT_FOUND);
    firn_links_reader_close(reader);
}

START_TEST(bodies_of_every_size_are_read_as_written) {
    static const size_t sizes[] = {0, 1, BUFFER - 1, BUFFER, BUFFER + 1, 2 * BUFFER, MANY};
    fixture self = make("links-sizes");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        write_body(&self, sizes[i], 24);
        ck_assert_int_eq(state_of(&self), FIRN_LINKS_WHOLE);
        ck_assert_uint_eq(file_size(self.path, FIRN_LINKS_FILE), HEADER + sizes[i]);
        assert_body(&self, sizes[i], 1000);
        assert_body(&self, sizes[i], 7);
    }
    drop(&self);
}
END_TEST

START_TEST(a_mark_takes_the_place_of_a_body_and_a_body_of_a_mark) {
    fixture self = make("links-marks");
    mark(&self);
    ck_assert_int_eq(state_of(&self), FIRN_LINKS_DIRTY);
    ck_assert_int_eq(judge(&self), FIRN_AGAIN);
    write_body(&self, 100, 10);
    ck_assert_int_eq(state_of(&self), FIRN_LINKS_WHOLE);
    mark(&self);
    ck_assert_uint_eq(file_size(self.path, FIRN_LINKS_FILE), HEADER);
    ck_assert_int_eq(judge(&self), FIRN_AGAIN);
    ck_assert_uint_eq(file_size(self.path, FIRN_LINKS_FILE ".tmp"), 0);
    drop(&self);
}
END_TEST

START_TEST(the_bytes_of_a_mark_are_those_of_the_format) {
    static const unsigned char expected[HEADER] = {
        'F', 'I', 'R',      'N', 'L',  'I',  'N',  'K',  1,    0,    0,    0,    1, 0,
        0,   0,   STORE_ID, 0,   0,    0,    0,    0,    0,    0,    0,    0,    0, 0,
        0,   0,   0,        0,   0xc2, 0x94, 0xd3, 0x38, 0x05, 0x80, 0x06, 0x2d, /* of nothing: a
                                                                                    constant of
                                                                                    XXH3-64 */
    };
    unsigned char bytes[HEADER];
    fixture self = make("links-bytes");
    mark(&self);
    char *file = join(self.path, FIRN_LINKS_FILE);
    int fd = open(file, O_RDONLY);
    ck_assert_int_eq(read(fd, bytes, sizeof bytes), HEADER);
    ck_assert_int_eq(memcmp(bytes, expected, HEADER - 8), 0);
    close(fd);
    free(file);
    drop(&self);
}
END_TEST

START_TEST(where_there_is_none_there_is_nothing_to_read) {
    fixture self = make("links-none");
    ck_assert_int_eq(judge(&self), FIRN_NOT_FOUND);
    ck_assert_int_eq(state_of(&self), FIRN_NOT_FOUND);
    drop(&self);
}
END_TEST

START_TEST(the_file_of_another_store_is_refused) {
    fixture self = make("links-other");
    firn_links_reader *reader;
    firn_links_state state;
    write_body(&self, 10, 10);
    ck_assert_int_eq(firn_links_reader_open(&reader, self.path, STORE_ID + 1, self.heap),
                     FIRN_ECORRUPT);
    ck_assert_ptr_null(reader);
    mark(&self);
    ck_assert_int_eq(firn_links_file_read_state(self.path, STORE_ID + 1, &state, self.heap),
                     FIRN_ECORRUPT);
    drop(&self);
}
END_TEST

START_TEST(every_changed_byte_is_found) {
    enum { BODY = 40 };
    fixture self = make("links-changes");
    char *file = join(self.path, FIRN_LINKS_FILE);
    write_body(&self, BODY, BODY);
    int fd = open(file, O_RDWR);
    ck_assert_int_ge(fd, 0);
    for (off_t i = 0; i < HEADER + BODY; i++) {
        change_byte(fd, i, 0x20);
        ck_assert_msg(judge(&self) == FIRN_ECORRUPT, "byte %ld", (long)i);
        ck_assert_int_eq(state_of(&self), i < HEADER ? FIRN_ECORRUPT : FIRN_LINKS_WHOLE);
        change_byte(fd, i, 0x20);
    }
    ck_assert_int_eq(judge(&self), FIRN_OK);
    close(fd);
    free(file);
    drop(&self);
}
END_TEST

START_TEST(a_file_of_another_length_is_refused) {
    enum { BODY = 40 };
    fixture self = make("links-lengths");
    char *file = join(self.path, FIRN_LINKS_FILE);
    for (off_t size = 0; size <= HEADER + BODY + 1; size++) {
        write_body(&self, BODY, BODY);
        ck_assert_int_eq(truncate(file, size), 0);
        ck_assert_msg(judge(&self) == (size == HEADER + BODY ? FIRN_OK : FIRN_ECORRUPT),
                      "of %ld bytes", (long)size);
    }
    mark(&self);
    ck_assert_int_eq(truncate(file, HEADER + 1), 0);
    ck_assert_int_eq(judge(&self), FIRN_ECORRUPT);
    free(file);
    drop(&self);
}
END_TEST

START_TEST(a_read_beyond_the_body_says_so) {
    unsigned char bytes[20];
    fixture self = make("links-beyond");
    firn_links_reader *reader;
    write_body(&self, 10, 10);
    ck_assert_int_eq(open_reader(&self, &reader), FIRN_OK);
    ck_assert_int_eq(firn_links_reader_read(reader, bytes, 11), FIRN_ECORRUPT);
    ck_assert_int_eq(firn_links_reader_read(reader, bytes, 10), FIRN_OK);
    ck_assert_int_eq(firn_links_reader_read(reader, bytes, 0), FIRN_OK);
    ck_assert_int_eq(firn_links_reader_read(reader, bytes, 1), FIRN_NOT_FOUND);
    firn_links_reader_close(reader);
    drop(&self);
}
END_TEST

START_TEST(a_file_that_shrinks_while_it_is_read_is_an_error) {
    unsigned char bytes[1000];
    fixture self = make("links-shrinks");
    char *file = join(self.path, FIRN_LINKS_FILE);
    firn_links_reader *reader;
    int result = FIRN_OK;
    write_body(&self, MANY, 1000);
    ck_assert_int_eq(open_reader(&self, &reader), FIRN_OK);
    ck_assert_int_eq(truncate(file, HEADER + BUFFER + 5), 0);
    for (size_t at = 0; at < MANY && result == FIRN_OK; at += sizeof bytes) {
        result = firn_links_reader_read(reader, bytes, sizeof bytes);
    }
    ck_assert_int_eq(result, FIRN_ECORRUPT);
    firn_links_reader_close(reader);
    free(file);
    drop(&self);
}
END_TEST

START_TEST(a_body_that_is_given_up_or_cannot_be_put_in_place_leaves_the_mark) {
    fixture self = make("links-blocked");
    char *temporary = join(self.path, FIRN_LINKS_FILE ".tmp");
    mark(&self);
    firn_links_writer *writer = begin(&self);
    append_body(writer, MANY, 1000);
    firn_links_writer_cancel(writer);
    ck_assert_int_eq(judge(&self), FIRN_AGAIN);
    ck_assert_int_ne(access(temporary, F_OK), 0);

    writer = begin(&self);
    append_body(writer, 10, 10);
    ck_assert_int_eq(unlink(temporary), 0); /* so that the rename fails */
    ck_assert_int_eq(firn_links_writer_finish(writer), FIRN_EIO);
    char text[200];
    firn_detail_get(&self.detail, text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, FIRN_LINKS_FILE));
    ck_assert_int_eq(judge(&self), FIRN_AGAIN);
    free(temporary);
    drop(&self);
}
END_TEST

START_TEST(a_folder_that_is_not_there_is_an_error_with_words) {
    fixture self = make("links-nowhere");
    char *folder = join(self.path, "missing");
    firn_links_writer *writer;
    ck_assert_int_eq(firn_links_writer_open(&writer, folder, STORE_ID, self.heap, &self.detail),
                     FIRN_EIO);
    ck_assert_ptr_null(writer);
    ck_assert_int_eq(firn_links_file_mark_dirty(folder, STORE_ID, self.heap, &self.detail),
                     FIRN_EIO);
    char text[200];
    firn_detail_get(&self.detail, text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, FIRN_LINKS_FILE));
    free(folder);
    drop(&self);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, bodies_of_every_size_are_read_as_written);
    tcase_add_test(tcase, a_mark_takes_the_place_of_a_body_and_a_body_of_a_mark);
    tcase_add_test(tcase, the_bytes_of_a_mark_are_those_of_the_format);
    tcase_add_test(tcase, where_there_is_none_there_is_nothing_to_read);
    tcase_add_test(tcase, the_file_of_another_store_is_refused);
    tcase_add_test(tcase, every_changed_byte_is_found);
    tcase_add_test(tcase, a_file_of_another_length_is_refused);
    tcase_add_test(tcase, a_read_beyond_the_body_says_so);
    tcase_add_test(tcase, a_file_that_shrinks_while_it_is_read_is_an_error);
    tcase_add_test(tcase, a_body_that_is_given_up_or_cannot_be_put_in_place_leaves_the_mark);
    tcase_add_test(tcase, a_folder_that_is_not_there_is_an_error_with_words);
}

int main(void) {
    return run_suite("links file", add, 60);
}
