// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/limits.h"
#include "core/source/memory_source.h"
#include "core/source/source.h"

namespace pkgfs {

/// The containers in a directory (docs/rules/resolution.md, 7.5): every file with the magic bytes of a container,
/// regardless of its name. The id of a package comes from the manifest; without a name there, it is the hash of the
/// file. The directory is read once, by the first query. Files are hashed only for a query by hash. Answers names and
/// hashes.
class DirectorySource final : public Source {
 public:
  struct Options {
    std::size_t depth = limits::kTreeDepth;  // levels of directories; 1: only the files directly in `dir`
    bool skip_damaged = false;               // log and leave out a container that can't be opened
  };

  /// Throws Error `package directory does not exist: "{dir}"`.
  explicit DirectorySource(std::string dir, Options options);
  explicit DirectorySource(std::string dir) : DirectorySource(std::move(dir), Options()) {}

  /// A container that can't be opened makes every query fail with `Unable to add entries from "{dir}"`, unless
  /// `skip_damaged` is set.
  [[nodiscard]] std::vector<PackageSummary> query(const PackageSpecifier& specifier) override;

 private:
  [[nodiscard]] MemorySource scan() const;

  std::string dir_;
  Options options_;
  std::optional<MemorySource> packages_;
};

}  // namespace pkgfs
