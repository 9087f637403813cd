/* firn verify: checks all of a store. */
#include <getopt.h>
#include <stdio.h>

#include <firn/store.h>

#include "output.h"
#include "tool.h"

typedef struct verify {
    progress shown;
    bool quiet;
} verify;

static int on_finding(void *context, const char *finding, uint64_t done, uint64_t total) {
    verify *self = context;
    if (finding != NULL && !self->quiet) {
        progress_end(&self->shown);
        complain("verify", "%s", finding);
    } else if (progress_is_due(&self->shown) && total > 0) {
        progress_show("verify: %llu%%", (unsigned long long)(done * 100 / total));
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
        {"index_entries", report->index_entries},
        {"index_dangling", report->index_dangling},
        {"entries_missing", report->entries_missing},
        {"pages_checked", report->pages_checked},
        {"pages_damaged", report->pages_damaged},
        {"journal_entries", report->journal_entries},
        {"journal_damaged", report->journal_damaged},
        {"warm_list_damaged", report->warm_list_damaged},
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
    puts(result == FIRN_OK ? "sound" : "DAMAGED");
}

static const struct option options[] = {
    {"json", no_argument, NULL, 'j'},
    {"quiet", no_argument, NULL, 'q'},
    {NULL, 0, NULL, 0},
};

static int run(int argc, char **argv) {
    verify self = {.quiet = false};
    bool json = false;
    int letter;
    while ((letter = getopt_long(argc, argv, "q", options, NULL)) != -1) {
        switch (letter) {
        case 'j':
            json = true;
            break;
        case 'q':
            self.quiet = true;
            break;
        default:
            fprintf(stderr, "Try 'firn verify --help'.\n");
            return EXIT_USAGE;
        }
    }
    if (optind != argc - 1) {
        return misuse("verify", optind == argc ? "which store?" : "one store at a time");
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
        if (!self.quiet || json) {
            print_report(&report, result, json);
        }
    } else {
        complain("verify", "%s: %s", firn_strerror(result), firn_store_message(store));
    }
    firn_store_close(store);
    return output_is_whole("verify") ? exit_code(result) : EXIT_TROUBLE;
}

const command command_verify = {
    "verify",
    "check every checksum, index entry and page of a store",
    "Usage: firn verify [OPTION...] STORE\n\n"
    "Exit code 0: sound; 3: damaged. Findings go to the standard error. While a writer is active,\n"
    "pages are not checked, for they change; records and index are.\n\n"
    "      --json          the report as JSON\n"
    "  -q, --quiet         the exit code only\n"
    "      --help          this text\n",
    run,
};
