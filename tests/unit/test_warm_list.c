/* The warm list: what is written is read again in order, and no damage to the file does harm. */
#include <fcntl.h>

#include "base/heap.h"
#include "cold/warm_list.h"

#include "unit/suite.h"
#include "unit/support.h"

enum { STORE_ID = 77, MANY = 10000 };

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

static uint64_t hash_of(uint64_t index) {
    return (index + 1) * UINT64_C(0x9E3779B97F4A7C15);
}

static void write_list(fixture *self, uint64_t count) {
    firn_warm_writer *writer;
    ck_assert_int_eq(
        firn_warm_writer_open(&writer, self->path, STORE_ID, self->heap, &self->detail), FIRN_OK);
    for (uint64_t i = 0; i < count; i++) {
        firn_warm_writer_add(writer, hash_of(i));
    }
    ck_assert_int_eq(firn_warm_writer_finish(writer), FIRN_OK);
}

static void assert_list(fixture *self, uint64_t count) {
    firn_warm_list *list;
    ck_assert_int_eq(firn_warm_list_open(&list, self->path, STORE_ID, self->heap), FIRN_OK);
    ck_assert_uint_eq(firn_warm_list_count(list), count);
    ck_assert_int_eq(firn_warm_list_check(list), FIRN_OK);
    for (uint64_t i = 0; i < count; i++) {
        ck_assert_uint_eq(firn_warm_list_at(list, i), hash_of(i));
    }
    if (count > 0) { /* and in no order */
        ck_assert_uint_eq(firn_warm_list_at(list, 0), hash_of(0));
        ck_assert_uint_eq(firn_warm_list_at(list, count - 1), hash_of(count - 1));
    }
    firn_warm_list_close(list);
}

/* What an open and a check make of the file: the worse of the two. */
static int judge(fixture *self) {
    firn_warm_list *list;
    int result = firn_warm_list_open(&list, self->path, STORE_ID, self->heap);
    if (result == FIRN_OK) {
        result = firn_warm_list_check(list);
        firn_warm_list_close(list);
    } else {
        ck_assert_ptr_null(list);
    }
    return result;
}

START_TEST(lists_of_every_size_are_read_as_written) {
    static const uint64_t counts[] = {0, 1, 2, 4095, 4096, 4097, 8192, MANY};
    fixture self = make("sizes");
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        write_list(&self, counts[i]);
        assert_list(&self, counts[i]);
        ck_assert_uint_eq(file_size(self.path, "firn.hot"), 40 + 8 * counts[i]);
    }
    drop(&self);
}
END_TEST

START_TEST(a_new_list_takes_the_place_of_the_old_one) {
    fixture self = make("replace");
    write_list(&self, MANY);
    write_list(&self, 3);
    assert_list(&self, 3);
    ck_assert_uint_eq(file_size(self.path, "firn.hot.tmp"), 0);
    drop(&self);
}
END_TEST

START_TEST(where_there_is_none_there_is_nothing_to_read) {
    fixture self = make("none");
    ck_assert_int_eq(judge(&self), FIRN_NOT_FOUND);
    drop(&self);
}
END_TEST

START_TEST(the_list_of_another_store_is_refused) {
    fixture self = make("other");
    write_list(&self, 10);
    firn_warm_list *list;
    ck_assert_int_eq(firn_warm_list_open(&list, self.path, STORE_ID + 1, self.heap), FIRN_ECORRUPT);
    ck_assert_ptr_null(list);
    drop(&self);
}
END_TEST

START_TEST(every_flipped_byte_is_found) {
    fixture self = make("flips");
    write_list(&self, 20);
    char *file = join(self.path, "firn.hot");
    int fd = open(file, O_RDWR);
    ck_assert_int_ge(fd, 0);
    for (off_t i = 0; i < 40 + 8 * 20; i++) {
        change_byte(fd, i, 0x20);
        ck_assert_msg(judge(&self) == FIRN_ECORRUPT, "byte %ld", (long)i);
        change_byte(fd, i, 0x20);
    }
    ck_assert_int_eq(judge(&self), FIRN_OK);
    close(fd);
    free(file);
    drop(&self);
}
END_TEST

START_TEST(a_file_of_another_length_is_refused) {
    fixture self = make("lengths");
    char *file = join(self.path, "firn.hot");
    for (off_t size = 0; size < 40 + 8 * 20; size++) {
        write_list(&self, 20);
        ck_assert_int_eq(truncate(file, size), 0);
        ck_assert_msg(judge(&self) == FIRN_ECORRUPT, "cut to %ld", (long)size);
    }
    write_list(&self, 20);
    ck_assert_int_eq(truncate(file, 40 + 8 * 21), 0);
    ck_assert_int_eq(judge(&self), FIRN_ECORRUPT);
    free(file);
    drop(&self);
}
END_TEST

START_TEST(a_list_that_shrinks_while_it_is_read_gives_no_hashes_and_no_crash) {
    fixture self = make("shrinks");
    write_list(&self, MANY);
    char *file = join(self.path, "firn.hot");
    firn_warm_list *list;
    ck_assert_int_eq(firn_warm_list_open(&list, self.path, STORE_ID, self.heap), FIRN_OK);
    ck_assert_int_eq(firn_warm_list_check(list), FIRN_OK);
    ck_assert_int_eq(truncate(file, 100), 0);
    for (uint64_t i = 0; i < MANY; i++) {
        uint64_t hash = firn_warm_list_at(list, i);
        ck_assert(hash == 0 || hash == hash_of(i));
    }
    ck_assert_int_eq(firn_warm_list_check(list), FIRN_ECORRUPT);
    firn_warm_list_close(list);
    free(file);
    drop(&self);
}
END_TEST

START_TEST(a_list_that_cannot_be_put_in_place_takes_the_old_one_with_it) {
    fixture self = make("blocked");
    write_list(&self, 5);
    char *temporary = join(self.path, "firn.hot.tmp");
    firn_warm_writer *writer;
    ck_assert_int_eq(firn_warm_writer_open(&writer, self.path, STORE_ID, self.heap, &self.detail),
                     FIRN_OK);
    firn_warm_writer_add(writer, 1);
    ck_assert_int_eq(unlink(temporary), 0); /* so that the rename fails */
    ck_assert_int_eq(firn_warm_writer_finish(writer), FIRN_EIO);
    char text[200];
    ck_assert_uint_gt(firn_detail_get(&self.detail, text, sizeof text), 0);
    ck_assert_int_eq(judge(&self), FIRN_NOT_FOUND);
    free(temporary);
    drop(&self);
}
END_TEST

START_TEST(a_folder_that_is_not_there_is_an_error_with_words) {
    fixture self = make("nowhere");
    char *folder = join(self.path, "missing");
    firn_warm_writer *writer;
    ck_assert_int_eq(firn_warm_writer_open(&writer, folder, STORE_ID, self.heap, &self.detail),
                     FIRN_EIO);
    ck_assert_ptr_null(writer);
    char text[200];
    firn_detail_get(&self.detail, text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, "firn.hot"));
    free(folder);
    drop(&self);
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, lists_of_every_size_are_read_as_written);
    tcase_add_test(tcase, a_new_list_takes_the_place_of_the_old_one);
    tcase_add_test(tcase, where_there_is_none_there_is_nothing_to_read);
    tcase_add_test(tcase, the_list_of_another_store_is_refused);
    tcase_add_test(tcase, every_flipped_byte_is_found);
    tcase_add_test(tcase, a_file_of_another_length_is_refused);
    tcase_add_test(tcase, a_list_that_shrinks_while_it_is_read_gives_no_hashes_and_no_crash);
    tcase_add_test(tcase, a_list_that_cannot_be_put_in_place_takes_the_old_one_with_it);
    tcase_add_test(tcase, a_folder_that_is_not_there_is_an_error_with_words);
}

int main(void) {
    return run_suite("warm list", add, 60);
}
