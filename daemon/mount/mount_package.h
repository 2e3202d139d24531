// SPDX-License-Identifier: MIT
#pragma once

#include "daemon/cli/io.h"
#include "daemon/cli/options.h"

namespace pkgfs {

/// Mounts a package as `pkgfs mount` does. Returns the exit code; throws Error.
[[nodiscard]] int mount_package(const MountOptions& options, const Io& io);

}  // namespace pkgfs
