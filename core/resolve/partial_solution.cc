// SPDX-License-Identifier: MIT
#include "core/resolve/partial_solution.h"

#include <algorithm>
#include <utility>

namespace pkgfs {

void PartialSolution::decide(PackageAt package) {
  ++decisions_;
  Term term{package.name, true, {}};
  term.versions.add(package.version);
  assign(std::move(term), kDecision);
  names_[package.name].decided = package.version;
}

void PartialSolution::derive(Term term, std::size_t cause) { assign(std::move(term), cause); }

void PartialSolution::assign(Term term, std::size_t cause) {
  names_.resize(std::max(names_.size(), term.name + 1));
  std::vector<std::size_t>& of_name = names_[term.name].assignments;
  Term known = of_name.empty() ? term : intersect(assignments_[of_name.back()].known, term);
  of_name.push_back(assignments_.size());
  assignments_.push_back({std::move(term), std::move(known), decisions_ - 1, cause});
}

std::vector<std::size_t> PartialSolution::back_to(std::size_t level) {
  std::vector<std::size_t> causes;
  while (assignments_.back().level > level) {
    Name& name = names_[assignments_.back().term.name];
    name.assignments.pop_back();
    if (assignments_.back().cause == kDecision) {
      name.decided.reset();
    } else {
      causes.push_back(assignments_.back().cause);
    }
    assignments_.pop_back();
  }
  decisions_ = level + 1;
  return causes;
}

Relation PartialSolution::relation(const Term& term) const {
  if (term.name >= names_.size() || names_[term.name].assignments.empty()) {
    return Relation::kOpen;
  }
  return pkgfs::relation(assignments_[names_[term.name].assignments.back()].known, term);
}

bool PartialSolution::allows(PackageAt package) const {
  if (package.name >= names_.size() || names_[package.name].assignments.empty()) {
    return true;
  }
  const Term& known = assignments_[names_[package.name].assignments.back()].known;
  return known.versions.contains(package.version) == known.positive;
}

bool PartialSolution::is_decided(PackageAt package) const {
  return package.name < names_.size() && names_[package.name].decided == package.version;
}

std::size_t PartialSolution::satisfier(const Term& term) const {
  const std::vector<std::size_t>& of_name = names_[term.name].assignments;
  return *std::partition_point(of_name.begin(), of_name.end(), [&](std::size_t at) {
    return pkgfs::relation(assignments_[at].known, term) != Relation::kSatisfied;
  });
}

}  // namespace pkgfs
