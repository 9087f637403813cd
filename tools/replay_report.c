/* What `firn replay` found, for people and as JSON. */
#include <stdio.h>

#include "replay.h"

enum { WINDOWS_SHOWN = 20 };

static double ratio(uint64_t a, uint64_t b) {
    return b > 0 ? (double)a / (double)b : 0;
}

typedef struct fact {
    const char *name;
    double value; /* below 0: there is none */
    int digits;
} fact;

/* The first window whose hot hit ratio was at least `target`; NULL: none was. */
static const window *reached(const half *part, double target) {
    for (unsigned i = 0; i < part->window_count; i++) {
        if (part->windows[i].hot_ratio >= target) {
            return &part->windows[i];
        }
    }
    return NULL;
}

typedef struct printer {
    bool json;
    bool begun;
} printer;

static void print_name(printer *out, const char *name) {
    if (out->json) {
        printf("%s\"%s\": ", out->begun ? ", " : "{", name);
    } else {
        printf("%-32s ", name);
    }
    out->begun = true;
}

static void print_text(printer *out, const char *name, const char *text) {
    print_name(out, name);
    if (out->json) {
        json_text(stdout, text);
    } else {
        puts(text);
    }
}

static void print_facts(printer *out, const fact *facts, size_t count) {
    for (size_t i = 0; i < count; i++) {
        print_name(out, facts[i].name);
        if (facts[i].value < 0) {
            fputs(out->json ? "null" : "-", stdout);
        } else {
            printf("%.*f", facts[i].digits, facts[i].value);
        }
        if (!out->json) {
            putchar('\n');
        }
    }
}

#define PRINT_FACTS(out, facts) print_facts(out, facts, sizeof(facts) / sizeof *(facts))

static void print_setting(printer *out, const replay *self, uint64_t requests) {
    print_text(out, "policy", self->options.hot_policy);
    print_text(out, "admission", self->options.admission);
    print_text(out, "demotion", self->options.demotion);
    print_text(out, "promotion", self->options.promotion);
    const fact facts[] = {
        {"requests", (double)requests, 0},
        {"distinct_keys", self->total > 0 ? (double)self->distinct : -1, 0},
        {"footprint_bytes", self->total > 0 ? (double)self->footprint : -1, 0},
        {"hot_bytes_max", (double)self->options.hot_bytes, 0},
        {"cold_bytes_max", self->hot_only ? 0 : (double)self->options.cold_bytes, 0},
        {"sampling_rate", self->rate, 6},
    };
    PRINT_FACTS(out, facts);
}

/* Of a get, microseconds: what misses cost, and hits below. */
static double mean_cost(const replay *self, const half *before, const half *after) {
    uint64_t gets = before->stats.gets + after->stats.gets;
    double cold_hits = (double)(before->stats.cold_hits + after->stats.cold_hits);
    double us = before->missed_us + after->missed_us + cold_hits * (double)self->cold_us;
    return gets > 0 ? us / (double)gets : 0;
}

static void print_hits(printer *out, const replay *self, const half *before, const half *after) {
    const firn_stats *a = &before->stats;
    const firn_stats *b = &after->stats;
    uint64_t gets = a->gets + b->gets;
    const fact facts[] = {
        {"hot_hit_ratio", ratio(a->hot_hits + b->hot_hits, gets), 4},
        {"cold_hit_ratio", ratio(a->cold_hits + b->cold_hits, gets), 4},
        {"hit_ratio", ratio(gets - a->misses - b->misses, gets), 4},
        {"byte_hit_ratio",
         1 - ratio(before->missed_bytes + after->missed_bytes,
                   before->value_bytes + after->value_bytes),
         4},
        {"misses", (double)(a->misses + b->misses), 0},
        {"mean_cost_us", mean_cost(self, before, after), 2},
        {"refused_too_large", (double)(before->refused + after->refused), 0},
        {"wrong_values", (double)(before->wrong + after->wrong), 0},
    };
    PRINT_FACTS(out, facts);
}

static void print_movements(printer *out, const firn_stats *a, const firn_stats *b) {
    const fact facts[] = {
        {"promotions", (double)(a->promotions + b->promotions), 0},
        {"promotions_declined", (double)(a->promotions_declined + b->promotions_declined), 0},
        {"demotions_written", (double)(a->demotions + b->demotions), 0},
        {"demotions_clean", (double)(a->clean_demotions + b->clean_demotions), 0},
        {"demotions_refused", (double)(a->demotions_refused + b->demotions_refused), 0},
        {"admissions_refused", (double)(a->admissions_refused + b->admissions_refused), 0},
        {"writes", (double)(a->writes + b->writes), 0},
        {"written_bytes", (double)(a->cold_stored_bytes + b->cold_stored_bytes), 0},
        {"dropped_memory_only", (double)(a->dropped_memory_only + b->dropped_memory_only), 0},
        {"dropped_backpressure", (double)(a->dropped_backpressure + b->dropped_backpressure), 0},
        {"dropped_too_large", (double)(a->dropped_too_large + b->dropped_too_large), 0},
        {"reclaimed", (double)(a->reclaimed + b->reclaimed), 0},
        {"expired", (double)(a->expired + b->expired), 0},
        {"collisions", (double)(a->collisions + b->collisions), 0},
        {"damaged", (double)(a->damaged + b->damaged), 0},
        {"backpressure_waits", (double)(a->backpressure_waits + b->backpressure_waits), 0},
        {"backpressure_ms", (double)(a->backpressure_ns + b->backpressure_ns) / 1e6, 1},
    };
    PRINT_FACTS(out, facts);
}

static void print_store(printer *out, const firn_store_info *store) {
    const fact facts[] = {
        {"cold_entries", (double)store->entries, 0},
        {"bytes_on_disk", (double)store->file_bytes, 0},
        {"live_bytes_on_disk", (double)store->live_bytes, 0},
        {"logical_bytes", (double)store->value_bytes, 0},
        {"disk_over_logical", ratio(store->file_bytes, store->value_bytes), 3},
        {"compression_ratio", ratio(store->value_bytes, store->stored_bytes), 2},
    };
    PRINT_FACTS(out, facts);
}

static void print_times(printer *out, const half *before, const half *after) {
    uint64_t ns = before->ns + after->ns;
    const fact facts[] = {
        {"seconds", (double)ns / 1e9, 3},
        {"requests_per_second",
         ns > 0 ? (double)(before->requests + after->requests) * 1e9 / (double)ns : 0, 0},
        {"open_ms", (double)before->open_ns / 1e6, 2},
        {"close_ms", (double)before->close_ns / 1e6, 2},
    };
    PRINT_FACTS(out, facts);
}

static void print_windows(printer *out, const half *after) {
    unsigned count = after->window_count < WINDOWS_SHOWN ? after->window_count : WINDOWS_SHOWN;
    print_name(out, "hot_hit_ratio_windows");
    for (unsigned i = 0; i < count; i++) {
        printf("%s%.3f", i > 0 ? (out->json ? ", " : " ") : (out->json ? "[" : ""),
               after->windows[i].hot_ratio);
    }
    fputs(out->json ? (count > 0 ? "]" : "[]") : "\n", stdout);
}

/* A restart is warm again when a window's hot hit ratio is at least nine tenths of what it was
 * just before. The first open, if the store was new, is the cold start to compare with. */
static void print_restart(printer *out, const half *before, const half *after) {
    double target = 0.9 * before->tail_hot_ratio;
    const window *cold = reached(before, target);
    const window *warm = reached(after, target);
    const fact facts[] = {
        {"reopen_ms", (double)after->open_ns / 1e6, 2},
        {"first_answer_ms", (double)after->first_ns / 1e6, 2},
        {"warmed", (double)after->stats.warmed, 0},
        {"hot_hit_ratio_first_part", ratio(before->stats.hot_hits, before->stats.gets), 4},
        {"hit_ratio_first_part",
         ratio(before->stats.gets - before->stats.misses, before->stats.gets), 4},
        {"hot_hit_ratio_second_part", ratio(after->stats.hot_hits, after->stats.gets), 4},
        {"hit_ratio_second_part", ratio(after->stats.gets - after->stats.misses, after->stats.gets),
         4},
        {"hot_hit_ratio_before_restart", before->tail_hot_ratio, 4},
        {"warm_again_after_requests", warm != NULL ? (double)warm->requests : -1, 0},
        {"warm_again_after_ms", warm != NULL ? (double)warm->ns / 1e6 : -1, 2},
        {"cold_start_requests", cold != NULL ? (double)cold->requests : -1, 0},
        {"window_requests", after->window_count > 0 ? (double)after->windows[0].requests : -1, 0},
    };
    PRINT_FACTS(out, facts);
    print_windows(out, after);
}

void report_replay(const replay *self, const replay_result *result) {
    const half *before = &result->before;
    const half *after = &result->after;
    printer out = {.json = self->json};
    print_setting(&out, self, before->requests + after->requests);
    print_hits(&out, self, before, after);
    print_movements(&out, &before->stats, &after->stats);
    if (self->store_path != NULL) {
        print_store(&out, &result->store);
    }
    print_times(&out, before, after);
    if (self->restart) {
        print_restart(&out, before, after);
    }
    if (self->json) {
        puts("}");
    }
}
