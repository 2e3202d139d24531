// SPDX-License-Identifier: MIT
#pragma once

#include <csignal>
#include <fstream>
#include <optional>
#include <string>

#include "tests/mounted/writable.h"
#include "tests/support/own_mounts.h"

namespace pkgfs::test {

/// Tests of `pkgfs mount --writable --engine=erofs`.
class WritableImage : public WritableTest {
 protected:
  void SetUp() override {
    WritableTest::SetUp();
    if (!IsSkipped() && shell("modprobe -q erofs 2> /dev/null; grep -qw erofs /proc/filesystems").exit_code != 0) {
      GTEST_SKIP() << "the kernel has no EROFS";
    }
    if (!IsSkipped()) {
      own_.emplace();
      ASSERT_TRUE(own_->is_own());
    }
  }
  [[nodiscard]] Arguments options(const std::string& writable = "--writable") const {
    return {"--engine=erofs", "--offline", "--cache-dir", dir_.path() / "cache", writable};
  }
  [[nodiscard]] std::string in_changes() const { return "--writable=" + changes(); }
  /// Whether nothing of the mount is left: neither mounts nor the run directory nor a process.
  [[nodiscard]] bool is_gone(const std::filesystem::path& mountpoint, const std::string& run) const {
    return !find_mount(mountpoint) && !find_mount(run + "/lower") && !std::filesystem::exists(run) &&
           processes_with(mountpoint).empty();
  }
  /// The run directory without the line break of `run_of`.
  [[nodiscard]] static std::string run_directory(const std::filesystem::path& mountpoint) {
    std::string run = run_of(mountpoint);
    return run.substr(0, run.find('\n'));
  }
  /// Kills the process that waits for the end of the mount.
  static void kill_waiter(const MountedPackage& mount) {
    ASSERT_EQ(::kill(mount.daemon(), SIGKILL), 0);
    ASSERT_TRUE(eventually([&] { return processes_with(mount.path()).empty(); }));
  }
  /// Whether a writable mount elsewhere, which clears what earlier ones have left, is made.
  [[nodiscard]] bool others_can_mount() const {
    const MountedPackage other(kPkgfs, package(), {"--offline", "--writable"});
    return other.ok();
  }

 private:
  std::optional<OwnMounts> own_;
};

/// A process in a mount namespace of its own, as in a container. It has the mount as its working directory. When it is
/// told to, it writes a file there, and ends.
class ContainerProcess {
 public:
  /// `files` is the beginning of the names of its files.
  ContainerProcess(const std::filesystem::path& mountpoint, std::string files) : files_(std::move(files)) {
    EXPECT_TRUE(shell("mkfifo " + files_).ok());
    EXPECT_TRUE(shell("unshare -m --propagation private sh -c 'cd " + mountpoint.string() + " && : > " + files_ +
                      "-begun && read x < " + files_ + " && echo late > late && cat lib/deep/a.txt late > " + files_ +
                      "-read; : > " + files_ + "-end' > /dev/null 2>&1 &")
                    .ok());
    EXPECT_TRUE(eventually([&] { return std::filesystem::exists(files_ + "-begun"); }));
  }
  /// What it has read: a file of the package, and its own.
  [[nodiscard]] std::string finish() const {
    std::ofstream(files_) << "go\n";
    EXPECT_TRUE(eventually([&] { return std::filesystem::exists(files_ + "-end"); }));
    return std::filesystem::exists(files_ + "-read") ? read_text(files_ + "-read") : "";
  }

 private:
  std::string files_;
};

}  // namespace pkgfs::test
