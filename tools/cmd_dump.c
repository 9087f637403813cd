/* firn dump: the entries of a store, oldest first. Streams; a live store is neither changed nor
 * kept waiting. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include <firn/store.h>

#include "entry.h"
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
    return !entry->body && (self->expired || !entry->expired) &&
           entry->value_size >= self->min_size && entry->value_size <= self->max_size &&
           age <= self->newer_ms && age >= self->older_ms && entry->key_size >= self->prefix_size &&
           (self->prefix_size == 0 || memcmp(entry->key, self->prefix, self->prefix_size) == 0);
}

static int print_link(void *context, const firn_link *link) {
    (void)context;
    printf("\t%s=", link_kind(link));
    print_escaped(stdout, link->key, link->key_size);
    return ferror(stdout);
}

static void print_attributes(const firn_store_entry *entry) {
    if (entry->type != NULL) {
        printf("\ttype=%s/%u", entry->type, entry->type_version);
    }
    if (entry->owned) {
        printf("\towned");
    }
    if (entry->interned) {
        printf("\tinterned");
    }
    if (entry->negative) {
        printf("\tnegative");
    }
    for (uint32_t i = 0; i < entry->tag_count; i++) {
        printf("\ttag=%016llx", (unsigned long long)entry_tag(entry, i));
    }
    (void)firn_store_entry_links(entry, print_link, NULL);
}

static int print_text(const dump *self, firn_store *store, const firn_store_entry *entry) {
    print_escaped(stdout, entry->key, entry->key_size);
    printf("\t%llu\t", (unsigned long long)entry->value_size);
    if (entry->pieces > 0) {
        putchar('-');
    } else {
        printf("%zu", entry->stored_size);
    }
    printf("\t%s\tv%llu", entry->codec, (unsigned long long)entry->version);
    if (entry->expires_ms != 0) {
        printf("\texpires=%llu", (unsigned long long)entry->expires_ms);
    }
    print_attributes(entry);
    if (entry->incomplete) {
        printf("\tincomplete");
    }
    int result = entry->incomplete ? FIRN_NOT_FOUND : FIRN_OK;
    if (self->values) {
        bool begun;
        putchar('\t');
        result = result == FIRN_OK ? print_value(store, entry, FLOW_ESCAPED, &begun) : result;
    }
    putchar('\n');
    return result;
}

/* Nothing of what is known to be incomplete. */
static int print_raw(const dump *self, firn_store *store, const firn_store_entry *entry) {
    bool begun = true;
    int result = entry->incomplete ? FIRN_NOT_FOUND : print_value(store, entry, FLOW_RAW, &begun);
    if (result == FIRN_OK || begun) {
        fwrite(self->separator, 1, self->separator_size, stdout);
    }
    return result;
}

static int print_entry(const dump *self, firn_store *store, const firn_store_entry *entry) {
    return self->raw    ? print_raw(self, store, entry)
           : self->json ? json_entry(store, entry, self->values)
                        : print_text(self, store, entry);
}

/* Values that could not be printed. Returns an exit code, 0 if there is nothing to be said: pieces
 * that were reclaimed are no damage, unless that became known too late. */
static int note_loss(const dump *self, const firn_store *store, const firn_store_entry *entry,
                     int result) {
    bool asked = self->values || self->raw;
    if (result == FIRN_OK || (entry->incomplete && !asked)) {
        return 0;
    }
    if (entry->incomplete) {
        complain("dump", "record %llu is left out: pieces of its value were reclaimed",
                 (unsigned long long)entry->sequence);
        return 0;
    }
    complain("dump", "the value of record %llu is not whole: %s: %s",
             (unsigned long long)entry->sequence, firn_strerror(result), firn_store_message(store));
    return exit_code(result);
}

static int dump_store(const dump *self, firn_store *store) {
    firn_store_entry entry;
    uint64_t shown = 0;
    int code = 0;
    unsigned flags = self->values || self->raw ? FIRN_STORE_VALUES : 0;
    int result = FIRN_OK;
    while (shown < self->limit && !ferror(stdout) &&
           (result = firn_store_next(store, flags, &entry)) == FIRN_OK) {
        if (entry.damaged) {
            complain("dump", "record %llu is damaged: %s", (unsigned long long)entry.sequence,
                     entry.damage);
            code = code == 0 ? EXIT_DAMAGED : code;
        } else if (is_wanted(self, &entry)) {
            int loss = note_loss(self, store, &entry, print_entry(self, store, &entry));
            code = loss > code ? loss : code;
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
    return code;
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
    "A value that was written as a stream has - as its stored size and 'stream' as its codec. An\n"
    "entry is marked 'incomplete' when pieces of its value were reclaimed, so that a cache has a\n"
    "miss. Then, for entries that have them: type=NAME/VERSION for a value of a type, which is\n"
    "shown as it was encoded; 'owned'; 'interned' for a value that others share; 'negative' for "
    "an\n"
    "entry that says that there is no value; hashes of tags; and each link as\n"
    "keeps=KEY or depends=KEY.\n\n"
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
