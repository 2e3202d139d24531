// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace pkgfs::fuse {

/// The mount, looked at by the process that serves it: listing a directory here is the only way to tell the kernel of
/// files that nobody has asked for by name.
///
/// Every look is at a private copy of the mount (open_tree(2)) that is gone afterwards: nothing is in use for whoever
/// unmounts, and the last one who does is noticed. Not for threads that answer requests. Not thread-safe.
class OwnMount {
 public:
  /// `mountpoint` is absolute, `device` the minor number of the mount's device: what else is mounted there since isn't
  /// touched.
  OwnMount(std::string mountpoint, unsigned device) : mountpoint_(std::move(mountpoint)), device_(device) {}

  /// Has the kernel ask for the entries of a directory from position `from` on, some two hundred. `path` is relative to
  /// the mount's root, "." the root itself. Returns 0, or the errno; EPERM: this process may not.
  int list(const std::string& path, std::uint64_t from);

 private:
  static constexpr std::size_t kBuffer = 32U << 10U;

  std::string mountpoint_;
  unsigned device_;
  alignas(16) std::array<char, kBuffer> buffer_{};
};

}  // namespace pkgfs::fuse
