/* The list of codecs, one line each, and decoding by number. */
#include "cold/codec.h"

const char firn_decode_no_memory[] = "no memory for a decoder";

static const firn_codec *const codecs[] = {
    &firn_codec_none,
    &firn_codec_zstd,
};

const firn_codec *firn_codec_find(unsigned number) {
    for (size_t i = 0; i < sizeof codecs / sizeof codecs[0]; i++) {
        if (codecs[i]->number == number) {
            return codecs[i];
        }
    }
    return NULL;
}

void firn_decoders_fini(firn_decoders *decoders) {
    for (unsigned i = 0; i < sizeof decoders->contexts / sizeof decoders->contexts[0]; i++) {
        const firn_codec *codec = firn_codec_find(i);
        if (codec != NULL && decoders->contexts[i] != NULL) {
            codec->decoder_free(decoders->contexts[i]);
            decoders->contexts[i] = NULL;
        }
    }
}

const char *firn_decode_plausible(unsigned number, const void *from, size_t size,
                                  size_t value_size) {
    const firn_codec *codec = firn_codec_find(number);
    return codec != NULL ? codec->plausible(from, size, value_size) : "unknown codec";
}

const char *firn_decode(firn_decoders *decoders, unsigned number,
                        const struct firn_dictionary *dictionary, void *to, size_t value_size,
                        const void *from, size_t size) {
    const firn_codec *codec = firn_codec_find(number);
    if (codec == NULL) {
        return "unknown codec";
    }
    if (decoders->contexts[number] == NULL && codec->decoder_new != NULL) {
        decoders->contexts[number] = codec->decoder_new();
        if (decoders->contexts[number] == NULL) {
            return firn_decode_no_memory;
        }
    }
    return codec->decode(decoders->contexts[number], dictionary, to, value_size, from, size);
}
