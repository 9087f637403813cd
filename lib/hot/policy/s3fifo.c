/* S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023): a small FIFO
 * of a tenth of the capacity that new entries have to pass, a main FIFO, and a ghost list of what
 * the small one let go. What was hit at least twice in the small queue, or comes back while it is a
 * ghost, goes to the main one; there an entry that was hit goes round again, once for each of up to
 * three hits. A hit only raises the entry's mark.
 *
 * Costs a ghost of 24 bytes for each entry of the main queue. */
#include "hot/policy/entry_list.h"
#include "hot/policy/ghost.h"
#include "hot/policy/policies.h"

enum {
    SMALL = 0, /* bits of an entry: the queue it is in */
    MAIN = 1,
    TO_MAIN = 2, /* hits in the small queue that make an entry stay */
};

typedef struct s3fifo {
    const firn_policy_host *host;
    uint64_t small_capacity;
    uint64_t main_capacity;
    firn_entry_list queues[2]; /* newest at the head */
    firn_ghosts ghosts;
} s3fifo;

static void s3fifo_resize(void *state, uint64_t capacity) {
    s3fifo *self = state;
    self->small_capacity = capacity / 10;
    self->main_capacity = capacity - self->small_capacity;
    firn_ghosts_trim(&self->ghosts, self->main_capacity);
}

static int s3fifo_init(void *state, const firn_policy_host *host, uint64_t capacity) {
    s3fifo *self = state;
    self->host = host;
    firn_ghosts_init(&self->ghosts, host);
    s3fifo_resize(state, capacity);
    return FIRN_OK;
}

static void s3fifo_fini(void *state) {
    firn_ghosts_fini(&((s3fifo *)state)->ghosts);
}

static uint64_t charge_of(const s3fifo *self, const firn_entry *entry) {
    return firn_host_charge(self->host, entry);
}

/* For the small queue, and then for the ghosts too. */
static bool is_too_large(const s3fifo *self, uint64_t charge) {
    return charge >= self->small_capacity && charge > 1;
}

static void s3fifo_insert(void *state, firn_entry *entry) {
    s3fifo *self = state;
    unsigned queue =
        firn_ghosts_take(&self->ghosts, self->host->hash(self->host, entry)) ? MAIN : SMALL;
    uint64_t charge = charge_of(self, entry);
    firn_entry_set_bits(entry, queue);
    if (queue == SMALL && is_too_large(self, charge)) {
        /* It would wash the queue out: it is the next to go, unless it is hit until then. */
        firn_entry_list_push_tail(&self->queues[SMALL], entry, charge);
    } else {
        firn_entry_list_push_head(&self->queues[queue], entry, charge);
    }
}

static void s3fifo_restore(void *state, firn_entry *entry) {
    s3fifo *self = state;
    firn_entry_set_bits(entry, MAIN);
    firn_entry_list_push_tail(&self->queues[MAIN], entry, charge_of(self, entry));
}

static void s3fifo_replace(void *state, firn_entry *old, firn_entry *entry) {
    s3fifo *self = state;
    firn_entry_list_replace(&self->queues[firn_entry_bits(old)], old, charge_of(self, old), entry,
                            charge_of(self, entry));
}

static void s3fifo_remove(void *state, firn_entry *entry, int evicted) {
    s3fifo *self = state;
    uint64_t charge = charge_of(self, entry);
    if (evicted && firn_entry_bits(entry) == SMALL && !is_too_large(self, charge)) {
        firn_ghosts_add(&self->ghosts, self->host->hash(self->host, entry), charge);
        firn_ghosts_trim(&self->ghosts, self->main_capacity);
    }
    firn_entry_list_remove(&self->queues[firn_entry_bits(entry)], entry, charge);
}

/* The next of the small queue that was not hit often enough; those that were go to the main one.
 * NULL: none is left. */
static firn_entry *small_victim(s3fifo *self) {
    firn_entry_list *small = &self->queues[SMALL];
    while (small->tail != NULL && firn_entry_mark(small->tail) >= TO_MAIN) {
        firn_entry *entry = small->tail;
        uint64_t charge = charge_of(self, entry);
        firn_entry_list_remove(small, entry, charge);
        firn_entry_set_bits(entry, MAIN);
        firn_entry_set_mark(entry, 0);
        firn_entry_list_push_head(&self->queues[MAIN], entry, charge);
    }
    return small->tail;
}

static firn_entry *main_victim(s3fifo *self) {
    firn_entry_list *list = &self->queues[MAIN];
    /* Four rounds clear every mark of up to three; readers may go on marking. */
    for (uint64_t left = list->count * 4; left > 0; left--) {
        firn_entry *entry = list->tail;
        unsigned mark = firn_entry_mark(entry);
        if (mark == 0) {
            break;
        }
        firn_entry_set_mark(entry, mark - 1);
        firn_entry_list_move_to_head(list, entry);
    }
    return list->tail;
}

static firn_entry *s3fifo_victim(void *state) {
    s3fifo *self = state;
    firn_entry *entry = NULL;
    if (self->queues[MAIN].bytes <= self->main_capacity || self->queues[MAIN].tail == NULL) {
        entry = small_victim(self);
    }
    if (entry == NULL && self->queues[MAIN].tail != NULL) {
        entry = main_victim(self);
    }
    return entry != NULL ? entry : small_victim(self);
}

static firn_entry *s3fifo_walk(void *state, const firn_entry *entry, unsigned order) {
    s3fifo *self = state;
    firn_entry_list *lists[] = {&self->queues[MAIN], &self->queues[SMALL]};
    unsigned in = entry != NULL && firn_entry_bits(entry) == SMALL;
    return firn_entry_lists_walk(lists, 2, in, entry, order);
}

const firn_policy firn_s3fifo_policy = {
    .size = sizeof(firn_policy),
    .name = "s3fifo",
    .state_size = sizeof(s3fifo),
    .hits = FIRN_HITS_MARK,
    .mark_max = 3,
    .init = s3fifo_init,
    .fini = s3fifo_fini,
    .resize = s3fifo_resize,
    .insert = s3fifo_insert,
    .restore = s3fifo_restore,
    .replace = s3fifo_replace,
    .remove = s3fifo_remove,
    .victim = s3fifo_victim,
    .walk = s3fifo_walk,
};
