// SPDX-License-Identifier: MIT
#pragma once

struct fuse_lowlevel_ops;

namespace pkgfs::fuse {

/// The adapter's operations for a vfs::ServedFileSystem: look-ups and listings may wait until a package was found and
/// opened, and `user.pkgfs.error` says why it wasn't.
struct ServedOperations {
  /// Replaces the operations in `table` that differ.
  static void put_into(fuse_lowlevel_ops& table);
};

}  // namespace pkgfs::fuse
