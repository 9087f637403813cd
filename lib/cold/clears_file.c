/* See clears_file.h. */
#include "cold/clears_file.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <firn/error.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/replace.h"

#define MAGIC "FIRNCLRS"

enum {
    FORMAT = 1,
    LINE_SIZE = 32,
    LINES_AT_ONCE = 512,
    LINES_SPARED = 4096, /* a file of so many is not worth making anew */
};

typedef struct line {
    uint64_t name;
    uint64_t version;
    uint32_t kind;
    uint32_t size;
    uint64_t check;
} line;

typedef struct title {
    char magic[8];
    uint32_t format;
    uint32_t zero;
    uint64_t store_id;
    uint64_t check;
} title;

_Static_assert(sizeof(line) == LINE_SIZE && sizeof(title) == LINE_SIZE, "both have one size");

static uint64_t check_of(const firn_clears_file *file, const void *bytes) {
    return htole64(firn_hash64(file->store_id, bytes, LINE_SIZE - sizeof(uint64_t)));
}

int firn_clears_file_init(firn_clears_file *file, firn_heap *heap, firn_detail *detail,
                          firn_clears *clears, const char *directory, bool writable) {
    *file = (firn_clears_file){.heap = heap,
                               .detail = detail,
                               .clears = clears,
                               .directory = directory,
                               .writable = writable,
                               .fd = -1};
    return pthread_mutex_init(&file->lock, NULL);
}

static void let_go(firn_clears_file *file) {
    if (file->fd >= 0) {
        close(file->fd);
    }
    file->fd = -1;
    file->size = 0;
    file->lines = 0;
    file->damaged = false;
}

void firn_clears_file_fini(firn_clears_file *file) {
    let_go(file);
    pthread_mutex_destroy(&file->lock);
}

static int failed(const firn_clears_file *file, const char *what, int error) {
    return firn_detail_set(file->detail, firn_code_of_errno(error), "%s/%s: cannot %s: %s",
                           file->directory, FIRN_CLEARS_FILE, what,
                           error != 0 ? strerror(error) : "it ended");
}

static firn_clear_line from_line(const line *from) {
    return (firn_clear_line){.kind = (firn_clears_kind)le32toh(from->kind),
                             .size = le32toh(from->size),
                             .name = le64toh(from->name),
                             .version = le64toh(from->version)};
}

static line to_line(const firn_clears_file *file, const firn_clear_line *from) {
    line to = {.name = htole64(from->name),
               .version = htole64(from->version),
               .kind = htole32(from->kind),
               .size = htole32(from->size)};
    to.check = check_of(file, &to);
    return to;
}

static bool is_known(const firn_clear_line *one) {
    return one->kind >= FIRN_CLEARS_ALL && one->kind <= FIRN_CLEARS_FLOOR &&
           one->size <= FIRN_PREFIX_SIZE_MAX &&
           (one->kind == FIRN_CLEARS_PREFIX) == (one->size > 0);
}

/* The lock is held for all that follows. */

/* False: there is none. */
static int open_file(firn_clears_file *file, bool *there) {
    *there = false;
    char *path = firn_path_join(file->heap, file->directory, FIRN_CLEARS_FILE);
    if (path == NULL) {
        return FIRN_ENOMEM;
    }
    struct stat status;
    bool same = file->fd >= 0 && stat(path, &status) == 0 && status.st_ino == file->inode;
    int fd = same ? -1 : open(path, (file->writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    int error = errno;
    firn_path_free(file->heap, path);
    if (same) {
        *there = true;
        return FIRN_OK;
    }
    if (fd < 0) {
        return error == ENOENT ? FIRN_OK : failed(file, "open it", error);
    }
    let_go(file);
    file->fd = fd;
    if (fstat(fd, &status) != 0) {
        return failed(file, "look at it", errno);
    }
    file->inode = status.st_ino;
    *there = true;
    return FIRN_OK;
}

/* Takes in whole lines from the end of what was read on. */
static int read_lines(firn_clears_file *file, uint64_t end) {
    line lines[LINES_AT_ONCE];
    file->size = file->size > 0 ? file->size : LINE_SIZE;
    while (file->size + LINE_SIZE <= end) {
        uint64_t left = (end - file->size) / LINE_SIZE;
        size_t count = left < LINES_AT_ONCE ? (size_t)left : LINES_AT_ONCE;
        if (firn_read_at(file->fd, lines, count * LINE_SIZE, file->size) != 0) {
            return failed(file, "read it", errno);
        }
        for (size_t i = 0; i < count; i++) {
            firn_clear_line one = from_line(&lines[i]);
            if (lines[i].check != check_of(file, &lines[i]) || !is_known(&one)) {
                file->damaged = true;
                continue;
            }
            int result = firn_clears_add(file->clears, &one);
            if (result != FIRN_OK) {
                return result;
            }
        }
        file->size += count * LINE_SIZE;
        file->lines += count;
    }
    return FIRN_OK;
}

int firn_clears_file_read(firn_clears_file *file, uint64_t store_id) {
    bool there;
    struct stat status;
    pthread_mutex_lock(&file->lock);
    file->store_id = store_id;
    int result = open_file(file, &there);
    if (result == FIRN_OK && there) {
        result = fstat(file->fd, &status) == 0 ? FIRN_OK : failed(file, "look at it", errno);
    }
    if (result == FIRN_OK && there && (uint64_t)status.st_size > file->size) {
        result = read_lines(file, (uint64_t)status.st_size);
        file->unsynced = true; /* who wrote them may have been killed before that */
    }
    pthread_mutex_unlock(&file->lock);
    return result;
}

typedef struct rewriting {
    firn_clears_file *file;
    firn_replacement replacement;
    uint64_t size;
    size_t used;
    line lines[LINES_AT_ONCE];
} rewriting;

static void push_lines(rewriting *self) {
    firn_replacement_write(&self->replacement, self->lines, self->used * LINE_SIZE, self->size);
    self->size += self->used * LINE_SIZE;
    self->used = 0;
}

static int write_line(void *context, const firn_clear_line *one) {
    rewriting *self = context;
    self->lines[self->used++] = to_line(self->file, one);
    if (self->used == LINES_AT_ONCE) {
        push_lines(self);
    }
    return 0;
}

/* Goes on with the file that was made anew, of that size, if it is in place: also after an error,
 * when only the sync of the directory failed. */
static void adopt(firn_clears_file *file, uint64_t size, bool sound) {
    bool there;
    int before = file->fd;
    uint64_t inode = file->inode;
    if (open_file(file, &there) != FIRN_OK) {
        file->damaged = true; /* nothing may be appended to the one that is open */
        return;
    }
    /* The old one is open till then, so that the new one has another number. */
    if (there && (before < 0 || file->inode != inode)) {
        file->size = size;
        file->lines = size / LINE_SIZE - 1;
        file->unsynced = false;
        file->damaged = !sound;
    }
}

/* Puts a file in place that has what is needed, and the line, if there is one. It is on the device
 * then. After an error it is the old one that is there, or a damaged one. */
static int make_anew(firn_clears_file *file, const firn_clear_line *more) {
    rewriting *self = firn_heap_alloc(file->heap, sizeof *self);
    if (self == NULL) {
        return FIRN_ENOMEM;
    }
    self->file = file;
    self->size = LINE_SIZE;
    self->used = 0;
    int result = firn_replacement_begin(&self->replacement, file->directory, FIRN_CLEARS_FILE,
                                        file->heap, file->detail);
    if (result == FIRN_OK) {
        title head = {
            .magic = MAGIC, .format = htole32(FORMAT), .store_id = htole64(file->store_id)};
        head.check = check_of(file, &head);
        firn_replacement_write(&self->replacement, &head, sizeof head, 0);
        (void)firn_clears_each(file->clears, write_line, self);
        if (more != NULL) {
            (void)write_line(self, more);
        }
        push_lines(self);
        result = firn_replacement_finish(&self->replacement);
        adopt(file, self->size, result == FIRN_OK);
    }
    firn_heap_free(file->heap, self, sizeof *self);
    return result;
}

static bool is_worn(const firn_clears_file *file) {
    size_t names = 2;
    pthread_mutex_lock(&file->clears->lock);
    names += file->clears->prefixes + file->clears->tags;
    pthread_mutex_unlock(&file->clears->lock);
    return file->damaged || (file->lines > LINES_SPARED && file->lines / 4 > names);
}

static int append(firn_clears_file *file, const firn_clear_line *one) {
    line last = to_line(file, one);
    if (firn_write_at(file->fd, &last, sizeof last, file->size) != 0) {
        return failed(file, "write to it", errno);
    }
    file->size += LINE_SIZE;
    file->lines++;
    file->unsynced = true;
    return FIRN_OK;
}

/* Puts a line that says nothing into the file, so that whoever reads it next makes it anew. */
static void spoil(firn_clears_file *file, uint64_t at) {
    static const line nothing;
    file->damaged = true;
    if (firn_write_at(file->fd, &nothing, sizeof nothing, at) == 0 && at == file->size) {
        file->size += LINE_SIZE;
        file->lines++;
    }
}

/* more: a line that was appended and is not yet added; or NULL. After a sync that failed the system
 * may have dropped what it could not write, and not say so at the next one. So nothing that is in
 * that file is believed to be on the device any more: all is written to another one. */
static int sync_file(firn_clears_file *file, const firn_clear_line *more) {
    if (!file->damaged && (!file->unsynced || fdatasync(file->fd) == 0)) {
        file->unsynced = false;
        return FIRN_OK;
    }
    file->damaged = true;
    return make_anew(file, more);
}

/* What could not be made sure of must not be void after a restart only. The line is the last one,
 * if it is in the file. It is not cut off: a reader beside the writer may have read it, and would
 * miss another one in its place. */
static void take_back(firn_clears_file *file, const firn_clear_line *one) {
    line last = to_line(file, one);
    line there;
    if (file->fd >= 0 && file->size > LINE_SIZE &&
        firn_read_at(file->fd, &there, sizeof there, file->size - LINE_SIZE) == 0 &&
        memcmp(&there, &last, sizeof last) == 0) {
        spoil(file, file->size - LINE_SIZE);
    }
}

int firn_clears_file_add(firn_clears_file *file, const firn_clear_line *one, bool sync) {
    pthread_mutex_lock(&file->lock);
    bool there = file->fd >= 0 && file->size > 0;
    /* First: what is in the file and not in memory would be void after a restart only. */
    int result = firn_clears_prepare(file->clears, one);
    if (result == FIRN_OK) {
        /* What a crash tore is overwritten. */
        result = there && !is_worn(file) ? append(file, one) : make_anew(file, one);
        if (result == FIRN_OK && sync) {
            result = sync_file(file, one);
        }
        if (result != FIRN_OK) {
            take_back(file, one);
        }
    }
    if (result == FIRN_OK) {
        result = firn_clears_add(file->clears, one);
    }
    pthread_mutex_unlock(&file->lock);
    return result;
}

int firn_clears_file_sync(firn_clears_file *file) {
    pthread_mutex_lock(&file->lock);
    bool damaged = file->damaged;
    int result = file->writable ? sync_file(file, NULL) : FIRN_OK;
    if (result != FIRN_OK && !damaged && file->fd >= 0) {
        spoil(file, file->size); /* the doubt outlives the process */
    }
    pthread_mutex_unlock(&file->lock);
    return result;
}
