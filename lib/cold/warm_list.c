/* See warm_list.h. The file firn.hot:
 *
 *     offset 0   8 bytes "FIRNWARM"     16  u64 store id
 *            8   u32 format, 1          24  u64 count of hashes
 *           12   u32 0                  32  u64 XXH3-64 of the hashes' bytes
 *           40   count x u64 hash, most valuable first; little-endian */
#include "cold/warm_list.h"

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

#define MAGIC "FIRNWARM"
#define NAME  "firn.hot"

enum { FORMAT = 1, BUFFERED = 4096 };

typedef struct header {
    char magic[8];
    uint32_t format;
    uint32_t zero;
    uint64_t store_id;
    uint64_t count;
    uint64_t checksum;
} header;

struct firn_warm_writer {
    firn_heap *heap; /* lent */
    firn_replacement file;
    uint64_t store_id;
    uint64_t count;
    XXH3_state_t *hashing;
    size_t used;
    uint64_t buffer[BUFFERED];
};

struct firn_warm_list {
    firn_heap *heap; /* lent */
    int fd;
    header head;
    uint64_t first; /* number of the first hash in the buffer */
    uint64_t used;  /* hashes in the buffer */
    uint64_t buffer[BUFFERED];
};

static void writer_free(firn_warm_writer *writer) {
    XXH3_freeState(writer->hashing);
    firn_heap_free(writer->heap, writer, sizeof *writer);
}

int firn_warm_writer_open(firn_warm_writer **out, const char *directory, uint64_t store_id,
                          firn_heap *heap, firn_detail *detail) {
    *out = NULL;
    firn_warm_writer *writer = firn_heap_zalloc(heap, sizeof *writer);
    if (writer == NULL) {
        return FIRN_ENOMEM;
    }
    writer->heap = heap;
    writer->store_id = store_id;
    writer->hashing = XXH3_createState();
    int result = writer->hashing != NULL ? FIRN_OK : FIRN_ENOMEM;
    if (result == FIRN_OK) {
        XXH3_64bits_reset(writer->hashing);
        result = firn_replacement_begin(&writer->file, directory, NAME, heap, detail);
    }
    if (result != FIRN_OK) {
        writer_free(writer);
        return result;
    }
    *out = writer;
    return FIRN_OK;
}

static void write_out(firn_warm_writer *writer) {
    size_t size = writer->used * sizeof writer->buffer[0];
    uint64_t offset = sizeof(header) + (writer->count - writer->used) * sizeof writer->buffer[0];
    XXH3_64bits_update(writer->hashing, writer->buffer, size);
    firn_replacement_write(&writer->file, writer->buffer, size, offset);
    writer->used = 0;
}

void firn_warm_writer_add(firn_warm_writer *writer, uint64_t hash) {
    writer->buffer[writer->used++] = htole64(hash);
    writer->count++;
    if (writer->used == BUFFERED) {
        write_out(writer);
    }
}

int firn_warm_writer_finish(firn_warm_writer *writer) {
    write_out(writer);
    header head = {
        .magic = MAGIC,
        .format = htole32(FORMAT),
        .store_id = htole64(writer->store_id),
        .count = htole64(writer->count),
        .checksum = htole64(XXH3_64bits_digest(writer->hashing)),
    };
    firn_replacement_write(&writer->file, &head, sizeof head, 0);
    int result = firn_replacement_finish_or_remove(&writer->file);
    writer_free(writer);
    return result;
}

static int check_head(const header *head, uint64_t store_id, uint64_t file_bytes) {
    bool sound = memcmp(head->magic, MAGIC, sizeof head->magic) == 0 &&
                 le32toh(head->format) == FORMAT && head->zero == 0 &&
                 le64toh(head->store_id) == store_id && file_bytes >= sizeof *head &&
                 le64toh(head->count) == (file_bytes - sizeof *head) / sizeof(uint64_t) &&
                 (file_bytes - sizeof *head) % sizeof(uint64_t) == 0;
    return sound ? FIRN_OK : FIRN_ECORRUPT;
}

static int read_head(int fd, header *head, uint64_t store_id) {
    struct stat status;
    if (fstat(fd, &status) != 0) {
        return FIRN_EIO;
    }
    if (firn_read_at(fd, head, sizeof *head, 0) != 0) {
        return errno == 0 ? FIRN_ECORRUPT : FIRN_EIO;
    }
    return check_head(head, store_id, (uint64_t)status.st_size);
}

int firn_warm_list_open(firn_warm_list **out, const char *directory, uint64_t store_id,
                        firn_heap *heap) {
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
    int result = read_head(fd, &head, store_id);
    firn_warm_list *list = result == FIRN_OK ? firn_heap_zalloc(heap, sizeof *list) : NULL;
    if (list == NULL) {
        close(fd);
        return result == FIRN_OK ? FIRN_ENOMEM : result;
    }
    list->heap = heap;
    list->fd = fd;
    list->head = head;
    *out = list;
    return FIRN_OK;
}

uint64_t firn_warm_list_count(const firn_warm_list *list) {
    return le64toh(list->head.count);
}

/* Brings the part that holds number index into the buffer. 0, or -1. */
static int load(firn_warm_list *list, uint64_t index) {
    uint64_t left = firn_warm_list_count(list) - index;
    uint64_t used = left < BUFFERED ? left : BUFFERED;
    list->first = index;
    list->used = 0;
    if (firn_read_at(list->fd, list->buffer, used * sizeof list->buffer[0],
                     sizeof(header) + index * sizeof list->buffer[0]) != 0) {
        return -1;
    }
    list->used = used;
    return 0;
}

int firn_warm_list_check(firn_warm_list *list) {
    XXH3_state_t *hashing = XXH3_createState();
    if (hashing == NULL) {
        return FIRN_ECORRUPT;
    }
    XXH3_64bits_reset(hashing);
    uint64_t count = firn_warm_list_count(list);
    bool whole = true;
    for (uint64_t index = 0; index < count && whole; index += list->used) {
        whole = load(list, index) == 0;
        XXH3_64bits_update(hashing, list->buffer, list->used * sizeof list->buffer[0]);
    }
    bool same = XXH3_64bits_digest(hashing) == le64toh(list->head.checksum);
    XXH3_freeState(hashing);
    return whole && same ? FIRN_OK : FIRN_ECORRUPT;
}

uint64_t firn_warm_list_at(firn_warm_list *list, uint64_t index) {
    bool loaded = index >= list->first && index - list->first < list->used;
    /* A list that shrank since it was checked gives hashes of nothing. */
    return loaded || load(list, index) == 0 ? le64toh(list->buffer[index - list->first]) : 0;
}

void firn_warm_list_close(firn_warm_list *list) {
    if (list != NULL) {
        close(list->fd);
        firn_heap_free(list->heap, list, sizeof *list);
    }
}
