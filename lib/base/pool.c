/* See pool.h. */
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/extents.h"
#include "base/mutex.h"

#if defined(__SANITIZE_ADDRESS__)
#define POISONS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISONS 1
#endif
#endif
#ifdef POISONS
#include <sanitizer/asan_interface.h>
#define POISON(memory, size)   ASAN_POISON_MEMORY_REGION(memory, size)
#define UNPOISON(memory, size) ASAN_UNPOISON_MEMORY_REGION(memory, size)
#else
#define POISON(memory, size)   ((void)(memory), (void)(size))
#define UNPOISON(memory, size) ((void)(memory), (void)(size))
#endif

enum {
    STEP = 16,
    FINE_MAX = 2048, /* classes up to here are STEP apart */
    PARTS = 16,      /* of each doubling above */

    /* Constants, for a block is asked for its pool before anything of the pool is known. */
    SLAB = 64 << 10,       /* bytes: at 1 KiB, 61 slots and hardly a rest */
    SLAB_BLOCK_MAX = 7168, /* the largest block of a slab: the class of which there are nine */
    EXTENT = 2 << 20,
    RUN_GRANULE = 512,
    RUN_BLOCK_MAX = 256 << 10, /* the largest block of a run */

    /* Parts of the budget that may be free before pages go back to the system. Runs leave holes
     * between them at all times, which are of use again. */
    SLAB_RESERVE = 32,
    RUN_RESERVE = 10,
    HUGE_FROM = 64 << 20, /* bytes of budget: with less, whole large pages are too much waste */

    STRIPES_MAX = 4,
    STRIPED_FROM =
        256 << 20,      /* bytes of budget: with less, a stripe's slabs are too much waste:
                           there are 150 classes, and each may have one that is nearly empty */
    GROUPS = 4,         /* of slabs that have room, by how full they are */
    PREFIX = 64,        /* bytes before a block with a mapping of its own: its pool */
    SPARES_MAX = 16,    /* mappings that are kept for the next */
    SPARE_RESERVE = 32, /* the part of the budget they may come to */
};

#define BLOCK_END (UINT64_C(1) << 48) /* links between entries have that many bits */

typedef struct slab slab;
typedef struct stripe stripe;

struct slab {
    firn_pool *pool; /* immutable, as all up to the slots */
    firn_extent *extent;
    stripe *home;
    uint32_t class_number;
    uint32_t slots;
    uint32_t slot_bytes;
    uint32_t first; /* offset of the first slot */
    /* The stripe's lock guards the rest. */
    uint32_t used;
    uint32_t fresh;      /* slots from here on were never used */
    unsigned char *free; /* the first free slot that was; each holds the address of the next */
    slab *next;          /* of the same group */
    slab *prev;
    uint8_t group;        /* GROUPS: in none, being full or drained */
    atomic_bool draining; /* relaxed: see firn_pool_should_move */
};

/* The slabs of one class that have room, of one stripe: a thread takes blocks from the stripe of
 * the processor it runs on, so that two of them seldom wait for one lock. */
struct stripe {
    _Alignas(64) pthread_mutex_t lock; /* guards all below */
    slab *groups[GROUPS]; /* the fullest last; fullest first are used, so that sparse ones empty */
    slab *drained;        /* taken out of the groups by firn_pool_plan_drain */
    uint64_t used;        /* slots, of all its slabs, full ones too, like the next */
    uint64_t slots;
    uint64_t touched_bytes; /* of slabs, up to the last slot that ever was used */
};

typedef struct size_class {
    stripe stripes[STRIPES_MAX];
} size_class;

/* A mapping that no block is in: its pages are there, and would cost a fault each if a new mapping
 * had to be made. */
typedef struct spare {
    unsigned char *memory;
    size_t bytes;
} spare;

struct firn_pool {
    firn_heap *heap; /* one reference; immutable, as all up to the atomics */
    uint64_t seed;
    void *companion;
    void (*release)(void *companion);
    bool huge; /* extents are in large pages */
    unsigned stripe_count;
    unsigned class_count;
    firn_extents slabs; /* each has a lock of its own, taken while a stripe's is held */
    firn_extents runs;
    size_class *classes;
    size_t allocation;

    /* Slabs, runs and mappings there are, and one for the owner. Relaxed up, acquire-release down:
     * whoever takes the last one off frees the pool. */
    _Alignas(64) _Atomic uint64_t refs;
    _Atomic uint64_t run_bytes; /* relaxed, as all these */
    _Atomic uint64_t run_blocks;
    _Atomic uint64_t mapping_bytes;
    _Atomic uint64_t mapping_blocks;
    _Atomic uint64_t spare_bytes; /* written under the lock below */
    atomic_bool draining;

    _Alignas(64) pthread_mutex_t spares_lock; /* guards the rest; taken last of all */
    uint64_t spares_max;                      /* bytes; immutable */
    unsigned spare_count;
    spare spares[SPARES_MAX]; /* oldest first */
};

static void add(_Atomic uint64_t *gauge, uint64_t amount) {
    atomic_fetch_add_explicit(gauge, amount, memory_order_relaxed);
}

static uint64_t load(const _Atomic uint64_t *gauge) {
    return atomic_load_explicit(gauge, memory_order_relaxed);
}

/* Sizes */

static size_t round_up(size_t size, size_t step) {
    return (size + step - 1) & ~(step - 1);
}

static unsigned class_of(size_t size) {
    if (size <= FINE_MAX) {
        return (unsigned)((size + STEP - 1) / STEP);
    }
    unsigned doubling = 63 - (unsigned)__builtin_clzll(size - 1); /* 2^doubling < size */
    size_t part = (size_t)1 << (doubling - 4);
    return FINE_MAX / STEP + (doubling - 11) * PARTS +
           (unsigned)((size - ((size_t)1 << doubling) + part - 1) / part);
}

static size_t class_size(unsigned number) {
    if (number <= FINE_MAX / STEP) {
        return (size_t)number * STEP;
    }
    unsigned above = number - FINE_MAX / STEP - 1;
    size_t base = (size_t)FINE_MAX << above / PARTS;
    return base + base / PARTS * (above % PARTS + 1);
}

static size_t mapping_size(size_t size) {
    if (size > SIZE_MAX / 2) {
        return SIZE_MAX;
    }
    return round_up(size + PREFIX, (size_t)sysconf(_SC_PAGESIZE));
}

size_t firn_pool_charge(const firn_pool *pool, size_t size) {
    (void)pool; /* as yet all pools have the same classes */
    if (size <= SLAB_BLOCK_MAX) {
        return class_size(class_of(size));
    }
    return size <= RUN_BLOCK_MAX ? round_up(size, RUN_GRANULE) : mapping_size(size);
}

/* The pool itself */

static void pool_free(firn_pool *pool) {
    firn_heap *heap = pool->heap;
    if (pool->release != NULL) {
        pool->release(pool->companion);
    }
    for (unsigned i = 0; i < pool->spare_count; i++) {
        UNPOISON(pool->spares[i].memory, pool->spares[i].bytes);
        munmap(pool->spares[i].memory, pool->spares[i].bytes);
    }
    pthread_mutex_destroy(&pool->spares_lock);
    firn_extents_fini(&pool->slabs);
    firn_extents_fini(&pool->runs);
    for (unsigned i = 0; pool->classes != NULL && i < pool->class_count; i++) {
        for (unsigned n = 0; n < STRIPES_MAX; n++) {
            pthread_mutex_destroy(&pool->classes[i].stripes[n].lock);
        }
    }
    firn_heap_free_lines(heap, pool->classes, pool->class_count * sizeof(size_class));
    firn_heap_free_lines(heap, pool, pool->allocation);
    firn_heap_unref(heap);
}

static void pool_unref(firn_pool *pool) {
    if (atomic_fetch_sub_explicit(&pool->refs, 1, memory_order_acq_rel) == 1) {
        pool_free(pool);
    }
}

firn_pool *firn_pool_new(firn_heap *heap, uint64_t budget_bytes, uint64_t seed) {
    firn_pool *pool = firn_heap_alloc_lines(heap, sizeof *pool);
    if (pool == NULL) {
        return NULL;
    }
    pool->allocation = sizeof *pool;
    pool->heap = firn_heap_ref(heap);
    pool->seed = seed;
    pool->huge = budget_bytes >= HUGE_FROM && !firn_heap_is_users(heap);
    pool->stripe_count = budget_bytes >= STRIPED_FROM ? STRIPES_MAX : 1;
    pool->class_count = class_of(SLAB_BLOCK_MAX) + 1;
    atomic_init(&pool->refs, 1);
    int failed = firn_extents_init(&pool->slabs, heap, pool, EXTENT, SLAB,
                                   budget_bytes / SLAB_RESERVE, false, pool->huge);
    failed |= firn_extents_init(&pool->runs, heap, pool, EXTENT, RUN_GRANULE,
                                budget_bytes / RUN_RESERVE, true, pool->huge);
    failed |= firn_mutex_init(&pool->spares_lock);
    pool->spares_max = budget_bytes / SPARE_RESERVE;
    pool->classes = firn_heap_alloc_lines(heap, pool->class_count * sizeof(size_class));
    for (unsigned i = 0; pool->classes != NULL && i < pool->class_count; i++) {
        for (unsigned n = 0; n < STRIPES_MAX; n++) {
            failed |= firn_mutex_init(&pool->classes[i].stripes[n].lock);
        }
    }
    if (pool->classes == NULL || failed != 0) {
        pool_free(pool);
        return NULL;
    }
    return pool;
}

void firn_pool_close(firn_pool *pool) {
    if (pool != NULL) {
        pool_unref(pool);
    }
}

void firn_pool_set_companion(firn_pool *pool, void *companion, void (*release)(void *companion)) {
    pool->companion = companion;
    pool->release = release;
}

void *firn_pool_companion(const firn_pool *pool) {
    return pool->companion;
}

uint64_t firn_pool_seed(const firn_pool *pool) {
    return pool->seed;
}

/* Slabs */

static slab *slab_of(const void *block) {
    return (slab *)((uintptr_t)block & ~(uintptr_t)(SLAB - 1));
}

static void leave_group(slab *at, slab **list) {
    if (at->prev != NULL) {
        at->prev->next = at->next;
    } else {
        *list = at->next;
    }
    if (at->next != NULL) {
        at->next->prev = at->prev;
    }
    at->next = at->prev = NULL;
}

static void enter(slab *at, slab **list) {
    at->prev = NULL;
    at->next = *list;
    if (at->next != NULL) {
        at->next->prev = at;
    }
    *list = at;
}

static uint8_t group_of(const slab *at) {
    return (uint8_t)((uint64_t)at->used * GROUPS / at->slots); /* full: GROUPS */
}

/* After a change of `used`: the slab goes to the group it belongs to. The lock is held. */
static void regroup(stripe *home, slab *at) {
    uint8_t group = group_of(at);
    if (group == at->group || atomic_load_explicit(&at->draining, memory_order_relaxed)) {
        return;
    }
    if (at->group < GROUPS) {
        leave_group(at, &home->groups[at->group]);
    }
    at->group = group;
    if (group < GROUPS) {
        enter(at, &home->groups[group]);
    }
}

/* The lock is held. */
static slab *add_slab(firn_pool *pool, stripe *home, unsigned class_number) {
    firn_extent *extent;
    slab *made = firn_extents_take(&pool->slabs, 1, &extent);
    if (made == NULL) {
        return NULL;
    }
    if ((uintptr_t)made > BLOCK_END - SLAB) {
        firn_extents_give(&pool->slabs, extent, made, 1);
        return NULL;
    }
    size_t slot_bytes = class_size(class_number);
    size_t first = round_up(sizeof(slab), STEP);
    *made = (slab){
        .pool = pool,
        .extent = extent,
        .home = home,
        .class_number = class_number,
        .slots = (uint32_t)((SLAB - first) / slot_bytes),
        .slot_bytes = (uint32_t)slot_bytes,
        .first = (uint32_t)first,
        .group = 0,
    };
    POISON((unsigned char *)made + first, SLAB - first);
    add(&pool->refs, 1);
    home->slots += made->slots;
    home->touched_bytes += first;
    enter(made, &home->groups[0]);
    return made;
}

/* The slab's last block is gone. The lock is held. */
static void drop_slab(firn_pool *pool, stripe *home, slab *at) {
    bool drained = atomic_load_explicit(&at->draining, memory_order_relaxed);
    leave_group(at, drained ? &home->drained : &home->groups[at->group]);
    home->slots -= at->slots;
    home->touched_bytes -= at->first + (uint64_t)at->fresh * at->slot_bytes;
    UNPOISON(at, SLAB);
    firn_extents_give(&pool->slabs, at->extent, at, 1);
}

static stripe *stripe_to_use(firn_pool *pool, unsigned class_number) {
    unsigned number = pool->stripe_count == 1 ? 0 : (unsigned)sched_getcpu() % STRIPES_MAX;
    return &pool->classes[class_number].stripes[number];
}

static void *slab_alloc(firn_pool *pool, size_t size) {
    unsigned class_number = class_of(size);
    stripe *home = stripe_to_use(pool, class_number);
    unsigned char *block = NULL;
    pthread_mutex_lock(&home->lock);
    slab *from = NULL;
    for (unsigned group = GROUPS; group > 0 && from == NULL; group--) {
        from = home->groups[group - 1];
    }
    if (from == NULL) {
        from = add_slab(pool, home, class_number);
    }
    if (from != NULL) {
        if (from->free != NULL) {
            block = from->free;
            UNPOISON(block, from->slot_bytes);
            memcpy(&from->free, block, sizeof from->free);
        } else {
            block = (unsigned char *)from + from->first + (size_t)from->fresh++ * from->slot_bytes;
            home->touched_bytes += from->slot_bytes;
            UNPOISON(block, from->slot_bytes);
        }
        from->used++;
        home->used++;
        regroup(home, from);
    }
    pthread_mutex_unlock(&home->lock);
    return block;
}

static void slab_free(firn_pool *pool, unsigned char *block) {
    slab *from = slab_of(block);
    stripe *home = from->home;
    pthread_mutex_lock(&home->lock);
    memcpy(block, &from->free, sizeof from->free);
    from->free = block;
    POISON(block, from->slot_bytes);
    from->used--;
    home->used--;
    bool empty = from->used == 0;
    if (empty) {
        regroup(home, from);
        drop_slab(pool, home, from);
    } else {
        regroup(home, from);
    }
    pthread_mutex_unlock(&home->lock);
    if (empty) {
        pool_unref(pool);
    }
}

/* Runs and mappings */

static size_t run_granules(size_t size) {
    return round_up(size, RUN_GRANULE) / RUN_GRANULE;
}

static void *run_alloc(firn_pool *pool, size_t size) {
    firn_extent *extent;
    void *block = firn_extents_take(&pool->runs, run_granules(size), &extent);
    if (block != NULL && (uintptr_t)block > BLOCK_END - EXTENT) {
        firn_extents_give(&pool->runs, extent, block, run_granules(size));
        block = NULL;
    }
    if (block != NULL) {
        add(&pool->refs, 1);
        add(&pool->run_bytes, round_up(size, RUN_GRANULE));
        add(&pool->run_blocks, 1);
    }
    return block;
}

static void run_free(firn_pool *pool, void *block, size_t size) {
    add(&pool->run_bytes, -(uint64_t)round_up(size, RUN_GRANULE));
    add(&pool->run_blocks, -UINT64_C(1));
    firn_extent *extent = firn_extent_of(block, EXTENT);
    firn_extents_give(&pool->runs, extent, block, run_granules(size));
    pool_unref(pool);
}

/* The lock of the spares is held. */
static spare take_spare_locked(firn_pool *pool, unsigned number) {
    spare taken = pool->spares[number];
    pool->spare_count--;
    for (unsigned i = number; i < pool->spare_count; i++) {
        pool->spares[i] = pool->spares[i + 1];
    }
    add(&pool->spare_bytes, -(uint64_t)taken.bytes);
    UNPOISON(taken.memory, taken.bytes);
    return taken;
}

/* A mapping of that many bytes out of the spares: of the nearest size, which the system makes
 * larger or smaller without touching the pages that are there. NULL: none is near. */
static unsigned char *take_spare(firn_pool *pool, size_t bytes) {
    spare taken = {NULL, 0};
    pthread_mutex_lock(&pool->spares_lock);
    unsigned best = pool->spare_count;
    size_t best_distance = bytes / 2;
    for (unsigned i = 0; i < pool->spare_count; i++) {
        size_t has = pool->spares[i].bytes;
        size_t distance = has > bytes ? has - bytes : bytes - has;
        if (distance < best_distance) {
            best = i;
            best_distance = distance;
        }
    }
    if (best < pool->spare_count) {
        taken = take_spare_locked(pool, best);
    }
    pthread_mutex_unlock(&pool->spares_lock);
    if (taken.memory == NULL || taken.bytes == bytes) {
        return taken.memory;
    }
    unsigned char *memory = mremap(taken.memory, taken.bytes, bytes, MREMAP_MAYMOVE);
    if (memory == MAP_FAILED) {
        munmap(taken.memory, taken.bytes);
        return NULL;
    }
    return memory;
}

/* Keeps the mapping for the next, and lets the oldest go that are too much. */
static void give_spare(firn_pool *pool, unsigned char *memory, size_t bytes) {
    spare gone[SPARES_MAX];
    unsigned gone_count = 0;
    pthread_mutex_lock(&pool->spares_lock);
    while (pool->spare_count == SPARES_MAX ||
           (pool->spare_count > 0 && load(&pool->spare_bytes) + bytes > pool->spares_max)) {
        gone[gone_count++] = take_spare_locked(pool, 0);
    }
    pool->spares[pool->spare_count++] = (spare){memory, bytes};
    POISON(memory, bytes);
    add(&pool->spare_bytes, bytes);
    pthread_mutex_unlock(&pool->spares_lock);
    for (unsigned i = 0; i < gone_count; i++) {
        munmap(gone[i].memory, gone[i].bytes);
    }
}

static unsigned char *map(firn_pool *pool, size_t bytes) {
    if (firn_heap_is_users(pool->heap)) {
        return firn_heap_alloc(pool->heap, bytes);
    }
    unsigned char *memory = take_spare(pool, bytes);
    if (memory == NULL) {
        memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    }
    return memory == MAP_FAILED ? NULL : memory;
}

static void unmap(firn_pool *pool, unsigned char *memory, size_t bytes) {
    if (firn_heap_is_users(pool->heap)) {
        firn_heap_free(pool->heap, memory, bytes);
    } else if (bytes <= pool->spares_max) {
        give_spare(pool, memory, bytes);
    } else {
        munmap(memory, bytes);
    }
}

static void *mapping_alloc(firn_pool *pool, size_t size) {
    size_t whole = mapping_size(size);
    unsigned char *memory = whole != SIZE_MAX ? map(pool, whole) : NULL;
    if (memory == NULL) {
        return NULL;
    }
    memcpy(memory + PREFIX - sizeof pool, &pool, sizeof pool);
    add(&pool->refs, 1);
    add(&pool->mapping_bytes, whole);
    add(&pool->mapping_blocks, 1);
    return memory + PREFIX;
}

static void mapping_free(firn_pool *pool, unsigned char *block, size_t size) {
    size_t whole = mapping_size(size);
    add(&pool->mapping_bytes, -(uint64_t)whole);
    add(&pool->mapping_blocks, -UINT64_C(1));
    unmap(pool, block - PREFIX, whole);
    pool_unref(pool);
}

/* Blocks */

void *firn_pool_alloc(firn_pool *pool, size_t size) {
    if (size <= SLAB_BLOCK_MAX) {
        return slab_alloc(pool, size);
    }
    return size <= RUN_BLOCK_MAX ? run_alloc(pool, size) : mapping_alloc(pool, size);
}

firn_pool *firn_pool_of(const void *block, size_t size) {
    if (size <= SLAB_BLOCK_MAX) {
        return slab_of(block)->pool;
    }
    if (size <= RUN_BLOCK_MAX) {
        return firn_extent_of(block, EXTENT)->owner;
    }
    firn_pool *pool;
    memcpy(&pool, (const unsigned char *)block - sizeof pool, sizeof pool);
    return pool;
}

void firn_pool_free(void *block, size_t size) {
    firn_pool *pool = firn_pool_of(block, size);
    if (size <= SLAB_BLOCK_MAX) {
        slab_free(pool, block);
    } else if (size <= RUN_BLOCK_MAX) {
        run_free(pool, block, size);
    } else {
        mapping_free(pool, block, size);
    }
}

void firn_pool_get_stats(firn_pool *pool, firn_pool_stats *stats) {
    uint64_t slabs = 0;
    *stats = (firn_pool_stats){
        .charge_bytes = load(&pool->run_bytes) + load(&pool->mapping_bytes),
        .blocks = load(&pool->run_blocks) + load(&pool->mapping_blocks),
    };
    for (unsigned i = 1; i < pool->class_count; i++) {
        for (unsigned n = 0; n < pool->stripe_count; n++) {
            stripe *at = &pool->classes[i].stripes[n];
            pthread_mutex_lock(&at->lock);
            stats->charge_bytes += at->used * class_size(i);
            stats->blocks += at->used;
            slabs += at->touched_bytes;
            pthread_mutex_unlock(&at->lock);
        }
    }
    /* Large pages are there as a whole; of small ones, those that were touched. */
    stats->mapped_bytes = load(&pool->runs.mapped_bytes) - load(&pool->runs.gone_bytes) +
                          load(&pool->mapping_bytes) + load(&pool->spare_bytes);
    stats->mapped_bytes +=
        pool->huge ? load(&pool->slabs.mapped_bytes) - load(&pool->slabs.gone_bytes) : slabs;
}

/* Draining */

/* Marks the sparsest slabs of a stripe, as long as what is in them fits into the holes of the
 * others, and takes what that will free from *goal until it is reached. The lock is held. */
static bool plan_stripe_locked(stripe *home, int64_t *goal) {
    bool any = false;
    uint64_t holes = home->slots - home->used;
    uint64_t to_move = 0;
    for (unsigned group = 0; group < GROUPS; group++) {
        slab *next;
        for (slab *at = home->groups[group]; at != NULL && *goal > 0; at = next) {
            next = at->next;
            uint64_t left = holes - (at->slots - at->used);
            if (to_move + at->used > left) {
                return any;
            }
            holes = left;
            to_move += at->used;
            *goal -= (int64_t)(at->slots - at->used) * at->slot_bytes;
            leave_group(at, &home->groups[group]);
            at->group = GROUPS;
            enter(at, &home->drained);
            atomic_store_explicit(&at->draining, true, memory_order_relaxed);
            any = true;
        }
    }
    return any;
}

static void end_stripe_locked(stripe *home) {
    while (home->drained != NULL) {
        slab *at = home->drained;
        leave_group(at, &home->drained);
        atomic_store_explicit(&at->draining, false, memory_order_relaxed);
        at->group = group_of(at);
        if (at->group < GROUPS) {
            enter(at, &home->groups[at->group]);
        }
    }
}

bool firn_pool_plan_drain(firn_pool *pool, uint64_t slack_max) {
    firn_pool_stats stats;
    firn_pool_get_stats(pool, &stats);
    if (stats.mapped_bytes <= stats.charge_bytes + slack_max) {
        return false;
    }
    /* To half of what is allowed, so that the next round is not due at once. */
    int64_t goal = (int64_t)(stats.mapped_bytes - stats.charge_bytes - slack_max / 2);
    bool any = firn_extents_plan_drain(&pool->runs, &goal);
    for (unsigned i = 1; i < pool->class_count; i++) {
        for (unsigned n = 0; n < pool->stripe_count; n++) {
            stripe *at = &pool->classes[i].stripes[n];
            pthread_mutex_lock(&at->lock);
            any |= plan_stripe_locked(at, &goal);
            pthread_mutex_unlock(&at->lock);
        }
    }
    atomic_store_explicit(&pool->draining, any, memory_order_relaxed);
    return any;
}

bool firn_pool_draining(const firn_pool *pool) {
    return atomic_load_explicit(&pool->draining, memory_order_relaxed);
}

bool firn_pool_should_move(const void *block, size_t size) {
    if (size <= SLAB_BLOCK_MAX) {
        return atomic_load_explicit(&slab_of(block)->draining, memory_order_relaxed);
    }
    return size <= RUN_BLOCK_MAX &&
           atomic_load_explicit(&firn_extent_of(block, EXTENT)->draining, memory_order_relaxed);
}

void firn_pool_end_drain(firn_pool *pool) {
    atomic_store_explicit(&pool->draining, false, memory_order_relaxed);
    for (unsigned i = 1; i < pool->class_count; i++) {
        for (unsigned n = 0; n < pool->stripe_count; n++) {
            stripe *at = &pool->classes[i].stripes[n];
            pthread_mutex_lock(&at->lock);
            end_stripe_locked(at);
            pthread_mutex_unlock(&at->lock);
        }
    }
    firn_extents_end_drain(&pool->runs);
}
