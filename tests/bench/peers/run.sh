#!/bin/sh
# Measures firn's hot tier beside other caches, all from Debian's packages, and writes lines of
# JSON, a table and plots. A peer whose package is not there is skipped. What
# came out is in docs/performance.md.
set -eu

usage() {
    cat <<'END'
Usage: run.sh [option...]

  --install        install the peers' packages first (Debian and its kin; needs root)
  --quick          one round of fewer requests: to see that all works, not to be quoted
  --rounds N       rounds of all peers, default 5; a figure is the median
  --only P,...     only these peers
  --policies P,... eviction policies of firn to measure, default lru,sieve
  --trace FILE     a trace of key[,size] lines, maybe compressed with zstd, instead of the recorded
                   ones; may be given several times
  --out DIR        where the results go, default docs/plots
  --build DIR      where firn and the programs are built, default build-peers
  --help           this

Peers: firn-POLICY rocksdb-lru rocksdb-clock tkrzw kyoto glib memcached caffeine bare
END
}

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
start=$(pwd)
install=no rounds=5 count=1000000 keys=1000000 only="" policies=lru,sieve
out="$root/docs/plots" build="$root/build-peers" traces=""

title=peers
. "$here/common.sh"

while [ $# -gt 0 ]; do
    case $1 in
    --install) install=yes ;;
    --quick) rounds=1 count=400000 ;;
    --rounds | --only | --policies | --trace | --out | --build)
        [ $# -gt 1 ] || { say "$1 needs a value; see --help"; exit 2; }
        case $1 in
        --rounds) rounds=$2 ;;
        --only) only=,$2, ;;
        --policies) policies=$2 ;;
        --trace) traces="$traces$(absolute "$2")
" ;;
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
[ -n "$traces" ] || traces=$(find "$root/tests/data" -name '*.csv.zst' | sort)

[ "$install" = no ] || install_packages librocksdb-dev libtkrzw-dev libkyotocabinet-dev \
    libglib2.0-dev memcached libcaffeine-java default-jdk-headless
begin_work
mkdir -p "$out"

# ---- build ----

build_firn
${CC:-cc} $flags "$here/make_requests.c" "$here/zipf.c" -o "$build/bin/make_requests" -lm
objects=""
for source in driver measure; do
    ${CC:-cc} $flags -c "$here/$source.c" -o "$build/bin/$source.o"
    objects="$objects $build/bin/$source.o"
done

peers=""
program firn peer_firn.c $(firn_flags)
for policy in $(echo "$policies" | tr ',' ' '); do
    ! wanted "firn-$policy" || peers="$peers firn-$policy"
done
if wanted rocksdb-lru || wanted rocksdb-clock; then
    if linked rocksdb peer_rocksdb.cc rocksdb; then
        for name in rocksdb-lru rocksdb-clock; do
            ! wanted $name || peers="$peers $name"
        done
    else
        skip rocksdb "$missing"
    fi
fi
for peer in tkrzw:cc:tkrzw kyoto:cc:kyotocabinet glib:c:glib-2.0; do
    name=${peer%%:*} package=${peer##*:} kind=${peer#*:}
    if wanted "$name"; then
        if linked "$name" "peer_$name.${kind%:*}" "$package"; then
            peers="$peers $name"
        else
            skip "$name" "$missing"
        fi
    fi
done
if wanted memcached; then
    if ! command -v memcached >/dev/null; then
        skip memcached "its package is not installed"
    elif program memcached peer_memcached.c "$here/memcached_line.c"; then
        peers="$peers memcached"
    else
        skip memcached "it cannot be built"
    fi
fi
caffeine=/usr/share/java/caffeine.jar
if wanted caffeine; then
    if [ ! -e "$caffeine" ] || ! command -v javac >/dev/null; then
        skip caffeine "its package or a JDK is not installed"
    elif javac -cp "$caffeine" -d "$build/bin" "$here/CaffeinePeer.java" >&2; then
        peers="$peers caffeine"
        caffeine_version=$(basename "$(readlink -f "$caffeine")" .jar)
    else
        skip caffeine "it cannot be built"
    fi
fi
if wanted bare; then
    program bare peer_bare.c
    peers="$peers bare"
fi
[ -n "$peers" ] || { say "no peer is left"; exit 1; }

# ---- requests ----

say "drawing requests"
"$build/bin/make_requests" zipf "$work/reads" $keys $((count * 4)) 0 1
"$build/bin/make_requests" zipf "$work/updates" $keys $((count * 4)) 5 2
"$build/bin/make_requests" zipf "$work/churn" $keys $((count * 4)) 10 3
trace_count=0
echo "$traces" >"$work/traces"
: >"$work/labels"
while read -r trace; do
    [ -n "$trace" ] || continue
    case $trace in
    *.zst) zstd -dcq "$trace" ;;
    *) cat "$trace" ;;
    esac | "$build/bin/make_requests" trace "$work/trace-$trace_count"
    basename "$trace" .zst | sed 's/\.csv$//' | tr -cd 'A-Za-z0-9._\n-' >>"$work/labels"
    trace_count=$((trace_count + 1))
done <"$work/traces"

huge=$(sed -n 's/.*\[\(.*\)\].*/\1/p' /sys/kernel/mm/transparent_hugepage/enabled 2>/dev/null | plain)
tell_environment "\"huge_pages\": \"$huge\", \"keys\": $keys, \"requests\": $count, \"rounds\": $rounds"

# ---- measure ----

# measure PEER WORKLOAD VALUE LABEL FILE...
measure() {
    peer=$1 workload=$2 value=$3 label=$4
    shift 4
    ! has_failed "$peer" || return 0
    say "round $round of $rounds: $peer, $workload${label:+ $label}, $value B"
    files=""
    for file; do
        files="$files --requests $file"
    done
    variant=""
    case $peer in
    firn-* | rocksdb-*) variant=${peer#*-} ;;
    esac
    case $peer in
    caffeine)
        set -- java -Xms3g -Xmx3g "-Dcaffeine.version=${caffeine_version#caffeine-}" \
            -cp "$caffeine:$build/bin" CaffeinePeer
        ;;
    *)
        set -- "$build/bin/${peer%%-*}"
        ;;
    esac
    run_child "$peer" 300 "$@" --name "$peer" --variant "$variant" --folder "$work" $files \
        --round "$round" --value "$value" --keys $keys --count $count --label "$label" "$workload"
}

round=0
while [ $round -lt "$rounds" ]; do
    round=$((round + 1))
    for value in 100 1024; do
        for peer in $peers; do
            measure "$peer" resident $value "" "$work/reads" "$work/updates"
        done
        for peer in $peers; do
            [ "$peer" = bare ] || measure "$peer" churn $value "" "$work/churn"
        done
    done
    number=0
    while read -r label; do
        for peer in $peers; do
            [ "$peer" = bare ] || measure "$peer" trace 0 "$label" "$work/trace-$number"
        done
        number=$((number + 1))
    done <"$work/labels"
    rotate_peers
done

cp "$results" "$out/hot-peers.jsonl"
python3 "$here/report.py" "$out/hot-peers.jsonl" "$out"
say "wrote $out/hot-peers.jsonl, hot-peers.md and hot-peers-*.svg"
