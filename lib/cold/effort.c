/* See effort.h. */
#include "cold/effort.h"

#include <string.h>

enum {
    WHOLE = UINT16_MAX,
    DOUBTFUL = WHOLE / 32,    /* above that, values are looked at first */
    HOPELESS = WHOLE / 8 * 7, /* above that, they are tried seldom whatever they look like */
    MEMORY = 8,               /* tries that the share is taken over, about */
    PATIENCE_MAX = 6,
    RANDOM_PATIENCE = 4, /* one of 16 that look like noise is tried */
    PIECES = 4,
    PIECE = 128,
};

/* The chance that two bytes of the sample are equal is 1/256 for noise and twenty times that for
 * text: it takes few bytes to tell them apart. */
bool firn_looks_random(const void *value, size_t size) {
    const unsigned char *from = value;
    uint16_t counts[256] = {0};
    size_t piece = size / PIECES < PIECE ? size / PIECES : PIECE;
    size_t stride = size / PIECES;
    for (size_t i = 0; i < PIECES; i++) {
        for (size_t j = 0; j < piece; j++) {
            counts[from[i * stride + j]]++;
        }
    }
    uint64_t equal = 0;
    for (size_t i = 0; i < 256; i++) {
        equal += (uint64_t)counts[i] * counts[i];
    }
    uint64_t seen = piece * PIECES;
    uint64_t expected = seen * seen / 256;
    /* Pairs of a byte with itself are in both; the rest is room for chance in a small sample. */
    return equal - seen <= expected + expected / 2 + 16;
}

static firn_effort_class *class_of(firn_effort *effort, size_t size) {
    unsigned class = size > 0 ? 63 - (unsigned)__builtin_clzll(size) : 0;
    return &effort->classes[class < FIRN_EFFORT_CLASSES ? class : FIRN_EFFORT_CLASSES - 1];
}

static bool try_one_of(firn_effort_class *class, unsigned patience) {
    if (++class->passed >> patience == 0) {
        return false;
    }
    class->passed = 0;
    return true;
}

bool firn_effort_try(firn_effort *effort, const void *value, size_t size) {
    firn_effort_class *class = class_of(effort, size);
    if (class->failing <= DOUBTFUL) {
        return true;
    }
    if (firn_looks_random(value, size)) {
        return try_one_of(class, RANDOM_PATIENCE);
    }
    return class->failing <= HOPELESS || try_one_of(class, class->patience);
}

void firn_effort_tell(firn_effort *effort, size_t size, bool became_smaller) {
    firn_effort_class *class = class_of(effort, size);
    if (became_smaller) {
        class->failing = (uint16_t)(class->failing - class->failing / MEMORY);
        class->patience = 0;
        return;
    }
    class->failing = (uint16_t)(class->failing + (WHOLE - class->failing) / MEMORY);
    if (class->failing > HOPELESS && class->patience < PATIENCE_MAX) {
        class->patience++;
    }
}
