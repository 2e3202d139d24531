// SPDX-License-Identifier: MIT
#pragma once

#include "daemon/mount/mount_table.h"

namespace pkgfs {

/// Replaces the daemon of a mount by one that runs this program. Readers notice a pause of milliseconds. Returns false
/// if the daemon runs this program already.
///
/// The new daemon gets ready while the old one serves. Then the old one is stopped (SIGSTOP), and the new one serves.
/// If the mount answers, the new daemon kills the old one. Otherwise, the new one is killed, and the old one goes on.
/// If this process ends before it has told the new daemon to serve, the new daemon lets the old one go on. If this
/// process ends later, the new daemon kills the old one and goes on. If the new daemon ends, the old daemon's keeper
/// lets the old one go on, unless the new one has noted in the old one's memory that it has replaced it
/// (keeper::kReplacedBy). Then that keeper kills the old daemon, and the new one's keeper starts yet another daemon. If
/// the old daemon's keeper was killed or stopped, the new one's keeper, or this process, does its work.
/// This process must be root, or have the user of the daemon: the keeper and the kernel check that. For a mount of
/// another user, a child process with the rights of that user does all of this. That user may own what answers here,
/// and could otherwise let root signal another process, or wait for ever.
///
/// Throws Error if the old daemon goes on, for example because this program answers the kernel in another way.
bool upgrade_mount(const MountEntry& entry);

}  // namespace pkgfs
