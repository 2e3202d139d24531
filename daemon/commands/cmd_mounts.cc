// SPDX-License-Identifier: MIT
#include <chrono>

#include <nlohmann/json.hpp>

#include "daemon/cli/exit_code.h"
#include "daemon/cli/json_output.h"
#include "daemon/cli/logging.h"
#include "daemon/cli/options.h"
#include "daemon/cli/text_writer.h"
#include "daemon/commands/commands.h"
#include "daemon/mount/mount_status.h"

namespace pkgfs {
namespace {

using Json = nlohmann::ordered_json;

template <typename T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

/// Values that the mount didn't tell are null.
Json to_json(const MountStatus& mount) {
  const auto said = [&mount](const char* name) {
    return mount.statistics.is_object() ? mount.statistics.value(name, Json()) : Json();
  };
  return {{"mountpoint", mount.entry.mountpoint}, {"package", mount.entry.source},
          {"packages", said("packages")},         {"options", mount.entry.options},
          {"state", to_string(mount.state)},      {"pid", or_null(mount.pid())},
          {"since", or_null(mount.since())},      {"requests", or_null(mount.requests())},
          {"version", said("version")},           {"metrics", said("metrics")}};
}

}  // namespace

int cmd_mounts(const std::vector<std::string>& args, const Io& io) {
  const Options options = parse_options(CommandId::kMounts, args, 0, 0);
  set_log_level(options.log);
  Json list = Json::array();
  for (const MountStatus& mount : ask_mounts(our_mounts(), kProbeLimit)) {
    if (options.json) {
      list.push_back(to_json(mount));
    } else {
      TextWriter(*io.out) << mount.entry.source << " on " << mount.entry.mountpoint << " (" << to_string(mount.state)
                          << ")\n";
    }
  }
  if (options.json) {
    print_ordered_json(*io.out, list);
  }
  return kExitOk;
}

}  // namespace pkgfs
