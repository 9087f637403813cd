/* What a cache counts. Every entry that leaves the cache without the program's doing is counted
 * under the reason it left. */
#ifndef FIRN_STATS_H
#define FIRN_STATS_H

#include <stddef.h>
#include <stdint.h>

#include <firn/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Counters run from firn_open. Names ending in _bytes are bytes; `hot_bytes`, `hot_entries`,
 * `queued_...`, `pinned_...`, `cold_entries`, `cold_..._bytes` and `warming` are states of now. */
typedef struct firn_stats {
    size_t size; /* sizeof(firn_stats) */

    /* requests */
    uint64_t gets;      /* firn_get and firn_get_copy */
    uint64_t hot_hits;  /* of those, answered by the hot tier */
    uint64_t cold_hits; /* of those, answered by the cold tier */
    uint64_t misses;    /* of those, answered by neither */
    uint64_t puts;      /* successful */
    uint64_t deletes;   /* that found an entry */

    /* hot tier */
    uint64_t hot_bytes_max;  /* the budget */
    uint64_t hot_bytes;      /* held now, with all overhead and the queue */
    uint64_t hot_entries;    /* resident now */
    uint64_t queued_entries; /* waiting for their batch now */
    uint64_t queued_bytes;   /* and the bytes they take */
    uint64_t detached_bytes; /* objects that only the program still holds, outside the budget */
    uint64_t evictions;      /* entries that left the hot tier to make room */

    /* movements */
    uint64_t demotions;       /* entries written to the cold tier because they left the hot one */
    uint64_t clean_demotions; /* entries that left the hot tier and were below already */
    uint64_t writes;          /* entries written below for any reason, demotions included */
    uint64_t promotions;      /* entries that came up on a cold hit */
    uint64_t promotions_declined; /* cold hits that were served without coming up */
    uint64_t warmed;              /* entries that came up after a restart */
    uint64_t warming;             /* entries of the warm list that are still to come */

    /* entries that were lost, by cause */
    uint64_t dropped_memory_only; /* evicted or not admitted, and there is no cold tier, or none
                                     that takes it */
    uint64_t
        dropped_backpressure;   /* evicted while the queue was full, with FIRN_BACKPRESSURE_DROP */
    uint64_t dropped_too_large; /* could not be fitted into the cold tier */
    uint64_t reclaimed;         /* taken from the cold tier's old end to keep its budget */
    uint64_t reclaimed_hot;     /* of those, still in the hot tier: not lost */
    uint64_t expired;           /* found expired and removed */
    uint64_t collisions;        /* lost to another key with the same 64-bit hash */
    uint64_t damaged;           /* records whose checksum or form was wrong */

    /* waiting */
    uint64_t backpressure_waits; /* puts that had to write a batch themselves */
    uint64_t backpressure_ns;    /* nanoseconds they spent on it */

    /* cold tier */
    uint64_t cold_bytes_max;    /* the budget */
    uint64_t cold_entries;      /* valid records: entries, and each piece of a stream as one more;
                                   firn_store_get_info tells them apart */
    uint64_t cold_live_bytes;   /* pages in use */
    uint64_t cold_file_bytes;   /* size of the data file */
    uint64_t cold_commits;      /* write transactions */
    uint64_t cold_value_bytes;  /* value bytes written to records, before compression */
    uint64_t cold_stored_bytes; /* the same after compression */
    uint64_t write_errors;      /* batches that could not be written; they are tried again */
    uint64_t read_errors;       /* reads below that failed for another reason than damage */
    uint64_t syncs;             /* times the store was synced to the device */
    uint64_t journal_entries;   /* invalidations that wait in the journal now */
    uint64_t cold_filter_bytes; /* memory of the filter of what is there */

    /* values of types */
    uint64_t dropped_unencoded; /* left memory, and their type has no bytes for them: lost */
    uint64_t decode_failures;   /* read below, and their type refused the bytes: misses */

    /* pins */
    uint64_t pinned_entries; /* now */
    uint64_t pinned_bytes;   /* of hot_bytes, now */

    /* links */
    uint64_t links;       /* now, also those of entries on disk */
    uint64_t link_bytes;  /* memory for them, now, beside hot_bytes */
    uint64_t invalidated; /* entries deleted because what they depend on changed */
    uint64_t unkept;      /* owned entries deleted because nothing keeps them any more, and entries
                             that were deleted with what they kept, when that was lost */
    uint64_t interned;    /* entries in memory whose value is shared, now */
    uint64_t interned_saved; /* bytes of values that are in memory once less for it, now */
    uint64_t circles;        /* owned entries deleted because only their like kept them */

    /* circles of values: see firn_collect */
    uint64_t collections;       /* rounds of the collector */
    uint64_t collected_objects; /* whose values were dropped because only each other held them */
    uint64_t collected_bytes;   /* and the bytes they took */

    /* watching: see firn/observe.h */
    uint64_t notices_lost; /* decisions that the listener was not told of, for too many waited */

    uint64_t cleared; /* entries that were found cleared (see firn/clear.h) and removed */

    /* loading: see firn/load.h */
    uint64_t loads;         /* values that loaders were asked for */
    uint64_t load_failures; /* of those, that ended with an error */
    uint64_t loads_joined;  /* callers who waited for another's load */
    uint64_t load_ns;       /* nanoseconds that loaders took */
    uint64_t refreshes;     /* of the loads, those of entries that were there, fresh or stale */
    uint64_t stale_served;  /* callers who were given a stale value; in misses too */
    uint64_t negative_hits; /* callers who were told without a load that the source has no value; in
                               misses too */

    uint64_t page_errors; /* times that firn.page could not be made or written */

    /* what policies refused: see firn/tiering.h */
    uint64_t admissions_refused; /* new entries that got no place in memory */
    uint64_t demotions_refused;  /* entries that had to leave memory, or were not admitted to it,
                                    and were not written below either: lost */
} firn_stats;

#define FIRN_STATS_INIT                                                                            \
    {                                                                                              \
        sizeof(firn_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,   \
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, \
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0                                         \
    }

/* The name of field number `index` of firn_stats in declaration order, `size` left out, counting
 * from 0, and its value in *value (may be NULL). NULL beyond the last. For tools that print or
 * export every counter without naming each. stats may be NULL when value is. Safe from any thread.
 */
FIRN_API const char *firn_stats_field(const firn_stats *stats, unsigned index, uint64_t *value);

#ifdef __cplusplus
}
#endif

#endif
