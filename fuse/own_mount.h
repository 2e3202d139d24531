// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "core/base/unique_fd.h"

namespace pkgfs::fuse {

/// The mount, looked at by the process that serves it: listing a directory here is the only way to tell the kernel of
/// files that nobody has asked for by name.
///
/// It looks at a copy of the mount (open_tree(2)) that isn't mounted anywhere, and that `leave` drops: what is
/// unmounted meanwhile isn't in use, and its end is noticed. (Only who unmounts in the very moment in which the copy is
/// made may be told that it is.) Not for threads that answer requests. Not thread-safe.
class OwnMount {
 public:
  /// `mountpoint` is absolute, `device` the minor number of the mount's device: what else is mounted there since isn't
  /// touched.
  OwnMount(std::string mountpoint, unsigned device) : mountpoint_(std::move(mountpoint)), device_(device) {}

  /// Has the kernel ask for the entries of a directory from position `from` on, some two hundred. `path` is relative to
  /// the mount's root, "." the root itself. Returns 0, or the errno; EPERM: this process may not.
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
