/* See wheel.h. */
#include "hot/wheel.h"

static firn_object_extension *link_of(const firn_object *object) {
    return firn_object_extension_of(object);
}

static void push(firn_object **list, firn_object *object) {
    link_of(object)->next = *list;
    link_of(object)->back = list;
    if (*list != NULL) {
        link_of(*list)->back = &link_of(object)->next;
    }
    *list = object;
}

void firn_wheel_remove(firn_object *object) {
    firn_object_extension *link = link_of(object);
    if (link->back == NULL) {
        return;
    }
    *link->back = link->next;
    if (link->next != NULL) {
        link_of(link->next)->back = link->back;
    }
    link->next = NULL;
    link->back = NULL;
}

/* The tick at whose end the object is expired. */
static uint64_t tick_of(const firn_object *object) {
    uint64_t expires_ms = firn_object_expires_ms(object);
    return expires_ms == 0 ? 0 : ((expires_ms - 1) >> FIRN_WHEEL_TICK_BITS) + 1;
}

static unsigned level_of(uint64_t differing) {
    unsigned highest = 63 - (unsigned)__builtin_clzll(differing);
    return highest / FIRN_WHEEL_SLOT_BITS;
}

void firn_wheel_add(firn_wheel *wheel, firn_object *object) {
    uint64_t tick = tick_of(object);
    /* What is through is not looked at again. */
    tick = tick > wheel->tick ? tick : wheel->tick + 1;
    unsigned level = level_of(tick ^ wheel->tick);
    unsigned slot = (unsigned)(tick >> level * FIRN_WHEEL_SLOT_BITS) % FIRN_WHEEL_SLOTS;
    wheel->used[level] |= UINT64_C(1) << slot;
    push(&wheel->slots[level][slot], object);
}

/* The next slot that may hold something: false, if there is none up to `until`. A lower level's
 * come before all of a higher one's. *begin: its first tick. */
static bool next_slot(const firn_wheel *wheel, uint64_t until, unsigned *level, unsigned *slot,
                      uint64_t *begin) {
    for (*level = 0; *level < FIRN_WHEEL_LEVELS; ++*level) {
        if (wheel->used[*level] == 0) {
            continue;
        }
        unsigned shift = *level * FIRN_WHEEL_SLOT_BITS;
        *slot = (unsigned)__builtin_ctzll(wheel->used[*level]);
        uint64_t round = wheel->tick >> shift >> FIRN_WHEEL_SLOT_BITS << FIRN_WHEEL_SLOT_BITS;
        *begin = (round | *slot) << shift;
        return *begin <= until;
    }
    return false;
}

firn_object *firn_wheel_due(firn_wheel *wheel, uint64_t now_ms) {
    uint64_t now = now_ms >> FIRN_WHEEL_TICK_BITS;
    for (;;) {
        while (wheel->through != NULL) {
            firn_object *object = wheel->through;
            firn_wheel_remove(object);
            if (tick_of(object) <= wheel->tick) {
                return object;
            }
            firn_wheel_add(wheel, object);
        }
        unsigned level;
        unsigned slot;
        uint64_t begin;
        if (!next_slot(wheel, now, &level, &slot, &begin)) {
            wheel->tick = now > wheel->tick ? now : wheel->tick;
            return NULL;
        }
        wheel->tick = begin;
        wheel->used[level] &= ~(UINT64_C(1) << slot);
        wheel->through = wheel->slots[level][slot];
        wheel->slots[level][slot] = NULL;
        if (wheel->through != NULL) {
            link_of(wheel->through)->back = &wheel->through;
        }
    }
}

bool firn_wheel_any(const firn_wheel *wheel) {
    uint64_t used = 0;
    for (unsigned i = 0; i < FIRN_WHEEL_LEVELS; i++) {
        used |= wheel->used[i];
    }
    return used != 0 || wheel->through != NULL;
}
