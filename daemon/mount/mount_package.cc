// SPDX-License-Identifier: MIT
#include "daemon/mount/mount_package.h"

#include <chrono>
#include <utility>

#include "core/base/log.h"
#include "daemon/cli/logging.h"
#include "daemon/mount/background.h"
#include "daemon/mount/mount_service.h"
#include "fuse/session.h"

namespace pkgfs {
namespace {

/// For everything between the fork and the first answer; loading is over by then.
constexpr auto kStartLimit = std::chrono::seconds(30);

}  // namespace

/// Everything that can fail does so here, before the mount and before the fork: look at the device and the mountpoint,
/// load the tree. No thread lives across the fork: those of the network end with `open_tree`.
int mount_package(const MountOptions& options, const Io& io) {
  set_log_level(options.log);
  fuse::check_device();
  const std::string mountpoint = prepare_mountpoint(options.mountpoint);
  // A mount in the background isn't what the manager started.
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
          log::info("{}", message);  // once more, since messages go to the system's log from now on
        };
        return serve_mount(std::move(opened), options, mountpoint, ready, manager);
      },
      [&] { clear_dead_mount(mountpoint); });
}

}  // namespace pkgfs
