/* See page.h: the writer's side. */
#include "observe/page.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"

enum {
    NUMBERS = (sizeof(firn_stats) - sizeof(size_t)) / sizeof(uint64_t),
    KIND_WORDS = sizeof(firn_latency) / sizeof(uint64_t),
    BODY_WORDS = NUMBERS + FIRN_LATENCY_COUNT * KIND_WORDS,
    BODY_BYTES = BODY_WORDS * 8,
    DECISIONS_AT =
        (FIRN_PAGE_UNIT + BODY_BYTES + FIRN_PAGE_UNIT - 1) / FIRN_PAGE_UNIT * FIRN_PAGE_UNIT,
    FILE_BYTES = DECISIONS_AT + (int)sizeof(firn_decisions),
    SET_BYTES = (int)sizeof(firn_decision_set),
};

_Static_assert(sizeof(firn_page_head) == 128, "the layout in docs/format.md");
_Static_assert((int)NUMBERS <= (int)FIRN_PAGE_NUMBERS_MAX, "readers take no more");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are copied as they are");

struct firn_page_writer {
    firn_heap *heap;
    int fd;
    firn_page_head head;
    uint64_t body_hash;                        /* of what was written last */
    uint64_t sets_written[FIRN_DECISION_SETS]; /* sequences */
    uint64_t body[BODY_WORDS];
    unsigned char sets[SET_BYTES * FIRN_DECISION_SETS]; /* as they are in the file */
};

size_t firn_page_body_bytes(const firn_page_head *head) {
    if (head->numbers > FIRN_PAGE_NUMBERS_MAX || head->kinds > FIRN_PAGE_KINDS_MAX ||
        head->buckets != FIRN_LATENCY_BUCKETS) {
        return 0;
    }
    size_t bytes = head->numbers * sizeof(uint64_t) + head->kinds * sizeof(firn_latency);
    return head->decisions_at >= FIRN_PAGE_UNIT + bytes ? bytes : 0;
}

uint64_t firn_page_checksum(const firn_page_head *head, const void *body) {
    firn_page_head blank = *head;
    blank.sequence = 0;
    blank.checksum = 0;
    return firn_hash64(firn_hash64(0, &blank, sizeof blank), body, firn_page_body_bytes(head));
}

/* Decisions of an earlier process. False: the file is not as we would write it. */
static bool take_over(firn_page_writer *self, firn_decisions *decisions) {
    firn_page_head head;
    if (firn_read_at(self->fd, &head, sizeof head, 0) != 0 ||
        memcmp(head.magic, FIRN_PAGE_MAGIC, sizeof head.magic) != 0 ||
        head.format != FIRN_PAGE_FORMAT || head.store_id != self->head.store_id ||
        head.seed != self->head.seed || head.sets != FIRN_DECISION_SETS ||
        head.set_bytes != SET_BYTES || firn_page_body_bytes(&head) == 0 ||
        firn_read_at(self->fd, self->sets, sizeof self->sets, head.decisions_at) != 0) {
        return false;
    }
    self->head.sequence = (head.sequence | 1) + 1;
    for (size_t i = 0; i < FIRN_DECISION_SETS; i++) {
        firn_decisions_restore(decisions, i, &self->sets[i * SET_BYTES]);
        memcpy(&self->sets_written[i], &self->sets[i * SET_BYTES], sizeof(uint64_t));
    }
    return true;
}

static int open_file(const char *directory, firn_heap *heap) {
    char *path = firn_path_join(heap, directory, FIRN_PAGE_FILE);
    if (path == NULL) {
        errno = ENOMEM;
        return -1;
    }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    int error = errno;
    firn_path_free(heap, path);
    struct stat status;
    if (fd >= 0 && (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))) {
        close(fd);
        fd = -1;
        error = EINVAL;
    }
    errno = error;
    return fd;
}

int firn_page_writer_open(firn_page_writer **writer, const char *directory, uint64_t store_id,
                          uint64_t seed, firn_decisions *decisions, firn_heap *heap) {
    *writer = NULL;
    firn_page_writer *self = firn_heap_zalloc(heap, sizeof *self);
    if (self == NULL) {
        return FIRN_ENOMEM;
    }
    self->heap = heap;
    self->head = (firn_page_head){
        .magic = FIRN_PAGE_MAGIC,
        .format = FIRN_PAGE_FORMAT,
        .store_id = store_id,
        .seed = seed,
        .pid = (uint64_t)getpid(),
        .numbers = NUMBERS,
        .kinds = FIRN_LATENCY_COUNT,
        .buckets = FIRN_LATENCY_BUCKETS,
        .decisions_at = DECISIONS_AT,
        .sets = FIRN_DECISION_SETS,
        .set_bytes = SET_BYTES,
    };
    self->fd = open_file(directory, heap);
    if (self->fd < 0) {
        firn_heap_free(heap, self, sizeof *self);
        return FIRN_EIO;
    }
    if (!take_over(self, decisions)) {
        memset(self->sets, 0, sizeof self->sets);
        /* Zeros: no page, until one is written, and no decisions. */
        if (ftruncate(self->fd, 0) != 0) {
            firn_page_writer_close(self);
            return FIRN_EIO;
        }
    }
    if (ftruncate(self->fd, FILE_BYTES) != 0) {
        firn_page_writer_close(self);
        return FIRN_EIO;
    }
    *writer = self;
    return FIRN_OK;
}

void firn_page_writer_close(firn_page_writer *writer) {
    if (writer != NULL) {
        close(writer->fd);
        firn_heap_free(writer->heap, writer, sizeof *writer);
    }
}

static void fill_body(firn_page_writer *self, const firn_stats *stats,
                      const firn_latencies *latencies) {
    memcpy(self->body, (const char *)stats + sizeof stats->size, NUMBERS * sizeof(uint64_t));
    memcpy(self->body + NUMBERS, latencies->of, sizeof latencies->of);
}

/* Brings the copy of the sets up to date. From *first to before *end they are to be written. */
static void fill_sets(firn_page_writer *self, const firn_decisions *decisions, size_t *first,
                      size_t *end) {
    *first = FIRN_DECISION_SETS;
    *end = 0;
    for (size_t i = 0; i < FIRN_DECISION_SETS; i++) {
        uint64_t before = self->sets_written[i];
        if (firn_decisions_copy(decisions, i, &self->sets_written[i], &self->sets[i * SET_BYTES]) &&
            self->sets_written[i] != before) {
            *first = *first < i ? *first : i;
            *end = i + 1;
        }
    }
}

static int write_head(firn_page_writer *self) {
    return firn_write_at(self->fd, &self->head, sizeof self->head, 0);
}

int firn_page_writer_write(firn_page_writer *self, const firn_stats *stats,
                           const firn_latencies *latencies, const firn_decisions *decisions,
                           const firn_page_times *times, bool *changed) {
    size_t first;
    size_t end;
    fill_body(self, stats, latencies);
    fill_sets(self, decisions, &first, &end);
    uint64_t body_hash = firn_hash64(0, self->body, sizeof self->body);
    *changed = body_hash != self->body_hash || end > first;
    self->body_hash = body_hash;
    self->head.opened_ms = times->opened_ms;
    self->head.written_ms = times->written_ms;
    self->head.uptime_ns = times->uptime_ns;
    self->head.next_ms = times->next_ms;
    self->head.closed = times->closed;
    self->head.checksum = firn_page_checksum(&self->head, self->body);
    self->head.sequence |= 1;
    int failed = write_head(self);
    failed = failed == 0 ? firn_write_at(self->fd, self->body, sizeof self->body, FIRN_PAGE_UNIT)
                         : failed;
    if (failed == 0 && end > first) {
        failed = firn_write_at(self->fd, &self->sets[first * SET_BYTES], (end - first) * SET_BYTES,
                               DECISIONS_AT + first * SET_BYTES);
    }
    if (failed != 0) {
        /* All of it once more, the next time; until then readers see that it is not whole. */
        memset(self->sets_written, 0xff, sizeof self->sets_written);
        self->body_hash = 0;
        return FIRN_EIO;
    }
    self->head.sequence++;
    return write_head(self) == 0 ? FIRN_OK : FIRN_EIO;
}
