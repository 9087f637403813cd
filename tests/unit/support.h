/* Scratch folders and files for tests that need a store. */
#ifndef FIRN_TESTS_SUPPORT_H
#define FIRN_TESTS_SUPPORT_H

#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <firn/firn.h>

#include "unit/point.h"

/* A sanitizer is at work: all takes longer, and freed memory is kept. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

__attribute__((unused)) static char *join(const char *path, const char *name) {
    char *joined;
    ck_assert_int_gt(asprintf(&joined, "%s/%s", path, name), 0);
    return joined;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where) {
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

__attribute__((unused)) static void clear_tree(const char *path) {
    nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Removes the tree and frees the path. */
__attribute__((unused)) static void remove_tree(char *path) {
    clear_tree(path);
    free(path);
}

/* A path of this test's own where nothing is; for remove_tree. */
__attribute__((unused)) static char *scratch_path(const char *name) {
    const char *folder = getenv("TMPDIR");
    char *path;
    ck_assert_int_gt(asprintf(&path, "%s/firn-test-%ld-%s", folder != NULL ? folder : "/tmp",
                              (long)getpid(), name),
                     0);
    clear_tree(path);
    return path;
}

__attribute__((unused)) static uint64_t file_size(const char *path, const char *name) {
    char *file = join(path, name);
    struct stat status;
    uint64_t size = stat(file, &status) == 0 ? (uint64_t)status.st_size : 0;
    free(file);
    return size;
}

__attribute__((unused)) static void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

/* Of an open file; the same once more takes it back. */
__attribute__((unused)) static void change_byte(int fd, off_t offset, unsigned char mask) {
    unsigned char byte;
    ck_assert_int_eq(pread(fd, &byte, 1, offset), 1);
    byte ^= mask;
    ck_assert_int_eq(pwrite(fd, &byte, 1, offset), 1);
}

/* To where nothing is to be left; files keep their times. */
__attribute__((unused)) static void copy_store(const char *from, const char *to) {
    char command[800];
    clear_tree(to);
    snprintf(command, sizeof command, "cp -rp '%s' '%s'", from, to);
    ck_assert_int_eq(system(command), 0);
}

/* Opens a cache, and fails the test with the reason if it cannot. */
__attribute__((unused)) static firn_cache *open_with(const char *path,
                                                     const firn_options *options) {
    char text[400] = "";
    firn_options full = *options;
    full.error_buffer = text;
    full.error_buffer_size = sizeof text;
    firn_cache *cache;
    int result = firn_open(&cache, path, &full);
    ck_assert_msg(result == FIRN_OK, "%s: %s", firn_strerror(result), text);
    return cache;
}

/* Does what there is to do in the background, of a cache without a thread. */
__attribute__((unused)) static void work_off(firn_cache *cache) {
    while (firn_run(cache, 1000) == FIRN_AGAIN) {
    }
}

#endif
