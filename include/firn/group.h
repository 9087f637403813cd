/* Groups: keys that begin with the same bytes, with a share of the memory, an eviction policy, a
 * default expiry and statistics of their own.
 *
 *     firn_group_options options = FIRN_GROUP_OPTIONS_INIT;
 *     options.hot_bytes = 64u << 20;
 *     options.default_ttl_ms = 60000;
 *     firn_group_define(cache, "session:", 8, &options);
 *
 * A key is of the group with the longest prefix that it begins with. What belongs to no group
 * shares what the groups leave of options.hot_bytes. A group may use more than its share as long as
 * others do not want theirs: when room is made, it is made by the group that is the most above its
 * share. Groups are defined anew after each firn_open; a group as a whole is cleared by firn_clear.
 * Each has a state of its policy in each shard, in memory that all share; that of "auto" is worth
 * it for groups of some MiB. The cold tier has no shares: there the oldest goes, of whatever group.
 */
#ifndef FIRN_GROUP_H
#define FIRN_GROUP_H

#include <stddef.h>
#include <stdint.h>

#include <firn/clear.h>
#include <firn/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct firn_policy;

/* Groups a cache may have. */
#define FIRN_GROUP_COUNT_MAX 31

/* Options of a group. Zero in any field means its default. Read during the call only. */
typedef struct firn_group_options {
    size_t size;            /* sizeof(firn_group_options) */
    uint64_t hot_bytes;     /* its share of the hot tier, bytes; default: a 64th part of it. All
                               groups together may have 63 of 64 parts */
    const char *hot_policy; /* eviction policy by name; default: that of the cache */
    const struct firn_policy *hot_policy_ops; /* or one of the program's own; stays valid until
                                                 firn_close */
    uint64_t default_ttl_ms;  /* lifetime of an entry whose put names none; default: that of the
                                 cache; FIRN_TTL_NONE: no expiry */
    uint64_t default_idle_ms; /* firn_put_options.idle_ms of a put that names neither that nor
                                 stale_ms; default: none */
} firn_group_options;

#define FIRN_GROUP_OPTIONS_INIT                                                                    \
    { sizeof(firn_group_options), 0, NULL, NULL, 0, 0 }

/* What happened to the entries of a group since it was defined, and what is of it now. */
typedef struct firn_group_stats {
    size_t size;        /* sizeof(firn_group_stats) */
    uint64_t hot_share; /* bytes */
    uint64_t hot_bytes; /* in memory now */
    uint64_t hot_entries;
    uint64_t hot_hits;   /* gets that the hot tier answered */
    uint64_t cold_hits;  /* the cold tier */
    uint64_t misses;     /* neither */
    uint64_t puts;       /* successful */
    uint64_t deletes;    /* that found an entry */
    uint64_t evictions;  /* entries that left memory to make room */
    uint64_t demotions;  /* of those, written to the cold tier for it */
    uint64_t promotions; /* that came up on a cold hit */
} firn_group_stats;

#define FIRN_GROUP_STATS_INIT                                                                      \
    { sizeof(firn_group_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* Makes the keys with a prefix a group. Entries that are in memory already stay with what they
 * belonged to until they come to memory again. Safe from any thread.
 *
 * prefix       lent for the call
 * prefix_size  bytes, 1 to FIRN_PREFIX_SIZE_MAX
 * options      NULL: defaults
 *
 * FIRN_EXISTS  there is that group already
 * FIRN_EINVAL  a prefix, a policy or a share that makes no sense
 * FIRN_ENOSPC  there are FIRN_GROUP_COUNT_MAX groups
 * FIRN_ENOMEM */
FIRN_API FIRN_NODISCARD int firn_group_define(struct firn_cache *cache, const void *prefix,
                                              size_t prefix_size,
                                              const firn_group_options *options);

/* Fills *stats, whose size must hold its size on entry (see FIRN_GROUP_STATS_INIT). Each counter is
 * exact, but they are not read at one instant. Safe from any thread.
 *
 * FIRN_NOT_FOUND  no group has that prefix
 * FIRN_EINVAL */
FIRN_API FIRN_NODISCARD int firn_group_get_stats(struct firn_cache *cache, const void *prefix,
                                                 size_t prefix_size, firn_group_stats *stats);

/* The prefix of group number `index`, counting from 0 in the order of their definition; lent until
 * firn_close. Its bytes go to *prefix_size. NULL beyond the last. Safe from any thread. */
FIRN_API const void *firn_group_prefix(struct firn_cache *cache, unsigned index,
                                       size_t *prefix_size);

#ifdef __cplusplus
}
#endif

#endif
