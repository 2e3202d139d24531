// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include "core/base/unique_fd.h"
#include "daemon/mount/mount_status.h"

namespace pkgfs {

/// A connection to the keeper of a mount.
struct KeeperConnection {
  UniqueFd socket;
  pid_t keeper = 0;
};

/// Waits a moment for a keeper that has only just been started. Throws Error. Another user's process may listen at the
/// address of a keeper: it must be one of the mount's user.
[[nodiscard]] KeeperConnection connect_to_keeper(const MountStatus& mount);

/// Asks the keeper to start `program` (keeper::kUpgrade); `control` is for the process that it starts. False, with
/// errno: the keeper has closed the connection, or that failed.
[[nodiscard]] bool send_upgrade(const KeeperConnection& connection, int program, int control);

/// Waits until the keeper reads what was sent to it. False: it has closed the connection instead. Throws Error if it
/// does neither in time.
[[nodiscard]] bool is_read(const KeeperConnection& connection);

}  // namespace pkgfs
