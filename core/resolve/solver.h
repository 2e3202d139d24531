// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <optional>
#include <utility>

#include "core/base/error.h"
#include "core/resolve/catalog.h"
#include "core/resolve/draft.h"

namespace pkgfs {

/// A bound of base/limits.h was reached: `Dependency resolution exceeded safety limits (…)`.
class LimitError : public Error {
 public:
  LimitError(const char* resource, std::size_t value, std::size_t limit);
};

/// A dependency that can't be had for a reason that no other version cures: an unreadable or damaged package.
class BrokenDependency : public Error {
 public:
  explicit BrokenDependency(Error error) : Error(std::move(error)) {}
};

/// Pass 1 (docs/rules/resolution.md, 4.2): everything newest, then per name the newest that suits everybody, until
/// nothing changes. The result may hold two versions of a name. Throws Error for a cycle or a dependency that can't be
/// had.
[[nodiscard]] Draft unify(const PackageInfo& root, Catalog& catalog);

/// Pass 2: the first complete acyclic tree with one version a name, trying newest first, in depth-first order; nothing
/// when there is none. Throws LimitError and BrokenDependency.
[[nodiscard]] std::optional<Draft> search(const PackageInfo& root, Catalog& catalog);

}  // namespace pkgfs
