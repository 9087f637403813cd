/* See io_faults.h. The calls go straight to the kernel, so that nothing has to be found in the C
 * library first, and sanitizers are passed by on the way. */
#undef _FILE_OFFSET_BITS /* pwrite and pwrite64 are two names here */
#undef _FORTIFY_SOURCE

#include "fault/io_faults.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
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

/* ---- the device ---- */

enum { FILES_MAX = 64, PAGE = 4096 };

/* Of a page. */
enum {
    CLEAN,   /* the device holds what the file does */
    DIRTY,   /* it will after the next sync */
    DROPPED, /* it does not, and no sync changes that */
};

/* A file that was written to since there is a device. */
typedef struct shadow {
    ino_t inode;
    unsigned char *bytes; /* on the device */
    unsigned char *state; /* a byte a page */
    size_t pages;         /* of both */
} shadow;

static const char *device; /* the folder; NULL: none. lock, as the next two */
static shadow shadows[FILES_MAX];
static unsigned shadow_count;

static void fail_hard(const char *what) {
    fprintf(stderr, "io_faults: %s\n", what);
    abort();
}

static void widen(shadow *self, size_t bytes) {
    size_t pages = (bytes + PAGE - 1) / PAGE;
    if (pages > self->pages) {
        self->bytes = realloc(self->bytes, pages * PAGE);
        self->state = realloc(self->state, pages);
        if (self->bytes == NULL || self->state == NULL) {
            fail_hard("no memory");
        }
        memset(self->bytes + self->pages * PAGE, 0, (pages - self->pages) * PAGE);
        memset(self->state + self->pages, 0, pages - self->pages);
        self->pages = pages;
    }
}

static void read_page(int fd, unsigned char *to, size_t page) {
    memset(to, 0, PAGE);
    if (syscall(SYS_pread64, fd, to, (size_t)PAGE, (off_t)(page * PAGE)) < 0) {
        fail_hard("cannot read a page");
    }
}

/* NULL: not below the folder, or there is no device. */
static shadow *shadow_of(int fd, const char *path) {
    struct stat status;
    size_t folder = device != NULL ? strlen(device) : 0;
    if (device == NULL || strncmp(path, device, folder) != 0 || path[folder] != '/' ||
        fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        return NULL;
    }
    shadow *self = NULL;
    for (unsigned i = 0; i < shadow_count && self == NULL; i++) {
        self = shadows[i].inode == status.st_ino ? &shadows[i] : NULL;
    }
    if (self == NULL) {
        int again = open(path, O_RDONLY | O_CLOEXEC); /* fd may be for writing alone */
        if (again < 0) {
            return NULL; /* it is deleted */
        }
        if (shadow_count == FILES_MAX) {
            fail_hard("too many files");
        }
        self = &shadows[shadow_count++];
        *self = (shadow){.inode = status.st_ino};
        widen(self, (size_t)status.st_size);
        for (size_t i = 0; i < self->pages; i++) { /* as it was before its first write */
            read_page(again, self->bytes + i * PAGE, i);
        }
        close(again);
    }
    return self;
}

static void path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, PATH_MAX);
    path[size > 0 ? size : 0] = '\0';
}

/* Before a write: its pages are dirty. */
static void note_write(int fd, off_t offset, size_t size) {
    char path[PATH_MAX + 1];
    path_of(fd, path);
    pthread_mutex_lock(&lock);
    shadow *self = shadow_of(fd, path);
    if (self != NULL && size > 0) {
        widen(self, (size_t)offset + size);
        for (size_t i = (size_t)offset / PAGE; i <= ((size_t)offset + size - 1) / PAGE; i++) {
            self->state[i] = DIRTY;
        }
    }
    pthread_mutex_unlock(&lock);
}

/* A sync that is good, or after which no page is dirty all the same. */
static void note_sync(int fd, bool good, bool evicts) {
    char path[PATH_MAX + 1];
    path_of(fd, path);
    pthread_mutex_lock(&lock);
    shadow *self = shadow_of(fd, path);
    int file = self != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    for (size_t i = 0; file >= 0 && i < self->pages; i++) {
        if (self->state[i] != DIRTY) {
            continue;
        }
        if (good) {
            read_page(file, self->bytes + i * PAGE, i);
        } else if (evicts) {
            struct stat status;
            size_t size = fstat(file, &status) == 0 ? (size_t)status.st_size : 0;
            size_t part = size > i * PAGE ? size - i * PAGE : 0;
            syscall(SYS_pwrite64, file, self->bytes + i * PAGE, part < PAGE ? part : PAGE,
                    (off_t)(i * PAGE));
        }
        self->state[i] = good || evicts ? CLEAN : DROPPED;
    }
    if (file >= 0) {
        close(file);
    }
    pthread_mutex_unlock(&lock);
}

/* What is done to the file as a whole is on the device at once: its bytes there are 0. */
static void note_zeros(int fd, off_t offset, off_t size) {
    char path[PATH_MAX + 1];
    path_of(fd, path);
    pthread_mutex_lock(&lock);
    shadow *self = shadow_of(fd, path);
    for (size_t i = ((size_t)offset + PAGE - 1) / PAGE;
         self != NULL && i < self->pages && (off_t)((i + 1) * PAGE) <= offset + size; i++) {
        memset(self->bytes + i * PAGE, 0, PAGE);
        self->state[i] = CLEAN;
    }
    pthread_mutex_unlock(&lock);
}

void io_device_on(const char *folder) {
    pthread_mutex_lock(&lock);
    device = folder;
    pthread_mutex_unlock(&lock);
}

void io_device_off(void) {
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < shadow_count; i++) {
        free(shadows[i].bytes);
        free(shadows[i].state);
    }
    shadow_count = 0;
    device = NULL;
    pthread_mutex_unlock(&lock);
}

static void copy_file(const char *from, const char *to) {
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    struct stat status;
    if (in < 0 || out < 0 || fstat(in, &status) != 0) {
        fail_hard("cannot copy a file");
    }
    shadow *self = shadow_of(in, from);
    for (size_t i = 0; (off_t)(i * PAGE) < status.st_size; i++) {
        unsigned char page[PAGE];
        read_page(in, page, i);
        bool other = self != NULL && i < self->pages && self->state[i] != CLEAN;
        syscall(SYS_pwrite64, out, other ? self->bytes + i * PAGE : page, (size_t)PAGE,
                (off_t)(i * PAGE));
    }
    if (syscall(SYS_ftruncate, out, status.st_size) != 0) {
        fail_hard("cannot copy a file");
    }
    close(in);
    close(out);
}

void io_device_copy(const char *to) {
    pthread_mutex_lock(&lock);
    mkdir(to, 0755);
    DIR *folder = opendir(device);
    struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        char from[PATH_MAX + 300];
        char copy[PATH_MAX + 300];
        struct stat status;
        snprintf(from, sizeof from, "%s/%s", device, entry->d_name);
        snprintf(copy, sizeof copy, "%s/%s", to, entry->d_name);
        if (stat(from, &status) == 0 && S_ISREG(status.st_mode)) {
            copy_file(from, copy);
        }
    }
    if (folder != NULL) {
        closedir(folder);
    }
    pthread_mutex_unlock(&lock);
}

/* ---- what becomes of a call ---- */

static outcome look_at_path(unsigned kind, const char *path) {
    pthread_mutex_lock(&lock);
    outcome result = active ? decide(kind, path) : PASSES;
    pthread_mutex_unlock(&lock);
    return result;
}

static outcome look_at(unsigned kind, int fd) {
    char path[PATH_MAX + 1];
    path_of(fd, path);
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
    if (kind == IO_WRITE) {
        note_write(fd, number == SYS_write ? (off_t)syscall(SYS_lseek, fd, 0L, SEEK_CUR) : offset,
                   size);
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
    size_t size = 0;
    for (int i = 0; i < count; i++) {
        size += parts[i].iov_len;
    }
    if (kind == IO_WRITE) {
        note_write(fd, number == SYS_writev ? (off_t)syscall(SYS_lseek, fd, 0L, SEEK_CUR) : offset,
                   size);
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

static int sync_file(int fd) {
    outcome what = look_at(IO_SYNC, fd);
    int error = errno;
    pthread_mutex_lock(&lock);
    bool drops = holds.drops;
    bool evicts = holds.evicts;
    pthread_mutex_unlock(&lock);
    if (what != FAILS || drops) {
        note_sync(fd, what != FAILS, evicts);
    }
    errno = error;
    return what == FAILS ? -1 : 0;
}

int fsync(int fd) {
    return sync_file(fd);
}

int fdatasync(int fd) {
    return sync_file(fd);
}

int msync(void *address, size_t size, int flags) {
    (void)size;
    (void)flags;
    return look_at_map(IO_MSYNC, address) == FAILS ? -1 : 0;
}

/* ---- space and names ---- */

int ftruncate(int fd, off_t size) {
    if (look_at(IO_TRUNCATE, fd) == FAILS) {
        return -1;
    }
    note_zeros(fd, size, INT32_MAX);
    return (int)syscall(SYS_ftruncate, fd, size);
}

int ftruncate64(int fd, off64_t size) {
    return ftruncate(fd, size);
}

int fallocate(int fd, int mode, off_t offset, off_t size) {
    if (look_at(IO_ALLOCATE, fd) == FAILS) {
        return -1;
    }
    if ((mode & FALLOC_FL_PUNCH_HOLE) != 0) {
        note_zeros(fd, offset, size);
    }
    return (int)syscall(SYS_fallocate, fd, mode, offset, size);
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
