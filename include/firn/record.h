/* Recording what a running program asks of its cache, to try other sizes and policies on it later:
 * see firn(1), replay.
 *
 * Of a part of the keys, chosen by their hashes, every get, put and delete is noted: when, the
 * key's hash, what a get found, sizes, lifetime and cost. Keys and values are not in the file, and
 * hashes depend on a random number of the cache or its store that is not in it either; who has that
 * store can tell whether a key they guess was used, and who has the file can tell how often some
 * key was.
 *
 *     firn_record_options options = FIRN_RECORD_OPTIONS_INIT;
 *     options.sampling_rate = 0.05;
 *     firn_record_start(cache, "today.trace", &options);
 *     ...
 *     firn_record_stop(cache);
 */
#ifndef FIRN_RECORD_H
#define FIRN_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include <firn/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct firn_cache;

/* What was done. */
enum {
    FIRN_ACCESS_HOT_HIT = 0, /* a get that the hot tier answered */
    FIRN_ACCESS_COLD_HIT = 1,
    FIRN_ACCESS_MISS = 2,
    FIRN_ACCESS_PUT = 3, /* of any kind that succeeded */
    FIRN_ACCESS_DELETE = 4
};

typedef struct firn_record_options {
    size_t size;             /* sizeof(firn_record_options) */
    double sampling_rate;    /* the part of all keys: above 0, up to 1. 0: the default, 0.01 */
    uint64_t file_bytes_max; /* when the file comes to that, recording ends by itself. 0: the
                                default, 1 GiB; at least 64 KiB */
} firn_record_options;

#define FIRN_RECORD_OPTIONS_INIT                                                                   \
    { sizeof(firn_record_options), 0, 0 }

typedef struct firn_record_stats {
    size_t size;         /* sizeof(firn_record_stats) */
    uint64_t recording;  /* 1: now */
    uint64_t recorded;   /* accesses that are in the file, of this recording or the last */
    uint64_t dropped;    /* accesses that came faster than the background work took them */
    uint64_t file_bytes; /* of the file */
} firn_record_stats;

#define FIRN_RECORD_STATS_INIT                                                                     \
    { sizeof(firn_record_stats), 0, 0, 0, 0 }

/* Begins to record into a new file at path, which only its owner may read. Notes wait in a buffer
 * of 512 KiB until the background thread, or firn_run, compresses and writes them; a get never
 * waits for that: when the buffer is full its note is dropped, and counted. After a crash the file
 * is whole up to about a second before it. firn_get_many, firn_get_copy and the like count as gets;
 * reading through cursors and streams is not recorded. Takes some 2 MiB until firn_record_stop.
 * options NULL: defaults. Safe from any thread.
 *
 * FIRN_EINVAL     NULL, an option out of bounds, or it is recording already
 * FIRN_EREADONLY  the cache is read-only, or the folder cannot be written
 * FIRN_EIO        the file is there already, or the system refused; the last message tells
 * FIRN_ENOSPC, FIRN_ENOMEM */
FIRN_API FIRN_NODISCARD int firn_record_start(struct firn_cache *cache, const char *path,
                                              const firn_record_options *options);

/* Ends it, after what was noted is written. firn_close does so too. Safe from any thread.
 *
 * FIRN_NOT_FOUND          it is not recording
 * FIRN_EIO, FIRN_ENOSPC   the file could not be written to its end: what is there is whole */
FIRN_API int firn_record_stop(struct firn_cache *cache);

/* Fills *stats up to stats->size, which the caller sets. Safe from any thread. FIRN_EINVAL: NULL,
 * or a size that cannot be. */
FIRN_API int firn_record_get_stats(struct firn_cache *cache, firn_record_stats *stats);

/* ---- reading a recording ---- */

typedef struct firn_recording firn_recording;

typedef struct firn_recording_info {
    size_t size;           /* sizeof(firn_recording_info) */
    uint64_t started_ms;   /* since 1970 */
    uint64_t hot_bytes;    /* of the cache, when the recording began */
    uint64_t cold_bytes;   /* 0: it had no cold tier */
    double sampling_rate;  /* the part of all keys that is recorded */
    uint64_t dropped;      /* up to where was read: see firn_record_stats */
    unsigned is_cut_short; /* not 0: the end was read, and the last block is not whole, as after a
                              crash */
} firn_recording_info;

#define FIRN_RECORDING_INFO_INIT                                                                   \
    { sizeof(firn_recording_info), 0, 0, 0, 0, 0, 0 }

typedef struct firn_access {
    unsigned what;       /* FIRN_ACCESS_... */
    uint64_t time_ms;    /* since 1970, by the clock of the cache */
    uint64_t key_hash;   /* another one after the store was made anew, or for a memory-only cache */
    uint64_t value_size; /* bytes, of a hit or a put */
    uint64_t charge;     /* what the entry counts for in the hot tier, bytes, of a hit or a put */
    uint64_t ttl_ms;     /* of a put: its lifetime; 0: no end */
    uint64_t cost_us;    /* of a put: see firn_put_options; 0: not told */
} firn_access;

/* error_buffer, of error_size bytes, gets what is wrong; may be NULL. Release with
 * firn_recording_close. For one thread at a time.
 *
 * FIRN_EINVAL    NULL
 * FIRN_ECORRUPT  not a recording, or a damaged one
 * FIRN_EVERSION  of a later version of firn
 * FIRN_EIO       it cannot be read
 * FIRN_ENOMEM */
FIRN_API FIRN_NODISCARD int firn_recording_open(firn_recording **recording, const char *path,
                                                char *error_buffer, size_t error_size);

/* The next access, in the order in which they were noted. FIRN_OK; FIRN_NOT_FOUND: the end, also of
 * a file that ends in the midst of a block; FIRN_ECORRUPT: it is damaged from here on; FIRN_EIO. */
FIRN_API FIRN_NODISCARD int firn_recording_next(firn_recording *recording, firn_access *access);

/* Fills *info up to info->size, which the caller sets. FIRN_EINVAL: NULL, or a size that cannot
 * be. */
FIRN_API int firn_recording_get_info(const firn_recording *recording, firn_recording_info *info);

/* NULL is ignored. */
FIRN_API void firn_recording_close(firn_recording *recording);

#ifdef __cplusplus
}
#endif

#endif
