/* firn get: the value of one key, as the store has it. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include <firn/store.h>

#include "entry.h"
#include "output.h"
#include "tool.h"

static const struct option options[] = {
    {"raw", no_argument, NULL, 'r'},
    {"escape", no_argument, NULL, 'e'},
    {"json", no_argument, NULL, 'j'},
    {"escaped-key", no_argument, NULL, 'k'},
    {NULL, 0, NULL, 0},
};

typedef enum form { RAW, ESCAPED, JSON } form;

static int print_entry(firn_store *store, const firn_store_entry *entry, form how, bool *begun) {
    *begun = false;
    if (how == JSON) {
        return json_entry(store, entry, true);
    }
    int result = print_value(store, entry, how == RAW ? FLOW_RAW : FLOW_ESCAPED, begun);
    if (how == ESCAPED && (result == FIRN_OK || *begun)) {
        putchar('\n');
    }
    return result;
}

static int get(firn_store *store, const char *key, size_t key_size, form how) {
    firn_store_entry entry;
    int result = firn_store_get(store, key, key_size, &entry);
    if (result == FIRN_NOT_FOUND || (result == FIRN_OK && entry.expired)) {
        complain("get", "%s", result == FIRN_OK ? "expired" : "not found");
        return EXIT_NOT_FOUND;
    }
    if (result == FIRN_OK && entry.incomplete) {
        complain("get", "incomplete: pieces of the value were reclaimed, and a cache has a miss");
        return EXIT_NOT_FOUND;
    }
    if (result == FIRN_OK && entry.type != NULL && how != JSON) {
        complain("get", "note: the value is of type '%s', version %u; this is how it was encoded",
                 entry.type, entry.type_version);
    }
    bool begun = false;
    if (result == FIRN_OK) {
        result = print_entry(store, &entry, how, &begun);
    }
    if (result != FIRN_OK) {
        complain("get", "%s%s: %s", begun ? "the value is cut off: " : "", firn_strerror(result),
                 firn_store_message(store));
        return exit_code(result);
    }
    return output_is_whole("get") ? 0 : EXIT_TROUBLE;
}

static int run(int argc, char **argv) {
    form how = RAW;
    bool escaped_key = false;
    int letter;
    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (letter) {
        case 'r':
            how = RAW;
            break;
        case 'e':
            how = ESCAPED;
            break;
        case 'j':
            how = JSON;
            break;
        case 'k':
            escaped_key = true;
            break;
        default:
            fprintf(stderr, "Try 'firn get --help'.\n");
            return EXIT_USAGE;
        }
    }
    if (optind != argc - 2) {
        return misuse("get", "needs a store and a key");
    }
    char *key = argv[optind + 1];
    long size = escaped_key ? unescape(key) : (long)strlen(key);
    if (size <= 0) {
        return misuse("get", size < 0 ? "the key has a bad escape" : "the key is empty");
    }
    char why[512] = "";
    firn_store *store;
    int result = firn_store_open(&store, argv[optind], why, sizeof why);
    if (result != FIRN_OK) {
        complain("get", "cannot open the store: %s (%s)", why, firn_strerror(result));
        return exit_code(result);
    }
    int code = get(store, key, (size_t)size, how);
    firn_store_close(store);
    return code;
}

const command command_get = {
    "get",
    "print the value of one key",
    "Usage: firn get [OPTION...] STORE KEY\n\n"
    "Writes the value as it is to the standard output. Exit code 1: not found, expired, or pieces\n"
    "of it are missing. A value of a type is written as it was encoded, which is said on the "
    "standard\n"
    "error.\n\n"
    "      --raw           the bytes as they are: the default\n"
    "      --escape        escape what is not printable, and end with a newline\n"
    "      --json          value and metadata as JSON\n"
    "      --escaped-key   \\xNN, \\n, \\t, \\r, \\\\ in KEY are understood\n"
    "      --help          this text\n",
    run,
};
