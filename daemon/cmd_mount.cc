// SPDX-License-Identifier: MIT
#include <chrono>
#include <utility>

#include "core/base/log.h"
#include "daemon/background.h"
#include "daemon/commands.h"
#include "daemon/logging.h"
#include "daemon/mount_service.h"
#include "daemon/open_tree.h"
#include "daemon/options.h"
#include "fuse/session.h"

namespace pkgfs {
namespace {

/// For everything between the fork and the first answer; loading is over by then.
constexpr auto kStartLimit = std::chrono::seconds(30);

}  // namespace

/// Everything that can fail does so here, before the mount and before the fork: load the tree, look at the device and
/// the mountpoint. Threads start after the fork.
int cmd_mount(const std::vector<std::string>& args, const Io& io) {
  const MountOptions options = parse_mount_options(args);
  set_log_level(options.log);
  fuse::check_device();
  OpenedTree opened = open_tree(options.package, options.tree);
  for (const Error& broken : opened.tree.command_errors) {
    log::warn("{}", broken.what());
  }
  const std::string mountpoint = prepare_mountpoint(options.mountpoint);
  if (options.foreground) {
    return serve_mount(std::move(opened), options, mountpoint, [] {});
  }
  return run_in_background(io, kStartLimit, [&](Readiness& readiness) {
    return serve_mount(std::move(opened), options, mountpoint, [&] { readiness.ready(); });
  });
}

}  // namespace pkgfs
