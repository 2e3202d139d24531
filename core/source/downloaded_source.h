// SPDX-License-Identifier: MIT
#pragma once

#include "core/cache/containers_by_hash.h"
#include "core/source/source.h"

namespace pkgfs {

/// Answers hashes with what was downloaded earlier: a package's hash says all about it, so no registry need be asked.
class DownloadedSource final : public Source {
 public:
  /// `cache` must outlive this.
  explicit DownloadedSource(ContainersByHash& cache) : cache_(cache) {}
  [[nodiscard]] std::vector<PackageSummary> query(const PackageSource& specifier) override;

 private:
  ContainersByHash& cache_;
};

}  // namespace pkgfs
