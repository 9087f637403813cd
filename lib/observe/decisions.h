/* The last decisions about entries, found by hash: some thousands in all, a few of each.
 *
 * Sets of seven, four cache lines each; the hash chooses the set, and a decision takes the place of
 * the oldest of its set. So two threads meet only if they decide about the same entries, and no
 * counter is shared. A set has a sequence number: odd while one writes to it. Who finds it odd
 * gives up, and the decision is not remembered; a reader tries again. Nobody waits.
 *
 * Sets are copied to a file, and back at the next open: see page.h; the layout is in
 * docs/format.md, and every bit pattern is bearable. Knows numbers, not what they mean. */
#ifndef FIRN_OBSERVE_DECISIONS_H
#define FIRN_OBSERVE_DECISIONS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <firn/observe.h>

#include "base/heap.h"

enum {
    FIRN_DECISION_SETS = 512, /* a power of two */
    FIRN_DECISION_WAYS = 7,
};

typedef struct firn_decision_slot {
    /* Written by who made the set's sequence odd, read by anybody: see decisions.c for the order.
     */
    _Atomic uint64_t when; /* milliseconds since 1970 << 16 | kind << 8 | reason; 0: empty */
    _Atomic uint64_t hash;
    _Atomic uint64_t version;
    _Atomic uint64_t detail;
} firn_decision_slot;

typedef struct firn_decision_set {
    _Alignas(64) _Atomic uint64_t sequence; /* twice the decisions that came to it, and 1 */
    uint64_t unused[3];
    firn_decision_slot slots[FIRN_DECISION_WAYS];
} firn_decision_set;

typedef struct firn_decisions {
    firn_decision_set sets[FIRN_DECISION_SETS];
} firn_decisions;

/* The top bits of a hash choose the shard, the low ones the place in it: the middle is as good. */
static inline size_t firn_decision_set_of(uint64_t hash) {
    return (size_t)(hash >> 20) % FIRN_DECISION_SETS;
}

/* In memory of the heap. NULL: there is none. */
firn_decisions *firn_decisions_new(firn_heap *heap);
/* self: may be NULL. */
void firn_decisions_free(firn_decisions *self, firn_heap *heap);

/* Copies a set as it is in memory, sizeof(firn_decision_set) bytes, if its sequence is no longer
 * *sequence, which is brought up to date; false: one writes to it all the while. */
bool firn_decisions_copy(const firn_decisions *self, size_t set, uint64_t *sequence, void *bytes);
/* The opposite, before anybody else has the memory. What was half written is left out. */
void firn_decisions_restore(firn_decisions *self, size_t set, const void *bytes);

/* A decision about the hash is to come: its set is on its way from memory. */
static inline void firn_decisions_prefetch(const firn_decisions *self, uint64_t hash) {
    __builtin_prefetch(&self->sets[firn_decision_set_of(hash)], 1);
}

/* Safe from any thread; waits for nobody. */
void firn_decisions_note(firn_decisions *self, const firn_decision *decision);

/* Copies the decisions about a hash, oldest first, of which there are at most FIRN_DECISION_WAYS.
 * Returns how many. Safe from any thread. */
size_t firn_decisions_of(const firn_decisions *self, uint64_t hash,
                         firn_decision decisions[FIRN_DECISION_WAYS]);

/* Copies the youngest decisions about all hashes, oldest first, up to `most`; returns how many. */
size_t firn_decisions_last(const firn_decisions *self, firn_decision *decisions, size_t most);

#endif
