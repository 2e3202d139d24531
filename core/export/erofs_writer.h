// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "core/vfs/file_system.h"

namespace pkgfs {

/// Writes `fs` as an EROFS image into the empty file `fd`, which must be open for writing and seekable. The image is
/// not compressed. Names, types, modes, sizes, times to the nanosecond, link targets and bytes are those of the tree.
/// The owner is 0:0. The attributes `user.pkgfs.*`, which a mount doesn't list, aren't in the image.
///
/// The same tree gives the same bytes. Memory grows only with the largest directory, and with the number of directories
/// in one; the metadata is collected in a nameless file in `directory`. `name` is for messages. Throws Error.
void write_erofs(vfs::FileSystem& fs, int fd, const std::string& name, const std::string& directory);

}  // namespace pkgfs
