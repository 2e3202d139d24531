// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/base/log.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/logging.h"
#include "daemon/cli/options.h"
#include "daemon/cli/text_writer.h"
#include "daemon/commands/commands.h"
#include "daemon/mount/mount_status.h"
#include "daemon/mount/mount_table.h"
#include "daemon/mount/mountpoint.h"
#include "daemon/mount/upgrade.h"

namespace pkgfs {
namespace {

/// The mounts at `paths`; all mounts of pkgfs if there is no path. Throws Error(kNotFound).
std::vector<MountEntry> chosen(const std::vector<std::string>& paths) {
  std::vector<MountEntry> mounts = our_mounts();
  if (paths.empty()) {
    return mounts;
  }
  std::vector<MountEntry> found;
  for (const std::string& path : paths) {
    // The last one at a path covers the others.
    const auto mount =
        std::find_if(mounts.rbegin(), mounts.rend(),
                     [real = resolve_mountpoint(path)](const MountEntry& each) { return each.mountpoint == real; });
    if (mount == mounts.rend()) {
      throw Error(ErrorCode::kNotFound, "No package is mounted at \"" + path + "\"");
    }
    found.push_back(*mount);
  }
  return found;
}

}  // namespace

int cmd_upgrade_mounts(const std::vector<std::string>& args, const Io& io) {
  const Options options = parse_options(CommandId::kUpgradeMounts, args, 0, SIZE_MAX);
  set_log_level(options.log);
  int exit_code = kExitOk;
  std::set<std::string> done;  // by device: a bind shows the same mount at another path
  for (const MountEntry& entry : chosen(options.operands)) {
    if (!done.insert(entry.device).second) {
      continue;
    }
    try {
      const bool is_new = upgrade_mount(entry);
      TextWriter(*io.out) << entry.source << " on " << entry.mountpoint
                          << (is_new ? " runs this program now\n" : " runs this program already\n");
    } catch (Error& error) {
      error.context("The mount at \"" + entry.mountpoint + "\" keeps its daemon");
      log::warn("{}", error);
      exit_code = to_exit_code(ErrorCode::kMount);
    }
  }
  return exit_code;
}

}  // namespace pkgfs
