// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

struct fuse_file_info;
using fuse_req_t = struct fuse_req*;

namespace pkgfs::fuse {

/// The adapter's operations on directories, as libfuse calls them. Trees with live entries replace `opendir`, and call
/// the others (LiveOperations).
struct DirectoryOperations {
  static void opendir(fuse_req_t req, std::uint64_t ino, fuse_file_info* fi);
  static void readdir(fuse_req_t req, std::uint64_t ino, std::size_t size, off_t offset, fuse_file_info* fi);
  static void readdirplus(fuse_req_t req, std::uint64_t ino, std::size_t size, off_t offset, fuse_file_info* fi);
  /// The same for a vfs::ServedFileSystem. False: the listing must wait until the directory is open, and there was no
  /// reply.
  [[nodiscard]] static bool try_readdir(fuse_req_t req, std::uint64_t ino, std::size_t size, off_t offset);
  [[nodiscard]] static bool try_readdirplus(fuse_req_t req, std::uint64_t ino, std::size_t size, off_t offset);
  static void releasedir(fuse_req_t req, std::uint64_t ino, fuse_file_info* fi);
};

}  // namespace pkgfs::fuse
