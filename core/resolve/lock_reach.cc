// SPDX-License-Identifier: MIT
#include "core/resolve/lock_reach.h"

#include <filesystem>
#include <map>
#include <string>

#include "core/webc/json_fields.h"

namespace pkgfs {

namespace {

/// What the lock file says of the dependency number `i`. No package is open yet; `confirm` compares it later.
PackageSpecifier stated_specifier(const LockFile::Locked& locked, std::size_t i) {
  const webc::Json& dependency = locked.entry.at("dependencies").at(i);
  const webc::Json* const text = webc::member(dependency, "specifier");
  if (text == nullptr) {
    throw Error(ErrorCode::kCorrupt, "dependencies." + std::to_string(i) + " of \"" +
                                         locked.summary.pkg.id.to_string() + "\" has no specifier");
  }
  return PackageSpecifier::parse(webc::expect_text(*text, "specifier"));
}

}  // namespace

void check_lock_reach(const LockFile& lock) {
  std::map<std::string, const PackageSummary*> directories;  // by id
  for (const LockFile::Locked& locked : lock.packages) {
    if (is_locked_directory(locked.summary.dist)) {
      directories.emplace(locked.summary.pkg.id.to_string(), &locked.summary);
    }
  }
  if (directories.empty()) {
    return;
  }
  for (const LockFile::Locked& locked : lock.packages) {
    for (std::size_t i = 0; i < locked.dependency_ids.size(); ++i) {
      const auto directory = directories.find(locked.dependency_ids[i]);
      if (directory == directories.end()) {
        continue;
      }
      const PackageSpecifier specifier = stated_specifier(locked, i);
      std::error_code failed;
      const std::string& path = *directory->second->dist.path;
      if (specifier.path() == nullptr || !std::filesystem::equivalent(specifier.path()->text, path, failed)) {
        throw Error(ErrorCode::kPermission, "\"" + locked.summary.pkg.id.to_string() + "\" depends on \"" +
                                                specifier.to_string() +
                                                "\", for which the lock file has the directory \"" + path +
                                                "\": only a dependency that names this path may lead there");
      }
    }
  }
}

}  // namespace pkgfs
