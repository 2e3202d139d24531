// SPDX-License-Identifier: MIT
#include "core/resolve/requirements.h"

#include <algorithm>
#include <utility>

namespace pkgfs {
namespace {

/// A dependency that needs no incompatibility: a broken one, and one that only the package itself satisfies.
constexpr std::size_t kNothing = PackageTable::kUnknown - 1;

}  // namespace

bool Requirements::add(PackageAt package) {
  const PackageInfo* pkg = table_[package].pkg;
  bool has_added = false;
  bool is_complete = true;
  for (std::size_t i = 0; i < pkg->dependencies.size(); ++i) {
    if (table_[package].requirements[i] == PackageTable::kUnknown) {
      const bool is_known = catalog_.is_known(*pkg, i);
      is_complete = is_complete && is_known;
      if (is_known) {
        add(package, i);
        has_added = true;
      }
    }
  }
  if (has_added || is_complete) {
    return has_added;
  }
  catalog_.prefetch({&pkg, 1});
  return add(package);
}

void Requirements::add(PackageAt package, std::size_t dependency) {
  const PackageInfo& pkg = *table_[package].pkg;
  const PackageSpecifier& specifier = pkg.dependencies[dependency].specifier;
  const Candidates& candidates = catalog_.of(pkg, dependency);
  std::vector<Term> terms = none_of(candidates);
  if (specifier.named() != nullptr && terms.size() == 1) {
    table_.name(terms.front().name).sets.push_back({terms.front().versions, specifier.to_string()});
  }
  Term dependants{package.name, true, {}};
  const std::vector<std::size_t*> places = unrecorded(specifier, dependants);
  merge(terms, dependants);
  const bool is_possible =
      std::any_of(terms.begin(), terms.end(), [](const Term& term) { return term.positive && !term.versions.empty(); });
  std::size_t index = kNothing;
  if (is_possible && !candidates.is_broken()) {
    const auto kind =
        candidates.error == nullptr ? Incompatibility::Kind::kDependency : Incompatibility::Kind::kUnavailable;
    index = incompatibilities_.add(
        {.kind = kind, .terms = std::move(terms), .specifier = &specifier, .candidates = &candidates});
  }
  for (std::size_t* place : places) {
    *place = index;
  }
}

/// For each name among the candidates the term that excludes them.
std::vector<Term> Requirements::none_of(const Candidates& candidates) {
  std::vector<Term> terms;
  for (const PackageAt at : table_.add(candidates)) {
    Term term{at.name, false, {}};
    term.versions.add(at.version);
    for (const std::size_t twin : table_[at].twins) {
      term.versions.add(twin);
    }
    merge(terms, term);
  }
  return terms;
}

/// Adds to `dependants` all versions of its name that have the dependency `specifier`. Returns where to record the
/// incompatibility that stands for it.
std::vector<std::size_t*> Requirements::unrecorded(const PackageSpecifier& specifier, Term& dependants) {
  std::vector<std::size_t*> places;
  std::vector<PackageTable::Entry>& versions = table_.name(dependants.name).versions;
  for (const auto& [version, i] : table_.name(dependants.name).dependencies[specifier.to_string()]) {
    std::size_t& place = versions[version].requirements[i];
    if (place == PackageTable::kUnknown && versions[version].pkg->dependencies[i].specifier == specifier) {
      dependants.versions.add(version);
      places.push_back(&place);
    }
  }
  return places;
}

std::size_t Requirements::add_order(PackageAt package, std::size_t dependency,
                                    const std::vector<PackageAt>& decisions) {
  const PackageInfo& pkg = *table_[package].pkg;
  const Candidates& candidates = catalog_.of(pkg, dependency);
  std::vector<Term> terms;
  const auto add_term = [&](PackageAt at, bool is_positive) {
    Term term{at.name, is_positive, {}};
    term.versions.add(at.version);
    merge(terms, term);
  };
  add_term(package, true);
  for (const PackageAt at : decisions) {
    add_term(at, true);
  }
  for (const PackageAt at : table_.add(candidates)) {
    add_term(at, false);
  }
  return incompatibilities_.add({.kind = Incompatibility::Kind::kDependency,
                                 .terms = std::move(terms),
                                 .specifier = &pkg.dependencies[dependency].specifier,
                                 .candidates = &candidates});
}

/// Whether it is known that every choice for some dependency of `package` has that name.
bool Requirements::depends_on(PackageAt package, std::size_t name) {
  const PackageInfo& pkg = *table_[package].pkg;
  for (std::size_t i = 0; i < pkg.dependencies.size(); ++i) {
    if (!catalog_.is_known(pkg, i)) {
      continue;
    }
    const std::vector<PackageAt>& candidates = table_.add(catalog_.of(pkg, i));
    const auto has_name = [&](PackageAt candidate) { return candidate.name == name; };
    if (!candidates.empty() && std::all_of(candidates.begin(), candidates.end(), has_name)) {
      return true;
    }
  }
  return false;
}

std::size_t Requirements::add_cycle(const std::vector<PackageAt>& way) {
  Incompatibility cycle{.kind = Incompatibility::Kind::kCycle};
  for (std::size_t i = 0; i < way.size(); ++i) {
    const std::size_t next = way[(i + 1) % way.size()].name;
    Term term{way[i].name, true, {}};
    for (std::size_t version = 0; version < table_.name(way[i].name).versions.size(); ++version) {
      if (version == way[i].version || depends_on({way[i].name, version}, next)) {
        term.versions.add(version);
      }
    }
    cycle.terms.push_back(std::move(term));
  }
  return incompatibilities_.add(std::move(cycle));
}

}  // namespace pkgfs
