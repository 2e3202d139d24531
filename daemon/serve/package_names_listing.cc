// SPDX-License-Identifier: MIT
// The listings of PackageNames: what is local.
#include <algorithm>
#include <chrono>
#include <exception>
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
    std::string versioned = name;
    all.push_back({.name = versioned.append("@").append(version), .kind = NameKind::kTree});
  }
}

}  // namespace

std::string PackageNames::answers_of(const RemoteRegistry& registry) const {
  std::string directory = settings_.queries_directory();
  directory.append("/").append(endpoint_directory(registry.endpoint));
  return registry.token ? directory.append("+token") : directory;
}

std::vector<std::string> PackageNames::cached_names() const {
  std::set<std::string> names;
  for (const RemoteRegistry& registry : settings_.registries) {
    for (std::string name : names_in(answers_of(registry))) {
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
    BackendSource source({.endpoint = registry.endpoint,
                          .token = registry.token,
                          .prefer = settings_.prefer,
                          .must_ask = false,
                          .cache_time = std::chrono::hours(24 * 36500),  // no warning that an answer is old
                          .offline = true},
                         nullptr, RegistryAnswerCache(answers_of(registry)), never);
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

void PackageNames::list(const std::string& directory, ListDone done) {
  listing_.add([this, directory, done = std::move(done)] {
    std::vector<Listed> names;
    try {
      names = names_of(directory);
    } catch (const std::exception& error) {
      log::warn("\"{}\" can't be listed: {}", directory, error);
    }
    done(std::move(names));
  });
}

std::vector<Listed> PackageNames::names_of(const std::string& directory) {
  std::vector<Listed> all;
  if (directory == "sha256") {
    add_files(directory, settings_.packages_directory(), ".bin", all);
    return all;
  }
  if (directory == "locked") {
    add_files(directory, locks_, ".lock", all);
    return all;
  }
  if (directory.empty()) {
    for (const char* const name : {"sha256", "locked", ".locks"}) {
      add_meaning(directory, name, all);
    }
  }
  for (const std::string& registry : settings_.directories) {
    add_registry(fs::path(registry), directory, all);
  }
  add_cached(directory, all);
  return all;
}

void PackageNames::add_meaning(const std::string& directory, const std::string& name, std::vector<Listed>& all) {
  if (const vfs::ServedNames::Meaning meaning = meaning_of(directory, name); meaning.kind != NameKind::kAbsent) {
    all.push_back({.name = name, .kind = meaning.kind});
  }
}

void PackageNames::add_files(const std::string& directory, const std::string& from, std::string_view ending,
                             std::vector<Listed>& all) {
  for (const std::string& name : names_in(from)) {
    if (name.ends_with(ending)) {
      add_meaning(directory, name.substr(0, name.size() - ending.size()), all);
    }
  }
}

void PackageNames::add_registry(const fs::path& registry, const std::string& directory, std::vector<Listed>& all) {
  const fs::path here = registry / directory;
  for (const std::string& name : names_in(here)) {
    std::error_code failed;
    if (!fs::is_directory(here / name, failed)) {
      continue;
    }
    if (!directory.empty()) {
      if (meaning_of(directory, name).kind != NameKind::kAbsent) {
        add_package(name, versions_in(here / name), all);
      }
      continue;
    }
    for (const std::string& version : versions_in(here / name)) {  // of a package without a namespace
      std::string versioned = name;
      add_meaning(directory, versioned.append("@").append(version), all);
    }
    const std::vector<std::string> below = names_in(here / name);
    if (std::ranges::any_of(below,
                            [&](const std::string& each) { return fs::is_directory(here / name / each, failed); })) {
      add_meaning(directory, name, all);
    }
  }
}

void PackageNames::add_cached(const std::string& directory, std::vector<Listed>& all) {
  for (const std::string& full_name : cached_names()) {
    const std::size_t slash = full_name.find('/');
    if (slash == std::string::npos) {
      continue;  // a package without a namespace: its versions are directories, and which ones is rarely known
    }
    const std::string space = full_name.substr(0, slash);
    const std::string name = full_name.substr(slash + 1);
    if (directory.empty()) {
      add_meaning(directory, space, all);
    } else if (directory == space && meaning_of(directory, name).kind != NameKind::kAbsent) {
      add_package(name, cached_versions(full_name), all);
    }
  }
}

}  // namespace pkgfs
