// SPDX-License-Identifier: MIT
#pragma once

#include "daemon/doctor/finding.h"

namespace pkgfs::doctor {

/// Checks /dev/fuse, fusermount3, pkgfs-keeper, /etc/fuse.conf, the kernel, the libraries and the clock. Starts a child
/// process, so call it before any thread is started.
void check_system(Findings& findings);

}  // namespace pkgfs::doctor
