/* What the parts of `firn replay` share: what was asked for, and what was measured.
 *
 * cmd_replay.c reads the options; footprint.c reads the trace once to choose budgets; replay_run.c
 * drives the cache; replay_report.c prints; replay_simulate.c does without a cache, and
 * replay_outcome.c tells what came of that. */
#ifndef FIRN_TOOLS_REPLAY_H
#define FIRN_TOOLS_REPLAY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <firn/firn.h>

#include "output.h"

enum {
    WINDOWS = 200,            /* a window is half a percent of the trace, */
    WINDOW_REQUESTS_MIN = 100 /* and at least so many requests */
};

typedef struct replay {
    const char *trace_path; /* "-": the standard input */
    const char *store_path; /* NULL: memory only */
    const char *capacities; /* of simulations, separated by commas; NULL: a real cache is used */
    const char *policies;   /* as given, names separated by commas */
    const char *cold_text;  /* as given; NULL: it was not */
    const char *plot_path;  /* of simulations; NULL: no plot */
    double ratio;           /* of simulations: by how much values become smaller below */
    unsigned jobs;          /* of simulations: threads; 0: as many as there are cores */
    bool hot_only;
    bool moves; /* a policy of what moves between the tiers was given */
    bool json;
    bool quiet;
    bool keep;
    bool restart;
    uint64_t value_size; /* of requests without one */
    uint64_t restart_at; /* percent */
    uint64_t hot_bytes;  /* 0: chosen by the footprint */
    uint64_t cold_bytes; /* 0: chosen by the footprint */
    uint64_t miss_us[2]; /* what a miss costs, microseconds: from, to; each key has its own */
    bool tells_costs;    /* the cache is told of it: only if it was given, for that takes memory */
    uint64_t cold_us;    /* and a cold hit */
    uint64_t pace;       /* requests a second by the cache's clock; 0: it is the system's */
    _Atomic uint64_t clock_ms; /* with a pace. Relaxed: whoever reads an older one is too early */
    firn_options options;
    progress shown;

    /* Facts of the trace; 0 when it comes from the standard input. */
    uint64_t total;    /* requests */
    uint64_t distinct; /* keys */
    uint64_t footprint;
    double rate; /* the part of all keys that it has */
} replay;

typedef struct window {
    uint64_t requests; /* from the open to the window's end */
    uint64_t ns;
    double hot_ratio;
} window;

/* What happened between one open and its close. */
typedef struct half {
    firn_stats stats;
    uint64_t requests;
    uint64_t refused;     /* puts that no tier could hold */
    uint64_t value_bytes; /* asked for */
    uint64_t missed_bytes;
    double missed_us; /* what the misses cost together */
    uint64_t wrong;   /* hits whose value was not the one that was put */
    uint64_t ns;
    uint64_t open_ns;
    uint64_t first_ns; /* from the open's begin to the first answer */
    uint64_t close_ns;
    double tail_hot_ratio; /* of the last twentieth of the trace's requests */
    window windows[WINDOWS];
    unsigned window_count;
} half;

typedef struct replay_result {
    half before;
    half after;            /* the restart; all zero without one */
    firn_store_info store; /* after the last close; all zero without a store */
} replay_result;

/* Counts the trace's requests, distinct keys and bytes. An exit code. */
int measure_trace(replay *self);

/* The size of the value of a request. */
static inline uint64_t value_size_of(const replay *self, uint64_t trace_size) {
    return trace_size != 0 ? trace_size : self->value_size;
}

/* Plays the trace to simulations of policies. An exit code. */
int run_simulations(replay *self);

/* Plays the trace. An exit code. */
int run_replay(replay *self, replay_result *result);

void report_replay(const replay *self, const replay_result *result);

#endif
