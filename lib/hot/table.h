/* The index of one shard: from a key's hash to its object, read by any thread without a lock.
 *
 * A bucket is a cache line: seven slots, their tags (a byte of the hash each) and a count of the
 * entries that found it full and went on to the next. A slot is one word: the object's address, a
 * little more of the hash, and above it a count of the references that readers took through the
 * slot. So a reader finds, and
 * owns, an object by one atomic addition to a line it has to touch anyway, and an object whose slot
 * let go stays alive for those who came in time: its count takes the slot's over. Nothing that can
 * be freed is ever touched without a reference; no epochs, no hazards, no locks.
 *
 * Buckets lie in segments, which go from one use to another but back to the system only with the
 * table: a reader that is late may look into a segment that has become something else, and sees
 * other buckets, never other memory. What it finds there it finds by key, and is therefore right;
 * that it finds nothing there it does not believe, for the count of moves tells it to look again.
 *
 * The table grows by a quarter at a time, and a few buckets at each insertion. A bucket's number is
 * the hash times the number of buckets over 2^32, so that order is kept: entries move from the
 * front on, and the segments they leave behind serve as the end of where they go. At no time is
 * there much more memory than the larger of both takes, or any longer pause. A move looks at no
 * object: of the hash, the bucket that an entry is in tells the first bits, its slot the next
 * three, and its tag those behind. That says into which bucket it goes next, but for one entry in
 * some hundred, and for those that had gone on from where they belong.
 *
 * Who changes the table holds the shard's lock. Knows nothing of policies and budgets. */
#ifndef FIRN_HOT_TABLE_H
#define FIRN_HOT_TABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/heap.h"
#include "hot/segments.h"
#include "object/object.h"

typedef struct firn_bucket firn_bucket;
typedef struct firn_table_directory firn_table_directory;

enum {
    FIRN_TABLE_SLOTS = 7,
    FIRN_TABLE_OVERFLOW_SHIFT = 56, /* of the overflow count in the bucket's meta word */
    FIRN_TABLE_SEGMENT_SHIFT = 6,
    FIRN_TABLE_SEGMENT_BUCKETS = 1 << FIRN_TABLE_SEGMENT_SHIFT,
    FIRN_TABLE_POINTER_BITS = 44,
    FIRN_TABLE_GAP_BITS = 3,      /* of the hash, between those the bucket tells and the tag's */
    FIRN_TABLE_AWAY_BIT = 47,     /* set: the bucket is not the entry's home */
    FIRN_TABLE_READERS_SHIFT = 48 /* of the readers' count */
};

#define FIRN_TABLE_POINTER_MASK ((UINT64_C(1) << FIRN_TABLE_POINTER_BITS) - 1)
#define FIRN_TABLE_ONE_READER   (UINT64_C(1) << FIRN_TABLE_READERS_SHIFT)
/* A slot whose readers' count gets here has it brought over to the object: half of what the count's
 * 16 bits hold, so that 24 thousand threads (a move may bring a quarter of it along) would have to
 * be between taking a reference and seeing to the count for it to overflow. */
#define FIRN_TABLE_READERS_FULL (UINT64_C(1) << 63)
#define FIRN_TABLE_LOAD(field)  atomic_load_explicit(&(field), memory_order_relaxed)

struct firn_bucket {
    /* Tags of the slots, byte by byte from the low end, 0 for none; on top the overflow count.
     * Written under the lock, and for a new entry before its slot, so that it is the slot alone
     * that says from when on the entry is there. */
    _Atomic uint64_t meta;
    /* Address over 16, bits of the hash, and above them the readers' count. Everybody adds readers;
     * the rest changes under the lock. A count over an address of NULL is what was left by readers
     * that were late, and counts nothing. */
    _Atomic uint64_t slots[FIRN_TABLE_SLOTS];
};

/* The segments of a range of buckets. Its capacity never changes, which bounds even those readers
 * that see it in the midst of a change. */
struct firn_table_directory {
    firn_table_directory *next; /* of all; immutable, like the next */
    size_t capacity;            /* segments */
    /* Home buckets of what it is used for, and how far down in the hash's low 32 bits the tags are:
     * right behind the bits that the number of a home may tell, and GAP_BITS more. A directory is
     * used again for other numbers, but whichever of them a late reader sees, the bucket it gives
     * is within the capacity. Released. */
    _Atomic uint32_t count;
    _Atomic uint32_t tag_shift;
    _Atomic(firn_bucket *) segments[]; /* NULL: none yet; released when given */
};

/* Where the buckets are: those of `from`, but if new_count is not 0, those below `moved` went to
 * `to`. A view is written while it is not the table's, but readers that are late may be at it
 * still: all is atomic and relaxed unless said, and what they make of a mixture is stopped by the
 * directory's capacity and the count of moves. */
typedef struct firn_table_view {
    _Atomic(firn_table_directory *) from;
    _Atomic(firn_table_directory *) to;
    _Atomic uint32_t old_count;
    _Atomic uint32_t new_count;
    _Atomic uint32_t moved; /* released when the entries are in their new places */
} firn_table_view;

typedef struct firn_table {
    /* What readers read, on lines that are seldom written. */
    _Alignas(64) _Atomic(firn_table_view *) view; /* one of the two; released by who changes it */
    _Atomic uint64_t moves; /* counts what could make a reader miss what is there. Raised, with
                               release, between the entry's being at its new place and its leaving
                               the old one */
    _Atomic(firn_table_directory *) likely; /* what a first glance looks at: the view's `from`, or
                                               from the half of a move on its `to`. Released */
    firn_table_view views[2];
    _Alignas(64) _Atomic size_t bytes; /* of buckets in use and directories. Changed under the lock,
                             read by anybody, relaxed */
    /* The lock guards the rest. */
    firn_heap *heap;                   /* lent, like the next */
    firn_segments *segments;           /* has a lock of its own */
    size_t count;                      /* entries */
    size_t retired;                    /* segments of `from` that were given up already */
    uint64_t layouts;                  /* counts the views that were published */
    firn_table_directory *directories; /* all there are: late readers may look into any */
} firn_table;

/* FIRN_OK or FIRN_ENOMEM, after which the table needs no fini. */
int firn_table_init(firn_table *table, firn_heap *heap, firn_segments *segments);
/* Drops the index's references; nobody else uses the table. */
void firn_table_fini(firn_table *table);

/* Brings the bucket of a key to be asked for soon into the processor's cache. */
void firn_table_prefetch(firn_table *table, uint64_t hash);
/* The same for the object that is likely to be found there, once the bucket has come. */
void firn_table_prefetch_object(firn_table *table, uint64_t hash);

/* All that follows wants the shard's lock. Objects are lent. */
firn_object *firn_table_find(firn_table *table, uint64_t hash, const void *key, size_t key_size);
/* version 0: any version. */
firn_object *firn_table_find_hash(firn_table *table, uint64_t hash, uint64_t version);
/* Whether the hash's place points to the object, whose memory is not looked at. */
bool firn_table_holds(firn_table *table, uint64_t hash, const firn_object *object);

/* Room for one more under that hash, and a step of growing or shrinking if that is due. FIRN_OK or
 * FIRN_ENOMEM. */
int firn_table_reserve(firn_table *table, uint64_t hash);
/* Takes a reference of the index's own. Only after a reserve for the hash. */
void firn_table_insert(firn_table *table, uint64_t hash, firn_object *object);
/* References to an object that is here that are counted in its slot. */
uint64_t firn_table_readers(firn_table *table, uint64_t hash, firn_object *object);
/* Puts object in the place of old; the caller gets a reference to old in the index's stead. */
void firn_table_replace(firn_table *table, uint64_t hash, firn_object *old, firn_object *object);
/* Likewise: the caller gets a reference to the object in the index's stead. */
void firn_table_remove(firn_table *table, uint64_t hash, firn_object *object);

/* About how many buckets a sweep has to look at. */
size_t firn_table_buckets(const firn_table *table);
/* Calls visit with every object of some buckets from *position on, and moves *position on: 0 to
 * begin. True: the end was reached. visit may replace the object it is given and no other. */
bool firn_table_sweep(firn_table *table, size_t *position, size_t buckets,
                      void (*visit)(void *context, firn_object *object), void *context);
/* A number that stays the same while positions of a sweep keep their meaning: between two pieces of
 * a sweep with the same number, entries that move go from places before others to places behind
 * them, so that none is passed by. */
uint64_t firn_table_layout(const firn_table *table);

/* The look-up without a lock, in this file so that it becomes part of its caller: what it costs is
 * how many instructions lie between one miss of the processor's cache and the next. */

/* Hashes: of the low 32 bits the first give the bucket, and eight that come soon after the tag; the
 * shard is chosen by the top of the other 32. */

static inline size_t firn_table_home_of(uint64_t hash, uint32_t count) {
    return (size_t)(((hash & UINT32_MAX) * count) >> 32);
}

static inline uint64_t firn_table_tag_of(uint64_t hash, uint32_t tag_shift) {
    uint64_t tag = (uint32_t)hash >> tag_shift & 0xff;
    return tag != 0 ? tag : 1;
}

/* The top bit of each byte of the tags that may equal tag: all that do, and seldom one more. */
static inline uint64_t firn_table_matches(uint64_t meta, uint64_t tag) {
    const uint64_t ones = UINT64_C(0x0001010101010101);
    uint64_t difference = meta ^ tag * ones;
    return (difference - ones) & ~difference & ones << 7;
}

static inline unsigned firn_table_slot_of_match(uint64_t match) {
    return (unsigned)__builtin_ctzll(match) / 8;
}

static inline unsigned firn_table_overflow_of(uint64_t meta) {
    return (unsigned)(meta >> FIRN_TABLE_OVERFLOW_SHIFT);
}

static inline firn_object *firn_table_object_in(uint64_t slot) {
    return (firn_object *)(uintptr_t)((slot & FIRN_TABLE_POINTER_MASK) << 4);
}

/* NULL: beyond what the directory knows. */
static inline firn_bucket *firn_table_bucket_at(const firn_table_directory *places, size_t number) {
    size_t segment = number >> FIRN_TABLE_SEGMENT_SHIFT;
    if (segment >= places->capacity) {
        return NULL;
    }
    /* Acquire, like all that a look-up which finds nothing may have read last: the count of moves
     * is looked at after it. */
    firn_bucket *first = atomic_load_explicit(&places->segments[segment], memory_order_acquire);
    return first != NULL ? first + (number & (FIRN_TABLE_SEGMENT_BUCKETS - 1)) : NULL;
}

/* Brings a count that is getting full over to the object, to which the caller has a reference. */
void firn_table_settle_readers(_Atomic uint64_t *slot, firn_object *object);

/* Sends for the object's lines, so that they are on their way while the slot's count goes up. */
static inline void firn_table_prefetch_in(uint64_t slot) {
    uintptr_t likely = (uintptr_t)firn_table_object_in(slot);
    __builtin_prefetch((const void *)likely);
    __builtin_prefetch((const void *)(likely + 64));
    __builtin_prefetch((const void *)(likely + 128)); /* the key may be behind the value */
}

/* Takes a reference through the slot to whatever object it holds at that instant. NULL: none.
 * Acquire: what was written to the object before it was put here is seen. */
static inline firn_object *firn_table_slot_acquire(_Atomic uint64_t *slot) {
    firn_table_prefetch_in(FIRN_TABLE_LOAD(*slot));
    uint64_t value = atomic_fetch_add_explicit(slot, FIRN_TABLE_ONE_READER, memory_order_acquire);
    firn_object *object = firn_table_object_in(value);
    if (object != NULL && value >= FIRN_TABLE_READERS_FULL) {
        firn_table_settle_readers(slot, object);
    }
    return object;
}

/* The whole of a look-up, for those that a first glance does not settle. */
firn_object *firn_table_get_further(firn_table *table, uint64_t hash, const void *key,
                                    size_t key_size);

/* A first glance, without a lock, at what is commonest: the entry is in its home bucket, and no
 * other there has its tag. Whatever object is found there, with a reference for the
 * caller, who compares the key; NULL says nothing. *counted: what the slot held. If it is
 * FIRN_TABLE_READERS_FULL or more, the caller is to look again by firn_table_get_further, which
 * sees to it.
 *
 * While a move is on, the entry may be elsewhere, and the bucket that is looked at may have become
 * part of something else. A directory that is seen here may even be used again by now. So the
 * bucket may be another, and what is found in it is found by its key, as ever. */
static inline firn_object *firn_table_glance(firn_table *table, uint64_t hash, uint64_t *counted) {
    const firn_table_directory *places = atomic_load_explicit(&table->likely, memory_order_acquire);
    size_t home = firn_table_home_of(hash, FIRN_TABLE_LOAD(places->count));
    firn_bucket *bucket = atomic_load_explicit(&places->segments[home >> FIRN_TABLE_SEGMENT_SHIFT],
                                               memory_order_acquire);
    if (__builtin_expect(bucket == NULL, 0)) {
        return NULL;
    }
    bucket += home & (FIRN_TABLE_SEGMENT_BUCKETS - 1);
    uint64_t meta = atomic_load_explicit(&bucket->meta, memory_order_acquire);
    uint64_t match =
        firn_table_matches(meta, firn_table_tag_of(hash, FIRN_TABLE_LOAD(places->tag_shift)));
    if (__builtin_expect(match == 0, 0)) {
        return NULL;
    }
    _Atomic uint64_t *slot = &bucket->slots[firn_table_slot_of_match(match)];
    firn_table_prefetch_in(FIRN_TABLE_LOAD(*slot));
    *counted = atomic_fetch_add_explicit(slot, FIRN_TABLE_ONE_READER, memory_order_acquire);
    return firn_table_object_in(*counted);
}

/* Without a lock: the object under the key with a reference for the caller, or NULL. */
firn_object *firn_table_get(firn_table *table, uint64_t hash, const void *key, size_t key_size);

#endif
