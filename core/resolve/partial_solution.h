// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "core/resolve/package_table.h"
#include "core/resolve/term.h"

namespace pkgfs {

/// The decisions of a search and the terms that it has derived from them, in the order of time. A level is one decision
/// with all terms that were derived before the next decision. Level 0 begins with the decision for the root.
class PartialSolution {
 public:
  static constexpr std::size_t kDecision = static_cast<std::size_t>(-1);

  struct Assignment {
    Term term;
    Term known;  // all assignments about this name up to this one, as one term
    std::size_t level = 0;
    std::size_t cause = kDecision;  // the incompatibility it was derived from
  };

  /// Begins the next level; the first call decides the root.
  void decide(PackageAt package);
  void derive(Term term, std::size_t cause);
  /// Forgets all levels above `level`. Returns the causes of the derivations that this removes.
  std::vector<std::size_t> back_to(std::size_t level);

  [[nodiscard]] Relation relation(const Term& term) const;
  /// Whether the package is still a possible choice.
  [[nodiscard]] bool allows(PackageAt package) const;
  [[nodiscard]] bool is_decided(PackageAt package) const;
  /// The first assignment with which `term` is satisfied. It must be satisfied.
  [[nodiscard]] std::size_t satisfier(const Term& term) const;
  [[nodiscard]] const std::vector<Assignment>& assignments() const { return assignments_; }

 private:
  struct Name {
    std::vector<std::size_t> assignments;
    std::optional<std::size_t> decided;
  };

  void assign(Term term, std::size_t cause);

  std::vector<Assignment> assignments_;
  std::vector<Name> names_;
  std::size_t decisions_ = 0;
};

}  // namespace pkgfs
