/* The write queue: objects on their way to the cold tier, first in, first out.
 *
 * It holds a reference to each. The lock is its own, and is taken while a shard is locked, never
 * the other way round. Every object gets a ticket: the batch that completes ticket T has
 * completed all before it. Knows nothing of why an object is here. */
#ifndef FIRN_TIER_QUEUE_H
#define FIRN_TIER_QUEUE_H

#include <pthread.h>
#include <stdint.h>

#include "object/object.h"

typedef struct firn_queue {
    pthread_mutex_t lock; /* guards all below */
    firn_object *head;
    firn_object *tail;
    uint64_t pushed;    /* objects ever pushed: the ticket of the newest */
    uint64_t completed; /* of those, whose batch is done */
    uint64_t bytes;     /* charges of those waiting or on their way */
    uint64_t first_ns;  /* when the queue last stopped being empty, monotonic */
} firn_queue;

/* 0 or an errno. */
int firn_queue_init(firn_queue *queue);
/* Drops what is left. */
void firn_queue_fini(firn_queue *queue);

/* Takes a reference of its own. Returns the ticket. *bytes_before: the queue's bytes without it. */
uint64_t firn_queue_push(firn_queue *queue, firn_object *object, uint64_t *bytes_before);
/* Takes up to `items` objects of together up to `bytes` bytes, at least one if there is any,
 * linked by queue_next. The references go to the caller. */
firn_object *firn_queue_take(firn_queue *queue, size_t items, size_t bytes, size_t *count);
/* Puts a batch that failed back in front, with its references. */
void firn_queue_return(firn_queue *queue, firn_object *batch);
/* The objects of a batch are done. The caller drops the references. */
void firn_queue_complete(firn_queue *queue, size_t count, uint64_t bytes);

typedef struct firn_queue_state {
    uint64_t entries; /* waiting or on their way */
    uint64_t bytes;
    uint64_t pushed;
    uint64_t completed;
    uint64_t first_ns;
} firn_queue_state;

firn_queue_state firn_queue_look(firn_queue *queue);

#endif
