/* firn replay: what was asked for, and the help; replay_run.c does it. */
#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay.h"
#include "replay_simulate.h"
#include "tool.h"

enum { HOT_BYTES_MIN = 65536 }; /* the least that is chosen by itself */

static uint64_t at_least(uint64_t bytes, uint64_t least) {
    return bytes > least ? bytes : least;
}

/* A budget for all keys, cut to what the trace has of them. */
static uint64_t scaled(uint64_t bytes, double rate, uint64_t least) {
    return rate < 1 ? at_least((uint64_t)((double)bytes * rate), least) : bytes;
}

static void choose_budgets(replay *self) {
    firn_options *options = &self->options;
    uint64_t tenth = self->footprint / 10; /* of the trace's keys, where what is given is of all */
    options->hot_bytes = self->hot_bytes != 0 ? scaled(self->hot_bytes, self->rate, HOT_BYTES_MIN)
                                              : at_least(tenth, HOT_BYTES_MIN);
    options->cold_bytes = self->cold_bytes != 0
                              ? scaled(self->cold_bytes, self->rate, FIRN_COLD_BYTES_MIN)
                              : at_least(tenth * 9, FIRN_COLD_BYTES_MIN);
}

static const struct option options[] = {
    {"hot", required_argument, NULL, 'h'},
    {"cold", required_argument, NULL, 'c'},
    {"policy", required_argument, NULL, 'p'},
    {"capacity", required_argument, NULL, 'C'},
    {"jobs", required_argument, NULL, 'J'},
    {"plot", required_argument, NULL, 'g'},
    {"ratio", required_argument, NULL, 'R'},
    {"tier", required_argument, NULL, 't'},
    {"threads", required_argument, NULL, 'T'},
    {"admission", required_argument, NULL, 'a'},
    {"demotion", required_argument, NULL, 'D'},
    {"demotion-rate", required_argument, NULL, 'b'},
    {"promotion", required_argument, NULL, 'P'},
    {"promotion-hits", required_argument, NULL, 'H'},
    {"miss-cost", required_argument, NULL, 'm'},
    {"cold-cost", required_argument, NULL, 'o'},
    {"pace", required_argument, NULL, 'e'},
    {"write-mode", required_argument, NULL, 'w'},
    {"durability", required_argument, NULL, 'd'},
    {"level", required_argument, NULL, 'l'},
    {"value-size", required_argument, NULL, 'v'},
    {"ttl", required_argument, NULL, 'L'},
    {"restart-at", required_argument, NULL, 'r'},
    {"no-restart", no_argument, NULL, 'n'},
    {"shards", required_argument, NULL, 's'},
    {"keep", no_argument, NULL, 'k'},
    {"json", no_argument, NULL, 'j'},
    {"quiet", no_argument, NULL, 'q'},
    {NULL, 0, NULL, 0},
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

static const char *find_policy(const char *text, size_t length) {
    for (unsigned i = 0; firn_policy_name(i) != NULL; i++) {
        const char *name = firn_policy_name(i);
        if (strlen(name) == length && strncmp(name, text, length) == 0) {
            return name;
        }
    }
    return NULL;
}

/* One name, or several separated by commas, or all. */
static bool choose_policies(replay *self, const char *text) {
    self->policies = text;
    self->options.hot_policy = find_policy(text, strlen(text));
    if (self->options.hot_policy != NULL || strcmp(text, "all") == 0) {
        return true;
    }
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ",");
        if (find_policy(at, length) == NULL) {
            return false;
        }
        at += length;
        if (*at == '\0') {
            return true;
        }
    }
}

static int misuse_policy(const char *text) {
    char names[256] = "";
    for (unsigned i = 0; firn_policy_name(i) != NULL; i++) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? ", " : "", firn_policy_name(i));
    }
    return misuse("replay", "--policy: there is no '%s'; there are: %s", text, names);
}

/* One of the policies of what moves between the tiers. */
static bool choose_mover(replay *self, const char *text, unsigned question, const char **choice) {
    self->moves = true;
    for (unsigned i = 0; firn_tier_policy_name(question, i) != NULL; i++) {
        if (strcmp(firn_tier_policy_name(question, i), text) == 0) {
            *choice = firn_tier_policy_name(question, i);
            return true;
        }
    }
    return false;
}

enum { COST_MAX = INT32_MAX };

/* N, or N-N: microseconds. */
static bool read_costs(const char *text, uint64_t costs[2]) {
    char first[16];
    const char *dash = strchr(text, '-');
    size_t length = dash != NULL ? (size_t)(dash - text) : strlen(text);
    if (length >= sizeof first) {
        return false;
    }
    memcpy(first, text, length);
    first[length] = '\0';
    const char *second = dash != NULL ? dash + 1 : first;
    return parse_number(first, COST_MAX, &costs[0]) && parse_number(second, COST_MAX, &costs[1]) &&
           costs[0] > 0 && costs[0] <= costs[1];
}

static const char *const write_modes[] = {"on-eviction", "behind", "through", NULL};
static const char *const durabilities[] = {"periodic", "none", "commit", NULL};
static const char *const tiers[] = {"both", "hot", NULL};

/* By how much values become smaller: 1 to 1000. */
static bool read_ratio(const char *text, double *ratio) {
    char *end;
    *ratio = strtod(text, &end);
    return *end == '\0' && strspn(text, "0123456789.") == strlen(text) && *ratio >= 1 &&
           *ratio <= 1000;
}

/* False: the value makes no sense. */
static bool read_option(replay *self, int letter, const char *text) {
    uint64_t number = 0;
    unsigned choice = 0;
    bool good = true;
    switch (letter) {
    case 'h':
        return parse_size(text, &self->hot_bytes) && self->hot_bytes > 0;
    case 'c':
        self->cold_text = text; /* parts and times are for simulations, which read it once more */
        return *text != '\0' && (!parse_size(text, &self->cold_bytes) || self->cold_bytes > 0);
    case 'p':
        return choose_policies(self, text);
    case 'C':
        self->capacities = text;
        return *text != '\0';
    case 'J':
        good = parse_number(text, JOBS_MAX, &number) && number > 0;
        self->jobs = (unsigned)number;
        return good;
    case 'g':
        self->plot_path = text;
        return *text != '\0';
    case 'R':
        return read_ratio(text, &self->ratio);
    case 't':
        good = choose(text, tiers, &choice);
        self->hot_only = choice == 1;
        return good;
    case 'T':
        good = parse_number(text, 1, &number);
        self->options.threads = (unsigned)number;
        return good;
    case 'a':
        return choose_mover(self, text, FIRN_ADMISSION, &self->options.admission);
    case 'D':
        return choose_mover(self, text, FIRN_DEMOTION, &self->options.demotion);
    case 'b':
        return parse_size(text, &self->options.demotion_rate) && self->options.demotion_rate > 0;
    case 'H':
        good = parse_number(text, 255, &number) && number > 0;
        self->options.promotion_hits = (unsigned)number;
        return good;
    case 'm':
        self->tells_costs = true;
        return read_costs(text, self->miss_us);
    case 'o':
        return parse_number(text, COST_MAX, &self->cold_us);
    case 'e':
        return parse_number(text, UINT32_MAX, &self->pace) && self->pace > 0;
    case 'P':
        return choose_mover(self, text, FIRN_PROMOTION, &self->options.promotion);
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
    case 'L':
        return parse_age(text, &self->options.default_ttl_ms);
    case 'r':
        return parse_number(text, 99, &self->restart_at) && self->restart_at > 0;
    case 'n':
        self->restart = false;
        return true;
    case 's':
        good = parse_number(text, 1024, &number);
        self->options.shards = (unsigned)number;
        return good;
    case 'k':
        self->keep = true;
        return true;
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

/* A new folder for a store into path. */
static bool make_folder(char *path, size_t size) {
    const char *parent = getenv("TMPDIR");
    snprintf(path, size, "%s/firn-replay-XXXXXX",
             parent != NULL && *parent != '\0' ? parent : "/tmp");
    if (mkdtemp(path) == NULL) {
        complain("replay", "cannot make a temporary folder %s: %s", path, strerror(errno));
        return false;
    }
    return true;
}

static int play(replay *self) {
    replay_result *result = calloc(1, sizeof *result);
    if (result == NULL) {
        complain("replay", "no memory");
        return EXIT_TROUBLE;
    }
    int code = run_replay(self, result);
    if (code == 0) {
        report_replay(self, result);
        code = output_is_whole("replay") ? 0 : EXIT_TROUBLE;
        uint64_t wrong = result->before.wrong + result->after.wrong;
        if (wrong > 0) {
            complain("replay",
                     "%llu hits gave a value other than the one that was put: a bug of "
                     "firn, or a store with other entries",
                     (unsigned long long)wrong);
            code = EXIT_DAMAGED;
        }
    }
    free(result);
    return code;
}

static int play_in_temporary_store(replay *self) {
    char folder[4096];
    if (!make_folder(folder, sizeof folder)) {
        return EXIT_TROUBLE;
    }
    self->store_path = folder;
    int code = play(self);
    if (self->keep) {
        fprintf(stderr, "The store is kept in %s\n", folder);
    } else {
        nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    }
    return code;
}

static int measure_and_play(replay *self) {
    progress_begin(&self->shown, self->quiet);
    if (strcmp(self->trace_path, "-") != 0) {
        int code = measure_trace(self);
        if (code != 0) {
            return code;
        }
    }
    choose_budgets(self);
    return self->hot_only || self->store_path != NULL ? play(self) : play_in_temporary_store(self);
}

/* What cannot go together. 0, or an exit code. */
static int check_options(replay *self) {
    if (self->hot_only && self->store_path != NULL) {
        return misuse("replay", "--tier hot keeps nothing on disk: leave out the store");
    }
    if (self->hot_only && self->keep) {
        return misuse("replay", "--tier hot keeps nothing on disk: leave out --keep");
    }
    if (self->capacities != NULL && (self->store_path != NULL || self->keep)) {
        return misuse("replay", "--capacity is for simulations, which keep nothing on disk: leave "
                                "out the store and --keep");
    }
    if (self->capacities == NULL &&
        (self->plot_path != NULL || self->jobs != 0 || self->ratio != 1)) {
        return misuse("replay", "--jobs, --plot and --ratio are for simulations: give --capacity");
    }
    bool budget = strcmp(self->options.demotion, "budget") == 0;
    if (budget && self->options.demotion_rate == 0) {
        return misuse("replay", "--demotion budget needs --demotion-rate: bytes a second");
    }
    if (self->capacities != NULL && (self->moves || self->pace > 0)) {
        return misuse("replay",
                      "simulations have no policies of admission, demotion and promotion, "
                      "and no clock: leave out --capacity");
    }
    if (self->capacities == NULL && self->options.hot_policy == NULL) {
        return misuse("replay", "--policy: a real cache has one policy; several can be simulated "
                                "with --capacity N");
    }
    if (self->capacities == NULL && self->cold_text != NULL && self->cold_bytes == 0) {
        return misuse("replay", "--cold: '%s' makes no sense here", self->cold_text);
    }
    bool piped = strcmp(self->trace_path, "-") == 0 && self->capacities == NULL;
    if (piped && (self->hot_bytes == 0 || (self->cold_bytes == 0 && !self->hot_only))) {
        return misuse("replay", "the standard input can be read only once, so the budgets cannot "
                                "be chosen by it: give --hot and --cold");
    }
    if (self->hot_only || piped) {
        self->restart =
            false; /* nothing to come back from; or no way to know where the middle is */
    }
    return 0;
}

static int run(int argc, char **argv) {
    replay self = {
        .options = FIRN_OPTIONS_INIT,
        .value_size = 1024,
        .restart_at = 50,
        .restart = true,
        .ratio = 1,
        .rate = 1,
        .miss_us = {1000, 1000},
        .cold_us = 20,
    };
    self.options.admission = firn_tier_policy_name(FIRN_ADMISSION, 0);
    self.options.demotion = firn_tier_policy_name(FIRN_DEMOTION, 0);
    self.options.promotion = firn_tier_policy_name(FIRN_PROMOTION, 0);
    self.options.hot_policy = self.policies = firn_policy_name(0);
    int letter;
    int chosen = 0;
    while ((letter = getopt_long(argc, argv, "q", options, &chosen)) != -1) {
        if (letter == '?') {
            fprintf(stderr, "Try 'firn replay --help'.\n");
            return EXIT_USAGE;
        }
        if (!read_option(&self, letter, optarg)) {
            return letter == 'p' ? misuse_policy(optarg)
                                 : misuse("replay", "--%s: '%s' makes no sense here",
                                          options[chosen].name, optarg != NULL ? optarg : "");
        }
    }
    if (optind == argc || argc - optind > 2) {
        return misuse("replay", "needs a trace, and takes a store");
    }
    self.trace_path = argv[optind];
    self.store_path = argc - optind == 2 ? argv[optind + 1] : NULL;
    int code = check_options(&self);
    if (code == 0) {
        code = self.capacities != NULL ? run_simulations(&self) : measure_and_play(&self);
    }
    return code;
}

const command command_replay = {
    "replay",
    "drive a cache with a trace of keys and sizes",
    "Usage: firn replay [OPTION...] TRACE [STORE]\n\n"
    "Reads TRACE, lines of 'key' or 'key,size', plain or compressed with zstd; '-' is the "
    "standard\n"
    "input. Each line is a get; a miss is put, with a value made from the key; every hit is "
    "checked.\n"
    "Part-way the cache is closed and opened again. STORE is made if need be, and kept; without "
    "it\n"
    "a temporary one is used. Prints hit ratios, movements, bytes on disk, and how soon the "
    "restart\n"
    "was warm: when the hot hit ratio reached nine tenths of what it was before.\n\n"
    "      --hot SIZE          memory; default: a tenth of all the trace touches\n"
    "      --cold SIZE         disk; default: nine tenths of it\n"
    "      --policy NAME       eviction policy; with --capacity NAME,NAME... or all\n"
    "      --tier TIER         both, or hot: memory only, values not made nor checked\n"
    "      --capacity N,...    simulate the policies, without values, with room for N bytes (N\n"
    "                          objects if the trace has no sizes) in the hot tier, and print what\n"
    "                          comes of it. N% is a part of what the trace touches; xN or Nx is\n"
    "                          times --hot, or what the trace was recorded with; auto is eight\n"
    "                          sizes. --cold may be given like that, x of the hot tier; default "
    "x9\n"
    "      --jobs N            simulations at a time; default: as many as there are cores\n"
    "      --plot FILE         plot what the simulations give, as SVG\n"
    "      --ratio N           by how much simulated values become smaller below; default 1\n"
    "      --admission NAME    what new entries get a place in memory: always, frequency, size\n"
    "      --demotion NAME     what is written below: always, reject-first, frequency, size, "
    "budget\n"
    "      --demotion-rate N   bytes a second, for budget\n"
    "      --promotion NAME    what comes up: always, kth-hit, gain\n"
    "      --promotion-hits N  for kth-hit; default 2\n"
    "      --miss-cost US      what a miss costs, microseconds; US-US: from key to key; default "
    "1000\n"
    "      --cold-cost US      what a cold hit costs; default 20\n"
    "      --pace N            requests a second by the cache's clock, for budget and --ttl; "
    "default:\n"
    "                          as fast as it goes, by the system's\n"
    "      --write-mode MODE   on-eviction, behind, through\n"
    "      --durability MODE   periodic, none, commit\n"
    "      --level N           zstd level, 1 to 19; 0: no compression\n"
    "      --ttl AGE           entries expire after AGE (500ms, 10s, 5m, 2h, 3d)\n"
    "      --threads N         1: a background thread; 0: none\n"
    "      --shards N          locks of the hot tier, a power of two; 1: exact order of eviction\n"
    "      --value-size SIZE   of requests without a size; default 1K\n"
    "      --restart-at N      percent of the trace before the restart; default 50\n"
    "      --no-restart        do not restart\n"
    "      --keep              keep the temporary store, and tell where it is\n"
    "      --json              the report as JSON\n"
    "  -q, --quiet             no progress\n"
    "      --help              this text\n",
    run,
};
