/* See plot.h. The colours keep apart for those who see colours differently (Okabe and Ito 2008),
 * and are neither light nor dark. */
#include "plot.h"

#include <math.h>

#include "output.h"

enum {
    WIDTH = 820,
    HEIGHT = 460,
    LEFT = 64,
    RIGHT = 660,
    TOP = 48,
    BOTTOM = 400,
    LABEL_GAP = 62, /* between labels of sizes, at the least */
    TICKS_MAX = 8,
};

static const char *const colours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00",
                                      "#56b4e9", "#8c6bb1", "#999933", "#b05060"};

/* What of the ratios is shown: from low to high, with a line each step. */
typedef struct range {
    double low;
    double high;
    double step;
} range;

static range range_of(const plot *self) {
    static const double steps[] = {0.005, 0.01, 0.02, 0.05, 0.1, 0.2};
    double low = 1;
    double high = 0;
    for (size_t i = 0; i < self->line_count; i++) {
        for (size_t n = 0; n < self->size_count; n++) {
            low = fmin(low, self->lines[i].ratios[n]);
            high = fmax(high, self->lines[i].ratios[n]);
        }
    }
    range found = {0, 1, 0.2};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        found.step = steps[i];
        found.low = floor(low / found.step) * found.step;
        found.high = fmax(ceil(high / found.step), floor(low / found.step) + 1) * found.step;
        if ((found.high - found.low) / found.step <= TICKS_MAX) {
            break;
        }
    }
    return found;
}

static double x_of(const plot *self, size_t number) {
    double first = log(self->sizes[0]);
    double span = log(self->sizes[self->size_count - 1]) - first;
    double part = span > 0 ? (log(self->sizes[number]) - first) / span : 0.5;
    return LEFT + part * (RIGHT - LEFT);
}

static double y_of(const range *shown, double ratio) {
    return BOTTOM - (ratio - shown->low) / (shown->high - shown->low) * (BOTTOM - TOP);
}

static void write_text(FILE *out, double x, double y, const char *anchor, const char *text) {
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
    xml_text(out, text);
    fputs("</text>\n", out);
}

static void write_axes(FILE *out, const plot *self, const range *shown) {
    char text[32];
    for (int i = 0; shown->low + i * shown->step < shown->high + shown->step / 2; i++) {
        double ratio = shown->low + i * shown->step;
        double y = y_of(shown, ratio);
        fprintf(out, "<path class=\"grid\" d=\"M%d %.1fH%d\"/>\n", LEFT, y, RIGHT);
        snprintf(text, sizeof text, shown->step < 0.01 ? "%.1f %%" : "%.0f %%", 100 * ratio);
        write_text(out, LEFT - 8, y + 4, "end", text);
    }
    double last = -LABEL_GAP;
    for (size_t i = 0; i < self->size_count; i++) {
        double x = x_of(self, i);
        fprintf(out, "<path class=\"axis\" d=\"M%.1f %dv5\"/>\n", x, BOTTOM);
        if (x - last >= LABEL_GAP) {
            write_text(out, x, BOTTOM + 20, "middle", self->labels[i]);
            last = x;
        }
    }
    fprintf(out, "<path class=\"axis\" d=\"M%d %dV%dH%d\"/>\n", LEFT, TOP, BOTTOM, RIGHT);
    write_text(out, (LEFT + RIGHT) / 2.0, BOTTOM + 44, "middle", self->x_title);
}

static void write_line(FILE *out, const plot *self, const range *shown, const plot_line *line,
                       const char *colour) {
    fprintf(out, "<path class=\"line\" stroke=\"%s\"%s d=\"", colour,
            line->dashed ? " stroke-dasharray=\"5 4\"" : "");
    for (size_t i = 0; i < self->size_count; i++) {
        fprintf(out, "%c%.1f %.1f", i == 0 ? 'M' : 'L', x_of(self, i),
                y_of(shown, line->ratios[i]));
    }
    fputs("\"/>\n", out);
    for (size_t i = 0; i < self->size_count && !line->dashed; i++) {
        fprintf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"><title>", x_of(self, i),
                y_of(shown, line->ratios[i]), colour);
        xml_text(out, line->name);
        fputs(", ", out);
        xml_text(out, self->labels[i]);
        fprintf(out, ": %.2f %%</title></circle>\n", 100 * line->ratios[i]);
    }
}

void plot_write(FILE *out, const plot *self) {
    range shown = range_of(self);
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
            "font-family=\"sans-serif\" font-size=\"12\">\n"
            "<style>\n"
            ".back{fill:#fff} text{fill:#222} .grid{stroke:#ddd} .axis{stroke:#555;fill:none}\n"
            ".line{fill:none;stroke-width:2}\n"
            "@media (prefers-color-scheme: dark){.back{fill:#16181d} text{fill:#ddd} "
            ".grid{stroke:#333} .axis{stroke:#999}}\n"
            "</style>\n"
            "<rect class=\"back\" width=\"%d\" height=\"%d\"/>\n",
            WIDTH, HEIGHT, WIDTH, HEIGHT);
    write_text(out, LEFT, TOP - 22, "start", self->title);
    write_axes(out, self, &shown);
    size_t colour = 0;
    double legend_y = TOP + 8;
    for (size_t i = 0; i < self->line_count; i++) {
        const plot_line *line = &self->lines[i];
        colour += i > 0 && !line->dashed;
        const char *stroke = colours[colour % (sizeof colours / sizeof colours[0])];
        write_line(out, self, &shown, line, stroke);
        if (!line->dashed) {
            fprintf(out, "<path class=\"line\" stroke=\"%s\" d=\"M%d %.1fh22\"/>\n", stroke,
                    RIGHT + 20, legend_y - 4);
            write_text(out, RIGHT + 50, legend_y, "start", line->name);
            legend_y += 20;
        }
    }
    if (self->note != NULL) {
        write_text(out, LEFT, HEIGHT - 6, "start", self->note);
    }
    fputs("</svg>\n", out);
}
