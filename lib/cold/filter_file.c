/* See filter_file.h. The file firn.filter:
 *
 *     offset 0   8 bytes "FIRNFILT"     32  u64 buckets: an even number
 *            8   u32 format, 1          40  u64 hashes: places taken
 *           12   u32 0                  48  u64 XXH3-64 of the buckets' bytes
 *           16   u64 store id           56  u64 XXH3-64 of bytes 0 to 55
 *           24   u64 generation         64  buckets x u64; little-endian
 *
 * A bucket is four places of 16 bits, the first lowest; 0 is a free place, anything else the low
 * bits of a hash (1 for 0). Where a hash belongs is told in base/filter.c: a change of that is a
 * change of the format. */
#include "cold/filter_file.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "base/file.h"
#include "base/replace.h"

#define MAGIC "FIRNFILT"
#define NAME  "firn.filter"

enum { FORMAT = 1, BUFFERED = 8192 };

typedef struct header {
    char magic[8];
    uint32_t format;
    uint32_t zero;
    uint64_t store_id;
    uint64_t generation;
    uint64_t buckets;
    uint64_t count;
    uint64_t checksum;
    uint64_t own_checksum;
} header;

_Static_assert(sizeof(header) == 64, "as the format says");

struct firn_filter_file {
    firn_heap *heap;     /* lent */
    firn_filter *filter; /* lent */
    int fd;
    header head;
    uint64_t next; /* the bucket to be read next */
    XXH3_state_t *hashing;
    uint64_t buffer[BUFFERED];
};

static uint64_t checksum_of(const header *head) {
    return XXH3_64bits(head, offsetof(header, own_checksum));
}

/* ---- saving ---- */

typedef struct saving {
    firn_heap *heap;
    uint64_t *buffer;
    XXH3_state_t *hashing;
} saving;

static bool saving_init(saving *self, firn_heap *heap) {
    *self = (saving){
        .heap = heap,
        .buffer = firn_heap_alloc(heap, BUFFERED * sizeof *self->buffer),
        .hashing = XXH3_createState(),
    };
    return self->buffer != NULL && self->hashing != NULL;
}

static void saving_fini(saving *self) {
    firn_heap_free(self->heap, self->buffer, BUFFERED * sizeof *self->buffer);
    XXH3_freeState(self->hashing);
}

/* The buckets, and the header that says what was written. */
static void write_parts(saving *self, firn_replacement *file, const firn_filter *filter,
                        header *head, const firn_filter_shape *shape) {
    uint64_t *buffer = self->buffer;
    XXH3_64bits_reset(self->hashing);
    for (uint64_t at = 0; at < shape->buckets; at += BUFFERED) {
        uint64_t left = shape->buckets - at;
        size_t count = left < BUFFERED ? (size_t)left : BUFFERED;
        firn_filter_get_words(filter, at, buffer, count);
        for (size_t i = 0; i < count; i++) {
            buffer[i] = htole64(buffer[i]);
        }
        XXH3_64bits_update(self->hashing, buffer, count * sizeof *buffer);
        firn_replacement_write(file, buffer, count * sizeof *buffer,
                               sizeof *head + at * sizeof *buffer);
    }
    head->buckets = htole64(shape->buckets);
    head->count = htole64(shape->count);
    head->checksum = htole64(XXH3_64bits_digest(self->hashing));
    head->own_checksum = htole64(checksum_of(head));
    firn_replacement_write(file, head, sizeof *head, 0);
}

static int save_known(const firn_filter *filter, const firn_filter_shape *shape,
                      const char *directory, header *head, firn_heap *heap, firn_detail *detail) {
    saving self;
    firn_replacement file;
    int result = saving_init(&self, heap) ? FIRN_OK : FIRN_ENOMEM;
    if (result == FIRN_OK) {
        result = firn_replacement_begin(&file, directory, NAME, heap, detail);
    }
    if (result == FIRN_OK) {
        write_parts(&self, &file, filter, head, shape);
        result = firn_replacement_finish(&file);
    }
    saving_fini(&self);
    return result;
}

int firn_filter_file_save(const firn_filter *filter, const char *directory, uint64_t store_id,
                          uint64_t generation, firn_heap *heap, firn_detail *detail) {
    header head = {
        .magic = MAGIC,
        .format = htole32(FORMAT),
        .store_id = htole64(store_id),
        .generation = htole64(generation),
    };
    firn_filter_shape shape;
    int result = firn_filter_get_shape(filter, &shape);
    if (result == FIRN_OK) {
        result = save_known(filter, &shape, directory, &head, heap, detail);
    }
    if (result != FIRN_OK) {
        (void)firn_filter_file_remove(directory, heap);
    }
    return result;
}

int firn_filter_file_remove(const char *directory, firn_heap *heap) {
    char *path = firn_path_join(heap, directory, NAME);
    if (path == NULL) {
        return FIRN_ENOMEM;
    }
    int error = unlink(path) == 0 ? 0 : errno;
    firn_path_free(heap, path);
    return error == 0 || error == ENOENT ? FIRN_OK : firn_code_of_errno(error);
}

/* ---- loading ---- */

static bool is_sound(const header *head, uint64_t store_id, uint64_t generation,
                     uint64_t file_bytes) {
    return memcmp(head->magic, MAGIC, sizeof head->magic) == 0 && le32toh(head->format) == FORMAT &&
           head->zero == 0 && le64toh(head->own_checksum) == checksum_of(head) &&
           le64toh(head->store_id) == store_id && le64toh(head->generation) == generation &&
           (file_bytes - sizeof *head) % sizeof(uint64_t) == 0 &&
           le64toh(head->buckets) == (file_bytes - sizeof *head) / sizeof(uint64_t);
}

static int read_head(int fd, header *head, uint64_t store_id, uint64_t generation) {
    struct stat status;
    if (fstat(fd, &status) != 0) {
        return FIRN_EIO;
    }
    if (firn_read_at(fd, head, sizeof *head, 0) != 0) {
        return errno == 0 ? FIRN_ECORRUPT : FIRN_EIO;
    }
    return is_sound(head, store_id, generation, (uint64_t)status.st_size) ? FIRN_OK : FIRN_ECORRUPT;
}

static firn_filter_file *new_file(firn_filter *filter, firn_heap *heap, int fd,
                                  const header *head) {
    firn_filter_file *file = firn_heap_zalloc(heap, sizeof *file);
    XXH3_state_t *hashing = XXH3_createState();
    if (file == NULL || hashing == NULL) {
        firn_heap_free(heap, file, sizeof *file);
        XXH3_freeState(hashing);
        return NULL;
    }
    XXH3_64bits_reset(hashing);
    file->heap = heap;
    file->filter = filter;
    file->fd = fd;
    file->head = *head;
    file->hashing = hashing;
    return file;
}

static void release(firn_filter_file *file) {
    close(file->fd);
    XXH3_freeState(file->hashing);
    firn_heap_free(file->heap, file, sizeof *file);
}

int firn_filter_file_open(firn_filter_file **out, const char *directory, uint64_t store_id,
                          uint64_t generation, firn_filter *filter, firn_heap *heap) {
    *out = NULL;
    char *path = firn_path_join(heap, directory, NAME);
    if (path == NULL) {
        return FIRN_ENOMEM;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int error = errno;
    firn_path_free(heap, path);
    if (fd < 0) {
        return error == ENOENT ? FIRN_NOT_FOUND : FIRN_EIO;
    }
    header head;
    int result = read_head(fd, &head, store_id, generation);
    firn_filter_file *file = result == FIRN_OK ? new_file(filter, heap, fd, &head) : NULL;
    if (file == NULL) {
        close(fd);
        return result == FIRN_OK ? FIRN_ENOMEM : result;
    }
    firn_filter_shape shape = {le64toh(head.buckets), le64toh(head.count)};
    result = firn_filter_load_begin(filter, &shape);
    if (result != FIRN_OK) {
        release(file);
        return result;
    }
    *out = file;
    return FIRN_OK;
}

static int load_some(firn_filter_file *file, size_t count) {
    if (firn_read_at(file->fd, file->buffer, count * sizeof file->buffer[0],
                     sizeof(header) + file->next * sizeof file->buffer[0]) != 0) {
        return errno == 0 ? FIRN_ECORRUPT : FIRN_EIO;
    }
    XXH3_64bits_update(file->hashing, file->buffer, count * sizeof file->buffer[0]);
    for (size_t i = 0; i < count; i++) {
        file->buffer[i] = le64toh(file->buffer[i]);
    }
    file->next += count;
    return firn_filter_load_words(file->filter, file->buffer, count);
}

static int finish(firn_filter_file *file) {
    bool same = XXH3_64bits_digest(file->hashing) == le64toh(file->head.checksum);
    return same ? firn_filter_load_finish(file->filter) : FIRN_ECORRUPT;
}

int firn_filter_file_load(firn_filter_file *file, size_t bytes_max) {
    uint64_t buckets = le64toh(file->head.buckets);
    uint64_t some = bytes_max / sizeof file->buffer[0] + 1;
    int result = FIRN_OK;
    while (result == FIRN_OK && some > 0 && file->next < buckets) {
        uint64_t count = buckets - file->next;
        count = count < some ? count : some;
        count = count < BUFFERED ? count : BUFFERED;
        result = load_some(file, (size_t)count);
        some -= count;
    }
    if (result == FIRN_OK) {
        result = file->next < buckets ? FIRN_AGAIN : finish(file);
    }
    if (result < FIRN_OK) {
        firn_filter_load_cancel(file->filter);
    }
    return result;
}

void firn_filter_file_close(firn_filter_file *file) {
    if (file != NULL) {
        firn_filter_load_cancel(file->filter);
        release(file);
    }
}
