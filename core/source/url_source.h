// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/base/cancel.h"
#include "core/source/source.h"

namespace pkgfs {

class ContainerFetcher;

/// Packages that are named by URL (docs/rules/resolution.md, 7.2). A ContainerFetcher provides the files.
class UrlSource final : public Source {
 public:
  /// Describes the package in the file at `path`. Throws Error.
  using Describe = std::function<PackageInfo(const std::string& path)>;

  /// `fetcher` and `cancel` must outlive this.
  UrlSource(ContainerFetcher& fetcher, Describe describe, const CancelFlag& cancel);

  /// Answers a URL with its one package. `dist` has the URL and the path of the cached file, which a PackageLoader
  /// opens in place.
  [[nodiscard]] std::vector<PackageSummary> query(const PackageSpecifier& specifier) override;
  [[nodiscard]] std::vector<Answer> query_all(std::span<const PackageSpecifier> specifiers) override;

 private:
  [[nodiscard]] std::vector<PackageSummary> query_one(const PackageSpecifier& specifier, const CancelFlag& cancel);

  ContainerFetcher& fetcher_;
  Describe describe_;
  const CancelFlag& cancel_;
};

}  // namespace pkgfs
