// SPDX-License-Identifier: MIT
#include "core/base/error.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/logging.h"
#include "daemon/cli/options.h"
#include "daemon/commands/commands.h"
#include "daemon/mount/image_mount.h"
#include "daemon/mount/mount_table.h"
#include "daemon/mount/mountpoint.h"
#include "daemon/mount/unmount.h"

namespace pkgfs {

int cmd_unmount(const std::vector<std::string>& args, const Io& /*io*/) {
  const Options options = parse_options(CommandId::kUnmount, args, 1, 1);
  set_log_level(options.log);
  const std::string& given = options.operands.front();
  const std::string path = resolve_mountpoint(given);
  const std::optional<MountEntry> mounted = find_mount(path);
  if (!mounted) {
    throw Error(ErrorCode::kNotFound, "Nothing is mounted at \"" + given + "\"");
  }
  if (mounted->type != kMountType && !image_package(*mounted)) {
    throw Error(ErrorCode::kUsage, "The mount at \"" + given + "\" isn't a mount of pkgfs: it is \"" + mounted->source +
                                       "\" of type " + mounted->type);
  }
  unmount(path, options.lazy);
  return kExitOk;
}

}  // namespace pkgfs
