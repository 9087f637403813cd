/* A doubly linked list of entries that knows its bytes, for policies to build on. The head is the
 * end that entries are put in at. Knows no policy. */
#ifndef FIRN_HOT_POLICY_ENTRY_LIST_H
#define FIRN_HOT_POLICY_ENTRY_LIST_H

#include <stddef.h>
#include <stdint.h>

#include "hot/policy_host.h"

typedef struct firn_entry_list {
    firn_entry *head;
    firn_entry *tail;
    uint64_t bytes; /* charges of the entries in it */
    uint64_t count;
} firn_entry_list;

static inline uint64_t firn_host_charge(const firn_policy_host *host, const firn_entry *entry) {
    return host->charge(host, entry);
}

static inline void firn_entry_list_push_head(firn_entry_list *list, firn_entry *entry,
                                             uint64_t charge) {
    firn_entry_set_prev(entry, NULL);
    firn_entry_set_next(entry, list->head);
    if (list->head != NULL) {
        firn_entry_set_prev(list->head, entry);
    } else {
        list->tail = entry;
    }
    list->head = entry;
    list->bytes += charge;
    list->count++;
}

static inline void firn_entry_list_push_tail(firn_entry_list *list, firn_entry *entry,
                                             uint64_t charge) {
    firn_entry_set_next(entry, NULL);
    firn_entry_set_prev(entry, list->tail);
    if (list->tail != NULL) {
        firn_entry_set_next(list->tail, entry);
    } else {
        list->head = entry;
    }
    list->tail = entry;
    list->bytes += charge;
    list->count++;
}

static inline void firn_entry_list_remove(firn_entry_list *list, firn_entry *entry,
                                          uint64_t charge) {
    firn_entry *prev = firn_entry_prev(entry);
    firn_entry *next = firn_entry_next(entry);
    if (prev != NULL) {
        firn_entry_set_next(prev, next);
    } else {
        list->head = next;
    }
    if (next != NULL) {
        firn_entry_set_prev(next, prev);
    } else {
        list->tail = prev;
    }
    list->bytes -= charge;
    list->count--;
}

static inline void firn_entry_list_move_to_head(firn_entry_list *list, firn_entry *entry) {
    if (list->head != entry) {
        firn_entry_list_remove(list, entry, 0);
        firn_entry_list_push_head(list, entry, 0);
    }
}

/* `entry` takes the place, the bits and the mark of `old`. */
static inline void firn_entry_list_replace(firn_entry_list *list, firn_entry *old,
                                           uint64_t old_charge, firn_entry *entry,
                                           uint64_t charge) {
    firn_entry *prev = firn_entry_prev(old);
    firn_entry *next = firn_entry_next(old);
    firn_entry_set_prev(entry, prev);
    firn_entry_set_next(entry, next);
    if (prev != NULL) {
        firn_entry_set_next(prev, entry);
    } else {
        list->head = entry;
    }
    if (next != NULL) {
        firn_entry_set_prev(next, entry);
    } else {
        list->tail = entry;
    }
    firn_entry_set_bits(entry, firn_entry_bits(old));
    firn_entry_set_mark(entry, firn_entry_mark(old));
    list->bytes += charge - old_charge;
}

/* The entry after `entry` in the order of a walk over several lists, hottest first. */
static inline firn_entry *firn_entry_lists_walk(firn_entry_list *const *lists, unsigned count,
                                                unsigned in, const firn_entry *entry,
                                                unsigned order) {
    if (order == FIRN_HOTTEST_FIRST) {
        firn_entry *next = entry != NULL ? firn_entry_next(entry) : lists[0]->head;
        for (unsigned i = entry != NULL ? in + 1 : 1; next == NULL && i < count; i++) {
            next = lists[i]->head;
        }
        return next;
    }
    firn_entry *next = entry != NULL ? firn_entry_prev(entry) : lists[count - 1]->tail;
    for (unsigned i = entry != NULL ? in : count - 1; next == NULL && i > 0; i--) {
        next = lists[i - 1]->tail;
    }
    return next;
}

#endif
