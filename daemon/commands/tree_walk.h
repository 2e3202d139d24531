// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "core/base/function_ref.h"
#include "core/base/hash.h"
#include "core/vfs/file_system.h"

namespace pkgfs {

/// One step of a walk.
struct TreeStep {
  std::string_view path;  // from the walk's root, with a leading "/"
  std::string_view name;  // the last component
  vfs::Inode inode = 0;
  vfs::Attributes attributes;
  int error = 0;          // not 0: this entry (or, leaving a directory, its listing) can't be read; an errno number
  bool last = false;      // the last one of its directory
  std::size_t depth = 0;  // 0 for children of the walk's root
};

/// Callbacks of a walk. A directory is entered if `enter` says so and left in any case where it did.
class TreeVisitor {
 public:
  virtual ~TreeVisitor() = default;
  /// Every entry, in the order of names. Answers whether to go into it (meant for directories only).
  virtual bool visit(const TreeStep& step) = 0;
  /// After the last entry of a directory that was entered.
  virtual void leave(const TreeStep& /*step*/) {}
};

/// Walks everything below the directory `root`, depth first, without recursion and without following links. Directories
/// deeper than limits::kTreeDepth are entries with ELOOP. Throws nothing of its own; what the visitor throws ends it.
void visit_tree(vfs::FileSystem& fs, vfs::Inode root, TreeVisitor& visitor);

/// Finds `path` in the tree as a process with the tree as its root would: "." and ".." are understood, links on the way
/// are followed (40 at most, ELOOP), a link at the end only with `follow_last` or a trailing "/". The entry holds a
/// reference unless it is the root.
[[nodiscard]] Result<vfs::Entry> find_path(vfs::FileSystem& fs, std::string_view path, bool follow_last);

/// Calls `consume` with the bytes of a file, piece by piece, until it answers false.
[[nodiscard]] Result<void> read_file(vfs::FileSystem& fs, vfs::Inode inode,
                                     FunctionRef<bool(std::span<const std::byte>)> consume);
/// The SHA-256 of a file's bytes.
[[nodiscard]] Result<Sha256> sha256_of(vfs::FileSystem& fs, vfs::Inode inode);

}  // namespace pkgfs
