// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "core/source/source.h"

namespace pkgfs {

/// Passes all queries on to another source. Logs a warning if a specifier names a registry that isn't configured
/// (`other.com:acme/lib`), once for each registry. A configured registry may have a different package of that name
/// (docs/rules/resolution.md, 1.3).
class RegistryCheck final : public Source {
 public:
  /// `endpoints` are the configured registries.
  RegistryCheck(std::unique_ptr<Source> source, std::vector<std::string> endpoints);

  [[nodiscard]] std::vector<PackageSummary> query(const PackageSpecifier& specifier) override;
  [[nodiscard]] std::vector<Answer> query_all(std::span<const PackageSpecifier> specifiers) override;

 private:
  void check(const PackageSpecifier& specifier);
  [[nodiscard]] bool is_asked(const std::string& registry) const;

  std::unique_ptr<Source> source_;
  std::vector<std::string> endpoints_;
  std::set<std::string> known_;  // the names that were checked
};

}  // namespace pkgfs
