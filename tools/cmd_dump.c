/* firn dump: the entries of a store, oldest first. Streams; a live store is neither changed nor
 * kept waiting. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <firn/store.h>

#include "output.h"
#include "tool.h"

typedef struct dump {
    bool values;
    bool json;
    bool raw;
    const char *separator; /* after each raw value */
    size_t separator_size;
    bool expired;
    char *prefix;
    size_t prefix_size;
    uint64_t min_size;
    uint64_t max_size;
    uint64_t newer_ms; /* age; UINT64_MAX: any */
    uint64_t older_ms;
    uint64_t limit;
    uint64_t now_ms;
} dump;

static bool is_wanted(const dump *self, const firn_store_entry *entry) {
    uint64_t age = self->now_ms > entry->written_ms ? self->now_ms - entry->written_ms : 0;
    return (self->expired || !entry->expired) && entry->value_size >= self->min_size &&
           entry->value_size <= self->max_size && age <= self->newer_ms && age >= self->older_ms &&
           entry->key_size >= self->prefix_size &&
           (self->prefix_size == 0 || memcmp(entry->key, self->prefix, self->prefix_size) == 0);
}

static void print_text(const dump *self, const firn_store_entry *entry) {
    print_escaped(stdout, entry->key, entry->key_size);
    printf("\t%zu\t%zu\t%s\tv%llu", entry->value_size, entry->stored_size, entry->codec,
           (unsigned long long)entry->version);
    if (entry->expires_ms != 0) {
        printf("\texpires=%llu", (unsigned long long)entry->expires_ms);
    }
    if (self->values) {
        putchar('\t');
        print_escaped(stdout, entry->value, entry->value_size);
    }
    putchar('\n');
}

static void print_json(const dump *self, const firn_store_entry *entry) {
    putchar('{');
    json_bytes(stdout, "key", entry->key, entry->key_size);
    printf(", \"value_size\": %zu, \"stored_size\": %zu, \"codec\": \"%s\", \"version\": %llu, "
           "\"sequence\": %llu, \"written_ms\": %llu, \"expires_ms\": %llu, \"expired\": %s",
           entry->value_size, entry->stored_size, entry->codec, (unsigned long long)entry->version,
           (unsigned long long)entry->sequence, (unsigned long long)entry->written_ms,
           (unsigned long long)entry->expires_ms, entry->expired ? "true" : "false");
    if (self->values) {
        fputs(", ", stdout);
        json_bytes(stdout, "value", entry->value, entry->value_size);
    }
    fputs("}\n", stdout);
}

static void print_entry(const dump *self, const firn_store_entry *entry) {
    if (self->raw) {
        if (entry->value_size > 0) {
            fwrite(entry->value, 1, entry->value_size, stdout);
        }
        fwrite(self->separator, 1, self->separator_size, stdout);
    } else if (self->json) {
        print_json(self, entry);
    } else {
        print_text(self, entry);
    }
}

static int dump_store(const dump *self, firn_store *store) {
    firn_store_entry entry;
    uint64_t shown = 0;
    uint64_t damaged = 0;
    unsigned flags = self->values || self->raw ? FIRN_STORE_VALUES : 0;
    int result = FIRN_OK;
    while (shown < self->limit && !ferror(stdout) &&
           (result = firn_store_next(store, flags, &entry)) == FIRN_OK) {
        if (entry.damaged) {
            complain("dump", "record %llu is damaged: %s", (unsigned long long)entry.sequence,
                     entry.damage);
            damaged++;
        } else if (is_wanted(self, &entry)) {
            print_entry(self, &entry);
            shown++;
        }
    }
    if (!output_is_whole("dump")) {
        return EXIT_TROUBLE;
    }
    if (result != FIRN_OK && result != FIRN_NOT_FOUND) {
        complain("dump", "%s: %s", firn_strerror(result), firn_store_message(store));
        return exit_code(result);
    }
    return damaged > 0 ? EXIT_DAMAGED : 0;
}

static const struct option options[] = {
    {"values", no_argument, NULL, 'v'},
    {"json", no_argument, NULL, 'j'},
    {"raw", no_argument, NULL, 'r'},
    {"null", no_argument, NULL, '0'},
    {"separator", required_argument, NULL, 's'},
    {"expired", no_argument, NULL, 'e'},
    {"prefix", required_argument, NULL, 'p'},
    {"min-size", required_argument, NULL, 'm'},
    {"max-size", required_argument, NULL, 'M'},
    {"newer", required_argument, NULL, 'n'},
    {"older", required_argument, NULL, 'o'},
    {"limit", required_argument, NULL, 'l'},
    {NULL, 0, NULL, 0},
};

static const char newline[] = "\n";
static const char zero[] = "";

/* 0, or an exit code. */
static int read_option(dump *self, int letter) {
    long size;
    switch (letter) {
    case 'v':
        self->values = true;
        return 0;
    case 'j':
        self->json = true;
        return 0;
    case 'r':
        self->raw = true;
        return 0;
    case '0':
        self->separator = zero;
        self->separator_size = 1;
        return 0;
    case 's':
        size = unescape(optarg);
        self->separator = optarg;
        self->separator_size = size > 0 ? (size_t)size : 0;
        return size >= 0 ? 0 : misuse("dump", "--separator: a bad escape");
    case 'e':
        self->expired = true;
        return 0;
    case 'p':
        self->prefix = optarg;
        size = unescape(optarg);
        self->prefix_size = size > 0 ? (size_t)size : 0;
        return size >= 0 ? 0 : misuse("dump", "--prefix: a bad escape");
    case 'm':
        return parse_size(optarg, &self->min_size)
                   ? 0
                   : misuse("dump", "--min-size: '%s' is not a size", optarg);
    case 'M':
        return parse_size(optarg, &self->max_size)
                   ? 0
                   : misuse("dump", "--max-size: '%s' is not a size", optarg);
    case 'n':
        return parse_age(optarg, &self->newer_ms)
                   ? 0
                   : misuse("dump", "--newer: '%s' is not an age", optarg);
    case 'o':
        return parse_age(optarg, &self->older_ms)
                   ? 0
                   : misuse("dump", "--older: '%s' is not an age", optarg);
    case 'l':
        return parse_number(optarg, UINT64_MAX, &self->limit)
                   ? 0
                   : misuse("dump", "--limit: '%s' is not a number", optarg);
    default:
        fprintf(stderr, "Try 'firn dump --help'.\n");
        return EXIT_USAGE;
    }
}

/* To the millisecond: entries of this very second have an age too. */
static uint64_t wall_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int run(int argc, char **argv) {
    dump self = {.max_size = UINT64_MAX,
                 .newer_ms = UINT64_MAX,
                 .limit = UINT64_MAX,
                 .separator = newline,
                 .separator_size = 1,
                 .now_ms = wall_ms()};
    int letter;
    while ((letter = getopt_long(argc, argv, "v0", options, NULL)) != -1) {
        int code = read_option(&self, letter);
        if (code != 0) {
            return code;
        }
    }
    if (optind != argc - 1) {
        return misuse("dump", optind == argc ? "which store?" : "one store at a time");
    }
    if (self.raw && self.json) {
        return misuse("dump", "--raw and --json exclude each other");
    }
    char why[512] = "";
    firn_store *store;
    int result = firn_store_open(&store, argv[optind], why, sizeof why);
    if (result != FIRN_OK) {
        complain("dump", "cannot open the store: %s (%s)", why, firn_strerror(result));
        return exit_code(result);
    }
    int code = dump_store(&self, store);
    firn_store_close(store);
    return code;
}

const command command_dump = {
    "dump",
    "print the entries of a store",
    "Usage: firn dump [OPTION...] STORE\n\n"
    "Prints entries, oldest first: key, value size, stored size, codec, version. Works beside a\n"
    "live writer; what is only in its memory is not seen.\n\n"
    "  -v, --values        the values too\n"
    "      --json          a line of JSON an entry; bytes that are not UTF-8 as key_base64,\n"
    "                      value_base64\n"
    "      --raw           the bytes of the values, each followed by a newline\n"
    "      --separator TEXT  with --raw: followed by TEXT instead, with escapes as in --prefix\n"
    "  -0, --null          with --raw: followed by a zero byte instead\n"
    "      --prefix TEXT   only keys that begin so; \\xNN, \\n, \\t, \\r, \\\\ are understood\n"
    "      --min-size SIZE only values of at least so many bytes (K, M, G: powers of 1024)\n"
    "      --max-size SIZE only values of at most so many bytes\n"
    "      --newer AGE     only entries written within AGE (500ms, 10s, 5m, 2h, 3d)\n"
    "      --older AGE     only entries written longer ago\n"
    "      --expired       entries that have expired too\n"
    "      --limit N       stop after N entries\n"
    "      --help          this text\n",
    run,
};
