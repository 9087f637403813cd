/* The file firn.page of a store: counters, latencies and the last decisions of the process that has
 * it open, for others to look at. Its layout is in docs/format.md.
 *
 * It is written by pwrite and read by pread, not mapped: a write to a mapped file may wait for the
 * device, wherever it is done, and a mapped file that somebody cuts is a signal. The process keeps
 * all of it in memory of its own, and copies it here now and then. Knows the file, not when it is
 * due, nor how numbers are gathered. */
#ifndef FIRN_OBSERVE_PAGE_H
#define FIRN_OBSERVE_PAGE_H

#include <stdbool.h>
#include <stdint.h>

#include <firn/page.h>

#include "base/heap.h"
#include "observe/decisions.h"

#define FIRN_PAGE_FILE "firn.page"

enum {
    FIRN_PAGE_FORMAT = 1,
    FIRN_PAGE_UNIT = 4096, /* the body begins there, and the decisions at a multiple of it */
    FIRN_PAGE_NUMBERS_MAX = 4096,
    FIRN_PAGE_KINDS_MAX = 256,
};

#define FIRN_PAGE_MAGIC "FIRNPAGE"

/* Little-endian, as all of it. */
typedef struct firn_page_head {
    char magic[8];
    uint32_t format;
    uint32_t unused;
    uint64_t sequence; /* odd while the page is written */
    uint64_t checksum; /* of the head with this and the sequence 0, and of the body */
    uint64_t store_id;
    uint64_t seed; /* of the hashes */
    uint64_t pid;
    uint64_t opened_ms;
    uint64_t written_ms;
    uint64_t uptime_ns;
    uint64_t next_ms;
    uint32_t closed;
    uint32_t numbers;      /* of firn_stats, at the beginning of the body */
    uint32_t kinds;        /* of latencies, behind them */
    uint32_t buckets;      /* of each, behind sum and longest */
    uint64_t decisions_at; /* offset in the file */
    uint32_t sets;         /* of decisions */
    uint32_t set_bytes;
    uint64_t zero;
} firn_page_head;

/* The checksum that the head should have. */
uint64_t firn_page_checksum(const firn_page_head *head, const void *body);
/* What the head says of sizes is possible, and that many bytes of the body there are; else 0. */
size_t firn_page_body_bytes(const firn_page_head *head);

typedef struct firn_page_writer firn_page_writer;

/* What is written beside numbers. */
typedef struct firn_page_times {
    uint64_t opened_ms;
    uint64_t written_ms;
    uint64_t uptime_ns;
    uint64_t next_ms;
    bool closed;
} firn_page_times;

/* Makes the file, or takes it over: then what it remembers of decisions goes to *decisions, which
 * nobody else has yet. FIRN_OK, FIRN_ENOMEM, or FIRN_EIO with errno: there can be no page. */
int firn_page_writer_open(firn_page_writer **writer, const char *directory, uint64_t store_id,
                          uint64_t seed, firn_decisions *decisions, firn_heap *heap);
/* writer: may be NULL. */
void firn_page_writer_close(firn_page_writer *writer);
/* One at a time. *changed: whether anything but the times did since the last. FIRN_OK or FIRN_EIO.
 */
int firn_page_writer_write(firn_page_writer *writer, const firn_stats *stats,
                           const firn_latencies *latencies, const firn_decisions *decisions,
                           const firn_page_times *times, bool *changed);

#endif
