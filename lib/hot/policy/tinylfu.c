/* W-TinyLFU (Einziger, Friedman, Manes, "TinyLFU", ACM TOS 2017) with a window that adapts
 * (Einziger, Eytan, Friedman, Manes, "Adaptive software cache management", Middleware 2018).
 *
 * New entries come into a small LRU window. What falls out of it may stay in the main part only if
 * it was seen more often lately than the main part's own victim, by a sketch of frequencies. The
 * main part is a segmented LRU: a fifth on probation, the rest protected. Once the cache is full, a
 * hill climber moves the border between window and main: when the hit ratio got better since the
 * last move it goes on that way, else back.
 *
 * Costs 8 to 16 bytes an entry for the sketch. */
#include <stdbool.h>

#include "hot/policy/entry_list.h"
#include "hot/policy/frequencies.h"
#include "hot/policy/policies.h"

enum { WINDOW, PROBATION, PROTECTED, PARTS }; /* bits of an entry */

enum {
    SAMPLE_TIMES = 10,       /* requests between two moves of the border, times the entries */
    ADMIT_LUCK_FROM = 6,     /* frequency from which a loser may be let in by chance, against */
    ADMIT_LUCK_ONE_IN = 128, /* streams that are made to collide */
};

static const double STEP_START = 0.0625; /* of the capacity */
static const double STEP_DECAY = 0.98;
static const double RESTART_CHANGE = 0.05; /* of the hit ratio */

typedef struct tinylfu {
    const firn_policy_host *host;
    uint64_t capacity;
    uint64_t window_capacity;
    firn_entry_list parts[PARTS];
    firn_frequencies frequencies;
    uint64_t hits; /* since the border was last moved */
    uint64_t misses;
    bool was_full;  /* before, the hit ratio rises by itself and tells nothing of the border */
    bool has_ratio; /* to compare with */
    double last_ratio;
    double step; /* of the capacity; its sign is the direction */
    uint64_t luck;
} tinylfu;

static uint64_t charge_of(const tinylfu *self, const firn_entry *entry) {
    return firn_host_charge(self->host, entry);
}

static void tinylfu_resize(void *state, uint64_t capacity) {
    tinylfu *self = state;
    double share =
        self->capacity > 0 ? (double)self->window_capacity / (double)self->capacity : 0.01;
    self->capacity = capacity;
    self->window_capacity = (uint64_t)(share * (double)capacity);
    self->window_capacity += self->window_capacity == 0;
}

static int tinylfu_init(void *state, const firn_policy_host *host, uint64_t capacity) {
    tinylfu *self = state;
    self->host = host;
    self->step = STEP_START;
    self->luck = capacity | 1;
    tinylfu_resize(state, capacity);
    return firn_frequencies_init(&self->frequencies, host);
}

static void tinylfu_fini(void *state) {
    tinylfu *self = state;
    firn_frequencies_fini(&self->frequencies);
}

static uint64_t entries(const tinylfu *self) {
    return self->parts[WINDOW].count + self->parts[PROBATION].count + self->parts[PROTECTED].count;
}

static void move_to(tinylfu *self, firn_entry *entry, unsigned part) {
    uint64_t charge = charge_of(self, entry);
    firn_entry_list_remove(&self->parts[firn_entry_bits(entry)], entry, charge);
    firn_entry_set_bits(entry, part);
    firn_entry_list_push_head(&self->parts[part], entry, charge);
}

static void climb(tinylfu *self) {
    uint64_t requests = self->hits + self->misses;
    if (!self->was_full || requests < SAMPLE_TIMES * (entries(self) + 1)) {
        return;
    }
    double ratio = (double)self->hits / (double)requests;
    double change = ratio - self->last_ratio;
    self->last_ratio = ratio;
    self->hits = self->misses = 0;
    if (!self->has_ratio) {
        self->has_ratio = true;
        return;
    }
    if (change < 0) {
        self->step = -self->step;
    }
    double step = self->step;
    if (change >= RESTART_CHANGE || change <= -RESTART_CHANGE) {
        self->step = self->step < 0 ? -STEP_START : STEP_START;
    } else {
        self->step *= STEP_DECAY;
    }
    double window = (double)self->window_capacity + step * (double)self->capacity;
    double least = (double)self->capacity * 0.001;
    double most = (double)self->capacity * 0.8;
    window = window < least ? least : window > most ? most : window;
    self->window_capacity = window < 1 ? 1 : (uint64_t)window;
}

static void count_miss(tinylfu *self) {
    self->misses++;
    climb(self);
}

static void tinylfu_insert(void *state, firn_entry *entry) {
    tinylfu *self = state;
    firn_frequencies_fit(&self->frequencies, entries(self));
    firn_frequencies_pace(&self->frequencies, entries(self) + 1);
    firn_frequencies_add(&self->frequencies, self->host->hash(self->host, entry));
    firn_entry_set_bits(entry, WINDOW);
    uint64_t charge = charge_of(self, entry);
    if (charge > self->window_capacity) {
        /* It would push all others out of the window: it is the next that must win to stay. */
        firn_entry_list_push_tail(&self->parts[WINDOW], entry, charge);
        count_miss(self);
        return;
    }
    firn_entry_list_push_head(&self->parts[WINDOW], entry, charge);
    while (self->parts[WINDOW].bytes > self->window_capacity && self->parts[WINDOW].count > 1) {
        move_to(self, self->parts[WINDOW].tail, PROBATION);
    }
    count_miss(self);
}

static void tinylfu_restore(void *state, firn_entry *entry) {
    tinylfu *self = state;
    firn_frequencies_fit(&self->frequencies, entries(self));
    firn_entry_set_bits(entry, PROBATION);
    firn_entry_list_push_tail(&self->parts[PROBATION], entry, charge_of(self, entry));
}

static void tinylfu_hit(void *state, firn_entry *entry) {
    tinylfu *self = state;
    firn_frequencies_add(&self->frequencies, self->host->hash(self->host, entry));
    if (firn_entry_bits(entry) == PROBATION) {
        move_to(self, entry, PROTECTED);
        uint64_t main = self->capacity - self->window_capacity;
        while (self->parts[PROTECTED].bytes > main - main / 5 && self->parts[PROTECTED].count > 1) {
            move_to(self, self->parts[PROTECTED].tail, PROBATION);
        }
    } else {
        firn_entry_list_move_to_head(&self->parts[firn_entry_bits(entry)], entry);
    }
    self->hits++;
    climb(self);
}

static void tinylfu_replace(void *state, firn_entry *old, firn_entry *entry) {
    tinylfu *self = state;
    firn_entry_list_replace(&self->parts[firn_entry_bits(old)], old, charge_of(self, old), entry,
                            charge_of(self, entry));
}

static void tinylfu_remove(void *state, firn_entry *entry, int evicted) {
    (void)evicted;
    tinylfu *self = state;
    firn_entry_list_remove(&self->parts[firn_entry_bits(entry)], entry, charge_of(self, entry));
}

static bool admits(tinylfu *self, const firn_entry *candidate, const firn_entry *victim) {
    const firn_frequencies *frequencies = &self->frequencies;
    unsigned mine = firn_frequencies_of(frequencies, self->host->hash(self->host, candidate));
    unsigned other = firn_frequencies_of(frequencies, self->host->hash(self->host, victim));
    if (mine > other) {
        return true;
    }
    if (mine < ADMIT_LUCK_FROM) {
        return false;
    }
    self->luck = self->luck * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return self->luck >> 33 < (UINT64_C(1) << 31) / ADMIT_LUCK_ONE_IN;
}

static firn_entry *tinylfu_victim(void *state) {
    tinylfu *self = state;
    if (!self->was_full) {
        self->was_full = true;
        self->hits = self->misses = 0;
    }
    firn_entry *main = self->parts[PROBATION].tail != NULL ? self->parts[PROBATION].tail
                                                           : self->parts[PROTECTED].tail;
    firn_entry *candidate = self->parts[WINDOW].tail;
    if (main == NULL || candidate == NULL) {
        return main != NULL ? main : candidate;
    }
    if (self->parts[WINDOW].bytes + charge_of(self, candidate) <= self->window_capacity) {
        return main; /* the window has room for what is to come */
    }
    if (!admits(self, candidate, main)) {
        return candidate;
    }
    move_to(self, candidate, PROBATION);
    return main;
}

static firn_entry *tinylfu_walk(void *state, const firn_entry *entry, unsigned order) {
    tinylfu *self = state;
    firn_entry_list *lists[] = {&self->parts[PROTECTED], &self->parts[WINDOW],
                                &self->parts[PROBATION]};
    static const unsigned place[PARTS] = {[PROTECTED] = 0, [WINDOW] = 1, [PROBATION] = 2};
    unsigned in = entry != NULL ? place[firn_entry_bits(entry)] : 0;
    return firn_entry_lists_walk(lists, PARTS, in, entry, order);
}

static unsigned tinylfu_frequency(void *state, uint64_t hash, int again) {
    tinylfu *self = state;
    if (again) {
        firn_frequencies_add(&self->frequencies, hash);
    }
    return firn_frequencies_of(&self->frequencies, hash);
}

const firn_policy firn_tinylfu_policy = {
    .size = sizeof(firn_policy),
    .name = "tinylfu",
    .state_size = sizeof(tinylfu),
    .hits = FIRN_HITS_ALL,
    .init = tinylfu_init,
    .fini = tinylfu_fini,
    .resize = tinylfu_resize,
    .insert = tinylfu_insert,
    .restore = tinylfu_restore,
    .hit = tinylfu_hit,
    .replace = tinylfu_replace,
    .remove = tinylfu_remove,
    .victim = tinylfu_victim,
    .walk = tinylfu_walk,
    .frequency = tinylfu_frequency,
};
