/* Random numbers of the benchmarks beside peers: even ones, and Zipf 0.99 over numbered keys. */
#ifndef PEERS_ZIPF_H
#define PEERS_ZIPF_H

#include <stdint.h>

#include "requests.h"

static inline uint64_t next_random(uint64_t *seed) {
    *seed += UINT64_C(0x9e3779b97f4a7c15);
    return key_of(*seed);
}

/* The same ranks for the same number of keys, whatever the seed: ends the program if there is no
 * memory. By the cumulated weights of all keys: exact, and too slow to be drawn while timing. */
typedef struct zipf {
    uint64_t keys;
    double sum;
    double *upto;
    uint32_t *dealt; /* the key's number by rank: the most wanted ones were not put first */
} zipf;

zipf zipf_make(uint64_t keys);
void zipf_free(zipf *self);

/* A key's number. */
uint64_t zipf_next(const zipf *self, uint64_t *seed);

#endif
