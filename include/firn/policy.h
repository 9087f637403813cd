/* Eviction policies of the hot tier, for programs that bring their own.
 *
 * A policy decides which resident entry goes next. The hot tier is cut into shards; each shard has
 * a state of the policy of its own, and calls it with the shard's lock held: a policy needs no
 * locks, and must not call the cache. The policies that come with the library are made of the same
 * interface.
 *
 *     static const firn_policy mine = {sizeof(firn_policy), "mine", ...};
 *     options.hot_policy_ops = &mine;
 *
 * Reads take no lock, so a policy hears of hits in one of three ways, of which it names one.
 */
#ifndef FIRN_POLICY_H
#define FIRN_POLICY_H

#include <stddef.h>
#include <stdint.h>

#include <firn/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An entry as a policy sees it. It stays at its address from insert to remove or replace. */
typedef struct firn_entry firn_entry;
/* What the policy's state hangs on: knows the entries' hashes and charges, and gives memory. */
typedef struct firn_policy_host firn_policy_host;

/* How a policy hears of hits. */
enum {
    FIRN_HITS_MARK = 0,   /* a hit raises the entry's mark, up to mark_max, and nothing else: the
                             cheapest. The policy reads and clears marks; hit is never called. */
    FIRN_HITS_RECENT = 1, /* hit is called, soon after the hit, but not again for an entry it was
                             called for a moment ago, when only a small part of the shard had been
                             replaced since. With a single shard: for every hit, in order. */
    FIRN_HITS_ALL = 2     /* hit is called soon after every hit; some are lost under contention.
                             With a single shard and a single thread: for every hit, in order. */
};

/* Orders of walk. */
enum { FIRN_HOTTEST_FIRST = 0, FIRN_COLDEST_FIRST = 1 };

typedef struct firn_policy {
    size_t size;       /* sizeof(firn_policy) */
    const char *name;  /* letters, digits and dashes */
    size_t state_size; /* bytes; zeroed before init, aligned to 16 */
    unsigned hits;     /* FIRN_HITS_... */
    unsigned
        mark_max; /* with FIRN_HITS_MARK: the mark a hit raises an entry to at most, 1 to 255 */

    /* capacity: what the charges of a shard's entries may come to, in bytes. FIRN_OK or
     * FIRN_ENOMEM. The host stays valid until fini. */
    int (*init)(void *state, const firn_policy_host *host, uint64_t capacity);
    void (*fini)(void *state);
    /* The capacity was changed while running. */
    void (*resize)(void *state, uint64_t capacity);
    /* A new entry, after a miss. Its mark is 0. */
    void (*insert)(void *state, firn_entry *entry);
    /* An entry that comes back after a restart: less valuable than all that is there. */
    void (*restore)(void *state, firn_entry *entry);
    /* See FIRN_HITS_... NULL with FIRN_HITS_MARK. */
    void (*hit)(void *state, firn_entry *entry);
    /* `entry` takes the place of `old`, which is forgotten: the key was overwritten, or its object
     * moved. The charge may differ. An overwrite is followed by a hit. */
    void (*replace)(void *state, firn_entry *old, firn_entry *entry);
    /* The entry leaves. evicted: 1 because victim named it, 0 for any other reason. */
    void (*remove)(void *state, firn_entry *entry, int evicted);
    /* The next entry to go, which stays in until remove. NULL: the state holds none. Called again
     * without a remove in between, it may name another. */
    firn_entry *(*victim)(void *state);
    /* The entry after `entry` in order of value, from NULL to NULL. The state does not change
     * during a walk. */
    firn_entry *(*walk)(void *state, const firn_entry *entry, unsigned order);
    /* How often the key of that hash was seen lately, resident or not; again: it was seen once more
     * just now, while it was not resident. For policies that know: what moves entries between the
     * tiers asks them, and else keeps count by itself. May be NULL. */
    unsigned (*frequency)(void *state, uint64_t hash, int again);
} firn_policy;

/* The hash of the entry's key, the bytes it counts for, and what it took to make its value
 * (microseconds; 0: unknown). Only for entries in this state. */
FIRN_API uint64_t firn_policy_hash(const firn_policy_host *host, const firn_entry *entry);
FIRN_API uint64_t firn_policy_charge(const firn_policy_host *host, const firn_entry *entry);
FIRN_API uint64_t firn_policy_cost(const firn_policy_host *host, const firn_entry *entry);

/* Memory for the policy's own use, aligned to 16 and zeroed, and counted as the hot tier's. NULL:
 * there is none. Give the same size to free. */
FIRN_API void *firn_policy_alloc(const firn_policy_host *host, size_t size);
FIRN_API void firn_policy_free(const firn_policy_host *host, void *memory, size_t size);

/* Two links, 16 bits and the mark: what an entry has room for. Links are NULL and bits 0 at
 * insert; all are the policy's until remove. */
FIRN_API firn_entry *firn_policy_prev(const firn_entry *entry);
FIRN_API firn_entry *firn_policy_next(const firn_entry *entry);
FIRN_API void firn_policy_link(firn_entry *entry, firn_entry *prev, firn_entry *next);
FIRN_API unsigned firn_policy_bits(const firn_entry *entry);
FIRN_API void firn_policy_set_bits(firn_entry *entry, unsigned bits);
FIRN_API unsigned firn_policy_mark(const firn_entry *entry);
FIRN_API void firn_policy_set_mark(firn_entry *entry, unsigned mark);

#ifdef __cplusplus
}
#endif

#endif
