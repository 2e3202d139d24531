// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/thread_annotations.h"
#include "core/base/unique_fd.h"
#include "core/vfs/host_file_system.h"

namespace pkgfs {

/// The patterns of one ignore file, in gitignore's syntax. Immutable.
class IgnoreFile {
 public:
  enum class Verdict { kNone, kIgnore, kKeep };

  explicit IgnoreFile(std::string_view text);
  /// The verdict of the last pattern that matches `path`, which is relative to the file's directory.
  [[nodiscard]] Verdict verdict(std::string_view path, bool is_directory) const;

 private:
  struct Pattern {
    std::vector<std::string> components;
    bool keep = false;            // starts with "!"
    bool directory_only = false;  // ends with "/"
  };
  std::vector<Pattern> patterns_;
};

/// Tells which entries of a host directory a package build leaves out (docs/rules/webc-format.md, 12.4). The
/// `.wasmerignore` files in the directory, above it and below it decide. Of those with a matching pattern, the deepest
/// one counts. Without such a file in the directory or above it, entries named `.git` are left out at any depth. The
/// constructor reads the files in the directory and above it. A file below it is read when it is first needed. No file
/// is read twice. Thread-safe.
class IgnoreRules final : public vfs::HostFilter {
 public:
  /// `root` is a descriptor of the host directory. It is duplicated, so the caller may close it.
  explicit IgnoreRules(int root);

  /// Whether the entry at `path`, which is relative to the root, is left out. The caller has checked that the directory
  /// that contains the entry isn't left out.
  [[nodiscard]] bool hidden(std::string_view path, bool is_directory) const override;

 private:
  using FilePtr = std::shared_ptr<const IgnoreFile>;
  /// An ignore file in a directory above the root.
  struct Above {
    FilePtr rules;
    std::string below;  // the path from that directory to the root
  };

  /// A directory with an ignore file: the root, or a directory below it.
  struct Level {
    FilePtr rules;
    std::size_t length = 0;              // of the directory's path
    std::shared_ptr<const Level> above;  // the next one on the way up
  };
  using LevelPtr = std::shared_ptr<const Level>;

  /// The nearest level at or above a directory; null if there is none at the root or below it.
  [[nodiscard]] LevelPtr nearest(std::string_view directory) const;

  UniqueFd root_;
  std::vector<Above> above_;  // the nearest first
  bool skip_git_ = true;
  mutable Mutex mutex_;
  mutable std::map<std::string, LevelPtr, std::less<>> nearest_
      PKGFS_GUARDED_BY(mutex_);  // by directory below the root
};

}  // namespace pkgfs
