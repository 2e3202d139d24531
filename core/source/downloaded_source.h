// SPDX-License-Identifier: MIT
#pragma once

#include "core/cache/containers_by_hash.h"
#include "core/source/source.h"

namespace pkgfs {

/// Answers hashes with containers that were downloaded earlier. No registry needs to be asked for those: a hash
/// identifies one container, wherever it comes from.
class DownloadedSource final : public Source {
 public:
  /// `cache` must outlive this.
  explicit DownloadedSource(ContainersByHash& cache) : cache_(cache) {}
  [[nodiscard]] std::vector<PackageSummary> query(const PackageSpecifier& specifier) override;

 private:
  ContainersByHash& cache_;
};

}  // namespace pkgfs
