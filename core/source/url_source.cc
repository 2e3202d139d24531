// SPDX-License-Identifier: MIT
#include "core/source/url_source.h"

#include <optional>
#include <utility>

#include "core/cache/container_fetcher.h"
#include "core/net/url.h"

namespace pkgfs {

UrlSource::UrlSource(ContainerFetcher& fetcher, Describe describe, DescribeInParts in_parts, const CancelFlag& cancel)
    : fetcher_(fetcher), describe_(std::move(describe)), in_parts_(std::move(in_parts)), cancel_(cancel) {}

std::vector<PackageSummary> UrlSource::query(const PackageSpecifier& specifier) {
  return query_one(specifier, cancel_);
}

std::vector<Source::Answer> UrlSource::query_all(std::span<const PackageSpecifier> specifiers) {
  return answers_in_parallel(specifiers, cancel_, [this](const PackageSpecifier& specifier, const CancelFlag& cancel) {
    return query_one(specifier, cancel);
  });
}

std::vector<PackageSummary> UrlSource::query_one(const PackageSpecifier& specifier, const CancelFlag& cancel) {
  if (specifier.url() == nullptr) {
    throw QueryError(QueryError::Kind::kUnsupported, specifier);
  }
  const Url url = Url::parse(specifier.url()->text);
  std::vector<PackageSummary> answer;
  if (std::optional<InParts> found = in_parts_(url, cancel)) {
    answer.push_back(
        {std::move(found->info),
         {.url = url.text(), .path = std::nullopt, .webc_sha256 = std::nullopt, .version = std::move(found->version)}});
    return answer;
  }
  std::optional<PackageInfo> info;
  ContainerFetcher::FromUrl kept =
      fetcher_.fetch(url, cancel, [&](const std::string& path) { info = describe_(path); });
  answer.push_back({std::move(*info),
                    {.url = url.text(),
                     .path = std::move(kept.path),
                     .webc_sha256 = std::nullopt,
                     .version = std::move(kept.version)}});
  return answer;
}

}  // namespace pkgfs
