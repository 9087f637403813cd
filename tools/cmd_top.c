/* firn top: watches the process that has a store open, by the page it keeps there. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "output.h"
#include "tool.h"
#include "watched.h"

enum {
    RECENT = 8,        /* decisions that are shown */
    HEADER_EVERY = 20, /* plain lines */
};

typedef enum form { SCREEN, LINES, JSON, PROMETHEUS } form;

/* What the page said at one time. */
typedef struct look {
    firn_page_info info;
    firn_stats stats;
    firn_latencies latencies;
} look;

typedef struct watch {
    const char *path;
    firn_page *page;
    form how;
    bool once;
    uint64_t interval_ms;
    look now;
    look before; /* its info.pid is 0: there was none */
    look since;  /* what came between */
    double seconds;
    unsigned lines;
} watch;

static const struct option options[] = {
    {"once", no_argument, NULL, 'o'},
    {"json", no_argument, NULL, 'j'},
    {"prometheus", no_argument, NULL, 'p'},
    {"interval", required_argument, NULL, 'i'},
    {NULL, 0, NULL, 0},
};

static double rate(const watch *self, uint64_t count) {
    return self->seconds > 0 ? (double)count / self->seconds : 0;
}

static double percent(uint64_t part, uint64_t whole) {
    return whole > 0 ? 100.0 * (double)part / (double)whole : 0;
}

/* "850 ns", "1.2 ms", into a buffer of at least 32 bytes; returns it. */
static const char *duration(uint64_t ns, char *buffer) {
    double number = (double)ns;
    if (ns < 1000) {
        snprintf(buffer, 32, "%.0f ns", number);
    } else if (ns < 1000000) {
        snprintf(buffer, 32, "%.1f us", number / 1e3);
    } else if (ns < 1000000000) {
        snprintf(buffer, 32, "%.1f ms", number / 1e6);
    } else {
        snprintf(buffer, 32, "%.1f s", number / 1e9);
    }
    return buffer;
}

static uint64_t age_ms(const look *now) {
    uint64_t now_ms = wall_ms();
    return now_ms > now->info.written_ms ? now_ms - now->info.written_ms : 0;
}

/* ---- the screen ---- */

static void show_head(const watch *self) {
    const look *now = &self->now;
    char opened[40];
    char age[32];
    printf("firn top  %s  pid %llu, %s; opened %s; page %s old\n\n", self->path,
           (unsigned long long)now->info.pid, writer_state(&now->info),
           time_text(now->info.opened_ms, opened), duration(age_ms(now) * 1000000, age));
}

static void show_tiers(const watch *self) {
    const firn_stats *stats = &self->now.stats;
    char a[32];
    char b[32];
    printf("hot    %s of %s, %llu entries; queue %llu entries\n", humane(stats->hot_bytes, a),
           humane(stats->hot_bytes_max, b), (unsigned long long)stats->hot_entries,
           (unsigned long long)stats->queued_entries);
    printf("cold   %s of %s, %llu records; journal %llu\n", humane(stats->cold_file_bytes, a),
           humane(stats->cold_bytes_max, b), (unsigned long long)stats->cold_entries,
           (unsigned long long)stats->journal_entries);
}

static void show_rates(const watch *self) {
    const firn_stats *since = &self->since.stats;
    const struct {
        const char *name;
        uint64_t count;
    } rates[] = {
        {"gets", since->gets},
        {"puts", since->puts},
        {"deletes", since->deletes},
        {"evictions", since->evictions},
        {"demotions", since->demotions},
        {"promotions", since->promotions},
        {"declined", since->promotions_declined},
        {"reclaimed", since->reclaimed},
        {"expired", since->expired},
        {"commits", since->cold_commits},
        {"syncs", since->syncs},
        {"waits", since->backpressure_waits},
    };
    printf("hits   hot %.1f %%, cold %.1f %%, misses %.1f %%\n\n",
           percent(since->hot_hits, since->gets), percent(since->cold_hits, since->gets),
           percent(since->misses, since->gets));
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        printf("%-10s %10.1f /s%s", rates[i].name, rate(self, rates[i].count),
               i % 3 == 2 ? "\n" : "   ");
    }
    uint64_t lost = since->dropped_memory_only + since->dropped_backpressure +
                    since->dropped_too_large + since->dropped_unencoded;
    uint64_t errors = since->damaged + since->write_errors + since->read_errors;
    if (lost > 0 || errors > 0) {
        printf("lost   %llu entries; errors %llu\n", (unsigned long long)lost,
               (unsigned long long)errors);
    }
}

static void show_latencies(const watch *self) {
    printf("\n%-15s %10s %10s %10s %10s %10s %10s %10s\n", "", "timed", "mean", "p50", "p90", "p99",
           "p999", "max");
    for (unsigned i = 0; i < FIRN_LATENCY_COUNT; i++) {
        const firn_latency *one = &self->since.latencies.of[i];
        uint64_t count = firn_latency_count(one);
        if (count == 0) {
            continue;
        }
        const uint64_t times[] = {
            firn_latency_mean_ns(one),
            firn_latency_quantile_ns(one, 0.5),
            firn_latency_quantile_ns(one, 0.9),
            firn_latency_quantile_ns(one, 0.99),
            firn_latency_quantile_ns(one, 0.999),
            one->max_ns,
        };
        printf("%-15s %10llu", firn_latency_name(i), (unsigned long long)count);
        for (size_t j = 0; j < sizeof times / sizeof times[0]; j++) {
            char text[32];
            printf(" %10s", duration(times[j], text));
        }
        putchar('\n');
    }
}

static void show_decisions(const watch *self) {
    firn_decision recent[RECENT];
    size_t count;
    if (firn_page_decisions(self->page, NULL, 0, recent, RECENT, &count) != FIRN_OK || count == 0) {
        return;
    }
    puts("\nlast decisions");
    for (size_t i = 0; i < count; i++) {
        char text[40];
        printf("  %s  %016llx  %s: %s\n", time_text(recent[i].time_ms, text),
               (unsigned long long)recent[i].hash, firn_decision_name(recent[i].kind),
               firn_decision_reason(recent[i].reason));
    }
}

static void show_screen(const watch *self) {
    if (!self->once) {
        fputs("\033[H\033[J", stdout); /* to the top, and clear what follows */
    }
    show_head(self);
    show_tiers(self);
    show_rates(self);
    show_latencies(self);
    show_decisions(self);
}

/* ---- lines ---- */

static void show_line(const watch *self) {
    const firn_stats *since = &self->since.stats;
    if (self->lines % HEADER_EVERY == 0) {
        printf("%-27s %10s %6s %6s %6s %10s %10s %10s %8s %10s %10s\n", "time", "gets/s", "hot%",
               "cold%", "miss%", "puts/s", "evict/s", "demote/s", "promote/s", "hot p50",
               "cold p99");
    }
    char written[40];
    char hot[32];
    char cold[32];
    printf(
        "%-27s %10.0f %6.1f %6.1f %6.1f %10.0f %10.0f %10.0f %8.0f %10s %10s\n",
        time_text(self->now.info.written_ms, written), rate(self, since->gets),
        percent(since->hot_hits, since->gets), percent(since->cold_hits, since->gets),
        percent(since->misses, since->gets), rate(self, since->puts), rate(self, since->evictions),
        rate(self, since->demotions), rate(self, since->promotions),
        duration(firn_latency_quantile_ns(&self->since.latencies.of[FIRN_LATENCY_GET_HOT], 0.5),
                 hot),
        duration(firn_latency_quantile_ns(&self->since.latencies.of[FIRN_LATENCY_GET_COLD], 0.99),
                 cold));
}

/* ---- JSON ---- */

static void json_latencies(const watch *self) {
    fputs(", \"latencies\": {", stdout);
    for (unsigned i = 0; i < FIRN_LATENCY_COUNT; i++) {
        const firn_latency *one = &self->since.latencies.of[i];
        printf("%s\"%s\": {\"every\": %u, \"timed\": %llu, \"mean_ns\": %llu, \"p50_ns\": %llu, "
               "\"p90_ns\": %llu, \"p99_ns\": %llu, \"p999_ns\": %llu, \"max_ns\": %llu}",
               i > 0 ? ", " : "", firn_latency_name(i), firn_latency_every(i),
               (unsigned long long)firn_latency_count(one),
               (unsigned long long)firn_latency_mean_ns(one),
               (unsigned long long)firn_latency_quantile_ns(one, 0.5),
               (unsigned long long)firn_latency_quantile_ns(one, 0.9),
               (unsigned long long)firn_latency_quantile_ns(one, 0.99),
               (unsigned long long)firn_latency_quantile_ns(one, 0.999),
               (unsigned long long)one->max_ns);
    }
    putchar('}');
}

static void json_stats(const watch *self) {
    const char *name;
    uint64_t value;
    fputs(", \"stats\": {", stdout);
    for (unsigned i = 0; (name = firn_stats_field(&self->now.stats, i, &value)) != NULL; i++) {
        printf("%s\"%s\": %llu", i > 0 ? ", " : "", name, (unsigned long long)value);
    }
    fputs("}, \"since\": {", stdout);
    bool first = true;
    for (unsigned i = 0; (name = firn_stats_field(&self->since.stats, i, &value)) != NULL; i++) {
        if (firn_stats_is_counter(i)) {
            printf("%s\"%s\": %llu", first ? "" : ", ", name, (unsigned long long)value);
            first = false;
        }
    }
    putchar('}');
}

static void show_json(const watch *self) {
    const firn_page_info *info = &self->now.info;
    printf("{\"pid\": %llu, \"state\": \"%s\", \"opened_ms\": %llu, \"written_ms\": %llu, "
           "\"age_ms\": %llu, \"seconds\": %.3f",
           (unsigned long long)info->pid, writer_state(&self->now.info),
           (unsigned long long)info->opened_ms, (unsigned long long)info->written_ms,
           (unsigned long long)age_ms(&self->now), self->seconds);
    json_stats(self);
    json_latencies(self);
    firn_decision recent[RECENT];
    size_t count;
    if (firn_page_decisions(self->page, NULL, 0, recent, RECENT, &count) != FIRN_OK) {
        count = 0;
    }
    fputs(", \"decisions\": [", stdout);
    for (size_t i = 0; i < count; i++) {
        printf("%s", i > 0 ? ", " : "");
        json_decision(&recent[i]);
    }
    puts("]}");
}

static int write_text(void *context, const char *text, size_t size) {
    return fwrite(text, 1, size, context) == size ? 0 : FIRN_EIO;
}

/* ---- the whole ---- */

/* Looks at the page; what came since the last look, or since the store was opened. */
static int look_again(watch *self) {
    self->before = self->now;
    self->now.info.size = sizeof self->now.info;
    self->now.stats.size = sizeof self->now.stats;
    self->now.latencies.size = sizeof self->now.latencies;
    int result =
        firn_page_read(self->page, &self->now.info, &self->now.stats, &self->now.latencies);
    if (result != FIRN_OK) {
        complain("top", "%s: %s", self->path,
                 result == FIRN_AGAIN ? "the page is being written all the while, or its process "
                                        "died over it"
                                      : firn_strerror(result));
        return result;
    }
    const look *now = &self->now;
    look *before = &self->before;
    bool same = before->info.pid == now->info.pid && before->info.opened_ms == now->info.opened_ms;
    if (!same) { /* a new process, or the first look */
        memset(before, 0, sizeof *before);
        before->stats.size = sizeof before->stats;
        before->latencies.size = sizeof before->latencies;
    }
    self->since.stats.size = sizeof self->since.stats;
    self->since.latencies.size = sizeof self->since.latencies;
    firn_stats_delta(&before->stats, &now->stats, &self->since.stats);
    firn_latencies_delta(&before->latencies, &now->latencies, &self->since.latencies);
    self->seconds = (double)(now->info.uptime_ns - before->info.uptime_ns) / 1e9;
    return FIRN_OK;
}

static int show(watch *self) {
    switch (self->how) {
    case SCREEN:
        show_screen(self);
        break;
    case LINES:
        show_line(self);
        break;
    case JSON:
        show_json(self);
        break;
    case PROMETHEUS:
        return firn_write_metrics(&self->now.stats, &self->now.latencies, self->path, write_text,
                                  stdout);
    }
    self->lines++;
    return FIRN_OK;
}

/* Until the process is gone, or the reader is. */
static int watch_on(watch *self) {
    for (;;) {
        int result = look_again(self);
        if (result != FIRN_OK) {
            return exit_code(result);
        }
        /* Nothing is told twice: a page that did not change says nothing of the time since. */
        if ((self->lines == 0 || self->seconds > 0 || self->how == SCREEN) &&
            (show(self) != FIRN_OK || ferror(stdout))) {
            return EXIT_TROUBLE;
        }
        if (!output_is_whole("top")) {
            return EXIT_TROUBLE;
        }
        if (self->once || self->now.info.closed || !self->now.info.alive) {
            return 0;
        }
        struct timespec pause = {(time_t)(self->interval_ms / 1000),
                                 (long)(self->interval_ms % 1000) * 1000000};
        while (nanosleep(&pause, &pause) != 0 && errno == EINTR) {
        }
    }
}

static bool parse(watch *self, int argc, char **argv) {
    int letter;
    bool good = true;
    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (letter) {
        case 'o':
            self->once = true;
            break;
        case 'j':
            self->how = JSON;
            break;
        case 'p':
            self->how = PROMETHEUS;
            self->once = true;
            break;
        case 'i':
            if (!parse_age(optarg, &self->interval_ms) || self->interval_ms == 0) {
                misuse("top", "--interval: '%s' is no time such as 2s or 500ms", optarg);
                return false;
            }
            break;
        default:
            fprintf(stderr, "Try 'firn top --help'.\n");
            good = false;
        }
    }
    return good;
}

static int run(int argc, char **argv) {
    static watch self; /* large */
    self.interval_ms = 1000;
    self.how = isatty(STDOUT_FILENO) ? SCREEN : LINES;
    if (!parse(&self, argc, argv)) {
        return EXIT_USAGE;
    }
    if (optind != argc - 1) {
        return misuse("top", optind == argc ? "which store?" : "one store at a time");
    }
    if (self.once && self.how == LINES) {
        self.how = SCREEN;
    }
    self.path = argv[optind];
    int result = open_page("top", self.path, &self.page);
    if (result != FIRN_OK) {
        return exit_code(result);
    }
    int code = watch_on(&self);
    firn_page_close(self.page);
    return code;
}

const command command_top = {
    "top",
    "watch the process that has a store open",
    "Usage: firn top [OPTION...] STORE\n\n"
    "Rates, hit ratios and latencies of a running process, by the page that it keeps in its "
    "store,\n"
    "until it closes it. It is neither stopped nor slowed. The first figures are since it opened\n"
    "the store, then since the last. On a terminal the screen is refreshed, else a line is "
    "written\n"
    "each time.\n\n"
    "      --once            tell once, and end\n"
    "      --interval TIME   between looks: 1s is the default\n"
    "      --json            an object of JSON each time\n"
    "      --prometheus      once, all in the text format of Prometheus\n"
    "      --help            this text\n",
    run,
};
