/* What moves between the tiers: policies of admission, demotion and promotion.
 *
 * Three questions are asked of a policy each. Admission: whether a new entry gets a place in
 * memory. Demotion: whether an entry that has to leave memory, and that the cold tier does not
 * have, is written there. Promotion: whether an entry that was hit below comes up. What is refused
 * a place in memory is served from below; what is refused below as well is not kept.
 *
 * Policies that come with the library are chosen by name:
 *
 *     options.demotion = "reject-first";
 *
 * and a program may bring its own, made of the same interface:
 *
 *     static const firn_tier_policy mine = {sizeof(firn_tier_policy), "mine", ...};
 *     options.demotion_ops = &mine;
 *
 * docs/policies.md tells what each is good for, and what was measured.
 */
#ifndef FIRN_TIERING_H
#define FIRN_TIERING_H

#include <stddef.h>
#include <stdint.h>

#include <firn/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The questions. */
enum { FIRN_ADMISSION = 0, FIRN_DEMOTION = 1, FIRN_PROMOTION = 2 };

/* What a policy wants to know of an entry that takes work to find out. */
enum {
    FIRN_WANTS_FREQUENCY = 1,  /* firn_candidate.frequency */
    FIRN_WANTS_STORED_SIZE = 2 /* firn_candidate.stored_size */
};

/* The entry that is asked about. It may grow at its end; the library makes it. */
typedef struct firn_candidate {
    uint64_t hash;        /* of the key, by the store's seed */
    uint64_t key_size;    /* bytes */
    uint64_t value_size;  /* bytes, as the program sees it */
    uint64_t charge;      /* bytes it takes, or would take, of hot_bytes */
    uint64_t stored_size; /* bytes it is expected to take below, by a look at a sample of the value
                             and by what became of others; 0: not asked for */
    uint64_t cost_us;     /* what it took to make the value, microseconds; 0: unknown */
    uint64_t now_ms;      /* since 1970, by the cache's clock */
    unsigned frequency;   /* times the key was seen lately, this one included: from 1 to 16, or as
                             the eviction policy counts; 0: not asked for */
    unsigned group;       /* of the key, in the order in which groups were made; 0: none */
} firn_candidate;

/* What a policy's state hangs on. Lent from init to fini. It may grow at its end. */
typedef struct firn_tier_host {
    size_t size;            /* sizeof(firn_tier_host) */
    uint64_t hot_bytes;     /* the options of these names, with their defaults */
    uint64_t cold_bytes;    /* 0: there is no cold tier */
    uint64_t demotion_rate; /* bytes a second; 0: none was given */
    unsigned promotion_hits;
    /* Memory for the policy's own use, aligned to 16 and zeroed, counted in hot_bytes. NULL: there
     * is none. free gets the same size, and may get NULL. */
    void *(*alloc)(const struct firn_tier_host *host, size_t size);
    void (*free)(const struct firn_tier_host *host, void *memory, size_t size);
    void *context; /* the library's */
} firn_tier_host;

/* A policy. All calls for one cache come one at a time, also those of its other two policies, and
 * with locks held: a policy needs none of its own, must be quick, and must not call the cache. */
typedef struct firn_tier_policy {
    size_t size;       /* sizeof(firn_tier_policy) */
    const char *name;  /* letters, digits and dashes; a static string */
    size_t state_size; /* bytes; zeroed before init, aligned to 16 */
    unsigned wants;    /* FIRN_WANTS_..., or'ed */

    /* FIRN_OK; or what firn_open fails with: FIRN_ENOMEM, or FIRN_EINVAL: an option that it needs
     * is missing, or makes no sense. Then fini is not called. May be NULL, as all that follows. */
    int (*init)(void *state, const firn_tier_host *host);
    void (*fini)(void *state);
    /* The question. Not 0: yes. NULL: always yes. */
    int (*admits)(void *state, const firn_candidate *candidate);
    /* An entry leaves memory to make room, for whatever place. Before admits, if that is asked
     * about it too. What leaves memory is what had to go for what comes. */
    void (*evicted)(void *state, const firn_candidate *candidate);
    /* So many bytes were written below, after compression, for something that demotion was not
     * asked about: a flush, a value that was written when it was put. */
    void (*written)(void *state, uint64_t bytes, uint64_t now_ms);
} firn_tier_policy;

/* The name of a policy that comes with the library.
 *
 * question  FIRN_ADMISSION, FIRN_DEMOTION or FIRN_PROMOTION
 * index     counting from 0; 0 is the default
 *
 * Returns a static string; NULL beyond the last, and for another question. Safe from any thread. */
FIRN_API const char *firn_tier_policy_name(unsigned question, unsigned index);

#ifdef __cplusplus
}
#endif

#endif
