#!/usr/bin/env python3
"""Makes a table in Markdown and plots in SVG of the results of run.sh.

Usage: report.py RESULTS.jsonl OUTPUT_FOLDER
Writes hot-peers.md and hot-peers-WHAT.svg. A figure is the median over the rounds. Needs nothing
but Python 3.
"""
import json
import os
import sys

from plots import bars, median, number


def read(path):
    environment, skipped, samples = {}, [], {}
    with open(path) as file:
        for line in file:
            result = json.loads(line)
            if "environment" in result:
                environment = result["environment"]
            elif "skipped" in result:
                skipped.append((result["skipped"], result["why"]))
            else:
                key = (result["workload"], result.get("trace", ""), result["value_bytes"],
                       result["threads"], result["peer"])
                samples.setdefault(key, []).append(result)
    return environment, skipped, samples


def rows_of(samples):
    rows = []
    for workload, label, value, threads, _ in samples:
        row = (workload, label, value, threads)
        if row not in rows and workload != "memory":
            rows.append(row)
    return rows


def print_tables(environment, skipped, samples, out):
    peers = list(dict.fromkeys(key[4] for key in samples))
    out.write("%s, %s processors, %s, kernel %s, %s; %s requests a run, %s rounds; large pages: %s.\n\n"
              % (environment.get("processor", "?"), environment.get("processors", "?"),
                 environment.get("system", "?"), environment.get("kernel", "?"),
                 environment.get("compiler", "?"), environment.get("requests", "?"),
                 environment.get("rounds", "?"), environment.get("huge_pages", "?")))
    for name, why in dict.fromkeys(skipped):
        out.write("Skipped: %s (%s).\n\n" % (name, why))
    for row in rows_of(samples):
        workload, label, value, threads = row
        size = "%d B values" % value if value else "sizes of the trace"
        out.write("**%s%s**, %s, %d thread%s\n\n" % (workload, " " + label if label else "", size,
                                                     threads, "s" if threads > 1 else ""))
        out.write("| peer | ns/op | to bare | own ns/op | M op/s | hit ratio | p50 ns | p99 ns "
                  "| p99.9 ns |\n| --- | --: | --: | --: | --: | --: | --: | --: | --: |\n")
        bare = median(samples, row + ("bare",), "ns_per_op")
        for peer in peers:
            key = row + (peer,)
            if key not in samples:
                continue
            ns = median(samples, key, "ns_per_op")
            rate = median(samples, key, "ops_per_s")
            out.write("| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n" % (
                peer, number(ns), number(ns / bare, "%.2f") if bare else "",
                number(median(samples, key, "cpu_ns_per_op")),
                number(rate / 1e6 if rate else None, "%.2f"),
                number(median(samples, key, "hit_ratio"), "%.3f"),
                number(median(samples, key, "p50_ns")), number(median(samples, key, "p99_ns")),
                number(median(samples, key, "p999_ns"))))
        out.write("\n")
    memory = [key for key in samples if key[0] == "memory"]
    if memory:
        out.write("**memory**, bytes an entry beyond key and value, resident\n\n"
                  "| peer | values | bytes |\n| --- | --: | --: |\n")
        for key in sorted(memory, key=lambda key: (key[2], peers.index(key[4]))):
            out.write("| %s | %d B | %s |\n" % (key[4], key[2], number(
                median(samples, key, "extra_bytes_per_entry"), "%.1f")))
        out.write("\n")


def draw(samples, folder):
    peers = list(dict.fromkeys(key[4] for key in samples))
    for value in sorted({key[2] for key in samples if key[0] == "read"}):
        for threads in (1, 2):
            bars(os.path.join(folder, "hot-peers-read-%d-%dt.svg" % (value, threads)),
                 "Read only, all hits, %d B values, %d thread%s"
                 % (value, threads, "s" if threads > 1 else ""), "ns a request",
                 [(peer, median(samples, ("read", "", value, threads, peer), "ns_per_op"), "")
                  for peer in peers], "%.0f")
            entries = []
            for peer in peers:
                key = ("churn", "", value, threads, peer)
                rate = median(samples, key, "ops_per_s")
                hits = median(samples, key, "hit_ratio")
                entries.append((peer, rate / 1e6 if rate else None,
                                ", hit ratio %.3f" % hits if hits is not None else ""))
            bars(os.path.join(folder, "hot-peers-churn-%d-%dt.svg" % (value, threads)),
                 "Churn with eviction, %d B values, %d thread%s"
                 % (value, threads, "s" if threads > 1 else ""), "M requests a second", entries,
                 "%.2f")
        bars(os.path.join(folder, "hot-peers-memory-%d.svg" % value),
             "Memory beyond key and value, %d B values" % value, "bytes an entry",
             [(peer, median(samples, ("memory", "", value, 1, peer), "extra_bytes_per_entry"), "")
              for peer in peers], "%.0f")


def main():
    if len(sys.argv) != 3 or sys.argv[1] in ("-h", "--help"):
        print(__doc__.strip())
        sys.exit(0 if len(sys.argv) == 2 else 2)
    environment, skipped, samples = read(sys.argv[1])
    with open(os.path.join(sys.argv[2], "hot-peers.md"), "w") as out:
        print_tables(environment, skipped, samples, out)
    draw(samples, sys.argv[2])


if __name__ == "__main__":
    main()
