/* Values for replays: a function of key and size alone, so that what comes back can be checked;
 * semi-structured and about as compressible as real records. */
#ifndef FIRN_TOOLS_VALUES_H
#define FIRN_TOOLS_VALUES_H

#include <stddef.h>
#include <stdint.h>

/* Fills size bytes. */
void make_value(uint64_t key, unsigned char *value, size_t size);

#endif
