// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "core/vfs/file_system.h"

namespace pkgfs::fuse {

// Where directories stand in a tree whose file system knows every entry's place.

/// The directory that a walk meets after `directory`, or 0.
[[nodiscard]] vfs::Inode next_directory(vfs::FileSystem& fs, vfs::Inode directory);

/// The path of `directory` from the root, "." of the root itself. Empty: its name can't be told.
[[nodiscard]] std::string path_of(vfs::FileSystem& fs, vfs::Inode directory);

}  // namespace pkgfs::fuse
