// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/unique_fd.h"
#include "core/vfs/host_file_system.h"

namespace pkgfs {

/// The patterns of one ignore file, in gitignore's syntax. Immutable.
class IgnoreFile {
 public:
  enum class Verdict { kNone, kIgnore, kKeep };

  explicit IgnoreFile(std::string_view text);
  /// What the last pattern that matches says of `path`, which is relative to the file's directory.
  [[nodiscard]] Verdict verdict(std::string_view path, bool is_directory) const;

 private:
  struct Pattern {
    std::vector<std::string> components;
    bool keep = false;            // starts with "!"
    bool directory_only = false;  // ends with "/"
  };
  std::vector<Pattern> patterns_;
};

/// What a package build leaves out of a host directory (docs/rules/webc-format.md, 12.4): what the `.wasmerignore`
/// files in it, above it and below it say, the deepest first; entries named `.git` if there is none in it or above.
/// Each file is read when it is first needed and not again. Thread-safe.
class IgnoreRules final : public vfs::HostFilter {
 public:
  /// `root` is a descriptor of the host directory; it isn't kept.
  explicit IgnoreRules(int root);

  /// Of an entry whose own directory isn't hidden.
  [[nodiscard]] bool hidden(std::string_view path, bool is_directory) const override;

 private:
  using FilePtr = std::shared_ptr<const IgnoreFile>;
  struct Above {
    FilePtr rules;
    std::string below;  // the way from there to the root
  };

  /// A directory with an ignore file.
  struct Level {
    FilePtr rules;
    std::size_t length = 0;              // of the directory's path
    std::shared_ptr<const Level> above;  // the next one on the way up
  };
  using LevelPtr = std::shared_ptr<const Level>;

  /// The nearest level at or above a directory; null if there is none below the root.
  [[nodiscard]] LevelPtr nearest(std::string_view directory) const;

  UniqueFd root_;
  std::vector<Above> above_;  // the nearest first
  bool skip_git_ = true;
  mutable std::mutex mutex_;
  mutable std::map<std::string, LevelPtr, std::less<>> nearest_;  // by directory below the root. Guarded by mutex_
};

}  // namespace pkgfs
