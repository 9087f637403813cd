/* Traces: one request a line, "key" or "key,size", as they are or compressed with zstd, which are
 * read as a stream, never whole in memory; or a recording of firn, which is. */
#ifndef FIRN_TOOLS_TRACE_H
#define FIRN_TOOLS_TRACE_H

#include <stdbool.h>
#include <stdint.h>

enum { TRACE_WHY_BYTES = 512 };

typedef enum trace_what {
    TRACE_GET,
    TRACE_PUT,     /* another value in the place of one, or one that no get asked for */
    TRACE_DELETE,  /* has no sizes */
    TRACE_NOWHERE, /* a get of a key that never has a value; has no sizes */
} trace_what;

typedef struct trace_request {
    trace_what what;
    uint64_t key;
    uint64_t size;   /* of the value, in bytes; 0: the trace does not say */
    uint64_t charge; /* what the entry counts for in memory; 0: the same */
} trace_request;

typedef struct trace_facts {
    double rate;         /* the part of all keys that the trace has */
    uint64_t hot_bytes;  /* of the cache that it was recorded from; 0: not told */
    uint64_t cold_bytes; /* the same; 0: it had none, or not told */
} trace_facts;

typedef struct trace trace;

/* path "-" is the standard input, which must not be a recording. NULL, with a message in why
 * (TRACE_WHY_BYTES), if it cannot be read. */
trace *trace_open(const char *path, char *why);
/* 1: a request. 0: the end. -1: not a trace, or a read error; see trace_message. */
int trace_next(trace *self, trace_request *next);
trace_facts trace_get_facts(const trace *self);
const char *trace_message(const trace *self);
void trace_close(trace *self);

#endif
