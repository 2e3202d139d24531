// SPDX-License-Identifier: MIT
#include "daemon/mount/mount_package.h"

#include <chrono>
#include <optional>
#include <utility>

#include "core/base/log.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/logging.h"
#include "daemon/mount/background.h"
#include "daemon/mount/mount_service.h"
#include "daemon/mount/mount_table.h"
#include "daemon/mount/mountpoint.h"
#include "fuse/session.h"

namespace pkgfs {
namespace {

/// From the fork to the mount's first reply. The packages are loaded before the fork.
constexpr auto kStartLimit = std::chrono::seconds(30);

/// What `remount,ro` asks for is what every mount is. Throws Error(kMount) if no package is mounted there.
int confirm_mounted(const std::string& mountpoint) {
  const std::optional<MountEntry> mounted = find_mount(resolve_mountpoint(mountpoint));
  if (!mounted || mounted->type != kMountType) {
    throw Error(ErrorCode::kMount, "\"" + mountpoint + "\" can't be remounted: no package is mounted there");
  }
  log::info("\"{}\" is read-only already; nothing was changed", mountpoint);
  return kExitOk;
}

}  // namespace

/// Checks the device and the mount point and loads the tree before the fork, so that their errors reach the user. No
/// thread lives across the fork: the threads of the network end with `open_tree`.
int mount_package(const MountOptions& options, const Io& io) {
  set_log_level(options.log);
  if (options.remount) {
    return confirm_mounted(options.mountpoint);
  }
  fuse::check_device();
  const std::string mountpoint = prepare_mountpoint(options.mountpoint);
  // A service manager follows the process that it started, which is not the one of a mount in the background.
  ServiceManager manager = options.foreground ? ServiceManager(io.environment) : ServiceManager();
  manager.status("loading " + options.package);
  OpenedTree opened = open_tree(options.package, options.tree, io);
  refuse_mountpoint_in(opened.tree, options.mountpoint, mountpoint);
  if (options.foreground) {
    return serve_mount(std::move(opened), options, mountpoint, [](const std::string&) {}, manager);
  }
  return run_in_background(
      io, kStartLimit, is_automounted(mountpoint) ? Leave::kWhenReady : Leave::kAtOnce,
      [&](Readiness& readiness) {
        const auto ready = [&](const std::string& message) {
          readiness.ready();
          log::info("{}", message);  // again: `ready` has turned messages to the system's log
        };
        return serve_mount(std::move(opened), options, mountpoint, ready, manager);
      },
      [&] { clear_dead_mount(mountpoint); });
}

}  // namespace pkgfs
