// SPDX-License-Identifier: MIT
#pragma once

#include "daemon/cli/io.h"
#include "daemon/cli/options.h"

namespace pkgfs {

/// Mounts a package as `pkgfs mount --writable --engine=erofs` does: an overlay above an image that the kernel serves
/// (image_mount.h). Returns the exit code when the mount is made.
///
/// A process stays in the background. It serves nothing: it holds the locks of the mount, and removes the run directory
/// when the overlay has ended in all mount namespaces. If it is killed, the mount goes on, and the next writable mount
/// or unmount removes the run directory.
///
/// Throws Error: those of `refuse_with_image`, `find_or_make_image` and WritablePlace, and those of the two mounts.
[[nodiscard]] int mount_writable_image(const MountOptions& options, const Io& io);

}  // namespace pkgfs
