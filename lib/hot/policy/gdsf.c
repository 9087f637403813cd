/* GDSF, Greedy-Dual-Size-Frequency (Cherkasova, "Improving WWW proxies performance with
 * Greedy-Dual-Size-Frequency caching policy", 1998): each entry has a priority of its hits, times
 * what it cost to make in proportion to what others did, over its charge, plus an age that rises to
 * the priority of what was evicted last. So many small entries stay rather than one large one, what
 * is dear rather than what is cheap, and what was popular long ago goes in the end. An entry whose
 * cost is unknown counts as one of the average.
 *
 * A heap of 16 bytes an entry, its memory the only cost beyond the header; the entry's first link
 * keeps its place in the heap. Entries that no heap could be had for form a list, and go first. A
 * walk tells entries by their place in the heap, which is their order only roughly. */
#include <stdbool.h>
#include <string.h>

#include "base/running_mean.h"
#include "hot/policy/entry_list.h"
#include "hot/policy/policies.h"

enum { HEAP_MIN = 64, FREQUENCY_MAX = 0x7fff, ORPHAN = 0x8000 };

typedef struct node {
    double priority;
    firn_entry *entry;
} node;

typedef struct gdsf {
    const firn_policy_host *host;
    node *heap; /* least priority first */
    uint64_t count;
    uint64_t room;
    double age;
    firn_running_mean costs; /* of entries that came with one */
    firn_entry_list orphans;
} gdsf;

static int gdsf_init(void *state, const firn_policy_host *host, uint64_t capacity) {
    (void)capacity;
    ((gdsf *)state)->host = host;
    return FIRN_OK;
}

static void gdsf_fini(void *state) {
    gdsf *self = state;
    firn_policy_free(self->host, self->heap, self->room * sizeof *self->heap);
}

static void gdsf_resize(void *state, uint64_t capacity) {
    (void)state;
    (void)capacity;
}

/* A link has 44 bits, which are the address over 16: as a number, it is stored times 16. */
static void set_place(const gdsf *self, uint64_t place) {
    firn_entry_set_prev(self->heap[place].entry, (const firn_entry *)(uintptr_t)(place << 4));
}

static uint64_t place_of(const firn_entry *entry) {
    return (uint64_t)(uintptr_t)firn_entry_prev(entry) >> 4;
}

static bool is_orphan(const firn_entry *entry) {
    return (firn_entry_bits(entry) & ORPHAN) != 0;
}

static void rise(gdsf *self, uint64_t place) {
    node moving = self->heap[place];
    while (place > 0 && self->heap[(place - 1) / 2].priority > moving.priority) {
        self->heap[place] = self->heap[(place - 1) / 2];
        set_place(self, place);
        place = (place - 1) / 2;
    }
    self->heap[place] = moving;
    set_place(self, place);
}

static void sink(gdsf *self, uint64_t place) {
    node moving = self->heap[place];
    for (uint64_t child = place * 2 + 1; child < self->count; child = place * 2 + 1) {
        if (child + 1 < self->count &&
            self->heap[child + 1].priority < self->heap[child].priority) {
            child++;
        }
        if (self->heap[child].priority >= moving.priority) {
            break;
        }
        self->heap[place] = self->heap[child];
        set_place(self, place);
        place = child;
    }
    self->heap[place] = moving;
    set_place(self, place);
}

static void learn_cost(gdsf *self, const firn_entry *entry) {
    uint64_t cost = self->host->cost(self->host, entry);
    if (cost > 0) {
        firn_running_mean_add(&self->costs, (double)cost);
    }
}

static double priority_of(const gdsf *self, const firn_entry *entry) {
    double charge = (double)firn_host_charge(self->host, entry);
    uint64_t cost = self->host->cost(self->host, entry);
    double dear = cost > 0 && self->costs.count > 0 ? (double)cost / self->costs.mean : 1;
    return self->age + dear * (firn_entry_bits(entry) & FREQUENCY_MAX) / (charge > 0 ? charge : 1);
}

/* It may be less than before, for what others cost may have changed. */
static void set_priority(gdsf *self, uint64_t place) {
    double priority = priority_of(self, self->heap[place].entry);
    bool less = priority < self->heap[place].priority;
    self->heap[place].priority = priority;
    if (less) {
        rise(self, place);
    } else {
        sink(self, place);
    }
}

static bool has_room(gdsf *self) {
    if (self->count < self->room) {
        return true;
    }
    uint64_t room = self->room == 0 ? HEAP_MIN : self->room * 2;
    node *heap = firn_policy_alloc(self->host, room * sizeof *heap);
    if (heap == NULL) {
        return false;
    }
    if (self->count > 0) {
        memcpy(heap, self->heap, self->count * sizeof *heap);
    }
    firn_policy_free(self->host, self->heap, self->room * sizeof *self->heap);
    self->heap = heap;
    self->room = room;
    return true;
}

static void gdsf_insert(void *state, firn_entry *entry) {
    gdsf *self = state;
    if (!has_room(self)) {
        firn_entry_set_bits(entry, ORPHAN);
        firn_entry_list_push_head(&self->orphans, entry, 0);
        return;
    }
    firn_entry_set_bits(entry, 1);
    learn_cost(self, entry);
    self->heap[self->count] = (node){priority_of(self, entry), entry};
    self->count++;
    rise(self, self->count - 1);
}

static void gdsf_hit(void *state, firn_entry *entry) {
    gdsf *self = state;
    if (is_orphan(entry)) {
        firn_entry_list_move_to_head(&self->orphans, entry);
        return;
    }
    unsigned frequency = firn_entry_bits(entry);
    firn_entry_set_bits(entry, frequency < FREQUENCY_MAX ? frequency + 1 : frequency);
    set_priority(self, place_of(entry));
}

static void gdsf_replace(void *state, firn_entry *old, firn_entry *entry) {
    gdsf *self = state;
    if (is_orphan(old)) {
        firn_entry_list_replace(&self->orphans, old, 0, entry, 0);
        return;
    }
    uint64_t place = place_of(old);
    firn_entry_set_bits(entry, firn_entry_bits(old));
    firn_entry_set_mark(entry, firn_entry_mark(old));
    self->heap[place].entry = entry;
    set_place(self, place);
    set_priority(self, place);
}

static void gdsf_remove(void *state, firn_entry *entry, int evicted) {
    gdsf *self = state;
    if (is_orphan(entry)) {
        firn_entry_list_remove(&self->orphans, entry, 0);
        return;
    }
    uint64_t place = place_of(entry);
    if (evicted) {
        self->age = self->heap[place].priority;
    }
    double priority = self->heap[place].priority;
    self->count--;
    if (place < self->count) {
        self->heap[place] = self->heap[self->count];
        if (self->heap[place].priority < priority) {
            rise(self, place);
        } else {
            sink(self, place);
        }
    }
}

static firn_entry *gdsf_victim(void *state) {
    gdsf *self = state;
    if (self->orphans.tail != NULL) {
        return self->orphans.tail;
    }
    return self->count > 0 ? self->heap[0].entry : NULL;
}

static firn_entry *gdsf_walk(void *state, const firn_entry *entry, unsigned order) {
    gdsf *self = state;
    if (order == FIRN_HOTTEST_FIRST) {
        if (entry != NULL && is_orphan(entry)) {
            return firn_entry_next(entry);
        }
        uint64_t left = entry != NULL ? place_of(entry) : self->count;
        return left > 0 ? self->heap[left - 1].entry : self->orphans.head;
    }
    if (entry == NULL || is_orphan(entry)) {
        firn_entry *next = entry != NULL ? firn_entry_prev(entry) : self->orphans.tail;
        return next != NULL ? next : self->count > 0 ? self->heap[0].entry : NULL;
    }
    uint64_t place = place_of(entry) + 1;
    return place < self->count ? self->heap[place].entry : NULL;
}

const firn_policy firn_gdsf_policy = {
    .size = sizeof(firn_policy),
    .name = "gdsf",
    .state_size = sizeof(gdsf),
    .hits = FIRN_HITS_ALL,
    .init = gdsf_init,
    .fini = gdsf_fini,
    .resize = gdsf_resize,
    .insert = gdsf_insert,
    .restore = gdsf_insert,
    .hit = gdsf_hit,
    .replace = gdsf_replace,
    .remove = gdsf_remove,
    .victim = gdsf_victim,
    .walk = gdsf_walk,
};
