/* The record: how one entry looks on disk. Knows bytes and numbers and nothing else: no store, no
 * files, no codec.
 *
 *     offset 0   u64    checksum: XXH3-64, seeded with the sequence, of all that follows
 *            8   u8     in the high 4 bits: 2, 3 for a piece of a stream, 4 for the head of one, 5
 *                       for an entry with attributes. Low: 1 and 2: codec; 4: a dictionary's id
 *                       follows; 8: an expiry follows
 *            9   [varint dictionary], varint key size, [varint value size: not of codec 0], varint
 *                version, varint time of writing (ms after the store's creation), [varint expiry,
 *                ms], [attributes], key, [links], payload to the end
 *
 *     attributes: varint which (1: type, 2: links, 4: owned, 8: body, 16: interned, 32: cost and
 *                 staleness, 64: sliding expiry, 128: negative, 256: tags), [varint type, varint
 *                 its version], [varint bytes of the links], [varint bytes of the value], [varint
 *                 cost, varint staleness], [varint idle time, varint limit], [varint how many tags,
 *                 u64 each]
 *
 * Integers are little-endian; varints are LEB128 of up to 10 bytes. How many bytes the record has
 * in all is told by whoever keeps it. The full account is in docs/format.md. */
#ifndef FIRN_COLD_RECORD_H
#define FIRN_COLD_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clears.h"
#include "base/traits.h"

enum {
    FIRN_RECORD_FORMAT = 2,
    FIRN_RECORD_HEAD_MAX = 9 + 16 * 10, /* bytes before the key, at the most, but for tags */
    FIRN_RECORD_CODEC_MAX = 3,
    FIRN_RECORD_CODEC_RAW = 0, /* the payload is the value */
};

/* What a record is of. */
typedef enum firn_part {
    FIRN_PART_WHOLE = 0, /* an entry with its value */
    FIRN_PART_PIECE = 1, /* a piece of a stream, which is no entry; see tier/stream.c for its key */
    FIRN_PART_HEAD = 2,  /* an entry whose value is in pieces */
    FIRN_PART_MAX = FIRN_PART_HEAD,
} firn_part;

/* The value of a head, stored as it is: u64 bytes of the whole value, u64 stream (a random number),
 * u64 bytes of each piece but the last, u64 pieces. The key of a piece: u64 hash of the head's key,
 * u64 stream, u64 number of the piece, from 0. All little-endian. */
enum { FIRN_STREAM_HEAD_SIZE = 32, FIRN_PIECE_KEY_SIZE = 24 };

/* What only some entries have. Zeros: nothing. */
typedef struct firn_attributes {
    uint32_t type;          /* as firn_type_id gives it; 0: bytes */
    uint32_t type_version;  /* of the value's encoding */
    bool owned;             /* lives only as long as links keep it */
    bool body;              /* it is the value of others, which link to it: see FIRN_LINKS_BODY */
    bool interned;          /* its value is a body's; its own is empty */
    uint64_t interned_size; /* bytes of that value */
    const void *links;      /* see base/links.h for the form; lent */
    size_t links_size;      /* bytes; 0: none */
    firn_traits traits;     /* but for expires_ms, which is the record's; the tags are lent */
} firn_attributes;

/* Whether there is more than traits. */
static inline bool firn_attributes_rich(const firn_attributes *attributes) {
    return attributes->type != 0 || attributes->owned || attributes->body || attributes->interned ||
           attributes->links_size > 0;
}

static inline bool firn_attributes_any(const firn_attributes *attributes) {
    const firn_traits *traits = &attributes->traits;
    return firn_attributes_rich(attributes) || traits->cost_us != 0 || traits->stale_ms != 0 ||
           traits->negative || firn_traits_many(traits);
}

typedef struct firn_record {
    firn_part part;
    unsigned codec;
    uint32_t dictionary; /* id; 0: none. Never with FIRN_RECORD_CODEC_RAW */
    uint64_t version;
    uint64_t expires_ms; /* 0: never */
    uint64_t written_ms; /* after the store's creation */
    firn_attributes attributes;
    const void *key; /* lent from the bytes that were parsed, as the attributes' links */
    size_t key_size;
    size_t value_size;   /* before compression */
    const void *payload; /* lent likewise */
    size_t payload_size;
} firn_record;

/* Whether the record was cleared. A piece, or a body, has no key of the program's, and no tags. */
static inline bool firn_record_cleared(const firn_record *record, const firn_clears *clears) {
    bool entry = record->part != FIRN_PART_PIECE && !record->attributes.body;
    return firn_clears_void(clears, record->version, entry ? record->key : NULL, record->key_size,
                            &record->attributes.traits);
}

/* Bytes before the payload, at the most. */
static inline size_t firn_record_lead_max(const firn_attributes *attributes, size_t key_size) {
    return FIRN_RECORD_HEAD_MAX + firn_traits_tags_size(&attributes->traits) + key_size +
           attributes->links_size;
}

/* Writes all that comes before the key into head (FIRN_RECORD_HEAD_MAX bytes, and those of the
 * tags), the checksum left zero. Returns its size. The bytes of key, links and payload are not
 * looked at. */
size_t firn_record_head(const firn_record *record, unsigned char *head);

/* Sets the checksum of a record: bytes holds all of it, or all but the payload, which then follows
 * from elsewhere (payload_size not 0). Nothing else of the record depends on the sequence. */
void firn_record_seal(void *bytes, size_t size, const void *payload, size_t payload_size,
                      uint64_t sequence);

/* Reads the head, with every bound checked. NULL: well-formed, *record filled. Else what is wrong,
 * a static string. The checksum is not looked at. */
const char *firn_record_parse(const void *bytes, size_t size, firn_record *record);
/* The same of a record of `size` bytes of which only the first `held` are at hand. Links and
 * payload are NULL if they are not among them. */
const char *firn_record_parse_head(const void *bytes, size_t held, size_t size,
                                   firn_record *record);

/* NULL: the checksum is right. Else what is wrong. */
const char *firn_record_check(const void *bytes, size_t size, uint64_t sequence);

#endif
