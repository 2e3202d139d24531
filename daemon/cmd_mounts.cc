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
  std::vector<MountEntry> ours = read_mount_table();
  std::erase_if(ours, [](const MountEntry& entry) { return entry.type != kMountType; });
  std::vector<std::string> paths;
  for (const MountEntry& entry : ours) {
    paths.push_back(entry.mountpoint);
  }
  const std::vector<MountState> states = probe_mounts(paths, kProbeLimit);
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < ours.size(); ++i) {
    const MountEntry& entry = ours[i];
    const std::string_view state = to_string(states[i]);
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
