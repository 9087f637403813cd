/* See types.h for this layer, firn/type.h for the promises. */
#include "tier/types.h"

#include <string.h>

#include "object/domain.h"
#include "tier/cache.h"

/* ---- which there are ---- */

int firn_types_init(firn_types *types, firn_heap *heap, const char *path) {
    types->heap = heap;
    atomic_init(&types->count, 0);
    if (pthread_mutex_init(&types->lock, NULL) != 0) {
        types->heap = NULL;
        return FIRN_ENOMEM;
    }
    return path != NULL ? firn_type_names_read(&types->names, path, heap) : FIRN_OK;
}

void firn_types_fini(firn_types *types) {
    if (types->heap != NULL) {
        firn_type_names_free(&types->names, types->heap);
        pthread_mutex_destroy(&types->lock);
    }
}

/* Its place, or the number of types. */
static unsigned place_of(const firn_types *types, const firn_type *type) {
    unsigned count = atomic_load_explicit(&types->count, memory_order_acquire);
    unsigned at = 0;
    while (at < count && types->types[at] != type) {
        at++;
    }
    return at;
}

bool firn_types_has(const firn_types *types, const firn_type *type) {
    return place_of(types, type) < atomic_load_explicit(&types->count, memory_order_acquire);
}

static const firn_type *type_of_id(const firn_types *types, uint32_t id) {
    unsigned count = atomic_load_explicit(&types->count, memory_order_acquire);
    for (unsigned i = 0; i < count; i++) {
        if (types->ids[i] == id) {
            return types->types[i];
        }
    }
    return NULL;
}

static int refuse_unknown(firn_types *types, const firn_attributes *attributes,
                          firn_detail *detail) {
    pthread_mutex_lock(&types->lock);
    const firn_type_name *named = firn_type_names_find(&types->names, attributes->type);
    int result = firn_detail_set(detail, FIRN_ETYPE,
                                 "the entry is of type '%s' (%08x), version %u, which is not "
                                 "registered: see firn_register_type",
                                 named != NULL ? named->name : "?", attributes->type,
                                 attributes->type_version);
    pthread_mutex_unlock(&types->lock);
    return result;
}

int firn_types_find(firn_types *types, const firn_attributes *attributes, const firn_type **type,
                    firn_detail *detail) {
    *type = type_of_id(types, attributes->type);
    if (*type == NULL) {
        return refuse_unknown(types, attributes, detail);
    }
    if (attributes->type_version > (*type)->version || (*type)->decode == NULL) {
        return firn_detail_set(
            detail, FIRN_ETYPE, "the entry is of type '%s', version %u; the one registered %s %u",
            (*type)->name, attributes->type_version,
            (*type)->decode == NULL ? "cannot decode, and has version" : "has version",
            (*type)->version);
    }
    return FIRN_OK;
}

static int check_type(const firn_type *type, firn_detail *detail) {
    if (type->size != sizeof *type) {
        return firn_detail_set(detail, FIRN_EINVAL, "firn_type.size is %zu; it must be %zu",
                               type->size, sizeof *type);
    }
    if (type->name == NULL || !firn_type_name_valid(type->name)) {
        return firn_detail_set(detail, FIRN_EINVAL,
                               "firn_type.name must be 1 to %d letters, digits, dots, dashes and "
                               "underscores",
                               FIRN_TYPE_NAME_MAX);
    }
    if (type->decode == NULL && type->encode != NULL) {
        return firn_detail_set(detail, FIRN_EINVAL,
                               "type '%s' has encode and no decode: what it wrote could not be "
                               "read",
                               type->name);
    }
    return FIRN_OK;
}

/* The lock is held. */
static int add_locked(firn_cache *cache, const firn_type *type) {
    firn_types *types = &cache->types;
    uint32_t id = firn_type_id(type->name);
    unsigned count = atomic_load_explicit(&types->count, memory_order_relaxed);
    const firn_type *same = type_of_id(types, id);
    if (same != NULL) {
        return same == type ? FIRN_OK : FIRN_EXISTS;
    }
    if (count == FIRN_TYPES_MAX) {
        return firn_detail_set(&cache->detail, FIRN_ENOSPC, "there are %d types already",
                               FIRN_TYPES_MAX);
    }
    if (cache->cold != NULL && !cache->options.read_only && type->encode != NULL) {
        int result = firn_type_names_add(&types->names, firn_cold_path(cache->cold), type->name,
                                         type->version, cache->heap, &cache->detail);
        if (result != FIRN_OK) {
            return result;
        }
    }
    if (type->visit != NULL && !firn_types_visit(types)) {
        int result = firn_worker_need(cache);
        if (result != FIRN_OK) {
            return result;
        }
        atomic_store_explicit(&types->visit, true, memory_order_relaxed);
    }
    types->types[count] = type;
    types->ids[count] = id;
    atomic_store_explicit(&types->count, count + 1, memory_order_release);
    return FIRN_OK;
}

int firn_register_type(struct firn_cache *cache, const firn_type *type) {
    if (cache == NULL || type == NULL) {
        return FIRN_EINVAL;
    }
    int result = check_type(type, &cache->detail);
    if (result == FIRN_OK) {
        pthread_mutex_lock(&cache->types.lock);
        result = add_locked(cache, type);
        pthread_mutex_unlock(&cache->types.lock);
    }
    return result;
}

/* ---- values and bytes ---- */

void firn_encoder_init(firn_encoder *encoder, firn_heap *heap) {
    *encoder = (firn_encoder){.heap = heap};
}

void firn_encoder_clear(firn_encoder *encoder, size_t keep_max) {
    encoder->size = 0;
    if (encoder->room > keep_max) {
        firn_heap_free(encoder->heap, encoder->bytes, encoder->room);
        encoder->bytes = NULL;
        encoder->room = 0;
    }
}

int firn_encode_bytes(firn_encoder *encoder, const void *bytes, size_t size) {
    if (encoder == NULL || (bytes == NULL && size > 0)) {
        return FIRN_EINVAL;
    }
    if (size > encoder->room - encoder->size) {
        if (size > SIZE_MAX / 4 || encoder->size > SIZE_MAX / 4) {
            return FIRN_ENOMEM;
        }
        size_t room = (encoder->size + size) * 2 + 256;
        unsigned char *grown = firn_heap_alloc(encoder->heap, room);
        if (grown == NULL) {
            return FIRN_ENOMEM;
        }
        if (encoder->size > 0) {
            memcpy(grown, encoder->bytes, encoder->size);
        }
        firn_heap_free(encoder->heap, encoder->bytes, encoder->room);
        encoder->bytes = grown;
        encoder->room = room;
    }
    if (size > 0) {
        memcpy(encoder->bytes + encoder->size, bytes, size);
        encoder->size += size;
    }
    return FIRN_OK;
}

int firn_types_encode(firn_encoder *encoder, const firn_object *object,
                      firn_attributes *attributes) {
    const firn_type *type = firn_object_type(object);
    if (type->encode == NULL) {
        return FIRN_ETYPE;
    }
    size_t before = encoder->size;
    int result = type->encode(type->context, firn_object_data(object),
                              firn_object_value_size(object), encoder);
    if (result != FIRN_OK) {
        encoder->size = before;
        return result == FIRN_ENOMEM ? FIRN_ENOMEM : FIRN_ETYPE;
    }
    attributes->type = firn_type_id(type->name);
    attributes->type_version = type->version;
    return FIRN_OK;
}

int firn_types_decode(firn_pool *pool, const firn_type *type, uint32_t version, const void *key,
                      size_t key_size, const void *bytes, size_t size, const firn_traits *traits,
                      firn_object **object) {
    size_t value_size = type->value_size;
    *object = NULL;
    if (type->measure != NULL &&
        type->measure(type->context, version, bytes, size, &value_size) != FIRN_OK) {
        return FIRN_ETYPE;
    }
    firn_object *made = firn_object_make_rich(pool, key, key_size, value_size, traits, type);
    if (made == NULL) {
        return FIRN_ENOMEM;
    }
    int result =
        type->decode(type->context, version, bytes, size, firn_object_body(made), value_size);
    if (result != FIRN_OK) {
        firn_object_unref(made);
        return result == FIRN_ENOMEM ? FIRN_ENOMEM : FIRN_ETYPE;
    }
    firn_object_enliven(made);
    *object = made;
    return FIRN_OK;
}
