// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/resolve/resolve.h"

namespace pkgfs {

/// A stored resolution. It gives the same packages later, even if the registries then answer differently. The file is
/// JSON with one entry a package: id, URL, SHA-256, the properties that the resolver uses, and for each dependency its
/// specifier and the id that it was resolved to.
struct LockFile {
  struct Locked {
    PackageSummary summary;
    std::vector<std::string> dependency_ids;  // those of the dependencies of `summary.pkg`, in order
  };
  std::vector<Locked> packages;  // the root first
};

/// Every node of `resolution` must have a distribution, the root too. A package without a hash (a directory) stays
/// without one.
[[nodiscard]] LockFile make_lock(const Resolution& resolution);

/// The text of the file. Deterministic: the same resolution gives the same bytes.
[[nodiscard]] std::string print_lock(const LockFile& lock);
/// Throws Error(kCorrupt) naming the entry and its problem. `file:` URLs become paths.
[[nodiscard]] LockFile parse_lock(std::string_view text);

/// Answers each specifier with the package that the lock file has for it, and finds no other package.
class LockSource final : public Source {
 public:
  explicit LockSource(const LockFile& lock);
  [[nodiscard]] std::vector<PackageSummary> query(const PackageSpecifier& specifier) override;

 private:
  std::map<std::string, PackageSummary> packages_;  // by specifier
};

}  // namespace pkgfs
