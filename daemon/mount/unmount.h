// SPDX-License-Identifier: MIT
#pragma once

#include <string>

namespace pkgfs {

/// Unmounts the topmost mount at `mountpoint`. `lazy` detaches it even while it is in use; it then ends with its last
/// use. If the kernel refuses that to this user, fusermount3 unmounts. If the mount is busy, tries again for a moment,
/// because a program such as df(1) uses a mount only briefly. Success if another process has unmounted it meanwhile.
/// Throws Error, such as kBusy or kPermission.
void unmount(const std::string& mountpoint, bool lazy);

}  // namespace pkgfs
