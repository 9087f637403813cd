/* Why an entry is where it is: everything that a cache can tell of one key.
 *
 * Looking changes nothing: it counts no hit, brings nothing up and expires nothing.
 */
#ifndef FIRN_EXPLAIN_H
#define FIRN_EXPLAIN_H

#include <stddef.h>
#include <stdint.h>

#include <firn/error.h>
#include <firn/observe.h>

#ifdef __cplusplus
extern "C" {
#endif

struct firn_cache;

/* Where an entry is. */
enum {
    FIRN_PLACE_NOWHERE = 0, /* neither tier has it */
    FIRN_PLACE_HOT = 1,     /* in memory; the cold tier may have it too */
    FIRN_PLACE_LEAVING = 2, /* in memory, and waits to be written below, after which it leaves */
    FIRN_PLACE_COLD = 3     /* in the cold tier alone */
};

/* How many decisions an explanation tells, at the most. */
enum { FIRN_EXPLAIN_DECISIONS = 7 };

/* What is known of an entry. Of one that is nowhere only the hash, `deleted` and decisions are. */
typedef struct firn_explanation {
    size_t size;         /* sizeof(firn_explanation) */
    uint64_t hash;       /* of the key, by the store's seed */
    unsigned place;      /* FIRN_PLACE_... */
    unsigned deleted;    /* not 0: nowhere, and the cold tier is still to be told so */
    unsigned expired;    /* not 0: it is at its place, but its time is over, so that a get misses */
    unsigned stale;      /* not 0: only firn_get_or_load may still give it */
    unsigned negative;   /* not 0: what is remembered is that there is no value */
    uint64_t version;    /* see firn_object_version */
    uint64_t value_size; /* bytes; of a value that was written as a stream, all of it */
    uint64_t expires_ms; /* since 1970, with the time that it is stale; 0: never */
    uint64_t idle_ms;    /* a hit puts the expiry off to so long after it; 0: it stays */
    uint64_t cost_us;    /* what it took to make the value; 0: unknown */
    uint64_t link_count; /* links from it to others */
    unsigned tag_count;  /* its tags */
    unsigned owned;      /* not 0: it lives only as long as links keep it */
    unsigned interned;   /* not 0: the value is shared with other entries */
    uint32_t type_id;    /* of the cold record's value; 0: bytes, or not below */
    const char *type;    /* name of the type of the value in memory, lent as long as the cache is
                            open; NULL: bytes, or not in memory */

    /* in memory */
    uint64_t charge;     /* bytes it takes of hot_bytes; 0: it is not in memory, as all of these */
    uint64_t handles;    /* references to it but the tier's own, about: the program's mostly */
    uint64_t came_up_ms; /* when it was brought up last, if that is remembered; 0: it was put there,
                            or that was long ago */
    unsigned dirty;      /* not 0: the cold tier does not have this version */
    unsigned pinned;     /* not 0: by firn_pin */
    unsigned queued;     /* not 0: it waits to be written */
    unsigned group;      /* number of its group, 0: of none */
    unsigned mark;       /* what the eviction policy's mark says of hits: an estimate */
    unsigned mark_max; /* not 0: the mark is how often it was hit since the policy looked at it, up
                          to that. 0: of hits only the policy's own memory knows */
    unsigned hit_lately; /* not 0: it was hit since it came or since the policy looked, as the mark
                            tells; with mark_max 0, while the last quarter of memory was replaced,
                            which only policies lru, slru and arc over several shards note */

    /* in the cold tier */
    unsigned stored;    /* not 0: there is a record of it; else all of these are 0 */
    unsigned hit_below; /* not 0: it was hit there of late, as one byte for many entries tells: when
                           its record is the oldest it stays. An estimate */
    uint64_t stored_version;
    uint64_t stored_size; /* bytes of the value as stored */
    uint64_t written_ms;  /* when its record was written, since 1970 */
    uint64_t sequence;    /* where in the log it is */
    uint32_t dictionary;  /* id of the dictionary it is compressed with; 0: none */
    const char *codec;    /* "none", "zstd" or "stream": a static string; NULL: no record */

    /* what was decided about it last, oldest first. Puts are not remembered: one of a lower version
     * than the entry's was decided about what was there before. So a delete may be the last though
     * the entry is there, and `place` tells where */
    size_t decision_count;
    firn_decision decisions[FIRN_EXPLAIN_DECISIONS];
} firn_explanation;

/* Explains a key. explanation->size must hold the size of the struct on entry; it is filled in as
 * far as that goes. In a cache that was opened read-only, memory is another process's, of which
 * only the page tells (see firn/page.h): then all is told of the cold tier, and no decisions.
 *
 * FIRN_OK, also if the entry is nowhere. FIRN_ECORRUPT: its record is damaged; the rest is told.
 * FIRN_EIO, FIRN_ENOMEM. Safe from any thread. */
FIRN_API int firn_explain(struct firn_cache *cache, const void *key, size_t key_size,
                          firn_explanation *explanation);

/* "nowhere", "hot", "leaving", "cold"; "unknown". A static string. Safe from any thread. */
FIRN_API const char *firn_place_name(unsigned place);

#ifdef __cplusplus
}
#endif

#endif
