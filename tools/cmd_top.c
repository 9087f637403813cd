/* firn top: watches the process that has a store open for writing, by its page; it is neither
 * stopped nor asked. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "output.h"
#include "tool.h"
#include "watched.h"

enum { TRIES = 50, TRY_NS = 2000000 };

typedef struct look {
    firn_page_info info;
    firn_stats stats;
    firn_latencies latencies;
} look;

/* A page that is being written is looked at again. */
static int read_page(firn_page *page, look *to) {
    int result = FIRN_AGAIN;
    to->info = (firn_page_info)FIRN_PAGE_INFO_INIT;
    to->stats = (firn_stats)FIRN_STATS_INIT;
    to->latencies.size = sizeof to->latencies;
    for (unsigned i = 0; i < TRIES && result == FIRN_AGAIN; i++) {
        result = firn_page_read(page, &to->info, &to->stats, &to->latencies);
        if (result == FIRN_AGAIN) {
            nanosleep(&(struct timespec){0, TRY_NS}, NULL);
        }
    }
    if (result != FIRN_OK) {
        complain("top", "the page of the store cannot be read: %s", firn_strerror(result));
    }
    return result;
}

static double ratio(uint64_t part, uint64_t whole) {
    return whole > 0 ? (double)part / (double)whole : 0;
}

/* now: all since the open, or what came since the last look, which took so many seconds. */
static void print_text(const look *now, const look *all, double seconds) {
    const firn_stats *stats = &now->stats;
    char hot[32];
    char hot_max[32];
    char cold[32];
    printf("pid %llu, %s, open for %.0f s\n", (unsigned long long)all->info.pid,
           writer_state(&all->info), (double)all->info.uptime_ns / 1e9);
    printf("%-10s %.0f gets/s, %.1f %% hot, %.1f %% cold, %.1f %% missed; %.0f puts/s, %.0f "
           "deletes/s\n",
           "requests", (double)stats->gets / seconds, 100 * ratio(stats->hot_hits, stats->gets),
           100 * ratio(stats->cold_hits, stats->gets), 100 * ratio(stats->misses, stats->gets),
           (double)stats->puts / seconds, (double)stats->deletes / seconds);
    printf("%-10s %s of %s in memory, %llu entries; %s in the log, %llu records\n", "holds",
           humane(all->stats.hot_bytes, hot), humane(all->stats.hot_bytes_max, hot_max),
           (unsigned long long)all->stats.hot_entries, humane(all->stats.cold_live_bytes, cold),
           (unsigned long long)all->stats.cold_entries);
    printf("%-10s %.0f evictions/s, %.0f demotions/s, %.0f promotions/s, %.0f reclaimed/s\n",
           "moves", (double)stats->evictions / seconds, (double)stats->demotions / seconds,
           (double)stats->promotions / seconds, (double)stats->reclaimed / seconds);
    printf("%-14s %10s %10s %10s %10s %10s  ns\n", "latency", "timed", "median", "99 %", "99.9 %",
           "longest");
    for (unsigned i = 0; i < FIRN_LATENCY_COUNT; i++) {
        const firn_latency *latency = &now->latencies.of[i];
        uint64_t count = firn_latency_count(latency);
        if (count > 0) {
            printf("%-14s %10llu %10llu %10llu %10llu %10llu\n", firn_latency_name(i),
                   (unsigned long long)count,
                   (unsigned long long)firn_latency_quantile_ns(latency, 0.5),
                   (unsigned long long)firn_latency_quantile_ns(latency, 0.99),
                   (unsigned long long)firn_latency_quantile_ns(latency, 0.999),
                   (unsigned long long)latency->max_ns);
        }
    }
}

static void print_json(const look *now, const look *all, double seconds) {
    printf("{\"pid\": %llu, \"state\": \"%s\", \"written_ms\": %llu, \"uptime_ns\": %llu, "
           "\"seconds\": %.3f, \"stats\": {",
           (unsigned long long)all->info.pid, writer_state(&all->info),
           (unsigned long long)all->info.written_ms, (unsigned long long)all->info.uptime_ns,
           seconds);
    uint64_t value;
    const char *name;
    for (unsigned i = 0; (name = firn_stats_field(&now->stats, i, &value)) != NULL; i++) {
        printf("%s\"%s\": %llu", i > 0 ? ", " : "", name, (unsigned long long)value);
    }
    fputs("}, \"latencies\": {", stdout);
    for (unsigned i = 0; i < FIRN_LATENCY_COUNT; i++) {
        const firn_latency *latency = &now->latencies.of[i];
        printf("%s\"%s\": {\"timed\": %llu, \"mean_ns\": %llu, \"p50_ns\": %llu, \"p99_ns\": %llu, "
               "\"p999_ns\": %llu, \"max_ns\": %llu}",
               i > 0 ? ", " : "", firn_latency_name(i),
               (unsigned long long)firn_latency_count(latency),
               (unsigned long long)firn_latency_mean_ns(latency),
               (unsigned long long)firn_latency_quantile_ns(latency, 0.5),
               (unsigned long long)firn_latency_quantile_ns(latency, 0.99),
               (unsigned long long)firn_latency_quantile_ns(latency, 0.999),
               (unsigned long long)latency->max_ns);
    }
    puts("}}");
}

typedef struct watch {
    firn_page *page;
    bool json;
    bool once;
    uint64_t interval_ms;
    look all;    /* as of the last look */
    look before; /* the one before that */
    look now;    /* what came between */
} watch;

static void show(const watch *self, const look *what, double seconds) {
    if (self->json) {
        print_json(what, &self->all, seconds);
    } else {
        if (!self->once && isatty(STDOUT_FILENO)) {
            fputs("\033[H\033[2J", stdout);
        }
        print_text(what, &self->all, seconds);
    }
}

static int follow(watch *self) {
    int result = read_page(self->page, &self->all);
    if (result != FIRN_OK) {
        return exit_code(result);
    }
    double since_open = (double)self->all.info.uptime_ns / 1e9;
    show(self, &self->all, since_open > 0.001 ? since_open : 0.001);
    while (!self->once && self->all.info.closed == 0 && self->all.info.alive != 0 &&
           fflush(stdout) == 0) {
        self->before = self->all;
        struct timespec pause = {(time_t)(self->interval_ms / 1000),
                                 (long)(self->interval_ms % 1000) * 1000000};
        nanosleep(&pause, NULL);
        result = read_page(self->page, &self->all);
        if (result != FIRN_OK) {
            return exit_code(result);
        }
        uint64_t ns = self->all.info.uptime_ns - self->before.info.uptime_ns;
        if (self->all.info.opened_ms != self->before.info.opened_ms || ns == 0) {
            continue; /* another process, or nothing new */
        }
        self->now.stats.size = sizeof self->now.stats;
        self->now.latencies.size = sizeof self->now.latencies;
        firn_stats_delta(&self->before.stats, &self->all.stats, &self->now.stats);
        firn_latencies_delta(&self->before.latencies, &self->all.latencies, &self->now.latencies);
        show(self, &self->now, (double)ns / 1e9);
    }
    return output_is_whole("top") ? 0 : EXIT_TROUBLE;
}

static const struct option options[] = {
    {"once", no_argument, NULL, 'o'},
    {"interval", required_argument, NULL, 'i'},
    {"json", no_argument, NULL, 'j'},
    {NULL, 0, NULL, 0},
};

static int run(int argc, char **argv) {
    watch *self = calloc(1, sizeof *self);
    int letter;
    if (self == NULL) {
        complain("top", "no memory");
        return EXIT_TROUBLE;
    }
    self->interval_ms = 1000;
    int code = 0;
    while (code == 0 && (letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (letter == 'o') {
            self->once = true;
        } else if (letter == 'j') {
            self->json = true;
        } else if (letter == '?') {
            fprintf(stderr, "Try 'firn top --help'.\n");
            code = EXIT_USAGE;
        } else if (!parse_age(optarg, &self->interval_ms) || self->interval_ms == 0) {
            code = misuse("top", "--interval: '%s' makes no sense here", optarg);
        }
    }
    if (code == 0 && optind != argc - 1) {
        code = misuse("top", optind == argc ? "which store?" : "one store at a time");
    }
    if (code == 0) {
        int result = open_page("top", argv[optind], &self->page);
        code = result == FIRN_OK ? follow(self) : exit_code(result);
        firn_page_close(self->page);
    }
    free(self);
    return code;
}

const command command_top = {
    "top",
    "watch the process that uses a store",
    "Usage: firn top [OPTION...] STORE\n\n"
    "Requests, hits, what is held, what moves, and how long operations take, of the process that "
    "has\n"
    "the store open for writing. It writes a page for this now and then, and is neither stopped "
    "nor\n"
    "asked. First all since it opened the store, then what came since the last look, until it "
    "ends.\n"
    "Of a process that ended, its last state.\n\n"
    "      --once          a single look\n"
    "      --interval AGE  between looks (500ms, 10s, 5m); default 1s\n"
    "      --json          a line of JSON a look\n"
    "      --help          this text\n",
    run,
};
