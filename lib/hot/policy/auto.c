/* Auto: notices what kind of accesses it sees, and evicts as what does best with them.
 *
 * Seven candidates (see auto_sims.h) run in miniature on a sample of the keys; the real entries
 * follow the one that misses least lately. No state is turned over when that changes, since one
 * structure serves them all: a list for each pair of a class of uses and a class of size, each in
 * order of last use, so that the worst entry of a list is its tail under every candidate.
 *
 *     LRU             evicts the oldest tail of all
 *     greedy-dual     evicts the tail that is worth least: the value of its list, plus what the
 *                     candidate's victims were worth when the tail was last used
 *     LIRS            evicts from one list more, of entries on trial; an entry leaves it for the
 *                     others if it comes back sooner than their oldest tail was used
 *
 * How often and when keys that left were used is remembered in a table of ghosts.
 *
 * Sources: Waldspurger et al., "Cache Modeling and Optimization using Miniature Simulations"
 * (2017); Cherkasova, "Improving WWW Proxies Performance with Greedy-Dual-Size-Frequency Caching"
 * (1998); Ghandeharizadeh et al., "CAMP" (2014), for the lists; Jiang and Zhang, "LIRS" (2002).
 *
 * Costs: 8 bytes an entry for ghosts, about 10 for simulations, some hundred kilobytes at least as
 * soon as there are a thousand entries; a hit in constant time, an eviction in the number of
 * classes. Without memory for these it is LRU. */
#include "hot/policy/auto_ghosts.h"
#include "hot/policy/auto_sims.h"
#include "hot/policy_host.h"

enum {
    MARK_USES = 0x3f,
    MARK_TRIAL = 0x40,
    MARK_SAMPLED = 0x80,
    TICKS_PER_TURN = 128, /* a tick: so many passed when every entry was replaced once */
    TICKS_FINE = 256,     /* inflations remembered, of each tick */
    TICKS_COARSE = 512,   /* and of each sixteenth before */
    TICKS_APART = 16,
    TICKS_KEPT = TICKS_FINE + TICKS_COARSE,
    DEMOTE_MOST = 4 /* entries put on trial in one call */
};

typedef struct auto_list {
    firn_entry *head, *tail;
} auto_list;

/* The lists of one class of sizes. */
typedef struct auto_row {
    auto_list lists[AUTO_USE_CLASSES];
    double worth[AUTO_USE_CLASSES]; /* of the tails */
    unsigned size_class;
    unsigned least; /* index of the smallest worth */
    bool stale;     /* least must be looked up again */
} auto_row;

typedef struct auto_state {
    const firn_policy_host *host;
    uint64_t capacity;
    uint64_t charge, trial_charge;
    uint64_t count;
    uint64_t misses_in_tick;
    uint32_t tick; /* of which entries keep 16 bits */
    unsigned followed;
    auto_sims *sims; /* NULL: there was no memory; LRU then */
    double inflation_now[AUTO_CANDIDATES];
    double inflation_simulated[AUTO_CANDIDATES]; /* in the simulations, at the last tick */
    double *inflation;   /* TICKS_KEPT for each candidate; NULL: no memory, and no sims */
    auto_ghosts *ghosts; /* may be NULL */
    auto_list trial;
    unsigned row_count;
    uint8_t row_of[AUTO_SIZE_CLASSES]; /* plus 1; 0: none yet */
    auto_row *rows[AUTO_SIZE_CLASSES];
    auto_row first_row; /* is there even when there is no memory */
} auto_state;

/* Lists -------------------------------------------------------------------------------------- */

static void list_add_head(auto_list *list, firn_entry *entry) {
    firn_entry_set_prev(entry, NULL);
    firn_entry_set_next(entry, list->head);
    if (list->head != NULL) {
        firn_entry_set_prev(list->head, entry);
    } else {
        list->tail = entry;
    }
    list->head = entry;
}

static void list_add_tail(auto_list *list, firn_entry *entry) {
    firn_entry_set_next(entry, NULL);
    firn_entry_set_prev(entry, list->tail);
    if (list->tail != NULL) {
        firn_entry_set_next(list->tail, entry);
    } else {
        list->head = entry;
    }
    list->tail = entry;
}

static void list_remove(auto_list *list, firn_entry *entry) {
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
}

static void list_replace(auto_list *list, firn_entry *old, firn_entry *entry) {
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
}

/* Entries ------------------------------------------------------------------------------------ */

static uint64_t charge_of(const auto_state *state, const firn_entry *entry) {
    return state->host->charge(state->host, entry);
}

static unsigned uses_of(const firn_entry *entry) {
    return firn_entry_mark(entry) & MARK_USES;
}

static bool on_trial(const firn_entry *entry) {
    return (firn_entry_mark(entry) & MARK_TRIAL) != 0;
}

static void set_flag(firn_entry *entry, unsigned flag, bool on) {
    unsigned mark = firn_entry_mark(entry);
    firn_entry_set_mark(entry, on ? mark | flag : mark & ~flag);
}

static void add_use(firn_entry *entry) {
    if (uses_of(entry) < AUTO_USES_MAX) {
        firn_entry_set_mark(entry, firn_entry_mark(entry) + 1);
    }
}

/* Ticks since the entry was last used. */
static unsigned age_of(const auto_state *state, const firn_entry *entry) {
    return (uint16_t)(state->tick - firn_entry_bits(entry));
}

static auto_row *row_of(auto_state *state, uint64_t charge) {
    unsigned size_class = auto_size_class(charge);
    if (state->row_of[size_class] == 0) {
        auto_row *row =
            state->row_count == 0 ? &state->first_row : firn_policy_alloc(state->host, sizeof *row);
        if (row == NULL) {
            /* for good, so that an entry is found where it was put */
            state->row_of[size_class] = 1;
        } else {
            row->size_class = size_class;
            row->stale = true;
            state->rows[state->row_count++] = row;
            state->row_of[size_class] = (uint8_t)state->row_count;
        }
    }
    return state->rows[state->row_of[size_class] - 1];
}

/* The inflation of the candidate that is followed, so many ticks ago. */
static double inflation_before(const auto_state *state, unsigned age) {
    const double *kept = state->inflation + (size_t)state->followed * TICKS_KEPT;
    age = age < state->tick ? age : state->tick;
    if (age < TICKS_FINE) {
        return kept[(state->tick - age) % TICKS_FINE];
    }
    unsigned most = (TICKS_COARSE - 1) * TICKS_APART;
    age = age < most ? age : most;
    return kept[TICKS_FINE + (state->tick - age) / TICKS_APART % TICKS_COARSE];
}

/* What the tail of a list is worth to the candidate that is followed. */
static double worth_of(const auto_state *state, const auto_row *row, unsigned use_class) {
    unsigned age = age_of(state, row->lists[use_class].tail);
    if (state->followed <= AUTO_LIRS) {
        return (double)state->tick - age;
    }
    return inflation_before(state, age) +
           (double)auto_value(state->followed, use_class, row->size_class);
}

static void tail_changed(const auto_state *state, auto_row *row, unsigned use_class) {
    row->stale = true;
    if (row->lists[use_class].tail != NULL) {
        row->worth[use_class] = worth_of(state, row, use_class);
    }
}

static void put_in(auto_state *state, firn_entry *entry) {
    auto_row *row = row_of(state, charge_of(state, entry));
    unsigned use_class = auto_use_class(uses_of(entry));
    list_add_head(&row->lists[use_class], entry);
    if (row->lists[use_class].tail == entry) {
        tail_changed(state, row, use_class);
    }
}

static void take_out(auto_state *state, firn_entry *entry) {
    auto_row *row = row_of(state, charge_of(state, entry));
    unsigned use_class = auto_use_class(uses_of(entry));
    bool was_tail = row->lists[use_class].tail == entry;
    list_remove(&row->lists[use_class], entry);
    if (was_tail) {
        tail_changed(state, row, use_class);
    }
}

/* The tail that is worth least, none of those on trial. */
static firn_entry *least_worth(auto_state *state) {
    firn_entry *least = NULL;
    double worth = 0;
    for (unsigned r = 0; r < state->row_count; r++) {
        auto_row *row = state->rows[r];
        if (row->stale) {
            row->stale = false;
            row->least = AUTO_USE_CLASSES;
            for (unsigned c = 0; c < AUTO_USE_CLASSES; c++) {
                if (row->lists[c].tail != NULL &&
                    (row->least == AUTO_USE_CLASSES || row->worth[c] < row->worth[row->least])) {
                    row->least = c;
                }
            }
        }
        if (row->least < AUTO_USE_CLASSES && (least == NULL || row->worth[row->least] < worth)) {
            least = row->lists[row->least].tail;
            worth = row->worth[row->least];
        }
    }
    return least;
}

static void put_on_trial(auto_state *state, firn_entry *entry) {
    set_flag(entry, MARK_TRIAL, true);
    list_add_head(&state->trial, entry);
    state->trial_charge += charge_of(state, entry);
}

static void end_trial(auto_state *state, firn_entry *entry) {
    set_flag(entry, MARK_TRIAL, false);
    list_remove(&state->trial, entry);
    state->trial_charge -= charge_of(state, entry);
}

static uint64_t trial_most(const auto_state *state) {
    return state->capacity / AUTO_TRIAL_SHARE > 0 ? state->capacity / AUTO_TRIAL_SHARE : 1;
}

/* LIRS: those that stay leave room for those on trial. */
static void demote(auto_state *state) {
    for (unsigned i = 0; i < DEMOTE_MOST; i++) {
        firn_entry *oldest = least_worth(state);
        if (oldest == NULL ||
            state->charge - state->trial_charge + trial_most(state) <= state->capacity) {
            return;
        }
        take_out(state, oldest);
        put_on_trial(state, oldest);
    }
}

/* LIRS: whether a key last used so many ticks ago was used later than the oldest that stays. */
static bool is_young(auto_state *state, unsigned age) {
    firn_entry *oldest = least_worth(state);
    return oldest != NULL && age < age_of(state, oldest);
}

/* The candidates ----------------------------------------------------------------------------- */

static void give_up_sims(auto_state *state) {
    auto_sims_free(state->sims);
    state->sims = NULL;
}

static void follow(auto_state *state, unsigned candidate) {
    if (candidate == state->followed) {
        return;
    }
    state->followed = candidate;
    for (unsigned r = 0; r < state->row_count; r++) {
        for (unsigned c = 0; c < AUTO_USE_CLASSES; c++) {
            tail_changed(state, state->rows[r], c);
        }
    }
}

/* The inflation of the candidate that is followed comes from the victims here, which are many more
 * than those of a simulation; that of the others goes on as it does in theirs. */
static void record_inflation(auto_state *state) {
    for (unsigned c = 0; c < AUTO_CANDIDATES && state->sims != NULL; c++) {
        double simulated = auto_sims_inflation(state->sims, c);
        if (c != state->followed) {
            state->inflation_now[c] += simulated - state->inflation_simulated[c];
        }
        state->inflation_simulated[c] = simulated;
        double *kept = state->inflation + (size_t)c * TICKS_KEPT;
        kept[state->tick % TICKS_FINE] = state->inflation_now[c];
        if (state->tick % TICKS_APART == 0) {
            kept[TICKS_FINE + state->tick / TICKS_APART % TICKS_COARSE] = state->inflation_now[c];
        }
    }
}

static void count_miss(auto_state *state) {
    if (++state->misses_in_tick * TICKS_PER_TURN >= state->count) {
        state->misses_in_tick = 0;
        state->tick++;
        record_inflation(state);
    }
}

/* An access of a key that is in the sample. */
static void simulate(auto_state *state, uint64_t hash, uint64_t charge) {
    if (!auto_sims_access(state->sims, hash, charge, state->count)) {
        give_up_sims(state);
        follow(state, AUTO_LRU);
        return;
    }
    follow(state, auto_sims_best(state->sims));
}

/* The policy --------------------------------------------------------------------------------- */

static int auto_init(void *memory, const firn_policy_host *host, uint64_t capacity) {
    auto_state *state = memory;
    state->host = host;
    state->capacity = capacity;
    state->followed = AUTO_LRU;
    state->inflation =
        firn_policy_alloc(host, AUTO_CANDIDATES * TICKS_KEPT * sizeof *state->inflation);
    if (state->inflation != NULL) {
        state->sims = auto_sims_new(host, capacity);
        state->ghosts = auto_ghosts_new(host);
    }
    return FIRN_OK;
}

static void auto_fini(void *memory) {
    auto_state *state = memory;
    auto_sims_free(state->sims);
    auto_ghosts_free(state->ghosts);
    if (state->inflation != NULL) {
        firn_policy_free(state->host, state->inflation,
                         AUTO_CANDIDATES * TICKS_KEPT * sizeof *state->inflation);
    }
    for (unsigned r = 1; r < state->row_count; r++) {
        firn_policy_free(state->host, state->rows[r], sizeof *state->rows[r]);
    }
}

static void auto_resize(void *memory, uint64_t capacity) {
    auto_state *state = memory;
    state->capacity = capacity;
    if (state->sims != NULL) {
        auto_sims_resize(state->sims, capacity);
    }
}

static void auto_insert(void *memory, firn_entry *entry) {
    auto_state *state = memory;
    uint64_t hash = state->host->hash(state->host, entry);
    uint64_t charge = charge_of(state, entry);
    firn_entry_set_mark(entry, 0);
    state->count++;
    state->charge += charge;
    count_miss(state);
    if (state->sims != NULL && auto_sims_samples(state->sims, hash)) {
        set_flag(entry, MARK_SAMPLED, true);
        simulate(state, hash, charge);
    }
    auto_ghost ghost = {0, 0};
    bool known =
        state->ghosts != NULL && auto_ghosts_take(state->ghosts, hash, state->tick, &ghost);
    firn_entry_set_mark(entry,
                        firn_entry_mark(entry) + auto_uses_again(state->followed, ghost.uses));
    firn_entry_set_bits(entry, state->tick & 0xffff);
    if (state->followed == AUTO_LIRS) {
        bool room =
            state->trial.head == NULL && state->charge + trial_most(state) <= state->capacity;
        if (!room && !(known && is_young(state, ghost.age))) {
            put_on_trial(state, entry);
            demote(state);
            return;
        }
    }
    put_in(state, entry);
    if (state->followed == AUTO_LIRS) {
        demote(state);
    }
}

static void auto_restore(void *memory, firn_entry *entry) {
    auto_state *state = memory;
    firn_entry_set_mark(entry, 1 | MARK_TRIAL);
    firn_entry_set_bits(entry, (state->tick - TICKS_FINE) & 0xffff);
    if (state->sims != NULL) {
        uint64_t hash = state->host->hash(state->host, entry);
        set_flag(entry, MARK_SAMPLED, auto_sims_samples(state->sims, hash));
    }
    uint64_t charge = charge_of(state, entry);
    state->count++;
    state->charge += charge;
    state->trial_charge += charge;
    list_add_tail(&state->trial, entry);
}

static void auto_hit(void *memory, firn_entry *entry) {
    auto_state *state = memory;
    if (state->sims != NULL && (firn_entry_mark(entry) & MARK_SAMPLED) != 0) {
        uint64_t hash = state->host->hash(state->host, entry);
        if (auto_sims_samples(state->sims, hash)) {
            simulate(state, hash, charge_of(state, entry));
        } else {
            set_flag(entry, MARK_SAMPLED, false);
        }
    }
    if (on_trial(entry)) {
        bool stays = state->followed != AUTO_LIRS || is_young(state, age_of(state, entry));
        firn_entry_set_bits(entry, state->tick & 0xffff);
        add_use(entry);
        if (!stays) {
            list_remove(&state->trial, entry);
            list_add_head(&state->trial, entry);
            return;
        }
        end_trial(state, entry);
        put_in(state, entry);
        if (state->followed == AUTO_LIRS) {
            demote(state);
        }
        return;
    }
    auto_row *row = row_of(state, charge_of(state, entry));
    unsigned use_class = auto_use_class(uses_of(entry));
    if (row->lists[use_class].head == entry && row->lists[use_class].tail != entry &&
        uses_of(entry) == AUTO_USES_MAX) {
        firn_entry_set_bits(entry, state->tick & 0xffff);
        return;
    }
    take_out(state, entry);
    firn_entry_set_bits(entry, state->tick & 0xffff);
    add_use(entry);
    put_in(state, entry);
}

static void auto_replace(void *memory, firn_entry *old, firn_entry *entry) {
    auto_state *state = memory;
    uint64_t old_charge = charge_of(state, old);
    uint64_t charge = charge_of(state, entry);
    firn_entry_set_mark(entry, firn_entry_mark(old));
    firn_entry_set_bits(entry, firn_entry_bits(old));
    state->charge += charge - old_charge;
    if (on_trial(old)) {
        state->trial_charge += charge - old_charge;
        list_replace(&state->trial, old, entry);
        return;
    }
    auto_row *old_row = row_of(state, old_charge);
    auto_row *row = row_of(state, charge);
    if (row == old_row) {
        list_replace(&row->lists[auto_use_class(uses_of(entry))], old, entry);
        return;
    }
    take_out(state, old);
    firn_entry_set_bits(entry, state->tick & 0xffff); /* a list is in order of use */
    put_in(state, entry);
}

static void auto_remove(void *memory, firn_entry *entry, int evicted) {
    auto_state *state = memory;
    if (evicted && state->ghosts != NULL) {
        auto_ghosts_add(state->ghosts, state->host->hash(state->host, entry), state->tick,
                        (auto_ghost){age_of(state, entry), uses_of(entry)}, state->count);
    }
    if (on_trial(entry)) {
        end_trial(state, entry);
    } else {
        if (evicted && state->followed > AUTO_LIRS) {
            double worth = worth_of(state, row_of(state, charge_of(state, entry)),
                                    auto_use_class(uses_of(entry)));
            double *now = &state->inflation_now[state->followed];
            *now = worth > *now ? worth : *now;
        }
        take_out(state, entry);
    }
    state->count--;
    state->charge -= charge_of(state, entry);
}

static firn_entry *auto_victim(void *memory) {
    auto_state *state = memory;
    return state->trial.tail != NULL ? state->trial.tail : least_worth(state);
}

/* Order of value: the lists from many uses to few, then those on trial. */
static auto_list *walk_list(auto_state *state, unsigned index) {
    unsigned lists = state->row_count * AUTO_USE_CLASSES;
    if (index >= lists) {
        return index == lists ? &state->trial : NULL;
    }
    return &state->rows[index % state->row_count]
                ->lists[AUTO_USE_CLASSES - 1 - index / state->row_count];
}

static unsigned walk_index(auto_state *state, const firn_entry *entry) {
    unsigned lists = state->row_count * AUTO_USE_CLASSES;
    if (on_trial(entry)) {
        return lists;
    }
    unsigned row = state->row_of[auto_size_class(charge_of(state, entry))] - 1U;
    return (AUTO_USE_CLASSES - 1 - auto_use_class(uses_of(entry))) * state->row_count + row;
}

static firn_entry *auto_walk(void *memory, const firn_entry *entry, unsigned order) {
    auto_state *state = memory;
    bool hottest = order == FIRN_HOTTEST_FIRST;
    unsigned last = state->row_count * AUTO_USE_CLASSES;
    unsigned index = hottest ? 0 : last;
    if (entry != NULL) {
        firn_entry *next = hottest ? firn_entry_next(entry) : firn_entry_prev(entry);
        if (next != NULL) {
            return next;
        }
        index = walk_index(state, entry);
        if (index == (hottest ? last : 0)) {
            return NULL;
        }
        index += hottest ? 1U : -1U;
    }
    for (;; index += hottest ? 1U : -1U) {
        auto_list *list = walk_list(state, index);
        if (list != NULL && list->head != NULL) {
            return hottest ? list->head : list->tail;
        }
        if (index == (hottest ? last : 0)) {
            return NULL;
        }
    }
}

const firn_policy firn_auto_policy = {
    .size = sizeof(firn_policy),
    .name = "auto",
    .state_size = sizeof(auto_state),
    .hits = FIRN_HITS_ALL,
    .init = auto_init,
    .fini = auto_fini,
    .resize = auto_resize,
    .insert = auto_insert,
    .restore = auto_restore,
    .hit = auto_hit,
    .replace = auto_replace,
    .remove = auto_remove,
    .victim = auto_victim,
    .walk = auto_walk,
};
