// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/resolve/catalog.h"
#include "core/resolve/draft.h"
#include "core/resolve/term.h"

namespace pkgfs {

/// One version of one name, as indices into a PackageTable. A package that has only a hash is the only version of a
/// name of its own.
struct PackageAt {
  std::size_t name = 0;
  std::size_t version = 0;
  friend bool operator==(const PackageAt&, const PackageAt&) = default;
};

/// All packages that a search has seen, as small numbers. The root is version 0 of name 0. Refers to the packages of a
/// Catalog, which must outlive it. Of two packages with one id, the first one counts.
class PackageTable {
 public:
  static constexpr std::size_t kUnknown = static_cast<std::size_t>(-1);  // nothing was recorded for a dependency yet

  struct Entry {
    const PackageInfo* pkg = nullptr;
    const PackageSummary* summary = nullptr;  // null for the root
    std::vector<std::size_t> requirements;    // for each dependency the incompatibility that stands for it
    std::size_t node = 0;                     // in the draft, if it has the package
  };
  /// Versions that satisfy one requirement, which therefore can name them.
  struct NamedSet {
    VersionSet versions;
    std::string specifier;
  };
  struct Name {
    std::vector<Entry> versions;
    std::vector<NamedSet> sets;
  };

  explicit PackageTable(const PackageInfo& root);

  /// The indices of `summary`, which must outlive this; new ones if its id wasn't seen before.
  PackageAt add(const PackageSummary& summary);
  /// The indices of `candidates`, newest first; new ones as with `add`.
  const std::vector<PackageAt>& add(const Candidates& candidates);
  [[nodiscard]] Entry& operator[](PackageAt at) { return names_[at.name].versions[at.version]; }
  [[nodiscard]] const Entry& operator[](PackageAt at) const { return names_[at.name].versions[at.version]; }
  [[nodiscard]] Name& name(std::size_t index) { return names_[index]; }
  [[nodiscard]] const Name& name(std::size_t index) const { return names_[index]; }

 private:
  PackageAt add(const PackageInfo& pkg, const PackageSummary* summary);

  std::vector<Name> names_;
  std::map<std::string, std::size_t> by_text_;
  std::map<const PackageId*, PackageAt, Draft::IdLess> index_;
  std::unordered_map<const Candidates*, std::vector<PackageAt>> answers_;
};

}  // namespace pkgfs
