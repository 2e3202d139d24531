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

/// Lets the kernel read the inodes and small directories of an image into the page cache, at most 64 MiB, and doesn't
/// wait for the data. `fd` is an image of `write_erofs`, open for reading. EROFS itself reads this part block by block,
/// without reading ahead, so that the first walk through a mount would wait for the disk at each block. Does
/// nothing if `fd` isn't such an image.
void read_erofs_metadata_ahead(int fd);

}  // namespace pkgfs
