/* Weak references: see firn/weak.h. A weak reference is the entry's key and a watch on the object
 * it was made from; what it gives is always what the cache says of the key, and the watch only
 * spares making the object anew while somebody still holds it. */
#include <firn/weak.h>

#include <string.h>

#include "object/domain.h"
#include "tier/cache.h"

struct firn_weak {
    firn_domain *domain; /* a reference; immutable, as all but the watch */
    firn_cache *cache;   /* not to be touched once the domain says that it is closed */
    uint64_t hash;
    firn_watch watch;
    size_t key_size;
    unsigned char key[];
};

int firn_weak_new(firn_cache *cache, firn_object *object, firn_weak **out) {
    if (out != NULL) {
        *out = NULL;
    }
    if (cache == NULL || object == NULL || out == NULL) {
        return FIRN_EINVAL;
    }
    if (firn_object_pool(object) != cache->pool || firn_object_version(object) == 0) {
        return firn_detail_set(
            &cache->detail, FIRN_EINVAL,
            "a weak reference is made to an object that this cache gave, or that "
            "was put into it");
    }
    size_t key_size;
    const void *key = firn_object_key(object, &key_size);
    firn_weak *weak = firn_heap_alloc(cache->heap, sizeof *weak + key_size);
    if (weak == NULL) {
        return firn_detail_set(&cache->detail, FIRN_ENOMEM, "no memory for a weak reference");
    }
    weak->domain = firn_domain_ref(firn_domain_of(object));
    weak->cache = cache;
    weak->hash = firn_hash64(cache->seed, key, key_size);
    weak->key_size = key_size;
    memcpy(weak->key, key, key_size);
    firn_hot_shard *shard = firn_hot_lock(cache->hot, weak->hash);
    firn_hot_change_locked(shard, object, 0, FIRN_WATCHED);
    firn_hot_unlock(shard);
    int result = firn_watch_add(weak->domain, &weak->watch, object);
    if (result != FIRN_OK) {
        firn_domain_unref(weak->domain);
        firn_heap_free(cache->heap, weak, sizeof *weak + key_size);
        return firn_detail_set(&cache->detail, result, "no memory for a weak reference");
    }
    *out = weak;
    return FIRN_OK;
}

/* The object is not indexed. If the cold tier holds the same version of the entry, it becomes
 * resident again. Uses the reference up unless FIRN_OK is returned. */
static int revive(firn_weak *weak, firn_object *live, firn_object **object) {
    firn_cache *cache = weak->cache;
    uint32_t removals = firn_removals_look(cache, weak->hash);
    firn_object *indexed = firn_hot_get(cache->hot, weak->hash, weak->key, weak->key_size);
    firn_cold_meta meta;
    if (indexed == NULL && cache->cold != NULL && !firn_is_unfresh(cache, live) &&
        (firn_object_state(live) & FIRN_QUEUED) == 0 &&
        firn_cold_read(cache->cold, weak->hash, weak->key, weak->key_size, NULL, NULL, &meta) ==
            FIRN_OK &&
        meta.version == firn_object_version(live)) {
        firn_count_of(cache, firn_object_group(live), FIRN_EVENT_COLD_HIT);
        firn_promote(cache, weak->hash, &live, removals);
        *object = live;
        return FIRN_OK;
    }
    firn_object_unref(indexed);
    firn_object_unref(live);
    return FIRN_NOT_FOUND;
}

static int get(firn_weak *weak, firn_object **object) {
    firn_object *live = firn_watch_upgrade(weak->domain, &weak->watch);
    if (atomic_load_explicit(&weak->domain->closed, memory_order_acquire)) {
        *object = live;
        return live != NULL ? FIRN_OK : FIRN_NOT_FOUND;
    }
    if (live != NULL && (firn_object_state(live) & FIRN_INDEXED) == 0) {
        if (revive(weak, live, object) == FIRN_OK) {
            return FIRN_OK;
        }
        live = NULL;
    }
    /* An indexed one is found by its key, with all that belongs to a hit. */
    firn_object_unref(live);
    return firn_get_any(weak->cache, weak->key, weak->key_size, object);
}

int firn_weak_get(firn_weak *weak, firn_object **object) {
    if (object != NULL) {
        *object = NULL;
    }
    if (weak == NULL || object == NULL) {
        return FIRN_EINVAL;
    }
    int result = get(weak, object);
    if (result == FIRN_OK && weak->domain->tracker != NULL) {
        firn_track_take(weak->domain->tracker, *object, __builtin_return_address(0));
    }
    return result;
}

void firn_weak_free(firn_weak *weak) {
    if (weak == NULL) {
        return;
    }
    firn_domain *domain = weak->domain;
    firn_watch_remove(domain, &weak->watch);
    firn_heap_free(domain->heap, weak, sizeof *weak + weak->key_size);
    firn_domain_unref(domain);
}
