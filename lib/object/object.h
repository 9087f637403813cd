/* The object: one key and one immutable value in one block of the pool, with a reference count.
 *
 *     +------------------+-- - - - - --+-------+-----+---------+--+
 *     | header, 32 bytes | more, below |  key  | pad |  value  |  |   the key first,
 * or
 *     +------------------+-- - - - - --+-------+-----+---------+--+
 *     | header, 32 bytes | more, below |  value  |  key  |        |   the key last
 *     +------------------+-- - - - - --+---------+-------+--------+
 *                                      ^ both are aligned to 16
 *
 * A small value has its key behind it where that saves the padding: 16 bytes of 150. A large one
 * has it in front, so that a look-up that compares the key touches one line and not two. What most
 * entries do without stands between, in this order, as the flags tell: the extension, of an entry
 * that expires or has any of what follows; the traits, of one of 1 MiB and more, or with tags or a
 * sliding expiry, and the tags; and the rich part, of one with a type or links.
 *
 * The count is the only thing that frees an object. Each handle of the program and the write queue
 * hold one; what the index holds is told at FIRN_OBJECT_INDEXED. Knows nothing of tiers: what the
 * state bits mean is told here, what they cause is decided above. */
#ifndef FIRN_OBJECT_INTERNAL_H
#define FIRN_OBJECT_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <firn/object.h>
#include <firn/type.h>

#include "base/links.h"
#include "base/pool.h"
#include "base/traits.h"
#include "object/entry.h"

/* State bits. All are changed under the lock of the hash's shard in the hot table; readers without
 * it see an older state, which they must be able to live with.
 *
 *                       put, promote, restore
 *      (detached) ---------------------------------> INDEXED|RESIDENT [|STORED after a cold read]
 *                                                     |    |      ^
 *                evict, STORED: leaves the index <----+    |      | hit: admitted again
 *                                                          |      |
 *                                   evict, not STORED      v      |
 *                                                    INDEXED|QUEUED -- batch done --> (detached)
 *
 *      flush, write-behind, write-through:  INDEXED|RESIDENT|QUEUED -- batch done -->
 *                                           INDEXED|RESIDENT|STORED
 *      delete:           a new object INDEXED|QUEUED|TOMBSTONE takes the place of the old
 *      overwrite:        the old one loses INDEXED|RESIDENT at once, QUEUED when the writer sees it
 *      reclaim below:    STORED is cleared: the entry is written again when it leaves
 *      refused below:    it leaves the index; unless it is ALONE, a tombstone takes its place
 *
 * With none set an object is detached: only handles keep it. */
enum {
    FIRN_INDEXED = 1,  /* the table points to it and holds references: this is the entry's truth */
    FIRN_RESIDENT = 2, /* the policy manages it */
    FIRN_QUEUED = 4,   /* the write queue, or a batch on its way, holds a reference */
    FIRN_STORED = 8,   /* the cold tier holds exactly this version */
    FIRN_TOMBSTONE = 16, /* says that the entry is gone, while the cold tier may not know yet. Set
                            before the object is indexed, and for ever */
    FIRN_PINNED = 32,    /* resident, but no business of the policy's: see hot/pins.h */
    FIRN_WATCHED = 64,   /* weak references know its address: see weak.h. Set by one who holds a
                            reference, and for ever */
    /* One bit, for they are never needed together. Of one that is QUEUED: */
    FIRN_ASKED = 128, /* the demotion policy said that it be written */
    /* Of one that is not: there is nothing of the key below, nor on its way there, so that the
     * object may go without a trace. Not set: there may be. */
    FIRN_ALONE = 128,
    FIRN_FIXED = FIRN_PINNED | FIRN_WATCHED, /* it must stay at its address */
};

/* What each slot of the table that points to an object adds to its count. Readers take their
 * references by raising a count in the slot, and drop them here; the slot's count is brought over
 * when the slot lets go, and now and then before. Until then the count here is too low by what the
 * slot has, which the bias hides: it cannot come near 0 while a slot points here. */
#define FIRN_OBJECT_INDEXED (UINT32_C(1) << 30)

/* Set by the collector in the count of what it is about to take apart, and cleared by whoever takes
 * a reference: so a reference that was taken meanwhile cannot be overlooked, also when it was
 * dropped again. See collect.c. Only what is not indexed is frozen, so the bias never reaches it.
 */
#define FIRN_OBJECT_FROZEN (UINT32_C(1) << 31)

struct firn_object {
    struct firn_entry entry;
};

enum {
    /* Flags, above the version: */
    FIRN_OBJECT_EXPIRES = 1,   /* there is an extension */
    FIRN_OBJECT_LARGE = 2,     /* there are traits, and their value_size counts */
    FIRN_OBJECT_KEY_LAST = 4,  /* the key is behind the value: written down, for a look-up has no
                                  time to find it out */
    FIRN_OBJECT_RICH = 8,      /* there is a rich part */
    FIRN_OBJECT_TRACKED = 16,  /* handles to it are noted: see track.h */
    FIRN_OBJECT_TRAITS = 32,   /* there are traits */
    FIRN_OBJECT_NEGATIVE = 64, /* says that there is no value: see firn_traits */
    /* Whatever follows the header, there is an extension. */
    FIRN_OBJECT_EXTENDED = FIRN_OBJECT_EXPIRES,

    FIRN_OBJECT_VERSION_BITS = 48, /* what the cold tier's journal has room for */
    FIRN_OBJECT_GROUP_BITS = 8,    /* above the version: see base/prefixes.h */
    FIRN_OBJECT_FLAGS_SHIFT = FIRN_OBJECT_VERSION_BITS + FIRN_OBJECT_GROUP_BITS,
    FIRN_OBJECT_KEY_LAST_MAX = 192, /* bytes; a larger value has its key in front */
};

/* Behind the header of those that need it. */
typedef struct firn_object_extension {
    _Atomic uint64_t expires_ms; /* 0: never. Changed under the shard's lock, and by hits that put
                                    it off; read by anybody. Relaxed: a number by itself */
    firn_object *next;  /* of the same slot of the wheel, see hot/wheel.h; the shard's lock */
    firn_object **back; /* what points here; NULL: it is in no wheel */
    uint32_t stale_ms;  /* immutable, like the next */
    uint32_t cost_us;
} firn_object_extension;

/* Behind the extension. Immutable, but for known_ms. */
typedef struct firn_object_traits {
    uint64_t value_size;
    uint64_t idle_ms;
    uint64_t limit_ms;
    uint64_t known_ms; /* the expiry that the cold tier knows of a STORED entry; the shard's lock */
    uint64_t tag_count; /* so many u64 follow, filled up to 16 bytes */
    uint64_t unused;
} firn_object_traits;

/* The rich part, behind the extension. */
typedef struct firn_object_rich {
    _Alignas(16) const firn_type *type; /* immutable, lent for good; NULL: bytes */
    size_t charge; /* bytes that the value takes beside its size; immutable once indexed */
    bool live;     /* the value is the object's to drop; immutable once indexed */
    bool listed;  /* among the domain's holders: see domain.h; the shard's lock, or whoever makes or
                     ends it */
    bool owned;   /* lives only as long as links keep it; immutable once indexed */
    bool is_body; /* it holds a value for others; immutable once indexed */
    _Atomic uint32_t users; /* of a body: objects whose value it is. Relaxed: more is told by links
                               and references */
    firn_links *links;      /* NULL: none. Changed under the domain's links_lock */
    firn_object *body;      /* NULL: the value is the object's own. Else a reference; immutable */
    /* Of a listed one: its neighbours, under the list's lock. Of an object whose count came to 0:
     * what waits for the thread's drops, its thread's own. */
    firn_object *next;
    firn_object *prev;
} firn_object_rich;

/* A new object with one reference, its key copied and its value to be filled in before anybody
 * else sees it. traits: NULL for none. Returns NULL: no memory. */
firn_object *firn_object_make(firn_pool *pool, const void *key, size_t key_size, size_t value_size,
                              const firn_traits *traits);
/* The same for one with a rich part, its value zeroed. */
firn_object *firn_object_make_rich(firn_pool *pool, const void *key, size_t key_size,
                                   size_t value_size, const firn_traits *traits,
                                   const firn_type *type);
/* The value is complete: from now on it is dropped with the object. Asks the type for its charge.
 * Before the object is indexed. */
void firn_object_enliven(firn_object *object);
/* The opposite, of an object that never was indexed: what the value holds is its maker's again. */
void firn_object_disown(firn_object *object);

/* Where the value goes while the object is still its maker's own. */
void *firn_object_body(firn_object *object);
/* Only before the object is indexed. */
void firn_object_set_version(firn_object *object, uint64_t version);
/* True: the object now expires then (0: never). False: it has no room for that, and another has to
 * take its place. The shard's lock is held. */
bool firn_object_set_expiry_locked(firn_object *object, uint64_t expires_ms);

/* Whether the pool wants its block back, and an object that says the same in another block: with
 * one reference, no state, and its policy's part not yet copied. A rich one stays where it is, for
 * its value may know its own address. */
bool firn_object_should_move(const firn_object *object);
firn_object *firn_object_copy(firn_pool *pool, const firn_object *object);

/* firn_object_ref for ourselves, which is not noted as a handle of the program's. */
firn_object *firn_object_keep(firn_object *object);
/* A reference to an object that may be on its way out: false when its count has come to 0. Thaws
 * it. The caller keeps its memory from being freed meanwhile. */
bool firn_object_try_ref(firn_object *object);

/* Makes the value of a rich object, whose own is empty, that of another, of which it takes a
 * reference. Before the object is indexed. */
void firn_object_set_body(firn_object *object, firn_object *body);
/* The links of an object, with a reference for the caller; NULL: none. */
firn_links *firn_object_get_links(const firn_object *object);
/* Gives a rich object other links, whose reference it takes over; NULL: none. */
void firn_object_set_links(firn_object *object, firn_links *links);

/* The pool it is from. */
firn_pool *firn_object_pool(const firn_object *object);
/* Gives its memory back: its count came to 0, and its value is released. */
void firn_object_free(firn_object *object);

/* The bytes the budget counts for it: its block in the pool, and what its type told; SIZE_MAX if
 * they overflow. */
size_t firn_object_charge_for(const firn_pool *pool, size_t key_size, size_t value_size,
                              const firn_traits *traits);
size_t firn_object_charge(const firn_object *object);

/* The key's hash, computed anew: the key is at hand wherever it is needed. */
uint64_t firn_object_hash(const firn_object *object);
/* It is of no use to anybody any more. */
bool firn_object_expired(const firn_object *object, uint64_t now_ms);
/* What it has of traits; the tags are lent. */
firn_traits firn_object_get_traits(const firn_object *object);
/* A hit: puts off the expiry of an object whose expiry slides. The caller holds a reference. */
void firn_object_slide(const firn_object *object, uint64_t now_ms);

/* What a look-up needs of the layout, here so that it is part of the look-up. */

static inline unsigned firn_object_flags(const firn_object *object) {
    return (unsigned)(object->entry.version_flags >> FIRN_OBJECT_FLAGS_SHIFT);
}

/* The group of its key when it was made. */
static inline unsigned firn_object_group(const firn_object *object) {
    return (unsigned)(object->entry.version_flags >> FIRN_OBJECT_VERSION_BITS) &
           ((1u << FIRN_OBJECT_GROUP_BITS) - 1);
}

static inline firn_object_extension *firn_object_extension_of(const firn_object *object) {
    return (firn_object_extension *)(uintptr_t)(object + 1);
}

/* Of an object that has them. */
static inline firn_object_traits *firn_object_traits_of(const firn_object *object) {
    return (firn_object_traits *)(firn_object_extension_of(object) + 1);
}

/* What follows header, extension, traits and tags, in an extended object. */
static inline unsigned char *firn_object_behind_traits(const firn_object *object, unsigned flags) {
    unsigned char *at = (unsigned char *)(firn_object_extension_of(object) + 1);
    if ((flags & FIRN_OBJECT_TRAITS) != 0) {
        size_t tags = (size_t)firn_object_traits_of(object)->tag_count * sizeof(uint64_t);
        at += sizeof(firn_object_traits) + ((tags + 15) & ~(size_t)15);
    }
    return at;
}

/* Of a rich object. */
static inline firn_object_rich *firn_object_rich_of(const firn_object *object) {
    return (firn_object_rich *)firn_object_behind_traits(
        object, (unsigned)(object->entry.version_flags >> FIRN_OBJECT_FLAGS_SHIFT));
}

static inline bool firn_object_is_rich(const firn_object *object) {
    return (firn_object_flags(object) & FIRN_OBJECT_RICH) != 0;
}

static inline firn_object *firn_object_body_of(const firn_object *object) {
    return firn_object_is_rich(object) ? firn_object_rich_of(object)->body : NULL;
}

/* It is the value of other objects, some of which are alive. */
static inline bool firn_object_is_used_body(const firn_object *object) {
    return firn_object_is_rich(object) && firn_object_rich_of(object)->is_body &&
           atomic_load_explicit(&firn_object_rich_of(object)->users, memory_order_relaxed) != 0;
}

/* Hits put its expiry off. */
static inline bool firn_object_slides(const firn_object *object) {
    return (firn_object_flags(object) & FIRN_OBJECT_TRAITS) != 0 &&
           firn_object_traits_of(object)->idle_ms != 0;
}

static inline bool firn_object_is_owned(const firn_object *object) {
    return firn_object_is_rich(object) && firn_object_rich_of(object)->owned;
}

static inline size_t firn_object_key_size(const firn_object *object) {
    uint64_t word = atomic_load_explicit(&object->entry.prev_word, memory_order_relaxed);
    return (size_t)(word & FIRN_ENTRY_LOW_MASK) + 1;
}

static inline size_t firn_object_value_size(const firn_object *object) {
    if ((firn_object_flags(object) & FIRN_OBJECT_LARGE) != 0) {
        return (size_t)firn_object_traits_of(object)->value_size;
    }
    uint64_t word = atomic_load_explicit(&object->entry.next_word, memory_order_relaxed);
    return (size_t)(word & FIRN_ENTRY_LOW_MASK);
}

static inline const unsigned char *firn_object_key_bytes(const firn_object *object) {
    const unsigned char *body = (const unsigned char *)(object + 1);
    unsigned flags = firn_object_flags(object);
    if ((flags & FIRN_OBJECT_EXTENDED) != 0) {
        body = firn_object_behind_traits(object, flags);
        body += (flags & FIRN_OBJECT_RICH) != 0 ? sizeof(firn_object_rich) : 0;
    }
    return (flags & FIRN_OBJECT_KEY_LAST) != 0 ? body + firn_object_value_size(object) : body;
}

static inline bool firn_object_same_bytes(const void *own, const void *key, size_t size) {
    if (size == sizeof(uint64_t)) { /* the commonest, and no call */
        uint64_t a;
        uint64_t b;
        memcpy(&a, own, sizeof a);
        memcpy(&b, key, sizeof b);
        return a == b;
    }
    return memcmp(own, key, size) == 0;
}

static inline bool firn_object_has_key(const firn_object *object, const void *key,
                                       size_t key_size) {
    return firn_object_key_size(object) == key_size &&
           firn_object_same_bytes(firn_object_key_bytes(object), key, key_size);
}

/* The same for an object that has no extension, whose flags are at hand. */
static inline bool firn_object_plain_has_key(const firn_object *object, unsigned flags,
                                             const void *key, size_t key_size) {
    const unsigned char *own = (const unsigned char *)(object + 1);
    if ((flags & FIRN_OBJECT_KEY_LAST) != 0) {
        own += atomic_load_explicit(&object->entry.next_word, memory_order_relaxed) &
               FIRN_ENTRY_LOW_MASK;
    }
    return firn_object_key_size(object) == key_size && firn_object_same_bytes(own, key, key_size);
}

static inline unsigned firn_object_state(const firn_object *object) {
    return atomic_load_explicit(&object->entry.state, memory_order_relaxed);
}

/* The shard lock is held, or the object is its maker's own. */
static inline void firn_object_change_state_locked(firn_object *object, unsigned clear,
                                                   unsigned set) {
    unsigned state = (firn_object_state(object) & ~clear) | set;
    atomic_store_explicit(&object->entry.state, (uint8_t)state, memory_order_relaxed);
}

/* The object is not to be taken apart. Relaxed: what the collector has to see is ordered by the
 * drop of the reference that led here. */
static inline void firn_object_thaw(firn_object *object) {
    atomic_fetch_and_explicit(&object->entry.refs, ~FIRN_OBJECT_FROZEN, memory_order_relaxed);
}

/* Adds to the count (a negative number: takes off). Relaxed: the caller holds a reference, so the
 * object cannot go meanwhile; what it takes off leaves at least that one. */
static inline void firn_object_add_refs(firn_object *object, int64_t count) {
    uint32_t before =
        atomic_fetch_add_explicit(&object->entry.refs, (uint32_t)count, memory_order_relaxed);
    if (__builtin_expect((before & FIRN_OBJECT_FROZEN) != 0, 0)) {
        firn_object_thaw(object);
    }
}

#endif
