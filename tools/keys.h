/* Numbers for the keys of a trace, from 0 in the order of their first use. */
#ifndef FIRN_TOOLS_KEYS_H
#define FIRN_TOOLS_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KEY_NUMBER_BITS = 30 };

/* Open addressing, a power of two of slots, at most half full. Begin with zeros. */
typedef struct key_numbers {
    struct key_slot {
        uint64_t key;
        uint32_t number; /* and 1; 0: the slot is empty */
    } * slots;
    size_t mask;
    uint32_t count;
} key_numbers;

/* *added: it is a new one. False: no memory, or more keys than 2^KEY_NUMBER_BITS. */
bool key_number(key_numbers *self, uint64_t key, uint32_t *number, bool *added);
void key_numbers_free(key_numbers *self);

#endif
