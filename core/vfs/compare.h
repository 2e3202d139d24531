// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/base/function_ref.h"
#include "core/base/hash.h"
#include "core/vfs/file_system.h"
#include "core/vfs/walk.h"

/// The differences of two trees.
namespace pkgfs::vfs {

/// What tells the bytes of a file without reading them.
struct FileIdentity {
  std::optional<Sha256> sha256;  // of the bytes, as stored
  std::string place;             // the container, and the file in it: equal places have equal bytes. Empty: unknown
};

/// One of the trees that are compared.
class ComparedTree {
 public:
  /// `fs` must outlive this.
  explicit ComparedTree(FileSystem& fs) : fs_(fs) {}
  virtual ~ComparedTree() = default;
  ComparedTree(const ComparedTree&) = delete;
  ComparedTree& operator=(const ComparedTree&) = delete;

  [[nodiscard]] FileSystem& fs() const { return fs_; }
  /// Of the file that a walk is at. If nothing is known, the bytes are read.
  [[nodiscard]] virtual FileIdentity identity(const WalkStep& file) = 0;
  /// Called for each entry or listing that can't be read, with an errno.
  virtual void report(std::string_view path, int error) = 0;

 private:
  FileSystem& fs_;
};

/// An entry of one of the trees.
struct ComparedEntry {
  FileType type = FileType::kFile;
  std::optional<std::uint16_t> mode;  // none: the file's bytes would say it (`Attributes::may_be_program`)
  std::uint64_t size = 0;
  std::optional<Sha256> sha256;  // of a file: as stored
  std::string target;            // of a symbolic link

  friend bool operator==(const ComparedEntry&, const ComparedEntry&) = default;
};

/// An entry that differs. An entry that only one tree has is `before` or `after`.
struct Difference {
  std::string path;  // with a leading "/"
  std::optional<ComparedEntry> before;
  std::optional<ComparedEntry> after;
};

/// Compares types, permission bits, sizes, targets of links, and the bytes of files; no times. Two files of the same
/// size have equal bytes if the trees identify them as equal, and unequal ones if their hashes differ. Otherwise both
/// are read. The result is in the order of a walk. Of a directory that only one tree has, every entry is a difference.
///
/// What can't be read is reported and is no difference. So if the listing of a directory fails in one tree, entries
/// below it that only the other one has are left out.
[[nodiscard]] std::vector<Difference> compare_trees(ComparedTree& before, ComparedTree& after);

}  // namespace pkgfs::vfs
