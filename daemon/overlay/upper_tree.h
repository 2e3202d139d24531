// SPDX-License-Identifier: MIT
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/unique_fd.h"
#include "daemon/mount/writable_run.h"

namespace pkgfs {

/// An entry of a directory of changes.
struct UpperEntry {
  std::string name;
  struct stat status = {};
  bool is_removed = false;  // a mark: the package's entry of this name is removed, and nothing is in its place
  bool is_opaque = false;   // of a directory: it shows nothing of the package
  /// Of a directory that was renamed: the place of the package's directory that it shows. Either a path that begins
  /// with "/", or a name in the directory that the parent shows.
  std::optional<std::string> redirect = {};
  std::string target = {};  // of a symbolic link
};

/// What overlayfs or fuse-overlayfs has written in its upper directory, with its marks understood
/// (Documentation/filesystems/overlayfs.rst of Linux; fuse-overlayfs(1)). Programs wrote the names and attributes, so
/// nothing here follows a symbolic link or leaves the directory.
class UpperTree {
 public:
  /// Throws Error if `path` can't be opened.
  UpperTree(const std::string& path, OverlayEngine engine);

  /// The entries of `directory` ("" is the root, else "a/b"), sorted by the bytes of their names. Throws Error.
  [[nodiscard]] std::vector<UpperEntry> entries(const std::string& directory) const;
  /// Whether the directory shows nothing of the package. `entries` says it of entries.
  [[nodiscard]] bool is_opaque(const std::string& directory) const;
  /// Opens an entry. An empty UniqueFd sets `errno`.
  [[nodiscard]] UniqueFd open(const std::string& path, int flags) const;
  /// The path of the directory, for messages.
  [[nodiscard]] const std::string& name() const { return name_; }
  /// Of the root directory, O_PATH; owned by this.
  [[nodiscard]] int root() const { return root_.get(); }

 private:
  [[nodiscard]] std::string attribute(const std::string& path, std::string_view name) const;
  void read_marks(const std::string& path, UpperEntry& entry) const;

  std::string name_;
  UniqueFd root_;
  OverlayEngine engine_;
};

}  // namespace pkgfs
