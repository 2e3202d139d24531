// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "core/vfs/union_file_system.h"

namespace pkgfs::vfs {

/// Finds the mount that provides each of `names` in `directory` of the tree. `names` must be sorted and all different.
/// For each name, the result is the index of the first of `mounts` that has an entry of that name there. A mount also
/// counts if it has a file at `directory` or above, which hides the directory. If there is no such mount, the result is
/// `mounts.size()`. Lists each directory at most once, and so takes O(n log n) time for n names and entries.
[[nodiscard]] std::vector<std::size_t> find_providers(const std::vector<Mount>& mounts, std::string_view directory,
                                                      const std::vector<std::string_view>& names);

}  // namespace pkgfs::vfs
