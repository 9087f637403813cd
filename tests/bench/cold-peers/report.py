#!/usr/bin/env python3
"""Makes a table in Markdown and plots in SVG of the results of run.sh.

Usage: report.py RESULTS.jsonl OUTPUT_FOLDER
Writes cold-peers.jsonl (the results, each with its ratio to the yardstick of the same round),
cold-peers.md and cold-peers-WHAT.svg. A figure is the median over the rounds. Needs nothing but
Python 3.
"""
import json
import os
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "peers"))
from plots import bars, median, number  # noqa: E402

YARDSTICK = "lmdb-zstd-dict"


def read(path):
    """Environment, what was skipped, and all results as they came."""
    environment, skipped, results = {}, [], []
    with open(path) as file:
        for line in file:
            result = json.loads(line)
            if "environment" in result:
                environment = result["environment"]
            elif "skipped" in result:
                skipped.append((result["skipped"], result["why"]))
            else:
                results.append(result)
    return environment, skipped, results


def place(result):
    return result["workload"], result["value_bytes"], result["round"], result.get("slice")


def add_ratios(results):
    yardsticks = {place(result): result for result in results
                  if result["peer"] == YARDSTICK and "ops_per_s" in result}
    for result in results:
        yardstick = yardsticks.get(place(result))
        if yardstick and "ops_per_s" in result:
            result["ratio"] = round(result["ops_per_s"] / yardstick["ops_per_s"], 4)
            result["cpu_ratio"] = round(result["cpu_us_per_op"] / yardstick["cpu_us_per_op"], 4)


def write_lines(path, environment, skipped, results):
    with open(path, "w") as out:
        out.write(json.dumps({"environment": environment}) + "\n")
        for name, why in skipped:
            out.write(json.dumps({"skipped": name, "why": why}) + "\n")
        for result in results:
            out.write(json.dumps(result) + "\n")


def gather(results):
    samples = {}
    for result in results:
        if not result["workload"].startswith("steady"):
            key = (result["workload"], result["value_bytes"], result["peer"])
            samples.setdefault(key, []).append(result)
    return samples


COLUMNS = (
    ("k op/s", "ops_per_s", 1e-3, "%.4g"),
    ("ratio", "ratio", 1, "%.2f"),
    ("p50 us", "p50_ns", 1e-3, "%.4g"),
    ("p99 us", "p99_ns", 1e-3, "%.4g"),
    ("p99.9 us", "p999_ns", 1e-3, "%.4g"),
    ("CPU us/op", "cpu_us_per_op", 1, "%.3g"),
    ("hits", "hit_ratio", 1, "%.3f"),
    ("read KiB/get", "device_read_bytes_per_get", 1 / 1024, "%.3g"),
    ("k op/s synced", "synced_ops_per_s", 1e-3, "%.4g"),
    ("disk/logical", "disk_over_logical", 1, "%.2f"),
    ("written/logical", "written_over_logical", 1, "%.2f"),
    ("CPU ratio", "cpu_ratio", 1, "%.2f"),
)

# What each workload's table shows.
SHOWN = {
    "write": (0, 1, 8, 2, 3, 4, 5, 11, 9, 10),
    "read hit": (0, 1, 2, 3, 4, 5, 11, 6),
    "read miss": (0, 1, 2, 3, 4, 5, 11),
    "mixed": (0, 1, 2, 3, 4, 5, 11, 6, 10),
    "read hit limited": (0, 1, 2, 3, 4, 5, 11, 6, 7),
    "mixed limited": (0, 1, 2, 3, 4, 5, 11, 6, 7, 10),
}


def print_tables(environment, skipped, results, out):
    samples = gather(results)
    peers = list(dict.fromkeys(result["peer"] for result in results))
    out.write("%s, %s processors, %s, kernel %s, %s, %s; %s; %s rounds, medians.\n\n"
              % (environment.get("processor", "?"), environment.get("processors", "?"),
                 environment.get("system", "?"), environment.get("kernel", "?"),
                 environment.get("filesystem", "?"), environment.get("compiler", "?"),
                 environment.get("date", "?"), environment.get("rounds", "?")))
    if "load" in environment:
        out.write("Load average when it began: %s.\n\n" % environment["load"])
    out.write("One thread asks. No operation is synced; the writes are once, at their end. %s MiB of values "
              "(half of that below 1 KiB), in the page cache; \"limited\": %s MiB of values, by a process "
              "with %s MiB for its memory and its page cache (%s). \"Ratio\": the rate to that of %s in the "
              "same round; \"CPU ratio\": the same of CPU seconds an operation, of all threads and the "
              "server, which other work on the machine disturbs less. \"Hits\" below 1: the store drops "
              "what it cannot take in time.\n\n"
              % (environment.get("full_mib", "?"), environment.get("limited_mib", "?"),
                 environment.get("limit_mib", "?"), environment.get("limited_by") or "none here",
                 YARDSTICK))
    versions = {result["peer"]: result["version"] for result in results}
    out.write("Versions: %s.\n\n" % "; ".join("%s %s" % item for item in versions.items()))
    for name, why in dict.fromkeys(skipped):
        out.write("Skipped: %s (%s).\n\n" % (name, why))
    for workload, columns in SHOWN.items():
        columns = [COLUMNS[i] for i in columns]
        for size in sorted({key[1] for key in samples if key[0] == workload}):
            out.write("**%s**, %d B values\n\n" % (workload, size))
            out.write("| peer | %s |\n" % " | ".join(column[0] for column in columns))
            out.write("| --- |%s\n" % (" --: |" * len(columns)))
            for peer in peers:
                key = (workload, size, peer)
                if key not in samples:
                    continue
                cells = []
                for _, field, scale, form in columns:
                    value = median(samples, key, field)
                    cells.append(number(value * scale if value is not None else None, form))
                out.write("| %s | %s |\n" % (peer, " | ".join(cells)))
            out.write("\n")
    print_steady(environment, results, peers, out)


def print_steady(environment, results, peers, out):
    ends = {}
    slices = {}
    for result in results:
        key = (result["value_bytes"], result["peer"])
        if result["workload"] == "steady end":
            ends.setdefault(key, []).append(result)
        elif result["workload"] == "steady":
            slices.setdefault(key, {}).setdefault(result["slice"], []).append(result)
    if not ends:
        return
    budget = environment.get("budget_mib", "?")
    out.write("**steady**: new keys through a store with a budget of %s MiB, twenty times that in values.\n"
              "First and later: up to the budget, and the last half of all. Spread: the slowest fortieth of "
              "all over the fastest. Held: what can still be read, over the budget.\n\n"
              "| values | peer | k op/s first | later | spread | file, most/budget | held/budget | "
              "written/logical |\n| --- | --- | --: | --: | --: | --: | --: | --: |\n" % budget)
    for size, peer in sorted(ends, key=lambda key: (key[0], peers.index(key[1]))):
        parts = slices[(size, peer)]
        rates = [statistics.median(one["ops_per_s"] for one in parts[n]) for n in sorted(parts)]
        half = len(rates) // 2
        written = statistics.median(one["written_over_logical"]
                                    for n in sorted(parts)[half:] for one in parts[n])
        end = ends[(size, peer)]
        most = statistics.median(one["file_bytes_max"] / one["budget_bytes"] for one in end)
        held = statistics.median(one["held_logical_over_budget"] for one in end)
        out.write("| %d B | %s | %.4g | %.4g | %.2f | %.2f | %.2f | %.2f |\n"
                  % (size, peer, statistics.mean(rates[:2]) / 1e3,
                     statistics.harmonic_mean(rates[half:]) / 1e3, min(rates) / max(rates), most,
                     held, written))
    out.write("\n")


def draw(results, folder):
    samples = gather(results)
    peers = list(dict.fromkeys(result["peer"] for result in results))
    plots = (
        ("write", "write", "Writing distinct keys in random order", "ops_per_s", 1e-3,
         "k a second", "%.4g"),
        ("read-hit", "read hit", "Reads that hit, page cache", "ops_per_s", 1e-3, "k a second",
         "%.4g"),
        ("miss", "read miss", "Reads that miss, page cache", "ops_per_s", 1e-3, "k a second",
         "%.4g"),
        ("limited", "read hit limited", "Reads that hit, little memory", "ops_per_s", 1e-3,
         "k a second", "%.4g"),
        ("disk", "write", "Disk used", "disk_over_logical", 1, "bytes over those of keys and values",
         "%.2f"),
    )
    for name, workload, title, field, scale, unit, form in plots:
        for size in sorted({key[1] for key in samples if key[0] == workload}):
            entries = []
            for peer in peers:
                value = median(samples, (workload, size, peer), field)
                ratio = median(samples, (workload, size, peer), "ratio")
                note = ", ratio %.2f" % ratio if ratio is not None and name != "disk" else ""
                entries.append((peer, value * scale if value is not None else None, note))
            bars(os.path.join(folder, "cold-peers-%s-%d.svg" % (name, size)),
                 "%s, %d B values" % (title, size), unit, entries, form)


def main():
    if len(sys.argv) != 3 or sys.argv[1] in ("-h", "--help"):
        print(__doc__.strip())
        sys.exit(0 if len(sys.argv) == 2 else 2)
    environment, skipped, results = read(sys.argv[1])
    add_ratios(results)
    write_lines(os.path.join(sys.argv[2], "cold-peers.jsonl"), environment, skipped, results)
    with open(os.path.join(sys.argv[2], "cold-peers.md"), "w") as out:
        print_tables(environment, skipped, results, out)
    draw(results, sys.argv[2])


if __name__ == "__main__":
    main()
