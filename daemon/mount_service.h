// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <string>

#include "daemon/open_tree.h"
#include "daemon/options.h"

namespace pkgfs {

/// A mountpoint that can be mounted on: an absolute path to a directory. Clears a dead mount of ours that is in the
/// way. Throws Error: kNotFound, kUsage (not a directory), kBusy (a live mount of ours), kMount (a dead one of others).
[[nodiscard]] std::string prepare_mountpoint(const std::string& given);

/// Mounts the tree and serves it until somebody unmounts, or a signal (TERM, INT, HUP) asks to stop. `ready` is called
/// once the mount answers. Returns the exit code; throws Error if the mount can't be made.
[[nodiscard]] int serve_mount(OpenedTree opened, const MountOptions& options, const std::string& mountpoint,
                              const std::function<void()>& ready);

}  // namespace pkgfs
