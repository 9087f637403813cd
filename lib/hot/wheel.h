/* A timer wheel: the objects of a shard that expire, by the time when they do.
 *
 * Levels of 64 slots each. A slot of the lowest is a tick, a slot of the next is all of the level
 * below. An object lies in the level of the highest digit in which its tick differs from the
 * wheel's; when the wheel comes to a slot, what lies there goes to the levels below, or is due. So
 * an object is touched once a level, whatever number there is of others. (Varghese, Lauck: Hashed
 * and Hierarchical Timing Wheels, 1987.) Empty slots are passed over by a bit for each.
 *
 * Everything is under the shard's lock. Objects are lent, and linked by their extensions. Knows no
 * clock; an object whose expiry was put off meanwhile is due all the same, and it is for the
 * caller to see that, and to add it again. */
#ifndef FIRN_HOT_WHEEL_H
#define FIRN_HOT_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#include "object/object.h"

enum {
    FIRN_WHEEL_TICK_BITS = 8, /* a tick has 256 ms */
    FIRN_WHEEL_SLOT_BITS = 6,
    FIRN_WHEEL_SLOTS = 1 << FIRN_WHEEL_SLOT_BITS,
    FIRN_WHEEL_LEVELS = 10, /* more than 2^56 ticks: all times there are */
};

typedef struct firn_wheel {
    uint64_t tick;                    /* all before it, and it, is through */
    uint64_t used[FIRN_WHEEL_LEVELS]; /* a bit for each slot that may hold something */
    firn_object *through;             /* what lay in slots that the wheel has come to */
    firn_object *slots[FIRN_WHEEL_LEVELS][FIRN_WHEEL_SLOTS];
} firn_wheel;

/* The object expires, and is in no wheel. */
void firn_wheel_add(firn_wheel *wheel, firn_object *object);
/* Takes it out of the wheel it is in, if it is in one. It is extended. */
void firn_wheel_remove(firn_object *object);
/* Takes the next one out whose time had come at now_ms when it was added. NULL: there is none. */
firn_object *firn_wheel_due(firn_wheel *wheel, uint64_t now_ms);
/* False: there is nothing in it. May err on the other side. */
bool firn_wheel_any(const firn_wheel *wheel);

#endif
