/* firn replay: drives a real cache with a trace. Every request is a get; a miss is put; every hit
 * is compared with what was put. Half-way the cache is closed and opened again, to see how fast it
 * gets warm. */
#include <ftw.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <firn/firn.h>

#include "output.h"
#include "tool.h"
#include "trace.h"
#include "values.h"

enum { WINDOWS = 1000, ENTRY_OVERHEAD = 100, KEY_TEXT = 32 };

typedef struct replay {
    const char *trace_path;
    const char *store_path; /* NULL: memory only */
    bool temporary;
    bool hot_only;
    bool json;
    bool quiet;
    bool restart;
    uint64_t value_size; /* of requests without one */
    uint64_t restart_at; /* percent */
    firn_options options;
    uint64_t hot_bytes; /* 0: chosen by the footprint */
    uint64_t cold_bytes;
    progress shown;

    uint64_t total; /* requests of the trace */
    uint64_t distinct;
    uint64_t footprint;
} replay;

/* One of the two halves. */
typedef struct half {
    firn_stats stats;
    uint64_t requests;
    uint64_t refused;
    uint64_t value_bytes; /* asked for */
    uint64_t missed_bytes;
    uint64_t wrong;
    uint64_t ns;
    double last_hot_ratio; /* of the last twentieth */
    uint64_t open_ns;
    uint64_t first_ns; /* from the open's begin to the first answer */
    uint64_t close_ns;
    uint64_t warm_requests; /* until the hot hit ratio was back; UINT64_MAX: never */
    uint64_t warm_ns;
} half;

/* ---- the trace's size ---- */

typedef struct key_set {
    uint64_t *slots; /* key + 1; 0: empty */
    size_t mask;
    size_t count;
    bool has_max; /* the one key for which key + 1 is 0 */
} key_set;

static bool set_add(key_set *set, uint64_t key, bool *added);

static bool set_grow(key_set *set) {
    key_set larger = {NULL, set->mask * 2 + 1, 0, set->has_max};
    larger.slots = calloc(larger.mask + 1, sizeof *larger.slots);
    if (larger.slots == NULL) {
        return false;
    }
    for (size_t i = 0; set->slots != NULL && i <= set->mask; i++) {
        bool added;
        if (set->slots[i] != 0) {
            set_add(&larger, set->slots[i] - 1, &added);
        }
    }
    free(set->slots);
    *set = larger;
    return true;
}

static bool set_add(key_set *set, uint64_t key, bool *added) {
    *added = false;
    if (key == UINT64_MAX) {
        *added = !set->has_max;
        set->has_max = true;
        return true;
    }
    if (set->slots == NULL || set->count * 2 > set->mask) {
        set->mask = set->slots == NULL ? 511 : set->mask;
        if (!set_grow(set)) {
            return false;
        }
    }
    size_t at = (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 20) & set->mask;
    while (set->slots[at] != 0) {
        if (set->slots[at] == key + 1) {
            return true;
        }
        at = (at + 1) & set->mask;
    }
    set->slots[at] = key + 1;
    set->count++;
    *added = true;
    return true;
}

static uint64_t size_of(const replay *self, uint64_t size) {
    return size != 0 ? size : self->value_size;
}

static int measure(replay *self) {
    char why[256];
    trace *requests = trace_open(self->trace_path, why);
    if (requests == NULL) {
        complain("replay", "cannot open the trace: %s", why);
        return EXIT_TROUBLE;
    }
    key_set seen = {0};
    uint64_t key;
    uint64_t size;
    int result;
    while ((result = trace_next(requests, &key, &size)) == 1) {
        bool added;
        if (!set_add(&seen, key, &added)) {
            complain("replay", "no memory for the keys of the trace");
            result = -2;
            break;
        }
        self->total++;
        if (added) {
            self->distinct++;
            self->footprint += size_of(self, size) + ENTRY_OVERHEAD;
        }
        if (self->total % 65536 == 0 && progress_is_due(&self->shown)) {
            progress_show("replay: reading the trace: %llu requests",
                          (unsigned long long)self->total);
        }
    }
    free(seen.slots);
    progress_end(&self->shown);
    if (result == -1) {
        complain("replay", "%s: %s", self->trace_path, trace_message(requests));
    }
    trace_close(requests);
    if (result == 0 && self->total == 0) {
        complain("replay", "%s: holds no requests", self->trace_path);
        return EXIT_TROUBLE;
    }
    return result == 0 ? 0 : EXIT_TROUBLE;
}

static void choose_budgets(replay *self) {
    firn_options *options = &self->options;
    options->hot_bytes = self->hot_bytes != 0 ? self->hot_bytes : self->footprint / 10;
    if (self->hot_bytes == 0 && options->hot_bytes < 65536) {
        options->hot_bytes = 65536;
    }
    options->cold_bytes = self->cold_bytes != 0 ? self->cold_bytes : self->footprint / 10 * 9;
    if (self->cold_bytes == 0 && options->cold_bytes < FIRN_COLD_BYTES_MIN) {
        options->cold_bytes = FIRN_COLD_BYTES_MIN;
    }
}

/* ---- the requests ---- */

typedef struct runner {
    replay *self;
    firn_cache *cache;
    trace *requests;
    unsigned char *value;
    size_t capacity;
    uint64_t done; /* requests of the whole trace */
    half *now;
    double warm_target; /* hot hit ratio to get back to; 0: none */
    bool failed;
} runner;

static bool reserve(runner *run, size_t size) {
    if (size <= run->capacity) {
        return true;
    }
    free(run->value);
    run->value = malloc(size);
    run->capacity = run->value != NULL ? size : 0;
    return run->value != NULL;
}

static bool trouble(runner *run, const char *what, int result) {
    char text[512];
    firn_last_message(run->cache, text, sizeof text);
    progress_end(&run->self->shown);
    complain("replay", "%s: %s: %s", what, firn_strerror(result), text);
    run->failed = true;
    return false;
}

static bool on_hit(runner *run, const firn_object *object, uint64_t key, size_t size) {
    if (firn_object_size(object) != size) {
        return true; /* the trace gave the key another size before: a real program would put anew */
    }
    if (!run->self->hot_only) {
        if (!reserve(run, size)) {
            return false;
        }
        make_value(key, run->value, size);
        run->now->wrong += memcmp(run->value, firn_object_data(object), size) != 0;
    }
    return true;
}

static bool put(runner *run, const char *name, size_t name_size, uint64_t key, size_t size) {
    if (!reserve(run, size + 1)) {
        complain("replay", "no memory for a value of %zu bytes", size);
        run->failed = true;
        return false;
    }
    if (run->self->hot_only) {
        memset(run->value, (int)key, size);
    } else {
        make_value(key, run->value, size);
    }
    int result = firn_put(run->cache, name, name_size, run->value, size, NULL);
    if (result == FIRN_ETOOLARGE) {
        run->now->refused++;
        return true;
    }
    return result == FIRN_OK || trouble(run, "put", result);
}

static bool request(runner *run, uint64_t key, uint64_t trace_size) {
    size_t size = (size_t)size_of(run->self, trace_size);
    char name[KEY_TEXT];
    size_t name_size = (size_t)snprintf(name, sizeof name, "%llu", (unsigned long long)key);
    firn_object *object;
    run->now->requests++;
    run->now->value_bytes += size;
    int result = firn_get(run->cache, name, name_size, &object);
    if (result == FIRN_OK) {
        bool good = on_hit(run, object, key, size);
        firn_object_unref(object);
        return good;
    }
    run->now->missed_bytes += size;
    return result == FIRN_NOT_FOUND ? put(run, name, name_size, key, size)
                                    : trouble(run, "get", result);
}

static firn_stats stats_of(firn_cache *cache) {
    firn_stats stats = FIRN_STATS_INIT;
    firn_get_stats(cache, &stats);
    return stats;
}

static double ratio(uint64_t a, uint64_t b) {
    return b > 0 ? (double)a / (double)b : 0;
}

static void show(runner *run, const firn_stats *stats, uint64_t began_ns) {
    replay *self = run->self;
    double seconds = (double)(now_ns() - began_ns) / 1e9;
    progress_show("replay: %3.0f%%  %.0f requests/s  hit ratio %.3f hot, %.3f in all",
                  100.0 * ratio(run->done, self->total),
                  seconds > 0 ? (double)run->now->requests / seconds : 0,
                  ratio(stats->hot_hits, stats->gets),
                  ratio(stats->hot_hits + stats->cold_hits, stats->gets));
}

/* Requests up to number `until` of the trace. */
static bool run_until(runner *run, uint64_t until) {
    replay *self = run->self;
    uint64_t began_ns = now_ns();
    uint64_t window = self->total / WINDOWS > 0 ? self->total / WINDOWS : 1;
    uint64_t window_hits = 0;
    uint64_t tail_at = until > self->total / 20 ? until - self->total / 20 : 0;
    firn_stats tail = stats_of(run->cache);
    run->now->warm_requests = UINT64_MAX;
    while (run->done < until && !run->failed) {
        uint64_t key;
        uint64_t size;
        if (run->done == tail_at) {
            tail = stats_of(run->cache);
        }
        if (trace_next(run->requests, &key, &size) != 1) {
            complain("replay", "the trace changed: %s", trace_message(run->requests));
            run->failed = true;
            break;
        }
        if (!request(run, key, size)) {
            run->failed = true;
            break;
        }
        run->done++;
        if (run->now->requests == 1) {
            run->now->first_ns = run->now->open_ns + now_ns() - began_ns;
        }
        if (run->now->requests % window == 0) {
            firn_stats stats = stats_of(run->cache);
            double hot = ratio(stats.hot_hits - window_hits, window);
            window_hits = stats.hot_hits;
            if (run->warm_target > 0 && run->now->warm_requests == UINT64_MAX &&
                hot >= run->warm_target) {
                run->now->warm_requests = run->now->requests;
                run->now->warm_ns = now_ns() - began_ns;
            }
            if (progress_is_due(&self->shown)) {
                show(run, &stats, began_ns);
            }
        }
    }
    progress_end(&self->shown);
    run->now->ns = now_ns() - began_ns;
    firn_stats stats = stats_of(run->cache);
    run->now->last_hot_ratio = ratio(stats.hot_hits - tail.hot_hits, stats.gets - tail.gets);
    return !run->failed;
}

static bool open_cache(runner *run) {
    char why[512] = "";
    run->self->options.error_buffer = why;
    run->self->options.error_buffer_size = sizeof why;
    uint64_t began_ns = now_ns();
    int result = firn_open(&run->cache, run->self->store_path, &run->self->options);
    run->now->open_ns = now_ns() - began_ns;
    if (result != FIRN_OK) {
        complain("replay", "cannot open the cache: %s (%s)", why, firn_strerror(result));
        run->failed = true;
    }
    return result == FIRN_OK;
}

static bool close_cache(runner *run) {
    if (run->self->store_path != NULL && firn_flush(run->cache) != FIRN_OK) {
        trouble(run, "flush", FIRN_EIO);
    }
    run->now->stats = stats_of(run->cache);
    uint64_t began_ns = now_ns();
    int result = firn_close(run->cache);
    run->now->close_ns = now_ns() - began_ns;
    if (result != FIRN_OK) {
        complain("replay", "cannot close the cache: %s", firn_strerror(result));
        run->failed = true;
    }
    return !run->failed;
}

static bool run_half(runner *run, half *now, uint64_t until) {
    run->now = now;
    if (!open_cache(run)) {
        return false;
    }
    bool good = run_until(run, until);
    return close_cache(run) && good;
}

/* ---- the report ---- */

typedef struct fact {
    const char *name;
    double value;
    int digits;
} fact;

static unsigned gather(const replay *self, const half *before, const half *after, fact *facts) {
    const firn_stats *a = &before->stats;
    const firn_stats *b = &after->stats;
    uint64_t gets = a->gets + b->gets;
    uint64_t stored = a->cold_stored_bytes + b->cold_stored_bytes;
    const firn_stats *last = self->restart ? b : a;
    bool warm = self->restart && after->warm_requests != UINT64_MAX;
    fact all[] = {
        {"requests", (double)gets, 0},
        {"distinct_keys", (double)self->distinct, 0},
        {"footprint_bytes", (double)self->footprint, 0},
        {"hot_bytes_max", (double)self->options.hot_bytes, 0},
        {"cold_bytes_max", self->hot_only ? 0 : (double)self->options.cold_bytes, 0},
        {"hot_hit_ratio", ratio(a->hot_hits + b->hot_hits, gets), 4},
        {"cold_hit_ratio", ratio(a->cold_hits + b->cold_hits, gets), 4},
        {"hit_ratio", ratio(gets - a->misses - b->misses, gets), 4},
        {"byte_hit_ratio",
         1 - ratio(before->missed_bytes + after->missed_bytes,
                   before->value_bytes + after->value_bytes),
         4},
        {"promotions", (double)(a->promotions + b->promotions), 0},
        {"demotions_written", (double)(a->demotions + b->demotions), 0},
        {"demotions_clean", (double)(a->clean_demotions + b->clean_demotions), 0},
        {"writes", (double)(a->writes + b->writes), 0},
        {"reclaimed", (double)(a->reclaimed + b->reclaimed), 0},
        {"dropped", (double)(a->dropped_memory_only + b->dropped_memory_only +
                             a->dropped_backpressure + b->dropped_backpressure +
                             a->dropped_too_large + b->dropped_too_large),
         0},
        {"refused_too_large", (double)(before->refused + after->refused), 0},
        {"wrong_values", (double)(before->wrong + after->wrong), 0},
        {"bytes_on_disk", (double)last->cold_file_bytes, 0},
        {"live_bytes_on_disk", (double)last->cold_live_bytes, 0},
        {"cold_entries", (double)last->cold_entries, 0},
        {"compression_ratio", ratio(a->cold_value_bytes + b->cold_value_bytes, stored), 2},
        {"seconds", (double)(before->ns + after->ns) / 1e9, 3},
        {"requests_per_second", (double)gets * 1e9 / (double)(before->ns + after->ns + 1), 0},
        {"close_ms", (double)before->close_ns / 1e6, 2},
        {"reopen_ms", (double)after->open_ns / 1e6, 2},
        {"first_answer_ms", (double)after->first_ns / 1e6, 2},
        {"hot_hit_ratio_before_restart", before->last_hot_ratio, 4},
        {"hot_hit_ratio_after_restart", after->last_hot_ratio, 4},
        {"warmed", (double)b->warmed, 0},
        {"warm_again_after_requests", warm ? (double)after->warm_requests : -1, 0},
        {"warm_again_after_ms", warm ? (double)after->warm_ns / 1e6 : -1, 2},
    };
    memcpy(facts, all, sizeof all);
    return sizeof all / sizeof all[0];
}

static void report(const replay *self, const half *before, const half *after) {
    fact facts[64];
    unsigned count = gather(self, before, after, facts);
    if (self->json) {
        printf("{\"policy\": \"%s\"", self->options.hot_policy);
        for (unsigned i = 0; i < count; i++) {
            printf(", \"%s\": %.*f", facts[i].name, facts[i].digits, facts[i].value);
        }
        puts("}");
        return;
    }
    printf("%-30s %s\n", "policy", self->options.hot_policy);
    for (unsigned i = 0; i < count; i++) {
        if (facts[i].value < 0) {
            printf("%-30s %s\n", facts[i].name, self->restart ? "not reached" : "no restart");
        } else {
            printf("%-30s %.*f\n", facts[i].name, facts[i].digits, facts[i].value);
        }
    }
}

static int replay_trace(replay *self) {
    char why[256];
    runner run = {.self = self};
    half before = {0};
    half after = {0};
    run.requests = trace_open(self->trace_path, why);
    if (run.requests == NULL) {
        complain("replay", "cannot open the trace: %s", why);
        return EXIT_TROUBLE;
    }
    uint64_t middle = self->restart ? self->total / 100 * self->restart_at : self->total;
    bool good = run_half(&run, &before, middle);
    if (good && self->restart) {
        run.warm_target = before.last_hot_ratio * 0.9;
        good = run_half(&run, &after, self->total);
    }
    trace_close(run.requests);
    free(run.value);
    if (!good) {
        return EXIT_TROUBLE;
    }
    report(self, &before, &after);
    if (before.wrong + after.wrong > 0) {
        complain("replay", "%llu values came back wrong: this is a bug of firn",
                 (unsigned long long)(before.wrong + after.wrong));
        return EXIT_DAMAGED;
    }
    return output_is_whole("replay") ? 0 : EXIT_TROUBLE;
}

/* ---- options ---- */

static const struct option options[] = {
    {"hot", required_argument, NULL, 'h'},         {"cold", required_argument, NULL, 'c'},
    {"policy", required_argument, NULL, 'p'},      {"tier", required_argument, NULL, 't'},
    {"threads", required_argument, NULL, 'T'},     {"promotion", required_argument, NULL, 'P'},
    {"write-mode", required_argument, NULL, 'w'},  {"durability", required_argument, NULL, 'd'},
    {"level", required_argument, NULL, 'l'},       {"value-size", required_argument, NULL, 'v'},
    {"restart-at", required_argument, NULL, 'r'},  {"no-restart", no_argument, NULL, 'n'},
    {"shards", required_argument, NULL, 's'},      {"json", no_argument, NULL, 'j'},
    {"quiet", no_argument, NULL, 'q'},             {NULL, 0, NULL, 0},
};

static bool choose(const char *text, const char *const *names, unsigned *choice) {
    for (unsigned i = 0; names[i] != NULL; i++) {
        if (strcmp(names[i], text) == 0) {
            *choice = i;
            return true;
        }
    }
    return false;
}

static const char *const promotions[] = {"always", "second-hit", NULL};
static const char *const write_modes[] = {"on-eviction", "behind", "through", NULL};
static const char *const durabilities[] = {"periodic", "none", "commit", NULL};
static const char *const tiers[] = {"both", "hot", NULL};

/* False: the value makes no sense. */
static bool read_option(replay *self, int letter, const char *text) {
    uint64_t number = 0;
    unsigned choice = 0;
    bool good = true;
    switch (letter) {
    case 'h':
        return parse_size(text, &self->hot_bytes) && self->hot_bytes > 0;
    case 'c':
        return parse_size(text, &self->cold_bytes) && self->cold_bytes > 0;
    case 'p':
        self->options.hot_policy = text;
        return true;
    case 't':
        good = choose(text, tiers, &choice);
        self->hot_only = choice == 1;
        return good;
    case 'T':
        good = parse_number(text, 1, &number);
        self->options.threads = (unsigned)number;
        return good;
    case 'P':
        return choose(text, promotions, &self->options.promotion);
    case 'w':
        return choose(text, write_modes, &self->options.write_mode);
    case 'd':
        return choose(text, durabilities, &self->options.durability);
    case 'l':
        good = parse_number(text, 19, &number);
        self->options.compression_level = number > 0 ? (int)number : FIRN_COMPRESSION_OFF;
        return good;
    case 'v':
        return parse_size(text, &self->value_size) && self->value_size > 0;
    case 'r':
        return parse_number(text, 99, &self->restart_at) && self->restart_at > 0;
    case 'n':
        self->restart = false;
        return true;
    case 's':
        good = parse_number(text, 1024, &number);
        self->options.shards = (unsigned)number;
        return good;
    case 'j':
        self->json = true;
        return true;
    default:
        self->quiet = true;
        return true;
    }
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where) {
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

static int run_replay(replay *self) {
    char folder[] = "/tmp/firn-replay-XXXXXX";
    progress_begin(&self->shown, self->quiet);
    int code = measure(self);
    if (code != 0) {
        return code;
    }
    choose_budgets(self);
    if (!self->hot_only && self->store_path == NULL) {
        if (mkdtemp(folder) == NULL) {
            complain("replay", "cannot make a temporary folder");
            return EXIT_TROUBLE;
        }
        self->store_path = folder;
        self->temporary = true;
    }
    code = replay_trace(self);
    if (self->temporary) {
        nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    }
    return code;
}

static int run(int argc, char **argv) {
    replay self = {
        .options = FIRN_OPTIONS_INIT,
        .value_size = 1024,
        .restart_at = 50,
        .restart = true,
    };
    self.options.hot_policy = firn_policy_name(0);
    int letter;
    int chosen = 0;
    while ((letter = getopt_long(argc, argv, "q", options, &chosen)) != -1) {
        if (letter == '?') {
            fprintf(stderr, "Try 'firn replay --help'.\n");
            return EXIT_USAGE;
        }
        if (!read_option(&self, letter, optarg)) {
            return misuse("replay", "--%s: '%s' makes no sense here", options[chosen].name,
                          optarg != NULL ? optarg : "");
        }
    }
    if (optind == argc || argc - optind > 2) {
        return misuse("replay", "needs a trace, and takes a store");
    }
    self.trace_path = argv[optind];
    self.store_path = argc - optind == 2 ? argv[optind + 1] : NULL;
    if (self.hot_only) {
        if (self.store_path != NULL) {
            return misuse("replay", "--tier hot keeps nothing on disk: leave out the store");
        }
        self.restart = false;
    }
    return run_replay(&self);
}

const command command_replay = {
    "replay",
    "drive a cache with a trace of keys and sizes",
    "Usage: firn replay [OPTION...] TRACE [STORE]\n\n"
    "Reads TRACE, lines of 'key' or 'key,size', plain or compressed with zstd. Each line is a get;\n"
    "a miss is put, with a value made from the key; every hit is compared with what was put.\n"
    "Part-way the cache is closed and opened again. STORE is made if need be, and kept; without it\n"
    "a temporary one is used. Prints hit ratios, movements, bytes on disk, and how soon the restart was\n"
    "warm: when the hot hit ratio reached nine tenths of what it was before.\n\n"
    "      --hot SIZE          memory; default: a tenth of all the trace touches\n"
    "      --cold SIZE         disk; default: nine tenths of it\n"
    "      --policy NAME       eviction policy: lru, sieve\n"
    "      --tier TIER         both, or hot: memory only, values not made nor compared\n"
    "      --promotion WHEN    always, second-hit\n"
    "      --write-mode MODE   on-eviction, behind, through\n"
    "      --durability MODE   periodic, none, commit\n"
    "      --level N           zstd level, 1 to 19; 0: no compression\n"
    "      --threads N         1: a background thread; 0: none\n"
    "      --shards N          locks of the hot tier, a power of two; 1: exact order of eviction\n"
    "      --value-size SIZE   of requests without a size; default 1K\n"
    "      --restart-at N      percent of the trace before the restart; default 50\n"
    "      --no-restart        do not restart\n"
    "      --json              the report as JSON\n"
    "  -q, --quiet             no progress\n"
    "      --help              this text\n",
    run,
};
