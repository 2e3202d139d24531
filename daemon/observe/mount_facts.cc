// SPDX-License-Identifier: MIT
#include "daemon/observe/mount_facts.h"

#include <nlohmann/json.hpp>

namespace pkgfs {

std::string json_members(const MountFacts& facts) {
  constexpr std::size_t kMostBytes = std::size_t{32} << 10U;
  nlohmann::ordered_json object{{"package", facts.package}};
  nlohmann::ordered_json packages = nlohmann::ordered_json::array();
  std::size_t bytes = 0;
  for (const std::string& id : facts.packages) {
    bytes += id.size() + 3;
    if (bytes > kMostBytes) {
      object["packages_total"] = facts.packages.size();
      break;
    }
    packages.push_back(id);
  }
  object["packages"] = std::move(packages);
  object["mountpoint"] = facts.mountpoint;
  object["version"] = PKGFS_VERSION;
  object["pid"] = facts.pid;
  object["since"] = facts.since;
  if (!facts.metrics.empty()) {
    object["metrics"] = facts.metrics;
  }
  std::string text = object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  text.front() = ',';
  text.pop_back();
  return text;
}

}  // namespace pkgfs
