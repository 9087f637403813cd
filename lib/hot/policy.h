/* What an eviction policy is: a set of functions over a state of its own, one state a shard.
 *
 * To add a policy, write hot/policy_NAME.c with one firn_policy_ops, and add a line to
 * policy_table.c. All functions are called with the shard's lock held. A policy may use prev, next
 * and policy_bits of the objects it was given, and nothing else of them; it owns no references. */
#ifndef FIRN_HOT_POLICY_H
#define FIRN_HOT_POLICY_H

#include <stddef.h>

#include "object/object.h"

enum firn_policy_order { FIRN_HOTTEST_FIRST, FIRN_COLDEST_FIRST };

typedef struct firn_policy_ops {
    const char *name;
    size_t state_size; /* bytes; zeroed before init */
    void (*init)(void *state);
    void (*insert)(void *state, firn_object *object);  /* a new entry */
    void (*restore)(void *state, firn_object *object); /* less valuable than all it holds */
    void (*hit)(void *state, firn_object *object);
    void (*remove)(void *state, firn_object *object);
    firn_object *(*victim)(void *state); /* the next to go, which stays in; NULL: it is empty */
    /* The object after `object` in order of value, from NULL to NULL. The state must not change
     * meanwhile. */
    firn_object *(*walk)(const void *state, const firn_object *object,
                         enum firn_policy_order order);
} firn_policy_ops;

/* NULL: no such policy. name NULL: the default. */
const firn_policy_ops *firn_policy_find(const char *name);

extern const firn_policy_ops firn_policy_lru;
extern const firn_policy_ops firn_policy_sieve;

#endif
