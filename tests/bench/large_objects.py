#!/usr/bin/env python3
"""Why do `s3fifo` and `tinylfu` differ from the independent simulator where sizes differ? An
experiment.

The simulator's S3-FIFO never takes an object that is as large as its small queue, a tenth of the
capacity. An object that is never taken misses always and changes nothing; so firn plays the same
trace without the requests for such objects, and they count as misses. If that is all that differs,
the hit ratio must be the simulator's. The same for W-TinyLFU, where what the simulator refuses is a
guess.

Usage: large_objects.py FIRN TRACES_FOLDER [--csv FILE]
Needs Python 3 and the program zstd.
"""
import argparse
import csv
import json
import os
import subprocess
import tempfile


POLICIES = {"S3-FIFO": "s3fifo", "W-TinyLFU-ad": "tinylfu"}


def hits(firn, policy, path, capacity):
    output = subprocess.run([firn, "replay", "--tier", "hot", "--policy", policy, "--json",
                             "--quiet", "--capacity", str(capacity), path],
                            check=True, capture_output=True, text=True).stdout
    return json.loads(output)["hits"]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("firn", help="the firn program")
    parser.add_argument("folder", help="where the traces are")
    parser.add_argument("--csv", help="the simulator's results; default FOLDER/hitratio.csv")
    asked = parser.parse_args()
    print("| policy | trace | capacity | simulator | firn less that | "
          "without large objects, less that |\n"
          "| --- | --- | --: | --: | --: | --: |")
    with open(asked.csv or os.path.join(asked.folder, "hitratio.csv"), newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["policy"] in POLICIES
                and row["ranked_row"] == "1" and row["sized"] == "1"]
    for row in sorted(rows, key=lambda row: row["policy"]):
        policy = POLICIES[row["policy"]]
        capacity = int(row["cache_size"])
        packed = os.path.join(asked.folder, row["trace"] + ".csv.zst")
        lines = subprocess.run(["zstd", "-dcq", packed], check=True, capture_output=True,
                               text=True).stdout.splitlines(keepends=True)
        with tempfile.NamedTemporaryFile("w", suffix=".csv") as kept:
            kept.writelines(line for line in lines
                            if int(line.split(",")[1]) < capacity // 10)
            kept.flush()
            without = hits(asked.firn, policy, kept.name, capacity) / len(lines)
        ratio = hits(asked.firn, policy, packed, capacity) / len(lines)
        theirs = float(row["hit_ratio"])
        print("| %s | %s | %d | %.2f | %+.2f | %+.2f |"
              % (policy, row["trace"], capacity, 100 * theirs, 100 * (ratio - theirs),
                 100 * (without - theirs)))


if __name__ == "__main__":
    main()
