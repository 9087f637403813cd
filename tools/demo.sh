#!/bin/sh
# Installs what is needed, builds firn, replays a recorded trace through both tiers with a restart
# in the middle, and looks at the store it made.
# Usage: sh tools/demo.sh [TRACE] [STORE]
set -eu
cd "$(dirname "$0")/.."
trace=${1:-tests/data/git-build.csv.zst}
store=${2:-build-demo/store}

sh tools/setup.sh
[ -f build-demo/build.ninja ] || meson setup build-demo --buildtype=release -Dtests=false >build-demo.log ||
    { cat build-demo.log; exit 1; }
[ ! -f build-demo.log ] || mv build-demo.log build-demo/setup.log
ninja -C build-demo >build-demo/build.log || { tail -n 40 build-demo/build.log; exit 1; }
firn=build-demo/tools/firn

echo "== firn replay $trace $store"
$firn replay "$trace" "$store"
echo
echo "== firn stat $store"
$firn stat "$store"
echo
echo "== firn dump --limit 5 --values $store   (cut to 100 columns)"
$firn dump --limit 5 --values "$store" | cut -c 1-100
echo
echo "== firn verify $store"
$firn verify "$store"
