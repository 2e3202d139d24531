// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/base/cancel.h"
#include "core/source/source.h"

namespace pkgfs {

class ContainerFetcher;
class Url;

/// Packages that are named by URL (docs/rules/resolution.md, 7.2). A ContainerFetcher provides the files.
class UrlSource final : public Source {
 public:
  /// Describes the package in the file at `path`. Throws Error.
  using Describe = std::function<PackageInfo(const std::string& path)>;

  struct InParts {
    PackageInfo info;
    std::string version;  // DistributionInfo
  };
  /// Describes the package at `url` without downloading it, if that is possible and wanted. Throws Error.
  using DescribeInParts = std::function<std::optional<InParts>(const Url& url, const CancelFlag& cancel)>;

  /// `fetcher` and `cancel` must outlive this.
  UrlSource(ContainerFetcher& fetcher, Describe describe, DescribeInParts in_parts, const CancelFlag& cancel);

  /// Answers a URL with its one package. `dist` has the URL and the path of the cached file, which a PackageLoader
  /// opens in place. A package that `in_parts` has described has no such path.
  [[nodiscard]] std::vector<PackageSummary> query(const PackageSpecifier& specifier) override;
  [[nodiscard]] std::vector<Answer> query_all(std::span<const PackageSpecifier> specifiers) override;

 private:
  [[nodiscard]] std::vector<PackageSummary> query_one(const PackageSpecifier& specifier, const CancelFlag& cancel);

  ContainerFetcher& fetcher_;
  Describe describe_;
  DescribeInParts in_parts_;
  const CancelFlag& cancel_;
};

}  // namespace pkgfs
