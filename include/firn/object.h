/* Objects: what a cache holds and what firn_get hands out.
 *
 * An object is one immutable key and value with a reference count. It stays valid, at the same
 * address, for as long as somebody holds a reference: through eviction, overwrite, delete and
 * firn_close.
 */
#ifndef FIRN_OBJECT_H
#define FIRN_OBJECT_H

#include <stddef.h>
#include <stdint.h>

#include <firn/error.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct firn_object firn_object;

/* The value's first byte, aligned to 16; never NULL, also when the size is 0. Lent: valid until
 * the caller's reference is dropped. Safe from any thread. */
FIRN_API const void *firn_object_data(const firn_object *object);

/* Where the value goes of an object that firn_object_new made, until it is put; NULL from then on.
 * Lent like the data. For the one thread that made it. */
FIRN_API void *firn_object_value(firn_object *object);

/* The value's size in bytes. Safe from any thread. */
FIRN_API size_t firn_object_size(const firn_object *object);

/* The key's first byte, and its size in bytes in *key_size (may be NULL). Lent like the data.
 * Safe from any thread. */
FIRN_API const void *firn_object_key(const firn_object *object, size_t *key_size);

/* When the entry expires, in milliseconds of the cache's clock; 0: never. Expiry ends the entry's
 * life in the cache, not the object's. Safe from any thread. */
FIRN_API uint64_t firn_object_expires_ms(const firn_object *object);

/* The version the entry had when it was put: a number that only grows within a store, also over
 * restarts. Safe from any thread. */
FIRN_API uint64_t firn_object_version(const firn_object *object);

/* Takes one more reference and returns the object. The caller must hold a reference already.
 * Safe from any thread. */
FIRN_API firn_object *firn_object_ref(firn_object *object);

/* Drops one reference; the last one frees the object. NULL is ignored. Safe from any thread, also
 * after firn_close. */
FIRN_API void firn_object_unref(firn_object *object);

#ifdef __cplusplus
}
#endif

#endif
