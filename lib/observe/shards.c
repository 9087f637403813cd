/* See shards.h.
 *
 * The sampled keys stand in a log in the order of their last use: a use kills the key's old entry
 * and appends a new one, and when the log is full what is alive is moved to its front. Charges of
 * blocks of the log are in a Fenwick tree (Fenwick 1994), so what was used after an entry is added
 * up in a few steps. A table leads from the hash to the entry. All of it has a size that is fixed
 * at the begin.
 *
 * Where the paper takes single keys of the highest hash away, here the threshold falls by a
 * sixteenth at once, which spares a heap, and comes to the same. */
#include "observe/shards.h"

#include <stdbool.h>
#include <string.h>

#include "base/clock.h"

enum {
    BLOCK = 16,   /* entries whose charges are one number of the tree */
    SUB_BITS = 5, /* buckets of a power of two: 2^5, so that each is 3 percent wide */
    BUCKETS = (64 - SUB_BITS + 1) << SUB_BITS,
    TABLE_MIN = 128,
    FADE_AT = 1 << 22, /* sampled gets: then each counts half */
};

#define NOWHERE UINT32_MAX

typedef struct entry {
    uint64_t hash;
    uint32_t charge;    /* 0: dead */
    uint32_t expires_s; /* 0: never */
} entry;

struct firn_shards {
    firn_heap *heap; /* one reference */
    const firn_clock *clock;
    uint64_t below;
    uint32_t capacity; /* entries alive at the most */
    uint32_t slots;    /* of the log: half as many more */
    uint32_t used;
    uint32_t alive;
    uint32_t table_mask;
    uint64_t charges; /* of all that are alive */
    entry *log;
    uint32_t *table; /* slots of the log, plus 1; 0: empty. Leads to dead ones too */
    uint64_t *tree;  /* of blocks, from 1 */
    /* At the rate of now: when it falls, all of them are scaled. */
    double gets;
    double sampled;
    double reused;           /* of the sampled: those in buckets */
    double buckets[BUCKETS]; /* by the size at which they would have hit */
};

static uint32_t slots_for(uint32_t capacity) {
    return capacity + capacity / 2;
}

static uint32_t blocks_for(uint32_t slots) {
    return (slots + BLOCK - 1) / BLOCK;
}

static size_t log_bytes(uint32_t slots) {
    return (size_t)slots * sizeof(entry);
}

static size_t table_bytes(uint32_t mask) {
    return ((size_t)mask + 1) * sizeof(uint32_t);
}

static size_t tree_bytes(uint32_t slots) {
    return ((size_t)blocks_for(slots) + 1) * sizeof(uint64_t);
}

/* How many entries a table of that many cells and the bytes allow: one in four cells stays empty.
 */
static uint32_t capacity_for(size_t bytes, uint32_t cells) {
    size_t fixed = sizeof(firn_shards) + (size_t)cells * sizeof(uint32_t) + 4 * sizeof(uint64_t);
    size_t each_two = 3 * sizeof(entry) + 3 * sizeof(uint64_t) / BLOCK + 1;
    size_t fits = bytes > fixed ? (bytes - fixed) / each_two * 2 : 0;
    return fits < cells / 2 ? (uint32_t)fits : cells / 2;
}

firn_shards *firn_shards_new(firn_heap *heap, size_t bytes, uint64_t below,
                             const firn_clock *clock) {
    uint32_t cells = TABLE_MIN;
    while (cells < UINT32_C(1) << 30 &&
           capacity_for(bytes, 2 * cells) > capacity_for(bytes, cells)) {
        cells *= 2;
    }
    firn_shards *self = firn_heap_zalloc(heap, sizeof *self);
    if (self == NULL) {
        return NULL;
    }
    self->heap = firn_heap_ref(heap);
    self->clock = clock;
    self->below = below;
    self->capacity = capacity_for(bytes, cells);
    self->slots = slots_for(self->capacity);
    self->table_mask = cells - 1;
    self->log = firn_heap_zalloc(heap, log_bytes(self->slots));
    self->table = firn_heap_zalloc(heap, table_bytes(self->table_mask));
    self->tree = firn_heap_zalloc(heap, tree_bytes(self->slots));
    if (self->log == NULL || self->table == NULL || self->tree == NULL) {
        firn_shards_free(self);
        return NULL;
    }
    return self;
}

void firn_shards_free(firn_shards *self) {
    if (self != NULL) {
        firn_heap *heap = self->heap;
        firn_heap_free(heap, self->log, log_bytes(self->slots));
        firn_heap_free(heap, self->table, table_bytes(self->table_mask));
        firn_heap_free(heap, self->tree, tree_bytes(self->slots));
        firn_heap_free(heap, self, sizeof *self);
        firn_heap_unref(heap);
    }
}

uint64_t firn_shards_below(const firn_shards *self) {
    return self->below;
}

static double rate_of(uint64_t below) {
    return (double)below / 18446744073709551616.0;
}

/* --- the tree --- */

static void tree_add(firn_shards *self, uint32_t slot, uint64_t amount) {
    for (uint32_t at = slot / BLOCK + 1; at <= blocks_for(self->slots); at += at & -at) {
        self->tree[at] += amount;
    }
}

/* The charges of what stands behind the slot. */
static uint64_t charges_behind(const firn_shards *self, uint32_t slot) {
    uint64_t before = 0;
    for (uint32_t at = slot / BLOCK; at > 0; at -= at & -at) {
        before += self->tree[at];
    }
    for (uint32_t at = slot / BLOCK * BLOCK; at <= slot; at++) {
        before += self->log[at].charge;
    }
    return self->charges - before;
}

/* --- the log and its table --- */

/* The cell that leads to the hash, or the empty one where it would. */
static uint32_t *cell_of(const firn_shards *self, uint64_t hash) {
    uint32_t at = (uint32_t)(hash * UINT64_C(0x9e3779b97f4a7c15) >> 32) & self->table_mask;
    while (self->table[at] != 0 && self->log[self->table[at] - 1].hash != hash) {
        at = (at + 1) & self->table_mask;
    }
    return &self->table[at];
}

/* NOWHERE: the key is not followed. */
static uint32_t find(const firn_shards *self, uint64_t hash) {
    uint32_t at = *cell_of(self, hash);
    return at != 0 && self->log[at - 1].charge != 0 ? at - 1 : NOWHERE;
}

static void kill(firn_shards *self, uint32_t slot) {
    entry *dead = &self->log[slot];
    tree_add(self, slot, 0 - (uint64_t)dead->charge);
    self->charges -= dead->charge;
    dead->charge = 0;
    self->alive--;
}

/* Moves what is alive and below the threshold to the front. */
static void compact(firn_shards *self) {
    uint32_t kept = 0;
    memset(self->table, 0, table_bytes(self->table_mask));
    memset(self->tree, 0, tree_bytes(self->slots));
    self->charges = 0;
    for (uint32_t i = 0; i < self->used; i++) {
        if (self->log[i].charge != 0 && self->log[i].hash < self->below) {
            entry moved = self->log[i];
            *cell_of(self, moved.hash) = kept + 1;
            self->log[kept] = moved;
            tree_add(self, kept, moved.charge);
            self->charges += moved.charge;
            kept++;
        }
    }
    self->used = self->alive = kept;
}

static void scale(firn_shards *self, double by) {
    self->gets *= by;
    self->sampled *= by;
    self->reused *= by;
    for (unsigned i = 0; i < BUCKETS; i++) {
        self->buckets[i] *= by;
    }
}

static void lower(firn_shards *self, uint64_t below) {
    scale(self, (double)below / (double)self->below);
    self->below = below;
    compact(self);
}

/* The key, which is not followed, was used now. */
static void append(firn_shards *self, uint64_t hash, uint64_t charge, uint32_t expires_s) {
    while (self->alive >= self->capacity && self->below > BLOCK) {
        lower(self, self->below - self->below / 16);
    }
    if (hash >= self->below || self->alive >= self->capacity) {
        return;
    }
    if (self->used == self->slots) {
        compact(self);
    }
    uint32_t slot = self->used++;
    uint32_t *cell = cell_of(self, hash);
    self->log[slot] = (entry){
        .hash = hash,
        .charge = charge == 0           ? 1
                  : charge < UINT32_MAX ? (uint32_t)charge
                                        : UINT32_MAX,
        .expires_s = expires_s,
    };
    *cell = slot + 1;
    tree_add(self, slot, self->log[slot].charge);
    self->charges += self->log[slot].charge;
    self->alive++;
}

/* --- the buckets --- */

static unsigned bucket_of(uint64_t size) {
    if (size < UINT64_C(1) << SUB_BITS) {
        return (unsigned)size;
    }
    unsigned shift = 63u - SUB_BITS - (unsigned)__builtin_clzll(size);
    return ((shift + 1) << SUB_BITS) + (unsigned)(size >> shift) - (1u << SUB_BITS);
}

/* The largest size in the bucket. */
static uint64_t bucket_end(unsigned bucket) {
    unsigned octave = bucket >> SUB_BITS;
    uint64_t within = bucket & ((1u << SUB_BITS) - 1);
    if (octave == 0) {
        return within;
    }
    return ((within + (UINT64_C(1) << SUB_BITS) + 1) << (octave - 1)) - 1;
}

/* The size at which a cache would have had the entry still: what was used since, and itself. */
static void count_reuse(firn_shards *self, uint32_t slot) {
    double size =
        (double)charges_behind(self, slot) / rate_of(self->below) + (double)self->log[slot].charge;
    self->buckets[bucket_of(size < 9e18 ? (uint64_t)size : UINT64_MAX >> 1)] += 1;
    self->reused += 1;
}

static uint32_t seconds_of(uint64_t ms) {
    return ms / 1000 < UINT32_MAX ? (uint32_t)(ms / 1000 + (ms % 1000 != 0)) : 0;
}

void firn_shards_get(firn_shards *self, uint64_t hash, uint64_t charge, uint64_t expires_ms) {
    if (hash >= self->below) {
        return;
    }
    self->sampled += 1;
    uint32_t slot = find(self, hash);
    uint32_t expires_s = seconds_of(expires_ms);
    if (slot != NOWHERE) {
        uint32_t until_s = self->log[slot].expires_s;
        bool expired =
            until_s != 0 && charge == 0 && firn_clock_now_ms(self->clock) / 1000 >= until_s;
        if (!expired) {
            count_reuse(self, slot);
            if (charge == 0) {
                charge = self->log[slot].charge;
                expires_s = until_s;
            }
        }
        kill(self, slot);
    }
    if (charge != 0) {
        append(self, hash, charge, expires_s);
    }
}

void firn_shards_put(firn_shards *self, uint64_t hash, uint64_t charge, uint64_t expires_ms) {
    if (hash < self->below) {
        firn_shards_forget(self, hash);
        append(self, hash, charge, seconds_of(expires_ms));
    }
}

void firn_shards_forget(firn_shards *self, uint64_t hash) {
    uint32_t slot = hash < self->below ? find(self, hash) : NOWHERE;
    if (slot != NOWHERE) {
        kill(self, slot);
    }
}

void firn_shards_count(firn_shards *self, uint64_t gets, uint64_t missed) {
    self->gets += (double)gets * rate_of(self->below) - (double)missed;
    if (self->sampled > FADE_AT) {
        scale(self, 0.5);
    }
}

double firn_shards_mean_charge(const firn_shards *self) {
    return self->alive > 0 ? (double)self->charges / self->alive : 0;
}

static double between(double value, double least, double most) {
    return value < least ? least : value > most ? most : value;
}

static void add_point(firn_curve_line *line, uint64_t bytes, double hit_ratio) {
    firn_curve_point *last = line->count > 0 ? &line->points[line->count - 1] : NULL;
    if (last != NULL && (last->bytes == bytes || line->count == FIRN_CURVE_POINTS)) {
        *last = (firn_curve_point){bytes, hit_ratio};
    } else {
        line->points[line->count++] = (firn_curve_point){bytes, hit_ratio};
    }
}

/* Points stand where the curve has risen by a small part of its height, and on both sides of a
 * leap.
 *
 * The adjustment: how many gets are sampled depends on whether the few keys that very many gets are
 * for are among the samples. So many as are there too few or too many are taken to be of such. */
void firn_shards_curve(const firn_shards *self, firn_curve *curve) {
    firn_curve_line *line = &curve->hot;
    double all = self->gets > 0 ? self->gets : self->sampled;
    double amiss = all - self->sampled;
    double rate = rate_of(self->below);
    *line = (firn_curve_line){.count = 0};
    curve->gets = (uint64_t)(all / rate + 0.5);
    curve->sampled = (uint64_t)(self->sampled + 0.5);
    curve->samples = self->alive;
    curve->sampling_rate = rate;
    if (all <= 0 || self->reused <= 0) {
        return;
    }
    double step = between((self->reused + amiss) / all, 0, 1) / (FIRN_CURVE_POINTS / 2 - 2);
    double hits = amiss;
    double shown = 0;
    uint64_t before = 0; /* the end of the bucket before */
    for (unsigned i = 0; i < BUCKETS; i++) {
        if (self->buckets[i] > 0) {
            double low = between(hits / all, shown, 1);
            double high = between((hits + self->buckets[i]) / all, shown, 1);
            hits += self->buckets[i];
            if (high - shown >= step) {
                add_point(line, before, low);
                add_point(line, bucket_end(i), high);
                shown = high;
            }
        }
        before = bucket_end(i);
    }
    unsigned last = BUCKETS;
    while (last > 0 && self->buckets[last - 1] <= 0) {
        last--;
    }
    add_point(line, bucket_end(last - 1), between(hits / all, shown, 1));
}

/* --- the state as bytes, little-endian as all hosts are ---
 *
 *     offset 0   u64 below             24  u32 count of buckets that follow
 *            8   f64 gets              28  u32 count of entries
 *            16  f64 sampled           32  buckets: u32 number, u32 0, f64 gets
 *                                      then entries, oldest first: u64 hash, u32 charge,
 *                                      u32 expiry, seconds since 1970 */

typedef struct image_head {
    uint64_t below;
    double gets;
    double sampled;
    uint32_t buckets;
    uint32_t entries;
} image_head;

typedef struct image_bucket {
    uint32_t number;
    uint32_t zero;
    double gets;
} image_bucket;

size_t firn_shards_image_size(const firn_shards *self) {
    return sizeof(image_head) + BUCKETS * sizeof(image_bucket) + self->alive * sizeof(entry);
}

size_t firn_shards_save(const firn_shards *self, unsigned char *to) {
    image_head head = {
        .below = self->below, .gets = self->gets, .sampled = self->sampled, .entries = self->alive};
    unsigned char *at = to + sizeof head;
    for (uint32_t i = 0; i < BUCKETS; i++) {
        if (self->buckets[i] > 0) {
            image_bucket bucket = {.number = i, .gets = self->buckets[i]};
            memcpy(at, &bucket, sizeof bucket);
            at += sizeof bucket;
            head.buckets++;
        }
    }
    for (uint32_t i = 0; i < self->used; i++) {
        if (self->log[i].charge != 0) {
            memcpy(at, &self->log[i], sizeof(entry));
            at += sizeof(entry);
        }
    }
    memcpy(to, &head, sizeof head);
    return (size_t)(at - to);
}

/* A number of gets that can be. */
static bool is_count(double number) {
    return number >= 0 && number < 1e15;
}

static bool load_buckets(firn_shards *self, const unsigned char *at, uint32_t count) {
    for (uint32_t i = 0; i < count; i++, at += sizeof(image_bucket)) {
        image_bucket bucket;
        memcpy(&bucket, at, sizeof bucket);
        if (bucket.number >= BUCKETS || !is_count(bucket.gets)) {
            return false;
        }
        self->reused += bucket.gets - self->buckets[bucket.number];
        self->buckets[bucket.number] = bucket.gets;
    }
    return true;
}

void firn_shards_load(firn_shards *self, const unsigned char *bytes, size_t size) {
    image_head head;
    if (size < sizeof head) {
        return;
    }
    memcpy(&head, bytes, sizeof head);
    size_t buckets_size = (size_t)head.buckets * sizeof(image_bucket);
    if (head.below == 0 || !is_count(head.gets) || !is_count(head.sampled) ||
        size != sizeof head + buckets_size + (size_t)head.entries * sizeof(entry)) {
        return;
    }
    if (!load_buckets(self, bytes + sizeof head, head.buckets)) {
        memset(self->buckets, 0, sizeof self->buckets);
        self->reused = 0;
        return;
    }
    self->gets = head.gets;
    self->sampled = head.sampled;
    if (head.below < self->below) {
        self->below = head.below;
    } else {
        scale(self, (double)self->below / (double)head.below);
    }
    const unsigned char *at = bytes + sizeof head + buckets_size;
    for (uint32_t i = 0; i < head.entries; i++, at += sizeof(entry)) {
        entry one;
        memcpy(&one, at, sizeof one);
        if (one.hash < self->below && one.charge != 0) {
            firn_shards_forget(self, one.hash);
            append(self, one.hash, one.charge, one.expires_s);
        }
    }
}
