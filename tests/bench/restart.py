#!/usr/bin/env python3
"""How soon a restart is warm, over traces: a table, and a plot of hot hits for each trace.

    python3 tests/bench/restart.py BUILD TRACES OUT PACE [NAME...]

BUILD is a build folder with tests/bench_restart, TRACES a folder of NAME.csv.zst, OUT where
restart-NAME.svg and restart.jsonl go. The hot tier is a tenth of what the trace touches, the cold tier nine
times as much; PACE is microseconds between the first 20,000 requests. Values are of the trace's sizes, up to 64 KiB, or of 100 bytes. Prints rows for
docs/warm-restart.md.
"""
import csv
import io
import json
import os
import subprocess
import sys
import tempfile

VARIANTS = ["never stopped", "closed", "killed, write-behind", "killed", "cold start"]
COLOURS = ["#444444", "#1f77b4", "#2ca02c", "#ff7f0e", "#d62728"]
AHEAD = 500  # requests, at least, over which a hit ratio is taken
STAYS = 2000  # requests over which it has to stay
OVERHEAD = 64  # bytes of an entry in memory beside its value, about


def footprint(path):
    text = subprocess.run(["zstd", "-dc", path], check=True, capture_output=True).stdout
    sizes = {}
    for row in csv.reader(io.StringIO(text.decode())):
        size = int(row[1]) if len(row) > 1 and row[1] else 100
        sizes[row[0]] = min(size, 65536) + OVERHEAD
    return sum(sizes.values())


def smooth(windows, field):
    """Of each window: the hits of it and those after it, over AHEAD requests or more."""
    sizes = [window["requests"] - (windows[i - 1]["requests"] if i else 0)
             for i, window in enumerate(windows)]
    values = []
    end = hits = requests = 0
    for i in range(len(windows)):
        while end < len(windows) and (requests < AHEAD or end == i):
            hits += windows[end][field] * sizes[end]
            requests += sizes[end]
            end += 1
        values.append(hits / requests)
        hits -= windows[i][field] * sizes[i]
        requests -= sizes[i]
    return values


def requests_until(windows, wanted, field="hot"):
    """Requests until, for a while, hits are nine tenths of those of the cache that never stopped."""
    warm = [is_now >= 0.9 * should
            for is_now, should in zip(smooth(windows, field), smooth(wanted, field))]
    for i in range(len(windows)):
        before = windows[i - 1]["requests"] if i else 0
        if all(warm[j] for j in range(i, len(windows))
               if windows[j]["requests"] <= before + STAYS or j == i):
            return before
    return None


def plot(path, title, runs, shown):
    width, height, left, right, top, bottom = 760, 360, 56, 190, 40, 44
    most = shown
    high = max(max(smooth(runs[name], "hot")) for name in runs) * 1.05 or 1

    def place(requests, value):
        return (left + (width - left - right) * requests / most,
                height - bottom - (height - top - bottom) * value / high)

    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" '
           'font-size="12">' % (width, height),
           '<rect width="100%" height="100%" fill="#ffffff"/>',
           '<text x="16" y="24" font-size="15" fill="#222">%s: hot hits after a restart</text>'
           % title]
    for i in range(6):
        x, y = place(most * i / 5, high * i / 5)
        out.append('<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#e4e7ea"/>'
                   % (left, width - right, y, y))
        out.append('<text x="%d" y="%.1f" text-anchor="end" fill="#444">%.0f %%</text>'
                   % (left - 6, y + 4, 100 * high * i / 5))
        out.append('<text x="%.1f" y="%d" text-anchor="middle" fill="#444">%s</text>'
                   % (x, height - bottom + 16, "%.0f" % (most * i / 5)))
    out.append('<text x="%d" y="%d" text-anchor="middle" fill="#444">requests after the restart</text>'
               % ((left + width - right) // 2, height - 8))
    for i, name in enumerate(VARIANTS):
        points = " ".join("%.1f,%.1f" % place(window["requests"], value)
                          for window, value in zip(runs[name], smooth(runs[name], "hot"))
                          if window["requests"] <= most)
        out.append('<polyline fill="none" stroke="%s" stroke-width="1.5" points="%s"/>'
                   % (COLOURS[i], points))
        y = top + 14 + 20 * i
        out.append('<line x1="%d" x2="%d" y1="%d" y2="%d" stroke="%s" stroke-width="3"/>'
                   % (width - right + 14, width - right + 34, y - 4, y - 4, COLOURS[i]))
        out.append('<text x="%d" y="%d" fill="#222">%s</text>' % (width - right + 40, y, name))
    out.append("</svg>\n")
    with open(path, "w") as file:
        file.write("\n".join(out))


def measure(build, trace, folder, pace):
    whole = footprint(trace)
    hot = max(whole // 10, 65536)
    cold = max(whole, 1 << 20)
    done = subprocess.run([os.path.join(build, "tests", "bench_restart"), trace, folder, str(hot),
                           str(cold), pace], check=True, capture_output=True)
    runs = {name: [] for name in VARIANTS}
    for line in done.stdout.decode().splitlines():
        window = json.loads(line)
        runs[window["variant"]].append(window)
    return hot, cold, runs


def share(requests, cold):
    if requests is None:
        return "never"
    return "%d (%.1f %%)" % (requests, 100 * requests / cold) if cold else "%d" % requests


def main():
    build, traces, out, pace = sys.argv[1:5]
    names = sys.argv[5:] or sorted(name[:-8] for name in os.listdir(traces)
                                   if name.endswith(".csv.zst"))
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "restart.jsonl"), "w") as lines:
        for name in names:
            with tempfile.TemporaryDirectory() as folder:
                hot, cold, runs = measure(build, os.path.join(traces, name + ".csv.zst"), folder,
                                          pace)
            steady = runs["never stopped"]
            needed = {variant: requests_until(runs[variant], steady) for variant in VARIANTS[1:]}
            total = {variant: requests_until(runs[variant], steady, "total")
                     for variant in VARIANTS[1:]}
            plot(os.path.join(out, "restart-%s.svg" % name), name, runs,
                 min(steady[-1]["requests"], 3 * (needed["cold start"] or steady[-1]["requests"]) + 400))
            fact = {"trace": name, "hot_bytes": hot, "cold_bytes": cold,
                    "requests": steady[-1]["requests"],
                    "hot": sum(window["hot"] for window in steady) / len(steady),
                    "needed": needed, "needed_total": total}
            lines.write(json.dumps(fact) + "\n")
            print("| %s | %d | %.1f %% | %s | %s | %s | %s |" % (
                name, fact["requests"], 100 * fact["hot"], needed["cold start"] or "never",
                share(needed["closed"], needed["cold start"]),
                share(needed["killed, write-behind"], needed["cold start"]),
                share(needed["killed"], needed["cold start"])), flush=True)


main()
