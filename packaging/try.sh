#!/usr/bin/env bash
# Installs the build's dependencies, builds pkgfs, mounts the sample package and lists it.
#   packaging/try.sh [MOUNTPOINT]
set -euo pipefail
case ${1:-} in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
mountpoint=${1:-/tmp/pkgfs-hello}
case $mountpoint in
  /*) ;;
  *) mountpoint=$PWD/$mountpoint ;; # relative to the caller's working directory
esac
cd "$(dirname "$0")/.."
pkgfs=$PWD/build/release/pkgfs
sample=packaging/sample

packaging/install-deps build run
cmake --preset release -DPKGFS_BUILD_TESTS=OFF -DPKGFS_BUILD_BENCH=OFF
cmake --build --preset release --target pkgfs

if [ ! -w /dev/fuse ]; then
  echo "There is no usable /dev/fuse here, so this shows the tree without a mount (pkgfs tree):"
  "$pkgfs" tree --registry "$sample/registry" "$sample/hello"
  exit 0
fi

# An earlier run may have left a mount, live or dead.
"$pkgfs" unmount -- "$mountpoint" 2>/dev/null || true
mkdir -p -- "$mountpoint"
"$pkgfs" mount --registry "$sample/registry" -- "$sample/hello" "$mountpoint"
echo
echo "$sample/hello and the package it depends on, demo/greetings from $sample/registry, at $mountpoint:"
find "$mountpoint" -printf '%M %6s  %p\n' | sort -k 3
cat "$mountpoint/app/welcome.txt"
echo
echo "The mount is read-only, and edits in $sample/hello/app show at once. To unmount it:"
printf '  %q unmount %q\n' "$pkgfs" "$mountpoint"
