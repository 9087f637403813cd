/* Demotion "budget": what is written below keeps to options.demotion_rate bytes a second, and is
 * what is worth most.
 *
 * The worth of an entry is how often it was seen, times its cost, over its room below. How many
 * bytes of which worth are offered is counted in classes, one for each power of two, and after each
 * period the bar is laid where what lies above it comes to the budget; in the class that it cuts, a
 * part is let through, by hash, so that an entry is not now in and now out. So the policy adapts to
 * whatever is offered. A store of tokens, filled at the rate, bounds it whatever the forecast was:
 * a burst of at most a few seconds' worth. What is written for other reasons is taken from it. */
#include <stdbool.h>

#include "tier/policy/policies.h"

enum {
    CLASSES = 128,
    CLASS_OF_ONE = 64,  /* that of a worth of 1 a byte */
    PERIOD_MS = 1000,   /* between two looks at where the bar should be */
    BURST_MS = 5000,    /* that tokens may be saved up for, and that may be owed */
    PERIODS_SAVED = 16, /* what was saved is spent in so many periods */
};

typedef struct state {
    double rate; /* bytes a millisecond */
    double tokens;
    uint64_t filled_ms;      /* up to when tokens were given out */
    uint64_t counted_ms;     /* since when `offered` counts */
    double offered[CLASSES]; /* bytes, in this period and half as much in each before */
    double weight;           /* periods that `offered` is of, in milliseconds */
    unsigned bar;            /* classes above it are let through whole, this one in part */
    double part;             /* 0 to 1 */
    firn_running_mean costs;
} state;

static int init(void *memory, const firn_tier_host *host) {
    state *self = memory;
    if (host->demotion_rate == 0) {
        return FIRN_EINVAL;
    }
    self->rate = (double)host->demotion_rate / 1000;
    self->tokens = self->rate * PERIOD_MS;
    self->part = 1;
    return FIRN_OK;
}

/* The most tokens there may be, and that may be owed. */
static double burst_of(const state *self) {
    return self->rate * BURST_MS;
}

/* The power of two below it. */
static unsigned class_of(double worth_of_byte) {
    unsigned at = CLASS_OF_ONE;
    while (worth_of_byte >= 2 && at < CLASSES - 1) {
        worth_of_byte /= 2;
        at++;
    }
    while (worth_of_byte < 1 && at > 0) {
        worth_of_byte *= 2;
        at--;
    }
    return at;
}

static void lay_bar(state *self) {
    double budget = self->rate + self->tokens / ((double)PERIODS_SAVED * PERIOD_MS);
    double left = budget * self->weight;
    unsigned at = CLASSES;
    while (at > 0 && self->offered[at - 1] <= left) {
        left -= self->offered[--at];
    }
    self->bar = at > 0 ? at - 1 : 0;
    self->part = at > 0 && left > 0 ? left / self->offered[at - 1] : at > 0 ? 0 : 1;
}

static void pass_time(state *self, uint64_t now_ms) {
    bool begins = self->filled_ms == 0 || now_ms < self->filled_ms; /* or the clock was set back */
    if (begins) {
        self->filled_ms = self->counted_ms = now_ms;
        return;
    }
    double most = burst_of(self);
    self->tokens += self->rate * (double)(now_ms - self->filled_ms);
    self->tokens = self->tokens < most ? self->tokens : most;
    self->filled_ms = now_ms;
    if (now_ms - self->counted_ms < PERIOD_MS) {
        return;
    }
    self->weight += (double)(now_ms - self->counted_ms);
    self->counted_ms = now_ms;
    lay_bar(self);
    self->weight /= 2;
    for (unsigned i = 0; i < CLASSES; i++) {
        self->offered[i] /= 2;
    }
}

/* A large flush is not to be paid off for hours. */
static void spend(state *self, double bytes) {
    double least = -burst_of(self);
    self->tokens = self->tokens - bytes > least ? self->tokens - bytes : least;
}

static int admits(void *memory, const firn_candidate *candidate) {
    state *self = memory;
    double size = (double)candidate->stored_size;
    pass_time(self, candidate->now_ms);
    unsigned class = class_of(firn_candidate_worth(candidate, &self->costs) / (size + 1));
    self->offered[class] += size;
    double luck = (double)(candidate->hash >> 40 & 0xffff) / 0x10000;
    bool wanted = class > self->bar || (class == self->bar && luck < self->part);
    /* What is larger than all that can be saved up for waits for that, and is paid off after. */
    double most = burst_of(self);
    if (!wanted || self->tokens < (size < most ? size : most)) {
        return 0;
    }
    spend(self, size);
    return 1;
}

static void written(void *memory, uint64_t bytes, uint64_t now_ms) {
    state *self = memory;
    pass_time(self, now_ms);
    spend(self, (double)bytes);
}

const firn_tier_policy firn_demote_budget_policy = {
    .size = sizeof(firn_tier_policy),
    .name = "budget",
    .state_size = sizeof(state),
    .wants = FIRN_WANTS_FREQUENCY | FIRN_WANTS_STORED_SIZE,
    .init = init,
    .admits = admits,
    .written = written,
};
