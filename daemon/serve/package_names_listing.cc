// SPDX-License-Identifier: MIT
// The listings of PackageNames: what is local.
#include <algorithm>
#include <cerrno>
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
using NameKind = vfs::ServedNames::Meaning::Kind;

constexpr std::string_view kContainer = ".webc";

}  // namespace

void PackageNames::take_failure(const std::string& place, const std::error_code& failed, Listing& all) {
  switch (failed.value()) {
    case 0:
    case ENOENT:
    case ENOTDIR:
    case EACCES:  // such as "lost+found"
    case ELOOP:
    case ENAMETOOLONG:
      return;
    default:
      break;
  }
  if (all.error == 0) {
    all.error = failed.value();
    all.reason = "\"" + place + "\": " + failed.message();
  }
}

std::vector<std::string> PackageNames::names_in(const std::string& directory, Listing& all) {
  std::vector<std::string> names;
  std::error_code failed;
  for (auto it = fs::directory_iterator(directory, failed); !failed && it != fs::directory_iterator();
       it.increment(failed)) {
    names.push_back(it->path().filename().string());
  }
  take_failure(directory, failed, all);
  return names;
}

bool PackageNames::has_directory(const fs::path& path, Listing& all) {
  std::error_code failed;
  const bool is_there = fs::is_directory(path, failed);
  take_failure(path, failed, all);
  return is_there;
}

std::vector<std::string> PackageNames::versions_in(const std::string& directory, Listing& all) {
  std::vector<std::string> versions;
  for (const std::string& name : names_in(directory, all)) {
    if (name.ends_with(kContainer)) {
      std::string version = name.substr(0, name.size() - kContainer.size());
      if (Version::try_parse(version)) {
        versions.push_back(std::move(version));
      }
    }
  }
  return versions;
}

void PackageNames::add_package(const std::string& name, const std::vector<std::string>& versions, Listing& all) {
  if (versions.empty()) {
    return;
  }
  all.names.push_back({.name = name, .kind = NameKind::kFoundLink});
  for (const std::string& version : versions) {
    std::string versioned = name;
    all.names.push_back({.name = versioned.append("@").append(version), .kind = NameKind::kTree});
  }
}

std::string PackageNames::answers_of(const RemoteRegistry& registry) const {
  std::string directory = settings_.queries_directory();
  directory.append("/").append(endpoint_directory(registry.endpoint));
  return registry.token ? directory.append("+token") : directory;
}

std::vector<std::string> PackageNames::cached_names(Listing& all) const {
  std::set<std::string> names;
  for (const RemoteRegistry& registry : settings_.registries) {
    for (std::string name : names_in(answers_of(registry), all)) {
      if (const std::size_t mark = name.find('#'); mark != std::string::npos) {
        name[mark] = '/';
      }
      names.insert(std::move(name));
    }
  }
  return {names.begin(), names.end()};
}

std::vector<std::string> PackageNames::cached_versions(const std::string& full_name, Listing& all) const {
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
        if (package.pkg.id.named() == nullptr || !hash) {
          continue;
        }
        if (fs::exists(cache.path_of(*hash), failed)) {
          versions.push_back(package.pkg.id.named()->version.to_string());
        }
        take_failure(cache.path_of(*hash), failed, all);
      }
    } catch (const Error& error) {
      log::debug("{}", error);
    }
  }
  return versions;
}

void PackageNames::list(const std::string& directory, ListDone done) {
  listing_.add([this, directory, done = std::move(done)] {
    Listing all;
    try {
      add_names(directory, all);
    } catch (const std::exception& error) {
      all.error = EIO;
      all.reason = error.what();
    }
    if (all.error != 0) {
      report(directory, all);
    }
    done(std::move(all.names), all.error);
  });
}

void PackageNames::report(const std::string& directory, const Listing& all) {
  bool is_new = false;
  {
    const MutexLock lock(mutex_);
    is_new = unlisted_ != all.reason;
    unlisted_ = all.reason;
  }
  log::write(is_new && may_warn() ? log::Level::kWarn : log::Level::kDebug,
             "names may lack in the listing of \"" + directory + "\": " + all.reason);
}

void PackageNames::add_names(const std::string& directory, Listing& all) {
  if (directory == "sha256") {
    add_files(directory, settings_.packages_directory(), ".bin", all);
    return;
  }
  if (directory == "locked") {
    add_files(directory, locks_, ".lock", all);
    return;
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
}

void PackageNames::add_meaning(const std::string& directory, const std::string& name, Listing& all) {
  if (const vfs::ServedNames::Meaning meaning = meaning_of(directory, name); meaning.kind != NameKind::kAbsent) {
    all.names.push_back({.name = name, .kind = meaning.kind});
  }
}

void PackageNames::add_files(const std::string& directory, const std::string& from, std::string_view ending,
                             Listing& all) {
  for (const std::string& name : names_in(from, all)) {
    if (name.ends_with(ending)) {
      add_meaning(directory, name.substr(0, name.size() - ending.size()), all);
    }
  }
}

void PackageNames::add_registry(const fs::path& registry, const std::string& directory, Listing& all) {
  const fs::path here = registry / directory;
  for (const std::string& name : names_in(here, all)) {
    if (!has_directory(here / name, all)) {
      continue;
    }
    if (!directory.empty()) {
      if (meaning_of(directory, name).kind != NameKind::kAbsent) {
        add_package(name, versions_in(here / name, all), all);
      }
      continue;
    }
    for (const std::string& version : versions_in(here / name, all)) {  // of a package without a namespace
      std::string versioned = name;
      add_meaning(directory, versioned.append("@").append(version), all);
    }
    const std::vector<std::string> below = names_in(here / name, all);
    if (std::ranges::any_of(below, [&](const std::string& each) { return has_directory(here / name / each, all); })) {
      add_meaning(directory, name, all);
    }
  }
}

void PackageNames::add_cached(const std::string& directory, Listing& all) {
  for (const std::string& full_name : cached_names(all)) {
    const std::size_t slash = full_name.find('/');
    if (slash == std::string::npos) {
      continue;  // a package without a namespace: its versions are directories, and which ones is rarely known
    }
    const std::string space = full_name.substr(0, slash);
    const std::string name = full_name.substr(slash + 1);
    if (directory.empty()) {
      add_meaning(directory, space, all);
    } else if (directory == space && meaning_of(directory, name).kind != NameKind::kAbsent) {
      add_package(name, cached_versions(full_name, all), all);
    }
  }
}

}  // namespace pkgfs
