/* Drives a cache with a trace. Every request is a get; a miss is put; every hit is compared with
 * what was put. Part-way the cache is closed and opened again. */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay.h"
#include "tool.h"
#include "trace.h"
#include "values.h"

enum {
    KEY_TEXT = 32,
    RUN_EVERY = 64,         /* requests between two calls of firn_run without a thread */
    WINDOW_UNKNOWN = 10000, /* requests a window, of a trace of unknown length */
};

/* Set by a signal: the replay ends early and cleans up after itself. */
static volatile sig_atomic_t interrupted;

typedef struct runner {
    replay *self;
    firn_cache *cache;
    trace *requests;
    unsigned char *value; /* where values are made */
    size_t capacity;
    uint64_t done; /* requests of the whole trace */
    half *now;
    uint64_t began_ns;
    uint64_t window_hits; /* hot hits up to the current window */
    bool ended;           /* the trace */
    bool failed;
} runner;

static void on_signal(int number) {
    (void)number;
    interrupted = 1;
}

static void catch_signals(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

static bool fail(runner *run, const char *what, const char *why, const char *detail) {
    progress_end(&run->self->shown);
    complain("replay", "%s: %s%s%s", what, why, *detail != '\0' ? ": " : "", detail);
    run->failed = true;
    return false;
}

static bool fail_with(runner *run, const char *what, int result) {
    char text[512] = "";
    firn_last_message(run->cache, text, sizeof text);
    return fail(run, what, firn_strerror(result), text);
}

static bool reserve(runner *run, size_t size) {
    if (size <= run->capacity && run->value != NULL) {
        return true;
    }
    free(run->value);
    run->capacity = size < 65536 ? 65536 : size;
    run->value = malloc(run->capacity);
    return run->value != NULL || fail(run, "value", strerror(ENOMEM), "");
}

/* The cache has never been asked to put anything else under this key, whatever size the request
 * now gives it, so the value found is checked at its own size. */
static void check_hit(runner *run, const firn_object *object, uint64_t key) {
    if (!run->self->hot_only) {
        run->now->wrong += !check_value(key, firn_object_data(object), firn_object_size(object));
    }
}

/* What it takes to make the value of a key: between the two bounds, as often in any tenfold. */
static uint64_t cost_of(const replay *self, uint64_t key) {
    double low = (double)self->miss_us[0];
    double spread = (double)self->miss_us[1] / low;
    uint64_t mixed = key * UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ mixed >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
    double luck = (double)(mixed >> 11) / (double)(UINT64_C(1) << 53);
    return (uint64_t)(low * pow(spread, luck) + 0.5);
}

static bool put(runner *run, const char *name, size_t name_size, uint64_t key, uint64_t size) {
    const firn_options *options = &run->self->options;
    if (size > options->hot_bytes && (run->self->hot_only || size > options->cold_bytes)) {
        run->now->refused++; /* sure to be: no memory is wasted on making it */
        return true;
    }
    if (!reserve(run, (size_t)size)) {
        return false;
    }
    if (run->self->hot_only) {
        memset(run->value, (int)(key & 0xff), (size_t)size);
    } else {
        make_value(key, run->value, (size_t)size);
    }
    firn_put_options put_options = FIRN_PUT_OPTIONS_INIT;
    put_options.cost_us = run->self->tells_costs ? cost_of(run->self, key) : 0;
    int result = firn_put(run->cache, name, name_size, run->value, (size_t)size, &put_options);
    if (result == FIRN_ETOOLARGE) {
        run->now->refused++;
        return true;
    }
    return result == FIRN_OK || fail_with(run, "put", result);
}

/* A get. fills: a miss is put. */
static bool ask(runner *run, const char *name, size_t name_size, uint64_t key, uint64_t size,
                bool fills) {
    firn_object *object;
    run->now->value_bytes += size;
    int result = firn_get(run->cache, name, name_size, &object);
    if (result == FIRN_OK) {
        check_hit(run, object, key);
        firn_object_unref(object);
        return true;
    }
    run->now->missed_bytes += size;
    run->now->missed_us += (double)cost_of(run->self, key);
    if (result != FIRN_NOT_FOUND) {
        return fail_with(run, "get", result);
    }
    return !fills || put(run, name, name_size, key, size);
}

static bool request(runner *run, const trace_request *next) {
    char name[KEY_TEXT];
    size_t name_size = (size_t)snprintf(name, sizeof name, "%llu", (unsigned long long)next->key);
    uint64_t size = value_size_of(run->self, next->size);
    run->now->requests++;
    if (next->what == TRACE_PUT) {
        return put(run, name, name_size, next->key, size);
    }
    if (next->what == TRACE_DELETE) {
        int result = firn_delete(run->cache, name, name_size);
        return result >= 0 || fail_with(run, "delete", result);
    }
    bool fills = next->what == TRACE_GET;
    return ask(run, name, name_size, next->key, fills ? size : 0, fills);
}

static firn_stats stats_of(firn_cache *cache) {
    firn_stats stats = FIRN_STATS_INIT;
    firn_get_stats(cache, &stats);
    return stats;
}

static double ratio(uint64_t a, uint64_t b) {
    return b > 0 ? (double)a / (double)b : 0;
}

static void show(runner *run, const firn_stats *stats) {
    double seconds = (double)(now_ns() - run->began_ns) / 1e9;
    char percent[16] = "";
    if (run->self->total > 0) {
        snprintf(percent, sizeof percent, "%3.0f%%  ", 100.0 * ratio(run->done, run->self->total));
    }
    progress_show("replay: %s%.0f requests/s  hit ratio %.3f hot, %.3f in all", percent,
                  seconds > 0 ? (double)run->now->requests / seconds : 0,
                  ratio(stats->hot_hits, stats->gets),
                  ratio(stats->hot_hits + stats->cold_hits, stats->gets));
}

static uint64_t window_requests(const replay *self) {
    uint64_t requests = self->total > 0 ? self->total / WINDOWS : WINDOW_UNKNOWN;
    return requests > WINDOW_REQUESTS_MIN ? requests : WINDOW_REQUESTS_MIN;
}

static void end_window(runner *run, uint64_t length) {
    half *now = run->now;
    firn_stats stats = stats_of(run->cache);
    if (now->window_count < WINDOWS) {
        now->windows[now->window_count++] =
            (window){.requests = now->requests,
                     .ns = now_ns() - run->began_ns,
                     .hot_ratio = ratio(stats.hot_hits - run->window_hits, length)};
    }
    run->window_hits = stats.hot_hits;
}

enum { PACE_FROM_MS = 1000000000 }; /* a time like any other */

static uint64_t paced_now_ms(void *context) {
    return atomic_load_explicit(&((replay *)context)->clock_ms, memory_order_relaxed);
}

static void set_pace(replay *self, uint64_t done) {
    uint64_t seconds = done / self->pace;
    uint64_t ms = seconds * 1000 + done % self->pace * 1000 / self->pace;
    atomic_store_explicit(&self->clock_ms, PACE_FROM_MS + ms, memory_order_relaxed);
}

static void after_request(runner *run, uint64_t window_length) {
    half *now = run->now;
    if (run->self->pace > 0) {
        set_pace(run->self, run->done);
    }
    if (now->requests == 1) {
        now->first_ns = now->open_ns + now_ns() - run->began_ns;
    }
    if (now->requests % window_length == 0) {
        end_window(run, window_length);
    }
    if (now->requests % 256 == 0 && progress_is_due(&run->self->shown)) {
        firn_stats stats = stats_of(run->cache);
        show(run, &stats);
    }
    if (run->self->options.threads == 0 && now->requests % RUN_EVERY == 0) {
        firn_run(run->cache, 0); /* what it cannot do now is tried again, and reported at the end */
    }
}

/* One line of the trace. False: the end, or a failure. */
static bool step(runner *run, uint64_t window_length) {
    trace_request next;
    int result = trace_next(run->requests, &next);
    if (result != 1) {
        run->ended = true;
        return result == 0 ? false : fail(run, "the trace", trace_message(run->requests), "");
    }
    if (interrupted) {
        return fail(run, "interrupted", "stopped early", "");
    }
    if (!request(run, &next)) {
        return false;
    }
    run->done++;
    after_request(run, window_length);
    return true;
}

/* Requests up to number `until` of the trace. */
static bool run_until(runner *run, uint64_t until) {
    uint64_t length = window_requests(run->self);
    uint64_t twentieth = run->self->total / 20;
    uint64_t tail_at = until - run->done > twentieth ? until - twentieth : run->done;
    firn_stats tail = stats_of(run->cache);
    run->began_ns = now_ns();
    run->window_hits = 0;
    while (run->done < until && !run->ended) {
        if (run->done == tail_at) {
            tail = stats_of(run->cache);
        }
        if (!step(run, length)) {
            break;
        }
    }
    progress_end(&run->self->shown);
    run->now->ns = now_ns() - run->began_ns;
    firn_stats stats = stats_of(run->cache);
    run->now->tail_hot_ratio = ratio(stats.hot_hits - tail.hot_hits, stats.gets - tail.gets);
    return !run->failed;
}

static bool open_cache(runner *run) {
    if (run->self->pace > 0) {
        set_pace(run->self, run->done);
        run->self->options.clock = (firn_clock){paced_now_ms, run->self};
    }

    char why[512] = "";
    run->self->options.error_buffer = why;
    run->self->options.error_buffer_size = sizeof why;
    uint64_t began_ns = now_ns();
    int result = firn_open(&run->cache, run->self->store_path, &run->self->options);
    run->now->open_ns = now_ns() - began_ns;
    return result == FIRN_OK || fail(run, "cannot open the cache", firn_strerror(result), why);
}

/* The flush belongs to the close: without it the last entries would be written uncounted. */
static bool close_cache(runner *run) {
    uint64_t began_ns = now_ns();
    int result = firn_flush(run->cache);
    if (result != FIRN_OK) {
        fail_with(run, "flush", result);
    }
    run->now->stats = stats_of(run->cache);
    result = firn_close(run->cache);
    run->now->close_ns = now_ns() - began_ns;
    if (result != FIRN_OK) {
        fail(run, "cannot close the cache", firn_strerror(result), "");
    }
    return !run->failed;
}

static bool run_half(runner *run, half *now, uint64_t until) {
    run->now = now;
    if (!open_cache(run)) {
        return false;
    }
    bool good = run_until(run, until);
    return close_cache(run) && good;
}

static int look_at_store(const replay *self, firn_store_info *info) {
    char why[512] = "";
    firn_store *store;
    int result = firn_store_open(&store, self->store_path, why, sizeof why);
    if (result == FIRN_OK) {
        *info = (firn_store_info)FIRN_STORE_INFO_INIT;
        result = firn_store_get_info(store, info);
        snprintf(why, sizeof why, "%s", firn_store_message(store));
        firn_store_close(store);
    }
    if (result != FIRN_OK) {
        complain("replay", "cannot look at the store: %s: %s", firn_strerror(result), why);
    }
    return exit_code(result);
}

/* total * percent / 100, without overflow. */
static uint64_t share(uint64_t total, uint64_t percent) {
    return total / 100 * percent + total % 100 * percent / 100;
}

int run_replay(replay *self, replay_result *result) {
    char why[TRACE_WHY_BYTES];
    runner run = {.self = self};
    run.requests = trace_open(self->trace_path, why);
    if (run.requests == NULL) {
        complain("replay", "cannot open the trace: %s", why);
        return EXIT_TROUBLE;
    }
    catch_signals();
    uint64_t total = self->total > 0 ? self->total : UINT64_MAX;
    bool good =
        run_half(&run, &result->before, self->restart ? share(total, self->restart_at) : total);
    if (good && self->restart) {
        good = run_half(&run, &result->after, total);
    }
    trace_close(run.requests);
    free(run.value);
    if (!good) {
        return EXIT_TROUBLE;
    }
    return self->store_path != NULL ? look_at_store(self, &result->store) : 0;
}
