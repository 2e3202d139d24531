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

/// A set of terms that no tree satisfies all at once, and the reason. An example is "a@1 depends on b@^2". Its terms
/// are "a has version 1" and "b has none of the versions that satisfy ^2".
struct Incompatibility {
  enum class Kind { kDependency, kUnavailable, kCycle, kLearned };
  /// One step of learning: the resolvent with the incompatibility `with`, for the name `name`.
  struct Step {
    std::size_t with = 0;
    std::size_t name = 0;
  };

  Kind kind = Kind::kLearned;
  std::vector<Term> terms = {};                 // at most one for each name
  const PackageSpecifier* specifier = nullptr;  // of a dependency, available or not
  const Candidates* candidates = nullptr;       // the answer for `specifier`
  std::size_t first = 0;                        // learned: the incompatibility with which the steps begin
  std::vector<Step> steps = {};                 // learned
};

/// Adds `term` to `terms`, which has one term for each name.
void merge(std::vector<Term>& terms, const Term& term);
/// The resolvent of two incompatibilities, which have the terms `a` and `b`. Its term for `name` is the union of the
/// terms of both: a tree satisfies it if it satisfies one of them. If every tree satisfies the union, the resolvent has
/// no term for `name`. For any other name, its term is the intersection of the terms of both.
[[nodiscard]] std::vector<Term> resolvent(const std::vector<Term>& a, const std::vector<Term>& b, std::size_t name);

/// All incompatibilities of a search, the unit propagation with them, and the learning from conflicts (PubGrub). It
/// only adds incompatibilities that follow from the packages, so it never excludes a tree that fits. An index stays
/// valid.
class Incompatibilities {
 public:
  explicit Incompatibilities(PartialSolution& solution) : solution_(solution) {}

  std::size_t add(Incompatibility incompatibility);
  /// Derives all that follows from the partial solution. If the partial solution satisfies an incompatibility (a
  /// conflict), returns its index.
  [[nodiscard]] std::optional<std::size_t> propagate();
  /// Derives the lesson of `conflict`: an incompatibility that says why the choices so far can't lead to a tree. Goes
  /// back to the earliest level at which `propagate` derives a term from the lesson, and returns that level. Returns
  /// nothing if there is no tree. Then the last incompatibility is the reason.
  [[nodiscard]] std::optional<std::size_t> learn(std::size_t conflict);

  [[nodiscard]] const Incompatibility& operator[](std::size_t index) const { return all_[index].what; }
  [[nodiscard]] std::size_t size() const { return all_.size(); }

 private:
  struct Stored {
    Incompatibility what;
    std::array<std::size_t, 2> watched{};  // two terms: unsatisfied ones if there are any, else those satisfied last
  };
  /// Of the assignments that made the terms of an incompatibility satisfied, the last one.
  struct Satisfier {
    const Term* term = nullptr;
    std::size_t assignment = 0;
    std::size_t previous_level = 0;  // the highest level of the other assignments that are needed
  };

  /// The index of an incompatibility, with a copy of a term that it watches, so that most visits read nothing else.
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
