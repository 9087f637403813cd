/* See hash.h. */
#include "base/hash.h"

#include <string.h>
#include <sys/random.h>
#include <time.h>

/* Its code for short input becomes part of ours, which spares a call and a choice. */
#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t firn_hash64(uint64_t seed, const void *data, size_t size) {
    return XXH3_64bits_withSeed(data, size, seed);
}

uint64_t firn_tag_hash(const char *tag) {
    return firn_hash64(0, tag, strlen(tag));
}

uint64_t firn_random64(void) {
    uint64_t number = 0;
    if (getrandom(&number, sizeof number, GRND_NONBLOCK) == (ssize_t)sizeof number) {
        return number;
    }
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t seed[3] = {(uint64_t)now.tv_nsec, (uint64_t)now.tv_sec, (uint64_t)(uintptr_t)&now};
    return XXH3_64bits(seed, sizeof seed);
}
