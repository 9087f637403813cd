/* What can be said of a histogram that was taken: names, quantiles, differences. See
 * firn/metrics.h. Knows no threads. */
#include <firn/metrics.h>

#include "observe/histogram.h"

static const struct {
    const char *name;
    const char *help;
    unsigned every;
} kinds[] = {
#define KIND(name, word, every, help) {word, help, every},
    FIRN_LATENCIES(KIND)
#undef KIND
};

uint64_t firn_latency_bucket_ns(unsigned bucket) {
    if (bucket < FIRN_LATENCY_SUBS) {
        return bucket;
    }
    if (bucket >= FIRN_LATENCY_BUCKETS - 1) {
        return UINT64_MAX;
    }
    unsigned shift = bucket / FIRN_LATENCY_SUBS - 1;
    return ((uint64_t)(bucket % FIRN_LATENCY_SUBS + FIRN_LATENCY_SUBS + 1) << shift) - 1;
}

const char *firn_latency_name(unsigned kind) {
    return kind < FIRN_LATENCY_COUNT ? kinds[kind].name : NULL;
}

const char *firn_latency_help(unsigned kind) {
    return kind < FIRN_LATENCY_COUNT ? kinds[kind].help : NULL;
}

unsigned firn_latency_every(unsigned kind) {
    return kind < FIRN_LATENCY_COUNT ? kinds[kind].every : 0;
}

uint64_t firn_latency_count(const firn_latency *latency) {
    uint64_t count = 0;
    for (unsigned i = 0; i < FIRN_LATENCY_BUCKETS; i++) {
        count += latency->counts[i];
    }
    return count;
}

uint64_t firn_latency_mean_ns(const firn_latency *latency) {
    uint64_t count = firn_latency_count(latency);
    return count > 0 ? latency->sum_ns / count : 0;
}

uint64_t firn_latency_quantile_ns(const firn_latency *latency, double share) {
    uint64_t count = firn_latency_count(latency);
    double wanted = share <= 0 ? 0 : share >= 1 ? (double)count : share * (double)count;
    uint64_t rank = (uint64_t)wanted;
    rank += (double)rank < wanted; /* upwards */
    rank = rank == 0 ? 1 : rank;
    uint64_t below = 0;
    for (unsigned i = 0; i < FIRN_LATENCY_BUCKETS; i++) {
        below += latency->counts[i];
        if (below >= rank) {
            uint64_t longest = firn_latency_bucket_ns(i);
            return longest < latency->max_ns ? longest : latency->max_ns;
        }
    }
    return 0;
}

static uint64_t less(uint64_t after, uint64_t before) {
    return after > before ? after - before : 0;
}

/* How many a struct of that size has. */
static size_t count_in(const firn_latencies *latencies) {
    size_t head = offsetof(firn_latencies, of);
    size_t count = latencies->size > head ? (latencies->size - head) / sizeof(firn_latency) : 0;
    return count < FIRN_LATENCY_COUNT ? count : FIRN_LATENCY_COUNT;
}

static void subtract(const firn_latency *before, const firn_latency *after,
                     firn_latency *difference) {
    uint64_t sum_ns = less(after->sum_ns, before->sum_ns);
    uint64_t max_ns = 0;
    for (unsigned i = 0; i < FIRN_LATENCY_BUCKETS; i++) {
        difference->counts[i] = less(after->counts[i], before->counts[i]);
        max_ns = difference->counts[i] > 0 ? firn_latency_bucket_ns(i) : max_ns;
    }
    difference->sum_ns = sum_ns;
    difference->max_ns = max_ns < after->max_ns ? max_ns : after->max_ns;
}

void firn_latencies_delta(const firn_latencies *before, const firn_latencies *after,
                          firn_latencies *difference) {
    static const firn_latency none;
    size_t earlier = count_in(before);
    size_t later = count_in(after);
    size_t room = count_in(difference);
    for (size_t i = 0; i < room; i++) {
        subtract(i < earlier ? &before->of[i] : &none, i < later ? &after->of[i] : &none,
                 &difference->of[i]);
    }
}
