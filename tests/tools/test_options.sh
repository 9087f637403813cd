#!/bin/sh
# Compares the options that `firn COMMAND --help` lists with the manual page and with the
# completion of each shell: what one of them has, all must have.
# Usage: test_options.sh FIRN SOURCE_ROOT
set -eu
firn=$1 root=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

same() {
    diff -u "$work/help" "$work/other" || {
        echo "FAILED: firn $command: --help and $1 differ (first file: --help)"
        failed=1
    }
}

for command in compact dump explain get stat top trace verify replay; do
    "$firn" "$command" --help | sed -n 's/^ \{2,6\}\(-., \)\{0,1\}--\([a-z-]*\).*/\2/p' |
        sort -u >"$work/help"
    [ -s "$work/help" ]

    awk -v ss=".Ss firn $command" '$0 == ss { on = 1; next } /^\.S[sh]/ { on = 0 }
        on && /^\.It/ { gsub(/,/, ""); for (i = 1; i <= NF; i++)
            if ($i == "Fl" && $(i + 1) ~ /^-/) print substr($(i + 1), 2) }' \
        "$root/docs/man/firn.1" | sort -u >"$work/other"
    same "firn.1"

    sed -n "s/^complete -c firn -n '__fish_seen_subcommand_from $command' .*-l \([a-z-]*\).*/\1/p" \
        "$root/tools/completion/firn.fish" | sort -u >"$work/other"
    same "firn.fish"

    awk -v label="$command)" '$1 == label { on = 1 } on { print } on && /;;/ { exit }' \
        "$root/tools/completion/firn.bash" | grep -o -e '--[a-z-]*' | sed 's/^--//' |
        sort -u >"$work/other"
    same "firn.bash"

    awk -v label="$command)" '$1 == label { on = 1 } on { print } on && /;;/ { exit }' \
        "$root/tools/completion/_firn" | grep -o -e '--[a-z-]*' | sed 's/^--//' |
        sort -u >"$work/other"
    same "_firn"
done

# Names of policies stand in the manual page and the completions too.
command=replay
"$firn" replay --policy '?' x 2>&1 | sed -n 's/.*there are: //p' | tr -d ',' >"$work/policies"
[ -s "$work/policies" ]
read -r policies <"$work/policies"
for file in tools/completion/_firn tools/completion/firn.bash tools/completion/firn.fish; do
    grep -q "$policies" "$root/$file" || {
        echo "FAILED: $file does not list the policies $policies"
        failed=1
    }
done
for policy in $policies; do
    grep -q "^\.Cm $policy\b" "$root/docs/man/firn.1" || {
        echo "FAILED: firn.1 does not name the policy $policy"
        failed=1
    }
done

if command -v mandoc >/dev/null; then
    mandoc -Tlint -Wwarning "$root/docs/man/firn.1" "$root/docs/man/firn.3" || failed=1
fi
if command -v bash >/dev/null; then
    bash -n "$root/tools/completion/firn.bash" || failed=1
fi
exit "$failed"
