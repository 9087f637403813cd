/* What firn/policy.h offers to policies of the program's own. */
#include "hot/policy_host.h"

uint64_t firn_policy_hash(const firn_policy_host *host, const firn_entry *entry) {
    return host->hash(host, entry);
}

uint64_t firn_policy_charge(const firn_policy_host *host, const firn_entry *entry) {
    return host->charge(host, entry);
}

uint64_t firn_policy_cost(const firn_policy_host *host, const firn_entry *entry) {
    return host->cost(host, entry);
}

void *firn_policy_alloc(const firn_policy_host *host, size_t size) {
    void *memory = firn_heap_zalloc(host->heap, size);
    if (memory != NULL) {
        atomic_fetch_add_explicit(host->overhead, size, memory_order_relaxed);
    }
    return memory;
}

void firn_policy_free(const firn_policy_host *host, void *memory, size_t size) {
    if (memory != NULL) {
        firn_heap_free(host->heap, memory, size);
        atomic_fetch_sub_explicit(host->overhead, size, memory_order_relaxed);
    }
}

firn_entry *firn_policy_prev(const firn_entry *entry) {
    return firn_entry_prev(entry);
}

firn_entry *firn_policy_next(const firn_entry *entry) {
    return firn_entry_next(entry);
}

void firn_policy_link(firn_entry *entry, firn_entry *prev, firn_entry *next) {
    firn_entry_set_prev(entry, prev);
    firn_entry_set_next(entry, next);
}

unsigned firn_policy_bits(const firn_entry *entry) {
    return firn_entry_bits(entry);
}

void firn_policy_set_bits(firn_entry *entry, unsigned bits) {
    firn_entry_set_bits(entry, bits);
}

unsigned firn_policy_mark(const firn_entry *entry) {
    return firn_entry_mark(entry);
}

void firn_policy_set_mark(firn_entry *entry, unsigned mark) {
    firn_entry_set_mark(entry, mark);
}
