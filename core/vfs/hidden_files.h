// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <vector>

#include "core/vfs/name_index.h"
#include "core/vfs/union_file_system.h"

namespace pkgfs::vfs {

/// A file of a mount that is a directory in the tree, because something is mounted there or below
/// (docs/rules/filesystem.md, 9.2 rule 1). Its path is the first `length` bytes of the mount path of `mount`.
struct HiddenFile {
  std::size_t mount = 0;  // the first one that hides it
  std::size_t length = 0;
  std::size_t other = 0;  // has the file
};

/// Finds the files that `mounts` hide from each other, in the order of the members above. `mounts` are in order of
/// precedence, each with its `source`. Fallback mounts hide nothing and lose nothing. Goes once through the mount
/// paths, with the directories that the mounts have there: n log n in their names.
[[nodiscard]] std::vector<HiddenFile> find_hidden_files(const std::vector<Mount>& mounts, NameIndex& index);

}  // namespace pkgfs::vfs
