/* See recorder.h.
 *
 * One ring for all threads (D. Vyukov's bounded queue), and not one a thread: so the file has the
 * accesses in the order in which they happened, and needs no merging. A thread takes a cell by an
 * atomic exchange of the ring's head, and gives it away by the cell's turn. */
#include "observe/recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <zstd.h>

#include "base/file.h"
#include "observe/recorder_format.h"

enum {
    CELLS = 8192,         /* a power of two */
    CALL_EVERY = 2048,    /* notes, after which somebody is to drain */
    WRITE_AT = 48 << 10,  /* raw bytes that are worth a block */
    RAW_BYTES = 64 << 10, /* room for them and what comes with them */
    LEVEL = 3,            /* of zstd */
    PAUSE_NS = 20000,     /* until a note may be finished that somebody is at */
};

typedef struct cell {
    /* Number n of all notes is in cell n % CELLS. n: it is free for that; n + 1: it holds it. Who
     * writes or reads the access got the turn by an acquire load, and gives it by a release
     * store. */
    _Alignas(64) _Atomic uint64_t turn;
    firn_access access;
} cell;

_Static_assert(sizeof(cell) == 64, "a line of the cache each");

struct firn_recorder {
    firn_heap *heap;                    /* one reference */
    cell *cells;                        /* immutable */
    _Atomic uint64_t dropped;           /* relaxed: a number by itself */
    _Alignas(64) _Atomic uint64_t head; /* the next note's number; relaxed: the turns order */

    _Alignas(64) pthread_mutex_t lock; /* guards all that follows */
    uint64_t tail;                     /* the number of the next to be taken out */
    int fd;                            /* -1: there is no file */
    int error;                         /* an errno; 0: none. Nothing is written after one */
    bool full;
    firn_recorder_config config;
    ZSTD_CCtx *context; /* NULL: no file was begun yet */
    uint64_t file_bytes;
    uint64_t recorded;       /* in the file */
    uint64_t dropped_before; /* of `dropped`, when the file was begun */
    uint64_t last_ms;        /* of the last access in the block */
    uint32_t accesses;       /* in the block */
    size_t used;             /* of raw */
    unsigned char raw[RAW_BYTES];
    unsigned char stored[sizeof(firn_trace_block) + ZSTD_COMPRESSBOUND(RAW_BYTES)];
};

firn_recorder *firn_recorder_new(firn_heap *heap) {
    firn_recorder *self = firn_heap_alloc_lines(heap, sizeof *self);
    if (self == NULL) {
        return NULL;
    }
    self->heap = firn_heap_ref(heap);
    self->fd = -1;
    self->cells = firn_heap_alloc_lines(heap, CELLS * sizeof *self->cells);
    if (self->cells == NULL || pthread_mutex_init(&self->lock, NULL) != 0) {
        firn_heap_free_lines(heap, self->cells, CELLS * sizeof *self->cells);
        firn_heap_free_lines(heap, self, sizeof *self);
        firn_heap_unref(heap);
        return NULL;
    }
    for (uint64_t i = 0; i < CELLS; i++) {
        atomic_init(&self->cells[i].turn, i);
    }
    return self;
}

void firn_recorder_free(firn_recorder *self) {
    if (self == NULL) {
        return;
    }
    firn_heap *heap = self->heap;
    if (self->fd >= 0) {
        close(self->fd);
    }
    ZSTD_freeCCtx(self->context);
    pthread_mutex_destroy(&self->lock);
    firn_heap_free_lines(heap, self->cells, CELLS * sizeof *self->cells);
    firn_heap_free_lines(heap, self, sizeof *self);
    firn_heap_unref(heap);
}

bool firn_recorder_note(firn_recorder *self, const firn_access *access) {
    uint64_t number = atomic_load_explicit(&self->head, memory_order_relaxed);
    for (;;) {
        cell *into = &self->cells[number % CELLS];
        uint64_t turn = atomic_load_explicit(&into->turn, memory_order_acquire);
        if (turn < number) {
            atomic_fetch_add_explicit(&self->dropped, 1, memory_order_relaxed);
            return false;
        }
        if (turn == number &&
            atomic_compare_exchange_strong_explicit(&self->head, &number, number + 1,
                                                    memory_order_relaxed, memory_order_relaxed)) {
            into->access = *access;
            atomic_store_explicit(&into->turn, number + 1, memory_order_release);
            return number % CALL_EVERY == CALL_EVERY - 1;
        }
        if (turn != number) {
            number = atomic_load_explicit(&self->head, memory_order_relaxed);
        }
    }
}

static bool take_locked(firn_recorder *self, firn_access *access) {
    cell *from = &self->cells[self->tail % CELLS];
    if (atomic_load_explicit(&from->turn, memory_order_acquire) != self->tail + 1) {
        return false;
    }
    *access = from->access;
    atomic_store_explicit(&from->turn, self->tail + CELLS, memory_order_release);
    self->tail++;
    return true;
}

/* Writes at the file's end. Nothing of a write that failed stays. */
static void write_locked(firn_recorder *self, const void *bytes, size_t size) {
    if (firn_write_at(self->fd, bytes, size, self->file_bytes) == 0) {
        self->file_bytes += size;
        return;
    }
    self->error = errno;
    if (ftruncate(self->fd, (off_t)self->file_bytes) != 0) {
        return; /* readers find a block that is not whole, and stop there */
    }
}

static uint64_t dropped_locked(const firn_recorder *self) {
    return atomic_load_explicit(&self->dropped, memory_order_relaxed) - self->dropped_before;
}

static void write_block_locked(firn_recorder *self) {
    size_t size = ZSTD_compressCCtx(self->context, self->stored + sizeof(firn_trace_block),
                                    sizeof self->stored - sizeof(firn_trace_block), self->raw,
                                    self->used, LEVEL);
    firn_trace_block head = {.magic = FIRN_TRACE_BLOCK_MAGIC,
                             .stored_bytes = (uint32_t)size,
                             .raw_bytes = (uint32_t)self->used,
                             .accesses = self->accesses,
                             .dropped = dropped_locked(self)};
    if (ZSTD_isError(size)) { /* of memory */
        self->error = ENOMEM;
    } else if (self->file_bytes + sizeof head + size > self->config.file_bytes_max) {
        self->full = true;
    } else {
        head.checksum = firn_trace_block_checksum(&head, self->stored + sizeof head);
        memcpy(self->stored, &head, sizeof head);
        write_locked(self, self->stored, sizeof head + size);
        self->recorded += self->error == 0 ? self->accesses : 0;
    }
    self->used = 0;
    self->accesses = 0;
}

static void pack_locked(firn_recorder *self, const firn_access *access) {
    unsigned char *at = self->raw + self->used;
    if (self->accesses == 0) {
        uint64_t since_ms = access->time_ms - self->config.started_ms;
        at = firn_put_varint(at, access->time_ms > self->config.started_ms ? since_ms : 0);
        self->last_ms = access->time_ms;
    }
    *at++ = (unsigned char)(access->what | (access->ttl_ms != 0 ? FIRN_TRACE_HAS_TTL : 0) |
                            (access->cost_us != 0 ? FIRN_TRACE_HAS_COST : 0));
    /* A clock may be set back, and threads may overtake each other. */
    uint64_t now_ms = access->time_ms > self->last_ms ? access->time_ms : self->last_ms;
    at = firn_put_varint(at, now_ms - self->last_ms);
    self->last_ms = now_ms;
    memcpy(at, &access->key_hash, sizeof access->key_hash);
    at += sizeof access->key_hash;
    if (firn_trace_has_sizes(access->what)) {
        uint64_t extra =
            access->charge > access->value_size ? access->charge - access->value_size : 0;
        at = firn_put_varint(at, access->value_size);
        at = firn_put_varint(at, extra);
    }
    if (access->ttl_ms != 0) {
        at = firn_put_varint(at, access->ttl_ms);
    }
    if (access->cost_us != 0) {
        at = firn_put_varint(at, access->cost_us);
    }
    self->used = (size_t)(at - self->raw);
    self->accesses++;
}

static bool is_writable_locked(const firn_recorder *self) {
    return self->fd >= 0 && self->error == 0 && !self->full;
}

/* Not more than the ring holds: others go on filling it. */
static void drain_locked(firn_recorder *self, bool all) {
    firn_access access;
    for (unsigned i = 0; i < CELLS && take_locked(self, &access); i++) {
        if (is_writable_locked(self)) {
            pack_locked(self, &access);
            if (self->used > RAW_BYTES - FIRN_TRACE_ACCESS_MAX - FIRN_VARINT_MAX) {
                write_block_locked(self);
            }
        }
    }
    if (is_writable_locked(self) && self->accesses > 0 && (all || self->used >= WRITE_AT)) {
        write_block_locked(self);
    }
}

/* Takes out all whose cell was taken when it was called. Behind one that a thread has not filled
 * yet there may be others, that were noted since: so it waits for that thread, which needs nothing
 * but the processor for it. It sleeps, for that thread may be of a lower priority than ours. */
static void drain_whole_locked(firn_recorder *self) {
    /* Relaxed: what somebody knows to be noted, and asks the end of, is counted in it. */
    uint64_t head = atomic_load_explicit(&self->head, memory_order_relaxed);
    drain_locked(self, true);
    while (self->tail < head) {
        nanosleep(&(struct timespec){0, PAUSE_NS}, NULL);
        drain_locked(self, true);
    }
}

bool firn_recorder_drain(firn_recorder *self, bool all) {
    pthread_mutex_lock(&self->lock);
    bool goes_on = true;
    if (self->fd >= 0) {
        drain_locked(self, all);
        goes_on = is_writable_locked(self);
    }
    pthread_mutex_unlock(&self->lock);
    return goes_on;
}

static int failed(firn_detail *detail, const char *path, int error) {
    return firn_detail_set(detail, firn_code_of_errno(error), "%s: %s%s", path, strerror(error),
                           error == EEXIST ? ": a recording is made into a new file" : "");
}

static int begin_locked(firn_recorder *self, const char *path, const firn_recorder_config *config,
                        firn_detail *detail) {
    if (self->context == NULL) {
        self->context = ZSTD_createCCtx();
        if (self->context == NULL) {
            return FIRN_ENOMEM;
        }
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return failed(detail, path, errno);
    }
    self->error = 0;
    drain_whole_locked(self); /* there is no file: what came since the last one ended goes */
    self->fd = fd;
    self->full = false;
    self->config = *config;
    self->file_bytes = self->recorded = 0;
    self->used = self->accesses = 0;
    self->dropped_before = atomic_load_explicit(&self->dropped, memory_order_relaxed);
    firn_trace_header head = {.magic = FIRN_TRACE_MAGIC,
                              .format = FIRN_TRACE_FORMAT,
                              .below = config->below,
                              .started_ms = config->started_ms,
                              .hot_bytes = config->hot_bytes,
                              .cold_bytes = config->cold_bytes};
    head.checksum = firn_trace_header_checksum(&head);
    write_locked(self, &head, sizeof head);
    if (self->error != 0) {
        close(fd);
        (void)unlink(path);
        self->fd = -1;
        return failed(detail, path, self->error);
    }
    return FIRN_OK;
}

int firn_recorder_begin(firn_recorder *self, const char *path, const firn_recorder_config *config,
                        firn_detail *detail) {
    pthread_mutex_lock(&self->lock);
    int result = begin_locked(self, path, config, detail);
    pthread_mutex_unlock(&self->lock);
    return result;
}

int firn_recorder_end(firn_recorder *self, firn_detail *detail) {
    int result = FIRN_OK;
    pthread_mutex_lock(&self->lock);
    if (self->fd >= 0) {
        drain_whole_locked(self);
        if (self->error == 0 && fsync(self->fd) != 0 && errno != EINVAL && errno != EROFS) {
            self->error = errno;
        }
        if (close(self->fd) != 0 && self->error == 0) {
            self->error = errno;
        }
        self->fd = -1;
        if (self->error != 0) {
            result = failed(detail, "the recording", self->error);
        }
    }
    pthread_mutex_unlock(&self->lock);
    return result;
}

void firn_recorder_get_stats(firn_recorder *self, firn_record_stats *stats) {
    pthread_mutex_lock(&self->lock);
    stats->recorded = self->recorded;
    stats->dropped = dropped_locked(self);
    stats->file_bytes = self->file_bytes;
    pthread_mutex_unlock(&self->lock);
}
