/* See file.h. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int firn_read_at(int fd, void *buffer, size_t size, uint64_t offset) {
    unsigned char *to = buffer;
    while (size > 0) {
        ssize_t got = pread(fd, to, size, (off_t)offset);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            errno = got == 0 ? 0 : errno;
            return -1;
        }
        to += got;
        size -= (size_t)got;
        offset += (uint64_t)got;
    }
    return 0;
}

int firn_write_at(int fd, const void *buffer, size_t size, uint64_t offset) {
    const unsigned char *from = buffer;
    while (size > 0) {
        ssize_t put = pwrite(fd, from, size, (off_t)offset);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put < 0) {
            return -1;
        }
        from += put;
        size -= (size_t)put;
        offset += (uint64_t)put;
    }
    return 0;
}

int firn_sync_directory(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    int result = fsync(fd);
    int error = errno;
    close(fd);
    errno = error;
    return result;
}

char *firn_path_join(firn_heap *heap, const char *directory, const char *name) {
    size_t size = strlen(directory) + strlen(name) + 2;
    char *path = firn_heap_alloc(heap, size);
    if (path != NULL) {
        snprintf(path, size, "%s/%s", directory, name);
    }
    return path;
}

void firn_path_free(firn_heap *heap, char *path) {
    if (path != NULL) {
        firn_heap_free(heap, path, strlen(path) + 1);
    }
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void firn_boot_id(unsigned char id[16]) {
    memset(id, 0, 16);
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    char text[64];
    ssize_t size = read(fd, text, sizeof text);
    close(fd);
    size_t digits = 0;
    for (ssize_t i = 0; i < size && digits < 32; i++) {
        int digit = hex_digit(text[i]);
        if (digit >= 0) {
            id[digits / 2] = (unsigned char)(id[digits / 2] << 4 | digit);
            digits++;
        }
    }
}

int firn_code_of_errno(int error) {
    switch (error) {
    case ENOMEM:
        return FIRN_ENOMEM;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return FIRN_ENOSPC;
    case EACCES:
    case EPERM:
    case EROFS:
        return FIRN_EREADONLY;
    default:
        return FIRN_EIO;
    }
}
