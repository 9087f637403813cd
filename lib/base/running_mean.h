/* A running mean: of all numbers at first, then of the last some hundred, each older one counting
 * for less. Knows nothing of what the numbers are. */
#ifndef FIRN_BASE_RUNNING_MEAN_H
#define FIRN_BASE_RUNNING_MEAN_H

/* Zeros: of none yet. */
typedef struct firn_running_mean {
    double mean;
    unsigned count; /* up to that of which it is the mean */
} firn_running_mean;

static inline void firn_running_mean_add(firn_running_mean *self, double number) {
    enum { OF = 256 };
    self->count += self->count < OF;
    self->mean += (number - self->mean) / self->count;
}

#endif
