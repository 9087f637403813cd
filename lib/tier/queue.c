/* See queue.h. */
#include "tier/queue.h"

#include <stddef.h>

#include "base/clock.h"

int firn_queue_init(firn_queue *queue) {
    *queue = (firn_queue){.head = NULL};
    return pthread_mutex_init(&queue->lock, NULL);
}

void firn_queue_fini(firn_queue *queue) {
    while (queue->head != NULL) {
        firn_object *object = queue->head;
        queue->head = object->queue_next;
        firn_object_unref(object);
    }
    pthread_mutex_destroy(&queue->lock);
}

uint64_t firn_queue_push(firn_queue *queue, firn_object *object, uint64_t *bytes_before) {
    firn_object_ref(object);
    pthread_mutex_lock(&queue->lock);
    object->queue_next = NULL;
    if (queue->tail != NULL) {
        queue->tail->queue_next = object;
    } else {
        queue->head = object;
        queue->first_ns = firn_monotonic_ns();
    }
    queue->tail = object;
    *bytes_before = queue->bytes;
    queue->bytes += firn_object_charge(object);
    uint64_t ticket = ++queue->pushed;
    pthread_mutex_unlock(&queue->lock);
    return ticket;
}

firn_object *firn_queue_take(firn_queue *queue, size_t items, size_t bytes, size_t *count) {
    pthread_mutex_lock(&queue->lock);
    firn_object *first = queue->head;
    firn_object *last = NULL;
    size_t taken = 0;
    size_t sum = 0;
    for (firn_object *object = first; object != NULL && taken < items;
         object = object->queue_next) {
        size_t charge = firn_object_charge(object);
        if (taken > 0 && charge > bytes - sum) {
            break;
        }
        sum = charge < bytes ? sum + charge : bytes;
        taken++;
        last = object;
    }
    if (last != NULL) {
        queue->head = last->queue_next;
        if (queue->head == NULL) {
            queue->tail = NULL;
        }
        last->queue_next = NULL;
    }
    pthread_mutex_unlock(&queue->lock);
    *count = taken;
    return taken > 0 ? first : NULL;
}

void firn_queue_return(firn_queue *queue, firn_object *batch) {
    pthread_mutex_lock(&queue->lock);
    firn_object *last = batch;
    for (size_t count = 1;; count++) {
        if (last->queue_next == NULL) {
            break;
        }
        last = last->queue_next;
    }
    last->queue_next = queue->head;
    if (queue->head == NULL) {
        queue->tail = last;
    }
    queue->head = batch;
    pthread_mutex_unlock(&queue->lock);
}

void firn_queue_complete(firn_queue *queue, size_t count, uint64_t bytes) {
    pthread_mutex_lock(&queue->lock);
    queue->completed += count;
    queue->bytes -= bytes;
    if (queue->head != NULL) {
        queue->first_ns = firn_monotonic_ns();
    }
    pthread_mutex_unlock(&queue->lock);
}

firn_queue_state firn_queue_look(firn_queue *queue) {
    pthread_mutex_lock(&queue->lock);
    firn_queue_state state = {
        .entries = queue->pushed - queue->completed,
        .bytes = queue->bytes,
        .pushed = queue->pushed,
        .completed = queue->completed,
        .first_ns = queue->first_ns,
    };
    pthread_mutex_unlock(&queue->lock);
    return state;
}
