/* SIEVE (Zhang et al., "SIEVE is simpler than LRU", NSDI 2024) and CLOCK (Corbato 1968): a queue in
 * order of arrival and a hand that looks for an entry that was not hit. SIEVE leaves what it spares
 * where it is, so that the hand goes on into the newer entries; CLOCK gives it a new life at the
 * newest end, and so the hand always stands at the oldest. Neither moves anything on a hit.
 *
 * A walk tells entries in order of arrival, newest first. */
#include "hot/policy/entry_list.h"
#include "hot/policy/policies.h"

typedef struct sieve {
    firn_entry_list list; /* newest at the head */
    firn_entry *hand;     /* SIEVE; NULL: begin at the tail */
} sieve;

static int sieve_init(void *state, const firn_policy_host *host, uint64_t capacity) {
    (void)state;
    (void)host;
    (void)capacity;
    return FIRN_OK;
}

static void sieve_fini(void *state) {
    (void)state;
}

static void sieve_resize(void *state, uint64_t capacity) {
    (void)state;
    (void)capacity;
}

static void sieve_insert(void *state, firn_entry *entry) {
    firn_entry_list_push_head(&((sieve *)state)->list, entry, 0);
}

static void sieve_restore(void *state, firn_entry *entry) {
    firn_entry_list_push_tail(&((sieve *)state)->list, entry, 0);
}

static void sieve_replace(void *state, firn_entry *old, firn_entry *entry) {
    sieve *self = state;
    firn_entry_list_replace(&self->list, old, 0, entry, 0);
    if (self->hand == old) {
        self->hand = entry;
    }
}

static void sieve_remove(void *state, firn_entry *entry, int evicted) {
    (void)evicted;
    sieve *self = state;
    if (self->hand == entry) {
        self->hand = firn_entry_prev(entry);
    }
    firn_entry_list_remove(&self->list, entry, 0);
}

static firn_entry *sieve_victim(void *state) {
    sieve *self = state;
    firn_entry *entry = self->hand != NULL ? self->hand : self->list.tail;
    /* Readers may go on marking, but after two rounds it has cleared each mark twice: enough. */
    for (uint64_t left = self->list.count * 2; left > 0 && firn_entry_mark(entry) != 0; left--) {
        firn_entry_set_mark(entry, 0);
        firn_entry *newer = firn_entry_prev(entry);
        entry = newer != NULL ? newer : self->list.tail;
    }
    self->hand = entry;
    return entry;
}

static firn_entry *clock_victim(void *state) {
    sieve *self = state;
    for (uint64_t left = self->list.count * 2; left > 0; left--) {
        firn_entry *entry = self->list.tail;
        if (firn_entry_mark(entry) == 0) {
            break;
        }
        firn_entry_set_mark(entry, 0);
        firn_entry_list_move_to_head(&self->list, entry);
    }
    return self->list.tail;
}

static firn_entry *sieve_walk(void *state, const firn_entry *entry, unsigned order) {
    firn_entry_list *list = &((sieve *)state)->list;
    return firn_entry_lists_walk(&list, 1, 0, entry, order);
}

const firn_policy firn_sieve_policy = {
    .size = sizeof(firn_policy),
    .name = "sieve",
    .state_size = sizeof(sieve),
    .hits = FIRN_HITS_MARK,
    .mark_max = 1,
    .init = sieve_init,
    .fini = sieve_fini,
    .resize = sieve_resize,
    .insert = sieve_insert,
    .restore = sieve_restore,
    .replace = sieve_replace,
    .remove = sieve_remove,
    .victim = sieve_victim,
    .walk = sieve_walk,
};

const firn_policy firn_clock_policy = {
    .size = sizeof(firn_policy),
    .name = "clock",
    .state_size = sizeof(sieve),
    .hits = FIRN_HITS_MARK,
    .mark_max = 1,
    .init = sieve_init,
    .fini = sieve_fini,
    .resize = sieve_resize,
    .insert = sieve_insert,
    .restore = sieve_restore,
    .replace = sieve_replace,
    .remove = sieve_remove,
    .victim = clock_victim,
    .walk = sieve_walk,
};
