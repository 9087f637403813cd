#!/bin/sh
# Installs firn into a scratch folder, as a packager would, and builds programs against what was
# installed through pkg-config alone: the README's example as C and as C++, shared and static, and
# the examples. Usage: installed.sh BUILD_FOLDER README
set -eu
build=$1 readme=$2
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

meson install -C "$build" --no-rebuild --destdir "$work/root" >"$work/log" || { cat "$work/log"; exit 1; }
pc=$(find "$work/root" -name firn.pc)
prefix=$(sed -n 's/^prefix=//p' "$pc")
sed -i "s|^prefix=.*|prefix=$work/root$prefix|" "$pc" # where it would be without the scratch folder
export PKG_CONFIG_PATH="${pc%/*}"

awk '/^```c$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$readme" >"$work/example.c"
cp "$work/example.c" "$work/example.cc"
lib=$(pkg-config --variable=libdir firn)
cd "$work"

cc -std=c11 -pedantic -Wall -Wextra -Werror example.c $(pkg-config --cflags --libs firn) -o shared
c++ -std=c++17 -pedantic -Wall -Wextra -Werror example.cc $(pkg-config --cflags --libs firn) -o cplusplus
cc example.c $(pkg-config --cflags firn) "$lib/libfirn.a" \
    $(pkg-config --libs lmdb libzstd libxxhash) -pthread -o static

export LD_LIBRARY_PATH="$lib"
[ "$(./shared)" = "computed" ]
[ "$(./cplusplus)" = "from the last run: forty-two" ]
[ "$(./static)" = "from the last run: forty-two" ]

# Nothing but firn_... is to be seen from outside.
foreign=$(nm -D --defined-only "$lib/libfirn.so" | awk '{ print $3 }' | grep -v '^firn_' || true)
[ -z "$foreign" ] || { echo "symbols that should be hidden: $foreign"; exit 1; }

"$work/root$prefix/bin/firn" verify example-store >/dev/null
"$work/root$prefix/bin/firn" --version

"$here/examples.sh" "$(find "$work/root" -path '*/doc/firn/examples')" cc
