// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/source/remembering_source.h"

namespace pkgfs {

/// The packages that can satisfy a dependency.
struct Candidates {
  /// Newest first; of equal versions the one that the source reported last. For a specifier without a name, only the
  /// source's first answer. Empty if and only if there is an error.
  std::vector<const PackageSummary*> by_preference;
  const QueryError* error = nullptr;

  [[nodiscard]] bool contains(const PackageId& id) const;
  /// The failure is one of I/O or damage, so that choosing an older version would only hide it.
  [[nodiscard]] bool is_broken() const { return error != nullptr && error->kind() == QueryError::Kind::kOther; }

 private:
  friend class Catalog;
  std::vector<const PackageId*> sorted_;
};

/// The candidates of every dependency in a resolution. Asks the source once for each specifier. Not thread-safe.
class Catalog {
 public:
  explicit Catalog(Source& source) : source_(source) {}

  /// The candidates of dependency `index` of `pkg`, which must outlive this. Valid as long as this object.
  [[nodiscard]] const Candidates& of(const PackageInfo& pkg, std::size_t index);
  /// Whether `of` answers without asking the source.
  [[nodiscard]] bool is_known(const PackageInfo& pkg, std::size_t index) const;
  /// Asks for all dependencies of `packages` at once, so that `of` need not wait for each of them.
  void prefetch(std::span<const PackageInfo* const> packages);

 private:
  RememberingSource source_;
  std::set<std::pair<std::size_t, std::string>> asked_;  // kind and text
  std::unordered_map<const Source::Answer*, Candidates> prepared_;
  std::unordered_map<const PackageInfo*, std::vector<const Candidates*>> of_package_;
};

/// `Unable to find "…" in the registry` and its like, with the source's reason (docs/rules/resolution.md, 4.3). The
/// code is kResolve, or that of the source if it failed or has versions that can't be used.
[[nodiscard]] Error unresolved(const PackageSpecifier& specifier, const QueryError& reason);

}  // namespace pkgfs
