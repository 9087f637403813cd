/* How long things take, what changed between two looks, and all of it as a text for Prometheus.
 *
 * Latencies are always measured. What takes microseconds is timed each time; what takes less is
 * timed now and then, for a look at the clock takes a third as long as a hit in memory. What
 * firn_stats counts is exact either way. For events as they come, see firn/observe.h.
 */
#ifndef FIRN_METRICS_H
#define FIRN_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include <firn/error.h>
#include <firn/stats.h>

#ifdef __cplusplus
extern "C" {
#endif

struct firn_cache;

/* What is timed: ONE(NAME, "name", one of so many at the most, "what it is"). A new one is one
 * line, at the end. */
#define FIRN_LATENCIES(ONE)                                                                        \
    ONE(GET_HOT, "get_hot", 1024, "a get that was answered by the hot tier")                       \
    ONE(GET_COLD, "get_cold", 16, "a get that was answered by the cold tier, with the promotion")  \
    ONE(GET_MISS, "get_miss", 1024, "a get that was answered by neither tier")                     \
    ONE(GET_MANY, "get_many", 1024, "a call of firn_get_many")                                     \
    ONE(PUT, "put", 64, "a put; one that waits for the disk is always timed")                      \
    ONE(DELETE, "delete", 64, "a delete")                                                          \
    ONE(FLUSH, "flush", 1, "a call of firn_flush")                                                 \
    ONE(COLD_READ, "cold_read", 1, "a look for an entry below that the filter let through")        \
    ONE(COLD_READ_MANY, "cold_read_many", 1, "a look for up to 128 entries at once")               \
    ONE(COLD_WRITE, "cold_write", 1,                                                               \
        "a batch: compressed, appended to the log, and what gives way to it")                      \
    ONE(DEMOTION, "demotion", 1,                                                                   \
        "from when the first of a batch was queued until it was committed")                        \
    ONE(SYNC, "sync", 1, "the store is pushed to the device")                                      \
    ONE(BACKPRESSURE, "backpressure", 1, "a put writes batches, for the disk is behind")           \
    ONE(RECLAIM, "reclaim", 1, "the oldest segment of the log gives way")

enum {
#define FIRN_LATENCY_NUMBER(name, word, every, help) FIRN_LATENCY_##name,
    FIRN_LATENCIES(FIRN_LATENCY_NUMBER)
#undef FIRN_LATENCY_NUMBER
        FIRN_LATENCY_COUNT
};

/* Buckets: sixteen for each power of two nanoseconds, from 0 to 18 minutes; what takes longer is in
 * the last. So a quantile is at most a sixteenth too high. */
enum { FIRN_LATENCY_BUCKETS = 592 };

/* How often which time was taken. */
typedef struct firn_latency {
    uint64_t sum_ns; /* of all */
    uint64_t max_ns; /* the longest; in a difference no longer than about that */
    uint64_t counts[FIRN_LATENCY_BUCKETS];
} firn_latency;

/* All of a cache, from firn_open on. Some 60 KiB: set size to sizeof(firn_latencies), nothing else
 * need be set. */
typedef struct firn_latencies {
    size_t size;
    firn_latency of[FIRN_LATENCY_COUNT]; /* grows at its end */
} firn_latencies;

/* Fills in as much of *latencies as its size says it has room for. Safe from any thread; what is
 * timed meanwhile may be there in part. FIRN_OK, or FIRN_EINVAL: a pointer is NULL, or the size is
 * less than that of the size. */
FIRN_API int firn_get_latencies(struct firn_cache *cache, firn_latencies *latencies);

/* The name of number `kind`, counting from 0, as a word; NULL beyond the last. What it is, in
 * words; one of how many is timed at the least seldom. Safe from any thread, as all below. */
FIRN_API const char *firn_latency_name(unsigned kind);
FIRN_API const char *firn_latency_help(unsigned kind);
FIRN_API unsigned firn_latency_every(unsigned kind);

/* How many were timed; their mean, 0 of none. */
FIRN_API uint64_t firn_latency_count(const firn_latency *latency);
FIRN_API uint64_t firn_latency_mean_ns(const firn_latency *latency);
/* The time that a share of all (0 to 1: 0.5, 0.99) did not exceed, at most a sixteenth too high; 0
 * of none. */
FIRN_API uint64_t firn_latency_quantile_ns(const firn_latency *latency, double share);
/* The longest time that a bucket counts; UINT64_MAX for the last. */
FIRN_API uint64_t firn_latency_bucket_ns(unsigned bucket);

/* What came between two looks at the same cache, of which `before` was the earlier. The sizes of
 * both are looked at; difference->size is set by the caller, and may be the same struct as one of
 * them. What one of them does not have is 0. In firn_stats, states of now are those of `after`. */
FIRN_API void firn_latencies_delta(const firn_latencies *before, const firn_latencies *after,
                                   firn_latencies *difference);
FIRN_API void firn_stats_delta(const firn_stats *before, const firn_stats *after,
                               firn_stats *difference);

/* Of a field of firn_stats, by its number as in firn_stats_field: not 0 if it counts and only
 * grows, 0 if it is a state of now. And what it is, in words; NULL beyond the last. */
FIRN_API int firn_stats_is_counter(unsigned index);
FIRN_API const char *firn_stats_help(unsigned index);

/* Writes everything in the text format of Prometheus, version 0.0.4: firn_..., counters that end in
 * _total, and a histogram firn_operation_seconds with a label for what is timed.
 *
 * latencies  may be NULL: the counters only
 * store      value of the label "store" on each line; any bytes, as text; NULL: no such label
 * write      gets the text in pieces, in order; not 0: enough
 *
 * FIRN_OK; FIRN_EINVAL: stats or write is NULL, or a size is wrong; else what write gave. */
FIRN_API int firn_write_metrics(const firn_stats *stats, const firn_latencies *latencies,
                                const char *store,
                                int (*write)(void *context, const char *text, size_t size),
                                void *context);

#ifdef __cplusplus
}
#endif

#endif
