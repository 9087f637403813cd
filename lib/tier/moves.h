/* What moves between the tiers: asks the policies of firn/tiering.h, and tells them what they want
 * to know. Knows nothing of how an entry moves, nor of what becomes of one that is refused. */
#ifndef FIRN_TIER_MOVES_H
#define FIRN_TIER_MOVES_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <firn/options.h>
#include <firn/tiering.h>

#include "base/detail.h"
#include "hot/hot.h"

struct firn_cache;

enum { FIRN_QUESTIONS = 3 };

typedef struct firn_moving {
    firn_tier_policy policies[FIRN_QUESTIONS]; /* immutable, as the next three; copies, for a
                                                  program's may be of an older header */
    firn_tier_host host;
    bool keeps_frequencies; /* somebody wants them */
    bool hears_evictions;   /* likewise */
    bool hears_writes;      /* likewise */
    pthread_mutex_t lock;   /* guards the next, and all that they hold; calls nobody but policies */
    void *states[FIRN_QUESTIONS]; /* NULL: it has none */
    struct {
        double expected; /* bytes, of what was written after demotion was asked; and what they */
        double stored;   /* came to. Both are halved now and then */
    } sizes;
} firn_moving;

/* FIRN_OK, or FIRN_EINVAL with the detail set: the options name a policy that is not there. */
int firn_moving_check(const firn_options *options, firn_detail *detail);
/* Takes the policies that the options name, which are known to be there. The hot tier is made, and
 * nobody uses it yet. FIRN_OK, FIRN_ENOMEM, or FIRN_EINVAL with the detail set. */
int firn_moving_init(struct firn_cache *cache);
/* Before the hot tier goes. */
void firn_moving_fini(struct firn_cache *cache);

/* Whether the question is asked at all; else the answer is yes. */
static inline bool firn_asks(const firn_moving *moving, unsigned question) {
    return moving->policies[question].admits != NULL;
}

/* Whether a newcomer gets a place in memory. */
bool firn_admits_locked(struct firn_cache *cache, firn_hot_shard *shard, uint64_t hash,
                        const firn_object *object);
/* Whether a dirty victim goes below. */
bool firn_demotes_locked(struct firn_cache *cache, firn_hot_shard *shard, uint64_t hash,
                         const firn_object *victim);
/* Whether what was hit below comes up. No shard is locked. */
bool firn_promotes(struct firn_cache *cache, uint64_t hash, const firn_object *found);
/* Why firn_promotes says no: FIRN_REASON_... */
unsigned firn_why_not_promoted(const struct firn_cache *cache);
/* An entry leaves memory to make room. */
void firn_note_evicted_locked(struct firn_cache *cache, firn_hot_shard *shard, uint64_t hash,
                              const firn_object *victim);
/* A value was written below, and took so many bytes there. asked: because the demotion policy said
 * so. */
void firn_note_written(struct firn_cache *cache, const firn_object *object, uint64_t stored_size,
                       bool asked);

#endif
