// SPDX-License-Identifier: MIT
#pragma once

#include "daemon/cli/io.h"
#include "daemon/cli/options.h"
#include "daemon/mount/predecessor.h"

namespace pkgfs {

/// The source of such a mount, as df(1) and fstab(5) show it. No package can have this name.
inline constexpr const char* kServeSource = "serve:";

/// Shows all packages below one directory, as `pkgfs serve` does (docs/SERVE.md), in the background unless `options`
/// say otherwise. Returns the exit code as `mount_package`. Throws Error. Call it before any thread is started.
[[nodiscard]] int serve_packages(const MountOptions& options, const Io& io);

/// Goes on with the served directory of a predecessor, until it ends. Returns the exit code. Throws Error. Call it
/// before any thread is started.
[[nodiscard]] int resume_serving(Predecessor predecessor, const MountOptions& options, const Io& io);

}  // namespace pkgfs
