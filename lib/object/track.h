/* Who took handles: for each object that the program was given one of, how many it ever took and
 * where the last were taken. There is a tracker only if the program asked for one.
 *
 * Knows objects and addresses of code; not what a handle is for. */
#ifndef FIRN_OBJECT_TRACK_H
#define FIRN_OBJECT_TRACK_H

#include <firn/debug.h>

#include "base/heap.h"
#include "object/object.h"

typedef struct firn_tracker firn_tracker;

/* places: where handles are taken is remembered, too. NULL: no memory. */
firn_tracker *firn_tracker_new(firn_heap *heap, bool places);
/* NULL is ignored. */
void firn_tracker_free(firn_tracker *tracker);

/* A handle was taken by who called from there, and still is. Without memory it is not noted. */
void firn_track_take(firn_tracker *tracker, firn_object *object, const void *place);
/* The object is about to be freed. */
void firn_track_forget(firn_tracker *tracker, const firn_object *object);

/* Calls report for each object that was taken and is still there. No lock is held meanwhile. */
void firn_track_report(firn_tracker *tracker, void (*report)(void *context, const firn_leak *leak),
                       void *context);

#endif
