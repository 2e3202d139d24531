// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "core/base/function_ref.h"
#include "core/vfs/file_system.h"

namespace pkgfs {

/// One entry of a tree, as an image or archive stores it. The texts are valid during the call that gets the entry.
struct ExportEntry {
  std::string_view path;  // without a leading "/"; empty for the root
  std::string_view name;  // the last component
  vfs::Inode inode = 0;
  vfs::Attributes attributes;  // complete: the first bytes of a file have decided about its x bits
};

/// Receives the entries of a tree: a directory before its entries, and these in the order of their names. A function
/// that throws ends the export.
class TreeTarget {
 public:
  virtual ~TreeTarget() = default;
  /// A directory; the root comes first.
  virtual void enter(const ExportEntry& directory) = 0;
  /// A file. Exactly `attributes.size` bytes follow through TreeReader::copy, if the target asks for them.
  virtual void file(const ExportEntry& file) = 0;
  virtual void link(const ExportEntry& link, std::string_view target) = 0;
  /// After the last entry of a directory.
  virtual void leave(const ExportEntry& /*directory*/) {}
};

/// Reads a whole tree for a TreeTarget, with memory that doesn't grow with the number of entries if the tree is
/// immutable. Not thread-safe.
class TreeReader {
 public:
  /// `fs` must outlive this.
  explicit TreeReader(vfs::FileSystem& fs) : fs_(fs) {}

  /// Visits all entries. Throws Error naming the first entry that can't be read; its code is kCorrupt for damage.
  /// Throws kInterrupted if the CancelScope of the thread is cancelled.
  void run(TreeTarget& target);
  /// Calls `consume` with the bytes of `file`, piece by piece. A live file may change meanwhile: what it gained is left
  /// out, and if it lost bytes, the function throws. Throws as `run`.
  void copy(const ExportEntry& file, FunctionRef<void(std::span<const std::byte>)> consume);

 private:
  void visit(const ExportEntry& entry, TreeTarget& target);

  vfs::FileSystem& fs_;
  std::vector<std::byte> piece_;
};

/// The Error for the entry `path` (ExportEntry::path), which can't be read because of `errnum`.
[[nodiscard]] Error unreadable_entry(std::string_view path, int errnum);

}  // namespace pkgfs
