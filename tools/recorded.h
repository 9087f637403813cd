/* A recording (firn/record.h) as requests that can be played to any cache. What a program did was
 * shaped by what its cache had; so a miss and the put that follows it become one get, after which
 * the entry is there. Held in memory whole: a miss is known by what comes later. */
#ifndef FIRN_TOOLS_RECORDED_H
#define FIRN_TOOLS_RECORDED_H

#include "trace.h"

typedef struct recorded recorded;

/* NULL, with a message in why (TRACE_WHY_BYTES): it cannot be read, or is damaged. */
recorded *recorded_load(const char *path, char *why);
void recorded_free(recorded *self);
/* False: there are no more. */
bool recorded_next(recorded *self, trace_request *next);
trace_facts recorded_facts(const recorded *self);

#endif
