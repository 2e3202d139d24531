// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace pkgfs::test {

/// The source tree. Only here, so that no other object depends on where it lies.
[[nodiscard]] std::filesystem::path source_directory();
/// `tests/fixtures` of the source tree: the generated fixtures of this project.
[[nodiscard]] std::filesystem::path fixtures();
/// The shared fixture set with the third-party packages (`PKGFS_SHARED_FIXTURES`, else `../shared/fixtures` beside the
/// source tree); nothing where it isn't there. A test that needs it skips with a reason.
[[nodiscard]] std::optional<std::filesystem::path> shared_fixtures();

[[nodiscard]] std::string read_text(const std::filesystem::path& path);
[[nodiscard]] nlohmann::ordered_json read_json(const std::filesystem::path& path);

/// A directory of its own below $TMPDIR; removed with all that is in it.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// Writes a file below the directory, making its parents.
  std::filesystem::path write(const std::string& name, std::string_view content) const;

 private:
  std::filesystem::path path_;
};

/// Collects what is logged while it lives, at warn and above, instead of printing it.
class CapturedLog {
 public:
  CapturedLog();
  ~CapturedLog();
  CapturedLog(const CapturedLog&) = delete;
  CapturedLog& operator=(const CapturedLog&) = delete;
  [[nodiscard]] std::string text() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pkgfs::test
