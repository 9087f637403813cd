/* See dictionary.h. */
#include "cold/dictionary.h"

#include <endian.h>
#include <string.h>

#include "base/hash.h"

enum { CHECKSUM_SIZE = 8, FORMAT = 1 };

firn_dictionary *firn_dictionary_new(firn_heap *heap, uint32_t id, const void *bytes, size_t size) {
    if (size == 0 || size > FIRN_DICTIONARY_BYTES_MAX) {
        return NULL;
    }
    firn_dictionary *dictionary = firn_heap_alloc(heap, sizeof *dictionary + size);
    if (dictionary == NULL) {
        return NULL;
    }
    *dictionary = (firn_dictionary){.id = id, .size = size};
    memcpy(dictionary->bytes, bytes, size);
    dictionary->decoding = ZSTD_createDDict(bytes, size);
    if (dictionary->decoding == NULL) {
        firn_dictionary_free(heap, dictionary);
        return NULL;
    }
    return dictionary;
}

void firn_dictionary_free(firn_heap *heap, firn_dictionary *dictionary) {
    if (dictionary != NULL) {
        ZSTD_freeCDict(dictionary->encoding);
        ZSTD_freeDDict(dictionary->decoding);
        firn_heap_free(heap, dictionary, sizeof *dictionary + dictionary->size);
    }
}

bool firn_dictionary_prepare(firn_dictionary *dictionary, int level) {
    if (dictionary->encoding == NULL) {
        dictionary->encoding = ZSTD_createCDict(dictionary->bytes, dictionary->size, level);
    }
    return dictionary->encoding != NULL;
}

void firn_dictionary_unprepare(firn_dictionary *dictionary) {
    ZSTD_freeCDict(dictionary->encoding);
    dictionary->encoding = NULL;
}

/* ---- in the store ---- */

static unsigned char *put_u64(unsigned char *to, uint64_t number) {
    number = htole64(number);
    memcpy(to, &number, sizeof number);
    return to + sizeof number;
}

static uint64_t get_u64(const unsigned char *from) {
    uint64_t number;
    memcpy(&number, from, sizeof number);
    return le64toh(number);
}

void firn_dictionary_pack(const firn_dictionary *dictionary, unsigned char *to) {
    unsigned char *at = to + CHECKSUM_SIZE;
    at = put_u64(at, FORMAT); /* and four bytes of zeros */
    at = put_u64(at, dictionary->first_sequence);
    at = put_u64(at, dictionary->tried_bytes);
    at = put_u64(at, dictionary->tried_stored);
    memcpy(at, dictionary->bytes, dictionary->size);
    size_t size = FIRN_DICTIONARY_HEAD + dictionary->size;
    put_u64(to, firn_hash64(dictionary->id, to + CHECKSUM_SIZE, size - CHECKSUM_SIZE));
}

const char *firn_dictionary_check(const firn_bytes *blob, uint32_t id, firn_dictionary *head) {
    const unsigned char *from = blob->data;
    if (blob->size <= FIRN_DICTIONARY_HEAD ||
        blob->size > FIRN_DICTIONARY_HEAD + FIRN_DICTIONARY_BYTES_MAX) {
        return "its dictionary is damaged: size out of bounds";
    }
    if (get_u64(from) != firn_hash64(id, from + CHECKSUM_SIZE, blob->size - CHECKSUM_SIZE)) {
        return "its dictionary is damaged: checksum does not match";
    }
    if (get_u64(from + 8) != FORMAT) {
        return "its dictionary has an unknown format";
    }
    *head = (firn_dictionary){
        .id = id,
        .first_sequence = get_u64(from + 16),
        .tried_bytes = get_u64(from + 24),
        .tried_stored = get_u64(from + 32),
        .size = blob->size - FIRN_DICTIONARY_HEAD,
    };
    return NULL;
}

int firn_dictionary_next(const firn_backend_ops *ops, firn_backend_session *session, uint32_t from,
                         firn_dictionary_info *info) {
    uint64_t number;
    firn_bytes blob;
    int result = ops->next_blob(session, from, &number, &blob);
    if (result != FIRN_OK || number > UINT32_MAX) {
        return result == FIRN_OK ? FIRN_NOT_FOUND : result;
    }
    *info = (firn_dictionary_info){.id = (uint32_t)number, .stored_size = blob.size};
    firn_dictionary head;
    info->damaged = firn_dictionary_check(&blob, info->id, &head) != NULL;
    if (!info->damaged) {
        info->first_sequence = head.first_sequence;
        info->tried_bytes = head.tried_bytes;
        info->tried_stored = head.tried_stored;
    }
    return FIRN_OK;
}

/* ---- the set ---- */

void firn_dictionaries_init(firn_dictionaries *set, firn_heap *heap) {
    set->heap = heap;
    for (size_t i = 0; i < FIRN_DICTIONARY_CHAINS; i++) {
        atomic_init(&set->chains[i], NULL);
    }
}

void firn_dictionaries_fini(firn_dictionaries *set) {
    for (size_t i = 0; i < FIRN_DICTIONARY_CHAINS; i++) {
        firn_dictionary *at = atomic_load_explicit(&set->chains[i], memory_order_relaxed);
        while (at != NULL) {
            firn_dictionary *next = at->next;
            firn_dictionary_free(set->heap, at);
            at = next;
        }
        atomic_store_explicit(&set->chains[i], NULL, memory_order_relaxed);
    }
}

static firn_dictionary *find_from(firn_dictionary *at, uint32_t id) {
    while (at != NULL && at->id != id) {
        at = at->next;
    }
    return at;
}

firn_dictionary *firn_dictionaries_find(const firn_dictionaries *set, uint32_t id) {
    const _Atomic(firn_dictionary *) *chain = &set->chains[id % FIRN_DICTIONARY_CHAINS];
    return find_from(atomic_load_explicit(chain, memory_order_acquire), id);
}

firn_dictionary *firn_dictionaries_add(firn_dictionaries *set, firn_dictionary *dictionary) {
    _Atomic(firn_dictionary *) *chain = &set->chains[dictionary->id % FIRN_DICTIONARY_CHAINS];
    firn_dictionary *first = atomic_load_explicit(chain, memory_order_acquire);
    do {
        firn_dictionary *present = find_from(first, dictionary->id);
        if (present != NULL) {
            firn_dictionary_free(set->heap, dictionary);
            return present;
        }
        dictionary->next = first;
        /* Release: whoever finds it sees all of it. Acquire: so do we of what came between. */
    } while (!atomic_compare_exchange_weak_explicit(chain, &first, dictionary, memory_order_acq_rel,
                                                    memory_order_acquire));
    return dictionary;
}

static int load(firn_dictionaries *set, const firn_bytes *blob, uint32_t id,
                firn_dictionary **dictionary, const char **wrong) {
    firn_dictionary head;
    *wrong = firn_dictionary_check(blob, id, &head);
    if (*wrong != NULL) {
        return FIRN_ECORRUPT;
    }
    const unsigned char *bytes = blob->data;
    firn_dictionary *made =
        firn_dictionary_new(set->heap, id, bytes + FIRN_DICTIONARY_HEAD, head.size);
    if (made == NULL) {
        *wrong = "no memory for its dictionary";
        return FIRN_ENOMEM;
    }
    made->first_sequence = head.first_sequence;
    made->tried_bytes = head.tried_bytes;
    made->tried_stored = head.tried_stored;
    *dictionary = firn_dictionaries_add(set, made);
    return FIRN_OK;
}

int firn_dictionaries_get(firn_dictionaries *set, const firn_backend_ops *ops,
                          firn_backend_session *session, uint32_t id, firn_dictionary **dictionary,
                          const char **wrong) {
    *wrong = NULL;
    *dictionary = id != 0 ? firn_dictionaries_find(set, id) : NULL;
    if (id == 0 || *dictionary != NULL) {
        return FIRN_OK;
    }
    firn_bytes blob;
    int result = ops->get_blob(session, id, &blob);
    if (result == FIRN_NOT_FOUND) {
        *wrong = "its dictionary is not in the store";
        return FIRN_ECORRUPT;
    }
    return result == FIRN_OK ? load(set, &blob, id, dictionary, wrong) : result;
}
