// SPDX-License-Identifier: MIT
// Risk: a container that has bound a served directory sees only what was open when it started.
#include "tests/containers/engines.h"

namespace pkgfs::test {
namespace {

class PodmanServe : public Podman {};
class DockerServe : public Docker {};

/// The container starts before any package was looked at, and binds the directory without "rslave".
constexpr const char* kServes = R"sh(
publish() {
  mkdir -p /run/made/root/data "/run/reg/$1"
  printf '[fs]\n"/" = "root"\n' > /run/made/wasmer.toml
  echo "$1 $2" | tee /run/made/root/version > /run/made/root/data/file
  pkgfs pack /run/made -o "/run/reg/$1/$2.webc" > /dev/null
}
mkdir -p /run/pkgs
publish acme/app 1.0.0
pkgfs serve --idle=1s --offline --registry /run/reg /run/pkgs
$ENGINE run -d --name one $NETWORK -v /run/pkgs:/pkgs:ro busybox sleep 100 > /dev/null
echo "first: $($ENGINE exec one cat /pkgs/acme/app@1/version)"
publish acme/tool 2.0.0
publish acme/app 1.1.0
echo "later: $($ENGINE exec one cat /pkgs/acme/tool/data/file)"
for _ in $(seq 100); do $ENGINE exec one ls -l /pkgs/acme/app | grep -q 1.1.0 && break; sleep 0.2; done
echo "newest: $($ENGINE exec one cat /pkgs/acme/app/version)"
echo "exact: $($ENGINE exec one cat /pkgs/acme/app@1.0.0/version)"
$ENGINE exec -d -w /pkgs/acme/tool@2.0.0/data one sh -c 'sleep 5; cat file > /tmp/said; pwd >> /tmp/said'
sleep 7
echo "working directory: $($ENGINE exec one cat /tmp/said)"
echo "again: $($ENGINE exec one cat /pkgs/acme/app@1.0.0/version)"
fails $ENGINE exec one ls /pkgs/acme/none | grep "No such file"
$ENGINE rm -f $AT_ONCE one > /dev/null
pkgfs unmount /run/pkgs
)sh";

const std::vector<std::string> kSaid{
    "first: acme/app 1.0.0\n",  "later: acme/tool 2.0.0\n",
    "newest: acme/app 1.1.0\n", "exact: acme/app 1.0.0\n",
    "again: acme/app 1.0.0\n",  "working directory: acme/tool 2.0.0\n/pkgs/acme/tool@2.0.0/data\n"};

TEST_F(PodmanServe, AContainerSeesEveryPackage) {
  expect(run("podman", kServes, {{"ENGINE", "podman"}, {"NETWORK", ""}, {"AT_ONCE", "-t 0"}}), kSaid);
}

TEST_F(DockerServe, AContainerSeesEveryPackage) {
  expect(run("docker", kServes, {{"ENGINE", "docker"}, {"NETWORK", "--network none"}, {"AT_ONCE", ""}}), kSaid);
}

}  // namespace
}  // namespace pkgfs::test
