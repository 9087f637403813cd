#!/bin/sh
# Tests the firn program from outside: exit codes, what it prints, and that bad input is refused
# with a word of help. Usage: test_program.sh FIRN ODD_STORE STREAMS_STORE LINKED_STORE TRACE
#        RECORDED_TRACE DECIDED_STORE
set -u
absolute() {
    echo "$(cd "$(dirname "$1")" && pwd)/${1##*/}"
}
firn=$(absolute "$1")
odd_store=$(absolute "$2")
streams_store=$(absolute "$3")
linked_store=$(absolute "$4")
trace=$(absolute "$5")
recorded_trace=$(absolute "$6")
decided_store=$(absolute "$7")
work=$(mktemp -d)
writer=
trap 'exec 3>&-; [ -z "$writer" ] || wait "$writer"; rm -rf "$work"' EXIT
cd "$work" || exit 1
failed=0

# Runs a command; its output goes to the files out and err.
# expect CODE COMMAND...
expect() {
    code=$1
    shift
    "$@" >out 2>err </dev/null
    got=$?
    if [ "$got" != "$code" ]; then
        echo "FAILED: $*: exit code $got, not $code"
        head -n 5 err
        failed=1
    fi
    unharmed "$@"
}
# No sanitizer, if there is one, has complained.
unharmed() {
    if grep -qE 'Sanitizer|runtime error' err; then
        echo "FAILED: $*"
        cat err
        failed=1
    fi
}
# The file has the fixed string.
has() {
    grep -qF -- "$2" "$1" || {
        echo "FAILED: no '$2' in:"
        head -n 20 "$1"
        failed=1
    }
}
lacks() {
    if grep -qF -- "$2" "$1"; then
        echo "FAILED: '$2' in $1"
        failed=1
    fi
}
is() {
    [ "$1" = "$2" ] || {
        echo "FAILED: '$1' is not '$2'"
        failed=1
    }
}

# --- help, version, misuse ---
expect 0 "$firn" --help
has out dump
expect 0 "$firn" --version
has out "firn "
expect 2 "$firn"
expect 2 "$firn" nonsense
has err "no command 'nonsense'"
expect 2 "$firn" help nonsense
for command in compact dump get stat trace verify replay; do
    expect 0 "$firn" "$command" --help
    has out "Usage: firn $command"
    cp out once
    expect 0 "$firn" help "$command"
    cmp -s out once || { echo "FAILED: help $command differs from $command --help"; failed=1; }
    expect 2 "$firn" "$command"
    has err --help
    expect 2 "$firn" "$command" --nonsense
    has err --help
    expect 2 "$firn" "$command" a b c d
done
if [ -c /dev/full ]; then
    "$firn" --help >/dev/full 2>err
    is $? 4
fi

# --- what is not a store ---
mkdir nothing-in-it
echo text >file
for command in compact dump stat verify "verify --repair=new"; do
    for path in missing file nothing-in-it; do
        # shellcheck disable=SC2086
        expect 4 "$firn" $command "$path"
        has err "firn ${command%% *}: "
        has err "$path"
    done
done
expect 4 "$firn" get file key
[ ! -e missing ] && [ ! -e new ] && [ ! -e new.partial ] || { echo "FAILED: a store was made by looking"; failed=1; }
is "$(ls -A nothing-in-it)" ""

# --- values of options ---
# shellcheck disable=SC1003
for bad in --min-size=x --min-size=-1 --max-size=1Q --max-size= --max-size=0x10 --max-size=1e3 \
    --max-size=99999999999999999999 --max-size=99999999999G --newer=soon --newer=-1s --older=5y \
    --older=99999999999999d --limit=-1 --limit=1x '--prefix=\xzz' '--prefix=a\' '--separator=\q'; do
    expect 2 "$firn" dump "$bad" missing
    has err --help
done
for bad in --hot=0 --hot=x --cold=0 --policy=none --tier=cold --threads=9 --promotion=never \
    --write-mode=x --durability=x --level=20 --value-size=0 --ttl=x --restart-at=0 \
    --restart-at=100 --shards=x; do
    expect 2 "$firn" replay "$bad" "$trace"
done
expect 2 "$firn" replay --policy none "$trace"
has err lru
expect 2 "$firn" replay --policy lru,arc "$trace"
expect 2 "$firn" replay --capacity 10 "$trace" odd
expect 2 "$firn" replay --capacity 10 --keep "$trace"
for bad in '--jobs 2' '--plot x.svg' '--ratio 2' '--cold 50%' '--cold ' '--capacity 10 --jobs 0' \
    '--capacity 10 --ratio 0.5' '--capacity 10 --ratio 2x' '--capacity 10 --cold 0'; do
    # shellcheck disable=SC2086
    expect 2 "$firn" replay $bad "$trace"
done
for bad in '' x 5x 0 10,x 0% % 1/0% 5%x x1/x 1e3% -1%; do
    expect 2 "$firn" replay --tier hot --capacity "$bad" "$trace"
done
expect 4 "$firn" replay --tier hot --capacity 10 missing
has err missing

# --- simulations of policies ---
printf '1\n2\n1\n3\n1\n' >short.csv
expect 0 "$firn" replay --tier hot --policy lru,clock --capacity 2,3 --json short.csv
is "$(wc -l <out | tr -d ' ')" 4
has out '"policy": "lru", "capacity": 2, "requests": 5, "hits": 2, "hit_ratio": 0.400000'
has out '"recommended": true'
expect 0 "$firn" replay --tier hot --policy all --capacity 4K "$trace"
has out tinylfu
expect 0 "$firn" replay --tier hot --capacity 50%,x2,1/2x,3 --hot 2 --json short.csv
is "$(grep -o '"capacity": [0-9]*' out | tr -d -c '0-9\n' | tr '\n' ' ')" "1 3 4 "
# Rounds of four keys: two above, two below, of which the log keeps what was hit.
printf '1,10\n2,10\n3,10\n4,10\n1,10\n2,10\n3,10\n4,10\n' >round.csv
expect 0 "$firn" replay --capacity 20 --cold 40 --json round.csv
has out '"hits": 4, "hit_ratio": 0.500000'
has out '"cold_capacity": 40, "hot_hit_ratio": 0.000000, "written_bytes": 40'
expect 0 "$firn" replay --capacity 20 --cold x2 --ratio 2 --json round.csv
has out '"written_bytes": 20'
expect 0 "$firn" replay --capacity 20 --cold 1 --json round.csv
has out '"hits": 0'
"$firn" replay --capacity 20 - <round.csv >out 2>err
is $? 0
cp round.csv 'a<b&.csv'
expect 0 "$firn" replay --jobs 3 --policy all --capacity auto --plot plot.svg 'a<b&.csv'
has out 'smallest within 0.01 of it'
has plot.svg '</svg>'
has plot.svg 'a&#60;b&#38;.csv'
if command -v python3 >/dev/null; then
    python3 -c 'import sys, xml.dom.minidom; xml.dom.minidom.parse("plot.svg")' || failed=1
fi
expect 4 "$firn" replay --capacity 20 --plot missing/plot.svg round.csv
has err missing/plot.svg
expect 2 "$firn" dump --raw --json missing
expect 2 "$firn" get --escaped-key missing '\x1'
expect 2 "$firn" get missing ''

# --- dump and get ---
expect 0 "$odd_store" odd
expect 0 "$firn" dump --values odd
cp out text
is "$(wc -l <text | tr -d ' ')" 9
is "$(LC_ALL=C tr -d '\11\12\40-\176\200-\377' <text | wc -c | tr -d ' ')" 0
has text 'café'
has text 'tab\there'
has text 'line one\nline two\r\n'
has text '\x1b[31mred'
has text '\x1b]0;title\x07 \x7f \xc2\x9b'
has text 'back\\slash"quote'
has text 'bytes\x00\xff\x01'
has text '\xe2\x80\xaexyz'
lacks text short-lived
expect 0 "$firn" dump odd
lacks out 'simple text'
expect 0 "$firn" dump --expired odd
has out short-lived
expect 0 "$firn" dump --prefix '\x1b[' odd
is "$(wc -l <out | tr -d ' ')" 1
expect 0 "$firn" dump --min-size 4K odd
is "$(cut -f 1 out)" large
expect 0 "$firn" dump --max-size 0 odd
is "$(cut -f 1 out)" empty
expect 0 "$firn" dump --older 1h odd
is "$(cat out)" ""
expect 0 "$firn" dump --newer 1h --limit 2 odd
is "$(wc -l <out | tr -d ' ')" 2
expect 0 "$firn" dump --raw --prefix plain odd
is "$(cat out)" "simple text"
"$firn" dump --raw -0 odd | tr -dc '\0' | wc -c >zeros
[ "$(tr -d ' ' <zeros)" -ge 9 ] || { echo "FAILED: --null"; failed=1; }
expect 0 "$firn" dump --raw --separator '--\n' --prefix empty odd
is "$(cat out)" "--"
if [ -c /dev/full ]; then
    "$firn" dump odd >/dev/full 2>err
    is $? 4
    has err "standard output"
fi

expect 0 "$firn" get odd plain
is "$(cat out)" "simple text"
is "$(wc -c <out | tr -d ' ')" 11
expect 0 "$firn" get --escaped-key --escape odd 'bytes\x00\xff\x01'
is "$(cat out)" '\xff\xfe\x00\x80'
expect 0 "$firn" get odd empty
is "$(wc -c <out | tr -d ' ')" 0
expect 1 "$firn" get odd absent
expect 1 "$firn" get odd short-lived
expect 0 "$firn" get odd large
is "$(wc -c <out | tr -d ' ')" 5000

# --- values in pieces ---
tab=$(printf '\t')
expect 0 "$streams_store" streams
expect 0 "$firn" dump streams
cp out text
is "$(grep -c "${tab}stream$tab" text)" 3
has text "text${tab}18000${tab}-${tab}stream${tab}v"
has text "bytes${tab}9000${tab}-${tab}stream${tab}v"
is "$(grep -c "^lost${tab}2000000${tab}-${tab}stream${tab}v[0-9]*${tab}incomplete\$" text)" 1
is "$(grep -c incomplete text)" 1
is "$(cut -f 1 text | grep -vc '^filler [0-9]*$')" 4
expect 0 "$firn" get streams text
printf '\342\202\254\t\360\237\230\200.' >once
for _ in 1 2 3 4 5 6 7 8 9 10; do cat once; done >ten
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    for _ in 1 2 3 4 5 6 7 8 9 10; do cat ten; done
done >whole
cmp -s out whole || { echo "FAILED: not the value that was written as a stream"; failed=1; }
expect 0 "$firn" get --escape streams text
is "$(wc -c <out | tr -d ' ')" 20001
lacks out '\x'
expect 0 "$firn" dump --values --prefix text streams
is "$(wc -c <out | tr -d ' ')" $((20000 + $(grep "^text$tab" text | wc -c) + 1))
lacks out '\x'
expect 0 "$firn" dump --raw --prefix text streams
is "$(wc -c <out | tr -d ' ')" 18001
expect 1 "$firn" get streams lost
has err incomplete
is "$(cat out)" ""
expect 1 "$firn" get --json streams lost
is "$(cat out)" ""
for how in --raw --values --json; do
    expect 0 "$firn" dump "$how" --prefix lost streams
    lacks err damaged
done
expect 0 "$firn" dump --raw --prefix lost streams
is "$(cat out)" ""
has err "is left out"
expect 0 "$firn" stat streams
has out "streams              3 in "
has out "with pieces missing: 1"
expect 0 "$firn" verify streams
has out "streams            3"
has out "streams_incomplete 1"
has out "which is no damage"
expect 0 "$firn" verify --repair=streams-saved streams
has out "incomplete         1"
expect 0 "$firn" get streams-saved text
cmp -s out whole || { echo "FAILED: a stream was not salvaged"; failed=1; }
expect 1 "$firn" get streams-saved lost
# A byte of a piece: it is the last place of these bytes, for the log's end was written last.
cp -R streams streams-hurt
at=$(LC_ALL=C grep -abo 'plain' streams-hurt/firn.log | tail -n 1 | cut -d : -f 1)
printf X | dd of=streams-hurt/firn.log bs=1 seek=$((at - 1000)) conv=notrunc 2>/dev/null
expect 3 "$firn" get streams-hurt bytes
has err "the value is cut off"
expect 3 "$firn" dump --values streams-hurt
has err "is not whole"
expect 3 "$firn" verify --quiet streams-hurt

# --- types and links ---
expect 0 "$linked_store" linked
expect 0 "$firn" dump linked
cp out text
is "$(wc -l <text | tr -d ' ')" 6
is "$(grep -c "^plain${tab}7${tab}7${tab}none${tab}v1000\$" text)" 1
is "$(grep -c "^typed${tab}.*${tab}v1001${tab}type=graph/2\$" text)" 1
is "$(grep -c "^stranger${tab}.*${tab}type=?[0-9a-f]\{8\}/9\$" text)" 1
is "$(grep -c "^chunk${tab}.*${tab}v1003${tab}owned\$" text)" 1
has text "v1004${tab}keeps=chunk${tab}keeps=\\x00\\xff\\t${tab}depends=typed"
has text "v1005${tab}type=graph/3${tab}owned${tab}depends=plain"
expect 0 "$firn" dump --values --prefix manifest linked
has out "depends=typed${tab}two parts"
expect 0 "$firn" get linked typed
is "$(cat out)" "an encoded graph"
has err "of type 'graph', version 2"
expect 0 "$firn" get linked plain
is "$(cat err)" ""
expect 0 "$firn" stat linked
has out "types                3, of 3 entries"
has out "  graph              version 3, 2 entries"
has out "  idle               version 1, 0 entries"
has out "version 9, 1 entries"
has out "links                4, of 2 entries; owned entries: 2"
expect 0 "$firn" verify linked
expect 0 "$firn" verify --repair=linked-saved linked
expect 0 "$firn" dump linked-saved
cmp -s out text || { echo "FAILED: types and links were not salvaged"; failed=1; }
expect 0 "$firn" compact linked-saved
expect 0 "$firn" dump linked-saved
cmp -s out text || { echo "FAILED: types and links were not kept by a compaction"; failed=1; }
printf X | dd of=linked-saved/firn.links bs=1 seek=12 conv=notrunc 2>/dev/null
expect 3 "$firn" verify linked-saved
has out "links_file_damaged 1"
has err "look through all records"

# --- stat and verify ---
expect 0 "$firn" stat odd
has out "compression ratio"
has out "closed clean"
expect 0 "$firn" verify odd
has out sound
expect 0 "$firn" verify --quiet odd
is "$(cat out err)" ""

# --- JSON ---
if command -v python3 >/dev/null; then
    # The Python expression over d, a list of the objects in the file, is true.
    json() {
        python3 -c "
import base64, json, sys
d = [json.loads(line) for line in open(sys.argv[1], encoding='utf-8')]
assert $2, str(d)[:2000]" "$1" || { echo "FAILED: $1: $2"; failed=1; }
    }
    expect 0 "$firn" dump --json --values odd
    LC_ALL=C grep -q '[[:cntrl:]]' out && { echo "FAILED: control characters in JSON"; failed=1; }
    json out "len(d) == 9 and {'key', 'value'} <= d[1].keys()"
    json out "[e['value'] for e in d if e.get('key') == '\\x1b[31mred'] == ['\\x1b]0;title\\x07 \\x7f \\x9b']"
    json out "[base64.b64decode(e['value_base64']) for e in d if 'key_base64' in e and \
base64.b64decode(e['key_base64']) == b'bytes\\0\\xff\\1'] == [b'\\xff\\xfe\\0\\x80']"
    json out "[e['value'] for e in d if e.get('key') == 'back\\\\slash\"quote'] == ['\\\\x41 is not A']"
    json out "[e['value'] for e in d if e.get('key') == 'turned\\u202e'] == ['\\u202exyz']"
    expect 0 "$firn" dump --json --values --prefix text streams
    json out "d[0]['value'] == '\u20ac\t\U0001f600.' * 2000 and d[0]['streamed'] is True"
    json out "d[0]['value_size'] == 18000 and d[0]['stored_size'] is None and d[0]['pieces'] == 5"
    expect 0 "$firn" get --json streams bytes
    json out "base64.b64decode(d[0]['value_base64']) == b'\xff\0\xe2' * 3000"
    expect 0 "$firn" dump --json streams
    json out "[e['key'] for e in d if e['incomplete']] == ['lost']"
    json out "sorted(e['key'] for e in d if e['streamed']) == ['bytes', 'lost', 'text']"
    expect 0 "$firn" dump --json --values --prefix lost streams
    json out "'value' not in d[0] and d[0]['incomplete'] is True"
    expect 0 "$firn" stat --json streams
    cp out once
    expect 0 "$firn" verify --json streams
    cat once >>out
    json out "d[0]['entries'] == d[1]['entries'] and d[0]['pieces'] == d[1]['pieces'] > 7"
    expect 0 "$firn" dump --json --values linked
    json out "[e['type'] for e in d[:2]] == [None, 'graph'] and d[1]['type_version'] == 2"
    json out "d[2]['type'] == '?%08x' % d[2]['type_id'] and d[1]['value'] == 'an encoded graph'"
    json out "[e['key'] for e in d if e['owned']] == ['chunk', 'all']"
    json out "[l['kind'] for l in d[4]['links']] == ['keeps', 'keeps', 'depends']"
    json out "base64.b64decode(d[4]['links'][1]['key_base64']) == b'\\0\\xff\\t'"
    json out "d[4]['links'][2] == {'kind': 'depends', 'key': 'typed', 'version': 300}"
    json out "d[0]['links'] == [] and d[5]['links'][0]['key'] == 'plain'"
    expect 0 "$firn" get --json linked typed
    json out "d[0]['type'] == 'graph' and d[0]['value'] == 'an encoded graph'"
    is "$(cat err)" ""
    expect 0 "$firn" stat --json linked
    json out "(d[0]['typed'], d[0]['linked'], d[0]['links'], d[0]['owned']) == (3, 2, 4, 2)"
    json out "[(t['name'], t['version'], t['entries']) for t in d[0]['types'][:2]] == \
[('graph', 3, 2), ('idle', 1, 0)] and d[0]['types'][2]['name'] == '?%08x' % d[0]['types'][2]['id']"
    expect 0 "$firn" get --json odd empty
    json out "d[0]['value'] == '' and d[0]['value_size'] == 0"
    expect 0 "$firn" stat --json odd
    json out "d[0]['entries'] == d[0]['records'] == 10 and d[0]['closed_clean'] == 1"
    expect 0 "$firn" verify --json odd
    json out "d[0]['sound'] is True and d[0]['pages_checked'] > 0"
fi

# --- beside a live writer ---
mkfifo hold
# Runs a command in the background, until fd 3 is closed, and waits for its word.
hold() {
    : >ready
    "$@" <hold >ready &
    writer=$!
    exec 3>hold
    tries=0
    until [ -s ready ] || [ "$tries" = 600 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
}
release() {
    exec 3>&-
    wait "$writer" || { echo "FAILED: the writer"; failed=1; }
    writer=
}
hold "$odd_store" odd wait
expect 0 "$firn" stat odd
has out "pid $writer"
expect 0 "$firn" dump odd
expect 0 "$firn" get odd plain
expect 0 "$firn" verify odd
has out "a writer is active"
expect 4 "$firn" replay --no-restart "$trace" odd
expect 4 "$firn" compact odd
has err "process $writer"
expect 4 "$firn" verify --repair=new odd
has err "process $writer"
[ ! -e new ] || { echo "FAILED: a store was salvaged beside a writer"; failed=1; }
tries=0 # until it has written of what it did
until "$firn" top --json --once odd | grep -q '"puts": 10' || [ "$tries" = 600 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
expect 0 "$firn" top --once odd
has out "pid $writer, running"
has out "cold_write"
expect 0 "$firn" top --prometheus odd
has out '# TYPE firn_operation_seconds histogram'
has out 'firn_puts_total{store="odd"} 10'
"$firn" top --interval 50ms odd >lines 2>err 3>&- & # ends when the writer does
watcher=$!
expect 0 "$firn" explain odd plain
has out "on disk      yes"
lacks out "no process has the store open"
release
wait "$watcher" || { echo "FAILED: firn top, beside the writer"; failed=1; }
has lines 'gets/s'
unharmed firn top

# --- where an entry is, by what was decided ---
hold "$decided_store" decided
# says CODE KEY DISK MEMORY: what is told of an entry.
says() {
    expect "$1" "$firn" explain decided "$2"
    is "$(sed -n 's/^on disk  *//p' out | cut -d ' ' -f 1)" "$3"
    is "$(sed -n 's/^in memory  *//p' out)" "$4"
}
says 0 "put again" yes, "probably in memory: it was put since"
says 0 unwritten no "probably in neither tier, unless it was put since"
says 0 deleted no "probably in neither tier, unless it was put since"
says 0 loaded no "probably in memory"
says 0 "no value" no "at most that there is no value: the loader found none"
says 0 failed no "not known: nothing that tells was decided about it lately"
says 0 mended yes, "probably in memory: it was put since"
says 3 damaged damaged: "probably not in memory"
has err "is damaged"
has out "its record cannot be read"
if command -v python3 >/dev/null; then
    expect 3 "$firn" explain --json decided damaged
    json out "d[0]['stored'] is False and d[0]['damaged'] is True and 'value_size' not in d[0]"
    json out "d[0]['decisions'][-1]['kind'] == 'damage' and d[0]['memory'] == 'probably not in memory'"
    expect 0 "$firn" explain --json decided mended
    json out "d[0]['stored'] is True and d[0]['damaged'] is False"
fi
release
says 0 "put again" yes, "no process has the store open for writing"

# --- what the process left behind, and bad pages ---
expect 0 "$firn" top odd
has out "gets/s"
expect 0 "$firn" top --once odd
has out "closed; opened"
has out "put  "
expect 0 "$firn" explain odd plain
has out "no process has the store open"
expect 1 "$firn" explain odd 'no such key'
expect 0 "$firn" explain --escaped-key odd 'p\x6cain'
expect 2 "$firn" explain odd
expect 2 "$firn" explain odd ''
expect 4 "$firn" explain missing plain
expect 2 "$firn" top
expect 2 "$firn" top --interval never odd
expect 4 "$firn" top missing
if command -v python3 >/dev/null; then
    expect 0 "$firn" top --once --json odd
    json out "d[0]['state'] == 'closed' and d[0]['stats']['cold_entries'] == 10 and 'put' in d[0]['latencies']"
    expect 0 "$firn" explain --json odd plain
    json out "d[0]['stored'] is True and d[0]['writer'] == 'closed' and d[0]['key'] == 'plain'"
fi
cp -R odd paged
for keep in 0 100 5000 200000; do # of a part that is there, what it says
    head -c $keep odd/firn.page >paged/firn.page
    timeout 20 "$firn" top --once paged >out 2>err
    [ $? -le 4 ] || { echo "FAILED: firn top on a page that is cut at $keep"; failed=1; }
    unharmed top on a page that is cut
    expect 0 "$firn" explain paged plain
done
size=$(wc -c <odd/firn.page | tr -d ' ')
head -c "$size" /dev/urandom >paged/firn.page
expect 4 "$firn" top --once paged
expect 0 "$firn" explain paged plain
rm paged/firn.page
expect 4 "$firn" top --once paged
has err "no firn.page"
expect 0 "$firn" explain paged plain

# --- damage ---
cp -R odd hurt
data=$(find hurt -type f -name '*.mdb' ! -name 'lock*' | head -n 1)
size=$(wc -c <"$data" | tr -d ' ')
head -c $((size - 8192)) /dev/zero | tr '\000' X |
    dd of="$data" bs=4096 seek=2 conv=notrunc 2>/dev/null # every page but the two heads
for command in dump stat "get --raw" verify; do
    # shellcheck disable=SC2086
    timeout 60 "$firn" $command hurt plain >out 2>err </dev/null
    [ $? -le 4 ] || { echo "FAILED: firn $command on a damaged store"; failed=1; }
    unharmed "firn $command" on a damaged store
done

# --- salvage ---
# All files but those of locks are as they were.
sums() {
    find "$1" -type f ! -name lock.mdb ! -name firn.lock -exec cksum {} + | sort
}
expect 2 "$firn" verify --force odd
has err --repair
expect 2 "$firn" verify --repair= odd
expect 2 "$firn" verify --repair
expect 2 "$firn" verify --repair=hurt odd
has err "is there already"
expect 2 "$firn" verify --repair=missing/new odd
expect 2 "$firn" verify --repair=odd/new odd
has err "lies in the damaged store"
"$firn" dump --values odd | cut -f 1-4,7- | sort >text
sums hurt >before
expect 0 "$firn" verify --repair=saved hurt
has out "salvaged           9"
has out "index_damaged      1"
sums hurt >once
cmp -s once before || { echo "FAILED: the damaged store was written to"; failed=1; }
expect 0 "$firn" verify saved
"$firn" dump --values saved | cut -f 1-4,7- | sort >once
cmp -s text once || { echo "FAILED: not all was salvaged"; failed=1; }
[ ! -e saved.partial ] || { echo "FAILED: something was left behind"; failed=1; }
rm hurt/firn.journal
expect 3 "$firn" verify --repair=forced hurt
has err --force
[ ! -e forced ] || { echo "FAILED: salvaged without a journal"; failed=1; }
expect 0 "$firn" verify --quiet --force --repair=forced hurt
is "$(cat out err)" ""
expect 0 "$firn" verify forced
rm hurt/firn.log
expect 4 "$firn" verify --force --repair=none hurt

# --- compact ---
expect 0 "$firn" compact saved
has out "entries            9"
expect 0 "$firn" verify saved
"$firn" dump --values saved | cut -f 1-4,7- | sort >once
cmp -s text once || { echo "FAILED: compact lost something"; failed=1; }
expect 0 "$firn" compact --quiet saved
is "$(cat out err)" ""
if command -v python3 >/dev/null; then
    expect 0 "$firn" verify --json --repair=again odd
    json out "d[0]['salvaged'] == 9 and d[0]['expired'] == 1 and d[0]['store'] == 'again'"
    expect 0 "$firn" compact --json again
    json out "d[0]['entries'] == 9 and d[0]['bytes_after'] <= d[0]['bytes_before']"
fi

# --- recordings ---
expect 0 "$recorded_trace" all.trace 1
expect 0 "$recorded_trace" part.trace 0.3
expect 2 "$firn" trace --csv --json all.trace
expect 4 "$firn" trace missing.trace
expect 3 "$firn" trace "$trace"
has err 'not a recording'
expect 0 "$firn" trace all.trace
has out 'gets                 60000'
has out 'cut_short            0'
expect 0 "$firn" trace --csv all.trace
grep -qvE '^[0-9]+,[0-9]+$' out && { echo "FAILED: --csv"; failed=1; }
mv out all.csv
expect 0 "$firn" replay --tier hot --capacity 100K all.csv
size=$(wc -c <all.trace)
head -c $((size - 10)) all.trace >cut.trace
expect 0 "$firn" trace cut.trace
has out 'cut_short            1'
cp all.trace hurt.trace
printf X | dd of=hurt.trace bs=1 seek=$((size / 2)) conv=notrunc 2>/dev/null
expect 3 "$firn" trace hurt.trace
has err 'figures are of what stands before'
expect 4 "$firn" replay hurt.trace
has err damaged
"$firn" replay --hot 1M --cold 2M - <all.trace >out 2>err
is $? 4
has err 'from a file'
expect 0 "$firn" replay --quiet --no-restart all.trace
has out 'wrong_values                     0'
expect 0 "$firn" replay --quiet --no-restart --hot 1M --cold 10M --json part.trace
if command -v python3 >/dev/null; then
    json out "0.25 < d[0]['sampling_rate'] < 0.35 and 310000 < d[0]['hot_bytes_max'] < 320000"
fi
# All keys, and a part of them: the same sizes, and nearly the same hits.
expect 0 "$firn" replay --tier hot --capacity 1/2x,x1,2x --json all.trace
mv out all.json
expect 0 "$firn" replay --tier hot --capacity 1/2x,x1,2x --json part.trace
if command -v python3 >/dev/null; then
    cat all.json >>out
    json out "[r['capacity'] for r in d] == 2 * [262144, 524288, 1048576]"
    json out "all(abs(d[i]['hit_ratio'] - d[i + 3]['hit_ratio']) < 0.15 for i in range(3))"
fi

# --- replay ---
printf '1,100\n2,200\n1,100\n3\n18446744073709551615,5\r\n0,70\n\n1,100' >small.csv
expect 0 "$firn" replay small.csv kept
has out "requests                         7"
has out "wrong_values                     0"
expect 0 "$firn" get kept 2
is "$(wc -c <out | tr -d ' ')" 200
expect 0 "$firn" get kept 3
is "$(wc -c <out | tr -d ' ')" 1024
expect 0 "$firn" replay --tier hot --hot 1M small.csv
expect 2 "$firn" replay --tier hot small.csv kept
expect 0 "$firn" replay --threads 0 --no-restart small.csv
expect 2 "$firn" replay -
"$firn" replay --hot 1M --cold 2M - <small.csv >out 2>err
is $? 0
has out "hit_ratio"
for bad in 'x' '1,' '1,x' '1;2' '-1' '18446744073709551616' '1,2,3' ' 1'; do
    printf '1\n%s\n' "$bad" >bad.csv
    expect 4 "$firn" replay bad.csv
    has err "line 2"
done
: >empty.csv
expect 4 "$firn" replay empty.csv
has err "no requests"
expect 4 "$firn" replay missing.csv
expect 4 "$firn" replay .
head -c 5000 "$trace" >cut.csv.zst
expect 4 "$firn" replay cut.csv.zst
has err "ends early"
printf '1,99999999999999\n2,10\n' >huge.csv
expect 0 "$firn" replay --hot 1M --cold 2M huge.csv
has out "refused_too_large                1"
mkdir scratch
TMPDIR=$work/scratch
export TMPDIR
expect 0 "$firn" replay --quiet --json "$trace"
is "$(ls -A scratch)" ""
if command -v python3 >/dev/null; then
    json out "d[0]['wrong_values'] == 0 and d[0]['requests'] > 1000 and 0 < d[0]['hit_ratio'] < 1"
    json out "d[0]['warmed'] > 0 and len(d[0]['hot_hit_ratio_windows']) > 0"
fi
expect 0 "$firn" replay --keep --no-restart small.csv
kept=$(sed -n 's/^The store is kept in //p' err)
expect 0 "$firn" verify "$kept"

[ "$failed" = 0 ] && echo "all is well"
exit "$failed"
