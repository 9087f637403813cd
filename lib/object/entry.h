/* The header of an object, which is also all that an eviction policy sees of it.
 *
 * 32 bytes, packed because a cache of small values is mostly headers: the links of the policy's
 * list are 44 bits each (entries are aligned to 16 bytes, and user space ends below 2^48 on the
 * machines we know; whoever allocates checks that), and the sizes fill the words up. A policy uses
 * links, bits and mark; the rest belongs to lib/object. Simulations make entries without a key or a
 * value, so that they run the very code of the policies. Knows nothing of tiers or policies. */
#ifndef FIRN_OBJECT_ENTRY_H
#define FIRN_OBJECT_ENTRY_H

#include <stdatomic.h>
#include <stdint.h>

#include <firn/policy.h>

struct firn_entry {
    _Atomic uint32_t refs;      /* see object.h */
    _Atomic uint8_t mark;       /* hits since the policy last looked; readers raise it without a
                                   lock, relaxed: a lost hit is no harm */
    _Atomic uint8_t state;      /* changed under the shard's lock, read by anybody, relaxed */
    uint16_t policy_bits;       /* shard lock; the policy's */
    uint64_t version_flags;     /* version: low 48 bits; group: the next 8; flags: high 8.
                                   Immutable once indexed */
    _Atomic uint64_t prev_word; /* high 44 bits: link, shard lock; low 20 bits: immutable. Relaxed:
                                   a reader wants the immutable part only */
    _Atomic uint64_t next_word; /* likewise */
};

_Static_assert(sizeof(struct firn_entry) == 32, "the header's size is the price of every entry");

#define FIRN_ENTRY_LOW_BITS 20
#define FIRN_ENTRY_LOW_MASK ((UINT64_C(1) << FIRN_ENTRY_LOW_BITS) - 1)

/* A link is the address with its four low zero bits cut, in the word's high 44 bits. */
static inline firn_entry *firn_entry_link(const _Atomic uint64_t *word) {
    uint64_t value = atomic_load_explicit(word, memory_order_relaxed);
    return (firn_entry *)(uintptr_t)(value >> FIRN_ENTRY_LOW_BITS << 4);
}

static inline void firn_entry_set_link(_Atomic uint64_t *word, const firn_entry *entry) {
    uint64_t low = atomic_load_explicit(word, memory_order_relaxed) & FIRN_ENTRY_LOW_MASK;
    uint64_t link = (uint64_t)(uintptr_t)entry >> 4 << FIRN_ENTRY_LOW_BITS;
    atomic_store_explicit(word, link | low, memory_order_relaxed);
}

static inline firn_entry *firn_entry_prev(const firn_entry *entry) {
    return firn_entry_link(&entry->prev_word);
}

static inline firn_entry *firn_entry_next(const firn_entry *entry) {
    return firn_entry_link(&entry->next_word);
}

static inline void firn_entry_set_prev(firn_entry *entry, const firn_entry *prev) {
    firn_entry_set_link(&entry->prev_word, prev);
}

static inline void firn_entry_set_next(firn_entry *entry, const firn_entry *next) {
    firn_entry_set_link(&entry->next_word, next);
}

static inline unsigned firn_entry_mark(const firn_entry *entry) {
    return atomic_load_explicit(&entry->mark, memory_order_relaxed);
}

static inline void firn_entry_set_mark(firn_entry *entry, unsigned mark) {
    atomic_store_explicit(&entry->mark, (uint8_t)mark, memory_order_relaxed);
}

static inline unsigned firn_entry_bits(const firn_entry *entry) {
    return entry->policy_bits;
}

static inline void firn_entry_set_bits(firn_entry *entry, unsigned bits) {
    entry->policy_bits = (uint16_t)bits;
}

#endif
