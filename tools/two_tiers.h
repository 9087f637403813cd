/* A simulation of both tiers, without values: a policy of the hot tier, and below it a log that
 * reclaims from its old end and writes once more what was hit since it was written, as firn's does.
 * Simpler than firn: an entry is written when it leaves the hot tier, one by one, if its record
 * is not there still; every hit below is promoted; nothing expires; and pages, indexes and batches
 * are left out. For one thread at a time. */
#ifndef FIRN_TOOLS_TWO_TIERS_H
#define FIRN_TOOLS_TWO_TIERS_H

#include <stdint.h>

#include <firn/error.h>

typedef struct two_tiers two_tiers;

typedef enum tier_hit { HIT_HOT, HIT_COLD, HIT_NONE, HIT_NO_MEMORY } tier_hit;

/* hot, cold: what the charges in each may come to; cold 0: there is none. ratio: by how much values
 * become smaller below. keys: how many there are. FIRN_OK, or as firn_simulation_open. */
int two_tiers_open(two_tiers **tiers, const char *policy, uint64_t hot, uint64_t cold, double ratio,
                   uint32_t keys);
void two_tiers_close(two_tiers *self);

/* A get, after which the entry is there. */
tier_hit two_tiers_get(two_tiers *self, uint32_t key, uint32_t charge);
/* The entry has another value from now on. */
tier_hit two_tiers_put(two_tiers *self, uint32_t key, uint32_t charge);
void two_tiers_delete(two_tiers *self, uint32_t key);
/* Bytes that were written to the log. */
uint64_t two_tiers_written(const two_tiers *self);

#endif
