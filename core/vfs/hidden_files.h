// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <vector>

#include "core/vfs/name_index.h"
#include "core/vfs/union_file_system.h"

namespace pkgfs::vfs {

/// A file of a mount that the tree doesn't show, because another mount has its mount path there or below
/// (docs/rules/filesystem.md, 9.2 rule 1). The path of the file is the first `length` bytes of the mount path of
/// `mount`.
struct HiddenFile {
  std::size_t mount = 0;  // hides the file; of several, the one with the highest precedence
  std::size_t length = 0;
  std::size_t other = 0;  // the mount that has the file
};

/// Finds the files that `mounts` hide from each other, sorted by the members of HiddenFile. `mounts` are in order of
/// precedence, each with its `source`. Fallback mounts take no part. Takes O(n log n) time for n names: those in the
/// mount paths, and those in the directories along these paths.
[[nodiscard]] std::vector<HiddenFile> find_hidden_files(const std::vector<Mount>& mounts, NameIndex& index);

}  // namespace pkgfs::vfs
