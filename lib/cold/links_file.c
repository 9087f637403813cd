/* See links_file.h. The file firn.links:
 *
 *     offset 0   8 bytes "FIRNLINK"     24  u64 bytes of the body
 *            8   u32 format, 1          32  u64 XXH3-64 of the body
 *           12   u32 state: 1 dirty,    40  u64 XXH3-64 of bytes 0 to 39
 *                2 whole                48  the body; empty if dirty
 *           16   u64 store id
 *
 * Little-endian; the seeds are 0. The body is what firn_graph_save gives. */
#include "cold/links_file.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include <firn/error.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/replace.h"

#define MAGIC "FIRNLINK"

enum { FORMAT = 1, BUFFERED = 65536 };

typedef struct header {
    char magic[8];
    uint32_t format;
    uint32_t state;
    uint64_t store_id;
    uint64_t body_bytes;
    uint64_t body_checksum;
    uint64_t own_checksum;
} header;

_Static_assert(sizeof(header) == 48, "as the format says");

struct firn_links_writer {
    firn_heap *heap; /* lent */
    firn_replacement file;
    uint64_t store_id;
    uint64_t written; /* bytes of the body that left the buffer */
    size_t used;
    XXH3_state_t *hashing;
    unsigned char buffer[BUFFERED];
};

struct firn_links_reader {
    firn_heap *heap; /* lent */
    int fd;
    uint64_t body_bytes;
    uint64_t taken; /* bytes of the body that were loaded into the buffer */
    size_t used;    /* of the buffer that were given */
    size_t held;    /* in the buffer */
    unsigned char buffer[BUFFERED];
};

static uint64_t checksum_of(const header *head) {
    return htole64(firn_hash64(0, head, offsetof(header, own_checksum)));
}

static header make_header(firn_links_state state, uint64_t store_id, uint64_t body_bytes,
                          uint64_t body_checksum) {
    header head = {
        .magic = MAGIC,
        .format = htole32(FORMAT),
        .state = htole32((uint32_t)state),
        .store_id = htole64(store_id),
        .body_bytes = htole64(body_bytes),
        .body_checksum = htole64(body_checksum),
    };
    head.own_checksum = checksum_of(&head);
    return head;
}

/* ---- the header ---- */

static bool is_sound(const header *head, uint64_t store_id, uint64_t file_bytes) {
    uint32_t state = le32toh(head->state);
    return memcmp(head->magic, MAGIC, sizeof head->magic) == 0 && le32toh(head->format) == FORMAT &&
           head->own_checksum == checksum_of(head) && le64toh(head->store_id) == store_id &&
           (state == FIRN_LINKS_WHOLE || (state == FIRN_LINKS_DIRTY && head->body_bytes == 0)) &&
           le64toh(head->body_bytes) == file_bytes - sizeof *head;
}

static int read_header(int fd, uint64_t store_id, header *head) {
    struct stat status;
    if (fstat(fd, &status) != 0) {
        return FIRN_EIO;
    }
    if (firn_read_at(fd, head, sizeof *head, 0) != 0) {
        return errno == 0 ? FIRN_ECORRUPT : FIRN_EIO;
    }
    return is_sound(head, store_id, (uint64_t)status.st_size) ? FIRN_OK : FIRN_ECORRUPT;
}

/* *fd is -1 after an error. */
static int open_file(const char *directory, uint64_t store_id, header *head, int *fd,
                     firn_heap *heap) {
    *fd = -1;
    char *path = firn_path_join(heap, directory, FIRN_LINKS_FILE);
    if (path == NULL) {
        return FIRN_ENOMEM;
    }
    int opened = open(path, O_RDONLY | O_CLOEXEC);
    int error = errno;
    firn_path_free(heap, path);
    if (opened < 0) {
        return error == ENOENT ? FIRN_NOT_FOUND : FIRN_EIO;
    }
    int result = read_header(opened, store_id, head);
    if (result != FIRN_OK) {
        close(opened);
        return result;
    }
    *fd = opened;
    return FIRN_OK;
}

int firn_links_file_read_state(const char *directory, uint64_t store_id, firn_links_state *state,
                               firn_heap *heap) {
    header head;
    int fd;
    int result = open_file(directory, store_id, &head, &fd, heap);
    if (result == FIRN_OK) {
        *state = (firn_links_state)le32toh(head.state);
        close(fd);
    }
    return result;
}

int firn_links_file_mark_dirty(const char *directory, uint64_t store_id, firn_heap *heap,
                               firn_detail *detail) {
    header head = make_header(FIRN_LINKS_DIRTY, store_id, 0, firn_hash64(0, "", 0));
    return firn_replace_file(directory, FIRN_LINKS_FILE, &head, sizeof head, heap, detail);
}

/* ---- writing ---- */

static void writer_free(firn_links_writer *writer) {
    XXH3_freeState(writer->hashing);
    firn_heap_free(writer->heap, writer, sizeof *writer);
}

int firn_links_writer_open(firn_links_writer **out, const char *directory, uint64_t store_id,
                           firn_heap *heap, firn_detail *detail) {
    *out = NULL;
    firn_links_writer *writer = firn_heap_zalloc(heap, sizeof *writer);
    if (writer == NULL) {
        return FIRN_ENOMEM;
    }
    writer->heap = heap;
    writer->store_id = store_id;
    writer->hashing = XXH3_createState();
    int result = writer->hashing != NULL ? FIRN_OK : FIRN_ENOMEM;
    if (result == FIRN_OK) {
        XXH3_64bits_reset(writer->hashing);
        result = firn_replacement_begin(&writer->file, directory, FIRN_LINKS_FILE, heap, detail);
    }
    if (result != FIRN_OK) {
        writer_free(writer);
        return result;
    }
    *out = writer;
    return FIRN_OK;
}

static void write_out(firn_links_writer *writer) {
    XXH3_64bits_update(writer->hashing, writer->buffer, writer->used);
    firn_replacement_write(&writer->file, writer->buffer, writer->used,
                           sizeof(header) + writer->written);
    writer->written += writer->used;
    writer->used = 0;
}

void firn_links_writer_append(firn_links_writer *writer, const void *bytes, size_t size) {
    const unsigned char *from = bytes;
    while (size > 0) {
        size_t room = BUFFERED - writer->used;
        size_t some = size < room ? size : room;
        memcpy(writer->buffer + writer->used, from, some);
        writer->used += some;
        from += some;
        size -= some;
        if (writer->used == BUFFERED) {
            write_out(writer);
        }
    }
}

int firn_links_writer_finish(firn_links_writer *writer) {
    write_out(writer);
    header head = make_header(FIRN_LINKS_WHOLE, writer->store_id, writer->written,
                              XXH3_64bits_digest(writer->hashing));
    firn_replacement_write(&writer->file, &head, sizeof head, 0);
    int result = firn_replacement_finish(&writer->file);
    writer_free(writer);
    return result;
}

void firn_links_writer_cancel(firn_links_writer *writer) {
    if (writer != NULL) {
        firn_replacement_cancel(&writer->file);
        writer_free(writer);
    }
}

/* ---- reading ---- */

/* The next bytes of the body into the buffer, all of which were given. */
static int load(firn_links_reader *reader) {
    uint64_t left = reader->body_bytes - reader->taken;
    size_t some = left < BUFFERED ? (size_t)left : BUFFERED;
    reader->used = 0;
    reader->held = 0;
    if (firn_read_at(reader->fd, reader->buffer, some, sizeof(header) + reader->taken) != 0) {
        return errno == 0 ? FIRN_ECORRUPT : FIRN_EIO;
    }
    reader->held = some;
    reader->taken += some;
    return FIRN_OK;
}

static int check_body(firn_links_reader *reader, uint64_t checksum) {
    XXH3_state_t *hashing = XXH3_createState();
    if (hashing == NULL) {
        return FIRN_ENOMEM;
    }
    XXH3_64bits_reset(hashing);
    int result = FIRN_OK;
    while (result == FIRN_OK && reader->taken < reader->body_bytes) {
        result = load(reader);
        XXH3_64bits_update(hashing, reader->buffer, reader->held);
    }
    if (result == FIRN_OK && XXH3_64bits_digest(hashing) != checksum) {
        result = FIRN_ECORRUPT;
    }
    XXH3_freeState(hashing);
    reader->taken = 0;
    reader->used = 0;
    reader->held = 0;
    return result;
}

int firn_links_reader_open(firn_links_reader **out, const char *directory, uint64_t store_id,
                           firn_heap *heap) {
    *out = NULL;
    header head;
    int fd;
    int result = open_file(directory, store_id, &head, &fd, heap);
    if (result != FIRN_OK) {
        return result;
    }
    firn_links_reader *reader = NULL;
    if (le32toh(head.state) == FIRN_LINKS_DIRTY) {
        result = FIRN_AGAIN;
    } else if ((reader = firn_heap_zalloc(heap, sizeof *reader)) == NULL) {
        result = FIRN_ENOMEM;
    }
    if (result != FIRN_OK) {
        close(fd);
        return result;
    }
    reader->heap = heap;
    reader->fd = fd;
    reader->body_bytes = le64toh(head.body_bytes);
    result = check_body(reader, le64toh(head.body_checksum));
    if (result != FIRN_OK) {
        firn_links_reader_close(reader);
        return result;
    }
    *out = reader;
    return FIRN_OK;
}

int firn_links_reader_read(firn_links_reader *reader, void *bytes, size_t size) {
    unsigned char *to = bytes;
    uint64_t left = reader->body_bytes - reader->taken + (reader->held - reader->used);
    if (size > left) {
        return left == 0 ? FIRN_NOT_FOUND : FIRN_ECORRUPT;
    }
    while (size > 0) {
        if (reader->used == reader->held) {
            int result = load(reader);
            if (result != FIRN_OK) {
                return result;
            }
        }
        size_t room = reader->held - reader->used;
        size_t some = size < room ? size : room;
        memcpy(to, reader->buffer + reader->used, some);
        reader->used += some;
        to += some;
        size -= some;
    }
    return FIRN_OK;
}

void firn_links_reader_close(firn_links_reader *reader) {
    if (reader != NULL) {
        close(reader->fd);
        firn_heap_free(reader->heap, reader, sizeof *reader);
    }
}
