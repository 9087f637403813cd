/* What the files of the cold tier's store share: the handle. cold.c reads and tells,
 * cold_open.c opens and closes, cold_encode.c makes records, cold_write.c writes and reclaims,
 * cold_maintain.c keeps the dictionaries. For no other file. */
#ifndef FIRN_COLD_COLD_INTERNAL_H
#define FIRN_COLD_COLD_INTERNAL_H

#include <semaphore.h>
#include <stdatomic.h>

#include "cold/backend.h"
#include "cold/codec.h"
#include "cold/cold.h"
#include "cold/dictionary.h"
#include "cold/encoding.h"
#include "cold/journal.h"
#include "cold/lock.h"

enum {
    FIRN_COLD_READERS = 64,      /* reads at one time; more of them wait */
    FIRN_COLD_LOSSES_MAX = 4096, /* records reclaimed in one commit, at the most */
    FIRN_COLD_SHELF_MAX = 64     /* dictionaries in the store, at the most */
};

/* What one read needs. Taken by whoever turns `taken` from 0 to 1 (acquire), given back by a
 * release store; the rest belongs to the taker. */
typedef struct firn_cold_reader {
    _Alignas(64) atomic_uint taken;
    firn_backend_session *session; /* made by the first read */
    firn_decoders decoders;
} firn_cold_reader;

/* Counters: relaxed, each by itself. */
typedef struct firn_cold_counters {
    _Atomic uint64_t entries;
    _Atomic uint64_t live_bytes;
    _Atomic uint64_t file_bytes;
    _Atomic uint64_t commits;
    _Atomic uint64_t value_bytes;
    _Atomic uint64_t stored_bytes;
    _Atomic uint64_t reclaimed;
    _Atomic uint64_t expired;
    _Atomic uint64_t collisions;
    _Atomic uint64_t damaged;
    _Atomic uint64_t write_errors;
    _Atomic uint64_t read_errors;
    _Atomic uint64_t syncs;
} firn_cold_counters;

typedef struct firn_cold_loss {
    uint64_t hash;
    uint64_t version;
} firn_cold_loss;

/* What a transaction has done, told when it is committed. */
typedef struct firn_cold_tally {
    uint64_t value_bytes;
    uint64_t stored_bytes;
    uint64_t reclaimed;
    uint64_t expired;
    uint64_t collisions;
    uint64_t damaged;
} firn_cold_tally;

/* A record ready to be put, beside its item. */
typedef struct firn_cold_encoded {
    uint64_t sequence;   /* 0: nothing is to be put */
    unsigned char *head; /* in the arena: all but the payload */
    size_t head_size;
    const void *payload; /* in the arena, or the caller's */
    size_t payload_size;
    bool overtaken; /* a newer item of the same hash stands in the batch */
    bool refused;   /* it does not fit; what is there of its hash goes */
} firn_cold_encoded;

/* The dictionaries in the store, oldest first: see cold_maintain.c. */
typedef struct firn_cold_shelf {
    struct {
        uint32_t id;
        uint64_t first_sequence; /* 0: it is damaged */
    } places[FIRN_COLD_SHELF_MAX];
    size_t count;
    uint32_t wanted; /* id of the one to use that was not loaded yet; 0: none */
    uint64_t writes; /* since the open */
} firn_cold_shelf;

struct firn_cold {
    /* Immutable after the open. */
    firn_heap *heap;
    firn_detail *detail;
    firn_clock clock;
    char *path;
    const firn_backend_ops *ops;
    firn_backend *backend;
    firn_journal *journal;
    firn_lock lock;
    unsigned durability;
    bool read_only;
    void (*reclaimed)(void *context, uint64_t hash, uint64_t version);
    void *reclaimed_context;
    uint32_t page_bytes;
    uint64_t store_id;
    uint64_t seed;
    uint64_t created_ms;
    uint64_t version_next; /* as found by the open */
    uint64_t budget_bytes; /* whole pages; the file never grows above it */
    uint64_t normal_bytes; /* what it grows to in the normal way; the rest is for reclaiming */

    /* The writer's. */
    uint64_t live_max;      /* reclaim begins above this */
    firn_backend_meta meta; /* as of the last commit, but for sequence_next, which runs ahead */
    uint64_t map_bytes;     /* what the file may grow to now */
    firn_encoding *encoding;
    firn_cold_shelf shelf;
    unsigned char *arena; /* encoded records; kept between batches while it is small */
    size_t arena_size;
    firn_cold_loss *losses; /* FIRN_COLD_LOSSES_MAX; of the current transaction */
    size_t losses_used;
    firn_cold_tally tally;

    /* Shared. */
    sem_t readers_free; /* counts readers that are not taken */
    firn_cold_reader *readers;
    firn_dictionaries dictionaries;
    firn_cold_counters counters;
};

static inline void firn_cold_count(_Atomic uint64_t *counter, uint64_t by) {
    atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

/* The largest record the budget can always take. */
uint64_t firn_cold_record_max(const firn_cold *cold);

/* [writer] Makes records of the items, with sequences of their own, into encoded (zeroed, one an
 * item). What they lend from the arena holds until firn_cold_trim_arena. */
int firn_cold_encode(firn_cold *cold, const firn_cold_item *items, firn_cold_encoded *encoded,
                     size_t count);
void firn_cold_trim_arena(firn_cold *cold);

/* [writer] At the open: learns which dictionaries there are. None is loaded. FIRN_OK, FIRN_EIO,
 * FIRN_ENOMEM. */
int firn_cold_survey_dictionaries(firn_cold *cold);
/* [writer] Between transactions, before records are made: takes a new dictionary into use, or the
 * stored one, and removes those that no record needs. What fails is tried again next time. */
void firn_cold_tend_dictionaries(firn_cold *cold);

/* [writer] Applies what the open found in the journal, in as many commits as it takes. The slots
 * are left as they are. */
int firn_cold_replay_journal(firn_cold *cold);

/* [writer] Takes over what the backend tells of itself. */
int firn_cold_note_usage(firn_cold *cold);

#endif
