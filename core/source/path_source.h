// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <string>

#include "core/source/source.h"

namespace pkgfs {

/// Packages that are named by where they are (docs/rules/resolution.md, 7.3). Answers paths.
class PathSource final : public Source {
 public:
  /// Says what the package at a canonical path is. Throws Error.
  using Describe = std::function<PackageSummary(const std::string& path)>;

  /// `describe` decides what can be a package: by default a container file; the layer that opens directories and
  /// tarballs passes its own.
  explicit PathSource(Describe describe = {});

  [[nodiscard]] std::vector<PackageSummary> query(const PackageSource& specifier) override;

 private:
  Describe describe_;
};

}  // namespace pkgfs
