/* What-if: which hit ratio other sizes would give.
 *
 * A cache keeps a running estimate of its hit-ratio curve by SHARDS (Waldspurger, Park, Garthwaite,
 * Ahmad: Efficient MRC Construction with SHARDS, FAST 2015): of a small part of the keys, chosen by
 * their hashes, it is known how many bytes were used since each was used last. That is the size at
 * which a cache that evicts what was used least recently would have had a hit. Other policies do
 * better or worse than that; docs/what-if.md tells by how much. See options.curve_bytes.
 *
 *     firn_curve curve = FIRN_CURVE_INIT;
 *     if (firn_get_curve(cache, &curve) == FIRN_OK) {
 *         printf("now %.3f, with twice the memory %.3f\n",
 *                firn_curve_at(&curve.hot, curve.hot.bytes),
 *                firn_curve_at(&curve.hot, 2 * curve.hot.bytes));
 *     }
 */
#ifndef FIRN_CURVE_H
#define FIRN_CURVE_H

#include <stddef.h>
#include <stdint.h>

#include <firn/error.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FIRN_CURVE_POINTS 128

/* The smallest estimate, in bytes of memory. */
#define FIRN_CURVE_BYTES_MIN ((uint64_t)32 << 10)

typedef struct firn_curve_point {
    uint64_t bytes;   /* of a cache */
    double hit_ratio; /* 0 to 1, in requests */
} firn_curve_point;

/* A line through points of growing bytes and hit ratio, which begins at nothing. */
typedef struct firn_curve_line {
    uint64_t bytes;            /* what the cache has now; 0: there is no cache, or no such tier */
    double measured_hit_ratio; /* what the cache had since it was opened; 0 of an estimator */
    size_t count;
    firn_curve_point points[FIRN_CURVE_POINTS];
} firn_curve_line;

typedef struct firn_curve {
    size_t size;           /* sizeof(firn_curve) */
    uint64_t gets;         /* that the estimate rests on. Older ones weigh less and less */
    uint64_t sampled;      /* of them */
    uint64_t samples;      /* keys that are followed now */
    double sampling_rate;  /* the part of all keys that is followed now */
    firn_curve_line hot;   /* over options.hot_bytes */
    firn_curve_line total; /* over hot_bytes and cold_bytes together, hot_bytes being as they are;
                              both tiers' hits. No points without a cold tier */
} firn_curve;

#define FIRN_CURVE_INIT                                                                            \
    {                                                                                              \
        sizeof(firn_curve), 0, 0, 0, 0, {0, 0, 0, {{0, 0}}}, {                                     \
            0, 0, 0, {                                                                             \
                { 0, 0 }                                                                           \
            }                                                                                      \
        }                                                                                          \
    }

struct firn_cache;
struct firn_store;

/* The estimate as it is now. curve: the size is set by the caller. It begins where it ended when
 * the store was closed or, after a crash, some minute before that. Safe from any thread; takes some
 * microseconds, while which gets are not sampled, and waits for no get.
 * FIRN_NOT_FOUND  the cache has none: curve_bytes is FIRN_CURVE_OFF, or it is read-only
 * FIRN_EINVAL     NULL, or a size of another version */
FIRN_API FIRN_NODISCARD int firn_get_curve(struct firn_cache *cache, firn_curve *curve);

/* The same from a store, as its writer left it last: at its close, or within the last minute of its
 * use. For one thread at a time, as all that looks into a store.
 * FIRN_NOT_FOUND  it holds none, or a damaged one
 * FIRN_EINVAL     as above
 * FIRN_ENOMEM, FIRN_EIO */
FIRN_API FIRN_NODISCARD int firn_store_get_curve(struct firn_store *store, firn_curve *curve);

/* The hit ratio with so many bytes, by the points next to it; 0 without any. Safe from any thread.
 */
FIRN_API double firn_curve_at(const firn_curve_line *line, uint64_t bytes);

/* The estimate alone, over any stream of accesses. For one thread at a time. */
typedef struct firn_estimator firn_estimator;

/* bytes          of memory that it may take, at least FIRN_CURVE_BYTES_MIN. About 40 a key that is
 *                followed; when there is room for no more, the sampling rate falls
 * sampling_rate  the part of all keys that is followed at the most: above 0, up to 1
 *
 * Release with firn_estimator_close.
 * FIRN_EINVAL  one of these is out of bounds, or NULL
 * FIRN_ENOMEM */
FIRN_API FIRN_NODISCARD int firn_estimator_open(firn_estimator **estimator, uint64_t bytes,
                                                double sampling_rate);

/* One access, after which the key is in the cache. key_hash: a hash of the key, well spread over 64
 * bits. charge: what it counts for, in bytes or whatever the curve is to be over; 0 counts as 1,
 * and more than 2^32-1 as that. */
FIRN_API void firn_estimator_access(firn_estimator *estimator, uint64_t key_hash, uint64_t charge);

/* The key is removed: its next access is a miss at every size. */
FIRN_API void firn_estimator_remove(firn_estimator *estimator, uint64_t key_hash);

/* Fills in the line `hot`, over charges, and all that is not of a line. As firn_get_curve. */
FIRN_API FIRN_NODISCARD int firn_estimator_get_curve(const firn_estimator *estimator,
                                                     firn_curve *curve);

/* NULL is ignored. */
FIRN_API void firn_estimator_close(firn_estimator *estimator);

#ifdef __cplusplus
}
#endif

#endif
