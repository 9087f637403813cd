/* See blobs.h. */
#include "cold/blobs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <firn/error.h>

#include "base/file.h"
#include "base/replace.h"

enum { NAME_SIZE = sizeof FIRN_BLOB_PREFIX + 16, PREFIX = sizeof FIRN_BLOB_PREFIX - 1 };

static void name_of(uint64_t number, char *name) {
    snprintf(name, NAME_SIZE, FIRN_BLOB_PREFIX "%016" PRIx64, number);
}

/* False: it is no blob's name. */
static bool number_of(const char *name, uint64_t *number) {
    if (strncmp(name, FIRN_BLOB_PREFIX, PREFIX) != 0 || strlen(name) != PREFIX + 16 ||
        strspn(name + PREFIX, "0123456789abcdef") != 16) {
        return false;
    }
    *number = strtoull(name + PREFIX, NULL, 16);
    return true;
}

bool firn_blob_is_name(const char *name) {
    return strncmp(name, FIRN_BLOB_PREFIX, PREFIX) == 0;
}

static int failed(firn_detail *detail, const char *path, const char *what) {
    int error = errno;
    return firn_detail_set(detail, firn_code_of_errno(error), "%s: cannot %s: %s", path, what,
                           strerror(error));
}

static char *path_of(const char *directory, uint64_t number, firn_heap *heap, firn_detail *detail) {
    char name[NAME_SIZE];
    name_of(number, name);
    char *path = firn_path_join(heap, directory, name);
    if (path == NULL) {
        firn_detail_set(detail, FIRN_ENOMEM, "%s: no memory for a file's name", directory);
    }
    return path;
}

int firn_blob_put(const char *directory, uint64_t number, const void *bytes, size_t size,
                  firn_heap *heap, firn_detail *detail) {
    char name[NAME_SIZE];
    name_of(number, name);
    return firn_replace_file(directory, name, bytes, size, heap, detail);
}

int firn_blob_remove(const char *directory, uint64_t number, firn_heap *heap, firn_detail *detail) {
    char *path = path_of(directory, number, heap, detail);
    if (path == NULL) {
        return FIRN_ENOMEM;
    }
    int result = unlink(path) == 0 ? FIRN_OK
                 : errno == ENOENT ? FIRN_NOT_FOUND
                                   : failed(detail, path, "remove");
    firn_path_free(heap, path);
    return result;
}

static int read_whole(int fd, const char *path, unsigned char **bytes, size_t *size,
                      firn_heap *heap, firn_detail *detail) {
    struct stat status;
    if (fstat(fd, &status) != 0) {
        return failed(detail, path, "read");
    }
    /* Nothing is not a blob, and neither is what is too large: the caller finds out. */
    *size = status.st_size < FIRN_BLOB_BYTES_MAX ? (size_t)status.st_size : FIRN_BLOB_BYTES_MAX;
    *size = *size > 0 ? *size : 1;
    *bytes = firn_heap_zalloc(heap, *size);
    if (*bytes == NULL) {
        return firn_detail_set(detail, FIRN_ENOMEM, "%s: no memory to read it", path);
    }
    if (status.st_size > 0 && firn_read_at(fd, *bytes, *size, 0) != 0) {
        int result = failed(detail, path, "read");
        firn_heap_free(heap, *bytes, *size);
        *bytes = NULL;
        return result;
    }
    return FIRN_OK;
}

int firn_blob_get(const char *directory, uint64_t number, unsigned char **bytes, size_t *size,
                  firn_heap *heap, firn_detail *detail) {
    *bytes = NULL;
    char *path = path_of(directory, number, heap, detail);
    if (path == NULL) {
        return FIRN_ENOMEM;
    }
    int result = FIRN_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        result = errno == ENOENT ? FIRN_NOT_FOUND : failed(detail, path, "read");
    } else {
        result = read_whole(fd, path, bytes, size, heap, detail);
        close(fd);
    }
    firn_path_free(heap, path);
    return result;
}

int firn_blob_next(const char *directory, uint64_t from, uint64_t *number, firn_detail *detail) {
    DIR *stream = opendir(directory);
    if (stream == NULL) {
        return failed(detail, directory, "list the directory");
    }
    int result = FIRN_NOT_FOUND;
    struct dirent *entry;
    errno = 0;
    while ((entry = readdir(stream)) != NULL) {
        uint64_t found;
        if (number_of(entry->d_name, &found) && found >= from &&
            (result == FIRN_NOT_FOUND || found < *number)) {
            *number = found;
            result = FIRN_OK;
        }
    }
    if (errno != 0) {
        result = failed(detail, directory, "list the directory");
    }
    closedir(stream);
    return result;
}
