/* The write queue: objects on their way to the cold tier, first in, first out.
 *
 * It holds a reference to each. The lock is its own, and is taken while a shard is locked, never
 * the other way round. Every object gets a ticket: the batch that completes ticket T has
 * completed all before it. A push must not fail, for it comes in the midst of a change; so room is
 * reserved before. Knows nothing of why an object is here. */
#ifndef FIRN_TIER_QUEUE_H
#define FIRN_TIER_QUEUE_H

#include <pthread.h>
#include <stdint.h>

#include "base/heap.h"
#include "object/object.h"

typedef struct firn_queue_block firn_queue_block;

typedef struct firn_queue {
    firn_heap *heap;        /* lent; immutable */
    pthread_mutex_t lock;   /* guards all below */
    firn_queue_block *head; /* where objects are taken from */
    firn_queue_block *tail; /* where they are put */
    size_t head_at;         /* places of the blocks that are done with */
    size_t tail_at;
    size_t room;        /* places from tail_at on, in the tail and in blocks behind it */
    size_t reserved;    /* of those */
    uint64_t pushed;    /* objects ever pushed: the ticket of the newest */
    uint64_t completed; /* of those, whose batch is done */
    uint64_t bytes;     /* charges of those waiting or on their way */
    uint64_t first_ns;  /* when the queue last stopped being empty, monotonic */
} firn_queue;

/* 0 or an errno. */
int firn_queue_init(firn_queue *queue, firn_heap *heap);
/* Drops what is left. */
void firn_queue_fini(firn_queue *queue);

/* Drops what is left, with no lock held. */
void firn_queue_clear(firn_queue *queue);

/* Makes sure that one push will find room. FIRN_OK or FIRN_ENOMEM. */
int firn_queue_reserve(firn_queue *queue);
/* For a reserve that no push followed. */
void firn_queue_release(firn_queue *queue);
/* Uses a reservation up and takes a reference of its own. Returns the ticket. *bytes_before: the
 * queue's bytes without it. */
uint64_t firn_queue_push(firn_queue *queue, firn_object *object, uint64_t *bytes_before);
/* The oldest objects: at most `items`, of together up to `bytes` bytes, at least one if there is
 * any. Returns their number. They stay in the queue until firn_queue_complete; one batch is on its
 * way at a time. */
size_t firn_queue_peek(firn_queue *queue, size_t items, size_t bytes, firn_object **objects);
/* The oldest `count` objects are done, and together had that many bytes. The caller gets the
 * references. */
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
