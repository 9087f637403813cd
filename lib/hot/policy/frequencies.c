/* See frequencies.h. */
#include "hot/policy/frequencies.h"

enum { WORDS_MIN = 64 };

int firn_frequencies_init(firn_frequencies *self, const firn_policy_host *host) {
    uint64_t *words = firn_policy_alloc(host, WORDS_MIN * sizeof *words);
    *self = (firn_frequencies){.host = host};
    if (words == NULL) {
        return FIRN_ENOMEM;
    }
    self->words = WORDS_MIN;
    firn_sketch_init(&self->sketch, words, self->words);
    return FIRN_OK;
}

void firn_frequencies_fini(firn_frequencies *self) {
    if (self->words > 0) {
        firn_policy_free(self->host, self->sketch.words, self->words * sizeof(uint64_t));
        self->words = 0;
    }
}

void firn_frequencies_fit(firn_frequencies *self, uint64_t entries) {
    if (self->words == 0 || entries <= firn_sketch_room(self->words)) {
        return;
    }
    uint64_t bytes = self->words * sizeof(uint64_t);
    uint64_t *words = firn_policy_alloc(self->host, bytes * 2);
    if (words != NULL) {
        uint64_t *old = self->sketch.words;
        firn_sketch_double(&self->sketch, words);
        firn_policy_free(self->host, old, bytes);
        self->words *= 2;
    }
}

void firn_frequencies_pace(firn_frequencies *self, uint64_t entries) {
    /* Not less than the sketch may be half empty by, lest a few requests age all of it. */
    uint64_t least = firn_sketch_room(self->words) / 2;
    self->sketch.entries = entries > least ? entries : least;
}
