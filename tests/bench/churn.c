/* Resident memory through a churn of mixed sizes: puts and gets of entries whose mix of sizes
 * shifts every so often, while handles are held for a while. Looks at resident memory many times a
 * second, and prints a line of JSON at intervals, with the highest since the last line:
 *
 *     {"seconds": 12.0, "mix": 3, "rss": 71303168, "rss_max": 74303168, "bound": 93323264, ...}
 *
 * Ends with 1 if resident memory was ever above the bound: hot_bytes, a fifth of it, a fixed part,
 * and what handles keep of entries that left.
 *
 * Usage: churn [--operations N | --seconds N] [--hot-bytes N] [--interval-ms N] [--policy NAME] */
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <firn/firn.h>

enum {
    HANDLES = 64,     /* held at any time, a second or so each */
    FIXED = 12 << 20, /* bytes: the program, its buffers, what the C library keeps */
    MIX_OPERATIONS = 100000,
    MIXES = 5,
    LOOK_NS = 10000000, /* between two looks at resident memory */
};

typedef struct asked {
    uint64_t operations; /* 0: as many as fit into the seconds */
    double seconds;
    uint64_t hot_bytes;
    uint64_t interval_ns;
    const char *policy;
} asked;

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t resident_bytes(void) {
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long total = 0;
    unsigned long resident = 0;
    if (file != NULL) {
        if (fscanf(file, "%lu %lu", &total, &resident) != 2) {
            resident = 0;
        }
        fclose(file);
    }
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t step(uint64_t *state) {
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return *state >> 33;
}

/* Mixes: small records, web objects with a heavy tail, pages, large blobs, all together. */
static size_t size_of(uint64_t *state, unsigned mix) {
    uint64_t draw = step(state);
    switch (mix % MIXES) {
    case 0:
        return 20 + draw % 300;
    case 1:
        return (size_t)200 << draw % 9;
    case 2:
        return 3000 + draw % 6000;
    case 3:
        return 1 + draw % 500000;
    default:
        return draw % 3 == 0 ? 100000 + step(state) % 900000 : 50 + step(state) % 5000;
    }
}

/* A key that is more often a low one. */
static uint64_t key_of(uint64_t *state, uint64_t keys) {
    uint64_t a = step(state) % keys;
    uint64_t b = step(state) % keys;
    return a < b ? a : b;
}

/* What was seen since the last line. */
typedef struct watch {
    uint64_t rss_max;
    uint64_t bound; /* when it was highest */
    bool above;     /* ever */
} watch;

static bool look(firn_cache *cache, const asked *ask, watch *seen, firn_stats *stats,
                 uint64_t *rss) {
    if (firn_get_stats(cache, stats) != FIRN_OK) {
        return false;
    }
    *rss = resident_bytes();
    uint64_t bound = ask->hot_bytes + ask->hot_bytes / 5 + FIXED + stats->detached_bytes;
    if (*rss > seen->rss_max) {
        seen->rss_max = *rss;
        seen->bound = bound;
    }
    if (*rss > bound || stats->hot_bytes > ask->hot_bytes) {
        if (!seen->above) {
            fprintf(stderr, "churn: %llu bytes resident, with %llu allowed\n",
                    (unsigned long long)*rss, (unsigned long long)bound);
        }
        seen->above = true;
    }
    return true;
}

static bool report(firn_cache *cache, const asked *ask, watch *seen, uint64_t began_ns,
                   uint64_t operations) {
    firn_stats stats = FIRN_STATS_INIT;
    uint64_t rss;
    if (!look(cache, ask, seen, &stats, &rss)) {
        return false;
    }
    printf("{\"seconds\": %.1f, \"operations\": %llu, \"mix\": %llu, \"rss\": %llu, "
           "\"rss_max\": %llu, \"bound\": %llu, \"hot_bytes\": %llu, \"hot_bytes_max\": %llu, "
           "\"detached_bytes\": %llu, \"entries\": %llu, \"hits\": %llu}\n",
           (double)(now_ns() - began_ns) / 1e9, (unsigned long long)operations,
           (unsigned long long)(operations / MIX_OPERATIONS % MIXES), (unsigned long long)rss,
           (unsigned long long)seen->rss_max, (unsigned long long)seen->bound,
           (unsigned long long)stats.hot_bytes, (unsigned long long)stats.hot_bytes_max,
           (unsigned long long)stats.detached_bytes, (unsigned long long)stats.hot_entries,
           (unsigned long long)stats.hot_hits);
    fflush(stdout);
    seen->rss_max = 0;
    return true;
}

static bool operate(firn_cache *cache, uint64_t *state, unsigned mix, firn_object **handles,
                    const unsigned char *value) {
    uint64_t key = key_of(state, 3000000);
    firn_object *object;
    if (firn_get(cache, &key, sizeof key, &object) != FIRN_OK) {
        size_t size = size_of(state, mix);
        return firn_put(cache, &key, sizeof key, value, size, NULL) == FIRN_OK;
    }
    if (step(state) % 1000 == 0) {
        firn_object **handle = &handles[step(state) % HANDLES];
        firn_object_unref(*handle);
        *handle = object;
    } else {
        firn_object_unref(object);
    }
    return true;
}

static bool churn(firn_cache *cache, const asked *ask, const unsigned char *value) {
    firn_object *handles[HANDLES] = {NULL};
    watch seen = {.above = false};
    firn_stats stats = FIRN_STATS_INIT;
    uint64_t rss;
    uint64_t state = 7;
    uint64_t began_ns = now_ns();
    uint64_t reported_ns = began_ns;
    uint64_t looked_ns = began_ns;
    bool good = true;
    uint64_t done = 0;
    for (; good && (ask->operations == 0 || done < ask->operations); done++) {
        good = operate(cache, &state, (unsigned)(done / MIX_OPERATIONS), handles, value);
        if (done % 64 != 0) {
            continue;
        }
        uint64_t now = now_ns();
        if (now - reported_ns >= ask->interval_ns) {
            reported_ns = now;
            good = good && report(cache, ask, &seen, began_ns, done);
        } else if (now - looked_ns >= LOOK_NS) {
            looked_ns = now;
            good = good && look(cache, ask, &seen, &stats, &rss);
        }
        if (ask->operations == 0 && (double)(now - began_ns) / 1e9 >= ask->seconds) {
            break;
        }
    }
    good = good && report(cache, ask, &seen, began_ns, done);
    for (unsigned i = 0; i < HANDLES; i++) {
        firn_object_unref(handles[i]);
    }
    return good && !seen.above;
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        {"operations", required_argument, NULL, 'o'}, {"seconds", required_argument, NULL, 's'},
        {"hot-bytes", required_argument, NULL, 'h'},  {"interval-ms", required_argument, NULL, 'i'},
        {"policy", required_argument, NULL, 'p'},     {NULL, 0, NULL, 0},
    };
    asked ask = {.seconds = 10, .hot_bytes = 64 << 20, .interval_ns = 1000000000u};
    int letter;
    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (letter) {
        case 'o':
            ask.operations = strtoull(optarg, NULL, 10);
            break;
        case 's':
            ask.seconds = strtod(optarg, NULL);
            break;
        case 'h':
            ask.hot_bytes = strtoull(optarg, NULL, 10);
            break;
        case 'i':
            ask.interval_ns = strtoull(optarg, NULL, 10) * 1000000u;
            break;
        case 'p':
            ask.policy = optarg;
            break;
        default:
            return 2;
        }
    }
    firn_options cache_options = FIRN_OPTIONS_INIT;
    cache_options.hot_bytes = ask.hot_bytes;
    cache_options.hot_policy = ask.policy;
    firn_cache *cache;
    unsigned char *value = malloc(1 << 20);
    if (value == NULL || firn_open(&cache, NULL, &cache_options) != FIRN_OK) {
        fprintf(stderr, "churn: cannot open a cache\n");
        return 2;
    }
    memset(value, 0x5a, 1 << 20);
    bool good = churn(cache, &ask, value);
    firn_close(cache);
    free(value);
    return good ? 0 : 1;
}
