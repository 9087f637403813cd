/* See requests.h. */
#include "requests.h"

#include <stdlib.h>

#include "tool.h"

enum { FIRST = 65536, SHOW_EVERY = 65536 };

static bool grow(requests *self, uint64_t *room) {
    if (self->count < *room) {
        return true;
    }
    uint64_t larger = *room == 0 ? FIRST : *room + *room / 2;
    request *list = realloc(self->list, larger * sizeof *list);
    if (list != NULL) {
        self->list = list;
        *room = larger;
    }
    return list != NULL;
}

/* The charges of the keys so far, by number. */
typedef struct charges {
    uint32_t *list;
    uint32_t room;
} charges;

static bool note_charge(charges *self, requests *all, const request *one) {
    if (one->key >= self->room) {
        uint32_t room = one->key + one->key / 2 + FIRST;
        uint32_t *list = realloc(self->list, room * sizeof *list);
        if (list == NULL) {
            return false;
        }
        for (uint32_t i = self->room; i < room; i++) {
            list[i] = 0;
        }
        *self = (charges){list, room};
    }
    if (one->what != TRACE_DELETE && one->what != TRACE_NOWHERE) {
        all->footprint += one->charge - (uint64_t)self->list[one->key];
        self->list[one->key] = one->charge;
    }
    return true;
}

static bool add(requests *self, const trace_request *from, key_numbers *numbers, charges *known,
                uint64_t *room) {
    uint32_t number;
    bool added;
    if (!grow(self, room) || !key_number(numbers, from->key, &number, &added)) {
        return false;
    }
    uint64_t charge = from->charge != 0 ? from->charge : 1;
    request *one = &self->list[self->count++];
    *one = (request){.key = number & ((UINT32_C(1) << KEY_NUMBER_BITS) - 1),
                     .what = from->what,
                     .charge = charge < UINT32_MAX ? (uint32_t)charge : UINT32_MAX};
    self->sized |= from->charge != 0;
    self->gets += from->what == TRACE_NOWHERE;
    if (from->what == TRACE_GET) {
        self->gets++;
        self->get_bytes += one->charge;
    }
    return note_charge(known, self, one);
}

/* As trace_next's result at the end; -2: no memory. */
static int read_all(requests *self, trace *from, progress *shown) {
    key_numbers numbers = {0};
    charges known = {NULL, 0};
    uint64_t room = 0;
    trace_request next;
    int result;
    while ((result = trace_next(from, &next)) == 1) {
        if (!add(self, &next, &numbers, &known, &room)) {
            result = -2;
            break;
        }
        if (self->count % SHOW_EVERY == 0 && progress_is_due(shown)) {
            progress_show("replay: reading the trace: %llu requests",
                          (unsigned long long)self->count);
        }
    }
    progress_end(shown);
    self->keys = numbers.count;
    key_numbers_free(&numbers);
    free(known.list);
    return result;
}

int requests_load(requests *self, const char *path, progress *shown) {
    char why[TRACE_WHY_BYTES];
    *self = (requests){.count = 0};
    trace *from = trace_open(path, why);
    if (from == NULL) {
        complain("replay", "cannot open the trace: %s", why);
        return EXIT_TROUBLE;
    }
    self->facts = trace_get_facts(from);
    int result = read_all(self, from, shown);
    if (result == -1) {
        complain("replay", "%s: %s", path, trace_message(from));
    } else if (result == -2) {
        complain("replay", "no memory for the trace, or more than 2^%d keys", KEY_NUMBER_BITS);
    } else if (self->gets == 0) {
        complain("replay", "%s: holds no requests", path);
        result = -1;
    }
    trace_close(from);
    return result == 0 ? 0 : EXIT_TROUBLE;
}

void requests_free(requests *self) {
    free(self->list);
    self->list = NULL;
}
