/* What the files of the cold tier's store share: the handle. cold.c reads and tells,
 * cold_open.c opens and closes, cold_encode.c makes records, cold_write.c writes and reclaims,
 * cold_maintain.c keeps the dictionaries, cold_pack.c gives space back. For no other file. */
#ifndef FIRN_COLD_COLD_INTERNAL_H
#define FIRN_COLD_COLD_INTERNAL_H

#include <semaphore.h>
#include <stdatomic.h>

#include "base/clears.h"
#include "cold/backend.h"
#include "cold/clears_file.h"
#include "cold/codec.h"
#include "cold/cold.h"
#include "cold/dictionary.h"
#include "cold/encoding.h"
#include "cold/journal.h"
#include "cold/lock.h"
#include "cold/record.h"
#include "cold/voids.h"

enum {
    FIRN_COLD_READERS = 64,        /* reads at one time; more of them wait */
    FIRN_COLD_HIT_MARKS = 1 << 18, /* bytes, of the largest stores */
    FIRN_COLD_SHELF_MAX = 64       /* dictionaries in the store, at the most */
};

/* What one read needs. Taken by whoever turns `taken` from 0 to 1 (acquire), given back by a
 * release store; the rest belongs to the taker. */
typedef struct firn_cold_reader {
    _Alignas(64) atomic_uint taken;
    firn_backend_session *session; /* made by the first read */
    const firn_voids *voids; /* the cold tier's, as of before anything was looked up; may be NULL */
    firn_decoders decoders;
} firn_cold_reader;

/* Counters: relaxed, each by itself. */
typedef struct firn_cold_counters {
    _Atomic uint64_t entries;
    _Atomic uint64_t live_bytes;
    _Atomic uint64_t commits;
    _Atomic uint64_t value_bytes;
    _Atomic uint64_t stored_bytes;
    _Atomic uint64_t reclaimed;
    _Atomic uint64_t expired;
    _Atomic uint64_t cleared;
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
    uint64_t cleared;
    uint64_t collisions;
    uint64_t damaged;
} firn_cold_tally;

/* A record ready to be put, beside its item. */
typedef struct firn_cold_encoded {
    bool ready;          /* there is something to be put */
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
    firn_store_lock lock;
    unsigned durability;
    bool read_only;
    uint64_t filter_bytes_max;
    void (*reclaimed)(void *context, uint64_t hash, uint64_t version);
    bool (*kept)(void *context, uint64_t hash);
    void *reclaimed_context;
    firn_clears *clears; /* the caller's, or the next; has a protocol of its own */
    firn_clears own_clears;
    firn_clears_file clears_file; /* has a lock of its own */
    struct firn_histograms *histograms;
    uint64_t store_id;
    uint64_t seed;
    uint64_t created_ms;
    uint64_t version_next; /* as found by the open */
    uint64_t budget_bytes; /* the files never take more */

    /* The writer's. */
    firn_backend_meta meta;
    firn_backend_session *session; /* for looks at what is to be reclaimed; made by the first */
    firn_encoding *encoding;
    firn_cold_shelf shelf;
    firn_decoders decoders; /* for records that are made anew, in a buffer of their own */
    unsigned char *recoding;
    size_t recoding_size;
    unsigned char *arena; /* encoded records; kept between batches while it is small */
    size_t arena_size;
    firn_cold_loss *losses; /* records of the segment that is being reclaimed */
    size_t losses_size;
    size_t losses_used;
    uint64_t commits_noted; /* of the index, in the journal's fingerprint; UINT64_MAX: unknown */
    unsigned cleaned;       /* segments in a row whose valid records were all kept */
    firn_cold_tally tally;
    uint64_t adopted_end;   /* of the journal's lines that the open found there */
    bool adopted_is_synced; /* before they go, what they did must be on the device */
    firn_voids *old_voids;  /* to be freed when no reader is taken */

    /* Shared. */
    /* What those lines say, until they are applied: then NULL. Set by the open, before there are
     * readers. Acquire and release: whoever sees it gone, and then looks, sees that they are
     * applied. So readers take it first, and it is theirs while they are taken. */
    _Atomic(firn_voids *) voids;
    sem_t readers_free; /* counts readers that are not taken */
    firn_cold_reader *readers;
    /* A byte a hash, by its low bits: a tag of the hash that was hit there last. What was hit since
     * it was written gets a second life. Relaxed and lossy: a mark that is lost, or that is
     * another's, makes a worse choice and no more. */
    _Atomic uint8_t *hit_marks;
    size_t hit_marks_mask;
    firn_dictionaries dictionaries;
    firn_cold_counters counters;
};

static inline void firn_cold_count(_Atomic uint64_t *counter, uint64_t by) {
    atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

/* The largest record the budget can always take. */
uint64_t firn_cold_record_max(const firn_cold *cold);

/* [writer] Makes records of the items, but for their checksums, into encoded (zeroed, one an item).
 * What they lend from the arena holds until firn_cold_trim_arena. */
int firn_cold_encode(firn_cold *cold, const firn_cold_item *items, firn_cold_encoded *encoded,
                     size_t count);
void firn_cold_trim_arena(firn_cold *cold);
/* [writer] Whether a record may be copied as it is: no dictionary has followed the one it was made
 * with. Else it is to be made anew, all but the checksum: *bytes, lent until the next call.
 * FIRN_OK, FIRN_ECORRUPT: it cannot be decoded; FIRN_ENOMEM, FIRN_EIO. */
bool firn_cold_is_of_now(const firn_cold *cold, const firn_record *record);
int firn_cold_recode(firn_cold *cold, const firn_record *old, firn_bytes *bytes);

/* [writer] At the open: learns which dictionaries there are. None is loaded. FIRN_OK, FIRN_EIO,
 * FIRN_ENOMEM. */
int firn_cold_survey_dictionaries(firn_cold *cold);
/* [writer] Between transactions, before records are made: takes a new dictionary into use, or the
 * stored one, and removes those that no record needs. What fails is tried again next time. */
void firn_cold_tend_dictionaries(firn_cold *cold);

/* [writer] Gives each record of the part that is reclaimed next, valid or not, to `one`, within
 * transactions of as many changes as one takes. *changes: of the current one, counted by `one`.
 * FIRN_OK; else what `one` or the backend said, and the current transaction is given up. */
typedef int (*firn_cold_each)(void *context, uint64_t sequence, const firn_bytes *bytes);
int firn_cold_each_oldest(firn_cold *cold, firn_cold_each one, void *context, size_t *changes);
/* [writer] Within a transaction: writes a record once more. FIRN_BACKEND_FULL: there is no room;
 * FIRN_ECORRUPT: it cannot be decoded; FIRN_ENOMEM, FIRN_EIO. */
int firn_cold_copy_forward(firn_cold *cold, uint64_t hash, const firn_record *record,
                           firn_bytes bytes);

/* [writer] Makes the next open quick. */
int firn_cold_conclude(firn_cold *cold);

/* [writer] Closes the backend, calls `between`, and opens it again. No read may be under way. */
int firn_cold_reopen(firn_cold *cold, int (*between)(firn_cold *cold));

/* Takes over what the backend tells of itself. */
void firn_cold_note_usage(firn_cold *cold);

/* The configuration's firn_backend_config.identify; the context is the cold tier. */
bool firn_cold_identify(void *context, uint64_t sequence, const firn_bytes *bytes,
                        firn_backend_identity *identity);

static inline uint8_t firn_cold_hit_tag(uint64_t hash) {
    return (uint8_t)(hash >> 56) | 1; /* never 0, which is no hit */
}

#endif
