/* Writing facts: for people, safe on a terminal whatever the bytes, and as JSON. */
#ifndef FIRN_TOOLS_OUTPUT_H
#define FIRN_TOOLS_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Bytes that come in pieces, printed as if they came at once. */
typedef enum flow_form {
    FLOW_RAW,
    FLOW_ESCAPED, /* as by print_escaped */
    FLOW_JSON,    /* what stands within the quotes of a string; the bytes must be UTF-8 */
    FLOW_BASE64,
    FLOW_XML,   /* as the text of an element; what cannot be that is replaced */
    FLOW_CHECK, /* nothing is printed: whether they are well-formed UTF-8 */
} flow_form;

typedef struct flow {
    FILE *out;
    flow_form how;
    bool bad;
    unsigned char kept[4]; /* what may go on in the next piece */
    size_t kept_size;
} flow;

void flow_begin(flow *self, FILE *out, flow_form how);
void flow_add(flow *self, const void *bytes, size_t size);
/* False: they are not UTF-8 (FLOW_CHECK). */
bool flow_end(flow *self);

/* Printable UTF-8 as it is; every other byte and the backslash as \xNN, \n, \t, \r, \\. Characters
 * that turn the direction of writing count as not printable: they can disguise what is shown. */
void print_escaped(FILE *out, const void *bytes, size_t size);

/* "NAME": "bytes", if they are UTF-8, else "NAME_base64": "...". */
void json_bytes(FILE *out, const char *name, const void *bytes, size_t size);
/* The name alone, with its colon; returns the form in which the bytes are to follow, within quotes.
 */
flow_form json_name(FILE *out, const char *name, bool utf8);
/* A string; null if it is not UTF-8. */
void json_text(FILE *out, const char *text);

/* As the text of an XML element. */
void xml_text(FILE *out, const char *text);

/* "2026-01-31 12:00:00.000 UTC", of milliseconds since 1970, into a buffer of at least 40 bytes;
 * returns it. */
const char *time_text(uint64_t ms, char *buffer);
/* Now, to the millisecond: entries of this very second have an age too. */
uint64_t wall_ms(void);

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
