/* What the examples share: how they end on an error, open a store and read a file. Each example is
 * otherwise whole in its own file. Knows nothing of what they cache. */
#ifndef EXAMPLE_H
#define EXAMPLE_H

/* What the examples want of the system beside C11: POSIX of 2008. */
#ifndef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700
#endif

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <firn/firn.h>

/* Says what went wrong and ends the program. What is only in the cache's memory is lost then; the
 * store itself takes no harm from it. */
static inline void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("error: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

/* Ends the program if a call of firn failed: the words for the code, and the detail that the cache
 * remembers. */
static inline void check(firn_cache *cache, int result, const char *what) {
    if (result != FIRN_OK) {
        char detail[300] = "";
        firn_last_message(cache, detail, sizeof detail);
        fail("%s: %s%s%s", what, firn_strerror(result), detail[0] != '\0' ? ": " : "", detail);
    }
}

/* Opens the store, or makes it. Examples run without a thread in the background: all that happens
 * happens in their calls, and so they print the same each time. Most programs leave `threads` as it
 * is. */
static inline firn_cache *open_store(const char *path) {
    char why[300] = "";
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 1u << 20; /* little, to show what happens when memory is full */
    options.cold_bytes = 256u << 20;
    options.threads = 0;
    options.error_buffer = why;
    options.error_buffer_size = sizeof why;
    firn_cache *cache;
    int result = firn_open(&cache, path, &options);
    if (result != FIRN_OK) {
        fail("cannot open the store %s: %s", path, why[0] != '\0' ? why : firn_strerror(result));
    }
    return cache;
}

/* The error tells of entries that could not be written. The handle is gone all the same, so there
 * is no detail to ask for. */
static inline void close_store(firn_cache *cache) {
    int result = firn_close(cache);
    if (result != FIRN_OK) {
        fail("cannot write all that is in memory: %s", firn_strerror(result));
    }
}

/* malloc that ends the program when there is no memory. Never NULL, also for 0 bytes. */
static inline void *allocate(size_t size) {
    void *memory = malloc(size > 0 ? size : 1);
    if (memory == NULL) {
        fail("out of memory");
    }
    return memory;
}

/* The whole file, with a 0 behind it that *size does not count. The caller frees it. */
static inline char *read_file(const char *path, size_t *size) {
    struct stat status;
    FILE *file = fopen(path, "rb");
    if (file == NULL || fstat(fileno(file), &status) != 0) {
        fail("%s: %s", path, strerror(errno));
    }
    if (!S_ISREG(status.st_mode)) {
        fail("%s: not a file", path);
    }
    char *bytes = allocate((size_t)status.st_size + 1);
    *size = fread(bytes, 1, (size_t)status.st_size, file);
    if (ferror(file)) {
        fail("%s: %s", path, strerror(errno));
    }
    bytes[*size] = '\0';
    fclose(file);
    return bytes;
}

#endif
