// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "daemon/mount/mount_table.h"

namespace pkgfs {

/// Who serves a mount.
struct MountOwner {
  pid_t pid = 0;
  std::int64_t started = 0;  // seconds since the epoch
};

/// Finds the process that serves `mount`, without touching the mount: by the number of the FUSE connection that
/// the kernel shows beside the open device, or where an older kernel (before 6.15) shows none, by the mountpoint on the
/// command line. Nothing if there is none, or it belongs to somebody whose processes we may not look at.
[[nodiscard]] std::optional<MountOwner> find_owner(const MountEntry& mount);

}  // namespace pkgfs
