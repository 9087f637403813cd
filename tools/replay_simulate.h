/* What the simulations of `firn replay --capacity` and the report of them share. */
#ifndef FIRN_TOOLS_REPLAY_SIMULATE_H
#define FIRN_TOOLS_REPLAY_SIMULATE_H

#include "replay.h"
#include "requests.h"

enum { SIMULATIONS_MAX = 512, JOBS_MAX = 256 };

typedef struct simulated {
    const char *policy;
    uint64_t hot;  /* as asked for: of all keys, whatever part of them the trace has */
    uint64_t cold; /* 0: there is none */
    uint64_t hot_hits;
    uint64_t cold_hits;
    uint64_t hit_bytes;
    uint64_t written; /* to the cold tier, scaled to all keys */
    uint64_t ns;
    int result;
} simulated;

typedef struct simulations {
    requests requests;
    double ratio;                    /* by how much values become smaller below */
    uint64_t hot_now;                /* what sizes may be given as times of; 0: not known */
    uint64_t sizes[SIMULATIONS_MAX]; /* of the hot tier, growing */
    size_t size_count;
    simulated runs[SIMULATIONS_MAX]; /* policy by policy, each at all sizes */
    size_t count;
} simulations;

/* Prints and plots what came of them. An exit code. */
int report_simulations(const simulations *self, const replay *asked);

#endif
