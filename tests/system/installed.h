// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/mounted/mounted.h"

namespace pkgfs::test {

/// Tests of an installed pkgfs: the program is in PATH, and its helpers are where mount(8) looks. Lines of shell run as
/// root in a mount namespace of their own; no other process sees their mounts. Its /usr/sbin is that of this machine,
/// with the program and the helpers added. In the lines, $R is the sample's registry, $T a directory of the test, and
/// $M an empty directory in $T to mount at.
class InstalledTest : public MountedTest {
 protected:
  void SetUp() override;

  /// Runs the lines with `set -e`. After the test, nothing is mounted at `mountpoint()` or at a directory of `point()`.
  [[nodiscard]] ProcessResult run_lines(const std::string& lines, std::chrono::milliseconds limit = {});
  /// Runs them and expects that they succeed; returns what they wrote to standard output.
  std::string sh(const std::string& lines, std::chrono::milliseconds limit = {});

  [[nodiscard]] const std::filesystem::path& directory() const { return directory_.path(); }
  [[nodiscard]] std::filesystem::path mountpoint() const { return directory() / "mnt"; }
  /// A directory below the test's, for another mount.
  std::filesystem::path point(const std::string& name);

  /// Whether the lines run in a process namespace, too, with which everything that they started ends.
  bool own_processes_ = false;

 private:
  TempDir directory_;
  std::vector<std::unique_ptr<MountGuard>> guards_;
};

}  // namespace pkgfs::test
