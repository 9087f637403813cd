/* A plot of hit ratios over sizes as SVG, which browsers show in light and dark. Knows nothing of
 * where the numbers come from. */
#ifndef FIRN_TOOLS_PLOT_H
#define FIRN_TOOLS_PLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { PLOT_LINES_MAX = 32 };

typedef struct plot_line {
    const char *name;
    const double *ratios; /* one for each size; 0 to 1 */
    bool dashed;          /* and not in the legend: goes with the line before, in its colour */
} plot_line;

typedef struct plot {
    const char *title;
    const char *x_title;
    const char *note;    /* below the legend; NULL: none */
    const double *sizes; /* above 0, growing */
    char (*labels)[32];  /* of the sizes */
    size_t size_count;   /* at least 1 */
    plot_line lines[PLOT_LINES_MAX];
    size_t line_count;
} plot;

void plot_write(FILE *out, const plot *self);

#endif
