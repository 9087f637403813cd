/* An open-addressing table from a 64-bit hash to objects, for one shard.
 *
 * Linear probing over slots of 16 bytes; a removal shifts its successors back, so there are no
 * marks of the dead and a lookup ends at the first empty slot. Doubles when three quarters full.
 * Knows no locks and takes no references: its owner does both. */
#ifndef FIRN_HOT_TABLE_H
#define FIRN_HOT_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/heap.h"
#include "object/object.h"

typedef struct firn_table_slot {
    uint64_t hash;
    firn_object *object; /* NULL: empty */
} firn_table_slot;

typedef struct firn_table {
    firn_table_slot *slots;
    size_t mask; /* capacity - 1; the capacity is a power of two */
    size_t count;
} firn_table;

/* FIRN_OK or FIRN_ENOMEM. */
int firn_table_init(firn_table *table, firn_heap *heap);
void firn_table_fini(firn_table *table, firn_heap *heap);
size_t firn_table_bytes(const firn_table *table);

/* Room for one more. FIRN_OK or FIRN_ENOMEM. */
int firn_table_reserve(firn_table *table, firn_heap *heap);
void firn_table_insert(firn_table *table, firn_object *object);
/* Puts object where old is; both have the same hash. */
void firn_table_replace(firn_table *table, const firn_object *old, firn_object *object);
void firn_table_remove(firn_table *table, const firn_object *object);

firn_object *firn_table_find(const firn_table *table, uint64_t hash, const void *key,
                             size_t key_size);
firn_object *firn_table_find_hash(const firn_table *table, uint64_t hash, uint64_t version);

#endif
