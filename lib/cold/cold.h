/* The cold tier as the tiers above see it: records by key hash, in a directory on disk.
 *
 * Below it stand the record format, the codec, the invalidation journal and a backend that keeps
 * records; above it nothing of them is known. It knows no objects, no hot tier and no policy of
 * promotion. Functions marked [writer] are called by one thread at a time, the caller's writer
 * lock held; all others are safe from any thread. */
#ifndef FIRN_COLD_COLD_H
#define FIRN_COLD_COLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <firn/options.h>

#include "base/clears.h"
#include "base/detail.h"
#include "base/heap.h"
#include "cold/record.h"

typedef struct firn_cold firn_cold;
struct firn_backend_ops;
struct firn_dictionary_info;
struct firn_histograms;

/* What an entry is, besides its value. In a read, key is lent until the read returns. */
typedef struct firn_cold_meta {
    firn_part part; /* whole, or a head: then the value is that of a head */
    uint64_t hash;
    uint64_t version;
    uint64_t expires_ms; /* 0: never */
    uint64_t written_ms; /* wall clock when the record was written */
    uint64_t sequence;
    firn_attributes attributes; /* traits with the expiry; links and tags are lent like the key */
    const void *key;
    size_t key_size;
    size_t value_size;   /* bytes, before compression */
    size_t stored_size;  /* bytes, as stored */
    unsigned codec;      /* see firn_cold_codec_name */
    uint32_t dictionary; /* id; 0: none */
} firn_cold_meta;

typedef struct firn_cold_config {
    const char *path;
    firn_heap *heap;     /* referenced */
    firn_detail *detail; /* lent for the life of the cold tier */
    firn_clock clock;
    uint64_t budget_bytes;
    unsigned durability; /* FIRN_DURABILITY_... */
    int compression_level;
    size_t compression_min_bytes;
    uint64_t filter_bytes_max;    /* memory for the filter; 0: none */
    unsigned compression_threads; /* beside the caller's */
    bool read_only;
    bool set_aside_damaged;
    const struct firn_backend_ops *backend; /* NULL: LMDB. Tests put a double here. */
    firn_clears *clears; /* lent for the life of the cold tier, which fills in what the store knows;
                            NULL: it has its own */
    /* Called by firn_cold_write, after its commit, for each record that was reclaimed to keep the
     * budget. version 0: records went of which it cannot be told whose they were, because they
     * were damaged; they may be anybody's. By firn_cold_sync too, for what is found to be lost.
     * Must not call back into the cold tier, but for firn_cold_locate. */
    void (*reclaimed)(void *context, uint64_t hash, uint64_t version);
    /* Asked about an entry that would be reclaimed: true, if it had better stay. NULL: none. */
    bool (*kept)(void *context, uint64_t hash);
    void *reclaimed_context;            /* of both */
    struct firn_histograms *histograms; /* where it is told how long things take; NULL: nowhere */
} firn_cold_config;

/* One change of a batch: a record to write, or the removal of what is there. */
typedef struct firn_cold_item {
    uint64_t hash;
    uint64_t version;
    uint64_t expires_ms; /* 0: never */
    const void *key;     /* lent for the call */
    size_t key_size;
    const void *value;
    size_t value_size;
    firn_attributes attributes; /* its links and tags are lent for the call */
    firn_part part;
    bool remove; /* take away the record of this hash whose version is below this one; no key or
                    value needed */
    uint64_t stored_size; /* out, likewise: bytes of the record */
    int result; /* out, when the batch was committed: FIRN_OK, or FIRN_ETOOLARGE: this record could
                   not  be fitted, and any older one of its hash is gone */
} firn_cold_item;

typedef struct firn_cold_stats {
    uint64_t budget_bytes;
    uint64_t entries; /* records, pieces too */
    uint64_t live_bytes;
    uint64_t file_bytes;
    uint64_t commits;
    uint64_t value_bytes;  /* written since open, before compression */
    uint64_t stored_bytes; /* the same, after compression */
    uint64_t reclaimed;
    uint64_t expired; /* found expired by reads and by reclaim */
    uint64_t cleared; /* found cleared likewise */
    uint64_t collisions;
    uint64_t damaged;
    uint64_t write_errors;
    uint64_t read_errors;
    uint64_t syncs;
    uint64_t journal_entries;
    uint64_t filter_bytes;
} firn_cold_stats;

/* Opens the store, making it if it is not there; see firn_open for the errors, and config->detail
 * for the words. *cold is NULL after an error. */
int firn_cold_open(firn_cold **cold, const firn_cold_config *config);

/* [writer] Releases it. clean: everything was written; the store is synced and marked as closed
 * clean. Returns FIRN_OK or what the sync gave; the handle is gone either way. */
int firn_cold_close(firn_cold *cold, bool clean);

uint64_t firn_cold_seed(const firn_cold *cold);         /* of the key hash */
uint64_t firn_cold_version_next(const firn_cold *cold); /* as found by the open: above all that was
                                                           ever used */
uint64_t firn_cold_store_id(const firn_cold *cold);
const char *firn_cold_path(const firn_cold *cold);
/* The largest value a record of this key size may hold within the budget. */
uint64_t firn_cold_value_max(const firn_cold *cold, size_t key_size);
/* How many items and bytes (keys and values) a batch should hold at the most. */
void firn_cold_batch_limits(const firn_cold *cold, size_t *items, size_t *bytes);

/* [writer] Writes a batch in one commit, reclaiming the oldest records as the budget demands, and
 * applies every invalidation that was in the journal when it began. version_next is recorded: a
 * restart will begin there or above. count may be 0, to apply the journal only. Items of one hash
 * are applied in order of version whatever their place.
 *
 * FIRN_OK: committed, see each item's result. FIRN_ENOSPC, FIRN_EIO, FIRN_ENOMEM, FIRN_ECORRUPT:
 * no item was written. */
int firn_cold_write(firn_cold *cold, firn_cold_item *items, size_t count, uint64_t version_next);

/* Whether there are lines in the journal that a killed process left: a firn_cold_write applies
 * them. Until then they are heeded by every read. */
bool firn_cold_has_old_lines(const firn_cold *cold);

/* [writer] A piece of the writer's work that can wait. FIRN_OK: nothing is left; FIRN_AGAIN: there
 * is more; or an error as of firn_cold_write. */
int firn_cold_tidy(firn_cold *cold);

/* [writer] Gives space that serves nothing back to the file system, without losing an entry. No
 * read may be under way. May be broken off at any point by the end of the process.
 *
 * progress  called now and then; may be NULL; not 0: enough
 * copied    records that were written once more
 *
 * FIRN_OK. FIRN_EBUSY: another process has the store open for reading. FIRN_AGAIN: progress stopped
 * it. FIRN_ENOSPC, FIRN_EIO, FIRN_ENOMEM, FIRN_ECORRUPT: some of it may be done; after these only
 * the close may be called. */
int firn_cold_pack(firn_cold *cold, int (*progress)(void *context, uint64_t done, uint64_t total),
                   void *context, uint64_t *copied);

/* False: there is surely no entry of the hash. Costs next to nothing while the filter knows what is
 * there, which is soon after the open. */
bool firn_cold_may_hold(const firn_cold *cold, uint64_t hash);

/* Called with what was found, before the value is produced: returns where its value_size bytes go,
 * or NULL to give up, which makes the read return FIRN_ENOMEM. */
typedef void *(*firn_cold_place)(void *context, const firn_cold_meta *meta);

/* Reads an entry.
 *
 * key    NULL: whatever key has this hash
 * place  NULL: the head only; the value is not looked at
 * meta   may be NULL; its key is NULL on return
 *
 * FIRN_OK. FIRN_NOT_FOUND: none, or expired (counted), or (read-only) invalidated. FIRN_ECORRUPT:
 * damaged, counted; the place may have been written to. FIRN_ENOMEM, FIRN_EIO. */
int firn_cold_read(firn_cold *cold, uint64_t hash, const void *key, size_t key_size,
                   firn_cold_place place, void *place_context, firn_cold_meta *meta);

/* One of many reads. */
typedef struct firn_cold_read_item {
    uint64_t hash;
    const void *key; /* lent for the call */
    size_t key_size;
    void *place_context;
    int result; /* out: as of firn_cold_read */
} firn_cold_read_item;

enum { FIRN_COLD_READS_MAX = 128 };

/* Reads up to FIRN_COLD_READS_MAX entries: the index is asked for all of them in one transaction,
 * and the records are read in the order in which they lie. */
void firn_cold_read_many(firn_cold *cold, firn_cold_read_item *items, size_t count,
                         firn_cold_place place);

/* firn_cold_read of whatever key has the hash, which leaves no trace: it counts no hit and no
 * expiry. place is asked first whether the entry is wanted at all. FIRN_EXISTS: what is there is a
 * piece. */
int firn_cold_visit(firn_cold *cold, uint64_t hash, firn_cold_place place, void *place_context);
/* A static string. */
const char *firn_cold_codec_name(unsigned codec);
/* Whether the entry was hit of late, so that reclaim spares it; now and then it is another that
 * was. */
bool firn_cold_was_hit(const firn_cold *cold, uint64_t hash);
/* firn_cold_read of a piece, by its key; all other reads find none. */
int firn_cold_read_piece(firn_cold *cold, uint64_t hash, const void *key, size_t key_size,
                         firn_cold_place place, void *place_context);
/* Whether there is a valid record of the hash, which is not looked at. FIRN_OK, FIRN_NOT_FOUND or
 * an error. */
int firn_cold_locate(firn_cold *cold, uint64_t hash);
/* The hashes from one on, ascending, of every entry that is there all the while, and perhaps of
 * some that are not. hashes has room for twice `most`; *count is less than `most` only if these are
 * all. FIRN_OK, or an error. */
int firn_cold_walk(firn_cold *cold, uint64_t from, uint64_t *hashes, size_t most, size_t *count);

/* Records in the journal that what the store holds of this hash below this version is void. Takes
 * nanoseconds, survives kill -9. Two calls for one hash must be ordered by the caller. FIRN_OK;
 * FIRN_EBUSY: the journal is full, and a firn_cold_write empties it; FIRN_EIO: somebody cut it. */
int firn_cold_invalidate(firn_cold *cold, uint64_t hash, uint64_t version);
/* Entries the journal has room for, and has in all. */
size_t firn_cold_journal_room(const firn_cold *cold);
size_t firn_cold_journal_capacity(const firn_cold *cold);
/* Pushes the journal to the device. FIRN_OK, FIRN_EIO. */
int firn_cold_sync_journal(firn_cold *cold);
/* Pushes all commits and the journal to the device. writer: the caller is the writer. FIRN_OK.
 * FIRN_AGAIN: an earlier one failed, and what it may have lost is to be seen to: the writer has to
 * call. FIRN_EIO: or something that an earlier one failed to push is lost, which is counted and is
 * told once. FIRN_ENOSPC, FIRN_ENOMEM. */
int firn_cold_sync(firn_cold *cold, bool writer);

/* Writes down that something is cleared, and clears it: what it says is void is neither found nor
 * kept from now on, also after kill -9. From any thread. FIRN_OK; else nothing is cleared,
 * nor is it by a restart: FIRN_ENOSPC (also: too many prefixes), FIRN_EIO, FIRN_ENOMEM. Only a
 * power loss may leave what was taken back. */
int firn_cold_clear(firn_cold *cold, const firn_clear_line *line);

void firn_cold_get_stats(firn_cold *cold, firn_cold_stats *stats);

/* Background work that is not urgent, and not under the writer's lock: trains a dictionary when
 * enough values were seen, about a tenth of a second of processor time. True: something was done.
 * One thread at a time; safe beside everything else but firn_cold_close. */
bool firn_cold_maintain(firn_cold *cold);

/* Tells of the store's dictionaries: the one with the lowest id that is at least `from`. See
 * dictionary.h. FIRN_OK, FIRN_NOT_FOUND: none, FIRN_EIO, FIRN_ENOMEM. */
int firn_cold_next_dictionary(firn_cold *cold, uint32_t from, struct firn_dictionary_info *info);

#endif
