/* A place: where in the log a frame begins and about how long it is, in 64 bits.
 *
 *     high 52 bits  position in the log
 *     low 12 bits   the frame's size: exact below 128 bytes, above that rounded up by less than 2 %
 *
 * 2^52 bytes are more than what a device can be written with in its life. 0 is no place. */
#ifndef FIRN_COLD_PLACE_H
#define FIRN_COLD_PLACE_H

#include <stdint.h>

enum { FIRN_PLACE_SIZE_BITS = 12 };
#define FIRN_PLACE_POSITION_MAX ((UINT64_C(1) << 52) - 1)

static inline uint64_t firn_place_make(uint64_t position, uint64_t size) {
    uint64_t code = size;
    if (size >= 128) {
        unsigned exponent = 57 - (unsigned)__builtin_clzll(size); /* leaves 64 to 127 */
        uint64_t mantissa = (size + (UINT64_C(1) << exponent) - 1) >> exponent;
        if (mantissa == 128) {
            mantissa = 64;
            exponent++;
        }
        code = 128 + (uint64_t)(exponent - 1) * 64 + mantissa - 64;
    }
    return position << FIRN_PLACE_SIZE_BITS | code;
}

static inline uint64_t firn_place_position(uint64_t place) {
    return place >> FIRN_PLACE_SIZE_BITS;
}

/* At least the frame's size. */
static inline uint64_t firn_place_size(uint64_t place) {
    uint64_t code = place & ((1u << FIRN_PLACE_SIZE_BITS) - 1);
    if (code < 128) {
        return code;
    }
    return ((code - 128) % 64 + 64) << ((code - 128) / 64 + 1);
}

#endif
