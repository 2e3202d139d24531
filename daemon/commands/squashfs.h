// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "core/vfs/file_system.h"

namespace pkgfs {

/// Writes `fs` as a SquashFS image into the open file `fd`. The program `sqfstar` of squashfs-tools makes it from a tar
/// stream. Throws Error; kUnsupported if the program isn't installed. `name` is that of the file, for messages.
void write_squashfs(vfs::FileSystem& fs, int fd, const std::string& name);

}  // namespace pkgfs
