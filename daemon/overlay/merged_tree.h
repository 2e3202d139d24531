// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/vfs/file_system.h"
#include "daemon/overlay/upper_tree.h"

namespace pkgfs {

/// Changes above the tree that they were made above: what a writable mount shows, without the mount.
class MergedTree {
 public:
  /// Both must outlive this.
  MergedTree(const UpperTree& upper, vfs::FileSystem& base) : upper_(upper), base_(base) {}

  /// A directory that the mount shows.
  struct Directory {
    std::optional<std::string> upper;  // its path among the changes; none: nothing in it is changed
    std::optional<vfs::Inode> base;    // the package's directory that shows through; none: nothing does
  };
  struct Entry {
    std::string name;
    std::optional<UpperEntry> upper;  // none: the entry is the package's. Never a mark of a removed entry
    std::optional<vfs::Entry> base;   // of the package at this place; hidden if `upper` isn't a directory
  };

  [[nodiscard]] Directory root() const;
  /// Sorted by name. Throws Error if something can't be read.
  [[nodiscard]] std::vector<Entry> entries(const Directory& directory) const;
  /// The directory `entry` of `parent`.
  [[nodiscard]] Directory enter(const Directory& parent, const Entry& entry) const;

  [[nodiscard]] const UpperTree& upper() const { return upper_; }
  [[nodiscard]] vfs::FileSystem& base() const { return base_; }
  /// The package's entry `name` of the directory `inode`; none if there is none, or no directory. Throws Error.
  [[nodiscard]] std::optional<vfs::Entry> find(std::optional<vfs::Inode> inode, std::string_view name) const;
  /// The package's directory that a renamed directory shows; `parent` is the one that its parent shows.
  [[nodiscard]] std::optional<vfs::Inode> redirected(std::optional<vfs::Inode> parent,
                                                     const std::string& redirect) const;
  /// Those of a package's directory. Throws Error.
  [[nodiscard]] std::vector<std::string> names(vfs::Inode directory) const;

 private:
  const UpperTree& upper_;
  vfs::FileSystem& base_;
};

}  // namespace pkgfs
