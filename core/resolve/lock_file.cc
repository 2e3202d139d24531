// SPDX-License-Identifier: MIT
#include "core/resolve/lock_file.h"

#include <algorithm>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/base/printable.h"
#include "core/lazy/access_profile.h"
#include "core/webc/json_fields.h"
#include "core/webc/parse_json.h"

namespace pkgfs {
namespace {

using webc::below;
using webc::expect_list;
using webc::expect_map;
using webc::expect_text;
using webc::Json;
using webc::member;
using webc::optional_text;
using webc::required;

/// What a manifest states, and what the file states only to be read.
constexpr const char* kProperties[] = {"commands", "entrypoint", "filesystem"};

Json or_null(const std::optional<std::string>& text) { return text ? Json(*text) : Json(nullptr); }

Json mappings_json(const PackageInfo& pkg) {
  Json list = Json::array();
  for (const FileSystemMapping& mapping : pkg.filesystem) {
    list.push_back({{"mount_path", mapping.mount_path},
                    {"volume_name", mapping.volume_name},
                    {"original_path", or_null(mapping.original_path)},
                    {"dependency", or_null(mapping.dependency_name)}});
  }
  return list;
}

Json to_json(const LockFile::Locked& locked, int format) {
  const PackageInfo& pkg = locked.summary.pkg;
  const DistributionInfo& dist = locked.summary.dist;
  Json entry = Json::object();
  entry["id"] = pkg.id.to_string();
  entry["url"] = dist.url;
  entry["sha256"] = dist.webc_sha256 ? Json(to_hex(*dist.webc_sha256)) : Json(nullptr);
  if (format > 1) {
    entry["registry"] = dist.registry ? Json{{"url", *dist.registry}, {"id", pkg.id.to_string()}} : Json(nullptr);
  }
  if (format > 2) {
    entry["profile"] = dist.profile.empty() ? Json(nullptr) : Json(dist.profile);
  }
  if (!is_locked_directory(dist)) {
    entry["commands"] = pkg.commands;
    entry["entrypoint"] = or_null(pkg.entrypoint);
    entry["filesystem"] = mappings_json(pkg);
  }
  entry["dependencies"] = Json::array();
  for (std::size_t i = 0; i < pkg.dependencies.size(); ++i) {
    entry["dependencies"].push_back(
        {{"alias", pkg.dependencies[i].alias},
         {"specifier", pkg.dependencies[i].specifier.to_string()},
         {"id", i < locked.dependency_ids.size() ? Json(locked.dependency_ids[i]) : Json(nullptr)}});
  }
  return entry;
}

PackageId parse_id(const std::string& text) {
  std::optional<PackageId> id = PackageId::parse(text);
  if (!id) {
    throw Error(ErrorCode::kCorrupt, "\"" + text + "\" isn't the id of a package");
  }
  return *std::move(id);
}

DistributionInfo parse_distribution(const Json& entry, const std::string& where) {
  DistributionInfo dist{expect_text(required(entry, "url", where), below(where, "url")), std::nullopt, std::nullopt};
  if (dist.url.starts_with("file:")) {
    const PackageSpecifier specifier = PackageSpecifier::parse(dist.url);
    if (specifier.path() == nullptr) {
      throw Error(ErrorCode::kCorrupt, where + ": \"" + dist.url + "\" isn't the URL of a local file");
    }
    dist.path = specifier.path()->text;
  }
  if (const auto hex = optional_text(entry, "sha256", where)) {
    dist.webc_sha256 = sha256_from_hex(*hex);
    if (!dist.webc_sha256) {
      throw Error(ErrorCode::kCorrupt, where + ": \"" + *hex + "\" isn't a SHA-256 in hex");
    }
  }
  if (!dist.path && !dist.webc_sha256) {
    throw Error(ErrorCode::kCorrupt, where + ": no SHA-256 is given for \"" + dist.url + "\"");
  }
  return dist;
}

/// The registry that gave the package its id; it must be the id of the entry.
std::optional<std::string> parse_registry(const Json& entry, const std::string& id, const std::string& where) {
  const Json& registry = required(entry, "registry", where);
  if (registry.is_null()) {
    return std::nullopt;
  }
  const std::string inner = below(where, "registry");
  const std::string& answered = expect_text(required(expect_map(registry, inner), "id", inner), below(inner, "id"));
  if (answered != id) {
    throw Error(ErrorCode::kCorrupt,
                where + ".id is \"" + id + "\", but the registry's answer was \"" + answered + "\" (registry.id)");
  }
  return expect_text(required(registry, "url", inner), below(inner, "url"));
}

/// The profile of accesses, which must be one that pkgfs would write. Only a container has one.
std::string parse_profile(const Json& entry, const DistributionInfo& dist, const std::string& where) {
  const Json& profile = required(entry, "profile", where);
  if (profile.is_null()) {
    return {};
  }
  const std::string inner = below(where, "profile");
  const std::string& text = expect_text(profile, inner);
  if (!dist.webc_sha256) {
    throw Error(ErrorCode::kCorrupt, inner + ": a package without a hash has no profile");
  }
  try {
    (void)AccessProfile::parse(text);
  } catch (const Error& error) {
    throw Error(ErrorCode::kCorrupt, inner + ": " + error.message());
  }
  return text;
}

LockFile::Locked parse_entry(const Json& entry, int format, const std::string& where) {
  expect_map(entry, where);
  const std::string& id = expect_text(required(entry, "id", where), below(where, "id"));
  LockFile::Locked locked{.summary = {.pkg = {parse_id(id), {}, {}, {}, {}}, .dist = parse_distribution(entry, where)},
                          .dependency_ids = {},
                          .entry = entry};
  if (format > 1) {
    locked.summary.dist.registry = parse_registry(entry, id, where);
  }
  if (format > 2) {
    locked.summary.dist.profile = parse_profile(entry, locked.summary.dist, where);
  }
  const std::string inner = below(where, "dependencies");
  for (const Json& dependency : expect_list(required(entry, "dependencies", where), inner)) {
    locked.dependency_ids.push_back(
        expect_text(required(expect_map(dependency, inner), "id", inner), below(inner, "id")));
  }
  return locked;
}

/// Every package must be there, and some package must need it: pkgfs opens all that the file names.
void check_edges(const LockFile& lock, const std::set<std::string>& ids) {
  std::set<std::string> needed{lock.packages.front().summary.pkg.id.to_string()};
  for (const LockFile::Locked& locked : lock.packages) {
    for (const std::string& id : locked.dependency_ids) {
      if (!ids.contains(id)) {
        throw Error(ErrorCode::kCorrupt,
                    "\"" + locked.summary.pkg.id.to_string() + "\" needs \"" + id + "\", which the lock file lacks");
      }
      needed.insert(id);
    }
  }
  for (const std::string& id : ids) {
    if (!needed.contains(id)) {
      throw Error(ErrorCode::kCorrupt, "no package in the lock file needs \"" + id + "\"");
    }
  }
}

std::string where_of(std::size_t package) { return "packages." + std::to_string(package); }

/// How a value differs: the key, and the text of both.
struct Difference {
  std::string key;
  std::string locked;
  std::string found;
};

std::string value_text(const Json* value) {
  return value == nullptr ? "missing" : shortened(value->dump(-1, ' ', false, Json::error_handler_t::replace));
}

std::optional<Difference> difference(const Json* locked, const Json* found, const std::string& where) {
  if (locked != nullptr && found != nullptr && locked->is_object() && found->is_object()) {
    for (const auto& [key, value] : found->items()) {
      if (auto differs = difference(member(*locked, key), &value, below(where, key))) {
        return differs;
      }
    }
    for (const auto& [key, value] : locked->items()) {
      if (member(*found, key) == nullptr) {
        return Difference{below(where, key), value_text(&value), value_text(nullptr)};
      }
    }
    return std::nullopt;
  }
  if (locked != nullptr && found != nullptr && locked->is_array() && found->is_array()) {
    for (std::size_t i = 0; i < std::max(locked->size(), found->size()); ++i) {
      const auto at = [i](const Json& list) { return i < list.size() ? &list[i] : nullptr; };
      if (auto differs = difference(at(*locked), at(*found), below(where, std::to_string(i)))) {
        return differs;
      }
    }
    return std::nullopt;
  }
  if (locked != nullptr && found != nullptr && *locked == *found) {
    return std::nullopt;
  }
  return Difference{where, value_text(locked), value_text(found)};
}

Error mismatch(const PackageId& id, const Difference& differs) {
  return {ErrorCode::kCorrupt,
          {differs.key + " is " + differs.locked + " in the lock file and " + differs.found + " in the package \"" +
               id.to_string() + "\"",
           "the lock file was edited, or the package changed; \"pkgfs resolve --lock\" writes the file again"}};
}

/// Whether the entry may have its id. `own` is the id that the package gives itself.
bool may_have_id(const LockFile::Locked& locked, const PackageId& own, int format) {
  const PackageId& id = locked.summary.pkg.id;
  const DistributionInfo& dist = locked.summary.dist;
  if (id.hash() != nullptr && dist.webc_sha256) {
    return id.hash()->digest() == *dist.webc_sha256;  // not `own`, for which the whole file would be hashed once more
  }
  // Version 1 doesn't tell where an id is from: one that the container doesn't contradict is taken.
  return dist.registry || (format == 1 && own.named() == nullptr && dist.webc_sha256) || id == own;
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
    if (!node.dist->profile.empty()) {
      lock.format = LockFile::kNewestFormat;
    }
  }
  return lock;
}

std::string print_lock(const LockFile& lock) {
  Json document = Json::object();
  document["pkgfs_lock"] = lock.format;
  document["packages"] = Json::array();
  for (const LockFile::Locked& locked : lock.packages) {
    document["packages"].push_back(to_json(locked, lock.format));
  }
  return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

LockFile parse_lock(std::string_view text) {
  const Json document = webc::parse_json(text, webc::kLockJson);
  expect_map(document, "");
  const std::uint64_t format = webc::expect_unsigned(required(document, "pkgfs_lock", ""), "pkgfs_lock");
  if (format < 1 || format > LockFile::kNewestFormat) {
    throw Error(ErrorCode::kUnsupported,
                "pkgfs_lock: the lock file has format " + std::to_string(format) + ", and only 1, 2 and 3 are known");
  }
  for (const auto& [key, value] : document.items()) {
    if (key != "pkgfs_lock" && key != "packages") {
      throw Error(ErrorCode::kCorrupt, "a lock file has no member \"" + key + "\"");
    }
  }
  LockFile lock;
  lock.format = static_cast<int>(format);
  std::set<std::string> ids;
  for (const Json& entry : expect_list(required(document, "packages", ""), "packages")) {
    const std::string where = where_of(lock.packages.size());
    try {
      lock.packages.push_back(parse_entry(entry, lock.format, where));
    } catch (const Error& error) {
      throw Error(ErrorCode::kCorrupt, error).context("entry " + std::to_string(lock.packages.size()));
    }
    if (!ids.insert(lock.packages.back().summary.pkg.id.to_string()).second) {
      throw Error(ErrorCode::kCorrupt,
                  where + ": a second \"" + lock.packages.back().summary.pkg.id.to_string() + "\"");
    }
  }
  if (lock.packages.empty()) {
    throw Error(ErrorCode::kCorrupt, "the lock file names no package");
  }
  check_edges(lock, ids);
  return lock;
}

void confirm(LockFile& lock, std::size_t package, std::optional<PackageInfo> found) {
  LockFile::Locked& locked = lock.packages.at(package);
  if (!found) {
    locked.dependency_ids.clear();
    return;
  }
  const std::string where = where_of(package);
  const PackageId id = locked.summary.pkg.id;
  if (!may_have_id(locked, found->id, lock.format)) {
    throw mismatch(id, {where + ".id", Json(id.to_string()).dump(), Json(found->id.to_string()).dump()});
  }
  locked.summary.pkg = *std::move(found);
  locked.summary.pkg.id = id;
  Json stated = std::exchange(locked.entry, {});
  if (is_locked_directory(locked.summary.dist)) {
    for (const char* key : kProperties) {
      stated.erase(key);
    }
  }
  const Json actual = to_json(locked, lock.format);
  if (const auto differs = difference(&stated, &actual, where)) {
    throw mismatch(id, *differs);
  }
}

LockSource::LockSource(const LockFile& lock) {
  std::map<std::string, const PackageSummary*> by_id;
  for (const LockFile::Locked& locked : lock.packages) {
    by_id.emplace(locked.summary.pkg.id.to_string(), &locked.summary);
  }
  for (const LockFile::Locked& locked : lock.packages) {
    const auto& dependencies = locked.summary.pkg.dependencies;
    for (std::size_t i = 0; i < dependencies.size(); ++i) {
      const PackageSummary& package = *by_id.at(locked.dependency_ids[i]);
      const std::string specifier = dependencies[i].specifier.to_string();
      const auto [known, is_new] = packages_.emplace(specifier, package);
      if (!is_new && known->second.pkg.id != package.pkg.id) {
        throw Error(ErrorCode::kCorrupt, "the lock file has both \"" + known->second.pkg.id.to_string() + "\" and \"" +
                                             package.pkg.id.to_string() + "\" for \"" + specifier + "\"");
      }
    }
  }
}

std::vector<PackageSummary> LockSource::query(const PackageSpecifier& specifier) {
  const auto found = packages_.find(specifier.to_string());
  if (found == packages_.end()) {
    throw QueryError(QueryError::Kind::kNotFound, specifier);
  }
  return {found->second};
}

}  // namespace pkgfs
