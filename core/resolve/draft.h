// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/package/package_info.h"

namespace pkgfs {

/// A dependency tree that is being built. Refers to the packages of a Catalog, which must outlive it.
struct Draft {
  struct Node {
    const PackageInfo* pkg = nullptr;
    const DistributionInfo* dist = nullptr;  // null for the root
    std::vector<std::size_t> targets;        // the node of each dependency, in order; shorter while incomplete
  };

  struct IdLess {
    bool operator()(const PackageId* a, const PackageId* b) const { return *a < *b; }
  };

  explicit Draft(const PackageInfo& root);

  /// The node of `id`.
  [[nodiscard]] std::optional<std::size_t> find(const PackageId& id) const;
  /// Appends a node; `summary` must outlive the draft.
  std::size_t add(const PackageSummary& summary);
  /// Removes the newest node. No dependency may lead to it any more.
  void remove_last();

  std::vector<Node> nodes;

 private:
  std::map<const PackageId*, std::size_t, IdLess> index_;
};

/// Reverse post-order of the walk from the root that follows dependencies in `use` order
/// (docs/rules/resolution.md, 4.4).
[[nodiscard]] std::vector<std::size_t> topological_order(const Draft& draft);

/// A shortest cycle through the earliest discovered node that lies on one: `[a, b, a]`. Empty if there is none.
[[nodiscard]] std::vector<std::size_t> find_cycle(const Draft& draft);

/// A path of dependencies from `from` to `to` with the fewest nodes, both ends included. If `from` is `to`, the path is
/// this one node. Empty if there is no path.
[[nodiscard]] std::vector<std::size_t> shortest_way(const Draft& draft, std::size_t from, std::size_t to);

/// `Dependency cycle detected: a@1.0.0 → b@1.0.0 → a@1.0.0`; nothing when the draft is acyclic.
[[nodiscard]] std::optional<std::string> cycle_message(const Draft& draft);

/// `Multiple versions of {full_name} were found {v1}, {v2}` for the first such name in byte order; nothing when every
/// name has one version.
[[nodiscard]] std::optional<std::string> duplicates_message(const Draft& draft);

}  // namespace pkgfs
