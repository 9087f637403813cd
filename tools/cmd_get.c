/* firn get: the value of one key, as the store has it. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include <firn/store.h>

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

static void print_value(const firn_store_entry *entry, form how) {
    if (how == RAW) {
        if (entry->value_size > 0) {
            fwrite(entry->value, 1, entry->value_size, stdout);
        }
        return;
    }
    if (how == ESCAPED) {
        print_escaped(stdout, entry->value, entry->value_size);
        putchar('\n');
        return;
    }
    putchar('{');
    json_bytes(stdout, "key", entry->key, entry->key_size);
    printf(", \"version\": %llu, \"written_ms\": %llu, \"expires_ms\": %llu, \"value_size\": %zu, "
           "\"stored_size\": %zu, \"codec\": \"%s\", ",
           (unsigned long long)entry->version, (unsigned long long)entry->written_ms,
           (unsigned long long)entry->expires_ms, entry->value_size, entry->stored_size,
           entry->codec);
    json_bytes(stdout, "value", entry->value, entry->value_size);
    puts("}");
}

static int get(firn_store *store, const char *key, size_t key_size, form how) {
    firn_store_entry entry;
    int result = firn_store_get(store, key, key_size, &entry);
    if (result == FIRN_NOT_FOUND || (result == FIRN_OK && entry.expired)) {
        complain("get", "%s", result == FIRN_OK ? "expired" : "not found");
        return EXIT_NOT_FOUND;
    }
    if (result != FIRN_OK) {
        complain("get", "%s: %s", firn_strerror(result), firn_store_message(store));
        return exit_code(result);
    }
    print_value(&entry, how);
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
    "Writes the value as it is to the standard output. Exit code 1: not found, or expired.\n\n"
    "      --raw           the bytes as they are: the default\n"
    "      --escape        escape what is not printable, and end with a newline\n"
    "      --json          value and metadata as JSON\n"
    "      --escaped-key   \\xNN, \\n, \\t, \\r, \\\\ in KEY are understood\n"
    "      --help          this text\n",
    run,
};
