/* Traces: one request a line, "key" or "key,size", as they are or compressed with zstd. Read as a
 * stream, never whole in memory. */
#ifndef FIRN_TOOLS_TRACE_H
#define FIRN_TOOLS_TRACE_H

#include <stdbool.h>
#include <stdint.h>

enum { TRACE_WHY_BYTES = 256 };

typedef struct trace trace;

/* path "-" is the standard input. NULL, with a message in why (TRACE_WHY_BYTES), if it cannot be
 * read. */
trace *trace_open(const char *path, char *why);
/* 1: a request; *size is 0 if the line has none. 0: the end. -1: not a trace, or a read error; see
 * trace_message. */
int trace_next(trace *self, uint64_t *key, uint64_t *size);
const char *trace_message(const trace *self);
void trace_close(trace *self);

#endif
