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

/// The containers in a directory, whatever the files are called (docs/rules/resolution.md, 7.5): every file with the
/// container magic. Ids come from the manifests, or are the file's hash. The directory is read at the first query, and
/// only then; files are opened, but hashed only for a hash query.
class DirectorySource final : public Source {
 public:
  struct Options {
    std::size_t depth = limits::kTreeDepth;  // levels of directories; 1: only the files in `dir` itself
    bool skip_damaged = false;               // log a container that can't be opened instead of failing
  };

  /// Throws Error `package directory does not exist: "{dir}"`.
  explicit DirectorySource(std::string dir, Options options);
  explicit DirectorySource(std::string dir) : DirectorySource(std::move(dir), Options()) {}

  /// An unreadable container makes every query fail with `Unable to add entries from "{dir}"`, unless `skip_damaged`.
  [[nodiscard]] std::vector<PackageSummary> query(const PackageSource& specifier) override;

 private:
  [[nodiscard]] MemorySource scan() const;

  std::string dir_;
  Options options_;
  std::optional<MemorySource> packages_;
};

}  // namespace pkgfs
