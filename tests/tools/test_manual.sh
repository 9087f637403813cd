#!/bin/sh
# Compares the functions that the public headers declare with the synopsis of firn.3: each must be in
# both, with the same result and parameters; and each result code must be told there.
# Usage: test_manual.sh SOURCE_ROOT
set -eu
root=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# RESULT NAME(PARAMETERS), one a line, with spaces as they are in the headers. A type is one by
# whichever of its names.
tidy() {
    sed -e 's/[[:space:]][[:space:]]*/ /g' -e 's/^ //' -e 's/ $//' -e 's/( /(/' -e 's/struct //g' -e 's/\* /*/g' |
        sort
}

cat "$root"/include/firn/*.h | awk '
    /^FIRN_API/ { on = 1; text = "" }
    on { text = text " " $0 }
    on && /;/ { on = 0; sub(/;.*/, "", text); gsub(/FIRN_API|FIRN_NODISCARD/, "", text); print text }
' | tidy >"$work/headers"
[ -s "$work/headers" ]

# The arguments of a macro: words, or what stands between quotes.
awk '
    function split_line(line) {
        count = 0
        sub(/^\.[A-Z][a-z] */, "", line)
        while (line != "") {
            if (substr(line, 1, 1) == "\"") {
                line = substr(line, 2)
                end = index(line, "\"")
                argument[++count] = substr(line, 1, end - 1)
                line = substr(line, end + 1)
            } else {
                end = index(line " ", " ")
                argument[++count] = substr(line, 1, end - 1)
                line = substr(line, end)
            }
            sub(/^ */, "", line)
        }
    }
    function add(from) {
        for (i = from; i <= count; i++) {
            list = list (list == "" ? "" : ", ") argument[i]
        }
    }
    function show() { print result " " name "(" list ")" }
    /^\.Sh/ { on = $2 == "SYNOPSIS" }
    !on { next }
    /^\.Ft/ { split_line($0); result = argument[1] }
    /^\.F[no]/ { split_line($0); name = argument[1]; list = ""; add(2) }
    /^\.Fa/ { split_line($0); add(1) }
    /^\.F[nc]/ { show() }
' "$root/docs/man/firn.3" | tidy >"$work/manual"

diff -u "$work/headers" "$work/manual" || {
    echo "FAILED: the public headers and firn.3 differ (first file: the headers)"
    exit 1
}
for code in $(sed -n 's/^ *\(FIRN_[A-Z]*\) *=.*/\1/p' "$root/include/firn/error.h"); do
    grep -q "Dv $code\$" "$root/docs/man/firn.3" || {
        echo "FAILED: firn.3 does not tell of $code"
        exit 1
    }
done
