// SPDX-License-Identifier: MIT
// Risk: a step of the solver's logic is wrong, so that it excludes a tree or explains with something untrue.
#include "core/resolve/term.h"

#include <gtest/gtest.h>

#include <random>

#include "core/resolve/incompatibilities.h"

namespace pkgfs::test {
namespace {

constexpr std::size_t kTermVersions = 4;  // the last one stands for no version at all
constexpr std::size_t kTermNames = 3;

VersionSet set_of(unsigned bits) {
  VersionSet set;
  for (std::size_t i = 0; i + 1 < kTermVersions; ++i) {
    if (((bits >> i) & 1U) != 0) {
      set.add(i);
    }
  }
  return set;
}

/// Whether `term` holds in a tree that has `version` of its name.
bool holds(const Term& term, std::size_t version) { return term.versions.contains(version) == term.positive; }

bool all_hold(const std::vector<Term>& terms, std::size_t tree) {
  for (const Term& term : terms) {
    std::size_t version = tree;
    for (std::size_t name = 0; name < term.name; ++name) {
      version /= kTermVersions;
    }
    if (!holds(term, version % kTermVersions)) {
      return false;
    }
  }
  return true;
}

std::vector<Term> all_terms() {
  std::vector<Term> terms;
  for (unsigned bits = 0; bits < 1U << (kTermVersions - 1); ++bits) {
    terms.push_back({0, true, set_of(bits)});
    terms.push_back({0, false, set_of(bits)});
  }
  return terms;
}

TEST(Term, RelationSaysWhatHoldsInEveryTree) {
  for (const Term& known : all_terms()) {
    for (const Term& term : all_terms()) {
      bool always = true;
      bool never = true;
      for (std::size_t version = 0; version < kTermVersions; ++version) {
        always = always && (!holds(known, version) || holds(term, version));
        never = never && (!holds(known, version) || !holds(term, version));
      }
      const Relation found = relation(known, term);
      // A negative term never says that no version is left, because others may become known.
      EXPECT_TRUE(found != Relation::kSatisfied || always);
      EXPECT_TRUE(found != Relation::kContradicted || never);
      if (found == Relation::kOpen && known.positive && !known.versions.empty()) {
        EXPECT_FALSE(always || never);
      }
    }
  }
}

TEST(Term, IntersectionAndInverse) {
  for (const Term& a : all_terms()) {
    for (const Term& b : all_terms()) {
      const Term both = intersect(a, b);
      for (std::size_t version = 0; version < kTermVersions; ++version) {
        EXPECT_EQ(holds(both, version), holds(a, version) && holds(b, version));
        EXPECT_NE(holds(a, version), holds(a.inverse(), version));
      }
    }
  }
}

TEST(Term, AResolventHoldsOnlyWhereOneOfTheTwoHolds) {
  std::mt19937 random(6);
  const auto some_terms = [&] {
    std::vector<Term> terms;
    for (std::size_t name = 0; name < kTermNames; ++name) {
      if (name == 0 || random() % 2 == 0) {
        merge(terms, {name, random() % 2 == 0, set_of(static_cast<unsigned>(random()))});
      }
    }
    return terms;
  };
  for (int run = 0; run < 5000; ++run) {
    const std::vector<Term> a = some_terms();
    const std::vector<Term> b = some_terms();
    const std::vector<Term> both = resolvent(a, b, 0);
    for (std::size_t tree = 0; tree < kTermVersions * kTermVersions * kTermVersions; ++tree) {
      EXPECT_TRUE(!all_hold(both, tree) || all_hold(a, tree) || all_hold(b, tree)) << run;
    }
  }
}

TEST(VersionSet, HoldsManyVersions) {
  VersionSet odd;
  VersionSet all;
  for (std::size_t i = 0; i < 200; ++i) {
    all.add(i);
    if (i % 2 == 1) {
      odd.add(i);
    }
  }
  EXPECT_TRUE(odd.is_subset_of(all));
  EXPECT_FALSE(all.is_subset_of(odd));
  VersionSet even = all;
  even -= odd;
  EXPECT_FALSE(even.intersects(odd));
  EXPECT_EQ(even.items().size(), 100U);
  even |= odd;
  EXPECT_EQ(even, all);
  even -= all;
  EXPECT_TRUE(even.empty());
  EXPECT_EQ(even, VersionSet());
}

}  // namespace
}  // namespace pkgfs::test
