/* The candidates of the policy auto, each run in miniature on a sample of the keys.
 *
 * Keys are sampled by their hash, so a key is in for good or out for good, and each candidate has
 * the same share of the capacity as of the keys (Waldspurger et al. 2017). All candidates see the
 * same sample, so their difference is known better than each for itself. Knows nothing of
 * entries. */
#ifndef FIRN_HOT_POLICY_AUTO_SIMS_H
#define FIRN_HOT_POLICY_AUTO_SIMS_H

#include <stdbool.h>
#include <stdint.h>

#include <firn/policy.h>

/* The candidates. All but the first two are greedy-dual: an entry is worth what has been evicted
 * lately (the inflation) plus a value of its own, from its uses and its size. */
enum {
    AUTO_LRU,
    AUTO_LIRS,
    AUTO_ROOT,        /* value: square root of uses */
    AUTO_USES,        /* uses */
    AUTO_SQUARE,      /* uses squared */
    AUTO_USES_SIZE,   /* uses over size */
    AUTO_SQUARE_SIZE, /* uses squared over size */
    AUTO_CANDIDATES
};

/* Uses and sizes are put into classes, so that entries of equal value can share a list. */
enum { AUTO_USES_MAX = 63, AUTO_USE_CLASSES = 16, AUTO_SIZE_CLASSES = 64 };

/* LIRS keeps a hundredth of the capacity for entries on trial. */
enum { AUTO_TRIAL_SHARE = 100 };

unsigned auto_use_class(unsigned uses);
unsigned auto_size_class(uint64_t charge);
/* Uses of an entry that comes back, having had so many before it left; that of now included. */
unsigned auto_uses_again(unsigned candidate, unsigned uses);
float auto_value(unsigned candidate, unsigned use_class, unsigned size_class);

typedef struct auto_sims auto_sims;

/* NULL: there is no memory. */
auto_sims *auto_sims_new(const firn_policy_host *host, uint64_t capacity);
void auto_sims_free(auto_sims *sims);
void auto_sims_resize(auto_sims *sims, uint64_t capacity);

bool auto_sims_samples(const auto_sims *sims, uint64_t hash);
/* A sampled access. entries: how many the real cache holds. False: there was no memory, and the
 * simulations are of no more use. */
bool auto_sims_access(auto_sims *sims, uint64_t hash, uint64_t charge, uint64_t entries);
/* The candidate to follow now. */
unsigned auto_sims_best(const auto_sims *sims);
/* What the candidate's last victim was worth. Grows; scale is that of auto_value. */
double auto_sims_inflation(const auto_sims *sims, unsigned candidate);

#endif
