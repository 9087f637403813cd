#!/bin/sh
# Compiles and runs the README's example as it stands, twice: the second run finds what the first
# put. Usage: readme_example.sh README INCLUDE LIBRARY COMPILER...
set -eu
readme=$1 include=$2 library=$3
shift 3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
awk '/^```c$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$readme" >"$work/example.c"
"$@" -Wall -Wextra -Werror "$work/example.c" -I"$include" "$library" \
    -Wl,-rpath,"$(dirname "$library")" -o "$work/example"
cd "$work"
first=$(./example)
second=$(./example)
[ "$first" = "computed" ] || { echo "first run: $first"; exit 1; }
[ "$second" = "from the last run: forty-two" ] || { echo "second run: $second"; exit 1; }
