/* Dictionaries: what a codec knows of values before it sees one, and how one lies in the store.
 *
 * A dictionary has an id, which stands in each record that was made with it. It is stored as a blob
 * of the backend whose number is the id, and never changes:
 *
 *     offset 0   u64    XXH3-64, seeded with the id, of all that follows
 *            8   u32    format, 1
 *           12   u32    0
 *           16   u64    first sequence: when the dictionary came, the next record's. None from it
 * on uses a dictionary whose first sequence is lower 24   u64    bytes of the values it was tried
 * on 32   u64    what they came to 40   bytes  the dictionary, in zstd's format
 *
 * A firn_dictionaries holds those that were needed so far. Readers find them without a lock: a
 * dictionary is published by one release store and stays, with what readers use of it unchanged,
 * until the set is released. Knows the backend's blobs; nothing of records, and not when a
 * dictionary is worth having. */
#ifndef FIRN_COLD_DICTIONARY_H
#define FIRN_COLD_DICTIONARY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <zstd.h>

#include "base/heap.h"
#include "cold/backend.h"

enum {
    FIRN_DICTIONARY_CHAINS = 64, /* a power of two */
    FIRN_DICTIONARY_HEAD = 40,
    FIRN_DICTIONARY_BYTES_MAX = 1 << 20,
};

typedef struct firn_dictionary {
    uint32_t id; /* immutable like all but next and encoding; not 0 */
    uint64_t first_sequence;
    uint64_t tried_bytes; /* values it was tried on */
    uint64_t tried_stored;
    ZSTD_DDict *decoding;
    ZSTD_CDict *encoding;         /* the writer's; NULL: not made, or no longer needed */
    struct firn_dictionary *next; /* in its chain; set before it is published */
    size_t size;
    unsigned char bytes[];
} firn_dictionary;

typedef struct firn_dictionaries {
    firn_heap *heap; /* lent */
    /* By id. Release when a dictionary is put in front, acquire when it is looked for. */
    _Atomic(firn_dictionary *) chains[FIRN_DICTIONARY_CHAINS];
} firn_dictionaries;

/* A dictionary of these bytes, which are copied. NULL: no memory, or they are none. */
firn_dictionary *firn_dictionary_new(firn_heap *heap, uint32_t id, const void *bytes, size_t size);
void firn_dictionary_free(firn_heap *heap, firn_dictionary *dictionary);
/* Makes it ready for encoding, if it is not. False: no memory. */
bool firn_dictionary_prepare(firn_dictionary *dictionary, int level);
/* Gives back what only encoding needs. No encoder uses it any more. */
void firn_dictionary_unprepare(firn_dictionary *dictionary);

/* Writes the blob: FIRN_DICTIONARY_HEAD + dictionary->size bytes. */
void firn_dictionary_pack(const firn_dictionary *dictionary, unsigned char *to);
/* NULL, or what is wrong with the blob. *head: everything but encoder, decoder, bytes. */
const char *firn_dictionary_check(const firn_bytes *blob, uint32_t id, firn_dictionary *head);

/* What a store tells of one of its dictionaries. */
typedef struct firn_dictionary_info {
    uint32_t id;
    bool damaged; /* then only id and stored_size hold */
    size_t stored_size;
    uint64_t
        first_sequence;    /* grows from one to the next that replaces it: the highest is in use */
    uint64_t tried_bytes;  /* of the values it was tried on when it was made */
    uint64_t tried_stored; /* what they came to */
} firn_dictionary_info;

/* The dictionary with the lowest id that is at least `from`; ids tell nothing of age. The session
 * is between read_begin and read_end. FIRN_OK, FIRN_NOT_FOUND: none, FIRN_EIO. */
int firn_dictionary_next(const firn_backend_ops *ops, firn_backend_session *session, uint32_t from,
                         firn_dictionary_info *info);

void firn_dictionaries_init(firn_dictionaries *set, firn_heap *heap);
void firn_dictionaries_fini(firn_dictionaries *set);
/* The dictionary of an id if it was loaded, else NULL. Safe from any thread. */
firn_dictionary *firn_dictionaries_find(const firn_dictionaries *set, uint32_t id);
/* Adds one, which is the set's from now on. If another thread has added that id, this one is freed
 * and the other returned. Safe from any thread. */
firn_dictionary *firn_dictionaries_add(firn_dictionaries *set, firn_dictionary *dictionary);
/* The dictionary of an id, loaded if it was not yet; the session is between read_begin and
 * read_end. id 0: *dictionary is NULL. Safe from any thread.
 * FIRN_OK. FIRN_ECORRUPT, *wrong says why: there is none, or it is damaged. FIRN_ENOMEM; FIRN_EIO,
 * with words of the backend's. */
int firn_dictionaries_get(firn_dictionaries *set, const firn_backend_ops *ops,
                          firn_backend_session *session, uint32_t id, firn_dictionary **dictionary,
                          const char **wrong);

#endif
