// SPDX-License-Identifier: MIT
#pragma once

#include "core/vfs/file_system.h"

namespace pkgfs::vfs {

/// A FileSystem that counts the kernel's references to its inodes, also those that a listing gives.
class CountingFileSystem : public FileSystem {
 public:
  /// Adds one reference to an inode that `read_dir` gave.
  virtual void hold(Inode inode) = 0;
};

}  // namespace pkgfs::vfs
