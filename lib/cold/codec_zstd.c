/* zstd: one frame a value, with the value's size in its header and nothing else that the record
 * tells already: no checksum, no dictionary id.
 *
 * Of a small value even the header is left out, magic number and all, because it follows from the
 * value's size; it is put back in front of a copy of the payload before decompression. That costs
 * a copy of some kilobytes at the most, and saves six or seven bytes of each small record. */
#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#include "cold/codec.h"
#include "cold/dictionary.h"

enum {
    /* zstd's densest block: no honest frame promises more. */
    RATIO_MAX = 32768,
    SLACK = 128 << 10,

    BARE_MAX = 16 << 10, /* values of up to so many bytes have no frame header */
    HEADER_MAX = 7,
    SINGLE_SEGMENT = 1 << 5, /* in the frame's descriptor (RFC 8878, 3.1.1.1.1) */
    SIZE_OF_2_BYTES = 1 << 6,
    SIZE_BIAS = 256, /* what a size of two bytes counts from */
};

_Static_assert((int)HEADER_MAX <= (int)FIRN_ENCODE_LEAD,
               "the header is written in front of the payload");

typedef struct encoder {
    ZSTD_CCtx *context;
    const ZSTD_CDict *dictionary; /* which the context refers to */
} encoder;

typedef struct decoder {
    ZSTD_DCtx *context;
    unsigned char frame[HEADER_MAX + BARE_MAX];
} decoder;

static void zstd_encoder_free(void *context) {
    encoder *self = context;
    if (self != NULL) {
        ZSTD_freeCCtx(self->context);
        free(self);
    }
}

static bool set(encoder *self, ZSTD_cParameter parameter, int value) {
    return !ZSTD_isError(ZSTD_CCtx_setParameter(self->context, parameter, value));
}

static void *zstd_encoder_new(int level) {
    encoder *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return NULL;
    }
    self->context = ZSTD_createCCtx();
    if (self->context == NULL || !set(self, ZSTD_c_compressionLevel, level) ||
        !set(self, ZSTD_c_contentSizeFlag, 1) || !set(self, ZSTD_c_checksumFlag, 0) ||
        !set(self, ZSTD_c_dictIDFlag, 0)) {
        zstd_encoder_free(self);
        return NULL;
    }
    return self;
}

static void *zstd_decoder_new(void) {
    decoder *self = malloc(sizeof *self);
    if (self == NULL) {
        return NULL;
    }
    self->context = ZSTD_createDCtx();
    if (self->context == NULL) {
        free(self);
        return NULL;
    }
    return self;
}

static void zstd_decoder_free(void *context) {
    decoder *self = context;
    ZSTD_freeDCtx(self->context);
    free(self);
}

/* The header of a frame of one segment that holds value_size bytes, at most BARE_MAX: its size. */
static size_t make_header(unsigned char *to, size_t value_size) {
    uint32_t magic = htole32(ZSTD_MAGICNUMBER);
    memcpy(to, &magic, sizeof magic);
    if (value_size < SIZE_BIAS) {
        to[4] = SINGLE_SEGMENT;
        to[5] = (unsigned char)value_size;
        return 6;
    }
    to[4] = SIZE_OF_2_BYTES | SINGLE_SEGMENT;
    uint16_t size = htole16((uint16_t)(value_size - SIZE_BIAS));
    memcpy(to + 5, &size, sizeof size);
    return 7;
}

/* In front of `to` there is room for the header; a frame that has another one is not used. */
static size_t encode_bare(encoder *self, unsigned char *to, size_t capacity, const void *from,
                          size_t size) {
    unsigned char header[HEADER_MAX];
    size_t header_size = make_header(header, size);
    unsigned char *frame = to - header_size;
    size_t used = ZSTD_compress2(self->context, frame, capacity + header_size, from, size);
    if (ZSTD_isError(used) || used <= header_size || memcmp(frame, header, header_size) != 0) {
        return 0;
    }
    return used - header_size;
}

static size_t zstd_encode(void *context, const struct firn_dictionary *dictionary, void *to,
                          size_t capacity, const void *from, size_t size) {
    encoder *self = context;
    const ZSTD_CDict *wanted = dictionary != NULL ? dictionary->encoding : NULL;
    if (wanted != self->dictionary) {
        /* A compression that found no room has not ended for zstd, which then takes no dictionary.
         */
        (void)ZSTD_CCtx_reset(self->context, ZSTD_reset_session_only);
        if (ZSTD_isError(ZSTD_CCtx_refCDict(self->context, wanted))) {
            return 0;
        }
        self->dictionary = wanted;
    }
    if (size <= BARE_MAX) {
        return encode_bare(self, to, capacity, from, size);
    }
    size_t used = ZSTD_compress2(self->context, to, capacity, from, size);
    return ZSTD_isError(used) ? 0 : used;
}

static const char *zstd_plausible(const void *from, size_t size, size_t value_size) {
    if (value_size > SLACK && (value_size - SLACK) / RATIO_MAX > size) {
        return "value size is not plausible for what is stored";
    }
    if (value_size <= BARE_MAX) {
        return size <= BARE_MAX ? NULL : "more is stored than the value has";
    }
    return from == NULL || ZSTD_getFrameContentSize(from, size) == value_size
               ? NULL
               : "the frame's size is not the value's";
}

static const char *zstd_decode(void *context, const struct firn_dictionary *dictionary, void *to,
                               size_t value_size, const void *from, size_t size) {
    decoder *self = context;
    const char *wrong = zstd_plausible(from, size, value_size);
    if (wrong != NULL) {
        return wrong;
    }
    if (value_size <= BARE_MAX) {
        size_t header_size = make_header(self->frame, value_size);
        if (size > 0) {
            memcpy(self->frame + header_size, from, size);
        }
        from = self->frame;
        size += header_size;
    }
    size_t used = dictionary != NULL
                      ? ZSTD_decompress_usingDDict(self->context, to, value_size, from, size,
                                                   dictionary->decoding)
                      : ZSTD_decompressDCtx(self->context, to, value_size, from, size);
    return used == value_size ? NULL : "decompression failed";
}

const firn_codec firn_codec_zstd = {
    .name = "zstd",
    .number = 1,
    .encoder_new = zstd_encoder_new,
    .encoder_free = zstd_encoder_free,
    .decoder_new = zstd_decoder_new,
    .decoder_free = zstd_decoder_free,
    .encode = zstd_encode,
    .decode = zstd_decode,
    .plausible = zstd_plausible,
};
