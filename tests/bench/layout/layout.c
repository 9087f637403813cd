/* Measures ways to lay a cold tier out on disk, so that one can be chosen by figures: raw LMDB and
 * plain files, the same records for each. It knows nothing of firn but how the replays make values.
 *
 * Records are compressed before the clock starts, and have 30 bytes of header and key; what is
 * measured is the layout. Layouts, by letter:
 *
 *   R  no index: records appended to a file in slots. The ceiling that the others are held against.
 *   A  hash -> record, in one LMDB database.
 *   B  sequence -> record (appended), hash -> sequence.
 *   C  number -> segment of packed records, hash -> (segment, offset).
 *   D  packed segments in slots of a file; in LMDB hash -> (segment, offset, size), a commit a
 *      batch.
 *   E  as D, but entries of the index gather in memory and are merged in the order of hashes, and
 *      those of dropped segments are swept away at that time rather than looked up.
 *
 * Three phases: fill (an empty store), read (random, present keys, all in the page cache), steady
 * (a store at its budget, the oldest evicted while ten times the budget is written). Each prints
 * lines of JSON. Everything is synced, by the writer itself, once a second and at the end of a
 * phase. That second is one of the processor (on a busy machine, one by the wall would hold fewer
 * records, and what is written to the device for a record would tell how busy it was), or as long
 * as 300 MB of values take to compress: without the compression, some layouts would write the
 * whole budget more than once between two syncs, and seem to spare the device. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <lmdb.h>
#include <xxhash.h>
#include <zdict.h>
#include <zstd.h>

#include "../../../tools/values.h"

enum {
    HEAD_BYTES = 30,
    BATCH_RECORDS = 1024,
    BATCH_BYTES = 1 << 20,
    RECORD_MAX = (1 << 20) - 1, /* a location has 20 bits for it */
    PAGE_BYTES = 4096,
    OVERFLOW_HEAD = 16, /* LMDB's header of a run of overflow pages */
    SYNC_LOGICAL_BYTES = 300000000,
    EVICT_STEP = 64,
    TABLE_ENTRIES = 1 << 18,
    TABLE_BITS = 19,
    TABLE_TAIL = 4096, /* probes never wrap, so that slots stay in the order of hashes */
    RANGES = 16,       /* transactions a checkpoint */
    SEGMENTS_MAX = 1 << 16,
    DICTIONARY_BYTES = 16384,
    DICTIONARY_SAMPLES = 20000,
    POOL_BYTES = 64 << 20, /* of values before compression */
    TENTHS = 10,
};

typedef struct record_head {
    uint64_t sum; /* XXH3 of all that follows */
    uint64_t hash;
    uint64_t sequence;
    uint32_t payload_size;
    uint16_t spare;
} __attribute__((packed)) record_head;

_Static_assert(sizeof(record_head) == HEAD_BYTES, "a record's header has 30 bytes");

typedef struct entry {
    uint64_t hash;
    uint64_t location; /* or sequence */
} entry;

typedef struct plan {
    char layout;
    size_t size;
    size_t segment;
    size_t budget;
    const char *folder;
    const char *phases;
    double limit_seconds;
    unsigned overwrite_percent;
    unsigned sweep; /* ranges swept a checkpoint, of RANGES */
    uint64_t records;
    bool mixed; /* sizes from --size down to a sixteenth of it */
} plan;

/* Where the time goes. */
typedef struct times {
    double put;   /* composing records, and putting or writing them */
    double index; /* putting entries of the index; for E the checkpoints */
    double evict;
    double commit; /* of LMDB */
    double sync;
} times;

typedef struct segment {
    uint64_t number;
    uint64_t sequence; /* of its first record */
    uint32_t slot;
    uint32_t used;
} segment;

typedef struct store {
    const plan *asked;
    MDB_env *env;
    MDB_dbi records;
    MDB_dbi index;
    int fd;
    uint64_t next;   /* sequence */
    uint64_t oldest; /* sequence; below it all is evicted */
    size_t limit;    /* bytes in use above which the oldest are evicted */
    uint64_t window; /* sequences back to which an overwrite may reach */
    /* C */
    uint64_t segment_next;
    /* R, D, E: by number modulo the length; from segment_first to segment_next, the last open */
    segment *segments;
    uint64_t segment_first;
    uint32_t *free_slots;
    uint32_t free_slot_count;
    uint32_t slot_count;
    unsigned char *scratch; /* a batch or a segment, and a record */
    unsigned char *evicted; /* a segment that is dropped */
    /* R */
    uint64_t *locations; /* by sequence, or NULL */
    /* E */
    entry *table;
    unsigned table_count;
    size_t table_bytes; /* of records that only the table knows */
    unsigned sweep_next;
    double last_sync;      /* in seconds of the processor */
    uint64_t synced_below; /* sequence */
    times times;
} store;

/* Payloads. */
typedef struct pool {
    unsigned char *bytes;
    size_t *starts; /* count + 1 */
    size_t count;
    size_t largest;
    size_t logical; /* bytes of a value before compression, on average */
} pool;

static pool values;

static void die(const char *what, const char *why) {
    fprintf(stderr, "layout: %s: %s\n", what, why);
    exit(1);
}

static void need(int result, const char *what) {
    if (result != MDB_SUCCESS) {
        die(what, mdb_strerror(result));
    }
}

static void *need_memory(void *memory) {
    if (memory == NULL) {
        die("memory", strerror(ENOMEM));
    }
    return memory;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double cpu_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Bytes of pages that this process made dirty, less those dropped before they were written. */
static double device_bytes(void) {
    FILE *file = fopen("/proc/self/io", "r");
    if (file == NULL) {
        die("/proc/self/io", strerror(errno));
    }
    char line[128];
    unsigned long long written = 0;
    unsigned long long cancelled = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        (void)sscanf(line, "write_bytes: %llu", &written);
        (void)sscanf(line, "cancelled_write_bytes: %llu", &cancelled);
    }
    fclose(file);
    return (double)written - (double)cancelled;
}

static uint64_t mix(uint64_t z) {
    /* the finisher of splitmix64 (Steele, Lea, Flood 2014) */
    z += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* The hash of the key that a sequence writes: that of an earlier one if it overwrites. */
static uint64_t hash_of(const store *s, uint64_t sequence) {
    while (s->asked->overwrite_percent > 0 && sequence > 0) {
        uint64_t bits = mix(sequence ^ UINT64_C(0x6f76657277726974));
        if (bits % 100 >= s->asked->overwrite_percent) {
            break;
        }
        uint64_t window = sequence < s->window ? sequence : s->window;
        sequence -= 1 + (bits >> 32) % window;
    }
    return mix(sequence);
}

/* ---- values ---- */

/* If mixed, sizes lie between size and a sixteenth of it, their logarithms evenly. */
static void make_pool(size_t size, bool mixed) {
    bool dictionary = size <= 1024;
    values.count = POOL_BYTES / size;
    unsigned char *value = need_memory(malloc(size));
    size_t bound = ZSTD_compressBound(size);
    values.bytes = need_memory(malloc(POOL_BYTES + values.count * 128 + bound));
    values.starts = need_memory(malloc((values.count + 1) * sizeof *values.starts));
    ZSTD_CCtx *context = need_memory(ZSTD_createCCtx());
    ZSTD_CDict *prepared = NULL;
    if (dictionary) {
        unsigned char *samples = need_memory(malloc(DICTIONARY_SAMPLES * size));
        size_t *sizes = need_memory(malloc(DICTIONARY_SAMPLES * sizeof *sizes));
        for (unsigned i = 0; i < DICTIONARY_SAMPLES; i++) {
            make_value(UINT64_C(1) << 40 | i, samples + i * size, size);
            sizes[i] = size;
        }
        unsigned char text[DICTIONARY_BYTES];
        size_t length =
            ZDICT_trainFromBuffer(text, sizeof text, samples, sizes, DICTIONARY_SAMPLES);
        if (ZDICT_isError(length)) {
            die("dictionary", ZDICT_getErrorName(length));
        }
        prepared = need_memory(ZSTD_createCDict(text, length, 3));
        free(sizes);
        free(samples);
    }
    size_t at = 0;
    size_t logical = 0;
    for (size_t i = 0; i < values.count; i++) {
        size_t one = size;
        if (mixed) {
            one = (size_t)((double)size * exp2(-4.0 * (double)(mix(i) >> 11) / 0x1p53));
        }
        logical += one;
        make_value(i, value, one);
        values.starts[i] = at;
        size_t length =
            dictionary
                ? ZSTD_compress_usingCDict(context, values.bytes + at, bound, value, one, prepared)
                : ZSTD_compressCCtx(context, values.bytes + at, bound, value, one, 3);
        if (ZSTD_isError(length)) {
            die("compression", ZSTD_getErrorName(length));
        }
        at += length;
        values.largest = length > values.largest ? length : values.largest;
    }
    values.starts[values.count] = at;
    values.logical = logical / values.count;
    ZSTD_freeCDict(prepared);
    ZSTD_freeCCtx(context);
    free(value);
    if (values.largest + HEAD_BYTES > RECORD_MAX) {
        die("values", "a record is too large for a location");
    }
}

static size_t record_size(uint64_t sequence) {
    size_t i = sequence % values.count;
    return HEAD_BYTES + values.starts[i + 1] - values.starts[i];
}

static void compose(void *to, uint64_t sequence, uint64_t hash) {
    size_t size = record_size(sequence);
    record_head head = {
        .hash = hash, .sequence = sequence, .payload_size = (uint32_t)(size - HEAD_BYTES)};
    memcpy(to, &head, sizeof head);
    memcpy((unsigned char *)to + HEAD_BYTES, values.bytes + values.starts[sequence % values.count],
           size - HEAD_BYTES);
    head.sum = XXH3_64bits((unsigned char *)to + sizeof head.sum, size - sizeof head.sum);
    memcpy(to, &head.sum, sizeof head.sum);
}

static void check_record(const void *record, size_t room, uint64_t hash) {
    record_head head;
    memcpy(&head, record, sizeof head);
    size_t size = HEAD_BYTES + (size_t)head.payload_size;
    if (size > room || head.hash != hash ||
        head.sum !=
            XXH3_64bits((const unsigned char *)record + sizeof head.sum, size - sizeof head.sum)) {
        die("read", "a record is not what was written");
    }
}

/* ---- what the layouts share ---- */

static bool in_file(const store *s) {
    return strchr("RDE", s->asked->layout) != NULL;
}

static bool has_index(const store *s) {
    return strchr("BCDE", s->asked->layout) != NULL;
}

static bool has_records(const store *s) {
    return strchr("ABC", s->asked->layout) != NULL;
}

static int compare_entries(const void *left, const void *right) {
    const entry *a = left;
    const entry *b = right;
    if (a->hash != b->hash) {
        return a->hash > b->hash ? 1 : -1;
    }
    /* Of the same key the later write comes last. */
    return (a->location > b->location) - (a->location < b->location);
}

static void sort_entries(entry *entries, size_t count) {
    qsort(entries, count, sizeof *entries, compare_entries);
}

static MDB_val val(void *bytes, size_t size) {
    return (MDB_val){.mv_size = size, .mv_data = bytes};
}

static size_t pages_of(MDB_txn *txn, MDB_dbi dbi) {
    MDB_stat stat;
    need(mdb_stat(txn, dbi, &stat), "mdb_stat");
    return stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
}

/* Bytes in use: pages of all trees, and slots that hold a segment. */
static size_t used_bytes(store *s, MDB_txn *txn) {
    size_t bytes = 0;
    if (txn != NULL) {
        size_t pages = pages_of(txn, 0);
        pages += has_records(s) ? pages_of(txn, s->records) : 0;
        pages += has_index(s) ? pages_of(txn, s->index) : 0;
        bytes = pages * PAGE_BYTES;
    }
    if (in_file(s)) {
        bytes += (s->slot_count - s->free_slot_count) * s->asked->segment;
    }
    return bytes;
}

static void delete_key(MDB_txn *txn, MDB_dbi dbi, uint64_t key) {
    MDB_val name = val(&key, sizeof key);
    need(mdb_del(txn, dbi, &name, NULL), "mdb_del");
}

/* Removes those entries whose location is still what the index says. */
static void delete_entries(store *s, MDB_txn *txn, entry *entries, size_t count) {
    sort_entries(entries, count);
    MDB_cursor *cursor;
    need(mdb_cursor_open(txn, s->index, &cursor), "mdb_cursor_open");
    for (size_t i = 0; i < count; i++) {
        MDB_val key = val(&entries[i].hash, sizeof entries[i].hash);
        MDB_val data;
        int result = mdb_cursor_get(cursor, &key, &data, MDB_SET);
        if (result == MDB_NOTFOUND) {
            continue; /* overwritten, and the later one evicted with this segment */
        }
        need(result, "mdb_cursor_get");
        if (memcmp(data.mv_data, &entries[i].location, sizeof entries[i].location) == 0) {
            need(mdb_cursor_del(cursor, 0), "mdb_cursor_del");
        }
    }
    mdb_cursor_close(cursor);
}

static void put_entries(store *s, MDB_txn *txn, entry *entries, size_t count) {
    sort_entries(entries, count);
    MDB_cursor *cursor;
    need(mdb_cursor_open(txn, s->index, &cursor), "mdb_cursor_open");
    for (size_t i = 0; i < count; i++) {
        MDB_val key = val(&entries[i].hash, sizeof entries[i].hash);
        MDB_val data = val(&entries[i].location, sizeof entries[i].location);
        need(mdb_cursor_put(cursor, &key, &data, 0), "mdb_cursor_put");
    }
    mdb_cursor_close(cursor);
}

static MDB_txn *begin_write(store *s) {
    MDB_txn *txn;
    need(mdb_txn_begin(s->env, NULL, 0, &txn), "mdb_txn_begin");
    return txn;
}

static void sync_store(store *s) {
    double begin = now();
    if (s->fd >= 0 && fdatasync(s->fd) != 0) {
        die("fdatasync", strerror(errno));
    }
    if (s->env != NULL) {
        need(mdb_env_sync(s->env, 1), "mdb_env_sync");
    }
    s->times.sync += now() - begin;
    s->last_sync = cpu_seconds();
    s->synced_below = s->next;
}

/* ---- A ---- */

static void write_a(store *s, uint64_t first, unsigned count) {
    entry entries[BATCH_RECORDS];
    double t0 = now();
    MDB_txn *txn = begin_write(s);
    /* Leaves come free only when their neighbours can take what is left in them, so what is in use
     * falls late: without a bound, one batch would touch every page. */
    uint64_t most = s->oldest + 2 * count;
    while (used_bytes(s, txn) > s->limit && s->oldest < first && s->oldest < most) {
        for (unsigned i = 0; i < EVICT_STEP && s->oldest < first; i++, s->oldest++) {
            uint64_t hash = hash_of(s, s->oldest);
            MDB_val key = val(&hash, sizeof hash);
            MDB_val data;
            int result = mdb_get(txn, s->records, &key, &data);
            if (result == MDB_NOTFOUND) {
                continue;
            }
            need(result, "mdb_get");
            record_head head;
            memcpy(&head, data.mv_data, sizeof head);
            if (head.sequence == s->oldest) {
                delete_key(txn, s->records, hash);
            }
        }
    }
    double t1 = now();
    for (unsigned i = 0; i < count; i++) {
        entries[i] = (entry){.hash = hash_of(s, first + i), .location = first + i};
    }
    sort_entries(entries, count);
    for (unsigned i = 0; i < count; i++) {
        MDB_val key = val(&entries[i].hash, sizeof entries[i].hash);
        MDB_val data = val(NULL, record_size(entries[i].location));
        need(mdb_put(txn, s->records, &key, &data, MDB_RESERVE), "mdb_put");
        compose(data.mv_data, entries[i].location, entries[i].hash);
    }
    double t2 = now();
    need(mdb_txn_commit(txn), "mdb_txn_commit");
    double t3 = now();
    s->times.evict += t1 - t0;
    s->times.put += t2 - t1;
    s->times.commit += t3 - t2;
}

/* ---- B ---- */

static void evict_b(store *s, MDB_txn *txn, uint64_t first) {
    entry entries[EVICT_STEP];
    while (used_bytes(s, txn) > s->limit && s->oldest < first) {
        MDB_cursor *cursor;
        need(mdb_cursor_open(txn, s->records, &cursor), "mdb_cursor_open");
        unsigned count = 0;
        while (count < EVICT_STEP) {
            MDB_val key;
            MDB_val data;
            int result = mdb_cursor_get(cursor, &key, &data, MDB_FIRST);
            if (result == MDB_NOTFOUND) {
                s->oldest = first;
                break;
            }
            need(result, "mdb_cursor_get");
            record_head head;
            memcpy(&head, data.mv_data, sizeof head);
            entries[count++] = (entry){.hash = head.hash, .location = head.sequence};
            s->oldest = head.sequence + 1;
            need(mdb_cursor_del(cursor, 0), "mdb_cursor_del");
        }
        mdb_cursor_close(cursor);
        delete_entries(s, txn, entries, count);
    }
}

static void write_b(store *s, uint64_t first, unsigned count) {
    entry entries[BATCH_RECORDS];
    double t0 = now();
    MDB_txn *txn = begin_write(s);
    evict_b(s, txn, first);
    double t1 = now();
    for (unsigned i = 0; i < count; i++) {
        uint64_t sequence = first + i;
        entries[i] = (entry){.hash = hash_of(s, sequence), .location = sequence};
        MDB_val key = val(&sequence, sizeof sequence);
        MDB_val data = val(NULL, record_size(sequence));
        need(mdb_put(txn, s->records, &key, &data, MDB_RESERVE | MDB_APPEND), "mdb_put");
        compose(data.mv_data, sequence, entries[i].hash);
    }
    double t2 = now();
    sort_entries(entries, count);
    MDB_cursor *cursor;
    need(mdb_cursor_open(txn, s->index, &cursor), "mdb_cursor_open");
    for (unsigned i = 0; i < count; i++) {
        MDB_val key = val(&entries[i].hash, sizeof entries[i].hash);
        uint64_t sequence = entries[i].location;
        MDB_val data = val(&sequence, sizeof sequence);
        int result = mdb_cursor_put(cursor, &key, &data, MDB_NOOVERWRITE);
        if (result == MDB_KEYEXIST) {
            uint64_t other;
            memcpy(&other, data.mv_data, sizeof other);
            delete_key(txn, s->records, other < sequence ? other : sequence);
            sequence = other < sequence ? sequence : other;
            data = val(&sequence, sizeof sequence);
            result = mdb_cursor_put(cursor, &key, &data, 0);
        }
        need(result, "mdb_cursor_put");
    }
    mdb_cursor_close(cursor);
    double t3 = now();
    need(mdb_txn_commit(txn), "mdb_txn_commit");
    double t4 = now();
    s->times.evict += t1 - t0;
    s->times.put += t2 - t1;
    s->times.index += t3 - t2;
    s->times.commit += t4 - t3;
}

/* ---- C ---- */

/* Collects the records of a segment; offsets are put into locations by the unit. */
static entry *entries_of(const unsigned char *bytes, size_t used, size_t unit, uint64_t high,
                         unsigned shift, bool with_size, size_t *count) {
    size_t room = 1024;
    entry *entries = need_memory(malloc(room * sizeof *entries));
    *count = 0;
    size_t at = 0;
    while (at + HEAD_BYTES <= used) {
        record_head head;
        memcpy(&head, bytes + at, sizeof head);
        if (*count == room) {
            room *= 2;
            entries = need_memory(realloc(entries, room * sizeof *entries));
        }
        size_t size = HEAD_BYTES + (size_t)head.payload_size;
        entries[(*count)++] = (entry){.hash = head.hash,
                                      .location = high | (uint64_t)(at / unit) << shift |
                                                  (with_size ? (uint64_t)size : 0)};
        at += (size + unit - 1) / unit * unit;
    }
    return entries;
}

static void evict_c(store *s, MDB_txn *txn, uint64_t first) {
    while (used_bytes(s, txn) > s->limit && s->oldest < first) {
        MDB_cursor *cursor;
        need(mdb_cursor_open(txn, s->records, &cursor), "mdb_cursor_open");
        MDB_val key;
        MDB_val data;
        need(mdb_cursor_get(cursor, &key, &data, MDB_FIRST), "mdb_cursor_get");
        uint64_t number;
        memcpy(&number, key.mv_data, sizeof number);
        size_t count;
        entry *entries = entries_of(data.mv_data, data.mv_size, 1, number << 32, 0, false, &count);
        need(mdb_cursor_del(cursor, 0), "mdb_cursor_del");
        mdb_cursor_close(cursor);
        delete_entries(s, txn, entries, count);
        s->oldest += count;
        free(entries);
    }
}

static void write_c(store *s, uint64_t first, unsigned count) {
    entry entries[BATCH_RECORDS];
    double t0 = now();
    MDB_txn *txn = begin_write(s);
    evict_c(s, txn, first);
    double t1 = now();
    unsigned i = 0;
    while (i < count) {
        size_t bytes = 0;
        unsigned end = i;
        while (end < count) {
            size_t size = record_size(first + end);
            if (bytes > 0 && bytes + size > s->asked->segment - OVERFLOW_HEAD) {
                break;
            }
            bytes += size;
            end++;
        }
        uint64_t number = s->segment_next++;
        MDB_val key = val(&number, sizeof number);
        MDB_val data = val(NULL, bytes);
        need(mdb_put(txn, s->records, &key, &data, MDB_RESERVE | MDB_APPEND), "mdb_put");
        size_t at = 0;
        for (; i < end; i++) {
            uint64_t hash = hash_of(s, first + i);
            entries[i] = (entry){.hash = hash, .location = number << 32 | at};
            compose((unsigned char *)data.mv_data + at, first + i, hash);
            at += record_size(first + i);
        }
    }
    double t2 = now();
    put_entries(s, txn, entries, count);
    double t3 = now();
    need(mdb_txn_commit(txn), "mdb_txn_commit");
    double t4 = now();
    s->times.evict += t1 - t0;
    s->times.put += t2 - t1;
    s->times.index += t3 - t2;
    s->times.commit += t4 - t3;
}

/* ---- R, D, E: slots of a file ---- */

/* A location: 24 bits of the segment's number, 20 of the offset in units, 20 of the size. */
static size_t unit_of(const store *s) {
    return s->asked->segment > (size_t)1 << 20 ? s->asked->segment >> 20 : 1;
}

static segment *segment_at(const store *s, uint64_t number) {
    return &s->segments[number % SEGMENTS_MAX];
}

static void write_at(store *s, const void *bytes, size_t size, uint64_t offset) {
    if (pwrite(s->fd, bytes, size, (off_t)offset) != (ssize_t)size) {
        die("pwrite", strerror(errno));
    }
}

static uint64_t place_of(const store *s, uint64_t location) {
    uint64_t slot = segment_at(s, location >> 40)->slot;
    return slot * s->asked->segment + (location >> 20 & 0xfffff) * unit_of(s);
}

static void drop_segment(store *s, MDB_txn *txn) {
    segment *oldest = segment_at(s, s->segment_first);
    if (s->asked->layout == 'D') {
        uint64_t offset = (uint64_t)oldest->slot * s->asked->segment;
        if (pread(s->fd, s->evicted, oldest->used, (off_t)offset) != (ssize_t)oldest->used) {
            die("pread", strerror(errno));
        }
        size_t count;
        entry *entries = entries_of(s->evicted, oldest->used, unit_of(s), s->segment_first << 40,
                                    20, true, &count);
        delete_entries(s, txn, entries, count);
        free(entries);
    }
    s->free_slots[s->free_slot_count++] = oldest->slot;
    s->segment_first++;
    s->oldest = segment_at(s, s->segment_first)->sequence;
}

static void open_segment(store *s, MDB_txn *txn, uint64_t sequence) {
    uint64_t number = s->segment_next;
    double begin = now();
    segment *fresh = segment_at(s, number);
    /* The sequence is set first: dropping the last but one looks at it. */
    fresh->sequence = sequence;
    while (used_bytes(s, txn) + s->asked->segment > s->limit && s->segment_first < number) {
        drop_segment(s, txn);
    }
    s->times.evict += now() - begin;
    *fresh = (segment){.number = number, .sequence = sequence};
    fresh->slot = s->free_slot_count > 0 ? s->free_slots[--s->free_slot_count] : s->slot_count++;
    if (number - s->segment_first >= SEGMENTS_MAX || s->slot_count > SEGMENTS_MAX) {
        die("segments", "too many; make them larger");
    }
    s->segment_next++;
}

/* Writes records into the open segment, and says where they are. */
static void append_records(store *s, MDB_txn *txn, uint64_t first, unsigned count, entry *entries) {
    size_t unit = unit_of(s);
    size_t bytes = 0;
    segment *open = s->segment_next > 0 ? segment_at(s, s->segment_next - 1) : NULL;
    size_t begin = open != NULL ? open->used : 0;
    for (unsigned i = 0; i < count; i++) {
        size_t size = record_size(first + i);
        size_t padded = (size + unit - 1) / unit * unit;
        if (open == NULL || begin + bytes + padded > s->asked->segment) {
            if (bytes > 0) {
                write_at(s, s->scratch, bytes, (uint64_t)open->slot * s->asked->segment + begin);
                open->used = (uint32_t)(begin + bytes);
            }
            open_segment(s, txn, first + i);
            open = segment_at(s, s->segment_next - 1);
            begin = 0;
            bytes = 0;
        }
        uint64_t hash = hash_of(s, first + i);
        compose(s->scratch + bytes, first + i, hash);
        memset(s->scratch + bytes + size, 0, padded - size);
        entries[i] = (entry){.hash = hash,
                             .location = open->number << 40 | (begin + bytes) / unit << 20 | size};
        bytes += padded;
    }
    write_at(s, s->scratch, bytes, (uint64_t)open->slot * s->asked->segment + begin);
    open->used = (uint32_t)(begin + bytes);
}

static void write_r(store *s, uint64_t first, unsigned count) {
    entry entries[BATCH_RECORDS];
    double t0 = now();
    append_records(s, NULL, first, count, entries);
    s->times.put += now() - t0;
    for (unsigned i = 0; i < count && s->locations != NULL; i++) {
        s->locations[first + i] = entries[i].location;
    }
}

static void write_d(store *s, uint64_t first, unsigned count) {
    entry entries[BATCH_RECORDS];
    double evict_before = s->times.evict;
    double t0 = now();
    MDB_txn *txn = begin_write(s);
    append_records(s, txn, first, count, entries);
    double t1 = now();
    put_entries(s, txn, entries, count);
    double t2 = now();
    need(mdb_txn_commit(txn), "mdb_txn_commit");
    double t3 = now();
    s->times.put += t1 - t0 - (s->times.evict - evict_before);
    s->times.index += t2 - t1;
    s->times.commit += t3 - t2;
}

/* ---- E ---- */

static size_t table_slot(uint64_t hash) {
    return hash >> (64 - TABLE_BITS);
}

/* Hash 0 marks an empty slot; the keys here never have it but by a chance of one in 2^64. */
static void table_put(store *s, entry new) {
    size_t i = table_slot(new.hash);
    while (s->table[i].hash != 0 && s->table[i].hash != new.hash) {
        if (++i == ((size_t)1 << TABLE_BITS) + TABLE_TAIL) {
            die("table", "its tail is full");
        }
    }
    s->table_count += s->table[i].hash == 0;
    s->table[i] = new;
}

static bool table_get(const store *s, uint64_t hash, uint64_t *location) {
    for (size_t i = table_slot(hash); s->table[i].hash != 0; i++) {
        if (s->table[i].hash == hash) {
            *location = s->table[i].location;
            return true;
        }
    }
    return false;
}

static bool is_dropped(const store *s, uint64_t location) {
    return location >> 40 < s->segment_first;
}

/* The table's entries in order; those of dropped segments are left out. */
static entry *drain_table(store *s, size_t *count) {
    entry *sorted = need_memory(malloc((s->table_count + 1) * sizeof *sorted));
    *count = 0;
    for (size_t i = 0; i < ((size_t)1 << TABLE_BITS) + TABLE_TAIL; i++) {
        entry one = s->table[i];
        if (one.hash == 0 || is_dropped(s, one.location)) {
            continue;
        }
        /* Nearly in order already, by the table's making. */
        size_t at = (*count)++;
        for (; at > 0 && sorted[at - 1].hash > one.hash; at--) {
            sorted[at] = sorted[at - 1];
        }
        sorted[at] = one;
    }
    memset(s->table, 0, (((size_t)1 << TABLE_BITS) + TABLE_TAIL) * sizeof *s->table);
    s->table_count = 0;
    s->table_bytes = 0;
    return sorted;
}

static void sweep_range(store *s, MDB_cursor *cursor, uint64_t from, uint64_t last) {
    MDB_val key = val(&from, sizeof from);
    MDB_val data;
    int result = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);
    while (result == MDB_SUCCESS) {
        uint64_t hash;
        uint64_t location;
        memcpy(&hash, key.mv_data, sizeof hash);
        memcpy(&location, data.mv_data, sizeof location);
        if (hash > last) {
            return;
        }
        if (is_dropped(s, location)) {
            need(mdb_cursor_del(cursor, 0), "mdb_cursor_del");
        }
        result = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
    }
    if (result != MDB_NOTFOUND) {
        need(result, "mdb_cursor_get");
    }
}

static void checkpoint(store *s) {
    double begin = now();
    size_t count;
    entry *sorted = drain_table(s, &count);
    size_t at = 0;
    double committing = 0;
    double sweeping = 0;
    for (unsigned range = 0; range < RANGES; range++) {
        uint64_t from = (uint64_t)range << 60;
        uint64_t last = from | ((UINT64_C(1) << 60) - 1);
        MDB_txn *txn = begin_write(s);
        MDB_cursor *cursor;
        need(mdb_cursor_open(txn, s->index, &cursor), "mdb_cursor_open");
        double t0 = now();
        if ((range + RANGES - s->sweep_next) % RANGES < s->asked->sweep) {
            sweep_range(s, cursor, from, last);
        }
        sweeping += now() - t0;
        for (; at < count && sorted[at].hash <= last; at++) {
            MDB_val key = val(&sorted[at].hash, sizeof sorted[at].hash);
            MDB_val data = val(&sorted[at].location, sizeof sorted[at].location);
            need(mdb_cursor_put(cursor, &key, &data, 0), "mdb_cursor_put");
        }
        mdb_cursor_close(cursor);
        double t1 = now();
        need(mdb_txn_commit(txn), "mdb_txn_commit");
        committing += now() - t1;
    }
    s->sweep_next = (s->sweep_next + s->asked->sweep) % RANGES;
    free(sorted);
    s->times.commit += committing;
    s->times.evict += sweeping;
    s->times.index += now() - begin - committing - sweeping;
}

static void write_e(store *s, uint64_t first, unsigned count) {
    entry entries[BATCH_RECORDS];
    /* What is in use is asked of LMDB only when a segment is opened; a reader's snapshot serves. */
    MDB_txn *txn;
    double evict_before = s->times.evict;
    double t0 = now();
    need(mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn), "mdb_txn_begin");
    append_records(s, txn, first, count, entries);
    mdb_txn_abort(txn);
    double t1 = now();
    for (unsigned i = 0; i < count; i++) {
        table_put(s, entries[i]);
        s->table_bytes += entries[i].location & 0xfffff;
    }
    double t2 = now();
    s->times.put += t1 - t0 - (s->times.evict - evict_before);
    s->times.index += t2 - t1;
    /* A restart has to read what only the table knows, so that is bounded in bytes as well. */
    if (s->table_count + BATCH_RECORDS > TABLE_ENTRIES || s->table_bytes > s->limit / 4) {
        checkpoint(s);
    }
}

/* ---- a store ---- */

static void path_of(char *path, size_t room, const plan *asked, const char *name) {
    snprintf(path, room, "%s/%s", asked->folder, name);
}

static void open_store(store *s, const plan *asked, size_t limit, uint64_t reads) {
    memset(s, 0, sizeof *s);
    s->asked = asked;
    s->fd = -1;
    s->limit = limit;
    char path[4096];
    static const char *const names[] = {"data.mdb", "lock.mdb", "segments"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        path_of(path, sizeof path, asked, names[i]);
        unlink(path);
    }
    if (mkdir(asked->folder, 0777) != 0 && errno != EEXIST) {
        die(asked->folder, strerror(errno));
    }
    if (asked->layout != 'R') {
        need(mdb_env_create(&s->env), "mdb_env_create");
        need(mdb_env_set_mapsize(s->env, (size_t)8 << 30), "mdb_env_set_mapsize");
        need(mdb_env_set_maxdbs(s->env, 2), "mdb_env_set_maxdbs");
        need(mdb_env_open(s->env, asked->folder, MDB_NOSYNC | MDB_NORDAHEAD | MDB_NOTLS, 0666),
             asked->folder);
        MDB_txn *txn = begin_write(s);
        if (has_records(s)) {
            need(mdb_dbi_open(txn, "records", MDB_CREATE | MDB_INTEGERKEY, &s->records), "records");
        }
        if (has_index(s)) {
            need(mdb_dbi_open(txn, "index", MDB_CREATE | MDB_INTEGERKEY, &s->index), "index");
        }
        need(mdb_txn_commit(txn), "mdb_txn_commit");
    }
    if (in_file(s)) {
        path_of(path, sizeof path, asked, "segments");
        s->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        if (s->fd < 0) {
            die(path, strerror(errno));
        }
        s->segments = need_memory(calloc(SEGMENTS_MAX, sizeof *s->segments));
        s->free_slots = need_memory(calloc(SEGMENTS_MAX, sizeof *s->free_slots));
        size_t room = asked->segment > BATCH_BYTES ? asked->segment : BATCH_BYTES;
        s->scratch = need_memory(malloc(room + RECORD_MAX + 64));
        s->evicted = need_memory(malloc(asked->segment));
    }
    if (asked->layout == 'R' && reads > 0) {
        s->locations = need_memory(calloc(reads, sizeof *s->locations));
    }
    if (asked->layout == 'E') {
        s->table = need_memory(calloc(((size_t)1 << TABLE_BITS) + TABLE_TAIL, sizeof *s->table));
    }
    double record = (double)values.starts[values.count] / (double)values.count + HEAD_BYTES;
    s->window = 1 + (uint64_t)((double)asked->budget / record / 2);
    s->last_sync = cpu_seconds();
}

static void close_store(store *s) {
    if (s->env != NULL) {
        mdb_env_close(s->env);
    }
    if (s->fd >= 0) {
        close(s->fd);
    }
    free(s->segments);
    free(s->free_slots);
    free(s->scratch);
    free(s->evicted);
    free(s->locations);
    free(s->table);
}

/* Writes one batch, at most most records, and syncs if a second is over; returns their number. */
static unsigned write_batch(store *s, uint64_t most) {
    uint64_t first = s->next;
    unsigned count = 0;
    size_t bytes = 0;
    while (count < BATCH_RECORDS && count < most) {
        size_t size = record_size(first + count);
        if (count > 0 && bytes + size > BATCH_BYTES) {
            break;
        }
        bytes += size;
        count++;
    }
    switch (s->asked->layout) {
    case 'A':
        write_a(s, first, count);
        break;
    case 'B':
        write_b(s, first, count);
        break;
    case 'C':
        write_c(s, first, count);
        break;
    case 'D':
        write_d(s, first, count);
        break;
    case 'E':
        write_e(s, first, count);
        break;
    default:
        write_r(s, first, count);
        break;
    }
    s->next += count;
    if (cpu_seconds() - s->last_sync >= 1.0 ||
        (s->next - s->synced_below) * values.logical >= SYNC_LOGICAL_BYTES) {
        sync_store(s);
    }
    return count;
}

static double file_bytes(const plan *asked) {
    static const char *const names[] = {"data.mdb", "segments"};
    double bytes = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[4096];
        path_of(path, sizeof path, asked, names[i]);
        struct stat stat_of;
        if (stat(path, &stat_of) == 0) {
            bytes += (double)stat_of.st_blocks * 512;
        }
    }
    return bytes;
}

/* The free list of LMDB: records of database 0, each a count and page numbers, highest first. */
typedef struct free_list {
    size_t records;
    size_t pages;
    size_t own_pages; /* that the list itself takes */
} free_list;

static free_list look_at_free_list(store *s) {
    free_list list = {0};
    if (s->env == NULL) {
        return list;
    }
    MDB_txn *txn;
    need(mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn), "mdb_txn_begin");
    MDB_stat stat_of;
    need(mdb_stat(txn, 0, &stat_of), "mdb_stat");
    list.records = stat_of.ms_entries;
    list.own_pages = pages_of(txn, 0);
    MDB_cursor *cursor;
    need(mdb_cursor_open(txn, 0, &cursor), "mdb_cursor_open");
    MDB_val key;
    MDB_val data;
    while (mdb_cursor_get(cursor, &key, &data, MDB_NEXT) == MDB_SUCCESS) {
        size_t count;
        memcpy(&count, data.mv_data, sizeof count);
        list.pages += count;
    }
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    return list;
}

static size_t entries_held(store *s) {
    if (s->env == NULL) {
        return 0;
    }
    MDB_txn *txn;
    need(mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn), "mdb_txn_begin");
    MDB_stat stat_of;
    need(mdb_stat(txn, has_index(s) ? s->index : s->records, &stat_of), "mdb_stat");
    mdb_txn_abort(txn);
    return stat_of.ms_entries;
}

static void tell_head(const char *phase, const plan *asked) {
    printf("{\"phase\": \"%s\", \"layout\": \"%c\", \"size\": %zu, \"segment\": %zu, "
           "\"overwrite\": %u, \"sweep\": %u, \"mixed\": %s",
           phase, asked->layout, asked->size, strchr("AB", asked->layout) ? 0 : asked->segment,
           asked->overwrite_percent, asked->layout == 'E' ? asked->sweep : 0,
           asked->mixed ? "true" : "false");
}

static void tell_work(uint64_t records, double seconds, double cpu, double device, const times *t) {
    double logical = (double)records * (double)values.logical;
    printf(", \"records\": %llu, \"seconds\": %.3f, \"records_s\": %.0f, \"logical_mb_s\": %.1f, "
           "\"cpu_us_record\": %.3f, \"device_over_logical\": %.3f, \"put_s\": %.3f, "
           "\"index_s\": %.3f, \"evict_s\": %.3f, \"commit_s\": %.3f, \"sync_s\": %.3f",
           (unsigned long long)records, seconds, (double)records / seconds, logical / seconds / 1e6,
           cpu / (double)records * 1e6, device / logical, t->put, t->index, t->evict, t->commit,
           t->sync);
}

/* ---- phases ---- */

static void fill(store *s) {
    double begin = now();
    double cpu = cpu_seconds();
    double device = device_bytes();
    double stop = begin + s->asked->limit_seconds;
    while (s->next < s->asked->records && now() < stop) {
        write_batch(s, s->asked->records - s->next);
    }
    if (s->asked->layout == 'E') {
        checkpoint(s);
    }
    sync_store(s);
    double seconds = now() - begin;
    cpu = cpu_seconds() - cpu;
    device = device_bytes() - device;
    double bytes = file_bytes(s->asked);
    tell_head("fill", s->asked);
    tell_work(s->next, seconds, cpu, device, &s->times);
    double logical = (double)s->next * (double)values.logical;
    printf(", \"record_bytes\": %.1f, \"disk_mb\": %.1f, \"disk_over_logical\": %.4f, "
           "\"complete\": %s}\n",
           (double)values.starts[values.count] / (double)values.count + HEAD_BYTES, bytes / 1e6,
           bytes / logical, s->next == s->asked->records ? "true" : "false");
}

static void read_one(store *s, MDB_txn *txn, uint64_t sequence, const unsigned char *map,
                     unsigned char *buffer) {
    uint64_t hash = hash_of(s, sequence);
    MDB_val key = val(&hash, sizeof hash);
    MDB_val data;
    uint64_t location;
    if (s->asked->layout == 'A') {
        need(mdb_get(txn, s->records, &key, &data), "mdb_get");
        check_record(data.mv_data, data.mv_size, hash);
        return;
    }
    if (s->asked->layout == 'R') {
        location = s->locations[sequence];
    } else if (s->asked->layout != 'E' || !table_get(s, hash, &location)) {
        need(mdb_get(txn, s->index, &key, &data), "mdb_get");
        memcpy(&location, data.mv_data, sizeof location);
    }
    if (s->asked->layout == 'B') {
        key = val(&location, sizeof location);
        need(mdb_get(txn, s->records, &key, &data), "mdb_get");
        check_record(data.mv_data, data.mv_size, hash);
    } else if (s->asked->layout == 'C') {
        uint64_t number = location >> 32;
        size_t offset = location & 0xffffffff;
        key = val(&number, sizeof number);
        need(mdb_get(txn, s->records, &key, &data), "mdb_get");
        check_record((unsigned char *)data.mv_data + offset, data.mv_size - offset, hash);
    } else if (map != NULL) {
        check_record(map + place_of(s, location), location & 0xfffff, hash);
    } else {
        size_t size = location & 0xfffff;
        if (pread(s->fd, buffer, size, (off_t)place_of(s, location)) != (ssize_t)size) {
            die("pread", strerror(errno));
        }
        check_record(buffer, size, hash);
    }
}

static void read_randomly(store *s, bool by_map) {
    unsigned char *map = NULL;
    size_t map_bytes = s->slot_count * s->asked->segment;
    if (by_map) {
        map = mmap(NULL, map_bytes, PROT_READ, MAP_SHARED, s->fd, 0);
        if (map == MAP_FAILED) {
            die("mmap", strerror(errno));
        }
    }
    unsigned char *buffer = need_memory(malloc(RECORD_MAX));
    MDB_txn *txn = NULL;
    if (s->env != NULL) {
        need(mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn), "mdb_txn_begin");
        mdb_txn_reset(txn);
    }
    /* Once before the clock starts: pages of maps are entered. Then for a second and a half. */
    for (uint64_t i = 0; i < s->next; i++) {
        if (txn != NULL) {
            need(mdb_txn_renew(txn), "mdb_txn_renew");
        }
        read_one(s, txn, i, map, buffer);
        if (txn != NULL) {
            mdb_txn_reset(txn);
        }
    }
    double begin = now();
    double seconds = 0;
    double cpu = cpu_seconds();
    uint64_t reads = 0;
    uint64_t random = 1;
    while (seconds < 1.5) {
        for (unsigned i = 0; i < 64; i++) {
            random = mix(random);
            if (txn != NULL) {
                need(mdb_txn_renew(txn), "mdb_txn_renew");
            }
            read_one(s, txn, random % s->next, map, buffer);
            if (txn != NULL) {
                mdb_txn_reset(txn);
            }
        }
        reads += 64;
        seconds = now() - begin;
    }
    cpu = cpu_seconds() - cpu;
    tell_head("read", s->asked);
    printf(", \"way\": \"%s\", \"reads_s\": %.0f, \"logical_mb_s\": %.1f, \"cpu_us_read\": %.3f}\n",
           by_map ? "mmap" : (s->fd >= 0 ? "pread" : "lmdb"), (double)reads / seconds,
           (double)reads * (double)values.logical / seconds / 1e6, cpu / (double)reads * 1e6);
    if (txn != NULL) {
        mdb_txn_abort(txn);
    }
    if (by_map) {
        munmap(map, map_bytes);
    }
    free(buffer);
}

/* Fills a store to its budget, then writes ten times the budget in bytes of records. */
static void steady(store *s) {
    double start = now();
    double stop = start + s->asked->limit_seconds;
    while (s->oldest == 0 && now() < stop) {
        write_batch(s, UINT64_MAX);
    }
    sync_store(s);
    double filled = now() - start;
    double record_bytes = (double)values.starts[values.count] / (double)values.count + HEAD_BYTES;
    uint64_t tenth = (uint64_t)((double)s->asked->budget / record_bytes) + 1;
    double file_most = 0;
    unsigned done = 0;
    uint64_t records = 0;
    double device_all = device_bytes();
    double cpu_all = cpu_seconds();
    times all = {0};
    double begin_all = now();
    stop = begin_all + s->asked->limit_seconds;
    for (; done < TENTHS && now() < stop; done++) {
        uint64_t before = s->next;
        uint64_t end = before + tenth;
        double begin = now();
        double cpu = cpu_seconds();
        double device = device_bytes();
        s->times = (times){0};
        while (s->next < end && now() < stop) {
            write_batch(s, end - s->next);
        }
        sync_store(s);
        double seconds = now() - begin;
        cpu = cpu_seconds() - cpu;
        device = device_bytes() - device;
        all.put += s->times.put;
        all.index += s->times.index;
        all.evict += s->times.evict;
        all.commit += s->times.commit;
        all.sync += s->times.sync;
        free_list list = look_at_free_list(s);
        double bytes = file_bytes(s->asked);
        file_most = bytes > file_most ? bytes : file_most;
        tell_head("steady", s->asked);
        tell_work(s->next - before, seconds, cpu, device, &s->times);
        printf(", \"tenth\": %u, \"at_s\": %.2f, \"part\": %.3f, \"file_mb\": %.1f, "
               "\"free_records\": %zu, \"free_pages\": %zu, \"free_own_pages\": %zu, "
               "\"live\": %llu, \"entries\": %zu}\n",
               done + 1, now() - begin_all, (double)(s->next - before) / (double)tenth, bytes / 1e6,
               list.records, list.pages, list.own_pages, (unsigned long long)(s->next - s->oldest),
               entries_held(s));
        fflush(stdout);
        records += s->next - before;
    }
    if (records == 0) {
        return;
    }
    tell_head("steady_total", s->asked);
    tell_work(records, now() - begin_all, cpu_seconds() - cpu_all, device_bytes() - device_all,
              &all);
    double logical_live = (double)(s->next - s->oldest) * (double)values.logical;
    printf(", \"fill_s\": %.2f, \"times_budget\": %.2f, \"file_mb\": %.1f, \"live\": %llu, "
           "\"disk_over_logical\": %.4f, \"complete\": %s}\n",
           filled, (double)records / (double)tenth, file_most / 1e6,
           (unsigned long long)(s->next - s->oldest), file_most / logical_live,
           records == TENTHS * tenth ? "true" : "false");
}

static size_t number_of(const char *text) {
    char *end;
    unsigned long long number = strtoull(text, &end, 10);
    switch (*end) {
    case 'G':
        number <<= 10; /* falls through */
        __attribute__((fallthrough));
    case 'M':
        number <<= 10;
        __attribute__((fallthrough));
    case 'K':
        number <<= 10;
        end++;
        break;
    default:
        break;
    }
    if (end == text || *end != '\0' || number == 0) {
        die(text, "not a number above 0 (suffixes K, M, G)");
    }
    return number;
}

static const char usage[] =
    "Usage: layout --layout R|A|B|C|D|E --size BYTES --dir FOLDER [--segment BYTES] [--records N]\n"
    "    [--budget BYTES] [--limit SECONDS] [--overwrite PERCENT] [--sweep RANGES] [--mixed]\n"
    "    [--phases fill,read,steady]\n"
    "FOLDER is made, and a store in it overwritten. --limit bounds each phase that writes.\n";

int main(int argc, char **argv) {
    plan asked = {.budget = (size_t)256 << 20,
                  .phases = "fill,read,steady",
                  .limit_seconds = 60,
                  .sweep = RANGES / 4};
    static const struct option known[] = {
        {"layout", required_argument, NULL, 'l'},  {"size", required_argument, NULL, 's'},
        {"dir", required_argument, NULL, 'd'},     {"segment", required_argument, NULL, 'g'},
        {"records", required_argument, NULL, 'n'}, {"budget", required_argument, NULL, 'b'},
        {"limit", required_argument, NULL, 't'},   {"overwrite", required_argument, NULL, 'o'},
        {"mixed", no_argument, NULL, 'm'},         {"sweep", required_argument, NULL, 'w'},
        {"phases", required_argument, NULL, 'p'},  {NULL, 0, NULL, 0}};
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (option) {
        case 'l':
            asked.layout = optarg[0];
            break;
        case 's':
            asked.size = number_of(optarg);
            break;
        case 'd':
            asked.folder = optarg;
            break;
        case 'g':
            asked.segment = number_of(optarg);
            break;
        case 'n':
            asked.records = number_of(optarg);
            break;
        case 'b':
            asked.budget = number_of(optarg);
            break;
        case 't':
            asked.limit_seconds = (double)number_of(optarg);
            break;
        case 'o':
            asked.overwrite_percent = (unsigned)number_of(optarg);
            break;
        case 'm':
            asked.mixed = true;
            break;
        case 'w':
            asked.sweep = (unsigned)number_of(optarg);
            break;
        case 'p':
            asked.phases = optarg;
            break;
        default:
            fputs(usage, stderr);
            return 2;
        }
    }
    if (asked.size == 0 || asked.size > POOL_BYTES || asked.folder == NULL ||
        asked.layout == '\0' || strchr("RABCDE", asked.layout) == NULL ||
        asked.overwrite_percent > 90 || asked.sweep > RANGES) {
        fputs(usage, stderr);
        return 2;
    }
    if (asked.segment == 0) {
        asked.segment = asked.layout == 'C' ? (size_t)64 << 10 : (size_t)1 << 20;
    }
    make_pool(asked.size, asked.mixed);
    if (asked.records == 0) {
        /* About 200 MiB of values of 256 B, and 160 MiB of records at most above. */
        double record = (double)values.starts[values.count] / (double)values.count + HEAD_BYTES;
        double most = (double)(160 << 20) / record;
        asked.records = most > 1e6 ? 1000000 : (uint64_t)most;
    }
    if (in_file(&(store){.asked = &asked}) && values.largest + HEAD_BYTES > asked.segment) {
        die("segment", "smaller than the largest record");
    }
    store s;
    if (strstr(asked.phases, "fill") != NULL || strstr(asked.phases, "read") != NULL) {
        open_store(&s, &asked, SIZE_MAX / 2, asked.records);
        fill(&s);
        if (strstr(asked.phases, "read") != NULL) {
            read_randomly(&s, false);
            if (in_file(&s)) {
                read_randomly(&s, true);
            }
        }
        close_store(&s);
        fflush(stdout);
    }
    if (strstr(asked.phases, "steady") != NULL) {
        open_store(&s, &asked, asked.budget / 16 * 15, 0);
        steady(&s);
        close_store(&s);
    }
    free(values.bytes);
    free(values.starts);
    return 0;
}
