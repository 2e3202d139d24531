// SPDX-License-Identifier: MIT
#include <chrono>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "daemon/cli/exit_code.h"
#include "daemon/cli/json_output.h"
#include "daemon/cli/logging.h"
#include "daemon/cli/options.h"
#include "daemon/cli/text_writer.h"
#include "daemon/commands/commands.h"
#include "daemon/mount/image_mount.h"
#include "daemon/mount/mount_status.h"

namespace pkgfs {
namespace {

using Json = nlohmann::ordered_json;

template <typename T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

/// Null for a mount whose packages were complete from the start.
Json lazy_json(const MountStatus& mount) {
  const std::optional<LazyStatus> lazy = mount.lazy();
  if (!lazy) {
    return {};
  }
  return {{"state", lazy->whole                            ? "whole"
                    : mount.state == MountState::kTampered ? "tampered"
                                                           : "lazy"},
          {"bytes", lazy->bytes},
          {"local", lazy->local},
          {"percent", lazy->percent()},
          {"problem", lazy->problem.empty() ? Json() : Json(lazy->problem)}};
}

/// Values that the mount didn't tell are null.
Json to_json(const MountStatus& mount) {
  const auto said = [&mount](const char* name) {
    return mount.statistics.is_object() ? mount.statistics.value(name, Json()) : Json();
  };
  return {{"mountpoint", mount.entry.mountpoint},
          {"package", mount.entry.source},
          {"packages", said("packages")},
          {"options", mount.entry.options},
          {"state", to_string(mount.state)},
          {"pid", or_null(mount.pid())},
          {"since", or_null(mount.since())},
          {"requests", or_null(mount.requests())},
          {"version", said("version")},
          {"metrics", said("metrics")},
          {"generation", said("generation")},
          {"keeper", said("keeper")},
          {"keeperd", said("keeperd")},
          {"last_end", said("last_end")},
          {"versions", said("versions")},
          {"lazy", lazy_json(mount)},
          {"engine", "fuse"}};
}

/// A mount without a daemon; it can't be asked for more.
Json image_json(const MountEntry& mount) {
  return {{"mountpoint", mount.mountpoint},
          {"package", mount.source},
          {"options", mount.options},
          {"state", "live"},
          {"engine", "erofs"}};
}

/// `, shows acme/app@2.4.0, keeps acme/app@2.3.9`; empty if the mount shows what it showed at first.
std::string versions_text(const Json& statistics) {
  const Json versions = statistics.is_object() ? statistics.value("versions", Json()) : Json();
  if (!versions.is_object()) {
    return {};
  }
  const auto word = [](const Json& value) { return value.is_string() ? value.get<std::string>() : std::string(); };
  std::string text;
  const std::string shown = word(versions.value("shown", Json()));
  if (!shown.empty() && shown != word(statistics.value("package", Json()))) {
    text = ", shows " + shown;
  }
  const Json kept = versions.value("kept", Json::array());
  for (std::size_t i = 0; kept.is_array() && i < kept.size(); ++i) {
    text += (i == 0 ? ", keeps " : " and ") + word(kept[i]);
  }
  const std::string problem = word(versions.value("problem", Json()));
  return problem.empty() ? text : text + ", not refreshed: " + problem;
}

/// `live`, `live, lazy 37 %: 8.9 MiB of 24.0 MiB are local`.
std::string state_text(const MountStatus& mount) {
  const std::optional<LazyStatus> lazy = mount.state == MountState::kLive ? mount.lazy() : std::nullopt;
  std::string text = std::string(to_string(mount.state)) + (lazy && !lazy->whole ? ", " + lazy->text() : "");
  const Json end = mount.statistics.is_object() ? mount.statistics.value("last_end", Json()) : Json();
  if (end.is_string()) {
    text += ", daemon " + mount.statistics.value("generation", Json(1)).dump() + ": the one before was " +
            end.get<std::string>();
  }
  return text + versions_text(mount.statistics);
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
      TextWriter(*io.out) << mount.entry.source << " on " << mount.entry.mountpoint << " (" << state_text(mount)
                          << ")\n";
    }
  }
  for (const MountEntry& mount : image_mounts()) {
    if (options.json) {
      list.push_back(image_json(mount));
    } else {
      TextWriter(*io.out) << mount.source << " on " << mount.mountpoint << " (live, served by the kernel: erofs)\n";
    }
  }
  if (options.json) {
    print_ordered_json(*io.out, list);
  }
  return kExitOk;
}

}  // namespace pkgfs
