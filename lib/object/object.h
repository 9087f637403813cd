/* The object: one key and one immutable value in one allocation, with a reference count.
 *
 *     +--------------------------+-----------+---------+-------------------+
 *     | header, 80 bytes         | key       | padding | value             |
 *     +--------------------------+-----------+---------+-------------------+
 *                                                      ^ aligned to 16
 *
 * The count is the only thing that frees an object. The hot table's index holds one reference, the
 * write queue one, each handle of the program one. Knows nothing of tiers: what the state bits
 * mean is told here, what they cause is decided above. */
#ifndef FIRN_OBJECT_INTERNAL_H
#define FIRN_OBJECT_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <firn/object.h>

#include "base/heap.h"

/* State bits. All are guarded by the lock of the hash's shard in the hot table.
 *
 *                       put, promote, restore
 *      (detached) ---------------------------------> INDEXED|RESIDENT [|STORED after a cold read]
 *                                                     |    |      ^
 *                evict, STORED: leaves the index <----+    |      | hit: admitted again
 *                                                          |      |
 *                                   evict, not STORED      v      |
 *                                                    INDEXED|QUEUED -- batch done --> (detached)
 *
 *      flush, write-behind, write-through:  INDEXED|RESIDENT|QUEUED -- batch done -->
 *                                           INDEXED|RESIDENT|STORED
 *      delete:           a new object INDEXED|QUEUED|TOMBSTONE takes the place of the old
 *      overwrite:        the old one loses INDEXED|RESIDENT at once, QUEUED when the writer sees it
 *      reclaim below:    STORED is cleared: the entry is written again when it leaves
 *
 * With none set an object is detached: only handles keep it. */
enum {
    FIRN_INDEXED = 1,  /* the table points to it and holds a reference: this is the entry's truth */
    FIRN_RESIDENT = 2, /* the policy manages it */
    FIRN_QUEUED = 4,   /* the write queue, or a batch on its way, holds a reference */
    FIRN_STORED = 8,   /* the cold tier holds exactly this version */
    FIRN_TOMBSTONE = 16 /* says that the entry is gone, while the cold tier may not know yet */
};

struct firn_object {
    _Atomic uint32_t refs;   /* relaxed up; acquire-release down, see firn_object_unref */
    uint32_t state;          /* shard lock; changed only by firn_object_change_state */
    uint64_t hash;           /* immutable */
    uint64_t version;        /* immutable once indexed */
    uint64_t expires_ms;     /* immutable once indexed; 0: never */
    uint64_t value_size;     /* immutable, bytes */
    uint32_t key_size;       /* immutable, bytes */
    uint32_t policy_bits;    /* shard lock; the policy's */
    firn_heap *heap;         /* immutable, one reference */
    firn_object *prev;       /* shard lock; the policy's */
    firn_object *next;       /* shard lock; the policy's */
    firn_object *queue_next; /* the write queue's lock while QUEUED */
};

/* A new object with one reference, its key copied and its value to be filled in before anybody
 * else sees it. NULL: no memory. */
firn_object *firn_object_new(firn_heap *heap, uint64_t hash, const void *key, size_t key_size,
                             size_t value_size);

/* Where the value goes while the object is still its maker's own. */
void *firn_object_value(firn_object *object);

/* The bytes of its allocation, as the budget counts them; SIZE_MAX if they overflow. */
size_t firn_object_charge_for(size_t key_size, size_t value_size);
size_t firn_object_charge(const firn_object *object);

bool firn_object_has_key(const firn_object *object, uint64_t hash, const void *key,
                         size_t key_size);
bool firn_object_expired(const firn_object *object, uint64_t now_ms);

/* The shard lock is held. */
void firn_object_change_state_locked(firn_object *object, uint32_t clear, uint32_t set);

#endif
