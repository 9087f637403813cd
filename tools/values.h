/* Values for replays: a function of key and size alone, so that what comes back can be checked;
 * semi-structured and about as compressible as real records. A value carries a hash of itself, so
 * that checking is much cheaper than making it again, and a replay measures the cache. */
#ifndef FIRN_TOOLS_VALUES_H
#define FIRN_TOOLS_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Fills size bytes. */
void make_value(uint64_t key, unsigned char *value, size_t size);

/* Whether these are the bytes that make_value makes for the key and size. */
bool check_value(uint64_t key, const unsigned char *value, size_t size);

#endif
