#!/bin/sh
# Installs what is needed, builds firn with gcc and clang, and runs all tests: plain, under the
# address and undefined-behaviour sanitizers, and the concurrent ones under the thread sanitizer.
# A warning fails the run. Usage: sh tests/run.sh   (build folders: build-test-*)
set -eu
cd "$(dirname "$0")/.."

sh tools/setup.sh clang libclang-rt-14-dev zstd mandoc python3 systemtap-sdt-dev

passed=0
failed=0

# The plain build tests on the file system of TMPDIR or /tmp. The others, which are after the memory
# and the threads, keep their stores in memory where there is room, and do not wait for a disk.
in_memory=${TMPDIR:-/tmp}
free=$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print $4 }')
if [ -w /dev/shm ] && [ "${free:-0}" -ge 2097152 ]; then
    in_memory=$(mktemp -d /dev/shm/firn-tests-XXXXXX)
    chmod 755 "$in_memory" # some tests are another user's
    trap 'rm -rf "$in_memory"' EXIT
    trap 'exit 1' HUP INT TERM
fi

# run NAME COMPILER "SETUP OPTIONS" TARGET FOLDER_OF_STORES "TEST OPTIONS"
run() {
    name=$1
    echo "== $name"
    rm -rf "build-test-$name"
    CC=$2 meson setup "build-test-$name" --werror $3 >"build-test-$name.log" 2>&1 ||
        { cat "build-test-$name.log"; exit 1; }
    mv "build-test-$name.log" "build-test-$name/setup.log"
    ninja -C "build-test-$name" "$4" >"build-test-$name/build.log" 2>&1 ||
        { tail -n 60 "build-test-$name/build.log"; exit 1; }
    TMPDIR=$5 meson test -C "build-test-$name" --print-errorlogs $6 ||
        { failed=$((failed + 1)); echo "$name failed" >&2; }
    log="build-test-$name/meson-logs/testlog.json"
    ok=$(grep -c '"result": "OK"' "$log" || true)
    bad=$(grep -c -v '"result": "OK"' "$log" || true)
    passed=$((passed + ok))
    failed=$((failed + bad))
}

run gcc gcc "" all "${TMPDIR:-/tmp}" ""
run sanitizers clang "-Db_sanitize=address,undefined -Db_lundef=false" meson-test-prereq \
    "$in_memory" ""
run threads gcc "-Db_sanitize=thread" concurrent "$in_memory" "--suite concurrent"

echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
