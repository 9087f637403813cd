/* firn compact: gives space of a store back to the file system. */
#include <getopt.h>
#include <stdio.h>

#include <firn/store.h>

#include "output.h"
#include "tool.h"

static int on_progress(void *context, const char *finding, uint64_t done, uint64_t total) {
    progress *shown = context;
    (void)finding;
    if (progress_is_due(shown) && total > 0) {
        progress_show("compact: %llu%%", (unsigned long long)(done * 100 / total));
    }
    return 0;
}

static void print_sizes(const char *name, uint64_t before, uint64_t after) {
    char was[32];
    char is[32];
    printf("%-18s %s to %s (%llu to %llu)\n", name, humane(before, was), humane(after, is),
           (unsigned long long)before, (unsigned long long)after);
}

static void print_report(const firn_compact_report *report, bool json) {
    uint64_t before = report->log_bytes_before + report->index_bytes_before;
    uint64_t after = report->log_bytes_after + report->index_bytes_after;
    if (!json) {
        print_sizes("bytes", before, after);
        print_sizes("  log", report->log_bytes_before, report->log_bytes_after);
        print_sizes("  index", report->index_bytes_before, report->index_bytes_after);
        printf("%-18s %llu\n", "entries", (unsigned long long)report->entries);
        printf("%-18s %llu\n", "records copied", (unsigned long long)report->records_copied);
        return;
    }
    const struct {
        const char *name;
        unsigned long long value;
    } facts[] = {
        {"bytes_before", before},
        {"bytes_after", after},
        {"log_bytes_before", report->log_bytes_before},
        {"log_bytes_after", report->log_bytes_after},
        {"index_bytes_before", report->index_bytes_before},
        {"index_bytes_after", report->index_bytes_after},
        {"entries", report->entries},
        {"records_copied", report->records_copied},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        printf("%s\"%s\": %llu", i == 0 ? "{" : ", ", facts[i].name, facts[i].value);
    }
    puts("}");
}

static const struct option options[] = {
    {"json", no_argument, NULL, 'j'},
    {"quiet", no_argument, NULL, 'q'},
    {NULL, 0, NULL, 0},
};

static int run(int argc, char **argv) {
    bool json = false;
    bool quiet = false;
    int letter;
    while ((letter = getopt_long(argc, argv, "q", options, NULL)) != -1) {
        switch (letter) {
        case 'j':
            json = true;
            break;
        case 'q':
            quiet = true;
            break;
        default:
            fprintf(stderr, "Try 'firn compact --help'.\n");
            return EXIT_USAGE;
        }
    }
    if (optind != argc - 1) {
        return misuse("compact", optind == argc ? "which store?" : "one store at a time");
    }
    char why[512] = "";
    firn_compact_options how = FIRN_COMPACT_OPTIONS_INIT;
    how.error_buffer = why;
    how.error_buffer_size = sizeof why;
    firn_compact_report report = FIRN_COMPACT_REPORT_INIT;
    progress shown;
    progress_begin(&shown, quiet);
    int result = firn_store_compact(argv[optind], &how, &report, on_progress, &shown);
    progress_end(&shown);
    if (result != FIRN_OK) {
        complain("compact", "cannot compact the store: %s (%s)", why, firn_strerror(result));
    } else if (!quiet || json) {
        print_report(&report, json);
    }
    return output_is_whole("compact") ? exit_code(result) : EXIT_TROUBLE;
}

const command command_compact = {
    "compact",
    "give space of a store back to the file system",
    "Usage: firn compact [OPTION...] STORE\n\n"
    "Drops what was overwritten, deleted or has expired, as far as that pays, and free space of "
    "log\n"
    "and index. No other entry is lost. Nobody else may have the store open. It may be "
    "interrupted\n"
    "at any time.\n\n"
    "      --json          the report as JSON\n"
    "  -q, --quiet         the exit code only\n"
    "      --help          this text\n",
    run,
};
