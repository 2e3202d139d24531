// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

struct fuse_file_info;
using fuse_req_t = struct fuse_req*;

namespace pkgfs::fuse {

/// The adapter's operations on files, as libfuse calls them: with `open`, or without it where the kernel doesn't ask.
struct FileOperations {
  static void open(fuse_req_t req, std::uint64_t ino, fuse_file_info* fi);
  static void read(fuse_req_t req, std::uint64_t ino, std::size_t size, off_t offset, fuse_file_info* fi);
  static void release(fuse_req_t req, std::uint64_t ino, fuse_file_info* fi);
};

}  // namespace pkgfs::fuse
