/* A policy of one's own: only what was costly to make is worth the disk.
 *
 *     cc costly.c $(pkg-config --cflags --libs firn) -o costly
 *     ./costly [COUNT]
 *
 * The values are the factors of numbers, padded to a kilobyte. Some numbers are found out about at
 * once, others take many divisions: the example counts them, as a program would take the time, and
 * tells the cache with each value. Memory holds a part of the values only. What has to leave it is
 * offered to the policy below, which keeps what took more than a hundred divisions; the rest is
 * gone, for to make it anew takes no longer than to read it. Run it twice: the second time little
 * is left to be divided. */
#include "example.h"

enum { VALUE_SIZE = 1000, COUNT = 5000, WORTH_IT = 100 };

/* The policy. It wants no state, and to know neither frequency nor size below. */
static int is_costly(void *state, const firn_candidate *candidate) {
    (void)state;
    return candidate->cost_us > WORTH_IT;
}

static const firn_tier_policy costly_only = {
    .size = sizeof(firn_tier_policy),
    .name = "costly-only",
    .admits = is_costly,
};

/* Writes the factors to text. Returns the divisions it took. */
static uint64_t factor(uint64_t number, char *text, size_t size) {
    uint64_t divisions = 0;
    size_t used = 0;
    for (uint64_t by = 2; by * by <= number; divisions++) {
        if (number % by == 0) {
            used += (size_t)snprintf(text + used, size - used, "%llu * ", (unsigned long long)by);
            number /= by;
        } else {
            by++;
        }
    }
    snprintf(text + used, size - used, "%llu", (unsigned long long)number);
    return divisions;
}

/* The divisions that the pass could not do without. */
static uint64_t pass(firn_cache *cache, unsigned long count) {
    uint64_t divisions = 0;
    for (unsigned long i = 0; i < count; i++) {
        uint64_t number = 1000000 + i * UINT64_C(7919);
        firn_object *object;
        int result = firn_get(cache, &number, sizeof number, &object);
        if (result == FIRN_OK) {
            firn_object_unref(object);
            continue;
        }
        if (result != FIRN_NOT_FOUND) {
            check(cache, result, "get");
        }
        char value[VALUE_SIZE] = "";
        firn_put_options options = FIRN_PUT_OPTIONS_INIT;
        options.cost_us = factor(number, value, sizeof value);
        divisions += options.cost_us;
        check(cache, firn_put(cache, &number, sizeof number, value, sizeof value, &options), "put");
    }
    return divisions;
}

int main(int argc, char **argv) {
    char *end = NULL;
    unsigned long count = argc > 1 ? strtoul(argv[1], &end, 10) : COUNT;
    if (argc > 2 || (end != NULL && (*end != '\0' || count == 0))) {
        fprintf(stderr, "usage: costly [COUNT]\n");
        return 2;
    }
    char why[300] = "";
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = 1u << 20;
    options.threads = 0;
    options.demotion_ops = &costly_only;
    options.error_buffer = why;
    options.error_buffer_size = sizeof why;
    firn_cache *cache;
    if (firn_open(&cache, "costly-store", &options) != FIRN_OK) {
        fail("cannot open the store: %s", why);
    }
    uint64_t first = pass(cache, count);
    uint64_t second = pass(cache, count);
    firn_stats stats = FIRN_STATS_INIT;
    check(cache, firn_get_stats(cache, &stats), "statistics");
    printf("%llu divisions for the first pass, %llu for the second\n", (unsigned long long)first,
           (unsigned long long)second);
    printf("%llu values left memory; %llu were not worth the disk\n",
           (unsigned long long)stats.evictions, (unsigned long long)stats.demotions_refused);
    close_store(cache);
    return 0;
}
