#!/usr/bin/env python3
"""What policies of admission, demotion and promotion bring, over traces: a line of JSON for each replay,
and a table.

    python3 tests/bench/tiering.py FIRN TRACES OUT [--limit N] [--costs] [--jobs N] [NAME...]
    python3 tests/bench/tiering.py --table OUT

FIRN is the program, TRACES a folder of NAME.csv.zst, OUT the file of JSON lines; what it has already is
not run again. The hot tier is a fiftieth of what the trace touches, the cold tier nine times as much, so
that neither holds all. Values have the trace's sizes, or such that all together come to 64 MiB (of 8 KiB at
the most), and are stored as they are: what is written is what a policy chose to write, whatever the codec. --limit: the
first N requests of each trace. --costs: each key has a cost from 0.1 to 100 ms that policies are told;
else a miss costs 1 ms, and they are not. A cold hit costs 20 us. For "budget" the rate is half of what
"always" wrote. With one shard and no thread, so that a run gives the same each time.
"""
import argparse
import concurrent.futures
import json
import math
import os
import subprocess
import sys
import tempfile

PACE = 1000  # requests a second
FOOTPRINT = 64 << 20
VALUE_MAX = 8192
DEMOTIONS = ["always", "reject-first", "frequency", "size", "budget"]
PROMOTIONS = ["always", "kth-hit", "gain"]
ADMISSIONS = ["always", "frequency", "size"]
COMBINATIONS = [("always", d, p) for d in DEMOTIONS for p in PROMOTIONS] + [
    (a, d, "always") for a in ADMISSIONS[1:] for d in DEMOTIONS[:1]
]


def measure(trace, limit):
    """The file that is played, requests, and bytes that its keys take; 0: it has no sizes."""
    text = subprocess.run(["zstd", "-dc", trace], check=True, capture_output=True).stdout
    lines = text.decode().splitlines()[: limit or None]
    sizes = {}
    for line in lines:
        key, _, size = line.partition(",")
        sizes[key] = int(size) if size else 0
    return lines, len(sizes), sum(sizes.values())


def play(firn, trace, setting, combination, rate, costs):
    admission, demotion, promotion = combination
    command = [firn, "replay", "--json", "--quiet", "--no-restart", "--threads", "0", "--shards", "1",
               "--level", "0", "--durability", "none", "--pace", str(PACE),
               "--hot", str(setting["hot"]), "--cold", str(setting["cold"]),
               "--value-size", str(setting["value_size"]),
               "--admission", admission, "--demotion", demotion, "--promotion", promotion]
    if demotion == "budget":
        command += ["--demotion-rate", str(rate)]
    if costs:
        command += ["--miss-cost", "100-100000"]
    found = subprocess.run(command + [trace], check=True, capture_output=True)
    return json.loads(found.stdout)


def run_trace(arguments, name, done, out):
    lines, distinct, footprint = measure(os.path.join(arguments.traces, name + ".csv.zst"),
                                         arguments.limit)
    value_size = 1024
    if footprint == 0:
        value_size = min(VALUE_MAX, max(64, FOOTPRINT // distinct))
        footprint = value_size * distinct
    setting = {"hot": max(65536, footprint // 50), "cold": max(1 << 20, footprint * 9 // 50),
               "value_size": value_size}
    rate = 0
    with tempfile.NamedTemporaryFile("w", suffix=".csv") as trace:
        trace.write("\n".join(lines) + "\n")
        trace.flush()
        for combination in COMBINATIONS:
            label = [name, *combination, bool(arguments.costs)]
            row = done.get(tuple(label))
            if row is None:
                found = play(arguments.firn, trace.name, setting, combination, rate,
                             arguments.costs)
                row = dict(zip(["trace", "admission", "demotion", "promotion", "costs"], label))
                row.update({field: found[field] for field in (
                    "requests", "hot_bytes_max", "cold_bytes_max", "hot_hit_ratio", "hit_ratio",
                    "written_bytes", "mean_cost_us", "demotions_refused", "admissions_refused",
                    "promotions_declined", "wrong_values")})
                out.write(json.dumps(row) + "\n")
                out.flush()
                print(*label, row["hot_hit_ratio"], row["hit_ratio"], row["written_bytes"],
                      row["mean_cost_us"], flush=True)
            if combination == COMBINATIONS[0]:
                rate = max(1, row["written_bytes"] * PACE // row["requests"] // 2)


def read(path):
    rows = {}
    if os.path.exists(path):
        with open(path) as lines:
            for line in lines:
                row = json.loads(line)
                rows[(row["trace"], row["admission"], row["demotion"], row["promotion"],
                      row["costs"])] = row
    return rows


def mean(numbers):
    return sum(numbers) / len(numbers)


def table(rows, costs):
    traces = sorted({label[0] for label in rows if label[4] == costs})
    if not traces:
        return
    print(f"\n{'Costs from 0.1 to 100 ms' if costs else 'A miss costs 1 ms'}; "
          f"{len(traces)} traces: {', '.join(traces)}\n")
    print("| admission | demotion | promotion | hot hits | all hits | worst of all hits | written "
          "| mean cost | worst cost |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for combination in COMBINATIONS:
        here = [rows.get((trace, *combination, costs)) for trace in traces]
        base = [rows.get((trace, *COMBINATIONS[0], costs)) for trace in traces]
        if any(row is None for row in here + base):
            continue
        worst = min(row["hit_ratio"] - of["hit_ratio"] for row, of in zip(here, base))
        written = math.exp(mean([math.log((row["written_bytes"] + 1) / (of["written_bytes"] + 1))
                                 for row, of in zip(here, base)]))
        cost = [row["mean_cost_us"] / of["mean_cost_us"] for row, of in zip(here, base)]
        print(f"| {' | '.join(combination)} | {100 * mean([r['hot_hit_ratio'] for r in here]):.1f} % "
              f"| {100 * mean([r['hit_ratio'] for r in here]):.1f} % | {100 * worst:+.1f} "
              f"| {written:.2f} | {math.exp(mean([math.log(c) for c in cost])):.3f} "
              f"| {max(cost):.2f} |")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("firn", nargs="?")
    parser.add_argument("traces", nargs="?")
    parser.add_argument("out", nargs="?")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--table")
    parser.add_argument("--limit", type=int, default=0)
    parser.add_argument("--costs", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_intermixed_args()
    if arguments.table is None:
        if arguments.out is None:
            sys.exit(__doc__)
        names = arguments.names or sorted(name[: -len(".csv.zst")]
                                          for name in os.listdir(arguments.traces)
                                          if name.endswith(".csv.zst"))
        done = read(arguments.out)
        with open(arguments.out, "a") as out, \
                concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            for task in [pool.submit(run_trace, arguments, name, done, out) for name in names]:
                task.result()
    rows = read(arguments.table or arguments.out)
    for costs in (False, True):
        table(rows, costs)


main()
