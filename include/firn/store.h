/* Looking into a store from outside: what `firn dump`, `firn stat`, `firn get` and `firn verify`
 * are made of; and what is to be done about one that is damaged, or takes too much space.
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
#include <firn/link.h>
#include <firn/type.h>

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
    uint32_t page_bytes;         /* LMDB's page */
    uint64_t entries;            /* keys with a valid record; pieces of streams and values that
                                    entries share are none */
    uint64_t records;            /* records in the log, superseded ones too */
    uint64_t first_sequence;     /* of the oldest record; 0: none */
    uint64_t last_sequence;      /* of the newest record; 0: none */
    uint64_t file_bytes;         /* size of log and index */
    uint64_t live_bytes;         /* of valid records, with what the log adds to them; about */
    uint64_t budget_bytes;       /* cold_bytes of the last writer */
    uint64_t value_bytes;        /* sum of all values, before compression, pieces included */
    uint64_t stored_bytes;       /* the same as stored */
    uint64_t journal_entries;    /* invalidations not yet applied */
    uint64_t warm_entries;       /* entries of the warm list */
    uint64_t version_next;       /* the next version number, as of the last commit */
    uint32_t writer_pid;         /* the process that has the store open for writing; 0: none */
    uint32_t closed_clean;       /* not 0: the last writer closed it */
    uint64_t log_bytes;          /* of segments in use */
    uint64_t index_bytes;        /* size of the index's file */
    uint32_t segment_bytes;      /* the log's segment */
    uint64_t dictionaries;       /* of the store */
    uint64_t dictionary_bytes;   /* of all of them together */
    uint64_t dictionary_entries; /* entries whose record was made with one */
    uint64_t streams;            /* entries whose value is in pieces: see firn/stream.h */
    uint64_t streams_incomplete; /* of these, with pieces missing: a cache gives a miss */
    uint64_t pieces;             /* valid records of pieces, also of values that are gone */
    uint64_t types;              /* that firn_store_get_type tells of */
    uint64_t typed;              /* entries whose value is of a type: see firn/type.h */
    uint64_t linked;             /* entries that have links: see firn/link.h */
    uint64_t links;              /* of all of them together */
    uint64_t owned;              /* entries that live only as long as links keep them */
    uint64_t interned;           /* entries that share their value: see firn_put_options.intern */
    uint64_t interned_bytes;     /* of the values of these, each counted; not in value_bytes */
    uint64_t bodies;             /* values that are shared; they are no entries */
    uint64_t body_bytes;         /* of these, each counted once, and in value_bytes */
} firn_store_info;

#define FIRN_STORE_INFO_INIT                                                                       \
    {                                                                                              \
        sizeof(firn_store_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, \
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0                                               \
    }

/* A type of which values lie in a store, or may: it remembers every type that was registered. Can
 * be copied freely. */
typedef struct firn_store_type {
    size_t size;      /* sizeof(firn_store_type) */
    uint32_t id;      /* a number made of the name, by which entries tell their type */
    uint32_t version; /* the highest that was registered or met */
    uint64_t entries; /* that have a value of it */
    char name[FIRN_TYPE_NAME_MAX + 1]; /* "?" and the number, in hexadecimal, if the store does not
                                          know the name */
} firn_store_type;

#define FIRN_STORE_TYPE_INIT                                                                       \
    { sizeof(firn_store_type), 0, 0, 0, "" }

/* One entry, lent by the store: valid until the next call on it; firn_store_get_piece leaves the
 * key, the type's name and the links valid, but not a value. */
typedef struct firn_store_entry {
    size_t size; /* sizeof(firn_store_entry) */
    const void *key;
    size_t key_size;   /* bytes */
    const void *value; /* NULL when values were not asked for, the value is in pieces, or the record
                          is damaged */
    uint64_t value_size; /* bytes, before compression; of a value in pieces, all of it */
    size_t stored_size;  /* bytes of the value as stored; in pieces: 0, for it is not known */
    size_t record_size;  /* bytes of the whole record; in pieces: of what stands under the key */
    uint64_t sequence;   /* where in the log: grows with every write */
    uint64_t hash;       /* of the key */
    uint64_t version;
    uint64_t written_ms; /* wall clock when the record was written */
    uint64_t expires_ms; /* 0: never */
    const char *codec;   /* "none", "zstd" or, of a value in pieces, "stream"; a static string */
    uint32_t expired;    /* not 0: expired by now */
    uint32_t
        damaged; /* not 0: checksum or form is wrong; only sequence, record_size and damage hold */
    const char *damage;    /* what is wrong; a static string, NULL if nothing */
    uint32_t dictionary;   /* id of the dictionary that its record was made with; 0: none */
    uint32_t incomplete;   /* not 0: pieces are missing, or the value that was to be shared, so that
                              a cache gives a miss */
    uint64_t pieces;       /* not 0: the value was written as a stream, and is in so many pieces */
    uint64_t piece_size;   /* bytes of each but the last */
    uint64_t stream;       /* a number that tells its pieces from those of other values */
    const char *type;      /* name of the value's type: see firn_store_type. The value is what its
                              encode function gave. NULL: bytes */
    uint32_t type_id;      /* 0: bytes */
    uint32_t type_version; /* of the value's encoding */
    uint32_t owned;        /* not 0: lives only as long as links keep it */
    uint32_t link_count;
    uint32_t interned; /* not 0: the value is shared with other entries. stored_size is 0 */
    uint32_t body;     /* not 0: no entry, but a value that entries share */
    const void *links; /* as stored, for firn_store_entry_links; NULL: none */
    size_t links_size; /* bytes */
    uint64_t cost_us;  /* what it took to make the value, microseconds; 0: unknown */
    uint64_t stale_ms; /* so long before expires_ms the value is fresh no more */
    uint64_t idle_ms;  /* a hit puts expires_ms off to so long after it; 0: it stays */
    uint64_t limit_ms; /* beyond that it is not put off, since 1970; 0: no limit */
    uint32_t negative; /* not 0: it says that there is no value */
    uint32_t tag_count;
    const void *tags; /* XXH3-64 (seed 0) of each name, not aligned */
} firn_store_entry;

#define FIRN_STORE_ENTRY_INIT                                                                      \
    {                                                                                              \
        sizeof(firn_store_entry), NULL, 0, NULL, 0, 0, 0, 0, 0, 0, 0, 0, NULL, 0, 0, NULL, 0, 0,   \
            0, 0, 0, NULL, 0, 0, 0, 0, 0, 0, NULL, 0, 0, 0, 0, 0, 0, 0, NULL                       \
    }

/* What a verification found. */
typedef struct firn_verify_report {
    size_t size;                 /* sizeof(firn_verify_report) */
    uint64_t records;            /* looked at */
    uint64_t records_damaged;    /* checksum, form or decompression wrong */
    uint64_t index_entries;      /* looked at; pieces have theirs too */
    uint64_t index_dangling;     /* point to a record of another key */
    uint64_t records_superseded; /* overwritten or deleted since; not damage */
    uint64_t pages_checked;      /* LMDB pages looked at; 0: skipped */
    uint64_t pages_damaged;      /* findings of the page check */
    uint64_t journal_entries;    /* looked at */
    uint64_t journal_damaged;
    uint32_t warm_list_damaged;  /* not 0: it would be ignored */
    uint32_t writer_active;      /* not 0: a writer was active, so the page check was skipped */
    uint64_t entries_missing;    /* the store counts so many more records than it has */
    uint64_t entries;            /* valid records that are sound, but pieces and bodies */
    uint64_t streams;            /* of these, with their value in pieces */
    uint64_t streams_incomplete; /* of these, with pieces missing: a cache gives a miss. Not damage:
                                    the oldest pieces are reclaimed before their entry */
    uint64_t pieces; /* valid records of pieces that are sound, also of values that are gone */
    uint32_t links_file_damaged; /* not 0: all records would be looked through for links */
    uint64_t bodies; /* valid records of values that entries share; see firn_put_options.intern */
} firn_verify_report;

#define FIRN_VERIFY_REPORT_INIT                                                                    \
    { sizeof(firn_verify_report), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

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
 * Unless a writer is active, or the last one closed the store and nothing changed it since, all
 * pages of the data file are checked first, which takes about a second a gigabyte.
 *
 * store                     where the handle goes; NULL after an error. Release with
 *                           firn_store_close.
 * error_buffer, error_size  where an error is told in words; may be NULL, 0
 *
 * A store whose data file is damaged or missing is opened too. What is valid in it is found out
 * from its log, which is read whole and takes about 48 bytes of memory an entry; where the log is
 * damaged too, what lies before may have been overwritten or deleted there, and is not given. If
 * there is no log either, firn_store_verify tells what is wrong, and every other call returns
 * FIRN_ECORRUPT.
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

/* Fills *type with number `number`, from 0, of the types that the last firn_store_get_info found:
 * those the store remembers, in the order in which they were registered, then those it does not
 * know the names of, up to a thousand. Does not change what firn_store_next gives next.
 * FIRN_NOT_FOUND  there are no more, or firn_store_get_info was not called yet
 * FIRN_EINVAL */
FIRN_API FIRN_NODISCARD int firn_store_get_type(firn_store *store, size_t number,
                                                firn_store_type *type);

/* The next entry in the order of writing, oldest first; entries that a writer moves meanwhile may
 * be given twice or not at all. Overwritten and deleted entries are not given. Damaged records are
 * given with `damaged` set; without FIRN_STORE_VALUES the values of large records are not looked
 * at, so their damage does not show. A value that was written as a stream is given by
 * firn_store_get_piece; its pieces are no entries.
 *
 * flags  0 or FIRN_STORE_VALUES
 *
 * FIRN_NOT_FOUND  there are no more
 * FIRN_ENOMEM, FIRN_EIO, FIRN_ECORRUPT, FIRN_EINVAL */
FIRN_API FIRN_NODISCARD int firn_store_next(firn_store *store, unsigned flags,
                                            firn_store_entry *entry);

/* Makes firn_store_next begin again with the oldest entry. */
FIRN_API void firn_store_rewind(firn_store *store);

/* The entry of one key, with its value unless that is in pieces. Does not change what
 * firn_store_next gives next. An expired entry is given, with `expired` set.
 *
 * FIRN_NOT_FOUND  no such entry in the store (it may still be in a live writer's memory)
 * FIRN_ECORRUPT   its record is damaged
 * FIRN_EINVAL, FIRN_ENOMEM, FIRN_EIO */
FIRN_API FIRN_NODISCARD int firn_store_get(firn_store *store, const void *key, size_t key_size,
                                           firn_store_entry *entry);

/* A piece of a value that is in pieces. Does not change what firn_store_next gives next.
 *
 * entry              as it was given, of this store; of a copy only the numbers are looked at
 * number             of the piece, from 0, below entry->pieces
 * piece, piece_size  where it is, lent until the next call on the store, and its bytes, at least 1;
 *                    NULL and 0 unless FIRN_OK is returned
 *
 * FIRN_NOT_FOUND  it was reclaimed: a cache would not give the value
 * FIRN_ECORRUPT   it is damaged
 * FIRN_EINVAL     there is no such piece, by its number
 * FIRN_ENOMEM, FIRN_EIO */
FIRN_API FIRN_NODISCARD int firn_store_get_piece(firn_store *store, const firn_store_entry *entry,
                                                 uint64_t number, const void **piece,
                                                 size_t *piece_size);

/* Calls each for every link of an entry, in the order in which they were given, until it returns
 * something else than 0, which is then returned; 0 after all. The key of a link is lent as long as
 * that of the entry; its version is the target's when the link was made. Safe wherever the entry is
 * valid. FIRN_EINVAL: entry or each is NULL. */
FIRN_API int firn_store_entry_links(const firn_store_entry *entry,
                                    int (*each)(void *context, const firn_link *link),
                                    void *context);

/* Checks the whole store: every record's checksum and decompression, every index entry, the
 * journal, the warm list, the file of links and, when no writer is active, every page of the data
 * file.
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

/* How firn_store_salvage works. Zero in any field means its default. */
typedef struct firn_salvage_options {
    size_t size;         /* sizeof(firn_salvage_options) */
    uint64_t cold_bytes; /* what the new store may take; default: as the damaged one, or more if
                            what is in it needs more */
    unsigned force;      /* not 0: salvage although the journal is damaged, so that values which
                            were overwritten or deleted may come back */
    char *error_buffer;  /* where an error is told in words; may be NULL */
    size_t error_buffer_size; /* bytes of error_buffer */
} firn_salvage_options;

#define FIRN_SALVAGE_OPTIONS_INIT                                                                  \
    { sizeof(firn_salvage_options), 0, 0, NULL, 0 }

/* What a salvage came to. */
typedef struct firn_salvage_report {
    size_t size;              /* sizeof(firn_salvage_report) */
    uint64_t salvaged;        /* entries in the new store */
    uint64_t expired;         /* entries left out because they have expired */
    uint64_t damaged;         /* records, and stretches of the log, that are damaged */
    uint64_t given_up;        /* entries that may have been overwritten or deleted in a damaged
                                 stretch, as far as they are known */
    uint64_t refused;         /* entries that did not fit into cold_bytes */
    uint64_t value_bytes;     /* of the entries salvaged, before compression */
    uint32_t index_damaged;   /* not 0: what is valid was found out from the log alone */
    uint32_t journal_damaged; /* not 0: invalidations are not known, or not all of them */
    uint64_t incomplete; /* entries left out because pieces of their value, or the value that they
                            share, are missing or damaged */
} firn_salvage_report;

#define FIRN_SALVAGE_REPORT_INIT                                                                   \
    { sizeof(firn_salvage_report), 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* Puts what is sound in a damaged store into a new one: every entry whose record passes its
 * checksum and decodes, with all pieces of its value if that is in pieces, that the index or, if
 * that is damaged, the log says is valid, that the journal does not void, and that has not expired.
 * Keys, values, versions, expiry, types and links are kept; the time of writing is that of the
 * salvage.
 *
 * Nothing that was overwritten or deleted comes back. So if the index is damaged, and the log is
 * too, only what was written behind the last damage is salvaged; and if the journal is damaged or
 * missing, nothing is unless options->force says that stale values are acceptable.
 *
 * path      the damaged store: it is not written to. No writer may have it open.
 * new_path  where nothing is yet; its directory must exist. The store is made beside it as
 *           NEW_PATH.partial and renamed when all is in it and on the device; after an error there
 *           is neither.
 * options   may be NULL
 * report    what was salvaged and what not; also filled after an error, as far as it came
 * callback  as for firn_store_verify; may be NULL
 *
 * Safe from any thread, like firn_store_open.
 *
 * FIRN_OK         the new store is there
 * FIRN_ECORRUPT   nothing can be salvaged, or nothing without force
 * FIRN_NOT_FOUND  there is nothing at path
 * FIRN_ENOTSTORE  it is no store
 * FIRN_EVERSION   it is of another version
 * FIRN_EBUSY      somebody has the store open for writing, or came to write to it meanwhile, or
 *                 this process has it open
 * FIRN_AGAIN      the callback stopped it
 * FIRN_EINVAL     an argument makes no sense, or there is something at new_path
 * FIRN_ENOSPC, FIRN_EREADONLY, FIRN_ENOMEM, FIRN_EIO */
FIRN_API FIRN_NODISCARD int firn_store_salvage(const char *path, const char *new_path,
                                               const firn_salvage_options *options,
                                               firn_salvage_report *report,
                                               firn_verify_callback callback, void *context);

/* How firn_store_compact works. Zero in any field means its default. */
typedef struct firn_compact_options {
    size_t size;              /* sizeof(firn_compact_options) */
    char *error_buffer;       /* where an error is told in words; may be NULL */
    size_t error_buffer_size; /* bytes of error_buffer */
} firn_compact_options;

#define FIRN_COMPACT_OPTIONS_INIT                                                                  \
    { sizeof(firn_compact_options), NULL, 0 }

/* What a compaction came to. Bytes are those that the file system has given. */
typedef struct firn_compact_report {
    size_t size;               /* sizeof(firn_compact_report) */
    uint64_t log_bytes_before; /* of the log */
    uint64_t log_bytes_after;
    uint64_t index_bytes_before; /* of the index */
    uint64_t index_bytes_after;
    uint64_t entries;        /* that are there afterwards; each piece of a stream counts as one */
    uint64_t records_copied; /* valid records that were written once more */
} firn_compact_report;

#define FIRN_COMPACT_REPORT_INIT                                                                   \
    { sizeof(firn_compact_report), 0, 0, 0, 0, 0, 0 }

/* Gives space that serves nothing back to the file system: records that were overwritten, deleted
 * or have expired, as far as that pays, free segments of the log, free pages of the index. No other
 * entry is lost. Nobody else may have the store open, nor can until it is over. It may be broken
 * off at any point by the end of the process: all entries are there then, and what is left behind
 * goes with the next compaction.
 *
 * path      the store; sound, or else see firn_store_salvage
 * options   may be NULL
 * report    what it came to
 * callback  told now and then how far it is (finding is always NULL); not 0: enough, what was done
 *           stays; may be NULL
 *
 * Takes up to the size of the index more on disk while it runs, and reads and writes what is valid
 * in the log once at the most.
 *
 * FIRN_OK
 * FIRN_AGAIN      the callback stopped it
 * FIRN_NOT_FOUND  there is nothing at path
 * FIRN_EBUSY      somebody has the store open
 * FIRN_ECORRUPT   the store is damaged
 * FIRN_ENOTSTORE, FIRN_EVERSION, FIRN_EREADONLY, FIRN_ENOSPC, FIRN_EIO, FIRN_ENOMEM, FIRN_EINVAL */
FIRN_API FIRN_NODISCARD int firn_store_compact(const char *path,
                                               const firn_compact_options *options,
                                               firn_compact_report *report,
                                               firn_verify_callback callback, void *context);

/* The words for the last error of this handle: lent, valid until the next call on it; "" if none.
 */
FIRN_API const char *firn_store_message(const firn_store *store);

#ifdef __cplusplus
}
#endif

#endif
