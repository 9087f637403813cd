/* firn replay --tier hot --capacity: runs eviction policies over a trace without keeping values.
 * Requests are read once and played to every policy at every capacity. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <firn/simulate.h>

#include "replay.h"
#include "tool.h"
#include "trace.h"

enum { SIMULATIONS_MAX = 256 };

typedef struct simulated {
    const char *policy;
    uint64_t capacity;
    firn_simulation *simulation;
    uint64_t hits;
    uint64_t hit_bytes;
    uint64_t ns;
} simulated;

typedef struct simulations {
    simulated runs[SIMULATIONS_MAX];
    size_t count;
    uint64_t requests;
    uint64_t bytes;
    bool sized; /* the trace has sizes */
} simulations;

/* Keys are numbers, often small ones in a row: spread over 64 bits, as the cache's hash does. */
static uint64_t spread(uint64_t key) {
    key += UINT64_C(0x9e3779b97f4a7c15);
    key = (key ^ key >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    key = (key ^ key >> 27) * UINT64_C(0x94d049bb133111eb);
    return key ^ key >> 31;
}

static bool add_run(simulations *self, const char *policy, uint64_t capacity) {
    if (self->count == SIMULATIONS_MAX) {
        complain("replay", "more than %d simulations at once", SIMULATIONS_MAX);
        return false;
    }
    simulated *run = &self->runs[self->count++];
    *run = (simulated){.policy = policy, .capacity = capacity};
    int result = firn_simulation_open(&run->simulation, policy, NULL, capacity);
    if (result != FIRN_OK) {
        complain("replay", "simulation of %s: %s", policy, firn_strerror(result));
    }
    return result == FIRN_OK;
}

static bool add_policies(simulations *self, const char *names, uint64_t capacity) {
    for (unsigned i = 0; firn_policy_name(i) != NULL; i++) {
        const char *name = firn_policy_name(i);
        size_t length = strlen(name);
        bool wanted = strcmp(names, "all") == 0;
        for (const char *at = names; at != NULL && !wanted; at = strchr(at, ',')) {
            at += *at == ',';
            wanted = strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == '\0');
        }
        if (wanted && !add_run(self, name, capacity)) {
            return false;
        }
    }
    return true;
}

static bool add_all(simulations *self, const replay *asked) {
    const char *at = asked->capacities;
    while (*at != '\0') {
        char text[32];
        size_t length = strcspn(at, ",");
        uint64_t capacity;
        snprintf(text, sizeof text, "%.*s", (int)length, at);
        if (length >= sizeof text || !parse_size(text, &capacity) || capacity == 0) {
            misuse("replay", "--capacity: '%.*s' makes no sense here", (int)length, at);
            return false;
        }
        if (!add_policies(self, asked->policies, capacity)) {
            return false;
        }
        at += length;
        at += *at == ',';
    }
    return self->count > 0;
}

/* Requests come in blocks, so that a policy's time is taken for many of them at once. */
typedef struct block {
    size_t count;
    struct {
        uint64_t hash;
        uint64_t size;
    } requests[4096];
} block;

static bool play_block(simulations *self, const block *from) {
    for (size_t i = 0; i < self->count; i++) {
        simulated *run = &self->runs[i];
        uint64_t began_ns = now_ns();
        for (size_t n = 0; n < from->count; n++) {
            int result = firn_simulation_access(run->simulation, from->requests[n].hash,
                                                from->requests[n].size);
            if (result < 0) {
                complain("replay", "simulation of %s: %s", run->policy, firn_strerror(result));
                return false;
            }
            run->hits += result == FIRN_OK;
            run->hit_bytes += result == FIRN_OK ? from->requests[n].size : 0;
        }
        run->ns += now_ns() - began_ns;
    }
    return true;
}

static int play_trace(simulations *self, replay *asked) {
    char why[TRACE_WHY_BYTES];
    trace *requests = trace_open(asked->trace_path, why);
    block *now = malloc(sizeof *now);
    if (requests == NULL || now == NULL) {
        complain("replay", "%s", requests == NULL ? why : "no memory");
        trace_close(requests);
        free(now);
        return EXIT_TROUBLE;
    }
    int code = 0;
    int more = 1;
    while (more > 0 && code == 0) {
        now->count = 0;
        uint64_t key;
        uint64_t size;
        while (now->count < sizeof now->requests / sizeof now->requests[0] &&
               (more = trace_next(requests, &key, &size)) > 0) {
            self->sized |= size != 0;
            size = size != 0 ? size : 1;
            now->requests[now->count].hash = spread(key);
            now->requests[now->count].size = size;
            now->count++;
            self->requests++;
            self->bytes += size;
        }
        if (!play_block(self, now)) {
            code = EXIT_TROUBLE;
        }
        if (progress_is_due(&asked->shown)) {
            progress_show("%llu requests to %zu simulations", (unsigned long long)self->requests,
                          self->count);
        }
    }
    progress_end(&asked->shown);
    if (more < 0) {
        complain("replay", "%s: %s", asked->trace_path, trace_message(requests));
        code = EXIT_TROUBLE;
    }
    trace_close(requests);
    free(now);
    return code;
}

static double ratio(uint64_t part, uint64_t whole) {
    return whole > 0 ? (double)part / (double)whole : 0;
}

static void print_json(const simulations *self) {
    for (size_t i = 0; i < self->count; i++) {
        const simulated *run = &self->runs[i];
        printf("{\"policy\": \"%s\", \"capacity\": %llu, \"requests\": %llu, \"hits\": %llu, "
               "\"hit_ratio\": %.6f, \"byte_hit_ratio\": %.6f, \"seconds\": %.3f}\n",
               run->policy, (unsigned long long)run->capacity, (unsigned long long)self->requests,
               (unsigned long long)run->hits, ratio(run->hits, self->requests),
               ratio(run->hit_bytes, self->bytes), (double)run->ns / 1e9);
    }
}

static void print_table(const simulations *self) {
    printf("%llu requests; capacity in %s\n\n", (unsigned long long)self->requests,
           self->sized ? "bytes" : "objects");
    printf("%-10s %14s %10s%s %8s\n", "policy", "capacity", "hit ratio",
           self->sized ? "   by bytes" : "", "ns each");
    for (size_t i = 0; i < self->count; i++) {
        const simulated *run = &self->runs[i];
        printf("%-10s %14llu %10.4f", run->policy, (unsigned long long)run->capacity,
               ratio(run->hits, self->requests));
        if (self->sized) {
            printf(" %10.4f", ratio(run->hit_bytes, self->bytes));
        }
        printf(" %8.0f\n", self->requests > 0 ? (double)run->ns / (double)self->requests : 0);
    }
}

int run_simulations(replay *asked) {
    simulations *self = calloc(1, sizeof *self);
    if (self == NULL) {
        complain("replay", "no memory");
        return EXIT_TROUBLE;
    }
    int code = EXIT_USAGE;
    if (add_all(self, asked)) {
        progress_begin(&asked->shown, asked->quiet);
        code = play_trace(self, asked);
    }
    if (code == 0) {
        if (asked->json) {
            print_json(self);
        } else {
            print_table(self);
        }
        code = output_is_whole("replay") ? 0 : EXIT_TROUBLE;
    }
    for (size_t i = 0; i < self->count; i++) {
        firn_simulation_close(self->runs[i].simulation);
    }
    free(self);
    return code;
}
