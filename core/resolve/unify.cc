// SPDX-License-Identifier: MIT
// Pass 1 of the solver.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/base/limits.h"
#include "core/resolve/solver.h"

namespace pkgfs {
namespace {

// The chosen version of each name. A name without a choice is absent.
using Choice = std::map<std::string, const PackageSummary*>;

// Limit on rounds. Only names that displace each other take many; real trees take two or three.
constexpr std::size_t kMaxRounds = 256;

const PackageSummary& pick(const PackageSpecifier& specifier, const Candidates& candidates, const Choice& choice) {
  if (const NamedIdent* ident = specifier.named()) {
    const auto chosen = choice.find(ident->full_name());
    if (chosen != choice.end() && candidates.contains(chosen->second->pkg.id)) {
      return *chosen->second;
    }
  }
  return *candidates.by_preference.front();
}

/// Asks for all dependencies of the nodes from `first` on, which are one level of the graph.
void prefetch(const Draft& draft, std::size_t first, Catalog& catalog) {
  std::vector<const PackageInfo*> level;
  for (std::size_t node = first; node < draft.nodes.size(); ++node) {
    level.push_back(draft.nodes[node].pkg);
  }
  catalog.prefetch(level);
}

/// The package whose dependencies exceed a limit.
std::string needed_by(const PackageInfo& root) {
  return "they are the dependencies of \"" + root.id.to_string() + "\"";
}

Draft build(const PackageInfo& root, Catalog& catalog, const Choice& choice) {
  Draft draft(root);
  std::size_t pending = root.dependencies.size();
  // Breadth-first: nodes are handled in the order in which they were found.
  std::size_t level_end = 0;
  for (std::size_t node = 0; node < draft.nodes.size(); ++node) {
    if (pending > limits::kResolvePending) {
      throw LimitError("pending_dependencies", pending, limits::kResolvePending, needed_by(root));
    }
    if (node == level_end) {
      level_end = draft.nodes.size();
      prefetch(draft, node, catalog);
    }
    const PackageInfo& pkg = *draft.nodes[node].pkg;
    for (std::size_t i = 0; i < pkg.dependencies.size(); ++i) {
      const PackageSpecifier& specifier = pkg.dependencies[i].specifier;
      const Candidates& candidates = catalog.of(pkg, i);
      if (candidates.is_broken()) {
        throw BrokenDependency(unresolved(specifier, *candidates.error));
      }
      if (candidates.error != nullptr) {
        throw Error(unresolved(specifier, *candidates.error));
      }
      const PackageSummary& chosen = pick(specifier, candidates, choice);
      auto target = draft.find(chosen.pkg.id);
      if (!target) {
        target = draft.add(chosen);
        if (draft.nodes.size() > limits::kResolvePackages) {
          throw LimitError("packages", draft.nodes.size(), limits::kResolvePackages, needed_by(root));
        }
        pending += chosen.pkg.dependencies.size();
      }
      draft.nodes[node].targets.push_back(*target);
      --pending;
    }
  }
  if (auto message = cycle_message(draft)) {
    throw Error(ErrorCode::kResolve, std::move(*message));
  }
  return draft;
}

/// For each name in `draft`, the newest package that satisfies all dependencies on it.
Choice choose(const Draft& draft, Catalog& catalog) {
  std::map<std::string, std::set<const Candidates*>> constraints;
  std::map<std::string, const Candidates*> first;
  for (const Draft::Node& node : draft.nodes) {
    for (std::size_t i = 0; i < node.pkg->dependencies.size(); ++i) {
      if (const NamedIdent* ident = node.pkg->dependencies[i].specifier.named()) {
        const Candidates& candidates = catalog.of(*node.pkg, i);
        const std::string name = ident->full_name();
        constraints[name].insert(&candidates);
        first.emplace(name, &candidates);
      }
    }
  }
  Choice choice;
  for (const auto& [name, all] : constraints) {
    for (const PackageSummary* candidate : first[name]->by_preference) {
      const auto suits = [&](const Candidates* other) { return other->contains(candidate->pkg.id); };
      if (std::all_of(all.begin(), all.end(), suits)) {
        choice.emplace(name, candidate);
        break;
      }
    }
  }
  return choice;
}

std::map<std::string, std::string> ids_of(const Choice& choice) {
  std::map<std::string, std::string> ids;
  for (const auto& [name, chosen] : choice) {
    ids.emplace(name, chosen->pkg.id.to_string());
  }
  return ids;
}

}  // namespace

Draft unify(const PackageInfo& root, Catalog& catalog) {
  Choice choice;
  std::set<std::map<std::string, std::string>> seen = {{}};
  while (true) {
    Draft draft = build(root, catalog, choice);
    choice = choose(draft, catalog);
    if (seen.size() > kMaxRounds || !seen.insert(ids_of(choice)).second) {
      return draft;
    }
  }
}

}  // namespace pkgfs
