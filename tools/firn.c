/* The firn program: finds the subcommand and lets it run. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <firn/error.h>

#include "output.h"
#include "tool.h"

static const command *const commands[] = {
    &command_compact, &command_dump, &command_explain, &command_get,    &command_replay,
    &command_stat,    &command_top,  &command_trace,   &command_verify,
};

enum { COMMANDS = sizeof commands / sizeof commands[0] };

static const command *find_command(const char *name) {
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            return commands[i];
        }
    }
    return NULL;
}

static void overview(FILE *out) {
    fputs("Usage: firn COMMAND [OPTION...] [ARGUMENT...]\n\n"
          "Looks into stores of the firn cache library, and tries caches on traces.\n\n",
          out);
    for (size_t i = 0; i < COMMANDS; i++) {
        fprintf(out, "  %-8s %s\n", commands[i]->name, commands[i]->summary);
    }
    fputs("\n  firn COMMAND --help   options of one command\n"
          "  firn --version        the version\n\n"
          "Exit codes: 0 done, 1 not found, 2 wrong usage, 3 store damaged, 4 other trouble.\n",
          out);
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is reported like any other failed write */
    if (argc < 2) {
        overview(stderr);
        return EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        printf("firn %s\n", firn_version());
        return output_is_whole("version") ? 0 : EXIT_TROUBLE;
    }
    const command *chosen = find_command(name);
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        chosen = argc > 2 ? find_command(argv[2]) : NULL;
        if (argc > 2 && chosen == NULL) {
            fprintf(stderr, "firn: there is no command '%s'. Try 'firn --help'.\n", argv[2]);
            return EXIT_USAGE;
        }
        if (chosen != NULL) {
            fputs(chosen->help, stdout);
        } else {
            overview(stdout);
        }
        return output_is_whole("help") ? 0 : EXIT_TROUBLE;
    }
    if (chosen == NULL) {
        fprintf(stderr, "firn: there is no command '%s'. Try 'firn --help'.\n", name);
        return EXIT_USAGE;
    }
    for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            fputs(chosen->help, stdout);
            return output_is_whole("help") ? 0 : EXIT_TROUBLE;
        }
    }
    return chosen->run(argc - 1, argv + 1);
}
