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
/// Catalog, which must outlive it.
///
/// Sources can have different packages with one id. If their dependencies are equal, they share one number. Otherwise
/// they are twins: versions of one name, of which each satisfies what the other one satisfies.
class PackageTable {
 public:
  static constexpr std::size_t kUnknown = static_cast<std::size_t>(-1);  // nothing was recorded for a dependency yet

  struct Entry {
    const PackageInfo* pkg = nullptr;
    std::vector<std::size_t> requirements;  // for each dependency the incompatibility that stands for it
    std::vector<std::size_t> twins;         // versions with the same id and other dependencies
    std::size_t node = 0;                   // in the draft, if it has the package
    bool is_counted = false;                // by the limit of a search
  };
  /// Versions that satisfy one requirement, which therefore can name them.
  struct NamedSet {
    VersionSet versions;
    std::string specifier;
  };
  /// A dependency of one version.
  struct Dependency {
    std::size_t version = 0;
    std::size_t index = 0;
  };
  struct Name {
    std::vector<Entry> versions;
    std::unordered_map<std::string, std::vector<Dependency>> dependencies;  // by the text of the specifier
    std::vector<NamedSet> sets;
  };

  explicit PackageTable(const PackageInfo& root);

  /// The indices of `candidates`, newest first; new ones for packages that weren't seen before.
  const std::vector<PackageAt>& add(const Candidates& candidates);
  /// Whether a twin was added since the last `forget_requirements`. Sets of versions from before may lack it.
  [[nodiscard]] bool has_new_twin() const { return has_new_twin_; }
  /// Forgets all but the packages and their indices.
  void forget_requirements();
  [[nodiscard]] Entry& operator[](PackageAt at) { return names_[at.name].versions[at.version]; }
  [[nodiscard]] const Entry& operator[](PackageAt at) const { return names_[at.name].versions[at.version]; }
  [[nodiscard]] Name& name(std::size_t index) { return names_[index]; }
  [[nodiscard]] const Name& name(std::size_t index) const { return names_[index]; }

 private:
  PackageAt add(const PackageInfo& pkg);
  [[nodiscard]] std::size_t name_of(const PackageId& id);

  std::vector<Name> names_;
  std::map<std::string, std::size_t> by_text_;
  std::map<const PackageId*, PackageAt, Draft::IdLess> index_;  // the first one of twins
  std::unordered_map<const Candidates*, std::vector<PackageAt>> answers_;
  bool has_new_twin_ = false;
};

}  // namespace pkgfs
