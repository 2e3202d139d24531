// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "core/base/unique_fd.h"

namespace pkgfs::fuse {

/// Access to a mount from the process that serves it. When this class lists a directory, the kernel sends READDIRPLUS.
/// From the reply, it learns of files that no reader has looked up. There is no other way to tell the kernel of them.
///
/// Works on a copy of the mount (open_tree(2)) that is mounted nowhere. So the mount itself isn't in use, and an
/// unmount succeeds. Only at the moment of copying, it may fail with EBUSY. The daemon notices the unmount after
/// `leave` has dropped the copy. Not for threads that answer requests, which would wait for themselves. Not
/// thread-safe.
class OwnMount {
 public:
  /// `mountpoint` is absolute. `device` is the minor number of the mount's device: if another file system has been
  /// mounted there since, it isn't touched.
  OwnMount(std::string mountpoint, unsigned device) : mountpoint_(std::move(mountpoint)), device_(device) {}

  /// Makes the kernel request some two hundred entries of a directory, from position `from` on. `path` is relative to
  /// the mount's root, "." for the root. Returns 0 or an errno; EPERM: this process has no right to.
  int list(const std::string& path, std::uint64_t from);
  /// Drops the copy, if there is one; the next `list` makes another.
  void leave() { copy_.reset(); }

 private:
  int enter();

  std::string mountpoint_;
  unsigned device_;
  UniqueFd copy_;
};

}  // namespace pkgfs::fuse
