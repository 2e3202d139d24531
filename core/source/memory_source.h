// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/source/source.h"

namespace pkgfs {

/// Packages in a list (docs/rules/resolution.md, 7.5). Answers names and hashes.
class MemorySource final : public Source {
 public:
  /// Adds a package; one whose id is there already is ignored. `hash` is that of its container, for hash queries;
  /// without it `dist.webc_sha256` or a hash id serve.
  void add(PackageSummary summary, std::optional<PackageHash> hash = std::nullopt);

  [[nodiscard]] std::vector<PackageSummary> query(const PackageSource& specifier) override;

 private:
  struct Entry {
    PackageSummary summary;
    std::optional<PackageHash> hash;
  };

  [[nodiscard]] std::vector<PackageSummary> by_name(const PackageSource& specifier) const;
  [[nodiscard]] std::vector<PackageSummary> by_hash(const PackageSource& specifier) const;

  std::map<std::string, std::map<Version, Entry>> named_;
  std::vector<Entry> unnamed_;
};

}  // namespace pkgfs
