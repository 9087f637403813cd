/* See trainer.h. Dictionaries are made by zstd's fastCover (after Liao, Petri, Moffat, Wirth:
 * Effective Construction of Relative Lempel-Ziv Dictionaries, WWW 2016). */
#include "cold/trainer.h"

#include <stdatomic.h>
#include <string.h>

#include <zdict.h>

#include "base/hash.h"
#include "cold/codec.h"
#include "cold/effort.h"

enum {
    SAMPLE_SHARE = 256, /* of all bytes: of a larger value the beginning is kept, where a dictionary
                           helps */
    SAMPLES_MIN = 128,  /* fewer make no dictionary */
    HELD_BACK = 8,      /* one of so many is not trained with but tried on: the newest */
    BYTES_MIN = 64 << 10, /* of samples; what the smallest store keeps */
    BYTES_MAX = 1 << 20,  /* what the largest keeps */
    BUDGET_SHARE = 16,    /* of the store's budget that samples may come to */
    SAMPLE_LEAST = 32,    /* mean bytes of a sample that there is room for the sizes of */
    DICTIONARY_MIN = 1 << 10,
    DICTIONARY_MAX = 32 << 10,
    DICTIONARY_SHARE = 16, /* of the samples' bytes that a dictionary may come to */
    SMALL = 8 << 10,       /* a dictionary that is kind to the processor's caches */
    LARGE_GAIN = 2,        /* percent that a larger one must save beyond the small one */
    FIRST_GAIN = 5,        /* percent that the first dictionary must save */
    NEXT_GAIN = 4,         /* and one that replaces another */
    LAPSE_GROWTH = 4,
};

/* Bytes of values that go by before a training. */
#define FIRST_LAPSE  ((uint64_t)256 << 10)
#define SECOND_LAPSE ((uint64_t)4 << 20)
#define USUAL_LAPSE  ((uint64_t)64 << 20)
#define LAPSE_MAX    ((uint64_t)4 << 30)
#define HURRY_LAPSE  ((uint64_t)8 << 20)

enum { COLLECTING, READY, CANDIDATE };

struct firn_trainer {
    firn_heap *heap; /* immutable, like the next five */
    int level;
    size_t capacity;
    size_t count_max;
    size_t sample_max;
    size_t dictionary_max;

    _Atomic int state; /* release by who hands over, acquire by who takes over: see trainer.h */

    unsigned char *bytes; /* capacity; NULL until something is sampled */
    size_t *sizes;        /* count_max */
    size_t used;
    size_t count;
    unsigned thinning; /* one value of 2^thinning is kept */
    uint64_t random;
    uint64_t seen;        /* bytes of values offered since the last training */
    uint64_t lapse;       /* bytes to see before the next */
    uint64_t lapse_usual; /* after the next; grows while trainings bring nothing */
    uint64_t lapse_hurry; /* the least, however values change; grows while haste is in vain */
    bool hurried;
    const firn_dictionary *current;
    firn_dictionary *candidate;
};

static uint64_t clamp(uint64_t number, uint64_t least, uint64_t most) {
    return number < least ? least : number > most ? most : number;
}

firn_trainer *firn_trainer_new(firn_heap *heap, int level, uint64_t budget_bytes) {
    firn_trainer *trainer = firn_heap_zalloc(heap, sizeof *trainer);
    if (trainer == NULL) {
        return NULL;
    }
    trainer->heap = heap;
    trainer->level = level;
    trainer->capacity = (size_t)clamp(budget_bytes / BUDGET_SHARE, BYTES_MIN, BYTES_MAX);
    trainer->count_max = trainer->capacity / SAMPLE_LEAST;
    trainer->sample_max = trainer->capacity / SAMPLE_SHARE;
    trainer->dictionary_max =
        (size_t)clamp(trainer->capacity / DICTIONARY_SHARE, DICTIONARY_MIN, DICTIONARY_MAX);
    trainer->random = firn_random64();
    trainer->lapse = FIRST_LAPSE;
    trainer->lapse_usual = SECOND_LAPSE;
    trainer->lapse_hurry = HURRY_LAPSE;
    atomic_init(&trainer->state, COLLECTING);
    return trainer;
}

static void free_samples(firn_trainer *trainer) {
    firn_heap_free(trainer->heap, trainer->bytes, trainer->capacity);
    firn_heap_free(trainer->heap, trainer->sizes, trainer->count_max * sizeof *trainer->sizes);
    trainer->bytes = NULL;
    trainer->sizes = NULL;
}

void firn_trainer_free(firn_trainer *trainer) {
    if (trainer != NULL) {
        free_samples(trainer);
        firn_dictionary_free(trainer->heap, trainer->candidate);
        firn_heap_free(trainer->heap, trainer, sizeof *trainer);
    }
}

static int state_of(const firn_trainer *trainer) {
    return atomic_load_explicit(&trainer->state, memory_order_acquire);
}

static void hand_over(firn_trainer *trainer, int state) {
    atomic_store_explicit(&trainer->state, state, memory_order_release);
}

/* ---- the writer collects ---- */

static bool has_samples(firn_trainer *trainer) {
    if (trainer->bytes == NULL) {
        trainer->bytes = firn_heap_alloc(trainer->heap, trainer->capacity);
        trainer->sizes =
            firn_heap_alloc(trainer->heap, trainer->count_max * sizeof *trainer->sizes);
        if (trainer->bytes == NULL || trainer->sizes == NULL) {
            free_samples(trainer);
        }
    }
    return trainer->bytes != NULL;
}

static void drop_samples(firn_trainer *trainer) {
    trainer->used = 0;
    trainer->count = 0;
    trainer->thinning = 0;
}

/* Keeps every second sample, and henceforth takes half as many. */
static void thin_out(firn_trainer *trainer) {
    size_t from = 0;
    size_t to = 0;
    size_t kept = 0;
    for (size_t i = 0; i < trainer->count; i++) {
        size_t size = trainer->sizes[i];
        if (i % 2 == 1) {
            memmove(trainer->bytes + to, trainer->bytes + from, size);
            trainer->sizes[kept++] = size;
            to += size;
        }
        from += size;
    }
    trainer->used = to;
    trainer->count = kept;
    trainer->thinning++;
}

static bool is_drawn(firn_trainer *trainer) {
    trainer->random = trainer->random * UINT64_C(6364136223846793005) + 1;
    return trainer->thinning == 0 || trainer->random >> (64 - trainer->thinning) == 0;
}

void firn_trainer_offer(firn_trainer *trainer, const void *value, size_t size, bool raw,
                        const firn_dictionary *current) {
    if (state_of(trainer) != COLLECTING) {
        return;
    }
    /* What no dictionary can help would only crowd out the rest. */
    if (!is_drawn(trainer) || (raw && firn_looks_random(value, size)) || !has_samples(trainer)) {
        return;
    }
    trainer->seen += (uint64_t)size << trainer->thinning;
    size_t kept = size < trainer->sample_max ? size : trainer->sample_max;
    if (trainer->used + kept > trainer->capacity || trainer->count == trainer->count_max) {
        thin_out(trainer);
    }
    memcpy(trainer->bytes + trainer->used, value, kept);
    trainer->sizes[trainer->count++] = kept;
    trainer->used += kept;
    if (trainer->seen >= trainer->lapse && trainer->count >= SAMPLES_MIN) {
        trainer->current = current;
        hand_over(trainer, READY);
    }
}

void firn_trainer_hurry(firn_trainer *trainer) {
    if (state_of(trainer) != COLLECTING) {
        return;
    }
    uint64_t soon = trainer->seen + trainer->capacity;
    soon = soon > trainer->lapse_hurry ? soon : trainer->lapse_hurry;
    if (soon < trainer->lapse) {
        drop_samples(trainer);
        trainer->lapse = soon;
        trainer->hurried = true;
    }
}

/* ---- the background trains ---- */

/* A set of samples: where the bytes are and how they are divided. */
typedef struct samples {
    const unsigned char *bytes;
    const size_t *sizes;
    size_t count;
} samples;

static size_t bytes_of(const samples *from) {
    size_t sum = 0;
    for (size_t i = 0; i < from->count; i++) {
        sum += from->sizes[i];
    }
    return sum;
}

/* What the samples come to with a dictionary, or without (NULL); those that do not become smaller
 * count as they are. 0: no memory. */
static uint64_t try_on(const firn_trainer *trainer, const firn_dictionary *dictionary,
                       const samples *on, unsigned char *scratch) {
    void *encoder = firn_codec_zstd.encoder_new(trainer->level);
    if (encoder == NULL) {
        return 0;
    }
    uint64_t sum = 0;
    size_t at = 0;
    for (size_t i = 0; i < on->count; i++) {
        size_t size = on->sizes[i];
        size_t used = firn_codec_zstd.encode(encoder, dictionary, scratch + FIRN_ENCODE_LEAD, size,
                                             on->bytes + at, size);
        sum += used > 0 ? used : size;
        at += size;
    }
    firn_codec_zstd.encoder_free(encoder);
    return sum;
}

static firn_dictionary *dictionary_of(const firn_trainer *trainer, const void *bytes, size_t size) {
    firn_dictionary *made = firn_dictionary_new(trainer->heap, 0, bytes, size);
    if (made != NULL && !firn_dictionary_prepare(made, trainer->level)) {
        firn_dictionary_free(trainer->heap, made);
        made = NULL;
    }
    return made;
}

/* The best of a dictionary lies at its end: the last bytes of it, with statistics of their own. */
static firn_dictionary *cut_down(const firn_trainer *trainer, const firn_dictionary *from,
                                 const samples *with, unsigned char *scratch) {
    size_t head = ZDICT_getDictHeaderSize(from->bytes, from->size);
    if (from->size <= SMALL || ZDICT_isError(head) || head + SMALL / 2 >= from->size) {
        return NULL;
    }
    size_t content = from->size - head < SMALL - SMALL / 8 ? from->size - head : SMALL - SMALL / 8;
    ZDICT_params_t parameters = {.compressionLevel = trainer->level};
    size_t size =
        ZDICT_finalizeDictionary(scratch, SMALL, from->bytes + from->size - content, content,
                                 with->bytes, with->sizes, (unsigned)with->count, parameters);
    return ZDICT_isError(size) ? NULL : dictionary_of(trainer, scratch, size);
}

/* Sets the outcome of a trial of a dictionary. False: it is no use. */
static bool tried(const firn_trainer *trainer, firn_dictionary *dictionary, const samples *on,
                  unsigned char *scratch) {
    if (dictionary != NULL) {
        dictionary->tried_bytes = bytes_of(on);
        dictionary->tried_stored = try_on(trainer, dictionary, on, scratch);
    }
    return dictionary != NULL && dictionary->tried_stored > 0;
}

static firn_dictionary *train_with(const firn_trainer *trainer, const samples *with,
                                   const samples *on, unsigned char *scratch) {
    size_t size_max = bytes_of(with) / DICTIONARY_SHARE;
    size_max = size_max < trainer->dictionary_max ? size_max : trainer->dictionary_max;
    size_t size =
        ZDICT_trainFromBuffer(scratch, size_max, with->bytes, with->sizes, (unsigned)with->count);
    firn_dictionary *large = ZDICT_isError(size) ? NULL : dictionary_of(trainer, scratch, size);
    if (!tried(trainer, large, on, scratch)) {
        firn_dictionary_free(trainer->heap, large);
        return NULL;
    }
    firn_dictionary *small = cut_down(trainer, large, with, scratch);
    if (tried(trainer, small, on, scratch) &&
        small->tried_stored * (100 - LARGE_GAIN) <= large->tried_stored * 100) {
        firn_dictionary_free(trainer->heap, large);
        return small;
    }
    firn_dictionary_free(trainer->heap, small);
    return large;
}

/* The dictionary that is worth having, NULL: there is none. */
static firn_dictionary *search(const firn_trainer *trainer, unsigned char *scratch) {
    size_t held_back = trainer->count / HELD_BACK;
    samples with = {trainer->bytes, trainer->sizes, trainer->count - held_back};
    samples on = {trainer->bytes + bytes_of(&with), trainer->sizes + with.count, held_back};
    firn_dictionary *made = train_with(trainer, &with, &on, scratch);
    if (made == NULL) {
        return NULL;
    }
    uint64_t present = try_on(trainer, trainer->current, &on, scratch);
    unsigned gain = trainer->current != NULL ? NEXT_GAIN : FIRST_GAIN;
    if (made->tried_stored * 100 > present * (100 - gain)) {
        firn_dictionary_free(trainer->heap, made);
        return NULL;
    }
    return made;
}

bool firn_trainer_ready(const firn_trainer *trainer) {
    return state_of(trainer) == READY;
}

static uint64_t longer(uint64_t lapse) {
    return lapse < LAPSE_MAX / LAPSE_GROWTH ? lapse * LAPSE_GROWTH : LAPSE_MAX;
}

static void plan_next(firn_trainer *trainer, bool found) {
    bool first = trainer->lapse_usual < USUAL_LAPSE;
    trainer->lapse = trainer->lapse_usual;
    trainer->lapse_usual = first || found ? USUAL_LAPSE : longer(trainer->lapse_usual);
    if (found) {
        trainer->lapse_hurry = HURRY_LAPSE;
    } else if (trainer->hurried) {
        trainer->lapse_hurry = longer(trainer->lapse_hurry);
    }
    trainer->hurried = false;
}

void firn_trainer_train(firn_trainer *trainer) {
    if (state_of(trainer) != READY) {
        return;
    }
    size_t room = DICTIONARY_MAX + FIRN_ENCODE_LEAD + trainer->sample_max;
    unsigned char *scratch = firn_heap_alloc(trainer->heap, room);
    trainer->candidate = scratch != NULL ? search(trainer, scratch) : NULL;
    firn_heap_free(trainer->heap, scratch, room);
    trainer->current = NULL;
    trainer->seen = 0;
    drop_samples(trainer);
    plan_next(trainer, trainer->candidate != NULL);
    hand_over(trainer, trainer->candidate != NULL ? CANDIDATE : COLLECTING);
}

/* ---- the writer takes over ---- */

firn_dictionary *firn_trainer_candidate(const firn_trainer *trainer) {
    return state_of(trainer) == CANDIDATE ? trainer->candidate : NULL;
}

void firn_trainer_settle(firn_trainer *trainer, bool taken) {
    if (!taken) {
        firn_dictionary_free(trainer->heap, trainer->candidate);
    }
    trainer->candidate = NULL;
    hand_over(trainer, COLLECTING);
}
