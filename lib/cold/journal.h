/* The invalidation journal: a small memory-mapped ring that says which stored versions are void.
 *
 *     offset 0     header, 4096 bytes:
 *              0   8 bytes "FIRNJRNL"          40  16 bytes boot id of the last writer
 *              8   u32 format, 1               56  u32 closed clean
 *             12   u32 byte order, 0x01020304  60  u32 0
 *             16   u64 store id                64  u64 size of the data file   \ as of
 *             24   u64 XXH3-64 of bytes 0-23   72  u64 its mtime, ns            > the last
 *             32   u32 state: 1 being made,    80  u64 its transaction number  / commit
 *                      2 ready
 *             36   u32 durability of the last writer
 *     offset 4096  65,536 slots of 16 bytes: u64 hash, u64 version << 16 | check
 *
 * A slot of word 0 is empty. The check is the low 16 bits of XXH3-64 of hash and version, seeded
 * with the store id. Integers are little-endian. Because the map is shared, a store to it survives
 * the process; only a power loss can take it, and then a torn slot shows by its check.
 *
 * A map of a file that somebody cuts ends the process when it is touched. So the file's length is
 * looked at first, once in some milliseconds; what is missing is made anew then, without the
 * entries that stood there, of which a crash might bring something back until they are applied.
 *
 * Knows a file and 64-bit numbers, nothing of records. */
#ifndef FIRN_COLD_JOURNAL_H
#define FIRN_COLD_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/detail.h"
#include "base/heap.h"
#include "cold/backend.h"

#define FIRN_JOURNAL_FILE "firn.journal"

enum {
    FIRN_JOURNAL_SLOTS = 65536,
    FIRN_JOURNAL_HEADER_SIZE = 4096,
    FIRN_JOURNAL_FILE_SIZE = FIRN_JOURNAL_HEADER_SIZE + FIRN_JOURNAL_SLOTS * 16,
};

/* States of the header. */
enum { FIRN_JOURNAL_CREATING = 1, FIRN_JOURNAL_READY = 2 };

typedef struct firn_journal firn_journal;

typedef struct firn_journal_entry {
    uint64_t hash;
    uint64_t version; /* what is stored of this hash below this version is void */
} firn_journal_entry;

/* The header, as numbers. */
typedef struct firn_journal_header {
    uint64_t store_id;
    uint32_t state;
    uint32_t durability; /* FIRN_DURABILITY_... of the last writer */
    unsigned char boot_id[16];
    bool clean;
    firn_fingerprint fingerprint;
} firn_journal_header;

/* What a scan of all slots found. */
typedef struct firn_journal_scan {
    uint64_t entries; /* sound ones */
    uint64_t damaged; /* their check is wrong */
    uint64_t version_max;
} firn_journal_scan;

/* Makes the file in a directory where there is none, in state CREATING. FIRN_OK, FIRN_ENOSPC,
 * FIRN_EREADONLY, FIRN_EIO, FIRN_ENOMEM. */
int firn_journal_create(const char *directory, uint64_t store_id, firn_heap *heap,
                        firn_detail *detail);

/* Maps the file; read-only unless writable. Nothing is written. *journal is NULL after an error.
 *
 * FIRN_NOT_FOUND  there is none
 * FIRN_ENOTSTORE  it is another kind of file
 * FIRN_EVERSION   another format or byte order
 * FIRN_ECORRUPT   its size or the checksum of its header is wrong
 * FIRN_EREADONLY, FIRN_EIO, FIRN_ENOMEM */
int firn_journal_open(firn_journal **journal, const char *directory, bool writable, firn_heap *heap,
                      firn_detail *detail);
/* Whether the making of the store was broken off: its journal is in state CREATING or, when there
 * is no data file, has not even a header. */
bool firn_journal_is_unfinished(const char *directory, bool has_data, firn_heap *heap);
/* NULL is ignored. */
void firn_journal_close(firn_journal *journal);

void firn_journal_get_header(const firn_journal *journal, firn_journal_header *header);
/* Whether the last writer ran since the machine was started. */
bool firn_journal_is_of_this_boot(const firn_journal_header *header);

/* Looks at all slots as they are now: for openings and for inspection beside a writer, also of
 * read-only journals. each may be NULL; it is called for each slot that is not empty. */
void firn_journal_scan_all(const firn_journal *journal, firn_journal_scan *scan,
                           void (*each)(void *context, const firn_journal_entry *entry,
                                        bool damaged),
                           void *context);
/* Whether a slot says that this version of this hash is void, or none can be read. For read-only
 * handles: reads all slots unless the store was closed clean. */
bool firn_journal_voids(const firn_journal *journal, uint64_t hash, uint64_t version);

/* [writer] Fields of the header. Each is one store that survives kill -9. */
void firn_journal_set_state(firn_journal *journal, uint32_t state);
void firn_journal_set_fingerprint(firn_journal *journal, const firn_fingerprint *fingerprint);
/* Marks it as in use by this boot, not clean. */
void firn_journal_set_dirty(firn_journal *journal, uint32_t durability);
void firn_journal_set_clean(firn_journal *journal);
/* [writer] Before any append: takes what the slots hold for entries that were appended and not
 * released. each: called for those that are sound. */
void firn_journal_adopt(firn_journal *journal,
                        void (*each)(void *context, const firn_journal_entry *entry),
                        void *context);

/* Adds an entry. Lock-free, safe from any thread. FIRN_OK; FIRN_EBUSY: full; FIRN_EIO: the file was
 * cut and cannot be made whole. version must be below 2^48 and not 0. */
int firn_journal_append(firn_journal *journal, uint64_t hash, uint64_t version);
/* How often the file was found cut, and was made whole. Safe from any thread. */
uint64_t firn_journal_mended(const firn_journal *journal);
/* Slots that are free. Safe from any thread. */
size_t firn_journal_room(const firn_journal *journal);

/* [writer] Takes the entries from the tail on, oldest first: *end is where they end, and entries
 * between are read with firn_journal_at. Nothing changes before firn_journal_release. */
void firn_journal_range(const firn_journal *journal, uint64_t *begin, uint64_t *end);
/* [writer] The entry at a position of that range. */
firn_journal_entry firn_journal_at(const firn_journal *journal, uint64_t position);
/* [writer] Empties the slots before end, when their entries are applied and committed. */
void firn_journal_release(firn_journal *journal, uint64_t end);

/* Pushes it to the device. Safe from any thread; several share a sync. FIRN_OK, FIRN_EIO. */
int firn_journal_sync(firn_journal *journal);

#endif
