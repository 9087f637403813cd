/* See encoding.h. */
#include "cold/encoding.h"

#include <string.h>

#include <firn/options.h>

#include "cold/codec.h"
#include "cold/effort.h"

enum {
    WINDOW = 1 << 20, /* bytes of values over which a dictionary's achievement is taken */
    DENSE = 32,       /* a value that became so many times smaller teaches nothing */
    PER_MILLE = 1000, /* what it is counted in */
    DRIFT = 115,      /* percent of what a dictionary began with that are a drift */
    CONTEXT_VALUE_MAX = FIRN_SAMPLE_VALUE_MAX, /* larger values do without a dictionary */
};

/* One thread's; on lines of its own. */
typedef struct lane {
    _Alignas(64) void *encoder;
    firn_effort effort;
} lane;

struct firn_encoding {
    firn_heap *heap; /* immutable, like the next six */
    int level;
    size_t min_bytes;
    unsigned lane_count;
    lane *lanes;
    firn_crew *crew; /* NULL: the caller's thread alone */
    firn_trainer *trainer;

    /* The writer's; read by the lanes during a run. */
    firn_dictionary *dictionary; /* NULL: none */
    uint64_t window_bytes;
    uint64_t window_stored;
    uint64_t
        best; /* per mille: the least a window came to since this dictionary is used; 0: none */
};

void firn_encoding_free(firn_encoding *encoding) {
    if (encoding == NULL) {
        return;
    }
    firn_crew_free(encoding->crew);
    firn_trainer_free(encoding->trainer);
    for (unsigned i = 0; encoding->lanes != NULL && i < encoding->lane_count; i++) {
        firn_codec_zstd.encoder_free(encoding->lanes[i].encoder);
    }
    firn_heap_free_lines(encoding->heap, encoding->lanes,
                         encoding->lane_count * sizeof *encoding->lanes);
    firn_heap_free(encoding->heap, encoding, sizeof *encoding);
}

static bool make_parts(firn_encoding *encoding, const firn_encoding_config *config) {
    if (config->level == FIRN_COMPRESSION_OFF) {
        return true;
    }
    encoding->trainer = firn_trainer_new(config->heap, config->level, config->budget_bytes);
    encoding->lanes =
        firn_heap_alloc_lines(config->heap, encoding->lane_count * sizeof *encoding->lanes);
    if (encoding->trainer == NULL || encoding->lanes == NULL) {
        return false;
    }
    for (unsigned i = 0; i < encoding->lane_count; i++) {
        encoding->lanes[i].encoder = firn_codec_zstd.encoder_new(config->level);
        if (encoding->lanes[i].encoder == NULL) {
            return false;
        }
    }
    if (config->threads > 0) {
        encoding->crew = firn_crew_new(config->heap, config->threads);
    }
    return config->threads == 0 || encoding->crew != NULL;
}

firn_encoding *firn_encoding_new(const firn_encoding_config *config) {
    firn_encoding *encoding = firn_heap_zalloc(config->heap, sizeof *encoding);
    if (encoding == NULL) {
        return NULL;
    }
    encoding->heap = config->heap;
    encoding->level = config->level;
    encoding->min_bytes = config->min_bytes;
    encoding->lane_count = config->threads + 1;
    if (!make_parts(encoding, config)) {
        firn_encoding_free(encoding);
        return NULL;
    }
    return encoding;
}

bool firn_encoding_wants(const firn_encoding *encoding, size_t size) {
    return encoding->lanes != NULL && size > 0 && size >= encoding->min_bytes;
}

void firn_encoding_run(firn_encoding *encoding, size_t count, firn_crew_work work, void *context) {
    if (encoding->crew != NULL && count > 1) {
        firn_crew_run(encoding->crew, count, work, context);
        return;
    }
    for (size_t piece = 0; piece < count; piece++) {
        work(context, 0, piece);
    }
}

/* An encoding must save a thirty-second to be worth its decoding. */
static size_t encoding_room(size_t size) {
    return size - size / 32 - 1;
}

size_t firn_encode(firn_encoding *encoding, unsigned number, void *to, const void *value,
                   size_t size, uint32_t *dictionary) {
    lane *self = &encoding->lanes[number];
    const firn_dictionary *with = size <= CONTEXT_VALUE_MAX ? encoding->dictionary : NULL;
    *dictionary = 0;
    if (!firn_effort_try(&self->effort, value, size)) {
        return 0;
    }
    size_t used = firn_codec_zstd.encode(self->encoder, with, to, encoding_room(size), value, size);
    firn_effort_tell(&self->effort, size, used > 0);
    *dictionary = used > 0 && with != NULL ? with->id : 0;
    return used;
}

/* The dictionary's achievement over the last window, beside its best. */
static void look_back(firn_encoding *encoding) {
    uint64_t now = encoding->window_stored * PER_MILLE / encoding->window_bytes;
    encoding->window_bytes = 0;
    encoding->window_stored = 0;
    if (encoding->best == 0 || now < encoding->best) {
        encoding->best = now > 0 ? now : 1;
    } else if (now * 100 > encoding->best * DRIFT) {
        /* Should no better dictionary come of it, this is what the data is like. */
        encoding->best = now;
        firn_trainer_hurry(encoding->trainer);
    }
}

void firn_encoding_note(firn_encoding *encoding, const void *value, size_t size, size_t stored) {
    if (size > FIRN_SAMPLE_VALUE_MAX) {
        return;
    }
    if (stored == 0 || stored >= size / DENSE) {
        firn_trainer_offer(encoding->trainer, value, size, stored == 0, encoding->dictionary);
    }
    if (encoding->dictionary == NULL) {
        return;
    }
    encoding->window_bytes += size;
    encoding->window_stored += stored > 0 ? stored : size;
    if (encoding->window_bytes >= WINDOW) {
        look_back(encoding);
    }
}

const firn_dictionary *firn_encoding_dictionary(const firn_encoding *encoding) {
    return encoding->dictionary;
}

bool firn_encoding_use(firn_encoding *encoding, firn_dictionary *dictionary) {
    if (!firn_dictionary_prepare(dictionary, encoding->level)) {
        return false;
    }
    if (encoding->dictionary != NULL && encoding->dictionary != dictionary) {
        firn_dictionary_unprepare(encoding->dictionary);
    }
    encoding->dictionary = dictionary;
    encoding->best = 0;
    encoding->window_bytes = 0;
    encoding->window_stored = 0;
    for (unsigned i = 0; i < encoding->lane_count; i++) {
        memset(&encoding->lanes[i].effort, 0, sizeof encoding->lanes[i].effort);
    }
    return true;
}

firn_trainer *firn_encoding_trainer(firn_encoding *encoding) {
    return encoding->trainer;
}
