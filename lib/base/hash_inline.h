/* The hash of base/hash.h as code of the file that includes this: for the one place where a call is
 * too much, the look-up in the hot tier. */
#ifndef FIRN_BASE_HASH_INLINE_H
#define FIRN_BASE_HASH_INLINE_H

#include <stddef.h>
#include <stdint.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/hash.h"

/* Equal to firn_hash64. */
static inline uint64_t firn_hash64_inline(uint64_t seed, const void *data, size_t size) {
    if (size == sizeof(uint64_t)) { /* the commonest size, of which the compiler can make most */
        return XXH3_64bits_withSeed(data, sizeof(uint64_t), seed);
    }
    return firn_hash64(seed, data, size);
}

#endif
