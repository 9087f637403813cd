/* Writing facts: for people, safe on a terminal whatever the bytes, and as JSON. */
#ifndef FIRN_TOOLS_OUTPUT_H
#define FIRN_TOOLS_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Printable UTF-8 as it is; every other byte and the backslash as \xNN, \n, \t, \r, \\. Characters
 * that turn the direction of writing count as not printable: they can disguise what is shown. */
void print_escaped(FILE *out, const void *bytes, size_t size);
/* Whether the bytes are well-formed UTF-8. */
bool is_utf8(const void *bytes, size_t size);

/* "NAME": "bytes", if they are UTF-8, else "NAME_base64": "...". */
void json_bytes(FILE *out, const char *name, const void *bytes, size_t size);
/* A string; null if it is not UTF-8. */
void json_text(FILE *out, const char *text);

/* "12.3 MiB" into a buffer of at least 32 bytes; returns it. */
const char *humane(uint64_t bytes, char *buffer);

/* Progress on stderr, if that is a terminal: rewrites one line, at most ten times a second. */
typedef struct progress {
    bool on;
    uint64_t last_ns;
} progress;

void progress_begin(progress *self, bool quiet);
bool progress_is_due(progress *self);
void progress_show(const char *format, ...) __attribute__((format(printf, 1, 2)));
void progress_end(progress *self);

uint64_t now_ns(void);

/* Flushes stdout; false if something could not be written, with a message unless the reader just
 * went away. */
bool output_is_whole(const char *name);

#endif
