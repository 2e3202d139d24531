// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <vector>

#include "core/resolve/catalog.h"
#include "core/resolve/incompatibilities.h"
#include "core/resolve/package_table.h"

namespace pkgfs {

/// Turns what packages depend on into incompatibilities. One incompatibility stands for all known versions of a name
/// that have the same dependency. Asks the catalog for a package's dependencies only when `add` is called for it.
class Requirements {
 public:
  Requirements(Catalog& catalog, PackageTable& table, Incompatibilities& incompatibilities)
      : catalog_(catalog), table_(table), incompatibilities_(incompatibilities) {}

  /// Adds dependencies of `package` that weren't added before. If the catalog knows the answers for some, adds only
  /// these: they may rule the package out without a request. Otherwise asks for all others at once and adds them.
  /// Returns false if none was left to add.
  bool add(PackageAt package);
  /// Adds that each package of `way` depends on the next one, and the last one on the first. Returns the index.
  std::size_t add_cycle(const std::vector<PackageAt>& way);
  /// Adds a rule for one state of the search. If a tree has all of `decisions`, which include `package`, the dependency
  /// number `dependency` of `package` must lead to one of its candidates. A twin of a candidate doesn't satisfy the
  /// rule. Returns the index of the rule.
  std::size_t add_order(PackageAt package, std::size_t dependency, const std::vector<PackageAt>& decisions);

 private:
  void add(PackageAt package, std::size_t dependency);
  [[nodiscard]] std::vector<Term> none_of(const Candidates& candidates);
  [[nodiscard]] std::vector<std::size_t*> unrecorded(const PackageSpecifier& specifier, Term& dependants);
  [[nodiscard]] bool depends_on(PackageAt package, std::size_t name);

  Catalog& catalog_;
  PackageTable& table_;
  Incompatibilities& incompatibilities_;
};

}  // namespace pkgfs
