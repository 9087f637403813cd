/* See queue.h. */
#include "tier/queue.h"

#include <stddef.h>

#include "base/clock.h"

enum { PLACES = 510 };

struct firn_queue_block {
    firn_queue_block *next;
    firn_object *objects[PLACES];
};

int firn_queue_init(firn_queue *queue, firn_heap *heap) {
    *queue = (firn_queue){.heap = heap};
    return pthread_mutex_init(&queue->lock, NULL);
}

static void free_block(firn_queue *queue, firn_queue_block *block) {
    firn_heap_free(queue->heap, block, sizeof *block);
}

void firn_queue_fini(firn_queue *queue) {
    while (queue->head != NULL) {
        firn_queue_block *block = queue->head;
        size_t end = block == queue->tail ? queue->tail_at : PLACES;
        if (queue->tail != NULL) {
            for (size_t at = queue->head_at; at < end; at++) {
                firn_object_unref(block->objects[at]);
            }
        }
        if (block == queue->tail) {
            queue->tail = NULL; /* the blocks behind it are empty */
        }
        queue->head_at = 0;
        queue->head = block->next;
        free_block(queue, block);
    }
    pthread_mutex_destroy(&queue->lock);
}

/* The lock is held. */
static int add_block(firn_queue *queue) {
    firn_queue_block *block = firn_heap_alloc(queue->heap, sizeof *block);
    if (block == NULL) {
        return FIRN_ENOMEM;
    }
    block->next = NULL;
    if (queue->tail == NULL) {
        queue->head = queue->tail = block;
        queue->head_at = queue->tail_at = 0;
    } else {
        firn_queue_block *last = queue->tail;
        while (last->next != NULL) {
            last = last->next;
        }
        last->next = block;
    }
    queue->room += PLACES;
    return FIRN_OK;
}

int firn_queue_reserve(firn_queue *queue) {
    pthread_mutex_lock(&queue->lock);
    int result = queue->room > queue->reserved ? FIRN_OK : add_block(queue);
    queue->reserved += result == FIRN_OK;
    pthread_mutex_unlock(&queue->lock);
    return result;
}

void firn_queue_release(firn_queue *queue) {
    pthread_mutex_lock(&queue->lock);
    queue->reserved--;
    pthread_mutex_unlock(&queue->lock);
}

uint64_t firn_queue_push(firn_queue *queue, firn_object *object, uint64_t *bytes_before) {
    firn_object_keep(object);
    pthread_mutex_lock(&queue->lock);
    if (queue->pushed == queue->completed) {
        queue->first_ns = firn_monotonic_ns();
    }
    if (queue->tail_at == PLACES) {
        queue->tail = queue->tail->next; /* there is one: the place was reserved */
        queue->tail_at = 0;
    }
    queue->tail->objects[queue->tail_at++] = object;
    queue->room--;
    queue->reserved--;
    *bytes_before = queue->bytes;
    queue->bytes += firn_object_charge(object);
    uint64_t ticket = ++queue->pushed;
    pthread_mutex_unlock(&queue->lock);
    return ticket;
}

size_t firn_queue_peek(firn_queue *queue, size_t items, size_t bytes, firn_object **objects) {
    pthread_mutex_lock(&queue->lock);
    uint64_t waiting = queue->pushed - queue->completed;
    const firn_queue_block *block = queue->head;
    size_t at = queue->head_at;
    size_t taken = 0;
    size_t sum = 0;
    for (; taken < items && taken < waiting; taken++, at++) {
        if (at == PLACES) {
            block = block->next;
            at = 0;
        }
        size_t charge = firn_object_charge(block->objects[at]);
        if (taken > 0 && charge > bytes - sum) {
            break;
        }
        sum = charge < bytes ? sum + charge : bytes;
        objects[taken] = block->objects[at];
    }
    pthread_mutex_unlock(&queue->lock);
    return taken;
}

void firn_queue_complete(firn_queue *queue, size_t count, uint64_t bytes) {
    pthread_mutex_lock(&queue->lock);
    queue->completed += count;
    queue->bytes -= bytes;
    queue->head_at += count;
    while (queue->head != queue->tail && queue->head_at >= PLACES) {
        firn_queue_block *done = queue->head;
        queue->head = done->next;
        queue->head_at -= PLACES;
        free_block(queue, done);
    }
    if (queue->pushed != queue->completed) {
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

void firn_queue_clear(firn_queue *queue) {
    firn_object *object;
    while (firn_queue_peek(queue, 1, SIZE_MAX, &object) == 1) {
        firn_queue_complete(queue, 1, firn_object_charge(object));
        firn_object_unref(object);
    }
}
