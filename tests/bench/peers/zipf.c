/* See zipf.h. */
#include "zipf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

zipf zipf_make(uint64_t keys) {
    zipf self = {keys, 0, malloc(keys * sizeof *self.upto), calloc(keys, sizeof *self.dealt)};
    if (self.upto == NULL || self.dealt == NULL) {
        fprintf(stderr, "zipf: out of memory\n");
        exit(1);
    }
    uint64_t dealing = 1;
    for (uint64_t i = 0; i < keys; i++) {
        self.sum += 1 / pow((double)(i + 1), 0.99);
        self.upto[i] = self.sum;
        uint64_t other = next_random(&dealing) % (i + 1);
        self.dealt[i] = self.dealt[other];
        self.dealt[other] = (uint32_t)i;
    }
    return self;
}

void zipf_free(zipf *self) {
    free(self->upto);
    free(self->dealt);
}

uint64_t zipf_next(const zipf *self, uint64_t *seed) {
    double drawn = (double)(next_random(seed) >> 11) / 9007199254740992.0 * self->sum;
    uint64_t low = 0;
    uint64_t high = self->keys - 1;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (self->upto[middle] <= drawn) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return self->dealt[low];
}
