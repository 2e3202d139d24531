// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>

#include "daemon/mount/mount_status.h"

namespace pkgfs {

/// Why the daemon of `mount` can't be replaced by this program, or needn't be. Empty: it can.
struct UpgradeState {
  bool is_current = false;  // the daemon runs this program already
  std::string obstacle;     // empty: there is none
};
[[nodiscard]] UpgradeState upgrade_state(const MountStatus& mount);

/// Replaces the daemon of `mount` by one that runs this program. Readers notice a pause of milliseconds.
///
/// The new daemon is prepared while the old one serves. Then the old one is stopped, and the new one serves. If the
/// mount answers, the old one is killed. Otherwise, the new one is killed, and the old one goes on. If this process
/// ends meanwhile, the new daemon does what is left. The kernel decides whether this process may do that: it must be
/// root, or the user of the daemon.
///
/// Throws Error if the old daemon goes on; Error(kUnsupported) if this program answers the kernel in another way.
void upgrade_mount(const MountStatus& mount);

}  // namespace pkgfs
