/* What making records smaller costs and gives: firn's encoding beside plain zstd, value by value.
 *
 * One line of JSON for each kind and size of values: mean bytes and nanoseconds a value for
 *
 *     zstd             ZSTD_compressCCtx and ZSTD_decompressDCtx
 *     zstd_dictionary  ZSTD_compress_usingCDict and ZSTD_decompress_usingDDict, with the dictionary
 *                      that firn trained; null where it trained none
 *     firn_plain       firn before it has a dictionary
 *     firn             firn with the dictionary it trained from values of this kind
 *
 * and ratios between them. Time is the processor's. Every figure is the best of some rounds; the
 * rounds of the four take turns, so that noise falls on all alike. Bytes are payloads, without a
 * record's head. Usage: compress [LEVEL] */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <zstd.h>

#include "../../tools/values.h"
#include "cold/codec.h"
#include "cold/encoding.h"

enum { BYTES = 2 << 20, TRAINING_BYTES = 8 << 20, ROUNDS = 7, NOISE_KEY = 0x5eed };

typedef struct values {
    size_t size;
    size_t count;
    unsigned char *bytes;
} values;

typedef struct figure {
    double bytes;
    double encode_ns;
    double decode_ns;
} figure;

static int level = 3;

static double now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID,
                  &time); /* what others take of the processor is not ours */
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void *need(void *memory) {
    if (memory == NULL) {
        fprintf(stderr, "compress: no memory\n");
        exit(1);
    }
    return memory;
}

static void fill(unsigned char *to, size_t size, uint64_t key, bool noise) {
    if (!noise) {
        make_value(key, to, size);
        return;
    }
    uint64_t state = key ^ (uint64_t)NOISE_KEY << 32;
    for (size_t i = 0; i < size; i++) { /* splitmix64 (Steele, Lea, Flood 2014) */
        uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        to[i] = (unsigned char)(z >> 40);
    }
}

static values make(size_t size, bool noise) {
    values made = {size, BYTES / size, NULL};
    made.bytes = need(malloc(made.count * size));
    for (size_t i = 0; i < made.count; i++) {
        fill(made.bytes + i * size, size, ((uint64_t)1 << 40) + i, noise);
    }
    return made;
}

/* ---- the contestants ---- */

typedef struct contestant {
    const char *name;
    bool is_firn;
    firn_encoding *encoding;           /* firn's */
    const firn_dictionary *dictionary; /* of either; NULL: none */
    ZSTD_CCtx *compressor;
    ZSTD_DCtx *decompressor;
    firn_decoders decoders;
    size_t *sizes; /* encoded; 0: as it is */
    unsigned char *encoded;
    size_t room; /* of one encoded value */
    figure best;
} contestant;

static size_t encode_one(contestant *self, unsigned char *to, const void *value, size_t size) {
    if (self->is_firn) {
        uint32_t dictionary;
        return firn_encode(self->encoding, 0, to, value, size, &dictionary);
    }
    return self->dictionary != NULL
               ? ZSTD_compress_usingCDict(self->compressor, to, self->room, value, size,
                                          self->dictionary->encoding)
               : ZSTD_compressCCtx(self->compressor, to, self->room, value, size, level);
}

static bool decode_one(contestant *self, unsigned char *to, size_t size, const unsigned char *from,
                       size_t used) {
    if (self->is_firn) {
        const firn_dictionary *with = size <= FIRN_SAMPLE_VALUE_MAX ? self->dictionary : NULL;
        return firn_decode(&self->decoders, firn_codec_zstd.number, with, to, size, from, used) ==
               NULL;
    }
    return size == (self->dictionary != NULL
                        ? ZSTD_decompress_usingDDict(self->decompressor, to, size, from, used,
                                                     self->dictionary->decoding)
                        : ZSTD_decompressDCtx(self->decompressor, to, size, from, used));
}

static double encode_all(contestant *self, const values *from) {
    double began = now_ns();
    for (size_t i = 0; i < from->count; i++) {
        self->sizes[i] = encode_one(self, self->encoded + i * self->room + FIRN_ENCODE_LEAD,
                                    from->bytes + i * from->size, from->size);
    }
    return (now_ns() - began) / (double)from->count;
}

static double decode_all(contestant *self, const values *from, unsigned char *value) {
    double began = now_ns();
    for (size_t i = 0; i < from->count; i++) {
        if (self->sizes[i] == 0) {
            memcpy(value, from->bytes + i * from->size, from->size);
        } else if (!decode_one(self, value, from->size,
                               self->encoded + i * self->room + FIRN_ENCODE_LEAD, self->sizes[i])) {
            fprintf(stderr, "compress: %s gives back something else\n", self->name);
            exit(1);
        }
    }
    return (now_ns() - began) / (double)from->count;
}

static void run_round(contestant *self, const values *from, unsigned char *value, bool first) {
    double encode_ns = encode_all(self, from);
    double decode_ns = decode_all(self, from, value);
    double sum = 0;
    for (size_t i = 0; i < from->count; i++) {
        sum += (double)(self->sizes[i] > 0 ? self->sizes[i] : from->size);
    }
    figure *best = &self->best;
    best->bytes = sum / (double)from->count;
    best->encode_ns = first || encode_ns < best->encode_ns ? encode_ns : best->encode_ns;
    best->decode_ns = first || decode_ns < best->decode_ns ? decode_ns : best->decode_ns;
}

static void contestant_init(contestant *self, const char *name, const values *from,
                            firn_encoding *encoding, const firn_dictionary *dictionary) {
    *self = (contestant){.name = name, .is_firn = encoding != NULL, .encoding = encoding};
    self->dictionary = dictionary;
    self->room = ZSTD_compressBound(from->size) + FIRN_ENCODE_LEAD;
    self->compressor = need(ZSTD_createCCtx());
    self->decompressor = need(ZSTD_createDCtx());
    self->sizes = need(malloc(from->count * sizeof *self->sizes));
    self->encoded = need(malloc(from->count * (self->room + FIRN_ENCODE_LEAD)));
}

static void contestant_fini(contestant *self) {
    ZSTD_freeCCtx(self->compressor);
    ZSTD_freeDCtx(self->decompressor);
    firn_decoders_fini(&self->decoders);
    free(self->sizes);
    free(self->encoded);
}

/* ---- firn learns ---- */

static firn_encoding *new_encoding(firn_heap *heap) {
    return need(firn_encoding_new(&(firn_encoding_config){
        .heap = heap, .level = level, .min_bytes = 64, .budget_bytes = (uint64_t)1 << 30}));
}

/* As in a store: values go by until there is a dictionary, or so many went by that there will be
 * none. NULL: none. */
static firn_dictionary *learn(firn_heap *heap, firn_encoding *encoding, size_t size, bool noise) {
    firn_trainer *trainer = firn_encoding_trainer(encoding);
    unsigned char *value = need(malloc(size));
    unsigned char *to = need(malloc(FIRN_ENCODE_LEAD + size));
    firn_dictionary *current = NULL;
    for (uint64_t key = 0; key * size < TRAINING_BYTES; key++) {
        uint32_t id;
        fill(value, size, key, noise);
        size_t used = firn_encode(encoding, 0, to + FIRN_ENCODE_LEAD, value, size, &id);
        firn_encoding_note(encoding, value, size, used);
        if (firn_trainer_ready(trainer)) {
            firn_trainer_train(trainer);
        }
        firn_dictionary *found = firn_trainer_candidate(trainer);
        if (found != NULL) {
            firn_trainer_settle(trainer, true);
            found->id = 1;
            if (!firn_encoding_use(encoding, found)) {
                need(NULL);
            }
            firn_dictionary_free(heap, current);
            current = found;
        }
    }
    free(to);
    free(value);
    return current;
}

/* ---- telling ---- */

static void tell(const char *name, const figure *of, bool present) {
    if (!present) {
        printf(", \"%s\": null", name);
        return;
    }
    printf(", \"%s\": {\"bytes\": %.1f, \"encode_ns\": %.0f, \"decode_ns\": %.0f}", name, of->bytes,
           of->encode_ns, of->decode_ns);
}

static void tell_ratios(const char *name, const figure *of, const figure *to) {
    printf(", \"%s\": {\"bytes\": %.3f, \"encode_speed\": %.2f, \"decode_speed\": %.2f}", name,
           of->bytes / to->bytes, to->encode_ns / of->encode_ns, to->decode_ns / of->decode_ns);
}

static void measure(size_t size, bool noise) {
    firn_heap *heap = need(firn_heap_new(NULL));
    values all = make(size, noise);
    firn_encoding *plain = new_encoding(heap);
    firn_encoding *learned = new_encoding(heap);
    firn_dictionary *dictionary = learn(heap, learned, size, noise);
    contestant those[4];
    contestant_init(&those[0], "zstd", &all, NULL, NULL);
    contestant_init(&those[1], "zstd_dictionary", &all, NULL, dictionary);
    contestant_init(&those[2], "firn_plain", &all, plain, NULL);
    contestant_init(&those[3], "firn", &all, learned, dictionary);
    unsigned char *value = need(malloc(size));
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < 4; i++) {
            run_round(&those[i], &all, value, round == 0);
        }
    }
    printf("{\"values\": \"%s\", \"size\": %zu, \"level\": %d, \"dictionary_bytes\": %zu",
           noise ? "noise" : "json", size, level, dictionary != NULL ? dictionary->size : 0);
    for (unsigned i = 0; i < 4; i++) {
        tell(those[i].name, &those[i].best, i != 1 || dictionary != NULL);
    }
    tell_ratios("firn_to_zstd", &those[3].best, &those[0].best);
    if (dictionary != NULL) {
        tell_ratios("firn_to_zstd_dictionary", &those[3].best, &those[1].best);
    }
    printf("}\n");
    fflush(stdout);
    for (unsigned i = 0; i < 4; i++) {
        contestant_fini(&those[i]);
    }
    free(value);
    free(all.bytes);
    firn_encoding_free(plain);
    firn_encoding_free(learned);
    firn_dictionary_free(heap, dictionary);
    firn_heap_unref(heap);
}

int main(int count, char **arguments) {
    static const size_t sizes[] = {64, 256, 1024, 8192, 65536};
    level = count > 1 ? atoi(arguments[1]) : 3;
    for (unsigned noise = 0; noise < 2; noise++) {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            measure(sizes[i], noise == 1);
        }
    }
    return 0;
}
