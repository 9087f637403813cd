/* What the files of firn/store.h share: the handle, and how a record is taken in. store.c looks
 * into a store, store_verify.c checks all of it, store_salvage.c saves what is sound of a damaged
 * one, store_compact.c gives space back, store_types.c tells of types and links. For no other file.
 */
#ifndef FIRN_COLD_STORE_INTERNAL_H
#define FIRN_COLD_STORE_INTERNAL_H

#include <firn/store.h>

#include <stdbool.h>

#include "base/clears.h"
#include "base/detail.h"
#include "base/heap.h"
#include "cold/backend.h"
#include "cold/clears_file.h"
#include "cold/codec.h"
#include "cold/dictionary.h"
#include "cold/journal.h"
#include "cold/lock.h"
#include "cold/pieces.h"
#include "cold/record.h"
#include "cold/type_names.h"

/* What is read in one transaction, at the most. */
enum { FIRN_STORE_CHUNK_RECORDS = 1024, FIRN_STORE_CHUNK_BYTES = 1 << 20 };

typedef struct firn_store_buffer {
    unsigned char *bytes;
    size_t size;
} firn_store_buffer;

/* One record of a chunk: copied, for its page may go with the transaction. */
typedef struct firn_store_held {
    uint64_t sequence;
    uint64_t hash;
    size_t at;   /* in the raw buffer */
    size_t kept; /* bytes copied: all, or up to the payload */
    size_t record_size;
    const char *damage;
} firn_store_held;

/* Valid pieces that were met. */
typedef struct firn_store_pieces {
    uint64_t count;
    uint64_t value_bytes;
    uint64_t stored_bytes;
} firn_store_pieces;

/* The types of values; see store_types.c. */
typedef struct firn_store_types {
    firn_type_names names;             /* as the file said when it was read last */
    bool fresh;                        /* that was after the last chunk was loaded */
    char name[FIRN_TYPE_NAME_MAX + 1]; /* of the entry that was given last */
    firn_store_type *list;             /* counted by firn_store_get_info; NULL: not yet */
    size_t listed;
} firn_store_types;

struct firn_store {
    firn_heap *heap;
    firn_detail detail;
    char *path;
    firn_store_lock lock;
    firn_journal *journal; /* NULL: damaged or missing, and opened nevertheless */
    const firn_backend_ops *ops;
    firn_backend *backend; /* NULL: there is no log to speak of, and only a verification may look */
    bool from_log;         /* the index is damaged, and what is valid was found out without it */
    firn_backend_recovery recovery;
    firn_backend_session *session;
    firn_backend_meta meta;
    firn_decoders decoders;
    firn_dictionaries dictionaries;
    firn_store_buffer raw;
    firn_store_buffer value;
    firn_store_buffer piece; /* a piece's record */
    firn_clears clears;      /* as of the chunk */
    firn_clears_file clears_file;
    firn_journal_entry *pending; /* sorted by hash; as of the chunk */
    size_t pending_count;
    firn_store_held *chunk;
    size_t chunk_count;
    size_t chunk_next;
    unsigned chunk_flags;
    uint64_t from;            /* the sequence after the chunk */
    uint64_t met;             /* records that were looked at */
    firn_store_pieces pieces; /* while they are counted */
    firn_store_types types;
    bool ended;
};

/* firn_store_open for a salvage: the index is not believed before all of it was checked; the
 * journal may be damaged or missing, or another store's, which is told by *journal_damaged; no
 * writer may be active. What cannot be opened at all is FIRN_ECORRUPT. */
int firn_store_open_damaged(firn_store **store, const char *path, bool *journal_damaged,
                            char *error_buffer, size_t error_size);

/* FIRN_ECORRUPT: there is nothing to look into. */
int firn_store_check_usable(firn_store *store);
/* firn_backend_config.identify; the context is the store. */
bool firn_store_identify(void *context, uint64_t sequence, const firn_bytes *bytes,
                         firn_backend_identity *identity);
/* Sees to it that the buffer has room for size bytes; the first `kept` stay. FIRN_OK, FIRN_ENOMEM.
 */
int firn_store_grow(firn_store *store, firn_store_buffer *buffer, size_t size, size_t kept);
/* What is wrong with the bytes of a record, which is parsed, and the head of a stream with it;
 * NULL: nothing that was looked for. Without `fully` the checksum of a large one is not. */
const char *firn_store_check_bytes(const firn_bytes *bytes, uint64_t sequence, bool fully,
                                   firn_record *record);
/* In a session: sees to it that the record's dictionary is at hand when its value is decoded: by
 * then the record may be reclaimed, and the dictionary with it. FIRN_OK also if it is damaged,
 * which the decoding tells; FIRN_ENOMEM, FIRN_EIO. */
int firn_store_fetch_dictionary(firn_store *store, const firn_bytes *bytes);
/* In a session: FIRN_OK: all pieces are there; FIRN_NOT_FOUND: not all; or an error. *from: the
 * number of the piece to begin with, and where to go on; no more than `most` are looked for, and
 * FIRN_AGAIN says that there are more. */
int firn_store_find_pieces(firn_store *store, const firn_pieces *pieces, uint64_t *from,
                           uint64_t most);
/* The name of a type, lent until the next call. FIRN_OK, FIRN_ENOMEM. */
int firn_store_name_type(firn_store *store, uint32_t id, const char **name);
/* Begins to count values by their types. FIRN_OK, FIRN_ENOMEM. */
int firn_store_count_types(firn_store *store);
/* One value more of the type; version: of its encoding. */
void firn_store_count_type(firn_store *store, uint32_t id, uint32_t version);
void firn_store_types_fini(firn_store *store);
/* Decodes the record's value into store->value, where there is room. NULL, or what is wrong. The
 * record's dictionary was fetched in the session that gave the record, if it can be had at all. */
const char *firn_store_decode(firn_store *store, const firn_record *record);

#endif
