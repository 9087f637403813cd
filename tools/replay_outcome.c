/* What the simulations of `firn replay --capacity` found: a table or lines of JSON, a plot, and
 * which size and policy the figures speak for. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "plot.h"
#include "replay_simulate.h"
#include "tool.h"

/* So much below the best counts as good enough. */
#define GOOD_ENOUGH 0.01

static double ratio(uint64_t part, uint64_t whole) {
    return whole > 0 ? (double)part / (double)whole : 0;
}

static double hit_ratio(const simulations *self, const simulated *run) {
    return ratio(run->hot_hits + run->cold_hits, self->requests.gets);
}

static const simulated *best_of(const simulations *self) {
    const simulated *best = &self->runs[0];
    for (size_t i = 1; i < self->count; i++) {
        const simulated *run = &self->runs[i];
        double more = hit_ratio(self, run) - hit_ratio(self, best);
        best = more > 0 || (more >= 0 && run->hot < best->hot) ? run : best;
    }
    return best;
}

/* The smallest that is nearly as good as the best; of its size, the best. */
static const simulated *recommended_of(const simulations *self) {
    const simulated *best = best_of(self);
    double enough = hit_ratio(self, best) - GOOD_ENOUGH;
    const simulated *chosen = best;
    for (size_t i = 0; i < self->count; i++) {
        const simulated *run = &self->runs[i];
        bool good = hit_ratio(self, run) >= enough;
        if (good && (run->hot < chosen->hot ||
                     (run->hot == chosen->hot && hit_ratio(self, run) > hit_ratio(self, chosen)))) {
            chosen = run;
        }
    }
    return chosen;
}

static void print_json(const simulations *self, const simulated *recommended) {
    for (size_t i = 0; i < self->count; i++) {
        const simulated *run = &self->runs[i];
        printf("{\"policy\": \"%s\", \"capacity\": %llu, \"requests\": %llu, \"hits\": %llu, "
               "\"hit_ratio\": %.6f, \"byte_hit_ratio\": %.6f, \"seconds\": %.3f, "
               "\"sampling_rate\": %.9f, ",
               run->policy, (unsigned long long)run->hot, (unsigned long long)self->requests.gets,
               (unsigned long long)(run->hot_hits + run->cold_hits), hit_ratio(self, run),
               ratio(run->hit_bytes, self->requests.get_bytes), (double)run->ns / 1e9,
               self->requests.facts.rate);
        if (run->cold > 0) {
            printf("\"cold_capacity\": %llu, \"hot_hit_ratio\": %.6f, \"written_bytes\": %llu, ",
                   (unsigned long long)run->cold, ratio(run->hot_hits, self->requests.gets),
                   (unsigned long long)run->written);
        }
        printf("\"recommended\": %s}\n", run == recommended ? "true" : "false");
    }
}

static const char *size_text(const simulations *self, uint64_t size, char *buffer) {
    if (self->requests.sized) {
        return humane(size, buffer);
    }
    snprintf(buffer, 32, "%llu objects", (unsigned long long)size);
    return buffer;
}

static void print_table(const simulations *self) {
    const requests *all = &self->requests;
    bool both = self->runs[0].cold > 0;
    char text[32];
    printf("%llu gets of %lu keys, which come to %s; capacity in %s\n",
           (unsigned long long)all->gets, (unsigned long)all->keys,
           size_text(self, all->footprint, text), all->sized ? "bytes" : "objects");
    if (all->facts.rate < 1) {
        printf("the trace has one key of %.1f: capacities are of all keys, and scaled\n",
               1 / all->facts.rate);
    }
    printf("\n%-10s %14s", "policy", "capacity");
    if (both) {
        printf(" %16s %10s %16s", "cold", "hot hits", "written");
    }
    printf(" %10s%s %8s\n", "hit ratio", all->sized ? "   by bytes" : "", "ns each");
    for (size_t i = 0; i < self->count; i++) {
        const simulated *run = &self->runs[i];
        printf("%-10s %14llu", run->policy, (unsigned long long)run->hot);
        if (both) {
            printf(" %16llu %10.4f %16llu", (unsigned long long)run->cold,
                   ratio(run->hot_hits, all->gets), (unsigned long long)run->written);
        }
        printf(" %10.4f", hit_ratio(self, run));
        if (all->sized) {
            printf(" %10.4f", ratio(run->hit_bytes, all->get_bytes));
        }
        printf(" %8.0f\n", all->count > 0 ? (double)run->ns / (double)all->count : 0);
    }
}

static void print_choice(const simulations *self, const simulated *recommended) {
    const simulated *best = best_of(self);
    char text[32];
    printf("\nbest: %s with %s, hit ratio %.4f\n", best->policy, size_text(self, best->hot, text),
           hit_ratio(self, best));
    printf("smallest within %.2f of it: %s with %s, hit ratio %.4f\n", GOOD_ENOUGH,
           recommended->policy, size_text(self, recommended->hot, text),
           hit_ratio(self, recommended));
}

/* ---- the plot ---- */

typedef struct plotted {
    double sizes[SIMULATIONS_MAX];
    char labels[SIMULATIONS_MAX][32];
    double ratios[2 * SIMULATIONS_MAX];
    char title[256];
} plotted;

static void add_lines(plot *shown, plotted *room, const simulations *self) {
    double *next = room->ratios;
    for (size_t i = 0; i < self->count && shown->line_count + 2 <= PLOT_LINES_MAX;
         i += self->size_count) {
        const simulated *runs = &self->runs[i];
        shown->lines[shown->line_count++] = (plot_line){runs->policy, next, false};
        for (size_t n = 0; n < self->size_count; n++) {
            *next++ = hit_ratio(self, &runs[n]);
        }
        if (runs->cold > 0) {
            shown->lines[shown->line_count++] = (plot_line){runs->policy, next, true};
            for (size_t n = 0; n < self->size_count; n++) {
                *next++ = ratio(runs[n].hot_hits, self->requests.gets);
            }
        }
    }
}

static void fill_plot(plot *shown, plotted *room, const simulations *self, const replay *asked) {
    const char *slash = strrchr(asked->trace_path, '/');
    snprintf(room->title, sizeof room->title, "Hit ratio of %s, %llu gets",
             slash != NULL ? slash + 1 : asked->trace_path,
             (unsigned long long)self->requests.gets);
    *shown = (plot){.title = room->title,
                    .x_title = self->requests.sized ? "hot tier" : "hot tier, in objects",
                    .note = self->runs[0].cold > 0 ? "solid: both tiers; dashed: the hot tier alone"
                                                   : NULL,
                    .sizes = room->sizes,
                    .labels = room->labels,
                    .size_count = self->size_count};
    for (size_t i = 0; i < self->size_count; i++) {
        room->sizes[i] = (double)self->sizes[i];
        if (self->requests.sized) {
            humane(self->sizes[i], room->labels[i]);
        } else {
            snprintf(room->labels[i], sizeof room->labels[i], "%llu",
                     (unsigned long long)self->sizes[i]);
        }
    }
    add_lines(shown, room, self);
}

static int write_plot(const simulations *self, const replay *asked) {
    plotted *room = malloc(sizeof *room);
    FILE *out = room != NULL ? fopen(asked->plot_path, "w") : NULL;
    bool good = out != NULL;
    if (good) {
        plot shown;
        fill_plot(&shown, room, self, asked);
        plot_write(out, &shown);
        good = ferror(out) == 0;
        good = fclose(out) == 0 && good;
    }
    if (!good) {
        complain("replay", "cannot write the plot %s: %s", asked->plot_path, strerror(errno));
    }
    free(room);
    return good ? 0 : EXIT_TROUBLE;
}

int report_simulations(const simulations *self, const replay *asked) {
    const simulated *recommended = recommended_of(self);
    if (asked->json) {
        print_json(self, recommended);
    } else {
        print_table(self);
        print_choice(self, recommended);
    }
    int code = asked->plot_path != NULL ? write_plot(self, asked) : 0;
    return output_is_whole("replay") ? code : EXIT_TROUBLE;
}
