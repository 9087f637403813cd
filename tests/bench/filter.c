/* What a question to the filter costs: in the cache and far above it, for hashes that are absent
 * and present, beside the reading of as many random words of as much memory, which no filter can
 * beat. Then what building costs, how often "maybe" is wrong, and the memory an entry takes.
 *
 * Usage: filter [ENTRIES ...]    default: 100,000 and 5,000,000 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/filter.h"

enum {
    ASKED = 4000000, /* questions a round */
    ROUNDS = 5,      /* of which the best counts: the others were disturbed */
    BATCH = 16,
};

typedef struct rig {
    firn_filter *filter;
    uint64_t entries;
    uint64_t *hashes; /* ascending */
    uint64_t *memory; /* as much as the filter's */
    uint64_t words;
} rig;

static uint64_t mix(uint64_t number) {
    number = (number ^ number >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    number = (number ^ number >> 27) * UINT64_C(0x94D049BB133111EB);
    return number ^ number >> 31;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time); /* others may be at work beside us */
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static uint64_t absent(uint64_t number) {
    return mix(number + (UINT64_C(1) << 40));
}

/* Each does ASKED of its kind, and returns a number that depends on all of them. */

static uint64_t read_one(const rig *self) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < ASKED; i++) {
        sum += self->memory[(absent(i) >> 32) * self->words >> 32];
    }
    return sum;
}

static uint64_t read_two(const rig *self) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < ASKED; i++) {
        uint64_t hash = absent(i);
        sum += self->memory[(hash >> 32) * self->words >> 32];
        sum += self->memory[(hash & UINT32_MAX) * self->words >> 32];
    }
    return sum;
}

static uint64_t ask_absent(const rig *self) {
    uint64_t maybes = 0;
    for (uint64_t i = 0; i < ASKED; i++) {
        maybes += firn_filter_may_contain(self->filter, absent(i));
    }
    return maybes;
}

static uint64_t ask_absent_in_batches(const rig *self) {
    uint64_t maybes = 0;
    for (uint64_t i = 0; i < ASKED; i += BATCH) {
        for (uint64_t j = i; j < i + BATCH; j++) {
            firn_filter_prefetch(self->filter, absent(j));
        }
        for (uint64_t j = i; j < i + BATCH; j++) {
            maybes += firn_filter_may_contain(self->filter, absent(j));
        }
    }
    return maybes;
}

static uint64_t ask_present(const rig *self) {
    uint64_t maybes = 0;
    for (uint64_t i = 0; i < ASKED; i++) {
        uint64_t number = (absent(i) >> 32) * self->entries >> 32;
        maybes += firn_filter_may_contain(self->filter, mix(number + 1));
    }
    return maybes;
}

/* Millions a second of the best round. */
static double rate(const rig *self, uint64_t (*work)(const rig *)) {
    double best = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        double began = now();
        volatile uint64_t sum = work(self); /* so that it is done */
        (void)sum;
        double millions = ASKED / (now() - began) / 1e6;
        best = millions > best ? millions : best;
    }
    return best;
}

static int next_hash(void *context, uint64_t from, uint64_t *hash) {
    const rig *self = context;
    /* The walk asks for each in turn: the hash before tells where it is. */
    static uint64_t at;
    at = from == 0 ? 0 : at + 1;
    *hash = at < self->entries ? self->hashes[at] : 0;
    return at < self->entries ? FIRN_OK : FIRN_NOT_FOUND;
}

static int ascending(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

static void report_building(rig *self) {
    double began = now();
    if (firn_filter_start_empty(self->filter, self->entries) != FIRN_OK) {
        exit(EXIT_FAILURE);
    }
    for (uint64_t i = 1; i <= self->entries; i++) {
        if (!firn_filter_add(self->filter, mix(i))) {
            exit(EXIT_FAILURE);
        }
    }
    double added = now() - began;
    began = now();
    for (uint64_t i = 1; i <= self->entries / 2; i++) {
        if (!firn_filter_remove(self->filter, mix(i)) || !firn_filter_add(self->filter, mix(i))) {
            exit(EXIT_FAILURE);
        }
    }
    double churned = now() - began;
    began = now();
    if (firn_filter_rebuild_begin(self->filter, self->entries) != FIRN_OK ||
        firn_filter_rebuild_step(self->filter, UINT64_MAX, next_hash, self) != FIRN_OK) {
        exit(EXIT_FAILURE);
    }
    double walked = now() - began;
    double millions = (double)self->entries / 1e6;
    printf("  added at random up to its capacity   %7.1f M/s\n", millions / added);
    printf("  removed and added when it is full    %7.1f M/s\n", millions / 2 / churned);
    printf("  walked in ascending order            %7.1f M/s\n", millions / walked);
}

static void report_questions(const rig *self) {
    double one = rate(self, read_one);
    double two = rate(self, read_two);
    const struct {
        const char *what;
        uint64_t (*work)(const rig *);
    } rows[] = {
        {"absent", ask_absent},
        {"absent, in batches of 16", ask_absent_in_batches},
        {"present", ask_present},
    };
    printf("  one random word                      %7.1f M/s\n", one);
    printf("  two random words                     %7.1f M/s\n", two);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        double found = rate(self, rows[i].work);
        printf("  %-36s %7.1f M/s   %.2f of two random words\n", rows[i].what, found, found / two);
    }
}

static void report(firn_heap *heap, uint64_t entries) {
    rig self = {
        .filter = firn_filter_new(heap),
        .entries = entries,
        .hashes = malloc(entries * sizeof(uint64_t)),
    };
    if (entries == 0 || self.filter == NULL || self.hashes == NULL) {
        exit(EXIT_FAILURE);
    }
    for (uint64_t i = 0; i < entries; i++) {
        self.hashes[i] = mix(i + 1);
    }
    qsort(self.hashes, entries, sizeof self.hashes[0], ascending);
    printf("%llu entries\n", (unsigned long long)entries);
    report_building(&self);
    firn_filter_shape shape;
    firn_filter_stats stats;
    if (firn_filter_get_shape(self.filter, &shape) != FIRN_OK) {
        exit(EXIT_FAILURE);
    }
    firn_filter_get_stats(self.filter, &stats);
    self.words = shape.buckets;
    self.memory = firn_heap_zalloc(heap, self.words * sizeof(uint64_t));
    if (self.memory == NULL) {
        exit(EXIT_FAILURE);
    }
    report_questions(&self);
    printf("  wrong maybes                         %8.4f %%     of %d\n",
           100 * (double)ask_absent(&self) / ASKED, ASKED);
    printf("  memory                               %7.2f bytes an entry, %.1f %% of places taken\n",
           (double)stats.bytes / (double)entries,
           100 * (double)shape.count / (double)(4 * shape.buckets));
    firn_heap_free(heap, self.memory, self.words * sizeof(uint64_t));
    free(self.hashes);
    firn_filter_free(self.filter);
}

int main(int count, char **arguments) {
    firn_heap *heap = firn_heap_new(NULL);
    if (heap == NULL) {
        return EXIT_FAILURE;
    }
    if (count < 2) {
        report(heap, 100000);
        report(heap, 5000000);
    }
    for (int i = 1; i < count; i++) {
        report(heap, strtoull(arguments[i], NULL, 10));
    }
    firn_heap_unref(heap);
    return EXIT_SUCCESS;
}
