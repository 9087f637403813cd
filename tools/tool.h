/* What the subcommands of the firn program share: exit codes, messages, parsing of arguments.
 * The tools use the public headers of firn and nothing else of it. */
#ifndef FIRN_TOOLS_TOOL_H
#define FIRN_TOOLS_TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    EXIT_NOT_FOUND = 1, /* a negative answer */
    EXIT_USAGE = 2,
    EXIT_DAMAGED = 3,
    EXIT_TROUBLE = 4, /* everything else: input, output, a busy store */
};

/* One subcommand: its name, a line for the overview, and its main. argv[0] is the name. */
typedef struct command {
    const char *name;
    const char *summary;
    const char *help; /* all of it, beginning with "Usage: " */
    int (*run)(int argc, char **argv);
} command;

extern const command command_compact;
extern const command command_dump;
extern const command command_explain;
extern const command command_get;
extern const command command_replay;
extern const command command_stat;
extern const command command_top;
extern const command command_trace;
extern const command command_verify;

/* "firn NAME: MESSAGE" to stderr. */
void complain(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same with a hint at --help; returns EXIT_USAGE. */
int misuse(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The exit code for a result of firn. */
int exit_code(int result);

/* "10", "4K", "1.5M", "2G" (powers of 1024). False: not a size, or too large. */
bool parse_size(const char *text, uint64_t *bytes);
/* "500ms", "10s", "5m", "2h", "3d"; a bare number is seconds. */
bool parse_age(const char *text, uint64_t *ms);
bool parse_number(const char *text, uint64_t max, uint64_t *number);
/* Undoes \xNN, \n, \t, \r, \\ in place; returns the size, or -1 for a bad escape. */
long unescape(char *text);

#endif
