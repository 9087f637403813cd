/* Codecs: how a value is made smaller for a record and whole again.
 *
 * To add one, write codec_NAME.c with one firn_codec, and add a line to codec_table.c. A codec's
 * number stands in records on disk and is never reused. Contexts are not shared between threads;
 * dictionaries are. */
#ifndef FIRN_COLD_CODEC_H
#define FIRN_COLD_CODEC_H

#include <stddef.h>

struct firn_dictionary;

enum {
    FIRN_CODECS_MAX = 4,  /* numbers a record's head has room for */
    FIRN_ENCODE_LEAD = 8, /* see encode */
};

typedef struct firn_codec {
    const char *name;
    unsigned number;                     /* in records: below FIRN_CODECS_MAX */
    void *(*encoder_new)(int level);     /* NULL: no memory */
    void (*encoder_free)(void *encoder); /* also NULL's */
    void *(*decoder_new)(void);
    void (*decoder_free)(void *decoder);
    /* The encoded size, or 0 if it does not fit into capacity or fails. The FIRN_ENCODE_LEAD bytes
     * in front of `to` may be written to. dictionary: NULL, or one that is ready for encoding. */
    size_t (*encode)(void *encoder, const struct firn_dictionary *dictionary, void *to,
                     size_t capacity, const void *from, size_t size);
    /* Fills exactly value_size bytes. NULL, or what is wrong with the payload. */
    const char *(*decode)(void *decoder, const struct firn_dictionary *dictionary, void *to,
                          size_t value_size, const void *from, size_t size);
    /* NULL, or why no payload of this size can hold a value of that size: asked before memory is
     * taken for the value. from may be NULL: then only sizes are looked at. */
    const char *(*plausible)(const void *from, size_t size, size_t value_size);
} firn_codec;

/* The codec of a number met in a record; NULL: unknown. */
const firn_codec *firn_codec_find(unsigned number);

extern const firn_codec firn_codec_none;
extern const firn_codec firn_codec_zstd;

/* One decoder a codec, for one reader. */
typedef struct firn_decoders {
    void *contexts[FIRN_CODECS_MAX]; /* by number; made when first needed */
} firn_decoders;

void firn_decoders_fini(firn_decoders *decoders);
/* What firn_decode returns (this very pointer) when the fault is not the payload's. */
extern const char firn_decode_no_memory[];

/* NULL, or what is wrong. dictionary: the one whose id stands in the record; NULL: none does. */
const char *firn_decode(firn_decoders *decoders, unsigned codec,
                        const struct firn_dictionary *dictionary, void *to, size_t value_size,
                        const void *from, size_t size);
/* NULL, or why the value cannot be what the head says. */
const char *firn_decode_plausible(unsigned codec, const void *from, size_t size, size_t value_size);

#endif
