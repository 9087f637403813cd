/* firn stat: the facts of a store. */
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>

#include <firn/curve.h>
#include <firn/store.h>

#include "output.h"
#include "tool.h"

static double ratio(uint64_t a, uint64_t b) {
    return b > 0 ? (double)a / (double)b : 0;
}

static void print_bytes(const char *name, uint64_t bytes) {
    char text[32];
    printf("%-20s %s (%llu)\n", name, humane(bytes, text), (unsigned long long)bytes);
}

/* False: there are no more. */
static bool get_type(firn_store *store, size_t number, firn_store_type *type) {
    *type = (firn_store_type)FIRN_STORE_TYPE_INIT;
    return firn_store_get_type(store, number, type) == FIRN_OK;
}

static void print_types(firn_store *store, const firn_store_info *info) {
    firn_store_type type;
    printf("%-20s %llu, of %llu entries\n", "types", (unsigned long long)info->types,
           (unsigned long long)info->typed);
    for (size_t i = 0; get_type(store, i, &type); i++) {
        printf("  %-18s version %u, %llu entries\n", type.name, type.version,
               (unsigned long long)type.entries);
    }
    printf("%-20s %llu, of %llu entries; owned entries: %llu\n", "links",
           (unsigned long long)info->links, (unsigned long long)info->linked,
           (unsigned long long)info->owned);
    printf("%-20s %llu entries of %llu bytes share %llu values of %llu bytes\n", "interned",
           (unsigned long long)info->interned, (unsigned long long)info->interned_bytes,
           (unsigned long long)info->bodies, (unsigned long long)info->body_bytes);
}

static void json_types(firn_store *store) {
    firn_store_type type;
    fputs(", \"types\": [", stdout);
    for (size_t i = 0; get_type(store, i, &type); i++) {
        printf("%s{\"name\": ", i > 0 ? ", " : "");
        json_text(stdout, type.name);
        printf(", \"id\": %u, \"version\": %u, \"entries\": %llu}", type.id, type.version,
               (unsigned long long)type.entries);
    }
    putchar(']');
}

/* The hit ratio at parts and multiples of what the cache has. */
static void print_line(const char *name, const firn_curve_line *line) {
    static const double times[] = {0.25, 0.5, 1, 2, 4, 8};
    char text[32];
    if (line->count == 0 || line->bytes == 0) {
        return;
    }
    printf("%-20s ", name);
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        uint64_t bytes = (uint64_t)((double)line->bytes * times[i]);
        printf("%s%s: %.1f %%", i > 0 ? ", " : "", humane(bytes, text),
               100 * firn_curve_at(line, bytes));
        if (times[i] == 1) {
            printf(" (now; measured %.1f %%)", 100 * line->measured_hit_ratio);
        }
    }
    putchar('\n');
}

static void print_curve(const firn_curve *curve) {
    printf("%-20s estimated from %llu of %llu gets, %llu keys of each %.0f\n", "hit ratio if",
           (unsigned long long)curve->sampled, (unsigned long long)curve->gets,
           (unsigned long long)curve->samples, 1 / curve->sampling_rate);
    print_line("  hot tier", &curve->hot);
    print_line("  both tiers", &curve->total);
}

static void json_line(const char *name, const firn_curve_line *line) {
    printf(", \"%s\": {\"bytes\": %llu, \"measured_hit_ratio\": %.6f, "
           "\"estimated_hit_ratio\": %.6f, \"points\": [",
           name, (unsigned long long)line->bytes, line->measured_hit_ratio,
           firn_curve_at(line, line->bytes));
    for (size_t i = 0; i < line->count; i++) {
        printf("%s[%llu, %.6f]", i > 0 ? ", " : "", (unsigned long long)line->points[i].bytes,
               line->points[i].hit_ratio);
    }
    fputs("]}", stdout);
}

/* NULL: there is none. */
static void json_curve(const firn_curve *curve) {
    if (curve == NULL) {
        fputs(", \"curve\": null", stdout);
        return;
    }
    printf(", \"curve\": {\"gets\": %llu, \"sampled\": %llu, \"samples\": %llu, "
           "\"sampling_rate\": %.9f",
           (unsigned long long)curve->gets, (unsigned long long)curve->sampled,
           (unsigned long long)curve->samples, curve->sampling_rate);
    json_line("hot", &curve->hot);
    json_line("total", &curve->total);
    putchar('}');
}

static void print_text(firn_store *store, const firn_store_info *info, const firn_curve *curve) {
    char created[40];
    printf("%-20s %016llx\n", "store id", (unsigned long long)info->store_id);
    printf("%-20s %s\n", "created", time_text(info->created_ms, created));
    printf("%-20s %u\n", "format", info->format_version);
    printf("%-20s %llu\n", "entries", (unsigned long long)info->entries);
    printf("%-20s %llu in %llu pieces; with pieces missing: %llu\n", "streams",
           (unsigned long long)info->streams, (unsigned long long)info->pieces,
           (unsigned long long)info->streams_incomplete);
    print_types(store, info);
    printf("%-20s %llu to %llu\n", "sequences", (unsigned long long)info->first_sequence,
           (unsigned long long)info->last_sequence);
    print_bytes("budget", info->budget_bytes);
    print_bytes("file", info->file_bytes);
    print_bytes("  log", info->log_bytes);
    print_bytes("  index", info->index_bytes);
    print_bytes("valid records", info->live_bytes);
    print_bytes("values", info->value_bytes);
    print_bytes("values as stored", info->stored_bytes);
    printf("%-20s %llu (%llu bytes), of %llu entries\n", "dictionaries",
           (unsigned long long)info->dictionaries, (unsigned long long)info->dictionary_bytes,
           (unsigned long long)info->dictionary_entries);
    printf("%-20s %.2f\n", "compression ratio", ratio(info->value_bytes, info->stored_bytes));
    printf("%-20s %.2f\n", "disk over values", ratio(info->file_bytes, info->value_bytes));
    printf("%-20s %llu\n", "journal entries", (unsigned long long)info->journal_entries);
    printf("%-20s %llu\n", "warm list", (unsigned long long)info->warm_entries);
    printf("%-20s %llu\n", "next version", (unsigned long long)info->version_next);
    if (info->writer_pid != 0) {
        printf("%-20s pid %u\n", "writer", info->writer_pid);
    } else {
        printf("%-20s none; last closed %s\n", "writer", info->closed_clean ? "clean" : "unclean");
    }
    if (curve != NULL) {
        print_curve(curve);
    }
}

static void print_json(firn_store *store, const firn_store_info *info, const firn_curve *curve) {
    const struct {
        const char *name;
        unsigned long long value;
    } facts[] = {
        {"created_ms", info->created_ms},
        {"format_version", info->format_version},
        {"page_bytes", info->page_bytes},
        {"entries", info->entries},
        {"streams", info->streams},
        {"streams_incomplete", info->streams_incomplete},
        {"pieces", info->pieces},
        {"typed", info->typed},
        {"linked", info->linked},
        {"links", info->links},
        {"owned", info->owned},
        {"interned", info->interned},
        {"interned_bytes", info->interned_bytes},
        {"bodies", info->bodies},
        {"body_bytes", info->body_bytes},
        {"records", info->records},
        {"first_sequence", info->first_sequence},
        {"last_sequence", info->last_sequence},
        {"budget_bytes", info->budget_bytes},
        {"file_bytes", info->file_bytes},
        {"log_bytes", info->log_bytes},
        {"index_bytes", info->index_bytes},
        {"segment_bytes", info->segment_bytes},
        {"live_bytes", info->live_bytes},
        {"value_bytes", info->value_bytes},
        {"stored_bytes", info->stored_bytes},
        {"dictionaries", info->dictionaries},
        {"dictionary_bytes", info->dictionary_bytes},
        {"dictionary_entries", info->dictionary_entries},
        {"journal_entries", info->journal_entries},
        {"warm_entries", info->warm_entries},
        {"version_next", info->version_next},
        {"writer_pid", info->writer_pid},
        {"closed_clean", info->closed_clean},
    };
    printf("{\"store_id\": \"%016llx\"", (unsigned long long)info->store_id);
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        printf(", \"%s\": %llu", facts[i].name, facts[i].value);
    }
    json_types(store);
    json_curve(curve);
    printf(", \"compression_ratio\": %.4f, \"disk_over_values\": %.4f}\n",
           ratio(info->value_bytes, info->stored_bytes),
           ratio(info->file_bytes, info->value_bytes));
}

static const struct option options[] = {
    {"json", no_argument, NULL, 'j'},
    {NULL, 0, NULL, 0},
};

static int run(int argc, char **argv) {
    bool json = false;
    int letter;
    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (letter != 'j') {
            fprintf(stderr, "Try 'firn stat --help'.\n");
            return EXIT_USAGE;
        }
        json = true;
    }
    if (optind != argc - 1) {
        return misuse("stat", optind == argc ? "which store?" : "one store at a time");
    }
    char why[512] = "";
    firn_store *store;
    int result = firn_store_open(&store, argv[optind], why, sizeof why);
    if (result != FIRN_OK) {
        complain("stat", "cannot open the store: %s (%s)", why, firn_strerror(result));
        return exit_code(result);
    }
    firn_store_info info = FIRN_STORE_INFO_INIT;
    result = firn_store_get_info(store, &info);
    firn_curve found = FIRN_CURVE_INIT;
    const firn_curve *curve = firn_store_get_curve(store, &found) == FIRN_OK ? &found : NULL;
    if (result != FIRN_OK) {
        complain("stat", "%s: %s", firn_strerror(result), firn_store_message(store));
    } else if (json) {
        print_json(store, &info, curve);
    } else {
        print_text(store, &info, curve);
    }
    firn_store_close(store);
    return output_is_whole("stat") ? exit_code(result) : EXIT_TROUBLE;
}

const command command_stat = {
    "stat",
    "print the facts of a store",
    "Usage: firn stat [OPTION...] STORE\n\n"
    "Sizes, counts, compression, types, links, the writer, and which hit ratio other budgets "
    "would\n"
    "give. Works beside a live writer.\n\n"
    "      --json          as JSON\n"
    "      --help          this text\n",
    run,
};
