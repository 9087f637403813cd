/* See moves.h. */
#include "tier/moves.h"

#include <string.h>

#include "base/compressible.h"
#include "tier/cache.h"
#include "tier/policy/policies.h"

enum {
    LEARNT_BYTES = 16 << 20, /* that came to the cold tier: then they count half */
    FREQUENCY_MAX = 16,      /* of a candidate */
};

static void *host_alloc(const firn_tier_host *host, size_t size) {
    firn_cache *cache = host->context;
    return firn_hot_alloc(cache->hot, size);
}

static void host_free(const firn_tier_host *host, void *memory, size_t size) {
    firn_cache *cache = host->context;
    firn_hot_release(cache->hot, memory, size);
}

static const char *const questions[FIRN_QUESTIONS] = {
    [FIRN_ADMISSION] = "admission",
    [FIRN_DEMOTION] = "demotion",
    [FIRN_PROMOTION] = "promotion",
};

/* The policy that the options want; NULL: there is none of that name, which is *name. */
static const firn_tier_policy *wanted(const firn_options *options, unsigned question,
                                      const char **name) {
    const struct {
        const char *name;
        const firn_tier_policy *ops;
    } asked[FIRN_QUESTIONS] = {
        [FIRN_ADMISSION] = {options->admission, options->admission_ops},
        [FIRN_DEMOTION] = {options->demotion, options->demotion_ops},
        [FIRN_PROMOTION] = {options->promotion, options->promotion_ops},
    };
    *name = asked[question].name;
    return asked[question].ops != NULL ? asked[question].ops
                                       : firn_tier_policy_by_name(question, *name);
}

int firn_moving_check(const firn_options *options, firn_detail *detail) {
    for (unsigned i = 0; i < FIRN_QUESTIONS; i++) {
        const char *name;
        if (wanted(options, i, &name) == NULL) {
            return firn_detail_set(detail, FIRN_EINVAL,
                                   "options.%s: there is no policy named '%.64s' (see "
                                   "firn_tier_policy_name)",
                                   questions[i], name);
        }
    }
    return FIRN_OK;
}

static int begin_policy(firn_cache *cache, unsigned question, const firn_tier_policy *given) {
    firn_moving *self = &cache->moving;
    firn_tier_policy *policy = &self->policies[question];
    int result = firn_read_sized(policy, sizeof *policy, given, "firn_tier_policy", &cache->detail);
    if (result != FIRN_OK) {
        return result;
    }
    if (policy->state_size > 0) {
        self->states[question] = firn_hot_alloc(cache->hot, policy->state_size);
        result = self->states[question] != NULL ? FIRN_OK : FIRN_ENOMEM;
    }
    if (result == FIRN_OK && policy->init != NULL) {
        result = policy->init(self->states[question], &self->host);
    }
    if (result != FIRN_OK) {
        /* It was never begun. */
        firn_hot_release(cache->hot, self->states[question], policy->state_size);
        self->states[question] = NULL;
        policy->fini = NULL;
    }
    if (result != FIRN_OK && result != FIRN_ENOMEM) {
        return firn_detail_set(&cache->detail, result,
                               "options.%s: the policy '%.64s' does not begin with these options: "
                               "%s: see what it needs in firn/options.h",
                               questions[question], policy->name != NULL ? policy->name : "",
                               firn_strerror(result));
    }
    return result;
}

int firn_moving_init(firn_cache *cache) {
    const firn_options *options = &cache->options;
    firn_moving *self = &cache->moving;
    self->host = (firn_tier_host){
        .size = sizeof(firn_tier_host),
        .hot_bytes = options->hot_bytes,
        .cold_bytes = cache->cold != NULL ? options->cold_bytes : 0,
        .demotion_rate = options->demotion_rate,
        .promotion_hits = options->promotion_hits,
        .alloc = host_alloc,
        .free = host_free,
        .context = cache,
    };
    int result = FIRN_OK;
    for (unsigned i = 0; i < FIRN_QUESTIONS && result == FIRN_OK; i++) {
        const char *name;
        result = begin_policy(cache, i, wanted(options, i, &name));
        self->keeps_frequencies |= (self->policies[i].wants & FIRN_WANTS_FREQUENCY) != 0;
        self->hears_evictions |= self->policies[i].evicted != NULL;
        self->hears_writes |= self->policies[i].written != NULL;
    }
    /* The user's strings need not live on. */
    cache->options.admission = self->policies[FIRN_ADMISSION].name;
    cache->options.demotion = self->policies[FIRN_DEMOTION].name;
    cache->options.promotion = self->policies[FIRN_PROMOTION].name;
    if (result == FIRN_OK && self->keeps_frequencies) {
        result = firn_hot_keep_frequencies(cache->hot);
    }
    return result;
}

void firn_moving_fini(firn_cache *cache) {
    firn_moving *self = &cache->moving;
    for (unsigned i = 0; i < FIRN_QUESTIONS && cache->hot != NULL; i++) {
        if (self->policies[i].fini != NULL) {
            self->policies[i].fini(self->states[i]);
        }
        firn_hot_release(cache->hot, self->states[i], self->policies[i].state_size);
    }
}

/* What the sample says; that of a typed value, which is not encoded yet, is what it takes in
 * memory. */
static uint64_t expected_size(const firn_object *object) {
    size_t key_size;
    firn_object_key(object, &key_size);
    bool typed = firn_object_type(object) != NULL;
    uint64_t value =
        typed ? firn_object_charge(object)
              : firn_compressible_size(firn_object_data(object), firn_object_size(object));
    return value + key_size;
}

/* The shard is locked. again: the key is seen once more, which nobody counted yet. */
static firn_candidate candidate_of(firn_hot_shard *shard, uint64_t hash, const firn_object *object,
                                   unsigned wants, bool again) {
    size_t key_size;
    firn_object_key(object, &key_size);
    firn_candidate candidate = {
        .hash = hash,
        .key_size = key_size,
        .value_size = firn_object_value_size(object),
        .charge = firn_object_charge(object),
        .cost_us = firn_object_get_traits(object).cost_us,
        .group = firn_object_group(object),
    };
    if ((wants & FIRN_WANTS_FREQUENCY) != 0) {
        unsigned seen = firn_hot_frequency_locked(shard, candidate.group, hash, false) + again;
        candidate.frequency = seen < 1 ? 1 : seen < FREQUENCY_MAX ? seen : FREQUENCY_MAX;
    }
    if ((wants & FIRN_WANTS_STORED_SIZE) != 0) {
        candidate.stored_size = expected_size(object);
    }
    return candidate;
}

/* With the policies' lock: so what they are told of the time does not go back, whichever thread
 * comes first. */
static uint64_t now_locked(const firn_cache *cache) {
    return firn_clock_coarse_ms(&cache->options.clock);
}

/* The answer. */
static bool ask(firn_cache *cache, unsigned question, firn_candidate *candidate) {
    firn_moving *self = &cache->moving;
    pthread_mutex_lock(&self->lock);
    candidate->now_ms = now_locked(cache);
    if (candidate->stored_size > 0 && self->sizes.expected > 0) {
        double size = (double)candidate->stored_size * self->sizes.stored / self->sizes.expected;
        candidate->stored_size = size < 1 ? 1 : (uint64_t)size;
    }
    bool yes = self->policies[question].admits(self->states[question], candidate) != 0;
    pthread_mutex_unlock(&self->lock);
    return yes;
}

bool firn_admits_locked(firn_cache *cache, firn_hot_shard *shard, uint64_t hash,
                        const firn_object *object) {
    unsigned wants = cache->moving.policies[FIRN_ADMISSION].wants;
    firn_candidate candidate = candidate_of(shard, hash, object, wants, true);
    bool yes = ask(cache, FIRN_ADMISSION, &candidate);
    if (!yes && cache->moving.keeps_frequencies) {
        firn_hot_frequency_locked(shard, candidate.group, hash, true);
    }
    return yes;
}

bool firn_demotes_locked(firn_cache *cache, firn_hot_shard *shard, uint64_t hash,
                         const firn_object *victim) {
    unsigned wants = cache->moving.policies[FIRN_DEMOTION].wants;
    firn_candidate candidate = candidate_of(shard, hash, victim, wants, false);
    return ask(cache, FIRN_DEMOTION, &candidate);
}

bool firn_promotes(firn_cache *cache, uint64_t hash, const firn_object *found) {
    unsigned wants = cache->moving.policies[FIRN_PROMOTION].wants;
    firn_hot_shard *shard = firn_hot_lock(cache->hot, hash);
    firn_candidate candidate = candidate_of(shard, hash, found, wants, true);
    bool yes = ask(cache, FIRN_PROMOTION, &candidate);
    if (!yes && cache->moving.keeps_frequencies) {
        firn_hot_frequency_locked(shard, candidate.group, hash, true);
    }
    firn_hot_unlock(shard);
    return yes;
}

unsigned firn_why_not_promoted(const firn_cache *cache) {
    bool counts = cache->moving.policies[FIRN_PROMOTION].admits == firn_promote_kth_policy.admits;
    return counts ? FIRN_REASON_FIRST_HIT : FIRN_REASON_POLICY;
}

void firn_note_evicted_locked(firn_cache *cache, firn_hot_shard *shard, uint64_t hash,
                              const firn_object *victim) {
    firn_moving *self = &cache->moving;
    unsigned wants = 0;
    for (unsigned i = 0; i < FIRN_QUESTIONS; i++) {
        wants |= self->policies[i].evicted != NULL ? self->policies[i].wants : 0;
    }
    firn_candidate candidate = candidate_of(shard, hash, victim, wants, false);
    pthread_mutex_lock(&self->lock);
    candidate.now_ms = now_locked(cache);
    for (unsigned i = 0; i < FIRN_QUESTIONS; i++) {
        if (self->policies[i].evicted != NULL) {
            self->policies[i].evicted(self->states[i], &candidate);
        }
    }
    pthread_mutex_unlock(&self->lock);
}

void firn_note_written(firn_cache *cache, const firn_object *object, uint64_t stored_size,
                       bool asked) {
    firn_moving *self = &cache->moving;
    bool learns = asked && (self->policies[FIRN_DEMOTION].wants & FIRN_WANTS_STORED_SIZE) != 0;
    bool tells = !asked && self->hears_writes;
    if (!learns && !tells) {
        return;
    }
    double expected = learns ? (double)expected_size(object) : 0;
    pthread_mutex_lock(&self->lock);
    uint64_t now_ms = now_locked(cache);
    if (learns) {
        self->sizes.expected += expected;
        self->sizes.stored += (double)stored_size;
        if (self->sizes.stored > LEARNT_BYTES) {
            self->sizes.expected /= 2;
            self->sizes.stored /= 2;
        }
    }
    for (unsigned i = 0; i < FIRN_QUESTIONS && tells; i++) {
        if (self->policies[i].written != NULL) {
            self->policies[i].written(self->states[i], stored_size, now_ms);
        }
    }
    pthread_mutex_unlock(&self->lock);
}
