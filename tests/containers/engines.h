// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tests/containers/sandbox.h"

namespace pkgfs::test {

/// For the scripts. `plugin` starts it and waits until it answers; `state` prints what the plugin says of a volume;
/// `unmounted` waits until nothing is mounted for it. With `in_host_network`, the plugin reaches servers on the
/// loopback device of this machine, also where the engine has a network of its own.
inline constexpr const char* kTools = R"sh(
sock=/run/docker/plugins/pkgfs.sock
in_host_network() { network="nsenter --net=/proc/self/fd/9"; }
plugin() {
  ${network:-} pkgfs volume-plugin --keep=1 --log-level=info "$@" 2>> /run/plugin.log & plugin=$!
  for _ in $(seq 100); do curl -s --unix-socket $sock -d '' http://x/Plugin.Activate > /dev/null && return; sleep 0.05; done
  cat /run/plugin.log; exit 1
}
state() { curl -s --unix-socket $sock -d "{\"Name\":\"$1\"}" http://x/VolumeDriver.Get; }
reaches() { for _ in $(seq 150); do state $1 | grep -q "\"state\":\"$2\"" && return; sleep 0.1; done; state $1; exit 1; }
mounted() { grep -c " /run/pkgfs/volumes/$1 fuse.pkgfs " /proc/self/mounts || true; }
unmounted() { for _ in $(seq 100); do [ "$(mounted $1)" = 0 ] && return; sleep 0.1; done; echo "$1 stays mounted"; exit 1; }
ended() { for _ in $(seq 50); do pgrep -f "$1" > /dev/null || return 0; sleep 0.1; done; echo "$1 goes on"; exit 1; }
fails() { if "$@" > /run/said 2>&1; then echo "succeeded: $*"; exit 1; fi; cat /run/said; }
trap 'rc=$?; [ $rc = 0 ] || { echo "line $LINENO: exit code $rc"; tail -40 /run/plugin.log; }' EXIT
)sh";

/// Scripts for real engines.
class Engines : public ContainerTest {
 protected:
  ProcessResult run(const std::string& engine, const std::string& script,
                    const std::vector<std::pair<std::string, std::string>>& variables = {}) {
    return sandbox_.run(engine, kTools + script, variables);
  }
  static void expect(const ProcessResult& result, const std::vector<std::string>& says = {}) {
    EXPECT_TRUE(result.ok()) << result.describe();
    for (const std::string& text : says) {
      EXPECT_NE(result.out.find(text), std::string::npos) << "not there: " << text << "\n" << result.describe();
    }
  }
};

/// Tests with podman.
class Podman : public Engines {
 protected:
  void SetUp() override {
    Engines::SetUp();
    if (!IsSkipped()) {
      need({"podman", "runc", "conmon", "curl"});
    }
  }
};

/// Tests with dockerd.
class Docker : public Engines {
 protected:
  void SetUp() override {
    Engines::SetUp();
    if (!IsSkipped()) {
      need({"dockerd", "docker", "curl", "ip", "python3"});
    }
  }
};

}  // namespace pkgfs::test
