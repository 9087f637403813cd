/* The first pass of `firn replay` over its trace: how many requests, how many keys, how many bytes.
 * Memory grows with the number of distinct keys, not with the length of the trace. */
#include "keys.h"
#include "replay.h"
#include "tool.h"
#include "trace.h"

enum {
    ENTRY_OVERHEAD = 100, /* about what an entry takes in memory beside its value: key and header */
};

/* As trace_next's result at the end; -2: no memory. */
static int count_requests(replay *self, trace *requests, key_numbers *seen) {
    trace_request next;
    int result;
    while ((result = trace_next(requests, &next)) == 1) {
        uint32_t number;
        bool added;
        if (!key_number(seen, next.key, &number, &added)) {
            return -2;
        }
        self->total++;
        if (added && next.what != TRACE_NOWHERE && next.what != TRACE_DELETE) {
            uint64_t bytes = value_size_of(self, next.size);
            uint64_t room = UINT64_MAX - self->footprint;
            self->distinct++;
            self->footprint += bytes < room - ENTRY_OVERHEAD ? bytes + ENTRY_OVERHEAD : room;
        }
        if (self->total % 65536 == 0 && progress_is_due(&self->shown)) {
            progress_show("replay: reading the trace: %llu requests",
                          (unsigned long long)self->total);
        }
    }
    return result;
}

int measure_trace(replay *self) {
    char why[TRACE_WHY_BYTES];
    trace *requests = trace_open(self->trace_path, why);
    if (requests == NULL) {
        complain("replay", "cannot open the trace: %s", why);
        return EXIT_TROUBLE;
    }
    key_numbers seen = {0};
    self->rate = trace_get_facts(requests).rate;
    int result = count_requests(self, requests, &seen);
    key_numbers_free(&seen);
    progress_end(&self->shown);
    if (result == -1) {
        complain("replay", "%s: %s", self->trace_path, trace_message(requests));
    } else if (result == -2) {
        complain("replay", "no memory for the keys of the trace: give --hot and --cold, and the "
                           "trace by the standard input");
    } else if (self->total == 0) {
        complain("replay", "%s: holds no requests", self->trace_path);
        result = -1;
    }
    trace_close(requests);
    return result == 0 ? 0 : EXIT_TROUBLE;
}
