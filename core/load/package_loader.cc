// SPDX-License-Identifier: MIT
#include "core/load/package_loader.h"

#include <filesystem>

namespace pkgfs {

std::shared_ptr<const Package> PackageLoader::load(const PackageSummary& summary) {
  if (!summary.dist.path) {
    throw Error(ErrorCode::kUnsupported,
                {"Unable to load the package \"" + summary.pkg.id.to_string() + "\" from \"" + summary.dist.url + "\"",
                 "only packages in local files can be loaded"});
  }
  std::error_code failed;
  const auto canonical = std::filesystem::canonical(*summary.dist.path, failed);
  const std::string key = failed ? *summary.dist.path : canonical.string();  // opening says what is wrong
  if (const auto found = opened_.find(key); found != opened_.end()) {
    return found->second;
  }
  try {
    auto package = open_package(*summary.dist.path, options_);
    opened_.emplace(key, package);
    return package;
  } catch (Error& error) {
    throw std::move(error).context("Unable to load the package \"" + summary.pkg.id.to_string() + "\"");
  }
}

}  // namespace pkgfs
