// SPDX-License-Identifier: MIT
// The listings of PackageNames: what is local.
#include <filesystem>
#include <set>
#include <string>
#include <system_error>
#include <utility>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/base/log.h"
#include "core/cache/containers_by_hash.h"
#include "core/package/semver.h"
#include "core/source/backend_source.h"
#include "core/source/endpoint.h"
#include "daemon/serve/package_names.h"

namespace pkgfs {
namespace {

namespace fs = std::filesystem;
using Listed = vfs::ServedNames::Listed;
using NameKind = vfs::ServedNames::Meaning::Kind;

constexpr std::string_view kContainer = ".webc";

/// The names in a directory; none if it can't be read.
std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code failed;
  for (auto it = fs::directory_iterator(directory, failed); !failed && it != fs::directory_iterator();
       it.increment(failed)) {
    names.push_back(it->path().filename().string());
  }
  return names;
}

/// The versions of which a registry directory has a container in `directory`.
std::vector<std::string> versions_in(const std::string& directory) {
  std::vector<std::string> versions;
  for (const std::string& name : names_in(directory)) {
    if (name.ends_with(kContainer)) {
      std::string version = name.substr(0, name.size() - kContainer.size());
      if (Version::try_parse(version)) {
        versions.push_back(std::move(version));
      }
    }
  }
  return versions;
}

void add_package(const std::string& name, const std::vector<std::string>& versions, std::vector<Listed>& all) {
  if (versions.empty()) {
    return;
  }
  all.push_back({.name = name, .kind = NameKind::kFoundLink});
  for (const std::string& version : versions) {
    all.push_back({.name = name + "@" + version, .kind = NameKind::kTree});
  }
}

}  // namespace

std::vector<std::string> PackageNames::cached_names() const {
  std::set<std::string> names;
  for (const RemoteRegistry& registry : settings_.registries) {
    for (std::string name : names_in(settings_.queries_directory() + "/" + endpoint_directory(registry.endpoint) +
                                     (registry.token ? "+token" : ""))) {
      if (const std::size_t mark = name.find('#'); mark != std::string::npos) {
        name[mark] = '/';
      }
      names.insert(std::move(name));
    }
  }
  return {names.begin(), names.end()};
}

std::vector<std::string> PackageNames::cached_versions(const std::string& full_name) const {
  std::vector<std::string> versions;
  const ContainersByHash cache(settings_.packages_directory());
  const CancelFlag never;
  for (const RemoteRegistry& registry : settings_.registries) {
    const std::string answers = settings_.queries_directory() + "/" + endpoint_directory(registry.endpoint);
    BackendSource source({.endpoint = registry.endpoint,
                          .token = registry.token,
                          .prefer = settings_.prefer,
                          .must_ask = false,
                          .cache_time = settings_.query_time,
                          .offline = true},
                         nullptr, RegistryAnswerCache(answers + (registry.token ? "+token" : "")), never);
    try {
      for (const PackageSummary& package : source.query(PackageSpecifier::parse(full_name + "@*"))) {
        std::error_code failed;
        const std::optional<Sha256>& hash = package.dist.webc_sha256;
        if (package.pkg.id.named() != nullptr && hash && fs::exists(cache.path_of(*hash), failed)) {
          versions.push_back(package.pkg.id.named()->version.to_string());
        }
      }
    } catch (const Error& error) {
      log::debug("{}", error);
    }
  }
  return versions;
}

std::vector<Listed> PackageNames::list(const std::string& directory) {
  std::vector<Listed> all;
  if (directory == "sha256") {
    for (const std::string& name : names_in(settings_.packages_directory())) {
      if (name.ends_with(".bin") &&
          syntax_of(directory, name.substr(0, name.size() - 4)).kind == NameSyntax::Kind::kExact) {
        all.push_back({.name = name.substr(0, name.size() - 4), .kind = NameKind::kTree});
      }
    }
    return all;
  }
  if (directory == "locked") {
    constexpr std::string_view kEnding = ".lock";
    for (const std::string& name : names_in(locks_)) {
      if (name.ends_with(kEnding) &&
          meaning_of(directory, name.substr(0, name.size() - kEnding.size())).kind == NameKind::kTree) {
        all.push_back({.name = name.substr(0, name.size() - kEnding.size()), .kind = NameKind::kTree});
      }
    }
    return all;
  }
  const auto is_shown = [&](const std::string& name) { return meaning_of(directory, name).kind != NameKind::kAbsent; };
  if (directory.empty()) {
    for (const char* const name : {"sha256", "locked", ".locks"}) {
      if (const vfs::ServedNames::Meaning meaning = meaning_of(directory, name); meaning.kind != NameKind::kAbsent) {
        all.push_back({.name = name, .kind = meaning.kind});
      }
    }
  }
  const std::string prefix = directory.empty() ? "" : directory + "/";
  for (const std::string& registry : settings_.directories) {
    const std::string here = registry + "/" + directory;
    for (const std::string& name : names_in(here)) {
      std::error_code failed;
      if (!fs::is_directory(here + "/" + name, failed)) {
        continue;
      }
      if (!directory.empty()) {
        add_package(name, versions_in(here + "/" + name), all);
        continue;
      }
      for (const std::string& version : versions_in(here + "/" + name)) {  // a package without a namespace
        all.push_back({.name = name + "@" + version, .kind = NameKind::kTree});
      }
      const std::vector<std::string> below = names_in(here + "/" + name);
      const bool has_packages = std::ranges::any_of(below, [&](const std::string& package) {
        return fs::is_directory(here + "/" + name + "/" + package, failed);
      });
      if (has_packages && is_shown(name)) {
        all.push_back({.name = name, .kind = NameKind::kDirectory});
      }
    }
  }
  for (const std::string& full_name : cached_names()) {
    if (!full_name.starts_with(prefix)) {
      continue;
    }
    const std::string name = full_name.substr(prefix.size());
    const std::size_t slash = name.find('/');
    if (directory.empty() && slash != std::string::npos) {
      if (is_shown(name.substr(0, slash))) {
        all.push_back({.name = name.substr(0, slash), .kind = NameKind::kDirectory});
      }
    } else if (slash == std::string::npos && !directory.empty() && is_shown(name)) {
      add_package(name, cached_versions(full_name), all);
    }
  }
  return all;
}

}  // namespace pkgfs
