/* See lock.h. */
#include "cold/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <firn/error.h>

#include "base/file.h"

enum { WRITER_BYTE = 0, PROCESS_BYTES = 4096 };

static struct flock lock_of(short type, off_t byte) {
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
}

/* Whether another handle holds the byte in a way that a lock of this type would meet. */
static bool held_by_other(int fd, off_t byte) {
    struct flock lock = lock_of(F_WRLCK, byte);
    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/* Whether somebody keeps everybody out: see firn_lock_exclude. */
static bool is_excluded(int fd, off_t byte) {
    struct flock lock = lock_of(F_WRLCK, byte);
    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK && lock.l_len == 0;
}

static uint32_t read_pid(int fd) {
    char text[16] = "";
    ssize_t size = pread(fd, text, sizeof text - 1, 0);
    return size > 0 ? (uint32_t)strtoul(text, NULL, 10) : 0;
}

static int write_pid(int fd) {
    char text[16];
    int size = snprintf(text, sizeof text, "%-10ld\n", (long)getpid());
    return firn_write_at(fd, text, (size_t)size, 0);
}

static int failed(firn_detail *detail, const char *path, const char *what) {
    int error = errno;
    return firn_detail_set(detail, firn_code_of_errno(error),
                           "%s: cannot %s: %s; check the directory's permissions and file system",
                           path, what, strerror(error));
}

/* A reader that may not write the file locks its byte shared, which is as good: whoever comes next
 * looks whether the byte is held at all. */
static int lock_process(int fd, bool can_write, const char *path, firn_detail *detail) {
    off_t byte = PROCESS_BYTES + (off_t)getpid();
    struct flock lock = lock_of(can_write ? F_WRLCK : F_RDLCK, byte);
    bool held = held_by_other(fd, byte);
    if (!held && fcntl(fd, F_OFD_SETLK, &lock) != 0) {
        held = errno == EAGAIN || errno == EACCES;
        if (!held) {
            return failed(detail, path, "lock");
        }
    }
    /* Asked once more: another reader may have taken it shared at the same time. */
    if (is_excluded(fd, byte)) {
        return firn_detail_set(detail, FIRN_EBUSY,
                               "%s: the store is being compacted; try again when that is over",
                               path);
    }
    if (held || held_by_other(fd, byte)) {
        return firn_detail_set(detail, FIRN_EBUSY,
                               "%s: this process has the store open already; use that handle (or "
                               "another container's process with this pid, %ld, has)",
                               path, (long)getpid());
    }
    return FIRN_OK;
}

static int lock_writer(int fd, const char *path, firn_detail *detail) {
    struct flock lock = lock_of(F_WRLCK, WRITER_BYTE);
    if (fcntl(fd, F_OFD_SETLK, &lock) != 0) {
        if (errno != EAGAIN && errno != EACCES) {
            return failed(detail, path, "lock");
        }
        return firn_detail_set(detail, FIRN_EBUSY,
                               "%s: process %lu has the store open for writing; close it there, or "
                               "open read_only",
                               path, (unsigned long)read_pid(fd));
    }
    return write_pid(fd) == 0 ? FIRN_OK : failed(detail, path, "write");
}

static int open_and_lock(firn_store_lock *lock, const char *path, bool writer,
                         firn_detail *detail) {
    bool can_write = true;
    int fd = open(path, O_RDWR | O_CLOEXEC | (writer ? O_CREAT : 0), 0666);
    if (fd < 0 && !writer && (errno == EACCES || errno == EROFS || errno == EPERM)) {
        can_write = false;
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0) {
        return errno == ENOENT && !writer
                   ? firn_detail_set(detail, FIRN_NOT_FOUND, "%s: not there; no store", path)
                   : failed(detail, path, "open");
    }
    int result = lock_process(fd, can_write, path, detail);
    if (result == FIRN_OK && writer) {
        result = lock_writer(fd, path, detail);
    }
    if (result != FIRN_OK) {
        close(fd);
        return result;
    }
    lock->fd = fd;
    return FIRN_OK;
}

int firn_lock_take(firn_store_lock *lock, const char *directory, bool writer, firn_heap *heap,
                   firn_detail *detail) {
    lock->fd = -1;
    char *path = firn_path_join(heap, directory, FIRN_LOCK_FILE);
    if (path == NULL) {
        return firn_detail_set(detail, FIRN_ENOMEM, "%s: no memory to lock it", directory);
    }
    int result = open_and_lock(lock, path, writer, detail);
    firn_path_free(heap, path);
    return result;
}

int firn_lock_exclude(firn_store_lock *lock, const char *directory, firn_detail *detail) {
    struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = PROCESS_BYTES};
    if (fcntl(lock->fd, F_OFD_SETLK, &all) == 0) {
        return FIRN_OK;
    }
    if (errno != EAGAIN && errno != EACCES) {
        return failed(detail, directory, "lock");
    }
    return firn_detail_set(detail, FIRN_EBUSY,
                           "%s: another process has the store open for reading; close it there",
                           directory);
}

void firn_lock_drop(firn_store_lock *lock) {
    if (lock->fd >= 0) {
        close(lock->fd);
        lock->fd = -1;
    }
}

bool firn_lock_has_writer(const firn_store_lock *lock, uint32_t *pid) {
    bool held = lock->fd >= 0 && held_by_other(lock->fd, WRITER_BYTE);
    if (pid != NULL) {
        *pid = held ? read_pid(lock->fd) : 0;
    }
    return held;
}
