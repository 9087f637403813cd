/* See compressible.h. */
#include "base/compressible.h"

#include <string.h>

enum {
    PIECES = 4,       /* of a large value, evenly spread */
    PIECE_SIZE = 256, /* bytes */
    PLACES_BITS = 8,  /* of the table of where four bytes were seen */
    LOG_BITS = 8,     /* behind the point of a logarithm */
    REPEAT_COST = 4,  /* a byte that repeats costs a part of one that does not */
};

typedef struct sample {
    unsigned counts[256]; /* of single bytes that repeat nothing */
    unsigned literals;
    unsigned repeated;
} sample;

/* The logarithm to base 2, in 2^-LOG_BITS, to one in a hundred: between powers of two a straight
 * line. */
static uint64_t log2_of(uint64_t number) {
    unsigned whole = 63 - (unsigned)__builtin_clzll(number);
    uint64_t rest = (number << LOG_BITS >> whole) - (1u << LOG_BITS);
    return ((uint64_t)whole << LOG_BITS) + rest;
}

static void take_piece(sample *self, const unsigned char *bytes, size_t size) {
    uint16_t places[1 << PLACES_BITS] = {0}; /* one more than where; 0: nowhere */
    size_t at = 0;
    while (at < size) {
        size_t length = 0;
        uint32_t four = 0;
        if (size - at >= sizeof four) {
            memcpy(&four, bytes + at, sizeof four);
            uint16_t *place = &places[four * UINT32_C(0x9e3779b1) >> (32 - PLACES_BITS)];
            size_t before = *place;
            *place = (uint16_t)(at + 1);
            if (before != 0 && memcmp(bytes + before - 1, bytes + at, sizeof four) == 0) {
                length = sizeof four;
                while (at + length < size && bytes[before - 1 + length] == bytes[at + length]) {
                    length++;
                }
            }
        }
        if (length > 0) {
            self->repeated += (unsigned)length;
            at += length;
        } else {
            self->counts[bytes[at++]]++;
            self->literals++;
        }
    }
}

uint64_t firn_compressible_size(const void *bytes, size_t size) {
    if (size == 0) {
        return 0;
    }
    sample self = {.literals = 0};
    if (size <= (size_t)PIECES * PIECE_SIZE) {
        take_piece(&self, bytes, size);
    } else {
        size_t step = (size - PIECE_SIZE) / (PIECES - 1);
        for (unsigned i = 0; i < PIECES; i++) {
            take_piece(&self, (const unsigned char *)bytes + i * step, PIECE_SIZE);
        }
    }
    uint64_t bits = 0; /* of the literals together, in 2^-LOG_BITS */
    for (unsigned i = 0; i < 256; i++) {
        if (self.counts[i] > 0) {
            bits += self.counts[i] * (log2_of(self.literals) - log2_of(self.counts[i]));
        }
    }
    uint64_t literals = bits >> LOG_BITS >> 3;
    uint64_t taken = self.literals + self.repeated;
    uint64_t small = literals + self.repeated / REPEAT_COST;
    uint64_t estimate = (uint64_t)((double)small * (double)size / (double)taken);
    return estimate < 1 ? 1 : estimate > size ? size : estimate;
}
