/* firn verify: checks all of a store, or salvages what is sound of it. */
#include <getopt.h>
#include <stdio.h>

#include <firn/store.h>

#include "output.h"
#include "tool.h"

typedef struct verify {
    progress shown;
    bool quiet;
    bool json;
    bool force;
    const char *repair; /* NULL: verify only */
} verify;

static int on_finding(void *context, const char *finding, uint64_t done, uint64_t total) {
    verify *self = context;
    if (finding != NULL && !self->quiet) {
        progress_end(&self->shown);
        complain("verify", "%s", finding);
    } else if (progress_is_due(&self->shown) && total > 0) {
        progress_show("%s: %llu%%", self->repair != NULL ? "salvage" : "verify",
                      (unsigned long long)(done * 100 / total));
    }
    return 0;
}

static void print_report(const firn_verify_report *report, int result, bool json) {
    const struct {
        const char *name;
        unsigned long long value;
    } facts[] = {
        {"records", report->records},
        {"records_damaged", report->records_damaged},
        {"records_superseded", report->records_superseded},
        {"entries", report->entries},
        {"streams", report->streams},
        {"streams_incomplete", report->streams_incomplete},
        {"pieces", report->pieces},
        {"bodies", report->bodies},
        {"index_entries", report->index_entries},
        {"index_dangling", report->index_dangling},
        {"entries_missing", report->entries_missing},
        {"pages_checked", report->pages_checked},
        {"pages_damaged", report->pages_damaged},
        {"journal_entries", report->journal_entries},
        {"journal_damaged", report->journal_damaged},
        {"warm_list_damaged", report->warm_list_damaged},
        {"links_file_damaged", report->links_file_damaged},
        {"writer_active", report->writer_active},
    };
    if (json) {
        printf("{\"sound\": %s", result == FIRN_OK ? "true" : "false");
    }
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        if (json) {
            printf(", \"%s\": %llu", facts[i].name, facts[i].value);
        } else {
            printf("%-18s %llu\n", facts[i].name, facts[i].value);
        }
    }
    if (json) {
        puts("}");
        return;
    }
    if (report->writer_active) {
        puts("a writer is active: the page check was skipped");
    }
    if (report->streams_incomplete > 0) {
        puts("pieces of streams are missing, which is no damage: a cache has a miss for these");
    }
    puts(result == FIRN_OK ? "sound" : "DAMAGED");
}

/* Numbers under their names, as lines or as members of an object that has begun. */
typedef struct fact {
    const char *name;
    unsigned long long value;
} fact;

static void print_salvage(const firn_salvage_report *report, const char *path, bool json) {
    const fact facts[] = {
        {"salvaged", report->salvaged},
        {"expired", report->expired},
        {"damaged", report->damaged},
        {"given_up", report->given_up},
        {"incomplete", report->incomplete},
        {"refused", report->refused},
        {"value_bytes", report->value_bytes},
        {"index_damaged", report->index_damaged},
        {"journal_damaged", report->journal_damaged},
    };
    if (json) {
        fputs("{\"store\": ", stdout);
        json_text(stdout, path);
    }
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        if (json) {
            printf(", \"%s\": %llu", facts[i].name, facts[i].value);
        } else {
            printf("%-18s %llu\n", facts[i].name, facts[i].value);
        }
    }
    if (json) {
        puts("}");
    } else if (report->journal_damaged) {
        puts("the journal was damaged: values that were overwritten or deleted may be back");
    }
}

static int repair(verify *self, const char *path) {
    char why[512] = "";
    firn_salvage_options how = FIRN_SALVAGE_OPTIONS_INIT;
    how.force = self->force;
    how.error_buffer = why;
    how.error_buffer_size = sizeof why;
    firn_salvage_report report = FIRN_SALVAGE_REPORT_INIT;
    progress_begin(&self->shown, self->quiet);
    int result = firn_store_salvage(path, self->repair, &how, &report, on_finding, self);
    progress_end(&self->shown);
    if (result == FIRN_OK && (!self->quiet || self->json)) {
        print_salvage(&report, self->repair, self->json);
    } else if (result != FIRN_OK) {
        complain("verify", "cannot salvage the store: %s (%s)", why, firn_strerror(result));
        if (report.journal_damaged && result == FIRN_ECORRUPT && !self->force) {
            complain("verify",
                     "with --force values may come back that were overwritten or deleted");
        }
    }
    return output_is_whole("verify") ? exit_code(result) : EXIT_TROUBLE;
}

static const struct option options[] = {
    {"force", no_argument, NULL, 'f'},
    {"repair", required_argument, NULL, 'r'},
    {"json", no_argument, NULL, 'j'},
    {"quiet", no_argument, NULL, 'q'},
    {NULL, 0, NULL, 0},
};

static int run(int argc, char **argv) {
    verify self = {.quiet = false};
    int letter;
    while ((letter = getopt_long(argc, argv, "q", options, NULL)) != -1) {
        switch (letter) {
        case 'j':
            self.json = true;
            break;
        case 'q':
            self.quiet = true;
            break;
        case 'f':
            self.force = true;
            break;
        case 'r':
            self.repair = optarg;
            break;
        default:
            fprintf(stderr, "Try 'firn verify --help'.\n");
            return EXIT_USAGE;
        }
    }
    if (optind != argc - 1) {
        return misuse("verify", optind == argc ? "which store?" : "one store at a time");
    }
    if (self.repair != NULL && self.repair[0] == '\0') {
        return misuse("verify", "--repair: which path is the new store to have?");
    }
    if (self.force && self.repair == NULL) {
        return misuse("verify", "--force goes with --repair");
    }
    if (self.repair != NULL) {
        return repair(&self, argv[optind]);
    }
    char why[512] = "";
    firn_store *store;
    int result = firn_store_open(&store, argv[optind], why, sizeof why);
    if (result != FIRN_OK) {
        complain("verify", "cannot open the store: %s (%s)", why, firn_strerror(result));
        return exit_code(result);
    }
    progress_begin(&self.shown, self.quiet);
    firn_verify_report report = FIRN_VERIFY_REPORT_INIT;
    result = firn_store_verify(store, &report, on_finding, &self);
    progress_end(&self.shown);
    if (result == FIRN_OK || result == FIRN_ECORRUPT) {
        if (!self.quiet || self.json) {
            print_report(&report, result, self.json);
        }
    } else {
        complain("verify", "%s: %s", firn_strerror(result), firn_store_message(store));
    }
    firn_store_close(store);
    return output_is_whole("verify") ? exit_code(result) : EXIT_TROUBLE;
}

const command command_verify = {
    "verify",
    "check every checksum, index entry and page of a store; repair",
    "Usage: firn verify [OPTION...] STORE\n\n"
    "Exit code 0: sound; 3: damaged. Findings go to the standard error. While a writer is active,\n"
    "pages are not checked, for they change; records and index are.\n\n"
    "With --repair nothing is checked, but what is sound of STORE is put into a new store, and "
    "STORE\n"
    "is left as it is. Exit code 0: the new store is there; 3: nothing could be salvaged.\n\n"
    "      --repair=NEW    salvage into a store at NEW, where nothing is yet\n"
    "      --force         salvage although it is not known what was overwritten or deleted since\n"
    "                      the journal is damaged: stale values may come back\n"
    "      --json          the report as JSON\n"
    "  -q, --quiet         the exit code only\n"
    "      --help          this text\n",
    run,
};
