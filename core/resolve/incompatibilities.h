// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <vector>

#include "core/resolve/catalog.h"
#include "core/resolve/partial_solution.h"
#include "core/resolve/term.h"

namespace pkgfs {

/// Terms that no tree satisfies all at once, and why. For `a@1` depends on `b@^2`: a is 1, and b is not one of the
/// versions that satisfy ^2.
struct Incompatibility {
  enum class Kind { kDependency, kUnavailable, kCycle, kLearned };
  /// Resolution with another incompatibility, which removes what both say of `name`.
  struct Step {
    std::size_t with = 0;
    std::size_t name = 0;
  };

  Kind kind = Kind::kLearned;
  std::vector<Term> terms = {};                 // at most one for each name
  const PackageSpecifier* specifier = nullptr;  // of a dependency, available or not
  const Candidates* candidates = nullptr;       // the answer for `specifier`
  std::size_t first = 0;                        // learned: where the steps begin
  std::vector<Step> steps = {};                 // learned
};

/// Adds `term` to `terms`, which has one term for each name.
void merge(std::vector<Term>& terms, const Term& term);
/// The resolvent: what follows from two incompatibilities for all names but `name`, and for that what they leave open.
[[nodiscard]] std::vector<Term> resolvent(const std::vector<Term>& a, const std::vector<Term>& b, std::size_t name);

/// All incompatibilities of a search, the unit propagation with them, and the learning from conflicts (PubGrub). It
/// only adds incompatibilities that follow from the packages, so it never excludes a tree that fits. An index stays
/// valid.
class Incompatibilities {
 public:
  explicit Incompatibilities(PartialSolution& solution) : solution_(solution) {}

  std::size_t add(Incompatibility incompatibility);
  /// Derives all that follows from the partial solution. Returns an incompatibility that it satisfies, if there is one.
  [[nodiscard]] std::optional<std::size_t> propagate();
  /// Learns why the partial solution satisfies `conflict`, and goes back to the earliest level at which the lesson has
  /// a consequence. Returns that level; nothing if no choice is left. Then the last incompatibility is the reason.
  [[nodiscard]] std::optional<std::size_t> learn(std::size_t conflict);

  [[nodiscard]] const Incompatibility& operator[](std::size_t index) const { return all_[index].what; }
  [[nodiscard]] std::size_t size() const { return all_.size(); }

 private:
  struct Stored {
    Incompatibility what;
    std::array<std::size_t, 2> watched{};  // two of the terms, as far as possible ones that aren't satisfied
  };
  /// The assignment that was the last one to satisfy a term.
  struct Satisfier {
    const Term* term = nullptr;
    std::size_t assignment = 0;
    std::size_t previous_level = 0;  // at the end of which everything else was satisfied
  };

  /// An incompatibility with a copy of the term that it watches, so that most visits read nothing else.
  struct Watcher {
    std::size_t index = 0;
    Term term;
  };

  void watch(std::size_t index);
  void watch(std::size_t index, const Term& term);
  bool visit(const Watcher& watcher, std::optional<std::size_t>& conflict);
  bool examine(std::size_t index);
  void go_back(std::size_t level);
  [[nodiscard]] Satisfier last_satisfier(const std::vector<Term>& terms) const;

  PartialSolution& solution_;
  std::vector<Stored> all_;
  std::vector<std::vector<Watcher>> watchers_;  // by name
  std::vector<std::size_t> unexamined_;
  std::size_t propagated_ = 0;  // assignments whose watchers were visited
};

}  // namespace pkgfs
