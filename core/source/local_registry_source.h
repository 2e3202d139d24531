// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/base/hash.h"
#include "core/source/container_summary.h"
#include "core/source/source.h"

namespace pkgfs {

/// A registry in a directory (docs/rules/resolution.md, 7.6): `<namespace>/<name>/<version>.webc` or
/// `<name>/<version>.webc`, the id is what the path says. Files are read when they are asked for, so what is added
/// later is found. A file is hashed only for a hash query or when `<version>.sha256` beside it states a hash, which
/// must then agree. Answers names and hashes.
class LocalRegistrySource final : public Source {
 public:
  /// Throws Error `package directory does not exist: "{root}"`.
  explicit LocalRegistrySource(std::string root);

  [[nodiscard]] std::vector<PackageSummary> query(const PackageSource& specifier) override;

 private:
  [[nodiscard]] std::vector<PackageSummary> by_name(const PackageSource& specifier);
  [[nodiscard]] PackageSummary by_hash(const PackageSource& specifier);
  [[nodiscard]] PackageSummary load(const std::string& path, const std::optional<PackageId>& id);
  [[nodiscard]] std::optional<PackageId> id_of(const std::string& path) const;

  std::string root_;
  FileHashes hashes_;
};

}  // namespace pkgfs
