/* How often keys were seen lately, for a policy or a shard: a sketch (see base/sketch.h) that grows
 * with the entries it is to know, and whose memory counts as the hot tier's: 8 to 16 bytes for
 * each of those. Knows no policy. */
#ifndef FIRN_HOT_POLICY_FREQUENCIES_H
#define FIRN_HOT_POLICY_FREQUENCIES_H

#include <stdint.h>

#include "base/sketch.h"
#include "hot/policy_host.h"

typedef struct firn_frequencies {
    const firn_policy_host *host;
    firn_sketch sketch; /* without words: there is none, and all is 0 */
    uint64_t words;
} firn_frequencies;

/* FIRN_OK or FIRN_ENOMEM. */
int firn_frequencies_init(firn_frequencies *self, const firn_policy_host *host);
/* Also of one that was never begun. */
void firn_frequencies_fini(firn_frequencies *self);
/* Grows to so many entries; without memory it stays, and is less exact. */
void firn_frequencies_fit(firn_frequencies *self, uint64_t entries);
/* From now on it forgets by halves at the pace of so many entries. */
void firn_frequencies_pace(firn_frequencies *self, uint64_t entries);

/* 0 to 15. */
static inline unsigned firn_frequencies_of(const firn_frequencies *self, uint64_t hash) {
    return self->words > 0 ? firn_sketch_estimate(&self->sketch, hash) : 0;
}

static inline void firn_frequencies_add(firn_frequencies *self, uint64_t hash) {
    if (self->words > 0) {
        firn_sketch_add(&self->sketch, hash);
    }
}

/* See firn_sketch_add_exactly. */
static inline void firn_frequencies_add_exactly(firn_frequencies *self, uint64_t hash) {
    if (self->words > 0) {
        firn_sketch_add_exactly(&self->sketch, hash);
    }
}

#endif
