#!/bin/sh
# Records the trace that is shipped beside this script: which files a real build opens for reading,
# in order, with their sizes. The build is firn's own: with gcc and with clang, from scratch, and
# again after single sources and headers were touched. Needs strace and python3, and a clone of
# firn to work in, whose files it touches.
# Usage: record-build-reads.sh CLONE OUTPUT.csv.zst
set -eu
clone=$1 output=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

traced() {
    strace -f -q -y -e trace=openat -e signal=none -o "$work/log" "$@" >/dev/null 2>&1
    cat "$work/log" >>"$work/all"
}

cd "$clone"
for compiler in gcc clang; do
    CC=$compiler meson setup "$work/$compiler" >/dev/null
    traced ninja -j 1 -C "$work/$compiler"
done
for file in lib/cold/record.c lib/tier/put.c include/firn/error.h lib/hot/hot.h tools/tool.h \
    lib/base/heap.h lib/cold/cold.h include/firn/options.h; do
    touch "$file"
    for compiler in gcc clang; do
        traced ninja -j 1 -C "$work/$compiler"
    done
done

python3 - "$work/all" <<'PYTHON' | zstd -19 -q -f -o "$output"
import hashlib, os, re, sys

sizes = {}
for line in open(sys.argv[1], errors="replace"):
    found = re.search(r'openat\(.*O_RDONLY.*\) = \d+<(/[^>]*)>', line)
    if not found:
        continue
    path = found.group(1)
    if path not in sizes:
        regular = os.path.isfile(path) and not path.startswith("/proc")
        mapped = ".so" in os.path.basename(path)  # the loader maps libraries, it does not read them
        sizes[path] = os.path.getsize(path) if regular and not mapped else 0
    if sizes[path] > 0:
        key = int.from_bytes(hashlib.blake2b(path.encode(), digest_size=8).digest(), "little")
        print(f"{key},{sizes[path]}")
PYTHON
