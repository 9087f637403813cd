#!/bin/sh
# Compiles the examples the way the README says, and runs them: what they print, and that they end
# with a message when something is wrong. pkg-config has to find the firn that is meant, and the
# loader its library. Usage: examples.sh EXAMPLES_FOLDER COMPILER...
set -eu
examples=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for name in parsed manifest graph origin costly; do
    "$@" -std=c11 -pedantic -Wall -Wextra -Werror "$examples/$name.c" \
        $(pkg-config --cflags --libs firn) -o "$name"
done

# The output holds this line, whole.
has() {
    grep -qxF -e "$1" out || { echo "FAILED: no line '$1' in:"; cat out; exit 1; }
}
# It ends with this result and a message that holds the words; never by a signal.
refuses() {
    result=$1 words=$2
    shift 2
    got=0
    "$@" >out 2>err || got=$?
    [ "$got" -eq "$result" ] && grep -qF -e "$words" err || {
        echo "FAILED: $* gave $got and said:"; cat err; exit 1
    }
}

# ---- parsed: its own input, twice on one store
./parsed >out
has 'parsed-one.ini: server.port = 8000'
has 'parsed-two.ini: server.port = 8001'
has 'first look: 2 parsed, 0 found in memory, 0 on disk (0 decoded)'
has 'second look: 0 parsed, 2 found in memory, 0 on disk (0 decoded)'
has 'opened anew: 0 parsed, 0 found in memory, 2 on disk (2 decoded)'
has '2 encoded; 4 parsed or decoded, 4 dropped'
./parsed >out
has 'first look: 0 parsed, 0 found in memory, 2 on disk (2 decoded)'
# A file that has changed is parsed anew.
printf '[server]\nport = 1\n; a comment\nport =  two words \n' >parsed-one.ini
./parsed >out
has 'parsed-one.ini: server.port = two words'
# The old value is decoded before it is found to be old, and so it is found in memory.
has 'first look: 1 parsed, 0 found in memory, 2 on disk (2 decoded)'
has 'second look: 0 parsed, 2 found in memory, 0 on disk (0 decoded)'
# More than memory holds: much is demoted and decoded while the program runs.
mkdir many
i=0
while [ $i -lt 40 ]; do
    awk -v i=$i 'BEGIN { print "[server]"; print "port = " i
        for (n = 0; n < 1500; n++) { print "name " n " = value " n } }' >many/$i.ini
    i=$((i + 1))
done
./parsed server.port many/*.ini >out
has 'many/39.ini: server.port = 39'
has 'first look: 40 parsed, 0 found in memory, 0 on disk (0 decoded)'
memory=$(sed -n 's/^second look: 0 parsed, \([0-9]*\) found.*/\1/p' out)
disk=$(sed -n 's/^second look: 0 parsed, .* \([0-9]*\) on disk.*/\1/p' out)
[ $((memory + disk)) -eq 40 ] && [ "$disk" -gt 0 ] || { echo "FAILED: demotion"; cat out; exit 1; }
dropped=$(sed -n 's/.*; \([0-9]*\) parsed or decoded, \1 dropped/\1/p' out)
[ "${dropped:-0}" -gt 80 ] || { echo "FAILED: not dropped once each"; cat out; exit 1; }
echo 'nonsense' >bad.ini
refuses 1 'bad.ini:1: neither' ./parsed a.b bad.ini
refuses 1 'No such file' ./parsed a.b missing.ini
refuses 2 'usage:' ./parsed a.b

# ---- manifest
./manifest >out
has 'read old version: the same as the file'
has 'read new version: the same as the file'
has 'delete old version: 1 of its chunks are gone, 45 are still kept'
has '47 chunks were deleted because nothing kept them any more, 0 links are left'
# Two versions that have nothing in common, and two that are the same.
awk 'BEGIN { for (i = 0; i < 3000; i++) { print "old", i * 7919 } }' >old
awk 'BEGIN { for (i = 0; i < 3000; i++) { print i * 104729, "new" } }' >new
./manifest old new >out
grep -q '^delete old version: [1-9][0-9]* of its chunks are gone, 0 are still kept$' out
has 'read new version: the same as the file'
./manifest old old >out
grep -q '^put new version: .* of which 0 are new, 0 bytes$' out
grep -q '^delete old version: 0 of its chunks are gone, [1-9][0-9]* are still kept$' out
: >empty
./manifest empty new >out
has 'read old version: the same as the file'
refuses 1 'No such file' ./manifest missing
refuses 1 'not a file' ./manifest many
refuses 2 'usage:' ./manifest a b c

# ---- graph: what it makes up, then a folder over several runs
./graph >out
has 'graph-folder: 7 words (0 results became invalid, 7 were computed)'
has 'graph-folder: 7 words (0 results became invalid, 0 were computed)'
has 'graph-folder: 9 words (4 results became invalid, 4 were computed)'
has 'graph-folder: 6 words (3 results became invalid, 3 were computed)'
mkdir -p tree/a/deep tree/b
echo 'one two three' >tree/a/deep/x
echo 'four five' >tree/a/y
echo 'six' >tree/b/z
./graph tree >out
has 'tree: 6 words (0 results became invalid, 8 were computed)'
./graph tree >out
has 'tree: 6 words (0 results became invalid, 0 were computed)'
echo 'one two' >tree/a/deep/x
./graph tree >out
has 'tree: 5 words (5 results became invalid, 5 were computed)'
has '  computed: words tree/a/deep/x'
has '  computed: total tree/a'
! grep -q 'computed: .* tree/[ab]/[yz]' out || { echo "FAILED: too much"; cat out; exit 1; }
echo 'seven' >tree/b/new
./graph tree >out
has 'tree: 6 words (3 results became invalid, 4 were computed)'
rm -r tree/a
./graph tree >out
has 'tree: 2 words (2 results became invalid, 2 were computed)'
refuses 1 'No such file' ./graph missing
refuses 2 'usage:' ./graph a b

# ---- origin
./origin >out
has '8 threads at once: 8 got the page, 1 requests'
has 'fresh: /news, version 1 (success), 0 requests'
has 'not there: nothing (not found), 1 requests'
has 'still not there: nothing (not found), 0 requests'
has 'a batch of 5: 4 found, 1 requests'
has 'too old, and the same: /news, version 1 (success), 1 requests'
has 'of that, not modified: 1'
has 'too old, and changed: /news, version 2 (success), 1 requests'
has 'the origin fails: /news, version 2 (a stale value), 1 requests'
has "and has never given it: nothing (an error of the program's own), 1 requests"
has "an hour later: nothing (an error of the program's own), 1 requests"
refuses 2 'usage:' ./origin a

# ---- costly: what was worth it is there at the second pass, and in the next run
./costly >out
first=$(sed -n 's/^\([0-9]*\) divisions for the first pass.*/\1/p' out)
second=$(sed -n 's/^.* first pass, \([0-9]*\) for the second$/\1/p' out)
[ "$second" -gt 0 ] && [ $((second * 10)) -lt "$first" ] || { echo "FAILED: costs"; cat out; exit 1; }
grep -q '^[1-9][0-9]* values left memory; [1-9][0-9]* were not worth the disk$' out
./costly >out
again=$(sed -n 's/^\([0-9]*\) divisions for the first pass.*/\1/p' out)
[ $((again * 10)) -lt "$first" ] || { echo "FAILED: costs, again"; cat out; exit 1; }
refuses 2 'usage:' ./costly many

# A store that cannot be opened is told of by each.
for name in parsed manifest graph costly; do
    rm -rf "$name-store"
    echo >"$name-store"
done
refuses 1 'cannot open the store parsed-store' ./parsed
refuses 1 'cannot open the store manifest-store' ./manifest
refuses 1 'cannot open the store graph-store' ./graph
refuses 1 'cannot open the store' ./costly
