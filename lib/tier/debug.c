/* Telling people what is in memory: see firn/debug.h. */
#include <firn/debug.h>

#include <stdio.h>
#include <string.h>

#include "object/track.h"
#include "tier/cache.h"

enum {
    SOME_MAX = 1024, /* that one piece of a sweep, or of a list, gives */
    KEY_SHOWN = 40,  /* bytes */
    LINE_MAX = 400,
};

/* An object as it was when it was met; with a reference. */
typedef struct seen {
    firn_object *object;
    unsigned state;
    uint64_t references; /* but the index's and ours */
    unsigned pins;
} seen;

typedef struct dump {
    firn_cache *cache;
    firn_debug_line line;
    void *context;
    firn_hot_shard *shard; /* that is swept; NULL: a list of holders is gone through */
    uint64_t told;
    unsigned count;
    seen some[SOME_MAX];
} dump;

static void meet(void *context, firn_object *object) {
    dump *self = context;
    if (self->count == SOME_MAX || !firn_object_try_ref(object)) {
        return;
    }
    seen *met = &self->some[self->count++];
    *met = (seen){.object = object, .state = firn_object_state(object)};
    if (self->shard != NULL) {
        met->references = firn_hot_references_locked(self->shard, object);
        met->pins = (met->state & FIRN_PINNED) != 0 ? firn_entry_bits(&object->entry) : 0;
    } else {
        uint32_t refs = atomic_load_explicit(&object->entry.refs, memory_order_relaxed);
        met->references = refs & (FIRN_OBJECT_INDEXED - 1);
    }
    met->references -= met->references > 0; /* ours */
}

/* A key as text, cut. */
static void show_bytes(const unsigned char *key, size_t size, char *text, size_t room) {
    size_t used = 0;
    for (size_t i = 0; i < size && i < KEY_SHOWN; i++) {
        bool plain = key[i] >= ' ' && key[i] <= '~' && key[i] != '"' && key[i] != '\\';
        used += (size_t)snprintf(text + used, room - used, plain ? "%c" : "\\x%02x", key[i]);
    }
    if (size > KEY_SHOWN) {
        snprintf(text + used, room - used, "...");
    }
}

static void show_key(const firn_object *object, char *text, size_t room) {
    size_t size;
    const unsigned char *key = firn_object_key(object, &size);
    show_bytes(key, size, text, room);
}

static void tell_held(void *context, firn_object *held) {
    dump *self = context;
    char key[KEY_SHOWN * 4 + 4] = "";
    char line[LINE_MAX];
    if (held != NULL) {
        show_key(held, key, sizeof key);
        snprintf(line, sizeof line, "    holds %p \"%s\"", (void *)held, key);
        self->line(self->context, line);
    }
}

static int tell_link(void *context, const firn_link *link) {
    dump *self = context;
    char key[KEY_SHOWN * 4 + 4] = "";
    char line[LINE_MAX];
    show_bytes(link->key, link->key_size, key, sizeof key);
    snprintf(line, sizeof line, "    %s \"%s\"",
             link->kind == FIRN_LINK_KEEPS ? "keeps" : "depends on", key);
    self->line(self->context, line);
    return 0;
}

/* Whom it keeps and depends on, and whose value it has. */
static void tell_links(dump *self, firn_object *object) {
    char line[LINE_MAX];
    const firn_object *body = firn_object_body_of(object);
    (void)firn_object_links(object, tell_link, self);
    if (body != NULL) {
        snprintf(line, sizeof line, "    shares the value of %p", (const void *)body);
        self->line(self->context, line);
    }
}

static void tell(dump *self, const seen *met) {
    static const char *const names[] = {"indexed",   "resident", "queued", "stored",
                                        "tombstone", "pinned",   "watched"};
    const firn_object *object = met->object;
    const firn_type *type = firn_object_type(object);
    char key[KEY_SHOWN * 4 + 4] = "";
    char state[100] = "";
    char line[LINE_MAX];
    size_t used = 0;
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if ((met->state >> i & 1) != 0) {
            used += (size_t)snprintf(state + used, sizeof state - used, " %s", names[i]);
        }
    }
    if (firn_object_is_owned(object)) {
        used += (size_t)snprintf(state + used, sizeof state - used, " owned");
    }
    show_key(object, key, sizeof key);
    snprintf(line, sizeof line,
             "%p \"%s\" %zu bytes, %s, version %llu, %llu references, %u pins:%s",
             (const void *)object, key, firn_object_value_size(object),
             type != NULL ? type->name : "bytes", (unsigned long long)firn_object_version(object),
             (unsigned long long)met->references, met->pins, used > 0 ? state : " detached");
    self->line(self->context, line);
    self->told++;
    if (type != NULL && type->visit != NULL && firn_object_rich_of(object)->live) {
        type->visit(type->context, firn_object_data(object), firn_object_value_size(object),
                    tell_held, self);
    }
    tell_links(self, met->object);
}

/* Those that were met; no lock of a shard or list is held. */
static void tell_some(dump *self) {
    for (unsigned i = 0; i < self->count; i++) {
        tell(self, &self->some[i]);
        firn_object_unref(self->some[i].object);
    }
    self->count = 0;
}

static void dump_shard(dump *self, unsigned number) {
    size_t position = 0;
    uint64_t layout = 0;
    for (bool done = false; !done;) {
        self->shard = firn_hot_lock_number(self->cache->hot, number);
        if (firn_hot_layout_locked(self->shard) != layout) {
            layout = firn_hot_layout_locked(self->shard);
            position = 0;
        }
        done = firn_hot_sweep_locked(self->shard, &position, meet, self);
        firn_hot_unlock(self->shard);
        tell_some(self);
    }
    self->shard = NULL;
}

static void dump_holders(dump *self, firn_holder_list *list) {
    firn_holder_mark mark = {.rich = {.listed = false}};
    for (bool done = false; !done;) {
        done = firn_domain_walk_holders(list, &mark, SOME_MAX, meet, self);
        tell_some(self);
    }
}

static void sum_up(dump *self) {
    firn_pool_stats pool;
    firn_stats stats = FIRN_STATS_INIT;
    char line[LINE_MAX];
    firn_pool_get_stats(self->cache->pool, &pool);
    (void)firn_get_stats(self->cache, &stats);
    snprintf(line, sizeof line,
             "%llu objects told of; in all %llu of %llu bytes, of which %llu bytes are detached",
             (unsigned long long)self->told, (unsigned long long)pool.blocks,
             (unsigned long long)pool.charge_bytes, (unsigned long long)stats.detached_bytes);
    self->line(self->context, line);
}

int firn_debug_dump(struct firn_cache *cache, firn_debug_line line, void *context) {
    if (cache == NULL || line == NULL) {
        return FIRN_EINVAL;
    }
    if (firn_drops_within()) {
        return firn_detail_set(&cache->detail, FIRN_EBUSY,
                               "firn_debug_dump was called by a function that drops a value");
    }
    dump *self = firn_heap_zalloc(cache->heap, sizeof *self);
    if (self == NULL) {
        return FIRN_ENOMEM;
    }
    *self = (dump){.cache = cache, .line = line, .context = context};
    /* The collector drops no value meanwhile that we may be looking at, and does not wonder where
     * our references come from. */
    firn_lock(&cache->collector.lock);
    for (unsigned i = 0; i < firn_hot_shard_count(cache->hot); i++) {
        dump_shard(self, i);
    }
    for (unsigned i = 0; i < FIRN_HOLDER_LISTS; i++) {
        dump_holders(self, &cache->collector.domain->holders[i]);
    }
    firn_unlock(&cache->collector.lock);
    sum_up(self);
    firn_heap_free(cache->heap, self, sizeof *self);
    return FIRN_OK;
}
