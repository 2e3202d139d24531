// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/package/package_info.h"
#include "core/resolve/may_depend.h"
#include "core/source/source.h"

namespace pkgfs {

/// The packages of a tree and their dependencies. Nodes are in discovery order, the root first.
struct DependencyGraph {
  struct Edge {
    std::string alias;
    std::size_t target;
  };
  struct Node {
    PackageInfo pkg;
    std::optional<DistributionInfo> dist;  // `resolve` leaves it empty for the root; the caller may set it
    std::vector<Edge> edges;               // in the order of the manifest's `use`, its dependencies
  };

  std::vector<Node> nodes;

  [[nodiscard]] std::optional<std::size_t> find(const PackageId& id) const;
  /// The node of each id, for callers that look many up.
  [[nodiscard]] std::map<PackageId, std::size_t> index() const;
  /// The node that `alias` of node `from` leads to.
  [[nodiscard]] std::optional<std::size_t> follow(std::size_t from, const std::string& alias) const;
  /// The node that each alias of node `from` leads to, for callers that follow many. Refers to the graph.
  [[nodiscard]] std::map<std::string_view, std::size_t> aliases(std::size_t from) const;
};

/// A mapping whose package is known (docs/rules/resolution.md, 5).
struct ResolvedMapping {
  std::string mount_path;
  std::string volume_name;
  std::optional<std::string> original_path;
  PackageId package;
};

struct ResolvedCommand {
  std::string name;  // in the manifest of `package`
  PackageId package;
};

/// The result of merging a dependency tree: commands, entrypoint and mappings.
struct ResolvedPackage {
  PackageId root;
  std::map<std::string, ResolvedCommand> commands;  // by visible name
  std::optional<std::string> entrypoint;
  std::vector<ResolvedMapping> filesystem;  // of two at the same path, the earlier has precedence
};

struct Resolution {
  DependencyGraph graph;
  std::vector<std::size_t> order;  // topological: reverse post-order, the root first (docs/rules/resolution.md, 4.4)
  ResolvedPackage package;
};

/// Resolves the tree below `root` (docs/rules/resolution.md, 4.2 and 5). Tries unification first. If that fails, or
/// leaves two versions of a name, a search decides. Deterministic; asks `source` once for each specifier. Throws
/// Error(kResolve) with the texts of docs/rules/resolution.md, 4.3.
[[nodiscard]] Resolution resolve(const PackageInfo& root, Source& source);
/// The same for a root at `root_dist`. Doesn't ask `source` for a dependency that `may_depend` refuses. If a chosen
/// package has such a dependency, throws Error(kPermission) with the chain of packages that leads to the package.
[[nodiscard]] Resolution resolve(const PackageInfo& root, const DistributionInfo& root_dist, Source& source,
                                 const MayDepend& may_depend);

/// The graph in DOT (docs/rules/resolution.md, 4.5).
[[nodiscard]] std::string to_dot(const DependencyGraph& graph);

}  // namespace pkgfs
