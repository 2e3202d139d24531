// SPDX-License-Identifier: MIT
#include "core/resolve/incompatibilities.h"

#include <algorithm>
#include <utility>

namespace pkgfs {
namespace {

/// Only the root, which every tree has.
bool is_final(const std::vector<Term>& terms) {
  return terms.empty() || (terms.size() == 1 && terms.front().name == 0 && terms.front().positive);
}

}  // namespace

void merge(std::vector<Term>& terms, const Term& term) {
  const auto same = std::find_if(terms.begin(), terms.end(), [&](const Term& t) { return t.name == term.name; });
  if (same == terms.end()) {
    terms.push_back(term);
  } else {
    *same = intersect(*same, term);
  }
}

std::vector<Term> resolvent(const std::vector<Term>& a, const std::vector<Term>& b, std::size_t name) {
  std::vector<Term> result;
  std::optional<Term> open;  // neither of the two terms about `name`
  for (const std::vector<Term>* terms : {&a, &b}) {
    for (const Term& term : *terms) {
      if (term.name != name) {
        merge(result, term);
      } else {
        open = open ? intersect(*open, term.inverse()) : term.inverse();
      }
    }
  }
  if (open && !(open->positive && open->versions.empty())) {
    merge(result, open->inverse());
  }
  return result;
}

std::size_t Incompatibilities::add(Incompatibility incompatibility) {
  const std::size_t index = all_.size();
  all_.push_back({std::move(incompatibility), {}});
  watch(index);
  unexamined_.push_back(index);
  return index;
}

/// Watches the two terms that are the last ones to become satisfied, or that aren't yet.
void Incompatibilities::watch(std::size_t index) {
  Stored& stored = all_[index];
  const std::vector<Term>& terms = stored.what.terms;
  std::vector<std::pair<std::size_t, std::size_t>> since;  // when the term became satisfied, its index
  for (std::size_t i = 0; i < terms.size(); ++i) {
    const bool is_satisfied = solution_.relation(terms[i]) == Relation::kSatisfied;
    since.emplace_back(is_satisfied ? solution_.satisfier(terms[i]) : solution_.assignments().size(), i);
  }
  const std::size_t count = std::min<std::size_t>(since.size(), 2);
  std::partial_sort(since.begin(), since.begin() + static_cast<std::ptrdiff_t>(count), since.end(), std::greater<>());
  for (std::size_t i = 0; i < count; ++i) {
    stored.watched.at(i) = since[i].second;
    watch(index, terms[since[i].second]);
  }
  if (count == 1) {
    stored.watched[1] = stored.watched[0];
  }
}

void Incompatibilities::watch(std::size_t index, const Term& term) {
  watchers_.resize(std::max(watchers_.size(), term.name + 1));
  watchers_[term.name].push_back({index, term});
}

std::optional<std::size_t> Incompatibilities::propagate() {
  while (true) {
    while (!unexamined_.empty()) {
      const std::size_t index = unexamined_.back();
      unexamined_.pop_back();
      if (!examine(index)) {
        return index;
      }
    }
    if (propagated_ == solution_.assignments().size()) {
      return std::nullopt;
    }
    const std::size_t name = solution_.assignments()[propagated_].term.name;
    const Term known = solution_.assignments()[propagated_++].known;
    if (name >= watchers_.size()) {
      continue;
    }
    std::optional<std::size_t> conflict;
    std::vector<Watcher> watching = std::exchange(watchers_[name], {});
    std::erase_if(watching, [&](const Watcher& watcher) {
      return !conflict && pkgfs::relation(known, watcher.term) == Relation::kSatisfied && !visit(watcher, conflict);
    });
    std::swap(watchers_[name], watching);
    if (conflict) {
      return conflict;
    }
  }
}

/// Looks at an incompatibility whose watched term is satisfied now. False if it watches another term instead from now
/// on.
bool Incompatibilities::visit(const Watcher& watcher, std::optional<std::size_t>& conflict) {
  Stored& stored = all_[watcher.index];
  const std::vector<Term>& terms = stored.what.terms;
  if (terms[stored.watched[0]].name == watcher.term.name) {
    std::swap(stored.watched[0], stored.watched[1]);
  }
  const auto& [other, mine] = stored.watched;
  if (other != mine && solution_.relation(terms[other]) == Relation::kContradicted) {
    return true;
  }
  for (std::size_t i = 0; i < terms.size(); ++i) {
    if (i != other && i != mine && solution_.relation(terms[i]) != Relation::kSatisfied) {
      stored.watched[1] = i;
      watch(watcher.index, terms[i]);
      return false;
    }
  }
  if (!examine(watcher.index)) {
    conflict = watcher.index;
  }
  return true;
}

/// Derives the inverse of the only term that isn't satisfied. False if all are satisfied.
bool Incompatibilities::examine(std::size_t index) {
  const Term* open = nullptr;
  for (const Term& term : all_[index].what.terms) {
    const Relation relation = solution_.relation(term);
    if (relation == Relation::kContradicted || (relation == Relation::kOpen && open != nullptr)) {
      return true;
    }
    if (relation == Relation::kOpen) {
      open = &term;
    }
  }
  if (open != nullptr) {
    solution_.derive(open->inverse(), index);
  }
  return open != nullptr;
}

Incompatibilities::Satisfier Incompatibilities::last_satisfier(const std::vector<Term>& terms) const {
  const std::vector<PartialSolution::Assignment>& assignments = solution_.assignments();
  Satisfier last;
  for (const Term& term : terms) {
    std::size_t earlier = solution_.satisfier(term);
    if (last.term == nullptr || earlier > last.assignment) {
      std::swap(earlier, last.assignment);
      if (std::exchange(last.term, &term) == nullptr) {
        continue;
      }
    }
    last.previous_level = std::max(last.previous_level, assignments[earlier].level);
  }
  const Term open = intersect(assignments[last.assignment].term, last.term->inverse());
  if (!(open.positive && open.versions.empty())) {  // the assignment satisfies the term together with earlier ones
    const std::size_t earlier = solution_.satisfier(open.inverse());
    last.previous_level = std::max(last.previous_level, assignments[earlier].level);
  }
  return last;
}

std::optional<std::size_t> Incompatibilities::learn(std::size_t conflict) {
  Incompatibility lesson = all_[conflict].what;
  while (!is_final(lesson.terms)) {
    const Satisfier last = last_satisfier(lesson.terms);
    const PartialSolution::Assignment& assignment = solution_.assignments()[last.assignment];
    if (last.previous_level < assignment.level || assignment.cause == PartialSolution::kDecision) {
      go_back(last.previous_level);
      if (lesson.steps.empty()) {
        unexamined_.push_back(conflict);
      } else {
        add(std::move(lesson));
      }
      return last.previous_level;
    }
    if (lesson.steps.empty()) {
      lesson = {.terms = std::move(lesson.terms), .first = conflict};
    }
    lesson.steps.push_back({assignment.cause, assignment.term.name});
    lesson.terms = resolvent(lesson.terms, all_[assignment.cause].what.terms, assignment.term.name);
  }
  all_.push_back({std::move(lesson), {}});
  return std::nullopt;
}

void Incompatibilities::go_back(std::size_t level) {
  const std::vector<std::size_t> causes = solution_.back_to(level);
  unexamined_.insert(unexamined_.end(), causes.rbegin(), causes.rend());
  propagated_ = std::min(propagated_, solution_.assignments().size());
}

}  // namespace pkgfs
