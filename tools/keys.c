/* See keys.h. */
#include "keys.h"

#include <stdlib.h>

enum { SLOTS_FIRST = 1024 };

static struct key_slot *slot_of(const key_numbers *self, uint64_t key) {
    size_t at = (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 20) & self->mask;
    while (self->slots[at].number != 0 && self->slots[at].key != key) {
        at = (at + 1) & self->mask;
    }
    return &self->slots[at];
}

static bool grow(key_numbers *self) {
    size_t slots = self->slots == NULL ? SLOTS_FIRST : 2 * (self->mask + 1);
    key_numbers larger = {calloc(slots, sizeof *larger.slots), slots - 1, self->count};
    if (larger.slots == NULL) {
        return false;
    }
    for (size_t i = 0; self->slots != NULL && i <= self->mask; i++) {
        if (self->slots[i].number != 0) {
            *slot_of(&larger, self->slots[i].key) = self->slots[i];
        }
    }
    free(self->slots);
    *self = larger;
    return true;
}

bool key_number(key_numbers *self, uint64_t key, uint32_t *number, bool *added) {
    if (self->count >> KEY_NUMBER_BITS != 0 ||
        ((self->slots == NULL || (size_t)self->count * 2 > self->mask) && !grow(self))) {
        return false;
    }
    struct key_slot *slot = slot_of(self, key);
    *added = slot->number == 0;
    if (*added) {
        *slot = (struct key_slot){key, ++self->count};
    }
    *number = slot->number - 1;
    return true;
}

void key_numbers_free(key_numbers *self) {
    free(self->slots);
    *self = (key_numbers){0};
}
