// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <vector>

#include "core/tree/commands.h"
#include "core/tree/package_tree.h"

namespace pkgfs {

struct LoadedFileSystem {
  std::vector<LoadedMapping> mappings;  // of two at the same path, the first has precedence
  std::unique_ptr<vfs::FileSystem> file_system;
};

/// Builds the tree that `options.view` names. For View::kMerged, it consists of the resolution's mappings, the host
/// directories of a live root, and the commands (docs/rules/loading.md, 5.4 and 5.5). For View::kPackage, see
/// package_view.h. Throws Error(kLoad) with the texts of docs/rules/loading.md, 5.1 and 5.2. With `options.strict`,
/// visits the whole tree, and throws Error(kCorrupt) for an entry that can't be read.
[[nodiscard]] LoadedFileSystem build_file_system(const Resolution& resolution, const LoadedPackages& packages,
                                                 const std::vector<LoadedCommand>& commands,
                                                 const TreeOptions& options);

}  // namespace pkgfs
