// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/package/package_info.h"

namespace pkgfs {

/// A dependency tree that is still being built; borrows all package data.
struct Draft {
  struct Node {
    const PackageInfo* pkg = nullptr;
    const DistributionInfo* dist = nullptr;  // null for the root
    std::vector<std::size_t> targets;        // the i-th: where dependency i leads; shorter while incomplete
  };

  struct IdLess {
    bool operator()(const PackageId* a, const PackageId* b) const { return *a < *b; }
  };

  explicit Draft(const PackageInfo& root);

  /// The node of `id`.
  [[nodiscard]] std::optional<std::size_t> find(const PackageId& id) const;
  /// Appends a node; `summary` must outlive the draft.
  std::size_t add(const PackageSummary& summary);
  /// Takes the newest node away; nothing may lead to it any more.
  void remove_last();

  std::vector<Node> nodes;

 private:
  std::map<const PackageId*, std::size_t, IdLess> index_;
};

/// Reverse post-order of the walk from the root that follows dependencies in `use` order
/// (docs/rules/resolution.md, 4.4).
[[nodiscard]] std::vector<std::size_t> topological_order(const Draft& draft);

/// A shortest cycle through the earliest discovered node that is on any: `[a, b, a]`. Empty: there is none.
[[nodiscard]] std::vector<std::size_t> find_cycle(const Draft& draft);

/// Whether there is a way from one node to another; a node reaches itself.
[[nodiscard]] bool reaches(const Draft& draft, std::size_t from, std::size_t to);

/// `Dependency cycle detected: a@1.0.0 → b@1.0.0 → a@1.0.0`; nothing when the draft is acyclic.
[[nodiscard]] std::optional<std::string> cycle_message(const Draft& draft);

/// `Multiple versions of {full_name} were found {v1}, {v2}` for the first such name in byte order; nothing when every
/// name has one version.
[[nodiscard]] std::optional<std::string> duplicates_message(const Draft& draft);

/// For each name with several versions, who asks for it with which requirement, and what that came to: a line each.
[[nodiscard]] std::vector<std::string> explain_duplicates(const Draft& draft);

}  // namespace pkgfs
