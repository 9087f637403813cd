# What the benchmarks beside peers have in common; their run.sh sources it. Sourcing expects: $title
# (before each message), $here and $root (the folders of run.sh and of firn), $start (where run.sh was
# called). Later calls expect $build, and, where said, $work and $results, which begin_work sets.

say() {
    echo "$title: $*" >&2
}

absolute() {
    case $1 in
    /*) echo "$1" ;;
    *) echo "$start/$1" ;;
    esac
}

# is_count TEXT: a whole number from 1.
is_count() {
    case $1 in
    '' | 0 | *[!0-9]*) return 1 ;;
    esac
}

# install_packages PACKAGE...: and what the builds need in any case.
install_packages() {
    as_root=""
    [ "$(id -u)" = 0 ] || as_root=sudo
    $as_root apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends \
        meson ninja-build pkg-config gcc g++ libc6-dev liblmdb-dev libzstd-dev libxxhash-dev zstd \
        python3 "$@" >&2
}

# A folder for what is thrown away, and its end, that of a running child and end_work's, if run.sh
# has such a function.
begin_work() {
    work=$(mktemp -d "${TMPDIR:-/tmp}/firn-peers-XXXXXX")
    results="$work/results.jsonl"
    child=""
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    mkdir -p "$build/bin"
}

clean_up() {
    if [ -n "$child" ]; then
        kill "$child" 2>/dev/null || true
        wait "$child" 2>/dev/null || true
    fi
    ! command -v end_work >/dev/null || end_work
    rm -rf "$work"
}

flags="-O2 -g -Wall -Wextra -D_GNU_SOURCE"

build_firn() {
    say "building firn"
    [ -e "$build/firn/build.ninja" ] ||
        meson setup "$build/firn" "$root" --buildtype=release -Dtests=false >"$work/log" 2>&1 ||
        { cat "$work/log" >&2; exit 1; }
    ninja -C "$build/firn" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
}

# skip NAME WHY
skip() {
    say "skipping $1: $2"
    echo "{\"skipped\": \"$1\", \"why\": \"$2\"}" >>"$results"
}

# wanted NAME: $only is empty, or names between commas with one at each end.
wanted() {
    case $only in
    '' | *,"$1",*) return 0 ;;
    esac
    return 1
}

# program NAME SOURCE FLAGS...: builds the peer's program with $objects, or says why it cannot.
program() {
    name=$1 source=$2
    shift 2
    case $source in
    *.cc) compiler="${CXX:-c++} -std=c++17" ;;
    *) compiler=${CC:-cc} ;;
    esac
    $compiler $flags -I"$here" "$here/$source" $objects "$@" -lpthread -lm \
        -o "$build/bin/$name" 2>"$work/log" || { cat "$work/log" >&2; return 1; }
}

# linked NAME SOURCE PACKAGE FLAGS...: the same with a library of the system's. $missing: why not.
linked() {
    libraries=$(pkg-config --cflags --libs "$3" 2>/dev/null) ||
        { missing="its package is not installed"; return 1; }
    name=$1 source=$2
    shift 3
    program "$name" "$source" "$@" $libraries || { missing="it cannot be built"; return 1; }
}

firn_flags() {
    echo "-I$root/include -L$build/firn/lib -Wl,-rpath,$build/firn/lib -lfirn"
}

plain() {
    tr -d '"\\\n' | tr -s ' '
}

# tell_environment FIELDS: a line of JSON of the machine and these further fields.
tell_environment() {
    processor=$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1 | plain)
    system=$(sed -n 's/^PRETTY_NAME=//p' /etc/os-release 2>/dev/null | plain)
    echo "{\"environment\": {\"date\": \"$(date -u +%Y-%m-%d)\", \"processor\": \"$processor\"," \
        "\"processors\": $(nproc), \"system\": \"$system\", \"kernel\": \"$(uname -r | plain)\"," \
        "\"compiler\": \"$(${CC:-cc} --version | head -n 1 | plain)\", $1}}" >>"$results"
}

# run_child PEER SECONDS COMMAND...: appends what it prints to the results. $failed collects the names
# of peers that ended badly, or not in time: such a one need not be asked again.
failed=" "
run_child() {
    child_name=$1 child_seconds=$2
    shift 2
    timeout "$child_seconds" "$@" >>"$results" &
    child=$!
    status=0
    wait "$child" || status=$?
    child=""
    if [ $status != 0 ]; then
        skip "$child_name" "its program ended with status $status"
        failed="$failed$child_name "
    fi
}

# has_failed PEER
has_failed() {
    case $failed in
    *" $1 "*) return 0 ;;
    esac
    return 1
}

# Each round begins with another peer, so that what disturbs the machine hits all alike.
rotate_peers() {
    first=${peers# }
    first=${first%% *}
    peers="${peers#" $first"} $first"
}
