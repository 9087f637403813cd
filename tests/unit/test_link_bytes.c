/* Links as bytes: what is written is read again, and what is malformed is told and never read
 * beyond.
 */
#include <stdbool.h>
#include <string.h>

#include "base/links.h"

#include "unit/suite.h"

static const firn_link some[] = {
    {FIRN_LINK_KEEPS, "chunk", 5, 0},
    {FIRN_LINK_DEPENDS, "\x00\xff", 2, UINT64_MAX},
    {FIRN_LINKS_BODY, "b", 1, 300},
};

enum { SOME = sizeof some / sizeof some[0] };

static bool is_same(const firn_link *a, const firn_link *b) {
    return a->kind == b->kind && a->version == b->version && a->key_size == b->key_size &&
           memcmp(a->key, b->key, a->key_size) == 0;
}

START_TEST(links_are_read_as_written) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_links *links = firn_links_new(heap, some, SOME);
    firn_links *copy = firn_links_from(heap, links->bytes, links->size);
    firn_link found;
    size_t at = 0;
    ck_assert_uint_eq(links->count, SOME);
    ck_assert_uint_eq(copy->count, SOME);
    ck_assert_uint_eq(firn_links_count(copy->bytes, copy->size), SOME);
    for (unsigned i = 0; i < SOME; i++) {
        ck_assert(firn_links_next(copy->bytes, copy->size, &at, &found));
        ck_assert(is_same(&found, &some[i]));
    }
    ck_assert(!firn_links_next(copy->bytes, copy->size, &at, &found));
    ck_assert_uint_eq(at, copy->size);
    firn_links_unref(copy, heap);
    firn_links_unref(links, heap);
    firn_heap_unref(heap);
}
END_TEST

START_TEST(a_block_lives_as_long_as_its_last_reference) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_links *links = firn_links_new(heap, some, SOME);
    ck_assert_ptr_eq(firn_links_ref(links), links);
    firn_links_unref(links, heap);
    ck_assert_uint_eq(firn_links_count(links->bytes, links->size), SOME);
    firn_links_unref(links, heap);
    firn_links_unref(NULL, heap);
    links = firn_links_new(heap, NULL, 0);
    ck_assert_uint_eq(links->count + links->size, 0);
    firn_links_unref(links, heap);
    firn_heap_unref(heap);
}
END_TEST

START_TEST(the_bytes_are_those_of_the_format) {
    static const firn_link link = {FIRN_LINK_DEPENDS, "key", 3, 300};
    static const unsigned char expected[] = {2, 0xac, 0x02, 3, 'k', 'e', 'y'};
    firn_heap *heap = firn_heap_new(NULL);
    firn_links *links = firn_links_new(heap, &link, 1);
    ck_assert_uint_eq(links->size, sizeof expected);
    ck_assert_mem_eq(links->bytes, expected, sizeof expected);
    firn_links_unref(links, heap);
    firn_heap_unref(heap);
}
END_TEST

/* Of bytes that end where they end, so that a sanitizer sees every one too many. */
static size_t count_of(const void *bytes, size_t size) {
    unsigned char *exact = malloc(size + (size == 0));
    memcpy(exact, bytes, size);
    size_t count = firn_links_count(exact, size);
    free(exact);
    return count;
}

START_TEST(links_that_are_cut_off_are_malformed) {
    firn_heap *heap = firn_heap_new(NULL);
    firn_links *links = firn_links_new(heap, some, SOME);
    size_t whole = 0;
    for (size_t size = 0; size <= links->size; size++) {
        whole += count_of(links->bytes, size) != SIZE_MAX;
    }
    ck_assert_uint_eq(whole, SOME + 1); /* where one ends, and of nothing */
    firn_links_unref(links, heap);
    firn_heap_unref(heap);
}
END_TEST

START_TEST(links_that_make_no_sense_are_malformed) {
    static const struct {
        const char *what;
        unsigned char bytes[16];
        size_t size;
    } wrong[] = {
        {"no kind", {0, 0, 1, 'k'}, 4},
        {"a kind that is not known", {4, 0, 1, 'k'}, 4},
        {"an empty key", {1, 0, 0}, 3},
        {"a key beyond the end", {1, 0, 2, 'k'}, 4},
        {"a version without an end", {1, 0x80, 0x80}, 3},
        {"a version beyond 64 bits",
         {1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 1, 'k'},
         13},
        {"a key of nearly all the bytes there can be",
         {1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 'k'},
         13},
        {"a good one and a bad one", {1, 0, 1, 'k', 9, 0, 1, 'k'}, 8},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ck_assert_msg(count_of(wrong[i].bytes, wrong[i].size) == SIZE_MAX, "%s", wrong[i].what);
    }
}
END_TEST

static void add(TCase *tcase) {
    tcase_add_test(tcase, links_are_read_as_written);
    tcase_add_test(tcase, a_block_lives_as_long_as_its_last_reference);
    tcase_add_test(tcase, the_bytes_are_those_of_the_format);
    tcase_add_test(tcase, links_that_are_cut_off_are_malformed);
    tcase_add_test(tcase, links_that_make_no_sense_are_malformed);
}

int main(void) {
    return run_suite("link bytes", add, 60);
}
