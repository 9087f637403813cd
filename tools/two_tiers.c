/* See two_tiers.h. */
#include "two_tiers.h"

#include <stdbool.h>
#include <stdlib.h>

#include <firn/simulate.h>

enum { RING_FIRST = 1024 };

/* One in the log. */
typedef struct record {
    uint32_t key;
    uint32_t bytes : 31;
    uint32_t hit : 1; /* since it was written */
} record;

struct two_tiers {
    firn_simulation *hot;
    uint64_t hot_max;
    double ratio;
    uint64_t cold_max;
    uint64_t *places; /* of each key: the number of its record, from 1; 0: none */
    record *ring;     /* of the log: number n is at n modulo its size */
    uint64_t ring_size;
    uint64_t first; /* the oldest */
    uint64_t next;
    uint64_t log_bytes;
    uint64_t live_bytes; /* of records that places lead to */
    uint64_t written;
    bool failed; /* no memory */
};

/* Keys are numbers in a row: spread over 64 bits, as the cache's hash does; and back. */
static uint64_t spread(uint64_t key) {
    key += UINT64_C(0x9e3779b97f4a7c15);
    key = (key ^ key >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    key = (key ^ key >> 27) * UINT64_C(0x94d049bb133111eb);
    return key ^ key >> 31;
}

static uint64_t gather(uint64_t hash) {
    hash = (hash ^ hash >> 31 ^ hash >> 62) * UINT64_C(0x319642b2d24d8ec3);
    hash = (hash ^ hash >> 27 ^ hash >> 54) * UINT64_C(0x96de1b173f119089);
    return (hash ^ hash >> 30 ^ hash >> 60) - UINT64_C(0x9e3779b97f4a7c15);
}

static record *record_at(two_tiers *self, uint64_t number) {
    return &self->ring[number & (self->ring_size - 1)];
}

static bool grow_ring(two_tiers *self) {
    uint64_t size = self->ring_size == 0 ? RING_FIRST : 2 * self->ring_size;
    record *ring = malloc(size * sizeof *ring);
    if (ring == NULL) {
        self->failed = true;
        return false;
    }
    for (uint64_t i = self->first; i < self->next; i++) {
        ring[i & (size - 1)] = *record_at(self, i);
    }
    free(self->ring);
    self->ring = ring;
    self->ring_size = size;
    return true;
}

/* The key's record is of no use any more. */
static void forget_record(two_tiers *self, uint32_t key) {
    if (self->cold_max > 0 && self->places[key] != 0) {
        self->live_bytes -= record_at(self, self->places[key])->bytes;
        self->places[key] = 0;
    }
}

static void append(two_tiers *self, uint32_t key, uint32_t bytes) {
    if (self->next - self->first == self->ring_size && !grow_ring(self)) {
        return;
    }
    *record_at(self, self->next) = (record){.key = key, .bytes = bytes & INT32_MAX};
    self->places[key] = self->next++;
    self->log_bytes += bytes;
    self->live_bytes += bytes;
    self->written += bytes;
}

/* Takes the oldest away, until the rest fits. What was hit gets a second life; and all that is
 * valid, while too little is. */
static void reclaim(two_tiers *self) {
    while (self->log_bytes > self->cold_max && self->first < self->next) {
        record oldest = *record_at(self, self->first);
        bool valid = self->places[oldest.key] == self->first;
        bool keeps = oldest.hit != 0 || self->live_bytes < self->cold_max / 4 * 3;
        if (valid) {
            forget_record(self, oldest.key);
        }
        self->first++;
        self->log_bytes -= oldest.bytes;
        if (valid && keeps) {
            append(self, oldest.key, oldest.bytes);
        }
    }
}

static void write_down(two_tiers *self, uint32_t key, uint64_t charge) {
    uint64_t bytes = (uint64_t)((double)charge / self->ratio);
    bytes = bytes == 0 ? 1 : bytes;
    if (self->places[key] == 0 && bytes <= self->cold_max / 4 && bytes <= INT32_MAX) {
        append(self, key, (uint32_t)bytes);
        reclaim(self);
    }
}

static void on_evicted(void *context, uint64_t key_hash, uint64_t charge) {
    write_down(context, (uint32_t)gather(key_hash), charge);
}

int two_tiers_open(two_tiers **tiers, const char *policy, uint64_t hot, uint64_t cold, double ratio,
                   uint32_t keys) {
    two_tiers *self = calloc(1, sizeof *self);
    *tiers = NULL;
    if (self == NULL) {
        return FIRN_ENOMEM;
    }
    int result = firn_simulation_open(&self->hot, policy, NULL, hot);
    self->hot_max = hot;
    self->ratio = ratio;
    self->cold_max = cold;
    self->first = self->next = 1;
    if (result == FIRN_OK && cold > 0) {
        self->places = calloc((size_t)keys + 1, sizeof *self->places);
        result = self->places != NULL ? FIRN_OK : FIRN_ENOMEM;
        firn_simulation_watch(self->hot, on_evicted, self);
    }
    if (result != FIRN_OK) {
        two_tiers_close(self);
        return result;
    }
    *tiers = self;
    return FIRN_OK;
}

void two_tiers_close(two_tiers *self) {
    if (self != NULL) {
        firn_simulation_close(self->hot);
        free(self->places);
        free(self->ring);
        free(self);
    }
}

tier_hit two_tiers_get(two_tiers *self, uint32_t key, uint32_t charge) {
    /* Before the entry comes up: what leaves for it is written, and its record may be reclaimed. */
    bool below = self->cold_max > 0 && self->places[key] != 0;
    int result = firn_simulation_access(self->hot, spread(key), charge);
    if (result < 0 || self->failed) {
        return HIT_NO_MEMORY;
    }
    if (result == FIRN_OK) {
        return HIT_HOT;
    }
    if (charge > self->hot_max && self->cold_max > 0) {
        write_down(self, key, charge);
    }
    if (below && self->places[key] != 0) {
        record_at(self, self->places[key])->hit = 1;
    }
    return below ? HIT_COLD : HIT_NONE;
}

tier_hit two_tiers_put(two_tiers *self, uint32_t key, uint32_t charge) {
    forget_record(self, key);
    return two_tiers_get(self, key, charge);
}

void two_tiers_delete(two_tiers *self, uint32_t key) {
    forget_record(self, key);
    (void)firn_simulation_remove(self->hot, spread(key)); /* it need not be there */
}

uint64_t two_tiers_written(const two_tiers *self) {
    return self->written;
}
