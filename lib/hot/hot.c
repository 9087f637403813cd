/* See hot.h. */
#include "hot/hot.h"

#include <pthread.h>
#include <stdatomic.h>

#include "hot/table.h"

struct firn_hot_shard {
    _Alignas(64) pthread_mutex_t lock; /* guards all below, and the state of the objects indexed */
    firn_table table;
    void *policy_state;
    firn_hot *hot; /* immutable */
};

struct firn_hot {
    firn_heap *heap; /* lent; immutable, as the next three */
    const firn_policy_ops *policy;
    unsigned shard_count;
    unsigned shard_shift; /* the hash's top bits choose the shard, its low bits the slot */
    size_t allocation;    /* bytes of this block */

    /* Gauges: changed under a shard's lock, read by anybody; relaxed, for no other data hangs on
     * them. */
    _Alignas(64) _Atomic uint64_t resident_bytes;
    _Atomic uint64_t held_bytes;
    _Atomic uint64_t resident_entries;
    _Atomic uint64_t table_bytes;
    _Alignas(64) _Atomic unsigned turn; /* relaxed: any order of turns will do */

    firn_hot_shard shards[];
};

static void add(_Atomic uint64_t *gauge, uint64_t amount) {
    atomic_fetch_add_explicit(gauge, amount, memory_order_relaxed);
}

static void subtract(_Atomic uint64_t *gauge, uint64_t amount) {
    atomic_fetch_sub_explicit(gauge, amount, memory_order_relaxed);
}

static int shard_init(firn_hot_shard *shard, firn_hot *hot) {
    shard->hot = hot;
    shard->policy_state = firn_heap_zalloc(hot->heap, hot->policy->state_size);
    if (shard->policy_state == NULL) {
        return FIRN_ENOMEM;
    }
    hot->policy->init(shard->policy_state);
    if (firn_table_init(&shard->table, hot->heap) != FIRN_OK ||
        pthread_mutex_init(&shard->lock, NULL) != 0) {
        firn_table_fini(&shard->table, hot->heap);
        firn_heap_free(hot->heap, shard->policy_state, hot->policy->state_size);
        return FIRN_ENOMEM;
    }
    add(&hot->table_bytes, firn_table_bytes(&shard->table));
    return FIRN_OK;
}

firn_hot *firn_hot_new(firn_heap *heap, const firn_policy_ops *policy, unsigned shards) {
    size_t size = sizeof(firn_hot) + shards * sizeof(firn_hot_shard);
    firn_hot *hot = firn_heap_alloc_lines(heap, size);
    if (hot == NULL) {
        return NULL;
    }
    hot->heap = heap;
    hot->policy = policy;
    hot->allocation = size;
    hot->shard_shift = 64;
    for (unsigned n = shards; n > 1; n /= 2) {
        hot->shard_shift--;
    }
    for (unsigned i = 0; i < shards; i++) {
        if (shard_init(&hot->shards[i], hot) != FIRN_OK) {
            firn_hot_free(hot);
            return NULL;
        }
        hot->shard_count++;
    }
    return hot;
}

void firn_hot_free(firn_hot *hot) {
    if (hot == NULL) {
        return;
    }
    for (unsigned i = 0; i < hot->shard_count; i++) {
        firn_hot_shard *shard = &hot->shards[i];
        for (size_t place = 0; place <= shard->table.mask; place++) {
            firn_object_unref(shard->table.slots[place].object);
        }
        firn_table_fini(&shard->table, hot->heap);
        firn_heap_free(hot->heap, shard->policy_state, hot->policy->state_size);
        pthread_mutex_destroy(&shard->lock);
    }
    firn_heap_free_lines(hot->heap, hot, hot->allocation);
}

unsigned firn_hot_shard_count(const firn_hot *hot) {
    return hot->shard_count;
}

firn_hot_shard *firn_hot_lock_number(firn_hot *hot, unsigned number) {
    firn_hot_shard *shard = &hot->shards[number];
    pthread_mutex_lock(&shard->lock);
    return shard;
}

firn_hot_shard *firn_hot_lock(firn_hot *hot, uint64_t hash) {
    return firn_hot_lock_number(hot,
                                hot->shard_shift == 64 ? 0 : (unsigned)(hash >> hot->shard_shift));
}

firn_hot_shard *firn_hot_lock_next(firn_hot *hot) {
    unsigned turn = atomic_fetch_add_explicit(&hot->turn, 1, memory_order_relaxed);
    return firn_hot_lock_number(hot, turn & (hot->shard_count - 1));
}

void firn_hot_unlock(firn_hot_shard *shard) {
    pthread_mutex_unlock(&shard->lock);
}

firn_object *firn_hot_find_locked(firn_hot_shard *shard, uint64_t hash, const void *key,
                                  size_t key_size) {
    return firn_table_find(&shard->table, hash, key, key_size);
}

firn_object *firn_hot_find_hash_locked(firn_hot_shard *shard, uint64_t hash, uint64_t version) {
    return firn_table_find_hash(&shard->table, hash, version);
}

int firn_hot_reserve_locked(firn_hot_shard *shard) {
    size_t before = firn_table_bytes(&shard->table);
    int result = firn_table_reserve(&shard->table, shard->hot->heap);
    add(&shard->hot->table_bytes, firn_table_bytes(&shard->table) - before);
    return result;
}

/* The one place where states and accounts change, so that they cannot part. */
static void change_locked(firn_hot_shard *shard, firn_object *object, uint32_t clear,
                          uint32_t set) {
    firn_hot *hot = shard->hot;
    uint32_t before = object->state;
    firn_object_change_state_locked(object, clear, set);
    uint32_t after = object->state;
    uint64_t charge = firn_object_charge(object);
    bool held_before = (before & (FIRN_INDEXED | FIRN_QUEUED)) != 0;
    bool held_after = (after & (FIRN_INDEXED | FIRN_QUEUED)) != 0;
    if (held_after && !held_before) {
        add(&hot->held_bytes, charge);
    } else if (held_before && !held_after) {
        subtract(&hot->held_bytes, charge);
    }
    if ((after & ~before & FIRN_RESIDENT) != 0) {
        add(&hot->resident_bytes, charge);
        add(&hot->resident_entries, 1);
    } else if ((before & ~after & FIRN_RESIDENT) != 0) {
        subtract(&hot->resident_bytes, charge);
        subtract(&hot->resident_entries, 1);
    }
}

void firn_hot_change_locked(firn_hot_shard *shard, firn_object *object, uint32_t clear,
                            uint32_t set) {
    change_locked(shard, object, clear, set);
}

void firn_hot_retire_locked(firn_hot_shard *shard, firn_object *object) {
    if ((object->state & FIRN_RESIDENT) != 0) {
        shard->hot->policy->remove(shard->policy_state, object);
        change_locked(shard, object, FIRN_RESIDENT, 0);
    }
}

static void index_locked(firn_hot_shard *shard, firn_object *object, firn_object *old,
                         uint32_t set) {
    firn_object_ref(object);
    if (old != NULL) {
        firn_hot_retire_locked(shard, old);
        change_locked(shard, old, FIRN_INDEXED, 0);
        firn_table_replace(&shard->table, old, object);
    } else {
        firn_table_insert(&shard->table, object);
    }
    change_locked(shard, object, 0, FIRN_INDEXED | set);
}

void firn_hot_insert_locked(firn_hot_shard *shard, firn_object *object, firn_object *old,
                            uint32_t set) {
    index_locked(shard, object, old, set);
    if ((set & FIRN_RESIDENT) != 0) {
        shard->hot->policy->insert(shard->policy_state, object);
    }
}

void firn_hot_restore_locked(firn_hot_shard *shard, firn_object *object, uint32_t set) {
    index_locked(shard, object, NULL, set | FIRN_RESIDENT);
    shard->hot->policy->restore(shard->policy_state, object);
}

void firn_hot_remove_locked(firn_hot_shard *shard, firn_object *object) {
    firn_hot_retire_locked(shard, object);
    firn_table_remove(&shard->table, object);
    change_locked(shard, object, FIRN_INDEXED, 0);
}

void firn_hot_hit_locked(firn_hot_shard *shard, firn_object *object) {
    if ((object->state & FIRN_RESIDENT) != 0) {
        shard->hot->policy->hit(shard->policy_state, object);
    } else {
        change_locked(shard, object, 0, FIRN_RESIDENT);
        shard->hot->policy->insert(shard->policy_state, object);
    }
}

firn_object *firn_hot_victim_locked(firn_hot_shard *shard) {
    return shard->hot->policy->victim(shard->policy_state);
}

firn_object *firn_hot_walk_locked(firn_hot_shard *shard, const firn_object *object,
                                  enum firn_policy_order order) {
    return shard->hot->policy->walk(shard->policy_state, object, order);
}

uint64_t firn_hot_table_bytes(const firn_hot *hot) {
    return atomic_load_explicit(&hot->table_bytes, memory_order_relaxed);
}

uint64_t firn_hot_resident_bytes(const firn_hot *hot) {
    return atomic_load_explicit(&hot->resident_bytes, memory_order_relaxed) +
           firn_hot_table_bytes(hot);
}

uint64_t firn_hot_held_bytes(const firn_hot *hot) {
    return atomic_load_explicit(&hot->held_bytes, memory_order_relaxed) + firn_hot_table_bytes(hot);
}

uint64_t firn_hot_resident_entries(const firn_hot *hot) {
    return atomic_load_explicit(&hot->resident_entries, memory_order_relaxed);
}
