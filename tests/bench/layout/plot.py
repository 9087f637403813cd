#!/usr/bin/env python3
"""Draws what layout.c measured: layout.md with tables, and layout-*.svg.

Usage: plot.py RESULTS.jsonl FOLDER

Rates in plots are by the processor's time of the process, which other programs on the machine
disturb less than the clock on the wall; the tables have both.
"""

import json
import math
import os
import sys

LAYOUTS = {
    "R": "no index, appended",
    "A": "LMDB, by hash",
    "B": "LMDB, by sequence + index",
    "C": "LMDB, 64 KiB segments + index",
    "D": "1 MiB segments in a file, index in LMDB",
    "E": "as D, index merged at checkpoints",
}
COLOURS = {"R": "#444444", "A": "#b0b7bf", "B": "#ff7f0e", "C": "#9467bd", "D": "#1f77b4",
           "E": "#2ca02c"}
SEGMENTS = {"R": 1 << 20, "A": 0, "B": 0, "C": 64 << 10, "D": 1 << 20, "E": 1 << 20}
SWEEP = 4
BUDGET_MB = (256 << 20) / 1e6


def bytes_name(size):
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return "%d %s" % (size // unit, name)
    return "%d B" % size


def is_plain(row):
    return (row["segment"] == SEGMENTS[row["layout"]] and row["overwrite"] == 0
            and row["sweep"] in (0, SWEEP) and not row.get("mixed"))


def name_of(row):
    name = row["layout"]
    if row["segment"] != SEGMENTS[name]:
        name += ", segments of " + bytes_name(row["segment"])
    if row["sweep"] not in (0, SWEEP):
        name += ", sweep %d/16" % row["sweep"]
    if row["overwrite"]:
        name += ", %d %% overwrites" % row["overwrite"]
    if row.get("mixed"):
        name += ", sizes from 1/16 to 1"
    return name


class Results:
    def __init__(self, path):
        self.rows = {}
        self.names = {}
        with open(path) as file:
            for line in file:
                row = json.loads(line)
                key = (row["size"], name_of(row))
                self.names.setdefault(key, row)
                phase = row["phase"] + (" " + row["way"] if "way" in row else "")
                self.rows.setdefault((key, phase), []).append(row)
        self.sizes = sorted({size for size, _ in self.names})

    def one(self, size, name, phase):
        rows = self.rows.get(((size, name), phase))
        return rows[-1] if rows else None

    def tenths(self, size, name):
        return self.rows.get(((size, name), "steady"), [])

    def plain(self, size):
        return [name for layout in LAYOUTS for (at, name), row in self.names.items()
                if at == size and row["layout"] == layout and is_plain(row)]

    def others(self, size):
        return [name for (at, name), row in self.names.items() if at == size and not is_plain(row)]


def text(x, y, what, anchor="start", size=None, colour="#222"):
    return '<text x="%.1f" y="%.1f" text-anchor="%s" fill="%s"%s>%s</text>' % (
        x, y, anchor, colour, ' font-size="%d"' % size if size else "", what)


def save(path, width, height, parts):
    with open(path, "w") as file:
        file.write('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" '
                   'font-family="sans-serif" font-size="12">\n'
                   '<rect width="100%%" height="100%%" fill="#ffffff"/>\n' % (width, height))
        file.write("\n".join(parts) + "\n</svg>\n")


def bars(path, title, panels, form):
    """panels: (heading, [(name, layout, value)]). Each panel has a scale of its own; the layout
    without an index is a line across the panel where it fits."""
    width, line, left = 720, 20, 80
    y = 44
    parts = [text(16, 26, title, size=15)]
    for heading, entries in panels:
        parts.append(text(16, y + 14, heading, size=13))
        y += 22
        most = max((value for _, layout, value in entries if layout != "R"), default=0)
        for name, layout, value in entries:
            length = (width - left - 120) * min(value / most, 1.0) if most else 0
            over = most and value > most
            parts.append(text(left - 8, y + 13, name, "end"))
            parts.append('<rect x="%d" y="%d" width="%.1f" height="15" fill="%s"/>'
                         % (left, y + 1, length, COLOURS[layout]))
            parts.append(text(left + length + 6, y + 13, form % value + (" (cut)" if over else "")))
            y += line
        y += 10
    y += 8
    for layout, meaning in LAYOUTS.items():
        parts.append('<rect x="16" y="%d" width="10" height="10" fill="%s"/>'
                     % (y, COLOURS[layout]))
        parts.append(text(32, y + 9, "%s: %s" % (layout, meaning), colour="#555"))
        y += 16
    save(path, width, y + 8, parts)


def lines(path, title, panels, logarithmic):
    """panels: (heading, {layout: [(x, y)]}); x is how often the budget was written."""
    width, height, left, across = 360, 190, 56, 2
    parts = [text(16, 26, title, size=15)]
    top = 44
    for i, (heading, series) in enumerate(panels):
        x0 = left + (i % across) * width
        y0 = top + (i // across) * (height + 50)
        plot_w, plot_h = width - left - 14, height - 20
        points = [value for line in series.values() for _, value in line if value > 0]
        if not points:
            continue
        low, high = (min(points), max(points)) if logarithmic else (0, max(points))
        if logarithmic:
            low, high = 10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high))
            high = high if high > low else low * 10
            ticks = [10 ** e for e in range(round(math.log10(low)), round(math.log10(high)) + 1)]
        else:
            high = high or 1
            ticks = [high * k / 4 for k in range(5)]

        def place(x, value):
            part = (math.log10(max(value, low) / low) / math.log10(high / low) if logarithmic
                    else value / high)
            return x0 + plot_w * x / 10, y0 + 20 + plot_h * (1 - part)

        parts.append(text(x0, y0 + 10, heading, size=13))
        for tick in ticks:
            _, y = place(0, tick)
            parts.append('<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#e0e0e0"/>'
                         % (x0, y, x0 + plot_w, y))
            parts.append(text(x0 - 5, y + 4, "%.3g" % tick if tick < 10000 else "%.0e" % tick,
                              "end", 10, "#555"))
        for x in (0, 5, 10):
            at, _ = place(x, low or 0)
            parts.append(text(at, y0 + plot_h + 34, "%d" % x, "middle", 10, "#555"))
        for layout, line in series.items():
            path_points = " ".join("%.1f,%.1f" % place(x, value) for x, value in line)
            parts.append('<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>'
                         % (path_points, COLOURS[layout]))
            for x, value in line:
                parts.append('<circle cx="%.1f" cy="%.1f" r="2.5" fill="%s"/>'
                             % (*place(x, value), COLOURS[layout]))
    rows = (len(panels) + across - 1) // across
    y = top + rows * (height + 50) + 6
    if len(panels) % across:
        x, y_legend = left + width, top + (rows - 1) * (height + 50) + 20
    else:
        x, y_legend, y = 16, y, y + 16 * len(LAYOUTS)
    for layout, meaning in LAYOUTS.items():
        parts.append('<rect x="%d" y="%d" width="10" height="10" fill="%s"/>'
                     % (x, y_legend, COLOURS[layout]))
        parts.append(text(x + 16, y_legend + 9, "%s: %s" % (layout, meaning), colour="#555"))
        y_legend += 18
    parts.append(text(16, y + 8, "across: how often the budget was written; a line that ends early "
                                 "ran out of time", colour="#555"))
    save(path, width * across + 10, y + 20, parts)


def per_cpu_mb(row):
    """Logical megabytes a second of the processor."""
    return row["size"] / row["cpu_us_record"]


def draw(results, folder):
    def panels(value):
        out = []
        for size in results.sizes:
            entries = []
            for name in results.plain(size):
                for label, number in value(size, name):
                    if number is not None:
                        entries.append((label, name[0], number))
            out.append(("values of " + bytes_name(size), entries))
        return out

    def of(phase, figure):
        def value(size, name):
            row = results.one(size, name, phase)
            return [(name, figure(row) if row else None)]
        return value

    def reads(size, name):
        out = []
        for way in ("lmdb", "pread", "mmap"):
            row = results.one(size, name, "read " + way)
            if row:
                label = name if way == "lmdb" else name + " " + way
                out.append((label, row["size"] / row["cpu_us_read"]))
        return out

    def path(name):
        return os.path.join(folder, "layout-%s.svg" % name)

    bars(path("write"), "Filling an empty store (logical MB a second of the processor)",
         panels(of("fill", per_cpu_mb)), "%.0f")
    bars(path("steady"), "Writing at the budget, with eviction (logical MB a second of the processor)",
         panels(of("steady_total", per_cpu_mb)), "%.0f")
    bars(path("read"), "Random reads from the page cache (logical MB a second of the processor)",
         panels(reads), "%.0f")
    bars(path("disk"), "Bytes on disk over logical bytes, after filling",
         panels(of("fill", lambda row: row["disk_over_logical"])), "%.3f")
    bars(path("device"), "Bytes written to the device over logical bytes, at the budget",
         panels(of("steady_total", lambda row: row["device_over_logical"])), "%.2f")

    def series(figure, layouts=LAYOUTS):
        out = []
        for size in results.sizes:
            of_size = {}
            for name in results.plain(size):
                done = 0
                line = []
                for row in results.tenths(size, name):
                    done += row["part"]
                    line.append((done, figure(row)))
                if line and name in layouts:
                    of_size[name] = line
            out.append(("values of " + bytes_name(size), of_size))
        return out

    lines(path("steady-rate"), "Writing at the budget (logical MB a second of the processor)",
          series(per_cpu_mb), True)
    lines(path("steady-file"), "Size of the files over the budget",
          series(lambda row: row["file_mb"] / BUDGET_MB), False)
    lines(path("steady-free"), "Pages in LMDB's free list",
          series(lambda row: max(row["free_pages"], 1), "ABCDE"), True)


def rate(number):
    return "%.0f" % number if number >= 100 else "%.3g" % number


def tables(results, out):
    out.write(
        "Written by `tests/bench/layout/run.sh`; `layout.c` beside it tells what is measured.\n\n"
        "One run each, on a busy machine of two processors: compare layouts by the processor's time\n"
        "(us a record or read), and small differences not at all. Rates are by the wall. A phase that\n"
        "writes had 30 s at 256 B and 12 s above: *budgets written* tells how far of 10 it came.\n"
        "*Disk*: size of the files over logical bytes. *Device*: bytes written to it over logical bytes.\n"
        "Steady: at a budget of 256 MiB. Layouts:\n\n")
    for layout, meaning in LAYOUTS.items():
        out.write("- **%s**: %s\n" % (layout, meaning))
    for size in results.sizes:
        row = next((r for r in (results.one(size, n, "fill") for n in results.plain(size)) if r), None)
        out.write("\n## Values of %s%s\n\n" % (
            bytes_name(size),
            " (records of %.0f B after compression)" % row["record_bytes"] if row else ""))
        out.write("| layout | fill records/s | MB/s | us | disk | device | read us: lmdb or pread | mmap "
                  "| steady records/s | MB/s | us | device | files MB | budgets written |\n"
                  "| --- | " + " | ".join(["--:"] * 13) + " |\n")
        for name in results.plain(size) + results.others(size):
            fill = results.one(size, name, "fill")
            direct = results.one(size, name, "read lmdb") or results.one(size, name, "read pread")
            mapped = results.one(size, name, "read mmap")
            total = results.one(size, name, "steady_total")
            cells = [name]
            cells += [rate(fill["records_s"]), rate(fill["logical_mb_s"]),
                      "%.3g" % fill["cpu_us_record"], "%.3f" % fill["disk_over_logical"],
                      "%.2f" % fill["device_over_logical"]] if fill else [""] * 5
            cells += ["%.3g" % r["cpu_us_read"] if r else "" for r in (direct, mapped)]
            cells += [rate(total["records_s"]), rate(total["logical_mb_s"]),
                      "%.3g" % total["cpu_us_record"], "%.2f" % total["device_over_logical"],
                      "%.0f" % total["file_mb"], "%.2g" % total["times_budget"]] if total else [""] * 6
            out.write("| " + " | ".join(cells) + " |\n")
        out.write("\nWhere the time goes at the budget (percent, by the wall), the processor's time at its "
                  "beginning and end (us a record), and LMDB's free list:\n\n"
                  "| layout | put | index | evict or sweep | commit | sync | us, first tenth "
                  "| us, last | free pages, first | free pages, last | entries | of them dead |\n"
                  "| --- | " + " | ".join(["--:"] * 11) + " |\n")
        for name in results.plain(size) + results.others(size):
            total = results.one(size, name, "steady_total")
            tenths = results.tenths(size, name)
            if not total or not tenths:
                continue
            first, last = tenths[0], tenths[-1]
            cells = [name] + ["%.0f" % (100 * total[part] / total["seconds"])
                              for part in ("put_s", "index_s", "evict_s", "commit_s", "sync_s")]
            cells += ["%.3g" % r["cpu_us_record"] for r in (first, last)]
            cells += ["%d" % first["free_pages"], "%d" % last["free_pages"]]
            entries = last["entries"]
            dead = entries - last["live"]
            cells += ["%d" % entries if entries else ""]
            cells += ["%.0f %%" % (100 * dead / entries)
                      if name.startswith("E") and not last["overwrite"] else ""]
            out.write("| " + " | ".join(cells) + " |\n")


def main():
    if len(sys.argv) != 3 or sys.argv[1] in ("-h", "--help"):
        print(__doc__.strip())
        sys.exit(0 if len(sys.argv) == 2 else 2)
    results = Results(sys.argv[1])
    with open(os.path.join(sys.argv[2], "layout.md"), "w") as out:
        tables(results, out)
    draw(results, sys.argv[2])


main()
