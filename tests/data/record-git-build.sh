#!/bin/sh
# Records the file reads of a real build as a trace for `firn replay`.
#
# usage: record-git-build.sh SOURCE OUTPUT.csv.zst
#
# SOURCE is an unpacked source tree of Git (`apt-get source git` on Debian). It is built with gcc
# under strace, then rebuilt several times after edits of the kind a working day brings: one
# source file, a few, a header that many include. strace-to-trace.py turns what was read into
# numbers. Needs strace, gcc, make, python3 and zstd.
set -eu

if [ $# -ne 2 ]; then
    echo "usage: $0 SOURCE OUTPUT.csv.zst" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
source=$1
case $2 in
/*) output=$2 ;;
*) output=$PWD/$2 ;;
esac

log=$(mktemp)
work=$(mktemp)
trap 'rm -f "$log" "$work"' EXIT

# No documentation, no scripts, nothing that needs further libraries: C files and links only.
cat >"$work" <<'STEPS'
set -eu
build() {
    make -j2 CFLAGS=-O0 NO_CURL=1 NO_EXPAT=1 NO_GETTEXT=1 NO_TCLTK=1 NO_PERL=1 NO_PYTHON=1 \
        NO_OPENSSL=1 NO_INSTALL_HARDLINKS=1 SKIP_DASHED_BUILT_INS=1 git
}
build
touch diff.c
build
touch revision.c refs.c builtin/log.c
build
touch diff.h
build
touch config.c
build
touch revision.h
build
touch builtin/commit.c
build
touch refs.h
build
STEPS

cd "$source"
make clean >/dev/null 2>&1 || true
LC_ALL=C strace -f -y --seccomp-bpf -s 0 -o "$log" -e trace=openat,read,pread64,lseek \
    sh "$work" >/dev/null
python3 "$here/strace-to-trace.py" <"$log" | zstd -19 -q -f -o "$output"
