// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "core/source/source.h"

namespace pkgfs {

/// Passes everything on to another source, and warns, once for each, of registries that a specifier names
/// (`other.com:acme/lib`) but that aren't asked: what answers may be another package of that name
/// (docs/rules/resolution.md, 1.3).
class RegistryCheck final : public Source {
 public:
  /// `endpoints` are those that are asked.
  RegistryCheck(std::unique_ptr<Source> source, std::vector<std::string> endpoints);

  [[nodiscard]] std::vector<PackageSummary> query(const PackageSource& specifier) override;
  [[nodiscard]] std::vector<Answer> query_all(std::span<const PackageSource> specifiers) override;

 private:
  void look_at(const PackageSource& specifier);
  [[nodiscard]] bool is_asked(const std::string& registry) const;

  std::unique_ptr<Source> source_;
  std::vector<std::string> endpoints_;
  std::set<std::string> known_;  // registries that were looked at
};

}  // namespace pkgfs
