/* See object.h in this folder for the layout and the states, firn/object.h for the promises. */
#include "object/object.h"

#include <string.h>

_Static_assert(sizeof(firn_object) % 16 == 0, "key and value are aligned from the header's end");

static size_t padded(size_t key_size) {
    return (key_size + 15) & ~(size_t)15;
}

size_t firn_object_charge_for(size_t key_size, size_t value_size) {
    size_t head = sizeof(firn_object) + padded(key_size);
    return value_size > SIZE_MAX - head ? SIZE_MAX : head + value_size;
}

firn_object *firn_object_new(firn_heap *heap, uint64_t hash, const void *key, size_t key_size,
                             size_t value_size) {
    size_t size = firn_object_charge_for(key_size, value_size);
    if (size == SIZE_MAX || size > INT64_MAX) {
        return NULL;
    }
    firn_object *object = firn_heap_alloc(heap, size);
    if (object == NULL) {
        return NULL;
    }
    *object = (firn_object){
        .hash = hash,
        .value_size = value_size,
        .key_size = (uint32_t)key_size,
        .heap = firn_heap_ref(heap),
    };
    atomic_init(&object->refs, 1);
    memcpy(object + 1, key, key_size);
    firn_heap_count_object(heap, (int64_t)size);
    return object;
}

void *firn_object_value(firn_object *object) {
    return (unsigned char *)(object + 1) + padded(object->key_size);
}

size_t firn_object_charge(const firn_object *object) {
    return firn_object_charge_for(object->key_size, object->value_size);
}

bool firn_object_has_key(const firn_object *object, uint64_t hash, const void *key,
                         size_t key_size) {
    return object->hash == hash && object->key_size == key_size &&
           memcmp(object + 1, key, key_size) == 0;
}

bool firn_object_expired(const firn_object *object, uint64_t now_ms) {
    return object->expires_ms != 0 && object->expires_ms <= now_ms;
}

void firn_object_change_state_locked(firn_object *object, uint32_t clear, uint32_t set) {
    object->state = (object->state & ~clear) | set;
}

const void *firn_object_data(const firn_object *object) {
    return (const unsigned char *)(object + 1) + padded(object->key_size);
}

size_t firn_object_size(const firn_object *object) {
    return object->value_size;
}

const void *firn_object_key(const firn_object *object, size_t *key_size) {
    if (key_size != NULL) {
        *key_size = object->key_size;
    }
    return object + 1;
}

uint64_t firn_object_expires_ms(const firn_object *object) {
    return object->expires_ms;
}

uint64_t firn_object_version(const firn_object *object) {
    return object->version;
}

firn_object *firn_object_ref(firn_object *object) {
    /* Relaxed: the caller holds a reference, so the object cannot go meanwhile. */
    atomic_fetch_add_explicit(&object->refs, 1, memory_order_relaxed);
    return object;
}

void firn_object_unref(firn_object *object) {
    if (object == NULL) {
        return;
    }
    /* Acquire-release: all uses of other holders happen before the memory is given back. */
    if (atomic_fetch_sub_explicit(&object->refs, 1, memory_order_acq_rel) == 1) {
        firn_heap *heap = object->heap;
        size_t size = firn_object_charge(object);
        firn_heap_count_object(heap, -(int64_t)size);
        firn_heap_free(heap, object, size);
        firn_heap_unref(heap);
    }
}
