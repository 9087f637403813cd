/* Demotion "size": an entry is written below if the room it takes there is in proportion to how
 * often it is wanted, and to what it costs to make.
 *
 * Room is what is expected after compression, so that what compresses well is small. One that is
 * wanted once may be half as large again as others are on the average, of all that were asked
 * about; one that is wanted three times three times as large. Where all have about one size, all
 * are written. */
#include "tier/policy/policies.h"

/* The size is a guess, from a sample. */
#define SLACK 1.5

typedef struct state {
    firn_running_mean sizes; /* stored sizes of those that were asked about */
    firn_running_mean costs;
} state;

static int admits(void *memory, const firn_candidate *candidate) {
    state *self = memory;
    double size = (double)candidate->stored_size;
    firn_running_mean_add(&self->sizes, size);
    double worth = firn_candidate_worth(candidate, &self->costs);
    double cost = self->costs.count > 0 ? self->costs.mean : 1;
    return worth * self->sizes.mean * SLACK >= cost * size;
}

const firn_tier_policy firn_demote_small_policy = {
    .size = sizeof(firn_tier_policy),
    .name = "size",
    .state_size = sizeof(state),
    .wants = FIRN_WANTS_FREQUENCY | FIRN_WANTS_STORED_SIZE,
    .admits = admits,
};
