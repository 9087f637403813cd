/* What the files of the cold tier's store share: the handle. cold.c reads and tells,
 * cold_open.c opens and closes, cold_write.c writes and reclaims. For no other file. */
#ifndef FIRN_COLD_COLD_INTERNAL_H
#define FIRN_COLD_COLD_INTERNAL_H

#include <semaphore.h>
#include <stdatomic.h>

#include "cold/backend.h"
#include "cold/codec.h"
#include "cold/cold.h"
#include "cold/journal.h"
#include "cold/lock.h"

enum {
    FIRN_COLD_READERS = 64,     /* reads at one time; more of them wait */
    FIRN_COLD_LOSSES_MAX = 4096 /* records reclaimed in one commit, at the most */
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
    int compression_level;
    size_t compression_min_bytes;
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
    uint64_t live_max;     /* reclaim begins above this */

    /* The writer's. */
    firn_backend_meta meta; /* as of the last commit, but for sequence_next, which runs ahead */
    uint64_t map_bytes;     /* what the file may grow to now */
    void *encoder;
    unsigned char *arena; /* encoded records; kept between batches while it is small */
    size_t arena_size;
    firn_cold_loss *losses; /* FIRN_COLD_LOSSES_MAX; of the current transaction */
    size_t losses_used;

    /* Shared. */
    sem_t readers_free; /* counts readers that are not taken */
    firn_cold_reader *readers;
    firn_cold_counters counters;
};

static inline void firn_cold_count(_Atomic uint64_t *counter, uint64_t by) {
    atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

/* The largest record the budget can always take. */
uint64_t firn_cold_record_max(const firn_cold *cold);

/* [writer] Applies invalidations found by the open, in as many commits as it takes. */
int firn_cold_apply_entries(firn_cold *cold, const firn_journal_entry *entries, size_t count);

/* [writer] Takes over what the backend tells of itself. */
int firn_cold_note_usage(firn_cold *cold);

#endif
