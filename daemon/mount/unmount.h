// SPDX-License-Identifier: MIT
#pragma once

#include <string>

namespace pkgfs {

/// Unmounts the topmost mount at `mountpoint`. `lazy` detaches it even while it is in use; it then ends with its last
/// use. A user who is not root unmounts with fusermount3. A mount that is used only for a moment, as df(1) does, is
/// tried again. Success if another process has unmounted it meanwhile. Throws Error: kBusy, kPermission, kMount.
void unmount(const std::string& mountpoint, bool lazy);

}  // namespace pkgfs
