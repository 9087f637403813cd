/* The page check over any bytes: it must come to an end without reading where it should not, and
 * LMDB must live through reading and writing whatever it passes. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/heap.h"
#include "cold/lmdb_check.h"

#include "lmdb_exercise.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ignore(void *context, const char *text) {
    (void)context;
    (void)text;
}

static bool passes(const char *path) {
    firn_lmdb_check_report report;
    firn_heap *heap = firn_heap_new(NULL);
    int result = heap != NULL ? firn_lmdb_check(path, heap, ignore, NULL, &report) : FIRN_ENOMEM;
    firn_heap_unref(heap);
    int head = firn_lmdb_check_head(path, NULL);
    if (result == FIRN_OK && head != FIRN_OK) {
        abort(); /* the head alone cannot be worse than the whole */
    }
    return result == FIRN_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int fd = memfd_create("input", MFD_CLOEXEC);
    if (fd >= 0 && write(fd, data, size) == (ssize_t)size) {
        char path[40];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if (passes(path)) {
            lmdb_exercise(path);
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    return 0;
}
