/* See io_faults.h. The calls go straight to the kernel, so that nothing has to be found in the C
 * library first, and sanitizers are passed by on the way. */
#undef _FILE_OFFSET_BITS /* pwrite and pwrite64 are two names here */
#undef _FORTIFY_SOURCE

#include "fault/io_faults.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool active; /* lock, as all below */
static io_rule holds;
static long counted;
static long failed;

void io_faults_on(const io_rule *rule) {
    pthread_mutex_lock(&lock);
    holds = *rule;
    counted = failed = 0;
    active = true;
    pthread_mutex_unlock(&lock);
}

long io_faults_off(void) {
    pthread_mutex_lock(&lock);
    long calls = failed;
    active = false;
    failed = 0;
    pthread_mutex_unlock(&lock);
    return calls;
}

long io_faults_failed(void) {
    pthread_mutex_lock(&lock);
    long calls = failed;
    pthread_mutex_unlock(&lock);
    return calls;
}

static bool is_meant(const char *path) {
    size_t folder = strlen(holds.folder);
    size_t length = strlen(path);
    size_t name = holds.name != NULL ? strlen(holds.name) : 0;
    return strncmp(path, holds.folder, folder) == 0 && path[folder] == '/' && length >= name &&
           strcmp(path + length - name, holds.name != NULL ? holds.name : "") == 0;
}

typedef enum outcome { PASSES, FAILS, HALVES } outcome;

/* What becomes of a call on a path, with errno. lock is held. */
static outcome decide(unsigned kind, const char *path) {
    if ((holds.calls & kind) == 0 || !is_meant(path)) {
        return PASSES;
    }
    long number = counted++;
    if (number < holds.first || (holds.count != 0 && number - holds.first >= holds.count)) {
        return PASSES;
    }
    if (holds.error == 0 && (kind & (IO_WRITE | IO_READ)) == 0) {
        return PASSES;
    }
    failed++;
    errno = holds.error;
    return holds.error == 0 ? HALVES : FAILS;
}

static outcome look_at_path(unsigned kind, const char *path) {
    pthread_mutex_lock(&lock);
    outcome result = active ? decide(kind, path) : PASSES;
    pthread_mutex_unlock(&lock);
    return result;
}

static outcome look_at(unsigned kind, int fd) {
    char link[64];
    char path[PATH_MAX + 1];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    path[size > 0 ? size : 0] = '\0';
    return look_at_path(kind, path);
}

static outcome look_at_map(unsigned kind, const void *address) {
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[PATH_MAX + 200];
    char path[PATH_MAX + 200] = "";
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        unsigned long begin;
        unsigned long end;
        int at = 0;
        if (sscanf(line, "%lx-%lx %*s %*s %*s %*s %n", &begin, &end, &at) == 2 && at > 0 &&
            (uintptr_t)address >= begin && (uintptr_t)address < end) {
            line[strcspn(line, "\n")] = '\0';
            strcpy(path, line + at);
        }
    }
    if (maps != NULL) {
        fclose(maps);
    }
    return look_at_path(kind, path);
}

/* ---- reading and writing ---- */

static ssize_t one(unsigned kind, long number, int fd, void *bytes, size_t size, off_t offset) {
    outcome what = look_at(kind, fd);
    if (what == FAILS) {
        return -1;
    }
    return syscall(number, fd, bytes, what == HALVES ? (size + 1) / 2 : size, offset);
}

/* Half of a vector: the half of its first part. */
static ssize_t many(unsigned kind, long number, int fd, const struct iovec *parts, int count,
                    off_t offset) {
    outcome what = look_at(kind, fd);
    if (what == FAILS) {
        return -1;
    }
    struct iovec half;
    if (what == HALVES && count > 0) {
        half = (struct iovec){parts[0].iov_base, (parts[0].iov_len + 1) / 2};
        parts = &half;
        count = 1;
    }
    return syscall(number, fd, parts, count, offset, 0L);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset) {
    return one(IO_WRITE, SYS_pwrite64, fd, (void *)(uintptr_t)bytes, size, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t offset) {
    return pwrite(fd, bytes, size, offset);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    return many(IO_WRITE, SYS_pwritev, fd, parts, count, offset);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    return pwritev(fd, parts, count, offset);
}

ssize_t write(int fd, const void *bytes, size_t size) {
    return one(IO_WRITE, SYS_write, fd, (void *)(uintptr_t)bytes, size, 0);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    return many(IO_WRITE, SYS_writev, fd, parts, count, 0);
}

ssize_t pread(int fd, void *bytes, size_t size, off_t offset) {
    return one(IO_READ, SYS_pread64, fd, bytes, size, offset);
}

ssize_t pread64(int fd, void *bytes, size_t size, off64_t offset) {
    return pread(fd, bytes, size, offset);
}

ssize_t preadv(int fd, const struct iovec *parts, int count, off_t offset) {
    return many(IO_READ, SYS_preadv, fd, parts, count, offset);
}

ssize_t preadv64(int fd, const struct iovec *parts, int count, off64_t offset) {
    return preadv(fd, parts, count, offset);
}

/* ---- syncing ---- */

int fsync(int fd) {
    return look_at(IO_SYNC, fd) == FAILS ? -1 : 0;
}

int fdatasync(int fd) {
    return look_at(IO_SYNC, fd) == FAILS ? -1 : 0;
}

int msync(void *address, size_t size, int flags) {
    (void)size;
    (void)flags;
    return look_at_map(IO_MSYNC, address) == FAILS ? -1 : 0;
}

/* ---- space and names ---- */

int ftruncate(int fd, off_t size) {
    return look_at(IO_TRUNCATE, fd) == FAILS ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

int ftruncate64(int fd, off64_t size) {
    return ftruncate(fd, size);
}

int fallocate(int fd, int mode, off_t offset, off_t size) {
    return look_at(IO_ALLOCATE, fd) == FAILS ? -1
                                             : (int)syscall(SYS_fallocate, fd, mode, offset, size);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t size) {
    return fallocate(fd, mode, offset, size);
}

int posix_fallocate(int fd, off_t offset, off_t size) {
    return fallocate(fd, 0, offset, size) == 0 ? 0 : errno;
}

int posix_fallocate64(int fd, off64_t offset, off64_t size) {
    return posix_fallocate(fd, offset, size);
}

int rename(const char *from, const char *to) {
    return look_at_path(IO_RENAME, to) == FAILS
               ? -1
               : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}
