// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "core/vfs/union_file_system.h"

namespace pkgfs::vfs {

/// For each of `names`, which are sorted and differ: the index of the first of `mounts` that has an entry of that name
/// in `directory` of the tree, or a file above it that hides the directory; `mounts.size()` if none has. Lists each
/// directory at most once, so that it takes n log n in the names and entries.
[[nodiscard]] std::vector<std::size_t> find_providers(const std::vector<Mount>& mounts, std::string_view directory,
                                                      const std::vector<std::string_view>& names);

}  // namespace pkgfs::vfs
