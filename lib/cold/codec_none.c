/* The codec of what is stored as it is. */
#include <string.h>

#include "cold/codec.h"

static size_t none_encode(void *encoder, const struct firn_dictionary *dictionary, void *to,
                          size_t capacity, const void *from, size_t size) {
    (void)encoder;
    (void)dictionary;
    if (size > capacity) {
        return 0;
    }
    memcpy(to, from, size);
    return size;
}

static const char *none_plausible(const void *from, size_t size, size_t value_size) {
    (void)from;
    return size == value_size ? NULL : "stored size is not the value's";
}

static const char *none_decode(void *decoder, const struct firn_dictionary *dictionary, void *to,
                               size_t value_size, const void *from, size_t size) {
    (void)decoder;
    (void)dictionary;
    const char *wrong = none_plausible(from, size, value_size);
    if (wrong == NULL && size > 0) {
        memcpy(to, from, size);
    }
    return wrong;
}

const firn_codec firn_codec_none = {
    .name = "none",
    .number = 0,
    .encode = none_encode,
    .plausible = none_plausible,
    .decode = none_decode,
};
