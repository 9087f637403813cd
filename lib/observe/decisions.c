/* See decisions.h. */
#include "observe/decisions.h"

#include <stdbool.h>
#include <string.h>

enum { READ_ATTEMPTS = 100 };

_Static_assert(sizeof(firn_decision_set) == 256, "the layout in docs/format.md");

static const char *const kind_names[] = {
#define KIND_NAME(name, word, detail) word,
    FIRN_DECISION_KINDS(KIND_NAME)
#undef KIND_NAME
};

static const char *const kind_details[] = {
#define KIND_DETAIL(name, word, detail) detail,
    FIRN_DECISION_KINDS(KIND_DETAIL)
#undef KIND_DETAIL
};

static const char *const reason_words[] = {
#define REASON_WORDS(name, words) words,
    FIRN_DECISION_REASONS(REASON_WORDS)
#undef REASON_WORDS
};

_Static_assert(FIRN_DECISION_COUNT <= 64 && FIRN_REASON_COUNT <= 256,
               "a kind is a bit of firn_listener.kinds, a reason a byte of the slot");

const char *firn_decision_name(unsigned kind) {
    return kind < FIRN_DECISION_COUNT ? kind_names[kind] : "unknown";
}

const char *firn_decision_reason(unsigned reason) {
    return reason < FIRN_REASON_COUNT ? reason_words[reason] : "unknown";
}

const char *firn_decision_detail(unsigned kind) {
    return kind < FIRN_DECISION_COUNT ? kind_details[kind] : "unknown";
}

firn_decisions *firn_decisions_new(firn_heap *heap) {
    return firn_heap_alloc_sparse(heap, sizeof(firn_decisions));
}

void firn_decisions_free(firn_decisions *self, firn_heap *heap) {
    firn_heap_free_sparse(heap, self, sizeof *self);
}

void firn_decisions_note(firn_decisions *self, const firn_decision *decision) {
    firn_decision_set *set = &self->sets[firn_decision_set_of(decision->hash)];
    uint64_t sequence = atomic_load_explicit(&set->sequence, memory_order_relaxed);
    /* Acquire: what we write comes after it, and after what the last one wrote. */
    if (sequence % 2 != 0 ||
        !atomic_compare_exchange_strong_explicit(&set->sequence, &sequence, sequence + 1,
                                                 memory_order_acquire, memory_order_relaxed)) {
        return;
    }
    firn_decision_slot *slot = &set->slots[sequence / 2 % FIRN_DECISION_WAYS];
    uint64_t when =
        decision->time_ms << 16 | (decision->kind & 0xff) << 8 | (decision->reason & 0xff);
    /* Release: a reader that sees any of them sees the odd sequence too. */
    atomic_store_explicit(&slot->when, when, memory_order_release);
    atomic_store_explicit(&slot->hash, decision->hash, memory_order_release);
    atomic_store_explicit(&slot->version, decision->version, memory_order_release);
    atomic_store_explicit(&slot->detail, decision->detail, memory_order_release);
    atomic_store_explicit(&set->sequence, sequence + 2, memory_order_release);
}

/* What is in a set, oldest first; the number of them. */
static size_t take_set(const firn_decision_set *set, firn_decision taken[FIRN_DECISION_WAYS]) {
    for (unsigned attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
        uint64_t sequence = atomic_load_explicit(&set->sequence, memory_order_acquire);
        size_t count = 0;
        for (unsigned i = 0; i < FIRN_DECISION_WAYS; i++) {
            const firn_decision_slot *slot = &set->slots[(sequence / 2 + i) % FIRN_DECISION_WAYS];
            uint64_t when = atomic_load_explicit(&slot->when, memory_order_acquire);
            taken[count] = (firn_decision){
                .time_ms = when >> 16,
                .hash = atomic_load_explicit(&slot->hash, memory_order_acquire),
                .version = atomic_load_explicit(&slot->version, memory_order_acquire),
                .detail = atomic_load_explicit(&slot->detail, memory_order_acquire),
                .kind = when >> 8 & 0xff,
                .reason = when & 0xff,
            };
            count += when != 0;
        }
        /* Acquire above: the sequence is looked at after all of it, and if any was newer, so is
         * the sequence. */
        if (sequence % 2 == 0 &&
            atomic_load_explicit(&set->sequence, memory_order_relaxed) == sequence) {
            return count;
        }
    }
    return 0; /* one writes to it all the while, or died over it */
}

bool firn_decisions_copy(const firn_decisions *self, size_t set, uint64_t *sequence, void *bytes) {
    const firn_decision_set *from = &self->sets[set];
    unsigned char *to = bytes;
    for (unsigned attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
        uint64_t before = atomic_load_explicit(&from->sequence, memory_order_acquire);
        if (before == *sequence) {
            return true;
        }
        for (unsigned i = 0; i < FIRN_DECISION_WAYS; i++) {
            const firn_decision_slot *slot = &from->slots[i];
            uint64_t words[] = {atomic_load_explicit(&slot->when, memory_order_acquire),
                                atomic_load_explicit(&slot->hash, memory_order_acquire),
                                atomic_load_explicit(&slot->version, memory_order_acquire),
                                atomic_load_explicit(&slot->detail, memory_order_acquire)};
            memcpy(to + offsetof(firn_decision_set, slots) + i * sizeof words, words, sizeof words);
        }
        if (before % 2 == 0 &&
            atomic_load_explicit(&from->sequence, memory_order_relaxed) == before) {
            memcpy(to + offsetof(firn_decision_set, sequence), &before, sizeof before);
            *sequence = before;
            return true;
        }
    }
    return false;
}

void firn_decisions_restore(firn_decisions *self, size_t set, const void *bytes) {
    firn_decision_set *to = &self->sets[set];
    uint64_t words[sizeof *to / sizeof(uint64_t)];
    memcpy(words, bytes, sizeof words);
    if (words[0] % 2 != 0) {
        return;
    }
    atomic_init(&to->sequence, words[0]);
    for (unsigned i = 0; i < FIRN_DECISION_WAYS; i++) {
        const uint64_t *slot = &words[4 + i * 4];
        atomic_init(&to->slots[i].when, slot[0]);
        atomic_init(&to->slots[i].hash, slot[1]);
        atomic_init(&to->slots[i].version, slot[2]);
        atomic_init(&to->slots[i].detail, slot[3]);
    }
}

size_t firn_decisions_of(const firn_decisions *self, uint64_t hash,
                         firn_decision decisions[FIRN_DECISION_WAYS]) {
    firn_decision all[FIRN_DECISION_WAYS];
    size_t count = take_set(&self->sets[firn_decision_set_of(hash)], all);
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        if (all[i].hash == hash) {
            decisions[found++] = all[i];
        }
    }
    return found;
}

/* Puts one in its place by time, among those that are there; the oldest goes if there are `most`.
 */
static size_t sort_in(firn_decision *decisions, size_t count, size_t most,
                      const firn_decision *decision) {
    if (count == most) {
        if (most == 0 || decision->time_ms < decisions[0].time_ms) {
            return count;
        }
        memmove(&decisions[0], &decisions[1], --count * sizeof *decisions);
    }
    size_t at = count;
    for (; at > 0 && decisions[at - 1].time_ms > decision->time_ms; at--) {
        decisions[at] = decisions[at - 1];
    }
    decisions[at] = *decision;
    return count + 1;
}

size_t firn_decisions_last(const firn_decisions *self, firn_decision *decisions, size_t most) {
    size_t count = 0;
    for (size_t i = 0; i < FIRN_DECISION_SETS; i++) {
        firn_decision taken[FIRN_DECISION_WAYS];
        size_t some = take_set(&self->sets[i], taken);
        for (size_t j = 0; j < some; j++) {
            count = sort_in(decisions, count, most, &taken[j]);
        }
    }
    return count;
}
