#!/bin/sh
# Installs what firn is built and tested with, on Debian and its kin; does nothing when all is there.
# Usage: sh tools/setup.sh [package...]   further packages to install
set -eu

packages="meson ninja-build pkg-config gcc g++ libc6-dev liblmdb-dev libzstd-dev libxxhash-dev check $*"
missing=""
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
        missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=""
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || {
        echo "setup: needs root to install:$missing" >&2
        exit 1
    }
    as_root="sudo"
fi
echo "setup: installing$missing" >&2
$as_root apt-get update -qq
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing >&2
