/* The prefixes that make groups of keys: a key is of the group with the longest prefix that it
 * begins with, and else of group 0. Prefixes are added and never removed. Knows bytes, and not what
 * groups are for. */
#ifndef FIRN_BASE_PREFIXES_H
#define FIRN_BASE_PREFIXES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <firn/clear.h>

enum {
    FIRN_GROUPS_MAX = 32, /* with group 0 */
};

typedef struct firn_prefix {
    unsigned char size; /* bytes, at least 1 */
    unsigned char bytes[FIRN_PREFIX_SIZE_MAX];
} firn_prefix;

typedef struct firn_prefixes {
    /* Groups there are beside 0. Written by one thread at a time, release, when all that belongs to
     * the new one is ready; read with acquire. */
    _Atomic unsigned count;
    firn_prefix prefixes[FIRN_GROUPS_MAX - 1]; /* immutable below count */
} firn_prefixes;

static inline unsigned firn_prefixes_look(const firn_prefixes *prefixes, unsigned count,
                                          const void *key, size_t key_size) {
    unsigned group = 0;
    size_t longest = 0;
    for (unsigned i = 0; i < count; i++) {
        const firn_prefix *prefix = &prefixes->prefixes[i];
        if (prefix->size > longest && prefix->size <= key_size &&
            memcmp(prefix->bytes, key, prefix->size) == 0) {
            longest = prefix->size;
            group = i + 1;
        }
    }
    return group;
}

/* The group of a key. */
static inline unsigned firn_prefixes_group(const firn_prefixes *prefixes, const void *key,
                                           size_t key_size) {
    unsigned count = atomic_load_explicit(&prefixes->count, memory_order_acquire);
    return __builtin_expect(count == 0, 1) ? 0 : firn_prefixes_look(prefixes, count, key, key_size);
}

/* The group that has exactly that prefix; 0: none. */
static inline unsigned firn_prefixes_find(const firn_prefixes *prefixes, const void *prefix,
                                          size_t size) {
    unsigned count = atomic_load_explicit(&prefixes->count, memory_order_acquire);
    for (unsigned i = 0; i < count; i++) {
        if (prefixes->prefixes[i].size == size &&
            memcmp(prefixes->prefixes[i].bytes, prefix, size) == 0) {
            return i + 1;
        }
    }
    return 0;
}

/* There is room, and the prefix is not there yet. One thread at a time. */
static inline void firn_prefixes_add(firn_prefixes *prefixes, const void *prefix, size_t size) {
    unsigned count = atomic_load_explicit(&prefixes->count, memory_order_relaxed);
    prefixes->prefixes[count].size = (unsigned char)size;
    memcpy(prefixes->prefixes[count].bytes, prefix, size);
    atomic_store_explicit(&prefixes->count, count + 1, memory_order_release);
}

#endif
