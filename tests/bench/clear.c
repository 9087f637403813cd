/* How long it takes to clear, and to turn the wheel of what expires: build/tests/bench_clear FOLDER
 * [ENTRIES]. The store is made in FOLDER/clear. Prints lines of JSON. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <firn/firn.h>

static double now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void report(const char *what, unsigned entries, double value, const char *unit) {
    printf("{\"bench\": \"%s\", \"entries\": %u, \"value\": %.4f, \"unit\": \"%s\"}\n", what,
           entries, value, unit);
    fflush(stdout);
}

static void check(int result, const char *what) {
    if (result != FIRN_OK) {
        fprintf(stderr, "bench_clear: %s: %s\n", what, firn_strerror(result));
        exit(1);
    }
}

/* Half of them "a", half "b"; every third has a tag. */
static double fill(firn_cache *cache, unsigned entries, uint64_t ttl_ms) {
    static const char *const tag[] = {"third"};
    char value[100];
    memset(value, 'v', sizeof value);
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.ttl_ms = ttl_ms;
    options.tags = tag;
    double began = now_ms();
    for (unsigned i = 0; i < entries; i++) {
        char key[16];
        int size = snprintf(key, sizeof key, "%c:%u", 'a' + (int)(i % 2), i);
        options.tag_count = ttl_ms == 0 && i % 3 == 0;
        check(firn_put(cache, key, (size_t)size, value, sizeof value, &options), "put");
    }
    return now_ms() - began;
}

static unsigned found(firn_cache *cache, unsigned entries) {
    unsigned count = 0;
    for (unsigned i = 0; i < entries; i += entries / 1000 + 1) {
        char key[16];
        int size = snprintf(key, sizeof key, "%c:%u", 'a' + (int)(i % 2), i);
        count += firn_contains(cache, key, (size_t)size) == FIRN_OK;
    }
    return count;
}

static void clear(firn_cache *cache, const char *path, unsigned entries, const char *what) {
    char name[100];
    const char *where = path != NULL ? "both tiers" : "memory";
    check(fill(cache, entries, 0) > 0 ? FIRN_OK : FIRN_EIO, "fill");
    check(firn_flush(cache), "flush");
    unsigned before = found(cache, entries);
    double began = now_ms();
    check(strcmp(what, "everything") == 0 ? firn_clear(cache, NULL, 0)
          : strcmp(what, "a prefix") == 0 ? firn_clear(cache, "a:", 2)
                                          : firn_invalidate_tag(cache, "third"),
          what);
    double took = now_ms() - began;
    snprintf(name, sizeof name, "clear %s, %s", what, where);
    report(name, entries, took, "ms");
    snprintf(name, sizeof name, "clear %s, %s, found before and after", what, where);
    report(name, entries, (double)found(cache, entries) / (double)before, "ratio");
    began = now_ms();
    while (firn_run(cache, 1000) == FIRN_AGAIN) {
    }
    snprintf(name, sizeof name, "clear %s, %s, sweep", what, where);
    report(name, entries, now_ms() - began, "ms");
}

static void expire(unsigned entries) {
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = (uint64_t)1 << 30;
    options.threads = 0;
    double took[2];
    for (unsigned ttl = 0; ttl < 2; ttl++) {
        firn_cache *cache;
        check(firn_open(&cache, NULL, &options), "open");
        took[ttl] = fill(cache, entries, ttl == 0 ? FIRN_TTL_NONE : 1500);
        if (ttl == 1) {
            struct timespec pause = {2, 0};
            nanosleep(&pause, NULL);
            double began = now_ms();
            while (firn_run(cache, 1000) == FIRN_AGAIN) {
            }
            firn_stats stats = FIRN_STATS_INIT;
            check(firn_get_stats(cache, &stats), "stats");
            report("expired entries taken out", entries, (double)stats.expired, "entries");
            report("expired entries taken out, each", entries,
                   (now_ms() - began) * 1e6 / (double)entries, "ns");
        }
        check(firn_close(cache), "close");
    }
    report("put that expires, of one that does not", entries, took[1] / took[0], "ratio");
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "Usage: bench_clear FOLDER [ENTRIES]\n");
        return 2;
    }
    unsigned entries = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1000000;
    char path[4096];
    snprintf(path, sizeof path, "%s/clear", argv[1]);
    static const char *const whats[] = {"everything", "a prefix", "a tag"};
    for (unsigned i = 0; i < 6; i++) {
        firn_options options = FIRN_OPTIONS_INIT;
        options.hot_bytes = (uint64_t)1 << 30;
        options.cold_bytes = (uint64_t)1 << 30;
        options.threads = 0;
        const char *at = i < 3 ? NULL : path;
        firn_cache *cache;
        check(firn_open(&cache, at, &options), "open");
        clear(cache, at, entries, whats[i % 3]);
        check(firn_close(cache), "close");
        if (at != NULL) {
            double began = now_ms();
            check(firn_open(&cache, at, &options), "open");
            report("open after it", entries, now_ms() - began, "ms");
            report("found after it", entries, found(cache, entries), "of 1000");
            check(firn_close(cache), "close");
        }
    }
    expire(entries);
    return 0;
}
