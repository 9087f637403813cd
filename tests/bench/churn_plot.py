#!/usr/bin/env python3
"""Makes a plot in SVG of what churn printed: resident memory over time, against its bound.

Usage: churn_plot.py CHURN.jsonl PLOT.svg
Prints the figures. Needs nothing but Python 3.
"""
import json
import sys

WIDTH, HEIGHT = 720, 330
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 72, 44
POINTS = 600  # a line of the plot has at most that many
LINES = (("bound", "#d62728", "bound: budget, a fifth of it, 12 MiB, and what handles keep"),
         ("rss_max", "#1f77b4", "resident, highest"),
         ("hot_bytes", "#7f7f7f", "the cache's own account"))
MIB = 1 << 20


def thinned(rows):
    """Neighbours become one, with the highest of each figure: no peak is lost."""
    step = max(1, -(-len(rows) // POINTS))
    for i in range(0, len(rows), step):
        part = rows[i:i + step]
        yield {name: max(row[name] for row in part) for name in part[0]}


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1]) as file:
        rows = [json.loads(line) for line in file]
    seconds = rows[-1]["seconds"]
    budget = rows[0]["hot_bytes_max"]
    highest = max(rows, key=lambda row: row["rss_max"])
    nearest = min(rows, key=lambda row: row["bound"] - row["rss_max"])
    top = max(max(row["bound"], row["rss_max"]) for row in rows) * 1.05

    def x(at):
        return LEFT + (WIDTH - LEFT - RIGHT) * at / seconds

    def y(size):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * size / top

    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" '
           'font-size="13">' % (WIDTH, HEIGHT),
           '<rect width="100%" height="100%" fill="#ffffff"/>',
           '<text x="16" y="24" font-size="15" fill="#222">Resident memory through a churn of sizes, '
           'budget %d MiB (MiB by minutes)</text>' % (budget // MIB)]
    for size in range(0, int(top // MIB) + 1, 20):
        out.append('<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/>'
                   % (LEFT, WIDTH - RIGHT, y(size * MIB), y(size * MIB)))
        out.append('<text x="%d" y="%.1f" text-anchor="end" fill="#444">%d</text>'
                   % (LEFT - 8, y(size * MIB) + 4, size))
    for part in range(7):
        at = seconds * part / 6
        out.append('<text x="%.1f" y="%d" text-anchor="middle" fill="#444">%.3g</text>'
                   % (x(at), HEIGHT - BOTTOM + 20, at / 60))
    at = 16
    for name, color, label in LINES:
        points = " ".join("%.1f,%.1f" % (x(row["seconds"]), y(row[name])) for row in thinned(rows))
        out.append('<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5"/>'
                   % (points, color))
        out.append('<rect x="%d" y="42" width="12" height="12" fill="%s"/>' % (at, color))
        out.append('<text x="%d" y="53" fill="#222">%s</text>' % (at + 18, label))
        at += 40 + 7 * len(label)
    out.append("</svg>")
    with open(sys.argv[2], "w") as file:
        file.write("\n".join(out) + "\n")
    print("%.0f s, %d operations: highest %.1f MiB resident, at %.0f s, with %.1f MiB allowed; "
          "nearest to the bound: %.1f MiB below"
          % (seconds, rows[-1]["operations"], highest["rss_max"] / MIB, highest["seconds"],
             highest["bound"] / MIB, (nearest["bound"] - nearest["rss_max"]) / MIB))


if __name__ == "__main__":
    main()
