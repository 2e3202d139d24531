// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/base/hash.h"
#include "core/cache/file_hash.h"
#include "core/source/source.h"

namespace pkgfs {

/// A registry in a directory (docs/rules/resolution.md, 7.6), with files `<namespace>/<name>/<version>.webc` or
/// `<name>/<version>.webc`. The path gives the id of a package, not the manifest. Every query reads the directory, so
/// files that are added later are found. A file `<version>.sha256` beside a container may state its hash; the container
/// is then hashed, and a mismatch is an error. Else containers are hashed only for a query by hash. Answers names and
/// hashes.
class LocalRegistrySource final : public Source {
 public:
  /// Throws Error `package directory does not exist: "{root}"`.
  explicit LocalRegistrySource(std::string root);

  [[nodiscard]] std::vector<PackageSummary> query(const PackageSpecifier& specifier) override;

 private:
  [[nodiscard]] std::vector<PackageSummary> by_name(const PackageSpecifier& specifier);
  [[nodiscard]] PackageSummary by_hash(const PackageSpecifier& specifier);
  [[nodiscard]] PackageSummary load(const std::string& path, const std::optional<PackageId>& id);
  [[nodiscard]] std::optional<PackageId> id_of(const std::string& path) const;

  std::string root_;
  FileHashes hashes_;
};

}  // namespace pkgfs
