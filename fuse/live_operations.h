// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

struct fuse_file_info;
struct fuse_forget_data;
struct fuse_lowlevel_ops;
using fuse_req_t = struct fuse_req*;

namespace pkgfs::fuse {

/// The adapter's operations for trees with live entries, in place of those for trees that never change. They agree with
/// vfs::LiveChanges on what the kernel may keep (docs/rules/filesystem.md, 9.7).
///
/// The kernel asks at every open of a live file. An open compares the file with what the kernel was told last. If they
/// differ, it answers ESTALE: the kernel then looks up the path anew, and opens again with the right size. Without
/// that, a program would read the new content cut at the old length.
struct LiveOperations {
  /// Replaces the operations in `table` that differ.
  static void put_into(fuse_lowlevel_ops& table);

  static void lookup(fuse_req_t req, std::uint64_t parent, const char* name);
  static void forget(fuse_req_t req, std::uint64_t ino, std::uint64_t count);
  static void forget_multi(fuse_req_t req, std::size_t count, fuse_forget_data* forgets);
  static void getattr(fuse_req_t req, std::uint64_t ino, fuse_file_info* fi);
  static void open(fuse_req_t req, std::uint64_t ino, fuse_file_info* fi);
  static void read(fuse_req_t req, std::uint64_t ino, std::size_t size, off_t offset, fuse_file_info* fi);
  static void release(fuse_req_t req, std::uint64_t ino, fuse_file_info* fi);
  static void opendir(fuse_req_t req, std::uint64_t ino, fuse_file_info* fi);
  static void readdir(fuse_req_t req, std::uint64_t ino, std::size_t size, off_t offset, fuse_file_info* fi);
  static void readdirplus(fuse_req_t req, std::uint64_t ino, std::size_t size, off_t offset, fuse_file_info* fi);
};

}  // namespace pkgfs::fuse
