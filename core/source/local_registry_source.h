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
/// `<name>/<version>.webc`. The id of a package comes from this path, not from the manifest. A query by hash also finds
/// other `.webc` files in the directory. Every query reads the directory anew, so that it finds files that were added.
/// A file `<version>.sha256` beside a container may state its hash. Then the container is hashed before it is returned,
/// and a mismatch is an error. Other containers are hashed only for a query by hash. Answers names and hashes.
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
