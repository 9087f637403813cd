/* The hit-ratio curve of a stream of accesses, estimated by SHARDS with a fixed size and the
 * adjustment of its paper (see firn/curve.h): of the keys whose hash is below a threshold it is
 * known when and with what charge they were used last, so that at each use the bytes used since can
 * be added up and scaled to all keys. When there are too many, the threshold falls.
 *
 * Knows hashes and charges. Must not know the cache, its tiers, or its shards, with which it has
 * nothing to do but the name. No locks: for one thread at a time. */
#ifndef FIRN_OBSERVE_SHARDS_H
#define FIRN_OBSERVE_SHARDS_H

#include <stddef.h>
#include <stdint.h>

#include <firn/curve.h>

#include "base/heap.h"

typedef struct firn_shards firn_shards;

/* The threshold that samples that part of all keys: above 0, up to 1. */
static inline uint64_t firn_shards_threshold(double rate) {
    double below = rate * 18446744073709551616.0;
    return below >= 18446744073709549568.0 ? UINT64_MAX : below < 1 ? 1 : (uint64_t)below;
}

/* bytes: that it may take in all, at least FIRN_CURVE_BYTES_MIN. below: the threshold at the most,
 * not 0. clock: that expiries go by, lent; NULL: the system's. NULL: no memory. */
firn_shards *firn_shards_new(firn_heap *heap, size_t bytes, uint64_t below,
                             const firn_clock *clock);
void firn_shards_free(firn_shards *self);

/* Hashes below that are sampled; others are ignored by the calls that follow. It only falls. */
uint64_t firn_shards_below(const firn_shards *self);

/* A get. charge: of what it found; 0: nothing, and the key may be one that is nowhere. expires_ms:
 * when what it found expires; 0: never. */
void firn_shards_get(firn_shards *self, uint64_t hash, uint64_t charge, uint64_t expires_ms);
/* A put: not counted, but the key is in the cache now. */
void firn_shards_put(firn_shards *self, uint64_t hash, uint64_t charge, uint64_t expires_ms);
void firn_shards_forget(firn_shards *self, uint64_t hash);

/* So many gets of all keys, sampled or not, went by since the last call. Call it before the line is
 * asked for, and now and then: it also lets what is old fade. missed: of them, those that were to
 * be sampled but did not come to firn_shards_get. */
void firn_shards_count(firn_shards *self, uint64_t gets, uint64_t missed);

/* The curve over charges into the line `hot`, without where the cache is; and the other facts. */
void firn_shards_curve(const firn_shards *self, firn_curve *curve);
/* The mean charge of the keys that are followed; 0: there are none. */
double firn_shards_mean_charge(const firn_shards *self);

/* The state as bytes, of a size that firn_shards_image_size bounds: it returns how many they are.
 * A state that is loaded into a new one goes on; bytes that are none leave it new. */
size_t firn_shards_image_size(const firn_shards *self);
size_t firn_shards_save(const firn_shards *self, unsigned char *to);
void firn_shards_load(firn_shards *self, const unsigned char *bytes, size_t size);

#endif
