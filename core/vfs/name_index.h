// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/function_ref.h"
#include "core/vfs/file_system.h"

namespace pkgfs::vfs {

/// Finds many names in file systems while a tree is built. A container's `lookup` reads the whole directory. A
/// NameIndex lists a directory at the second question about it, or at the first question about many names. After that,
/// it finds each name by a binary search. A name takes 24 bytes. Nothing is kept of live directories. Not thread-safe;
/// the file systems must outlive it.
class NameIndex {
 public:
  /// As `FileSystem::lookup`, for a directory that isn't live.
  [[nodiscard]] Result<Entry> lookup(FileSystem& fs, Inode dir, std::string_view name);
  /// Looks up an absolute, normal path and follows no symbolic link, as `find_path` does with Follow::kNone.
  [[nodiscard]] Result<Entry> find(FileSystem& fs, bool live, std::string_view path);
  /// Calls `found` for each of `names` that `dir` has, with its index in `names`, and its entry or an errno. `names`
  /// must be sorted and all different. The caller owns a reference of each live entry. Returns an error if `dir` can't
  /// be listed. After `dir` was listed once, the time depends on the shorter one of `names` and `dir`.
  [[nodiscard]] Result<void> intersect(FileSystem& fs, bool live, Inode dir, const std::vector<std::string_view>& names,
                                       FunctionRef<void(std::size_t index, const Result<Entry>& entry)> found);

 private:
  struct Name {
    std::string_view name;  // in the file system's memory
    std::uint64_t position = 0;
  };
  struct Directory {
    bool asked = false;
    bool listed = false;
    int error = 0;            // of the listing
    std::vector<Name> names;  // sorted; of equal ones the first that is stored is the first
  };
  [[nodiscard]] Directory& directory(FileSystem& fs, Inode dir) { return directories_[{&fs, dir}]; }
  static void list(FileSystem& fs, Inode dir, Directory& directory);
  [[nodiscard]] static const Name* find(const Directory& directory, std::string_view name);
  static Result<void> intersect_live(FileSystem& fs, Inode dir, const std::vector<std::string_view>& names,
                                     FunctionRef<void(std::size_t index, const Result<Entry>& entry)> found);
  [[nodiscard]] static Result<Entry> entry_at(FileSystem& fs, Inode dir, const Name& name);

  std::map<std::pair<FileSystem*, Inode>, Directory> directories_;
};

}  // namespace pkgfs::vfs
