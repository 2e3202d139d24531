// SPDX-License-Identifier: MIT
// Pass 2 of the solver.
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/limits.h"
#include "core/resolve/explanation.h"
#include "core/resolve/incompatibilities.h"
#include "core/resolve/package_table.h"
#include "core/resolve/partial_solution.h"
#include "core/resolve/requirements.h"
#include "core/resolve/solver.h"

namespace pkgfs {
namespace {

/// Walks over a queue of dependencies, first in, first out, and builds the draft. At the first dependency on a name it
/// decides its version: the newest one that nothing excludes. After a conflict it goes back over the decisions that
/// the conflict follows from. It skips only choices that can't lead to a tree, so that the tree it finds is the first
/// one in the order of a search that skips nothing.
class Search {
 public:
  Search(const PackageInfo& root, Catalog& catalog, std::size_t most_conflicts)
      : most_conflicts_(most_conflicts),
        catalog_(catalog),
        table_(root),
        incompatibilities_(solution_),
        requirements_(catalog_, table_, incompatibilities_),
        draft_(root) {}

  SearchResult run() {
    solution_.decide(kRoot);
    enqueue(kRoot);
    while (requirements_.add(kRoot)) {
    }
    while (at_ < queue_.size()) {
      const auto conflict = advance();
      if (conflict && !learn(*conflict)) {
        return {std::nullopt, explain(incompatibilities_, table_)};
      }
    }
    return {std::move(draft_), {}};
  }

 private:
  static constexpr PackageAt kRoot{0, 0};

  struct Pending {
    PackageAt parent;
    std::size_t dependency;
  };
  /// The state before a decision.
  struct Level {
    std::size_t at;
    std::size_t nodes;
    std::size_t queued;
  };

  /// Does the next step of the walk. Returns an incompatibility that the choices so far satisfy, if there is one.
  std::optional<std::size_t> advance() {
    if (const auto conflict = incompatibilities_.propagate()) {
      return conflict;
    }
    const Pending pending = queue_[at_];
    const PackageInfo& parent = *table_[pending.parent].pkg;
    const Candidates& candidates = catalog_.of(parent, pending.dependency);
    if (candidates.is_broken()) {
      throw BrokenDependency(unresolved(parent.dependencies[pending.dependency].specifier, *candidates.error));
    }
    for (const PackageAt package : table_.add(candidates)) {
      if (!solution_.allows(package)) {
        continue;
      }
      if (solution_.is_decided(package)) {
        return link(table_[package].node);
      }
      if (!requirements_.add(package)) {
        decide(package);
      }
      return std::nullopt;
    }
    return table_[pending.parent].requirements[pending.dependency];
  }

  /// Leads the current dependency to a node that was there before. Returns the cycle that this makes, if it makes one.
  std::optional<std::size_t> link(std::size_t target) {
    const std::size_t parent = table_[queue_[at_].parent].node;
    const std::vector<std::size_t> way = shortest_way(draft_, target, parent);
    if (!way.empty()) {
      std::vector<PackageAt> packages;
      packages.reserve(way.size());
      for (const std::size_t node : way) {
        packages.push_back(packages_[node]);
      }
      return requirements_.add_cycle(packages);
    }
    draft_.nodes[parent].targets.push_back(target);
    ++at_;
    return std::nullopt;
  }

  void decide(PackageAt package) {
    levels_.push_back({at_, draft_.nodes.size(), queue_.size()});
    solution_.decide(package);
    const std::size_t target = draft_.add(*table_[package].summary);
    if (draft_.nodes.size() > limits::kResolvePackages) {
      throw LimitError("packages", draft_.nodes.size(), limits::kResolvePackages);
    }
    draft_.nodes[table_[queue_[at_++].parent].node].targets.push_back(target);
    table_[package].node = target;
    enqueue(package);
    if (queue_.size() - at_ > limits::kResolvePending) {
      throw LimitError("pending_dependencies", queue_.size() - at_, limits::kResolvePending);
    }
  }

  /// False if the conflict leaves no choice.
  bool learn(std::size_t conflict) {
    if (++conflicts_ > most_conflicts_) {
      throw LimitError("backtrack_states", conflicts_, most_conflicts_,
                       "pkgfs gave up the search, so a choice of versions may exist or not; require exact versions "
                       "(\"=1.2.3\") of some dependencies, to leave fewer choices");
    }
    const auto level = incompatibilities_.learn(conflict);
    if (level && *level < levels_.size()) {
      undo(levels_[*level]);
      levels_.resize(*level);
    }
    return level.has_value();
  }

  void undo(const Level& before) {
    while (at_ > before.at) {
      draft_.nodes[table_[queue_[--at_].parent].node].targets.pop_back();
    }
    queue_.resize(before.queued);
    while (draft_.nodes.size() > before.nodes) {
      draft_.remove_last();
    }
    packages_.resize(before.nodes);
  }

  /// Adds the dependencies of the newest node.
  void enqueue(PackageAt package) {
    packages_.push_back(package);
    for (std::size_t i = 0; i < table_[package].pkg->dependencies.size(); ++i) {
      queue_.push_back({package, i});
    }
  }

  const std::size_t most_conflicts_;
  Catalog& catalog_;
  PackageTable table_;
  PartialSolution solution_;
  Incompatibilities incompatibilities_;
  Requirements requirements_;
  Draft draft_;
  std::vector<PackageAt> packages_;  // of each node
  std::vector<Pending> queue_;
  std::vector<Level> levels_;
  std::size_t at_ = 0;  // the dependency in the queue whose turn it is
  std::size_t conflicts_ = 0;
};

}  // namespace

SearchResult search(const PackageInfo& root, Catalog& catalog, std::size_t most_conflicts) {
  return Search(root, catalog, most_conflicts).run();
}

}  // namespace pkgfs
