// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pkgfs {

/// A set of small numbers: which versions of one name, by their index in a PackageTable. Allocates only for names with
/// more than 64 versions, because a search copies many sets.
class VersionSet {
 public:
  void add(std::size_t version);
  [[nodiscard]] bool contains(std::size_t version) const;
  [[nodiscard]] bool empty() const { return first_ == 0 && more_.empty(); }
  [[nodiscard]] bool is_subset_of(const VersionSet& other) const;
  [[nodiscard]] bool intersects(const VersionSet& other) const;
  /// The members, ascending.
  [[nodiscard]] std::vector<std::size_t> items() const;

  VersionSet& operator&=(const VersionSet& other);
  VersionSet& operator|=(const VersionSet& other);
  VersionSet& operator-=(const VersionSet& other);
  friend bool operator==(const VersionSet&, const VersionSet&) = default;

 private:
  void trim();

  std::uint64_t first_ = 0;          // the versions 0 to 63
  std::vector<std::uint64_t> more_;  // 64 each; the last one isn't 0
};

/// A statement about the version that a tree has of one name. Positive: the tree has one of `versions`. Negative: the
/// tree has none of them; it may have another version, or none. Versions that become known later are in no set.
struct Term {
  std::size_t name = 0;
  bool positive = true;
  VersionSet versions;

  [[nodiscard]] Term inverse() const { return {name, !positive, versions}; }
};

/// What follows for a term from another one about the same name.
enum class Relation { kSatisfied, kContradicted, kOpen };
[[nodiscard]] Relation relation(const Term& known, const Term& term);

/// Both terms, which are about the same name, as one.
[[nodiscard]] Term intersect(const Term& a, const Term& b);

}  // namespace pkgfs
