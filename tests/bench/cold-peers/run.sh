#!/bin/sh
# Measures firn's cold tier beside other stores on disk, all from Debian's packages, and writes lines
# of JSON, a table and plots. A peer whose package is not there is skipped. What came out is in
# docs/performance.md.
set -eu

usage() {
    cat <<'END'
Usage: run.sh [option...]

  --install        install the peers' packages first (Debian and its kin; needs root)
  --quick          one round of less data: to see that all works, not to be quoted
  --rounds N       rounds of all peers, default 2; a figure is the median
  --peers P,...    only these peers; the ratios need lmdb-zstd-dict among them
  --sizes N,...    bytes of a value, default 256,1024,8192,65536
  --out DIR        where the results go, default docs/plots
  --build DIR      where firn and the programs are built, default build-peers
  --help           this

Peers: firn firn-alone lmdb lmdb-zstd lmdb-zstd-dict rocksdb leveldb tkrzw tkrzw-zstd sqlite wiredtiger
memcached. The stores are made in $TMPDIR, or else /tmp, which should be on a real device.
END
}

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
start=$(pwd)
install=no rounds=2 only="" sizes=256,1024,8192,65536
out="$root/docs/plots" build="$root/build-peers"
full_mib=32      # values of the data that the page cache holds; half of it if they are small
limited_mib=128  # and of the data that memory does not hold,
limit_mib=12     # which is this much: a store compressed to 0.38 is four times as large
limited_size=1024
budget_mib=12    # of a store with new entries passing through it; twenty times that goes in
steady_size=1024
seconds=0.3      # for a phase of reads

title=cold-peers
shared="$here/../peers"
. "$shared/common.sh"

while [ $# -gt 0 ]; do
    case $1 in
    --install) install=yes ;;
    --quick) rounds=1 full_mib=4 limited_mib=32 limit_mib=12 budget_mib=4 seconds=0.05 ;;
    --rounds | --peers | --sizes | --out | --build)
        [ $# -gt 1 ] || { say "$1 needs a value; see --help"; exit 2; }
        case $1 in
        --rounds) rounds=$2 ;;
        --peers) only=,$2, ;;
        --sizes) sizes=$2 ;;
        --out) out=$(absolute "$2") ;;
        --build) build=$(absolute "$2") ;;
        esac
        shift
        ;;
    --help) usage; exit 0 ;;
    *) say "unknown option $1"; usage >&2; exit 2 ;;
    esac
    shift
done
is_count "$rounds" || { say "--rounds needs a number from 1"; exit 2; }
for size in $(echo "$sizes" | tr ',' ' '); do
    is_count "$size" && [ "$size" -le 131072 ] ||
        { say "--sizes needs numbers from 1 to 131072"; exit 2; }
done

[ "$install" = no ] || install_packages librocksdb-dev libleveldb-dev libtkrzw-dev libsqlite3-dev \
    libwiredtiger-dev memcached
begin_work
mkdir -p "$out" "$build/bin/cold"

# ---- build ----

build_firn
objects=""
for source in "$here/driver" "$shared/measure" "$shared/zipf" "$root/tools/values"; do
    object="$build/bin/cold/$(basename "$source").o"
    ${CC:-cc} $flags -c "$source.c" -o "$object"
    objects="$objects $object"
done
objects="$objects -lxxhash"

# any_wanted NAME...
any_wanted() {
    for name; do
        ! wanted "$name" || return 0
    done
    return 1
}

# offer "NAME..." KIND PACKAGE SOURCE FLAGS...: a program for these peers, if one is wanted. PACKAGE
# is pkg-config's, or "" where it has none.
peers=""
offer() {
    names=$1 kind=$2 package=$3 source=$4
    shift 4
    any_wanted $names || return 0
    missing="it cannot be built"
    if [ -n "$package" ]; then
        linked "cold/$kind" "$source" "$package" "$@" || { skip "$kind" "$missing"; return 0; }
    else
        program "cold/$kind" "$source" "$@" || { skip "$kind" "$missing"; return 0; }
    fi
    for name in $names; do
        ! wanted "$name" || peers="$peers $name"
    done
}

offer "firn firn-alone" firn "" peer_firn.c $(firn_flags)
offer "lmdb lmdb-zstd lmdb-zstd-dict" lmdb lmdb peer_lmdb.c -lzstd
offer rocksdb rocksdb rocksdb peer_rocksdb.cc
if [ -e /usr/include/leveldb/db.h ]; then # it has no file for pkg-config
    offer leveldb leveldb "" peer_leveldb.cc -lleveldb
elif wanted leveldb; then
    skip leveldb "its package is not installed"
fi
offer "tkrzw tkrzw-zstd" tkrzw tkrzw peer_tkrzw.cc
offer sqlite sqlite sqlite3 peer_sqlite.c
snappy=$(pkg-config --variable=libdir wiredtiger 2>/dev/null || true)/libwiredtiger_snappy.so
if [ -e "$snappy" ]; then
    offer wiredtiger wiredtiger wiredtiger peer_wiredtiger.c "-DWIREDTIGER_SNAPPY=\"$snappy\""
elif wanted wiredtiger; then
    skip wiredtiger "its package or its snappy extension is not installed"
fi
if wanted memcached; then
    if ! command -v memcached >/dev/null; then
        skip memcached "its package is not installed"
    elif ! memcached -h | grep -q ext_path; then
        skip memcached "it was built without extstore"
    else
        offer memcached memcached "" peer_memcached.c "$shared/memcached_line.c"
    fi
fi
[ -n "$peers" ] || { say "no peer is left"; exit 1; }

# ---- a group with little memory ----

# try_group FOLDER FILE: a group in FOLDER whose limit is set by FILE.
try_group() {
    group="$1/firn-cold-peers-$$"
    if mkdir "$group" 2>/dev/null; then
        if { echo $((limit_mib << 20)) >"$group/$2"; } 2>/dev/null; then
            return 0
        fi
        rmdir "$group"
    fi
    group=""
    return 1
}

# Below our own group if it can be, so that what limits us goes on doing so.
make_group() {
    limited_by="cgroup v2"
    own=$(sed -n 's/^0:://p' /proc/self/cgroup)
    for base in "/sys/fs/cgroup${own%/}" /sys/fs/cgroup; do
        [ ! -e /sys/fs/cgroup/cgroup.controllers ] || ! try_group "$base" memory.max || return 0
    done
    limited_by="cgroup v1"
    own=$(sed -n 's/^[0-9]*:\([^:]*,\)*memory\(,[^:]*\)*:\(.*\)$/\3/p' /proc/self/cgroup)
    for base in "/sys/fs/cgroup/memory${own%/}" /sys/fs/cgroup/memory; do
        [ ! -d "$base" ] || ! try_group "$base" memory.limit_in_bytes || return 0
    done
    limited_by=""
}

end_work() {
    [ -z "${group:-}" ] || rmdir "$group" 2>/dev/null || true
}

make_group
if [ -z "$limited_by" ]; then
    skip "limited memory" "no group with a limit can be made here (it needs root, and cgroups)"
fi

load=$(cut -d ' ' -f 1-3 /proc/loadavg)
filesystem=$(df --output=fstype "$work" | tail -n 1)
tell_environment "\"load\": \"$load\", \"filesystem\": \"$filesystem\", \"full_mib\": $full_mib,\
 \"limited_mib\": $limited_mib, \"limit_mib\": $limit_mib, \"limited_by\": \"$limited_by\",\
 \"budget_mib\": $budget_mib, \"rounds\": $rounds"

# ---- measure ----

# measure PEER WORKLOAD SIZE MIB OPTION...: a store of that many MiB of values.
measure() {
    peer=$1 workload=$2 size=$3 mib=$4
    shift 4
    ! has_failed "$peer,$workload" || return 0
    say "round $round of $rounds: $peer, $workload, $size B"
    variant=""
    case $peer in
    *-*) variant=${peer#*-} ;;
    esac
    rm -rf "$work/store"
    mkdir "$work/store"
    run_child "$peer,$workload" 120 "$build/bin/cold/${peer%%-*}" --name "$peer" --variant "$variant" \
        --folder "$work/store" --round "$round" --value "$size" --keys $(((mib << 20) / size)) \
        --seconds "$seconds" "$@" "$workload"
}

round=0
while [ $round -lt "$rounds" ]; do
    round=$((round + 1))
    for size in $(echo "$sizes" | tr ',' ' '); do
        for peer in $peers; do
            measure "$peer" full "$size" $((size < 1024 ? full_mib / 2 : full_mib))
        done
    done
    for peer in $peers; do
        [ -z "$limited_by" ] || measure "$peer" limited $limited_size $limited_mib \
            --group "$group" --limit $((limit_mib << 20))
    done
    for peer in $peers; do
        case $peer in
        firn | rocksdb)
            measure "$peer" steady $steady_size $((budget_mib * 20)) \
                --budget $((budget_mib << 20))
            ;;
        esac
    done
    rotate_peers
done

python3 "$here/report.py" "$results" "$out"
say "wrote $out/cold-peers.jsonl, cold-peers.md and cold-peers-*.svg"
