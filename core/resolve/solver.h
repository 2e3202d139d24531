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

/// A bound of base/limits.h was reached: `Dependency resolution exceeded safety limits (…)`, and what to do, if given.
class LimitError : public Error {
 public:
  LimitError(const char* resource, std::size_t value, std::size_t limit, const std::string& advice = {});
};

/// A dependency failed for a reason that no other version avoids: an unreadable or damaged package.
class BrokenDependency : public Error {
 public:
  explicit BrokenDependency(Error error) : Error(std::move(error)) {}
};

/// Pass 1 (docs/rules/resolution.md, 4.2): everything newest, then per name the newest that satisfies all dependencies,
/// until nothing changes. The result may hold two versions of a name. Throws Error for a cycle or a dependency that
/// can't be had.
[[nodiscard]] Draft unify(const PackageInfo& root, Catalog& catalog);

/// A tree, or the reasons why there is none (explanation.h).
struct SearchResult {
  std::optional<Draft> draft;
  std::vector<std::string> reasons;
};

/// Pass 2 (docs/rules/resolution.md, 4.2): the first complete acyclic tree with one version a name, in the order of a
/// search that tries newest first and goes back step by step. It learns from conflicts (PubGrub), so it doesn't meet
/// one conflict twice. Asks only for the dependencies of packages that it is about to choose. Throws BrokenDependency,
/// and LimitError, also after more than `most_states` conflicts, or as many packages that it tried.
[[nodiscard]] SearchResult search(const PackageInfo& root, Catalog& catalog,
                                  std::size_t most_states = limits::kResolveStates);

}  // namespace pkgfs
