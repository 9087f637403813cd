/* See recorded.h. */
#include "recorded.h"

#include <stdio.h>
#include <stdlib.h>

#include <firn/record.h>

#include "keys.h"

enum { FIRST = 4096 };

/* What is known of a key so far. */
typedef struct key_state {
    uint64_t waiting; /* the number of the get, and 1, that missed last and was not filled yet */
    uint64_t size;
    uint64_t charge; /* 0: it was never there */
} key_state;

struct recorded {
    trace_request *list;
    uint64_t count;
    uint64_t room;
    uint64_t at;
    trace_facts facts;
    /* While it is loaded. */
    key_numbers numbers;
    key_state *states;
    uint32_t states_room;
};

static key_state *state_of(recorded *self, uint64_t key) {
    uint32_t number;
    bool added;
    if (!key_number(&self->numbers, key, &number, &added)) {
        return NULL;
    }
    if (number >= self->states_room) {
        uint32_t room = number + number / 2 + FIRST;
        key_state *states = realloc(self->states, room * sizeof *states);
        if (states == NULL) {
            return NULL;
        }
        self->states = states;
        self->states_room = room;
    }
    if (added) {
        self->states[number] = (key_state){0, 0, 0};
    }
    return &self->states[number];
}

static bool append(recorded *self, trace_what what, uint64_t key, const key_state *state) {
    if (self->count == self->room) {
        uint64_t room = self->room + self->room / 2 + FIRST;
        trace_request *list = realloc(self->list, room * sizeof *list);
        if (list == NULL) {
            return false;
        }
        self->list = list;
        self->room = room;
    }
    self->list[self->count++] =
        (trace_request){.what = what, .key = key, .size = state->size, .charge = state->charge};
    return true;
}

static bool take(recorded *self, const firn_access *access) {
    key_state *state = state_of(self, access->key_hash);
    if (state == NULL) {
        return false;
    }
    if (access->what != FIRN_ACCESS_MISS && access->what != FIRN_ACCESS_DELETE) {
        state->size = access->value_size > 0 ? access->value_size : 1;
        state->charge = access->charge > 0 ? access->charge : 1;
    }
    bool fills = access->what == FIRN_ACCESS_PUT && state->waiting != 0;
    if (fills) {
        self->list[state->waiting - 1].size = state->size;
        self->list[state->waiting - 1].charge = state->charge;
    }
    trace_what what = access->what == FIRN_ACCESS_PUT      ? TRACE_PUT
                      : access->what == FIRN_ACCESS_DELETE ? TRACE_DELETE
                                                           : TRACE_GET;
    bool good = fills || append(self, what, access->key_hash, state);
    state->waiting = access->what == FIRN_ACCESS_MISS ? self->count : 0;
    return good;
}

/* Gets that missed and were not filled have the size that the key had otherwise, or none. */
static bool finish(recorded *self) {
    for (uint64_t i = 0; i < self->count; i++) {
        trace_request *one = &self->list[i];
        if (one->what == TRACE_GET && one->charge == 0) {
            const key_state *state = state_of(self, one->key);
            if (state == NULL) {
                return false;
            }
            one->what = state->charge != 0 ? TRACE_GET : TRACE_NOWHERE;
            one->size = state->size;
            one->charge = state->charge;
        }
    }
    return true;
}

/* FIRN_OK, or what is wrong. */
static int load(recorded *self, firn_recording *from) {
    firn_access access;
    int result;
    while ((result = firn_recording_next(from, &access)) == FIRN_OK) {
        if (!take(self, &access)) {
            return FIRN_ENOMEM;
        }
    }
    return result != FIRN_NOT_FOUND ? result : finish(self) ? FIRN_OK : FIRN_ENOMEM;
}

recorded *recorded_load(const char *path, char *why) {
    char text[TRACE_WHY_BYTES / 2] = "";
    firn_recording *from;
    int result = firn_recording_open(&from, path, text, sizeof text);
    recorded *self = result == FIRN_OK ? calloc(1, sizeof *self) : NULL;
    if (self != NULL) {
        result = load(self, from);
        firn_recording_info info = FIRN_RECORDING_INFO_INIT;
        (void)firn_recording_get_info(from, &info);
        self->facts = (trace_facts){info.sampling_rate, info.hot_bytes, info.cold_bytes};
    } else if (result == FIRN_OK) {
        result = FIRN_ENOMEM;
    }
    firn_recording_close(from);
    if (self != NULL) {
        key_numbers_free(&self->numbers);
        free(self->states);
        self->states = NULL;
    }
    if (result != FIRN_OK) {
        snprintf(why, TRACE_WHY_BYTES, "%.200s: %s%s%s", path, firn_strerror(result),
                 *text != '\0' ? ": " : "", text);
        recorded_free(self);
        return NULL;
    }
    return self;
}

void recorded_free(recorded *self) {
    if (self != NULL) {
        free(self->list);
        free(self);
    }
}

bool recorded_next(recorded *self, trace_request *next) {
    if (self->at == self->count) {
        return false;
    }
    *next = self->list[self->at++];
    return true;
}

trace_facts recorded_facts(const recorded *self) {
    return self->facts;
}
