// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "daemon/mount/mount_table.h"

namespace pkgfs {

/// The process that serves a mount.
struct MountOwner {
  pid_t pid = 0;
  std::int64_t started = 0;  // seconds since the epoch
};

/// Finds the process that serves `mount` in /proc, without touching the mount. It is the process that has /dev/fuse
/// open with the number of the mount's FUSE connection. Kernels before 6.15 do not show that number; there it is the
/// one whose command line has the mount point. Nothing if no such process exists, or if it belongs to a user whose
/// processes this one may not look at.
[[nodiscard]] std::optional<MountOwner> find_owner(const MountEntry& mount);

}  // namespace pkgfs
