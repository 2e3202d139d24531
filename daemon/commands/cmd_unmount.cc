// SPDX-License-Identifier: MIT
#include <chrono>

#include "core/base/error.h"
#include "core/base/log.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/logging.h"
#include "daemon/cli/options.h"
#include "daemon/commands/commands.h"
#include "daemon/mount/image_mount.h"
#include "daemon/mount/mount_table.h"
#include "daemon/mount/mountpoint.h"
#include "daemon/mount/unmount.h"
#include "daemon/mount/writable_run.h"

namespace pkgfs {

namespace {

/// The overlay is unmounted: its daemon ends the rest, or the process that waits for the end of an image.
int end_writable(const WritableRun& run, bool lazy) {
  constexpr auto kLimit = std::chrono::seconds(10);
  constexpr auto kLazyLimit = std::chrono::milliseconds(500);  // a program may use it for ever
  const bool has_ended = wait_for_end(run, lazy ? std::chrono::milliseconds(kLazyLimit) : kLimit);
  if (!has_ended && !lazy && run.is_image) {
    log::warn("\"{}\" is unmounted, but its changes stay while a container or a program uses them", run.mountpoint);
  } else if (!has_ended && !lazy) {
    log::warn(
        "\"{}\" is unmounted, but its daemon hasn't ended yet: a container may use it, or the daemon removes the "
        "changes",
        run.mountpoint);
  }
  return kExitOk;
}

}  // namespace

int cmd_unmount(const std::vector<std::string>& args, const Io& /*io*/) {
  const Options options = parse_options(CommandId::kUnmount, args, 1, 1);
  set_log_level(options.log);
  const std::string& given = options.operands.front();
  const std::string path = resolve_mountpoint(given);
  const std::optional<MountEntry> mounted = find_mount(path);
  const std::optional<WritableRun> writable = find_run(path);
  if (!mounted && writable) {  // an earlier unmount was interrupted
    return end_writable(*writable, options.lazy);
  }
  if (!mounted) {
    throw Error(ErrorCode::kNotFound, "Nothing is mounted at \"" + given + "\"");
  }
  if (mounted->type != kMountType && !image_package(*mounted) && !lower_of(*mounted)) {
    throw Error(ErrorCode::kUsage, "The mount at \"" + given + "\" isn't a mount of pkgfs: it is \"" + mounted->source +
                                       "\" of type " + mounted->type);
  }
  unmount(path, options.lazy);
  return writable ? end_writable(*writable, options.lazy) : kExitOk;
}

}  // namespace pkgfs
