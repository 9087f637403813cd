#!/bin/sh
# Measures layouts of a cold tier (see layout.c): builds, runs all layouts at all sizes one after the
# other, and draws docs/plots/layout*. Takes about twenty minutes; needs 4 GB of disk and of free memory.
#
# Usage: run.sh [RESULTS.jsonl [SIZES [FOLDER]]]   (FOLDER: for the stores, on the disk to be measured)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../../.." && pwd)
results=${1:-$top/docs/plots/layout.jsonl}
sizes=${2:-256 1024 8192 65536 1048576}
folder=${3:-${TMPDIR:-/tmp}/firn-layout}
mkdir -p "$folder"
program=$folder/layout
${CC:-cc} -std=gnu11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -o "$program" \
    "$here/layout.c" "$top/tools/values.c" -llmdb -lzstd -lxxhash -lm

# Each phase that writes ends after this many seconds, and says how far it came.
seconds() {
    case $1 in 256) echo 30 ;; *) echo 12 ;; esac
}

measure() { # SIZE LAYOUT [MORE...]
    size=$1
    layout=$2
    shift 2
    nice -n 10 "$program" --layout "$layout" --size "$size" --dir "$folder/store" \
        --limit "$(seconds "$size")" "$@" | tee -a "$results" | grep -v '"steady"' || :
}

: >"$results"
for size in $sizes; do
    for layout in R A B C D E; do
        measure "$size" "$layout"
    done
done
for size in 256 8192; do
    case " $sizes " in *" $size "*) ;; *) continue ;; esac
    measure "$size" E --sweep 8 --phases steady
    measure "$size" E --sweep 16 --phases steady
    for layout in B D E; do
        measure "$size" "$layout" --overwrite 20 --phases steady
    done
    measure "$size" C --segment 256K
done
case " $sizes " in
*" 65536 "*)
    # Values of equal size leave holes that fit the next; these do not, and they go in any order.
    for layout in A B C D E; do
        measure 65536 "$layout" --mixed --overwrite 20 --phases steady
    done
    ;;
esac
case " $sizes " in
*" 1048576 "*)
    measure 1048576 C --segment 1M
    measure 1048576 E --segment 4M
    ;;
esac
rm -rf "$folder/store"
python3 "$here/plot.py" "$results" "$top/docs/plots"
