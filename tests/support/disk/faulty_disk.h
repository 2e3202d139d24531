// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <string>

#include "tests/support/fixtures.h"
#include "tests/support/mount.h"
#include "tests/support/process.h"

namespace pkgfs::test {

/// A disk that fails when a test wants (faulty_disk_main.cc has the commands). The destructor unmounts it.
class FaultyDisk {
 public:
  /// Shows the content of `file` as `disk()`. Look at `ok()` before using it.
  explicit FaultyDisk(const std::filesystem::path& file);
  ~FaultyDisk();
  FaultyDisk(const FaultyDisk&) = delete;
  FaultyDisk& operator=(const FaultyDisk&) = delete;

  [[nodiscard]] bool ok() const { return find_mount(path_).has_value(); }
  [[nodiscard]] std::filesystem::path disk() const { return path_ / "disk"; }
  /// When it returns, the command is in force. Throws std::runtime_error if there is no such command.
  void command(const std::string& text) const;
  /// How many READ requests the disk has had.
  [[nodiscard]] long reads() const;

 private:
  TempDir parent_;
  std::filesystem::path path_;
  MountGuard guard_;
  Process process_;
};

}  // namespace pkgfs::test
