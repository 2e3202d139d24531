// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "daemon/mount/writable_run.h"

namespace pkgfs {

/// What an overlay is made of, as absolute paths.
struct OverlayMount {
  std::string source;  // that df(1) shows
  std::string lower;
  std::string upper;
  std::string work;
  std::string mountpoint;
  OverlayEngine engine = OverlayEngine::kKernel;
  bool is_volatile = false;  // nothing is synced: after a power cut the changes are worth nothing
  bool noexec = false;
  bool nosymfollow = false;
  bool allow_other = false;  // for fuse-overlayfs
};

/// Mounts an overlay, always with nosuid and nodev. Its files have one `st_dev`, and inode numbers that stay (xino).
/// As root, a renamed directory of the lower layer is a redirect; in a user namespace the kernel doesn't allow that,
/// and rename(2) fails with EXDEV, as between file systems. Throws Error(kMount) with the kernel's reason,
/// Error(kUnsupported) if the kernel has no overlayfs, or if fuse-overlayfs isn't installed.
void mount_overlay(const OverlayMount& overlay);

/// Limits of a file system in memory, as mount options of tmpfs(5).
struct TmpfsLimits {
  std::optional<std::uint64_t> bytes;
  std::optional<std::uint64_t> inodes;
};
/// Mounts a file system in memory for the changes. Throws Error(kMount).
void mount_tmpfs(const std::string& path, const TmpfsLimits& limits);

}  // namespace pkgfs
