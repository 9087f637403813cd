/* Looking into a store from outside: what `firn dump`, `firn stat`, `firn get` and `firn verify`
 * are made of.
 *
 * A firn_store is a read-only view of the store in a directory. It may be opened beside a live
 * writer, which it never blocks, and whose file it never makes grow: every call that reads takes
 * a short transaction of its own. It is not safe for use by two threads at once. It must not be
 * opened in a process that has a cache open on the same path (FIRN_EBUSY).
 */
#ifndef FIRN_STORE_H
#define FIRN_STORE_H

#include <stddef.h>
#include <stdint.h>

#include <firn/error.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct firn_store firn_store;

/* Facts about a store. Strings and arrays are none, so it can be copied freely. */
typedef struct firn_store_info {
    size_t size;         /* sizeof(firn_store_info) */
    uint64_t store_id;   /* random, given when the store was made */
    uint64_t created_ms; /* wall clock, milliseconds since 1970 */
    uint32_t format_version;
    uint32_t page_bytes;      /* LMDB's page */
    uint64_t entries;         /* keys with a valid record */
    uint64_t records;         /* records in the log, superseded ones too */
    uint64_t first_sequence;  /* of the oldest record; 0: none */
    uint64_t last_sequence;   /* of the newest record; 0: none */
    uint64_t file_bytes;      /* size of log and index */
    uint64_t live_bytes;      /* of valid records, with what the log adds to them; about */
    uint64_t budget_bytes;    /* cold_bytes of the last writer */
    uint64_t value_bytes;     /* sum of the values of all records, before compression */
    uint64_t stored_bytes;    /* sum of the values of all records as stored */
    uint64_t journal_entries; /* invalidations not yet applied */
    uint64_t warm_entries;    /* entries of the warm list */
    uint64_t version_next;    /* the next version number, as of the last commit */
    uint32_t writer_pid;      /* the process that has the store open for writing; 0: none */
    uint32_t closed_clean;    /* not 0: the last writer closed it */
    uint64_t log_bytes;       /* of segments in use */
    uint64_t index_bytes;     /* size of the index's file */
    uint32_t segment_bytes;   /* the log's segment */
} firn_store_info;

#define FIRN_STORE_INFO_INIT                                                                       \
    { sizeof(firn_store_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* One entry, lent by the store: valid until the next call on it. */
typedef struct firn_store_entry {
    size_t size; /* sizeof(firn_store_entry) */
    const void *key;
    size_t key_size;    /* bytes */
    const void *value;  /* NULL when values were not asked for, or the record is damaged */
    size_t value_size;  /* bytes, before compression */
    size_t stored_size; /* bytes of the value as stored */
    size_t record_size; /* bytes of the whole record */
    uint64_t sequence;  /* where in the log: grows with every write */
    uint64_t hash;      /* of the key */
    uint64_t version;
    uint64_t written_ms; /* wall clock when the record was written */
    uint64_t expires_ms; /* 0: never */
    const char *codec;   /* "none" or "zstd"; a static string */
    uint32_t expired;    /* not 0: expired by now */
    uint32_t
        damaged; /* not 0: checksum or form is wrong; only sequence, record_size and damage hold */
    const char *damage; /* what is wrong; a static string, NULL if nothing */
} firn_store_entry;

#define FIRN_STORE_ENTRY_INIT                                                                      \
    { sizeof(firn_store_entry), NULL, 0, NULL, 0, 0, 0, 0, 0, 0, 0, 0, NULL, 0, 0, NULL }

/* What a verification found. */
typedef struct firn_verify_report {
    size_t size;                 /* sizeof(firn_verify_report) */
    uint64_t records;            /* looked at */
    uint64_t records_damaged;    /* checksum, form or decompression wrong */
    uint64_t index_entries;      /* looked at */
    uint64_t index_dangling;     /* point to a record of another key */
    uint64_t records_superseded; /* overwritten or deleted since; not damage */
    uint64_t pages_checked;      /* LMDB pages looked at; 0: skipped */
    uint64_t pages_damaged;      /* findings of the page check */
    uint64_t journal_entries;    /* looked at */
    uint64_t journal_damaged;
    uint32_t warm_list_damaged; /* not 0: it would be ignored */
    uint32_t writer_active;     /* not 0: a writer was active, so the page check was skipped */
    uint64_t entries_missing;   /* the store counts so many more entries than it has records for */
} firn_verify_report;

#define FIRN_VERIFY_REPORT_INIT                                                                    \
    { sizeof(firn_verify_report), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* Called by firn_store_verify for each finding and, with finding NULL, now and then to tell how
 * far it is. Returns 0 to go on; anything else stops the verification. */
typedef int (*firn_verify_callback)(void *context, const char *finding, uint64_t done,
                                    uint64_t total);

/* Flags of firn_store_next. */
enum {
    FIRN_STORE_VALUES = 1 /* decompress and give values; without it only keys and metadata */
};

/* Opens the store in directory path for looking.
 *
 * A store whose data file is damaged can be opened too, so that firn_store_verify can tell where;
 * every other call on it but firn_store_message and firn_store_close gives FIRN_ECORRUPT. Unless a
 * writer is active, or the last one closed the store and nothing changed it since, all pages of the
 * data file are checked first, which takes about a second a gigabyte.
 *
 * store                     where the handle goes; NULL after an error. Release with
 *                           firn_store_close.
 * error_buffer, error_size  where an error is told in words; may be NULL, 0
 *
 * A store whose pages are damaged is opened too: firn_store_verify tells what is wrong with it, and
 * every other call returns FIRN_ECORRUPT.
 *
 * FIRN_NOT_FOUND  there is nothing at path
 * FIRN_ENOTSTORE, FIRN_EVERSION, FIRN_ECORRUPT, FIRN_ENOMEM, FIRN_EIO
 * FIRN_EBUSY      this process has the store open already */
FIRN_API FIRN_NODISCARD int firn_store_open(firn_store **store, const char *path,
                                            char *error_buffer, size_t error_size);

/* Releases the handle. NULL is ignored. */
FIRN_API void firn_store_close(firn_store *store);

/* Fills *info. Walks all record heads for value_bytes and stored_bytes, in short transactions. Does
 * not change what firn_store_next gives next.
 * FIRN_ECORRUPT, FIRN_EIO, FIRN_EINVAL */
FIRN_API FIRN_NODISCARD int firn_store_get_info(firn_store *store, firn_store_info *info);

/* The next entry in the order of writing, oldest first; entries that a writer moves meanwhile may
 * be given twice or not at all. Overwritten and deleted entries are not given. Damaged records are
 * given with `damaged` set; without FIRN_STORE_VALUES the values of large records are not looked
 * at, so their damage does not show.
 *
 * flags  0 or FIRN_STORE_VALUES
 *
 * FIRN_NOT_FOUND  there are no more
 * FIRN_ENOMEM, FIRN_EIO, FIRN_ECORRUPT, FIRN_EINVAL */
FIRN_API FIRN_NODISCARD int firn_store_next(firn_store *store, unsigned flags,
                                            firn_store_entry *entry);

/* Makes firn_store_next begin again with the oldest entry. */
FIRN_API void firn_store_rewind(firn_store *store);

/* The entry of one key, with its value. Does not change what firn_store_next gives next. An
 * expired entry is given, with `expired` set.
 *
 * FIRN_NOT_FOUND  no such entry in the store (it may still be in a live writer's memory)
 * FIRN_ECORRUPT   its record is damaged
 * FIRN_EINVAL, FIRN_ENOMEM, FIRN_EIO */
FIRN_API FIRN_NODISCARD int firn_store_get(firn_store *store, const void *key, size_t key_size,
                                           firn_store_entry *entry);

/* Checks the whole store: every record's checksum and decompression, every index entry, the
 * journal, the warm list and, when no writer is active, every page of the data file.
 *
 * report    what was found
 * callback  may be NULL
 *
 * When pages are damaged the rest is not looked at. Called while firn_store_next is under way, it
 * does not change what that gives next.
 *
 * FIRN_OK        all is sound
 * FIRN_ECORRUPT  something is not: the report and the callback tell what
 * FIRN_AGAIN     the callback stopped it
 * FIRN_ENOMEM, FIRN_EIO, FIRN_EINVAL */
FIRN_API FIRN_NODISCARD int firn_store_verify(firn_store *store, firn_verify_report *report,
                                              firn_verify_callback callback, void *context);

/* The words for the last error of this handle: lent, valid until the next call on it; "" if none.
 */
FIRN_API const char *firn_store_message(const firn_store *store);

#ifdef __cplusplus
}
#endif

#endif
