/* How much effort a value deserves: whether to compress it at all.
 *
 * Compressing what cannot be compressed costs as much as compressing, and gives nothing. So for
 * each class of sizes (a power of two) it is remembered how the last values fared. While they all
 * became smaller nothing else is looked at. Once some did not, a sample of at most a kilobyte of
 * each value is counted first: bytes that are as evenly spread as noise are stored as they are.
 * Values that do not look like noise and still fail again and again are tried less and less often.
 * Either way one in some is tried nevertheless, so that the class is noticed when it changes.
 *
 * One writer thread has one of these; not shared. Knows bytes; nothing of codecs. */
#ifndef FIRN_COLD_EFFORT_H
#define FIRN_COLD_EFFORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FIRN_EFFORT_CLASSES = 33 };

typedef struct firn_effort_class {
    uint16_t failing; /* the share of tries that failed lately, of 65,536 */
    uint8_t patience; /* one of 2^patience is tried */
    uint8_t passed;   /* over, since the last try */
} firn_effort_class;

/* All zeros: nothing is known, and everything is tried. */
typedef struct firn_effort {
    firn_effort_class classes[FIRN_EFFORT_CLASSES];
} firn_effort;

/* Whether to try to compress the value; if so, the result is to be told. */
bool firn_effort_try(firn_effort *effort, const void *value, size_t size);
void firn_effort_tell(firn_effort *effort, size_t size, bool became_smaller);

/* Whether the bytes of a sample are spread as evenly as those of noise. */
bool firn_looks_random(const void *value, size_t size);

#endif
