/* See delta_file.h. The host is little-endian. */
#include "cold/delta_file.h"

#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include <firn/error.h>

#include "base/file.h"
#include "base/hash.h"

#define MAGIC "FIRNDELT"

enum {
    FORMAT = 1,
    BUFFER = 512 << 10, /* bytes; more than the largest piece */
};

typedef struct header {
    char magic[8];
    uint32_t format;
    uint32_t zero;
    uint64_t store_id;
    uint64_t turn;
    uint64_t check;
} header;

typedef struct piece {
    firn_delta_span span;
    uint64_t count;
    uint64_t check;
} piece;

_Static_assert(sizeof(header) == 40, "as the format says");
_Static_assert(sizeof(piece) == 40, "as the format says");
_Static_assert(sizeof(firn_change) == 32, "as the format says");
_Static_assert(BUFFER > sizeof(piece) + FIRN_DELTA_FILE_CHANGES_MAX * sizeof(firn_change), "");

struct firn_delta_file {
    firn_heap *heap;
    char *path;
    uint64_t store_id;
    uint64_t turn;
    uint64_t end; /* where the next piece goes; 0: the header is to be written with it */
    int fd;
    bool failed; /* nothing is added before the next turn */
};

firn_delta_file *firn_delta_file_open(const char *directory, uint64_t store_id, firn_heap *heap) {
    firn_delta_file *file = firn_heap_alloc(heap, sizeof *file);
    char *path = firn_path_join(heap, directory, FIRN_DELTA_FILE);
    int fd = file != NULL && path != NULL ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666) : -1;
    if (fd < 0) {
        firn_path_free(heap, path);
        firn_heap_free(heap, file, sizeof *file);
        return NULL;
    }
    *file = (firn_delta_file){.heap = heap, .path = path, .store_id = store_id, .fd = fd};
    return file;
}

void firn_delta_file_close(firn_delta_file *file, bool remove) {
    if (file == NULL) {
        return;
    }
    if (remove) {
        (void)unlink(file->path); /* else it lies there, and says nothing */
    }
    close(file->fd);
    firn_path_free(file->heap, file->path);
    firn_heap_free(file->heap, file, sizeof *file);
}

/* ---- reading ---- */

/* A stretch of the file in memory. */
typedef struct window {
    const firn_delta_file *file;
    unsigned char *bytes; /* BUFFER */
    uint64_t start;
    size_t length;
} window;

/* `size` bytes at an offset, lent until the next call. NULL: there are fewer. */
static const void *look(window *self, uint64_t at, size_t size) {
    if (at < self->start || at + size > self->start + self->length) {
        self->start = at;
        self->length = 0;
        ssize_t got = 0;
        while (self->length < size &&
               (got = pread(self->file->fd, self->bytes + self->length, BUFFER - self->length,
                            (off_t)(at + self->length))) > 0) {
            self->length += (size_t)got;
        }
    }
    return self->length >= size ? self->bytes + (at - self->start) : NULL;
}

static uint64_t check_of_header(const header *head) {
    return firn_hash64(0, head, offsetof(header, check));
}

static uint64_t check_of_piece(uint64_t turn, const piece *one, const firn_change *changes) {
    uint64_t seed = firn_hash64(turn, one, offsetof(piece, check));
    return firn_hash64(seed, changes, (size_t)one->count * sizeof *changes);
}

static bool take_header(firn_delta_file *file, window *in) {
    const void *at = look(in, 0, sizeof(header));
    header head;
    if (at == NULL) {
        return false;
    }
    memcpy(&head, at, sizeof head);
    if (memcmp(head.magic, MAGIC, sizeof head.magic) != 0 || head.format != FORMAT ||
        head.store_id != file->store_id || head.check != check_of_header(&head)) {
        return false;
    }
    file->turn = head.turn;
    return true;
}

/* The changes of the piece at an offset, if it is sound and begins at `from`; else NULL. */
static const firn_change *look_at_piece(window *in, uint64_t at, uint64_t from, uint64_t most,
                                        piece *one) {
    const unsigned char *bytes = look(in, at, sizeof *one);
    if (bytes == NULL) {
        return NULL;
    }
    memcpy(one, bytes, sizeof *one);
    if (one->span.from != from || one->span.to <= from || one->span.to > most || one->count == 0 ||
        one->count > FIRN_DELTA_FILE_CHANGES_MAX) {
        return NULL;
    }
    bytes = look(in, at, sizeof *one + (size_t)one->count * sizeof(firn_change));
    const firn_change *changes =
        bytes != NULL ? (const firn_change *)(const void *)(bytes + sizeof *one) : NULL;
    return changes != NULL && check_of_piece(in->file->turn, one, changes) == one->check ? changes
                                                                                         : NULL;
}

int firn_delta_file_read(firn_delta_file *file, uint64_t from, uint64_t most,
                         bool (*take)(void *context, const firn_delta_span *span,
                                      const firn_change *changes, size_t count),
                         void *context) {
    firn_delta_file_restart(file);
    window in = {.file = file, .bytes = firn_heap_alloc(file->heap, BUFFER)};
    if (in.bytes == NULL) {
        return FIRN_ENOMEM;
    }
    uint64_t at = sizeof(header);
    piece one;
    const firn_change *changes;
    while ((at > sizeof(header) || take_header(file, &in)) &&
           (changes = look_at_piece(&in, at, from, most, &one)) != NULL &&
           take(context, &one.span, changes, (size_t)one.count)) {
        at += sizeof one + one.count * sizeof *changes;
        from = one.span.to;
        file->end = at;
    }
    firn_heap_free(file->heap, in.bytes, BUFFER);
    return FIRN_OK;
}

/* ---- writing ---- */

void firn_delta_file_restart(firn_delta_file *file) {
    if (file != NULL) {
        file->end = 0;
        file->failed = false;
    }
}

void firn_delta_file_append(firn_delta_file *file, const firn_delta_span *span,
                            const firn_change *changes, size_t count) {
    if (file == NULL || file->failed || count == 0) {
        return;
    }
    bool first = file->end == 0;
    if (first) { /* what is left over from another turn must not follow upon this one */
        file->turn = firn_random64();
    }
    header head = {
        .magic = MAGIC, .format = FORMAT, .store_id = file->store_id, .turn = file->turn};
    head.check = check_of_header(&head);
    piece one = {.span = *span, .count = count};
    one.check = check_of_piece(file->turn, &one, changes);
    struct iovec parts[3] = {
        {&head, sizeof head},
        {&one, sizeof one},
        {(void *)(uintptr_t)changes, count * sizeof *changes},
    };
    unsigned skipped = first ? 0 : 1;
    size_t size = sizeof one + count * sizeof *changes + (first ? sizeof head : 0);
    ssize_t done = pwritev(file->fd, parts + skipped, 3 - (int)skipped, (off_t)file->end);
    file->failed = done != (ssize_t)size;
    file->end += size;
}
