/* See heap.h. */
#include "base/heap.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct firn_heap {
    firn_allocator functions; /* immutable */
    _Atomic uint64_t refs;    /* the cache and every object; relaxed up, acquire-release down */
};

static void *system_alloc(void *context, size_t size) {
    (void)context;
    return malloc(size);
}

static void system_free(void *context, void *memory, size_t size) {
    (void)context;
    (void)size;
    free(memory);
}

firn_heap *firn_heap_new(const firn_allocator *allocator) {
    firn_allocator functions = {system_alloc, system_free, NULL};
    if (allocator != NULL && allocator->alloc != NULL && allocator->free != NULL) {
        functions = *allocator;
    }
    firn_heap *heap = functions.alloc(functions.context, sizeof *heap);
    if (heap == NULL) {
        return NULL;
    }
    heap->functions = functions;
    atomic_init(&heap->refs, 1);
    return heap;
}

firn_heap *firn_heap_ref(firn_heap *heap) {
    atomic_fetch_add_explicit(&heap->refs, 1, memory_order_relaxed);
    return heap;
}

void firn_heap_unref(firn_heap *heap) {
    if (heap == NULL) {
        return;
    }
    /* Acquire-release: whoever frees must see all that other threads did before they let go. */
    if (atomic_fetch_sub_explicit(&heap->refs, 1, memory_order_acq_rel) == 1) {
        firn_allocator functions = heap->functions;
        functions.free(functions.context, heap, sizeof *heap);
    }
}

bool firn_heap_is_users(const firn_heap *heap) {
    return heap->functions.alloc != system_alloc;
}

void *firn_heap_alloc(firn_heap *heap, size_t size) {
    return heap->functions.alloc(heap->functions.context, size);
}

/* The system knows what of its memory is zero already, and so need not be touched. */
void *firn_heap_zalloc(firn_heap *heap, size_t size) {
    if (!firn_heap_is_users(heap)) {
        return calloc(1, size);
    }
    void *memory = firn_heap_alloc(heap, size);
    if (memory != NULL) {
        memset(memory, 0, size);
    }
    return memory;
}

void firn_heap_free(firn_heap *heap, void *memory, size_t size) {
    if (memory != NULL) {
        heap->functions.free(heap->functions.context, memory, size);
    }
}

enum { LINE = 64 };

/* The block starts up to a line earlier than what is given out; its address stands just before. */
void *firn_heap_alloc_lines(firn_heap *heap, size_t size) {
    unsigned char *block = firn_heap_zalloc(heap, size + LINE + sizeof(void *));
    if (block == NULL) {
        return NULL;
    }
    size_t skip = sizeof(void *);
    skip += (LINE - ((uintptr_t)block + skip) % LINE) % LINE;
    memcpy(block + skip - sizeof(void *), &block, sizeof(void *));
    return block + skip;
}

void firn_heap_free_lines(firn_heap *heap, void *memory, size_t size) {
    if (memory != NULL) {
        void *block;
        memcpy(&block, (unsigned char *)memory - sizeof(void *), sizeof(void *));
        firn_heap_free(heap, block, size + LINE + sizeof(void *));
    }
}

/* The user's memory, cut to where it is aligned; its address stands behind what is given out. */
static void *alloc_aligned_users(firn_heap *heap, size_t size) {
    unsigned char *block = firn_heap_alloc(heap, 2 * size + sizeof(void *));
    if (block == NULL) {
        return NULL;
    }
    size_t skip = (size - (uintptr_t)block % size) % size;
    memcpy(block + skip + size, &block, sizeof block);
    return block + skip;
}

static void *alloc_aligned_system(size_t size, bool huge) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t excess = size > page ? size - page : 0;
    unsigned char *block =
        mmap(NULL, size + excess, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) {
        return NULL;
    }
    size_t skip = (size - (uintptr_t)block % size) % size;
    if (skip > 0) {
        munmap(block, skip);
    }
    if (excess > skip) {
        munmap(block + skip + size, excess - skip);
    }
    if (huge) {
        (void)madvise(block + skip, size, MADV_HUGEPAGE); /* a wish */
    }
    return block + skip;
}

void *firn_heap_alloc_aligned(firn_heap *heap, size_t size, bool huge) {
    return firn_heap_is_users(heap) ? alloc_aligned_users(heap, size)
                                    : alloc_aligned_system(size, huge);
}

void firn_heap_free_aligned(firn_heap *heap, void *memory, size_t size) {
    if (memory == NULL) {
        return;
    }
    if (firn_heap_is_users(heap)) {
        void *block;
        memcpy(&block, (unsigned char *)memory + size, sizeof block);
        firn_heap_free(heap, block, 2 * size + sizeof(void *));
    } else {
        munmap(memory, size);
    }
}

static bool is_in_huge_pages(const firn_heap *heap, size_t size) {
    return size >= FIRN_HEAP_HUGE && !firn_heap_is_users(heap);
}

void *firn_heap_alloc_table(firn_heap *heap, size_t size) {
    return is_in_huge_pages(heap, size) ? firn_heap_alloc_aligned(heap, size, true)
                                        : firn_heap_zalloc(heap, size);
}

void firn_heap_free_table(firn_heap *heap, void *memory, size_t size) {
    if (is_in_huge_pages(heap, size)) {
        firn_heap_free_aligned(heap, memory, size);
    } else {
        firn_heap_free(heap, memory, size);
    }
}

void *firn_heap_alloc_sparse(firn_heap *heap, size_t size) {
    if (firn_heap_is_users(heap)) {
        return firn_heap_alloc_lines(heap, size);
    }
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory != MAP_FAILED ? memory : NULL;
}

void firn_heap_free_sparse(firn_heap *heap, void *memory, size_t size) {
    if (firn_heap_is_users(heap)) {
        firn_heap_free_lines(heap, memory, size);
    } else if (memory != NULL) {
        munmap(memory, size);
    }
}

char *firn_heap_strdup(firn_heap *heap, const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = firn_heap_alloc(heap, size);
    if (copy != NULL) {
        memcpy(copy, text, size);
    }
    return copy;
}
