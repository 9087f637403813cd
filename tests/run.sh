#!/bin/sh
# Installs what is needed, builds firn with gcc and clang, and runs all tests: plain, under the
# address and undefined-behaviour sanitizers, and the concurrent ones under the thread sanitizer.
# A warning fails the run. Usage: sh tests/run.sh   (build folders: build-test-*)
set -eu
cd "$(dirname "$0")/.."

sh tools/setup.sh clang libclang-rt-14-dev zstd mandoc python3 systemtap-sdt-dev

passed=0
failed=0

# run NAME COMPILER "SETUP OPTIONS" "TEST OPTIONS"
run() {
    name=$1
    echo "== $name"
    rm -rf "build-test-$name"
    CC=$2 meson setup "build-test-$name" --werror $3 >"build-test-$name.log" 2>&1 ||
        { cat "build-test-$name.log"; exit 1; }
    mv "build-test-$name.log" "build-test-$name/setup.log"
    ninja -C "build-test-$name" >"build-test-$name/build.log" 2>&1 ||
        { tail -n 60 "build-test-$name/build.log"; exit 1; }
    meson test -C "build-test-$name" --print-errorlogs $4 ||
        { failed=$((failed + 1)); echo "$name failed" >&2; }
    log="build-test-$name/meson-logs/testlog.json"
    ok=$(grep -c '"result": "OK"' "$log" || true)
    bad=$(grep -c -v '"result": "OK"' "$log" || true)
    passed=$((passed + ok))
    failed=$((failed + bad))
}

run gcc gcc "" ""
run sanitizers clang "-Db_sanitize=address,undefined -Db_lundef=false" ""
run threads gcc "-Db_sanitize=thread" "--suite concurrent"

echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
