#!/usr/bin/env python3
"""Writes synthetic streams of accesses, each of one kind: what a policy could be weak at, alone.

One request a line, `key` or `key,size`, as `firn replay` reads. Every stream is the same each time.
The kinds follow what is known of caches' workloads: popularity by Zipf's law, alone and drifting;
scans beside it; loops a little larger than the cache; recency with churn; bursts; sizes with a
heavy tail, unrelated to popularity, against it, or with it; one-hit wonders; phases; streams that
are short for their capacity. Which capacity a stream meets is chosen by who plays it.

Usage: streams.py FOLDER [NAME...]     writes FOLDER/NAME.csv
       streams.py --list
Needs nothing but Python 3.
"""
import bisect
import itertools
import os
import random
import sys


class Zipf:
    """Draws ranks from 0 to n - 1, the first most often."""

    def __init__(self, rng, n, skew):
        self.rng = rng
        self.sums = list(itertools.accumulate(1 / (i + 1) ** skew for i in range(n)))

    def draw(self):
        return bisect.bisect_left(self.sums, self.rng.random() * self.sums[-1])


def zipf(rng, n, keys, skew, base=0):
    source = Zipf(rng, keys, skew)
    for _ in range(n):
        yield base + source.draw()


def drift(rng, n, keys, skew, every):
    """Each `every` requests the most popular gives way, and the others move up."""
    source = Zipf(rng, keys, skew)
    for i in range(n):
        yield source.draw() + i // every


def churn(rng, n, fresh, depth):
    """New keys with probability `fresh`; else one used lately: depths are exponential."""
    recent = []
    newest = 0
    for _ in range(n):
        if rng.random() < fresh or not recent:
            newest += 1
            key = newest
        else:
            at = min(int(rng.expovariate(1 / depth)), len(recent) - 1)
            key = recent.pop(len(recent) - 1 - at)
        recent.append(key)
        if len(recent) > 20 * depth:
            del recent[: 10 * depth]
        yield key


def loop(n, keys, base=0):
    for i in range(n):
        yield base + i % keys


def bursts(rng, n, width, times):
    """Each key is used some times among `width` others, and never again."""
    alive = []
    newest = 0
    for _ in range(n):
        while len(alive) < width:
            newest += 1
            alive.append([newest, 1 + int(rng.expovariate(1 / times))])
        at = rng.randrange(width)
        alive[at][1] -= 1
        yield alive[at][0]
        if alive[at][1] <= 0:
            alive[at] = alive[-1]
            alive.pop()


def with_scans(rng, n, keys, skew, every, length):
    source = Zipf(rng, keys, skew)
    scanned = 10 ** 9
    sent = 0
    while sent < n:
        for _ in range(every):
            yield source.draw()
        for _ in range(length):
            scanned += 1
            yield scanned
        sent += every + length


def mix(rng, n, *sources):
    """sources: pairs of a share and a stream."""
    shares = [share for share, _ in sources]
    streams = [iter(stream) for _, stream in sources]
    for at in rng.choices(range(len(streams)), shares, k=n):
        key = next(streams[at], None)
        if key is None:
            return
        yield key


def wonders(rng, n, keys, skew, share):
    """A share of the requests are for keys that never come back."""
    return mix(rng, n, (1 - share, zipf(rng, n, keys, skew)),
               (share, itertools.count(10 ** 9)))


def mixed(key, salt):
    """A number that is the key's own, from 0 to 1."""
    key = (key * 0x9e3779b97f4a7c15 + salt * 0x94d049bb133111eb) % 2 ** 64
    key = (key ^ key >> 30) * 0xbf58476d1ce4e5b9 % 2 ** 64
    key = (key ^ key >> 27) * 0x94d049bb133111eb % 2 ** 64
    return (key >> 11) / 2 ** 53


def pareto(stream, shape, least=64, most=4 << 20):
    """Sizes with a heavy tail, which have nothing to do with popularity."""
    for key in stream:
        yield key, int(min(most, least / (1 - mixed(key, 1)) ** (1 / shape)))


def two_sizes(stream, small, large, share):
    for key in stream:
        yield key, large if mixed(key, 2) < share else small


def by_rank(stream, slope, least=64, most=1 << 20):
    """Sizes that grow with the rank (slope > 0) or shrink (slope < 0); the rank is the key."""
    for key in stream:
        size = least * (1 + key) ** slope if slope > 0 else most / (1 + key) ** -slope
        yield key, int(max(least, min(most, size)))


def narrow(stream):
    """Sizes that differ by less than a half."""
    for key in stream:
        yield key, 1000 + int(400 * mixed(key, 3))


def chain(*streams):
    return itertools.chain(*streams)


N = 200000

STREAMS = {
    "zipf-0.7": lambda r: zipf(r, N, 40000, 0.7),
    "zipf-1.0": lambda r: zipf(r, N, 40000, 1.0),
    "zipf-1.2": lambda r: zipf(r, N, 40000, 1.2),
    "drift-slow": lambda r: drift(r, N, 20000, 0.9, 40),
    "drift-fast": lambda r: drift(r, N, 20000, 0.9, 5),
    "churn-near": lambda r: churn(r, N, 0.3, 300),
    "churn-far": lambda r: churn(r, N, 0.2, 3000),
    "bursts": lambda r: bursts(r, N, 1000, 4),
    "scans": lambda r: with_scans(r, N, 20000, 0.9, 5000, 3000),
    "loop": lambda r: loop(N, 10000),
    "loop-zipf": lambda r: mix(r, N, (0.5, loop(N, 8000, 10 ** 8)), (0.5, zipf(r, N, 8000, 0.9))),
    "loop-churn": lambda r: mix(r, N, (0.5, loop(N, 8000, 10 ** 8)), (0.5, churn(r, N, 0.3, 500))),
    "zipf-churn": lambda r: mix(r, N, (0.5, zipf(r, N, 20000, 0.9, 10 ** 8)),
                                (0.5, churn(r, N, 0.3, 500))),
    "wonders": lambda r: wonders(r, N, 20000, 0.9, 0.4),
    "phases": lambda r: chain(zipf(r, N // 3, 10000, 0.9), loop(N // 3, 6000, 10 ** 8),
                              churn(r, N // 3, 0.3, 1000)),
    "phases-often": lambda r: chain(*(chain(churn(r, N // 12, 0.3, 500),
                                            loop(N // 12, 4000, 10 ** 8))
                                      for _ in range(6))),
    "short-zipf": lambda r: zipf(r, 20000, 10000, 0.9),
    "short-churn": lambda r: churn(r, 20000, 0.4, 2000),
    "short-loop": lambda r: loop(20000, 6000),
    "size-pareto": lambda r: pareto(zipf(r, N, 20000, 0.8), 1.1),
    "size-pareto-heavy": lambda r: pareto(zipf(r, N, 20000, 0.8), 0.6),
    "size-wonders": lambda r: pareto(wonders(r, N, 20000, 0.9, 0.4), 1.0),
    "size-drift": lambda r: pareto(drift(r, N, 20000, 0.9, 10), 1.0),
    "size-churn": lambda r: pareto(churn(r, N, 0.3, 500), 1.2),
    "size-churn-far": lambda r: pareto(churn(r, N, 0.2, 3000), 0.9),
    "size-bursts": lambda r: pareto(bursts(r, N, 1000, 4), 1.0),
    "size-loop": lambda r: pareto(loop(N, 10000), 1.2),
    "size-loop-zipf": lambda r: pareto(mix(r, N, (0.5, loop(N, 8000, 10 ** 8)),
                                           (0.5, zipf(r, N, 8000, 0.9))), 1.0),
    "size-two": lambda r: two_sizes(zipf(r, N, 20000, 0.8), 500, 50000, 0.1),
    "size-popular-small": lambda r: by_rank(zipf(r, N, 20000, 0.8), 0.7),
    "size-popular-large": lambda r: by_rank(zipf(r, N, 20000, 0.8), -0.7),
    "size-narrow": lambda r: narrow(zipf(r, N, 20000, 0.8)),
    "size-narrow-churn": lambda r: narrow(churn(r, N, 0.3, 1000)),
    "size-phases": lambda r: pareto(chain(churn(r, N // 3, 0.3, 500),
                                          loop(N // 3, 6000, 10 ** 8),
                                          zipf(r, N // 3, 10000, 0.9)), 1.0),
    "size-short": lambda r: pareto(zipf(r, 20000, 10000, 0.8), 0.9),
    "size-short-churn": lambda r: pareto(churn(r, 20000, 0.4, 2000), 0.9),
    "size-short-wonders": lambda r: two_sizes(wonders(r, 30000, 10000, 0.8, 0.3),
                                              4096, 262144, 0.2),
}


def write(name, path):
    with open(path, "w") as file:
        for request in STREAMS[name](random.Random(name)):
            file.write("%d,%d\n" % request if isinstance(request, tuple) else "%d\n" % request)


def main():
    asked = sys.argv[1:]
    if asked == ["--list"]:
        print("\n".join(STREAMS))
        return
    if not asked or any(name not in STREAMS for name in asked[1:]):
        sys.exit(__doc__)
    for name in asked[1:] or STREAMS:
        write(name, os.path.join(asked[0], name + ".csv"))


if __name__ == "__main__":
    main()
