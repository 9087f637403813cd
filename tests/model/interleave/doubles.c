/* See doubles.h. */
#include "model/interleave/doubles.h"

#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/pool.h"
#include "cold/cold.h"
#include "cold/type_names.h"
#include "cold/warm_list.h"
#include "model/interleave/explorer.h"
#include "observe/decisions.h"
#include "observe/histogram.h"
#include "observe/page.h"

#if defined(__SANITIZE_ADDRESS__)
#define DOUBLES_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define DOUBLES_ASAN 1
#endif
#endif
#ifdef DOUBLES_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(block, size)   __asan_poison_memory_region(block, size)
#define UNPOISON(block, size) __asan_unpoison_memory_region(block, size)
#else
#define POISON(block, size)   ((void)(block), (void)(size))
#define UNPOISON(block, size) ((void)(block), (void)(size))
#endif

enum {
    HEAP_BYTES = 4 << 20,
    POOL_BYTES = 64 << 10,
    GRAIN = 16,
    GRAINS = POOL_BYTES / GRAIN,
    SEED = 12345,
};

static size_t rounded(size_t size) {
    return (size + GRAIN - 1) & ~(size_t)(GRAIN - 1);
}

/* ---- heap: an arena ---- */

static _Alignas(64) unsigned char heap_memory[HEAP_BYTES];
static size_t heap_used;
static size_t heap_live;

/* Sixteen bytes before each block hold its size; under the address sanitizer as many behind it are
 * out of bounds. */
static void *heap_alloc(void *context, size_t size) {
    (void)context;
    size_t taken = rounded(size) + 2 * (size_t)GRAIN;
    if (heap_used + taken > HEAP_BYTES) {
        return NULL;
    }
    unsigned char *block = heap_memory + heap_used + GRAIN;
    UNPOISON(block - GRAIN, size + GRAIN);
    memcpy(block - GRAIN, &size, sizeof size);
    heap_used += taken;
    heap_live += size;
    return block;
}

static void heap_free(void *context, void *memory, size_t size) {
    (void)context;
    size_t taken;
    memcpy(&taken, (unsigned char *)memory - GRAIN, sizeof taken);
    if (taken != size) {
        model_fail("%zu bytes of the heap were freed as %zu", taken, size);
    }
    taken = SIZE_MAX; /* a second time is wrong */
    memcpy((unsigned char *)memory - GRAIN, &taken, sizeof taken);
    heap_live -= size;
    POISON(memory, size);
}

firn_allocator doubles_allocator(void) {
    return (firn_allocator){heap_alloc, heap_free, NULL};
}

size_t doubles_heap_bytes(void) {
    return heap_live;
}

/* ---- pool ---- */

struct firn_pool {
    uint64_t seed;
    void *companion;
    void (*release)(void *companion);
    bool closed;
    bool reuse;
    size_t used; /* bytes ever given */
    size_t live;
    uint64_t charges;
};

enum { FREED = UINT16_MAX };

static _Alignas(64) unsigned char pool_memory[POOL_BYTES];
/* Of each grain: 0: never given; FREED; or 1 + the place of its block's first grain. */
static uint16_t pool_grains[GRAINS];
static uint32_t pool_sizes[GRAINS]; /* of blocks, at their first grain: asked for last */
static firn_pool pool;

static const char *check_cell(const volatile void *cell) {
    uintptr_t at = (uintptr_t)cell - (uintptr_t)pool_memory;
    if (at >= POOL_BYTES) {
        return NULL;
    }
    uint16_t grain = pool_grains[at / GRAIN];
    return grain == 0 ? "memory that is no object's" : grain == FREED ? "use after free" : NULL;
}

firn_pool *firn_pool_new(firn_heap *heap, uint64_t budget_bytes, uint64_t seed) {
    (void)heap;
    (void)budget_bytes;
    pool = (firn_pool){.seed = seed, .reuse = pool.reuse};
    return &pool;
}

static void release_if_over(void) {
    if (pool.closed && pool.live == 0 && pool.release != NULL) {
        void (*release)(void *companion) = pool.release;
        pool.release = NULL;
        release(pool.companion);
    }
}

void firn_pool_close(firn_pool *self) {
    if (self != NULL) {
        self->closed = true;
        release_if_over();
    }
}

void firn_pool_set_companion(firn_pool *self, void *companion, void (*release)(void *companion)) {
    self->companion = companion;
    self->release = release;
}

void *firn_pool_companion(const firn_pool *self) {
    return self->companion;
}

/* A freed block of that size, the one that lies last; or a new one. */
static size_t find_place(size_t size) {
    for (size_t at = pool.used / GRAIN; pool.reuse && at-- > 0;) {
        if (pool_grains[at] == FREED && pool_sizes[at] == size) {
            return at;
        }
    }
    size_t at = pool.used / GRAIN;
    pool.used += size;
    return at;
}

void *firn_pool_alloc(firn_pool *self, size_t asked) {
    size_t size = rounded(asked);
    if (self->used + size > POOL_BYTES) {
        return NULL;
    }
    size_t first = find_place(size);
    for (size_t i = first; i < first + size / GRAIN; i++) {
        pool_grains[i] = (uint16_t)(first + 1);
    }
    pool_sizes[first] = (uint32_t)size;
    self->live++;
    self->charges += size;
    UNPOISON(pool_memory + first * GRAIN, asked);
    return pool_memory + first * GRAIN;
}

void firn_pool_free(void *block, size_t asked) {
    size_t first = (size_t)((unsigned char *)block - pool_memory) / GRAIN;
    size_t size = rounded(asked);
    if (pool_grains[first] == FREED) {
        model_fail("an object was freed twice");
    }
    if (pool_grains[first] != first + 1 || pool_sizes[first] != size) {
        model_fail("an object of %u bytes was freed as one of %zu", pool_sizes[first], size);
    }
    memset(block, 0xdd, asked);
    for (size_t i = first; i < first + size / GRAIN; i++) {
        pool_grains[i] = FREED;
    }
    POISON(block, size);
    pool.live--;
    pool.charges -= size;
    release_if_over();
}

size_t doubles_pool_blocks(void) {
    return pool.live;
}

size_t firn_pool_charge(const firn_pool *self, size_t size) {
    (void)self;
    return size > SIZE_MAX - GRAIN ? SIZE_MAX : rounded(size);
}

firn_pool *firn_pool_of(const void *block, size_t size) {
    (void)block;
    (void)size;
    return &pool;
}

uint64_t firn_pool_seed(const firn_pool *self) {
    return self->seed;
}

void firn_pool_get_stats(firn_pool *self, firn_pool_stats *stats) {
    *stats = (firn_pool_stats){self->charges, self->charges, self->live};
}

bool firn_pool_plan_drain(firn_pool *self, uint64_t slack_max) {
    (void)self;
    (void)slack_max;
    return false;
}

bool firn_pool_draining(const firn_pool *self) {
    (void)self;
    return false;
}

bool firn_pool_should_move(const void *block, size_t size) {
    (void)block;
    (void)size;
    return false;
}

void firn_pool_end_drain(firn_pool *self) {
    (void)self;
}

/* ---- cold tier ---- */

enum { RECORDS = 8, LINES_MAX = 64, KEY_MAX = 32, VALUE_MAX = 8192 };

typedef struct stored {
    bool used;
    uint64_t hash;
    uint64_t version;
    uint64_t expires_ms;
    firn_attributes attributes;
    size_t key_size;
    size_t value_size;
    unsigned char key[KEY_MAX];
    unsigned char value[VALUE_MAX];
} stored;

typedef struct line {
    uint64_t hash;
    uint64_t version;
} line;

struct firn_cold {
    firn_cold_config config;
    stored records[RECORDS]; /* the cell of look-ups and commits */
    line lines[LINES_MAX];   /* the cell of the journal */
    size_t lines_used;
    size_t lines_max;
    bool writing;
    bool reclaims;
    uint64_t reclaimed; /* the hash of what is to be */
    uint64_t reclaimed_count;
    bool fails;
    uint64_t commits;
    uint64_t cleared; /* records of versions below it are void */
};

static firn_cold cold;

/* The next step is the cold tier's. */
#define STEP(cell, kind, text)                                                                     \
    do {                                                                                           \
        static model_site model_here = {text, "cold tier", "-", 0, MODEL_LOUD};                    \
        model_reach(cell, kind, &model_here);                                                      \
    } while (0)

static stored *find_stored(uint64_t hash) {
    for (unsigned i = 0; i < RECORDS; i++) {
        if (cold.records[i].used && cold.records[i].hash == hash) {
            return &cold.records[i];
        }
    }
    return NULL;
}

void doubles_set_journal(size_t lines) {
    cold.lines_max = lines;
}

void doubles_reclaim_next(uint64_t hash) {
    cold.reclaims = true;
    cold.reclaimed = hash;
}

void doubles_fail_writes(bool fail) {
    cold.fails = fail;
}

static void apply_journal(size_t lines) {
    for (size_t i = 0; i < lines; i++) {
        stored *at = find_stored(cold.lines[i].hash);
        if (at != NULL && at->version < cold.lines[i].version) {
            at->used = false;
        }
    }
    cold.lines_used -= lines;
    memmove(cold.lines, cold.lines + lines, cold.lines_used * sizeof cold.lines[0]);
}

const void *doubles_stored(uint64_t hash, size_t *size) {
    apply_journal(cold.lines_used);
    const stored *at = find_stored(hash);
    bool there = at != NULL && at->version >= cold.cleared;
    *size = there ? at->value_size : 0;
    return there ? at->value : NULL;
}

int firn_cold_open(firn_cold **out, const firn_cold_config *config) {
    cold.config = *config;
    *out = &cold;
    return FIRN_OK;
}

int firn_cold_close(firn_cold *self, bool clean) {
    (void)self;
    (void)clean;
    return FIRN_OK;
}

uint64_t firn_cold_seed(const firn_cold *self) {
    (void)self;
    return SEED;
}

uint64_t firn_cold_version_next(const firn_cold *self) {
    (void)self;
    return 1;
}

uint64_t firn_cold_store_id(const firn_cold *self) {
    (void)self;
    return 1;
}

const char *firn_cold_path(const firn_cold *self) {
    (void)self;
    return "double";
}

uint64_t firn_cold_value_max(const firn_cold *self, size_t key_size) {
    (void)self;
    (void)key_size;
    return VALUE_MAX;
}

void firn_cold_batch_limits(const firn_cold *self, size_t *items, size_t *bytes) {
    (void)self;
    *items = RECORDS;
    *bytes = 4096;
}

static void put_item(const firn_cold_item *item) {
    stored *at = find_stored(item->hash);
    if (at != NULL && at->version > item->version) {
        return;
    }
    for (unsigned i = 0; at == NULL && i < RECORDS; i++) {
        at = cold.records[i].used ? NULL : &cold.records[i];
    }
    if (at == NULL || item->key_size > KEY_MAX || item->value_size > VALUE_MAX) {
        model_fail("the scenario is too large for the cold tier's double");
    }
    *at = (stored){.used = true,
                   .hash = item->hash,
                   .version = item->version,
                   .expires_ms = item->expires_ms,
                   .attributes = item->attributes,
                   .key_size = item->key_size,
                   .value_size = item->value_size};
    memcpy(at->key, item->key, item->key_size);
    memcpy(at->value, item->value, item->value_size);
}

static void apply_item(firn_cold_item *item) {
    stored *at = find_stored(item->hash);
    item->result = FIRN_OK;
    if (!item->remove) {
        put_item(item);
    } else if (at != NULL && at->version < item->version) {
        at->used = false;
    }
}

int firn_cold_write(firn_cold *self, firn_cold_item *items, size_t count, uint64_t version_next) {
    (void)version_next;
    if (self->writing) {
        model_fail("two writers in the cold tier");
    }
    self->writing = true;
    STEP(self->lines, MODEL_READ, "begin a write");
    size_t lines = self->lines_used;
    STEP(self->records, MODEL_WRITE, "commit");
    if (self->fails) {
        self->writing = false;
        return firn_detail_set(self->config.detail, FIRN_EIO, "writes fail");
    }
    apply_journal(lines);
    for (size_t i = 0; i < count; i++) {
        apply_item(&items[i]);
    }
    self->commits++;
    stored *lost = self->reclaims ? find_stored(self->reclaimed) : NULL;
    uint64_t version = lost != NULL ? lost->version : 0;
    self->reclaims = false;
    if (lost != NULL) {
        lost->used = false;
        self->reclaimed_count++;
        self->config.reclaimed(self->config.reclaimed_context, self->reclaimed, version);
    }
    self->writing = false;
    return FIRN_OK;
}

int firn_cold_tidy(firn_cold *self) {
    (void)self;
    return FIRN_OK;
}

bool firn_cold_may_hold(const firn_cold *self, uint64_t hash) {
    STEP(self->records, MODEL_READ, "ask the filter");
    return find_stored(hash) != NULL;
}

bool firn_cold_has_old_lines(const firn_cold *self) {
    (void)self;
    return false;
}

static int read_stored(firn_cold *self, uint64_t hash, const void *key, size_t key_size,
                       firn_cold_place place, void *place_context, firn_cold_meta *meta) {
    STEP(self->records, MODEL_READ, "look up");
    const stored *at = find_stored(hash);
    if (at != NULL && at->expires_ms != 0 &&
        at->expires_ms <= firn_clock_now_ms(&self->config.clock)) {
        return FIRN_NOT_FOUND;
    }
    if (at != NULL && at->version < self->cleared) {
        return FIRN_NOT_FOUND;
    }
    if (at == NULL ||
        (key != NULL && (at->key_size != key_size || memcmp(at->key, key, key_size) != 0))) {
        return FIRN_NOT_FOUND;
    }
    firn_cold_meta found = {
        .part = FIRN_PART_WHOLE,
        .hash = hash,
        .version = at->version,
        .expires_ms = at->expires_ms,
        .attributes = at->attributes,
        .key = at->key,
        .key_size = at->key_size,
        .value_size = at->value_size,
        .stored_size = at->value_size,
    };
    if (place != NULL) {
        stored copy = *at; /* whoever is asked for the place may stop */
        found.key = copy.key;
        void *to = place(place_context, &found);
        if (to == NULL) {
            return FIRN_ENOMEM;
        }
        memcpy(to, copy.value, copy.value_size);
    }
    if (meta != NULL) {
        *meta = found;
        meta->key = NULL;
    }
    return FIRN_OK;
}

int firn_cold_read(firn_cold *self, uint64_t hash, const void *key, size_t key_size,
                   firn_cold_place place, void *place_context, firn_cold_meta *meta) {
    return firn_cold_may_hold(self, hash)
               ? read_stored(self, hash, key, key_size, place, place_context, meta)
               : FIRN_NOT_FOUND;
}

void firn_cold_read_many(firn_cold *self, firn_cold_read_item *items, size_t count,
                         firn_cold_place place) {
    for (size_t i = 0; i < count; i++) {
        items[i].result = read_stored(self, items[i].hash, items[i].key, items[i].key_size, place,
                                      items[i].place_context, NULL);
    }
}

int firn_cold_visit(firn_cold *self, uint64_t hash, firn_cold_place place, void *place_context) {
    return read_stored(self, hash, NULL, 0, place, place_context, NULL);
}

int firn_cold_locate(firn_cold *self, uint64_t hash) {
    return firn_cold_may_hold(self, hash) ? FIRN_OK : FIRN_NOT_FOUND;
}

int firn_cold_clear(firn_cold *self, const firn_clear_line *line) {
    STEP(self->records, MODEL_WRITE, "clear everything");
    self->cleared = line->version;
    return firn_clears_add(self->config.clears, line);
}

int firn_cold_invalidate(firn_cold *self, uint64_t hash, uint64_t version) {
    STEP(self->lines, MODEL_WRITE, "write a line of the journal");
    if (self->lines_used == self->lines_max) {
        return FIRN_EBUSY;
    }
    self->lines[self->lines_used++] = (line){hash, version};
    return FIRN_OK;
}

size_t firn_cold_journal_room(const firn_cold *self) {
    return self->lines_max - self->lines_used;
}

size_t firn_cold_journal_capacity(const firn_cold *self) {
    return self->lines_max;
}

int firn_cold_sync_journal(firn_cold *self) {
    (void)self;
    return FIRN_OK;
}

int firn_cold_sync(firn_cold *self, bool writer) {
    (void)writer;
    (void)self;
    return FIRN_OK;
}

void firn_cold_get_stats(firn_cold *self, firn_cold_stats *stats) {
    *stats = (firn_cold_stats){.commits = self->commits, .reclaimed = self->reclaimed_count};
}

bool firn_cold_maintain(firn_cold *self) {
    (void)self;
    return false;
}

/* Streams and cursors are in no scenario. */

int firn_cold_read_piece(firn_cold *self, uint64_t hash, const void *key, size_t key_size,
                         firn_cold_place place, void *place_context) {
    (void)self;
    (void)hash;
    (void)key;
    (void)key_size;
    (void)place;
    (void)place_context;
    return FIRN_NOT_FOUND;
}

int firn_cold_walk(firn_cold *self, uint64_t from, uint64_t *hashes, size_t most, size_t *count) {
    (void)self;
    (void)from;
    (void)hashes;
    (void)most;
    *count = 0;
    return FIRN_OK;
}

/* ---- the store's other files: there are none ---- */

bool firn_type_name_valid(const char *name) {
    return name[0] != '\0';
}

uint32_t firn_type_id(const char *name) {
    return (unsigned char)name[0];
}

int firn_type_names_read(firn_type_names *names, const char *path, firn_heap *heap) {
    (void)names;
    (void)path;
    (void)heap;
    return FIRN_OK;
}

const firn_type_name *firn_type_names_find(const firn_type_names *names, uint32_t id) {
    (void)names;
    (void)id;
    return NULL;
}

int firn_type_names_add(firn_type_names *names, const char *path, const char *name,
                        uint32_t version, firn_heap *heap, firn_detail *detail) {
    (void)names;
    (void)path;
    (void)name;
    (void)version;
    (void)heap;
    (void)detail;
    return FIRN_OK;
}

void firn_type_names_free(firn_type_names *names, firn_heap *heap) {
    (void)names;
    (void)heap;
}

int firn_warm_writer_open(firn_warm_writer **writer, const char *directory, uint64_t store_id,
                          firn_heap *heap, firn_detail *detail) {
    (void)directory;
    (void)store_id;
    (void)heap;
    *writer = NULL;
    return firn_detail_set(detail, FIRN_EIO, "there is no warm list");
}

void firn_warm_writer_add(firn_warm_writer *writer, uint64_t hash) {
    (void)writer;
    (void)hash;
}

int firn_warm_writer_finish(firn_warm_writer *writer) {
    (void)writer;
    return FIRN_OK;
}

int firn_warm_list_open(firn_warm_list **list, const char *directory, uint64_t store_id,
                        firn_heap *heap) {
    (void)directory;
    (void)store_id;
    (void)heap;
    *list = NULL;
    return FIRN_NOT_FOUND;
}

uint64_t firn_warm_list_count(const firn_warm_list *list) {
    (void)list;
    return 0;
}

int firn_warm_list_check(firn_warm_list *list) {
    (void)list;
    return FIRN_NOT_FOUND;
}

uint64_t firn_warm_list_at(firn_warm_list *list, uint64_t index) {
    (void)list;
    (void)index;
    return 0;
}

void firn_warm_list_close(firn_warm_list *list) {
    (void)list;
}

/* ---- chance ---- */

const char *firn_cold_codec_name(unsigned codec) {
    (void)codec;
    return "none";
}

bool firn_cold_was_hit(const firn_cold *self, uint64_t hash) {
    (void)self;
    (void)hash;
    return false;
}

/* ---- what is observed: nothing is ---- */

static firn_decisions no_decisions;

firn_decisions *firn_decisions_new(firn_heap *heap) {
    (void)heap;
    return &no_decisions;
}

void firn_decisions_free(firn_decisions *self, firn_heap *heap) {
    (void)self;
    (void)heap;
}

static firn_histograms no_histograms;

firn_histograms *firn_histograms_new(firn_heap *heap) {
    (void)heap;
    return &no_histograms;
}

void firn_histograms_free(firn_histograms *self, firn_heap *heap) {
    (void)self;
    (void)heap;
}

void firn_histograms_add(firn_histograms *self, unsigned kind, uint64_t ns) {
    (void)self;
    (void)kind;
    (void)ns;
}

void firn_histograms_sum(const firn_histograms *self, unsigned kind, firn_latency *latency) {
    (void)self;
    (void)kind;
    (void)latency;
}

int firn_page_writer_open(firn_page_writer **writer, const char *directory, uint64_t store_id,
                          uint64_t seed, firn_decisions *decisions, firn_heap *heap) {
    (void)directory;
    (void)store_id;
    (void)seed;
    (void)decisions;
    (void)heap;
    *writer = NULL;
    return FIRN_OK;
}

void firn_page_writer_close(firn_page_writer *writer) {
    (void)writer;
}

int firn_page_writer_write(firn_page_writer *writer, const firn_stats *stats,
                           const firn_latencies *latencies, const firn_decisions *decisions,
                           const firn_page_times *times, bool *changed) {
    (void)writer;
    (void)stats;
    (void)latencies;
    (void)decisions;
    (void)times;
    *changed = false;
    return FIRN_OK;
}

size_t firn_decisions_of(const firn_decisions *self, uint64_t hash,
                         firn_decision decisions[FIRN_DECISION_WAYS]) {
    (void)self;
    (void)hash;
    (void)decisions;
    return 0;
}

void firn_decisions_note(firn_decisions *self, const firn_decision *decision) {
    (void)self;
    (void)decision;
}

ssize_t getrandom(void *bytes, size_t size, unsigned flags) {
    (void)flags;
    memset(bytes, 1, size);
    return (ssize_t)size;
}

void doubles_reset(bool reuse) {
    UNPOISON(pool_memory, POOL_BYTES);
    POISON(pool_memory, POOL_BYTES);
    memset(pool_grains, 0, sizeof pool_grains[0] * (pool.used / GRAIN));
    memset(pool_sizes, 0, sizeof pool_sizes[0] * (pool.used / GRAIN));
    POISON(heap_memory, heap_used < HEAP_BYTES ? heap_used : HEAP_BYTES);
    pool = (firn_pool){.reuse = reuse};
    cold = (firn_cold){.lines_max = LINES_MAX};
    heap_used = 0;
    heap_live = 0;
    model_check_cell = check_cell;
}
