// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/resolve/resolve.h"

namespace pkgfs {

/// A resolution, written down: the same packages again later, whatever the registries say then. JSON, one package an
/// entry: id, URL, SHA-256, what the resolver needs to know of it, and for each dependency the specifier and the id it
/// was resolved to.
struct LockFile {
  struct Locked {
    PackageSummary summary;
    std::vector<std::string> dependency_ids;  // the i-th: what dependency i of `summary.pkg` was resolved to
  };
  std::vector<Locked> packages;  // the root first
};

/// Every node must say where it is, the root too. Packages without a hash (directories) stay without one.
[[nodiscard]] LockFile make_lock(const Resolution& resolution);

/// Text for a file. Deterministic: the same resolution gives the same bytes.
[[nodiscard]] std::string print_lock(const LockFile& lock);
/// Throws Error(kCorrupt) naming what is wrong with which entry. `file:` URLs become paths.
[[nodiscard]] LockFile parse_lock(std::string_view text);

/// Answers each specifier with the package that the lock has for it, and knows nothing else.
class LockSource final : public Source {
 public:
  explicit LockSource(const LockFile& lock);
  [[nodiscard]] std::vector<PackageSummary> query(const PackageSpecifier& specifier) override;

 private:
  std::map<std::string, PackageSummary> packages_;  // by specifier
};

}  // namespace pkgfs
