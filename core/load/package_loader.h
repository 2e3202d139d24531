// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <memory>
#include <string>

#include "core/load/package.h"
#include "core/package/package_info.h"

namespace pkgfs {

/// Turns a summary into an opened package. Local files and directories are opened in place; downloads and the disk
/// cache have their place here. One instance a run; a package is opened once.
class PackageLoader {
 public:
  explicit PackageLoader(OpenOptions options) : options_(options) {}

  /// Throws Error naming the package and its location.
  [[nodiscard]] std::shared_ptr<const Package> load(const PackageSummary& summary);

 private:
  OpenOptions options_;
  std::map<std::string, std::shared_ptr<const Package>> opened_;  // by canonical path
};

}  // namespace pkgfs
