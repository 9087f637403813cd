/* zstd: one frame a value, whose header tells the value's size. */
#include <zstd.h>

#include "cold/codec.h"

/* zstd's densest block: no honest frame promises more. */
enum { RATIO_MAX = 32768, SLACK = 128 << 10 };

static void *zstd_encoder_new(void) {
    return ZSTD_createCCtx();
}

static void zstd_encoder_free(void *encoder) {
    ZSTD_freeCCtx(encoder);
}

static void *zstd_decoder_new(void) {
    return ZSTD_createDCtx();
}

static void zstd_decoder_free(void *decoder) {
    ZSTD_freeDCtx(decoder);
}

static size_t zstd_bound(size_t size) {
    return ZSTD_compressBound(size);
}

static size_t zstd_encode(void *encoder, int level, void *to, size_t capacity, const void *from,
                          size_t size) {
    size_t used = ZSTD_compressCCtx(encoder, to, capacity, from, size, level);
    return ZSTD_isError(used) ? 0 : used;
}

static const char *zstd_plausible(const void *from, size_t size, size_t value_size) {
    if (value_size > SLACK && (value_size - SLACK) / RATIO_MAX > size) {
        return "value size is not plausible for what is stored";
    }
    return ZSTD_getFrameContentSize(from, size) == value_size
               ? NULL
               : "the frame's size is not the value's";
}

static const char *zstd_decode(void *decoder, void *to, size_t value_size, const void *from,
                               size_t size) {
    const char *wrong = zstd_plausible(from, size, value_size);
    if (wrong != NULL) {
        return wrong;
    }
    size_t used = ZSTD_decompressDCtx(decoder, to, value_size, from, size);
    return used == value_size ? NULL : "decompression failed";
}

const firn_codec firn_codec_zstd = {
    .name = "zstd",
    .number = 1,
    .encoder_new = zstd_encoder_new,
    .encoder_free = zstd_encoder_free,
    .decoder_new = zstd_decoder_new,
    .decoder_free = zstd_decoder_free,
    .bound = zstd_bound,
    .encode = zstd_encode,
    .decode = zstd_decode,
    .plausible = zstd_plausible,
};
