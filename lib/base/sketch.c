/* See sketch.h. */
#include "base/sketch.h"

#include <string.h>

enum { ROWS = 4, COUNTER_MAX = 15, AGED_AFTER = 10 };

static uint64_t mixed(uint64_t hash) {
    hash ^= hash >> 31;
    hash *= UINT64_C(0x7fb5d329728ea185);
    return hash ^ hash >> 27;
}

static uint64_t *line_of(const firn_sketch *sketch, uint64_t mix) {
    return &sketch->words[(mix & sketch->mask) * FIRN_SKETCH_LINE_WORDS];
}

/* Row i uses two words of the line, by one bit of the mix, and one of their 16 counters each, by
 * four more. */
static uint64_t *word_of(uint64_t *line, uint64_t mix, unsigned row, unsigned *shift) {
    uint64_t bits = mix >> (40 + 5 * row);
    *shift = (unsigned)(bits >> 1 & 15) * 4;
    return &line[row * 2 + (bits & 1)];
}

unsigned firn_sketch_estimate(const firn_sketch *sketch, uint64_t hash) {
    uint64_t mix = mixed(hash);
    uint64_t *line = line_of(sketch, mix);
    unsigned least = COUNTER_MAX;
    for (unsigned row = 0; row < ROWS; row++) {
        unsigned shift;
        uint64_t word = *word_of(line, mix, row, &shift); /* first: it sets the shift */
        unsigned count = (unsigned)(word >> shift & COUNTER_MAX);
        least = count < least ? count : least;
    }
    return least;
}

static void age(firn_sketch *sketch) {
    uint64_t words = (sketch->mask + 1) * FIRN_SKETCH_LINE_WORDS;
    for (uint64_t i = 0; i < words; i++) {
        sketch->words[i] = sketch->words[i] >> 1 & UINT64_C(0x7777777777777777);
    }
    sketch->additions /= 2;
}

static void add_to(firn_sketch *sketch, uint64_t hash, unsigned most) {
    uint64_t mix = mixed(hash);
    uint64_t *line = line_of(sketch, mix);
    for (unsigned row = 0; row < ROWS; row++) {
        unsigned shift;
        uint64_t *word = word_of(line, mix, row, &shift);
        if ((*word >> shift & COUNTER_MAX) <= most) {
            *word += UINT64_C(1) << shift;
        }
    }
    sketch->additions++;
    if (sketch->additions >= sketch->entries * AGED_AFTER) {
        age(sketch);
    }
}

void firn_sketch_add(firn_sketch *sketch, uint64_t hash) {
    add_to(sketch, hash, COUNTER_MAX - 1);
}

void firn_sketch_add_exactly(firn_sketch *sketch, uint64_t hash) {
    unsigned least = firn_sketch_estimate(sketch, hash);
    add_to(sketch, hash, least < COUNTER_MAX ? least : COUNTER_MAX - 1);
}

void firn_sketch_double(firn_sketch *sketch, uint64_t *words) {
    /* A hash's line is given by its low bits: with one bit more it is one of two copies. */
    size_t bytes = (sketch->mask + 1) * FIRN_SKETCH_LINE_WORDS * sizeof *words;
    memcpy(words, sketch->words, bytes);
    memcpy((char *)words + bytes, sketch->words, bytes);
    sketch->words = words;
    sketch->mask = sketch->mask * 2 + 1;
}
