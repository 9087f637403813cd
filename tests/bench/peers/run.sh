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

say() {
    echo "peers: $*" >&2
}

absolute() {
    case $1 in
    /*) echo "$1" ;;
    *) echo "$start/$1" ;;
    esac
}

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
case $rounds in
'' | 0 | *[!0-9]*) say "--rounds needs a number from 1"; exit 2 ;;
esac
[ -n "$traces" ] || traces=$(find "$root/tests/data" -name '*.csv.zst' | sort)

if [ "$install" = yes ]; then
    as_root=""
    [ "$(id -u)" = 0 ] || as_root=sudo
    $as_root apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends \
        meson ninja-build pkg-config gcc g++ libc6-dev liblmdb-dev libzstd-dev libxxhash-dev zstd \
        python3 librocksdb-dev libtkrzw-dev libkyotocabinet-dev libglib2.0-dev memcached \
        libcaffeine-java default-jdk-headless >&2
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/firn-peers-XXXXXX")
child=""
clean_up() {
    if [ -n "$child" ]; then
        kill "$child" 2>/dev/null || true
        wait "$child" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

mkdir -p "$build/bin" "$out"
results="$work/results.jsonl"

# ---- build ----

say "building firn"
[ -e "$build/firn/build.ninja" ] ||
    meson setup "$build/firn" "$root" --buildtype=release -Dtests=false >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; exit 1; }
ninja -C "$build/firn" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }

flags="-O2 -g -Wall -Wextra -D_GNU_SOURCE"
${CC:-cc} $flags "$here/make_requests.c" -o "$build/bin/make_requests" -lm
${CC:-cc} $flags -c "$here/driver.c" -o "$build/bin/driver.o"

skip() {
    say "skipping $1: $2"
    echo "{\"skipped\": \"$1\", \"why\": \"$2\"}" >>"$results"
}

# wanted NAME
wanted() {
    case $only in
    '' | *,"$1",*) return 0 ;;
    esac
    return 1
}

# program NAME SOURCE FLAGS...: builds the peer's program, or says why it cannot.
program() {
    name=$1 source=$2
    shift 2
    case $source in
    *.cc) compiler="${CXX:-c++} -std=c++17" ;;
    *) compiler=${CC:-cc} ;;
    esac
    $compiler $flags "$here/$source" "$build/bin/driver.o" "$@" -lpthread \
        -o "$build/bin/$name" 2>"$work/log" || { cat "$work/log" >&2; return 1; }
}

# linked NAME SOURCE PACKAGE: the same with a library of the system's.
linked() {
    libraries=$(pkg-config --cflags --libs "$3" 2>/dev/null) ||
        { missing="its package is not installed"; return 1; }
    program "$1" "$2" $libraries || { missing="it cannot be built"; return 1; }
}

peers=""
program firn peer_firn.c -I"$root/include" -L"$build/firn/lib" "-Wl,-rpath,$build/firn/lib" -lfirn
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
    elif program memcached peer_memcached.c; then
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

plain() {
    tr -d '"\\\n' | tr -s ' '
}
processor=$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1 | plain)
system=$(sed -n 's/^PRETTY_NAME=//p' /etc/os-release 2>/dev/null | plain)
huge=$(sed -n 's/.*\[\(.*\)\].*/\1/p' /sys/kernel/mm/transparent_hugepage/enabled 2>/dev/null | plain)
echo "{\"environment\": {\"date\": \"$(date -u +%Y-%m-%d)\", \"processor\": \"$processor\"," \
    "\"processors\": $(nproc), \"system\": \"$system\", \"kernel\": \"$(uname -r | plain)\"," \
    "\"compiler\": \"$(${CC:-cc} --version | head -n 1 | plain)\", \"huge_pages\": \"$huge\"," \
    "\"keys\": $keys, \"requests\": $count, \"rounds\": $rounds}}" >>"$results"

# ---- measure ----

failed=" "

# measure PEER WORKLOAD VALUE LABEL FILE...
measure() {
    peer=$1 workload=$2 value=$3 label=$4
    shift 4
    case $failed in
    *" $peer "*) return 0 ;;
    esac
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
    timeout 300 "$@" --name "$peer" --variant "$variant" --folder "$work" $files \
        --round "$round" --value "$value" --keys $keys --count $count --label "$label" \
        "$workload" >>"$results" &
    child=$!
    status=0
    wait "$child" || status=$?
    child=""
    if [ $status != 0 ]; then
        skip "$peer" "its program ended with status $status"
        failed="$failed$peer "
    fi
}

# Each round begins with another peer, so that what disturbs the machine hits all alike.
round=0
while [ $round -lt "$rounds" ]; do
    round=$((round + 1))
    first=${peers# }
    first=${first%% *}
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
    peers="${peers#" $first"} $first"
done

cp "$results" "$out/hot-peers.jsonl"
python3 "$here/report.py" "$out/hot-peers.jsonl" "$out"
say "wrote $out/hot-peers.jsonl, hot-peers.md and hot-peers-*.svg"
