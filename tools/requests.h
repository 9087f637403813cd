/* A trace in memory, 8 bytes a request: read once, then played by many threads. */
#ifndef FIRN_TOOLS_REQUESTS_H
#define FIRN_TOOLS_REQUESTS_H

#include <stdbool.h>
#include <stdint.h>

#include "keys.h"
#include "output.h"
#include "trace.h"

typedef struct request {
    uint32_t key : KEY_NUMBER_BITS;
    uint32_t what : 2; /* trace_what */
    uint32_t charge;   /* 1, if the trace has no sizes; more than 32 bits hold count as those */
} request;

typedef struct requests {
    request *list;
    uint64_t count;
    uint64_t gets;
    uint64_t get_bytes; /* charges of the gets */
    uint64_t footprint; /* charges of all keys, as they were last */
    uint32_t keys;
    bool sized;
    trace_facts facts;
} requests;

/* Reads all of it. An exit code, after a complaint. Release with requests_free, also after a
 * failure. */
int requests_load(requests *self, const char *path, progress *shown);
void requests_free(requests *self);

#endif
