#!/usr/bin/env python3
"""How far is `auto` from the best of firn's other policies on streams that nothing was chosen by?

Plays synthetic streams (streams.py), each of one kind, and parts of real traces (the first half,
the second half, a quarter of the keys) at several capacities to all policies by `firn replay --tier
hot`, and prints for each stream how many more misses `auto` has than the best of the other policies
of the row: mean and worst over the capacities. Less than none means that it beats them all. Then
the rows above five percent, and the same for each policy over all rows.

Usage: auto_streams.py FIRN [TRACES_FOLDER] [--jobs N]
TRACES_FOLDER holds NAME.csv.zst; of each at most 600000 requests are used. Needs Python 3, and the
program zstd if there are traces.
"""
import argparse
import concurrent.futures
import glob
import json
import os
import random
import subprocess
import tempfile

import streams

SHARES = [0.005, 0.02, 0.08, 0.25, 0.5, 0.75]  # of the distinct keys, or of their bytes
MOST = 600000
CAPACITY_LEAST = 64  # entries, about


def read_trace(path):
    process = subprocess.Popen(["zstd", "-dcq", path], stdout=subprocess.PIPE, text=True)
    requests = []
    for line in process.stdout:
        requests.append(tuple(int(field) for field in line.split(",")))
        if len(requests) == MOST:
            break
    process.stdout.close()
    process.wait()
    return requests


def parts_of(requests):
    yield "first half", requests[: len(requests) // 2]
    yield "second half", requests[len(requests) // 2:]
    yield "a quarter of keys", [r for r in requests if streams.mixed(r[0], 9) < 0.25]


def play(firn, requests):
    """Hit ratios by capacity and policy."""
    sizes = {}
    for request in requests:
        sizes.setdefault(request[0], request[1] if len(request) > 1 else 1)
    total = sum(sizes.values())
    mean = total / len(sizes)
    capacities = sorted({int(total * share) for share in SHARES
                         if total * share / mean >= CAPACITY_LEAST})
    if not capacities:
        return {}
    with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        file.writelines(",".join(map(str, request)) + "\n" for request in requests)
        file.flush()
        output = subprocess.run(
            [firn, "replay", "--tier", "hot", "--policy", "all", "--json", "--quiet",
             "--capacity", ",".join(map(str, capacities)), file.name],
            check=True, capture_output=True, text=True).stdout
    ratios = {}
    for line in map(json.loads, output.splitlines()):
        ratios.setdefault(line["capacity"], {})[line["policy"]] = line["hit_ratio"]
    return {"%g %%" % (100 * round(capacity / total, 3)): row for capacity, row in ratios.items()}


def synthetic(firn, name):
    requests = [request if isinstance(request, tuple) else (request,)
                for request in streams.STREAMS[name](random.Random(name))]
    return [(name, play(firn, requests))]


def real(firn, path):
    name = os.path.basename(path).split(".")[0]
    return [("%s, %s" % (name, part), play(firn, requests))
            for part, requests in parts_of(read_trace(path))]


def extra(row, policy):
    best = max(ratio for name, ratio in row.items() if name != policy)
    return (1 - row[policy]) / (1 - best) - 1 if best < 1 else 0.0


def report(title, results):
    results = [(name, rows) for name, rows in results if rows]
    print("### %s\n\n| stream | capacities | mean | worst | there best |\n"
          "| --- | --: | --: | --: | --- |" % title)
    everything = []
    for name, rows in results:
        extras = [(extra(row, "auto"), share, row) for share, row in rows.items()]
        everything += [(e, name, share, row) for e, share, row in extras]
        worst, share, row = max(extras, key=lambda e: e[0])
        best = max((ratio, policy) for policy, ratio in row.items() if policy != "auto")
        print("| %s | %d | %+.1f %% | %+.1f %% | %s at %s |"
              % (name, len(rows), 100 * sum(e[0] for e in extras) / len(extras), 100 * worst,
                 best[1], share))
    print()
    for e, name, share, row in sorted(everything, key=lambda e: -e[0]):
        if e > 0.05:
            print("- above 5 %%: %s at %s: %+.1f %%; hit ratios: %s"
                  % (name, share, 100 * e,
                     ", ".join("%s %.1f" % (policy, 100 * ratio)
                               for policy, ratio in sorted(row.items(), key=lambda p: -p[1]))))
    for policy in everything[0][3]:
        extras = [extra(row, policy) for _, _, _, row in everything]
        print("- `%s` against the best of the others: mean %+.1f %%, worst %+.1f %%, above "
              "10 %%: %d of %d rows" % (policy, 100 * sum(extras) / len(extras), 100 * max(extras),
                               sum(e > 0.1 for e in extras), len(extras)))
    print()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("firn", help="the firn program")
    parser.add_argument("folder", nargs="?", help="where traces are")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    with concurrent.futures.ProcessPoolExecutor(asked.jobs) as pool:
        traces = sorted(glob.glob(os.path.join(asked.folder, "*.csv.zst"))) if asked.folder else []
        made = [pool.submit(synthetic, asked.firn, name) for name in streams.STREAMS]
        cut = [pool.submit(real, asked.firn, path) for path in traces]
        report("Synthetic streams", [pair for future in made for pair in future.result()])
        if cut:
            report("Parts of traces", [pair for future in cut for pair in future.result()])


if __name__ == "__main__":
    main()
