/* A crew: threads that share the work of one caller at a time.
 *
 * Work is a number of pieces that do not depend on one another. The caller works too, as lane 0;
 * the crew's threads are lanes 1 and up. What belongs to a lane is used by one thread at a time.
 * Knows nothing of what the work is. */
#ifndef FIRN_COLD_CREW_H
#define FIRN_COLD_CREW_H

#include <stddef.h>

#include "base/heap.h"

typedef struct firn_crew firn_crew;

typedef void (*firn_crew_work)(void *context, unsigned lane, size_t piece);

/* Starts the threads, at least one. NULL: no memory, or the system gives no thread. */
firn_crew *firn_crew_new(firn_heap *heap, unsigned threads);
/* Stops them and waits for it. NULL is ignored. */
void firn_crew_free(firn_crew *crew);
/* Calls work for every piece below count, and returns when all is done; everything done before the
 * call is seen by the work, and everything the work did by the caller. One caller at a time. */
void firn_crew_run(firn_crew *crew, size_t count, firn_crew_work work, void *context);

#endif
