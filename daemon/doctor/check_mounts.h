// SPDX-License-Identifier: MIT
#pragma once

#include "daemon/doctor/finding.h"

namespace pkgfs::doctor {

/// Checks whether every mount of pkgfs answers. Starts child processes, so call it before any thread is started.
void check_mounts(Findings& findings);

}  // namespace pkgfs::doctor
