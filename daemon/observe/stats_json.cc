// SPDX-License-Identifier: MIT
#include "daemon/observe/stats_json.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/base/printable.h"
#include "core/base/read_faults.h"

namespace pkgfs {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kChangedShown = 10;
constexpr std::size_t kContainersShown = 20;

/// `Latency`: LatencyCounts, or something with the same members.
template <typename Latency>
Json latency_json(const Latency& latency, std::uint64_t count) {
  return {{"count", count},
          {"sum", latency.total},
          {"p50", latency.quantile(0.5)},
          {"p99", latency.quantile(0.99)},
          {"max", latency.longest}};
}

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
      latencies[name] = latency_json(operation, operation.answered);
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
  if (counts.takeovers > 0) {
    object["takeovers"] = counts.takeovers;
    object["pause_ns"] = {{"sum", counts.pause_total}, {"max", counts.pause_longest}};
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
  object["generation"] = facts.generation;
  object["kept"] = facts.kept;
  if (facts.keeper > 0) {
    object["keeper"] = facts.keeper;
  }
  if (facts.keeperd) {
    object["keeperd"] = true;
  }
  if (!facts.last_end.empty()) {
    object["last_end"] = facts.last_end;
  }
  if (!facts.metrics.empty()) {
    object["metrics"] = facts.metrics;
  }
}

void add_problem(Json& object, const std::string& problem) {
  if (!problem.empty()) {
    object["problem"] = shortened(problem);
  }
}

/// Only of a mount that was refreshed, or may be without being asked.
void add_versions(Json& object, const VersionsShown& versions) {
  if (versions.shown.empty()) {
    return;
  }
  Json& added = object["versions"] = {{"shown", versions.shown},
                                      {"kept", versions.kept},
                                      {"open", versions.open},
                                      {"refreshes", versions.refreshes},
                                      {"failures", versions.failures}};
  add_problem(added, versions.problem);
}

Json lazy_json(const LazyState& lazy) {
  constexpr std::uint64_t kPercent = 100;
  Json object{{"state", name_of(lazy.state())},
              {"bytes", lazy.bytes()},
              {"local", lazy.local()},
              {"percent", lazy.local() * kPercent / std::max<std::uint64_t>(lazy.bytes(), 1)},
              {"background", lazy.in_background}};
  Json containers = Json::array();
  for (const LazyState::Container& container : lazy.containers) {
    if (!object.contains("problem")) {
      add_problem(object, container.problem);
    }
    if (containers.size() < kContainersShown) {
      containers.push_back({{"package", container.package},
                            {"state", name_of(container.state)},
                            {"bytes", container.bytes},
                            {"local", container.local}});
      add_problem(containers.back(), container.problem);
    }
  }
  object["requests"] = lazy.requests;
  object["failed_requests"] = lazy.failed_requests;
  object["fetched"] = lazy.fetched;
  object["reads"] = lazy.reads;
  object["waiting"] = lazy.waiting;
  object["failed_reads"] = lazy.failed_reads;
  object["checked"] = lazy.checked;
  object["mismatches"] = lazy.mismatches;
  object["wait_ns"] = latency_json(lazy.waits, lazy.waits.count);
  object["first_byte_ns"] = latency_json(lazy.first_bytes, lazy.first_bytes.count);
  object["containers"] = std::move(containers);
  return object;
}

}  // namespace

std::string stats_json(const MountFacts& facts, const fuse::Snapshot& counts, const std::optional<LazyState>& lazy) {
  Json object = Json::object();
  add_counts(object, counts);
  if (lazy) {
    object["lazy"] = lazy_json(*lazy);
  }
  add_facts(object, facts);
  add_versions(object, facts.versions);
  return object.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace pkgfs
