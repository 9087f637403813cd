/* Running an eviction policy over a stream of accesses without keeping any values: what a cache of
 * that capacity would have hit. It is the same code that runs in the hot tier. */
#ifndef FIRN_SIMULATE_H
#define FIRN_SIMULATE_H

#include <stddef.h>
#include <stdint.h>

#include <firn/error.h>
#include <firn/policy.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct firn_simulation firn_simulation;

/* policy    by name (see firn_policy_name); NULL: the default
 * ops       a policy of the program's own in place of the name; NULL: none
 * capacity  what the charges of all entries may come to, at least 1
 *
 * Release with firn_simulation_close. A simulation is for one thread at a time.
 *
 * FIRN_EINVAL  no such policy, or a capacity of 0
 * FIRN_ENOMEM */
FIRN_API FIRN_NODISCARD int firn_simulation_open(firn_simulation **simulation, const char *policy,
                                                 const firn_policy *ops, uint64_t capacity);

/* One access: FIRN_OK for a hit, FIRN_NOT_FOUND for a miss, after which the entry is inserted,
 * unless its charge is above the capacity. key_hash: a hash of the key, well spread over 64 bits.
 * charge: what the entry counts for, at least 1; it is that of the entry's insertion until the
 * entry leaves. FIRN_ENOMEM: the entry was not inserted. */
FIRN_API int firn_simulation_access(firn_simulation *simulation, uint64_t key_hash,
                                    uint64_t charge);

/* The entry leaves, as one that is deleted. FIRN_OK, or FIRN_NOT_FOUND. */
FIRN_API int firn_simulation_remove(firn_simulation *simulation, uint64_t key_hash);

/* From now on `evicted` is called for each entry that makes room for another, during
 * firn_simulation_access; it must not call the simulation. NULL: no more. */
FIRN_API void firn_simulation_watch(firn_simulation *simulation,
                                    void (*evicted)(void *context, uint64_t key_hash,
                                                    uint64_t charge),
                                    void *context);

/* NULL is ignored. */
FIRN_API void firn_simulation_close(firn_simulation *simulation);

#ifdef __cplusplus
}
#endif

#endif
