/* See recent.h. */
#include "base/recent.h"

#include <string.h>

enum { COUNT_BITS = 8 };

static uint32_t *line_of(const firn_recent *recent, uint64_t hash) {
    /* By the high half, for the low bits make the tag. */
    return &recent->ghosts[(hash >> 32) % recent->lines * FIRN_RECENT_LINE];
}

static uint32_t tag_of(uint64_t hash) {
    return (uint32_t)hash >> COUNT_BITS;
}

/* The place in the line; FIRN_RECENT_LINE: it is not there. */
static unsigned find(const uint32_t *line, uint32_t tag) {
    unsigned at = 0;
    while (at < FIRN_RECENT_LINE && (line[at] == 0 || line[at] >> COUNT_BITS != tag)) {
        at++;
    }
    return at;
}

unsigned firn_recent_meet(firn_recent *recent, uint64_t hash) {
    if (recent->lines == 0) {
        return 1;
    }
    uint32_t *line = line_of(recent, hash);
    uint32_t tag = tag_of(hash);
    unsigned at = find(line, tag);
    unsigned count = at < FIRN_RECENT_LINE ? line[at] & FIRN_RECENT_COUNT_MAX : 0;
    count += count < FIRN_RECENT_COUNT_MAX;
    unsigned moved = at < FIRN_RECENT_LINE ? at : FIRN_RECENT_LINE - 1;
    memmove(&line[1], line, moved * sizeof *line);
    line[0] = tag << COUNT_BITS | count;
    return count;
}

void firn_recent_forget(firn_recent *recent, uint64_t hash) {
    if (recent->lines == 0) {
        return;
    }
    uint32_t *line = line_of(recent, hash);
    unsigned at = find(line, tag_of(hash));
    if (at < FIRN_RECENT_LINE) {
        memmove(&line[at], &line[at + 1], (FIRN_RECENT_LINE - 1 - at) * sizeof *line);
        line[FIRN_RECENT_LINE - 1] = 0;
    }
}
