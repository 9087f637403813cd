/* A ghost list: which entries left lately, known by hashes alone.
 *
 * First in, first out; an entry that comes back is taken out. Each ghost remembers its charge, for
 * lists that are bounded in bytes. A hash of 32 bits stands for the entry: now and then one is
 * taken for another, which a policy can bear. 24 bytes a ghost, in tables that double. Without
 * memory it forgets its oldest. Knows no policy. */
#ifndef FIRN_HOT_POLICY_GHOST_H
#define FIRN_HOT_POLICY_GHOST_H

#include <stdbool.h>
#include <stdint.h>

#include "hot/policy_host.h"

typedef struct firn_ghost {
    uint32_t tag;
    uint32_t next_in_bucket; /* index + 1; 0: none */
    uint32_t older;          /* likewise */
    uint32_t newer;
    uint32_t charge; /* saturates */
} firn_ghost;

typedef struct firn_ghosts {
    const firn_policy_host *host;
    firn_ghost *slots;
    uint32_t *buckets; /* index + 1 of the first ghost */
    uint32_t capacity; /* slots, and buckets: a power of two */
    uint32_t used;     /* slots that were ever used */
    uint32_t free;     /* of those, the first that is free: index + 1, linked by older */
    uint32_t oldest;
    uint32_t newest;
    uint64_t count;
    uint64_t bytes; /* charges */
} firn_ghosts;

static inline void firn_ghosts_init(firn_ghosts *ghosts, const firn_policy_host *host) {
    *ghosts = (firn_ghosts){.host = host};
}

void firn_ghosts_fini(firn_ghosts *ghosts);
void firn_ghosts_add(firn_ghosts *ghosts, uint64_t hash, uint64_t charge);
/* True: there was one, which is taken out. */
bool firn_ghosts_take(firn_ghosts *ghosts, uint64_t hash);
/* Drops the oldest. */
void firn_ghosts_drop(firn_ghosts *ghosts);
/* Drops the oldest until the charges come to at most that much. */
void firn_ghosts_trim(firn_ghosts *ghosts, uint64_t bytes);

#endif
