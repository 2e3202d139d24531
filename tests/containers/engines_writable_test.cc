// SPDX-License-Identifier: MIT
// Risk: a container can't write into a writable volume, its changes are lost before the volume is, or stay after it.
#include "tests/containers/engines.h"

namespace pkgfs::test {
namespace {

/// Two containers, one after the other: the volume is unmounted between them.
constexpr const char* kWrites = R"sh(
overlays() { grep -c " /run/pkgfs/volumes/$1 overlay " /proc/self/mounts || true; }
gone() { for _ in $(seq 100); do [ "$(overlays $1)" = 0 ] && [ -z "$(ls /run/pkgfs/writable)" ] && return; sleep 0.1; done; echo "$1 stays"; exit 1; }
said() { pkgfs stats --json /run/pkgfs/volumes/py | sed -n "s/^ *\"$1\": \([0-9]*\),*$/\1/p"; }
changes=/var/lib/pkgfs/volumes/changes
plugin
fails $ENGINE volume create $CREATE pkgfs -o package=python/python -o writable=/etc py
$ENGINE volume create $CREATE pkgfs -o package=python/python -o writable=true py > /dev/null
$ENGINE run --rm --network none -v py:/p busybox sh -c 'echo kept > /p/new; rm /p/lib/python3.12/os.py'
gone py
pkgfs changes $changes/py
$ENGINE run -d --name one --network none -v py:/p busybox sleep 100 > /dev/null
kill -KILL $plugin; wait $plugin 2> /dev/null || true; plugin
pkgfs mounts | grep -c '/run/pkgfs/volumes/py (live)'
kill -KILL $(said pid); until [ "$(said generation)" = 2 ]; do sleep 0.05; done
$ENGINE exec one sh -c 'cat /p/new; ls /p/lib/python3.12; cat /p/lib/python3.12/json/__init__.py'
$ENGINE rm -f $AT_ONCE one > /dev/null
gone py
$ENGINE volume rm py > /dev/null
[ ! -e $changes/py ] || { echo "the changes stay"; exit 1; }
$ENGINE volume create $CREATE pkgfs -o package=python/python -o writable=discard py > /dev/null
$ENGINE run --rm --network none -v py:/p busybox sh -c 'ls /p; echo new > /p/new'
gone py
$ENGINE run --rm --network none -v py:/p busybox sh -c '[ ! -e /p/new ]'
gone py
$ENGINE volume rm py > /dev/null
ended 'pkgfs mount'
)sh";

const std::vector<std::string> kSays{"a volume keeps its changes itself",
                                     "D /lib/python3.12/os.py  5 bytes\nA /new  5 bytes\n1\nkept\njson\n# json\n"};

TEST_F(Podman, AWritableVolumeKeepsChangesUntilItIsRemoved) {
  expect(run("podman", kWrites, {{"ENGINE", "podman"}, {"CREATE", "--driver"}, {"AT_ONCE", "-t 0"}}), kSays);
}

TEST_F(Docker, AWritableVolumeKeepsChangesUntilItIsRemoved) {
  expect(run("docker", kWrites, {{"ENGINE", "docker"}, {"CREATE", "-d"}, {"AT_ONCE", ""}}), kSays);
}

}  // namespace
}  // namespace pkgfs::test
