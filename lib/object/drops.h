/* When the functions that release values are called: never in the midst of another such call on the
 * same thread, so that a long chain of values that hold each other needs no deep stack, and not
 * while the thread holds a lock that such a function may want, for it may call the cache.
 *
 * What waits is kept by the thread itself, in the objects whose count came to 0. */
#ifndef FIRN_OBJECT_DROPS_H
#define FIRN_OBJECT_DROPS_H

#include "object/object.h"

/* From here to the matching release this thread's drops wait. They nest. */
void firn_drops_hold(void);
/* The outermost one lets them happen. No lock is held. */
void firn_drops_release(void);

/* Whether the thread is between the two, or in the midst of a drop. */
bool firn_drops_within(void);

/* Releases the value of an object that the caller holds a reference to and that nobody else will
 * use, if it is alive; what comes of that is done before it returns. Not within. */
void firn_drops_now(firn_object *object);

/* The count of a rich object came to 0: its value is released, if it is alive, and its memory
 * freed, now or when this thread may. */
void firn_drops_add(firn_object *object);

#endif
