// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>

#include "core/base/function_ref.h"
#include "core/vfs/file_system.h"

namespace pkgfs {

/// One entry of a walk: `entry` is the error where it can't be looked up, or where a directory can't be listed (the
/// directory itself was visited before).
struct Visited {
  std::string_view directory;  // visible path of the directory that it is in
  std::string_view name;
  Result<vfs::Entry> entry;

  [[nodiscard]] std::string path() const;
};

/// Visits everything below the root, parents before children, siblings in order of names; no links are followed.
/// Directories deeper than limits::kTreeDepth answer ELOOP. Takes and returns references as `forget` wants it; an
/// entry's inode is valid during its visit.
void walk_tree(vfs::FileSystem& fs, FunctionRef<void(const Visited&)> visit);

}  // namespace pkgfs
