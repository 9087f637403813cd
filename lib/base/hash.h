/* Hashing and random numbers. One 64-bit hash of the key serves both tiers; its seed is random, so
 * that keys chosen by an adversary do not fall into one place. */
#ifndef FIRN_BASE_HASH_H
#define FIRN_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* The number by which a tag is known, also on disk. */
uint64_t firn_tag_hash(const char *tag);

/* XXH3-64 of the bytes under a seed. */
uint64_t firn_hash64(uint64_t seed, const void *data, size_t size);

/* A random number from the system; falls back on clocks and addresses where there is none. */
uint64_t firn_random64(void);

#endif
