// SPDX-License-Identifier: MIT
#include <chrono>
#include <ostream>

#include <nlohmann/json.hpp>

#include "daemon/commands.h"
#include "daemon/exit_code.h"
#include "daemon/logging.h"
#include "daemon/mount_table.h"
#include "daemon/options.h"

namespace pkgfs {
namespace {

constexpr auto kProbeLimit = std::chrono::seconds(1);

}  // namespace

int cmd_mounts(const std::vector<std::string>& args, const Io& io) {
  const Options options = parse_options(CommandId::kMounts, args, 0, 0);
  set_log_level(options.log);
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const MountEntry& entry : read_mount_table()) {
    if (entry.type != kMountType) {
      continue;
    }
    const std::string_view state = to_string(probe_mount(entry.mountpoint, kProbeLimit));
    if (options.json) {
      list.push_back(
          {{"mountpoint", entry.mountpoint}, {"package", entry.source}, {"options", entry.options}, {"state", state}});
    } else {
      *io.out << entry.source << " on " << entry.mountpoint << " (" << state << ")\n";
    }
  }
  if (options.json) {
    *io.out << list.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << '\n';
  }
  return kExitOk;
}

}  // namespace pkgfs
