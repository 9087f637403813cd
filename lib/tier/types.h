/* The types that a cache knows, and their values as bytes. Knows objects and the names that the
 * store remembers; not when values move. */
#ifndef FIRN_TIER_TYPES_H
#define FIRN_TIER_TYPES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <firn/type.h>

#include "base/detail.h"
#include "base/heap.h"
#include "cold/record.h"
#include "cold/type_names.h"
#include "object/object.h"

enum { FIRN_TYPES_MAX = 64 };

typedef struct firn_types {
    firn_heap *heap; /* lent; immutable */
    pthread_mutex_t lock;
    firn_type_names names;  /* the lock's: of the store */
    _Atomic unsigned count; /* raised under the lock, with release, when the next place is filled;
                               places below it are immutable. Readers: acquire */
    atomic_bool visit;      /* one of them does. Relaxed */
    const firn_type *types[FIRN_TYPES_MAX];
    uint32_t ids[FIRN_TYPES_MAX];
} firn_types;

/* Bytes that encode functions append to. */
struct firn_encoder {
    firn_heap *heap;
    unsigned char *bytes;
    size_t size;
    size_t room;
};

/* path: of the store; NULL: there is none. FIRN_OK or FIRN_ENOMEM. */
int firn_types_init(firn_types *types, firn_heap *heap, const char *path);
void firn_types_fini(firn_types *types);

/* Whether there is a type whose values may hold each other. */
static inline bool firn_types_visit(const firn_types *types) {
    return atomic_load_explicit(&types->visit, memory_order_relaxed);
}
/* Whether the type was registered. */
bool firn_types_has(const firn_types *types, const firn_type *type);
/* The type of which a record says that it is: FIRN_OK, or FIRN_ETYPE, with words that name it. */
int firn_types_find(firn_types *types, const firn_attributes *attributes, const firn_type **type,
                    firn_detail *detail);

/* Appends the object's value as bytes, and tells of what type they are. FIRN_OK; or FIRN_ETYPE: its
 * type has no bytes for it; FIRN_ENOMEM: then the encoder is as before. */
int firn_types_encode(firn_encoder *encoder, const firn_object *object,
                      firn_attributes *attributes);
/* An object of the value that the bytes are of, complete but for its version. FIRN_OK; FIRN_ETYPE:
 * the type refuses them; FIRN_ENOMEM. */
int firn_types_decode(firn_pool *pool, const firn_type *type, uint32_t version, const void *key,
                      size_t key_size, const void *bytes, size_t size, const firn_traits *traits,
                      firn_object **object);

void firn_encoder_init(firn_encoder *encoder, firn_heap *heap);
/* Forgets what is in it, and gives back more than keep_max bytes of memory. */
void firn_encoder_clear(firn_encoder *encoder, size_t keep_max);

#endif
