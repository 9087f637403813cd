/* The hot tier: a sharded table of objects, the bytes they take, and one eviction policy a shard.
 *
 * It finds, indexes and accounts; when something is to be evicted, and where it goes from here, is
 * decided above. It knows objects, not the disk. Functions that end in _locked want the shard
 * locked; a thread holds one shard at a time. */
#ifndef FIRN_HOT_HOT_H
#define FIRN_HOT_HOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/heap.h"
#include "hot/policy.h"
#include "object/object.h"

typedef struct firn_hot firn_hot;
typedef struct firn_hot_shard firn_hot_shard;

/* NULL: no memory. shards: a power of two. */
firn_hot *firn_hot_new(firn_heap *heap, const firn_policy_ops *policy, unsigned shards);
/* Drops the index's references. Nobody may hold a shard. */
void firn_hot_free(firn_hot *hot);

unsigned firn_hot_shard_count(const firn_hot *hot);
firn_hot_shard *firn_hot_lock(firn_hot *hot, uint64_t hash);
firn_hot_shard *firn_hot_lock_number(firn_hot *hot, unsigned number);
void firn_hot_unlock(firn_hot_shard *shard);

/* The object indexed under the key; lent until the unlock. NULL: none. */
firn_object *firn_hot_find_locked(firn_hot_shard *shard, uint64_t hash, const void *key,
                                  size_t key_size);
/* The first object indexed under the hash for which version matches, or any when version is 0. */
firn_object *firn_hot_find_hash_locked(firn_hot_shard *shard, uint64_t hash, uint64_t version);

/* Makes sure that one firn_hot_insert_locked will find room. FIRN_OK or FIRN_ENOMEM. */
int firn_hot_reserve_locked(firn_hot_shard *shard);
/* Indexes the object, taking a reference of its own, in the place of `old` if that is not NULL.
 * Then old is no longer indexed nor resident, and the caller gets the index's reference to it. set:
 * further state bits for the new one; with FIRN_RESIDENT the policy is told of an arrival. */
void firn_hot_insert_locked(firn_hot_shard *shard, firn_object *object, firn_object *old,
                            uint32_t set);
/* The same for an entry that comes back after a restart: it ranks below all that is there. */
void firn_hot_restore_locked(firn_hot_shard *shard, firn_object *object, uint32_t set);
/* Takes the object out of the index and the policy; the caller gets the index's reference. */
void firn_hot_remove_locked(firn_hot_shard *shard, firn_object *object);
/* A hit: tells the policy, or admits the object to it again if it was on its way out. */
void firn_hot_hit_locked(firn_hot_shard *shard, firn_object *object);
/* Takes the object out of the policy; it stays indexed. */
void firn_hot_retire_locked(firn_hot_shard *shard, firn_object *object);
/* Sets and clears FIRN_QUEUED, FIRN_STORED and FIRN_TOMBSTONE, keeping the accounts. */
void firn_hot_change_locked(firn_hot_shard *shard, firn_object *object, uint32_t clear,
                            uint32_t set);
/* The policy's next victim, still resident, lent; NULL: the shard has none. */
firn_object *firn_hot_victim_locked(firn_hot_shard *shard);
/* Residents in order of value, from NULL to NULL. */
firn_object *firn_hot_walk_locked(firn_hot_shard *shard, const firn_object *object,
                                  enum firn_policy_order order);
/* Locks the shard whose turn it is to give a victim. */
firn_hot_shard *firn_hot_lock_next(firn_hot *hot);

/* Bytes of residents and of the tables; and of all that is indexed or queued, tables included.
 * Exact when nobody changes them meanwhile. */
uint64_t firn_hot_resident_bytes(const firn_hot *hot);
uint64_t firn_hot_held_bytes(const firn_hot *hot);
uint64_t firn_hot_resident_entries(const firn_hot *hot);
uint64_t firn_hot_table_bytes(const firn_hot *hot);

#endif
