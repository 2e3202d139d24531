// SPDX-License-Identifier: MIT
// Risk: idle CPUs are kept awake for nothing, or for ever.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>

#include "tests/mounted/mounted.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr const char* kDevice = "/dev/cpu_dma_latency";

class CpuLatency : public MountedTest {
 protected:
  void SetUp() override {
    MountedTest::SetUp();
    if (::access(kDevice, W_OK) != 0) {
      GTEST_SKIP() << "this machine has no " << kDevice << ", or it isn't for us";
    }
  }
  /// Whether this daemon has the device open. The value that the kernel shows combines the wishes of all processes.
  static bool is_wished(pid_t daemon) {
    std::error_code gone;
    for (const auto& entry : fs::directory_iterator("/proc/" + std::to_string(daemon) + "/fd", gone)) {
      if (fs::read_symlink(entry.path(), gone) == kDevice) {
        return true;
      }
    }
    return false;
  }
  /// Asks for one absent name, a new one, as each is a request.
  void ask(const MountedPackage& mount) {
    struct stat status{};
    EXPECT_NE(::stat((mount / ("absent" + std::to_string(++asked_))).c_str(), &status), 0);
    EXPECT_EQ(errno, ENOENT);
  }
  /// Asks for `time`; whether the wish was made meanwhile.
  bool is_wished_while_asking(const MountedPackage& mount, milliseconds time) {
    const pid_t daemon = mount.daemon();
    const auto end = steady_clock::now() + time;
    bool wished = false;
    do {
      for (int i = 0; i < 64; ++i) {
        ask(mount);
      }
      wished = is_wished(daemon);
    } while (!wished && steady_clock::now() < end);
    return wished;
  }

 private:
  int asked_ = 0;
};

TEST_F(CpuLatency, IsWishedForAsLongAsManyRequestsCome) {
  const MountedPackage mount(kPkgfs, single("basic-v3"), {"--cpu-latency=on"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const pid_t daemon = mount.daemon();
  EXPECT_FALSE(is_wished(daemon));
  for (int round = 0; round < 3; ++round) {
    EXPECT_TRUE(is_wished_while_asking(mount, std::chrono::seconds(10))) << "round " << round;
    EXPECT_TRUE(eventually([&] { return !is_wished(daemon); })) << "round " << round;
  }
  EXPECT_EQ(mount.daemon(), daemon) << "it lives";
}

TEST_F(CpuLatency, IsNotWishedForAFewRequests) {
  const MountedPackage mount(kPkgfs, single("basic-v3"), {"--cpu-latency=on"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const pid_t daemon = mount.daemon();
  for (int i = 0; i < 40; ++i) {
    ask(mount);
    sleep_ms(10);
    EXPECT_FALSE(is_wished(daemon)) << i;
  }
}

TEST_F(CpuLatency, IsNotWishedForWhenOff) {
  const MountedPackage mount(kPkgfs, single("basic-v3"), {"--cpu-latency=off"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_FALSE(is_wished_while_asking(mount, milliseconds(300)));
}

TEST_F(CpuLatency, WhatCannotBeIsSaidOnlyWhenAskedFor) {
  // A /dev without it, and with all that a mount needs.
  const auto mount = [&](const std::string& option) {
    const TempDir directory;
    const MountGuard guard(directory.path() / "mnt", directory.path() / "mnt");
    fs::create_directory(directory.path() / "mnt");
    fs::create_directory(directory.path() / "dev");
    return run({"unshare", "-m", "sh", "-ec",
                "cd \"$4\"; mount -t tmpfs none dev; cp -a /dev/fuse /dev/null dev; mount --move dev /dev\n"
                "\"$1\" mount --cpu-latency=\"$2\" \"$3\" \"$4/mnt\"; \"$1\" unmount \"$4/mnt\"",
                "-", kPkgfs, option, single("basic-v3"), directory.path()});
  };
  const ProcessResult asked = mount("on");
  EXPECT_TRUE(asked.ok()) << asked.describe();
  EXPECT_NE(asked.err.find("--cpu-latency"), std::string::npos) << asked.describe();
  EXPECT_NE(asked.err.find("No such file"), std::string::npos) << asked.describe();
  const ProcessResult silent = mount("auto");
  EXPECT_TRUE(silent.ok()) << silent.describe();
  EXPECT_EQ(silent.err.find("--cpu-latency"), std::string::npos) << silent.describe();
}

}  // namespace
}  // namespace pkgfs::test
