/* How soon a restart is warm: the second half of a trace, played to a cache that never stopped, one
 * that was closed and opened, one that was killed with SIGKILL and opened, and one that is empty.
 *
 *     build/tests/bench_restart TRACE FOLDER HOT_BYTES COLD_BYTES PACE [POLICY]
 *
 * Each request is a get, and a put after a miss. The first requests after the restart come PACE
 * microseconds apart, for what a program does between requests is what a warm start is for; 0: at
 * once. Stores are made in FOLDER, and removed. Prints a
 * line of JSON for each variant and window of requests: hits of the hot tier and of both, as parts
 * of the window's requests. tests/bench/restart.py runs it over traces, and plots. */
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <firn/firn.h>

#include "../../tools/trace.h"
#include "../../tools/values.h"

enum {
    WINDOWS = 400,
    WINDOW_FIRST = 25,      /* requests of a window at the beginning, */
    FIRST = 20000,          /* of so many; these are the ones that are paced */
    VALUE_BYTES = 100,      /* where the trace has no sizes */
    VALUE_BYTES_MAX = 65536 /* larger ones are cut, so that a run is not all writing */
};

typedef struct request {
    uint64_t key;
    uint32_t size;
} request;

static request *requests;
static size_t count;

static void fail(const char *what, const char *why) {
    fprintf(stderr, "bench_restart: %s: %s\n", what, why);
    exit(1);
}

static void check(int result, const char *what) {
    if (result < 0) {
        fail(what, firn_strerror(result));
    }
}

static void read_trace(const char *path) {
    char why[TRACE_WHY_BYTES];
    size_t room = 0;
    trace *from = trace_open(path, why);
    if (from == NULL) {
        fail(path, why);
    }
    trace_request next;
    while (trace_next(from, &next) == 1) {
        if (count == room) {
            room = room * 2 + 4096;
            requests = realloc(requests, room * sizeof *requests);
            if (requests == NULL) {
                fail(path, "no memory");
            }
        }
        uint64_t size = next.size == 0 ? VALUE_BYTES : next.size;
        size = size < VALUE_BYTES_MAX ? size : VALUE_BYTES_MAX;
        requests[count++] = (request){next.key, (uint32_t)size};
    }
    trace_close(from);
}

static double now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* Requests are begun pace_us apart; 0: at once. */
static void play(firn_cache *cache, size_t from, size_t to, double pace_us) {
    double next_ms = now_ms();
    static unsigned char value[VALUE_BYTES_MAX];
    for (size_t i = from; i < to; i++) {
        while (pace_us > 0 && now_ms() < next_ms) {
        }
        next_ms += pace_us / 1000;
        const request *one = &requests[i];
        firn_object *object;
        int result = firn_get(cache, &one->key, sizeof one->key, &object);
        check(result, "get");
        firn_object_unref(object);
        if (result == FIRN_NOT_FOUND) {
            make_value(one->key, value, one->size);
            result = firn_put(cache, &one->key, sizeof one->key, value, one->size, NULL);
            check(result == FIRN_ETOOLARGE ? FIRN_OK : result, "put");
        }
    }
}

static firn_stats stats_of(firn_cache *cache) {
    firn_stats stats = FIRN_STATS_INIT;
    check(firn_get_stats(cache, &stats), "stats");
    return stats;
}

static void measure(firn_cache *cache, const char *name, double pace_us, double began_ms) {
    size_t first = count / 2;
    size_t window = (count - first) / WINDOWS;
    window = window > WINDOW_FIRST ? window : WINDOW_FIRST;
    firn_stats before = stats_of(cache);
    for (size_t at = first; at < count;) {
        bool early = at - first < FIRST;
        size_t end = at + (early ? WINDOW_FIRST : window);
        end = end < count ? end : count;
        play(cache, at, end, early ? pace_us : 0);
        firn_stats after = stats_of(cache);
        double size = (double)(end - at);
        printf("{\"variant\": \"%s\", \"requests\": %zu, \"hot\": %.5f, \"total\": %.5f, "
               "\"ms\": %.2f}\n",
               name, end - first, (double)(after.hot_hits - before.hot_hits) / size,
               (double)(after.hot_hits + after.cold_hits - before.hot_hits - before.cold_hits) /
                   size,
               now_ms() - began_ms);
        before = after;
        at = end;
    }
    fflush(stdout);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where) {
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

static firn_cache *open_at(const char *path, const firn_options *options) {
    firn_cache *cache;
    char why[500] = "";
    firn_options full = *options;
    full.error_buffer = why;
    full.error_buffer_size = sizeof why;
    if (firn_open(&cache, path, &full) != FIRN_OK) {
        fail(path, why);
    }
    return cache;
}

/* The first half, by a process that ends. */
static void first_half(const char *path, const firn_options *options, bool killed) {
    pid_t child = fork();
    if (child == 0) {
        firn_cache *cache = open_at(path, options);
        play(cache, 0, count / 2, 0);
        if (killed) {
            /* A process seldom dies at full load: what is due in the background is done. */
            usleep(1000 * (useconds_t)(options->warm_save_ms + options->write_behind_ms));
            raise(SIGKILL);
        }
        check(firn_close(cache), "close");
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    bool as_meant = killed ? WIFSIGNALED(status) : WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!as_meant) {
        fail("first half", "it failed");
    }
}

typedef enum kind { NEVER_STOPPED, CLOSED, KILLED, COLD } kind;

static void run(const char *path, const char *name, kind how, const firn_options *options,
                double pace_us) {
    nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    if (how == CLOSED || how == KILLED) {
        first_half(path, options, how == KILLED);
    }
    double began_ms = now_ms();
    firn_cache *cache = open_at(path, options);
    if (how == NEVER_STOPPED) {
        play(cache, 0, count / 2, 0);
        began_ms = now_ms();
    }
    measure(cache, name, pace_us, began_ms);
    check(firn_close(cache), "close");
    nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int main(int argc, char **argv) {
    if (argc < 6) {
        fprintf(stderr, "Usage: bench_restart TRACE FOLDER HOT_BYTES COLD_BYTES PACE [POLICY]\n");
        return 2;
    }
    char path[4096];
    snprintf(path, sizeof path, "%s/restart", argv[2]);
    read_trace(argv[1]);
    firn_options options = FIRN_OPTIONS_INIT;
    options.hot_bytes = strtoull(argv[3], NULL, 10);
    options.cold_bytes = strtoull(argv[4], NULL, 10);
    options.hot_policy = argc > 6 ? argv[6] : NULL;
    double pace_us = strtod(argv[5], NULL);
    options.warm_save_ms = 500; /* halves take seconds here, not days */
    options.write_behind_ms = 500;
    firn_options behind = options;
    behind.write_mode = FIRN_WRITE_BEHIND;
    run(path, "never stopped", NEVER_STOPPED, &options, pace_us);
    run(path, "closed", CLOSED, &options, pace_us);
    run(path, "killed", KILLED, &options, pace_us);
    run(path, "killed, write-behind", KILLED, &behind, pace_us);
    run(path, "cold start", COLD, &options, pace_us);
    free(requests);
    return 0;
}
