// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/source/source.h"

namespace pkgfs {

/// Packages that a caller adds (docs/rules/resolution.md, 7.5). Answers names and hashes.
class MemorySource final : public Source {
 public:
  /// Adds a package. Does nothing if a package of the same name and version was added before. `hash` is the hash of the
  /// container, for queries by hash. Without it, `dist.webc_sha256` is that hash, or the id if it is a hash.
  void add(PackageSummary summary, std::optional<PackageHash> hash = std::nullopt);

  [[nodiscard]] std::vector<PackageSummary> query(const PackageSpecifier& specifier) override;

 private:
  struct Entry {
    PackageSummary summary;
    std::optional<PackageHash> hash;
  };

  [[nodiscard]] std::vector<PackageSummary> by_name(const PackageSpecifier& specifier) const;
  [[nodiscard]] std::vector<PackageSummary> by_hash(const PackageSpecifier& specifier) const;

  std::map<std::string, std::map<Version, Entry>> named_;
  std::vector<Entry> unnamed_;
};

}  // namespace pkgfs
