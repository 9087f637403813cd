/* See links.h of this layer, and firn/link.h for the promises.
 *
 * What a put says of links is worked out before any lock is taken: the targets are watched in the
 * graph, then their versions are looked at. If one of them changes after that, the graph refuses
 * the put; if it changes later still, the link is there, and the change finds it. So between what
 * a value was made from and its being put, nothing is missed. */
#include "tier/links.h"

#include <string.h>

#include "object/domain.h"
#include "tier/cache.h"

int firn_linking_init(firn_cache *cache) {
    firn_linking *self = &cache->linking;
    self->graph = firn_graph_new(cache->heap);
    if (self->graph == NULL) {
        return FIRN_ENOMEM;
    }
    if (pthread_mutex_init(&self->settle_lock, NULL) != 0) {
        firn_graph_free(self->graph);
        self->graph = NULL;
        return FIRN_ENOMEM;
    }
    if (pthread_mutex_init(&self->store_lock, NULL) != 0) {
        pthread_mutex_destroy(&self->settle_lock);
        firn_graph_free(self->graph);
        self->graph = NULL;
        return FIRN_ENOMEM;
    }
    return FIRN_OK;
}

void firn_linking_fini(firn_cache *cache) {
    firn_linking *self = &cache->linking;
    if (self->graph != NULL) {
        pthread_mutex_destroy(&self->settle_lock);
        pthread_mutex_destroy(&self->store_lock);
        firn_graph_free(self->graph);
    }
}

/* ---- the plan of a put ---- */

/* What is at hand of a target, whose value is not wanted. FIRN_OK, FIRN_NOT_FOUND, or an error of
 * the cold tier. */
static int look_at_target(firn_cache *cache, uint64_t hash, const firn_link *link,
                          uint64_t *version, uint64_t *expires_ms) {
    firn_object *object = firn_hot_get(cache->hot, hash, link->key, link->key_size);
    *version = 0;
    *expires_ms = 0;
    if (object != NULL) {
        bool there = !firn_is_absent(cache, object);
        *version = there ? firn_object_version(object) : 0;
        *expires_ms = there ? firn_object_expires_ms(object) : 0;
        firn_object_unref(object);
        return there ? FIRN_OK : FIRN_NOT_FOUND;
    }
    firn_cold_meta meta;
    int result = cache->cold == NULL
                     ? FIRN_NOT_FOUND
                     : firn_look_below(cache, hash, link->key, link->key_size, &meta);
    if (result == FIRN_OK) {
        *version = meta.version;
        *expires_ms = meta.expires_ms;
    }
    return result == FIRN_ECORRUPT ? FIRN_NOT_FOUND : result;
}

int firn_links_check(firn_cache *cache, const firn_link *links, size_t count) {
    size_t bytes = 0;
    if (count > FIRN_LINKS_MAX || (links == NULL && count > 0)) {
        return firn_detail_set(&cache->detail,
                               count > FIRN_LINKS_MAX ? FIRN_ETOOLARGE : FIRN_EINVAL,
                               "an entry may have up to %d links", FIRN_LINKS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        if (links[i].kind != FIRN_LINK_KEEPS && links[i].kind != FIRN_LINK_DEPENDS) {
            return firn_detail_set(&cache->detail, FIRN_EINVAL,
                                   "firn_link.kind is %u; the choices are FIRN_LINK_KEEPS and "
                                   "FIRN_LINK_DEPENDS",
                                   links[i].kind);
        }
        int result = firn_check_key(cache, links[i].key, links[i].key_size);
        if (result != FIRN_OK) {
            return result;
        }
        bytes += links[i].key_size;
    }
    if (bytes > FIRN_LINK_BYTES_MAX) {
        return firn_detail_set(&cache->detail, FIRN_ETOOLARGE,
                               "the keys of an entry's links have %zu bytes; %zu are the most",
                               bytes, FIRN_LINK_BYTES_MAX);
    }
    return FIRN_OK;
}

/* Fills in one target, and in *seen the link as it is kept. */
static int plan_one(firn_cache *cache, firn_link_plan *plan, const firn_link *link, bool as_it_is,
                    firn_graph_link *target, firn_link *seen) {
    uint64_t expires_ms;
    uint64_t version;
    target->target = firn_hash64(cache->seed, link->key, link->key_size);
    target->kind = link->kind == FIRN_LINKS_BODY ? FIRN_LINK_KEEPS : link->kind;
    target->needed = link->kind == FIRN_LINKS_BODY;
    *seen = *link;
    if (link->kind != FIRN_LINK_DEPENDS) {
        seen->version = 0;
        return FIRN_OK;
    }
    target->change = firn_graph_watch(cache->linking.graph, target->target);
    if (target->change == 0) {
        return firn_detail_set(&cache->detail, FIRN_ENOMEM, "no memory for links");
    }
    int result = look_at_target(cache, target->target, link, &version, &expires_ms);
    if (result != FIRN_OK && result != FIRN_NOT_FOUND) {
        return result;
    }
    seen->version = as_it_is ? link->version : version;
    if (expires_ms != 0 && (plan->expires_ms == 0 || expires_ms < plan->expires_ms)) {
        plan->expires_ms = expires_ms;
    }
    return as_it_is || link->version == 0 || link->version == version ? FIRN_OK : FIRN_CONFLICT;
}

static void unwatch(firn_cache *cache, firn_graph_link *targets, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (targets[i].change != 0) {
            firn_graph_unwatch(cache->linking.graph, targets[i].target);
        }
    }
}

static int plan_links(firn_cache *cache, firn_link_plan *plan, const firn_link *links, size_t count,
                      size_t as_they_are) {
    firn_link *seen = firn_heap_alloc(cache->heap, count * sizeof *seen);
    plan->targets = firn_heap_zalloc(cache->heap, count * sizeof *plan->targets);
    int result = seen != NULL && plan->targets != NULL
                     ? FIRN_OK
                     : firn_detail_set(&cache->detail, FIRN_ENOMEM, "no memory for links");
    for (size_t i = 0; i < count && result == FIRN_OK; i++) {
        result = plan_one(cache, plan, &links[i], i < as_they_are, &plan->targets[i], &seen[i]);
    }
    if (result == FIRN_OK) {
        plan->block = firn_links_new(cache->heap, seen, count);
        result = plan->block != NULL ? FIRN_OK : FIRN_ENOMEM;
    }
    if (result != FIRN_OK && plan->targets != NULL) {
        unwatch(cache, plan->targets, count);
        firn_heap_free(cache->heap, plan->targets, count * sizeof *plan->targets);
        plan->targets = NULL;
    }
    firn_heap_free(cache->heap, seen, count * sizeof *seen);
    return result;
}

int firn_link_plan_begin(firn_cache *cache, firn_link_plan *plan, const firn_link *links,
                         size_t count, size_t as_they_are, bool owned) {
    *plan = (firn_link_plan){.owned = owned};
    if (count == 0 && !owned) {
        return FIRN_OK;
    }
    int result =
        firn_links_check(cache, as_they_are > 0 ? links + as_they_are : links, count - as_they_are);
    if (result == FIRN_OK && count > FIRN_LINKS_MAX) {
        result = firn_detail_set(&cache->detail, FIRN_ETOOLARGE, "an entry may have up to %d links",
                                 FIRN_LINKS_MAX);
    }
    if (result == FIRN_OK && cache->cold != NULL) {
        result = firn_links_note_stored(cache);
    }
    if (result == FIRN_OK && count > 0) {
        result = plan_links(cache, plan, links, count, as_they_are);
    }
    return result;
}

/* The links of a block, as an array for firn_link_plan_begin. */
static int unpack(firn_cache *cache, const firn_links *block, firn_link **links, size_t more) {
    *links = firn_heap_alloc(cache->heap, (block->count + more) * sizeof **links + 1);
    if (*links == NULL) {
        return firn_detail_set(&cache->detail, FIRN_ENOMEM, "no memory for links");
    }
    size_t at = 0;
    for (size_t i = 0; firn_links_next(block->bytes, block->size, &at, &(*links)[i]);) {
        i++;
    }
    return FIRN_OK;
}

static void free_unpacked(firn_cache *cache, const firn_links *block, firn_link *links,
                          size_t more) {
    firn_heap_free(cache->heap, links, (block->count + more) * sizeof *links + 1);
}

int firn_link_plan_of(firn_cache *cache, firn_link_plan *plan, const firn_object *object,
                      bool as_they_are) {
    firn_links *block = firn_object_get_links(object);
    bool owned = firn_object_is_owned(object);
    if (block == NULL) {
        return firn_link_plan_begin(cache, plan, NULL, 0, 0, owned);
    }
    firn_link *links;
    int result = unpack(cache, block, &links, 0);
    if (result == FIRN_OK) {
        result = firn_link_plan_begin(cache, plan, links, block->count,
                                      as_they_are ? block->count : 0, owned);
        free_unpacked(cache, block, links, 0);
    }
    firn_links_unref(block, cache->heap);
    return result;
}

void firn_link_plan_end(firn_cache *cache, firn_link_plan *plan) {
    if (plan->targets != NULL) {
        size_t count = plan->block->count;
        unwatch(cache, plan->targets, count);
        firn_heap_free(cache->heap, plan->targets, count * sizeof *plan->targets);
    }
    firn_links_unref(plan->block, cache->heap);
    *plan = (firn_link_plan){0};
}

int firn_links_put_locked(firn_cache *cache, uint64_t hash, uint64_t version,
                          const firn_link_plan *plan, bool changed) {
    firn_graph *graph = cache->linking.graph;
    bool linked = plan != NULL && firn_link_plan_any(plan);
    if (!linked && !firn_graph_in_use(graph)) {
        return FIRN_OK;
    }
    return firn_graph_put(graph, hash, version, linked && plan->owned,
                          linked ? plan->targets : NULL,
                          linked && plan->block != NULL ? plan->block->count : 0, changed);
}

void firn_links_remove_locked(firn_cache *cache, uint64_t hash) {
    if (firn_graph_in_use(cache->linking.graph)) {
        firn_graph_remove(cache->linking.graph, hash);
    }
}

void firn_links_change_locked(firn_cache *cache, uint64_t hash) {
    if (firn_graph_in_use(cache->linking.graph)) {
        firn_graph_change(cache->linking.graph, hash);
    }
}

void firn_links_lose_locked(firn_cache *cache, uint64_t hash, uint64_t version) {
    if (firn_graph_in_use(cache->linking.graph)) {
        firn_graph_lose(cache->linking.graph, hash, version);
    }
}

void firn_links_forsake(firn_cache *cache, uint64_t hash) {
    if (firn_graph_in_use(cache->linking.graph)) {
        firn_graph_doom(cache->linking.graph, hash, 0, FIRN_DOOM_DEPENDS);
    }
}

bool firn_links_keep(firn_cache *cache, uint64_t hash) {
    return firn_graph_in_use(cache->linking.graph) && firn_graph_keeps(cache->linking.graph, hash);
}

void firn_links_attributes(const firn_links *block, bool owned, firn_attributes *attributes) {
    attributes->owned = owned;
    attributes->links = block != NULL ? block->bytes : NULL;
    attributes->links_size = block != NULL ? block->size : 0;
}

/* ---- the doomed ---- */

/* The key of an entry that is known by its hash. */
typedef struct named {
    firn_heap *heap;
    unsigned char *key;
    size_t key_size;
} named;

static void *place_key(void *context, const firn_cold_meta *meta) {
    named *self = context;
    self->key = firn_heap_alloc(self->heap, meta->key_size);
    if (self->key != NULL) {
        memcpy(self->key, meta->key, meta->key_size);
        self->key_size = meta->key_size;
    }
    return NULL; /* the value is not wanted */
}

static bool is_there(firn_cache *cache, uint64_t hash) {
    firn_hot_shard *shard = firn_hot_lock(cache->hot, hash);
    const firn_object *object = firn_hot_find_hash_locked(shard, hash, 0);
    bool indexed = object != NULL;
    bool there = indexed && (firn_object_state(object) & FIRN_TOMBSTONE) == 0;
    firn_hot_unlock(shard);
    if (indexed || cache->cold == NULL) {
        return there;
    }
    return firn_cold_locate(cache->cold, hash) != FIRN_NOT_FOUND;
}

/* What was reclaimed under the hash of a target may have been an older record of it: of a target
 * that was put before it had to do with links, the graph does not know the version. */
static bool has_all_it_keeps(firn_cache *cache, uint64_t hash) {
    firn_graph *graph = cache->linking.graph;
    size_t room = firn_graph_kept(graph, hash, NULL, 0);
    uint64_t *targets = room > 0 ? firn_heap_alloc(cache->heap, room * sizeof *targets) : NULL;
    if (targets == NULL) {
        return false;
    }
    size_t count = firn_graph_kept(graph, hash, targets, room);
    bool all = count <= room;
    for (size_t i = 0; i < count && all; i++) {
        all = is_there(cache, targets[i]);
    }
    firn_heap_free(cache->heap, targets, room * sizeof *targets);
    return all;
}

/* It has another value by now, which is not doomed; or there is none, and the graph did not know.
 */
static void forget_doomed(firn_cache *cache, const firn_doomed *doomed) {
    firn_hot_shard *shard = firn_hot_lock(cache->hot, doomed->hash);
    if (firn_hot_find_hash_locked(shard, doomed->hash, 0) == NULL &&
        (cache->cold == NULL || firn_cold_locate(cache->cold, doomed->hash) == FIRN_NOT_FOUND)) {
        firn_graph_lose(cache->linking.graph, doomed->hash, doomed->version);
    }
    firn_graph_pardon(cache->linking.graph, doomed->hash);
    firn_hot_unlock(shard);
}

/* Deletes the entry if it has that version still. FIRN_OK also if there is none. */
static int delete_doomed(firn_cache *cache, const firn_doomed *doomed) {
    if (doomed->why == FIRN_DOOM_HOLDER && has_all_it_keeps(cache, doomed->hash)) {
        firn_graph_pardon(cache->linking.graph, doomed->hash);
        return FIRN_OK;
    }
    firn_hot_shard *shard = firn_hot_lock(cache->hot, doomed->hash);
    firn_object *object = firn_hot_find_hash_locked(shard, doomed->hash, 0);
    if (object != NULL) {
        firn_object_keep(object);
    }
    firn_hot_unlock(shard);
    int result = FIRN_NOT_FOUND;
    if (object != NULL) {
        size_t key_size;
        const void *key = firn_object_key(object, &key_size);
        result = firn_delete_quietly(cache, key, key_size, doomed->version);
        firn_object_unref(object);
    } else if (cache->cold != NULL) {
        named entry = {.heap = cache->heap};
        result = firn_cold_visit(cache->cold, doomed->hash, place_key, &entry);
        if (entry.key != NULL) {
            result = firn_delete_quietly(cache, entry.key, entry.key_size, doomed->version);
            firn_heap_free(cache->heap, entry.key, entry.key_size);
        }
    }
    if (result == FIRN_CONFLICT || result == FIRN_NOT_FOUND) {
        forget_doomed(cache, doomed);
    }
    if (result == FIRN_OK) {
        firn_count(cache->counters,
                   doomed->why == FIRN_DOOM_CIRCLE    ? FIRN_EVENT_COLLECTED
                   : doomed->why == FIRN_DOOM_DEPENDS ? FIRN_EVENT_INVALIDATED
                                                      : FIRN_EVENT_UNKEPT,
                   1);
        firn_decide(cache, doomed->hash, doomed->version, FIRN_DECISION_INVALIDATE,
                    doomed->why == FIRN_DOOM_CIRCLE    ? FIRN_REASON_CIRCLE
                    : doomed->why == FIRN_DOOM_DEPENDS ? FIRN_REASON_DEPENDS
                                                       : FIRN_REASON_UNKEPT,
                    0);
    }
    return result < 0 && result != FIRN_ECORRUPT ? result : FIRN_OK;
}

int firn_links_settle(firn_cache *cache) {
    firn_linking *self = &cache->linking;
    /* In this order: whoever takes the last one off the list has set `settling` before, and clears
     * it only when that one is gone. */
    if (!firn_graph_has_doomed(self->graph) &&
        !atomic_load_explicit(&self->settling, memory_order_acquire)) {
        return FIRN_OK;
    }
    firn_lock(&self->settle_lock);
    atomic_store_explicit(&self->settling, true, memory_order_release);
    firn_doomed doomed;
    int result = FIRN_OK;
    while (result == FIRN_OK && firn_graph_next_doomed(self->graph, &doomed)) {
        result = delete_doomed(cache, &doomed);
        if (result != FIRN_OK) {
            /* The disk is full, or the like: it stays doomed. */
            firn_graph_doom(self->graph, doomed.hash, doomed.version, doomed.why);
        }
    }
    atomic_store_explicit(&self->settling, false, memory_order_release);
    firn_unlock(&self->settle_lock);
    return result;
}

/* ---- changing the links of an entry ---- */

static bool same_target(const firn_link *a, const firn_link *b) {
    return a->kind == b->kind && a->key_size == b->key_size &&
           memcmp(a->key, b->key, a->key_size) == 0;
}

/* The links that the entry is to have: *count is raised or lowered by one. FIRN_EXISTS: they are as
 * they should be. FIRN_NOT_FOUND: the one that is to go is not there. */
static int edit(firn_link *links, size_t *count, const firn_link *link, bool add) {
    size_t at = 0;
    while (at < *count && !same_target(&links[at], link)) {
        at++;
    }
    if (add) {
        if (at < *count) {
            return FIRN_EXISTS;
        }
        links[(*count)++] = *link;
        return FIRN_OK;
    }
    if (at == *count) {
        return FIRN_NOT_FOUND;
    }
    memmove(&links[at], &links[at + 1], (*count - at - 1) * sizeof *links);
    --*count;
    return FIRN_OK;
}

/* FIRN_CONFLICT: the entry, or a target, changed meanwhile. */
static int change_links(firn_cache *cache, firn_object *object, const firn_link *link, bool add) {
    firn_links *block = firn_object_get_links(object);
    firn_links *empty = block == NULL ? firn_links_new(cache->heap, NULL, 0) : NULL;
    const firn_links *have = block != NULL ? block : empty;
    firn_link *links = NULL;
    firn_link_plan plan = {0};
    int result = have != NULL ? unpack(cache, have, &links, 1) : FIRN_ENOMEM;
    size_t count = have != NULL ? have->count : 0;
    if (result == FIRN_OK) {
        result = edit(links, &count, link, add);
    }
    if (result == FIRN_OK) {
        result = firn_link_plan_begin(cache, &plan, links, count, add ? count - 1 : count,
                                      firn_object_is_owned(object));
    }
    if (result == FIRN_OK) {
        result = firn_put_same(cache, object, &plan);
        firn_link_plan_end(cache, &plan);
    }
    if (links != NULL) {
        free_unpacked(cache, have, links, 1);
    }
    firn_links_unref(block, cache->heap);
    firn_links_unref(empty, cache->heap);
    return result;
}

static int change_entry(firn_cache *cache, const void *key, size_t key_size, const firn_link *link,
                        bool add) {
    if (cache == NULL || link == NULL) {
        return FIRN_EINVAL;
    }
    int result = firn_links_check(cache, link, 1);
    if (result == FIRN_OK) {
        result = firn_check_writable(cache);
    }
    bool again = result == FIRN_OK;
    while (again) {
        firn_object *object;
        result = firn_look(cache, key, key_size, &object);
        if (result != FIRN_OK) {
            return result;
        }
        uint64_t version = firn_object_version(object);
        result = change_links(cache, object, link, add);
        firn_object_unref(object);
        again = false;
        if (result == FIRN_CONFLICT) {
            /* Of the entry, which may be doomed, or of the target? */
            firn_links_settle(cache);
            again = firn_look(cache, key, key_size, &object) == FIRN_OK &&
                    firn_object_version(object) != version;
            firn_object_unref(object);
        }
    }
    firn_links_settle(cache);
    return result == FIRN_EXISTS ? FIRN_OK : result;
}

int firn_link_add(firn_cache *cache, const void *key, size_t key_size, const firn_link *link) {
    return change_entry(cache, key, key_size, link, true);
}

int firn_link_remove(firn_cache *cache, const void *key, size_t key_size, const firn_link *link) {
    return change_entry(cache, key, key_size, link, false);
}
