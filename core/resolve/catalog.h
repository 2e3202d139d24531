// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>
#include <unordered_map>
#include <vector>

#include "core/source/caching_source.h"

namespace pkgfs {

/// What can satisfy a dependency.
struct Candidates {
  /// Newest first, of equals the last one that the source named; without a name only the source's first answer. Empty
  /// if and only if there is an error.
  std::vector<const PackageSummary*> by_preference;
  const QueryError* error = nullptr;

  [[nodiscard]] bool contains(const PackageId& id) const;
  /// The failure isn't about what is published (I/O, damage): an older version is no way around it.
  [[nodiscard]] bool is_broken() const { return error != nullptr && error->kind() == QueryError::Kind::kOther; }

 private:
  friend class Catalog;
  std::vector<const PackageId*> sorted_;
};

/// The candidates of every dependency that a resolution looks at: each specifier is asked once and prepared once.
class Catalog {
 public:
  explicit Catalog(Source& source) : source_(source) {}

  /// The candidates of dependency `index` of `pkg`, which must outlive this. Valid as long as this object.
  [[nodiscard]] const Candidates& of(const PackageInfo& pkg, std::size_t index);
  /// Asks for all dependencies of `packages` together; `of` is quick then.
  void prefetch(std::span<const PackageInfo* const> packages);

 private:
  CachingSource source_;
  std::unordered_map<const Source::Answer*, Candidates> prepared_;
  std::unordered_map<const PackageInfo*, std::vector<const Candidates*>> of_package_;
};

/// `Unable to find "…" in the registry` and its like, with the source's reason (docs/rules/resolution.md, 4.3).
[[nodiscard]] Error unresolved(const PackageSource& specifier, const QueryError& reason);

}  // namespace pkgfs
