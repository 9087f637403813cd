/* An allocator of which one call fails, and that knows what was not given back. */
#ifndef FIRN_TESTS_FAULTY_H
#define FIRN_TESTS_FAULTY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

typedef struct faulty {
    _Atomic long countdown; /* the allocation that brings it to 0 fails, and no other */
    _Atomic long live;
    _Atomic bool hit;
} faulty;

static void *faulty_alloc(void *context, size_t size) {
    faulty *self = context;
    if (atomic_fetch_sub(&self->countdown, 1) == 1) {
        atomic_store(&self->hit, true);
        return NULL;
    }
    atomic_fetch_add(&self->live, (long)size);
    return malloc(size);
}

static void faulty_free(void *context, void *memory, size_t size) {
    atomic_fetch_sub(&((faulty *)context)->live, (long)size);
    free(memory);
}

#endif
