#!/usr/bin/env python3
"""Compares the hit ratios of firn's eviction policies with those of an independent simulator.

Reads a CSV of the simulator's results (columns trace, cache_size, policy, hit_ratio, ranked_row),
runs `firn replay --tier hot` over TRACE.csv.zst for each trace and capacity in it, and prints a
table in Markdown: the difference of each policy from the simulator's policy of that name, in
points, and for `auto` how many more misses it has than the best online policy of the row. With
--svg it draws the same.

Usage: hit_ratio.py FIRN TRACES_FOLDER [--csv FILE] [--svg FILE] [--jobs N]
Needs nothing but Python 3.
"""
import argparse
import concurrent.futures
import csv
import json
import os
import subprocess
import sys

NAMES = {"LRU": "lru", "SLRU": "slru", "Clock": "clock", "SIEVE": "sieve", "S3-FIFO": "s3fifo",
         "ARC": "arc", "W-TinyLFU-ad": "tinylfu", "GDSF": "gdsf"}
OFFLINE = {"MIN", "Belady", "BeladySize"}


def read_rows(path):
    rows = {}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            if row["ranked_row"] == "1":
                key = (row["trace"], int(row["cache_size"]))
                rows.setdefault(key, {})[row["policy"]] = float(row["hit_ratio"])
    return rows


def simulate(firn, folder, key):
    trace, capacity = key
    command = [firn, "replay", "--tier", "hot", "--policy", "all", "--capacity", str(capacity),
               "--json", "--quiet", os.path.join(folder, trace + ".csv.zst")]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = [json.loads(line) for line in output.splitlines()]
    return {line["policy"]: line["hit_ratio"] for line in lines}


def best_online(row):
    return max((ratio, name) for name, ratio in row.items() if name not in OFFLINE)


def extra_misses(ratio, best):
    return (1 - ratio) / (1 - best) - 1


def print_table(rows, results):
    policies = [name for name in NAMES if any(name in row for row in rows.values())]
    auto = all("auto" in result for result in results.values())
    head = ["trace", "capacity"] + [NAMES[name] for name in policies]
    if auto:
        head += ["best online", "auto", "extra misses"]
    print("| " + " | ".join(head) + " |")
    print("|" + " --- |" * 2 + " --: |" * (len(head) - 2))
    for key, row in rows.items():
        cells = [key[0], str(key[1])]
        for name in policies:
            cells.append("%+.2f" % (100 * (results[key][NAMES[name]] - row[name]))
                         if name in row else "")
        if auto:
            best, best_name = best_online(row)
            ratio = results[key]["auto"]
            cells += ["%s %.2f" % (best_name, 100 * best), "%.2f" % (100 * ratio),
                      "%+.1f %%" % (100 * extra_misses(ratio, best))]
        print("| " + " | ".join(cells) + " |")
    print()
    for name in policies:
        differences = [results[key][NAMES[name]] - row[name] for key, row in rows.items()
                       if name in row]
        mean = sum(differences) / len(differences)
        worst = max(differences, key=abs)
        print("- `%s` against %s: mean %+.2f points, largest difference %+.2f, over %d rows"
              % (NAMES[name], name, 100 * mean, 100 * worst, len(differences)))
    for policy in sorted({policy for result in results.values() for policy in result}):
        extra = [extra_misses(results[key][policy], best_online(row)[0])
                 for key, row in rows.items()]
        print("- `%s`: extra misses against the best online policy of each row: mean %+.1f %%, "
              "worst %+.1f %%" % (policy, 100 * sum(extra) / len(extra), 100 * max(extra)))


def draw(rows, results, path):
    """One line a row of the table, one dot a policy: its hit ratio against the simulator's."""
    width, height, left, top = 640, 640, 70, 30
    side = 520
    colours = ["#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#17a2b8",
               "#e377c2"]
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" '
           'font-size="13">' % (width, height),
           '<rect width="100%" height="100%" fill="#ffffff"/>']
    for i in range(11):
        at = i * side / 10
        out.append('<line x1="%g" y1="%g" x2="%g" y2="%g" stroke="#e0e0e0"/>'
                   % (left + at, top, left + at, top + side))
        out.append('<line x1="%g" y1="%g" x2="%g" y2="%g" stroke="#e0e0e0"/>'
                   % (left, top + at, left + side, top + at))
        if i % 2 == 0:
            out.append('<text x="%g" y="%g" text-anchor="middle" fill="#333">%d</text>'
                       % (left + at, top + side + 18, i * 10))
            out.append('<text x="%g" y="%g" text-anchor="end" fill="#333">%d</text>'
                       % (left - 8, top + side - at + 4, i * 10))
    out.append('<line x1="%g" y1="%g" x2="%g" y2="%g" stroke="#888" stroke-dasharray="4 3"/>'
               % (left, top + side, left + side, top))
    for i, (name, policy) in enumerate(NAMES.items()):
        for key, row in rows.items():
            if name in row:
                out.append('<circle cx="%.1f" cy="%.1f" r="4" fill="%s" fill-opacity="0.65"/>'
                           % (left + side * row[name], top + side * (1 - results[key][policy]),
                              colours[i % len(colours)]))
        y = top + 24 + 20 * i
        out.append('<circle cx="%g" cy="%g" r="5" fill="%s"/>'
                   % (left + 20, y - 4, colours[i % len(colours)]))
        out.append('<text x="%g" y="%g" fill="#333">%s</text>' % (left + 32, y, policy))
    out.append('<text x="%g" y="%g" text-anchor="middle" fill="#333">hit ratio of the independent '
               'simulator, percent</text>' % (left + side / 2, top + side + 42))
    out.append('<text transform="translate(22 %g) rotate(-90)" text-anchor="middle" fill="#333">'
               'hit ratio of firn, percent</text>' % (top + side / 2))
    out.append("</svg>\n")
    with open(path, "w") as file:
        file.write("\n".join(out))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("firn", help="the firn program")
    parser.add_argument("folder", help="where the traces are")
    parser.add_argument("--csv", help="the simulator's results; default FOLDER/hitratio.csv")
    parser.add_argument("--svg", help="draw a plot into this file")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    rows = read_rows(asked.csv or os.path.join(asked.folder, "hitratio.csv"))
    results = {}
    with concurrent.futures.ThreadPoolExecutor(asked.jobs) as pool:
        futures = {pool.submit(simulate, asked.firn, asked.folder, key): key for key in rows}
        for done in concurrent.futures.as_completed(futures):
            results[futures[done]] = done.result()
            if sys.stderr.isatty():
                print("\r%d of %d rows" % (len(results), len(rows)), end="", file=sys.stderr)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print_table(rows, results)
    if asked.svg:
        draw(rows, results, asked.svg)


if __name__ == "__main__":
    main()
