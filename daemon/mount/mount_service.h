// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <string>

#include "daemon/cli/options.h"
#include "daemon/mount/service_manager.h"
#include "daemon/packages/open_tree.h"

namespace pkgfs {

/// What df shows of a mount of `package`: the id, or the file where the id would be a hash that nobody knows yet.
[[nodiscard]] std::string mount_source(const OpenedTree& opened, const std::string& package);

/// A mountpoint that can be used: an absolute path to a directory. Clears a dead mount of ours that is in the way.
/// Throws Error: kNotFound, kUsage (not a directory, "/", a kernel's file system), kBusy (a live mount of ours, or one
/// that doesn't answer), kMount (a dead one of others).
[[nodiscard]] std::string prepare_mountpoint(const std::string& given);

/// Whether the mountpoint is one that automount(8) or systemd watches: somebody waits there for our mount.
[[nodiscard]] bool is_automounted(const std::string& mountpoint);

/// Throws Error(kUsage) when `mountpoint`, which the user calls `given`, lies in a live directory of the tree: the
/// mount would wait for itself.
void refuse_mountpoint_in(const PackageTree& tree, const std::string& given, const std::string& mountpoint);

/// Detaches what is mounted at `mountpoint` if it is ours and dead; says nothing if that can't be done.
void clear_dead_mount(const std::string& mountpoint) noexcept;

/// Mounts the tree and serves it until somebody unmounts, or a signal (TERM, INT, HUP) asks to stop. `ready` is called
/// once the mount answers, with the message that has just said so; `manager` is told that, and whether it still does.
/// Returns the exit code, that of kInterrupted for a signal before then; throws Error if the mount can't be made.
[[nodiscard]] int serve_mount(OpenedTree opened, const MountOptions& options, const std::string& mountpoint,
                              const std::function<void(const std::string&)>& ready, ServiceManager& manager);

}  // namespace pkgfs
