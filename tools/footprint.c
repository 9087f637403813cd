/* The first pass of `firn replay` over its trace: how many requests, how many keys, how many bytes.
 * Memory grows with the number of distinct keys, not with the length of the trace. */
#include <stdlib.h>

#include "replay.h"
#include "tool.h"
#include "trace.h"

enum {
    ENTRY_OVERHEAD = 100, /* about what an entry takes in memory beside its value: key and header */
    SLOTS_FIRST = 1024,
};

/* A set of keys: open addressing, a power of two of slots, at most half full. */
typedef struct key_set {
    uint64_t *slots; /* the keys; 0 marks an empty slot */
    size_t mask;
    size_t count;
    bool has_zero; /* the one key that no slot can hold */
} key_set;

static size_t slot_of(const key_set *set, uint64_t key) {
    size_t at = (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 20) & set->mask;
    while (set->slots[at] != 0 && set->slots[at] != key) {
        at = (at + 1) & set->mask;
    }
    return at;
}

static bool grow(key_set *set) {
    size_t slots = set->slots == NULL ? SLOTS_FIRST : 2 * (set->mask + 1);
    key_set larger = {calloc(slots, sizeof *larger.slots), slots - 1, set->count, set->has_zero};
    if (larger.slots == NULL) {
        return false;
    }
    for (size_t i = 0; set->slots != NULL && i <= set->mask; i++) {
        if (set->slots[i] != 0) {
            larger.slots[slot_of(&larger, set->slots[i])] = set->slots[i];
        }
    }
    free(set->slots);
    *set = larger;
    return true;
}

/* *added: it was not there. False: no memory. */
static bool add(key_set *set, uint64_t key, bool *added) {
    if (key == 0) {
        *added = !set->has_zero;
        set->has_zero = true;
        return true;
    }
    if ((set->slots == NULL || set->count * 2 > set->mask) && !grow(set)) {
        return false;
    }
    size_t at = slot_of(set, key);
    *added = set->slots[at] == 0;
    set->slots[at] = key;
    set->count += *added;
    return true;
}

/* As trace_next's result at the end; -2: no memory. */
static int count_requests(replay *self, trace *requests, key_set *seen) {
    uint64_t key;
    uint64_t size;
    int result;
    while ((result = trace_next(requests, &key, &size)) == 1) {
        bool added;
        if (!add(seen, key, &added)) {
            return -2;
        }
        self->total++;
        if (added) {
            uint64_t bytes = value_size_of(self, size);
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
    key_set seen = {0};
    int result = count_requests(self, requests, &seen);
    free(seen.slots);
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
