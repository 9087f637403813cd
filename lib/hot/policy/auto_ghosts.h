/* What the policy auto remembers of entries that left: when they were last used, and how often.
 *
 * A table of lines of 16 ghosts of 4 bytes; a new one takes the place of the oldest of its line.
 * Room for twice the entries there are. When these become more, a larger table is begun, and the
 * one before is only read any more, until as many have left as there are; nothing is ever moved. */
#ifndef FIRN_HOT_POLICY_AUTO_GHOSTS_H
#define FIRN_HOT_POLICY_AUTO_GHOSTS_H

#include <stdbool.h>
#include <stdint.h>

#include <firn/policy.h>

typedef struct auto_ghost {
    unsigned age; /* ticks since its last use */
    unsigned uses;
} auto_ghost;

typedef struct auto_ghosts auto_ghosts;

/* NULL: there is no memory. */
auto_ghosts *auto_ghosts_new(const firn_policy_host *host);
void auto_ghosts_free(auto_ghosts *ghosts);

/* tick: now. entries: how many are in the cache. */
void auto_ghosts_add(auto_ghosts *ghosts, uint64_t hash, uint32_t tick, auto_ghost ghost,
                     uint64_t entries);
/* False: it is not there. Forgets it otherwise. */
bool auto_ghosts_take(auto_ghosts *ghosts, uint64_t hash, uint32_t tick, auto_ghost *ghost);

#endif
