// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <string>

#include "core/source/source.h"

namespace pkgfs {

/// Packages that are named by a path (docs/rules/resolution.md, 7.3). Answers paths only.
class PathSource final : public Source {
 public:
  /// Describes the package at a canonical path. Throws Error.
  using Describe = std::function<PackageSummary(const std::string& path)>;

  /// `describe` decides which files and directories are packages. Without it, only container files are. A caller can
  /// pass a function that also opens directories and tarballs.
  /// Relative paths begin at `base`, an absolute path; if it is empty, at the working directory.
  explicit PathSource(Describe describe = {}, std::string base = {});

  [[nodiscard]] std::vector<PackageSummary> query(const PackageSpecifier& specifier) override;

 private:
  Describe describe_;
  std::string base_;
};

}  // namespace pkgfs
