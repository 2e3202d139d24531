// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <vector>

#include "core/tree/package_tree.h"
#include "core/vfs/union_file_system.h"

namespace pkgfs {

/// Appends to `mounts` a layer with the commands as files in `options.commands_dir`, which must be set. It is below all
/// layers of the packages. Warns of commands that a package hides, and of those whose name can't be a file name.
/// `directory_time` is the time of the layer's directories.
void add_command_files(const std::vector<LoadedCommand>& commands, const TreeOptions& options,
                       std::int64_t directory_time, std::vector<vfs::Mount>& mounts);

}  // namespace pkgfs
