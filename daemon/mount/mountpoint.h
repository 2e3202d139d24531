// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "core/base/unique_fd.h"
#include "core/tree/package_tree.h"

// Functions for the directory at which a package is mounted. `given` is its path as the user typed it, for messages.
// `mountpoint`, or `path` next to `given`, is the path that `prepare_mountpoint` returns.
namespace pkgfs {

/// The path that mountinfo would show for `path`. Symbolic links are resolved before "..", as the kernel does it. Does
/// not touch what is mounted at the path, which may be dead or stuck. The last component need not exist. Throws Error
/// naming `path`: kUsage if it is empty, kNotFound if the directory above the last component does not exist.
[[nodiscard]] std::string resolve_mountpoint(const std::string& path);

/// Checks that a mount can be made at `given`, and unmounts a dead mount of pkgfs there. Returns its absolute path.
/// Throws Error(kNotFound) if it doesn't exist. Throws Error(kUsage) if it isn't a directory, is "/", or is in a file
/// system of the kernel. Throws Error(kBusy) if it has a live mount of pkgfs, or a FUSE mount that does not answer.
/// Throws Error(kMount) if it has a dead mount of another program.
[[nodiscard]] std::string prepare_mountpoint(const std::string& given);

/// Takes a lock on the directory, so that only one process at a time mounts there. Then checks the mounts there again:
/// several processes may have passed `prepare_mountpoint` at the same time. The lock lasts as long as the descriptor. A
/// directory that this user may not read is not locked. Throws Error(kBusy) if another process holds the lock, else as
/// `prepare_mountpoint`.
[[nodiscard]] UniqueFd claim_mountpoint(const std::string& given, const std::string& path);

/// Whether autofs watches the directory: automount(8) or systemd waits there for the mount.
[[nodiscard]] bool is_automounted(const std::string& mountpoint);

/// Throws Error(kUsage) if `mountpoint` lies in a live directory that the tree shows: the daemon would wait for itself.
void refuse_mountpoint_in(const PackageTree& tree, const std::string& given, const std::string& mountpoint);

/// Detaches a dead mount of pkgfs at `mountpoint`. Failures are logged only.
void clear_dead_mount(const std::string& mountpoint) noexcept;

}  // namespace pkgfs
