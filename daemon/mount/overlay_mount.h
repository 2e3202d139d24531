// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <functional>
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
///
/// The kernel's overlayfs calls `prepare`, if there is one, with a descriptor of the root (O_PATH) before the overlay
/// is visible anywhere. If it throws, no overlay is made.
void mount_overlay(const OverlayMount& overlay, const std::function<void(int root)>& prepare = {});

/// Whether an overlay of the kernel has `upper` as its upper layer, in whichever mount namespace, and also after a lazy
/// unmount while a program still uses it. The kernel knows: it marks such a directory. It also writes a line to its log
/// each time that it is asked. False if there is no such directory, if the kernel has no overlayfs, or if this process
/// isn't root, also of a user namespace: a user without privileges has no overlay of the kernel.
///
/// Throws Error if the kernel can't be asked, as without descriptors, memory or CAP_SYS_ADMIN: the caller must not take
/// that for an answer. The question itself marks `upper` for a moment. So only one process may ask at a time, and none
/// while an overlay is made: the caller holds the lock of the directory of changes.
[[nodiscard]] bool is_upper_in_use(const std::string& upper);

/// Limits of a file system in memory, as mount options of tmpfs(5).
struct TmpfsLimits {
  std::optional<std::uint64_t> bytes;
  std::optional<std::uint64_t> inodes;
};
/// Mounts a file system in memory for the changes. Throws Error(kMount).
void mount_tmpfs(const std::string& path, const TmpfsLimits& limits);

}  // namespace pkgfs
