// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "core/base/unique_fd.h"
#include "core/tree/package_tree.h"

// The directory that a package is mounted at. `given` is its name as the user typed it, for messages; `path` or
// `mountpoint` is that of `prepare_mountpoint`.
namespace pkgfs {

/// The path that mountinfo would show for `path`. Symbolic links are resolved before "..", as the kernel does it. Does
/// not touch what is mounted at the path, which may be dead or stuck. The last component need not exist. Throws Error
/// naming `path`: kUsage if it is empty, kNotFound if the directory above the last component does not exist.
[[nodiscard]] std::string resolve_mountpoint(const std::string& path);

/// Checks that a mount can be made at `given`, and unmounts a dead mount of pkgfs there. Returns its absolute path.
/// Throws Error: kNotFound; kUsage (not a directory, "/", a file system of the kernel); kBusy (a live mount of pkgfs,
/// or a mount that does not answer); kMount (a dead mount of another program).
[[nodiscard]] std::string prepare_mountpoint(const std::string& given);

/// Takes a lock on the directory, so that only one of several processes mounts there at a time: all of them may have
/// seen it free. Checks again that it is free. The lock lasts as long as the descriptor; a directory that this user may
/// not read is not locked. Throws Error(kBusy) if another process holds the lock, else as `prepare_mountpoint`.
[[nodiscard]] UniqueFd claim_mountpoint(const std::string& given, const std::string& path);

/// Whether autofs watches the directory: automount(8) or systemd waits there for the mount.
[[nodiscard]] bool is_automounted(const std::string& mountpoint);

/// Throws Error(kUsage) if `mountpoint` lies in a live directory that the tree shows: the daemon would wait for itself.
void refuse_mountpoint_in(const PackageTree& tree, const std::string& given, const std::string& mountpoint);

/// Detaches a dead mount of pkgfs at `mountpoint`. Failures are logged only.
void clear_dead_mount(const std::string& mountpoint) noexcept;

}  // namespace pkgfs
