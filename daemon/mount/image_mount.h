// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "daemon/cli/io.h"
#include "daemon/cli/options.h"
#include "daemon/mount/mount_table.h"
#include "daemon/packages/open_tree.h"

namespace pkgfs {

/// Mounts a package as `pkgfs mount --engine=erofs` does: makes an EROFS image of its tree, unless the cache has one,
/// and lets the kernel mount it. No process of pkgfs serves the mount. Returns the exit code.
///
/// Throws Error: kPermission if this process isn't root's; kUsage for an option that the kernel can't follow, and for a
/// package with a live directory; kUnsupported if the kernel has no EROFS.
[[nodiscard]] int mount_image(const MountOptions& options, const Io& io);

/// Throws Error for options that the kernel can't follow, and if this process isn't root's.
void refuse_with_image(const MountOptions& options);
/// An image in the cache.
struct PackageImage {
  std::string path;
  std::string package;               // the root's id, or as the user named it
  std::optional<OpenedTree> opened;  // what the image was made of
};
/// Finds the image of `options.package` and its options in the cache, or makes it. With `open`, also opens the packages
/// of an image that the cache has. Throws Error.
[[nodiscard]] PackageImage find_or_make_image(const MountOptions& options, const Io& io, bool open);
/// Lets the kernel mount `image` at `path`, with the mount options of `options`. Throws Error.
void mount_image_file(const std::string& image, const MountOptions& options, const std::string& path);

/// The package of a mount that `mount_image` made, or of one of `find_package_mount` above an image; nothing for any
/// other mount.
[[nodiscard]] std::optional<std::string> image_package(const MountEntry& mount);
/// The mounts of images that this process sees. Their `source` is the package. For a writable mount (writable_run.h),
/// `mountpoint` is that of the overlay, and `served_at` that of the image. Throws Error if /proc can't be read.
[[nodiscard]] std::vector<MountEntry> image_mounts();

}  // namespace pkgfs
