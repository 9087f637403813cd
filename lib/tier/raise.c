/* An entry on its way up: from what the cold tier finds to an object. Bytes are decompressed
 * straight into the object; the value of a type is decoded from a buffer afterwards, when the read
 * is done, for the type's functions may call the cache. */
#include <string.h>

#include "tier/cache.h"

/* Place for the key and the encoded value. */
static void *place_typed(firn_raise *self, const firn_cold_meta *meta) {
    self->result =
        firn_types_find(&self->cache->types, &meta->attributes, &self->type, &self->cache->detail);
    if (self->result != FIRN_OK) {
        return NULL;
    }
    self->type_version = meta->attributes.type_version;
    self->version = meta->version;
    self->traits = meta->attributes.traits;
    self->key_size = meta->key_size;
    self->encoded_size = meta->value_size;
    size_t tags_size = firn_traits_tags_size(&self->traits);
    self->buffer_size = tags_size + meta->key_size + meta->value_size;
    self->buffer = firn_heap_alloc(self->cache->heap, self->buffer_size);
    if (self->buffer == NULL) {
        return NULL;
    }
    if (tags_size > 0) {
        memcpy(self->buffer, self->traits.tags, tags_size);
        self->traits.tags = self->buffer;
    }
    memcpy(self->buffer + tags_size, meta->key, meta->key_size);
    return self->buffer + tags_size + meta->key_size;
}

/* The links of the record. */
static bool take_links(firn_raise *self, const firn_attributes *attributes) {
    if (attributes->body && attributes->interned) {
        self->result = FIRN_ECORRUPT; /* a value is not in a value */
        return false;
    }
    self->owned = attributes->owned;
    self->is_body = attributes->body;
    self->interned = attributes->interned;
    if (attributes->links_size == 0) {
        return true;
    }
    if (firn_links_count(attributes->links, attributes->links_size) == SIZE_MAX) {
        self->result = FIRN_ECORRUPT;
        return false;
    }
    self->links = firn_links_from(self->cache->heap, attributes->links, attributes->links_size);
    return self->links != NULL;
}

static void give_links(firn_raise *self) {
    firn_object_set_links(self->object, self->links);
    firn_object_rich_of(self->object)->owned = self->owned;
    firn_object_rich_of(self->object)->is_body = self->is_body;
    self->links = NULL;
}

/* The value is elsewhere. When that is lost, so is the entry. */
static int find_body(firn_raise *self) {
    firn_links *links = firn_object_get_links(self->object);
    firn_object *body = NULL;
    int result = links != NULL ? firn_intern_find(self->cache, links, &body) : FIRN_NOT_FOUND;
    if (result == FIRN_OK) {
        firn_object_set_body(self->object, body);
        firn_object_unref(body);
    }
    firn_links_unref(links, self->cache->heap);
    return result;
}

void *firn_raise_place(void *context, const firn_cold_meta *meta) {
    firn_raise *self = context;
    if (meta->part == FIRN_PART_HEAD) {
        self->is_stream = meta->value_size == sizeof self->head.bytes;
        self->head.hash = meta->hash;
        self->head.version = meta->version;
        self->head.expires_ms = meta->expires_ms;
        return self->is_stream ? self->head.bytes : NULL;
    }
    bool rich = firn_attributes_rich(&meta->attributes);
    if (rich && !take_links(self, &meta->attributes)) {
        return NULL;
    }
    if (meta->attributes.type != 0) {
        return place_typed(self, meta);
    }
    firn_pool *pool = self->cache->pool;
    self->object = rich ? firn_object_make_rich(pool, meta->key, meta->key_size, meta->value_size,
                                                &meta->attributes.traits, NULL)
                        : firn_object_make(pool, meta->key, meta->key_size, meta->value_size,
                                           &meta->attributes.traits);
    if (self->object == NULL) {
        return NULL;
    }
    if (rich) {
        give_links(self);
    }
    firn_object_set_version(self->object, meta->version);
    return firn_object_body(self->object);
}

static int decode(firn_raise *self) {
    firn_cache *cache = self->cache;
    const unsigned char *key = self->buffer + firn_traits_tags_size(&self->traits);
    int result =
        firn_types_decode(cache->pool, self->type, self->type_version, key, self->key_size,
                          key + self->key_size, self->encoded_size, &self->traits, &self->object);
    if (result == FIRN_OK) {
        firn_object_set_version(self->object, self->version);
        give_links(self);
        firn_domain_add_holder(self->object); /* others know it from here on */
    } else if (result == FIRN_ETYPE) {
        firn_count(cache->counters, FIRN_EVENT_DECODE_FAILURE, 1);
        firn_decide(cache, firn_hash64(cache->seed, key, self->key_size), self->version,
                    FIRN_DECISION_DAMAGE, FIRN_REASON_UNDECODED, 0);
        firn_detail_set(&cache->detail, FIRN_ETYPE,
                        "type '%s' cannot decode the %zu bytes of an entry: it counts as a miss",
                        self->type->name, self->encoded_size);
        result = FIRN_NOT_FOUND;
    }
    return result;
}

int firn_raise_finish(firn_raise *self, const void *key, size_t key_size, int result) {
    if (result == FIRN_ENOMEM && self->result != FIRN_OK) {
        result = self->result; /* the place was refused for that */
    }
    if (result == FIRN_OK && self->is_stream) {
        result = key != NULL
                     ? firn_stream_assemble(self->cache, &self->head, key, key_size, &self->object)
                     : FIRN_NOT_FOUND;
    }
    if (result == FIRN_OK && self->buffer != NULL) {
        result = decode(self);
    }
    if (self->buffer != NULL) {
        firn_heap_free(self->cache->heap, self->buffer, self->buffer_size);
        self->buffer = NULL;
    }
    if (result == FIRN_OK && self->interned) {
        result = find_body(self);
    }
    if (result == FIRN_OK && !self->takes_all && firn_is_unfresh(self->cache, self->object)) {
        result = FIRN_NOT_FOUND;
    } else if (result == FIRN_OK && firn_object_slides(self->object)) {
        firn_object_traits_of(self->object)->known_ms = firn_object_expires_ms(self->object);
        firn_object_slide(self->object, firn_now_ms(self->cache));
    }
    firn_links_unref(self->links, self->cache->heap); /* if nobody took them */
    self->links = NULL;
    if (result != FIRN_OK) {
        firn_object_unref(self->object);
        self->object = NULL;
    }
    return result;
}
