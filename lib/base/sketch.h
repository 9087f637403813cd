/* How often a hash was seen lately: a count-min sketch of 4-bit counters that age by halving
 * (Einziger, Friedman, Manes, "TinyLFU: a highly efficient cache admission policy", 2017).
 *
 * Four counters a hash, all in one line of 64 bytes; the least of them counts. After ten times as
 * many additions as there are entries, all counters are halved. 8 bytes an entry it is made for.
 * Knows nothing of caches. */
#ifndef FIRN_BASE_SKETCH_H
#define FIRN_BASE_SKETCH_H

#include <stdint.h>

typedef struct firn_sketch {
    uint64_t *words; /* lent by who made it; zeroed */
    uint64_t mask;   /* lines less one: a power of two of them, of eight words */
    uint64_t additions;
    uint64_t entries; /* that it is aged by; at first what it has room for */
} firn_sketch;

enum { FIRN_SKETCH_LINE_WORDS = 8 };

/* Entries that a sketch of that many words is made for. */
static inline uint64_t firn_sketch_room(uint64_t words) {
    return words;
}

static inline void firn_sketch_init(firn_sketch *sketch, uint64_t *words, uint64_t count) {
    *sketch = (firn_sketch){words, count / FIRN_SKETCH_LINE_WORDS - 1, 0, count};
}

/* 0 to 15. */
unsigned firn_sketch_estimate(const firn_sketch *sketch, uint64_t hash);
void firn_sketch_add(firn_sketch *sketch, uint64_t hash);
/* The same, and raises only the least of the hash's counters, so that others are mistaken for it
 * less often (Estan, Varghese, "New directions in traffic measurement and accounting", 2002): for
 * who tells once from twice. Who compares two hashes fares better with the other on loops, where
 * all are equal and what is mistaken breaks the tie. */
void firn_sketch_add_exactly(firn_sketch *sketch, uint64_t hash);
/* Fills a new sketch of twice as many words with what an old one knows. */
void firn_sketch_double(firn_sketch *sketch, uint64_t *words);

#endif
