// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "daemon/cli/io.h"
#include "daemon/cli/options.h"
#include "daemon/mount/mount_table.h"

namespace pkgfs {

/// Mounts a package as `pkgfs mount --engine=erofs` does: makes an EROFS image of its tree, unless the cache has one,
/// and lets the kernel mount it. No process of pkgfs serves the mount. Returns the exit code.
///
/// Throws Error: kPermission if this process isn't root's; kUsage for an option that the kernel can't follow, and for a
/// package with a live directory; kUnsupported if the kernel has no EROFS.
[[nodiscard]] int mount_image(const MountOptions& options, const Io& io);

/// The package of a mount that `mount_image` made; nothing for any other mount.
[[nodiscard]] std::optional<std::string> image_package(const MountEntry& mount);
/// The mounts that `mount_image` made and that this process sees. Their `source` is the package. Throws Error if /proc
/// can't be read.
[[nodiscard]] std::vector<MountEntry> image_mounts();

}  // namespace pkgfs
