// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/resolve/catalog.h"
#include "core/resolve/draft.h"

namespace pkgfs {

/// A limit of core/base/limits.h was reached. The text is `Dependency resolution exceeded safety limits (…)`, with
/// `advice` if there is some.
class LimitError : public Error {
 public:
  LimitError(const char* resource, std::size_t value, std::size_t limit, const std::string& advice = {});
};

/// A dependency failed for a reason that no other version avoids: an unreadable or damaged package.
class BrokenDependency : public Error {
 public:
  explicit BrokenDependency(Error error) : Error(std::move(error)) {}
};

/// Pass 1 (docs/rules/resolution.md, 4.2): unification. The first round takes the newest version for each dependency.
/// Each further round takes, for each name, the newest version that satisfies all dependencies on it, if there is one.
/// Ends when a round makes a choice that was made before, or after 256 rounds. The result may hold two versions of a
/// name. Throws Error for a cycle or a dependency that nothing satisfies.
[[nodiscard]] Draft unify(const PackageInfo& root, Catalog& catalog);

/// A tree, or the reasons why there is none (explanation.h).
struct SearchResult {
  std::optional<Draft> draft;
  std::vector<std::string> reasons;
};

/// Pass 2 (docs/rules/resolution.md, 4.2): search. The result is the first acyclic tree with one version of each name
/// that a plain search would find. A plain search tries the newest version first and goes back step by step. This one
/// learns from conflicts (PubGrub), so it doesn't meet one conflict twice. It asks the catalog only for the
/// dependencies of packages that it is about to choose. Throws BrokenDependency and LimitError. It throws LimitError
/// also if it has more than `most_states` conflicts, or tries more than `most_states` packages.
[[nodiscard]] SearchResult search(const PackageInfo& root, Catalog& catalog,
                                  std::size_t most_states = limits::kResolveStates);

}  // namespace pkgfs
