// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "daemon/cli/options.h"
#include "daemon/mount/predecessor.h"
#include "daemon/mount/service_manager.h"
#include "daemon/mount/writable_mount.h"
#include "daemon/packages/followed_tree.h"
#include "daemon/packages/fresh_tree.h"
#include "daemon/packages/open_tree.h"

namespace pkgfs {

/// What a daemon needs to show other trees later.
struct LaterTrees {
  FollowedTree* followed = nullptr;  // takes over changes of the manifest; may be null
  FreshTree* fresh = nullptr;        // what the package means later
};

/// Prepares this process for any kind of mount that it serves, before its first thread: signals that would end it, and
/// reports of crashes. `goes_on`: with the mount of a predecessor, which needs no such reports. Throws Error if they
/// can't be written to --crash-dir, unless it goes on.
void prepare_to_serve(const MountOptions& options, bool goes_on);

/// Mounts the tree at `mountpoint` (mountpoint.h) and serves it, until it is unmounted or SIGTERM, SIGINT or SIGHUP
/// asks the daemon to end. Calls `ready` once the mount answers, with the message that it has just logged. Reports to
/// `manager` that the mount is ready, and then that it still answers. Meanwhile, `later` finds what else the
/// mount is to show. With a `predecessor`, goes on with its mount instead of making one, and doesn't call `ready`. With
/// `writable`, `mountpoint` is in its run directory, and the overlay above is a part of the mount.
///
/// Returns the exit code: that of kInterrupted if a signal came before the mount was ready. Throws Error if the mount
/// can't be made. Ends the process if a request is still being answered a second after the daemon was asked to end.
/// Must run on the main thread before any other thread is started.
[[nodiscard]] int serve_mount(OpenedTree opened, LaterTrees later, const MountOptions& options,
                              const std::string& mountpoint, const std::function<void(const std::string&)>& ready,
                              ServiceManager& manager, std::optional<Predecessor> predecessor = std::nullopt,
                              WritablePlace* writable = nullptr);

}  // namespace pkgfs
