/* Clearing: of everything, of what a prefix begins, of what has a tag. To clear is to write down
 * the version that the next put will exceed; entries below it are void from then on, in both tiers
 * (see base/clears.h), however many they are. Their memory comes back by a sweep in the background.
 * Knows nothing of how a hit finds out. */
#include <string.h>

#include <firn/clear.h>

#include "tier/cache.h"

enum { SWEPT_AT_ONCE = 2048, LISTED_AT_ONCE = 256 };

bool firn_look_whether_cleared(const firn_cache *cache, const firn_object *object) {
    size_t key_size;
    const void *key = firn_object_key(object, &key_size);
    bool is_body = firn_object_is_rich(object) && firn_object_rich_of(object)->is_body;
    firn_traits traits = firn_object_get_traits(object);
    return firn_clears_void(&cache->clears, firn_object_version(object), is_body ? NULL : key,
                            key_size, &traits);
}

/* Nothing that was read below before may come up after this. */
static void bump_all(firn_cache *cache) {
    for (unsigned i = 0; i < FIRN_REMOVAL_COUNTERS; i++) {
        /* Relaxed: who comes up too late to see it is found by the sweep, which begins after it;
         * and who comes up after the sweep was in the shard sees it by the shard's lock. */
        atomic_fetch_add_explicit(&cache->removals[i], 1, memory_order_relaxed);
    }
}

static void *give_up(void *context, const firn_cold_meta *meta) {
    (void)meta;
    *(bool *)context = true;
    return NULL;
}

/* Whether the cold tier has something under the hash that cannot be found any more. */
static bool is_lost_below(firn_cache *cache, uint64_t hash) {
    bool found = false;
    return cache->cold != NULL && firn_cold_locate(cache->cold, hash) == FIRN_OK &&
           firn_cold_visit(cache->cold, hash, give_up, &found) == FIRN_NOT_FOUND;
}

/* What depends on an entry that was cleared goes too, and what only such entries kept. So every
 * entry that links have to do with is looked at. */
static int clear_links(firn_cache *cache) {
    firn_graph *graph = cache->linking.graph;
    if (!firn_graph_in_use(graph)) {
        return FIRN_OK;
    }
    uint64_t hashes[LISTED_AT_ONCE];
    uint32_t cursor = 0;
    size_t count;
    while ((count = firn_graph_list(graph, &cursor, hashes, LISTED_AT_ONCE)) > 0) {
        for (size_t i = 0; i < count; i++) {
            bool lost = is_lost_below(cache, hashes[i]);
            firn_hot_shard *shard = firn_hot_lock(cache->hot, hashes[i]);
            const firn_object *object = firn_hot_find_hash_locked(shard, hashes[i], 0);
            if (object != NULL ? firn_is_cleared(cache, object) : lost) {
                firn_links_remove_locked(cache, hashes[i]);
            }
            firn_hot_unlock(shard);
        }
    }
    return firn_links_settle(cache);
}

static int clear(firn_cache *cache, firn_clear_line *line) {
    int result = firn_check_writable(cache);
    if (result != FIRN_OK) {
        return result;
    }
    firn_flights_clear_begin(&cache->flights);
    /* Release: what was begun, and what the program did before it clears, is seen by loads. */
    line->version = atomic_fetch_add_explicit(&cache->version, 1, memory_order_release);
    result = cache->cold != NULL ? firn_cold_clear(cache->cold, line)
                                 : firn_clears_add(&cache->clears, line);
    firn_flights_clear_end(&cache->flights);
    if (result == FIRN_ENOSPC && line->kind == FIRN_CLEARS_PREFIX) {
        return firn_detail_set(&cache->detail, result,
                               "there is no room for the clear of one more prefix: %d can be told "
                               "apart; clear a shorter one",
                               FIRN_CLEARS_PREFIXES_MAX);
    }
    if (result != FIRN_OK) {
        return result;
    }
    bump_all(cache);
    /* Release: who sees it sees the clear. It only grows but for the sweep's end. */
    uint64_t before = atomic_load_explicit(&cache->unswept, memory_order_relaxed);
    while (before < line->version &&
           !atomic_compare_exchange_weak_explicit(&cache->unswept, &before, line->version,
                                                  memory_order_release, memory_order_relaxed)) {
    }
    result = clear_links(cache);
    (void)firn_worker_need(cache); /* without it the memory comes back by and by */
    return result;
}

int firn_clear(firn_cache *cache, const void *prefix, size_t prefix_size) {
    if (cache == NULL || (prefix == NULL && prefix_size > 0)) {
        return FIRN_EINVAL;
    }
    if (prefix_size > FIRN_PREFIX_SIZE_MAX) {
        return firn_detail_set(&cache->detail, FIRN_EINVAL,
                               "a prefix of %zu bytes is above FIRN_PREFIX_SIZE_MAX, %zu bytes",
                               prefix_size, FIRN_PREFIX_SIZE_MAX);
    }
    firn_clear_line line = firn_clears_of_prefix(prefix, prefix_size, 0);
    return clear(cache, &line);
}

int firn_invalidate_tag(firn_cache *cache, const char *tag) {
    if (cache == NULL || tag == NULL) {
        return FIRN_EINVAL;
    }
    if (tag[0] == '\0') {
        return firn_detail_set(&cache->detail, FIRN_EINVAL,
                               "a tag must have at least one character");
    }
    firn_clear_line line = {.kind = FIRN_CLEARS_TAG, .name = firn_tag_hash(tag)};
    return clear(cache, &line);
}

/* ---- the sweep ---- */

typedef struct gathering {
    firn_cache *cache;
    bool left; /* there is something that stays until it is written */
    size_t count;
    firn_object *objects[SWEPT_AT_ONCE];
} gathering;

static void gather(void *context, firn_object *object) {
    gathering *self = context;
    unsigned state = firn_object_state(object);
    if ((state & FIRN_TOMBSTONE) != 0 || !firn_is_cleared(self->cache, object)) {
        return;
    }
    if ((state & FIRN_RESIDENT) != 0 && self->count < SWEPT_AT_ONCE) {
        self->objects[self->count++] = object;
    } else {
        self->left = true;
    }
}

/* A piece of a shard's table. True: the shard is done. */
static bool sweep_piece(firn_cache *cache, gathering *self) {
    self->cache = cache;
    self->left = false;
    self->count = 0;
    firn_hot_shard *shard = firn_hot_lock_number(cache->hot, cache->clearing.shard);
    uint64_t layout = firn_hot_layout_locked(shard);
    if (layout != cache->clearing.layout) {
        cache->clearing.position = 0;
        cache->clearing.layout = layout;
    }
    bool done = firn_hot_sweep_locked(shard, &cache->clearing.position, gather, self);
    for (size_t i = 0; i < self->count; i++) {
        firn_object *object = self->objects[i];
        self->objects[i] = firn_expire_locked(cache, shard, firn_object_hash(object), object);
        self->left = self->left || self->objects[i] == NULL;
    }
    cache->clearing.left = cache->clearing.left || self->left;
    firn_hot_unlock(shard);
    for (size_t i = 0; i < self->count; i++) {
        firn_object_unref(self->objects[i]);
    }
    return done;
}

bool firn_clear_step(firn_cache *cache) {
    /* Acquire: the clear is seen, and the counters that it bumped. */
    uint64_t unswept = atomic_load_explicit(&cache->unswept, memory_order_acquire);
    if (unswept == 0) {
        return false;
    }
    if (cache->clearing.target == 0 &&
        firn_queue_look(&cache->queue).completed < cache->clearing.await) {
        return false;
    }
    gathering *self = firn_heap_alloc(cache->heap, sizeof *self);
    if (self == NULL) {
        return false; /* hits go on looking */
    }
    if (cache->clearing.target == 0) {
        cache->clearing.target = unswept;
        cache->clearing.shard = 0;
        cache->clearing.position = 0;
        cache->clearing.left = false;
    }
    if (sweep_piece(cache, self)) {
        cache->clearing.position = 0;
        cache->clearing.layout = 0;
        cache->clearing.shard++;
    }
    firn_heap_free(cache->heap, self, sizeof *self);
    if (cache->clearing.shard < firn_hot_shard_count(cache->hot)) {
        return true;
    }
    uint64_t target = cache->clearing.target;
    cache->clearing.target = 0;
    if (cache->clearing.left) {
        /* It is in the queue, so that another look is due when that is done. */
        cache->clearing.await = firn_queue_look(&cache->queue).pushed;
        return false;
    }
    /* Unless something was cleared since: then once more. */
    return !atomic_compare_exchange_strong_explicit(&cache->unswept, &target, 0,
                                                    memory_order_release, memory_order_relaxed);
}
