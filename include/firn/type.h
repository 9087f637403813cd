/* Types: live structures as values.
 *
 * A value need not be bytes. With a firn_type a program caches its own structures: used in place
 * while they are in memory, encoded to bytes when they go down to the cold tier, decoded when they
 * come up, dropped exactly once when the last reference goes.
 *
 *     static const firn_type graph_type = {
 *         .size = sizeof(firn_type), .name = "graph", .version = 1, .value_size = sizeof(graph),
 *         .encode = graph_encode, .decode = graph_decode, .drop = graph_drop};
 *
 *     firn_register_type(cache, &graph_type);
 *     firn_put_options options = FIRN_PUT_OPTIONS_INIT;
 *     options.type = &graph_type;
 *     firn_object_new(cache, key, key_size, sizeof(graph), &options, &object);
 *     ... fill in firn_object_value(object) ...
 *     firn_put_object(cache, object);
 *
 * The store records the name and version of a type. An entry of a type that is not registered stays
 * on disk and gives FIRN_ETYPE; firn dump tells its name.
 */
#ifndef FIRN_TYPE_H
#define FIRN_TYPE_H

#include <stddef.h>
#include <stdint.h>

#include <firn/error.h>
#include <firn/object.h>

#ifdef __cplusplus
extern "C" {
#endif

struct firn_cache;

/* Takes the bytes that an encode function gives. */
typedef struct firn_encoder firn_encoder;

/* Called by a visit function for each reference that a value holds. */
typedef void (*firn_visitor)(void *visitor_context, firn_object *held);

/* The longest name of a type, in bytes. */
#define FIRN_TYPE_NAME_MAX 63

/* What a program says of a type. Lent from firn_register_type on, and not changed, until the last
 * object of the type is gone: mostly it is static. Functions are called from any thread, for
 * different values at the same time, with no lock of the cache held unless said otherwise. */
typedef struct firn_type {
    size_t size;       /* sizeof(firn_type) */
    const char *name;  /* 1 to FIRN_TYPE_NAME_MAX letters, digits, dots, dashes and underscores: by
                          it the store knows the type */
    uint32_t version;  /* of the encoding; raise it when that changes */
    size_t value_size; /* bytes of a decoded value, unless `measure` tells */
    void *context;     /* handed to each function */

    /* Bytes that the value takes beside its value_size, for the memory budget: asked once, when the
     * value is put or was decoded. NULL: none. */
    size_t (*charge)(void *context, const void *value, size_t value_size);

    /* Gives the value as bytes, by firn_encode_bytes. FIRN_OK, or an error: then the entry cannot
     * go down, and is lost when it leaves memory (counted). May be called several times for one
     * value, while others use it. Must not call the cache, but for firn_object_ref and
     * firn_object_unref. NULL: such entries are never written, as without a cold tier. */
    int (*encode)(void *context, const void *value, size_t value_size, firn_encoder *encoder);

    /* The bytes of the value that decode will make of these, in *value_size. FIRN_OK or an error.
     * NULL: always `value_size`. */
    int (*measure)(void *context, uint32_t version, const void *bytes, size_t size,
                   size_t *value_size);

    /* Makes a value of bytes that encode gave, under the version that the type had then: at most
     * the present one. value: zeroed, aligned to 16. FIRN_OK, or an error: then nothing may be left
     * of the value, it will not be dropped, and the entry is a miss (counted). May call firn_get,
     * but not firn_run, firn_flush or firn_close. NULL: as encode. */
    int (*decode)(void *context, uint32_t version, const void *bytes, size_t size, void *value,
                  size_t value_size);

    /* Calls the visitor once for each reference to an object that the value holds; a value's
     * references do not change from its put to its drop. What holds no references needs none: NULL.
     * With it, firn_collect finds values that hold each other in a circle and that nobody else
     * holds. May be called while others use the value; must not call the cache, nor
     * firn_object_ref and firn_object_unref. */
    void (*visit)(void *context, const void *value, size_t value_size, firn_visitor visitor,
                  void *visitor_context);

    /* Releases what the value holds, but not the value's own bytes. Called exactly once for a value
     * that was put or decoded, when the last reference to its object goes, by the thread that drops
     * it; if that thread is in the midst of another drop, or of a task of the cache, when that
     * is done. May call the cache, but not firn_close, firn_collect or firn_debug_dump; while
     * firn_close is under way, changes are refused (FIRN_EREADONLY). When an object outlives the
     * cache, it is called after firn_close, and there is no cache to call.
     *
     * Of values that firn_collect takes apart, one may be dropped after another that it holds: so
     * drop, of a type that visits, may release the objects that the value holds, but neither look
     * into their values nor keep them. NULL: nothing is held. */
    void (*drop)(void *context, void *value, size_t value_size);
} firn_type;

/* Makes a type known to the cache. Again with the same type: FIRN_OK.
 *
 * FIRN_EINVAL  the name or a function is missing, or the size is not known
 * FIRN_EXISTS  another type of this name, or whose name looks the same to the store, is registered:
 *              choose another name
 * FIRN_ENOSPC  there are 64 already, or the disk is full
 * FIRN_EIO     the store cannot record the name */
FIRN_API FIRN_NODISCARD int firn_register_type(struct firn_cache *cache, const firn_type *type);

/* Appends bytes to what an encode function gives. FIRN_OK or FIRN_ENOMEM, which the encode function
 * returns. For use in an encode function only. */
FIRN_API FIRN_NODISCARD int firn_encode_bytes(firn_encoder *encoder, const void *bytes,
                                              size_t size);

/* The type of the object's value, as it was registered; NULL: bytes. Safe from any thread. */
FIRN_API const firn_type *firn_object_type(const firn_object *object);

#ifdef __cplusplus
}
#endif

#endif
