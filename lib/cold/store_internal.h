/* What the files of firn/store.h share: the handle. store.c looks into a store, store_salvage.c
 * saves what is sound of a damaged one. For no other file. */
#ifndef FIRN_COLD_STORE_INTERNAL_H
#define FIRN_COLD_STORE_INTERNAL_H

#include <firn/store.h>

#include <stdbool.h>

#include "base/detail.h"
#include "base/heap.h"
#include "cold/backend.h"
#include "cold/codec.h"
#include "cold/dictionary.h"
#include "cold/journal.h"
#include "cold/lock.h"

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

struct firn_store {
    firn_heap *heap;
    firn_detail detail;
    char *path;
    firn_lock lock;
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
    firn_journal_entry *pending; /* sorted by hash; as of the chunk */
    size_t pending_count;
    firn_store_held *chunk;
    size_t chunk_count;
    size_t chunk_next;
    unsigned chunk_flags;
    uint64_t from; /* the sequence after the chunk */
    uint64_t met;  /* records that were looked at */
    bool ended;
};

/* firn_store_open for a salvage: the index is not believed before all of it was checked; the
 * journal may be damaged or missing, or another store's, which is told by *journal_damaged; no
 * writer may be active. What cannot be opened at all is FIRN_ECORRUPT. */
int firn_store_open_damaged(firn_store **store, const char *path, bool *journal_damaged,
                            char *error_buffer, size_t error_size);

#endif
