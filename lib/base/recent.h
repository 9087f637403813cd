/* Ghosts: hashes that something happened to lately, each with a count. A bounded memory: a hash
 * belongs to one line of 64 bytes, where the one touched last stands first and a new one drives out
 * the last. 4 bytes a ghost; one in a million is taken for another. Knows nothing of what is
 * counted. */
#ifndef FIRN_BASE_RECENT_H
#define FIRN_BASE_RECENT_H

#include <stddef.h>
#include <stdint.h>

enum {
    FIRN_RECENT_LINE = 16,      /* ghosts */
    FIRN_RECENT_COUNT_MAX = 255 /* counts go no further */
};

typedef struct firn_recent {
    uint32_t *ghosts; /* lent by who made it, zeroed; the high 24 bits tell the hash, the low 8
                         count; 0: none */
    size_t lines;
} firn_recent;

/* The hash was met once more: returns how often it was met, this time included, since it is
 * remembered. Without lines: always 1. */
unsigned firn_recent_meet(firn_recent *recent, uint64_t hash);
/* It is forgotten. */
void firn_recent_forget(firn_recent *recent, uint64_t hash);

#endif
