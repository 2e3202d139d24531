// SPDX-License-Identifier: MIT
#pragma once

#include "core/cache/package_cache.h"
#include "core/source/source.h"

namespace pkgfs {

/// Answers hashes with what was downloaded earlier: a package's hash says all about it, so no registry need be asked.
class CacheSource final : public Source {
 public:
  /// `cache` must outlive this.
  explicit CacheSource(PackageCache& cache) : cache_(cache) {}
  [[nodiscard]] std::vector<PackageSummary> query(const PackageSpecifier& specifier) override;

 private:
  PackageCache& cache_;
};

}  // namespace pkgfs
