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
  /// What all searches for one tree have done so far.
  struct Effort {
    std::size_t most = 0;  // of each
    std::size_t conflicts = 0;
    std::size_t packages = 0;  // whose requirements were added
  };

  Search(const PackageInfo& root, Catalog& catalog, PackageTable& table, Effort& effort)
      : effort_(effort),
        catalog_(catalog),
        table_(table),
        incompatibilities_(solution_),
        requirements_(catalog_, table_, incompatibilities_),
        draft_(root) {}

  /// Nothing if a twin became known, which the incompatibilities may contradict.
  std::optional<SearchResult> run() {
    solution_.decide(kRoot);
    enqueue(kRoot);
    while (requirements_.add(kRoot)) {
    }
    while (at_ < queue_.size()) {
      const auto conflict = advance();
      if (table_.has_new_twin()) {
        return std::nullopt;
      }
      if (conflict && !learn(*conflict)) {
        return SearchResult{std::nullopt, explain(incompatibilities_, table_)};
      }
    }
    return SearchResult{std::move(draft_), {}};
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
    const std::vector<PackageAt>& packages = table_.add(candidates);
    bool is_twin_possible = false;
    for (std::size_t i = 0; i < packages.size(); ++i) {
      const PackageAt package = packages[i];
      if (solution_.is_decided(package)) {
        return link(table_[package].node);
      }
      for (const std::size_t twin : table_[package].twins) {
        if (solution_.is_decided({package.name, twin})) {
          return link(table_[{package.name, twin}].node);
        }
        is_twin_possible = is_twin_possible || solution_.allows({package.name, twin});
      }
      if (solution_.allows(package)) {
        count(package);
        if (!requirements_.add(package)) {
          decide(package, *candidates.by_preference[i]);
        }
        return std::nullopt;
      }
    }
    return is_twin_possible ? requirements_.add_order(pending.parent, pending.dependency, packages_)
                            : table_[pending.parent].requirements[pending.dependency];
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

  /// Of the packages with this id and these dependencies, chooses the one that the current dependency asks for.
  void decide(PackageAt package, const PackageSummary& summary) {
    table_[package].pkg = &summary.pkg;
    levels_.push_back({at_, draft_.nodes.size(), queue_.size()});
    solution_.decide(package);
    const std::size_t target = draft_.add(summary);
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

  void count(PackageAt package) {
    if (!std::exchange(table_[package].is_counted, true)) {
      check(++effort_.packages);
    }
  }

  void check(std::size_t states) const {
    if (states > effort_.most) {
      throw LimitError("backtrack_states", states, effort_.most,
                       "pkgfs gave up the search, so a choice of versions may exist or not; require exact versions "
                       "(\"=1.2.3\") of some dependencies, to leave fewer choices");
    }
  }

  /// False if the conflict leaves no choice.
  bool learn(std::size_t conflict) {
    check(++effort_.conflicts);
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

  Effort& effort_;
  Catalog& catalog_;
  PackageTable& table_;
  PartialSolution solution_;
  Incompatibilities incompatibilities_;
  Requirements requirements_;
  Draft draft_;
  std::vector<PackageAt> packages_;  // of each node
  std::vector<Pending> queue_;
  std::vector<Level> levels_;
  std::size_t at_ = 0;  // the dependency in the queue whose turn it is
};

}  // namespace

SearchResult search(const PackageInfo& root, Catalog& catalog, std::size_t most_states) {
  PackageTable table(root);
  Search::Effort effort{.most = most_states};
  while (true) {
    std::optional<SearchResult> result = Search(root, catalog, table, effort).run();
    if (result) {
      return *std::move(result);
    }
    table.forget_requirements();
  }
}

}  // namespace pkgfs
