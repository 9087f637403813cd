/* Numbers in as few bytes as they need: LEB128, up to 10 bytes. */
#ifndef FIRN_BASE_VARINT_H
#define FIRN_BASE_VARINT_H

#include <stddef.h>
#include <stdint.h>

enum { FIRN_VARINT_MAX = 10 };

static inline unsigned char *firn_put_varint(unsigned char *to, uint64_t number) {
    while (number >= 0x80) {
        *to++ = (unsigned char)(number | 0x80);
        number >>= 7;
    }
    *to++ = (unsigned char)number;
    return to;
}

/* NULL: it does not end within the bytes, or does not fit into 64 bits. */
static inline const unsigned char *firn_get_varint(const unsigned char *from,
                                                   const unsigned char *end, uint64_t *number) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < FIRN_VARINT_MAX && from < end; i++) {
        unsigned char byte = *from++;
        if (i == FIRN_VARINT_MAX - 1 && byte > 1) {
            return NULL;
        }
        sum |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *number = sum;
            return from;
        }
    }
    return NULL;
}

#endif
