/* Interning: values that are equal are there once, in memory and on disk.
 *
 * The value is an entry of its own, the body, under a key that is made of a secret of the store and
 * the value's XXH3-128. Entries with that value are empty, and have a link to it that keeps it,
 * which no program sees: so the body goes with the last of them, is not reclaimed before, and holds
 * over restarts, by what is there for links. In memory the objects of such entries hold a reference
 * to the body's object. Before a body is used its bytes are compared: of two values with one hash
 * the second is put as any other. */
#include <string.h>

#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

#include "tier/cache.h"

enum {
    SECRET = 8,
    BODY_KEY = SECRET + 16,
    ATTEMPTS = 16, /* at a body that others delete meanwhile */
};

static void body_key(const firn_cache *cache, const void *value, size_t value_size,
                     unsigned char *key) {
    uint64_t secret = firn_hash64(cache->seed, "body", 4);
    XXH128_canonical_t hash;
    XXH128_canonicalFromHash(&hash, XXH3_128bits(value, value_size));
    memcpy(key, &secret, SECRET);
    memcpy(key + SECRET, &hash, sizeof hash);
}

/* In either tier; what is found below becomes resident if it may. */
static int get_body(firn_cache *cache, const void *key, size_t key_size, firn_object **body) {
    int result = firn_get_uncounted(cache, key, key_size, body);
    if (result == FIRN_OK &&
        (!firn_object_is_rich(*body) || !firn_object_rich_of(*body)->is_body)) {
        firn_object_unref(*body); /* somebody found the secret out */
        *body = NULL;
        result = FIRN_NOT_FOUND;
    }
    return result;
}

int firn_intern(firn_cache *cache, const void *value, size_t value_size, firn_object **body) {
    unsigned char key[BODY_KEY];
    body_key(cache, value, value_size, key);
    int result = FIRN_NOT_FOUND;
    for (unsigned i = 0; i < ATTEMPTS && result == FIRN_NOT_FOUND; i++) {
        result = get_body(cache, key, sizeof key, body);
        if (result == FIRN_NOT_FOUND) {
            result = firn_put_body(cache, key, sizeof key, value, value_size, body);
            /* Somebody else was faster: that one. */
            result = result == FIRN_EXISTS ? FIRN_NOT_FOUND : result;
        }
    }
    if (result == FIRN_OK && (firn_object_value_size(*body) != value_size ||
                              memcmp(firn_object_data(*body), value, value_size) != 0)) {
        firn_object_unref(*body);
        *body = NULL;
        result = FIRN_NOT_FOUND;
    }
    return result;
}

int firn_intern_find(firn_cache *cache, const firn_links *links, firn_object **body) {
    size_t at = 0;
    firn_link link;
    *body = NULL;
    while (firn_links_next(links->bytes, links->size, &at, &link)) {
        if (link.kind == FIRN_LINKS_BODY) {
            return get_body(cache, link.key, link.key_size, body);
        }
    }
    return FIRN_NOT_FOUND;
}

void firn_intern_link(const firn_object *body, firn_link *link) {
    *link = (firn_link){.kind = FIRN_LINKS_BODY};
    link->key = firn_object_key(body, &link->key_size);
}
