/* firn explain: where an entry of a store is, and what was decided about it lately. Puts together
 * what the store says of the record, and what the page says of the process that writes the store.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <firn/store.h>

#include "entry.h"
#include "output.h"
#include "tool.h"
#include "watched.h"

enum { DECISIONS_MAX = 256 };

typedef struct explanation {
    const char *key;
    size_t key_size;
    bool stored;  /* the store has a record of it */
    bool damaged; /* that record cannot be read */
    firn_store_entry entry;
    bool watched; /* there is a page */
    firn_page_info writer;
    size_t count;
    firn_decision decisions[DECISIONS_MAX];
} explanation;

/* What is told of memory by a decision. */
enum told {
    SILENT, /* nothing */
    IN,     /* it is there */
    OUT,    /* it is not, but may be below */
    GONE,   /* neither */
    ABSENT, /* there is no value, which may be remembered */
};

static enum told told_by(const firn_decision *decision) {
    switch (decision->kind) {
    case FIRN_DECISION_INSERT:
    case FIRN_DECISION_PROMOTE:
        return IN;
    case FIRN_DECISION_LOAD:
        return decision->reason == FIRN_REASON_LOADER     ? SILENT
               : decision->reason == FIRN_REASON_NO_VALUE ? ABSENT
                                                          : IN;
    case FIRN_DECISION_REFUSE: /* if it changed: another brought it up, put it or deleted it */
        return decision->reason == FIRN_REASON_CHANGED ? SILENT : OUT;
    case FIRN_DECISION_EVICT:
        return decision->reason == FIRN_REASON_ROOM_REFUSED ? GONE : OUT;
    case FIRN_DECISION_DEMOTE:
    case FIRN_DECISION_DAMAGE: /* only what is not in memory is read below */
    case FIRN_DECISION_ERROR:
        return OUT;
    case FIRN_DECISION_RECLAIM: /* it may be in memory still */
        return SILENT;
    default:
        return GONE;
    }
}

/* Puts are no decisions that are remembered: that there was one since shows in the record. */
static bool is_newer(const firn_store_entry *entry, const firn_decision *than) {
    return than->version != 0 ? entry->version > than->version : entry->written_ms >= than->time_ms;
}

/* Where the process that writes the store has it, as far as its last decisions tell. */
static const char *memory_state(const explanation *self) {
    if (!self->watched || self->writer.closed != 0 || self->writer.alive == 0) {
        return "no process has the store open for writing";
    }
    enum told told = SILENT;
    const firn_decision *last = NULL;
    bool reclaimed = false;
    for (size_t i = self->count; i-- > 0 && told == SILENT;) {
        last = &self->decisions[i];
        told = told_by(last);
        reclaimed = reclaimed || last->kind == FIRN_DECISION_RECLAIM;
    }
    if (reclaimed && told != IN) {
        told = GONE;
    }
    if (told == SILENT) {
        return "not known: nothing that tells was decided about it lately";
    }
    if (told == IN) {
        return "probably in memory";
    }
    bool newer = self->stored && is_newer(&self->entry, last);
    if (told == ABSENT && (!newer || self->entry.negative != 0)) {
        return "at most that there is no value: the loader found none";
    }
    if (newer) {
        return self->entry.pieces == 0 ? "probably in memory: it was put since"
                                       : "probably not in memory: it was written in pieces since";
    }
    return told == GONE && !self->stored ? "probably in neither tier, unless it was put since"
                                         : "probably not in memory";
}

static void print_text(const explanation *self) {
    if (self->stored) {
        const firn_store_entry *entry = &self->entry;
        printf("%-12s yes, %llu bytes, %zu as stored (%s)\n", "on disk",
               (unsigned long long)entry->value_size, entry->stored_size, entry->codec);
        char when[40];
        printf("%-12s %llu, written at %s\n", "version", (unsigned long long)entry->version,
               time_text(entry->written_ms, when));
        if (entry->expires_ms != 0) {
            printf("%-12s at %s%s\n", "expires", time_text(entry->expires_ms, when),
                   entry->expired ? ": it is expired" : "");
        }
        if (entry->cost_us != 0) {
            printf("%-12s %llu us to make the value\n", "cost", (unsigned long long)entry->cost_us);
        }
        if (entry->type != NULL) {
            printf("%-12s %s, version %u\n", "type", entry->type, entry->type_version);
        }
        printf("%-12s %u links, %u tags%s%s\n", "has", entry->link_count, entry->tag_count,
               entry->owned ? ", is owned" : "",
               entry->negative ? ", says that there is no value" : "");
    } else {
        printf("%-12s %s\n", "on disk",
               self->damaged ? "damaged: its record cannot be read, which is a miss" : "no");
    }
    printf("%-12s %s\n", "in memory", memory_state(self));
    for (size_t i = 0; i < self->count; i++) {
        const firn_decision *decision = &self->decisions[i];
        char when[40];
        printf("%-12s %s, version %llu: %s, for %s (%s: %llu)\n", i == 0 ? "decided at" : "",
               time_text(decision->time_ms, when), (unsigned long long)decision->version,
               firn_decision_name(decision->kind), firn_decision_reason(decision->reason),
               firn_decision_detail(decision->kind), (unsigned long long)decision->detail);
    }
}

static void print_json(const explanation *self) {
    const firn_store_entry *entry = &self->entry;
    putchar('{');
    json_bytes(stdout, "key", self->key, self->key_size);
    printf(", \"stored\": %s, \"damaged\": %s", self->stored ? "true" : "false",
           self->damaged ? "true" : "false");
    if (self->stored) {
        printf(
            ", \"value_size\": %llu, \"stored_size\": %zu, \"codec\": \"%s\", \"version\": %llu, "
            "\"written_ms\": %llu, \"expires_ms\": %llu, \"expired\": %s, \"cost_us\": %llu, "
            "\"links\": %u, \"tags\": %u",
            (unsigned long long)entry->value_size, entry->stored_size, entry->codec,
            (unsigned long long)entry->version, (unsigned long long)entry->written_ms,
            (unsigned long long)entry->expires_ms, entry->expired ? "true" : "false",
            (unsigned long long)entry->cost_us, entry->link_count, entry->tag_count);
    }
    printf(", \"writer\": \"%s\", \"memory\": \"%s\", \"decisions\": [",
           self->watched ? writer_state(&self->writer) : "unknown", memory_state(self));
    for (size_t i = 0; i < self->count; i++) {
        fputs(i > 0 ? ", " : "", stdout);
        json_decision(&self->decisions[i]);
    }
    puts("]}");
}

/* A store without a page is told of nothing more than what it says itself. */
static int look_at_page(explanation *self, const char *path) {
    firn_page *page;
    int result = firn_page_open(&page, path, NULL, 0);
    if (result == FIRN_NOT_FOUND) {
        return FIRN_OK;
    }
    if (result == FIRN_OK) {
        result = firn_page_read(page, &self->writer, NULL, NULL);
        if (result == FIRN_OK) {
            result = firn_page_decisions(page, self->key, self->key_size, self->decisions,
                                         DECISIONS_MAX, &self->count);
        }
        self->watched = result == FIRN_OK;
        firn_page_close(page);
    }
    if (result != FIRN_OK) {
        complain("explain", "note: what the process decided cannot be read: %s",
                 firn_strerror(result));
    }
    return FIRN_OK;
}

static int explain(firn_store *store, const char *path, explanation *self, bool json) {
    int result = firn_store_get(store, self->key, self->key_size, &self->entry);
    if (result < 0) {
        complain("explain", "%s: %s", firn_strerror(result), firn_store_message(store));
    }
    if (result < 0 && result != FIRN_ECORRUPT) {
        return exit_code(result);
    }
    self->stored = result == FIRN_OK;
    self->damaged = result == FIRN_ECORRUPT;
    (void)look_at_page(self, path);
    if (json) {
        print_json(self);
    } else {
        print_text(self);
    }
    int code = self->damaged ? EXIT_DAMAGED : self->stored || self->count > 0 ? 0 : EXIT_NOT_FOUND;
    return output_is_whole("explain") ? code : EXIT_TROUBLE;
}

static const struct option options[] = {
    {"json", no_argument, NULL, 'j'},
    {"escaped-key", no_argument, NULL, 'k'},
    {NULL, 0, NULL, 0},
};

static int run(int argc, char **argv) {
    bool json = false;
    bool escaped_key = false;
    int letter;
    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (letter == '?') {
            fprintf(stderr, "Try 'firn explain --help'.\n");
            return EXIT_USAGE;
        }
        json = json || letter == 'j';
        escaped_key = escaped_key || letter == 'k';
    }
    if (optind != argc - 2) {
        return misuse("explain", "needs a store and a key");
    }
    char *key = argv[optind + 1];
    long size = escaped_key ? unescape(key) : (long)strlen(key);
    if (size <= 0) {
        return misuse("explain", size < 0 ? "the key has a bad escape" : "the key is empty");
    }
    char why[512] = "";
    firn_store *store;
    int result = firn_store_open(&store, argv[optind], why, sizeof why);
    if (result != FIRN_OK) {
        complain("explain", "cannot open the store: %s (%s)", why, firn_strerror(result));
        return exit_code(result);
    }
    explanation *self = calloc(1, sizeof *self);
    int code = EXIT_TROUBLE;
    if (self != NULL) {
        self->key = key;
        self->key_size = (size_t)size;
        self->writer = (firn_page_info)FIRN_PAGE_INFO_INIT;
        code = explain(store, argv[optind], self, json);
    } else {
        complain("explain", "no memory");
    }
    free(self);
    firn_store_close(store);
    return code;
}

const command command_explain = {
    "explain",
    "tell where an entry is, and why",
    "Usage: firn explain [OPTION...] STORE KEY\n\n"
    "What the store has of the entry; and, of the process that has the store open, or had it "
    "last,\n"
    "what it decided about the entry lately: when it came to memory, was evicted, demoted, "
    "refused,\n"
    "reclaimed, expired or loaded, and why. Some thousands of decisions about all entries are\n"
    "remembered; puts are not. Where it is in memory is concluded from that, and from the record.\n"
    "Exit code 1: neither the store nor the process knows of it; 3: its record is damaged.\n\n"
    "      --json          as JSON\n"
    "      --escaped-key   \\xNN, \\n, \\t, \\r, \\\\ in KEY are understood\n"
    "      --help          this text\n",
    run,
};
