// SPDX-License-Identifier: MIT
// Risk: a container that has bound a mount doesn't see the new version, or loses what its engine has mounted in it.
#include "tests/containers/engines.h"

namespace pkgfs::test {
namespace {

class PodmanRefresh : public Podman {};
class DockerRefresh : public Docker {};

/// "one" has bound the mount, and something else on a directory of it.
constexpr const char* kRefreshes = R"sh(
publish() {
  mkdir -p /run/made/root/data /run/reg/acme/app
  printf '[fs]\n"/" = "root"\n' > /run/made/wasmer.toml
  echo "version $1" | tee /run/made/root/version > /run/made/root/data/file
  pkgfs pack /run/made -o /run/reg/acme/app/$1.webc > /dev/null
}
mkdir -p /run/app /run/cover
echo covers > /run/cover/mark
publish 1.0.0
pkgfs mount --follow=1h --registry /run/reg acme/app /run/app
$ENGINE run -d --name one $NETWORK -v /run/app:/app:ro busybox sleep 100 > /dev/null
$ENGINE run -d --name two $NETWORK -v /run/app:/app:ro -v /run/cover:/app/data:ro busybox sleep 100 > /dev/null
$ENGINE exec one cat /app/version /app/data/file
publish 1.1.0
pkgfs refresh /run/app
echo "one: $($ENGINE exec one cat /app/version)"
echo "two: $($ENGINE exec two cat /app/version) $($ENGINE exec two cat /app/data/mark)"
$ENGINE rm -f $AT_ONCE one two > /dev/null
for _ in $(seq 50); do grep -q 1.1.0 /run/app/data/file && break; sleep 0.1; done
echo "then: $(cat /run/app/data/file)"
pkgfs unmount /run/app
)sh";

TEST_F(PodmanRefresh, ContainersThatBoundTheMountSeeTheNewVersion) {
  expect(run("podman", kRefreshes, {{"ENGINE", "podman"}, {"NETWORK", ""}, {"AT_ONCE", "-t 0"}}),
         {"one: version 1.1.0\n", "two: version 1.1.0 covers\n", "then: version 1.1.0\n"});
}

TEST_F(DockerRefresh, ContainersThatBoundTheMountSeeTheNewVersion) {
  expect(run("docker", kRefreshes, {{"ENGINE", "docker"}, {"NETWORK", "--network none"}, {"AT_ONCE", ""}}),
         {"one: version 1.1.0\n", "two: version 1.1.0 covers\n", "then: version 1.1.0\n"});
}

}  // namespace
}  // namespace pkgfs::test
