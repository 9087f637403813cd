/* See record.h. */
#include "cold/record.h"

#include <endian.h>
#include <string.h>

#define XXH_STATIC_LINKING_ONLY /* for a streaming state that lives on the stack */
#include <xxhash.h>

#include <firn/options.h>

#include "base/hash.h"
#include "base/varint.h"

enum {
    CHECKSUM_SIZE = 8,
    FIXED_SIZE = 9,
    CODEC_MASK = FIRN_RECORD_CODEC_MAX,
    FLAG_DICTIONARY = 4,
    FLAG_EXPIRES = 8,
    FORMAT_SHIFT = 4,
    FORMAT_ATTRIBUTES = 5, /* of a whole entry */
    HAS_TYPE = 1,
    HAS_LINKS = 2,
    IS_OWNED = 4,
    IS_BODY = 8,
    IS_INTERNED = 16,
    HAS_COST = 32, /* or staleness */
    HAS_IDLE = 64,
    IS_NEGATIVE = 128,
    HAS_TAGS = 256,
    ATTRIBUTES_MAX = 511,
};

static unsigned char *put_attributes(unsigned char *to, const firn_attributes *attributes) {
    bool typed = attributes->type != 0;
    bool linked = attributes->links_size > 0;
    const firn_traits *traits = &attributes->traits;
    bool cost = traits->cost_us != 0 || traits->stale_ms != 0;
    to = firn_put_varint(
        to, (typed ? HAS_TYPE : 0u) | (linked ? HAS_LINKS : 0u) |
                (attributes->owned ? IS_OWNED : 0u) | (attributes->body ? IS_BODY : 0u) |
                (attributes->interned ? IS_INTERNED : 0u) | (cost ? HAS_COST : 0u) |
                (traits->idle_ms != 0 ? HAS_IDLE : 0u) | (traits->negative ? IS_NEGATIVE : 0u) |
                (traits->tag_count > 0 ? HAS_TAGS : 0u));
    if (typed) {
        to = firn_put_varint(to, attributes->type);
        to = firn_put_varint(to, attributes->type_version);
    }
    to = linked ? firn_put_varint(to, attributes->links_size) : to;
    to = attributes->interned ? firn_put_varint(to, attributes->interned_size) : to;
    if (cost) {
        to = firn_put_varint(to, traits->cost_us);
        to = firn_put_varint(to, traits->stale_ms);
    }
    if (traits->idle_ms != 0) {
        to = firn_put_varint(to, traits->idle_ms);
        to = firn_put_varint(to, traits->limit_ms);
    }
    if (traits->tag_count > 0) {
        to = firn_put_varint(to, traits->tag_count);
        memcpy(to, traits->tags, firn_traits_tags_size(traits));
        to += firn_traits_tags_size(traits);
    }
    return to;
}

size_t firn_record_head(const firn_record *record, unsigned char *head) {
    memset(head, 0, CHECKSUM_SIZE);
    bool attributes = firn_attributes_any(&record->attributes);
    unsigned format = attributes ? FORMAT_ATTRIBUTES : FIRN_RECORD_FORMAT + record->part;
    unsigned kind = format << FORMAT_SHIFT | record->codec;
    kind |= record->dictionary != 0 ? FLAG_DICTIONARY : 0;
    kind |= record->expires_ms != 0 ? FLAG_EXPIRES : 0;
    head[CHECKSUM_SIZE] = (unsigned char)kind;
    unsigned char *to = head + FIXED_SIZE;
    if (record->dictionary != 0) {
        to = firn_put_varint(to, record->dictionary);
    }
    to = firn_put_varint(to, record->key_size);
    if (record->codec != FIRN_RECORD_CODEC_RAW) {
        to = firn_put_varint(to, record->value_size);
    }
    to = firn_put_varint(to, record->version);
    to = firn_put_varint(to, record->written_ms);
    if (record->expires_ms != 0) {
        to = firn_put_varint(to, record->expires_ms);
    }
    if (attributes) {
        to = put_attributes(to, &record->attributes);
    }
    return (size_t)(to - head);
}

static uint64_t checksum(const void *bytes, size_t size, uint64_t sequence) {
    const unsigned char *from = bytes;
    return htole64(firn_hash64(sequence, from + CHECKSUM_SIZE, size - CHECKSUM_SIZE));
}

void firn_record_seal(void *bytes, size_t size, const void *payload, size_t payload_size,
                      uint64_t sequence) {
    uint64_t sum;
    if (payload_size == 0) {
        sum = checksum(bytes, size, sequence);
    } else {
        XXH3_state_t state;
        XXH3_INITSTATE(&state);
        XXH3_64bits_reset_withSeed(&state, sequence);
        XXH3_64bits_update(&state, (unsigned char *)bytes + CHECKSUM_SIZE, size - CHECKSUM_SIZE);
        XXH3_64bits_update(&state, payload, payload_size);
        sum = htole64(XXH3_64bits_digest(&state));
    }
    memcpy(bytes, &sum, sizeof sum);
}

const char *firn_record_check(const void *bytes, size_t size, uint64_t sequence) {
    if (size < FIXED_SIZE) {
        return "record too short";
    }
    uint64_t sum = checksum(bytes, size, sequence);
    return memcmp(bytes, &sum, sizeof sum) == 0 ? NULL : "checksum does not match";
}

/* A varint that stands there only if `present`. from NULL stays NULL. */
static const unsigned char *get_if(bool present, const unsigned char *from,
                                   const unsigned char *end, uint64_t *number) {
    return present && from != NULL ? firn_get_varint(from, end, number) : from;
}

/* The same of what the traits are. */
static const unsigned char *get_traits(const unsigned char *from, const unsigned char *end,
                                       uint64_t which, firn_traits *traits) {
    uint64_t cost_us = 0;
    uint64_t stale_ms = 0;
    uint64_t count = 0;
    *traits = (firn_traits){.negative = (which & IS_NEGATIVE) != 0};
    from = get_if((which & HAS_COST) != 0, from, end, &cost_us);
    from = get_if((which & HAS_COST) != 0, from, end, &stale_ms);
    from = get_if((which & HAS_IDLE) != 0, from, end, &traits->idle_ms);
    from = get_if((which & HAS_IDLE) != 0, from, end, &traits->limit_ms);
    from = get_if((which & HAS_TAGS) != 0, from, end, &count);
    if (from == NULL || cost_us > UINT32_MAX || stale_ms > UINT32_MAX ||
        ((which & HAS_COST) != 0) != (cost_us != 0 || stale_ms != 0) ||
        ((which & HAS_IDLE) != 0) != (traits->idle_ms != 0) || count > FIRN_TAGS_MAX ||
        ((which & HAS_TAGS) != 0) != (count != 0) ||
        count * sizeof(uint64_t) > (size_t)(end - from)) {
        return NULL;
    }
    traits->cost_us = (uint32_t)cost_us;
    traits->stale_ms = (uint32_t)stale_ms;
    traits->tag_count = (uint32_t)count;
    traits->tags = count > 0 ? from : NULL;
    return from + firn_traits_tags_size(traits);
}

/* NULL: cut off, or not what we know. */
static const unsigned char *get_attributes(const unsigned char *from, const unsigned char *end,
                                           firn_attributes *attributes) {
    uint64_t which = 0;
    uint64_t type = 0;
    uint64_t type_version = 0;
    uint64_t links_size = 0;
    uint64_t interned_size = 0;
    from = get_if(true, from, end, &which);
    from = get_if((which & HAS_TYPE) != 0, from, end, &type);
    from = get_if((which & HAS_TYPE) != 0, from, end, &type_version);
    from = get_if((which & HAS_LINKS) != 0, from, end, &links_size);
    from = get_if((which & IS_INTERNED) != 0, from, end, &interned_size);
    if (from == NULL || which == 0 || which > ATTRIBUTES_MAX ||
        ((which & HAS_TYPE) != 0) != (type != 0) || type > UINT32_MAX ||
        type_version > UINT32_MAX || ((which & HAS_LINKS) != 0) != (links_size != 0) ||
        interned_size > FIRN_VALUE_SIZE_MAX) {
        return NULL;
    }
    *attributes = (firn_attributes){.type = (uint32_t)type,
                                    .type_version = (uint32_t)type_version,
                                    .owned = (which & IS_OWNED) != 0,
                                    .body = (which & IS_BODY) != 0,
                                    .interned = (which & IS_INTERNED) != 0,
                                    .interned_size = interned_size,
                                    .links_size = (size_t)links_size};
    return get_traits(from, end, which, &attributes->traits);
}

const char *firn_record_parse_head(const void *bytes, size_t held, size_t size,
                                   firn_record *record) {
    const unsigned char *from = bytes;
    const unsigned char *end = from + held;
    if (held < FIXED_SIZE) {
        return "record too short";
    }
    unsigned kind = from[CHECKSUM_SIZE];
    bool attributes = kind >> FORMAT_SHIFT == FORMAT_ATTRIBUTES;
    unsigned part = attributes ? FIRN_PART_WHOLE : (kind >> FORMAT_SHIFT) - FIRN_RECORD_FORMAT;
    if (part > FIRN_PART_MAX) {
        return "unknown record format";
    }
    *record = (firn_record){.part = (firn_part)part, .codec = kind & CODEC_MASK};
    bool raw = record->codec == FIRN_RECORD_CODEC_RAW;
    bool has_dictionary = (kind & FLAG_DICTIONARY) != 0;
    uint64_t dictionary = 0;
    uint64_t key_size = 0;
    uint64_t value_size = 0;
    from = get_if(has_dictionary, from + FIXED_SIZE, end, &dictionary);
    from = get_if(true, from, end, &key_size);
    from = get_if(!raw, from, end, &value_size);
    from = get_if(true, from, end, &record->version);
    from = get_if(true, from, end, &record->written_ms);
    from = get_if((kind & FLAG_EXPIRES) != 0, from, end, &record->expires_ms);
    if (from == NULL) {
        return "record head is cut off";
    }
    if (attributes) {
        from = get_attributes(from, end, &record->attributes);
        if (from == NULL) {
            return "attributes out of bounds";
        }
    }
    if (has_dictionary && (raw || dictionary == 0 || dictionary > UINT32_MAX)) {
        return "dictionary out of bounds";
    }
    if (key_size == 0 || key_size > FIRN_KEY_SIZE_MAX || key_size > (size_t)(end - from)) {
        return "key size out of bounds";
    }
    size_t head_size = (size_t)(from - (const unsigned char *)bytes) + (size_t)key_size;
    size_t links_size = record->attributes.links_size;
    if (links_size > size - head_size) {
        return "links out of bounds";
    }
    head_size += links_size;
    record->dictionary = (uint32_t)dictionary;
    record->key = from;
    record->key_size = (size_t)key_size;
    if (links_size > 0 && links_size <= (size_t)(end - from) - (size_t)key_size) {
        record->attributes.links = from + key_size;
    }
    record->payload = held == size ? from + key_size + links_size : NULL;
    record->payload_size = size - head_size;
    record->value_size = raw ? record->payload_size : (size_t)value_size;
    return record->value_size <= FIRN_VALUE_SIZE_MAX ? NULL : "value size out of bounds";
}

const char *firn_record_parse(const void *bytes, size_t size, firn_record *record) {
    return firn_record_parse_head(bytes, size, size, record);
}
