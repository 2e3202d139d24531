// SPDX-License-Identifier: MIT
#include "core/resolve/lock_file.h"

#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/webc/json_fields.h"

namespace pkgfs {
namespace {

using webc::expect_list;
using webc::expect_map;
using webc::expect_text;
using webc::Json;
using webc::optional_text;
using webc::required;

constexpr std::uint64_t kFormat = 1;

Json or_null(const std::optional<std::string>& text) { return text ? Json(*text) : Json(nullptr); }

Json to_json(const LockFile::Locked& locked) {
  const PackageInfo& pkg = locked.summary.pkg;
  const DistributionInfo& dist = locked.summary.dist;
  Json entry = Json::object();
  entry["id"] = pkg.id.to_string();
  entry["url"] = dist.url;
  entry["sha256"] = dist.webc_sha256 ? Json(to_hex(*dist.webc_sha256)) : Json(nullptr);
  entry["commands"] = pkg.commands;
  entry["entrypoint"] = or_null(pkg.entrypoint);
  entry["filesystem"] = Json::array();
  for (const FileSystemMapping& mapping : pkg.filesystem) {
    entry["filesystem"].push_back({{"mount_path", mapping.mount_path},
                                   {"volume_name", mapping.volume_name},
                                   {"original_path", or_null(mapping.original_path)},
                                   {"dependency", or_null(mapping.dependency_name)}});
  }
  entry["dependencies"] = Json::array();
  for (std::size_t i = 0; i < pkg.dependencies.size(); ++i) {
    entry["dependencies"].push_back({{"alias", pkg.dependencies[i].alias},
                                     {"specifier", pkg.dependencies[i].source.to_string()},
                                     {"id", locked.dependency_ids.at(i)}});
  }
  return entry;
}

PackageId parse_id(const std::string& text) {
  if (const auto hash = PackageHash::parse(text)) {
    return *hash;
  }
  const std::size_t at = text.rfind('@');
  const auto version =
      at == std::string::npos ? std::nullopt : Version::try_parse(std::string_view(text).substr(at + 1));
  if (!version || at == 0) {
    throw Error(ErrorCode::kCorrupt, "\"" + text + "\" isn't the id of a package");
  }
  return NamedId{text.substr(0, at), *version};
}

DistributionInfo parse_distribution(const Json& entry, const std::string& where) {
  DistributionInfo dist{expect_text(required(entry, "url", where), where + ".url"), std::nullopt, std::nullopt};
  if (dist.url.starts_with("file:")) {
    const PackageSource source = PackageSource::parse(dist.url);
    if (source.path() == nullptr) {
      throw Error(ErrorCode::kCorrupt, where + ": \"" + dist.url + "\" names no local file");
    }
    dist.path = source.path()->text;
  }
  if (const auto hex = optional_text(entry, "sha256", where)) {
    dist.webc_sha256 = sha256_from_hex(*hex);
    if (!dist.webc_sha256) {
      throw Error(ErrorCode::kCorrupt, where + ": \"" + *hex + "\" isn't a SHA-256 in hex");
    }
  }
  if (!dist.path && !dist.webc_sha256) {
    throw Error(ErrorCode::kCorrupt, where + ": nothing says which hash \"" + dist.url + "\" should have");
  }
  return dist;
}

LockFile::Locked parse_entry(const Json& entry, const std::string& where) {
  expect_map(entry, where);
  PackageInfo pkg{parse_id(expect_text(required(entry, "id", where), where + ".id")), {}, {}, {}, {}};
  for (const Json& command : expect_list(required(entry, "commands", where), where + ".commands")) {
    pkg.commands.push_back(expect_text(command, where + ".commands"));
  }
  pkg.entrypoint = optional_text(entry, "entrypoint", where);
  for (const Json& mapping : expect_list(required(entry, "filesystem", where), where + ".filesystem")) {
    const std::string inner = where + ".filesystem";
    expect_map(mapping, inner);
    pkg.filesystem.push_back({expect_text(required(mapping, "volume_name", inner), inner),
                              expect_text(required(mapping, "mount_path", inner), inner),
                              optional_text(mapping, "original_path", inner),
                              optional_text(mapping, "dependency", inner)});
  }
  std::vector<std::string> ids;
  for (const Json& dependency : expect_list(required(entry, "dependencies", where), where + ".dependencies")) {
    const std::string inner = where + ".dependencies";
    expect_map(dependency, inner);
    pkg.dependencies.push_back({expect_text(required(dependency, "alias", inner), inner),
                                PackageSource::parse(expect_text(required(dependency, "specifier", inner), inner))});
    ids.push_back(expect_text(required(dependency, "id", inner), inner));
  }
  return {{std::move(pkg), parse_distribution(entry, where)}, std::move(ids)};
}

}  // namespace

LockFile make_lock(const Resolution& resolution) {
  LockFile lock;
  const auto& nodes = resolution.graph.nodes;
  for (const DependencyGraph::Node& node : nodes) {
    LockFile::Locked& locked = lock.packages.emplace_back(LockFile::Locked{{node.pkg, node.dist.value()}, {}});
    for (const DependencyGraph::Edge& edge : node.edges) {
      locked.dependency_ids.push_back(nodes.at(edge.target).pkg.id.to_string());
    }
  }
  return lock;
}

std::string print_lock(const LockFile& lock) {
  Json document = Json::object();
  document["pkgfs_lock"] = kFormat;
  document["packages"] = Json::array();
  for (const LockFile::Locked& locked : lock.packages) {
    document["packages"].push_back(to_json(locked));
  }
  return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

LockFile parse_lock(std::string_view text) {
  const Json document = webc::parse_json(text);
  expect_map(document, "");
  if (const std::uint64_t format = webc::expect_unsigned(required(document, "pkgfs_lock", ""), "pkgfs_lock");
      format != kFormat) {
    throw Error(ErrorCode::kUnsupported,
                "the lock file has format " + std::to_string(format) + ", and only 1 is known");
  }
  LockFile lock;
  std::set<std::string> ids;
  for (const Json& entry : expect_list(required(document, "packages", ""), "packages")) {
    const std::string where = "packages." + std::to_string(lock.packages.size());
    try {
      lock.packages.push_back(parse_entry(entry, where));
    } catch (const Error& error) {
      throw Error(ErrorCode::kCorrupt, error.chain()).context("entry " + std::to_string(lock.packages.size()));
    }
    if (!ids.insert(lock.packages.back().summary.pkg.id.to_string()).second) {
      throw Error(ErrorCode::kCorrupt, where + ": a second \"" + *ids.rbegin() + "\"");
    }
  }
  if (lock.packages.empty()) {
    throw Error(ErrorCode::kCorrupt, "the lock file names no package");
  }
  for (const LockFile::Locked& locked : lock.packages) {
    for (const std::string& id : locked.dependency_ids) {
      if (!ids.contains(id)) {
        throw Error(ErrorCode::kCorrupt,
                    "\"" + locked.summary.pkg.id.to_string() + "\" needs \"" + id + "\", which the lock file lacks");
      }
    }
  }
  return lock;
}

LockSource::LockSource(const LockFile& lock) {
  std::map<std::string, const PackageSummary*> by_id;
  for (const LockFile::Locked& locked : lock.packages) {
    by_id.emplace(locked.summary.pkg.id.to_string(), &locked.summary);
  }
  for (const LockFile::Locked& locked : lock.packages) {
    const auto& dependencies = locked.summary.pkg.dependencies;
    for (std::size_t i = 0; i < dependencies.size(); ++i) {
      packages_.emplace(dependencies[i].source.to_string(), *by_id.at(locked.dependency_ids[i]));
    }
  }
}

std::vector<PackageSummary> LockSource::query(const PackageSource& specifier) {
  const auto found = packages_.find(specifier.to_string());
  if (found == packages_.end()) {
    throw QueryError(QueryError::Kind::kNotFound, specifier);
  }
  return {found->second};
}

}  // namespace pkgfs
