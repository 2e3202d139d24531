// SPDX-License-Identifier: MIT
#include "core/source/memory_source.h"

#include <utility>

namespace pkgfs {

void MemorySource::add(PackageSummary summary, std::optional<PackageHash> hash) {
  if (!hash) {
    if (summary.dist.webc_sha256) {
      hash = PackageHash(*summary.dist.webc_sha256);
    } else if (summary.pkg.id.hash() != nullptr) {
      hash = *summary.pkg.id.hash();
    }
  }
  if (const NamedId* id = summary.pkg.id.named()) {
    auto& versions = named_[id->full_name];
    Version version = id->version;
    versions.try_emplace(std::move(version), Entry{std::move(summary), std::move(hash)});
  } else {
    unnamed_.push_back({std::move(summary), std::move(hash)});
  }
}

std::vector<PackageSummary> MemorySource::query(const PackageSpecifier& specifier) {
  if (specifier.named() != nullptr) {
    return by_name(specifier);
  }
  if (specifier.hash() != nullptr) {
    return by_hash(specifier);
  }
  throw QueryError(QueryError::Kind::kUnsupported, specifier);
}

std::vector<PackageSummary> MemorySource::by_name(const PackageSpecifier& specifier) const {
  const auto versions = named_.find(specifier.named()->full_name());
  if (versions == named_.end()) {
    throw QueryError(QueryError::Kind::kNotFound, specifier);
  }
  const VersionReq wanted = specifier.named()->requirement();
  std::vector<PackageSummary> answers;
  for (const auto& [version, entry] : versions->second) {
    if (wanted.matches(version)) {
      answers.push_back(entry.summary);
    }
  }
  if (answers.empty()) {
    throw QueryError(QueryError::Kind::kNoMatches, specifier);
  }
  return answers;
}

std::vector<PackageSummary> MemorySource::by_hash(const PackageSpecifier& specifier) const {
  const auto is_it = [&](const Entry& entry) { return entry.hash && *entry.hash == *specifier.hash(); };
  for (const auto& [name, versions] : named_) {
    for (const auto& [version, entry] : versions) {
      if (is_it(entry)) {
        return {entry.summary};
      }
    }
  }
  for (const Entry& entry : unnamed_) {
    if (is_it(entry)) {
      return {entry.summary};
    }
  }
  throw QueryError(QueryError::Kind::kNoMatches, specifier);
}

}  // namespace pkgfs
