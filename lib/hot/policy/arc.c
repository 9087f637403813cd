/* ARC (Megiddo, Modha, "ARC: a self-tuning, low overhead replacement cache", FAST 2003): a list of
 * entries seen once and one of entries seen again, each with a ghost list of what left it. A ghost
 * that comes back tells which of the two was too small, and the share of the first moves that way.
 *
 * In bytes where sizes differ: the share moves by the charge of what came back. Costs up to a ghost
 * of 24 bytes an entry. */
#include <stdbool.h>

#include "hot/policy/entry_list.h"
#include "hot/policy/ghost.h"
#include "hot/policy/policies.h"

enum { ONCE = 0, AGAIN = 1 }; /* bits of an entry: the list it is in */

typedef struct arc {
    const firn_policy_host *host;
    uint64_t capacity;
    uint64_t share;           /* bytes that the list of entries seen once is to have: p */
    firn_entry_list lists[2]; /* T1, T2 */
    firn_ghosts ghosts[2];    /* B1, B2 */
    bool again_came_back;     /* the newest entry was in B2 */
} arc;

static void arc_resize(void *state, uint64_t capacity) {
    arc *self = state;
    self->capacity = capacity;
    self->share = self->share < capacity ? self->share : capacity;
}

static int arc_init(void *state, const firn_policy_host *host, uint64_t capacity) {
    arc *self = state;
    self->host = host;
    firn_ghosts_init(&self->ghosts[ONCE], host);
    firn_ghosts_init(&self->ghosts[AGAIN], host);
    arc_resize(state, capacity);
    return FIRN_OK;
}

static void arc_fini(void *state) {
    firn_ghosts_fini(&((arc *)state)->ghosts[ONCE]);
    firn_ghosts_fini(&((arc *)state)->ghosts[AGAIN]);
}

static uint64_t charge_of(const arc *self, const firn_entry *entry) {
    return firn_host_charge(self->host, entry);
}

/* How far a ghost's return moves the share: its charge, times as often as the other list of ghosts
 * is longer than its own. */
static uint64_t step_of(const arc *self, unsigned list, uint64_t charge) {
    uint64_t own = self->ghosts[list].bytes + charge;
    uint64_t other = self->ghosts[1 - list].bytes;
    uint64_t times = other > own ? other / own : 1;
    return charge * times;
}

/* No more ghosts than the paper has: |T1| + |B1| up to the capacity, all four up to twice. */
static void trim_ghosts(arc *self) {
    uint64_t once = self->lists[ONCE].bytes;
    firn_ghosts_trim(&self->ghosts[ONCE], once < self->capacity ? self->capacity - once : 0);
    uint64_t rest = once + self->lists[AGAIN].bytes + self->ghosts[ONCE].bytes;
    firn_ghosts_trim(&self->ghosts[AGAIN],
                     rest < 2 * self->capacity ? 2 * self->capacity - rest : 0);
}

static void arc_insert(void *state, firn_entry *entry) {
    arc *self = state;
    uint64_t charge = charge_of(self, entry);
    uint64_t hash = self->host->hash(self->host, entry);
    unsigned list = AGAIN;
    self->again_came_back = false;
    if (firn_ghosts_take(&self->ghosts[ONCE], hash)) {
        uint64_t up = step_of(self, ONCE, charge);
        self->share = up < self->capacity - self->share ? self->share + up : self->capacity;
    } else if (firn_ghosts_take(&self->ghosts[AGAIN], hash)) {
        uint64_t down = step_of(self, AGAIN, charge);
        self->share = down < self->share ? self->share - down : 0;
        self->again_came_back = true;
    } else {
        list = ONCE;
    }
    firn_entry_set_bits(entry, list);
    firn_entry_list_push_head(&self->lists[list], entry, charge);
    trim_ghosts(self);
}

static void arc_restore(void *state, firn_entry *entry) {
    arc *self = state;
    firn_entry_set_bits(entry, ONCE);
    firn_entry_list_push_tail(&self->lists[ONCE], entry, charge_of(self, entry));
}

static void arc_hit(void *state, firn_entry *entry) {
    arc *self = state;
    if (firn_entry_bits(entry) == AGAIN) {
        firn_entry_list_move_to_head(&self->lists[AGAIN], entry);
        return;
    }
    uint64_t charge = charge_of(self, entry);
    firn_entry_list_remove(&self->lists[ONCE], entry, charge);
    firn_entry_set_bits(entry, AGAIN);
    firn_entry_list_push_head(&self->lists[AGAIN], entry, charge);
}

static void arc_replace(void *state, firn_entry *old, firn_entry *entry) {
    arc *self = state;
    firn_entry_list_replace(&self->lists[firn_entry_bits(old)], old, charge_of(self, old), entry,
                            charge_of(self, entry));
}

static void arc_remove(void *state, firn_entry *entry, int evicted) {
    arc *self = state;
    unsigned list = firn_entry_bits(entry);
    uint64_t charge = charge_of(self, entry);
    firn_entry_list_remove(&self->lists[list], entry, charge);
    if (evicted) {
        firn_ghosts_add(&self->ghosts[list], self->host->hash(self->host, entry), charge);
        trim_ghosts(self);
    }
}

static firn_entry *arc_victim(void *state) {
    arc *self = state;
    const firn_entry_list *once = &self->lists[ONCE];
    if (once->tail != NULL &&
        (once->bytes > self->share || (self->again_came_back && once->bytes == self->share) ||
         self->lists[AGAIN].tail == NULL)) {
        return once->tail;
    }
    return self->lists[AGAIN].tail;
}

static firn_entry *arc_walk(void *state, const firn_entry *entry, unsigned order) {
    arc *self = state;
    firn_entry_list *lists[] = {&self->lists[AGAIN], &self->lists[ONCE]};
    unsigned in = entry != NULL && firn_entry_bits(entry) == ONCE;
    return firn_entry_lists_walk(lists, 2, in, entry, order);
}

const firn_policy firn_arc_policy = {
    .size = sizeof(firn_policy),
    .name = "arc",
    .state_size = sizeof(arc),
    .hits = FIRN_HITS_RECENT,
    .init = arc_init,
    .fini = arc_fini,
    .resize = arc_resize,
    .insert = arc_insert,
    .restore = arc_restore,
    .hit = arc_hit,
    .replace = arc_replace,
    .remove = arc_remove,
    .victim = arc_victim,
    .walk = arc_walk,
};
