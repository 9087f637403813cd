/* See log.h. */
#include "cold/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <firn/error.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "cold/doubt.h"

#define LOAD(field)         atomic_load_explicit(&(field), memory_order_acquire)
#define STORE(field, value) atomic_store_explicit(&(field), (value), memory_order_release)

enum {
    POSITION_AT = 64,
    DOUBT_AT = 96,
    MAGIC = 0x47455346, /* "FSEG" */
    RING_MIN = 64,
    /* Each takes memory, and a checkpoint looks at all of them. As many as a store of 16 TiB has,
     * or one that was made for 1 MiB and is to hold 4 GiB. */
    SLOTS_MAX = 1 << 18,
    COPY_BYTES = 256 << 10,
    MAP_READ_MAX = 32 << 10, /* larger reads are worth a system call, which tells of errors */
};

typedef struct file_header {
    char magic[8];
    uint32_t format;
    uint32_t segment_bytes;
    firn_log_identity identity;
    uint64_t check;
} file_header;

typedef struct position_line {
    uint64_t tail;
    uint64_t end;
    uint64_t moves;
    uint64_t check;
} position_line;

typedef struct segment_header {
    uint32_t magic;
    uint32_t first_frame;
    uint64_t number;
    uint32_t moves;
    uint32_t zero;
    uint64_t check;
} segment_header;

_Static_assert(sizeof(segment_header) == FIRN_LOG_SEGMENT_HEADER_SIZE, "as the format says");

struct firn_log {
    firn_heap *heap; /* immutable, as all up to the ring */
    firn_detail *detail;
    char *path;
    int fd;
    bool read_only;
    uint32_t segment_bytes;
    uint64_t payload;
    uint64_t store_id;
    uint64_t told_tail; /* see firn_log_told_tail */
    uint64_t told_end;

    /* The file, as far as it may grow; NULL: not mapped. Changed as the ring is. */
    const unsigned char *map;
    size_t map_size;
    /* The map may be read up to there: as far as the file was written or seen to be. Relaxed: what
     * a reader may ask for was written before it could learn of it. */
    _Atomic uint64_t extent;
    _Atomic uint64_t looked_ns; /* when the file's length was last compared; relaxed */

    /* The slot of segment N stands at N & ring_mask. Written by the writer; readers read without a
     * lock, with acquire, so that what was written to a slot before it was named here is seen. A
     * reader that is late gets another segment's slot and finds out by what it reads. Its size is
     * that of the limit from the open on, for readers are there before the first write. In a
     * read-only handle it may become larger, under the lock of whoever follows and scans. */
    _Atomic uint32_t *ring;
    uint64_t ring_mask;

    _Atomic uint64_t tail;    /* segment number */
    _Atomic uint64_t end;     /* position */
    _Atomic uint64_t changes; /* release, after a slot is no longer the segment's */

    /* The writer's. */
    unsigned char *used; /* a byte a slot */
    uint32_t used_size;
    uint32_t used_count;
    uint32_t first_free; /* no slot before it is free */
    uint32_t slots;      /* the file may have so many */
    uint32_t reached;    /* slots behind have no space on the device */
    uint64_t moves;

    firn_doubt doubt; /* has a lock of its own */
};

/* ---- sizes ---- */

uint32_t firn_log_segment_bytes(const firn_log *log) {
    return log->segment_bytes;
}

uint64_t firn_log_payload(const firn_log *log) {
    return log->payload;
}

uint64_t firn_log_tail(const firn_log *log) {
    return LOAD(log->tail);
}

uint64_t firn_log_end(const firn_log *log) {
    return LOAD(log->end);
}

uint64_t firn_log_told_tail(const firn_log *log) {
    return log->told_tail;
}

uint64_t firn_log_told_end(const firn_log *log) {
    return log->told_end;
}

uint64_t firn_log_segments_max(const firn_log *log) {
    return log->ring_mask - 1; /* see reserve_ring */
}

uint64_t firn_log_moves(const firn_log *log) {
    return log->moves;
}

uint64_t firn_log_changes(const firn_log *log) {
    return LOAD(log->changes);
}

uint32_t firn_log_slots_used(const firn_log *log) {
    return log->used_count;
}

static uint64_t file_length(const firn_log *log) {
    struct stat status;
    return fstat(log->fd, &status) == 0 ? (uint64_t)status.st_size : 0;
}

uint64_t firn_log_file_bytes(const firn_log *log) {
    struct stat status;
    return fstat(log->fd, &status) == 0 ? (uint64_t)status.st_blocks * 512 : 0;
}

static uint64_t slot_at(const firn_log *log, uint32_t slot) {
    return FIRN_LOG_HEADER_SIZE + (uint64_t)slot * log->segment_bytes;
}

/* The number of the first segment that is not there yet. */
static uint64_t head_after(const firn_log *log) {
    return (LOAD(log->end) + log->payload - 1) / log->payload;
}

static uint64_t check_of(const firn_log *log, const void *bytes, size_t size) {
    return firn_hash64(log->store_id, bytes, size);
}

static int failed(const firn_log *log, const char *what) {
    int error = errno;
    int code = error == 0 ? FIRN_EIO : firn_code_of_errno(error);
    const char *why = error == 0 ? "the file is shorter than it was" : strerror(error);
    return firn_detail_set(log->detail, code, "%s: cannot %s: %s%s", log->path, what, why,
                           code == FIRN_ENOSPC ? "; free space on that file system, or give the "
                                                 "store a smaller cold_bytes"
                                               : "");
}

/* ---- the ring and the slots ---- */

static uint32_t ring_get(const firn_log *log, uint64_t number) {
    return LOAD(log->ring[number & log->ring_mask]);
}

static void ring_set(firn_log *log, uint64_t number, uint32_t slot) {
    STORE(log->ring[number & log->ring_mask], slot);
}

/* Room for `count` segments in a row. Only before readers come, or with them kept out. */
static int reserve_ring(firn_log *log, uint64_t count) {
    uint64_t size = RING_MIN;
    while (size < count + 2) {
        size *= 2;
    }
    if (log->ring != NULL && size <= log->ring_mask + 1) {
        return FIRN_OK;
    }
    _Atomic uint32_t *ring = firn_heap_alloc(log->heap, (size_t)size * sizeof *ring);
    if (ring == NULL) {
        return firn_detail_set(log->detail, FIRN_ENOMEM, "%s: no memory for its segments",
                               log->path);
    }
    for (uint64_t i = 0; i < size; i++) {
        atomic_init(&ring[i], FIRN_LOG_NO_SLOT);
    }
    if (log->ring != NULL) {
        for (uint64_t number = LOAD(log->tail); number < head_after(log); number++) {
            atomic_init(&ring[number & (size - 1)], ring_get(log, number));
        }
        firn_heap_free(log->heap, log->ring, (size_t)(log->ring_mask + 1) * sizeof *log->ring);
    }
    log->ring = ring;
    log->ring_mask = size - 1;
    return FIRN_OK;
}

static int reserve_used(firn_log *log, uint32_t slots) {
    if (slots <= log->used_size) {
        return FIRN_OK;
    }
    uint32_t size = slots + slots / 2 + 16;
    unsigned char *used = firn_heap_zalloc(log->heap, size);
    if (used == NULL) {
        return firn_detail_set(log->detail, FIRN_ENOMEM, "%s: no memory for its slots", log->path);
    }
    if (log->used_size > 0) {
        memcpy(used, log->used, log->used_size);
    }
    firn_heap_free(log->heap, log->used, log->used_size);
    log->used = used;
    log->used_size = size;
    return FIRN_OK;
}

static void mark_used(firn_log *log, uint32_t slot) {
    log->used[slot] = 1;
    log->reached = slot < log->reached ? log->reached : slot + 1;
    log->used_count++;
}

static void mark_free(firn_log *log, uint32_t slot) {
    log->used[slot] = 0;
    log->used_count--;
    log->first_free = slot < log->first_free ? slot : log->first_free;
}

/* FIRN_LOG_NO_SLOT: none below `below`. */
static uint32_t take_slot(firn_log *log, uint32_t below) {
    uint32_t slot = log->first_free;
    while (slot < below && log->used[slot] != 0) {
        slot++;
    }
    log->first_free = slot < below ? slot + 1 : log->first_free;
    if (slot >= below) {
        return FIRN_LOG_NO_SLOT;
    }
    mark_used(log, slot);
    return slot;
}

/* ---- the map ---- */

static void unmap(firn_log *log) {
    if (log->map != NULL) {
        munmap((void *)(uintptr_t)log->map, log->map_size);
        log->map = NULL;
    }
}

/* Without a map all is read by system calls. */
static void map_file(firn_log *log, uint64_t bytes) {
    unmap(log);
    atomic_store_explicit(&log->extent, file_length(log), memory_order_relaxed);
    if (bytes == 0 || bytes > SIZE_MAX / 2) {
        return;
    }
    void *map = mmap(NULL, (size_t)bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE, log->fd, 0);
    if (map != MAP_FAILED) {
        (void)madvise(map, (size_t)bytes, MADV_RANDOM);
        log->map = map;
        log->map_size = (size_t)bytes;
    }
}

static void extend(firn_log *log, uint64_t to) {
    if (to > atomic_load_explicit(&log->extent, memory_order_relaxed)) {
        atomic_store_explicit(&log->extent, to, memory_order_relaxed);
    }
}

/* How far the map may be read, after a look at the file's length once in some milliseconds. */
static uint64_t readable(firn_log *log) {
    uint64_t extent = atomic_load_explicit(&log->extent, memory_order_relaxed);
    uint64_t now_ns = firn_coarse_ns();
    if (atomic_load_explicit(&log->looked_ns, memory_order_relaxed) != now_ns) {
        atomic_store_explicit(&log->looked_ns, now_ns, memory_order_relaxed);
        uint64_t bytes = file_length(log);
        if (bytes < extent) {
            /* An append at this moment may say otherwise at once, and is right. */
            atomic_compare_exchange_strong_explicit(&log->extent, &extent, bytes,
                                                    memory_order_relaxed, memory_order_relaxed);
            extent = bytes;
        }
    }
    return extent < log->map_size ? extent : log->map_size;
}

/* ---- open and close ---- */

void firn_log_close(firn_log *log) {
    if (log == NULL) {
        return;
    }
    unmap(log);
    if (log->fd >= 0) {
        close(log->fd);
    }
    if (log->ring != NULL) {
        firn_heap_free(log->heap, log->ring, (size_t)(log->ring_mask + 1) * sizeof *log->ring);
    }
    firn_heap_free(log->heap, log->used, log->used_size);
    firn_path_free(log->heap, log->path);
    firn_doubt_fini(&log->doubt);
    firn_heap_free(log->heap, log, sizeof *log);
}

static int read_header(firn_log *log, file_header *to) {
    file_header header;
    if (firn_read_at(log->fd, &header, sizeof header, 0) != 0) {
        return errno == 0 ? firn_detail_set(log->detail, FIRN_ECORRUPT, "%s: is cut off", log->path)
                          : failed(log, "read");
    }
    if (memcmp(header.magic, "FIRNLOG1", sizeof header.magic) != 0 ||
        header.check != firn_hash64(0, &header, offsetof(file_header, check))) {
        return firn_detail_set(log->detail, FIRN_ECORRUPT, "%s: its header is damaged", log->path);
    }
    if (header.format != FIRN_LOG_FORMAT) {
        return firn_detail_set(log->detail, FIRN_EVERSION,
                               "%s: has format %u, but this library knows format %d", log->path,
                               header.format, FIRN_LOG_FORMAT);
    }
    uint32_t size = header.segment_bytes;
    if (size < FIRN_LOG_SEGMENT_MIN || size > FIRN_LOG_SEGMENT_MAX || (size & (size - 1)) != 0) {
        return firn_detail_set(log->detail, FIRN_ECORRUPT, "%s: its header is damaged", log->path);
    }
    *to = header;
    return FIRN_OK;
}

static int take_header(firn_log *log, uint64_t store_id) {
    file_header header;
    int result = read_header(log, &header);
    if (result == FIRN_OK && header.identity.store_id != store_id) {
        result = firn_detail_set(log->detail, FIRN_ECORRUPT,
                                 "%s: belongs to another store; remove the store, or open it with "
                                 "set_aside_damaged",
                                 log->path);
    }
    if (result == FIRN_OK) {
        log->segment_bytes = header.segment_bytes;
    }
    return result;
}

static int write_header(firn_log *log, const firn_log_config *config) {
    log->segment_bytes = config->segment_bytes;
    file_header header = {
        .magic = "FIRNLOG1",
        .format = FIRN_LOG_FORMAT,
        .segment_bytes = config->segment_bytes,
        .identity = config->identity,
    };
    header.check = firn_hash64(0, &header, offsetof(file_header, check));
    unsigned char page[FIRN_LOG_HEADER_SIZE] = {0};
    memcpy(page, &header, sizeof header);
    return firn_write_at(log->fd, page, sizeof page, 0) == 0 ? FIRN_OK : failed(log, "write");
}

/* A writer may be writing it at this moment: then it is looked at again. */
static int read_position(const firn_log *log, position_line *line) {
    for (unsigned i = 0; i < 100; i++) {
        if (firn_read_at(log->fd, line, sizeof *line, POSITION_AT) != 0) {
            return failed(log, "read");
        }
        if (line->check == check_of(log, line, offsetof(position_line, check))) {
            return FIRN_OK;
        }
    }
    return firn_detail_set(log->detail, FIRN_ECORRUPT, "%s: where it ends is damaged", log->path);
}

static uint64_t slots_within(const firn_log *log, uint64_t limit_bytes) {
    uint64_t slots = limit_bytes / log->segment_bytes;
    return slots < SLOTS_MAX ? slots : SLOTS_MAX;
}

static uint64_t slots_in_file(const firn_log *log) {
    uint64_t bytes = file_length(log);
    uint64_t rest = bytes > FIRN_LOG_HEADER_SIZE ? bytes - FIRN_LOG_HEADER_SIZE : 0;
    return (rest + log->segment_bytes - 1) / log->segment_bytes; /* the last may be cut off */
}

static int set_up(firn_log *log, const firn_log_config *config) {
    if (config->create) { /* who reads an old one keeps that, and its map */
        (void)unlink(log->path);
    }
    int flags = config->read_only ? O_RDONLY : config->create ? O_RDWR | O_CREAT | O_TRUNC : O_RDWR;
    log->fd = open(log->path, flags | O_CLOEXEC, 0666);
    log->doubt.fd = log->fd;
    log->doubt.at = DOUBT_AT;
    log->doubt.seed = log->store_id;
    if (log->fd < 0) {
        return errno == ENOENT ? firn_detail_set(log->detail, FIRN_ECORRUPT,
                                                 "%s: is missing; "
                                                 "remove the store, or open it with "
                                                 "set_aside_damaged",
                                                 log->path)
                               : failed(log, "open");
    }
    int result =
        config->create ? write_header(log, config) : take_header(log, config->identity.store_id);
    if (result != FIRN_OK) {
        return result;
    }
    log->payload = log->segment_bytes - FIRN_LOG_SEGMENT_HEADER_SIZE;
    uint64_t first = config->create ? config->from / log->payload + 1 : 1;
    position_line line = {first, first * log->payload, 0, 0}; /* position 0 means none */
    if (!config->create) {
        result = read_position(log, &line);
        firn_doubt_read(&log->doubt);
    }
    log->told_tail = result == FIRN_OK ? line.tail : 0;
    log->told_end = result == FIRN_OK ? line.end : 0;
    if (result == FIRN_ECORRUPT) { /* told by the slots: see firn_log_scan */
        line = (position_line){1, log->payload, 0, 0};
        result = FIRN_OK;
    }
    uint64_t slots = slots_in_file(log);
    if (result == FIRN_OK && slots >= FIRN_LOG_NO_SLOT) {
        result = firn_detail_set(log->detail, FIRN_ECORRUPT, "%s: is too large", log->path);
    }
    if (result != FIRN_OK) {
        return result;
    }
    log->moves = line.moves;
    STORE(log->tail, line.tail);
    STORE(log->end, line.end);
    /* Segments that are lost have no slot, so there may be more than slots. */
    uint64_t most = config->read_only ? slots : slots_within(log, config->limit_bytes);
    most = slots > most ? slots : most;
    if (line.tail == 0 || line.end < line.tail * log->payload ||
        head_after(log) - line.tail > most) {
        STORE(log->tail, 1); /* nothing is believed: a scan tells more */
        STORE(log->end, log->payload);
    }
    log->slots = log->reached = (uint32_t)slots;
    uint64_t bytes = file_length(log);
    map_file(log, config->read_only || bytes > config->limit_bytes ? bytes : config->limit_bytes);
    result = reserve_used(log, (uint32_t)slots);
    if (result == FIRN_OK) {
        result = reserve_ring(log, most);
    }
    return result == FIRN_OK && config->create ? firn_log_publish(log) : result;
}

int firn_log_open(firn_log **out, const firn_log_config *config) {
    *out = NULL;
    firn_log *log = firn_heap_zalloc(config->heap, sizeof *log);
    if (log == NULL || firn_doubt_init(&log->doubt) != 0) {
        firn_heap_free(config->heap, log, sizeof *log);
        return firn_detail_set(config->detail, FIRN_ENOMEM, "%s: no memory to open it",
                               config->directory);
    }
    log->heap = config->heap;
    log->detail = config->detail;
    log->fd = -1;
    log->read_only = config->read_only;
    log->store_id = config->identity.store_id;
    log->path = firn_path_join(config->heap, config->directory, FIRN_LOG_FILE);
    int result = log->path != NULL ? set_up(log, config) : FIRN_ENOMEM;
    if (result != FIRN_OK) {
        firn_log_close(log);
        return result;
    }
    *out = log;
    return FIRN_OK;
}

int firn_log_identify(const char *directory, firn_log_identity *identity, firn_heap *heap,
                      firn_detail *detail) {
    firn_log log = {.detail = detail, .path = firn_path_join(heap, directory, FIRN_LOG_FILE)};
    if (log.path == NULL) {
        return FIRN_ENOMEM;
    }
    log.fd = open(log.path, O_RDONLY | O_CLOEXEC);
    int result = log.fd >= 0 ? FIRN_OK : errno == ENOENT ? FIRN_NOT_FOUND : failed(&log, "open");
    file_header header;
    if (result == FIRN_OK) {
        result = read_header(&log, &header);
        close(log.fd);
    }
    if (result == FIRN_OK) {
        *identity = header.identity;
    }
    firn_path_free(heap, log.path);
    return result;
}

/* ---- which segment lies where ---- */

int firn_log_place(firn_log *log, uint64_t number, uint32_t slot) {
    if (number < LOAD(log->tail) || number >= head_after(log) || slot >= log->slots ||
        log->used[slot] != 0 || ring_get(log, number) != FIRN_LOG_NO_SLOT) {
        return FIRN_ECORRUPT;
    }
    ring_set(log, number, slot);
    mark_used(log, slot);
    return FIRN_OK;
}

uint32_t firn_log_slot(const firn_log *log, uint64_t number) {
    return number >= LOAD(log->tail) && number < head_after(log) ? ring_get(log, number)
                                                                 : FIRN_LOG_NO_SLOT;
}

bool firn_log_is_complete(const firn_log *log) {
    for (uint64_t number = LOAD(log->tail); number < head_after(log); number++) {
        if (ring_get(log, number) == FIRN_LOG_NO_SLOT) {
            return false;
        }
    }
    return true;
}

/* FIRN_NOT_FOUND: no segment was ever there, or its header is damaged. */
static int read_segment_header(const firn_log *log, uint32_t slot, segment_header *header) {
    if (firn_read_at(log->fd, header, sizeof *header, slot_at(log, slot)) != 0) {
        return errno == 0 ? FIRN_NOT_FOUND : failed(log, "read");
    }
    bool sound = header->magic == MAGIC &&
                 header->check == check_of(log, header, offsetof(segment_header, check)) &&
                 header->first_frame <= log->payload;
    return sound ? FIRN_OK : FIRN_NOT_FOUND;
}

/* Takes the newest segment in the file for the end, and as many before it as there are slots for
 * the rest; see trim_range. */
static int find_range(firn_log *log, uint64_t slots) {
    uint64_t newest = 0;
    segment_header header;
    for (uint32_t slot = 0; slot < slots; slot++) {
        int result = read_segment_header(log, slot, &header);
        if (result == FIRN_OK && header.number < UINT64_MAX / log->payload - 1) {
            newest = header.number > newest ? header.number : newest;
        } else if (result != FIRN_OK && result != FIRN_NOT_FOUND) {
            return result;
        }
    }
    if (newest > 0) {
        STORE(log->tail, newest > slots ? newest - slots + 1 : 1);
        STORE(log->end, (newest + 1) * log->payload);
    }
    return FIRN_OK;
}

/* What lies before a gap may have been overwritten or deleted in it, and is given up. */
static void trim_range(firn_log *log) {
    uint64_t number = head_after(log);
    while (number > LOAD(log->tail) && ring_get(log, number - 1) != FIRN_LOG_NO_SLOT) {
        number--;
    }
    while (LOAD(log->tail) < number) {
        firn_log_drop(log);
    }
}

static int place_found(firn_log *log, uint32_t slot, const segment_header *header) {
    if (header->number < LOAD(log->tail) || header->number >= head_after(log)) {
        return FIRN_OK; /* left over from an earlier turn */
    }
    uint32_t other = ring_get(log, header->number);
    if (other != FIRN_LOG_NO_SLOT) { /* a move was broken off: the later copy holds */
        segment_header rival;
        int result = read_segment_header(log, other, &rival);
        if (result != FIRN_OK && result != FIRN_NOT_FOUND) {
            return result;
        }
        if (result == FIRN_OK && rival.number == header->number && rival.moves >= header->moves) {
            return FIRN_OK;
        }
        mark_free(log, other);
    }
    ring_set(log, header->number, slot);
    mark_used(log, slot);
    return FIRN_OK;
}

int firn_log_scan(firn_log *log, bool whole) {
    uint64_t slots = slots_in_file(log);
    int result = slots < FIRN_LOG_NO_SLOT ? reserve_used(log, (uint32_t)slots) : FIRN_ECORRUPT;
    if (result == FIRN_OK && whole) {
        result = find_range(log, slots);
    }
    if (result == FIRN_OK) {
        result = reserve_ring(log, slots + 1);
    }
    if (result != FIRN_OK) {
        return result;
    }
    for (uint64_t i = 0; i <= log->ring_mask; i++) {
        STORE(log->ring[i], FIRN_LOG_NO_SLOT);
    }
    if (log->read_only) { /* the writer's file grew */
        map_file(log, file_length(log));
    }
    for (uint32_t slot = 0; slot < log->used_size; slot++) {
        log->used[slot] = 0;
    }
    log->used_count = 0;
    log->first_free = 0;
    log->slots = (uint32_t)slots > log->slots ? (uint32_t)slots : log->slots;
    for (uint32_t slot = 0; slot < slots && result == FIRN_OK; slot++) {
        segment_header header;
        result = read_segment_header(log, slot, &header);
        result = result == FIRN_OK          ? place_found(log, slot, &header)
                 : result == FIRN_NOT_FOUND ? FIRN_OK
                                            : result;
    }
    if (result == FIRN_OK && whole) {
        trim_range(log);
    }
    return result;
}

/* A writer with another budget may have begun a new file, with segments of another size. */
static bool is_replaced(const firn_log *log) {
    struct stat status;
    return fstat(log->fd, &status) == 0 && status.st_nlink == 0;
}

int firn_log_follow(firn_log *log, bool *changed) {
    position_line line;
    if (is_replaced(log)) {
        return firn_detail_set(log->detail, FIRN_EIO,
                               "%s: was removed, or made anew by a writer with another cold_bytes; "
                               "close the store and open it again",
                               log->path);
    }
    int result = read_position(log, &line);
    if (result != FIRN_OK) {
        return result;
    }
    bool moved = line.moves != log->moves;
    *changed = moved || line.tail != LOAD(log->tail) || line.end != LOAD(log->end);
    if (!*changed) {
        return FIRN_OK;
    }
    if (line.tail == 0 || line.end < line.tail * log->payload ||
        line.end / log->payload - line.tail > UINT32_MAX / 2) {
        return firn_detail_set(log->detail, FIRN_ECORRUPT, "%s: where it ends is damaged",
                               log->path);
    }
    /* The tail first: what went while nobody looked needs no place in the ring. */
    uint64_t old_after = head_after(log);
    STORE(log->tail, line.tail);
    result = reserve_ring(log, (line.end + log->payload - 1) / log->payload - line.tail);
    if (result != FIRN_OK) {
        return result;
    }
    STORE(log->end, line.end);
    log->moves = line.moves;
    for (uint64_t n = moved || old_after < line.tail ? line.tail : old_after; n < head_after(log);
         n++) {
        ring_set(log, n, FIRN_LOG_NO_SLOT);
    }
    atomic_fetch_add_explicit(&log->changes, 1, memory_order_release);
    return FIRN_OK;
}

int firn_log_set_range(firn_log *log, uint64_t tail, uint64_t end) {
    STORE(log->tail, tail);
    STORE(log->end, end);
    firn_doubt_lower(&log->doubt, end);
    return reserve_ring(log, head_after(log) - tail);
}

void firn_log_set_end(firn_log *log, uint64_t end) {
    uint64_t before = head_after(log);
    STORE(log->end, end);
    firn_doubt_lower(&log->doubt, end);
    for (uint64_t number = head_after(log); number < before; number++) {
        uint32_t slot = ring_get(log, number);
        ring_set(log, number, FIRN_LOG_NO_SLOT);
        if (slot != FIRN_LOG_NO_SLOT) {
            mark_free(log, slot);
        }
    }
}

/* ---- reading ---- */

/* Bytes read, 0 at the file's end, or -1 with errno. What a map does not cover, because the file
 * grew since or was cut, is asked of the system. */
static ssize_t read_part(firn_log *log, void *to, size_t size, uint64_t from, bool by_map) {
    uint64_t end = log->map != NULL && by_map ? readable(log) : 0;
    if (size <= end && from <= end - size) {
        memcpy(to, log->map + from, size);
        return (ssize_t)size;
    }
    ssize_t done;
    do {
        done = pread(log->fd, to, size, (off_t)from);
    } while (done < 0 && errno == EINTR);
    return done;
}

int firn_log_read(firn_log *log, uint64_t position, void *to, size_t size, size_t *got) {
    unsigned char *at = to;
    /* A small part of a large read is not: it would keep pages around it in this process's map. */
    bool by_map = size <= MAP_READ_MAX;
    *got = 0;
    while (size > 0) {
        uint64_t offset = position % log->payload;
        size_t part = size < log->payload - offset ? size : (size_t)(log->payload - offset);
        uint32_t slot = firn_log_slot(log, position / log->payload);
        if (slot == FIRN_LOG_NO_SLOT) {
            return FIRN_OK;
        }
        ssize_t done = read_part(
            log, at, part, slot_at(log, slot) + FIRN_LOG_SEGMENT_HEADER_SIZE + offset, by_map);
        if (done < 0) {
            return failed(log, "read");
        }
        if (done == 0) {
            return FIRN_OK;
        }
        at += done;
        *got += (size_t)done;
        position += (uint64_t)done;
        size -= (size_t)done;
    }
    return FIRN_OK;
}

int firn_log_first_frame(const firn_log *log, uint64_t number, uint64_t *position) {
    uint32_t slot = firn_log_slot(log, number);
    if (slot == FIRN_LOG_NO_SLOT) {
        return FIRN_NOT_FOUND;
    }
    segment_header header;
    int result = read_segment_header(log, slot, &header);
    if (result == FIRN_NOT_FOUND || (result == FIRN_OK && header.number != number)) {
        return FIRN_ECORRUPT;
    }
    *position = number * log->payload + header.first_frame;
    return result;
}

bool firn_log_is_whole(const firn_log *log) {
    uint64_t end = LOAD(log->end);
    uint64_t bytes = file_length(log);
    for (uint64_t number = LOAD(log->tail); number < head_after(log); number++) {
        uint32_t slot = ring_get(log, number);
        uint64_t filled = end - number * log->payload;
        filled = filled < log->payload ? filled : log->payload;
        if (slot != FIRN_LOG_NO_SLOT &&
            slot_at(log, slot) + FIRN_LOG_SEGMENT_HEADER_SIZE + filled > bytes) {
            return false;
        }
    }
    return true;
}

/* ---- writing ---- */

uint64_t firn_log_room(const firn_log *log) {
    uint64_t begun = LOAD(log->end) % log->payload;
    uint64_t rest = begun > 0 ? log->payload - begun : 0;
    uint64_t free = log->slots > log->used_count ? log->slots - log->used_count : 0;
    /* Segments that are lost take no slot, but a place in the ring. */
    uint64_t in_ring = head_after(log) - LOAD(log->tail);
    uint64_t places =
        firn_log_segments_max(log) > in_ring ? firn_log_segments_max(log) - in_ring : 0;
    return rest + (free < places ? free : places) * log->payload;
}

/* Where in a new segment's payload the first frame begins, when `done` bytes of those to be
 * appended come before it. */
static uint32_t first_frame_of(const firn_log *log, size_t done, size_t size,
                               const uint32_t *frames, size_t count) {
    size_t low = 0;
    size_t high = count;
    while (low < high) { /* the first frame at or after `done` */
        size_t middle = low + (high - low) / 2;
        if (frames[middle] < done) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    size_t next = low < count ? frames[low] - done : size - done;
    return next < log->payload ? (uint32_t)next : (uint32_t)log->payload;
}

static int write_part(const firn_log *log, uint32_t slot, segment_header *header,
                      const unsigned char *from, uint64_t offset, size_t part) {
    if (header == NULL) {
        return firn_write_at(log->fd, from, part,
                             slot_at(log, slot) + FIRN_LOG_SEGMENT_HEADER_SIZE + offset);
    }
    header->check = check_of(log, header, offsetof(segment_header, check));
    struct iovec parts[2] = {
        {header, sizeof *header},
        {(void *)(uintptr_t)from, part},
    };
    ssize_t done = pwritev(log->fd, parts, 2, (off_t)slot_at(log, slot));
    if (done == (ssize_t)(sizeof *header + part)) {
        return 0;
    }
    /* A short write: all of it again, which tells what is wrong. */
    if (firn_write_at(log->fd, header, sizeof *header, slot_at(log, slot)) != 0) {
        return -1;
    }
    return firn_write_at(log->fd, from, part, slot_at(log, slot) + sizeof *header);
}

static int append_all(firn_log *log, const unsigned char *from, size_t size, const uint32_t *frames,
                      size_t count) {
    size_t done = 0;
    while (done < size) {
        uint64_t position = LOAD(log->end);
        uint64_t number = position / log->payload;
        uint64_t offset = position % log->payload;
        size_t part =
            size - done < log->payload - offset ? size - done : (size_t)(log->payload - offset);
        segment_header header = {.magic = MAGIC, .number = number};
        uint32_t slot;
        if (offset == 0) {
            slot = take_slot(log, log->slots);
            if (slot == FIRN_LOG_NO_SLOT) {
                return firn_detail_set(log->detail, FIRN_ENOSPC, "%s: has no free segment",
                                       log->path);
            }
            ring_set(log, number, slot);
            header.first_frame = first_frame_of(log, done, size, frames, count);
        } else {
            slot = ring_get(log, number);
        }
        if (slot == FIRN_LOG_NO_SLOT ||
            write_part(log, slot, offset == 0 ? &header : NULL, from + done, offset, part) != 0) {
            int result = failed(log, "write");
            if (offset == 0) {
                ring_set(log, number, FIRN_LOG_NO_SLOT);
                mark_free(log, slot);
            }
            return result;
        }
        done += part;
        extend(log, slot_at(log, slot) + FIRN_LOG_SEGMENT_HEADER_SIZE + offset + part);
        STORE(log->end, position + part);
    }
    return FIRN_OK;
}

int firn_log_append(firn_log *log, const void *bytes, size_t size, const uint32_t *frames,
                    size_t count) {
    uint64_t end = LOAD(log->end);
    int result = size > 0 ? append_all(log, bytes, size, frames, count) : FIRN_OK;
    if (result != FIRN_OK) {
        firn_log_set_end(log, end);
    }
    return result;
}

static int publish(firn_log *log, uint64_t tail) {
    position_line line = {tail, LOAD(log->end), log->moves, 0};
    line.check = check_of(log, &line, offsetof(position_line, check));
    return firn_write_at(log->fd, &line, sizeof line, POSITION_AT) == 0 ? FIRN_OK
                                                                        : failed(log, "write");
}

int firn_log_publish(firn_log *log) {
    return publish(log, LOAD(log->tail));
}

int firn_log_publish_dropped(firn_log *log) {
    return publish(log, LOAD(log->tail) + 1);
}

void firn_log_drop(firn_log *log) {
    uint64_t number = LOAD(log->tail);
    uint32_t slot = ring_get(log, number);
    STORE(log->tail, number + 1);
    ring_set(log, number, FIRN_LOG_NO_SLOT);
    atomic_fetch_add_explicit(&log->changes, 1, memory_order_release);
    if (slot != FIRN_LOG_NO_SLOT) {
        mark_free(log, slot);
    }
}

void firn_log_clear(firn_log *log) {
    uint64_t after = head_after(log);
    while (LOAD(log->tail) < after) {
        firn_log_drop(log);
    }
    STORE(log->end, after * log->payload);
}

/* ---- moving and cutting ---- */

static int copy_slot(firn_log *log, uint32_t from, uint32_t to, uint64_t size,
                     unsigned char *buffer) {
    segment_header header;
    int result = read_segment_header(log, from, &header);
    if (result != FIRN_OK) {
        return result == FIRN_NOT_FOUND ? FIRN_OK : result; /* damaged: nothing to be kept */
    }
    uint64_t at = FIRN_LOG_SEGMENT_HEADER_SIZE;
    size += FIRN_LOG_SEGMENT_HEADER_SIZE;
    while (at < size) {
        size_t part = size - at < COPY_BYTES ? (size_t)(size - at) : COPY_BYTES;
        if (firn_read_at(log->fd, buffer, part, slot_at(log, from) + at) != 0) {
            return failed(log, "read");
        }
        if (firn_write_at(log->fd, buffer, part, slot_at(log, to) + at) != 0) {
            return failed(log, "write");
        }
        at += part;
    }
    extend(log, slot_at(log, to) + size);
    header.moves++;
    header.check = check_of(log, &header, offsetof(segment_header, check));
    return firn_write_at(log->fd, &header, sizeof header, slot_at(log, to)) == 0
               ? FIRN_OK
               : failed(log, "write");
}

/* Moves segments from slots behind `slots` to free ones before. */
static int move_in_front(firn_log *log, uint32_t slots, unsigned char *buffer) {
    uint64_t end = LOAD(log->end);
    for (uint64_t number = LOAD(log->tail); number < head_after(log); number++) {
        uint32_t from = ring_get(log, number);
        if (from == FIRN_LOG_NO_SLOT || from < slots) {
            continue;
        }
        uint32_t to = take_slot(log, slots);
        if (to == FIRN_LOG_NO_SLOT) {
            return FIRN_OK;
        }
        uint64_t filled = end - number * log->payload;
        int result =
            copy_slot(log, from, to, filled < log->payload ? filled : log->payload, buffer);
        if (result != FIRN_OK) {
            mark_free(log, to);
            return result;
        }
        ring_set(log, number, to);
        log->moves++;
        atomic_fetch_add_explicit(&log->changes, 1, memory_order_release);
        mark_free(log, from);
    }
    return FIRN_OK;
}

/* Gives the space of free slots at the file's end back. The file keeps its length, for a reader may
 * be about to read there from its map: from a hole it gets zeros, and finds out. */
static int punch(firn_log *log) {
    uint32_t slots = log->used_size;
    while (slots > 0 && log->used[slots - 1] == 0) {
        slots--;
    }
    if (slots >= log->reached) {
        return FIRN_OK;
    }
    uint64_t bytes = (uint64_t)(log->reached - slots) * log->segment_bytes;
    if (fallocate(log->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)slot_at(log, slots),
                  (off_t)bytes) != 0 &&
        errno != EOPNOTSUPP) {
        return failed(log, "give back space of");
    }
    log->reached = slots;
    return FIRN_OK;
}

int firn_log_set_slots(firn_log *log, uint32_t slots) {
    uint64_t most = firn_log_segments_max(log);
    slots = slots < most ? slots : (uint32_t)most;
    int result = reserve_used(log, slots);
    if (result != FIRN_OK) {
        return result;
    }
    log->slots = slots;
    if (log->reached <= slots) {
        return FIRN_OK;
    }
    bool behind = false;
    for (uint32_t slot = slots; slot < log->used_size && !behind; slot++) {
        behind = log->used[slot] != 0;
    }
    if (behind) {
        unsigned char *buffer = firn_heap_alloc(log->heap, COPY_BYTES);
        if (buffer == NULL) {
            return firn_detail_set(log->detail, FIRN_ENOMEM, "%s: no memory to move segments",
                                   log->path);
        }
        result = move_in_front(log, slots, buffer);
        firn_heap_free(log->heap, buffer, COPY_BYTES);
        firn_doubt_lower(&log->doubt, 0); /* segments anywhere were written */
        /* The copies are on the device before what they were made from is given up. */
        if (result == FIRN_OK) {
            result = firn_log_publish(log); /* who reads beside us looks for it anew */
        }
        if (result == FIRN_OK) {
            result = firn_log_sync(log);
        }
    }
    return result == FIRN_OK ? punch(log) : result;
}

int firn_log_cut(firn_log *log) {
    uint32_t slots = log->used_size;
    while (slots > 0 && log->used[slots - 1] == 0) {
        slots--;
    }
    if (slots_in_file(log) <= slots) {
        return FIRN_OK;
    }
    uint64_t bytes = slot_at(log, slots);
    atomic_store_explicit(&log->extent, bytes, memory_order_relaxed);
    if (ftruncate(log->fd, (off_t)bytes) != 0) {
        return failed(log, "cut");
    }
    log->reached = slots < log->reached ? slots : log->reached;
    return FIRN_OK;
}

/* ---- what is on the device ---- */

int firn_log_sync(firn_log *log) {
    if (log->read_only) {
        return FIRN_OK;
    }
    errno = firn_doubt_sync(&log->doubt, &log->end);
    return errno == 0 ? FIRN_OK : errno == EAGAIN ? FIRN_AGAIN : failed(log, "sync");
}

uint64_t firn_log_doubt(firn_log *log) {
    return firn_doubt_from(&log->doubt);
}

void firn_log_trust(firn_log *log) {
    firn_doubt_trust(&log->doubt, LOAD(log->end));
}

void firn_log_end_doubt(firn_log *log) {
    firn_doubt_end(&log->doubt);
}

void firn_log_set_index_doubt(firn_log *log, bool doubt) {
    firn_doubt_set_other(&log->doubt, doubt);
}

bool firn_log_index_doubt(firn_log *log) {
    return firn_doubt_other(&log->doubt);
}

int firn_log_rewrite(firn_log *log, uint64_t position, const void *bytes, size_t size) {
    const unsigned char *from = bytes;
    while (size > 0) {
        uint64_t offset = position % log->payload;
        size_t part = size < log->payload - offset ? size : (size_t)(log->payload - offset);
        uint32_t slot = firn_log_slot(log, position / log->payload);
        if (slot != FIRN_LOG_NO_SLOT && write_part(log, slot, NULL, from, offset, part) != 0) {
            return failed(log, "write");
        }
        from += part;
        position += part;
        size -= part;
    }
    return FIRN_OK;
}

int firn_log_rewrite_headers(firn_log *log, uint64_t from, uint64_t *lost) {
    file_header header;
    *lost = 0;
    int result = read_header(log, &header);
    if (result == FIRN_OK && firn_write_at(log->fd, &header, sizeof header, 0) != 0) {
        result = failed(log, "write");
    }
    if (result == FIRN_OK) {
        firn_doubt_forget_line(&log->doubt);
        result = firn_log_publish(log);
    }
    uint64_t number = from / log->payload;
    number = number > LOAD(log->tail) ? number : LOAD(log->tail);
    for (; number < head_after(log) && result == FIRN_OK; number++) {
        uint32_t slot = ring_get(log, number);
        segment_header head;
        int found = slot != FIRN_LOG_NO_SLOT ? read_segment_header(log, slot, &head) : FIRN_OK;
        if (found == FIRN_NOT_FOUND || (found == FIRN_OK && head.number != number)) {
            *lost += slot != FIRN_LOG_NO_SLOT;
        } else if (found != FIRN_OK) {
            result = found;
        } else if (slot != FIRN_LOG_NO_SLOT &&
                   firn_write_at(log->fd, &head, sizeof head, slot_at(log, slot)) != 0) {
            result = failed(log, "write");
        }
    }
    return result;
}
