/* What was cleared: for the whole cache, for prefixes of keys and for tags, the version below which
 * entries are void. So to clear is to write down one number, however much there is to be cleared,
 * and whoever meets an entry asks here whether it is still of use.
 *
 * Prefixes and tags are known by hashes: a collision costs a miss, never a wrong answer. Readers
 * take no lock. Knows keys, versions and tags, nothing of entries or tiers. */
#ifndef FIRN_BASE_CLEARS_H
#define FIRN_BASE_CLEARS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <firn/clear.h>

#include "base/heap.h"
#include "base/traits.h"

enum {
    FIRN_CLEARS_PREFIXES_MAX = 4096, /* that can be told apart, since all was cleared */
    FIRN_CLEARS_TAGS_MAX = 1 << 18,  /* likewise; of more, the older half is forgotten, see floor */
};

typedef enum firn_clears_kind {
    FIRN_CLEARS_ALL = 1,
    FIRN_CLEARS_PREFIX = 2,
    FIRN_CLEARS_TAG = 3,
    FIRN_CLEARS_FLOOR = 4, /* whatever has a tag */
} firn_clears_kind;

/* One thing that was cleared. */
typedef struct firn_clear_line {
    firn_clears_kind kind;
    uint32_t size;    /* of a prefix, bytes */
    uint64_t name;    /* of a prefix or tag: its hash */
    uint64_t version; /* entries below it are void */
} firn_clear_line;

typedef struct firn_clears_table firn_clears_table;

typedef struct firn_clears {
    firn_heap *heap; /* lent; immutable */
    /* All are written under the lock and only grow. Release and acquire: who sees `latest` of a
     * clear sees all else of it. */
    _Atomic uint64_t latest;  /* the highest version of all below; 0: nothing was cleared */
    _Atomic uint64_t all;     /* of FIRN_CLEARS_ALL */
    _Atomic uint64_t floor;   /* what has a tag and is below it is void: tags were forgotten */
    _Atomic uint64_t lengths; /* bit n: there is a prefix of n bytes */
    _Atomic(firn_clears_table *) table; /* NULL: no prefix, no tag */
    /* How often a table that was replaced was taken into use again; see clears.c for what readers
     * make of it. Release, before the first change to the table; acquire. */
    _Atomic uint64_t reuses;
    pthread_mutex_t lock; /* guards the next four, and changes of the above */
    size_t prefixes;
    size_t tags;
    firn_clears_table *spare; /* of the size of the present one, to be used again; or NULL */
    firn_clears_table *old;   /* smaller ones, that readers may still look into, till the end */
} firn_clears;

/* 0 or an errno. */
int firn_clears_init(firn_clears *clears, firn_heap *heap);
void firn_clears_fini(firn_clears *clears);

/* The line of a prefix, of up to FIRN_PREFIX_SIZE_MAX bytes; 0 bytes: all. */
firn_clear_line firn_clears_of_prefix(const void *prefix, size_t size, uint64_t version);

/* FIRN_OK. FIRN_ENOSPC: there are too many prefixes. FIRN_ENOMEM. With an error nothing is cleared.
 */
int firn_clears_add(firn_clears *clears, const firn_clear_line *line);
/* Sees to it that the add of the line, if it is the next one, does not fail. The same errors. */
int firn_clears_prepare(firn_clears *clears, const firn_clear_line *line);
/* Calls each with every line that is needed to know the same, until it returns other than 0, which
 * is then the result. */
int firn_clears_each(firn_clears *clears, int (*each)(void *context, const firn_clear_line *line),
                     void *context);

/* See firn_clears_void. key NULL: only a clear of everything counts. */
bool firn_clears_look(const firn_clears *clears, uint64_t version, const void *key, size_t key_size,
                      const firn_traits *traits);

/* Whether an entry of that version is void. key: NULL for what is no entry of the program's, which
 * goes only with everything. */
static inline bool firn_clears_void(const firn_clears *clears, uint64_t version, const void *key,
                                    size_t key_size, const firn_traits *traits) {
    return __builtin_expect(version < atomic_load_explicit(&clears->latest, memory_order_acquire),
                            0) &&
           firn_clears_look(clears, version, key, key_size, traits);
}

#endif
