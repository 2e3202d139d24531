// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>

#include "daemon/mount/mount_status.h"

namespace pkgfs {

/// Whether this program can replace the daemon of a mount, and whether it must.
struct UpgradeState {
  bool is_current = false;  // the daemon runs this program already
  std::string obstacle;     // why the daemon can't be replaced; empty: nothing is known to prevent it
};
[[nodiscard]] UpgradeState upgrade_state(const MountStatus& mount);

/// Replaces the daemon of `mount` by one that runs this program. Readers notice a pause of milliseconds.
///
/// The new daemon gets ready while the old one serves. Then the old one is stopped (SIGSTOP), and the new one serves.
/// If the mount answers, the new daemon kills the old one. Otherwise, the new one is killed, and the old one goes on.
/// If this process ends before it has told the new daemon to serve, the new daemon lets the old one go on. If this
/// process ends later, the new daemon kills the old one and goes on. If the new daemon ends, the old daemon's keeper
/// lets the old one go on, unless the new one has noted in the old one's memory that it has replaced it
/// (keeper::kReplacedBy). Then that keeper kills the old daemon, and the new one's keeper starts yet another daemon. If
/// the old daemon's keeper was killed or stopped, the new one's keeper, or this process, does its work.
/// This process must be root, or have the user of the daemon: the keeper and the kernel check that.
///
/// Throws Error if the old daemon goes on, for example because this program answers the kernel in another way.
void upgrade_mount(const MountStatus& mount);

}  // namespace pkgfs
