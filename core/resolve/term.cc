// SPDX-License-Identifier: MIT
#include "core/resolve/term.h"

#include <algorithm>

namespace pkgfs {
namespace {

constexpr std::size_t kBits = 64;

}  // namespace

void VersionSet::add(std::size_t version) {
  const std::size_t word = version / kBits;
  const std::uint64_t bit = std::uint64_t{1} << (version % kBits);
  if (word == 0) {
    first_ |= bit;
    return;
  }
  more_.resize(std::max(more_.size(), word));
  more_[word - 1] |= bit;
}

bool VersionSet::contains(std::size_t version) const {
  const std::size_t word = version / kBits;
  const std::uint64_t bits = word == 0 ? first_ : word <= more_.size() ? more_[word - 1] : 0;
  return ((bits >> (version % kBits)) & 1U) != 0;
}

bool VersionSet::is_subset_of(const VersionSet& other) const {
  if ((first_ & ~other.first_) != 0) {
    return false;
  }
  for (std::size_t i = 0; i < more_.size(); ++i) {
    if ((more_[i] & ~(i < other.more_.size() ? other.more_[i] : 0)) != 0) {
      return false;
    }
  }
  return true;
}

bool VersionSet::intersects(const VersionSet& other) const {
  if ((first_ & other.first_) != 0) {
    return true;
  }
  for (std::size_t i = 0; i < std::min(more_.size(), other.more_.size()); ++i) {
    if ((more_[i] & other.more_[i]) != 0) {
      return true;
    }
  }
  return false;
}

std::vector<std::size_t> VersionSet::items() const {
  std::vector<std::size_t> result;
  for (std::size_t i = 0; i < (more_.size() + 1) * kBits; ++i) {
    if (contains(i)) {
      result.push_back(i);
    }
  }
  return result;
}

VersionSet& VersionSet::operator&=(const VersionSet& other) {
  first_ &= other.first_;
  more_.resize(std::min(more_.size(), other.more_.size()));
  for (std::size_t i = 0; i < more_.size(); ++i) {
    more_[i] &= other.more_[i];
  }
  trim();
  return *this;
}

VersionSet& VersionSet::operator|=(const VersionSet& other) {
  first_ |= other.first_;
  more_.resize(std::max(more_.size(), other.more_.size()));
  for (std::size_t i = 0; i < other.more_.size(); ++i) {
    more_[i] |= other.more_[i];
  }
  return *this;
}

VersionSet& VersionSet::operator-=(const VersionSet& other) {
  first_ &= ~other.first_;
  for (std::size_t i = 0; i < std::min(more_.size(), other.more_.size()); ++i) {
    more_[i] &= ~other.more_[i];
  }
  trim();
  return *this;
}

void VersionSet::trim() {
  while (!more_.empty() && more_.back() == 0) {
    more_.pop_back();
  }
}

Relation relation(const Term& known, const Term& term) {
  const auto when = [](bool condition, Relation result) { return condition ? result : Relation::kOpen; };
  if (!known.positive) {
    return when(term.versions.is_subset_of(known.versions),
                term.positive ? Relation::kContradicted : Relation::kSatisfied);
  }
  if (known.versions.is_subset_of(term.versions)) {
    return term.positive ? Relation::kSatisfied : Relation::kContradicted;
  }
  return when(!known.versions.intersects(term.versions),
              term.positive ? Relation::kContradicted : Relation::kSatisfied);
}

Term intersect(const Term& a, const Term& b) {
  if (!a.positive && b.positive) {
    return intersect(b, a);
  }
  Term both = a;
  if (!a.positive) {
    both.versions |= b.versions;
  } else if (b.positive) {
    both.versions &= b.versions;
  } else {
    both.versions -= b.versions;
  }
  return both;
}

}  // namespace pkgfs
