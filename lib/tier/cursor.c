/* Cursors: firn/cursor.h. Knows both tiers, and how an entry may move between them while a walk
 * goes on.
 *
 * The walk goes over the hashes of the keys, from the lowest to the highest, an interval at a time.
 * For each interval it makes a list of hashes that may have an entry, and looks each of them up
 * when its turn comes, as a get would, wherever the entry is by then. A hash is looked up once, so
 * no key is given twice, whatever is written, copied or moved meanwhile; and it is looked up after
 * the open, so nothing that was gone by then is given. It remains to be seen that the hash of every
 * entry that is there all the while is in the list of its interval.
 *
 * A shard of the hot tier is a range of hashes. When the walk comes to it, the hashes of all that
 * its table holds are collected, a few buckets at each hold of its lock (`hot`, 8 bytes each). From
 * before that until the interval is listed, an entry whose record is reclaimed below while it is in
 * the table is noted (`lifted`). Then an interval is listed: the next hashes that the cold tier's
 * index knows, and up to the last of them those of hot and of lifted.
 *
 * Take an entry whose interval is listed while it has no valid record below. It is in the table
 * then. Either it never had a record since the collection began: then it was in the table all the
 * time, in a place that did not change but by the table's own moves, which the collection minds,
 * and so is in hot. Or it had one, and lost it. An entry in the table loses a valid record in one
 * way only, that its segment is given up; that is told before anything else is written, and before
 * the index forgets the hash, and so it is in lifted, or it is in the index's list still, as one
 * that is dead. For that, lifted is looked at after the index. Who has a valid record is in the
 * index's list: see firn_session_walk.
 *
 * A read-only cache has nothing in its table, and what a writer elsewhere has in its own it cannot
 * see. */
#include <firn/cursor.h>

#include <stdlib.h>
#include <string.h>

#include "tier/cache.h"

enum {
    CHUNK_HASHES = 2048,  /* of the index, in one interval */
    RESTARTS_MAX = 8,     /* of the collection, when the table changes its layout; then it is made
                             in one hold of the lock */
    ATTEMPTS_MAX = 16,    /* at an entry that moves all the time */
    PIECE_ENTRIES = 1024, /* that one piece of a sweep may give, at the most */
};

typedef struct hash_list {
    uint64_t *hashes;
    size_t count;
    size_t size;
} hash_list;

struct firn_cursor {
    firn_cache *cache;
    void *prefix;
    size_t prefix_size;
    unsigned flags;

    /* The interval is from `from` to `to`, of the shard. */
    unsigned shard;
    bool shard_listed;
    bool interval_listed;
    bool ended;
    uint64_t from;
    uint64_t to;
    hash_list hot; /* sorted, from hot_at on */
    size_t hot_at;
    hash_list cold; /* sorted; of the index, and lifted */
    size_t cold_at;

    /* cursors_lock: */
    struct firn_cursor *next;
    bool awaits;           /* the next two hold */
    uint64_t awaited_from; /* what is lifted is noted from here */
    uint64_t awaited_to;   /* to here */
    hash_list lifted;      /* in any order */
    bool forgot;           /* there was no memory to note one */
};

/* ---- lists of hashes ---- */

static bool reserve(firn_heap *heap, hash_list *list, size_t more) {
    if (list->size - list->count >= more) {
        return true;
    }
    size_t size = list->size + list->size / 2 + more;
    uint64_t *hashes = firn_heap_alloc(heap, size * sizeof *hashes);
    if (hashes == NULL) {
        return false;
    }
    if (list->count > 0) {
        memcpy(hashes, list->hashes, list->count * sizeof *hashes);
    }
    firn_heap_free(heap, list->hashes, list->size * sizeof *hashes);
    list->hashes = hashes;
    list->size = size;
    return true;
}

static void release(firn_heap *heap, hash_list *list) {
    firn_heap_free(heap, list->hashes, list->size * sizeof *list->hashes);
    *list = (hash_list){NULL, 0, 0};
}

static int compare(const void *a, const void *b) {
    const uint64_t *left = a;
    const uint64_t *right = b;
    return *left < *right ? -1 : *left > *right;
}

static void sort(hash_list *list) {
    if (list->count < 2) {
        return;
    }
    qsort(list->hashes, list->count, sizeof *list->hashes, compare);
    size_t kept = 1;
    for (size_t i = 1; i < list->count; i++) {
        if (list->hashes[i] != list->hashes[kept - 1]) {
            list->hashes[kept++] = list->hashes[i];
        }
    }
    list->count = kept;
}

/* ---- open and close ---- */

static void free_cursor(firn_cursor *cursor) {
    firn_heap *heap = cursor->cache->heap;
    release(heap, &cursor->hot);
    release(heap, &cursor->cold);
    release(heap, &cursor->lifted);
    firn_heap_free(heap, cursor->prefix, cursor->prefix_size);
    firn_heap_free(heap, cursor, sizeof *cursor);
}

static firn_cursor *new_cursor(firn_cache *cache, const void *prefix, size_t prefix_size) {
    firn_cursor *cursor = firn_heap_zalloc(cache->heap, sizeof *cursor);
    if (cursor == NULL || prefix_size == 0) {
        return cursor;
    }
    cursor->prefix = firn_heap_alloc(cache->heap, prefix_size);
    if (cursor->prefix == NULL) {
        firn_heap_free(cache->heap, cursor, sizeof *cursor);
        return NULL;
    }
    memcpy(cursor->prefix, prefix, prefix_size);
    return cursor;
}

int firn_cursor_open(firn_cache *cache, const void *prefix, size_t prefix_size, unsigned flags,
                     firn_cursor **out) {
    if (out != NULL) {
        *out = NULL;
    }
    if (cache == NULL || out == NULL || (prefix == NULL && prefix_size > 0)) {
        return FIRN_EINVAL;
    }
    if ((flags & ~(unsigned)FIRN_CURSOR_KEYS) != 0) {
        return firn_detail_set(&cache->detail, FIRN_EINVAL, "a cursor knows no flag 0x%x",
                               flags & ~(unsigned)FIRN_CURSOR_KEYS);
    }
    if (prefix_size > FIRN_KEY_SIZE_MAX) {
        return firn_detail_set(&cache->detail, FIRN_ETOOLARGE,
                               "a prefix of %zu bytes is above FIRN_KEY_SIZE_MAX, %zu bytes",
                               prefix_size, FIRN_KEY_SIZE_MAX);
    }
    firn_cursor *cursor = new_cursor(cache, prefix, prefix_size);
    if (cursor == NULL) {
        return firn_detail_set(&cache->detail, FIRN_ENOMEM, "no memory for a cursor");
    }
    cursor->cache = cache;
    cursor->prefix_size = prefix_size;
    cursor->flags = flags;
    pthread_mutex_lock(&cache->cursors_lock);
    cursor->next = cache->cursors;
    cache->cursors = cursor;
    pthread_mutex_unlock(&cache->cursors_lock);
    *out = cursor;
    return FIRN_OK;
}

void firn_cursor_close(firn_cursor *cursor) {
    if (cursor == NULL) {
        return;
    }
    firn_cache *cache = cursor->cache;
    pthread_mutex_lock(&cache->cursors_lock);
    firn_cursor **at = &cache->cursors;
    while (*at != cursor) {
        at = &(*at)->next;
    }
    *at = cursor->next;
    pthread_mutex_unlock(&cache->cursors_lock);
    free_cursor(cursor);
}

/* ---- what may have an entry ---- */

void firn_cursors_note_lifted(firn_cache *cache, uint64_t hash) {
    pthread_mutex_lock(&cache->cursors_lock);
    for (firn_cursor *cursor = cache->cursors; cursor != NULL; cursor = cursor->next) {
        if (!cursor->awaits || hash < cursor->awaited_from || hash > cursor->awaited_to) {
            continue;
        }
        if (reserve(cache->heap, &cursor->lifted, 1)) {
            cursor->lifted.hashes[cursor->lifted.count++] = hash;
        } else {
            cursor->forgot = true;
        }
    }
    pthread_mutex_unlock(&cache->cursors_lock);
}

static int no_memory(firn_cursor *cursor) {
    return firn_detail_set(&cursor->cache->detail, FIRN_ENOMEM, "no memory to walk over the cache");
}

static void keep_hash(void *context, firn_object *object) {
    hash_list *list = context;
    list->hashes[list->count++] = firn_object_hash(object);
}

static int collect(firn_cursor *cursor) {
    firn_hot *hot = cursor->cache->hot;
    size_t position = 0;
    uint64_t layout = 0;
    unsigned restarts = 0;
    bool over = false;
    cursor->hot.count = 0;
    while (!over) {
        firn_hot_shard *shard = firn_hot_lock_number(hot, cursor->shard);
        do {
            if (!reserve(cursor->cache->heap, &cursor->hot, PIECE_ENTRIES)) {
                firn_hot_unlock(shard);
                return no_memory(cursor);
            }
            if (position > 0 && firn_hot_layout_locked(shard) != layout) {
                position = 0; /* what was collected stays: it is sorted out in the end */
                restarts++;
            }
            layout = firn_hot_layout_locked(shard);
            over = firn_hot_sweep_locked(shard, &position, keep_hash, &cursor->hot);
        } while (!over && restarts >= RESTARTS_MAX);
        firn_hot_unlock(shard);
    }
    sort(&cursor->hot);
    return FIRN_OK;
}

static int list_shard(firn_cursor *cursor) {
    firn_cache *cache = cursor->cache;
    pthread_mutex_lock(&cache->cursors_lock);
    cursor->awaits = true;
    cursor->awaited_from = cursor->from;
    cursor->awaited_to = firn_hot_last_hash(cache->hot, cursor->shard);
    cursor->lifted.count = 0;
    pthread_mutex_unlock(&cache->cursors_lock);
    int result = collect(cursor);
    cursor->hot_at = 0;
    cursor->shard_listed = result == FIRN_OK;
    return result;
}

/* Takes what was lifted up to the interval's end over into the list, and waits for what is lifted
 * behind it. */
static int take_lifted(firn_cursor *cursor) {
    firn_cache *cache = cursor->cache;
    hash_list *lifted = &cursor->lifted;
    int result = FIRN_OK;
    pthread_mutex_lock(&cache->cursors_lock);
    if (cursor->forgot || !reserve(cache->heap, &cursor->cold, lifted->count)) {
        cursor->forgot = false;
        result = no_memory(cursor);
    } else {
        size_t kept = 0;
        for (size_t i = 0; i < lifted->count; i++) {
            if (lifted->hashes[i] <= cursor->to) {
                cursor->cold.hashes[cursor->cold.count++] = lifted->hashes[i];
            } else {
                lifted->hashes[kept++] = lifted->hashes[i];
            }
        }
        lifted->count = kept;
        cursor->awaits = cursor->to < cursor->awaited_to;
        cursor->awaited_from = cursor->awaits ? cursor->to + 1 : 0;
    }
    pthread_mutex_unlock(&cache->cursors_lock);
    return result;
}

static int list_interval(firn_cursor *cursor) {
    firn_cache *cache = cursor->cache;
    hash_list *cold = &cursor->cold;
    cold->count = 0;
    cursor->cold_at = 0;
    cursor->to = firn_hot_last_hash(cache->hot, cursor->shard);
    if (cache->cold != NULL) {
        if (!reserve(cache->heap, cold, 2 * CHUNK_HASHES)) {
            return no_memory(cursor);
        }
        int result =
            firn_cold_walk(cache->cold, cursor->from, cold->hashes, CHUNK_HASHES, &cold->count);
        if (result != FIRN_OK) {
            return result;
        }
        if (cold->count == CHUNK_HASHES && cold->hashes[cold->count - 1] < cursor->to) {
            cursor->to = cold->hashes[cold->count - 1];
        }
        while (cold->count > 0 && cold->hashes[cold->count - 1] > cursor->to) {
            cold->count--;
        }
    }
    int result = take_lifted(cursor);
    sort(cold);
    cursor->interval_listed = result == FIRN_OK;
    return result;
}

/* The next hash of the interval. */
static bool next_hash(firn_cursor *cursor, uint64_t *hash) {
    const hash_list *hot = &cursor->hot;
    const hash_list *cold = &cursor->cold;
    bool above = cursor->hot_at < hot->count && hot->hashes[cursor->hot_at] <= cursor->to;
    bool below = cursor->cold_at < cold->count;
    if (!above && !below) {
        return false;
    }
    uint64_t of_hot = above ? hot->hashes[cursor->hot_at] : UINT64_MAX;
    uint64_t of_cold = below ? cold->hashes[cursor->cold_at] : UINT64_MAX;
    *hash = of_hot < of_cold ? of_hot : of_cold;
    cursor->hot_at += above && of_hot == *hash;
    cursor->cold_at += below && of_cold == *hash;
    return true;
}

/* Behind the interval. */
static void step(firn_cursor *cursor) {
    cursor->interval_listed = false;
    if (cursor->to == firn_hot_last_hash(cursor->cache->hot, cursor->shard)) {
        cursor->shard++;
        cursor->shard_listed = false;
        cursor->ended = cursor->shard == firn_hot_shard_count(cursor->cache->hot);
    }
    cursor->from = cursor->to + 1; /* of no account at the end */
}

/* ---- an entry ---- */

static bool has_prefix(const firn_cursor *cursor, const void *key, size_t key_size) {
    return key_size >= cursor->prefix_size &&
           (cursor->prefix_size == 0 || memcmp(key, cursor->prefix, cursor->prefix_size) == 0);
}

/* An object of the hot tier: FIRN_OK, FIRN_NOT_FOUND if it is not to be given, FIRN_ENOMEM. Uses
 * the reference up. */
static int give_hot(firn_cursor *cursor, firn_object *found, firn_object **object) {
    firn_cache *cache = cursor->cache;
    size_t key_size;
    const void *key = firn_object_key(found, &key_size);
    int result = FIRN_OK;
    bool is_body = firn_object_is_rich(found) && firn_object_rich_of(found)->is_body;
    if (firn_is_absent(cache, found) || is_body || !has_prefix(cursor, key, key_size)) {
        result = FIRN_NOT_FOUND;
    } else if ((cursor->flags & FIRN_CURSOR_KEYS) == 0) {
        *object = found;
        return FIRN_OK;
    } else {
        *object = firn_object_make(cache->pool, key, key_size, 0,
                                   &(firn_traits){.expires_ms = firn_object_expires_ms(found)});
        if (*object != NULL) {
            firn_object_set_version(*object, firn_object_version(found));
        } else {
            result = no_memory(cursor);
        }
    }
    firn_object_unref(found);
    return result;
}

/* What a visit below found. */
typedef struct visit {
    firn_cursor *cursor;
    firn_object *object; /* the key, of an entry whose value is not to be had at once */
    bool passed_over;    /* the entry is none of those that are wanted */
    bool key_only;       /* the object is complete without the value */
    bool in_pieces;      /* likewise, but the value may be got together */
    firn_stream_head head;
    firn_raise raise; /* all others */
} visit;

static void make_key(visit *self, const firn_cold_meta *meta) {
    self->object = firn_object_make(self->cursor->cache->pool, meta->key, meta->key_size, 0,
                                    &(firn_traits){.expires_ms = meta->expires_ms});
    if (self->object != NULL) {
        firn_object_set_version(self->object, meta->version);
    }
}

static void *place(void *context, const firn_cold_meta *meta) {
    visit *self = context;
    firn_cursor *cursor = self->cursor;
    const firn_traits *traits = &meta->attributes.traits;
    self->passed_over =
        meta->attributes.body || !has_prefix(cursor, meta->key, meta->key_size) ||
        (firn_traits_limited(traits) && firn_traits_unserved(traits, firn_now_ms(cursor->cache)));
    if (self->passed_over) {
        return NULL;
    }
    self->in_pieces = meta->part == FIRN_PART_HEAD && meta->value_size == sizeof self->head.bytes;
    bool keys_asked = (cursor->flags & FIRN_CURSOR_KEYS) != 0;
    if (keys_asked || self->in_pieces) {
        make_key(self, meta);
        self->key_only = keys_asked && self->object != NULL;
    }
    if (keys_asked) {
        return NULL;
    }
    if (self->in_pieces) {
        self->head.hash = meta->hash;
        self->head.version = meta->version;
        self->head.expires_ms = meta->expires_ms;
        return self->object != NULL ? self->head.bytes : NULL;
    }
    void *to = firn_raise_place(&self->raise, meta);
    if (to == NULL && self->raise.result == FIRN_ETYPE) {
        make_key(self, meta);
        self->key_only = self->object != NULL;
    }
    return to;
}

/* After the visit: what it came to, if all of the value was read. */
static int finish_visit(visit *self, int result) {
    if (self->in_pieces || self->key_only || self->passed_over) {
        return result;
    }
    int raised = firn_raise_finish(&self->raise, NULL, 0, result);
    self->object = self->raise.object;
    return raised == FIRN_NOT_FOUND && result == FIRN_OK ? FIRN_AGAIN : raised;
}

/* FIRN_OK; FIRN_NOT_FOUND: there is none; FIRN_AGAIN: there is one, and it is not to be given; or
 * an error. */
static int visit_below(firn_cursor *cursor, uint64_t hash, firn_object **object) {
    visit self = {.cursor = cursor, .raise = {.cache = cursor->cache}};
    int result = finish_visit(&self, firn_cold_visit(cursor->cache->cold, hash, place, &self));
    if (result == FIRN_OK && self.in_pieces && firn_stream_fits(cursor->cache, &self.head)) {
        size_t key_size;
        const void *key = firn_object_key(self.object, &key_size);
        firn_object *whole = NULL;
        result = firn_stream_assemble(cursor->cache, &self.head, key, key_size, &whole);
        firn_object_unref(self.object);
        self.object = whole;
        result = result == FIRN_NOT_FOUND ? FIRN_AGAIN : result;
    }
    if (self.passed_over || result == FIRN_ECORRUPT || result == FIRN_EXISTS) {
        result = FIRN_AGAIN;
    } else if (self.key_only) {
        result = FIRN_OK;
    }
    if (result != FIRN_OK) {
        firn_object_unref(self.object);
        return result;
    }
    *object = self.object;
    return FIRN_OK;
}

/* Looks an entry up, which may be on its way from one tier to the other: what is in neither at one
 * look after the other may have come up in between, and lost its record at once. Then it is above
 * at the second look; unless it went down again, which shows in the counter of removals. */
static int find(firn_cursor *cursor, uint64_t hash, firn_object **object) {
    firn_cache *cache = cursor->cache;
    for (unsigned attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        uint32_t removals = firn_removals_look(cache, hash);
        firn_hot_shard *shard = firn_hot_lock(cache->hot, hash);
        firn_object *found = firn_hot_find_hash_locked(shard, hash, 0);
        if (found != NULL) {
            firn_object_keep(found);
        }
        firn_hot_unlock(shard);
        if (found != NULL) {
            return give_hot(cursor, found, object);
        }
        int result = cache->cold != NULL ? visit_below(cursor, hash, object) : FIRN_AGAIN;
        if (result != FIRN_NOT_FOUND) {
            return result == FIRN_AGAIN ? FIRN_NOT_FOUND : result;
        }
        if (attempt > 0 && removals == firn_removals_look(cache, hash)) {
            break;
        }
    }
    return FIRN_NOT_FOUND;
}

int firn_cursor_next(firn_cursor *cursor, firn_object **object) {
    if (object != NULL) {
        *object = NULL;
    }
    if (cursor == NULL || object == NULL) {
        return FIRN_EINVAL;
    }
    while (!cursor->ended) {
        int result = FIRN_OK;
        uint64_t hash;
        if (!cursor->shard_listed) {
            result = list_shard(cursor);
        } else if (!cursor->interval_listed) {
            result = list_interval(cursor);
        } else if (next_hash(cursor, &hash)) {
            result = find(cursor, hash, object);
            if (result == FIRN_OK) {
                firn_note_handle(cursor->cache, *object, __builtin_return_address(0));
                return FIRN_OK;
            }
        } else {
            step(cursor);
        }
        if (result < 0) {
            return result;
        }
    }
    return FIRN_NOT_FOUND;
}
