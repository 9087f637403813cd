/* See filter.h.
 *
 * A table is an even number of buckets. The hash's upper half, times that number over 2^32, gives
 * one bucket, so that a walk in the order of hashes fills them from the front. Its low 16 bits are
 * the fingerprint. The other bucket is an odd number made of the fingerprint less the first bucket,
 * modulo the number of buckets: the same step leads back, for any number of buckets, and the two
 * are never the same.
 *
 * Why two places of which each question reads both, and not a mark in the first that tells whether
 * the second need be read: the processor fetches both at once, and those of the next questions too;
 * a mark would spare one of two fetches and cost a branch that it guesses wrong a fourth of the
 * time.
 *
 * ## Why nothing that is there is denied
 *
 * One thread changes, so that the changes are in one order. They obey two rules:
 *
 * 1. A fingerprint is at its new place before it leaves the old one. The way to a free place is
 *    found first and then gone backwards from its end, so the free place moves and no fingerprint
 *    is ever in the writer's hand. A bucket changes by one store.
 * 2. Between the two stores, and before any fingerprint leaves a place for whatever reason, the
 *    departures of its kind are counted up. (Kinds are the low bits of fingerprints.)
 *
 * A reader reads the departures of its fingerprint's kind, the table's address, both buckets, and
 * the departures again; only if they did not change does it believe a "no". All it reads it reads
 * with acquire, and all the writer stores it stores with release, so whoever has seen a store sees
 * all stores before it.
 *
 * Let a fingerprint be in A or in B of one table all the time (or several that are equal, of which
 * one is there at any time), and let a reader have read an A and a B without it. By rule 1 there
 * was no moment at which both were so. Say the A that was read is the older state; then there was a
 * later store to A that brought the fingerprint, then a departure was counted, then it left B, and
 * then came the state of B that was read. Having seen that, the reader sees the departure at its
 * second look at them. At its first look it did not: else it would have seen the store to A as
 * well, and would not have read the older state. So the two looks differ, and it asks again. The
 * same holds with A and B exchanged, and in whatever order they were read.
 *
 * An addition that puts a fingerprint into A, and a removal that takes an equal one from B, look to
 * a reader like a move. That is why removals are counted too.
 *
 * A reader that meets departures three times says "maybe", so nobody waits for anybody.
 *
 * ## Why tables are never freed
 *
 * A reader may be late by any time and still look into a table that was replaced. So tables live as
 * long as the filter; but when one retires, its pages go back to the system and only its addresses
 * remain. (Memory of the user's allocator cannot do that: it waits to be used again, and as tables
 * grow by a half or more each, all that are retired are no more than about twice the last.) A late
 * reader finds zeros in it, or another table that was made there later, and must not believe it:
 * before the pages go, and after the new address was given, the departures of every kind are
 * counted up. By the argument above it notices, whatever of the table it sees that is newer: a
 * word, or the number of buckets. What it computes from the number of buckets stays within the
 * table's memory whatever number it reads, since no number is larger than its room.
 *
 * ## Building beside the changes
 *
 * A walk takes the hashes in ascending order. All below its position are in the new table exactly
 * if they are there; none above are. So a change below the position is made in the new table too,
 * and one above it is not, as the walk will see it. A load has no such order, since a bucket tells
 * nothing of hashes; so changes are written down and made at its end. */
#include "base/filter.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

enum {
    SLOTS = 4, /* of a bucket */
    SLOT_BITS = 16,
    KINDS = 64,        /* of departures */
    ATTEMPTS = 3,      /* of a reader */
    SEARCH_MAX = 1024, /* buckets looked at on the search for a free place */
    SPARE = 128,       /* places that do not count for the capacity */
    ROOM_MIN = 512,    /* buckets of the smallest memory: a page */
    CHANGES_MIN = 256,
};

/* The capacity is 15 of 16 places, once some are set aside that a small table needs, where chance
 * is rough. The largest fill to 96 in 100 before an addition fails, small ones to 97. */
#define FULL_PARTS UINT64_C(15)
#define ALL_PARTS  UINT64_C(16)
#define ONES       UINT64_C(0x0001000100010001)

_Static_assert(FIRN_FILTER_CAPACITY_MAX / FULL_PARTS * ALL_PARTS / SLOTS < UINT64_C(1) << 31,
               "a bucket's number has 31 bits");

typedef struct filter_table {
    /* Changes only when the table is taken into use again, while no reader is in it but those that
     * are late. Release and acquire: who sees the new number sees the departures that were counted
     * when the table retired. With the user's memory nothing else tells a reader, who may still
     * read the words of before at the places of now. */
    _Atomic uint64_t buckets;
    /* Immutable. */
    _Atomic uint64_t *words;   /* the buckets; the writer stores with release */
    uint64_t room;             /* of words: a power of two, or anything if it is the user's */
    struct filter_table *next; /* of all tables */
} filter_table;

typedef enum building { BUILD_NOTHING, BUILD_WALK, BUILD_LOAD } building;

typedef struct change {
    uint64_t hash;
    bool adds;
} change;

struct firn_filter {
    _Alignas(64) _Atomic(filter_table *) current; /* NULL: it knows nothing. Stored with release */
    _Alignas(64) _Atomic uint64_t departures[KINDS]; /* the writer's to change, with release */
    /* Changed by the writer, read by anybody, relaxed: figures. */
    _Alignas(64) _Atomic uint64_t count; /* hashes in current */
    _Atomic uint64_t bytes;
    /* The writer's. */
    firn_heap *heap;      /* lent; immutable */
    filter_table *tables; /* all there are */
    building kind;
    filter_table *future;  /* what is being built; NULL: nothing */
    uint64_t future_count; /* hashes in it */
    uint64_t position;     /* of the walk: the hashes below are in it */
    uint64_t loaded;       /* words */
    uint64_t places_taken; /* in the words loaded */
    change *changes;       /* to be made when it is loaded */
    size_t changes_used;
    size_t changes_room;
};

/* ---- buckets ---- */

static uint64_t fingerprint_of(uint64_t hash) {
    uint64_t fingerprint = hash & 0xffff;
    return fingerprint != 0 ? fingerprint : 1; /* 0 is a free place */
}

static uint64_t first_bucket(uint64_t buckets, uint64_t hash) {
    return ((hash >> 32) * buckets) >> 32;
}

static uint64_t other_bucket(uint64_t buckets, uint64_t bucket, uint64_t fingerprint) {
    uint64_t mixed = (fingerprint * UINT64_C(0x9E3779B97F4A7C15)) >> 32;
    uint64_t sum = ((mixed * buckets) >> 32) | 1; /* below buckets, which is even */
    return sum >= bucket ? sum - bucket : sum + buckets - bucket;
}

/* The top bit of the lowest place that holds the fingerprint, and perhaps of others above; 0: none
 * does. */
static uint64_t match(uint64_t word, uint64_t fingerprint) {
    uint64_t difference = word ^ fingerprint * ONES;
    return (difference - ONES) & ~difference & ONES << (SLOT_BITS - 1);
}

static unsigned slot_of_match(uint64_t matches) {
    return (unsigned)__builtin_ctzll(matches) / SLOT_BITS;
}

static uint64_t fingerprint_in(uint64_t word, unsigned slot) {
    return word >> slot * SLOT_BITS & 0xffff;
}

static unsigned places_taken_in(uint64_t word) {
    unsigned taken = 0;
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        taken += fingerprint_in(word, slot) != 0;
    }
    return taken;
}

/* As the writer sees it, or where any number of then or of now will do. */
static uint64_t buckets_of(const filter_table *table) {
    return atomic_load_explicit(&table->buckets, memory_order_relaxed);
}

/* As the writer sees it, who alone stores. */
static uint64_t word_at(const filter_table *table, uint64_t bucket) {
    return atomic_load_explicit(&table->words[bucket], memory_order_relaxed);
}

static void set_word(filter_table *table, uint64_t bucket, uint64_t word) {
    atomic_store_explicit(&table->words[bucket], word, memory_order_release);
}

/* Whatever was in the slot is somewhere else by now, and its departure is counted. */
static void set_slot(filter_table *table, uint64_t bucket, unsigned slot, uint64_t fingerprint) {
    uint64_t others = word_at(table, bucket) & ~(UINT64_C(0xffff) << slot * SLOT_BITS);
    set_word(table, bucket, others | fingerprint << slot * SLOT_BITS);
}

/* ---- what a reader does ---- */

typedef enum answer { ANSWER_NO, ANSWER_MAYBE, ANSWER_UNSURE } answer;

/* The fewer instructions, the more questions the processor has in flight while memory answers. */
static inline answer ask(const firn_filter *filter, uint64_t hash) {
    uint64_t fingerprint = fingerprint_of(hash);
    const _Atomic uint64_t *departures = &filter->departures[fingerprint % KINDS];
    uint64_t before = atomic_load_explicit(departures, memory_order_acquire);
    const filter_table *table = atomic_load_explicit(&filter->current, memory_order_acquire);
    if (table == NULL) {
        return ANSWER_MAYBE;
    }
    const _Atomic uint64_t *words = table->words;
    uint64_t buckets = atomic_load_explicit(&table->buckets, memory_order_acquire);
    uint64_t first = first_bucket(buckets, hash);
    uint64_t other = other_bucket(buckets, first, fingerprint);
    uint64_t one = atomic_load_explicit(&words[first], memory_order_acquire);
    uint64_t two = atomic_load_explicit(&words[other], memory_order_acquire);
    if ((match(one, fingerprint) | match(two, fingerprint)) != 0) {
        return ANSWER_MAYBE;
    }
    /* Relaxed: no load goes before the two of the buckets. */
    return atomic_load_explicit(departures, memory_order_relaxed) == before ? ANSWER_NO
                                                                            : ANSWER_UNSURE;
}

static __attribute__((noinline, cold)) bool ask_again(const firn_filter *filter, uint64_t hash) {
    answer said = ANSWER_UNSURE;
    for (unsigned attempt = 1; attempt < ATTEMPTS && said == ANSWER_UNSURE; attempt++) {
        said = ask(filter, hash);
    }
    return said != ANSWER_NO;
}

bool firn_filter_may_contain(const firn_filter *filter, uint64_t hash) {
    answer said = ask(filter, hash);
    return said == ANSWER_UNSURE ? ask_again(filter, hash) : said == ANSWER_MAYBE;
}

void firn_filter_prefetch(const firn_filter *filter, uint64_t hash) {
    const filter_table *table = atomic_load_explicit(&filter->current, memory_order_acquire);
    if (table != NULL) {
        uint64_t buckets = buckets_of(table);
        uint64_t first = first_bucket(buckets, hash);
        uint64_t other = other_bucket(buckets, first, fingerprint_of(hash));
        __builtin_prefetch((const void *)(uintptr_t)&table->words[first]);
        __builtin_prefetch((const void *)(uintptr_t)&table->words[other]);
    }
}

static uint64_t capacity_of(const filter_table *table) {
    uint64_t places = buckets_of(table) * SLOTS;
    return places > SPARE ? (places - SPARE) / ALL_PARTS * FULL_PARTS : 0;
}

void firn_filter_get_stats(const firn_filter *filter, firn_filter_stats *stats) {
    const filter_table *table = atomic_load_explicit(&filter->current, memory_order_acquire);
    *stats = (firn_filter_stats){
        .bytes = atomic_load_explicit(&filter->bytes, memory_order_relaxed),
    };
    if (table != NULL) {
        stats->knows = true;
        stats->capacity = capacity_of(table);
        stats->count = atomic_load_explicit(&filter->count, memory_order_relaxed);
    }
}

/* ---- tables ---- */

/* As the writer sees it. */
static filter_table *current_of(const firn_filter *filter) {
    return atomic_load_explicit(&filter->current, memory_order_relaxed);
}

static void count_up(firn_filter *filter, uint64_t kind) {
    uint64_t so_far = atomic_load_explicit(&filter->departures[kind], memory_order_relaxed);
    atomic_store_explicit(&filter->departures[kind], so_far + 1, memory_order_release);
}

/* From a table that no reader believes, nothing departs; counting would only disturb readers. */
static void count_departure(firn_filter *filter, const filter_table *table, uint64_t fingerprint) {
    if (table == current_of(filter)) {
        count_up(filter, fingerprint % KINDS);
    }
}

static uint64_t count_of(const firn_filter *filter) {
    return atomic_load_explicit(&filter->count, memory_order_relaxed);
}

static void set_count(firn_filter *filter, uint64_t count) {
    atomic_store_explicit(&filter->count, count, memory_order_relaxed);
}

static void note_bytes(firn_filter *filter) {
    bool users = firn_heap_is_users(filter->heap);
    uint64_t bytes = sizeof *filter + filter->changes_room * sizeof *filter->changes;
    for (const filter_table *table = filter->tables; table != NULL; table = table->next) {
        bool in_use = table == current_of(filter) || table == filter->future;
        bytes += sizeof *table;
        bytes += users ? table->room * sizeof *table->words : 0;
        bytes += !users && in_use ? buckets_of(table) * sizeof *table->words : 0;
    }
    atomic_store_explicit(&filter->bytes, bytes, memory_order_relaxed);
}

/* Nobody but late readers looks into it: all zero again. */
static void wipe(firn_filter *filter, filter_table *table) {
    /* Pages of a private mapping that were given back are zero when they are next touched. A
     * reader that sees such a zero sees the departures too: the stores came before the system call,
     * which has every processor forget its translation of the addresses. */
    if (!firn_heap_is_users(filter->heap) &&
        madvise((void *)(uintptr_t)table->words, table->room * sizeof *table->words,
                MADV_DONTNEED) == 0) {
        return;
    }
    uint64_t buckets = buckets_of(table);
    for (uint64_t i = 0; i < buckets; i++) {
        set_word(table, i, 0);
    }
}

/* Puts a table, or NULL for "maybe", in the place of the current one, which retires. */
static void put_in_place(firn_filter *filter, filter_table *fresh, uint64_t count) {
    filter_table *old = current_of(filter);
    set_count(filter, count);
    atomic_store_explicit(&filter->current, fresh, memory_order_release);
    if (old != NULL) {
        for (uint64_t kind = 0; kind < KINDS; kind++) {
            count_up(filter, kind);
        }
        wipe(filter, old);
    }
    note_bytes(filter);
}

static void free_words(firn_heap *heap, _Atomic uint64_t *words, uint64_t room) {
    if (firn_heap_is_users(heap)) {
        firn_heap_free_lines(heap, (void *)(uintptr_t)words, room * sizeof *words);
    } else {
        firn_heap_free_aligned(heap, (void *)(uintptr_t)words, room * sizeof *words);
    }
}

/* The system's memory is asked for in powers of two, of which what is not touched costs nothing. */
static filter_table *new_table(firn_filter *filter, uint64_t buckets) {
    bool users = firn_heap_is_users(filter->heap);
    uint64_t room = users ? buckets : ROOM_MIN;
    while (room < buckets) {
        room *= 2;
    }
    size_t bytes = room * sizeof(_Atomic uint64_t);
    filter_table *table = firn_heap_alloc_lines(filter->heap, sizeof *table);
    _Atomic uint64_t *words =
        users ? firn_heap_alloc_lines(filter->heap, bytes)
              : firn_heap_alloc_aligned(filter->heap, bytes, bytes >= FIRN_HEAP_HUGE);
    if (table == NULL || words == NULL) {
        if (words != NULL) {
            free_words(filter->heap, words, room);
        }
        firn_heap_free_lines(filter->heap, table, sizeof *table);
        return NULL;
    }
    table->words = words;
    table->room = room;
    table->next = filter->tables;
    filter->tables = table;
    return table;
}

/* A table that is zero: a retired one of about the size, or a new one. NULL: no memory. */
static filter_table *take_table(firn_filter *filter, uint64_t buckets) {
    filter_table *found = filter->tables;
    while (found != NULL && (found == current_of(filter) || found == filter->future ||
                             found->room < buckets || found->room / 4 > buckets)) {
        found = found->next;
    }
    if (found == NULL) {
        found = new_table(filter, buckets);
    }
    if (found != NULL) {
        atomic_store_explicit(&found->buckets, buckets, memory_order_release);
    }
    return found;
}

/* ---- changes to one table ---- */

static bool put_into(filter_table *table, uint64_t bucket, uint64_t fingerprint) {
    uint64_t free_places = match(word_at(table, bucket), 0);
    if (free_places != 0) {
        set_slot(table, bucket, slot_of_match(free_places), fingerprint);
    }
    return free_places != 0;
}

/* One bucket of a search. */
typedef struct step {
    uint32_t bucket;
    uint16_t parent; /* the step it was reached from */
    uint16_t slot;   /* whose fingerprint, in the parent's bucket, may move to this one */
} step;

/* Looks, nearest first, for a bucket with a free place to which a chain of moves leads from the
 * first two steps. Returns the last step's number; 0: none was found.
 *
 * No bucket is twice on the way that is found: from its first occurrence the rest of the way would
 * have been found sooner. So the moves, gone from the end, do not meddle with one another. */
static unsigned search(const filter_table *table, step *steps) {
    unsigned used = 2;
    for (unsigned at = 0; at < used; at++) {
        uint64_t bucket = steps[at].bucket;
        uint64_t word = word_at(table, bucket);
        for (unsigned slot = 0; slot < SLOTS && used < SEARCH_MAX; slot++) {
            uint64_t other = other_bucket(buckets_of(table), bucket, fingerprint_in(word, slot));
            steps[used] = (step){(uint32_t)other, (uint16_t)at, (uint16_t)slot};
            if (match(word_at(table, other), 0) != 0) {
                return used;
            }
            used++;
        }
    }
    return 0;
}

/* False: there is no place, and nothing was changed. */
static bool insert(firn_filter *filter, filter_table *table, uint64_t hash) {
    uint64_t fingerprint = fingerprint_of(hash);
    uint64_t first = first_bucket(buckets_of(table), hash);
    uint64_t other = other_bucket(buckets_of(table), first, fingerprint);
    if (put_into(table, first, fingerprint) || put_into(table, other, fingerprint)) {
        return true;
    }
    step steps[SEARCH_MAX];
    steps[0] = (step){(uint32_t)first, 0, 0};
    steps[1] = (step){(uint32_t)other, 0, 0};
    unsigned at = search(table, steps);
    if (at == 0) {
        return false;
    }
    unsigned slot = slot_of_match(match(word_at(table, steps[at].bucket), 0));
    while (at >= 2) {
        uint64_t from = steps[steps[at].parent].bucket;
        uint64_t moved = fingerprint_in(word_at(table, from), steps[at].slot);
        set_slot(table, steps[at].bucket, slot, moved);
        count_departure(filter, table, moved);
        slot = steps[at].slot; /* still holds it, and is overwritten by the next store */
        at = steps[at].parent;
    }
    set_slot(table, steps[at].bucket, slot, fingerprint);
    return true;
}

static bool take_from(firn_filter *filter, filter_table *table, uint64_t bucket,
                      uint64_t fingerprint) {
    uint64_t matches = match(word_at(table, bucket), fingerprint);
    if (matches != 0) {
        count_departure(filter, table, fingerprint);
        set_slot(table, bucket, slot_of_match(matches), 0);
    }
    return matches != 0;
}

/* Takes away one of the equal fingerprints. False: there is none. */
static bool erase(firn_filter *filter, filter_table *table, uint64_t hash) {
    uint64_t fingerprint = fingerprint_of(hash);
    uint64_t first = first_bucket(buckets_of(table), hash);
    return take_from(filter, table, first, fingerprint) ||
           take_from(filter, table, other_bucket(buckets_of(table), first, fingerprint),
                     fingerprint);
}

/* ---- what is being built ---- */

static void forget_changes(firn_filter *filter) {
    firn_heap_free(filter->heap, filter->changes, filter->changes_room * sizeof *filter->changes);
    filter->changes = NULL;
    filter->changes_used = 0;
    filter->changes_room = 0;
}

static void end_building(firn_filter *filter) {
    forget_changes(filter);
    filter->future = NULL;
    filter->future_count = 0;
    filter->kind = BUILD_NOTHING;
}

static void give_up_building(firn_filter *filter) {
    if (filter->future != NULL) {
        wipe(filter, filter->future);
        end_building(filter);
        note_bytes(filter);
    }
}

static void put_future_in_place(firn_filter *filter) {
    filter_table *fresh = filter->future;
    uint64_t count = filter->future_count;
    end_building(filter);
    put_in_place(filter, fresh, count);
}

static int begin(firn_filter *filter, building kind, uint64_t buckets) {
    filter_table *fresh = take_table(filter, buckets);
    if (fresh == NULL) {
        return FIRN_ENOMEM;
    }
    give_up_building(filter);
    filter->kind = kind;
    filter->future = fresh;
    filter->position = 0;
    filter->loaded = 0;
    filter->places_taken = 0;
    note_bytes(filter);
    return FIRN_OK;
}

static bool make_change(firn_filter *filter, filter_table *table, uint64_t *count, change made) {
    bool done = made.adds ? insert(filter, table, made.hash) : erase(filter, table, made.hash);
    if (done) {
        *count = made.adds ? *count + 1 : *count - 1;
    }
    return done;
}

static bool grow_changes(firn_filter *filter) {
    size_t room = filter->changes_room != 0 ? filter->changes_room * 2 : CHANGES_MIN;
    change *changes = filter->changes_room < FIRN_FILTER_CHANGES_MAX
                          ? firn_heap_alloc(filter->heap, room * sizeof *changes)
                          : NULL;
    if (changes == NULL) {
        return false;
    }
    size_t used = filter->changes_used;
    if (used > 0) {
        memcpy(changes, filter->changes, used * sizeof *changes);
    }
    forget_changes(filter);
    filter->changes = changes;
    filter->changes_used = used;
    filter->changes_room = room;
    note_bytes(filter);
    return true;
}

static bool remember(firn_filter *filter, change made) {
    if (filter->changes_used == filter->changes_room && !grow_changes(filter)) {
        return false;
    }
    filter->changes[filter->changes_used++] = made;
    return true;
}

/* ---- changes ---- */

static bool change_current(firn_filter *filter, change made) {
    filter_table *table = current_of(filter);
    if (table == NULL) {
        return true;
    }
    uint64_t count = count_of(filter);
    bool done = make_change(filter, table, &count, made);
    if (done) {
        set_count(filter, count);
    } else {
        put_in_place(filter, NULL, 0);
    }
    return done;
}

static bool change_future(firn_filter *filter, change made) {
    bool done = true;
    if (filter->kind == BUILD_WALK && made.hash < filter->position) {
        done = make_change(filter, filter->future, &filter->future_count, made);
    } else if (filter->kind == BUILD_LOAD) {
        done = remember(filter, made);
    }
    if (!done) {
        give_up_building(filter);
    }
    return done;
}

static bool change_both(firn_filter *filter, change made) {
    bool current_done = change_current(filter, made);
    return change_future(filter, made) && current_done;
}

bool firn_filter_add(firn_filter *filter, uint64_t hash) {
    return change_both(filter, (change){hash, true});
}

bool firn_filter_remove(firn_filter *filter, uint64_t hash) {
    return change_both(filter, (change){hash, false});
}

/* ---- building ---- */

static uint64_t buckets_for(uint64_t capacity) {
    uint64_t places = capacity / FULL_PARTS * ALL_PARTS + ALL_PARTS + SPARE;
    return (places + 2 * SLOTS - 1) / (2 * SLOTS) * 2;
}

bool firn_filter_is_building(const firn_filter *filter) {
    return filter->kind != BUILD_NOTHING;
}

bool firn_filter_wants_rebuild(const firn_filter *filter) {
    const filter_table *table = current_of(filter);
    return filter->kind == BUILD_NOTHING &&
           (table == NULL || count_of(filter) > capacity_of(table));
}

int firn_filter_rebuild_begin(firn_filter *filter, uint64_t capacity) {
    if (capacity > FIRN_FILTER_CAPACITY_MAX) {
        return FIRN_EINVAL;
    }
    return begin(filter, BUILD_WALK, buckets_for(capacity));
}

int firn_filter_rebuild_step(firn_filter *filter, uint64_t hashes_max, firn_filter_source source,
                             void *context) {
    if (filter->kind != BUILD_WALK) {
        return FIRN_ENOSPC;
    }
    for (uint64_t i = 0; i < hashes_max; i++) {
        uint64_t hash = 0;
        int result = source(context, filter->position, &hash);
        if (result == FIRN_OK && hash < filter->position) {
            result = FIRN_EINVAL;
        }
        if (result != FIRN_OK && result != FIRN_NOT_FOUND) {
            return result;
        }
        if (result == FIRN_OK &&
            !make_change(filter, filter->future, &filter->future_count, (change){hash, true})) {
            give_up_building(filter);
            return FIRN_ENOSPC;
        }
        if (result == FIRN_NOT_FOUND || hash == UINT64_MAX) {
            put_future_in_place(filter);
            return FIRN_OK;
        }
        filter->position = hash + 1;
    }
    return FIRN_AGAIN;
}

void firn_filter_rebuild_cancel(firn_filter *filter) {
    if (filter->kind == BUILD_WALK) {
        give_up_building(filter);
    }
}

int firn_filter_start_empty(firn_filter *filter, uint64_t capacity) {
    int result = firn_filter_rebuild_begin(filter, capacity);
    if (result == FIRN_OK) {
        put_future_in_place(filter);
    }
    return result;
}

/* ---- saving and loading ---- */

int firn_filter_get_shape(const firn_filter *filter, firn_filter_shape *shape) {
    const filter_table *table = current_of(filter);
    if (table == NULL) {
        return FIRN_NOT_FOUND;
    }
    *shape = (firn_filter_shape){buckets_of(table), count_of(filter)};
    return FIRN_OK;
}

void firn_filter_get_words(const firn_filter *filter, uint64_t first, uint64_t *words,
                           size_t count) {
    const filter_table *table = current_of(filter);
    for (size_t i = 0; i < count; i++) {
        words[i] = word_at(table, first + i);
    }
}

int firn_filter_load_begin(firn_filter *filter, const firn_filter_shape *shape) {
    if (shape->buckets == 0 || shape->buckets % 2 != 0 ||
        shape->buckets > buckets_for(FIRN_FILTER_CAPACITY_MAX) ||
        shape->count > shape->buckets * SLOTS) {
        return FIRN_ECORRUPT;
    }
    int result = begin(filter, BUILD_LOAD, shape->buckets);
    if (result == FIRN_OK) {
        filter->future_count = shape->count;
    }
    return result;
}

int firn_filter_load_words(firn_filter *filter, const uint64_t *words, size_t count) {
    if (filter->kind != BUILD_LOAD) {
        return FIRN_ENOMEM;
    }
    if (count > buckets_of(filter->future) - filter->loaded) {
        return FIRN_ECORRUPT;
    }
    for (size_t i = 0; i < count; i++) {
        set_word(filter->future, filter->loaded++, words[i]);
        filter->places_taken += places_taken_in(words[i]);
    }
    return FIRN_OK;
}

static int make_remembered_changes(firn_filter *filter) {
    for (size_t i = 0; i < filter->changes_used; i++) {
        change made = filter->changes[i];
        if (!make_change(filter, filter->future, &filter->future_count, made)) {
            return made.adds ? FIRN_ENOSPC : FIRN_ECORRUPT;
        }
    }
    return FIRN_OK;
}

int firn_filter_load_finish(firn_filter *filter) {
    if (filter->kind != BUILD_LOAD) {
        return FIRN_ENOMEM;
    }
    bool whole = filter->loaded == buckets_of(filter->future) &&
                 filter->places_taken == filter->future_count;
    int result = whole ? make_remembered_changes(filter) : FIRN_ECORRUPT;
    if (result == FIRN_OK) {
        put_future_in_place(filter);
    } else {
        give_up_building(filter);
    }
    return result;
}

void firn_filter_load_cancel(firn_filter *filter) {
    if (filter->kind == BUILD_LOAD) {
        give_up_building(filter);
    }
}

/* ---- birth and death ---- */

firn_filter *firn_filter_new(firn_heap *heap) {
    firn_filter *filter = firn_heap_alloc_lines(heap, sizeof *filter);
    if (filter != NULL) {
        filter->heap = heap;
        note_bytes(filter);
    }
    return filter;
}

void firn_filter_free(firn_filter *filter) {
    if (filter == NULL) {
        return;
    }
    forget_changes(filter);
    while (filter->tables != NULL) {
        filter_table *table = filter->tables;
        filter->tables = table->next;
        free_words(filter->heap, table->words, table->room);
        firn_heap_free_lines(filter->heap, table, sizeof *table);
    }
    firn_heap_free_lines(filter->heap, filter, sizeof *filter);
}
