/* firn replay --capacity: plays a trace to eviction policies, and to a simple model of the cold
 * tier, at many sizes, without keeping values. The trace is read once; each policy at each size is
 * a run, and several threads take one run after the other. What came of it is told in
 * replay_outcome.c. */
#include "replay_simulate.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tool.h"
#include "two_tiers.h"

enum {
    COLD_TIMES = 9, /* the cold tier's size, if nothing is said: so many times the hot one's */
    TELL_EVERY = 16384,
};

static const char *const auto_sizes = "0.5%,1%,2%,5%,10%,20%,40%,80%";

/* ---- what is to be run ---- */

/* What stands between `from` and `to` as a number above 0; a fraction may be written 1/10. */
static bool read_factor(const char *from, const char *to, double *factor) {
    char *end;
    if (from == to || *from < '0' || *from > '9' ||
        strspn(from, "0123456789./") != (size_t)(to - from)) {
        return false;
    }
    *factor = strtod(from, &end);
    if (end < to && *end == '/' && end[1] >= '0' && end[1] <= '9') {
        *factor /= strtod(end + 1, &end);
    }
    return end == to && *factor > 0 && *factor < 1e6;
}

/* A size in bytes or objects; N% of what the trace touches; xN or Nx, of a base. False: it makes no
 * sense. */
static bool read_capacity(const char *text, const simulations *self, uint64_t base,
                          uint64_t *bytes) {
    size_t length = strlen(text);
    const char *end = text + length;
    double whole = (double)self->requests.footprint / self->requests.facts.rate;
    double factor = 0;
    bool good;
    if (length > 1 && end[-1] == '%') {
        good = read_factor(text, end - 1, &factor);
        factor /= 100;
    } else if (length > 1 && (text[0] == 'x' || end[-1] == 'x')) {
        whole = (double)base;
        good = base > 0 && read_factor(text + (text[0] == 'x'), end - (text[0] != 'x'), &factor);
    } else {
        return parse_size(text, bytes) && *bytes > 0;
    }
    double size = whole * factor;
    *bytes = size < 1 ? 1 : size < 9e18 ? (uint64_t)size : (uint64_t)INT64_MAX;
    return good;
}

static int misuse_capacity(const char *option, const char *text, const simulations *self) {
    bool times = strchr(text, 'x') != NULL && self->hot_now == 0;
    return misuse("replay", "--%s: '%s' makes no sense here%s", option, text,
                  times ? ": times of what? Give --hot, or a trace that a cache recorded" : "");
}

static bool add_run(simulations *self, const char *policy, uint64_t hot, uint64_t cold) {
    if (self->count == SIMULATIONS_MAX) {
        misuse("replay", "more than %d simulations at once", SIMULATIONS_MAX);
        return false;
    }
    self->runs[self->count++] = (simulated){.policy = policy, .hot = hot, .cold = cold};
    return true;
}

static bool is_wanted(const char *names, const char *name) {
    size_t length = strlen(name);
    bool wanted = strcmp(names, "all") == 0;
    for (const char *at = names; at != NULL && !wanted; at = strchr(at, ',')) {
        at += *at == ',';
        wanted = strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == '\0');
    }
    return wanted;
}

/* The cold tier's size beside a hot one. */
static bool choose_cold(const simulations *self, const replay *asked, uint64_t hot,
                        uint64_t *cold) {
    *cold = 0;
    if (asked->hot_only) {
        return true;
    }
    if (asked->cold_text == NULL) {
        *cold = hot < UINT64_MAX / COLD_TIMES ? hot * COLD_TIMES : UINT64_MAX;
        return true;
    }
    return read_capacity(asked->cold_text, self, hot, cold);
}

static int compare_sizes(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The sizes as given, sorted, each once. 0, or an exit code. */
static int read_sizes(simulations *self, const replay *asked) {
    const char *at = strcmp(asked->capacities, "auto") == 0 ? auto_sizes : asked->capacities;
    while (*at != '\0') {
        char text[32];
        size_t length = strcspn(at, ",");
        snprintf(text, sizeof text, "%.*s", (int)length, at);
        uint64_t size;
        if (length >= sizeof text || !read_capacity(text, self, self->hot_now, &size)) {
            return misuse_capacity("capacity", text, self);
        }
        if (self->size_count == SIMULATIONS_MAX) {
            return misuse("replay", "--capacity: more than %d sizes", SIMULATIONS_MAX);
        }
        self->sizes[self->size_count++] = size;
        at += length;
        at += *at == ',';
    }
    qsort(self->sizes, self->size_count, sizeof self->sizes[0], compare_sizes);
    size_t kept = 0;
    for (size_t i = 0; i < self->size_count; i++) {
        if (kept == 0 || self->sizes[kept - 1] != self->sizes[i]) {
            self->sizes[kept++] = self->sizes[i];
        }
    }
    self->size_count = kept;
    return kept > 0 ? 0 : misuse("replay", "--capacity: no size is given");
}

static int plan(simulations *self, const replay *asked) {
    self->hot_now = asked->hot_bytes != 0 ? asked->hot_bytes : self->requests.facts.hot_bytes;
    int code = read_sizes(self, asked);
    if (code != 0) {
        return code;
    }
    for (unsigned i = 0; firn_policy_name(i) != NULL; i++) {
        const char *policy = firn_policy_name(i);
        for (size_t n = 0; n < self->size_count && is_wanted(asked->policies, policy); n++) {
            uint64_t cold;
            if (!choose_cold(self, asked, self->sizes[n], &cold)) {
                return misuse_capacity("cold", asked->cold_text, self);
            }
            if (!add_run(self, policy, self->sizes[n], cold)) {
                return EXIT_USAGE;
            }
        }
    }
    return 0;
}

/* ---- the runs ---- */

/* What the threads share. */
typedef struct crew {
    simulations *self; /* each run is written by the thread that took it */
    atomic_size_t next_run;
    atomic_uint_fast64_t played; /* requests, of all runs: relaxed, for the progress */
    pthread_mutex_t lock;        /* guards the next two */
    pthread_cond_t ended;
    size_t at_work;
} crew;

/* A trace of a part of the keys is played to caches of that part of the size. */
static uint64_t scaled(uint64_t size, double rate) {
    double less = (double)size * rate;
    return size == 0 ? 0 : less < 1 ? 1 : rate < 1 ? (uint64_t)less : size;
}

static bool play_one(two_tiers *tiers, const request *one, simulated *run) {
    if (one->what == TRACE_DELETE) {
        two_tiers_delete(tiers, one->key);
        return true;
    }
    if (one->what == TRACE_NOWHERE) {
        return true;
    }
    if (one->what == TRACE_PUT) {
        return two_tiers_put(tiers, one->key, one->charge) != HIT_NO_MEMORY;
    }
    tier_hit hit = two_tiers_get(tiers, one->key, one->charge);
    run->hot_hits += hit == HIT_HOT;
    run->cold_hits += hit == HIT_COLD;
    run->hit_bytes += hit == HIT_HOT || hit == HIT_COLD ? one->charge : 0;
    return hit != HIT_NO_MEMORY;
}

static void play_run(crew *shared, simulated *run) {
    const requests *all = &shared->self->requests;
    two_tiers *tiers;
    uint64_t began_ns = now_ns();
    double rate = all->facts.rate;
    run->result = two_tiers_open(&tiers, run->policy, scaled(run->hot, rate),
                                 scaled(run->cold, rate), shared->self->ratio, all->keys);
    for (uint64_t i = 0; i < all->count && run->result == FIRN_OK; i++) {
        if (!play_one(tiers, &all->list[i], run)) {
            run->result = FIRN_ENOMEM;
        }
        if (i % TELL_EVERY == TELL_EVERY - 1) {
            atomic_fetch_add_explicit(&shared->played, TELL_EVERY, memory_order_relaxed);
        }
    }
    if (tiers != NULL) {
        run->written = (uint64_t)((double)two_tiers_written(tiers) / rate);
    }
    two_tiers_close(tiers);
    run->ns = now_ns() - began_ns;
}

static void *work(void *context) {
    crew *shared = context;
    for (;;) {
        size_t number = atomic_fetch_add_explicit(&shared->next_run, 1, memory_order_relaxed);
        if (number >= shared->self->count) {
            break;
        }
        play_run(shared, &shared->self->runs[number]);
    }
    pthread_mutex_lock(&shared->lock);
    shared->at_work--;
    pthread_cond_signal(&shared->ended);
    pthread_mutex_unlock(&shared->lock);
    return NULL;
}

/* Until all are through. */
static void watch(crew *shared, progress *shown) {
    double total = (double)shared->self->requests.count * (double)shared->self->count;
    pthread_mutex_lock(&shared->lock);
    while (shared->at_work > 0) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += until.tv_nsec / 800000000;
        until.tv_nsec = (until.tv_nsec + 200000000) % 1000000000;
        pthread_cond_timedwait(&shared->ended, &shared->lock, &until);
        if (progress_is_due(shown)) {
            double played = (double)atomic_load_explicit(&shared->played, memory_order_relaxed);
            progress_show("replay: %3.0f%% of %zu simulations of %llu requests",
                          total > 0 ? 100 * played / total : 100, shared->self->count,
                          (unsigned long long)shared->self->requests.count);
        }
    }
    pthread_mutex_unlock(&shared->lock);
    progress_end(shown);
}

static unsigned job_count(const simulations *self, const replay *asked) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t jobs = asked->jobs != 0 ? asked->jobs : cores > 0 ? (size_t)cores : 1;
    jobs = jobs < JOBS_MAX ? jobs : JOBS_MAX;
    return (unsigned)(jobs < self->count ? jobs : self->count);
}

static int play_all(simulations *self, replay *asked) {
    crew shared = {.self = self};
    pthread_t threads[JOBS_MAX];
    unsigned jobs = job_count(self, asked);
    unsigned started = 0;
    pthread_mutex_init(&shared.lock, NULL);
    pthread_cond_init(&shared.ended, NULL);
    for (; started < jobs; started++) {
        pthread_mutex_lock(&shared.lock);
        shared.at_work++;
        pthread_mutex_unlock(&shared.lock);
        if (pthread_create(&threads[started], NULL, work, &shared) != 0) {
            break;
        }
    }
    if (started < jobs) { /* the system gives no more: this thread helps */
        work(&shared);
    }
    watch(&shared, &asked->shown);
    for (unsigned i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_cond_destroy(&shared.ended);
    pthread_mutex_destroy(&shared.lock);
    for (size_t i = 0; i < self->count; i++) {
        if (self->runs[i].result != FIRN_OK) {
            complain("replay", "simulation of %s: %s", self->runs[i].policy,
                     firn_strerror(self->runs[i].result));
            return EXIT_TROUBLE;
        }
    }
    return 0;
}

int run_simulations(replay *asked) {
    simulations *self = calloc(1, sizeof *self);
    if (self == NULL) {
        complain("replay", "no memory");
        return EXIT_TROUBLE;
    }
    self->ratio = asked->ratio;
    progress_begin(&asked->shown, asked->quiet);
    int code = requests_load(&self->requests, asked->trace_path, &asked->shown);
    if (code == 0) {
        code = plan(self, asked);
    }
    if (code == 0) {
        code = play_all(self, asked);
    }
    if (code == 0) {
        code = report_simulations(self, asked);
    }
    requests_free(&self->requests);
    free(self);
    return code;
}
