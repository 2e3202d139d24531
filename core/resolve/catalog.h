// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/resolve/may_depend.h"
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

/// The candidates of every dependency in a resolution. Asks the source once for each specifier, and never for a
/// dependency that MayDepend refuses. Not thread-safe.
class Catalog {
 public:
  explicit Catalog(Source& source) : source_(source) {}
  /// The arguments must outlive this.
  Catalog(Source& source, const PackageInfo& root, const DistributionInfo& root_dist, const MayDepend& may_depend)
      : source_(source), may_depend_(&may_depend) {
    found_.emplace(&root, Found{&root_dist, nullptr});
  }

  /// The candidates of dependency `index` of `pkg`, which must outlive this. Valid as long as this object. Throws
  /// BrokenDependency that names the chain of packages if `pkg` may not have this dependency.
  [[nodiscard]] const Candidates& of(const PackageInfo& pkg, std::size_t index);
  /// Whether `of` answers without asking the source.
  [[nodiscard]] bool is_known(const PackageInfo& pkg, std::size_t index) const;
  /// Asks for all dependencies of `packages` at once, so that `of` need not wait for each of them.
  void prefetch(std::span<const PackageInfo* const> packages);

 private:
  /// Where a package is, and the first package that asked for it.
  struct Found {
    const DistributionInfo* dist;
    const PackageInfo* by;
  };
  /// Why `pkg` may not have this dependency; nothing if it may.
  [[nodiscard]] std::optional<std::string> refusal(const PackageInfo& pkg, std::size_t index) const;
  [[nodiscard]] std::string chain_to(const PackageInfo& pkg) const;

  RememberingSource source_;
  const MayDepend* may_depend_ = nullptr;  // null: every package may have any dependency
  std::unordered_map<const PackageInfo*, Found> found_;
  std::set<std::pair<std::size_t, std::string>> asked_;  // kind and text
  std::unordered_map<const Source::Answer*, Candidates> prepared_;
  std::unordered_map<const PackageInfo*, std::vector<const Candidates*>> of_package_;
};

/// The error for a dependency that can't be resolved, such as `Unable to find "…" in the registry`, with the source's
/// `reason` (docs/rules/resolution.md, 4.3). Its code is that of `reason` if that is kNetwork or kCorrupt, or if the
/// versions can't be used (QueryError::Kind::kUnusable). Otherwise it is kResolve.
[[nodiscard]] Error unresolved(const PackageSpecifier& specifier, const QueryError& reason);

}  // namespace pkgfs
