/* See table.h. */
#include "hot/table.h"

#include <string.h>

enum {
    OVERFLOW_MAX = 255, /* sticks: how many there really are is not known any more */

    COUNT_MIN = 48,      /* home buckets, so that the smallest table is one segment */
    DOUBLES_BELOW = 256, /* home buckets: a smaller table grows to double */
    MOVED_AT_A_TIME = 4, /* buckets a step: a move is over before what it began with is full */
};

_Static_assert(sizeof(firn_bucket) == 64, "a bucket is a line");
_Static_assert(FIRN_TABLE_SEGMENT_BUCKETS * sizeof(firn_bucket) == FIRN_SEGMENT_BYTES,
               "a segment is full");

#define LOAD(field)         atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, value) atomic_store_explicit(&(field), (value), memory_order_relaxed)

static uint64_t slot_for(const firn_object *object) {
    return (uint64_t)(uintptr_t)object >> 4;
}

/* An entry that finds its home full goes on, by strides that its tag gives, within a window behind
 * home: there are that many buckets behind the last home, for going on at the front would break the
 * order. Strides, for runs of full buckets would grow together; a window within a few pages, for
 * the translation of addresses. The larger the window, the fuller a table may be before some part
 * of it is; the smaller, the less a small table wastes. */
static uint32_t window_of(uint32_t count) {
    return count >= 2048 ? 256 : count >= DOUBLES_BELOW ? 64 : 16;
}

static size_t probe(size_t home, uint32_t turn, uint64_t tag, uint32_t window) {
    return home + (turn * (uint32_t)(2 * tag + 1) & (window - 1));
}

/* Where a hash is to be looked for in one directory. */
typedef struct path {
    firn_table_directory *places;
    size_t home;
    uint64_t tag;
    uint32_t window;
} path;

static path path_in(firn_table_directory *places, uint64_t hash, uint32_t count) {
    /* Acquire: what a look-up that finds nothing was misled by shows that it is late. */
    uint32_t shift =
        places != NULL ? atomic_load_explicit(&places->tag_shift, memory_order_acquire) : 0;
    return (path){places, firn_table_home_of(hash, count), firn_table_tag_of(hash, shift),
                  window_of(count)};
}

/* Fills up to two paths, to be looked at in that order: an entry that moves meanwhile is put into
 * the second before it leaves the first. A new entry goes to the last. */
static unsigned paths_of(const firn_table_view *view, uint64_t hash, path *paths) {
    uint32_t moved = atomic_load_explicit(&view->moved, memory_order_acquire);
    uint32_t old_count = LOAD(view->old_count);
    uint32_t new_count = LOAD(view->new_count);
    size_t home = firn_table_home_of(hash, old_count);
    unsigned count = 0;
    if (new_count == 0 || home + window_of(old_count) > moved) {
        paths[count++] =
            path_in(atomic_load_explicit(&view->from, memory_order_acquire), hash, old_count);
    }
    if (new_count != 0 && home < moved) {
        paths[count++] =
            path_in(atomic_load_explicit(&view->to, memory_order_acquire), hash, new_count);
    }
    return count;
}

/* Readers */

/* Brings a count that is getting full over to the object, to which the caller has a reference of
 * those in the count: added before it is taken from the slot, so that the object's is never too
 * low by it. */
void firn_table_settle_readers(_Atomic uint64_t *slot, firn_object *object) {
    uint64_t value = atomic_load_explicit(slot, memory_order_relaxed);
    while ((value & FIRN_TABLE_POINTER_MASK) == slot_for(object) &&
           value >= FIRN_TABLE_READERS_FULL) {
        int64_t readers = (int64_t)(value >> FIRN_TABLE_READERS_SHIFT);
        firn_object_add_refs(object, readers);
        if (atomic_compare_exchange_weak_explicit(slot, &value, value & (FIRN_TABLE_ONE_READER - 1),
                                                  memory_order_relaxed, memory_order_relaxed)) {
            return;
        }
        firn_object_add_refs(object, -readers);
    }
}

/* In one bucket: the object under the key with a reference for the caller, or NULL. *meta: the
 * bucket's. */
static firn_object *get_in_bucket(firn_bucket *bucket, uint64_t tag, const void *key,
                                  size_t key_size, uint64_t *meta) {
    /* Acquire: a tag that was cleared because its entry moved shows the move to who looks at the
     * count of moves next. */
    *meta = atomic_load_explicit(&bucket->meta, memory_order_acquire);
    for (uint64_t match = firn_table_matches(*meta, tag); match != 0; match &= match - 1) {
        _Atomic uint64_t *slot = &bucket->slots[firn_table_slot_of_match(match)];
        firn_object *object = firn_table_slot_acquire(slot);
        if (object != NULL) {
            if (firn_object_has_key(object, key, key_size)) {
                return object;
            }
            firn_object_unref(object);
        }
    }
    return NULL;
}

static firn_object *get_in(const path *at, const void *key, size_t key_size) {
    for (uint32_t turn = 0; turn < at->window; turn++) {
        firn_bucket *bucket =
            firn_table_bucket_at(at->places, probe(at->home, turn, at->tag, at->window));
        if (bucket == NULL) {
            return NULL;
        }
        uint64_t meta;
        firn_object *object = get_in_bucket(bucket, at->tag, key, key_size, &meta);
        if (object != NULL) {
            return object;
        }
        if (firn_table_overflow_of(meta) == 0) {
            return NULL;
        }
    }
    return NULL;
}

firn_object *firn_table_get_further(firn_table *table, uint64_t hash, const void *key,
                                    size_t key_size) {
    for (;;) {
        uint64_t moves = atomic_load_explicit(&table->moves, memory_order_acquire);
        path paths[2];
        unsigned count =
            paths_of(atomic_load_explicit(&table->view, memory_order_acquire), hash, paths);
        for (unsigned i = 0; i < count; i++) {
            firn_object *object = NULL;
            if (paths[i].places != NULL) {
                object = get_in(&paths[i], key, key_size);
            }
            if (object != NULL) {
                return object;
            }
        }
        /* The loads above are acquires, so this one comes after them. Another round means that a
         * writer got on; nobody is waited for. */
        if (LOAD(table->moves) == moves) {
            return NULL;
        }
    }
}

firn_object *firn_table_get(firn_table *table, uint64_t hash, const void *key, size_t key_size) {
    uint64_t counted;
    firn_object *object = firn_table_glance(table, hash, &counted);
    if (object != NULL) {
        if (counted < FIRN_TABLE_READERS_FULL && firn_object_has_key(object, key, key_size)) {
            return object;
        }
        firn_object_unref(object);
    }
    return firn_table_get_further(table, hash, key, key_size);
}

static firn_bucket *likely_bucket(firn_table *table, uint64_t hash, uint64_t *tag) {
    path paths[2];
    unsigned count =
        paths_of(atomic_load_explicit(&table->view, memory_order_acquire), hash, paths);
    const path *last = &paths[count - 1];
    if (count == 0 || last->places == NULL) {
        return NULL;
    }
    *tag = last->tag;
    return firn_table_bucket_at(last->places, last->home);
}

void firn_table_prefetch(firn_table *table, uint64_t hash) {
    uint64_t tag;
    __builtin_prefetch(likely_bucket(table, hash, &tag));
}

void firn_table_prefetch_object(firn_table *table, uint64_t hash) {
    uint64_t tag;
    firn_bucket *bucket = likely_bucket(table, hash, &tag);
    uint64_t match = bucket != NULL ? firn_table_matches(LOAD(bucket->meta), tag) : 0;
    if (match != 0) {
        firn_table_prefetch_in(LOAD(bucket->slots[firn_table_slot_of_match(match)]));
    }
}

/* Memory */

static void count_bytes(firn_table *table, size_t plus, size_t minus) {
    STORE(table->bytes, LOAD(table->bytes) + plus - minus);
}

/* Gives the directory's segment of that number memory, if it has none. */
static int extend(firn_table *table, firn_table_directory *places, size_t segment) {
    if (segment >= places->capacity) {
        return FIRN_ENOMEM;
    }
    if (LOAD(places->segments[segment]) != NULL) {
        return FIRN_OK;
    }
    firn_bucket *taken = firn_segments_take(table->segments);
    if (taken == NULL) {
        return FIRN_ENOMEM;
    }
    /* No tags: slots may have counts that late readers left, over no address. */
    for (unsigned i = 0; i < FIRN_TABLE_SEGMENT_BUCKETS; i++) {
        STORE(taken[i].meta, 0);
    }
    atomic_store_explicit(&places->segments[segment], taken, memory_order_release);
    count_bytes(table, FIRN_SEGMENT_BYTES, 0);
    return FIRN_OK;
}

static void retire_segments(firn_table *table, firn_table_directory *places, size_t end) {
    for (; table->retired < end && table->retired < places->capacity; table->retired++) {
        firn_bucket *segment = LOAD(places->segments[table->retired]);
        if (segment != NULL) {
            firn_segments_give(table->segments, segment);
            count_bytes(table, 0, FIRN_SEGMENT_BYTES);
        }
    }
}

static size_t directory_size(size_t capacity) {
    return sizeof(firn_table_directory) + capacity * sizeof(_Atomic(firn_bucket *));
}

/* Right behind the bits that the number of a bucket tells, in steps of three: so tags stay what
 * they are through most moves. */
static uint32_t tag_shift_for(size_t count) {
    unsigned told = 31 - (unsigned)__builtin_clz((unsigned)count);
    unsigned before = told / FIRN_TABLE_GAP_BITS * FIRN_TABLE_GAP_BITS + FIRN_TABLE_GAP_BITS;
    return before < 24 ? 24 - before : 0;
}

static void dedicate(firn_table_directory *places, size_t count) {
    atomic_store_explicit(&places->tag_shift, tag_shift_for(count), memory_order_release);
    atomic_store_explicit(&places->count, (uint32_t)count, memory_order_release);
}

/* For that many home buckets: one that is not in use and not much too large, or a new one. So there
 * are never many more than the steps from the smallest to the largest that was needed. */
static firn_table_directory *take_directory(firn_table *table, size_t count) {
    const firn_table_view *view = LOAD(table->view);
    size_t capacity = ((count + window_of((uint32_t)count)) >> FIRN_TABLE_SEGMENT_SHIFT) + 1;
    for (firn_table_directory *at = table->directories; at != NULL; at = at->next) {
        if (at != LOAD(view->from) && at->capacity >= capacity && at->capacity / 2 <= capacity) {
            for (size_t i = 0; i < at->capacity; i++) {
                atomic_store_explicit(&at->segments[i], NULL, memory_order_release);
            }
            dedicate(at, count);
            return at;
        }
    }
    firn_table_directory *made = firn_heap_zalloc(table->heap, directory_size(capacity));
    if (made != NULL) {
        made->capacity = capacity;
        dedicate(made, count);
        made->next = table->directories;
        table->directories = made;
        count_bytes(table, directory_size(capacity), 0);
    }
    return made;
}

/* Makes the view that is not the table's the table's. */
static void publish_view(firn_table *table, firn_table_directory *from, uint32_t old_count,
                         firn_table_directory *to, uint32_t new_count) {
    atomic_store_explicit(&table->likely, from, memory_order_release);
    firn_table_view *view = &table->views[LOAD(table->view) == &table->views[0]];
    atomic_store_explicit(&view->from, from, memory_order_release);
    atomic_store_explicit(&view->to, to, memory_order_release);
    STORE(view->old_count, old_count);
    STORE(view->new_count, new_count);
    STORE(view->moved, 0);
    atomic_store_explicit(&table->view, view, memory_order_release);
    atomic_fetch_add_explicit(&table->moves, 1, memory_order_release);
    table->retired = 0;
    table->layouts++;
}

int firn_table_init(firn_table *table, firn_heap *heap, firn_segments *segments) {
    memset(table, 0, sizeof *table);
    table->heap = heap;
    table->segments = segments;
    STORE(table->view, &table->views[0]);
    firn_table_directory *places = take_directory(table, COUNT_MIN);
    if (places == NULL || extend(table, places, 0) != FIRN_OK) {
        firn_table_fini(table);
        return FIRN_ENOMEM;
    }
    publish_view(table, places, COUNT_MIN, NULL, 0);
    return FIRN_OK;
}

/* Buckets */

static void set_tag(firn_bucket *bucket, unsigned slot, uint64_t tag) {
    uint64_t meta = LOAD(bucket->meta) & ~(UINT64_C(0xff) << slot * 8);
    atomic_store_explicit(&bucket->meta, meta | tag << slot * 8, memory_order_release);
}

static void change_overflow(firn_bucket *bucket, int by) {
    uint64_t meta = LOAD(bucket->meta);
    if (firn_table_overflow_of(meta) != OVERFLOW_MAX) {
        /* Release, like a tag: who sees it sees the move that it may come from. */
        atomic_store_explicit(&bucket->meta,
                              meta + ((uint64_t)(int64_t)by << FIRN_TABLE_OVERFLOW_SHIFT),
                              memory_order_release);
    }
}

/* A slot without a tag. FIRN_TABLE_SLOTS: none. */
static unsigned free_slot(const firn_bucket *bucket) {
    uint64_t match = firn_table_matches(LOAD(bucket->meta), 0);
    return match != 0 ? firn_table_slot_of_match(match) : FIRN_TABLE_SLOTS;
}

/* Where a new entry would go, as a turn of its path; makes sure that there is memory. */
static bool find_room(firn_table *table, const path *at, uint32_t *found) {
    for (uint32_t turn = 0; turn < at->window; turn++) {
        size_t number = probe(at->home, turn, at->tag, at->window);
        if (extend(table, at->places, number >> FIRN_TABLE_SEGMENT_SHIFT) != FIRN_OK) {
            return false;
        }
        if (free_slot(firn_table_bucket_at(at->places, number)) < FIRN_TABLE_SLOTS) {
            *found = turn;
            return true;
        }
    }
    return false;
}

static firn_bucket *bucket_of_turn(const path *at, uint32_t turn) {
    return firn_table_bucket_at(at->places, probe(at->home, turn, at->tag, at->window));
}

static void change_overflows(const path *at, uint32_t turn, int by) {
    for (uint32_t i = 0; i < turn; i++) {
        change_overflow(bucket_of_turn(at, i), by);
    }
}

/* Bits of the hash that are in the slot: those before the tag's. */
static uint64_t gap_of(uint64_t hash, const firn_table_directory *places) {
    return ((uint32_t)hash >> 8 >> LOAD(places->tag_shift)) & ((1u << FIRN_TABLE_GAP_BITS) - 1);
}

/* Where an entry is. */
typedef struct position {
    path at; /* not filled in where the turn is 0 */
    uint32_t turn;
    firn_bucket *bucket;
    unsigned slot;
} position;

/* Makes a slot point to the object, whose count is the caller's to see to. The slot is the last to
 * be written: a reader who looked at the tags before they changed comes to it all the same, and
 * what it finds there all others have to find from then on. */
static position place(const path *at, uint32_t turn, uint64_t gap, const firn_object *object) {
    position to = {*at, turn, bucket_of_turn(at, turn), 0};
    to.slot = free_slot(to.bucket);
    uint64_t away = turn > 0;
    change_overflows(at, turn, 1);
    set_tag(to.bucket, to.slot, at->tag);
    atomic_store_explicit(&to.bucket->slots[to.slot],
                          slot_for(object) | gap << FIRN_TABLE_POINTER_BITS |
                              away << FIRN_TABLE_AWAY_BIT,
                          memory_order_release);
    return to;
}

/* Takes what the slot had of the object's references over to its count, and one more for the
 * caller. value: what was in the slot. */
static void let_go(firn_object *object, uint64_t value) {
    int64_t readers = (int64_t)(value >> FIRN_TABLE_READERS_SHIFT);
    firn_object_add_refs(object, readers + 1 - (int64_t)FIRN_OBJECT_INDEXED);
}

/* Empties a slot, and gives what was in it. */
static uint64_t displace(const position *from) {
    change_overflows(&from->at, from->turn, -1);
    set_tag(from->bucket, from->slot, 0);
    return atomic_exchange_explicit(&from->bucket->slots[from->slot], 0, memory_order_acq_rel);
}

typedef struct wanted {
    const firn_object *object; /* this very object, or if NULL: */
    const void *key;           /* one of this key, or if NULL: */
    size_t key_size;
    uint64_t version; /* one of this version, or if 0, any of this hash */
} wanted;

static bool is_wanted(const wanted *what, uint64_t hash, const firn_object *object) {
    if (what->object != NULL) {
        return object == what->object;
    }
    if (what->key != NULL) {
        return firn_object_has_key(object, what->key, what->key_size);
    }
    return (what->version == 0 || firn_object_version(object) == what->version) &&
           firn_object_hash(object) == hash;
}

static firn_object *look_in(const path *at, uint64_t hash, const wanted *what, position *found) {
    for (uint32_t turn = 0; turn < at->window; turn++) {
        firn_bucket *bucket = bucket_of_turn(at, turn);
        if (bucket == NULL) {
            return NULL;
        }
        uint64_t meta = LOAD(bucket->meta);
        for (uint64_t match = firn_table_matches(meta, at->tag); match != 0; match &= match - 1) {
            unsigned slot = firn_table_slot_of_match(match);
            firn_object *object = firn_table_object_in(LOAD(bucket->slots[slot]));
            if (object != NULL && is_wanted(what, hash, object)) {
                *found = (position){*at, turn, bucket, slot};
                return object;
            }
        }
        if (firn_table_overflow_of(meta) == 0) {
            return NULL;
        }
    }
    return NULL;
}

static firn_object *look(firn_table *table, uint64_t hash, const wanted *what, position *found) {
    path paths[2];
    unsigned count = paths_of(LOAD(table->view), hash, paths);
    firn_object *object = NULL;
    for (unsigned i = 0; i < count && object == NULL; i++) {
        object = look_in(&paths[i], hash, what, found);
    }
    return object;
}

firn_object *firn_table_find(firn_table *table, uint64_t hash, const void *key, size_t key_size) {
    position found;
    return look(table, hash, &(wanted){.key = key, .key_size = key_size}, &found);
}

firn_object *firn_table_find_hash(firn_table *table, uint64_t hash, uint64_t version) {
    position found;
    return look(table, hash, &(wanted){.version = version}, &found);
}

bool firn_table_holds(firn_table *table, uint64_t hash, const firn_object *object) {
    position found;
    return look(table, hash, &(wanted){.object = object}, &found) != NULL;
}

/* Growing and shrinking */

/* An entry of a bucket of `from` that is on its way. */
typedef struct move {
    firn_object *object;
    position from;
    position to;
} move;

/* What the moves of a step have in common. */
typedef struct moving {
    firn_table *table;
    firn_table_directory *from;
    firn_table_directory *to;
    uint32_t old_count;
    uint32_t new_count;
    uint32_t tag_shift; /* of both, if that is the same */
    bool same_tags;
} moving;

static moving moving_of(firn_table *table, const firn_table_view *view) {
    firn_table_directory *from = LOAD(view->from);
    firn_table_directory *to = LOAD(view->to);
    uint32_t shift = LOAD(from->tag_shift);
    return (moving){table,
                    from,
                    to,
                    LOAD(view->old_count),
                    LOAD(view->new_count),
                    shift,
                    shift == LOAD(to->tag_shift)};
}

/* Which turn of its path brought the entry to the bucket. */
static uint32_t turn_of(const path *at, size_t number) {
    uint32_t turn = 0;
    while (turn < at->window - 1 && probe(at->home, turn, at->tag, at->window) != number) {
        turn++;
    }
    return turn;
}

/* Where the hashes begin and end, of their low 32 bits, that are at home in a bucket. */
typedef struct span {
    uint64_t first;
    uint64_t last;
} span;

static span span_of(size_t number, uint64_t count) {
    return (span){(((uint64_t)number << 32) + count - 1) / count,
                  (((uint64_t)(number + 1) << 32) + count - 1) / count - 1};
}

/* Where an entry goes that is at home in a bucket, by what is known of its hash without it. False:
 * that does not say it.
 *
 * Eleven bits, those of the gap and of the tag, are known; the ones behind, `unknown` in number,
 * are not. So the hash lies in one of the blocks of 2^unknown hashes whose number ends in the
 * eleven. Blocks are looked for from the first hash of the bucket on: as the gap begins where the
 * number of the bucket stops to tell anything, the next such block lies beyond the last hash, or
 * there are two and it is not known which. */
static inline bool home_without_hash(const moving *all, const span *hashes, uint64_t gap,
                                     uint64_t tag, size_t *home) {
    const unsigned bits = 8 + FIRN_TABLE_GAP_BITS;
    const uint64_t mask = (UINT64_C(1) << bits) - 1;
    unsigned unknown = all->tag_shift;
    uint64_t block = hashes->first >> unknown;
    block += ((gap << 8 | tag) - block) & mask;
    if ((block + mask + 1) << unknown <= hashes->last) {
        return false;
    }
    uint64_t low = block << unknown;
    uint64_t high = low + (UINT64_C(1) << unknown) - 1;
    low = low > hashes->first ? low : hashes->first;
    high = high < hashes->last ? high : hashes->last;
    *home = firn_table_home_of(low, all->new_count);
    return low <= high && *home == firn_table_home_of(high, all->new_count);
}

/* The commonest move: from home to home, without a look at the object. False: it is not one of
 * those, and nothing was done. A tag of 1 may stand for 0. */
static inline bool copy_from_home(const moving *all, const span *hashes, uint64_t word,
                                  uint64_t tag, position *to) {
    uint64_t gap = word >> FIRN_TABLE_POINTER_BITS & ((1u << FIRN_TABLE_GAP_BITS) - 1);
    size_t home;
    if (!all->same_tags || (word >> FIRN_TABLE_AWAY_BIT & 1) != 0 || tag == 1 ||
        !home_without_hash(all, hashes, gap, tag, &home)) {
        return false;
    }
    firn_bucket *bucket = firn_table_bucket_at(all->to, home);
    unsigned slot = bucket != NULL ? free_slot(bucket) : FIRN_TABLE_SLOTS;
    if (slot == FIRN_TABLE_SLOTS) {
        return false;
    }
    to->turn = 0;
    to->bucket = bucket;
    to->slot = slot;
    atomic_store_explicit(&bucket->slots[slot], word & (FIRN_TABLE_ONE_READER - 1),
                          memory_order_release);
    set_tag(bucket, slot, tag);
    return true;
}

/* Any other move, by the entry's hash. False: no memory. */
static bool copy_by_hash(const moving *all, size_t number, move *entry) {
    uint64_t hash = firn_object_hash(entry->object);
    entry->from.at = path_in(all->from, hash, all->old_count);
    entry->from.turn = turn_of(&entry->from.at, number);
    path to = path_in(all->to, hash, all->new_count);
    uint32_t turn;
    if (!find_room(all->table, &to, &turn)) {
        return false;
    }
    entry->to = place(&to, turn, gap_of(hash, all->to), entry->object);
    return true;
}

/* Puts the entries of the bucket into `to`. False: not all, for want of memory. */
static bool copy_bucket(const moving *all, size_t number, move *moves, unsigned *count) {
    firn_bucket *bucket = firn_table_bucket_at(all->from, number);
    *count = 0;
    if (bucket == NULL) {
        return true;
    }
    span hashes = span_of(number, all->old_count);
    uint64_t tags = LOAD(bucket->meta);
    for (unsigned slot = 0; slot < FIRN_TABLE_SLOTS; slot++, tags >>= 8) {
        uint64_t word = LOAD(bucket->slots[slot]);
        move *entry = &moves[*count];
        entry->object = firn_table_object_in(word);
        if (entry->object == NULL) {
            continue;
        }
        entry->from.turn = 0;
        entry->from.bucket = bucket;
        entry->from.slot = slot;
        if (!copy_from_home(all, &hashes, word, tags & 0xff, &entry->to) &&
            !copy_by_hash(all, number, entry)) {
            return false;
        }
        (*count)++;
    }
    return true;
}

/* Empties one slot of an entry that has two, and brings what it had of the object's references to
 * the other: the object's count, which is too low by what both have, and its bias stay as they are,
 * and its memory untouched. What might bring the other near its end goes to the object. */
static void leave(const position *from, const position *other, firn_object *object) {
    uint64_t readers = displace(from) >> FIRN_TABLE_READERS_SHIFT;
    if (readers >= FIRN_TABLE_READERS_FULL >> FIRN_TABLE_READERS_SHIFT >> 2) {
        firn_object_add_refs(object, (int64_t)readers);
    } else if (readers > 0) {
        /* Relaxed: no other change of the slot but by readers, for we hold the lock. */
        atomic_fetch_add_explicit(&other->bucket->slots[other->slot],
                                  readers << FIRN_TABLE_READERS_SHIFT, memory_order_relaxed);
    }
}

/* Moves the entries of one bucket. False: no memory for that now. */
static bool move_bucket(const moving *all, firn_table_view *view, uint32_t number) {
    move moves[FIRN_TABLE_SLOTS];
    unsigned count;
    if (!copy_bucket(all, number, moves, &count)) {
        /* Whoever found the copies has found the entries; there is nothing to tell. */
        for (unsigned i = 0; i < count; i++) {
            leave(&moves[i].to, &moves[i].from, moves[i].object);
        }
        return false;
    }
    /* From here on readers go to the new places; those who were at the old ones and will find
     * nothing there any more see that the count of moves has changed. */
    atomic_store_explicit(&view->moved, number + 1, memory_order_release);
    atomic_fetch_add_explicit(&all->table->moves, 1, memory_order_release);
    for (unsigned i = 0; i < count; i++) {
        leave(&moves[i].from, &moves[i].to, moves[i].object);
    }
    return true;
}

/* Brings what the next moves will look at into the processor's cache: the buckets, where they go,
 * and the objects of entries that will be asked for their hash. */
static void prefetch_moves(const moving *all, uint32_t number) {
    for (uint32_t i = number; i < number + MOVED_AT_A_TIME; i++) {
        const firn_bucket *bucket = firn_table_bucket_at(all->from, i);
        size_t home = (size_t)((uint64_t)i * all->new_count / all->old_count);
        __builtin_prefetch(firn_table_bucket_at(all->to, home), 1);
        __builtin_prefetch(firn_table_bucket_at(all->to, home + 1), 1);
        for (unsigned slot = 0; bucket != NULL && slot < FIRN_TABLE_SLOTS; slot++) {
            uint64_t word = LOAD(bucket->slots[slot]);
            if (!all->same_tags || (word >> FIRN_TABLE_AWAY_BIT & 1) != 0) {
                firn_table_prefetch_in(word);
            }
        }
    }
}

/* Moves up to that many buckets of a move that is on. False: none could be moved. */
static bool step(firn_table *table, uint32_t buckets) {
    firn_table_view *view = LOAD(table->view);
    uint32_t old_count = LOAD(view->old_count);
    uint32_t new_count = LOAD(view->new_count);
    if (new_count == 0) {
        return false;
    }
    moving all = moving_of(table, view);
    uint32_t window = window_of(old_count);
    uint32_t last = old_count + window;
    uint32_t begin = LOAD(view->moved);
    uint32_t at = begin;
    uint32_t end = last - at < buckets ? last : at + buckets;
    while (at < end && move_bucket(&all, view, at)) {
        at++;
    }
    if (at == last) {
        retire_segments(table, all.from, all.from->capacity);
        publish_view(table, all.to, new_count, NULL, 0);
    } else {
        /* What lies a window behind is on nobody's path any more. */
        retire_segments(table, all.from,
                        at > window ? (at - window) >> FIRN_TABLE_SEGMENT_SHIFT : 0);
        prefetch_moves(&all, at);
        if (at > old_count / 2 && LOAD(table->likely) != all.to) {
            atomic_store_explicit(&table->likely, all.to, memory_order_release);
        }
    }
    return at > begin;
}

/* Begins to move to that many home buckets. False: no memory for it; things stay as they are. */
static bool begin_move(firn_table *table, size_t new_count) {
    const firn_table_view *view = LOAD(table->view);
    firn_table_directory *to =
        new_count <= UINT32_MAX / 2 ? take_directory(table, new_count) : NULL;
    if (to == NULL) {
        return false;
    }
    publish_view(table, LOAD(view->from), LOAD(view->old_count), to, (uint32_t)new_count);
    return true;
}

static bool grow(firn_table *table) {
    size_t buckets = LOAD(LOAD(table->view)->old_count);
    return begin_move(table, buckets + (buckets < DOUBLES_BELOW ? buckets : buckets / 4));
}

/* Grows above 55/64 of what the table has slots for, and shrinks to a half below a quarter. */
static void resize_if_due(firn_table *table) {
    const firn_table_view *view = LOAD(table->view);
    size_t buckets = LOAD(view->old_count);
    size_t slots = buckets * FIRN_TABLE_SLOTS;
    if (LOAD(view->new_count) != 0) {
        return;
    }
    if (table->count + 1 > slots / 64 * 55) {
        (void)grow(table); /* if it cannot, it gets fuller, and slower */
    } else if (buckets > COUNT_MIN && table->count < slots / 4) {
        size_t fitting = table->count * 2 / FIRN_TABLE_SLOTS + 1;
        (void)begin_move(table, fitting > COUNT_MIN ? fitting : COUNT_MIN);
    }
}

int firn_table_reserve(firn_table *table, uint64_t hash) {
    resize_if_due(table);
    (void)step(table, MOVED_AT_A_TIME);
    for (;;) {
        path paths[2];
        unsigned count = paths_of(LOAD(table->view), hash, paths);
        uint32_t turn;
        if (find_room(table, &paths[count - 1], &turn)) {
            return FIRN_OK;
        }
        /* The hash's window is full, which the sizes above make a rare thing: go on with the move,
         * or begin one. */
        bool in_move = LOAD(LOAD(table->view)->new_count) != 0;
        if (in_move ? !step(table, FIRN_TABLE_SEGMENT_BUCKETS) : !grow(table)) {
            return FIRN_ENOMEM;
        }
    }
}

void firn_table_insert(firn_table *table, uint64_t hash, firn_object *object) {
    path paths[2];
    unsigned count = paths_of(LOAD(table->view), hash, paths);
    const path *at = &paths[count - 1];
    uint32_t turn = 0;
    find_room(table, at, &turn); /* there is: it was reserved */
    firn_object_add_refs(object, FIRN_OBJECT_INDEXED);
    place(at, turn, gap_of(hash, at->places), object);
    table->count++;
}

uint64_t firn_table_readers(firn_table *table, uint64_t hash, firn_object *object) {
    position at;
    look(table, hash, &(wanted){.object = object}, &at);
    return LOAD(at.bucket->slots[at.slot]) >> FIRN_TABLE_READERS_SHIFT;
}

void firn_table_replace(firn_table *table, uint64_t hash, firn_object *old, firn_object *object) {
    position at;
    look(table, hash, &(wanted){.object = old}, &at);
    firn_object_add_refs(object, FIRN_OBJECT_INDEXED);
    _Atomic uint64_t *slot = &at.bucket->slots[at.slot];
    uint64_t of_hash = LOAD(*slot) & (FIRN_TABLE_ONE_READER - 1) & ~FIRN_TABLE_POINTER_MASK;
    let_go(old, atomic_exchange_explicit(slot, slot_for(object) | of_hash, memory_order_acq_rel));
}

void firn_table_remove(firn_table *table, uint64_t hash, firn_object *object) {
    position at;
    look(table, hash, &(wanted){.object = object}, &at);
    let_go(object, displace(&at));
    table->count--;
    resize_if_due(table);
    (void)step(table, MOVED_AT_A_TIME);
}

size_t firn_table_buckets(const firn_table *table) {
    const firn_table_view *view = LOAD(table->view);
    return (size_t)LOAD(view->old_count) + LOAD(view->new_count);
}

bool firn_table_sweep(firn_table *table, size_t *at, size_t buckets,
                      void (*visit)(void *context, firn_object *object), void *context) {
    const firn_table_view *view = LOAD(table->view);
    const firn_table_directory *from = LOAD(view->from);
    const firn_table_directory *to = LOAD(view->to);
    size_t from_buckets = from->capacity << FIRN_TABLE_SEGMENT_SHIFT;
    size_t end = from_buckets + (to != NULL ? to->capacity << FIRN_TABLE_SEGMENT_SHIFT : 0);
    for (; buckets > 0 && *at < end; buckets--, (*at)++) {
        bool behind = *at < table->retired
                                << FIRN_TABLE_SEGMENT_SHIFT; /* memory that is not ours any more */
        firn_bucket *bucket = *at < from_buckets ? (behind ? NULL : firn_table_bucket_at(from, *at))
                                                 : firn_table_bucket_at(to, *at - from_buckets);
        for (unsigned slot = 0; bucket != NULL && slot < FIRN_TABLE_SLOTS; slot++) {
            firn_object *object = firn_table_object_in(LOAD(bucket->slots[slot]));
            if (object != NULL) {
                visit(context, object);
            }
        }
    }
    return *at >= end;
}

uint64_t firn_table_layout(const firn_table *table) {
    return table->layouts;
}

void firn_table_fini(firn_table *table) {
    const firn_table_view *view = LOAD(table->view);
    firn_table_directory *places[2] = {LOAD(view->from), LOAD(view->to)};
    for (unsigned i = 0; i < 2; i++) {
        size_t behind = i == 0 ? table->retired : 0;
        for (size_t n = behind; places[i] != NULL && n < places[i]->capacity; n++) {
            firn_bucket *segment = LOAD(places[i]->segments[n]);
            for (size_t b = 0; segment != NULL && b < FIRN_TABLE_SEGMENT_BUCKETS; b++) {
                for (unsigned slot = 0; slot < FIRN_TABLE_SLOTS; slot++) {
                    uint64_t value = LOAD(segment[b].slots[slot]);
                    if (firn_table_object_in(value) != NULL) {
                        let_go(firn_table_object_in(value), value);
                        firn_object_unref(firn_table_object_in(value));
                    }
                }
            }
        }
    }
    while (table->directories != NULL) {
        firn_table_directory *next = table->directories->next;
        firn_heap_free(table->heap, table->directories,
                       directory_size(table->directories->capacity));
        table->directories = next;
    }
}
