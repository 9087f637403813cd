/* firn trace: what is in a recording. */
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>

#include <firn/record.h>

#include "keys.h"
#include "output.h"
#include "tool.h"
#include "trace.h"

typedef struct facts {
    uint64_t accesses[FIRN_ACCESS_DELETE + 1]; /* by what they are */
    uint64_t keys;
    uint64_t value_bytes; /* of hits and puts */
    uint64_t last_ms;
    firn_recording_info info;
} facts;

static uint64_t gets_of(const facts *self) {
    return self->accesses[FIRN_ACCESS_HOT_HIT] + self->accesses[FIRN_ACCESS_COLD_HIT] +
           self->accesses[FIRN_ACCESS_MISS];
}

static double ratio(uint64_t part, uint64_t whole) {
    return whole > 0 ? (double)part / (double)whole : 0;
}

/* What firn_recording_next said last. */
static int count(facts *self, firn_recording *from) {
    key_numbers seen = {0};
    firn_access access;
    int result;
    self->last_ms = 0;
    while ((result = firn_recording_next(from, &access)) == FIRN_OK) {
        uint32_t number;
        bool added;
        if (!key_number(&seen, access.key_hash, &number, &added)) {
            result = FIRN_ENOMEM;
            break;
        }
        self->accesses[access.what]++;
        self->value_bytes += access.value_size;
        self->last_ms = access.time_ms;
    }
    self->keys = seen.count;
    key_numbers_free(&seen);
    self->info = (firn_recording_info)FIRN_RECORDING_INFO_INIT;
    firn_recording_get_info(from, &self->info);
    return result;
}

static void print_facts(const facts *self, bool json) {
    const firn_recording_info *info = &self->info;
    uint64_t gets = gets_of(self);
    uint64_t hot = self->accesses[FIRN_ACCESS_HOT_HIT];
    uint64_t hits = hot + self->accesses[FIRN_ACCESS_COLD_HIT];
    double seconds =
        self->last_ms > info->started_ms ? (double)(self->last_ms - info->started_ms) / 1000 : 0;
    const struct {
        const char *name;
        double value;
        int digits;
    } all[] = {
        {"gets", (double)gets, 0},
        {"puts", (double)self->accesses[FIRN_ACCESS_PUT], 0},
        {"deletes", (double)self->accesses[FIRN_ACCESS_DELETE], 0},
        {"keys", (double)self->keys, 0},
        {"sampling_rate", info->sampling_rate, 6},
        {"hot_hit_ratio", ratio(hot, gets), 4},
        {"hit_ratio", ratio(hits, gets), 4},
        {"value_bytes", (double)self->value_bytes, 0},
        {"started_ms", (double)info->started_ms, 0},
        {"seconds", seconds, 3},
        {"hot_bytes", (double)info->hot_bytes, 0},
        {"cold_bytes", (double)info->cold_bytes, 0},
        {"dropped", (double)info->dropped, 0},
        {"cut_short", (double)info->is_cut_short, 0},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (json) {
            printf("%s\"%s\": %.*f", i > 0 ? ", " : "{", all[i].name, all[i].digits, all[i].value);
        } else {
            printf("%-20s %.*f\n", all[i].name, all[i].digits, all[i].value);
        }
    }
    fputs(json ? "}\n" : "", stdout);
}

static int tell(const char *path, bool json) {
    char why[TRACE_WHY_BYTES] = "";
    firn_recording *from;
    int result = firn_recording_open(&from, path, why, sizeof why);
    if (result != FIRN_OK) {
        complain("trace", "%s: %s (%s)", path, why, firn_strerror(result));
        return exit_code(result);
    }
    facts found = {.keys = 0};
    result = count(&found, from);
    firn_recording_close(from);
    print_facts(&found, json);
    if (result < 0) {
        complain("trace", "%s: %s: the figures are of what stands before", path,
                 firn_strerror(result));
    }
    return result < 0 ? exit_code(result) : 0;
}

/* The gets, as `firn replay` reads them. */
static int convert(const char *path) {
    char why[TRACE_WHY_BYTES];
    trace *from = trace_open(path, why);
    if (from == NULL) {
        complain("trace", "%s", why);
        return EXIT_TROUBLE;
    }
    trace_request next;
    int result;
    while ((result = trace_next(from, &next)) == 1) {
        if (next.what == TRACE_GET) {
            printf("%llu,%llu\n", (unsigned long long)next.key, (unsigned long long)next.size);
        }
    }
    if (result < 0) {
        complain("trace", "%s: %s", path, trace_message(from));
    }
    trace_close(from);
    return result < 0 ? EXIT_TROUBLE : 0;
}

static const struct option options[] = {
    {"csv", no_argument, NULL, 'c'},
    {"json", no_argument, NULL, 'j'},
    {NULL, 0, NULL, 0},
};

static int run(int argc, char **argv) {
    bool csv = false;
    bool json = false;
    int letter;
    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (letter == '?') {
            fprintf(stderr, "Try 'firn trace --help'.\n");
            return EXIT_USAGE;
        }
        csv |= letter == 'c';
        json |= letter == 'j';
    }
    if (csv && json) {
        return misuse("trace", "--csv and --json: one of them");
    }
    if (optind != argc - 1) {
        return misuse("trace", optind == argc ? "which recording?" : "one recording at a time");
    }
    int code = csv ? convert(argv[optind]) : tell(argv[optind], json);
    return output_is_whole("trace") ? code : EXIT_TROUBLE;
}

const command command_trace = {
    "trace",
    "print what is in a recording of accesses",
    "Usage: firn trace [OPTION...] RECORDING\n\n"
    "How many gets, puts and deletes a program recorded (see firn_record_start), of how many keys, "
    "and\n"
    "what was hit. 'firn replay' plays a recording to other sizes and policies.\n\n"
    "      --csv           the gets as lines of 'key,size'; keys are hashes\n"
    "      --json          the figures as JSON\n"
    "      --help          this text\n",
    run,
};
