// SPDX-License-Identifier: MIT
#include "daemon/observe/stats_json.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include <nlohmann/json.hpp>

#include "core/base/read_faults.h"

namespace pkgfs {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kChangedShown = 10;

void add_counts(Json& object, const fuse::Snapshot& counts) {
  Json requests = Json::object();
  Json errors = Json::object();
  Json latencies = Json::object();
  for (std::size_t i = 0; i < fuse::kRequests; ++i) {
    const fuse::Snapshot::Operation& operation = counts.operations.at(i);
    const std::string name(fuse::name_of(static_cast<fuse::Request>(i)));
    requests[name] = operation.requests;
    for (std::size_t j = 0; j < fuse::kFailures; ++j) {
      if (operation.failures.at(j) > 0) {
        errors[name][std::string(fuse::name_of(static_cast<fuse::Failure>(j)))] = operation.failures.at(j);
      }
    }
    if (operation.answered > 0) {
      latencies[name] = {{"count", operation.answered},
                         {"sum", operation.total},
                         {"p50", operation.quantile(0.5)},
                         {"p99", operation.quantile(0.99)},
                         {"max", operation.longest}};
    }
  }
  constexpr double kThousand = 1000;
  object["requests"] = std::move(requests);
  object["bytes_read"] = counts.bytes_read;
  object["files_pushed"] = counts.files_pushed;
  object["bytes_pushed"] = counts.bytes_pushed;
  object["polled"] = counts.polled;
  object["relieved"] = counts.relieved;
  if (counts.live) {
    object["live"] = {
        {"watched", counts.live->watched}, {"unwatched", counts.live->unwatched}, {"notices", counts.live->notices}};
  }
  object["faults"] = Json::object();
  for (std::size_t i = 0; i < read_faults::kCauses; ++i) {
    const auto cause = static_cast<read_faults::Cause>(i);
    object["faults"][std::string(read_faults::name_of(cause))] = read_faults::counted(cause);
  }
  if (const std::vector<std::string> changed = read_faults::changed_files(); !changed.empty()) {
    object["changed"] = std::vector(
        changed.begin(), changed.begin() + static_cast<std::ptrdiff_t>(std::min(changed.size(), kChangedShown)));
  }
  object["uptime_seconds"] = std::round(counts.uptime * kThousand) / kThousand;
  object["errors"] = std::move(errors);
  object["latency_ns"] = std::move(latencies);
}

void add_facts(Json& object, const MountFacts& facts) {
  constexpr std::size_t kMostBytes = std::size_t{32} << 10U;
  object["package"] = facts.package;
  Json packages = Json::array();
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
}

}  // namespace

std::string stats_json(const MountFacts& facts, const fuse::Snapshot& counts) {
  Json object = Json::object();
  add_counts(object, counts);
  add_facts(object, facts);
  return object.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace pkgfs
