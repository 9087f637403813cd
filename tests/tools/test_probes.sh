#!/bin/sh
# Compares the probes that are noted in the library with those that the documentation tells of.
# Usage: test_probes.sh READELF LIBRARY OBSERVABILITY.md
set -eu
noted=$("$1" -n "$2" | awk '/Provider: firn$/ { getline; print $2 }' | sort -u)
told=$(awk '/^## Probes/ { on = 1; next } /^## / { on = 0 } on && /^\| `/ { gsub(/[|` ]+/, " "); print $1 }' "$3" |
    sort -u)
[ -n "$noted" ] && [ "$noted" = "$told" ] || {
    echo "FAILED: the library has the probes '$noted', the documentation tells of '$told'"
    exit 1
}
